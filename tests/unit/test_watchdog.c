/* The watchdog: alive only while every loop turns; one that hangs silences it, and is forgiven when it turns again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <semaphore.h>

#include "base/diag.h"
#include "cli/watchdog.h"

enum { LOOPS = 3 };
#define EVERY_NS (2 * NS_PER_MS)

static struct loop *loops[LOOPS];
static pthread_t threads[LOOPS];
static int alive;

static void *turn(void *l)
{
    loop_run(l);
    return NULL;
}

static void on_alive(void *arg)
{
    assert_ptr_equal(arg, &alive);
    alive++;
}

static void pass_for(struct loop *control, uint64_t ns)
{
    uint64_t end_ns = clock_mono_ns() + ns;
    while (clock_mono_ns() < end_ns)
        loop_pass(control, 1);
}

/* Passes until `count` more have come; false: not within ten seconds. */
static bool comes_again(struct loop *control, int count)
{
    int wanted = alive + count;
    uint64_t end_ns = clock_mono_ns() + 10 * NS_PER_S;
    while (alive < wanted && clock_mono_ns() < end_ns)
        loop_pass(control, 1);
    return alive >= wanted;
}

static int start(void **state)
{
    (void)state;
    diag_set_level(DIAG_ERROR);
    alive = 0;
    for (int i = 0; i < LOOPS; i++) {
        loops[i] = loop_new();
        assert_int_equal(pthread_create(&threads[i], NULL, turn, loops[i]), 0);
    }
    return 0;
}

static void end(struct loop *control, struct watchdog *d)
{
    for (int i = 0; i < LOOPS; i++) {
        loop_stop(loops[i]);
        pthread_join(threads[i], NULL);
    }
    watchdog_free(d);
    for (int i = 0; i < LOOPS; i++)
        loop_free(loops[i]);
    loop_free(control);
}

static void all_that_turn_are_alive(void **state)
{
    (void)state;
    struct loop *control = loop_new();
    struct watchdog *d = watchdog_new(control, loops, LOOPS, EVERY_NS, on_alive, &alive);
    uint64_t began_ns = clock_mono_ns();
    assert_true(comes_again(control, 20));
    assert_true(clock_mono_ns() - began_ns >= 19 * EVERY_NS); /* a round at each tick, no more */
    watchdog_stop(d);
    watchdog_stop(d);
    int then = alive;
    pass_for(control, 10 * EVERY_NS);
    assert_int_equal(alive, then);
    end(control, d);
}

static sem_t hangs, goes_on;

static void hang(void *arg)
{
    (void)arg;
    sem_post(&hangs);
    sem_wait(&goes_on);
}

static void one_that_hangs_is_not(void **state)
{
    (void)state;
    struct loop *control = loop_new();
    struct watchdog *d = watchdog_new(control, loops, LOOPS, EVERY_NS, on_alive, &alive);
    assert_true(comes_again(control, 2));
    for (int which = 0; which < LOOPS; which++) {
        sem_init(&hangs, 0, 0);
        sem_init(&goes_on, 0, 0);
        loop_call(loops[which], hang, NULL);
        sem_wait(&hangs);
        pass_for(control, 5 * EVERY_NS); /* a round that had passed the loop already may end */
        int then = alive;
        pass_for(control, 20 * EVERY_NS);
        assert_int_equal(alive, then);
        sem_post(&goes_on);
        assert_true(comes_again(control, 3));
    }
    watchdog_stop(d);
    end(control, d);
}

/* Whatever is on its way to control's loop when it is stopped does no harm. */
static void an_answer_that_comes_late_is_dropped(void **state)
{
    (void)state;
    struct loop *control = loop_new();
    struct watchdog *d = watchdog_new(control, loops, LOOPS, EVERY_NS, on_alive, &alive);
    loop_pass(control, 100);
    watchdog_stop(d);
    pass_for(control, 5 * EVERY_NS);
    assert_int_equal(alive, 0);
    end(control, d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(all_that_turn_are_alive, start),
        cmocka_unit_test_setup(one_that_hangs_is_not, start),
        cmocka_unit_test_setup(an_answer_that_comes_late_is_dropped, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
