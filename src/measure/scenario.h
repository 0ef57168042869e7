/* scenario.h -- a load test as a YAML file: whom to ask, what, how often, and what must hold. docs/load.md describes every key.
 *
 *     name: evening peak
 *     url: http://localhost:4000
 *     key: os.environ/LITELLM_MASTER_KEY
 *     models: {gpt-4o: 60, claude: 25, llama: 15}
 *     prompts: {tokens: 200, max_tokens: 100, stream: true}
 *     stages:
 *       - {users: 5, duration: 5s, warm_up: true}
 *       - {rate: {from: 10, to: 100}, duration: 1m, spacing: poisson}
 *     slo: {ttft: 500ms, e2e: 5s}
 *     thresholds: [latency p95 < 500ms, errors < 1%]
 *
 * Reading goes on after a mistake, so that one run tells all of them. Any value may be os.environ/NAME. Paths of files in it are relative to
 * the scenario's own folder. [one thread] */
#pragma once

#include "measure/arrivals.h"
#include "measure/limits_asked.h"
#include "measure/prompts.h"

#define SCENARIO_BYTES_MAX    (4u << 20)
#define SCENARIO_MISTAKES_MAX 50
#define SCENARIO_HEADERS_MAX  16

struct scenario {
    struct arena arena; /* of all that it points to */
    struct str name;    /* or STR_NONE */
    /* NULL, negative, NaN and 0 stand for "not said". `key` is a secret. */
    const char *url, *key, *ca_file;
    bool insecure;
    const char *headers[SCENARIO_HEADERS_MAX]; /* "Name: value" */
    size_t header_count;
    struct mix_part *mix;
    size_t mix_count;
    struct prompts_options prompts;
    bool has_prompts;
    struct stage *stages;
    size_t stage_count;
    const char *replay_file;
    double replay_speed;
    bool fresh_connections, user_stamps;
    int64_t connections_max, threads;
    int64_t connect_timeout_ms, head_timeout_ms, idle_timeout_ms, total_timeout_ms, grace_ms;
    struct objectives slo;
    struct limits_asked limits;
    int64_t seed;

    struct err *mistakes; /* of the arena, in the order of the file */
    size_t mistake_count;
    uint64_t hash; /* of what the file says: tells whether two runs were of the same */
};

/* Nothing said. */
void scenario_init(struct scenario *s);
void scenario_fini(struct scenario *s);
/* Reads `path` ("-": standard input). False: there are mistakes (at least one), all with file, line and column. */
MUST_USE bool scenario_read(struct scenario *s, const char *path);
/* The same of a text; `file` is its name in messages, `folder` where relative paths begin ("" : as they are). */
MUST_USE bool scenario_parse(struct scenario *s, struct str text, const char *file,
                             struct str folder);

/* ---- the same in an option's words ---- */

/* "gpt-4o=60,claude=25", or names alone, which weigh the same. */
MUST_USE bool scenario_mix_text(struct arena *a, struct str text, struct mix_part **mix,
                                size_t *count, struct err *e);
/* "10s:100,1m:500": as k6's --stage, each goes evenly from where the one before ended to its own number, the first from 0. "1m:=500" has 500
 * from its beginning. Numbers are users; with /s behind ("1m:50/s"), or where `rates` says so, requests a second. */
MUST_USE bool scenario_stages_text(struct arena *a, struct str text, bool rates,
                                   struct stage **stages, size_t *count, struct err *e);
/* Stages that have none get a name: "stage 2: 10 to 100/s". Of the arena. */
void scenario_name_stages(struct arena *a, struct stage *stages, size_t count);

/* ---- what a plan asks for ---- */

/* Users, or requests a second, that the plan asks for `offset_ns` after its start; NaN after its end and in a replay. *kind says which. */
double scenario_asked_at(const struct arrivals_plan *p, uint64_t offset_ns, enum stage_kind *kind);
/* How long all stages last, or the replay; 0: until requests were sent. */
uint64_t scenario_duration_ns(const struct arrivals_plan *p);
