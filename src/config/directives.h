/* directives.h -- the tables of configuration keys: one row a directive gives parsing, range, default, help, docs and checks.
 *
 * A row that is known to LiteLLM and not built here yet has .later set: it is parsed, kept, and answered by a warning that names key
 * and line. Nothing is ignored in silence. */
#pragma once

#include "config/config.h"
#include "base/buf.h"
#include "config/yaml.h"

enum directive_type {
    D_BOOL,
    D_INT,   /* int64_t */
    D_INT32, /* int */
    D_BYTES, /* int64_t; "65536" or "64KiB", "64MiB", "1GiB" (powers of 1024), "64MB" (of 1000) */
    D_MS,    /* int64_t; "10000" or "10s", "500ms", "2m", "1h" */
    D_SECONDS_AS_MS, /* int64_t in ms; written in seconds, fractions allowed */
    D_F64,
    D_PRICE, /* into a struct price, by the row's key */
    D_STR,
    D_SECRET, /* a D_STR that no message and no dump shows */
    D_CHOICE, /* int: the index of the choice */
    D_LIST,
    D_MAP,
    D_ANY, /* not stored by the row: config.c or model_list.c reads the node */
};

#define DIRECTIVE_NOT_STORED SIZE_MAX

struct directive {
    const char *key;
    enum directive_type type;
    size_t offset;   /* into the section's struct; DIRECTIVE_NOT_STORED: checked only */
    const char *def; /* default, fed through the same setter; NULL: left as it is */
    int64_t min,
        max; /* numbers, in the key's unit; both 0: any. D_STR: least and most bytes (0: no limit) */
    const char *const *choices; /* D_CHOICE: NULL-terminated; the index is stored as int */
    bool later;                 /* known, not built yet: warned about */
    bool restart;               /* takes effect only at a restart */
    const char *help;
};

/* What the rows of litellm_params and model_info fill: one model_list entry as written. */
struct model_entry {
    struct str model, custom_llm_provider, api_key, api_base, organization;
    double weight, rpm, tpm;               /* negative: not given */
    int64_t timeout_ms, stream_timeout_ms; /* negative: not given */
    int max_parallel_requests;
    int order, num_retries;   /* num_retries negative: not given */
    int64_t cooldown_ms;      /* negative: not given */
    int64_t max_input_tokens; /* model_info; negative: not given */
    bool ssl_verify;
    struct price price;
    /* model_info */
    struct str id, mode, base_model, health_check_model;
    int64_t health_check_timeout_ms; /* negative: not given */
    int engine;                      /* enum engine_kind; negative: not given */
    struct price info_price;
};

/* The same for one entry of weir_settings.keys. */
struct key_entry {
    struct str key, key_hash, key_alias, user_id, team_id, expires, budget_duration;
    int64_t rpm_limit, tpm_limit, max_parallel_requests; /* negative: not given */
    double max_budget;                                   /* negative: not given */
    bool blocked;
};

enum directive_base { IN_CONFIG, IN_MODEL_ENTRY, IN_KEY_ENTRY };

struct directive_section {
    const char *path;         /* "litellm_settings.logging" */
    enum directive_base base; /* the struct that the rows' offsets lie in */
    const char *help;
    const struct directive *rows;
    size_t count;
    bool keeps_unknown; /* unknown keys are data here (litellm_params, model_info) */
};

extern const struct directive_section directive_sections[];
extern const size_t directive_section_count;

/* By path; dies on one that is not there. */
const struct directive_section *directive_section(const char *path);
/* The row of a key, or NULL. */
const struct directive *directive_find(const struct directive_section *s, struct str key);
/* Feeds every row's default. Dies on a bad one: they are ours. */
void directive_defaults(const struct directive_section *s, void *base, struct arena *a);
/* Sets one directive from a node. A null leaves the default in place, but for texts that may be empty, which it empties. False with place and sentence in `e`. */
MUST_USE bool directive_set(const struct directive *d, void *base, struct arena *a,
                            const char *section, const struct yaml_node *n, struct err *e);
/* The nearest known key of the section, for "did you mean", or NULL. */
const char *directive_nearest(const struct directive_section *s, struct str key);
/* docs/config.md, generated. Appends Markdown. */
void directives_write_docs(struct buf *out);
