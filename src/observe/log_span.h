/* log_span.h -- a line as a span of time: from when to when, and what it was spent on.
 *
 * The parts add up to the latency exactly. What a line does not tell is "rest": in weir's lines what the gateway took after
 * the upstream's last byte; in one that says no more than its latency, all of it. A line of LiteLLM's is a call to a provider,
 * so what is not told of it is upstream time, less LiteLLM's own where that is told. */
#pragma once

#include "observe/logline.h"

enum log_span_part {
    SPAN_QUEUE,       /* until the request was sent upstream */
    SPAN_FIRST_TOKEN, /* from there to the first token */
    SPAN_GENERATION,  /* from the first token to the upstream's last byte */
    SPAN_UPSTREAM,    /* the upstream's whole time, where there is no first token to part it */
    SPAN_REST,
    SPAN_PARTS
};
extern const char *const log_span_names[SPAN_PARTS];

struct log_span {
    bool timed; /* the line has a latency; else all is 0 */
    int64_t start_us,
        end_us; /* INT64_MIN: the line has no stamp; without a latency both are its stamp */
    int64_t parts[SPAN_PARTS]; /* µs */
};

/* [any thread], pure. */
struct log_span log_span_of(const struct logline *l);
