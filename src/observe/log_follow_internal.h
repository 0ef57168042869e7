/* log_follow_internal.h -- what the files of log_follow share; see log_follow.c for how it goes. */
#pragma once

#include "base/clock.h"
#include "observe/log_follow.h"
#include "observe/log_input.h"

/* One file on the way: the live one, one that was renamed and is being read to its end, or a packed older one. A file is held
 * open from when it is found, so that no renaming and no deleting takes it away, nor can its inode be used again. */
struct follow_source {
    int fd;                  /* of a plain file; -1 else */
    struct log_input packed; /* where fd is -1 */
    uint64_t device, inode;
    uint64_t line_at; /* where the next line to take begins, in (unpacked) bytes of the file */
    uint64_t limit;   /* the file's size when it was last measured */
    char *data;       /* [line_at, line_at + have), cap bytes and LOGLINE_SLACK */
    size_t have, cap;
    bool skipping; /* in a line longer than LOGREAD_LINE_MAX: up to its newline nothing is taken */
    bool at_end;   /* a packed one: read to its end */
    int announce;  /* the enum log_follow_event to tell when its reading begins, or -1 */
    int watch;     /* inotify's, or -1 */
    uint64_t changed_ns; /* when it last had anything new */
    char head[LOG_POSITION_HEAD];
    uint32_t head_bytes; /* known of `head`: at most line_at */
};

#define FOLLOW_DONE_MAX 32
#define FOLLOW_GRACE_NS (2 * NS_PER_S) /* a renamed file that was quiet so long is let go of */

/* A file read to its end and let go of: not to be taken for a new one. */
struct follow_done {
    uint64_t device, inode, head_hash;
    uint32_t head_bytes;
};

struct log_follow {
    struct log_follow_options o;
    char *path, *folder;
    bool is_stream;                 /* standard input */
    struct follow_source **sources; /* oldest first; the last is the live one */
    size_t source_count;
    struct follow_done done[FOLLOW_DONE_MAX]; /* a ring */
    size_t done_count;
    int inotify; /* -1: polled */
    bool polled; /* the file system does not tell */
    bool more;   /* the last run stopped at its budget */
    bool missing_told;
    uint64_t missing_ns; /* since when there is no such file; 0: there is */
    struct logline line;
};

/* ---- log_follow.c ---- */
void follow_tell(const struct log_follow *f, enum log_follow_event event);
/* Keeps the source as number `at`, before those that were there. */
void follow_insert(struct log_follow *f, size_t at, struct follow_source *s);
/* Opens what the path names now. NULL and no error: there is nothing. */
struct follow_source *follow_open_live(struct log_follow *f, struct err *e);
/* Does the path name this file? */
bool follow_name_is(const struct log_follow *f, const struct follow_source *s);

/* ---- log_follow_source.c ---- */
/* Takes `fd`. */
struct follow_source *follow_source_new(int fd, uint64_t device, uint64_t inode);
/* A packed file; `in` is opened, and becomes the source's. */
struct follow_source *follow_source_packed(const struct log_input *in, uint64_t device,
                                           uint64_t inode);
struct follow_source *follow_source_stream(void); /* standard input */
void follow_source_free(struct follow_source *s);
/* Sets where reading begins, which must be where a line does, and learns the head. */
void follow_source_start(struct follow_source *s, uint64_t at);
/* The same for any source: a packed one is unpacked up to there. */
void follow_source_skip(struct follow_source *s, uint64_t at);
/* The first `bytes` (at most LOG_POSITION_HEAD) of a packed one that nothing was taken from; NULL: it has fewer. */
const char *follow_source_peek(struct follow_source *s, size_t bytes);
/* Where the last `lines` whole lines begin. */
uint64_t follow_last_lines(int fd, uint64_t size, uint64_t lines);
/* Does the file still begin with what was read of it? Packed ones do. */
bool follow_head_same(const struct follow_source *s);
/* Reads up to the limit and takes whole lines; *budget falls by what was read (UINT64_MAX: no end of it). */
enum follow_read { READ_ALL, READ_MORE, READ_TRUNCATED, READ_FAILED };
enum follow_read follow_source_read(struct log_follow *f, struct follow_source *s, uint64_t *budget,
                                    struct err *e);
/* The last line of a file that nobody writes to any more needs no newline. */
void follow_source_finish(struct log_follow *f, struct follow_source *s);

/* ---- log_follow_watch.c ---- */
void follow_watch_open(struct log_follow *f);
void follow_watch_close(struct log_follow *f);
void follow_watch_add(struct log_follow *f, struct follow_source *s);
void follow_watch_remove(struct log_follow *f, struct follow_source *s);
/* Forgets what was told: the caller looks at everything. */
void follow_watch_drain(struct log_follow *f);

/* ---- log_follow_find.c ---- */
/* Adds, oldest first, the files that had the path's name for a while after the newest source and before `live`, unseen by us. False:
 * a failure (`e`), or no error and `live` has lost the name meanwhile: then nothing was added, and the next look will tell. */
MUST_USE bool follow_find_between(struct log_follow *f, const struct follow_source *live,
                                  struct err *e);
/* The copy that copytruncate made of `s` before it emptied it, begun where the reading of `s` stopped; or NULL. */
struct follow_source *follow_find_copy(const struct log_follow *f, const struct follow_source *s);
/* FOLLOW_FROM_POSITION: adds the position's file, begun there, and all newer ones with the live one. */
MUST_USE bool follow_find_position(struct log_follow *f, struct err *e);
/* FOLLOW_FROM_TIME: adds the file that holds the moment, begun near it, and all newer ones with the live one. */
MUST_USE bool follow_find_time(struct log_follow *f, struct err *e);
