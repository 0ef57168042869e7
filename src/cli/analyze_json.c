/* analyze_json.c -- the analysis as one JSON object, for scripts, cron and CI. Its members are documented in docs/analyze.md;
 * numbers are plain, times in ms, money in USD; a value that is not known is null. */
#include <math.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/analyze.h"

struct json {
    struct buf out;
    bool first; /* of the object or array being written */
};

static void put(struct json *j, const char *text)
{
    ENSURE(buf_append_str(&j->out, str_from(text)));
}

static void key(struct json *j, const char *name)
{
    put(j, j->first ? "\"" : ",\"");
    put(j, name);
    put(j, "\":");
    j->first = false;
}

static void nest(struct json *j, const char *name, const char *bracket)
{
    if (name)
        key(j, name);
    else if (!j->first)
        put(j, ",");
    put(j, bracket);
    j->first = true;
}

static void unnest(struct json *j, const char *bracket)
{
    put(j, bracket);
    j->first = false;
}

static void put_string(struct json *j, const char *name, struct str text)
{
    key(j, name);
    ENSURE(json_write_string(&j->out, text));
}

/* A text, or null where it was not there. */
static void put_text(struct json *j, const char *name, struct str text)
{
    key(j, name);
    if (text.p)
        ENSURE(json_write_string(&j->out, text));
    else
        put(j, "null");
}

static void put_count(struct json *j, const char *name, uint64_t value)
{
    key(j, name);
    ENSURE(buf_printf(&j->out, "%llu", (unsigned long long)value));
}

/* JSON has no NaN. */
static void put_number(struct json *j, const char *name, double value, const char *fmt)
{
    char text[64];
    key(j, name);
    snprintf(text, sizeof text, fmt, value);
    put(j, isfinite(value) ? text : "null");
}

static void put_stamp(struct json *j, const char *name, int64_t us)
{
    char text[CLOCK_RFC3339_BYTES];
    if (us == INT64_MIN || us == INT64_MAX) {
        key(j, name);
        put(j, "null");
        return;
    }
    clock_rfc3339(us, text);
    put_string(j, name, (struct str){text, sizeof text});
}

/* ---- groups ---- */

// clang-format off
static const struct { const char *name; enum rollup_count count; } counts[] = {
    {"requests", ROLLUP_REQUESTS},
    {"success", ROLLUP_SUCCESS},
    {"failure", ROLLUP_FAILURE},
    {"cancelled", ROLLUP_CANCELLED},
    {"unknown", ROLLUP_UNKNOWN},
    {"slow", ROLLUP_SLOW},
    {"streams", ROLLUP_STREAMS},
    {"cache_hits", ROLLUP_CACHE_HITS},
    {"attempts", ROLLUP_ATTEMPTS},
    {"fallbacks", ROLLUP_FALLBACKS},
    {"prompt_tokens", ROLLUP_PROMPT_TOKENS},
    {"completion_tokens", ROLLUP_COMPLETION_TOKENS},
    {"total_tokens", ROLLUP_TOTAL_TOKENS},
    {"cached_tokens", ROLLUP_CACHED_TOKENS},
    {"reasoning_tokens", ROLLUP_REASONING_TOKENS},
    {"estimated", ROLLUP_ESTIMATED},
    {"unpriced", ROLLUP_UNPRICED},
};
static const struct { const char *name; enum rollup_spread spread; } spreads[] = {
    {"latency_ms", SPREAD_LATENCY},
    {"ttft_ms", SPREAD_TTFT},
    {"upstream_ms", SPREAD_UPSTREAM},
    {"overhead_ms", SPREAD_OVERHEAD},
    {"queue_ms", SPREAD_QUEUE},
    {"tokens_per_second", SPREAD_TOKENS_PER_SECOND},
};
static const struct { const char *name; double quantile; } quantiles[] = {
    {"p50", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99},
};
// clang-format on

/* Both µs and 1/1000 tokens a second become what is shown by a division by 1000. */
static void put_spread(struct json *j, const char *name, const struct rollup_group *g,
                       enum rollup_spread s)
{
    const struct histogram *h = g->spreads[s];
    if (!h || !h->count)
        return;
    nest(j, name, "{");
    put_count(j, "count", h->count);
    put_number(j, "min", (double)h->min / 1000, "%.3f");
    put_number(j, "mean", h->sum / (double)h->count / 1000, "%.3f");
    for (size_t i = 0; i < COUNT(quantiles); i++)
        put_number(j, quantiles[i].name, rollup_quantile(g, s, quantiles[i].quantile) / 1000,
                   "%.3f");
    put_number(j, "max", (double)h->max / 1000, "%.3f");
    unnest(j, "}");
}

static void put_group_body(struct json *j, const struct rollup_group *g)
{
    for (size_t i = 0; i < COUNT(counts); i++)
        put_count(j, counts[i].name, g->counts[counts[i].count]);
    uint64_t requests = g->counts[ROLLUP_REQUESTS];
    put_number(j, "error_rate",
               requests ? (double)g->counts[ROLLUP_FAILURE] / (double)requests : NAN, "%.6f");
    put_number(j, "cost_usd", (double)g->counts[ROLLUP_COST_PICO] / 1e12, "%.12f");
    put_number(j, "failed_cost_usd", (double)g->counts[ROLLUP_FAILED_COST_PICO] / 1e12, "%.12f");
    put_stamp(j, "first", g->first_us);
    put_stamp(j, "last", g->last_us);
    for (size_t i = 0; i < COUNT(spreads); i++)
        put_spread(j, spreads[i].name, g, spreads[i].spread);
}

static void put_keys(struct json *j, const struct rollup_view *v, const struct rollup_group *g)
{
    int at = 0;
    int64_t start_us;
    if (v->bucket_us > 0 && str_to_i64(g->values[at++], &start_us))
        put_stamp(j, "start", start_us);
    for (int i = 0; i < v->field_count; i++)
        put_text(j, analysis_field_name(v->fields[i]), g->values[at++]);
}

static void put_view(struct json *j, const char *name, const struct rollup_view *v)
{
    struct rollup_group **sorted = analysis_sorted(v);
    nest(j, name, "[");
    for (size_t i = 0; i < v->group_count; i++) {
        nest(j, NULL, "{");
        put_keys(j, v, sorted[i]);
        put_group_body(j, sorted[i]);
        unnest(j, "}");
    }
    unnest(j, "]");
    mem_free(sorted);
}

/* ---- the whole ---- */

static void put_input(struct json *j, const struct analysis *a)
{
    static const char *const shapes[LOG_SHAPE_COUNT] = {
        [LOG_SHAPE_WEIR] = "weir",
        [LOG_SHAPE_LITELLM] = "litellm",
        [LOG_SHAPE_JSON_LOGS] = "json_logs",
        [LOG_SHAPE_OTHER] = "other",
    };
    nest(j, "input", "{");
    nest(j, "files", "[");
    for (size_t i = 0; i < a->path_count; i++) {
        put(j, i ? "," : "");
        ENSURE(json_write_string(&j->out, str_from(a->paths[i])));
    }
    unnest(j, "]");
    put_count(j, "bytes", a->sum.bytes);
    put_count(j, "lines", a->sum.lines);
    put_count(j, "blank", a->sum.blank);
    put_count(j, "broken", a->sum.broken);
    for (int s = 0; s < LOG_SHAPE_COUNT; s++)
        put_count(j, shapes[s], a->sum.read[s]);
    put_count(j, "outside", a->rollup.outside);
    put_count(j, "dropped", a->rollup.dropped);
    put_number(j, "seconds", a->seconds, "%.6f");
    key(j, "complete");
    put(j, a->cut_short ? "false" : "true");
    nest(j, "first_broken", "[");
    for (int i = 0; i < a->sum.broken_kept; i++) {
        const struct broken_line *b = &a->sum.first_broken[i];
        nest(j, NULL, "{");
        put_string(j, "file", str_from(b->path));
        put_count(j, "line", b->line);
        put_count(j, "column", b->column);
        put_string(j, "expected", str_from(b->expected));
        unnest(j, "}");
    }
    unnest(j, "]");
    unnest(j, "}");
}

void analyze_write_json(const struct analysis *a, FILE *out)
{
    struct json j = {.first = true};
    buf_init(&j.out, 0, NULL);
    nest(&j, NULL, "{");
    put_count(&j, "schema", 1);
    put_input(&j, a);
    put_stamp(&j, "since", a->since_us);
    put_stamp(&j, "until", a->until_us);
    put_string(&j, "percentiles", STR("nearest rank, within 0.4 %"));
    nest(&j, "total", "{");
    put_group_body(&j, a->total);
    unnest(&j, "}");
    put_view(&j, "groups", a->by);
    put_view(&j, "errors", a->errors);
    put_view(&j, "timeline", a->times);
    unnest(&j, "}");
    put(&j, "\n");
    fwrite(j.out.data, 1, j.out.len, out);
    buf_fini(&j.out);
}
