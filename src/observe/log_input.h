/* log_input.h -- the bytes of one log, whatever it is kept in: a plain file, gzip, zstd, a pipe. For logread.c.
 *
 * What it is is told by its first bytes, not by its name. A plain file may be read anywhere and by several threads at once;
 * everything else is read once, in order, by one. */
#pragma once

#include <sys/types.h>

#include "base/base.h"

struct log_decoder;

struct log_input {
    int fd;
    bool seekable;
    uint64_t bytes;
    struct log_decoder *decoder; /* compressed, or a stream */
    char error[200];
};

/* "-" is standard input. False: see log_input_error; close it all the same. */
MUST_USE bool log_input_open(struct log_input *in, const char *path);
void log_input_close(struct log_input *in);
static inline bool log_input_seekable(const struct log_input *in)
{
    return in->seekable;
}
/* Size at the moment it was opened; 0 where that is not known. */
static inline uint64_t log_input_bytes(const struct log_input *in)
{
    return in->bytes;
}
/* Up to `room` bytes of content from `at` on; 0: the end; -1: log_input_error says why. What cannot seek is read on from where it was: `at`
 * must be that place. A plain file ends where it ended when it was opened. */
ssize_t log_input_read(struct log_input *in, char *out, size_t room, uint64_t at);
const char *log_input_error(const struct log_input *in);
