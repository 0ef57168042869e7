/* engine.h -- inference engines behind deployments: what they say of themselves, and asking them now and then.
 *
 * engine.c reads their answers (pure functions, any thread); engine_poll.c asks (control thread). An engine is where it is: deployments whose api_base
 * is the same server, "/v1" left off, share one. What an engine says is a peer's word: every text is cut to a size, every number checked. */
#pragma once

#include "base/mem.h"
#include "config/health.h"

#define ENGINE_MODELS_MAX 16
#define ENGINE_UNKNOWN    (-1)

struct engine_model {
    char name[128],
        expires_at[40]; /* expires_at: RFC 3339, when it is unloaded; "" where not told */
    int64_t size_bytes, vram_bytes; /* ENGINE_UNKNOWN where not told */
};

/* What an engine said last. Numbers are ENGINE_UNKNOWN where it did not say. */
struct engine_report {
    bool up; /* it answered, and it is the engine it is taken for */
    char version[64];
    int64_t loaded; /* models in memory */
    int models_kept;
    struct engine_model models[ENGINE_MODELS_MAX]; /* the first of them */
    int64_t running, waiting, slots;               /* requests; room for running ones */
    double kv_cache_ratio;                         /* 0 to 1: cache of keys and values in use */
};

/* ---- engine.c ---- */

void engine_report_init(struct engine_report *r);
/* "ollama", as model_info.engine is written. */
const char *engine_name(enum engine_kind kind);

/* One thing to ask an engine. The first row of a kind is the one that tells whether it is that engine at all. */
struct engine_ask {
    enum engine_kind kind;
    const char *path; /* behind the engine's root */
    /* Adds what the body says. False: this is not what that engine answers there; the report may hold a part. `a` is scratch. */
    bool (*read)(struct arena *a, struct str body, struct engine_report *r);
};
/* The row at or behind `from` that is of this kind, or -1. */
int engine_next_ask(enum engine_kind kind, int from);
const struct engine_ask *engine_ask(int row);
/* The kind that ENGINE_AUTO tries after `kind`; ENGINE_NONE behind the last. */
enum engine_kind engine_next_kind(enum engine_kind kind);

/* A sample of Prometheus's text format. */
struct prom_sample {
    struct str name, labels; /* `labels`: what is between the braces, not decoded */
    double value;            /* may be NaN or infinite */
};
/* The next sample of `*rest`, which is cut behind it. Comments and lines that are no samples are passed over. False: there is none. */
bool prom_next(struct str *rest, struct prom_sample *out);

/* ---- engine_poll.c [control] ---- */

struct http_client;
struct loop;
struct snapshot;
struct engines;

/* Begins to ask the engines of the snapshot's deployments. Loop, snapshot and client are borrowed. Of `former` (may be NULL) what its engines said is taken
 * over, where they are still there; it stays the caller's. */
struct engines *engines_new(struct loop *l, const struct snapshot *s, struct http_client *client,
                            const struct engines *former);
void engines_free(struct engines *e);

/* An engine as it is shown. Valid until the next pass of the loop. */
struct engine_view {
    enum engine_kind kind; /* ENGINE_AUTO: not found out yet */
    struct str base;       /* its root, without credentials */
    const struct engine_report *report;
    uint64_t asked_ns; /* when that was; 0: never */
};
uint32_t engines_count(const struct engines *e);
struct engine_view engines_view(const struct engines *e, uint32_t index);
/* The engine that serves a deployment of the snapshot, or -1. */
int64_t engines_of(const struct engines *e, uint32_t deployment);
/* Does the engine call this model `name`, which is `upstream_model` in the configuration? ("llama3" is loaded as "llama3:latest".) */
bool engine_is_model(const char *name, struct str upstream_model);
