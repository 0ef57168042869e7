/* measure_mergeable.c -- results as JSON that adds up, and back: counts, and histograms in HdrHistogram's encoding.
 *
 * What is written of a metric is enough for all that a spread tells: the histogram for percentiles, exact sums for mean and deviation, sums of
 * neighbours for the autocorrelation. So k files merged say what one run of the same samples would, as far as its values were not kept exactly.
 * Files may come from anywhere: all is checked, memory is bounded by what the file holds. */
#include <math.h>

#include "cli/measure_export.h"

#define COUNT_MAX (INT64_C(1) << 53) /* more a histogram is no histogram of ours */

/* ---- what there is of a group, one row each ---- */

#define G(member)                                                                                  \
    {                                                                                              \
#member, offsetof(struct results_group, member)                                            \
    }
static const struct {
    const char *name;
    size_t offset;
} counts[] = {
    G(requests),
    G(prompt_tokens),
    G(completion_tokens),
    G(cached_tokens),
    G(reasoning_tokens),
    G(tokens_told),
    G(tokens_in_window),
    G(stalls),
    G(stamped),
    G(streams),
    G(reused),
    G(body_bytes),
    G(good),
};
#undef G
#define O(member)                                                                                  \
    {                                                                                              \
#member, offsetof(struct objectives, member)                                               \
    }
static const struct {
    const char *name;
    size_t offset;
} objective_members[] = {O(ttft_ns), O(e2e_ns), O(tpot_ns), O(itl_ns), O(total_ns), O(response_ns)};
#undef O

static uint64_t *count_at(const struct results_group *g, size_t row)
{
    return (uint64_t *)((char *)g + counts[row].offset);
}

/* ---- writing ---- */

static void write_hdr(struct json_out *j, const char *name, const struct hdr *h)
{
    struct buf b;
    buf_init(&b, 0, NULL);
    ENSURE(hdr_encode(h, &b));
    json_text(j, name, buf_str(&b));
    buf_fini(&b);
}

static void write_spread(struct json_out *j, const char *name, const struct spread *s)
{
    json_nest(j, name, "{");
    json_count(j, "count", s->hdr.count);
    json_count(j, "min", s->hdr.min);
    json_count(j, "max", s->hdr.max);
    json_number(j, "sum", s->hdr.sum, "%.17g");
    json_number(j, "sum_squares", s->hdr.sum_squares, "%.17g");
    json_number(j, "lag_products", s->lag_product_sum, "%.17g");
    json_number(j, "firsts", s->firsts, "%.17g");
    json_number(j, "lasts", s->lasts, "%.17g");
    json_count(j, "pairs", s->pair_count);
    json_count(j, "chains", s->chain_count);
    write_hdr(j, "hdr", &s->hdr);
    json_unnest(j, "}");
}

static void write_group(struct json_out *j, const char *name, const struct results *r,
                        const struct results_group *g)
{
    json_nest(j, name, "{");
    json_nest(j, "outcomes", "{");
    for (int o = 0; o < OUTCOME_COUNT; o++)
        if (g->outcomes[o])
            json_count(j, outcome_key((enum outcome)o), g->outcomes[o]);
    json_unnest(j, "}");
    for (size_t i = 0; i < COUNT(counts); i++)
        json_count(j, counts[i].name, *count_at(g, i));
    json_number(j, "cost_usd", g->cost_usd, "%.17g");
    json_number(j, "wasted_usd", g->wasted_usd, "%.17g");
    json_count(j, "first_ns", g->first_ns > r->origin_ns ? g->first_ns - r->origin_ns : 0);
    json_count(j, "last_ns", g->last_ns > r->origin_ns ? g->last_ns - r->origin_ns : 0);
    json_nest(j, "metrics", "{");
    for (int m = 0; m < MEASURED_COUNT; m++)
        if (g->spreads[m].hdr.count)
            write_spread(j, measured_info((enum measured)m)->key, &g->spreads[m]);
    json_unnest(j, "}");
    json_unnest(j, "}");
}

/* A bucket of 128 to the octave lies within one of ours: nothing is lost on the way. */
static void write_histogram(struct json_out *j, const char *name, const struct histogram *h)
{
    struct hdr fine = {0};
    if (!h->count)
        return;
    for (unsigned o = 0; o < HISTOGRAM_OCTAVES; o++) {
        for (uint64_t sub = 0; h->octaves[o] && sub < 1u << HISTOGRAM_SUB_BITS; sub++) {
            unsigned shift = o ? o - 1 : 0;
            uint64_t low = (sub + (o ? UINT64_C(1) << HISTOGRAM_SUB_BITS : 0)) << shift;
            if (h->octaves[o][sub])
                hdr_add_times(&fine, low + ((UINT64_C(1) << shift) >> 1), h->octaves[o][sub]);
        }
    }
    write_hdr(j, name, &fine);
    hdr_fini(&fine);
}

static void write_seconds(struct json_out *j, const struct results *r)
{
    json_nest(j, "seconds", "[");
    for (size_t i = 0; i < r->second_count; i++) {
        const struct results_second *s = &r->seconds[i];
        json_nest(j, NULL, "{");
        json_count(j, "begun", s->begun);
        json_count(j, "ended", s->ended);
        json_count(j, "failed", s->failed);
        json_count(j, "chunks", s->chunks);
        write_histogram(j, "latency", &s->latency);
        write_histogram(j, "response", &s->response);
        write_histogram(j, "ttft", &s->ttft);
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
}

static void write_failures(struct json_out *j, const struct results *r)
{
    json_nest(j, "failures", "[");
    for (size_t i = 0; i < r->failure_count; i++) {
        const struct results_failure *f = &r->failures[i];
        json_nest(j, NULL, "{");
        json_text(j, "outcome", str_from(outcome_key(f->outcome)));
        json_count(j, "count", f->count);
        json_text(j, "error", str_from(f->error));
        json_text(j, "request_id", str_from(f->request_id));
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
    json_count(j, "failures_untold", r->failures_untold);
}

void export_mergeable(struct json_out *j, const char *name, const struct results *r,
                      int64_t origin_real_us)
{
    json_nest(j, name, "{");
    json_number(j, "origin_real_us", (double)origin_real_us, "%.0f");
    json_count(j, "second_ns", r->second_ns);
    json_number(j, "in_flight_ns", r->in_flight_ns, "%.17g");
    json_nest(j, "objectives", "{");
    for (size_t i = 0; i < COUNT(objective_members); i++)
        json_count(j, objective_members[i].name,
                   *(const uint64_t *)((const char *)&r->objectives + objective_members[i].offset));
    json_unnest(j, "}");
    write_group(j, "total", r, &r->total);
    write_group(j, "warm_up", r, &r->warm_up);
    json_nest(j, "by_stage", "[");
    for (uint32_t i = 0; i < r->stage_count; i++)
        write_group(j, NULL, r, &r->by_stage[i]);
    json_unnest(j, "]");
    json_nest(j, "by_model", "[");
    for (uint32_t i = 0; i < r->model_count; i++)
        write_group(j, NULL, r, &r->by_model[i]);
    json_unnest(j, "]");
    write_seconds(j, r);
    write_failures(j, r);
    json_unnest(j, "}");
}

/* ---- reading ---- */

struct reading {
    struct results *r;
    struct err *e;
    char where[64]; /* "by_model[1]" */
};

static bool fail(const struct reading *x, const char *member, const char *expected)
{
    return err_set(x->e, "%s%s%s: expected %s", x->where, *x->where && *member ? "." : "", member,
                   expected);
}

static bool get_count(const struct reading *x, const struct json_node *n, const char *name,
                      uint64_t *out)
{
    int64_t value;
    const struct json_node *m = json_get(n, name);
    if (!m || m->kind != JSON_NUMBER || !str_to_i64(m->text, &value) || value < 0)
        return fail(x, name, "a whole number that is not negative");
    *out = (uint64_t)value;
    return true;
}

static bool get_number(const struct reading *x, const struct json_node *n, const char *name,
                       double *out)
{
    const struct json_node *m = json_get(n, name);
    if (!m || m->kind != JSON_NUMBER || !isfinite(m->number))
        return fail(x, name, "a number");
    *out = m->number;
    return true;
}

static bool get_hdr(const struct reading *x, const struct json_node *n, const char *name,
                    struct hdr *out)
{
    struct err why = {0};
    const struct json_node *m = json_get(n, name);
    if (!m || m->kind != JSON_STRING)
        return fail(x, name, "a histogram as text (HdrHistogram V2)");
    if (!hdr_decode(out, m->text, &why))
        return err_set(x->e, "%s.%s: %s", x->where, name, why.text);
    return out->count <= (uint64_t)COUNT_MAX || fail(x, name, "fewer values");
}

static bool read_spread(struct reading *x, const struct json_node *n, struct spread *s)
{
    uint64_t count = 0, min = 0, max = 0, chains = 0;
    double sum = 0, squares = 0;
    bool good = get_hdr(x, n, "hdr", &s->hdr) && get_count(x, n, "count", &count) &&
                get_count(x, n, "min", &min) && get_count(x, n, "max", &max) &&
                get_number(x, n, "sum", &sum) && get_number(x, n, "sum_squares", &squares) &&
                get_number(x, n, "lag_products", &s->lag_product_sum) &&
                get_number(x, n, "firsts", &s->firsts) && get_number(x, n, "lasts", &s->lasts) &&
                get_count(x, n, "pairs", &s->pair_count) && get_count(x, n, "chains", &chains);
    if (!good)
        return false;
    if (count != s->hdr.count || count == 0)
        return fail(x, "count", "as many values as the histogram has");
    if (min > max || chains > UINT32_MAX)
        return fail(x, "min", "a least value that is not above the greatest");
    s->hdr.min = min;
    s->hdr.max = max;
    s->hdr.sum = sum;
    s->hdr.sum_squares = squares;
    s->chain_count = (uint32_t)chains;
    s->began = true;
    s->overflowed = true;
    return true;
}

static bool read_metrics(struct reading *x, const struct json_node *n, struct results_group *g)
{
    const struct json_node *metrics = json_get(n, "metrics");
    char group[sizeof x->where];
    snprintf(group, sizeof group, "%s", x->where);
    if (!metrics || metrics->kind != JSON_OBJECT)
        return fail(x, "metrics", "an object");
    for (const struct json_node *c = metrics->child; c; c = c->next) {
        int m = 0;
        while (m < MEASURED_COUNT &&
               !str_eq(c->key, str_from(measured_info((enum measured)m)->key)))
            m++;
        if (m == MEASURED_COUNT)
            return fail(x, "metrics", "metrics that this version knows");
        snprintf(x->where, sizeof x->where, "%.40s.%s", group,
                 measured_info((enum measured)m)->key);
        if (g->spreads[m].hdr.count)
            return fail(x, "", "to be there once");
        if (!read_spread(x, c, &g->spreads[m]))
            return false;
    }
    snprintf(x->where, sizeof x->where, "%s", group);
    return true;
}

static bool read_outcomes(struct reading *x, const struct json_node *n, struct results_group *g)
{
    const struct json_node *outcomes = json_get(n, "outcomes");
    if (!outcomes || outcomes->kind != JSON_OBJECT)
        return fail(x, "outcomes", "an object");
    for (const struct json_node *c = outcomes->child; c; c = c->next) {
        int o = 0;
        while (o < OUTCOME_COUNT && !str_eq(c->key, str_from(outcome_key((enum outcome)o))))
            o++;
        if (o == OUTCOME_COUNT)
            return fail(x, "outcomes", "outcomes that this version knows");
        if (!get_count(x, outcomes, outcome_key((enum outcome)o), &g->outcomes[o]))
            return false;
    }
    return true;
}

/* `shift_ns`: from the file's clock, which begins with its second 0, to that of the results. */
static bool read_group(struct reading *x, const struct json_node *n, uint64_t shift_ns,
                       struct results_group *g)
{
    if (!n || n->kind != JSON_OBJECT)
        return fail(x, "", "an object");
    for (size_t i = 0; i < COUNT(counts); i++)
        if (!get_count(x, n, counts[i].name, count_at(g, i)))
            return false;
    if (!get_number(x, n, "cost_usd", &g->cost_usd) ||
        !get_number(x, n, "wasted_usd", &g->wasted_usd) ||
        !get_count(x, n, "first_ns", &g->first_ns) || !get_count(x, n, "last_ns", &g->last_ns))
        return false;
    if (!read_outcomes(x, n, g) || !read_metrics(x, n, g))
        return false;
    bool any = results_attempts(g) > 0; /* else 0 stands for no time */
    g->first_ns = any ? g->first_ns + shift_ns : 0;
    g->last_ns = g->requests ? g->last_ns + shift_ns : 0;
    return true;
}

/* Each of the file's groups into the one of the results that it is. */
static bool read_groups(struct reading *x, const struct json_node *n, const char *name,
                        uint64_t shift_ns, struct results_group *into, const uint32_t *place_of,
                        uint32_t count)
{
    const struct json_node *list = json_get(n, name);
    uint32_t i = 0;
    x->where[0] = '\0';
    if (!list || list->kind != JSON_ARRAY || list->count != count)
        return fail(x, name, "a list with an element for each");
    for (const struct json_node *c = list->child; c; c = c->next, i++) {
        snprintf(x->where, sizeof x->where, "%s[%u]", name, i);
        if (!read_group(x, c, shift_ns, &into[place_of[i]]))
            return false;
    }
    return true;
}

/* ---- seconds ---- */

static bool read_histogram(struct reading *x, const struct json_node *n, const char *name,
                           struct histogram *h)
{
    struct hdr fine = {0};
    if (!json_get(n, name))
        return true;
    bool good = get_hdr(x, n, name, &fine);
    for (unsigned o = 0; good && o < HDR_OCTAVES; o++)
        for (unsigned sub = 0; fine.octaves[o] && sub < HDR_SUBS; sub++)
            if (fine.octaves[o][sub])
                histogram_add_times(h, (hdr_low(o, sub) + hdr_high(o, sub)) / 2,
                                    (uint32_t)MIN(fine.octaves[o][sub], (uint64_t)UINT32_MAX));
    hdr_fini(&fine);
    return good;
}

static bool read_second(struct reading *x, const struct json_node *c, struct results_second *s)
{
    uint64_t begun = 0, ended = 0, failed = 0, chunks = 0;
    if (!get_count(x, c, "begun", &begun) || !get_count(x, c, "ended", &ended) ||
        !get_count(x, c, "failed", &failed) || !get_count(x, c, "chunks", &chunks))
        return false;
    s->begun += begun;
    s->ended += ended;
    s->failed += failed;
    s->chunks += chunks;
    return read_histogram(x, c, "latency", &s->latency) &&
           read_histogram(x, c, "response", &s->response) && read_histogram(x, c, "ttft", &s->ttft);
}

/* Slots as long as need be for all to fit, none longer. */
static bool read_seconds(struct reading *x, const struct json_node *n, uint64_t shift_ns)
{
    const struct json_node *list = json_get(n, "seconds");
    struct results *r = x->r;
    uint64_t length = 0;
    x->where[0] = '\0';
    if (!list || list->kind != JSON_ARRAY || list->count > RESULTS_SLOTS_MAX)
        return fail(x, "seconds", "a list of at most 1800 elements");
    if (!get_count(x, n, "second_ns", &length))
        return false;
    if (length < r->second_ns || length > UINT64_C(1) << 52)
        return fail(x, "second_ns", "a second or more");
    uint64_t all_ns = shift_ns + list->count * length, slot_ns = length;
    while (slot_ns > 0 && slot_ns < UINT64_MAX / 4 && all_ns / slot_ns >= RESULTS_SLOTS_MAX)
        slot_ns *= 2;
    ENSURE(slot_ns > 0);
    r->second_ns = slot_ns;
    r->second_count = list->count ? all_ns / slot_ns + 1 : 0;
    r->second_room = r->second_count;
    r->seconds = mem_alloc((r->second_room + 1) * sizeof *r->seconds);
    uint64_t i = 0, last = 0;
    for (const struct json_node *c = list->child; c; c = c->next, i++) {
        last = (shift_ns + i * length + length / 2) / slot_ns;
        snprintf(x->where, sizeof x->where, "seconds[%llu]", (unsigned long long)i);
        if (!read_second(x, c, &r->seconds[last]))
            return false;
    }
    r->second_count = list->count ? last + 1 : 0;
    return true;
}

static void get_text(const struct json_node *n, const char *name, char *out, size_t out_bytes)
{
    const struct json_node *m = json_get(n, name);
    snprintf(out, out_bytes, "%.*s",
             m && m->kind == JSON_STRING ? (int)MIN(m->text.n, out_bytes) : 0,
             m && m->text.p ? m->text.p : "");
}

static bool read_failures(struct reading *x, const struct json_node *n)
{
    const struct json_node *list = json_get(n, "failures");
    struct results *r = x->r;
    x->where[0] = '\0';
    if (!list || list->kind != JSON_ARRAY || list->count > RESULTS_FAILURES_MAX)
        return fail(x, "failures", "a list of at most 16 elements");
    for (const struct json_node *c = list->child; c; c = c->next) {
        struct results_failure *f = &r->failures[r->failure_count];
        char outcome[40];
        get_text(c, "outcome", outcome, sizeof outcome);
        int o = 0;
        while (o < OUTCOME_COUNT && strcmp(outcome, outcome_key((enum outcome)o)) != 0)
            o++;
        if (o == OUTCOME_COUNT || !get_count(x, c, "count", &f->count))
            return fail(x, "failures", "an outcome and a count");
        f->outcome = (enum outcome)o;
        get_text(c, "error", f->error, sizeof f->error);
        get_text(c, "request_id", f->request_id, sizeof f->request_id);
        r->failure_count++;
    }
    return get_count(x, n, "failures_untold", &r->failures_untold);
}

/* ---- the whole ---- */

bool export_mergeable_origin(const struct json_node *n, int64_t *real_us, struct err *e)
{
    const struct json_node *m = n ? json_get(n, "origin_real_us") : NULL;
    if (!m || m->kind != JSON_NUMBER || !str_to_i64(m->text, real_us) || *real_us < 0 ||
        *real_us > INT64_MAX / 2000)
        return err_set(e, "origin_real_us: expected microseconds since 1970");
    return true;
}

static bool read_objectives(struct reading *x, const struct json_node *n, struct objectives *o)
{
    const struct json_node *map = json_get(n, "objectives");
    for (size_t i = 0; map && i < COUNT(objective_members); i++)
        if (!get_count(x, map, objective_members[i].name,
                       (uint64_t *)((char *)o + objective_members[i].offset)))
            return false;
    return map || fail(x, "objectives", "an object");
}

static bool read_all(struct reading *x, const struct json_node *n, const struct mergeable_places *p,
                     uint64_t shift_ns)
{
    uint64_t moved_ns = x->r->origin_ns + shift_ns;
    snprintf(x->where, sizeof x->where, "total");
    if (!read_group(x, json_get(n, "total"), moved_ns, &x->r->total))
        return false;
    snprintf(x->where, sizeof x->where, "warm_up");
    if (!read_group(x, json_get(n, "warm_up"), moved_ns, &x->r->warm_up))
        return false;
    return read_groups(x, n, "by_stage", moved_ns, x->r->by_stage, p->stage_of,
                       p->stages_in_file) &&
           read_groups(x, n, "by_model", moved_ns, x->r->by_model, p->model_of,
                       p->models_in_file) &&
           read_seconds(x, n, shift_ns) && read_failures(x, n) &&
           get_number(x, n, "in_flight_ns", &x->r->in_flight_ns);
}

struct results *export_mergeable_read(const struct json_node *n,
                                      const struct mergeable_places *places, struct err *e)
{
    struct reading x = {.e = e};
    struct objectives objectives = {0};
    int64_t own_us = 0;
    if (!n || n->kind != JSON_OBJECT) {
        err_set(e, "expected what weir load --export FILE.json writes: it has no \"mergeable\"");
        return NULL;
    }
    if (!export_mergeable_origin(n, &own_us, e) || !read_objectives(&x, n, &objectives))
        return NULL;
    ENSURE(own_us >= places->origin_real_us);
    x.r = results_new(places->stage_count, places->model_count, &objectives,
                      (uint64_t)places->origin_real_us * 1000);
    if (read_all(&x, n, places, (uint64_t)(own_us - places->origin_real_us) * 1000))
        return x.r;
    results_free(x.r);
    return NULL;
}
