/* log_errors.h -- LiteLLM's own errors (json_logs lines of level ERROR), counted by the exception that their stacktrace ends with.
 *
 * One struct a thread; merged when all is read. Past LOG_ERRORS_MAX classes a new one counts as `other`. Not thread-safe. */
#pragma once

#include "observe/log_json_logs.h"

#define LOG_ERRORS_MAX 256

struct log_error {
    char class[64]; /* "RateLimitError", NUL-terminated; "": no stacktrace, or it names none */
    uint64_t count;
    int64_t first_us, last_us; /* INT64_MAX, INT64_MIN: no stamps */
};

struct log_errors {
    size_t count;
    uint64_t other;
    struct log_error list[LOG_ERRORS_MAX];
};

/* Any line: counted if it is such an error. */
void log_errors_take(struct log_errors *e, const struct logline *l);
void log_errors_merge(struct log_errors *into, const struct log_errors *from);
/* Most frequent first; equals by name. */
void log_errors_sort(struct log_errors *e);
