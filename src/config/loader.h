/* loader.h -- what the files that make a snapshot share: config.c (the whole), config_file.c (text to tree), routing.c, model_*.c. [control] */
#pragma once

#include "config/config.h"
#include "config/directives.h"
#include "config/yaml.h"

#define LOADER_NOTES_MAX 1000 /* more are counted, not kept */

struct loader {
    struct config *config; /* being made */
    struct arena *arena;   /* the snapshot's */
    const struct config_options *options;
    struct config_note
        *notes; /* errors and warnings, heap, until they are sorted into the snapshot */
    int note_count, error_count;
    int os_error;   /* the first error's, where it has one: a file that cannot be read */
    struct map ids; /* of the deployments so far, to tell twins apart */
};

/* Loading goes on after an error, so that a check finds them all. `at` may be NULL: no place. */
void loader_error(struct loader *l, const struct yaml_node *at, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void loader_note(struct loader *l, const struct yaml_node *at, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* The same at the key rather than at the value. */
void loader_error_at_key(struct loader *l, const struct yaml_node *at, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void loader_note_at_key(struct loader *l, const struct yaml_node *at, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void loader_take(struct loader *l,
                 const struct err *e); /* an error made elsewhere, with its place */

/* getenv, but for a sealed loader: NULL. */
const char *loader_env(const struct loader *l, const char *name);

/* Sets what the section's rows say from the mapping's members; notes keys that are unknown or not built yet. `map` may be
 * NULL or a YAML null. */
void loader_apply(struct loader *l, const struct directive_section *s, void *base,
                  struct yaml_node *map);

/* config.c: the mapping of a section ("litellm_settings.logging"), or NULL. */
struct yaml_node *config_section(struct yaml_node *root, const char *path);

/* config_file.c: the file with its includes merged in and os.environ/ replaced; environment_variables are set. NULL: an error
 * was noted. */
struct yaml_node *config_tree(struct loader *l);

/* routing.c: what of router_settings and litellm_settings rows cannot say: fallbacks, policies, strategy's arguments. Before the model list. */
void routing_read(struct loader *l, struct yaml_node *root);
/* ... and what can only be checked behind it: models named that are not there. */
void routing_check(struct loader *l, struct yaml_node *root);
/* litellm_params.tags into the deployment. */
void routing_read_tags(struct loader *l, struct yaml_node *tags, struct deployment *d);

/* caching.c: what of litellm_settings.cache_params rows cannot say. */
void caching_read(struct loader *l, struct yaml_node *root);

/* model_entry.c: one entry of model_list becomes the next deployment of the snapshot, or several (a list of organizations). */
void model_entry_add(struct loader *l, struct yaml_node *item);
void model_entry_add_builtin(struct loader *l, struct str name, struct str mode);
/* A node as compact JSON; with `mask` secrets, and the values of all headers, are "***". */
struct str model_entry_json(struct arena *a, const struct yaml_node *n, bool mask);
bool model_entry_is_secret(const struct yaml_node *n);  /* by its key */
size_t model_entry_deployments(struct yaml_node *item); /* at most how many */

struct str loader_json(struct arena *a, const struct yaml_node *n); /* the node as JSON */

/* key_list.c: weir_settings.keys and key_file. Behind master_key. */
void key_list_read(struct loader *l, struct yaml_node *weir);

/* model_list.c: deployments, groups, targets. */
void model_list_build(struct loader *l, struct yaml_node *root);
/* Groups the deployments by a name that each has (STR_NONE: in none), in the order of the first of each; a group has those of its first one's model_name
 * only, and bears that. Returns how many. */
typedef struct str model_list_name_of(const struct deployment *d);
uint32_t model_list_collect(struct loader *l, model_list_name_of *name_of,
                            struct model_group **groups);

/* model_names.c: aliases, ids, upstream names, what /v1/models lists. Complains of aliases that lead nowhere. */
void model_names_build(struct loader *l, struct yaml_node *root);
/* Unknown names lead to where `fallback`, which config_group knows, leads. */
void model_names_set_default(struct loader *l, struct str fallback);
/* The listed name that `name` was meant to be, or STR_NONE. */
struct str model_names_nearest(const struct config *c, struct str name);
