/* analyze_log_errors.c -- the part "log_errors": errors that LiteLLM logged of its own, which belong to no request's line. */
#include "base/when.h"
#include "cli/analyze.h"
#include "observe/log_errors.h"

static bool wanted(const struct analysis *a)
{
    return a->show.errors || analysis_is_overview(a);
}

static void *make(const struct analysis *a)
{
    (void)a;
    return mem_alloc(sizeof(struct log_errors));
}

static void take(void *state, const struct logline *l, enum log_event event, struct str line)
{
    (void)event;
    (void)line;
    log_errors_take(state, l);
}

static void merge(void *into, void *from)
{
    log_errors_merge(into, from);
}

static void put_time(struct table *table, int64_t us)
{
    char text[WHEN_TEXT_BYTES];
    bool known = us != INT64_MIN && us != INT64_MAX;
    table_text(table, STYLE_NONE, known ? when_text(us, text, sizeof text) : STR("-"));
}

static void write_tables(const struct analysis *a, void *state, enum table_format format,
                         const struct term *t)
{
    static const struct table_column columns[] = {{"Exception", ALIGN_LEFT, "class"},
                                                  {"Lines", ALIGN_RIGHT, "count"},
                                                  {"First", ALIGN_LEFT, "first"},
                                                  {"Last", ALIGN_LEFT, "last"}};
    struct log_errors *e = state;
    struct table table;
    if (e->count == 0)
        return;
    log_errors_sort(e);
    fputc('\n', t->out);
    table_init(&table, columns, COUNT(columns));
    table_title(&table, "Errors that LiteLLM logged, by exception");
    size_t shown = MIN(e->count, (size_t)a->top);
    for (size_t i = 0; i < shown; i++) {
        const struct log_error *error = &e->list[i];
        table_row(&table);
        table_text(&table, STYLE_NONE,
                   error->class[0] ? str_from(error->class) : STR("(none named)"));
        table_number(&table, STYLE_BAD, num_count((double)error->count), (double)error->count);
        put_time(&table, error->first_us);
        put_time(&table, error->last_us);
    }
    if (shown < e->count || e->other)
        table_note(&table, "%zu more%s: --top %zu", e->count - shown,
                   e->other ? ", and others past the limit" : "", e->count);
    table_write(&table, format, t);
    table_fini(&table);
}

static void write_json(const struct analysis *a, void *state, struct json_out *j)
{
    struct log_errors *e = state;
    (void)a;
    log_errors_sort(e);
    json_nest(j, "log_errors", "{");
    json_count(j, "other", e->other);
    json_nest(j, "list", "[");
    for (size_t i = 0; i < e->count; i++) {
        const struct log_error *error = &e->list[i];
        json_nest(j, NULL, "{");
        json_text(j, "class", error->class[0] ? str_from(error->class) : STR_NONE);
        json_count(j, "count", error->count);
        json_stamp(j, "first", error->first_us);
        json_stamp(j, "last", error->last_us);
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
    json_unnest(j, "}");
}

const struct analyze_part analyze_log_errors = {
    .name = "log_errors",
    .wanted = wanted,
    .events = LOG_EVENT_BIT(OTHER),
    .make = make,
    .take = take,
    .merge = merge,
    .destroy = mem_free,
    .write_tables = write_tables,
    .write_json = write_json,
};
