#include "observe/log_filter.h"

#include "base/digits.h"

void log_filter_add(struct log_filter *f, enum log_field field, const char *pattern)
{
    if (!pattern)
        return;
    ENSURE(f->count < LOG_FILTER_ROWS_MAX);
    f->rows[f->count++] = (struct log_filter_row){field, str_from(pattern)};
}

void log_filter_add_status(struct log_filter *f, const char *pattern)
{
    const char *first = pattern ? pattern + (pattern[0] == '!') : "";
    bool number = first[0] >= '0' && first[0] <= '9';
    log_filter_add(f, number ? LOG_http_status : LOG_status, pattern);
}

/* "5xx" for a status of three digits. */
static bool is_class_of(struct str pattern, struct str text)
{
    return pattern.n == 3 && text.n == 3 && str_ieq(str_skip(pattern, 1), STR("xx")) &&
           pattern.p[0] == text.p[0];
}

bool log_pattern_matches(struct str pattern, struct str text)
{
    bool wanted = false, only_negative = true;
    while (pattern.n) {
        struct str one = str_trim(str_cut(&pattern, ','));
        bool shut_out = one.n && one.p[0] == '!';
        one = str_skip(one, shut_out);
        bool match = str_glob(one, text) || is_class_of(one, text);
        if (match && shut_out)
            return false;
        wanted |= match && !shut_out;
        only_negative &= shut_out;
    }
    return wanted || only_negative;
}

static bool row_matches(const struct log_filter_row *row, const struct logline *l)
{
    char text[512];
    const char *member = (const char *)&l->r + record_fields[row->field].offset;
    struct str value = STR("");
    if (!(l->found >> row->field & 1))
        return log_pattern_matches(row->pattern, value);
    if (record_fields[row->field].kind == RECORD_STR) {
        memcpy(&value, member, sizeof value);
        value = logline_text(l, row->field, value, text, sizeof text);
    } else if (record_fields[row->field].kind == RECORD_INT) {
        int64_t number;
        memcpy(&number, member, sizeof number);
        value = (struct str){text, (size_t)(digits_u64(text, (uint64_t)number) - text)};
    }
    return log_pattern_matches(row->pattern, value);
}

static bool is_slow(const struct log_filter *f, const struct logline *l)
{
    if (f->slow_us > 0)
        return (l->found & LOG_BIT(latency)) && l->r.latency_us >= f->slow_us;
    return (l->found & LOG_BIT(slow)) && l->r.slow;
}

bool log_filter_matches(const struct log_filter *f, const struct logline *l)
{
    if (f->slow_only && !is_slow(f, l))
        return false;
    for (int i = 0; i < f->count; i++)
        if (!row_matches(&f->rows[i], l))
            return false;
    return !f->where || log_where_matches(f->where, l);
}
