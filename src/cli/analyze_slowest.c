/* analyze_slowest.c -- part of --performance: the slowest requests, and what each of them spent its time on. */
#include <math.h>

#include "base/when.h"
#include "cli/analyze.h"
#include "observe/slowest.h"

static bool wanted(const struct analysis *a)
{
    return a->show.performance;
}

static void *make(const struct analysis *a)
{
    struct slowest *s = mem_alloc(sizeof *s);
    slowest_init(s, (size_t)a->top);
    return s;
}

static void take(void *state, const struct logline *l, enum log_event event, struct str line)
{
    (void)event;
    (void)line;
    slowest_take(state, l);
}

static void merge(void *into, void *from)
{
    slowest_merge(into, from);
}

static void destroy(void *state)
{
    slowest_fini(state);
    mem_free(state);
}

static struct str or_dash(const char *text)
{
    return text[0] ? str_from(text) : STR("-");
}

static double known(int64_t value)
{
    return value >= 0 ? (double)value : NAN;
}

/* ---- tables ---- */

// clang-format off
static const struct table_column columns[] = {
    {"Latency", ALIGN_RIGHT, "latency_ms"},
    {"Mostly", ALIGN_RIGHT, "mostly"},
    {"Model", ALIGN_LEFT, "model"},
    {"Provider", ALIGN_LEFT, "provider"},
    {"Ended", ALIGN_LEFT, "status"},
    {"When", ALIGN_RIGHT, "timestamp"},
    {"Id", ALIGN_LEFT, "request_id"},
    {"Tokens", ALIGN_RIGHT, "total_tokens"},
    {"First token", ALIGN_RIGHT, "ttft_ms"},
};
// clang-format on

static enum log_span_part greatest(const struct log_span *s)
{
    enum log_span_part best = SPAN_QUEUE;
    for (int i = 1; i < SPAN_PARTS; i++)
        if (s->parts[i] > s->parts[best])
            best = (enum log_span_part)i;
    return best;
}

/* Without the year: a log's slowest are rarely years apart, and the id needs the room. */
static void put_time(struct table *t, int64_t us)
{
    char text[WHEN_TEXT_BYTES], raw[WHEN_TEXT_BYTES];
    if (us == INT64_MAX) {
        table_text(t, STYLE_NONE, STR("-"));
        return;
    }
    struct str whole = when_text(us, text, sizeof text);
    table_text_raw(t, STYLE_DIM, str_skip(whole, sizeof "2026"),
                   when_text_zoned(us, raw, sizeof raw));
}

static void put_row(struct table *t, const struct slow_request *r)
{
    enum log_span_part most = greatest(&r->span);
    double share = r->latency_us > 0 ? (double)r->span.parts[most] / (double)r->latency_us : 0;
    bool failed = r->outcome == LOG_OUTCOME_FAILURE;
    table_row(t);
    table_number(t, STYLE_NONE, num_ms((double)r->latency_us), (double)r->latency_us / 1000);
    table_printf(t, STYLE_NONE, "%s %2.0f %%", log_span_names[most], floor(share * 100));
    table_text(t, STYLE_NONE, or_dash(r->model));
    table_text(t, STYLE_NONE, or_dash(r->provider));
    table_text(t, failed ? STYLE_BAD : STYLE_NONE,
               failed && r->error_type[0] ? str_from(r->error_type)
                                          : str_from(log_outcome_names[r->outcome]));
    put_time(t, r->stamp_us);
    table_text(t, STYLE_NONE, or_dash(r->id));
    table_number(t, STYLE_NONE, num_count(known(r->total_tokens)), known(r->total_tokens));
    table_number(t, STYLE_NONE, num_ms(known(r->ttft_us)), known(r->ttft_us) / 1000);
}

static void write_tables(const struct analysis *a, void *state, enum table_format format,
                         const struct term *term)
{
    struct slowest *s = state;
    struct table t;
    char command[1024];
    slowest_sort(s);
    if (s->count == 0)
        return;
    table_init(&t, columns, COUNT(columns));
    table_title(&t, "Slowest requests");
    for (size_t i = 0; i < s->count; i++)
        put_row(&t, s->heap[i]);
    struct str next = analysis_trace_command(a, s->heap[0]->id, command, sizeof command);
    if (next.n)
        table_note(&t, "The first one in full: %.*s", STR_ARG(next));
    fputc('\n', term->out);
    table_write(&t, format, term);
    table_fini(&t);
}

/* ---- JSON ---- */

static struct str or_null(const char *text)
{
    return text[0] ? str_from(text) : STR_NONE;
}

static void write_request(const struct analysis *a, const struct slow_request *r,
                          struct json_out *j)
{
    char command[1024];
    json_nest(j, NULL, "{");
    json_stamp(j, "timestamp", r->stamp_us);
    json_number(j, "latency_ms", (double)r->latency_us / 1000, "%.3f");
    json_number(j, "ttft_ms", known(r->ttft_us) / 1000, "%.3f");
    json_nest(j, "parts_ms", "{");
    for (int i = 0; i < SPAN_PARTS; i++)
        json_number(j, i == SPAN_FIRST_TOKEN ? "first_token" : log_span_names[i],
                    (double)r->span.parts[i] / 1000, "%.3f");
    json_unnest(j, "}");
    json_text(j, "model", or_null(r->model));
    json_text(j, "provider", or_null(r->provider));
    json_text(j, "deployment", or_null(r->deployment));
    json_number(j, "prompt_tokens", known(r->prompt_tokens), "%.0f");
    json_number(j, "completion_tokens", known(r->completion_tokens), "%.0f");
    json_number(j, "total_tokens", known(r->total_tokens), "%.0f");
    json_text(j, "status", str_from(log_outcome_names[r->outcome]));
    json_number(j, "http_status", known(r->http_status), "%.0f");
    json_number(j, "provider_status", known(r->provider_status), "%.0f");
    json_text(j, "error_type", or_null(r->error_type));
    json_text(j, "request_id", or_null(r->id));
    json_text(j, "trace_id", or_null(r->trace_id));
    json_text(j, "next", analysis_trace_command(a, r->id, command, sizeof command));
    json_unnest(j, "}");
}

static void write_json(const struct analysis *a, void *state, struct json_out *j)
{
    struct slowest *s = state;
    slowest_sort(s);
    json_nest(j, "slowest", "[");
    for (size_t i = 0; i < s->count; i++)
        write_request(a, s->heap[i], j);
    json_unnest(j, "]");
}

const struct analyze_part analyze_slowest = {
    .name = "slowest",
    .wanted = wanted,
    .events = LOG_EVENT_BIT(REQUEST),
    .make = make,
    .take = take,
    .merge = merge,
    .destroy = destroy,
    .write_tables = write_tables,
    .write_json = write_json,
};
