/* analyze_json.c -- the analysis as one JSON object, for scripts, cron and CI. Its members are documented in docs/analyze.md;
 * numbers are plain, times in ms, money in USD; a value that is not known is null. */
#include <math.h>

#include "base/json.h"
#include "cli/thresholds.h"

/* ---- groups ---- */

// clang-format off
const struct analysis_count analysis_counts[] = {
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
const size_t analysis_count_count = COUNT(analysis_counts);
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
static void put_spread(struct json_out *j, const char *name, const struct rollup_group *g,
                       enum rollup_spread s)
{
    const struct histogram *h = g->spreads[s];
    if (!h || !h->count)
        return;
    json_nest(j, name, "{");
    json_count(j, "count", h->count);
    json_number(j, "min", (double)h->min / 1000, "%.3f");
    json_number(j, "mean", h->sum / (double)h->count / 1000, "%.3f");
    for (size_t i = 0; i < COUNT(quantiles); i++)
        json_number(j, quantiles[i].name, rollup_quantile(g, s, quantiles[i].quantile) / 1000,
                    "%.3f");
    json_number(j, "max", (double)h->max / 1000, "%.3f");
    json_unnest(j, "}");
}

static void put_group_body(struct json_out *j, const struct rollup_group *g)
{
    for (size_t i = 0; i < analysis_count_count; i++)
        json_count(j, analysis_counts[i].name, g->counts[analysis_counts[i].count]);
    uint64_t requests = g->counts[ROLLUP_REQUESTS];
    json_number(j, "error_rate",
                requests ? (double)g->counts[ROLLUP_FAILURE] / (double)requests : NAN, "%.6f");
    json_number(j, "cost_usd", (double)g->counts[ROLLUP_COST_PICO] / 1e12, "%.12f");
    json_number(j, "failed_cost_usd", (double)g->counts[ROLLUP_FAILED_COST_PICO] / 1e12, "%.12f");
    json_stamp(j, "first", g->first_us);
    json_stamp(j, "last", g->last_us);
    for (size_t i = 0; i < COUNT(spreads); i++)
        put_spread(j, spreads[i].name, g, spreads[i].spread);
}

/* A name that was given with --by may have anything in it. */
static void put_key(struct json_out *j, const struct log_ref *by, struct str value)
{
    char name[6 * LOG_REF_NAME_BYTES + 2];
    size_t n = json_escape(name, sizeof name - 1, str_from(by->name));
    name[n - 1] = '\0'; /* without its quotes: json_text writes them */
    json_text(j, name + 1, value);
}

void analysis_put_keys(struct json_out *j, const char *name, const struct log_ref *by, int count,
                       const struct str *values)
{
    json_nest(j, name, "{");
    for (int i = 0; i < count; i++)
        put_key(j, &by[i], values[i]);
    json_unnest(j, "}");
}

static void put_keys(struct json_out *j, const struct analysis *a, const struct rollup_view *v,
                     const struct rollup_group *g)
{
    int64_t start_us;
    if (v->bucket_us > 0 && str_to_i64(g->values[0], &start_us))
        json_stamp(j, "start", start_us);
    else if (v == a->by)
        analysis_put_keys(j, "by", v->fields, v->field_count, g->values);
    else
        for (int i = 0; i < v->field_count; i++)
            put_key(j, &v->fields[i], g->values[i]);
}

static void put_view(struct json_out *j, const char *name, const struct analysis *a,
                     const struct rollup_view *v)
{
    struct rollup_group **sorted = analysis_sorted(v);
    json_nest(j, name, "[");
    for (size_t i = 0; i < v->group_count; i++) {
        json_nest(j, NULL, "{");
        put_keys(j, a, v, sorted[i]);
        put_group_body(j, sorted[i]);
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
    mem_free(sorted);
}

/* ---- the whole ---- */

static void put_input(struct json_out *j, const struct analysis *a)
{
    static const char *const shapes[LOG_SHAPE_COUNT] = {
        [LOG_SHAPE_WEIR] = "weir",
        [LOG_SHAPE_LITELLM] = "litellm",
        [LOG_SHAPE_JSON_LOGS] = "json_logs",
        [LOG_SHAPE_OTHER] = "other",
    };
    json_nest(j, "input", "{");
    json_nest(j, "files", "[");
    for (size_t i = 0; i < a->path_count; i++) {
        json_text(j, NULL, str_from(a->paths[i]));
    }
    json_unnest(j, "]");
    json_count(j, "bytes", a->sum.bytes);
    json_count(j, "skipped_bytes", a->sum.skipped);
    json_count(j, "lines", a->sum.lines);
    json_count(j, "blank", a->sum.blank);
    json_count(j, "broken", a->sum.broken);
    for (int s = 0; s < LOG_SHAPE_COUNT; s++)
        json_count(j, shapes[s], a->sum.read[s]);
    json_count(j, "outside", a->rollup.outside);
    json_count(j, "dropped", a->rollup.dropped);
    json_number(j, "seconds", a->seconds, "%.6f");
    json_bool(j, "complete", !a->cut_short);
    json_nest(j, "first_broken", "[");
    for (int i = 0; i < a->sum.broken_kept; i++) {
        const struct broken_line *b = &a->sum.first_broken[i];
        json_nest(j, NULL, "{");
        json_text(j, "file", str_from(b->path));
        json_number(j, "line", b->line ? (double)b->line : NAN, "%.0f");
        json_count(j, "byte", b->byte);
        json_count(j, "column", b->column);
        json_text(j, "expected", str_from(b->expected));
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
    json_unnest(j, "}");
}

void analyze_write_json(const struct analysis *a, FILE *out)
{
    struct json_out j;
    json_out_init(&j);
    json_nest(&j, NULL, "{");
    json_count(&j, "schema", 1);
    put_input(&j, a);
    json_stamp(&j, "since", a->since_us);
    json_stamp(&j, "until", a->until_us);
    json_text(&j, "percentiles",
              a->by->exact ? STR("nearest rank; of latency exact, of others within 0.4 %")
                           : STR("nearest rank, within 0.4 %"));
    json_nest(&j, "total", "{");
    put_group_body(&j, a->total);
    json_unnest(&j, "}");
    put_view(&j, "groups", a, a->by);
    put_view(&j, "errors", a, a->errors);
    put_view(&j, "timeline", a, a->times);
    if (a->thresholds)
        thresholds_write_json(a->thresholds, &j, "thresholds");
    for (size_t i = 0; i < analyze_part_count; i++)
        if (a->parts[i])
            analyze_parts[i]->write_json(a, a->parts[i], &j);
    json_unnest(&j, "}");
    json_out_end(&j, out);
}
