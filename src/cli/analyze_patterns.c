/* analyze_patterns.c -- the part "patterns": what goes wrong, in the words of the errors, and what to do about it.
 *
 * --errors shows --top of them, with whom they struck, what they are likely to come from, and a command to go on with. Markdown and
 * HTML get a table. Not in the overview: to fold a message takes as long as to read four lines. */
#include <math.h>

#include "base/when.h"
#include "cli/analyze.h"
#include "cli/graph.h"
#include "observe/error_patterns.h"

#define NAMES_SHOWN    3
#define INDENT_COLUMNS 4
#define LABEL_COLUMNS  7
#define WRAP_COLUMNS   100 /* where the terminal's width is not known */
#define COMMAND_FILES  3   /* more than that and the command says FILE... */

static const char *const names_titles[ERROR_NAMES_COUNT] = {"models", "providers", "keys"};

/* One row of the report. */
struct row {
    const struct error_pattern *pattern;
    const struct error_cause *cause;
    enum error_trend trend;
    double share;
    struct time_buckets buckets;
    double counts[TIME_SLOTS_SHOWN_MAX];
};

static bool wanted(const struct analysis *a)
{
    return a->show.errors || a->html_path;
}

static void *make(const struct analysis *a)
{
    (void)a;
    struct error_patterns *p = mem_alloc(sizeof *p);
    error_patterns_init(p);
    return p;
}

static void take(void *state, const struct logline *l, enum log_event event, struct str line)
{
    (void)event;
    (void)line;
    error_patterns_take(state, l);
}

static void merge(void *into, void *from)
{
    error_patterns_merge(into, from);
}

static void destroy(void *state)
{
    error_patterns_fini(state);
    mem_free(state);
}

static struct row row_of(const struct analysis *a, const struct error_patterns *p, size_t i)
{
    struct row r = {.pattern = p->list[i]};
    int64_t first_us = a->total->first_us, last_us = a->total->last_us;
    r.cause = error_cause_of(r.pattern->type, r.pattern->status, r.pattern->text);
    r.trend = error_pattern_trend(r.pattern, first_us, last_us);
    r.share = p->errors ? (double)r.pattern->count / (double)p->errors : NAN;
    if (first_us <= last_us) {
        r.buckets = time_buckets_over(first_us, last_us);
        time_slots_fill(&r.pattern->times, &r.buckets, r.counts);
    }
    return r;
}

/* ---- the command to type next ---- */

/* For a POSIX shell: quoted where it must be. False: `text` is full. */
static bool put_quoted(struct buf *text, struct str word)
{
    static const char plain[] =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_./:@%+-,";
    size_t n = 0;
    while (n < word.n && memchr(plain, word.p[n], sizeof plain - 1))
        n++;
    if (n == word.n && n)
        return buf_append_str(text, word);
    bool ok = buf_append(text, "'", 1);
    for (size_t i = 0; i < word.n; i++)
        ok = ok &&
             (word.p[i] == '\'' ? buf_append(text, "'\\''", 4) : buf_append(text, &word.p[i], 1));
    return ok && buf_append(text, "'", 1);
}

static bool put_files(struct buf *text, const struct analysis *a)
{
    bool ok = true;
    if (a->path_count > COMMAND_FILES)
        return buf_append_str(text, STR(" FILE..."));
    for (size_t i = 0; i < a->path_count; i++)
        ok = ok && buf_append(text, " ", 1) && put_quoted(text, str_from(a->paths[i]));
    return ok;
}

static void put_next(struct buf *text, const struct analysis *a, const struct row *r)
{
    const struct error_pattern *p = r->pattern;
    const struct error_names *models = &p->names[ERROR_MODELS];
    enum error_next next = r->cause->next;
    bool ok;
    if (next == NEXT_TRACE && p->first.n == 0)
        next = NEXT_TAIL;
    switch (next) {
    case NEXT_CHECK_CONFIG: ok = buf_append_str(text, STR("weir check config")); break;
    case NEXT_TRACE:
        ok = buf_append_str(text, STR("weir analyze")) && put_files(text, a) &&
             buf_append_str(text, STR(" --trace ")) &&
             put_quoted(text, (struct str){p->first.id, p->first.n});
        break;
    default:
        ok = buf_append_str(text, STR("weir tail --errors"));
        if (models->count)
            ok = ok && buf_append_str(text, STR(" --model ")) &&
                 put_quoted(text, models->list[0].name);
    }
    ENSURE(ok); /* the buffer has no cap */
}

/* ---- for people ---- */

/* Text in lines of the terminal's width, each behind `indent` blanks; the first one begins where the cursor is. */
static void put_wrapped(const struct term *t, enum term_style style, int indent, struct str text)
{
    int room = (t->columns > 0 ? t->columns : WRAP_COLUMNS) - indent, used = 0;
    room = MAX(room, 20);
    while (text.n) {
        struct str word = str_cut(&text, ' ');
        int columns = term_width(t->utf8, word);
        if (used && used + 1 + columns > room) {
            fprintf(t->out, "\n%*s", indent, "");
            used = 0;
        } else if (used) {
            fputc(' ', t->out);
            used++;
        }
        used += term_put(t, style, word, room);
    }
    fputc('\n', t->out);
}

static void put_label(const struct term *t, const char *label)
{
    fprintf(t->out, "%*s", INDENT_COLUMNS, "");
    term_field(t, STYLE_DIM, str_from(label), LABEL_COLUMNS, ALIGN_LEFT);
}

static void write_detail(const struct term *t, const char *label, enum term_style style,
                         struct str text)
{
    put_label(t, label);
    put_wrapped(t, style, INDENT_COLUMNS + LABEL_COLUMNS, text);
}

/* "gpt-4o 312, o3-mini 44, 2 more". */
static void put_names(struct buf *text, const struct error_names *names)
{
    bool ok = true;
    for (size_t i = 0; i < MIN(names->count, (size_t)NAMES_SHOWN); i++)
        ok = ok && buf_printf(text, "%s%.*s %s", i ? ", " : "", STR_ARG(names->list[i].name),
                              num_count((double)names->list[i].count).text);
    if (names->count > NAMES_SHOWN || names->other)
        ok = ok &&
             buf_printf(text, ", %zu%s more", names->count - NAMES_SHOWN, names->other ? "+" : "");
    ENSURE(ok);
}

static void write_names(const struct term *t, const char *label, const struct error_names *names)
{
    struct buf text = {0};
    if (names->count == 0)
        return;
    put_names(&text, names);
    write_detail(t, label, STYLE_NONE, buf_str(&text));
    buf_fini(&text);
}

static void write_when(const struct term *t, const struct error_pattern *p)
{
    char first[WHEN_TEXT_BYTES], last[WHEN_TEXT_BYTES], text[2 * WHEN_TEXT_BYTES + 8];
    if (p->first_us > p->last_us)
        return;
    int n = snprintf(text, sizeof text, "%.*s to %.*s",
                     STR_ARG(when_text(p->first_us, first, sizeof first)),
                     STR_ARG(when_text(p->last_us, last, sizeof last)));
    write_detail(t, "when", STYLE_NONE, (struct str){text, (size_t)n});
}

static void write_ids(const struct term *t, const struct error_pattern *p)
{
    char text[256];
    if (p->first.n == 0)
        return;
    int n = snprintf(text, sizeof text, "%.*s", (int)p->first.n, p->first.id);
    if (p->last.n != p->first.n || memcmp(p->last.id, p->first.id, p->last.n) != 0)
        n = snprintf(text, sizeof text, "%.*s … %.*s", (int)p->first.n, p->first.id, (int)p->last.n,
                     p->last.id);
    write_detail(t, "ids", STYLE_NONE, (struct str){text, (size_t)n});
}

static void write_cause(const struct term *t, const struct error_cause *c)
{
    char text[256];
    int n = snprintf(text, sizeof text, "%s. %s", c->title, c->fix);
    write_detail(t, "cause", STYLE_NONE, (struct str){text, MIN((size_t)n, sizeof text - 1)});
}

static enum term_style trend_style(enum error_trend trend)
{
    return trend == TREND_NEW || trend == TREND_GROWING    ? STYLE_BAD
           : trend == TREND_GONE || trend == TREND_FALLING ? STYLE_GOOD
                                                           : STYLE_NONE;
}

static struct str shown_type(const struct error_pattern *p)
{
    return p->type.n ? p->type : STR("no type");
}

static struct str shown_text(const struct error_pattern *p)
{
    return p->text.n ? p->text : STR("(no message)");
}

/* "  1,234   45 %  ▁▂▃▅█  growing  upstream_error 429". */
static void write_head(const struct term *t, const struct row *r, int spark_columns)
{
    char spark[GRAPH_BYTES(TIME_SLOTS_SHOWN_MAX)];
    graph_spark(t->utf8, r->counts, r->buckets.count, 0, spark, sizeof spark);
    term_field(t, STYLE_BAD, str_from(num_count((double)r->pattern->count).text), 8, ALIGN_RIGHT);
    term_field(t, STYLE_NONE, str_from(num_pct(r->share).text), 8, ALIGN_RIGHT);
    fputs("  ", t->out);
    term_field(t, STYLE_ACCENT, str_from(spark), spark_columns, ALIGN_LEFT);
    fputs("  ", t->out);
    term_field(t, trend_style(r->trend), str_from(error_trend_names[r->trend]), 7, ALIGN_LEFT);
    fputs("  ", t->out);
    term_put(t, STYLE_NONE, shown_type(r->pattern), 0);
    if (r->pattern->status >= 0)
        fprintf(t->out, " %lld", (long long)r->pattern->status);
    fputc('\n', t->out);
}

static void write_block(const struct analysis *a, const struct term *t, const struct row *r,
                        int spark_columns)
{
    struct buf next = {0};
    write_head(t, r, spark_columns);
    fprintf(t->out, "%*s", INDENT_COLUMNS, "");
    put_wrapped(t, STYLE_NONE, INDENT_COLUMNS, shown_text(r->pattern));
    write_cause(t, r->cause);
    for (int i = 0; i < ERROR_NAMES_COUNT; i++)
        write_names(t, i == ERROR_PROVIDERS ? "from" : names_titles[i], &r->pattern->names[i]);
    write_when(t, r->pattern);
    write_ids(t, r->pattern);
    put_next(&next, a, r);
    put_label(t, "next");
    term_put(t, STYLE_ACCENT, buf_str(&next), 0); /* not cut: it is there to be copied */
    fputc('\n', t->out);
    buf_fini(&next);
}

static void write_rest(const struct term *t, const struct error_patterns *p, size_t shown,
                       const char *how)
{
    uint64_t left = p->other;
    for (size_t i = shown; i < p->count; i++)
        left += p->list[i]->count;
    if (left == 0)
        return;
    char text[160];
    int n = snprintf(text, sizeof text, "%s errors in %zu more patterns%s: %s",
                     num_count((double)left).text, p->count - shown,
                     p->other ? " and others past the limit" : "", how);
    term_put(t, STYLE_DIM, (struct str){text, MIN((size_t)n, sizeof text - 1)}, 0);
    fputc('\n', t->out);
}

static void write_terminal(const struct analysis *a, const struct error_patterns *p, size_t shown,
                           const struct term *t)
{
    char span[WHEN_TEXT_BYTES], how[32];
    int spark_columns = 0;
    fputc('\n', t->out);
    fprintf(t->out, "%sError patterns", term_sgr(t, STYLE_TITLE));
    for (size_t i = 0; i < MIN(shown, (size_t)1); i++) {
        struct row r = row_of(a, p, i);
        spark_columns = (int)r.buckets.count;
        if (r.buckets.count > 1)
            fprintf(
                t->out, ", over %.*s",
                STR_ARG(when_span_text(a->total->last_us - a->total->first_us, span, sizeof span)));
    }
    fprintf(t->out, "%s\n", term_sgr_end(t, STYLE_TITLE));
    for (size_t i = 0; i < shown; i++) {
        struct row r = row_of(a, p, i);
        if (i)
            fputc('\n', t->out);
        write_block(a, t, &r, spark_columns);
    }
    snprintf(how, sizeof how, "--top %zu", p->count);
    write_rest(t, p, shown, how);
}

/* ---- as a table ---- */

static const struct table_column columns[] = {
    {"Errors", ALIGN_RIGHT, "count"},      {"Share", ALIGN_RIGHT, "share"},
    {"Trend", ALIGN_LEFT, "trend"},        {"Error", ALIGN_LEFT, "error.type"},
    {"Status", ALIGN_RIGHT, "status"},     {"Message", ALIGN_LEFT, "message"},
    {"Models", ALIGN_LEFT, "models"},      {"Providers", ALIGN_LEFT, "providers"},
    {"Keys", ALIGN_LEFT, "keys"},          {"First", ALIGN_LEFT, "first"},
    {"Last", ALIGN_LEFT, "last"},          {"Example", ALIGN_LEFT, "example_id"},
    {"Likely cause", ALIGN_LEFT, "cause"},
};

static void put_time(struct table *table, int64_t us)
{
    char text[WHEN_TEXT_BYTES];
    bool known = us != INT64_MIN && us != INT64_MAX;
    table_text(table, STYLE_NONE, known ? when_text_zoned(us, text, sizeof text) : STR_NONE);
}

static void put_row(struct table *table, const struct row *r)
{
    const struct error_pattern *p = r->pattern;
    table_row(table);
    table_number(table, STYLE_NONE, num_count((double)p->count), (double)p->count);
    table_number(table, STYLE_NONE, num_pct(r->share), r->share);
    table_text(table, STYLE_NONE, str_from(error_trend_names[r->trend]));
    table_text(table, STYLE_NONE, shown_type(p));
    if (p->status >= 0)
        table_printf(table, STYLE_NONE, "%lld", (long long)p->status);
    else
        table_text(table, STYLE_NONE, STR_NONE);
    table_text(table, STYLE_NONE, shown_text(p));
    for (int i = 0; i < ERROR_NAMES_COUNT; i++) {
        struct buf names = {0};
        put_names(&names, &p->names[i]);
        table_text(table, STYLE_NONE, buf_str(&names));
        buf_fini(&names);
    }
    put_time(table, p->first_us);
    put_time(table, p->last_us);
    table_text(table, STYLE_NONE, (struct str){p->first.id, p->first.n});
    table_text(table, STYLE_NONE, str_from(r->cause->title));
}

static void write_tables(const struct analysis *a, void *state, enum table_format format,
                         const struct term *t)
{
    struct error_patterns *p = state;
    struct table table;
    error_patterns_settle(p);
    if (p->errors == 0)
        return;
    size_t shown = MIN(p->count, (size_t)a->top);
    if (format == TABLE_TERMINAL) {
        write_terminal(a, p, shown, t);
        return;
    }
    fputc('\n', t->out);
    table_init(&table, columns, COUNT(columns));
    table_title(&table, "Error patterns");
    for (size_t i = 0; i < shown; i++) {
        struct row r = row_of(a, p, i);
        put_row(&table, &r);
    }
    if (shown < p->count)
        table_note(&table, "%zu more: --top %zu", p->count - shown, p->count);
    table_write(&table, format, t);
    table_fini(&table);
}

/* ---- for programs ---- */

static void put_json_names(struct json_out *j, const char *name, const struct error_names *names)
{
    json_nest(j, name, "{");
    json_count(j, "distinct", names->count);
    json_bool(j, "more", names->other > 0);
    json_nest(j, "top", "[");
    for (size_t i = 0; i < MIN(names->count, (size_t)NAMES_SHOWN); i++) {
        json_nest(j, NULL, "{");
        json_text(j, "name", names->list[i].name);
        json_count(j, "count", names->list[i].count);
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
    json_unnest(j, "}");
}

static void put_json_timeline(struct json_out *j, const struct row *r)
{
    json_nest(j, "timeline", "{");
    json_stamp(j, "start", r->buckets.count ? r->buckets.start_us : INT64_MIN);
    json_number(j, "step_ms", (double)r->buckets.bucket_us / 1000, "%.0f");
    json_nest(j, "counts", "[");
    for (size_t i = 0; i < r->buckets.count; i++)
        json_count(j, NULL, (uint64_t)r->counts[i]);
    json_unnest(j, "]");
    json_unnest(j, "}");
}

static struct str example_id(const struct error_example *e)
{
    return e->n ? (struct str){e->id, e->n} : STR_NONE;
}

static void put_json_cause(struct json_out *j, const struct error_cause *c)
{
    json_nest(j, "cause", "{");
    json_text(j, "name", str_from(c->name));
    json_text(j, "title", str_from(c->title));
    json_text(j, "fix", str_from(c->fix));
    json_unnest(j, "}");
}

static void put_json_row(struct json_out *j, const struct analysis *a, const struct row *r)
{
    const struct error_pattern *p = r->pattern;
    struct buf next = {0};
    double status = p->status >= 0 ? (double)p->status : NAN;
    json_nest(j, NULL, "{");
    json_count(j, "count", p->count);
    json_number(j, "share", r->share, "%.6f");
    json_text(j, "error.type", p->type);
    json_number(j, "provider_status", p->status_is_clients ? NAN : status, "%.0f");
    json_number(j, "http_status", p->status_is_clients ? status : NAN, "%.0f");
    json_text(j, "message", p->text);
    json_stamp(j, "first", p->first_us);
    json_stamp(j, "last", p->last_us);
    json_text(j, "trend", str_from(error_trend_names[r->trend]));
    json_bool(j, "new", r->trend == TREND_NEW);
    put_json_timeline(j, r);
    json_text(j, "first_id", example_id(&p->first));
    json_text(j, "last_id", example_id(&p->last));
    for (int i = 0; i < ERROR_NAMES_COUNT; i++)
        put_json_names(j, names_titles[i], &p->names[i]);
    put_json_cause(j, r->cause);
    put_next(&next, a, r);
    json_text(j, "next", buf_str(&next));
    buf_fini(&next);
    json_unnest(j, "}");
}

static void write_json(const struct analysis *a, void *state, struct json_out *j)
{
    struct error_patterns *p = state;
    error_patterns_settle(p);
    json_nest(j, "patterns", "{");
    json_count(j, "errors", p->errors);
    json_count(j, "other", p->other);
    json_nest(j, "list", "[");
    for (size_t i = 0; i < p->count; i++) {
        struct row r = row_of(a, p, i);
        put_json_row(j, a, &r);
    }
    json_unnest(j, "]");
    json_unnest(j, "}");
}

const struct analyze_part analyze_patterns = {
    .name = "patterns",
    .wanted = wanted,
    .events = LOG_EVENT_BIT(REQUEST),
    .make = make,
    .take = take,
    .merge = merge,
    .destroy = destroy,
    .write_tables = write_tables,
    .write_json = write_json,
};
