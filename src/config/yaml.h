/* yaml.h -- YAML text to a tree that knows line and column (libyaml underneath), with limits against hostile files.
 *
 * Anchors, aliases and merge keys ("<<") work; nodes and depth are capped, so alias bombs are an error. Duplicate keys are an error that names
 * both places. All memory belongs to the arena. Scalars keep their text; types are decided by the directive that reads them (YAML 1.1 booleans and
 * nulls as PyYAML's safe_load reads them, which is what LiteLLM uses). */
#pragma once

#include "base/err.h"
#include "base/mem.h"

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct yaml_node {
    enum node_kind kind;
    bool quoted;              /* scalars: quoted or a block, so always a string */
    bool secret;              /* scalars: came from the environment, so it is not shown */
    bool used;                /* set by whoever understood it; the rest is warned about */
    int line, column;         /* from 1 */
    int key_line, key_column; /* of the key, within a map */
    const char *file;
    struct str key;  /* within a map */
    struct str text; /* scalars */
    struct yaml_node *child, *next;
    size_t count;
};

#define YAML_NODES_MAX 200000
#define YAML_DEPTH_MAX 64

/* NULL with file:line:column in `e`. An empty document is an empty map. `file` is only a name for messages. */
struct yaml_node *yaml_parse(struct arena *a, struct str text, const char *file, struct err *e);
struct yaml_node *yaml_get(struct yaml_node *map,
                           const char *key);  /* NULL: not there, or not a map */
bool yaml_is_null(const struct yaml_node *n); /* ~, null, Null, NULL, or nothing (unquoted) */
bool yaml_bool(const struct yaml_node *n,
               bool *out); /* yes/no, true/false, on/off in YAML 1.1's spellings */
