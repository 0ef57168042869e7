/* fuzz_tail.c -- what `weir tail` shows of any line. The input is a log; its first byte chooses width, colours and columns. What must hold:
 *   - nothing that is shown holds a control byte but its line ends and weir's own colours, nor a C1 control;
 *   - what --json prints is one JSON object without line ends, no longer than the line, and has no member with contents. */
#include "base/json.h"
#include "cli/tail_view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_shown(const char *p, size_t n, bool color)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (color && c == '\033') { /* ESC [ digits m */
            ENSURE(p[++i] == '[');
            while (p[++i] != 'm')
                ENSURE((p[i] >= '0' && p[i] <= '9') || p[i] == ';');
            continue;
        }
        ENSURE((c >= ' ' && c != 0x7F) || c == '\n');
        ENSURE(!(c == 0xC2 && i + 1 < n && (unsigned char)p[i + 1] < 0xA0));
    }
}

static void check_public(struct str line, struct buf *out)
{
    static const char *const contents[] = {"request", "response", "metadata", "messages"};
    static const struct json_want *want;
    struct json_found found[COUNT(contents)];
    struct json_scan scan;
    if (!want)
        want = json_want_compile(contents, COUNT(contents));
    if (!tail_json_public(line, out))
        return;
    struct str text = buf_str(out);
    ENSURE(text.n <= line.n && !memchr(text.p, '\n', text.n));
    json_scan_init(&scan, want, found);
    ENSURE(json_scan_feed(&scan, text.p, text.n) == JSON_DONE);
    for (size_t i = 0; i < COUNT(contents); i++)
        ENSURE(found[i].kind == JSON_NONE);
}

static void show(struct tail_view *v, struct logline *l, const char *p, size_t n,
                 struct buf *public)
{
    enum line_status status;
    char *line = mem_alloc(n + 1 + LOGLINE_SLACK);
    if (n)
        memcpy(line, p, n);
    line[n] = '\n';
    logline_read(l, line, line + n + 1, &status);
    struct str text = {line, n};
    if (status == LINE_READ) {
        tail_view_line(v, l, text);
        tail_view_record(v, text);
        check_public(text, public);
    } else {
        tail_view_broken(v, text);
    }
    mem_free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *shown = NULL;
    size_t shown_bytes = 0;
    struct logline l;
    struct buf public;
    struct err e = {0};
    uint8_t choice = size ? data[0] : 0;
    struct term t = {
        .color = choice & 1, .utf8 = choice & 2, .columns = choice & 4 ? 0 : choice / 2 + 1};
    struct tail_view v = {.term = &t, .show_content = choice & 8};
    t.out = open_memstream(&shown, &shown_bytes);
    ENSURE(t.out);
    if (choice & 16)
        ENSURE(
            tail_view_fields(&v, "timestamp,model,latency_ms,cost_usd,stream,error.message", &e));
    buf_init(&public, 0, NULL);
    logline_init(&l);
    tail_view_heading(&v);
    for (const char *p = (const char *)data + (size > 0), *end = (const char *)data + size;
         p < end;) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        const char *stop = newline ? newline : end;
        show(&v, &l, p, (size_t)(stop - p), &public);
        p = stop + 1;
    }
    fclose(t.out);
    check_shown(shown, shown_bytes, t.color);
    free(shown);
    buf_fini(&public);
    return 0;
}
