/* fuzz_chains.c -- chains, a trace, the slowest requests and rate limits of any log: the same however its lines are divided.
 *
 * The input's first byte says which lines go to the second of two states, and whether they come from the last to the first; the rest is a
 * log. One state takes all lines in order. After merging both must say the same. */
#include "observe/chains.h"
#include "observe/rate_limits.h"
#include "observe/slowest.h"
#include "observe/trace.h"

#define LINES_MAX 256
#define WORST     4

struct all {
    struct chains chains;
    struct trace trace;
    struct slowest slowest;
    struct rates rates;
};

static void all_init(struct all *a)
{
    chains_init(&a->chains, WORST);
    trace_init(&a->trace, STR("abcdef"), true);
    slowest_init(&a->slowest, WORST);
    rates_init(&a->rates);
}

static void all_fini(struct all *a)
{
    chains_fini(&a->chains);
    trace_fini(&a->trace);
    slowest_fini(&a->slowest);
    rates_fini(&a->rates);
}

static void all_merge(struct all *into, struct all *from)
{
    chains_merge(&into->chains, &from->chains);
    trace_merge(&into->trace, &from->trace);
    slowest_merge(&into->slowest, &from->slowest);
    rates_merge(&into->rates, &from->rates);
}

static void all_take(struct all *a, struct str line)
{
    struct logline l;
    enum line_status status;
    char *copy = mem_alloc(line.n + LOGLINE_SLACK);
    if (line.n)
        memcpy(copy, line.p, line.n);
    copy[line.n] = '\n';
    logline_init(&l);
    (void)logline_read(&l, copy, copy + line.n, &status);
    if (status == LINE_READ) {
        enum log_event event = log_event_of(&l);
        struct str whole = {copy, line.n + 1};
        chains_take(&a->chains, &l, event);
        trace_take(&a->trace, &l, event, whole);
        slowest_take(&a->slowest, &l);
        rates_take(&a->rates, &l, event);
    }
    mem_free(copy);
}

static void same_chains(struct chains *a, struct chains *b)
{
    chains_settle(a);
    chains_settle(b);
    ENSURE(a->requests == b->requests && a->reached == b->reached && a->attempts == b->attempts);
    ENSURE(a->failed_attempts == b->failed_attempts && a->wasted_us == b->wasted_us &&
           a->wasted_pico == b->wasted_pico);
    ENSURE(a->sessions == b->sessions && a->session_requests == b->session_requests);
    ENSURE(a->worst_count == b->worst_count && a->models.count == b->models.count);
    for (size_t i = 0; i < a->worst_count; i++)
        ENSURE(a->worst[i]->attempts == b->worst[i]->attempts);
}

static void same_traces(struct trace *a, struct trace *b)
{
    struct str x, y;
    ENSURE(trace_settle(a, &x) == trace_settle(b, &y) && str_eq(x, y));
    ENSURE(a->count == b->count && a->candidate_count == b->candidate_count);
    ENSURE(trace_line_total(a) == trace_line_total(b));
    for (size_t i = 0; i < a->count; i++)
        ENSURE(a->lines[i]->span.start_us == b->lines[i]->span.start_us);
}

static void same_slowest(struct slowest *a, struct slowest *b)
{
    slowest_sort(a);
    slowest_sort(b);
    ENSURE(a->count == b->count);
    for (size_t i = 0; i < a->count; i++) {
        const struct slow_request *r = a->heap[i];
        int64_t sum = 0;
        for (int p = 0; p < SPAN_PARTS; p++)
            sum += r->span.parts[p];
        ENSURE(sum == r->latency_us && r->latency_us == b->heap[i]->latency_us);
        ENSURE(strcmp(r->id, b->heap[i]->id) == 0);
    }
}

static void same_rates(struct rates *a, struct rates *b)
{
    rates_settle(a);
    rates_settle(b);
    ENSURE(a->pair_count == b->pair_count && a->whole_count == b->whole_count);
    for (size_t i = 0; i < a->pair_count; i++)
        ENSURE(a->pairs[i].requests == b->pairs[i].requests &&
               a->pairs[i].tokens == b->pairs[i].tokens &&
               a->pairs[i].rpm.passed == b->pairs[i].rpm.passed &&
               a->pairs[i].cause == b->pairs[i].cause);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str lines[LINES_MAX], rest = {(const char *)data + 1, size - 1};
    size_t count = 0;
    struct all whole, first, second;
    if (size < 2)
        return 0;
    all_init(&whole);
    all_init(&first);
    all_init(&second);
    while (rest.n && count < LINES_MAX)
        lines[count++] = str_cut(&rest, '\n');
    for (size_t i = 0; i < count; i++)
        all_take(&whole, lines[i]);
    for (size_t i = 0; i < count; i++) {
        size_t at = data[0] & 1 ? count - 1 - i : i;
        all_take(data[0] >> (1 + at % 7) & 1 ? &second : &first, lines[at]);
    }
    all_merge(&first, &second);
    same_chains(&whole.chains, &first.chains);
    same_traces(&whole.trace, &first.trace);
    same_slowest(&whole.slowest, &first.slowest);
    same_rates(&whole.rates, &first.rates);
    all_fini(&whole);
    all_fini(&first);
    all_fini(&second);
    return 0;
}
