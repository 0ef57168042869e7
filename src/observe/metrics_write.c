/* metrics_write.c -- exposition: metrics.def and the cells of all shards, as text for Prometheus.
 *
 * A family is a view of the cells: which of them it takes, which of their values it shows as
 * labels, which number it adds up. So writing one is always the same: put the cells that show
 * equal labels into a group, sort the groups by their labels (the same state gives the same
 * bytes), add up, write. Labels are compared as small integers: all texts of all cells are
 * interned once a scrape.
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

#include "base/clock.h"
#include "base/digits.h"
#include "base/json_text.h"
#include "observe/log_metrics.h"
#include "observe/log_writer.h"
#include "observe/process.h"

enum {
    SUCCESS = TRAIT_SUCCESS,
    FAILURE = TRAIT_FAILURE,
    ANY = TRAIT_SUCCESS | TRAIT_FAILURE | TRAIT_CANCELLED | TRAIT_UNKNOWN,
    EXPECTED = TRAIT_EXPECTED,
    DEPLOYED = TRAIT_DEPLOYED,
    STREAM = TRAIT_STREAM,
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

/* A family without labels has a sample even when no cell takes part. */
static const struct group nothing = {{NULL, 0}, NO_CELL};

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

static void put_decimal(struct scrape *s, uint64_t value, unsigned decimals)
{
    char text[DECIMAL_BYTES];
    put_str(s, decimal(text, value, decimals));
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

/* Appends `t` escaped: \\ and \n, and \" where texts are quoted. Bytes that are not UTF-8 would
 * make Prometheus refuse the whole scrape: they become '?'. */
static size_t escape(char *out, struct str t, bool quoted)
{
    const char *p = t.p, *end = t.p + t.n;
    char *at = out;
    while (p < end) {
        size_t n = (unsigned char)*p < 0x80 ? 1 : utf8_char(p, end);
        if (*p == '\\' || *p == '\n' || (quoted && *p == '"')) {
            *at++ = '\\';
            *at++ = *p++ == '\n' ? 'n' : p[-1];
        } else if (n == 0) {
            *at++ = '?';
            p++;
        } else {
            memcpy(at, p, n);
            at += n;
            p += n;
        }
    }
    return (size_t)(at - out);
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
    size_t escaped_n = escape(escaped, help, open);
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

/* name[suffix]{labels[,extra]} value, without the line's end. `extra` is a whole label, or
 * empty. */
static void begin_sample(struct scrape *s, const struct family *f, const char *suffix,
                         struct str labels, struct str extra)
{
    head(s, f);
    put_z(s, f->name);
    put_z(s, suffix);
    if (labels.n || extra.n) {
        put_z(s, "{");
        put_str(s, labels);
        if (labels.n && extra.n)
            put_z(s, ",");
        put_str(s, extra);
        put_z(s, "}");
    }
    put_z(s, " ");
}

void scrape_sample(struct scrape *s, const struct family *f, struct str labels, struct str extra,
                   uint64_t value)
{
    begin_sample(s, f, "", labels, extra);
    put_decimal(s, value, f->source.decimals);
    put_z(s, "\n");
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
        n += escape(text + n, shown(&labels[i], values), true);
        text[n++] = '"';
    }
    return (struct str){text, n};
}

static bool same_labels(const struct scrape *s, const struct family *f, uint32_t a, uint32_t b)
{
    for (size_t i = 0; i < f->label_count; i++)
        if (s->ids[a][f->labels[i].value] != s->ids[b][f->labels[i].value])
            return false;
    return true;
}

static void join_group(struct scrape *s, const struct family *f, uint32_t cell)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < f->label_count; i++)
        hash = (hash ^ s->ids[cell][f->labels[i].value]) * 0x9E3779B97F4A7C15u;
    uint32_t at = (uint32_t)(hash >> 32) & (s->table_size - 1);
    while (s->table[at] != NO_CELL && !same_labels(s, f, s->groups[s->table[at]].first, cell))
        at = (at + 1) & (s->table_size - 1);
    if (s->table[at] == NO_CELL) {
        s->table[at] = s->group_count;
        s->groups[s->group_count++] = (struct group){STR_NONE, NO_CELL};
    }
    struct group *g = &s->groups[s->table[at]];
    s->next[cell] = g->first;
    g->first = cell;
}

int scrape_compare_labels(const void *a, const void *b)
{
    struct str x = ((const struct group *)a)->labels, y = ((const struct group *)b)->labels;
    int order = memcmp(x.p, y.p, MIN(x.n, y.n));
    return order ? order : (x.n > y.n) - (x.n < y.n);
}

static void make_groups(struct scrape *s, const struct family *f)
{
    memset(s->table, 0xFF, s->table_size * sizeof *s->table);
    s->group_count = 0;
    for (uint32_t i = 0; i < s->cell_count; i++)
        if (takes(&f->source, s->cells[i]))
            join_group(s, f, i);
    for (uint32_t i = 0; i < s->group_count; i++)
        s->groups[i].labels = scrape_labels(&s->texts, f->labels, f->label_count,
                                            s->cells[s->groups[i].first]->values);
    if (s->group_count > 1)
        qsort(s->groups, s->group_count, sizeof *s->groups, scrape_compare_labels);
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

static uint64_t sum_of(const struct scrape *s, const struct group *g, unsigned number)
{
    uint64_t sum = 0;
    for (uint32_t i = g->first; i != NO_CELL; i = s->next[i])
        sum += number_of(s->cells[i], number);
    return sum;
}

/* Several numbers of a group, told apart by a label of their own. */
static void write_parts(struct scrape *s, const struct family *f, const struct group *g)
{
    const struct source *source = &f->source;
    for (unsigned p = 0; p < source->part_count; p++) {
        const struct part *part = &source->parts[p];
        uint64_t sum = sum_of(s, g, part->number);
        if (sum || !part->rare)
            scrape_sample(s, f, g->labels,
                          arena_printf(&s->texts, "%s=\"%s\"", source->part_label, part->text),
                          sum);
    }
}

static bool parts_are_zero(const struct scrape *s, const struct source *source,
                           const struct group *g)
{
    for (unsigned p = 0; p < source->part_count; p++)
        if (sum_of(s, g, source->parts[p].number))
            return false;
    return true;
}

static void write_sum(struct scrape *s, const struct family *f)
{
    const struct source *source = &f->source;
    make_groups(s, f);
    for (uint32_t i = 0; i < s->group_count; i++) {
        const struct group *g = &s->groups[i];
        if (source->part_count == 0)
            scrape_sample(s, f, g->labels, STR_NONE, sum_of(s, g, source->index));
        else if (!(source->cells & NOT_ZERO) || !parts_are_zero(s, source, g))
            write_parts(s, f, g);
    }
    if (s->group_count == 0 && f->label_count == 0)
        scrape_sample(s, f, STR_NONE, STR_NONE, sum_of(s, &nothing, source->index));
}

static void write_state(struct scrape *s, const struct family *f)
{
    if (s->process->deployments) {
        scrape_each_deployment(s, f);
        return;
    }
    make_groups(s, f);
    for (uint32_t g = 0; g < s->group_count; g++) {
        int64_t good_us = 0, bad_us = 0;
        for (uint32_t i = s->groups[g].first; i != NO_CELL; i = s->next[i]) {
            int64_t last_us = COUNTER_GET(s->cells[i]->last_real_us);
            if (s->cells[i]->outcome.traits & SUCCESS)
                good_us = MAX(good_us, last_us);
            else if (s->cells[i]->outcome.traits & FAILURE)
                bad_us = MAX(bad_us, last_us);
        }
        scrape_sample(s, f, s->groups[g].labels, STR_NONE, bad_us > good_us);
    }
}

/* ---- histograms ---- */

/* A bound in seconds, with a point even when it is whole. */
static struct str bound_label(struct arena *a, uint64_t ns)
{
    char text[DECIMAL_BYTES];
    struct str seconds = decimal(text, ns, TIME_DECIMALS);
    return arena_printf(a, "le=\"%.*s%s\"", STR_ARG(seconds),
                        str_find(seconds, '.') < 0 ? ".0" : "");
}

static struct str *bound_labels(struct scrape *s, const struct bounds *b)
{
    struct str *labels = arena_alloc(&s->texts, (b->count + 1) * sizeof *labels);
    for (uint32_t i = 0; i < b->count; i++)
        labels[i] = bound_label(&s->texts, b->ns[i]);
    labels[b->count] = STR("le=\"+Inf\"");
    return labels;
}

static bool is_trace_id(const char id[32])
{
    for (int i = 0; i < 32; i++)
        if (!((id[i] >= '0' && id[i] <= '9') || (id[i] >= 'a' && id[i] <= 'f')))
            return false;
    return true;
}

/* The newest request of the group that fell into bucket `bucket`: " # {trace_id="..."} seconds
 * time". */
static void put_exemplar(struct scrape *s, const struct group *g, uint32_t bucket)
{
    struct exemplar newest = {.real_us = INT64_MIN}, e;
    for (uint32_t i = g->first; i != NO_CELL; i = s->next[i]) {
        const struct exemplar *all = __atomic_load_n(&s->cells[i]->exemplars, __ATOMIC_ACQUIRE);
        if (all && exemplar_read(&all[bucket], &e) && e.real_us > newest.real_us)
            newest = e;
    }
    char id[32];
    memcpy(id, newest.trace_id, sizeof id);
    if (newest.real_us < 0 || !is_trace_id(id))
        return;
    put_z(s, " # {trace_id=\"");
    put(s, id, sizeof id);
    put_z(s, "\"} ");
    put_decimal(s, newest.value_ns, TIME_DECIMALS);
    put_z(s, " ");
    put_decimal(s, (uint64_t)newest.real_us, 6);
}

/* Adds up all buckets and the sum of the group's cells into s->sums; returns the number of
 * observations. */
static uint64_t add_up(struct scrape *s, const struct group *g, enum histogram h)
{
    uint32_t width = s->m->bounds[h].count + 2, at = s->m->histogram_at[h];
    uint64_t count = 0;
    memset(s->sums, 0, width * sizeof *s->sums);
    for (uint32_t i = g->first; i != NO_CELL; i = s->next[i])
        for (uint32_t b = 0; b < width; b++)
            s->sums[b] += COUNTER_GET(s->cells[i]->numbers[at + b]);
    for (uint32_t b = 0; b + 1 < width; b++)
        count += s->sums[b];
    return count;
}

static void write_histogram(struct scrape *s, const struct family *f, const struct group *g,
                            const struct str *les)
{
    uint32_t inf = s->m->bounds[f->source.index].count;
    bool exemplars = s->format == METRICS_OPENMETRICS && f->source.index == HISTOGRAM_LATENCY;
    uint64_t count = 0;
    for (uint32_t b = 0; b <= inf; b++) {
        count += s->sums[b];
        begin_sample(s, f, "_bucket", g->labels, les[b]);
        put_decimal(s, count, 0);
        if (exemplars && s->sums[b] > 0)
            put_exemplar(s, g, b);
        put_z(s, "\n");
    }
    begin_sample(s, f, "_sum", g->labels, STR_NONE);
    put_decimal(s, s->sums[inf + 1], f->source.decimals);
    put_z(s, "\n");
    begin_sample(s, f, "_count", g->labels, STR_NONE);
    put_decimal(s, count, 0);
    put_z(s, "\n");
}

static bool can_stream(const struct scrape *s, const struct group *g)
{
    for (uint32_t i = g->first; i != NO_CELL; i = s->next[i])
        if (s->cells[i]->outcome.traits & STREAM)
            return true;
    return false;
}

static bool shows_zeros(const struct scrape *s, const struct family *f, const struct group *g)
{
    return f->source.cells & HISTOGRAM_ZEROS || f->label_count == 0 ||
           (f->source.cells & STREAM_ZEROS && can_stream(s, g));
}

static void write_times(struct scrape *s, const struct family *f)
{
    make_groups(s, f);
    struct str *les = bound_labels(s, &s->m->bounds[f->source.index]);
    for (uint32_t i = 0; i < s->group_count; i++)
        if (add_up(s, &s->groups[i], f->source.index) > 0 || shows_zeros(s, f, &s->groups[i]))
            write_histogram(s, f, &s->groups[i], les);
    if (s->group_count == 0 && f->label_count == 0) {
        add_up(s, &nothing, f->source.index);
        write_histogram(s, f, &nothing, les);
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
static uint64_t series(const struct scrape *s)
{
    return s->cell_count;
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
    case SOURCE_PROCESS: scrape_sample(s, f, STR_NONE, STR_NONE, f->source.process()); break;
    case SOURCE_CALL: f->source.call(s, f); break;
    }
    arena_reset(&s->texts);
}

/* All cells there are now; those added while we write are the next scrape's. */
static void collect_cells(struct scrape *s)
{
    size_t total = 0;
    size_t *counts = mem_alloc((size_t)s->m->shard_count * sizeof *counts);
    for (int i = 0; i < s->m->shard_count; i++)
        total += counts[i] = shard_cell_count(&s->m->shards[i]);
    s->cells = mem_alloc(total * sizeof *s->cells);
    for (int i = 0; i < s->m->shard_count; i++)
        for (size_t k = 0; k < counts[i]; k++)
            s->cells[s->cell_count++] = shard_cell(s->m, &s->m->shards[i], k);
    mem_free(counts);
}

/* Numbers every text: the first cell that shows it gives the number. */
static void intern_values(struct scrape *s)
{
    struct map known;
    uintptr_t count = 0;
    map_init(&known);
    s->ids = mem_alloc(s->cell_count * sizeof *s->ids);
    for (uint32_t i = 0; i < s->cell_count; i++) {
        for (int v = 0; v < VALUE_COUNT; v++) {
            uintptr_t id = (uintptr_t)map_get(&known, s->cells[i]->values[v]);
            if (id == 0) {
                id = ++count;
                map_put(&known, s->cells[i]->values[v], (void *)id);
            }
            s->ids[i][v] = (uint32_t)id;
        }
    }
    map_fini(&known);
}

static void scrape_init(struct scrape *s)
{
    uint32_t widest = 0;
    arena_init(&s->texts, NULL, 0);
    collect_cells(s);
    intern_values(s);
    for (s->table_size = 16; s->table_size < s->cell_count * 2; s->table_size *= 2)
        ;
    s->table = mem_alloc(s->table_size * sizeof *s->table);
    s->next = mem_alloc(s->cell_count * sizeof *s->next);
    s->groups = mem_alloc(s->cell_count * sizeof *s->groups);
    for (int h = 0; h < HISTOGRAM_COUNT; h++)
        widest = MAX(widest, s->m->bounds[h].count + 2);
    s->sums = mem_alloc(widest * sizeof *s->sums);
}

static void scrape_fini(struct scrape *s)
{
    arena_fini(&s->texts);
    mem_free(s->cells);
    mem_free(s->ids);
    mem_free(s->table);
    mem_free(s->next);
    mem_free(s->groups);
    mem_free(s->sums);
}

void metrics_write(const struct metrics *m, const struct metrics_process *p, enum metrics_format f,
                   struct buf *out)
{
    struct scrape s = {.m = m, .process = p, .format = f, .out = out};
    size_t before = buf_used(out);
    scrape_init(&s);
    unsigned about = p->about ? p->about : METRICS_REQUESTS | METRICS_GATEWAY | METRICS_PROCESS;
    for (size_t i = 0; i < COUNT(families) && !s.failed; i++)
        if (families[i].source.about & about)
            write_family(&s, &families[i]);
    if (f == METRICS_OPENMETRICS)
        put_z(&s, "# EOF\n");
    if (s.failed)
        out->len = out->at + before; /* half an exposition would look like series that ended */
    scrape_fini(&s);
}
