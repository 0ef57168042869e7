/* quota.c -- see quota.h. Four words, each changed by compare-and-swap alone.
 *
 *     window    start in 10 µs (48 bits) | number (16 bits)      0: none yet
 *     requests  number (16 bits)         | count (48 bits)
 *     tokens    number (16 bits)         | count (48 bits)
 *     parallel  count
 *
 * A count belongs to the window whose number stands beside it, in the same word: a thread that is late can neither add to a window that it
 * did not mean nor take from one, and a new window needs no clearing, since an older number means a count of 0. So each count is exact by
 * itself. Three limits together: first all are looked at, and a request that one of them refuses has touched nothing. Then they
 * are taken one after another; where another thread took the last one in between, what was taken is given back. For those few nanoseconds
 * a third thread may see a limit reached that is not; none ever sees room that is not there.
 *
 * 48 bits hold 2.8 * 10^14 tokens a window, and 89 years of the machine being up. Numbers wrap after 45 days at the earliest: two windows
 * could only be taken for each other by a request that is in flight for as long. */
#include "gateway/quota.h"

#include "base/clock.h"

#define NUMBER_BITS 16
#define COUNT_BITS  48
#define NUMBER_MASK ((1u << NUMBER_BITS) - 1)
#define COUNT_MAX   ((1ull << COUNT_BITS) - 1)
#define TICK_NS     (10 * NS_PER_US)

enum outcome { TAKEN, FULL, LATE /* the window is over, others are in a newer one */ };

static uint64_t load(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* False: *seen now has what the word holds. */
static bool swap(uint64_t *word, uint64_t *seen, uint64_t wanted)
{
    return __atomic_compare_exchange_n(word, seen, wanted, true, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

/* ---- windows ---- */

static uint32_t number_of_window(uint64_t window)
{
    return (uint32_t)window & NUMBER_MASK;
}

static uint64_t end_ns(uint64_t window)
{
    return (window >> NUMBER_BITS) * TICK_NS + QUOTA_WINDOW_MS * NS_PER_MS;
}

static bool is_over(uint64_t window, uint64_t now_ns)
{
    return window == 0 || now_ns >= end_ns(window);
}

/* The number of the window that is under way now; starts one where there is none. */
static uint32_t enter_window(struct quota *q, uint64_t now_ns)
{
    uint64_t seen = load(&q->window);
    while (is_over(seen, now_ns)) {
        uint32_t number = (number_of_window(seen) + 1) & NUMBER_MASK;
        uint64_t next = now_ns / TICK_NS << NUMBER_BITS | number;
        if (swap(&q->window, &seen, next))
            return number_of_window(next);
    }
    return number_of_window(seen);
}

/* ---- counts ---- */

static uint32_t number_of(uint64_t word)
{
    return (uint32_t)(word >> COUNT_BITS);
}

static int64_t count_of(uint64_t word)
{
    return (int64_t)(word & COUNT_MAX);
}

static uint64_t counted(uint32_t number, int64_t count)
{
    uint64_t kept = count < 0 ? 0 : MIN((uint64_t)count, COUNT_MAX);
    return (uint64_t)number << COUNT_BITS | kept;
}

/* Numbers wrap: the later of two is the one less than half a turn ahead. */
static bool is_later(uint32_t a, uint32_t b)
{
    return a != b && ((a - b) & NUMBER_MASK) < NUMBER_MASK / 2;
}

/* What `word` counts in that window. */
static int64_t count_in(uint64_t word, uint32_t number)
{
    return number_of(word) == number ? count_of(word) : 0;
}

static bool has_room(int64_t count, int64_t n, int64_t limit)
{
    return limit < 0 || (count < limit && n <= limit - count);
}

static enum outcome count_up(uint64_t *word, uint32_t number, int64_t n, int64_t limit)
{
    uint64_t seen = load(word);
    for (;;) {
        if (is_later(number_of(seen), number))
            return LATE;
        int64_t count = count_in(seen, number);
        if (!has_room(count, n, limit))
            return FULL;
        if (swap(word, &seen, counted(number, count + n)))
            return TAKEN;
    }
}

/* Corrects the count by `n`. Once its window is over, what would be taken off is void, and what is added counts in the newer one. */
static void correct(uint64_t *word, uint32_t number, int64_t n)
{
    uint64_t seen = load(word);
    while (n != 0 && (n > 0 || number_of(seen) == number))
        if (swap(word, &seen, counted(number_of(seen), count_of(seen) + n)))
            return;
}

static bool enter_parallel(int64_t *parallel, int64_t limit)
{
    int64_t seen = __atomic_load_n(parallel, __ATOMIC_ACQUIRE);
    do {
        if (!has_room(seen, 1, limit))
            return false;
    } while (!__atomic_compare_exchange_n(parallel, &seen, seen + 1, true, __ATOMIC_ACQ_REL,
                                          __ATOMIC_ACQUIRE));
    return true;
}

static void leave_parallel(struct quota *q)
{
    int64_t left = __atomic_sub_fetch(&q->parallel, 1, __ATOMIC_ACQ_REL);
    ENSURE(left >= 0);
}

/* ---- a request ---- */

/* Which limit would refuse now? Touches nothing. */
static enum quota_refusal look_first(const struct quota *q, const struct quota_limits *limits,
                                     int64_t tokens, uint64_t now_ns)
{
    uint64_t window = load(&q->window);
    bool none = is_over(window, now_ns);
    uint32_t number = number_of_window(window);
    int64_t requests_used = none ? 0 : count_in(load(&q->requests), number);
    int64_t tokens_used = none ? 0 : count_in(load(&q->tokens), number);
    if (!has_room(__atomic_load_n(&q->parallel, __ATOMIC_ACQUIRE), 1, limits->parallel))
        return QUOTA_PARALLEL;
    if (!has_room(requests_used, 1, limits->requests))
        return QUOTA_REQUESTS;
    return has_room(tokens_used, tokens, limits->tokens) ? QUOTA_OK : QUOTA_TOKENS;
}

/* Requests and tokens, both or neither, in the window that is under way. */
static enum quota_refusal take_counts(struct quota *q, const struct quota_limits *limits,
                                      int64_t tokens, uint64_t now_ns, uint32_t *number)
{
    for (;;) {
        *number = enter_window(q, now_ns);
        enum outcome first = count_up(&q->requests, *number, 1, limits->requests);
        if (first == FULL)
            return QUOTA_REQUESTS;
        if (first == LATE)
            continue;
        enum outcome second = count_up(&q->tokens, *number, tokens, limits->tokens);
        if (second == TAKEN)
            return QUOTA_OK;
        correct(&q->requests, *number, -1);
        if (second == FULL)
            return QUOTA_TOKENS;
    }
}

enum quota_refusal quota_take(struct quota *q, const struct quota_limits *limits, int64_t tokens,
                              uint64_t now_ns, struct quota_ticket *t)
{
    ENSURE(tokens >= 0 && !t->held);
    enum quota_refusal why = look_first(q, limits, tokens, now_ns);
    if (why != QUOTA_OK)
        return why;
    if (!enter_parallel(&q->parallel, limits->parallel))
        return QUOTA_PARALLEL;
    uint32_t number;
    why = take_counts(q, limits, tokens, now_ns, &number);
    if (why == QUOTA_OK)
        *t = (struct quota_ticket){.quota = q, .window = number, .tokens = tokens, .held = true};
    else
        leave_parallel(q);
    return why;
}

void quota_settle(struct quota_ticket *t, int64_t used_tokens)
{
    if (!t->held)
        return;
    t->held = false;
    correct(&t->quota->tokens, t->window, MAX(used_tokens, 0) - t->tokens);
    leave_parallel(t->quota);
}

void quota_refund(struct quota_ticket *t)
{
    if (!t->held)
        return;
    t->held = false;
    correct(&t->quota->requests, t->window, -1);
    correct(&t->quota->tokens, t->window, -t->tokens);
    leave_parallel(t->quota);
}

static int64_t remaining(int64_t used, int64_t limit)
{
    return limit < 0 ? -1 : MAX(limit - used, 0);
}

void quota_look(const struct quota *q, const struct quota_limits *limits, uint64_t now_ns,
                struct quota_view *out)
{
    uint64_t window = load(&q->window);
    uint32_t number = number_of_window(window);
    *out = (struct quota_view){.parallel = __atomic_load_n(&q->parallel, __ATOMIC_ACQUIRE)};
    if (!is_over(window, now_ns)) {
        out->requests = count_in(load(&q->requests), number);
        out->tokens = count_in(load(&q->tokens), number);
        out->reset_ns = end_ns(window) - now_ns;
    }
    out->remaining_requests = remaining(out->requests, limits->requests);
    out->remaining_tokens = remaining(out->tokens, limits->tokens);
}

void quota_learn(struct quota *q, int64_t tokens)
{
    if (tokens < 0)
        return;
    int64_t usual = __atomic_load_n(&q->usual_tokens, __ATOMIC_RELAXED);
    int64_t next = usual ? usual + tokens - usual / 8 : 8 * tokens;
    __atomic_store_n(&q->usual_tokens, MAX(next, 1), __ATOMIC_RELAXED);
}

int64_t quota_usual_tokens(const struct quota *q)
{
    int64_t usual = __atomic_load_n(&q->usual_tokens, __ATOMIC_RELAXED);
    return usual ? usual / 8 : -1;
}
