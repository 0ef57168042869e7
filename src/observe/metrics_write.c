/* metrics_write.c -- exposition: metrics.def and the cells of all shards, as text for Prometheus.
 *
 * A family is a view of the cells, or of the accounts: which of them it takes, which of their values it shows as
 * labels, which number it adds up. So writing one is always the same: go through the groups of its label set
 * (metrics_groups.c: sorted, so that the same state gives the same bytes), add up what it takes of each, write. A line is written
 * where it stays: room for it is asked for once, and then its parts are copied.
 *
 * Two formats (both specified at prometheus.io, "Exposition formats", and in OpenMetrics 1.0):
 * - text 0.0.4: no exemplars; one would make Prometheus refuse the whole scrape.
 * - OpenMetrics 1.0: a counter's family is named without "_total", an info's without "_info";
 *   UNIT lines, exemplars, a last line "# EOF". The counter litellm_cache_hits must have exactly
 *   that name, which no OpenMetrics counter can: it is of type unknown there, so that the series
 *   has one name whatever the scraper negotiated; and untyped in the other format, where promtool wants the same.
 * "le" is written as Python's client does ("1.0", not "1"), in both: until Prometheus 3 the text
 * is part of a series' identity, and LiteLLM's dashboards were recorded with it. No "_created"
 * samples: they are optional and double the series of counters.
 *
 * Threads: several may write at once; nothing is kept between calls, and shards are only read. */
#include "observe/metrics_scrape.h"

#include <sched.h>

#include "base/clock.h"
#include "base/digits.h"
#include "observe/log_metrics.h"
#include "observe/log_writer.h"
#include "observe/process.h"

enum {
    SUCCESS = TRAIT_SUCCESS,
    FAILURE = TRAIT_FAILURE,
    ANY = TRAIT_SUCCESS | TRAIT_FAILURE | TRAIT_CANCELLED | TRAIT_UNKNOWN,
    EXPECTED = TRAIT_EXPECTED,
    DEPLOYED = TRAIT_DEPLOYED,
    STREAM = 0, /* nothing to look for: only streams have such times */
    ATTEMPTS = TRAIT_ATTEMPT,
    OUTCOMES = ANY | EXPECTED,
    /* Histograms are large: without this a series appears with its first observation. */
    HISTOGRAM_ZEROS = 256,
    STREAM_ZEROS = 512, /* the same, for what can be streamed */
    NOT_ZERO = 1024,    /* a number's series, too, appears with the first that is not 0 */
};

/* Digits behind the point of a cell's integers, where there are any. */
#define COST_DECIMALS 12
#define TIME_DECIMALS 9

static const char *const type_names[] = {"counter", "gauge", "histogram", "info"};

/* ---- writing ---- */

static void put(struct scrape *s, const char *p, size_t n)
{
    if (!buf_append(s->out, p, n))
        s->failed = true;
}

static void put_z(struct scrape *s, const char *z)
{
    put(s, z, strlen(z));
}
static void put_str(struct scrape *s, struct str t)
{
    put(s, t.p, t.n);
}

#define DECIMAL_BYTES (DIGITS_U64_MAX + 2)

/* `value` / 10^decimals, exactly, without trailing zeros. */
static struct str decimal(char out[DECIMAL_BYTES], uint64_t value, unsigned decimals)
{
    for (; decimals > 0 && value % 10 == 0; decimals--)
        value /= 10;
    char *end = digits_fixed(out, value, MAX(digits_count(value), decimals + 1));
    if (decimals) {
        memmove(end - decimals + 1, end - decimals, decimals);
        *(end++ - decimals) = '.';
    }
    return (struct str){out, (size_t)(end - out)};
}

/* A family's name as the format wants it: OpenMetrics adds "_total" and "_info" to the samples
 * itself. */
static struct str family_name(const struct family *f, enum metrics_format format)
{
    struct str name = str_from(f->name);
    const char *tail = f->type == TYPE_COUNTER ? "_total" : f->type == TYPE_INFO ? "_info" : "";
    if (format == METRICS_OPENMETRICS && str_ends(name, str_from(tail)))
        name.n -= strlen(tail);
    return name;
}

static const char *type_name(const struct family *f, enum metrics_format format)
{
    if (f->type == TYPE_COUNTER && !str_ends(str_from(f->name), STR("_total")))
        return format == METRICS_OPENMETRICS ? "unknown" : "untyped";
    if (format == METRICS_OPENMETRICS)
        return type_names[f->type];
    return f->type == TYPE_INFO ? "gauge" : type_names[f->type];
}

/* HELP, TYPE (and UNIT), once a family and only when it has a sample. */
static void head(struct scrape *s, const struct family *f)
{
    if (s->headed)
        return;
    s->headed = true;
    bool open = s->format == METRICS_OPENMETRICS;
    struct str name = family_name(f, s->format), help = str_from(f->help);
    char *escaped = arena_alloc(&s->texts, 2 * help.n);
    size_t escaped_n = scrape_escape(escaped, help, open);
    put_z(s, "# HELP ");
    put_str(s, name);
    put_z(s, " ");
    put(s, escaped, escaped_n);
    put_z(s, "\n# TYPE ");
    put_str(s, name);
    put_z(s, " ");
    put_z(s, type_name(f, s->format));
    put_z(s, "\n");
    struct str unit = str_from(f->unit);
    if (open && unit.n && str_ends(name, unit) && name.p[name.n - unit.n - 1] == '_') {
        put_z(s, "# UNIT ");
        put_str(s, name);
        put_z(s, " ");
        put_str(s, unit);
        put_z(s, "\n");
    }
}

static char *copy(char *at, struct str t)
{
    if (t.n)
        memcpy(at, t.p, t.n);
    return at + t.n;
}

/* Others first: who computes is left alone for a whole slice of the scheduler's, 3 ms, even if a worker waits for this core meanwhile. But who is waited for
 * (nobody would say `unwanted`) keeps what it has: on a full machine each yield costs a round of all others. */
static void yield(const struct scrape *s)
{
    if (s->process->unwanted)
        sched_yield();
}

static void give_way(struct scrape *s)
{
    if (s->written + buf_used(s->out) - s->gave_way < METRICS_PIECE_BYTES)
        return;
    s->gave_way = s->written + buf_used(s->out);
    if (s->process->unwanted)
        s->failed |= __atomic_load_n(s->process->unwanted, __ATOMIC_RELAXED);
    yield(s);
}

/* Room for `bytes` behind what is written, which ends with a line; NULL where the buffer's cap is reached. */
static char *room(struct scrape *s, size_t bytes)
{
    give_way(s);
    if (s->process->drain && buf_used(s->out) >= METRICS_PIECE_BYTES && !s->failed) {
        s->written += buf_used(s->out);
        s->failed = !s->process->drain(s->process->drain_arg, s->out);
    }
    char *at = s->failed ? NULL : buf_room(s->out, bytes);
    s->failed |= !at;
    return at;
}

static void wrote(struct scrape *s, const char *end)
{
    buf_wrote(s->out, (size_t)(end - (s->out->data + s->out->len)));
}

/* {labels[,extra]} and a space. */
static char *copy_labels(char *at, struct str labels, struct str extra)
{
    if (labels.n || extra.n) {
        *at++ = '{';
        at = copy(at, labels);
        if (labels.n && extra.n)
            *at++ = ',';
        at = copy(at, extra);
        *at++ = '}';
    }
    *at++ = ' ';
    return at;
}

/* The value and the line's end. */
static char *copy_value(char *at, uint64_t value, unsigned decimals)
{
    if (decimals) {
        char text[DECIMAL_BYTES];
        at = copy(at, decimal(text, value, decimals));
    } else {
        at = digits_u64(at, value);
    }
    *at++ = '\n';
    return at;
}

void scrape_sample(struct scrape *s, const struct family *f, struct str labels, struct str extra,
                   uint64_t value)
{
    head(s, f);
    struct str name = str_from(f->name);
    char *at = room(s, name.n + labels.n + extra.n + DECIMAL_BYTES + 8);
    if (at)
        wrote(s, copy_value(copy_labels(copy(at, name), labels, extra), value, f->source.decimals));
}

/* ---- groups of cells ---- */

static bool takes(const struct source *source, const struct cell *c)
{
    unsigned must = source->cells & (DEPLOYED | STREAM);
    if (c->outcome.traits & ATTEMPTS & ~source->cells)
        return false;
    return c->outcome.traits & source->cells & OUTCOMES && (c->outcome.traits & must) == must;
}

static struct str shown(const struct label *label, const struct str *values)
{
    return label->text ? str_from(label->text) : values[label->value];
}

struct str scrape_labels(struct arena *a, const struct label *labels, size_t count,
                         const struct str *values)
{
    size_t room = 0, n = 0;
    for (size_t i = 0; i < count; i++)
        room += strlen(labels[i].name) + 4 + 2 * shown(&labels[i], values).n;
    char *text = arena_alloc(a, room + 1);
    for (size_t i = 0; i < count; i++) {
        struct str name = str_from(labels[i].name);
        if (i > 0)
            text[n++] = ',';
        memcpy(text + n, name.p, name.n);
        n += name.n;
        text[n++] = '=';
        text[n++] = '"';
        n += scrape_escape(text + n, shown(&labels[i], values), true);
        text[n++] = '"';
    }
    return (struct str){text, n};
}

int scrape_compare_labels(const void *a, const void *b)
{
    struct str x = ((const struct group *)a)->labels, y = ((const struct group *)b)->labels;
    int order = memcmp(x.p, y.p, MIN(x.n, y.n));
    return order ? order : (x.n > y.n) - (x.n < y.n);
}

/* Does the family take any of the group's cells? One that takes none has no series of it. */
static bool takes_any(const struct family *f, const struct grouping *all, const struct group *g)
{
    for (uint32_t i = g->first; i < g->end; i++)
        if (takes(&f->source, all->cells[i]))
            return true;
    return false;
}

static uint64_t number_of(const struct cell *c, unsigned number)
{
    if (number < NUMBER_COUNT)
        return COUNTER_GET(c->numbers[number]);
    uint64_t hits = COUNTER_GET(c->numbers[NUMBER_CACHE_HITS]),
             requests = COUNTER_GET(c->numbers[NUMBER_REQUESTS]);
    if (number == NUMBER_CALLS)
        return requests - MIN(hits, requests);
    if (number == NUMBER_RETRIES)
        return c->outcome.traits & TRAIT_ATTEMPT ? requests : 0;
    return number - NUMBER_OUTCOME == c->outcome.kind ? requests : 0;
}

static uint64_t sum_of(const struct family *f, const struct grouping *all, const struct group *g,
                       unsigned number)
{
    uint64_t sum = 0;
    for (uint32_t i = g->first; i < g->end; i++)
        if (takes(&f->source, all->cells[i]))
            sum += number_of(all->cells[i], number);
    return sum;
}

/* name="text" of each part. */
static struct str *part_labels(struct scrape *s, const struct source *source)
{
    struct str *labels = arena_alloc(&s->texts, (source->part_count + 1) * sizeof *labels);
    for (unsigned p = 0; p < source->part_count; p++)
        labels[p] = arena_printf(&s->texts, "%s=\"%s\"", source->part_label, source->parts[p].text);
    return labels;
}

#define PARTS_MAX 8

/* Several numbers of a group, told apart by a label of their own. */
static void write_parts(struct scrape *s, const struct family *f, const struct grouping *all,
                        const struct group *g, const struct str *labels)
{
    const struct source *source = &f->source;
    uint64_t sums[PARTS_MAX] = {0}, any = 0;
    ENSURE(source->part_count <= PARTS_MAX);
    for (unsigned p = 0; p < source->part_count; p++)
        any |= sums[p] = sum_of(f, all, g, source->parts[p].number);
    for (unsigned p = 0; p < source->part_count; p++)
        if (sums[p] || !(source->parts[p].rare || (source->cells & NOT_ZERO && !any)))
            scrape_sample(s, f, g->labels, labels[p], sums[p]);
}

static void write_sum(struct scrape *s, const struct family *f)
{
    const struct source *source = &f->source;
    const struct grouping *all = scrape_groups(s, f);
    const struct str *parts = part_labels(s, source);
    bool any = false;
    ENSURE(!all->of_accounts || (source->part_count == 0 && source->index < NUMBER_ACCOUNT_COUNT));
    for (uint32_t i = 0; i < all->group_count && !s->failed; i++) {
        const struct group *g = &all->groups[i];
        if (!takes_any(f, all, g))
            continue;
        any = true;
        if (source->part_count)
            write_parts(s, f, all, g, parts);
        else
            scrape_sample(s, f, g->labels, STR_NONE, sum_of(f, all, g, source->index));
    }
    if (!any && f->label_count == 0)
        scrape_sample(s, f, STR_NONE, STR_NONE, 0);
}

static void write_state(struct scrape *s, const struct family *f)
{
    if (s->process->deployments) {
        scrape_each_deployment(s, f);
        return;
    }
    const struct grouping *all = scrape_groups(s, f);
    ENSURE(!all->of_accounts);
    for (uint32_t n = 0; n < all->group_count && !s->failed; n++) {
        const struct group *g = &all->groups[n];
        int64_t good_us = 0, bad_us = 0;
        if (!takes_any(f, all, g))
            continue;
        for (uint32_t i = g->first; i < g->end; i++) {
            const struct cell *c = all->cells[i];
            int64_t last_us = takes(&f->source, c) ? COUNTER_GET(c->last_real_us) : 0;
            if (c->outcome.traits & SUCCESS)
                good_us = MAX(good_us, last_us);
            else if (c->outcome.traits & FAILURE)
                bad_us = MAX(bad_us, last_us);
        }
        scrape_sample(s, f, g->labels, STR_NONE, bad_us > good_us);
    }
}

/* ---- histograms ---- */

/* One histogram of a family's many. */
struct series {
    const struct family *family;
    enum histogram index;
    const struct grouping *all;
    const struct group *group;
    const struct str *les;
};

/* le="1.0"} and a space: a bound in seconds, with a point even when it is whole. */
static struct str bound_label(struct arena *a, uint64_t ns)
{
    char text[DECIMAL_BYTES];
    struct str seconds = decimal(text, ns, TIME_DECIMALS);
    return arena_printf(a, "le=\"%.*s%s\"} ", STR_ARG(seconds),
                        str_find(seconds, '.') < 0 ? ".0" : "");
}

static struct str *bound_labels(struct scrape *s, const struct bounds *b)
{
    struct str *labels = arena_alloc(&s->texts, (b->count + 1) * sizeof *labels);
    for (uint32_t i = 0; i < b->count; i++)
        labels[i] = bound_label(&s->texts, b->ns[i]);
    labels[b->count] = STR("le=\"+Inf\"} ");
    return labels;
}

static bool is_trace_id(const char id[32])
{
    for (int i = 0; i < 32; i++)
        if (!((id[i] >= '0' && id[i] <= '9') || (id[i] >= 'a' && id[i] <= 'f')))
            return false;
    return true;
}

#define EXEMPLAR_BYTES (32 + 2 * DECIMAL_BYTES + 24)

/* The newest request of the group that fell into bucket `bucket`: " # {trace_id="..."} seconds
 * time". */
static char *copy_exemplar(char *at, const struct series *h, uint32_t bucket)
{
    struct exemplar newest = {.real_us = INT64_MIN}, e;
    for (uint32_t i = h->group->first; i < h->group->end; i++) {
        const struct cell *c = h->all->cells[i];
        const struct exemplar *each = __atomic_load_n(&c->exemplars, __ATOMIC_ACQUIRE);
        if (each && takes(&h->family->source, c) && exemplar_read(&each[bucket], &e) &&
            e.real_us > newest.real_us)
            newest = e;
    }
    char id[32], text[DECIMAL_BYTES];
    memcpy(id, newest.trace_id, sizeof id);
    if (newest.real_us < 0 || !is_trace_id(id))
        return at;
    at = copy(copy(at, STR(" # {trace_id=\"")), (struct str){id, sizeof id});
    at = copy(copy(at, STR("\"} ")), decimal(text, newest.value_ns, TIME_DECIMALS));
    *at++ = ' ';
    return copy(at, decimal(text, (uint64_t)newest.real_us, 6));
}

/* Adds up all buckets and the sum of the group's cells into s->sums; returns the number of
 * observations. */
static uint64_t add_up(struct scrape *s, const struct series *h)
{
    uint32_t width = s->m->bounds[h->index].count + 2, at = s->m->histogram_at[h->index];
    uint64_t count = 0;
    memset(s->sums, 0, width * sizeof *s->sums);
    for (uint32_t i = h->group->first; i < h->group->end; i++) {
        const struct cell *c = h->all->cells[i];
        if (!takes(&h->family->source, c))
            continue;
        for (uint32_t b = 0; b < width; b++)
            s->sums[b] += COUNTER_GET(c->numbers[at + b]);
    }
    for (uint32_t b = 0; b + 1 < width; b++)
        count += s->sums[b];
    return count;
}

/* All lines of one histogram. The part that its buckets' lines begin with is put together once. */
static void write_histogram(struct scrape *s, const struct series *h)
{
    uint32_t inf = s->m->bounds[h->index].count;
    bool exemplars = s->format == METRICS_OPENMETRICS && h->index == HISTOGRAM_LATENCY;
    struct str name = str_from(h->family->name), labels = h->group->labels;
    size_t line = name.n + labels.n + 40 + DECIMAL_BYTES + (exemplars ? EXEMPLAR_BYTES : 0);
    uint64_t count = 0;
    head(s, h->family);
    char *start = room(s, line * (inf + 3)), *at = start;
    if (!start)
        return;
    at = copy(copy(copy(copy(at, name), STR("_bucket{")), labels), STR(","));
    struct str begin = {start, (size_t)(at - start) - (labels.n == 0)};
    at = start;
    for (uint32_t b = 0; b <= inf; b++) {
        count += s->sums[b];
        if (b > 0)
            memcpy(at, begin.p, begin.n);
        at = digits_u64(copy(at + begin.n, h->les[b]), count);
        if (exemplars && s->sums[b] > 0)
            at = copy_exemplar(at, h, b);
        *at++ = '\n';
    }
    at = copy_labels(copy(copy(at, name), STR("_sum")), labels, STR_NONE);
    at = copy_value(at, s->sums[inf + 1], h->family->source.decimals);
    at = copy_labels(copy(copy(at, name), STR("_count")), labels, STR_NONE);
    wrote(s, copy_value(at, count, 0));
}

/* Does any of the group's cells say that there may be streams? */
static bool can_stream(const struct series *h)
{
    for (uint32_t i = h->group->first; i < h->group->end; i++)
        if (h->all->cells[i]->outcome.traits & TRAIT_STREAM)
            return true;
    return false;
}

static bool shows_zeros(const struct series *h)
{
    const struct family *f = h->family;
    return f->source.cells & HISTOGRAM_ZEROS || f->label_count == 0 ||
           (f->source.cells & STREAM_ZEROS && can_stream(h));
}

static void write_times(struct scrape *s, const struct family *f)
{
    static const struct group none;
    bool any = false;
    struct series h = {f, f->source.index, scrape_groups(s, f), NULL,
                       bound_labels(s, &s->m->bounds[f->source.index])};
    ENSURE(!h.all->of_accounts);
    for (uint32_t i = 0; i < h.all->group_count && !s->failed; i++) {
        h.group = &h.all->groups[i];
        if (!takes_any(f, h.all, h.group))
            continue;
        any = true;
        if (add_up(s, &h) > 0 || shows_zeros(&h))
            write_histogram(s, &h);
    }
    h.group = &none;
    if (!any && f->label_count == 0) {
        (void)add_up(s, &h);
        write_histogram(s, &h);
    }
}

/* ---- what does not come from cells ---- */

static uint64_t worker_sum(const struct scrape *s, size_t offset)
{
    uint64_t sum = 0;
    for (int i = 0; i < s->m->shard_count; i++)
        sum += COUNTER_GET(
            *(const uint64_t *)(const void *)((const char *)&s->m->shards[i].worker + offset));
    return sum;
}

static uint64_t ready(const struct scrape *s)
{
    return s->process->ready;
}
static uint64_t config_loaded_us(const struct scrape *s)
{
    return s->process->config ? (uint64_t)MAX(s->process->config->loaded_real_us, 0) : 0;
}
static const struct config_reloads *reloads_of(const struct scrape *s)
{
    static const struct config_reloads none = {.last_ok = true};
    return s->process->reloads ? s->process->reloads : &none;
}
static uint64_t config_last_ok(const struct scrape *s)
{
    return reloads_of(s)->last_ok;
}
static uint64_t config_last_success_us(const struct scrape *s)
{
    return (uint64_t)MAX(reloads_of(s)->last_success_real_us, 0);
}
static uint64_t start_time_us(const struct scrape *s)
{
    return (uint64_t)(MAX(s->process->start_time_seconds, 0.0) * 1e6);
}
static uint64_t series_held(const struct scrape *s)
{
    uint64_t sum = 0;
    for (int i = 0; i < s->m->shard_count; i++)
        sum += COUNTER_GET(s->m->shards[i].road_count) + pile_count(&s->m->shards[i].accounts);
    return sum;
}
static uint64_t series_budget(const struct scrape *s)
{
    return s->m->budget * (uint64_t)s->m->shard_count;
}
/* In millionths. Labels are lost as soon as one part of one worker's budget is full, however much of the whole is left. */
static uint64_t series_fullest(const struct scrape *s)
{
    const struct metrics *m = s->m;
    uint64_t fullest = 0;
    for (int i = 0; i < m->shard_count; i++) {
        const struct shard *shard = &m->shards[i];
        const uint64_t parts[][2] = {
            {COUNTER_GET(shard->road_count), m->road_max},
            {pile_count(&shard->accounts), m->account_max},
            {COUNTER_GET(shard->keyed_accounts), m->keyed_max},
        };
        for (size_t p = 0; p < COUNT(parts); p++)
            fullest = MAX(fullest, parts[p][0] * 1000000 / MAX(parts[p][1], 1u));
    }
    return fullest;
}
static uint64_t scrape_ns(const struct scrape *s)
{
    return COUNTER_GET(s->m->last_scrape->ns);
}

static uint64_t series_overflows(const struct scrape *s)
{
    uint64_t sum = 0;
    for (int i = 0; i < s->m->shard_count; i++)
        sum += COUNTER_GET(s->m->shards[i].overflows);
    return sum;
}

static void build_info(struct scrape *s, const struct family *f)
{
    static const struct label labels[] = {
        {"version", 0, NULL}, {"commit", 1, NULL}, {"compiler", 2, NULL}};
    const struct str values[] = {str_from(s->process->version), str_from(s->process->git_commit),
                                 str_from(s->process->compiler)};
    scrape_sample(s, f, scrape_labels(&s->texts, labels, COUNT(labels), values), STR_NONE, 1);
}

static void errors(struct scrape *s, const struct family *f)
{
    for (int code = ERR_NONE + 1; code < ERR_COUNT; code++) {
        uint64_t sum = 0;
        for (int i = 0; i < s->m->shard_count; i++)
            sum += COUNTER_GET(s->m->shards[i].errors[code]);
        scrape_sample(
            s, f, STR_NONE,
            arena_printf(&s->texts, "error=\"%s\"", error_info((enum error_code)code)->name), sum);
    }
}

static void config_reloads(struct scrape *s, const struct family *f)
{
    scrape_sample(s, f, STR_NONE, STR("result=\"success\""), reloads_of(s)->successes);
    scrape_sample(s, f, STR_NONE, STR("result=\"failure\""), reloads_of(s)->failures);
}

/* The two are read one after the other: the number of idle ones can be newer, and larger, than
 * that of all. */
static void upstream_connections(struct scrape *s, const struct family *f)
{
    uint64_t open = worker_sum(s, offsetof(struct metrics_worker, upstream_open));
    uint64_t idle = worker_sum(s, offsetof(struct metrics_worker, upstream_idle));
    scrape_sample(s, f, STR_NONE, STR("state=\"active\""), open > idle ? open - idle : 0);
    scrape_sample(s, f, STR_NONE, STR("state=\"idle\""), idle);
}

/* A number of a struct that the caller of the scrape filled; NULL: there is none. */
static void write_member(struct scrape *s, const struct family *f, const void *of)
{
    if (!of)
        return;
    const char *at = (const char *)of + f->source.index;
    scrape_sample(s, f, STR_NONE, STR_NONE, *(const uint64_t *)(const void *)at);
}

/* 0 would look like a restart where the kernel did not say. */
static void write_process(struct scrape *s, const struct family *f)
{
    uint64_t value = f->source.process();
    if (value)
        scrape_sample(s, f, STR_NONE, STR_NONE, value);
}

/* ---- the table ---- */

static const struct part token_types[] = {
    {"prompt", NUMBER_PROMPT_TOKENS, false},
    {"completion", NUMBER_COMPLETION_TOKENS, false},
    {"cached", NUMBER_CACHED_TOKENS, false},
    {"reasoning", NUMBER_REASONING_TOKENS, false},
};

static const struct part engine_phases[] = {{"load", NUMBER_LOAD, false},
                                            {"prefill", NUMBER_PREFILL, false},
                                            {"decode", NUMBER_DECODE, false}};
static const struct part outcomes[] = {
    {"success", NUMBER_OUTCOME + OUTCOME_SUCCESS, false},
    {"client_error", NUMBER_OUTCOME + OUTCOME_CLIENT_ERROR, false},
    {"provider_error", NUMBER_OUTCOME + OUTCOME_PROVIDER_ERROR, false},
    {"gateway_error", NUMBER_OUTCOME + OUTCOME_GATEWAY_ERROR, false},
    {"cancelled", NUMBER_OUTCOME + OUTCOME_CANCELLED, false},
    {"unknown", NUMBER_OUTCOME + OUTCOME_UNKNOWN, true},
};

#define L(text, which)    {text, VALUE_##which, NULL},
#define C(name, text)     {name, VALUE_NONE, text},
#define LABELS(set, list) static const struct label labels_##set[] = {list};
#define M(...)
#include "observe/metrics.def"
#undef LABELS
#undef M

// clang-format off
#define LABELS(set, list)
#define DECIMALS(what) (NUMBER_##what == NUMBER_COST ? COST_DECIMALS : 0)
#define SUM(what, which) \
    {.kind = SOURCE_SUM, .about = METRICS_REQUESTS, .index = NUMBER_##what, .cells = (which), \
     .decimals = DECIMALS(what)}
#define PARTS(label, table, which) \
    {.kind = SOURCE_SUM, .about = METRICS_REQUESTS, .cells = (which), .part_label = label, .parts = table, \
     .part_count = COUNT(table)}
#define PHASES(label, table, which) \
    {.kind = SOURCE_SUM, .about = METRICS_REQUESTS, .cells = (which), .part_label = label, .parts = table, \
     .part_count = COUNT(table), .decimals = 6}
#define TIMES(what, which) \
    {.kind = SOURCE_TIMES, .about = METRICS_REQUESTS, .index = HISTOGRAM_##what, \
     .cells = (which), .decimals = TIME_DECIMALS}
#define STATE(which) \
    {.kind = SOURCE_STATE, .about = METRICS_REQUESTS, .cells = (which), \
     .index = offsetof(struct metrics_deployment, state)}
#define EACH(member, digits) \
    {.kind = SOURCE_EACH, .about = METRICS_GATEWAY, \
     .index = offsetof(struct metrics_deployment, member), .decimals = digits}
#define ENGINE(member, digits) \
    {.kind = SOURCE_ENGINE, .about = METRICS_GATEWAY, \
     .index = offsetof(struct metrics_engine, member), .decimals = digits}
#define WORKERS(member) \
    {.kind = SOURCE_WORKERS, .about = METRICS_GATEWAY, \
     .index = offsetof(struct metrics_worker, member)}
#define CACHE(member) \
    {.kind = SOURCE_CACHE, .about = METRICS_GATEWAY, .index = offsetof(struct metrics_cache, member)}
#define LOG(member) \
    {.kind = SOURCE_LOG, .about = METRICS_GATEWAY, .index = offsetof(struct log_stats, member)}
#define EXPORT(member, digits) \
    {.kind = SOURCE_EXPORT, .about = METRICS_EXPORT, \
     .index = offsetof(struct export_stats, member), .decimals = digits}
#define KEYS(member, digits) \
    {.kind = SOURCE_KEYS, .about = METRICS_GATEWAY, .index = offsetof(struct metrics_key, member), \
     .decimals = digits}
#define SCALAR(of, function, digits) \
    {.kind = SOURCE_SCALAR, .about = METRICS_##of, .scalar = function, .decimals = digits}
#define PROCESS(function, digits) \
    {.kind = SOURCE_PROCESS, .about = METRICS_PROCESS, .process = process_##function, \
     .decimals = digits}
#define CALL(of, function, label) \
    {.kind = SOURCE_CALL, .about = METRICS_##of, .call = function, .part_label = label}
#define M(name_, type_, set, source_, unit_, help_) \
    {.name = name_, .type = TYPE_##type_, .labels = labels_##set, \
     .label_count = COUNT(labels_##set), .source = source_, .unit = unit_, .help = help_},
static const struct family families[] = {
#include "observe/metrics.def"
};
#undef LABELS
#undef M
#undef L
#undef C
// clang-format on

/* ---- one scrape ---- */

static void write_family(struct scrape *s, const struct family *f)
{
    s->headed = false;
    switch (f->source.kind) {
    case SOURCE_SUM: write_sum(s, f); break;
    case SOURCE_TIMES: write_times(s, f); break;
    case SOURCE_STATE: write_state(s, f); break;
    case SOURCE_EACH: scrape_each_deployment(s, f); break;
    case SOURCE_ENGINE: scrape_each_engine(s, f); break;
    case SOURCE_WORKERS:
        scrape_sample(s, f, STR_NONE, STR_NONE, worker_sum(s, f->source.index));
        break;
    case SOURCE_CACHE: write_member(s, f, &s->process->cache); break;
    case SOURCE_LOG: write_member(s, f, s->process->log); break;
    case SOURCE_EXPORT: write_member(s, f, s->process->exporter); break;
    case SOURCE_KEYS: scrape_each_key(s, f); break;
    case SOURCE_SCALAR: scrape_sample(s, f, STR_NONE, STR_NONE, f->source.scalar(s)); break;
    case SOURCE_PROCESS: write_process(s, f); break;
    case SOURCE_CALL: f->source.call(s, f); break;
    }
    yield(s); /* making groups takes time as well */
    arena_reset(&s->texts);
}

static void scrape_init(struct scrape *s)
{
    uint32_t widest = 0;
    arena_init(&s->texts, NULL, 0);
    arena_init(&s->kept, NULL, 0);
    scrape_collect(s);
    for (int h = 0; h < HISTOGRAM_COUNT; h++)
        widest = MAX(widest, s->m->bounds[h].count + 2);
    s->sums = arena_alloc(&s->kept, widest * sizeof *s->sums);
}

static void scrape_fini(struct scrape *s)
{
    arena_fini(&s->texts);
    arena_fini(&s->kept);
}

static void write_families(struct scrape *s)
{
    unsigned about = s->process->about;
    about = about ? about : METRICS_REQUESTS | METRICS_GATEWAY | METRICS_PROCESS;
    for (size_t i = 0; i < COUNT(families) && !s->failed; i++)
        if (families[i].source.about & about)
            write_family(s, &families[i]);
    if (s->format == METRICS_OPENMETRICS)
        put_z(s, "# EOF\n");
}

bool metrics_write(const struct metrics *m, const struct metrics_process *p, enum metrics_format f,
                   struct buf *out)
{
    struct scrape s = {.m = m, .process = p, .format = f, .out = out};
    struct scrape_note *last = m->last_scrape;
    size_t before = buf_used(out);
    uint64_t began_ns = clock_mono_ns(), bytes = COUNTER_GET(last->bytes);
    bool at_once = !p->drain && buf_room(out, bytes + bytes / 8);
    (void)at_once; /* a smaller buffer can still be enough */
    scrape_init(&s);
    write_families(&s);
    if (s.failed)
        out->len = out->at + before; /* half an exposition would look like series that ended */
    scrape_fini(&s);
    if (s.failed)
        return false;
    __atomic_store_n(&last->ns, clock_mono_ns() - began_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&last->bytes, s.written + buf_used(out) - before, __ATOMIC_RELAXED);
    return true;
}
