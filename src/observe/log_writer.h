/* log_writer.h -- the request log: records go into a ring per worker, one writer thread drains
 * all rings to the file.
 *
 * The rings live in one file mapped shared (on tmpfs where there is one), so what a worker has
 * put there survives the process: SIGKILL the next moment, and the next start finds the ring,
 * works out what had reached the log, and appends the rest, each line whole and once. A worker
 * never blocks and makes no system call for a record; when the writer cannot keep up (stalled or
 * full disk) records are counted, and a "gap" record says how many once there is room again. */
#pragma once

#include "base/err.h"
#include "observe/record.h"

struct log_writer;

struct log_options {
    const char *path;     /* of the log; "-" for stdout */
    const char *ring_dir; /* NULL or "": choose (/dev/shm, $RUNTIME_DIRECTORY, beside the log) */
    size_t ring_bytes;    /* per worker; 0: 4 MiB */
    int rings;            /* one a worker */
    bool text;            /* log_format: text */
};

/* Recovers what a dead process left, opens the log, starts the thread. NULL with a sentence in
 * `e` when the log cannot be written there (the caller then tries ./requests.log, and says so).
 * [control] */
struct log_writer *log_open(const struct log_options *o, struct err *e);
/* Puts one record into ring `ring` ([that ring's worker only]). Never blocks. False: it was
 * dropped (and counted). After true the record will be in the log even if the process is killed
 * at once. */
bool log_put(struct log_writer *w, int ring, const struct record *r);
/* From now on the ring's records are written as text, or as JSON. [that ring's worker] */
void log_set_text(struct log_writer *w, int ring, bool text);
/* Asks for the file to be opened anew (SIGUSR1). [any thread, signal handlers] */
void log_reopen(struct log_writer *w);
/* Waits until all that was put before the call is in the file or `timeout_ms` passed. [any
 * thread] */
bool log_sync(struct log_writer *w, int timeout_ms);
/* Drains (for 5 s at most), stops the thread, removes the ring file when all of it was written.
 * No worker may put any more. */
void log_close(struct log_writer *w);

struct log_stats {
    uint64_t records, bytes, dropped, write_errors, reopens, recovered, ring_bytes_used, ring_bytes;
    int last_errno;
    const char *path, *ring_path; /* absolute; ring_path "": in memory only */
};
void log_stats(const struct log_writer *w, struct log_stats *out); /* [any] */
