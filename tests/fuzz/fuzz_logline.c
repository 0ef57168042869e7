/* fuzz_logline.c -- the reader of log lines against the strict JSON scanner, and against itself in another shape.
 *
 * The input is a log. What must hold, line by line:
 *   - a line is read exactly where the scanner calls it a whole JSON object. But for two things the scanner is stricter in: it
 *     checks UTF-8, which the reader leaves to who shows a string, and it takes 256 levels, where the reader takes 1,000;
 *   - a line with a blank in front, which the template cannot take, gives the same fields and the same values;
 *   - what logline_read_failed passes over is no failure, and ends where the line does;
 *   - strings lie inside the line, and decode;
 *   - the line after it begins behind its newline. */
#include "base/json.h"
#include "observe/log_meaning.h"

struct seen {
    enum line_status status;
    struct logline l;
};

static char *with_slack(const char *p, size_t n, bool blank)
{
    char *copy = mem_alloc(n + blank + LOGLINE_SLACK);
    copy[0] = ' ';
    if (n)
        memcpy(copy + blank, p, n);
    copy[n + blank] = '\n';
    return copy;
}

static void read_copy(struct seen *s, const char *copy, size_t n)
{
    logline_init(&s->l);
    ENSURE(logline_read(&s->l, copy, copy + n, &s->status) == copy + n);
    if (s->status == LINE_BROKEN)
        ENSURE(s->l.bad && s->l.bad_at <= n);
}

/* The verdict of the scanner: 1 an object, 0 not, -1 it may not know. */
static int scanned(const char *p, size_t n)
{
    struct json_scan scan;
    while (n && *p == '\0') {
        p++;
        n--;
    }
    json_scan_init(&scan, NULL, NULL);
    enum json_status status = json_scan_feed(&scan, p, n);
    if (status == JSON_MORE)
        status = json_scan_finish(&scan);
    if (status == JSON_BAD && (strstr(scan.bad, "UTF-8") || strstr(scan.bad, "levels")))
        return -1;
    while (n && (*p == ' ' || *p == '\t' || *p == '\r')) {
        p++;
        n--;
    }
    return status == JSON_DONE && n && *p == '{';
}

static void same_text(const struct seen *a, const struct seen *b, size_t field)
{
    char x[256], y[256];
    struct str raw_a, raw_b;
    memcpy(&raw_a, (const char *)&a->l.r + record_fields[field].offset, sizeof raw_a);
    memcpy(&raw_b, (const char *)&b->l.r + record_fields[field].offset, sizeof raw_b);
    struct str text_a = logline_text(&a->l, (enum log_field)field, raw_a, x, sizeof x);
    struct str text_b = logline_text(&b->l, (enum log_field)field, raw_b, y, sizeof y);
    ENSURE(str_eq(text_a, text_b));
}

static void same_record(const struct seen *a, const struct seen *b)
{
    ENSURE(a->l.found == b->l.found && a->l.shape == b->l.shape && a->l.escaped == b->l.escaped);
    for (size_t f = 0; f < record_field_count; f++) {
        if (!(a->l.found >> f & 1))
            continue;
        enum record_kind kind = record_fields[f].kind;
        const char *x = (const char *)&a->l.r + record_fields[f].offset,
                   *y = (const char *)&b->l.r + record_fields[f].offset;
        if (kind == RECORD_STR || kind == RECORD_RAW)
            same_text(a, b, f);
        else
            ENSURE(memcmp(x, y, kind == RECORD_BOOL ? 1 : 8) == 0);
    }
}

static void check_head(const struct seen *whole, const char *copy, size_t n)
{
    struct seen head;
    logline_init(&head.l);
    ENSURE(logline_read_failed(&head.l, copy, copy + n, &head.status) == copy + n);
    if (head.status != LINE_HEAD)
        ENSURE(head.status == whole->status);
    else if (whole->status == LINE_READ)
        ENSURE(log_outcome_of(&whole->l) != LOG_OUTCOME_FAILURE);
    else
        ENSURE(whole->status == LINE_BROKEN);
}

static void check_line(const char *p, size_t n)
{
    struct seen plain, walked;
    char *copy = with_slack(p, n, false), *blank = with_slack(p, n, true);
    read_copy(&plain, copy, n);
    check_head(&plain, copy, n);
    int verdict = scanned(p, n);
    if (plain.status != LINE_BLANK && verdict >= 0)
        ENSURE((plain.status == LINE_READ) == (verdict == 1));
    if (n && *p != '\0') { /* a hole must come first */
        read_copy(&walked, blank, n + 1);
        ENSURE(walked.status == plain.status);
        if (plain.status == LINE_READ)
            same_record(&plain, &walked);
    }
    mem_free(copy);
    mem_free(blank);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data, *end = p + size;
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p)), *stop = newline ? newline : end;
        check_line(p, (size_t)(stop - p));
        p = newline ? newline + 1 : end;
    }
    return 0;
}
