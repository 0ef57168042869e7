/* config_file.c -- from a file's name to one tree: includes merged in, the environment written and read.
 *
 * Called by config.c. What LiteLLM does is done here in the same way (facts: docs/compatibility.md):
 *   include               each file's lists are appended to those of the same name, everything else replaces what was there
 *   environment_variables written to the process's environment first, so that os.environ/ finds them
 *   os.environ/NAME       replaced where a whole string begins so: in mappings, and mappings in lists, but not as a bare list element;
 *                         a variable that is not set gives null, and a warning
 * The environment is written at start and reload only, by the control thread. */
#include "config/loader.h"

#include <limits.h>

#include "config/file.h"

#define INCLUDE_DEPTH_MAX 8
#define INCLUDE_FILES_MAX 64

/* The files that are being read, innermost first: one that comes again is a cycle. */
struct reading {
    const struct reading *outer;
    const char *path; /* as the user wrote it, for messages and for what is relative to it */
    char real[PATH_MAX];
    int depth;
};

struct include {
    struct loader *loader;
    int files;
};

/* ---- include ---- */

static struct yaml_node *read_file(struct include *in, const struct reading *outer,
                                   const char *path, const struct yaml_node *at);

static struct str beside(struct arena *a, const char *file, struct str name)
{
    const char *slash = strrchr(file, '/');
    if (!slash || (name.n && name.p[0] == '/'))
        return arena_str(a, name);
    return arena_printf(a, "%.*s/%.*s", (int)(slash - file), file, STR_ARG(name));
}

static void append_child(struct yaml_node *to, struct yaml_node *child)
{
    struct yaml_node **tail = &to->child;
    while (*tail)
        tail = &(*tail)->next;
    *tail = child;
    for (; child; child = child->next)
        to->count++;
}

/* Puts the members of `from` into `into`. */
static void merge(struct loader *l, struct yaml_node *into, struct yaml_node *from)
{
    for (struct yaml_node *n = from->child, *next; n; n = next) {
        next = n->next;
        n->next = NULL;
        struct yaml_node *old = yaml_get(into, n->key.p);
        if (!old) {
            append_child(into, n);
        } else if (old->kind == NODE_LIST && n->kind == NODE_LIST) {
            append_child(old, n->child);
        } else {
            loader_note_at_key(
                l, old,
                "%.*s: replaced as a whole by the one of %s, line %d (that is what include means)",
                STR_ARG(n->key), n->file, n->key_line);
            struct yaml_node *after = old->next;
            *old = *n;
            old->next = after;
        }
    }
}

static bool merge_includes(struct include *in, const struct reading *self, struct yaml_node *root)
{
    struct loader *l = in->loader;
    struct yaml_node *list = yaml_get(root, "include");
    if (!list || yaml_is_null(list))
        return true;
    if (list->kind != NODE_LIST) {
        loader_error(l, list, "include: expected a list of files");
        return false;
    }
    struct yaml_node *names = list->child;
    list->child =
        NULL; /* what the files include themselves was merged by then: not to be appended here */
    list->count = 0;
    for (struct yaml_node *n = names; n; n = n->next) {
        if (n->kind != NODE_SCALAR || yaml_is_null(n)) {
            loader_error(l, n, "include: expected the name of a file");
            return false;
        }
        struct yaml_node *tree = read_file(in, self, beside(l->arena, self->path, n->text).p, n);
        if (!tree)
            return false;
        merge(l, root, tree);
    }
    return true;
}

static struct yaml_node *parse(struct include *in, const struct reading *self, struct str text)
{
    struct loader *l = in->loader;
    struct err e = {0};
    struct yaml_node *root = yaml_parse(l->arena, text, self->path, &e);
    if (!root) {
        loader_take(l, &e);
        return NULL;
    }
    if (root->kind != NODE_MAP) {
        loader_error(l, root,
                     "expected a mapping (model_list: ..., litellm_settings: ...) at the top");
        return NULL;
    }
    return merge_includes(in, self, root) ? root : NULL;
}

/* `at` is the include that names the file, or NULL for the first one. */
static struct yaml_node *read_file(struct include *in, const struct reading *outer,
                                   const char *path, const struct yaml_node *at)
{
    struct loader *l = in->loader;
    struct reading self = {.outer = outer, .path = path, .depth = outer ? outer->depth + 1 : 0};
    struct err e = {0};
    struct str text;
    if (at && (l->options->sealed || l->options->text.p)) {
        loader_error(l, at, "include: only a configuration read from a file can include others");
        return NULL;
    }
    if (self.depth > INCLUDE_DEPTH_MAX || ++in->files > INCLUDE_FILES_MAX) {
        loader_error(l, at, "include: more than %d levels or %d files", INCLUDE_DEPTH_MAX,
                     INCLUDE_FILES_MAX);
        return NULL;
    }
    if (l->options->text.p)
        return parse(in, &self, l->options->text);
    if (realpath(path, self.real))
        for (const struct reading *r = outer; r; r = r->outer)
            if (!strcmp(r->real, self.real)) {
                loader_error(l, at, "include: %s includes itself", path);
                return NULL;
            }
    if (l->options->on_file)
        l->options->on_file(l->options->on_file_arg, path);
    if (!file_read(l->arena, path, CONFIG_BYTES_MAX, &text, &e)) {
        if (at)
            loader_error(l, at, "include: %s: %s", path, e.text);
        else
            loader_take(l, &e);
        return NULL;
    }
    l->config->files[l->config->file_count++] = path;
    return parse(in, &self, text);
}

/* ---- environment ---- */

const char *loader_env(const struct loader *l, const char *name)
{
    return l->options->sealed ? NULL : getenv(name);
}

static const char *const mark = "os.environ/";

static void resolve_scalar(struct loader *l, struct yaml_node *n)
{
    if (!str_starts(n->text, str_from(mark)))
        return;
    const char *name = n->text.p + strlen(mark), *value = loader_env(l, name);
    if (!value) {
        bool opens = str_eq(n->key, STR("master_key"));
        loader_note(l, n, "%.*s: the environment variable %s is not set: the value is null%s",
                    STR_ARG(n->key), name, opens ? ", and the gateway is open to everyone" : "");
        n->text = STR("");
        n->quoted = false;
        return;
    }
    n->text = arena_str(l->arena, str_from(value));
    n->quoted = n->secret = true;
}

/* As deep as the tree: YAML_DEPTH_MAX. */
static void resolve(struct loader *l, struct yaml_node *map)
{
    for (struct yaml_node *n = map->child; n; n = n->next) {
        if (n->kind == NODE_MAP)
            resolve(l, n);
        else if (n->kind == NODE_SCALAR && map->kind == NODE_MAP)
            resolve_scalar(l, n);
        else if (n->kind == NODE_SCALAR && str_starts(n->text, str_from(mark)))
            loader_note(
                l, n,
                "%.*s: not replaced: os.environ/ works in mappings, not as an element of a list",
                STR_ARG(n->text));
        else if (n->kind == NODE_LIST)
            resolve(l, n);
    }
}

static void set_variable(struct loader *l, const struct yaml_node *n)
{
    if (n->kind != NODE_SCALAR) {
        loader_error(l, n, "environment_variables.%.*s: expected a text", STR_ARG(n->key));
        return;
    }
    if (n->key.n == 0 || memchr(n->key.p, '=', n->key.n) || memchr(n->key.p, '\0', n->key.n)) {
        loader_error_at_key(l, n, "environment_variables: \"%.*s\" is not a variable's name",
                            STR_ARG(n->key));
        return;
    }
    if (str_eq(n->key, STR("LITELLM_LICENSE")))
        loader_note_at_key(l, n, "LITELLM_LICENSE: none is needed, metrics and logs are free here");
    if (yaml_is_null(n) || l->options->sealed)
        return;
    /* Only where it differs: at a reload other threads run, and may be reading the environment. */
    const char *now = getenv(n->key.p);
    if (!now || strcmp(now, n->text.p) != 0)
        setenv(n->key.p, n->text.p, 1);
}

static void write_environment(struct loader *l, struct yaml_node *root)
{
    struct yaml_node *map = yaml_get(root, "environment_variables");
    if (!map || map->kind != NODE_MAP)
        return; /* what else it may be is judged with the other keys of the top level */
    for (struct yaml_node *n = map->child; n;
         n = n->next) { /* in order: one may use those above it */
        if (n->kind == NODE_SCALAR)
            resolve_scalar(l, n);
        set_variable(l, n);
    }
}

struct yaml_node *config_tree(struct loader *l)
{
    const struct config_options *o = l->options;
    struct include in = {.loader = l};
    struct yaml_node *root;
    l->config->files = arena_alloc(l->arena, (INCLUDE_FILES_MAX + 1) * sizeof(char *));
    if (!o->path && !o->text.p)
        root = yaml_parse(l->arena, STR(""), "", NULL);
    else
        root = read_file(&in, NULL, o->path ? o->path : "config", NULL);
    if (!root)
        return NULL;
    write_environment(l, root);
    resolve(l, root);
    l->config->tree = root;
    return root;
}
