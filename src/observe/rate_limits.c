/* rate_limits.c -- minutes as cells in one table, found by pair and minute; limits are worked out from them at the end.
 *
 * A provider as a whole is the sum of its keys' cells, made when all is read. */
#include "observe/rate_limits.h"

#include <math.h>

#define MINUTE_US      INT64_C(60000000)
#define HASH_SHOWN     12
#define TOKENS_LIMIT   INT64_C(1000000000000)
#define STATUS_LIMITED 429
#define TABLE_MIN      64u

void rates_init(struct rates *r)
{
    *r = (struct rates){0};
    log_names_init(&r->names, RATE_NAMES_MAX);
    map_init(&r->pair_by_name);
}

void rates_fini(struct rates *r)
{
    log_names_fini(&r->names);
    map_fini(&r->pair_by_name);
    mem_free(r->pairs);
    mem_free(r->cells);
    mem_free(r->table);
    mem_free(r->whole_cells);
    mem_free(r->wholes);
}

/* ---- pairs and cells ---- */

static uint32_t pair_of(struct rates *r, const char *key, bool hashed, const char *provider)
{
    char text[2 * LOG_NAME_BYTES + 4];
    int n = snprintf(text, sizeof text, "%s\xFE%s%s", key ? key : "\xFF", hashed ? "\xFE" : "",
                     provider ? provider : "\xFF");
    void *found = map_get(&r->pair_by_name, (struct str){text, (size_t)n});
    if (found)
        return (uint32_t)(uintptr_t)found - 1;
    if (r->pair_count >= RATE_PAIRS_MAX) {
        const char *other = log_name(&r->names, STR("other"));
        if (key != other || provider != other)
            return pair_of(r, other, false, other);
    }
    if ((r->pair_count & (r->pair_count - 1)) == 0)
        r->pairs = mem_realloc(r->pairs, MAX(r->pair_count * 2, (size_t)1) * sizeof *r->pairs);
    r->pairs[r->pair_count++] =
        (struct rate_pair){.key = key, .provider = provider, .hashed = hashed};
    map_put(&r->pair_by_name, arena_str(&r->names.texts, (struct str){text, (size_t)n}),
            (void *)(uintptr_t)r->pair_count);
    return (uint32_t)r->pair_count - 1;
}

static size_t slot_of(const struct rates *r, uint32_t pair, uint32_t minute)
{
    uint64_t hash = ((uint64_t)pair << 32 | minute) * 0x9E3779B97F4A7C15u;
    size_t mask = r->table_size - 1, i = (size_t)(hash >> 32) & mask;
    for (; r->table[i]; i = (i + 1) & mask) {
        const struct rate_cell *c = &r->cells[r->table[i] - 1];
        if (c->pair == pair && c->minute == minute)
            break;
    }
    return i;
}

static void grow(struct rates *r)
{
    r->cell_room = MAX(r->cell_room * 2, (size_t)TABLE_MIN);
    r->cells = mem_realloc(r->cells, r->cell_room * sizeof *r->cells);
    mem_free(r->table);
    r->table_size = r->cell_room * 2;
    r->table = mem_alloc(r->table_size * sizeof *r->table);
    for (size_t i = 0; i < r->cell_count; i++)
        r->table[slot_of(r, r->cells[i].pair, r->cells[i].minute)] = (uint32_t)i + 1;
}

/* NULL: there is no room for one more. */
static struct rate_cell *cell_of(struct rates *r, uint32_t pair, uint32_t minute)
{
    if (r->cell_count == r->cell_room && r->cell_room < RATE_CELLS_MAX)
        grow(r);
    size_t slot = slot_of(r, pair, minute);
    if (r->table[slot])
        return &r->cells[r->table[slot] - 1];
    if (r->cell_count >= r->cell_room)
        return NULL;
    r->cells[r->cell_count] = (struct rate_cell){.pair = pair, .minute = minute};
    r->table[slot] = (uint32_t)++r->cell_count;
    return &r->cells[r->cell_count - 1];
}

/* ---- lines ---- */

enum refusal { REFUSED_NOT, BY_PROVIDER, BY_GATEWAY };

static enum refusal refusal_of(const struct logline *l)
{
    int64_t theirs = l->found & LOG_BIT(error_provider_status) ? l->r.error.provider_status : 0;
    int64_t sent = l->found & LOG_BIT(http_status) ? l->r.http_status : 0;
    if (theirs == STATUS_LIMITED)
        return l->shape == LOG_SHAPE_LITELLM && !(l->found & LOG_BIT(provider)) ? BY_GATEWAY
                                                                                : BY_PROVIDER;
    return sent == STATUS_LIMITED && !theirs ? BY_GATEWAY : REFUSED_NOT;
}

/* Did it go to a provider? A request of weir's says how often; from cache nothing does. */
static bool was_sent(const struct logline *l)
{
    if (log_text_is(l, LOG_BIT(cache), l->r.cache, STR("hit")) || !(l->found & LOG_BIT(provider)))
        return false;
    return !(l->found & LOG_BIT(attempts)) || l->r.attempts > 0;
}

static uint32_t pair_of_line(struct rates *r, const struct logline *l)
{
    char hash[HASH_SHOWN + 1];
    const char *provider = log_name_of(&r->names, l, LOG_provider);
    const char *alias = log_name_of(&r->names, l, LOG_key_alias);
    size_t n = alias ? 0 : log_text_copy(l, LOG_key_hash, hash, sizeof hash);
    return pair_of(r,
                   alias ? alias
                   : n   ? log_name(&r->names, (struct str){hash, n})
                         : NULL,
                   n > 0, provider);
}

static uint64_t tokens_of(const struct logline *l)
{
    const struct record *r = &l->r;
    if (l->found & LOG_BIT(total_tokens))
        return (uint64_t)MIN(r->total_tokens, TOKENS_LIMIT);
    int64_t prompt = l->found & LOG_BIT(prompt_tokens) ? MIN(r->prompt_tokens, TOKENS_LIMIT) : 0;
    int64_t answer =
        l->found & LOG_BIT(completion_tokens) ? MIN(r->completion_tokens, TOKENS_LIMIT) : 0;
    return (uint64_t)(prompt + answer);
}

void rates_take(struct rates *r, const struct logline *l, enum log_event event)
{
    enum refusal refusal = refusal_of(l);
    bool sent = refusal == BY_PROVIDER || (refusal == REFUSED_NOT && was_sent(l));
    int64_t took_us = l->found & LOG_BIT(upstream)  ? l->r.upstream_us
                      : l->found & LOG_BIT(latency) ? l->r.latency_us
                                                    : 0;
    if ((event != LOG_EVENT_REQUEST && event != LOG_EVENT_ATTEMPT) ||
        (!sent && refusal == REFUSED_NOT) || !(l->found & LOG_BIT(timestamp)))
        return;
    int64_t start_us = MAX(l->r.timestamp - took_us, 0);
    struct rate_cell *c = cell_of(r, pair_of_line(r, l), (uint32_t)(start_us / MINUTE_US));
    if (!c) {
        r->left_out++;
        return;
    }
    c->requests += sent;
    c->tokens += sent ? tokens_of(l) : 0;
    c->provider_429 += refusal == BY_PROVIDER;
    c->gateway_429 += refusal == BY_GATEWAY;
}

static void add_cell(struct rate_cell *to, const struct rate_cell *c)
{
    to->requests += c->requests;
    to->tokens += c->tokens;
    to->provider_429 += c->provider_429;
    to->gateway_429 += c->gateway_429;
}

void rates_merge(struct rates *into, const struct rates *from)
{
    into->left_out += from->left_out;
    for (size_t i = 0; i < from->cell_count; i++) {
        const struct rate_cell *c = &from->cells[i];
        const struct rate_pair *p = &from->pairs[c->pair];
        const char *key = p->key ? log_name(&into->names, str_from(p->key)) : NULL;
        const char *provider = p->provider ? log_name(&into->names, str_from(p->provider)) : NULL;
        struct rate_cell *to = cell_of(into, pair_of(into, key, p->hashed, provider), c->minute);
        if (to)
            add_cell(to, c);
        else
            into->left_out += c->requests + c->gateway_429;
    }
}

/* ---- limits ---- */

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t value_of(const struct rate_cell *c, bool tokens)
{
    return tokens ? c->tokens : c->requests;
}

/* Peak and spread, what passed and what was refused. `room` has a place for each of the pair's minutes. */
static void measure(struct rate_limit *l, const struct rate_pair *p, bool tokens,
                    uint32_t last_minute, uint64_t *room)
{
    size_t n = 0;
    uint64_t hit = UINT64_MAX, clean = 0;
    *l = (struct rate_limit){.estimate = NAN, .headroom = NAN};
    for (size_t i = 0; i < p->cell_count; i++) {
        const struct rate_cell *c = &p->cells[i];
        uint64_t value = value_of(c, tokens);
        if (c->requests)
            room[n++] = value;
        if (c->provider_429)
            hit = MIN(hit, value);
        else
            clean = MAX(clean, value);
        l->passed = MAX(l->passed, tokens ? value : value - c->provider_429);
        if (c->minute + 1 == last_minute)
            l->now = value;
    }
    l->hit = hit == UINT64_MAX ? 0 : hit;
    if (l->hit > clean) {
        l->estimate = (double)l->passed;
        l->headroom = l->passed ? 1 - (double)l->now / l->estimate : NAN;
    }
    if (!n)
        return;
    qsort(room, n, sizeof *room, by_value);
    l->peak = room[n - 1];
    l->p95 = room[(n * 95 + 99) / 100 - 1];
}

static void settle_pair(struct rate_pair *p, uint32_t last_minute)
{
    uint64_t *room = mem_alloc(MAX(p->cell_count, (size_t)1) * sizeof *room);
    for (size_t i = 0; i < p->cell_count; i++) {
        const struct rate_cell *c = &p->cells[i];
        p->requests += c->requests;
        p->tokens += c->tokens;
        p->provider_429 += c->provider_429;
        p->gateway_429 += c->gateway_429;
        p->minutes += c->requests > 0;
        p->minutes_429 += c->provider_429 || c->gateway_429;
    }
    measure(&p->rpm, p, false, last_minute, room);
    measure(&p->tpm, p, true, last_minute, room);
    mem_free(room);
    if (!p->provider_429)
        return;
    bool by_requests = isfinite(p->rpm.estimate), by_tokens = isfinite(p->tpm.estimate);
    p->cause = by_requests && by_tokens ? RATE_BY_EITHER
               : by_requests            ? RATE_BY_REQUESTS
               : by_tokens              ? RATE_BY_TOKENS
                                        : RATE_UNEXPLAINED;
}

/* ---- putting in order ---- */

static int by_pair(const void *x, const void *y)
{
    const struct rate_cell *a = x, *b = y;
    if (a->pair != b->pair)
        return a->pair < b->pair ? -1 : 1;
    return (a->minute > b->minute) - (a->minute < b->minute);
}

/* Cells in order, and to each pair its run of them. */
static void give_cells(struct rate_pair *pairs, struct rate_cell *cells, size_t count)
{
    if (count)
        qsort(cells, count, sizeof *cells, by_pair);
    for (size_t i = 0; i < count; i++) {
        struct rate_pair *p = &pairs[cells[i].pair];
        p->cells = p->cell_count ? p->cells : &cells[i];
        p->cell_count++;
    }
}

static int compare_names(const char *a, const char *b)
{
    return !a || !b ? (b != NULL) - (a != NULL) : strcmp(a, b);
}

static int by_trouble(const void *x, const void *y)
{
    const struct rate_pair *a = x, *b = y;
    uint64_t refused_a = a->provider_429 + a->gateway_429,
             refused_b = b->provider_429 + b->gateway_429;
    if (refused_a != refused_b)
        return refused_a > refused_b ? -1 : 1;
    if (a->requests != b->requests)
        return a->requests > b->requests ? -1 : 1;
    int order = compare_names(a->provider, b->provider);
    return order ? order : compare_names(a->key, b->key);
}

static uint32_t whole_of(struct rates *r, const char *provider)
{
    for (size_t i = 0; i < r->whole_count; i++)
        if (r->wholes[i].provider == provider)
            return (uint32_t)i;
    r->wholes = mem_realloc(r->wholes, (r->whole_count + 1) * sizeof *r->wholes);
    r->wholes[r->whole_count] = (struct rate_pair){.provider = provider};
    return (uint32_t)r->whole_count++;
}

/* The same minutes with all keys of a provider together. */
static void make_wholes(struct rates *r)
{
    size_t kept = 0;
    uint32_t *wholes = mem_alloc(MAX(r->pair_count, (size_t)1) * sizeof *wholes);
    for (size_t i = 0; i < r->pair_count; i++)
        wholes[i] = whole_of(r, r->pairs[i].provider);
    r->whole_cells = mem_alloc(MAX(r->cell_count, (size_t)1) * sizeof *r->whole_cells);
    for (size_t i = 0; i < r->cell_count; i++) {
        r->whole_cells[i] = r->cells[i];
        r->whole_cells[i].pair = wholes[r->cells[i].pair];
    }
    mem_free(wholes);
    if (r->cell_count)
        qsort(r->whole_cells, r->cell_count, sizeof *r->whole_cells, by_pair);
    for (size_t i = 0; i < r->cell_count; i++) {
        if (kept && by_pair(&r->whole_cells[kept - 1], &r->whole_cells[i]) == 0)
            add_cell(&r->whole_cells[kept - 1], &r->whole_cells[i]);
        else
            r->whole_cells[kept++] = r->whole_cells[i];
    }
    give_cells(r->wholes, r->whole_cells, kept);
}

void rates_settle(struct rates *r)
{
    if (r->whole_cells)
        return;
    r->first_minute = UINT32_MAX;
    for (size_t i = 0; i < r->cell_count; i++) {
        r->first_minute = MIN(r->first_minute, r->cells[i].minute);
        r->last_minute = MAX(r->last_minute, r->cells[i].minute);
    }
    make_wholes(r);
    give_cells(r->pairs, r->cells, r->cell_count);
    for (size_t i = 0; i < r->pair_count; i++)
        settle_pair(&r->pairs[i], r->last_minute);
    for (size_t i = 0; i < r->whole_count; i++)
        settle_pair(&r->wholes[i], r->last_minute);
    if (r->pair_count)
        qsort(r->pairs, r->pair_count, sizeof *r->pairs, by_trouble);
    if (r->whole_count)
        qsort(r->wholes, r->whole_count, sizeof *r->wholes, by_trouble);
}

double rates_share_when_limited(const struct rate_pair *pair, const struct rate_pair *whole)
{
    uint64_t of_pair = 0, of_all = 0;
    for (size_t i = 0, k = 0; i < whole->cell_count; i++) {
        const struct rate_cell *c = &whole->cells[i];
        if (!c->provider_429)
            continue;
        of_all += c->requests;
        while (k < pair->cell_count && pair->cells[k].minute < c->minute)
            k++;
        if (k < pair->cell_count && pair->cells[k].minute == c->minute)
            of_pair += pair->cells[k].requests;
    }
    return of_all ? (double)of_pair / (double)of_all : NAN;
}
