/* log_json_logs.h -- LiteLLM's own messages (litellm_settings.json_logs): what they tell of requests, and of errors beside them.
 *
 * The server's access lines, `10.0.0.5:51234 - "POST /chat/completions HTTP/1.1" 200`, are requests without a model and without times.
 * Lines of level ERROR are errors of LiteLLM's: of which request they do not say, so they are counted apart.
 * The rules are 20 and 21 of tests/reference/analyze.py. All functions: [any thread]. */
#pragma once

#include "observe/logline.h"

/* A line of this shape is read: its record's fields are those that the message tells, and no others. For logline.c. */
void log_json_logs_settle(struct logline *l);

/* Is it an error of LiteLLM's own, of no request? */
bool log_json_logs_is_error(const struct logline *l);
/* The exception's class that the stacktrace ends with ("RateLimitError"), in `out`; STR_NONE: it names none. */
struct str log_json_logs_exception(const struct logline *l, char *out, size_t out_bytes);
