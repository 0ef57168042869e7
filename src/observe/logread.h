/* logread.h -- reading logs: files, compressed files, streams; on as many threads as asked for.
 *
 * Files are read by pread in blocks and cut at line borders, so that all cores work on one file; never mapped: a log that is
 * truncated meanwhile (copytruncate) would kill the reader. A compressed file or a stream is one thread's.
 * Lines come to `take` on the thread that read them, with that thread's context; within one thread in no order that
 * means anything across blocks. What is counted is exact; what is told of broken lines has their true line numbers. */
#pragma once

#include "observe/logline.h"

#define LOGREAD_THREADS_MAX 64
#define LOGREAD_BROKEN_KEPT 5            /* broken lines shown */
#define LOGREAD_LINE_MAX    (64u << 20)  /* a longer line is broken */
#define LOGREAD_BLOCK       (256u << 10) /* bytes a read: larger falls out of the cache */

struct broken_line {
    const char *path;
    uint64_t line;   /* from 1; 0: not known, since what comes before was not read (log_seek.h) */
    uint64_t byte;   /* of the file at which the line begins, unpacked */
    uint64_t column; /* from 1, in bytes */
    const char *expected;
    char text[80]; /* from its start, or from a little before the place */
};

struct logread_sum {
    uint64_t bytes;   /* unpacked, of the lines taken */
    uint64_t skipped; /* bytes of files that were not read, since the window does not need them */
    uint64_t lines, blank, broken, heads, read[LOG_SHAPE_COUNT];
    int broken_kept;
    struct broken_line first_broken[LOGREAD_BROKEN_KEPT]; /* in the order of files and lines */
};

struct logread {
    const char *const *paths; /* "-": standard input */
    size_t path_count;
    int threads; /* 1 to LOGREAD_THREADS_MAX */
    int64_t since_us,
        until_us; /* of large plain files only the part with these times is read (log_seek.h): lines before and behind come
                                   all the same. INT64_MIN and INT64_MAX: all of it */
    uint64_t
        unwanted; /* fields that `take` does not look at: logline may leave them out (struct logline) */
    void **contexts; /* one a thread, for `take` */
    void (*take)(void *context, const struct logline *l, struct str line);
    /* May be NULL. Else only failures are asked about: lines that logline_read_failed passed over come here, and are `heads`, not read. */
    void (*take_head)(void *context, const struct logline *l);
    /* For a progress bar: called by one thread between blocks, with bytes of `total` (0: not known) done. May be NULL. */
    void (*progress)(void *arg, uint64_t done, uint64_t total);
    void *arg;
    const bool
        *stop; /* atomic; once true reading ends soon, with what was read so far. May be NULL. */
};

/* As many as there are cores. */
int logread_threads(void);
/* Reads all of it. False: a file could not be opened or read (`e`); what was read of the others stands in *sum. */
MUST_USE bool logread(const struct logread *r, struct logread_sum *sum, struct err *e);
