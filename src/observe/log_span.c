/* log_span.c -- each part takes what is left of the latency, so parts that contradict each other still add up to it. */
#include "observe/log_span.h"

#include "observe/log_meaning.h"

const char *const log_span_names[SPAN_PARTS] = {"queue", "first token", "generation", "upstream",
                                                "rest"};

static int64_t known(const struct logline *l, uint64_t bit, int64_t us)
{
    return l->found & bit ? us : 0;
}

/* As much of what is left as `us` asks for. */
static int64_t take(int64_t *left, int64_t us)
{
    int64_t taken = MAX(MIN(us, *left), 0);
    *left -= taken;
    return taken;
}

static void part(struct log_span *s, const struct logline *l)
{
    const struct record *r = &l->r;
    int64_t left = r->latency_us;
    int64_t queue = s->parts[SPAN_QUEUE] = take(&left, known(l, LOG_BIT(queue), r->queue_us));
    bool has_upstream = l->found & LOG_BIT(upstream);
    bool is_call =
        l->shape == LOG_SHAPE_LITELLM && !log_text_is(l, LOG_BIT(cache), r->cache, STR("hit"));
    if (l->found & LOG_BIT(ttft)) {
        int64_t until_us = has_upstream ? queue + r->upstream_us : r->latency_us;
        s->parts[SPAN_FIRST_TOKEN] = take(&left, r->ttft_us - queue);
        s->parts[SPAN_GENERATION] = take(&left, until_us - r->ttft_us);
    } else if (has_upstream) {
        s->parts[SPAN_UPSTREAM] = take(&left, r->upstream_us);
    } else if (
        is_call) { /* which says what LiteLLM took of it, if anything; never what the provider did */
        int64_t overhead_us = known(l, LOG_BIT(overhead), r->overhead_us);
        s->parts[SPAN_UPSTREAM] = take(&left, r->latency_us - overhead_us);
    }
    s->parts[SPAN_REST] = left;
}

struct log_span log_span_of(const struct logline *l)
{
    struct log_span s = {.timed = l->found & LOG_BIT(latency)};
    bool stamped = l->found & LOG_BIT(timestamp);
    s.end_us = stamped ? l->r.timestamp : INT64_MIN;
    s.start_us = stamped ? l->r.timestamp - known(l, LOG_BIT(latency), l->r.latency_us) : INT64_MIN;
    if (s.timed)
        part(&s, l);
    return s;
}
