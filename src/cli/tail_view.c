/* tail_view.c -- see tail_view.h. A line becomes cells (tail_columns.c), which are written one behind the other. */
#include "cli/tail_view.h"

#include <stdarg.h>

#include "base/redact.h"
#include "base/when.h"
#include "cli/tail_columns.h"
#include "observe/log_meaning.h"

#define MESSAGE_BYTES 2600 /* more than any string of weir's own log (RECORD_STR_MAX) */

/* ---- --fields ---- */

static bool find_field(struct str name, enum log_field *field, struct err *e)
{
    size_t nearest = 0;
    int best = 100;
    for (size_t i = 0; i < record_field_count; i++) {
        struct str known = str_from(record_fields[i].name);
        int distance = str_distance(known, name);
        if (distance == 0) {
            *field = (enum log_field)i;
            return true;
        }
        if (distance < best) {
            best = distance;
            nearest = i;
        }
    }
    return err_set(e,
                   "--fields: expected fields of the record (docs/log.md), got \"%.*s\"; did you "
                   "mean %s?",
                   STR_ARG(name), record_fields[nearest].name);
}

bool tail_view_fields(struct tail_view *v, const char *names, struct err *e)
{
    struct str rest = str_from(names);
    while (rest.n) {
        struct str name = str_trim(str_cut(&rest, ','));
        if (v->field_count == TAIL_COLUMNS_MAX)
            return err_set(e, "--fields: expected at most %d fields", TAIL_COLUMNS_MAX);
        enum log_field *field = &v->fields[v->field_count++];
        if (!find_field(name, field, e))
            return false;
        if (record_fields[*field].kind == RECORD_RAW && !v->show_content)
            return err_set(e,
                           "--fields: %s holds contents, which are shown with --show-content only",
                           record_fields[*field].name);
    }
    return v->field_count > 0 || err_set(e, "--fields: expected a field, such as model");
}

/* ---- rows of cells ---- */

struct row {
    const struct term *term;
    int blanks; /* owed before the next cell: none are written behind the last */
};

static void put_cell(struct row *r, enum term_style style, struct str text, int columns,
                     enum align align)
{
    int width = MIN(term_width(r->term->utf8, text), columns);
    int before = r->blanks + (align == ALIGN_RIGHT ? columns - width : 0);
    r->blanks = align == ALIGN_LEFT ? columns - width : 0;
    if (width) {
        fprintf(r->term->out, "%*s", before, "");
        term_put(r->term, style, text, columns);
        before = 0;
    }
    r->blanks += before + 2;
}

static struct str cell_text(const struct tail_cell *c)
{
    return c->whole.n ? c->whole : str_from(c->text);
}

static void put_usual(const struct tail_view *v, const struct logline *l, bool dim)
{
    struct row r = {v->term, 0};
    int widths[TAIL_COLUMNS_MAX];
    tail_columns_fit(v->term->columns, widths);
    for (size_t i = 0; i < tail_column_count; i++) {
        struct tail_cell c = {.style = STYLE_NONE};
        if (widths[i] == 0)
            continue;
        tail_columns[i].tell(v, l, &c);
        put_cell(&r, dim ? STYLE_DIM : c.style, str_from(c.text), widths[i], tail_columns[i].align);
    }
    fputc('\n', v->term->out);
}

static bool is_number(enum log_field field)
{
    enum record_kind kind = record_fields[field].kind;
    return kind == RECORD_INT || kind == RECORD_MS || kind == RECORD_USD || kind == RECORD_RATE;
}

static void put_fields(const struct tail_view *v, const struct logline *l)
{
    struct row r = {v->term, 0};
    for (int i = 0; i < v->field_count; i++) {
        struct tail_cell c = {.style = STYLE_NONE};
        enum log_field field = v->fields[i];
        tail_field_tell(v, l, field, &c);
        struct str text = cell_text(&c);
        /* A value longer than its column is shown whole: it was asked for. */
        int columns = MAX(tail_field_columns(field), term_width(v->term->utf8, text));
        put_cell(&r, STYLE_NONE, text, columns, is_number(field) ? ALIGN_RIGHT : ALIGN_LEFT);
    }
    fputc('\n', v->term->out);
}

void tail_view_heading(const struct tail_view *v)
{
    struct row r = {v->term, 0};
    int widths[TAIL_COLUMNS_MAX];
    tail_columns_fit(v->term->columns, widths);
    for (int i = 0; i < v->field_count; i++)
        put_cell(&r, STYLE_HEADING, str_from(record_fields[v->fields[i]].name),
                 tail_field_columns(v->fields[i]),
                 is_number(v->fields[i]) ? ALIGN_RIGHT : ALIGN_LEFT);
    for (size_t i = 0; v->field_count == 0 && i < tail_column_count; i++)
        if (widths[i])
            put_cell(&r, STYLE_HEADING, str_from(tail_columns[i].heading), widths[i],
                     tail_columns[i].align);
    fputc('\n', v->term->out);
}

/* ---- what is no row ---- */

/* One line of text. In a file it is as long as it comes; on a terminal it is cut to the width, less `used`. */
static void put_rest(const struct tail_view *v, enum term_style style, struct str text, int used)
{
    int columns = v->term->columns ? MAX(v->term->columns - used, 8) : 0;
    term_put(v->term, style, text, columns);
    fputc('\n', v->term->out);
}

size_t tail_view_public(const struct tail_view *v, struct str text, char *out, size_t out_bytes)
{
    size_t n = MIN(text.n, out_bytes);
    if (v->show_content)
        memcpy(out, text.p, n);
    else
        n = redact_secrets(text, out, out_bytes);
    for (size_t i = 0; i < n; i++)
        if (out[i] == '\n' || out[i] == '\r' || out[i] == '\t')
            out[i] = ' ';
    return n;
}

static struct str message_of(const struct tail_view *v, const struct logline *l, char *out,
                             size_t out_bytes)
{
    char decoded[MESSAGE_BYTES];
    if (!(l->found & LOG_BIT(error_message)))
        return STR_NONE;
    struct str text =
        logline_text(l, LOG_error_message, l->r.error.message, decoded, sizeof decoded);
    return str_trim((struct str){out, tail_view_public(v, text, out, out_bytes)});
}

/* Below a request that failed. */
static void put_error(const struct tail_view *v, const struct logline *l)
{
    char text[MESSAGE_BYTES + 256], type[128] = "", message[MESSAGE_BYTES];
    size_t n = 0;
    if (!(l->found & (LOG_BIT(error_type) | LOG_BIT(error_message))))
        return;
    struct str said = message_of(v, l, message, sizeof message);
    if (l->found & LOG_BIT(error_type)) {
        struct str t = logline_text(l, LOG_error_type, l->r.error.type, type, sizeof type);
        n += (size_t)snprintf(text, sizeof text, "%.*s  ", (int)MIN(t.n, sizeof type), t.p);
    }
    if (l->found & LOG_BIT(error_provider_status))
        n += (size_t)snprintf(text + n, sizeof text - n, "provider said %d  ",
                              (int)l->r.error.provider_status);
    n += (size_t)snprintf(text + n, sizeof text - n, "%.*s", STR_ARG(said));
    fputs("    ", v->term->out);
    put_rest(v, STYLE_BAD, (struct str){text, MIN(n, sizeof text - 1)}, 4);
}

/* On a terminal a line has no date; where the day is not the one before, it is named. */
static void put_day(struct tail_view *v, const struct logline *l)
{
    char text[WHEN_TEXT_BYTES];
    int64_t us = l->r.timestamp;
    if (!v->term->columns || !(l->found & LOG_BIT(timestamp)) ||
        (us >= v->day_us && us < v->next_day_us))
        return;
    time_t now = (time_t)(us / 1000000);
    struct tm tm;
    localtime_r(&now, &tm);
    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    tm.tm_isdst = -1;
    bool first = v->next_day_us == 0;
    v->day_us = (int64_t)mktime(&tm) * 1000000;
    tm.tm_mday++;
    tm.tm_isdst = -1;
    v->next_day_us = (int64_t)mktime(&tm) * 1000000;
    bool today = time(NULL) * INT64_C(1000000) < v->next_day_us &&
                 time(NULL) * INT64_C(1000000) >= v->day_us;
    if (first && today)
        return;
    struct str day = when_text(us, text, sizeof text);
    tail_view_note(v, "%.10s", day.p);
}

static void put_event(const struct tail_view *v, const struct logline *l, enum log_event event)
{
    static const char *const names[] = {[LOG_EVENT_GAP] = "gap",
                                        [LOG_EVENT_START] = "start",
                                        [LOG_EVENT_STOP] = "stop",
                                        [LOG_EVENT_RELOAD] = "reload"};
    char message[MESSAGE_BYTES], text[MESSAGE_BYTES + 64];
    struct tail_cell when = {.style = STYLE_DIM};
    struct str said = message_of(v, l, message, sizeof message);
    tail_columns[0].tell(v, l, &when);
    int n =
        event == LOG_EVENT_GAP && l->found & LOG_BIT(dropped)
            ? snprintf(text, sizeof text, "%s  gap: %lld requests are not in the log", when.text,
                       (long long)l->r.dropped)
            : snprintf(text, sizeof text, "%s  %s  %.*s", when.text, names[event], STR_ARG(said));
    put_rest(v, event == LOG_EVENT_GAP ? STYLE_WARN : STYLE_DIM,
             str_trim((struct str){text, MIN((size_t)n, sizeof text - 1)}), 0);
}

/* Of other programs: LiteLLM's json_logs, or any JSON. */
static void put_other(const struct tail_view *v, const struct logline *l, struct str line)
{
    char message[MESSAGE_BYTES];
    struct tail_cell when = {.style = STYLE_DIM}, level = {.style = STYLE_DIM};
    if (l->shape != LOG_SHAPE_JSON_LOGS) {
        tail_view_broken(v, line);
        return;
    }
    tail_columns[0].tell(v, l, &when);
    tail_field_tell(v, l, LOG_level, &level);
    bool bad = strcmp(level.text, "ERROR") == 0 || strcmp(level.text, "CRITICAL") == 0;
    struct row r = {v->term, 0};
    put_cell(&r, STYLE_DIM, str_from(when.text), v->term->columns ? 12 : 23, ALIGN_LEFT);
    put_cell(&r, bad ? STYLE_BAD : STYLE_DIM, str_from(level.text), 8, ALIGN_LEFT);
    fprintf(v->term->out, "%*s", r.blanks, "");
    put_rest(v, STYLE_DIM, message_of(v, l, message, sizeof message), 24);
}

void tail_view_line(struct tail_view *v, const struct logline *l, struct str line)
{
    enum log_event event = log_event_of(l);
    put_day(v, l);
    if (v->field_count) {
        put_fields(v, l);
    } else if (event == LOG_EVENT_REQUEST || event == LOG_EVENT_ATTEMPT) {
        put_usual(v, l, event == LOG_EVENT_ATTEMPT);
        put_error(v, l);
    } else if (event == LOG_EVENT_OTHER) {
        put_other(v, l, line);
    } else {
        put_event(v, l, event);
    }
}

void tail_view_broken(const struct tail_view *v, struct str line)
{
    char text[MESSAGE_BYTES];
    put_rest(v, STYLE_DIM, (struct str){text, tail_view_public(v, line, text, sizeof text)}, 0);
}

void tail_view_note(const struct tail_view *v, const char *fmt, ...)
{
    char text[600], line[640];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    int n = snprintf(line, sizeof line, "-- %s --", text);
    put_rest(v, STYLE_DIM, (struct str){line, (size_t)n}, 0);
}

/* ---- the whole record ---- */

/* Behind the string that begins at p, whose JSON is known to be good. */
static const char *string_end(const char *p)
{
    for (p++; *p != '"'; p++)
        p += *p == '\\';
    return p + 1;
}

/* A string of the record. Keys' hashes are told by their beginning. */
static void put_string(const struct tail_view *v, struct str text, bool is_key, bool is_hash)
{
    if (is_hash && !v->show_content)
        text.n = MIN(text.n, (size_t)9);
    term_put(v->term, is_key ? STYLE_ACCENT : STYLE_NONE, text, 0);
    if (is_hash && !v->show_content)
        fputs("...\"", v->term->out);
}

static void put_indent(const struct term *t, int depth)
{
    fprintf(t->out, "\n%*s", 2 * depth + 2, "");
}

void tail_view_record(const struct tail_view *v, struct str line)
{
    struct buf shown;
    buf_init(&shown, 0, NULL);
    if (!v->show_content && !tail_json_public(line, &shown)) {
        tail_view_note(v, "it is not quite JSON and may hold contents: see --show-content");
        buf_fini(&shown);
        return;
    }
    struct str json = v->show_content ? line : buf_str(&shown);
    json = str_skip(json,
                    (size_t)MAX(str_find(json, '{'), 0)); /* NULs of a hole may stand before it */
    int depth = 0;
    bool after_hash = false;
    fputs("  ", v->term->out);
    for (const char *p = json.p, *end = p ? p + json.n : p; p < end;) {
        const char *from = p;
        if (*p == '"') {
            p = string_end(p);
            bool is_key = p < end && *p == ':', is_hash = !is_key && after_hash;
            struct str text = {from, (size_t)(p - from)};
            after_hash = is_key && str_eq(text, STR("\"key_hash\""));
            put_string(v, text, is_key, is_hash);
            continue;
        }
        p++;
        bool opens = *from == '{' || *from == '[', closes = *from == '}' || *from == ']';
        bool empty = opens && p < end && (*p == '}' || *p == ']');
        depth += opens - closes;
        if (closes && from[-1] != '{' && from[-1] != '[')
            put_indent(v->term, depth);
        if (*from != ' ' && *from != '\t' && *from != '\r')
            fputc(*from, v->term->out);
        if (*from == ':')
            fputc(' ', v->term->out);
        if ((opens && !empty) || *from == ',')
            put_indent(v->term, depth);
    }
    fputc('\n', v->term->out);
    buf_fini(&shown);
}
