/* log_range.h -- from when to when a log goes, without reading it: from its first and last lines. */
#pragma once

#include "base/base.h"

/* The least and the greatest stamp in the first and last LOG_RANGE_BYTES of a plain file. False: it cannot be looked at (packed, a
 * stream, no stamps). Lines may be out of order, so it is a good guess and no promise. */
#define LOG_RANGE_BYTES (64u << 10)
MUST_USE bool log_range(const char *path, int64_t *first_us, int64_t *last_us);
/* The least stamp in the first LOG_RANGE_BYTES of a plain or packed file. False: there is none. Not for streams: it would eat them. */
MUST_USE bool log_first_stamp(const char *path, int64_t *first_us);
