/* serve_dry_run.c -- `weir serve --dry-run`: what would this configuration change?
 *
 * A weir that answers where the configuration listens is asked: POST /config/reload?dry_run=true, with the master key of the file. It reads the file
 * itself, in its own environment and with its own options, so what is shown is what a reload there would do. It is believed only where it
 * says that it runs this very file. Without one the configuration is compared with the defaults: everything that was written. */
#include <limits.h>
#include <stdlib.h>

#include "base/json.h"
#include "cli/question.h"
#include "cli/serve.h"
#include "cli/term.h"
#include "config/config_diff.h"

#define ASK_TIMEOUT_MS   10000
#define ANSWER_BYTES_MAX (64u << 20)

/* ---- asking the weir that runs ---- */

/* False: there is nobody to ask, and q->answer.failure says why. */
static bool ask(struct question *q, const struct config *c)
{
    struct config_listener at = {
        .host = c->host, .port = (uint16_t)c->port, .tls = c->tls_cert_file.n > 0};
    struct arena a;
    arena_init(&a, NULL, 0);
    struct str key =
        c->master_key.n ? arena_printf(&a, "authorization: Bearer %.*s\r\n", STR_ARG(c->master_key))
                        : STR_NONE;
    struct str request = arena_printf(
        &a,
        "POST /config/reload?dry_run=true HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n"
        "connection: close\r\nuser-agent: weir\r\n%.*s\r\n",
        STR_ARG(key));
    bool answered = question_ask(q, &at, request, ANSWER_BYTES_MAX, ASK_TIMEOUT_MS);
    arena_fini(&a);
    return answered;
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
    struct json_node *root = json_parse(&a, q->answer.body, NULL),
                     *changes = json_get(root, "changes");
    struct str path = text_of(root, "config"), error = text_of(json_get(root, "error"), "message");
    bool good =
        q->answer.status == 200 && changes && changes->kind == JSON_ARRAY && is_this_file(c, path);
    *refused = q->answer.status == error_info(ERR_CONFIG_INVALID)->http_status && error.n;
    if (good)
        read_changes(changes, d);
    else if (*refused)
        snprintf(why, room, "%.*s", STR_ARG(error));
    else if (q->answer.status == 200)
        snprintf(why, room, "the weir that runs has another configuration, %.*s", STR_ARG(path));
    else
        snprintf(why, room, "what runs there answered %d%s%.*s", q->answer.status,
                 error.n ? ": " : "", STR_ARG(error));
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
        snprintf(why, sizeof why, "%s", q.answer.failure);
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
