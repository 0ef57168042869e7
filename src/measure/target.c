/* target.c -- a URL as people write it, taken apart once; and the head of every request to it.
 *
 * What people paste differs: a host alone, a base with /v1, the whole path of a call. All of these lead to the same paths: what ends in a version
 * ("/v1", "/openai/v1", "/v1beta/openai") is taken as it is, anything else gets "/v1" behind it, because plain OpenAI servers have their
 * calls only there and gateways have them there, too. */
#include "measure/target.h"

#define URL_DEFAULT "http://localhost:4000"

/* Header lines of ours, each left out where the caller brings the same. */
static const struct {
    struct str name, value;
} own_headers[] = {
    {STR("accept"), STR("*/*")},
    {STR("accept-encoding"), STR("identity")}, /* what is measured is not to be unpacked first */
    {STR("user-agent"), STR("weir-measure")},
    {STR("content-type"), STR("application/json")},
};

/* What belongs to the framing or is given to each request apart. */
static const struct {
    struct str name;
    const char *why;
} refused_headers[] = {
    {STR("content-length"), "each request has its own"},
    {STR("transfer-encoding"), "bodies are sent whole"},
    {STR("connection"), "connections are kept, or not, by the kind of measurement"},
    {STR("host"), "it is the URL's: give another --url"},
    {STR("x-request-id"), "each request gets its own, so that it is found in the log"},
    {STR("expect"), "bodies are sent at once"},
};

/* ---- the URL ---- */

/* "v1", "v4", "v1beta". */
static bool is_version(struct str segment)
{
    return segment.n >= 2 && segment.p[0] == 'v' && segment.p[1] >= '0' && segment.p[1] <= '9';
}

/* Where the path's version begins, with its slash; path.n: nowhere. */
static size_t version_at(struct str path)
{
    struct str rest = path;
    while (rest.n) {
        struct str segment = str_cut(&rest, '/');
        if (is_version(segment))
            return (size_t)(segment.p - path.p) - 1;
    }
    return path.n;
}

static void set_paths(struct measure_target *t)
{
    static const struct str calls[] = {
        {"/chat/completions", 17}, {"/completions", 12}, {"/embeddings", 11}, {"/models", 7}};
    struct str path = t->endpoint.path;
    for (size_t i = 0; i < COUNT(calls); i++)
        if (str_ends(path, calls[i])) {
            path.n -= calls[i].n;
            break;
        }
    while (path.n && path.p[path.n - 1] == '/')
        path.n--;
    size_t version = version_at(path);
    t->root_path = arena_str(&t->arena, (struct str){path.p, version});
    t->base_path = version < path.n ? arena_str(&t->arena, path)
                                    : arena_printf(&t->arena, "%.*s/v1", STR_ARG(path));
}

/* "localhost:4000" is what people write. */
static struct str with_scheme(struct arena *a, struct str url)
{
    if (str_contains(url, STR("://")) || str_starts(url, STR("unix:")))
        return url;
    return arena_printf(a, "http://%.*s", STR_ARG(url));
}

/* A user part is a secret: said without showing it. */
static bool has_credentials(struct str url)
{
    const char *behind = url.n ? memmem(url.p, url.n, "://", 3) : NULL;
    struct str authority = behind ? str_skip(url, (size_t)(behind + 3 - url.p)) : STR_NONE;
    return str_find(str_cut(&authority, '/'), '@') >= 0;
}

static bool set_url(struct measure_target *t, const char *given, struct err *e)
{
    struct str url = str_trim(str_from(given ? given : URL_DEFAULT));
    if (!url.n)
        return err_set(e, "the URL is empty: expected one such as %s", URL_DEFAULT);
    url = with_scheme(&t->arena, url);
    if (has_credentials(url))
        return err_set(e, "a user or password has no place in the URL (it is not shown here): give "
                          "the key as --key or in LITELLM_API_KEY");
    if (!endpoint_parse(&t->arena, url, &t->endpoint, e))
        return false;
    set_paths(t);
    bool socket = str_starts(t->endpoint.host, STR("unix:"));
    t->url = arena_printf(&t->arena, "%s%.*s%s%.*s",
                          socket            ? ""
                          : t->endpoint.tls ? "https://"
                                            : "http://",
                          STR_ARG(socket ? t->endpoint.host : t->endpoint.authority),
                          socket && t->root_path.n ? ":" : "", STR_ARG(t->root_path));
    return true;
}

/* ---- headers ---- */

static bool is_value(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (((unsigned char)s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 0x7F)
            return false;
    return true;
}

/* "Name: value" of --header. False: said why, without the value. */
static bool cut_header(const char *line, struct str *name, struct str *value, struct err *e)
{
    *value = str_from(line);
    *name = str_cut(value, ':');
    if (!value->p || !h1_is_token(*name))
        return err_set(e, "--header: expected \"Name: value\", got \"%.*s\"",
                       (int)MIN(name->n, (size_t)60), name->p);
    *value = str_trim(*value);
    if (!is_value(*value))
        return err_set(e, "--header %.*s: its value holds a control byte", STR_ARG(*name));
    for (size_t i = 0; i < COUNT(refused_headers); i++)
        if (str_ieq(*name, refused_headers[i].name))
            return err_set(e, "--header: %.*s cannot be set: %s", STR_ARG(*name),
                           refused_headers[i].why);
    return true;
}

static bool brings(const struct measure_target_options *o, struct str wanted)
{
    for (size_t i = 0; i < o->header_count; i++) {
        struct str rest = str_from(o->headers[i]);
        if (str_ieq(str_cut(&rest, ':'), wanted))
            return true;
    }
    return false;
}

static bool add_line(struct buf *b, struct str name, struct str value)
{
    return buf_printf(b, "%.*s: %.*s\r\n", STR_ARG(name), STR_ARG(value));
}

static bool set_headers(struct measure_target *t, const struct measure_target_options *o,
                        struct err *e)
{
    struct buf lines;
    struct str name, value;
    bool fine = true;
    buf_init(&lines, 0, NULL);
    if (o->key && !is_value(str_from(o->key)))
        fine = err_set(e, "the key holds a control byte (a line end, perhaps): give it without");
    for (size_t i = 0; fine && i < COUNT(own_headers); i++)
        if (!brings(o, own_headers[i].name))
            fine = add_line(&lines, own_headers[i].name, own_headers[i].value);
    for (size_t i = 0; fine && i < o->header_count; i++)
        fine = cut_header(o->headers[i], &name, &value, e) && add_line(&lines, name, value);
    if (fine && o->key && !brings(o, STR("authorization")))
        fine = buf_printf(&lines, "authorization: Bearer %s\r\n", o->key);
    if (fine && t->proxied && !t->http.tls && t->proxy.authorization[0])
        fine = add_line(&lines, STR("proxy-authorization"), str_from(t->proxy.authorization));
    if (fine)
        t->head_lines = arena_str(&t->arena, buf_str(&lines));
    buf_fini(&lines);
    return fine;
}

/* ---- where to connect ---- */

static bool set_connection(struct measure_target *t, const struct measure_target_options *o,
                           struct err *e)
{
    const struct endpoint *at = &t->endpoint;
    t->proxied = proxy_env_for(at->tls, at->host, at->port, &t->proxy);
    if (t->proxied && t->proxy.problem[0])
        return err_set(e, "%s", t->proxy.problem);
    if (at->tls) {
        t->tls_client = tls_client_new(
            &(struct tls_client_options){.ca_file = o->ca_file, .insecure = o->insecure}, e);
        if (!t->tls_client)
            return false;
    }
    t->http = (struct http_target){.host = at->host,
                                   .port = at->port,
                                   .tls = at->tls,
                                   .tls_client = t->tls_client,
                                   .authority = at->authority,
                                   .proxy = t->proxied ? &t->proxy : NULL};
    return true;
}

struct measure_target *measure_target_new(const struct measure_target_options *o, struct err *e)
{
    struct measure_target *t = mem_alloc(sizeof *t);
    arena_init(&t->arena, NULL, 0);
    if (o->key)
        t->key = arena_str(&t->arena, str_from(o->key));
    if (set_url(t, o->url, e) && set_connection(t, o, e) && set_headers(t, o, e))
        return t;
    measure_target_free(t);
    return NULL;
}

void measure_target_free(struct measure_target *t)
{
    if (!t)
        return;
    if (t->tls_client)
        tls_client_free(t->tls_client);
    arena_fini(&t->arena);
    mem_free(t);
}

struct str measure_target_head(const struct measure_target *t, struct arena *a, struct str method,
                               struct str path)
{
    bool absolute = t->proxied && !t->http.tls; /* for a proxy (RFC 9112 section 3.2.2) */
    struct str authority = t->endpoint.authority;
    return arena_printf(a, "%.*s %s%.*s%.*s HTTP/1.1\r\nhost: %.*s\r\n%.*s", STR_ARG(method),
                        absolute ? "http://" : "", STR_ARG(absolute ? authority : STR_NONE),
                        STR_ARG(path), STR_ARG(authority), STR_ARG(t->head_lines));
}
