/* fuzz_where.c -- --where of any text, on any lines.
 *
 * The input's first line is the expression, the others are a log. What must hold:
 *   - an expression is taken, or refused with a sentence that has its column;
 *   - its opposite, not (...), is the opposite for each line;
 *   - `x or x` and `x and x` are what x is;
 *   - a name that is taken gives a text inside the line, or decoded, and never one longer than promised. */
#include "base/mem.h"
#include "observe/log_where.h"

#define NOW_US INT64_C(1795485600000000)

struct expressions {
    struct log_where *plain, *opposite, *either, *both;
    bool is_name;
    struct log_ref ref;
};

/* NULL is right only where twice as many steps, or one bracket more, are too many. */
static struct log_where *compile(const char *fmt, struct str text)
{
    struct arena a;
    struct err e = {0};
    arena_init(&a, NULL, 0);
    struct str all = arena_printf(&a, fmt, STR_ARG(text), STR_ARG(text));
    struct log_where *w = log_where_parse(all, NOW_US, &e);
    ENSURE(w || strstr(e.text, "at most"));
    arena_fini(&a);
    return w;
}

static bool compile_all(struct expressions *x, struct str text)
{
    struct err e = {0};
    *x = (struct expressions){0};
    x->is_name = log_ref_parse(&x->ref, text, NULL);
    x->plain = log_where_parse(text, NOW_US, &e);
    if (!x->plain) {
        ENSURE(str_starts(str_from(e.text), STR("column ")) && strchr(e.text, '^'));
        return false;
    }
    if (memchr(text.p, '\0', text.n)) /* printf ends there */
        return true;
    x->opposite = compile("not (%.*s)", text);
    x->either = compile("(%.*s) or (%.*s)", text);
    x->both = compile("(%.*s) and (%.*s)", text);
    return true;
}

static void check_line(const struct expressions *x, const char *p, size_t n)
{
    struct logline l;
    enum line_status status;
    char *line = mem_alloc(n + LOGLINE_SLACK), text[LOG_REF_OUT_BYTES];
    if (n)
        memcpy(line, p, n);
    line[n] = '\n';
    logline_init(&l);
    (void)logline_read(&l, line, line + n, &status);
    if (status == LINE_READ && x->plain) {
        bool truth = log_where_matches(x->plain, &l);
        ENSURE(!x->opposite || log_where_matches(x->opposite, &l) == !truth);
        ENSURE(!x->either || log_where_matches(x->either, &l) == truth);
        ENSURE(!x->both || log_where_matches(x->both, &l) == truth);
    }
    if (status == LINE_READ && x->is_name)
        ENSURE(log_ref_text(&x->ref, &l, text).n <= LOG_REF_TEXT_BYTES);
    mem_free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct expressions x;
    struct str rest = {(const char *)data, size}, text = str_cut(&rest, '\n');
    compile_all(&x, text);
    while ((x.plain || x.is_name) && rest.n) {
        struct str line = str_cut(&rest, '\n');
        check_line(&x, line.p, line.n);
    }
    log_where_free(x.plain);
    log_where_free(x.opposite);
    log_where_free(x.either);
    log_where_free(x.both);
    return 0;
}
