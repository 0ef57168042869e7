/* failure.h -- an exchange as a sample sees it: its marks, and which outcome it is when the client says that it failed. Pure. */
#pragma once

#include "http/client.h"
#include "measure/sample.h"

/* Copies the client's marks: start, resolved, connected, secured (over a new connection), sent, first byte where it is known. */
void sample_take_marks(struct sample *s, const struct http_exchange *x);
/* What on_fail's code and detail mean. `s` has head_ns and first_token_ns as far as it came; `now_ns` tells the time-outs apart. */
enum outcome sample_failure(const struct sample *s, const struct http_exchange *x,
                            enum error_code code, const char *detail, uint64_t now_ns);
