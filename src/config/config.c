/* config.c -- makes the snapshot: defaults, the file's sections through the tables, what rows cannot say, the model list; and checks.
 *
 *   config_load / config_check / config_listener
 *     config_tree (config_file.c)      file, includes, environment -> tree with places
 *     loader_apply (here)              a section's keys through its table of directives
 *     model_list_build (model_list.c)  deployments, groups, targets; names (model_names.c)
 *     routing_check (routing.c)        fallbacks that lead nowhere
 *
 * Loading does not stop at an error but notes it and goes on, so one run of a check names them all; config_load then gives the first
 * one and frees the rest. Everything of a snapshot lies in its arena but the maps, and is freed with the last reference, which
 * may be put by any thread. */
#include "config/config.h"

#include <stdarg.h>

#include "base/clock.h"
#include "config/loader.h"

#define BUCKETS_MAX 64
/* SHA-256 of "litellm-proxy-budget", LiteLLM's name for it; a key begins with "sk-". */
#define PROXY_BUDGET_HASH "a063d4a9bfb7106c21dc4a3a6975e6e02d39b98b4ffe4338e89cf4f09ecf8316"

/* ---- what the loader has to say ---- */

static void add_note(struct loader *l, bool is_error, const char *file, int line, int column,
                     struct str text)
{
    is_error = is_error || (l->options->strict && line > 0);
    l->error_count += is_error;
    if (l->note_count >= LOADER_NOTES_MAX)
        return;
    if (!l->notes)
        l->notes = mem_alloc(LOADER_NOTES_MAX * sizeof *l->notes);
    l->notes[l->note_count++] =
        (struct config_note){is_error, line, column, file ? file : "", text};
}

/* One line, whatever the file's keys and values hold. */
static struct str format(struct arena *a, const char *fmt, va_list args)
{
    char text[2048];
    int n = vsnprintf(text, sizeof text, fmt, args);
    size_t bytes = MIN((size_t)MAX(n, 0), sizeof text - 1);
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            text[i] = '?';
    return arena_str(a, (struct str){text, bytes});
}

#define NOTE_FUNCTION(name, is_error, line_, column_)                                              \
    void name(struct loader *l, const struct yaml_node *at, const char *fmt, ...)                  \
    {                                                                                              \
        va_list args;                                                                              \
        va_start(args, fmt);                                                                       \
        struct str text = format(l->arena, fmt, args);                                             \
        va_end(args);                                                                              \
        add_note(l, is_error, at ? at->file : NULL, at ? at->line_ : 0, at ? at->column_ : 0,      \
                 text);                                                                            \
    }
NOTE_FUNCTION(loader_error, true, line, column)
NOTE_FUNCTION(loader_note, false, line, column)
NOTE_FUNCTION(loader_error_at_key, true, key_line, key_column)
NOTE_FUNCTION(loader_note_at_key, false, key_line, key_column)

void loader_take(struct loader *l, const struct err *e)
{
    struct yaml_node at = {.file = e->file[0] ? arena_str(l->arena, str_from(e->file)).p : "",
                           .line = e->line,
                           .column = e->column};
    if (!l->error_count)
        l->os_error = e->os_error;
    loader_error(l, &at, "%s", e->text);
}

/* By place, so that a report reads like the file; what has none comes last. The order of files is that in which they were met. */
static int by_place(const void *left, const void *right)
{
    const struct config_note *a = left, *b = right;
    if (!a->line != !b->line)
        return !a->line - !b->line;
    int files = strcmp(a->file, b->file);
    if (files)
        return files;
    if (a->line != b->line)
        return a->line - b->line;
    return a->column != b->column ? a->column - b->column : b->is_error - a->is_error;
}

static struct config_note *sorted_notes(struct loader *l, struct arena *a, int *count)
{
    struct config_note *copy = arena_alloc(a, (size_t)l->note_count * sizeof *copy);
    if (l->note_count) {
        memcpy(copy, l->notes, (size_t)l->note_count * sizeof *copy);
        qsort(copy, (size_t)l->note_count, sizeof *copy, by_place);
    }
    *count = l->note_count;
    return copy;
}

/* ---- a section through its table ---- */

static void note_unknown(struct loader *l, const struct directive_section *s,
                         const struct yaml_node *n)
{
    const char *nearest = directive_nearest(s, n->key);
    const char *what = "unknown key, it has no effect";
    if (s->keeps_unknown) {
        /* Facts about a model may be anything; prices of other units than tokens and seconds are not used, and do no harm. */
        if (s == directive_section("model_info") || str_contains(n->key, STR("_cost")))
            return;
        what = "kept, but not passed on as a default of calls yet";
    }
    loader_note_at_key(l, n, "%s%s%.*s: %s%s%s%s", s->path, *s->path ? "." : "", STR_ARG(n->key),
                       what, nearest ? "; did you mean " : "", nearest ? nearest : "",
                       nearest ? "?" : "");
}

static void apply_one(struct loader *l, const struct directive_section *s, void *base,
                      struct yaml_node *n)
{
    const struct directive *d = directive_find(s, n->key);
    struct err e = {0};
    n->used = d != NULL;
    if (!d) {
        note_unknown(l, s, n);
        return;
    }
    if (d->later && !yaml_is_null(n))
        loader_note_at_key(l, n, "%s%s%s: parsed and kept, but not built yet: it has no effect",
                           s->path, *s->path ? "." : "", d->key);
    if (d->later && d->offset == DIRECTIVE_NOT_STORED)
        return;
    if (!directive_set(d, base, l->arena, s->path, n, &e))
        loader_take(l, &e);
}

void loader_apply(struct loader *l, const struct directive_section *s, void *base,
                  struct yaml_node *map)
{
    if (!map || map->kind != NODE_MAP)
        return;
    for (struct yaml_node *n = map->child; n; n = n->next)
        apply_one(l, s, base, n);
}

struct yaml_node *config_section(struct yaml_node *root, const char *path)
{
    struct str rest = str_from(path);
    while (root && rest.n) {
        char key[64];
        struct str step = str_cut(&rest, '.');
        snprintf(key, sizeof key, "%.*s", STR_ARG(step));
        root = yaml_get(root, key);
    }
    return root;
}

/* ---- what rows cannot say ---- */

static void check_callbacks(struct loader *l, struct yaml_node *litellm)
{
    static const char *const keys[] = {"callbacks", "success_callback", "failure_callback",
                                       "service_callback"};
    for (size_t i = 0; i < COUNT(keys); i++) {
        struct yaml_node *n = yaml_get(litellm, keys[i]);
        if (!n || yaml_is_null(n))
            continue;
        struct yaml_node *first = n->kind == NODE_LIST ? n->child : n;
        for (struct yaml_node *c = first; c; c = n->kind == NODE_LIST ? c->next : NULL)
            if (!str_starts(c->text, STR("prometheus")))
                loader_note(l, c,
                            "litellm_settings.%s: \"%.*s\" is not built yet: it has no effect",
                            keys[i], STR_ARG(c->text));
    }
}

static void read_buckets(struct loader *l, struct yaml_node *litellm)
{
    struct yaml_node *n = yaml_get(litellm, "prometheus_latency_buckets");
    if (!n || n->kind != NODE_LIST)
        return;
    if (n->count == 0 || n->count > BUCKETS_MAX) {
        loader_error(l, n, "litellm_settings.prometheus_latency_buckets: expected 1 to %d numbers",
                     BUCKETS_MAX);
        return;
    }
    double *buckets = arena_alloc(l->arena, n->count * sizeof *buckets), last = 0;
    int count = 0;
    for (struct yaml_node *c = n->child; c; c = c->next) {
        double value;
        if (c->kind != NODE_SCALAR || !str_to_f64(c->text, &value) || value <= last) {
            loader_error(l, c,
                         "litellm_settings.prometheus_latency_buckets: expected seconds above 0, "
                         "in ascending order");
            return;
        }
        last = buckets[count++] = value;
    }
    l->config->latency_buckets = buckets;
    l->config->latency_bucket_count = count;
}

static void check_tls_pair(struct loader *l, struct yaml_node *weir)
{
    const struct config *c = l->config;
    if ((c->tls_cert_file.n > 0) == (c->tls_key_file.n > 0))
        return;
    const char *given = c->tls_cert_file.n ? "tls_cert_file" : "tls_key_file";
    const char *missing = c->tls_cert_file.n ? "tls_key_file" : "tls_cert_file";
    loader_error(l, yaml_get(weir, given), "weir_settings.%s: expected %s beside it", given,
                 missing);
}

static void check_key_header(struct loader *l, struct yaml_node *general)
{
    const struct str name = l->config->key_header;
    for (size_t i = 0; i < name.n; i++)
        if (strchr("()<>@,;:\\\"/[]?={} ", name.p[i]) || (unsigned char)name.p[i] > '~') {
            loader_error(l, yaml_get(general, "litellm_key_header_name"),
                         "general_settings.litellm_key_header_name: \"%.*s\" cannot be a header "
                         "field's name",
                         STR_ARG(name));
            return;
        }
}

static void load_prices(struct loader *l, struct yaml_node *weir)
{
    struct config *c = l->config;
    struct err e = {0};
    if (!c->prices_file.n || l->options->sealed)
        return;
    if (l->options->on_file)
        l->options->on_file(l->options->on_file_arg, c->prices_file.p);
    c->prices = prices_load(l->arena, c->prices_file.p, &e);
    if (c->prices)
        return;
    char text[1024];
    err_format(&e, text, sizeof text);
    loader_error(l, yaml_get(weir, "prices_file"), "weir_settings.prices_file: %s", text);
}

static void read_process_environment(struct loader *l, struct yaml_node *root)
{
    struct yaml_node *general = yaml_get(root, "general_settings");
    const char *key = loader_env(l, "LITELLM_MASTER_KEY");
    if (!l->config->master_key.n && !yaml_get(general, "master_key") && key)
        l->config->master_key = arena_str(l->arena, str_from(key));
}

/* The budget of the whole gateway is kept as a key's is, under a name that no key's hash can have been made to be. */
static void read_proxy_budget(struct loader *l, struct yaml_node *litellm)
{
    struct key_facts *proxy = &l->config->proxy;
    struct err e = {0};
    memcpy(proxy->hash_hex, PROXY_BUDGET_HASH, sizeof proxy->hash_hex);
    proxy->name = STR("proxy");
    proxy->rpm_limit = proxy->tpm_limit = proxy->max_parallel_requests = -1;
    if (proxy->max_budget_usd <= 0)
        proxy->max_budget_usd = -1;
    if (proxy->budget_duration_text.n &&
        !duration_parse(proxy->budget_duration_text, &proxy->budget_duration, &e))
        loader_error(l, yaml_get(litellm, "budget_duration"),
                     "litellm_settings.budget_duration: %s", e.text);
}

static void derive(struct loader *l, struct yaml_node *root)
{
    struct config *c = l->config;
    struct yaml_node *litellm = yaml_get(root, "litellm_settings"),
                     *general = yaml_get(root, "general_settings");
    struct yaml_node *weir = yaml_get(root, "weir_settings");
    const struct directive *level =
        directive_find(directive_section("litellm_settings.logging"), STR("level"));
    c->log_level = str_from(level->choices[c->log_level_rank]);
    check_callbacks(l, litellm);
    read_buckets(l, litellm);
    read_proxy_budget(l, litellm);
    routing_read(l, root);
    caching_read(l, root);
    check_tls_pair(l, weir);
    check_key_header(l, general);
    read_process_environment(l, root);
    load_prices(l, weir);
    key_list_read(l, weir);
}

/* ---- a snapshot ---- */

static struct config *new_config(const struct config_options *o)
{
    struct config *c = mem_alloc(sizeof *c);
    arena_init(&c->arena, NULL, 0);
    map_init(&c->group_by_name);
    map_init(&c->names);
    map_init(&c->upstream_names);
    c->references = 1;
    c->loaded_real_us = clock_real_us();
    c->path = arena_str(&c->arena, str_from(o->path ? o->path : ""));
    c->request_timeout_ms = c->router_timeout_ms = c->router_stream_timeout_ms = -1;
    c->caching.ttl_ms = -1;
    routing_init(&c->routing);
    /* Texts without a default are empty, and end in a NUL as all others do. */
    struct str *const texts[] = {
        &c->master_key,   &c->key_header,   &c->tls_cert_file, &c->tls_key_file,
        &c->ca_file,      &c->log_ring_dir, &c->prices_file,   &c->proxy.budget_duration_text,
        &c->caching.space};
    for (size_t i = 0; i < COUNT(texts); i++)
        *texts[i] = STR("");
    for (size_t i = 0; i < directive_section_count; i++)
        if (directive_sections[i].base == IN_CONFIG)
            directive_defaults(&directive_sections[i], c, &c->arena);
    return c;
}

static void fill(struct loader *l)
{
    struct yaml_node *root = config_tree(l);
    if (!root)
        return;
    for (size_t i = 0; i < directive_section_count; i++)
        if (directive_sections[i].base == IN_CONFIG)
            loader_apply(l, &directive_sections[i], l->config,
                         config_section(root, directive_sections[i].path));
    derive(l, root);
    model_list_build(l, root);
    routing_check(l, root);
}

static struct loader load(const struct config_options *o)
{
    struct config *c = new_config(o);
    struct loader l = {.config = c, .arena = &c->arena, .options = o};
    fill(&l);
    c->notes = sorted_notes(&l, &c->arena, &c->note_count);
    mem_free(l.notes);
    l.notes = c->notes;
    return l;
}

/* True without an error. */
static bool told(const struct loader *l, struct err *e)
{
    if (l->error_count == 0)
        return true;
    const struct config_note *first = l->notes;
    for (int i = 0; i < l->note_count && !first->is_error; i++)
        first++;
    if (e && !e->text[0] && l->error_count == 1)
        e->os_error = l->os_error;
    return err_at(e, first->file, first->line, first->column, "%.*s", STR_ARG(first->text));
}

struct config *config_load(const struct config_options *o, struct err *e)
{
    struct loader l = load(o);
    if (told(&l, e))
        return l.config;
    config_put(l.config);
    return NULL;
}

bool config_listener(const struct config_options *o, struct arena *a, struct config_listener *out,
                     struct err *e)
{
    struct loader l = load(o);
    bool good = told(&l, e);
    *out = (struct config_listener){.host = arena_str(a, l.config->host),
                                    .port = (uint16_t)l.config->port,
                                    .tls = l.config->tls_cert_file.n > 0};
    config_put(l.config);
    return good;
}

int config_check(const struct config_options *o, struct arena *a, struct config_note **notes,
                 int *note_count)
{
    struct loader l = load(o);
    *notes = arena_alloc(a, (size_t)l.note_count * sizeof **notes);
    *note_count = l.note_count;
    for (int i = 0; i < l.note_count; i++) {
        (*notes)[i] = l.notes[i];
        (*notes)[i].text = arena_str(a, l.notes[i].text);
        (*notes)[i].file = arena_str(a, str_from(l.notes[i].file)).p;
    }
    config_put(l.config);
    return l.error_count;
}

void config_get(struct config *c)
{
    __atomic_add_fetch(&c->references, 1, __ATOMIC_RELAXED);
}

void config_put(struct config *c)
{
    if (__atomic_sub_fetch(&c->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    map_fini(&c->group_by_name);
    map_fini(&c->names);
    map_fini(&c->upstream_names);
    arena_fini(&c->arena);
    mem_free(c);
}
