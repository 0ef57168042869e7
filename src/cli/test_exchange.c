/* test_exchange.c -- what went over the wire, for eyes: -v, and --curl. Nothing here shows a secret.
 *
 * Two maskings: what looks like a secret (base/redact), and the key that was sent, wherever it stands, whatever it looks like. */
#include "base/clock.h"
#include "base/redact.h"
#include "cli/test.h"

#define KEY_BYTES_MIN 4 /* a shorter key is in every other word */

/* ---- masking ---- */

static struct str without_key(struct arena *a, struct str text, const char *key)
{
    size_t key_bytes = key ? strlen(key) : 0;
    struct buf out;
    if (key_bytes < KEY_BYTES_MIN || !str_contains(text, (struct str){key, key_bytes}))
        return text;
    buf_init(&out, 0, NULL);
    while (text.n) {
        const char *at = memmem(text.p, text.n, key, key_bytes);
        size_t n = at ? (size_t)(at - text.p) : text.n;
        ENSURE(buf_append(&out, text.p, n) && (!at || buf_append_str(&out, STR("***"))));
        text = str_skip(text, n + (at ? key_bytes : 0));
    }
    struct str kept = arena_str(a, buf_str(&out));
    buf_fini(&out);
    return kept;
}

/* A header line of a cookie: somebody's session. */
static bool is_cookie(struct str line)
{
    static const struct str names[] = {
        {"cookie", 6}, {"set-cookie", 10}, {"llm_provider-set-cookie", 23}};
    struct str name = str_cut(&line, ':');
    for (size_t i = 0; line.p && i < COUNT(names); i++)
        if (str_ieq(name, names[i]))
            return true;
    return false;
}

struct str test_masked(struct arena *a, struct str text, const char *key)
{
    if (is_cookie(text)) {
        struct str name = str_cut(&text, ':');
        return arena_printf(a, "%.*s: ***", STR_ARG(name));
    }
    struct str keyless = without_key(a, text, key);
    char *out = arena_alloc(a, keyless.n + 1);
    size_t n = redact_secrets(keyless, out, keyless.n);
    out[n] = '\0';
    return (struct str){out, n};
}

/* ---- -v ---- */

struct viewer {
    const struct test_result *r;
    const struct term *term;
    const char *key;
};

/* "   12.345 ms " before each line: since the start. A mark that was not reached: blanks. */
static void put_time(const struct viewer *v, uint64_t at_ns)
{
    int64_t ns = sample_span_ns(v->r->sample.start_ns, at_ns);
    char text[32] = "";
    if (ns >= 0)
        snprintf(text, sizeof text, "%.3f ms", (double)ns / 1e6);
    term_field(v->term, STYLE_DIM, str_from(text), 12, ALIGN_RIGHT);
}

static void put_line(const struct viewer *v, uint64_t at_ns, const char *mark, struct str text)
{
    struct str shown = test_masked(v->r->arena, text, v->key);
    put_time(v, at_ns);
    fprintf(v->term->out, " %s ", mark);
    term_put(v->term, STYLE_NONE, shown, 0);
    fputc('\n', v->term->out);
}

/* Line by line; the time stands before the first one. */
static void put_lines(const struct viewer *v, uint64_t at_ns, const char *mark, struct str text)
{
    while (text.n) {
        struct str line = str_cut(&text, '\n');
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        if (line.n || text.n)
            put_line(v, at_ns, mark, line);
        at_ns = 0;
    }
}

static void put_mark(const struct viewer *v, uint64_t at_ns, const char *what)
{
    if (at_ns)
        put_line(v, at_ns, "*", str_from(what));
}

static void put_events(const struct viewer *v)
{
    const struct test_result *r = v->r;
    uint64_t before_ns = 0;
    for (size_t i = 0; i < r->event_count; i++) {
        const struct test_event *e = &r->events[i];
        char gap[48] = "";
        if (before_ns)
            snprintf(gap, sizeof gap, "+%.3f ms", (double)(int64_t)(e->at_ns - before_ns) / 1e6);
        before_ns = e->at_ns;
        struct str line = arena_printf(r->arena, "%-13s %-9s %.*s", gap, event_kind_name(e->kind),
                                       STR_ARG(e->data));
        put_line(v, e->at_ns, "<", line);
    }
    if (r->events_cut)
        put_line(v, 0, "*", STR("more events came than are kept"));
}

void test_show_exchange(const struct test_result *r, const struct term *term, const char *key)
{
    struct viewer v = {r, term, key};
    const struct sample *s = &r->sample;
    fputc('\n', term->out);
    term_put(term, STYLE_TITLE, STR("The whole exchange (time since the start)"), 0);
    fputc('\n', term->out);
    put_mark(&v, s->resolved_ns, "the host's name is looked up");
    put_mark(&v, s->connected_ns, "TCP is connected");
    put_mark(&v, s->secured_ns, "TLS is ready");
    put_lines(&v, s->sent_first_ns, ">", r->request_head);
    put_lines(&v, s->sent_ns, ">", r->request_body);
    put_mark(&v, s->first_byte_ns, "the answer's first byte is here");
    if (s->http_status)
        put_line(
            &v, s->head_ns, "<",
            arena_printf(r->arena, "HTTP/1.%d %d %s", r->minor_version, s->http_status, r->reason));
    for (size_t i = 0; i < r->header_count; i++)
        put_line(&v, 0, "<",
                 arena_printf(r->arena, "%.*s: %.*s", STR_ARG(r->headers[i].name),
                              STR_ARG(r->headers[i].value)));
    put_events(&v);
    put_lines(&v, s->end_ns, "<", r->body);
    if (r->body_cut)
        put_line(&v, 0, "*", STR("the answer is longer than what is kept of it"));
    put_mark(&v, s->end_ns, s->outcome == OUTCOME_OK ? "end" : s->error);
}

/* ---- --curl ---- */

/* 'text' for a shell. */
static void put_quoted(FILE *out, struct str text)
{
    fputc('\'', out);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\'')
            fputs("'\\''", out);
        else
            fputc(text.p[i], out);
    }
    fputc('\'', out);
}

/* A line of the head as an option; those that curl writes itself are left to it. */
static void put_header(const struct test_result *r, const char *variable, const char *key,
                       struct str line)
{
    static const struct str left[] = {{"host:", 5},
                                      {"content-length:", 15},
                                      {"POST ", 5},
                                      {"accept-encoding:", 16},
                                      {"proxy-authorization:", 20}};
    for (size_t i = 0; i < COUNT(left); i++)
        if (str_starts(line, left[i]))
            return;
    if (key && str_starts(line, STR("authorization: Bearer "))) {
        printf(" \\\n  -H \"authorization: Bearer $%s\"", variable);
        return;
    }
    fputs(" \\\n  -H ", stdout);
    put_quoted(stdout, test_masked(r->arena, line, key));
}

void test_show_curl(const struct test_result *r, const struct measure_target *t,
                    const struct measure_options *o)
{
    const char *source, *key = measure_options_key(o, &source);
    struct str rest = r->request_head;
    bool socket = str_starts(t->endpoint.host, STR("unix:"));
    fputs("curl -sSN ", stdout);
    if (o->insecure)
        fputs("-k ", stdout);
    if (o->ca_file) {
        fputs("--cacert ", stdout);
        put_quoted(stdout, str_from(o->ca_file));
        fputc(' ', stdout);
    }
    if (socket) {
        struct str path = str_skip(t->endpoint.host, 5);
        fputs(str_starts(path, STR("@")) ? "--abstract-unix-socket " : "--unix-socket ", stdout);
        put_quoted(stdout, str_starts(path, STR("@")) ? str_skip(path, 1) : path);
        fputc(' ', stdout);
    }
    put_quoted(stdout, arena_printf(r->arena, "%s://%.*s%.*s", t->endpoint.tls ? "https" : "http",
                                    STR_ARG(t->endpoint.authority), STR_ARG(r->path)));
    while (rest.n) {
        struct str line = str_cut(&rest, '\n');
        line.n -= line.n && line.p[line.n - 1] == '\r';
        if (line.n)
            put_header(r, source && strcmp(source, "--key") != 0 ? source : "LITELLM_API_KEY", key,
                       line);
    }
    fputs(" \\\n  -d ", stdout);
    put_quoted(stdout, test_masked(r->arena, r->request_body, key));
    fputc('\n', stdout);
}
