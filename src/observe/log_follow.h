/* log_follow.h -- a log read while it grows: for `weir tail` and `weir export`.
 *
 * Followed by name, as `tail -F` does: what rotation renames is read to its end before the new file is begun; a file
 * truncated in place begins anew; one that is missing is waited for. inotify tells of changes where the file system has it (not
 * NFS, CIFS, FUSE and their like, and where watches have run out: there it is looked at every poll_ms). No line is given twice or
 * left out, whatever the order of rename, create and write; a line without its newline waits for it. Lines come in the order in
 * which one writer wrote them. Files that came and went between two looks are found among the siblings (log_set.h), and so is the
 * copy that copytruncate made of lines that were not read yet; what was written between copying and emptying is nowhere.
 * Everything is the owner's thread's, and the callbacks come from log_follow_run only. */
#pragma once

#include "observe/logline.h"

struct log_follow;

/* A place in a log that outlives the process: which file, how far, and a mark of how that file begins, since inodes are used
 * again. Zeroed: none. */
struct log_position {
    uint64_t device, inode, offset;
    uint64_t head_hash; /* of the file's first head_bytes (at most LOG_POSITION_HEAD) */
    uint32_t head_bytes;
};
#define LOG_POSITION_HEAD 1024

enum log_follow_start {
    FOLLOW_FROM_END,
    FOLLOW_FROM_BEGIN,
    FOLLOW_LAST_LINES,
    FOLLOW_FROM_POSITION,
    FOLLOW_FROM_TIME
};
enum log_follow_event {
    FOLLOW_MISSING,   /* there is no such file (yet) */
    FOLLOW_APPEARED,  /* now there is */
    FOLLOW_ROTATED,   /* renamed or replaced; the next one is begun */
    FOLLOW_TRUNCATED, /* in place (copytruncate): it is begun anew */
    FOLLOW_LOST, /* FROM_POSITION: the file of the position is gone; begun at the oldest there is */
};

struct log_follow_options {
    const char *path; /* "-": standard input, which ends, and is read from where it is */
    enum log_follow_start start;
    uint64_t last_lines; /* FOLLOW_LAST_LINES */
    /* FOLLOW_FROM_POSITION: also in a rotated sibling (log_set.h), plain or packed, and on from there. A zeroed one: from the
     * begin of the file that has the name. */
    struct log_position position;
    /* FOLLOW_FROM_TIME: all lines since then, also those in rotated siblings. Older ones come among them: files are nearly in order
     * only (log_seek.h). Whoever wants none of them looks at the stamps. */
    int64_t since_us;
    unsigned poll_ms; /* 0: 250 */
    bool poll_only;   /* as if there were no inotify */
    void (*take)(void *arg, const struct logline *l,
                 struct str line); /* `line` without its newline */
    void (*broken)(void *arg, const char *expected, size_t column,
                   struct str line);                                         /* may be NULL */
    void (*event)(void *arg, enum log_follow_event event, const char *path); /* may be NULL */
    void *arg;
};

/* NULL: `e` says why (no such folder, not readable, packed, no file). A file that is not there is no failure: it is waited for. */
struct log_follow *log_follow_open(const struct log_follow_options *o, struct err *e);
void log_follow_close(struct log_follow *f);
/* A descriptor that is readable when there may be something new (never for a polled file), or -1 ... */
int log_follow_fd(const struct log_follow *f);
/* ... and the longest to wait for it, in ms; -1: as long as you like. */
int log_follow_wait_ms(const struct log_follow *f);
enum log_follow_state { FOLLOW_MORE, FOLLOW_CAUGHT_UP, FOLLOW_ENDED, FOLLOW_FAILED };
/* Reads what is there, at most `bytes_max` of it (0: all), so that an owner can look at its keys meanwhile. FOLLOW_ENDED: standard
 * input is at its end. FOLLOW_FAILED: `e` says why; the next call tries again. */
enum log_follow_state log_follow_run(struct log_follow *f, uint64_t bytes_max, struct err *e);
/* Behind the last line taken, in the youngest file that one was taken from: what others still write to an older one after that is
 * read by this follower and not by one that begins there. Zeroed on standard input and when there is no file yet. Good between runs. */
struct log_position log_follow_position(const struct log_follow *f);
/* Bytes written and not yet read: how far behind it is. */
uint64_t log_follow_behind_bytes(const struct log_follow *f);
