/* export.h -- what the files of `weir export` share.
 *
 *   cmd_export.c     options, beginning, --once
 *   export_state.c   position and numbers in a file, so that a restart goes on where it ended
 *   export_serve.c   the loop: follows the log, answers /metrics and health, saves, ends on a signal
 *   export_history.c --openmetrics-history: the past with its own stamps
 *
 * One thread does all of it: a line is taken, counted and part of the position before anything else happens, so a snapshot
 * taken between two lines is consistent by itself. */
#pragma once

#include "observe/log_follow.h"
#include "observe/log_metrics.h"

/* ---- the state file ---- */

struct export_state {
    char *path;  /* NULL: none is kept */
    int lock_fd; /* of path.lock, held as long as we run */
};

/* Where the state of `log` (an absolute path) is kept if nobody says: in $STATE_DIRECTORY under systemd, else beside the log, else
 * (where that folder may not be written) below $XDG_STATE_HOME or ~/.local/state. The caller frees it. NULL: `e`. */
char *export_state_default(const char *log, struct err *e);
/* Locks it. False: somebody else has it, or its folder cannot be written. */
MUST_USE bool export_state_open(struct export_state *s, const char *path, struct err *e);
void export_state_close(struct export_state *s);

enum export_state_found {
    STATE_NONE,   /* no such file yet */
    STATE_LOADED, /* into lm and *position */
    STATE_REFUSED, /* damaged, or of another log: `e` says; it was moved to path.refused. lm may hold a part of it */
    STATE_FOREIGN, /* not a state file at all, or not to be read: nothing was touched */
};
enum export_state_found export_state_load(const struct export_state *s, const char *log,
                                          struct log_metrics *lm, struct log_position *position,
                                          struct err *e);
MUST_USE bool export_state_save(const struct export_state *s, const char *log,
                                const struct log_metrics *lm, const struct log_position *position,
                                struct err *e);

/* ---- --openmetrics-history ---- */

struct history;

/* Steps are multiples of step_us since 1970. */
struct history *history_new(int64_t step_us);
void history_free(struct history *h);
/* Before the line of this stamp is counted: ends the steps that are over. Lines come nearly in order; what is late counts in the step
 * that is open. False: more steps than anybody wants (`e`). */
MUST_USE bool history_advance(struct history *h, const struct metrics *m, int64_t stamp_us,
                              struct err *e);
/* Ends the last step and writes all, as OpenMetrics with stamps. `out` stays open. False: writing failed. */
MUST_USE bool history_write(struct history *h, const struct metrics *m, FILE *out);

/* ---- the exporter ---- */

struct exporter {
    const char *log; /* absolute, or "-" */
    struct log_metrics lm;
    struct log_follow *follow;
    struct export_state state;
    struct history *history; /* NULL: not asked for */
    FILE *history_out;
    struct err history_error;
    int64_t started_real_us;
    bool caught_up;                        /* all that was there at the start has been read */
    bool missing;                          /* there is no such file now */
    bool state_failed;                     /* the last save did: said once */
    uint64_t saved_lines, saved_rotations; /* as they were at the last save */
};

/* Reads at most `bytes_max` (0: all there is). FOLLOW_FAILED: `e`. */
enum log_follow_state exporter_read(struct exporter *x, uint64_t bytes_max, struct err *e);
/* Saves if anything was read since; always when `all_the_same`. Failing is a warning and a count. */
void exporter_save(struct exporter *x, bool all_the_same);
bool exporter_ready(const struct exporter *x);
/* The exposition. [the exporter's thread] */
void exporter_write(struct exporter *x, enum metrics_format format, struct buf *out);

/* Runs until a signal, or until standard input ends. Returns an exit status. */
int export_serve(struct exporter *x, const char *listen, int64_t save_every_us);
