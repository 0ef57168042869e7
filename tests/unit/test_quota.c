/* Quotas: what each limit admits, windows, settling and refunds; exact with 64 threads at once; and equal to a plain model of it over
 * random sequences. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "gateway/quota.c" /* statics: enter_window, count_up */

#define THREADS   64
#define WINDOW_NS (QUOTA_WINDOW_MS * NS_PER_MS)

static const struct quota_limits unlimited = {-1, -1, -1};

static struct quota_view look(const struct quota *q, struct quota_limits l, uint64_t now_ns)
{
    struct quota_view view;
    quota_look(q, &l, now_ns, &view);
    return view;
}

static void assert_counts(const struct quota *q, uint64_t now_ns, int64_t requests, int64_t tokens,
                          int64_t parallel)
{
    struct quota_view v = look(q, unlimited, now_ns);
    assert_int_equal(v.requests, requests);
    assert_int_equal(v.tokens, tokens);
    assert_int_equal(v.parallel, parallel);
}

static void each_limit_refuses_by_name(void **state)
{
    (void)state;
    struct quota q = {0};
    struct quota_ticket a = {0}, b = {0}, c = {0};
    struct quota_limits limits = {2, 100, 1};
    assert_int_equal(quota_take(&q, &limits, 60, 5, &a), QUOTA_OK);
    assert_int_equal(quota_take(&q, &limits, 60, 5, &b), QUOTA_PARALLEL);
    limits.parallel = 2;
    assert_int_equal(quota_take(&q, &limits, 41, 5, &b), QUOTA_TOKENS);
    assert_false(b.held);
    assert_counts(&q, 5, 1, 60, 1); /* the refused left nothing */
    assert_int_equal(quota_take(&q, &limits, 40, 5, &b), QUOTA_OK);
    limits.parallel = -1;
    assert_int_equal(quota_take(&q, &limits, 1, 5, &c), QUOTA_REQUESTS);
    limits.requests = 3;
    assert_int_equal(quota_take(&q, &limits, 0, 5, &c), QUOTA_TOKENS); /* none is left */
    limits.tokens = -1;
    assert_int_equal(quota_take(&q, &limits, 0, 5, &c), QUOTA_OK);
    assert_counts(&q, 5, 3, 100, 3);
}

static void zero_admits_none(void **state)
{
    (void)state;
    static const struct quota_limits limits[] = {{0, -1, -1}, {-1, 0, -1}, {-1, -1, 0}};
    for (int i = 0; i < 3; i++) {
        struct quota q = {0};
        struct quota_ticket t = {0};
        assert_int_not_equal(quota_take(&q, &limits[i], 0, 7, &t), QUOTA_OK);
        assert_int_equal(look(&q, limits[i], 7).reset_ns, 0); /* no window was started */
        quota_settle(&t, 5);
        quota_refund(&t);
        assert_counts(&q, 7, 0, 0, 0);
    }
}

static void a_window_starts_with_its_first_request(void **state)
{
    (void)state;
    struct quota q = {0};
    struct quota_ticket t[4] = {{0}};
    const struct quota_limits limits = {1, -1, -1};
    uint64_t start_ns = 1234567 * NS_PER_MS;
    assert_int_equal(quota_take(&q, &limits, 3, start_ns, &t[0]), QUOTA_OK);
    assert_int_equal(look(&q, limits, start_ns + NS_PER_S).reset_ns, WINDOW_NS - NS_PER_S);
    assert_int_equal(quota_take(&q, &limits, 3, start_ns + WINDOW_NS - 1, &t[1]), QUOTA_REQUESTS);
    assert_int_equal(look(&q, limits, start_ns + WINDOW_NS).reset_ns, 0);
    assert_int_equal(look(&q, limits, start_ns + WINDOW_NS).remaining_requests, 1);
    uint64_t later_ns =
        start_ns + WINDOW_NS + 20 * NS_PER_S + 130 * NS_PER_US; /* not at a multiple */
    assert_int_equal(quota_take(&q, &limits, 4, later_ns, &t[2]), QUOTA_OK);
    assert_counts(&q, later_ns, 1, 4, 2);
    assert_int_equal(quota_take(&q, &limits, 4, later_ns + WINDOW_NS - 1, &t[3]), QUOTA_REQUESTS);
    assert_int_equal(quota_take(&q, &limits, 4, later_ns + WINDOW_NS, &t[3]), QUOTA_OK);
}

static void settling_replaces_what_was_reserved(void **state)
{
    (void)state;
    struct quota q = {0};
    struct quota_ticket a = {0}, b = {0}, c = {0};
    const struct quota_limits limits = {-1, 100, -1};
    assert_int_equal(quota_take(&q, &limits, 90, 0, &a), QUOTA_OK);
    assert_int_equal(quota_take(&q, &limits, 20, 0, &b), QUOTA_TOKENS);
    quota_settle(&a, 30);
    quota_settle(&a, 30); /* nothing is held any more */
    assert_counts(&q, 0, 1, 30, 0);
    assert_int_equal(quota_take(&q, &limits, 70, 0, &b), QUOTA_OK);
    quota_settle(&b, 95); /* more than was reserved: the window is overdrawn, and says 0 */
    assert_counts(&q, 0, 2, 125, 0);
    assert_int_equal(look(&q, limits, 0).remaining_tokens, 0);
    assert_int_equal(quota_take(&q, &limits, 1, 0, &c), QUOTA_TOKENS);
}

static void settling_late_charges_only_the_excess(void **state)
{
    (void)state;
    struct quota q = {0};
    struct quota_ticket less = {0}, more = {0}, other = {0}, refunded = {0};
    assert_int_equal(quota_take(&q, &unlimited, 50, 1, &less), QUOTA_OK);
    assert_int_equal(quota_take(&q, &unlimited, 50, 1, &more), QUOTA_OK);
    assert_int_equal(quota_take(&q, &unlimited, 50, 1, &refunded), QUOTA_OK);
    assert_int_equal(quota_take(&q, &unlimited, 7, 2 * WINDOW_NS, &other), QUOTA_OK);
    quota_settle(&less, 10);
    quota_refund(&refunded);
    assert_counts(&q, 2 * WINDOW_NS, 1, 7, 2);
    quota_settle(&more, 80);
    assert_counts(&q, 2 * WINDOW_NS, 1, 37, 1);
}

static void a_refund_is_as_if_never_taken(void **state)
{
    (void)state;
    struct quota q = {0};
    struct quota_ticket a = {0}, b = {0};
    const struct quota_limits limits = {1, 10, 1};
    assert_int_equal(quota_take(&q, &limits, 10, 0, &a), QUOTA_OK);
    quota_refund(&a);
    quota_refund(&a);
    assert_counts(&q, 0, 0, 0, 0);
    assert_int_equal(quota_take(&q, &limits, 10, 0, &b), QUOTA_OK);
}

/* A thread that entered a window and was put aside till others were in the next one: no test with threads meets that often enough. */
static void who_is_late_changes_nothing(void **state)
{
    (void)state;
    struct quota q = {0};
    struct quota_ticket other = {0};
    uint32_t late = enter_window(&q, 1);
    assert_int_equal(quota_take(&q, &unlimited, 9, WINDOW_NS + 1, &other), QUOTA_OK);
    assert_int_equal(count_up(&q.requests, late, 1, -1), LATE);
    assert_int_equal(count_up(&q.tokens, late, 5, -1), LATE);
    assert_counts(&q, WINDOW_NS + 1, 1, 9, 1);
    /* Numbers wrap: 0 comes after the highest, and is not earlier. */
    q.window = NUMBER_MASK;
    q.requests = counted(NUMBER_MASK, 3);
    uint32_t first = enter_window(&q, WINDOW_NS + 1);
    assert_int_equal(first, 0);
    assert_int_equal(count_up(&q.requests, first, 1, 1), TAKEN);
    assert_int_equal(count_up(&q.requests, NUMBER_MASK, 1, -1), LATE);
}

static void usual_tokens_follow_what_was_used(void **state)
{
    (void)state;
    struct quota q = {0};
    assert_int_equal(quota_usual_tokens(&q), -1);
    quota_learn(&q, -1); /* not known: nothing is learnt */
    assert_int_equal(quota_usual_tokens(&q), -1);
    quota_learn(&q, 100);
    assert_int_equal(quota_usual_tokens(&q), 100);
    quota_learn(&q, 900);
    assert_int_equal(quota_usual_tokens(&q), 200);
    for (int i = 0; i < 100; i++)
        quota_learn(&q, 0);
    assert_int_equal(quota_usual_tokens(&q), 0);
}

/* ---- many threads ---- */

struct crowd {
    struct quota quota;
    struct quota_limits limits;
    int64_t tokens_each;
    int rounds;
    pthread_barrier_t gate;
    uint64_t now_ns;                       /* atomic: the clock that moves on while they run */
    int64_t admitted, refused;             /* atomic */
    int64_t in_flight, most;               /* atomic */
    int64_t *by_window, *tokens_by_window; /* atomic */
};

static void run_crowd(struct crowd *c, void *(*work)(void *))
{
    pthread_t threads[THREADS];
    pthread_barrier_init(&c->gate, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, c), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&c->gate);
}

static void add(int64_t *to, int64_t n)
{
    __atomic_add_fetch(to, n, __ATOMIC_RELAXED);
}

static void *take_and_settle_exactly(void *arg)
{
    struct crowd *c = arg;
    pthread_barrier_wait(&c->gate);
    for (int i = 0; i < c->rounds; i++) {
        struct quota_ticket t = {0};
        bool ok = quota_take(&c->quota, &c->limits, c->tokens_each, 1, &t) == QUOTA_OK;
        add(ok ? &c->admitted : &c->refused, 1);
        quota_settle(&t, c->tokens_each);
    }
    return NULL;
}

static void requests_are_exact(void **state)
{
    (void)state;
    static const int64_t limits[] = {1, 100, 300000};
    for (size_t i = 0; i < COUNT(limits); i++) {
        int64_t limit = limits[i];
        struct crowd c = {.limits = {limit, -1, -1}, .rounds = 5000};
        run_crowd(&c, take_and_settle_exactly);
        assert_int_equal(c.admitted, limit);
        assert_int_equal(c.admitted + c.refused, THREADS * 5000);
        assert_counts(&c.quota, 1, limit, 0, 0);
    }
}

static void tokens_are_exact(void **state)
{
    (void)state;
    struct crowd c = {.limits = {-1, 2000000, -1}, .rounds = 5000, .tokens_each = 7};
    run_crowd(&c, take_and_settle_exactly);
    assert_int_equal(c.admitted, 2000000 / 7);
    assert_counts(&c.quota, 1, 2000000 / 7, 2000000 / 7 * 7, 0);
}

static void *stay_a_while(void *arg)
{
    struct crowd *c = arg;
    pthread_barrier_wait(&c->gate);
    for (int i = 0; i < c->rounds; i++) {
        struct quota_ticket t = {0};
        if (quota_take(&c->quota, &c->limits, 0, 1, &t) != QUOTA_OK)
            continue;
        int64_t now = __atomic_add_fetch(&c->in_flight, 1, __ATOMIC_ACQ_REL);
        int64_t most = __atomic_load_n(&c->most, __ATOMIC_RELAXED);
        while (now > most && !__atomic_compare_exchange_n(&c->most, &most, now, false,
                                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            ;
        if (i % 16 == 0)
            sched_yield();
        __atomic_sub_fetch(&c->in_flight, 1, __ATOMIC_ACQ_REL);
        add(&c->admitted, 1);
        quota_settle(&t, 0);
    }
    return NULL;
}

static void parallel_is_exact(void **state)
{
    (void)state;
    struct crowd c = {.limits = {-1, -1, 5}, .rounds = 5000};
    run_crowd(&c, stay_a_while);
    assert_true(c.most <= 5);
    assert_true(c.admitted >= c.rounds);
    assert_counts(&c.quota, 1, c.admitted, 0, 0);
    struct quota_ticket t[6] = {{0}};
    for (int i = 0; i < 6; i++)
        assert_int_equal(quota_take(&c.quota, &c.limits, 0, 1, &t[i]),
                         i < 5 ? QUOTA_OK : QUOTA_PARALLEL);
}

#define ROLLS 5000

/* Each thread moves the clock on now and then, so that windows end under all the others' hands. */
static void *take_while_windows_roll(void *arg)
{
    struct crowd *c = arg;
    pthread_barrier_wait(&c->gate);
    for (int i = 0; i < c->rounds; i++) {
        struct quota_ticket t = {0};
        uint64_t now_ns = __atomic_load_n(&c->now_ns, __ATOMIC_RELAXED);
        enum quota_refusal why = quota_take(&c->quota, &c->limits, c->tokens_each, now_ns, &t);
        if (why == QUOTA_OK) {
            add(&c->by_window[t.window], 1);
            add(&c->tokens_by_window[t.window], i % 5 ? c->tokens_each : 0);
            add(&c->admitted, 1);
        } else if (now_ns < ROLLS * WINDOW_NS) { /* this one is full: the next begins */
            __atomic_compare_exchange_n(&c->now_ns, &now_ns, now_ns + WINDOW_NS, false,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED);
        }
        if (i % 5)
            quota_settle(&t, c->tokens_each);
        else if (t.held) { /* one in five gives back what it took: its place may go to another */
            add(&c->by_window[t.window], -1);
            add(&c->admitted, -1);
            quota_refund(&t);
        }
    }
    return NULL;
}

static void windows_roll_under_load(void **state)
{
    (void)state;
    static int64_t by_window[ROLLS + 2], tokens_by_window[ROLLS + 2]; /* numbers begin at 1 */
    struct crowd c = {.limits = {10, 80, -1},
                      .rounds = 10000,
                      .tokens_each = 8,
                      .by_window = by_window,
                      .tokens_by_window = tokens_by_window};
    run_crowd(&c, take_while_windows_roll);
    int64_t sum = 0;
    for (int i = 0; i < ROLLS + 2; i++) {
        assert_in_range(c.by_window[i], 0, 10);
        assert_in_range(c.tokens_by_window[i], 0, 80);
        sum += c.by_window[i];
    }
    assert_int_equal(sum, c.admitted);
    assert_true(c.now_ns >= ROLLS * WINDOW_NS); /* they did roll */
    /* The last one was asked for by all of them till the end: it is full. */
    struct quota_view v = look(&c.quota, c.limits, c.now_ns);
    assert_int_equal(v.remaining_requests, 0);
    assert_int_equal(v.tokens, 80);
    assert_int_equal(v.parallel, 0);
}

/* ---- against a model that anybody can check by reading ---- */

struct model {
    bool started;
    uint64_t start_ns;
    int number;
    int64_t requests, tokens, parallel;
};
struct model_ticket {
    struct quota_ticket ticket;
    int number;
};

static bool model_is_over(const struct model *m, uint64_t now_ns)
{
    return !m->started || now_ns >= m->start_ns + WINDOW_NS;
}

static enum quota_refusal model_take(struct model *m, const struct quota_limits *l, int64_t tokens,
                                     uint64_t now_ns)
{
    bool over = model_is_over(m, now_ns);
    int64_t requests = over ? 0 : m->requests, used = over ? 0 : m->tokens;
    if (l->parallel >= 0 && m->parallel + 1 > l->parallel)
        return QUOTA_PARALLEL;
    if (l->requests >= 0 && requests + 1 > l->requests)
        return QUOTA_REQUESTS;
    if (l->tokens >= 0 && (used >= l->tokens || used + tokens > l->tokens))
        return QUOTA_TOKENS;
    if (over) {
        m->started = true;
        m->start_ns = now_ns;
        m->number++;
    }
    m->requests = requests + 1;
    m->tokens = used + tokens;
    m->parallel++;
    return QUOTA_OK;
}

static void model_end(struct model *m, const struct model_ticket *t, bool refund, int64_t used)
{
    bool same = t->number == m->number;
    int64_t change = (refund ? 0 : used) - t->ticket.tokens;
    m->parallel--;
    m->requests -= same && refund;
    m->tokens += same ? change : refund ? 0 : MAX(change, 0);
}

static void one_sequence(uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, seed);
    struct quota q = {0};
    struct model m = {0};
    struct model_ticket open[16] = {{{0}, 0}};
    uint64_t now_ns = (rng_next(&rng) % 100000) * NS_PER_MS;
    struct quota_limits limits = unlimited;
    for (int i = 0; i < 300; i++) {
        uint64_t dice = rng_next(&rng) % 100;
        struct model_ticket *t = &open[rng_next(&rng) % COUNT(open)];
        int64_t tokens = (int64_t)(rng_next(&rng) % 40);
        if (dice < 5) { /* whole milliseconds, so that the model needs no rounding */
            now_ns += (rng_next(&rng) % 70000) * NS_PER_MS;
        } else if (dice < 10) {
            limits.requests = (int64_t)(rng_next(&rng) % 30) - 1;
            limits.tokens = (int64_t)(rng_next(&rng) % 400) - 1;
            limits.parallel = (int64_t)(rng_next(&rng) % 14) - 1;
        } else if (!t->ticket.held) {
            enum quota_refusal expected = model_take(&m, &limits, tokens, now_ns);
            assert_int_equal(quota_take(&q, &limits, tokens, now_ns, &t->ticket), expected);
            t->number = m.number;
        } else {
            model_end(&m, t, dice < 30, tokens);
            if (dice < 30)
                quota_refund(&t->ticket);
            else
                quota_settle(&t->ticket, tokens);
        }
        bool over = model_is_over(&m, now_ns);
        assert_counts(&q, now_ns, over ? 0 : m.requests, over ? 0 : m.tokens, m.parallel);
        assert_int_equal(look(&q, limits, now_ns).reset_ns,
                         over ? 0 : m.start_ns + WINDOW_NS - now_ns);
    }
}

static void any_sequence_is_as_the_model_has_it(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2000; seed++)
        one_sequence(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_limit_refuses_by_name),
        cmocka_unit_test(zero_admits_none),
        cmocka_unit_test(a_window_starts_with_its_first_request),
        cmocka_unit_test(settling_replaces_what_was_reserved),
        cmocka_unit_test(settling_late_charges_only_the_excess),
        cmocka_unit_test(a_refund_is_as_if_never_taken),
        cmocka_unit_test(who_is_late_changes_nothing),
        cmocka_unit_test(usual_tokens_follow_what_was_used),
        cmocka_unit_test(requests_are_exact),
        cmocka_unit_test(tokens_are_exact),
        cmocka_unit_test(parallel_is_exact),
        cmocka_unit_test(windows_roll_under_load),
        cmocka_unit_test(any_sequence_is_as_the_model_has_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
