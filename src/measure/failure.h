/* failure.h -- an exchange as a sample sees it: its marks, and which outcome it is when the client says that it failed. Pure. */
#pragma once

#include "http/client.h"
#include "measure/sample.h"

/* Copies the client's marks: start, resolved, connected, secured (over a new connection), sent, first byte where it is known. */
void sample_take_marks(struct sample *s, const struct http_exchange *x);
/* What on_fail's code and detail mean. `s` has its marks (sample_take_marks) and what was read of the answer; `now_ns` tells the time-outs apart. */
enum outcome sample_failure(const struct sample *s, const struct http_exchange *x,
                            enum error_code code, const char *detail, uint64_t now_ns);
/* Nobody was there to ask: neither answer nor time-out of one. */
bool outcome_is_unreached(enum outcome o);
/* By counts of each outcome: some reached nobody, and of all that were sent and not ended by us none did. */
bool outcomes_are_unreached(const uint64_t counts[OUTCOME_COUNT]);
