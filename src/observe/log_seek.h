/* log_seek.h -- which part of a large plain log a window of time needs, without reading the rest: bisection over stamps.
 *
 * Lines are written when a request is complete, so a log is nearly in order: LOG_SEEK_SLACK_US of disorder are allowed for. A file that is
 * less in order than that where it is looked at, or that has no stamps there, is to be read whole. */
#pragma once

#include "observe/log_input.h"

#define LOG_SEEK_SLACK_US  (300 * INT64_C(1000000))
#define LOG_SEEK_BYTES_MIN (32u << 20) /* smaller files are read whole: it takes 10 ms */

/* Narrows [*from, *to), which is the whole file, to lines that may be in [since_us, until_us); both ends are at a line's begin, or the
 * file's end. INT64_MIN and INT64_MAX: open. `in` is a plain file. [any thread] */
void log_seek(struct log_input *in, int64_t since_us, int64_t until_us, uint64_t *from,
              uint64_t *to);
