/* load.h -- what the parts of `weir load` share.
 *
 *   cmd_load.c         options and the course of things
 *     load_plan.c      file and options become a plan
 *     load_run.c       the plan is run: samples taken, thresholds that abort, Ctrl-C
 *     load_progress.c  what is seen meanwhile
 *     load_report.c    the report: terminal, Markdown, CSV
 *     load_json.c      the same for programs
 *     load_page.c      ... and as a page
 *     load_files.c     --export by extension
 *   cmd_load_merge.c   reports of several processes become one
 *     load_merge.c     ... read and added up
 *
 * One run at a time; the calling thread waits and shows while the engine's threads work. */
#pragma once

#include "cli/measure_options.h"
#include "cli/measure_report.h"
#include "cli/sample_log.h"
#include "measure/engine.h"
#include "measure/limits_asked.h"
#include "measure/scenario.h"

#define LOAD_EXPORTS_MAX 18

/* ---- options (cmd_load.c) ---- */

struct load_options {
    struct measure_options shared;
    const char *model, *mix;
    int64_t concurrency, requests, burst;
    double rate, gamma, speed; /* NaN: not given */
    bool poisson;
    const char *duration, *ramp, *warmup, *stages, *replay;
    int64_t threads, connections; /* 0: not given */
    const char *grace;
    bool fresh_connections, user_stamps, no_spin, quiet;
    const char *slo, *log, *html, *junit, *name;
    struct option_list thresholds, exports;
    int format, color;
};

/* ---- the plan ---- */

struct load_plan {
    struct scenario scenario; /* of the file, what options say put over it; owns the memory */
    const char *file;         /* NULL: options only */
    struct arrivals_plan arrivals;
    struct str *models, *stages; /* names */
    struct measure_target *target;
    struct prompts *prompts;
    enum prompt_api api;
    uint64_t prompts_hash; /* of what is asked, but for what chance decides */
    bool open_loop;        /* in one measured stage at least */
    bool all_open;         /* in all of them */
    bool spin;
};
/* False with sentences on stderr and *status. Always load_plan_fini. */
MUST_USE bool load_plan_make(struct load_plan *p, const struct load_options *o, const char *file,
                             int *status);
void load_plan_fini(struct load_plan *p);

/* ---- what came of a run, or of several merged ---- */

struct load_result {
    struct arena arena;
    const char *command;         /* "load", "load merge" */
    struct str name, url;        /* of the scenario, or STR_NONE; without credentials */
    struct str *models, *stages; /* names */
    const struct stage
        *plan; /* stages in full, as many as results has; NULL: a replay, or not known */
    const struct mix_part *mix; /* weights of the models, or NULL */
    struct str replay_file;     /* or STR_NONE */
    double replay_speed;
    uint64_t replay_requests;
    uint64_t hash;           /* of what was asked: equal for equal scenarios */
    bool open_loop;          /* in all measured stages */
    struct results *results; /* sealed */
    struct engine_account account;
    struct validity validity;
    struct limits_asked limits;
    bool limits_held;
    const struct limit_asked *aborted_by; /* or NULL */
    int64_t origin_real_us;               /* of second 0 */
    double *asked_per_s, *asked_users,
        *dropped; /* a slot of the results each; NaN: nothing asked */
    uint64_t seed;
    bool cut_short;      /* Ctrl-C */
    size_t merged;       /* runs; 0: one that was measured here */
    struct str *remarks; /* sentences for the head of the report */
    size_t remark_count;
};
void load_result_fini(struct load_result *r);
struct measure_report load_report_of(const struct load_result *r);
/* Seconds that the measured stages lasted. */
double load_seconds(const struct load_result *r);

/* ---- the run ---- */

/* Runs the plan. False with a sentence: it could not be started. */
MUST_USE bool load_run(const struct load_plan *p, const struct load_options *o,
                       struct sample_log *log, struct load_result *out, struct err *e);

/* ---- progress ---- */

/* What a second saw, on one thread or all. */
struct load_window {
    uint64_t ok, failed, dropped;
    struct histogram latency, ttft; /* ns; from due in open loop */
};

struct load_progress;
struct load_progress *load_progress_new(const struct load_plan *p, bool quiet);
/* A second went by: `w` is what it saw, `now` where the engine stands. `w` is emptied. */
void load_progress_second(struct load_progress *g, struct load_window *w,
                          const struct engine_progress *now);
/* Something to be said at once, above what is painted. */
void load_progress_say(struct load_progress *g, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Takes away what is painted. */
void load_progress_free(struct load_progress *g);
void load_window_fini(struct load_window *w);

/* ---- reports ---- */

void load_write_report(const struct load_result *r, enum table_format format, const struct term *t);
/* A row a metric and scope. */
void load_write_csv(const struct load_result *r, FILE *out);
void load_write_json(const struct load_result *r, FILE *out);
void load_write_junit(const struct load_result *r, FILE *out);
MUST_USE bool load_write_page(const struct load_result *r, const char *path, struct err *e);
/* Before anything is measured: have all of --export an extension that is known, and can all files be written? False with a sentence and the
 * exit status. */
MUST_USE bool load_exports_possible(const struct load_options *o, int *status, struct err *e);
MUST_USE bool load_export(const struct load_result *r, const char *path, struct err *e);
/* By --format, on standard output. */
extern const char *const load_formats[];
void load_print_report(const struct load_result *r, const struct load_options *o);
/* All of --export, --html and --junit. False: sentences were said on stderr. */
bool load_export_all(const struct load_result *r, const struct load_options *o);
/* Says on stderr what did not hold. The exit status: 0 all good, 1 a threshold failed, client-limited or nothing answered, 3 nobody reached. */
int load_verdict(const struct load_result *r);

/* ---- merging ---- */

/* Reads reports and adds them up; `thresholds` beside those of the first. False with a sentence that names the file. */
MUST_USE bool load_merge(const char *const *paths, size_t count,
                         const struct option_list *thresholds, struct load_result *out,
                         struct err *e);
