/* provider.c -- what differs between the dialects upstreams speak: one row a dialect. Another dialect is another file and another row.
 *
 * The OpenAI dialect is relayed as it is. What must change in a request is spliced in between the client's own bytes:
 *   - the model's name, where the deployment calls it something else;
 *   - stream_options.include_usage, so that streams end with their token counts (the extra event is hidden again from a client that did not
 *     ask for it, see relay.c). */
#include "gateway/gateway.h"

/* One replacement: bytes [start, end) of the body become `with`. */
struct splice {
    size_t start, end;
    struct str with;
};

static void add_model(struct request *r, struct str upstream_model, struct splice *s, int *count)
{
    const struct json_found *f = &r->found[WANT_MODEL];
    if (str_eq(upstream_model, r->record.model))
        return;
    size_t room = upstream_model.n * 6 + 2;
    char *text = arena_alloc(&r->arena, room);
    size_t n = json_escape(text, room, upstream_model);
    s[(*count)++] = (struct splice){f->start, f->end, {text, n}};
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

#define SPLICES_MAX 12 /* at most two pieces each: below DIALECT_PIECES_MAX */

/* The member whose value lies at [start, end), from its name's quote to its comma. Names that are cut hold no quotes, escaped or not. */
static struct splice member_at(struct str body, size_t start, size_t end)
{
    size_t from = start, to = end;
    while (body.p[from] != ':')
        from--;
    while (body.p[from] != '"')
        from--;
    do
        from--;
    while (body.p[from] != '"');
    while (is_blank(body.p[to])) /* the object goes on: a body that ends here is no JSON */
        to++;
    return (struct splice){from, to + (body.p[to] == ','), STR_NONE};
}

/* The object's last member goes with the comma before it, or before all of those that go in front of it. */
static void take_comma_before(struct str body, struct splice *s, int count)
{
    int k = count - 1;
    if (count == 0 || body.p[s[k].end - 1] == ',')
        return;
    while (k > 0) {
        size_t at = s[k - 1].end;
        while (at < s[k].start && is_blank(body.p[at]))
            at++;
        if (at < s[k].start)
            break;
        k--;
    }
    size_t before = s[k].start;
    while (is_blank(body.p[before - 1]))
        before--;
    if (body.p[before - 1] == ',')
        s[k].start = before - 1;
}

static bool object_is_empty(struct str body, size_t after_brace)
{
    while (after_brace < body.n && is_blank(body.p[after_brace]))
        after_brace++;
    return after_brace < body.n && body.p[after_brace] == '}';
}

static void add_include_usage(struct request *r, struct splice *s, int *count)
{
    const struct json_found *options = &r->found[WANT_STREAM_OPTIONS],
                            *include = &r->found[WANT_INCLUDE_USAGE];
    bool odd =
        options->kind != JSON_NONE && options->kind != JSON_NULL && options->kind != JSON_OBJECT;
    if (!r->stream || r->wants_usage ||
        odd) /* what is odd the upstream will refuse: its business */
        return;
    r->added_usage = true;
    if (options->kind == JSON_OBJECT && include->kind != JSON_NONE) {
        s[(*count)++] = (struct splice){include->start, include->end, STR("true")};
    } else if (options->kind == JSON_OBJECT) {
        size_t at = options->start + 1;
        s[(*count)++] =
            (struct splice){at, at,
                            object_is_empty(r->body, at) ? STR("\"include_usage\":true")
                                                         : STR("\"include_usage\":true,")};
    } else if (options->kind == JSON_NULL) {
        s[(*count)++] =
            (struct splice){options->start, options->end, STR("{\"include_usage\":true}")};
    } else {
        size_t at = (size_t)str_find(r->body, '{') + 1;
        s[(*count)++] =
            (struct splice){at, at, STR("\"stream_options\":{\"include_usage\":true},")};
    }
}

static int by_start(const void *left, const void *right)
{
    const struct splice *a = left, *b = right;
    return (a->start > b->start) - (a->start < b->start);
}

/* LiteLLM's own members are for the gateway; a provider may refuse what it does not know. */
static void cut_members(struct request *r, struct splice *s, int *count)
{
    static const enum want ours[] = {WANT_FALLBACKS, WANT_NO_FALLBACKS, WANT_NUM_RETRIES,
                                     WANT_TIMEOUT,   WANT_TAGS,         WANT_SESSION_ID,
                                     WANT_TRACE_ID,  WANT_CACHE};
    struct splice *cuts = s + *count;
    int n = 0;
    for (size_t i = 0; i < COUNT(ours); i++) {
        const struct json_found *f = &r->found[ours[i]];
        if (f->kind != JSON_NONE)
            cuts[n++] = member_at(r->body, f->start, f->end);
    }
    if (n > 1)
        qsort(cuts, (size_t)n, sizeof *cuts, by_start);
    take_comma_before(r->body, cuts, n);
    *count += n;
}

static int openai_body(struct request *r, struct str upstream_model, struct iovec *pieces,
                       size_t *bytes)
{
    struct splice s[SPLICES_MAX];
    int count = 0, n = 0;
    size_t at = 0;
    add_model(r, upstream_model, s, &count);
    add_include_usage(r, s, &count);
    cut_members(r, s, &count);
    if (count > 1)
        qsort(s, (size_t)count, sizeof *s, by_start);
    *bytes = 0;
    for (int i = 0; i < count; i++) {
        size_t start = MAX(s[i].start, at); /* neighbours that were cut share a comma */
        pieces[n++] = (struct iovec){(char *)r->body.p + at, start - at};
        if (s[i].with.n)
            pieces[n++] = (struct iovec){(char *)s[i].with.p, s[i].with.n};
        at = MAX(s[i].end, at);
    }
    pieces[n++] = (struct iovec){(char *)r->body.p + at, r->body.n - at};
    for (int i = 0; i < n; i++)
        *bytes += pieces[i].iov_len;
    return n;
}

static struct str openai_path(struct request *r)
{
    return r->call->upstream_path;
}

static const struct dialect_ops dialects[] = {
    [DIALECT_OPENAI] = {"openai", true, openai_path, openai_body},
    [DIALECT_ANTHROPIC] = {"anthropic", false, NULL, NULL},
    [DIALECT_OLLAMA] = {"ollama", false, NULL, NULL},
    [DIALECT_GEMINI] = {"gemini", false, NULL, NULL},
    [DIALECT_OTHER] = {"other", false, NULL, NULL},
};

const struct dialect_ops *provider_dialect(enum dialect d)
{
    ENSURE((unsigned)d < COUNT(dialects));
    return &dialects[d];
}

/* Clients' headers that upstreams may see. Everything else stays here: cookies, keys, addresses are nobody else's business. */
bool provider_forwards(struct str name)
{
    static const struct str prefixes[] = {{"openai-beta", 11},     {"anthropic-beta", 14},
                                          {"x-stainless-", 12},    {"x-mock-", 7},
                                          {"idempotency-key", 15}, {"x-session-id", 12}};
    for (size_t i = 0; i < COUNT(prefixes); i++)
        if (name.n >= prefixes[i].n && str_ieq((struct str){name.p, prefixes[i].n}, prefixes[i]))
            return true;
    return false;
}
