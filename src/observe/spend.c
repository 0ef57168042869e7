/* spend.c -- see spend.h.
 *
 * Time is kept twice: by hours, for projections and graphs, and by minutes in a ring for "the last hour", which begins at no full hour.
 * A slot of the ring belongs to the newest minute that fell into it. Minutes a ring's length or more before the last one are never
 * asked for, so what is read does not depend on the order in which lines or threads came. */
#include "observe/spend.h"

#include "observe/log_ref.h"

#define US_PER_MINUTE INT64_C(60000000)
#define US_PER_HOUR   (60 * US_PER_MINUTE)

const char *const spend_names[SPEND_BY_COUNT] = {
    [SPEND_MODEL] = "model", [SPEND_PROVIDER] = "provider", [SPEND_KEY] = "key_alias",
    [SPEND_USER] = "user",   [SPEND_TAG] = "tag",
};
static const enum log_field key_field = LOG_key_alias, user_field = LOG_user;
static const enum log_field model_fields[] = {LOG_model, LOG_provider, LOG_upstream_model};

void spend_init(struct spend *s, const struct prices *prices)
{
    *s = (struct spend){.prices = prices, .first_us = INT64_MAX, .last_us = INT64_MIN};
    groups_init(&s->keys, 1, sizeof(struct spend_sum), SPEND_GROUPS_MAX);
    groups_init(&s->users, 1, sizeof(struct spend_sum), SPEND_GROUPS_MAX);
    groups_init(&s->tags, 1, sizeof(struct spend_sum), SPEND_GROUPS_MAX);
    groups_init(&s->models, COUNT(model_fields), sizeof(struct spend_model), SPEND_GROUPS_MAX);
    groups_init(&s->hours, 1, sizeof(struct spend_hour), SPEND_HOURS_MAX);
}

void spend_fini(struct spend *s)
{
    groups_fini(&s->keys);
    groups_fini(&s->users);
    groups_fini(&s->tags);
    groups_fini(&s->models);
    groups_fini(&s->hours);
}

/* ---- a line ---- */

static void add_sum(struct spend_sum *to, const struct spend_sum *sum)
{
    to->requests += sum->requests;
    to->success += sum->success;
    to->tokens += sum->tokens;
    sum_add(&to->pico, sum->pico);
    sum_add(&to->failed_pico, sum->failed_pico);
    sum_add(&to->cancelled_pico, sum->cancelled_pico);
}

static struct spend_sum sum_of(const struct logline *l, enum log_outcome outcome)
{
    uint64_t pico = line_cost_pico(l);
    return (struct spend_sum){
        .requests = 1,
        .success = outcome == LOG_OUTCOME_SUCCESS,
        .tokens = line_count(l, LOG_BIT(total_tokens), l->r.total_tokens),
        .pico = pico,
        .failed_pico = outcome == LOG_OUTCOME_FAILURE ? pico : 0,
        .cancelled_pico = outcome == LOG_OUTCOME_CANCELLED ? pico : 0,
    };
}

static void add_to_minute(struct spend *s, int64_t minute, uint64_t pico)
{
    struct spend_minute *slot = &s->recent[minute & (SPEND_RING - 1)];
    if (minute < slot->minute)
        return;
    if (minute > slot->minute)
        *slot = (struct spend_minute){.minute = minute};
    sum_add(&slot->pico, pico);
}

static struct spend_hour *hour_at(struct spend *s, int64_t hour)
{
    struct str key = {(const char *)&hour, sizeof hour};
    return groups_get(&s->hours, &key)->value;
}

static void take_time(struct spend *s, const struct logline *l, const struct spend_sum *sum)
{
    if (!(l->found & LOG_BIT(timestamp)) || l->r.timestamp < 0)
        return;
    int64_t number = l->r.timestamp / US_PER_HOUR;
    if (!s->hour || s->hour_number != number)
        s->hour = hour_at(s, number);
    s->hour_number = number;
    s->hour->requests += sum->requests;
    sum_add(&s->hour->pico, sum->pico);
    add_to_minute(s, l->r.timestamp / US_PER_MINUTE, sum->pico);
    s->first_us = MIN(s->first_us, l->r.timestamp);
    s->last_us = MAX(s->last_us, l->r.timestamp);
}

static const struct price *price_of(const struct spend *s, const struct group *g)
{
    struct str model = g->values[0], provider = g->values[1], upstream = g->values[2];
    return prices_find(s->prices, prices_builtin(), provider, model, upstream);
}

/* The difference that the cached tokens made to what the table's prices come to. */
static void take_cached_tokens(struct spend *s, const struct logline *l, struct group *g)
{
    struct spend_model *m = g->value;
    uint64_t cached = line_count(l, LOG_BIT(cached_tokens), l->r.cached_tokens);
    if (cached == 0)
        return;
    if (!m->looked_up)
        m->price = price_of(s, g);
    m->looked_up = true;
    struct record r = line_cost_record(l);
    double with_cache = cost_of(m->price, &r);
    r.cached_tokens = 0;
    m->cached_tokens += cached;
    if (with_cache < 0)
        m->cached_unpriced += cached;
    else
        sum_add(&m->saved_pico, pico_of_usd(cost_of(m->price, &r) - with_cache));
}

static void take_model(struct spend *s, const struct logline *l, enum log_outcome outcome,
                       const struct spend_sum *sum)
{
    struct group *g = groups_of_line(&s->models, l, model_fields);
    struct spend_model *m = g->value;
    add_sum(&m->sum, sum);
    if (log_text_is(l, LOG_BIT(cache), l->r.cache, STR("hit"))) {
        m->hits++;
        return;
    }
    bool priced = l->found & LOG_BIT(cost_usd), success = outcome == LOG_OUTCOME_SUCCESS;
    if (sum->tokens && !priced) {
        m->unpriced++;
        m->unpriced_tokens += sum->tokens;
    } else if (sum->tokens && success && sum->pico == 0) {
        m->free++;
        m->free_tokens += sum->tokens;
    }
    if (priced && success) {
        m->answered++;
        sum_add(&m->answered_pico, sum->pico);
    }
    take_cached_tokens(s, l, g);
}

/* Requests without a tag are a group, too. */
static void take_tags(struct spend *s, const struct logline *l, const struct spend_sum *sum)
{
    struct str tags[LOG_REF_TAGS_MAX];
    char decoded[LOG_REF_OUT_BYTES];
    tags[0] = STR_NONE;
    int count = log_ref_tags(l, tags, decoded);
    for (int i = 0; i < MAX(count, 1); i++)
        add_sum(groups_get(&s->tags, &tags[i])->value, sum);
}

void spend_take(struct spend *s, const struct logline *l, enum log_event event)
{
    if (event == LOG_EVENT_ATTEMPT) {
        s->attempt_lines++;
        sum_add(&s->attempt_pico, line_cost_pico(l));
    }
    if (event != LOG_EVENT_REQUEST)
        return;
    enum log_outcome outcome = log_outcome_of(l);
    struct spend_sum sum = sum_of(l, outcome);
    uint64_t attempts = line_count(l, LOG_BIT(attempts), l->r.attempts);
    add_sum(&s->total, &sum);
    add_sum(groups_of_line(&s->keys, l, &key_field)->value, &sum);
    add_sum(groups_of_line(&s->users, l, &user_field)->value, &sum);
    take_tags(s, l, &sum);
    s->retried += attempts > 1;
    s->extra_attempts += attempts > 1 ? attempts - 1 : 0;
    take_model(s, l, outcome, &sum);
    take_time(s, l, &sum);
}

/* ---- merging ---- */

static void merge_model(struct spend_model *into, const struct spend_model *from)
{
    add_sum(&into->sum, &from->sum);
    into->unpriced += from->unpriced;
    into->free += from->free;
    into->unpriced_tokens += from->unpriced_tokens;
    into->free_tokens += from->free_tokens;
    into->cached_tokens += from->cached_tokens;
    sum_add(&into->saved_pico, from->saved_pico);
    into->cached_unpriced += from->cached_unpriced;
    into->hits += from->hits;
    into->answered += from->answered;
    sum_add(&into->answered_pico, from->answered_pico);
}

static void merge_times(struct spend *into, const struct spend *from)
{
    for (size_t i = 0; i < from->hours.count; i++) {
        const struct spend_hour *hour = from->hours.all[i]->value;
        struct spend_hour *to = groups_get(&into->hours, from->hours.all[i]->values)->value;
        to->requests += hour->requests;
        sum_add(&to->pico, hour->pico);
    }
    for (size_t i = 0; i < SPEND_RING; i++)
        if (from->recent[i].minute)
            add_to_minute(into, from->recent[i].minute, from->recent[i].pico);
    into->first_us = MIN(into->first_us, from->first_us);
    into->last_us = MAX(into->last_us, from->last_us);
}

static void merge_sums(struct groups *into, const struct groups *from)
{
    into->full |= from->full;
    for (size_t i = 0; i < from->count; i++)
        add_sum(groups_get(into, from->all[i]->values)->value, from->all[i]->value);
}

void spend_merge(struct spend *into, const struct spend *from)
{
    add_sum(&into->total, &from->total);
    merge_sums(&into->keys, &from->keys);
    merge_sums(&into->users, &from->users);
    merge_sums(&into->tags, &from->tags);
    into->models.full |= from->models.full;
    for (size_t i = 0; i < from->models.count; i++)
        merge_model(groups_get(&into->models, from->models.all[i]->values)->value,
                    from->models.all[i]->value);
    into->retried += from->retried;
    into->extra_attempts += from->extra_attempts;
    into->attempt_lines += from->attempt_lines;
    sum_add(&into->attempt_pico, from->attempt_pico);
    merge_times(into, from);
}

/* ---- what it comes to ---- */

/* Models and providers are sums of what is kept by both. */
void spend_groups(const struct spend *s, enum spend_by by, struct groups *out)
{
    const struct groups *kept[SPEND_BY_COUNT] = {
        [SPEND_KEY] = &s->keys, [SPEND_USER] = &s->users, [SPEND_TAG] = &s->tags};
    groups_init(out, 1, sizeof(struct spend_sum), SPEND_GROUPS_MAX);
    if (kept[by]) {
        merge_sums(out, kept[by]);
        return;
    }
    out->full = s->models.full;
    for (size_t i = 0; i < s->models.count; i++) {
        const struct spend_model *m = s->models.all[i]->value;
        add_sum(groups_get(out, &s->models.all[i]->values[by == SPEND_PROVIDER])->value, &m->sum);
    }
}

struct spend_rate spend_rate(const struct spend *s, int minutes)
{
    if (s->last_us < s->first_us)
        return (struct spend_rate){0, 0};
    double log_hours = (double)MAX(s->last_us - s->first_us, US_PER_MINUTE) / (double)US_PER_HOUR;
    int64_t last = s->last_us / US_PER_MINUTE;
    uint64_t pico = 0;
    if (minutes == 0 || log_hours * 60 <= minutes) {
        for (size_t i = 0; i < s->hours.count; i++)
            sum_add(&pico, ((const struct spend_hour *)s->hours.all[i]->value)->pico);
        return (struct spend_rate){USD_OF_PICO(pico) / log_hours, log_hours};
    }
    for (int64_t minute = MAX(last - minutes + 1, INT64_C(0)); minute <= last; minute++) {
        const struct spend_minute *slot = &s->recent[minute & (SPEND_RING - 1)];
        sum_add(&pico, slot->minute == minute ? slot->pico : 0);
    }
    double hours = minutes / 60.0;
    return (struct spend_rate){USD_OF_PICO(pico) / hours, hours};
}

/* A hit's line may lack the provider, which answered nothing: so by the model's name alone. */
struct spend_saved spend_saved_by_hits(const struct spend *s)
{
    struct spend_saved saved = {0};
    struct groups by_model;
    groups_init(&by_model, 1, sizeof(struct spend_model), SPEND_GROUPS_MAX);
    for (size_t i = 0; i < s->models.count; i++)
        merge_model(groups_get(&by_model, s->models.all[i]->values)->value,
                    s->models.all[i]->value);
    for (size_t i = 0; i < by_model.count; i++) {
        const struct spend_model *m = by_model.all[i]->value;
        saved.hits += m->hits;
        if (m->answered)
            saved.usd += (double)m->hits * USD_OF_PICO(m->answered_pico) / (double)m->answered;
        else
            saved.unknown += m->hits;
    }
    groups_fini(&by_model);
    return saved;
}

static int by_start(const void *a, const void *b)
{
    const struct spend_point *x = a, *y = b;
    return (x->start_us > y->start_us) - (x->start_us < y->start_us);
}

struct spend_point *spend_points(const struct spend *s, size_t *count)
{
    struct spend_point *points = mem_alloc(MAX(s->hours.count, (size_t)1) * sizeof *points);
    *count = 0;
    for (size_t i = 0; i < s->hours.count; i++) {
        const struct spend_hour *hour = s->hours.all[i]->value;
        struct str key = s->hours.all[i]->values[0];
        int64_t number;
        if (key.n != sizeof number) /* "other", past the cap: of no hour */
            continue;
        memcpy(&number, key.p, sizeof number);
        points[(*count)++] = (struct spend_point){number * US_PER_HOUR, hour->requests, hour->pico};
    }
    qsort(points, *count, sizeof *points, by_start);
    return points;
}
