/* profile.h -- what `weir profile latency` and `weir profile throughput` share.
 *
 *   profile_run.c             one run of the engine, watched: progress, Ctrl-C, samples kept, the log written
 *   profile_steady.c          throughput while all users were at work, from the times of all requests
 *   cmd_profile_latency.c     options and the course of things
 *     profile_latency_report.c  its report: terminal, Markdown, CSV, JSON
 *     profile_baseline.c        a saved run read back, and compared with this one
 *     profile_overhead.c        --direct: what the gateway adds
 *   cmd_profile_throughput.c  the same of the other
 *     profile_sweep.c           levels of load, one after another, until the knee is known
 *     profile_throughput_report.c, profile_throughput_page.c
 *
 * One run at a time; the calling thread waits while the engine's threads work. */
#pragma once

#include "cli/measure_options.h"
#include "cli/measure_report.h"
#include "cli/sample_log.h"
#include "measure/engine.h"

/* ---- a run ---- */

/* When a request's parts came, of every request that was sent: for throughput within a window. */
struct profile_times {
    uint64_t due_ns, start_ns, first_token_ns, last_token_ns, end_ns;
    uint32_t tokens;
    bool ok;
};

struct profile_run_options {
    const char *command; /* "profile latency", for progress */
    const char *label;   /* what is being done: "concurrency 16" */
    const struct measure_target *target;
    const struct prompts *prompts;
    const struct arrivals_plan *plan;
    const struct objectives *objectives; /* or NULL */
    unsigned threads;
    bool fresh_connections, spin;
    double timeout_s;       /* of a request; 0: none */
    size_t keep_max;        /* whole samples, of the measured stages */
    struct sample_log *log; /* or NULL */
    uint64_t first_number;
};

struct profile_run {
    struct results *results; /* sealed */
    struct engine_account account;
    struct validity validity;
    struct sample *kept; /* measured ones in the order of their due times; without gaps */
    size_t kept_count;
    uint64_t kept_lost; /* more than keep_max */
    struct profile_times *times;
    size_t time_count;
    bool cut_short; /* Ctrl-C */
};
/* False with a sentence: it could not be started. */
MUST_USE bool profile_run(const struct profile_run_options *o, struct profile_run *out,
                          struct err *e);
void profile_run_fini(struct profile_run *r);
/* Was Ctrl-C pressed? Stays true. */
bool profile_interrupted(void);

/* ---- throughput while the load was on ---- */

struct steady {
    double seconds; /* of the window */
    uint64_t ended; /* requests that were answered well in it */
    double requests_per_s, tokens_per_s;
    bool whole_run; /* the run was too short for a window: its ending is in it */
};
/* From the first request's due time to the last one's start: after that, users are idle one after another, which is no throughput of anything. */
struct steady profile_steady(const struct profile_times *times, size_t count);
/* Half of the 95 % interval of a closed loop's rate: as a share, that of the mean response time, since users / response time is the rate. */
double profile_rate_error(const struct results_group *g, double rate);

/* ---- files that the other measuring commands' --export has not ---- */

enum profile_file { PROFILE_FILE_MEASURE, PROFILE_FILE_JUNIT, PROFILE_FILE_HGRM };
/* By the extension: .xml is JUnit, .hgrm HdrHistogram's percentile text; all else is measure_file_kind's. */
enum profile_file profile_file_of(const char *path);

/* ---- pieces of the reports ---- */

/* "12 s" and "3 min 2 s"; for progress. */
struct num profile_span(uint64_t ns);
/* The exit status of a run that has been reported: a problem where nothing was answered, or the client was the limit. Says why on stderr. */
int profile_status(const char *command, const struct profile_run *r);
/* `asked`, or for 0 one that the clock gives: short enough to be typed again. */
int64_t profile_seed(int64_t asked);
/* "weir COMMAND: ..." for what was given on the command line and cannot be. Returns EXIT_USAGE. */
int profile_usage(const char *command, const char *fmt, ...) PRINTF_LIKE(2, 3);
