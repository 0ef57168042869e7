/* serve_dry_run.c -- `weir serve --dry-run`: what would this configuration change?
 *
 * A weir that answers where the configuration listens is asked: POST /config/reload?dry_run=true, with the master key of the file. It reads the file
 * itself, in its own environment and with its own options, so what is shown is what a reload there would do. It is believed only where it
 * says that it runs this very file. Without one the configuration is compared with the defaults: everything that was written. */
#include <limits.h>
#include <stdlib.h>

#include "base/json.h"
#include "cli/serve.h"
#include "cli/term.h"
#include "config/config_diff.h"

#define ASK_TIMEOUT_MS   10000
#define ANSWER_BYTES_MAX (64u << 20)

/* ---- asking the weir that runs ---- */

struct question {
    struct http_exchange exchange;
    struct http_target target;
    struct buf request, body;
    int status; /* 0: no answer, see `failure` */
    bool over;
    char failure[256];
};

static void on_head(struct http_exchange *x, const struct h1_head *h)
{
    CONTAINER(x, struct question, exchange)->status = h->status;
}

static void on_body(struct http_exchange *x, struct str piece)
{
    struct question *q = CONTAINER(x, struct question, exchange);
    if (!buf_append_str(&q->body, piece))
        buf_clear(&q->body); /* too long to be what was asked for */
}

static void on_done(struct http_exchange *x)
{
    CONTAINER(x, struct question, exchange)->over = true;
}

static void on_fail(struct http_exchange *x, enum error_code code, const char *detail)
{
    struct question *q = CONTAINER(x, struct question, exchange);
    snprintf(q->failure, sizeof q->failure, "%s: %s", error_info(code)->sentence, detail);
    q->status = 0;
    q->over = true;
}

/* A listener on all addresses is asked on this machine's own. */
static struct str host_to_ask(struct str host)
{
    static const struct {
        const char *any, *own;
    } hosts[] = {
        {"0.0.0.0", "127.0.0.1"}, {"*", "127.0.0.1"}, {"localhost", "127.0.0.1"}, {"::", "::1"}};
    for (size_t i = 0; i < COUNT(hosts); i++)
        if (str_eq(host, str_from(hosts[i].any)))
            return str_from(hosts[i].own);
    return host;
}

static void exchange(struct question *q)
{
    struct loop *loop = loop_new();
    struct resolver *resolver = resolver_new(loop);
    struct pool blocks;
    struct http_client_limits limits = {.connect_timeout_ms = ASK_TIMEOUT_MS,
                                        .idle_timeout_ms = 1,
                                        .max_head_bytes = H1_HEAD_BYTES_MAX};
    struct str text = buf_str(&q->request);
    struct iovec piece = {(char *)text.p, text.n};
    pool_init(&blocks, BUF_BLOCK_BYTES, 4, "dry run");
    struct http_client *client = http_client_new(loop, resolver, &blocks, &limits, 1);
    q->exchange = (struct http_exchange){.target = &q->target,
                                         .pieces = &piece,
                                         .piece_count = 1,
                                         .total_timeout_ms = ASK_TIMEOUT_MS,
                                         .on_head = on_head,
                                         .on_body = on_body,
                                         .on_done = on_done,
                                         .on_fail = on_fail};
    http_send(client, &q->exchange);
    while (!q->over)
        loop_pass(loop, -1);
    http_client_free(client);
    resolver_free(resolver);
    loop_free(loop);
    pool_trim(&blocks);
}

/* False: there is nobody to ask, and q->failure says why. */
static bool ask(struct question *q, const struct config *c)
{
    struct tls_client_options own_certificate = {
        .insecure = true}; /* it may be for another name than ours here */
    struct err e = {0};
    *q = (struct question){.target = {.host = host_to_ask(c->host),
                                      .port = (uint16_t)c->port,
                                      .tls = c->tls_cert_file.n > 0,
                                      .authority = STR("localhost")}};
    buf_init(&q->request, 0, NULL);
    buf_init(&q->body, ANSWER_BYTES_MAX, NULL);
    bool is_unix = str_starts(c->host, STR("unix:"));
    if (!is_unix && c->port == 0)
        snprintf(q->failure, sizeof q->failure, "port 0 does not tell where it would be");
    else if (q->target.tls && !(q->target.tls_client = tls_client_new(&own_certificate, &e)))
        snprintf(q->failure, sizeof q->failure, "%.200s", e.text);
    if (q->failure[0])
        return false;
    bool ok = buf_printf(
        &q->request,
        "POST /config/reload?dry_run=true HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n"
        "connection: close\r\nuser-agent: weir\r\n");
    if (c->master_key.n)
        ok =
            ok && buf_printf(&q->request, "authorization: Bearer %.*s\r\n", STR_ARG(c->master_key));
    ENSURE(ok && buf_append_str(&q->request, STR("\r\n")));
    exchange(q);
    tls_client_free(q->target.tls_client);
    return q->status > 0;
}

static void question_fini(struct question *q)
{
    buf_fini(&q->request);
    buf_fini(&q->body);
}

/* ---- reading its answer ---- */

static struct str text_of(const struct json_node *object, const char *key)
{
    const struct json_node *n = json_get(object, key);
    return n && n->kind == JSON_STRING ? n->text : STR_NONE;
}

static bool truth_of(const struct json_node *object, const char *key)
{
    const struct json_node *n = json_get(object, key);
    return n && n->kind == JSON_TRUE;
}

static enum config_change_kind kind_of(struct str word)
{
    for (int kind = CONFIG_ADDED; kind < CONFIG_CHANGED; kind++)
        if (str_eq(word, str_from(config_change_word((enum config_change_kind)kind))))
            return (enum config_change_kind)kind;
    return CONFIG_CHANGED;
}

static void read_changes(const struct json_node *list, struct config_diff *d)
{
    d->changes = mem_alloc(MAX(list->count, (size_t)1) * sizeof *d->changes);
    for (const struct json_node *n = list->child; n; n = n->next) {
        struct config_change c = {.kind = kind_of(text_of(n, "change")),
                                  .what = arena_str(&d->arena, text_of(n, "name")),
                                  .before = arena_str(&d->arena, text_of(n, "before")),
                                  .after = arena_str(&d->arena, text_of(n, "after")),
                                  .secret = truth_of(n, "secret"),
                                  .restart = truth_of(n, "restart")};
        d->restart_count += c.restart;
        d->changes[d->count++] = c;
    }
}

static bool is_this_file(const struct config *c, struct str path)
{
    char real[PATH_MAX];
    return c->path.n && realpath(c->path.p, real) && str_eq(path, str_from(real));
}

/* What the running weir says becomes the diff. False: `why` says why it cannot be compared with; *refused: it would not take the file. */
static bool take_answer(const struct question *q, const struct config *c, struct config_diff *d,
                        bool *refused, char *why, size_t room)
{
    struct arena a;
    arena_init(&a, NULL, 0);
    struct json_node *root = json_parse(&a, buf_str(&q->body), NULL),
                     *changes = json_get(root, "changes");
    struct str path = text_of(root, "config"), error = text_of(json_get(root, "error"), "message");
    bool good = q->status == 200 && changes && changes->kind == JSON_ARRAY && is_this_file(c, path);
    *refused = q->status == error_info(ERR_CONFIG_INVALID)->http_status && error.n;
    if (good)
        read_changes(changes, d);
    else if (*refused)
        snprintf(why, room, "%.*s", STR_ARG(error));
    else if (q->status == 200)
        snprintf(why, room, "the weir that runs has another configuration, %.*s", STR_ARG(path));
    else
        snprintf(why, room, "what runs there answered %d%s%.*s", q->status, error.n ? ": " : "",
                 STR_ARG(error));
    arena_fini(&a);
    return good;
}

/* ---- showing ---- */

static void compare_with_defaults(const struct config *c, struct config_diff *d)
{
    struct err e = {0};
    struct config_options o = {.text = STR("{}"), .sealed = true};
    struct config *defaults = config_load(&o, &e);
    ENSURE(defaults);
    config_diff(defaults, c, d);
    config_put(defaults);
}

static void print_lines(const char *name, const struct config_diff *d, const char *why)
{
    static const enum term_style styles[] = {STYLE_GOOD, STYLE_BAD, STYLE_WARN};
    struct term t;
    struct arena a;
    arena_init(&a, NULL, 0);
    term_init(&t, stdout, COLOR_AUTO);
    for (uint32_t i = 0; i < d->count; i++) {
        term_put(&t, styles[d->changes[i].kind], config_change_text(&a, &d->changes[i]), 0);
        fputc('\n', stdout);
    }
    printf("%s is good: %u change%s to %s", name, d->count, d->count == 1 ? "" : "s",
           why[0] ? "the defaults" : "the weir that runs");
    if (d->restart_count && !why[0])
        printf(", %u of them take effect at a restart only", d->restart_count);
    printf("%s%s%s\n", why[0] ? " (not compared with a running one: " : "", why, why[0] ? ")" : "");
    arena_fini(&a);
}

static void print_json(const char *name, const struct config_diff *d, const char *why)
{
    struct buf b;
    buf_init(&b, 0, NULL);
    ENSURE(buf_printf(&b, "{\"file\":") && json_write_string(&b, str_from(name)) &&
           buf_printf(&b, ",\"against\":\"%s\",\"reason\":", why[0] ? "defaults" : "running") &&
           (why[0] ? json_write_string(&b, str_from(why)) : buf_printf(&b, "null")) &&
           buf_printf(&b, ",\"changes\":") && config_diff_write_json(d, &b) &&
           buf_printf(&b, "}\n"));
    fwrite(b.data + b.at, 1, buf_used(&b), stdout);
    buf_fini(&b);
}

static int refuse(const char *name, bool as_json, const char *why)
{
    struct buf b;
    if (!as_json) {
        fprintf(stderr, "weir: error: the weir that runs would not take %s: %s\n", name, why);
        return EXIT_PROBLEM;
    }
    buf_init(&b, 0, NULL);
    ENSURE(buf_printf(&b, "{\"file\":") && json_write_string(&b, str_from(name)) &&
           buf_printf(&b, ",\"against\":\"running\",\"error\":") &&
           json_write_string(&b, str_from(why)) && buf_printf(&b, "}\n"));
    fwrite(b.data + b.at, 1, buf_used(&b), stdout);
    buf_fini(&b);
    return EXIT_PROBLEM;
}

int serve_dry_run(const struct config *c, const char *name, bool as_json)
{
    struct question q;
    struct config_diff d = {0};
    char why[1024] = "";
    bool refused = false, compared = false;
    if (!ask(&q, c)) {
        snprintf(why, sizeof why, "%s", q.failure);
    } else {
        arena_init(&d.arena, NULL, 0);
        compared = take_answer(&q, c, &d, &refused, why, sizeof why);
        if (!compared)
            arena_fini(&d.arena);
    }
    question_fini(&q);
    if (refused)
        return refuse(name, as_json, why);
    if (!compared)
        compare_with_defaults(c, &d);
    if (as_json)
        print_json(name, &d, why);
    else
        print_lines(name, &d, why);
    config_diff_fini(&d);
    return EXIT_GOOD;
}
