/* config_diff.h -- what a reload changes: two snapshots compared, directive by directive and deployment by deployment.
 *
 * Values are those in force: defaults filled in, units resolved, options of the command line applied. Secrets are compared and never
 * shown. Memory belongs to the diff; nothing points into the snapshots. [control] */
#pragma once

#include "base/buf.h"
#include "config/config.h"

enum config_change_kind { CONFIG_ADDED, CONFIG_REMOVED, CONFIG_CHANGED };

struct config_change {
    enum config_change_kind kind;
    struct str what; /* "router_settings.num_retries", "model_list[gpt-4o].litellm_params.rpm" */
    struct str before, after; /* as shown; empty where there was, or will be, none */
    bool secret;              /* `before` and `after` are left out */
    bool restart;             /* takes effect only at a restart */
};

struct config_diff {
    struct config_change *changes; /* deployments, directives in the tables' order, virtual keys */
    uint32_t count, room, restart_count;
    struct arena arena;
};

/* Fills `out`; config_diff_fini frees it. */
void config_diff(const struct config *before, const struct config *after, struct config_diff *out);
void config_diff_fini(struct config_diff *d);
/* "~ weir_settings.port: 4000 -> 4001 (takes effect at a restart)", without a newline. Owned by `a`. */
struct str config_change_text(struct arena *a, const struct config_change *c);
/* "added", "removed", "changed" */
const char *config_change_word(enum config_change_kind kind);
/* The changes as a JSON array of {"change","name","before","after","secret","restart"}. */
MUST_USE bool config_diff_write_json(const struct config_diff *d, struct buf *out);
