/* freeze.c -- see freeze.h. A worker's timer puts its thread to sleep: its loop does not come round, which is what a stopped process looks like
 * from outside. */
#include "mock/freeze.h"

#include <errno.h>

#include "base/clock.h"

#define SLICE_NS (50 * NS_PER_MS) /* so soon is the end of the simulator noticed */

void freezer_init(struct freezer *f)
{
    *f = (struct freezer){0};
    pthread_mutex_init(&f->lock, NULL);
}

void freezer_fini(struct freezer *f)
{
    pthread_mutex_destroy(&f->lock);
}

void freezer_stop(struct freezer *f)
{
    __atomic_store_n(&f->stopping, true, __ATOMIC_RELEASE);
}

static struct freeze *newest(struct freezer *f)
{
    return f->count ? &f->list[(f->count - 1) % FREEZES_TOLD] : NULL;
}

bool freezer_order(struct freezer *f, uint64_t begin_ns, uint64_t end_ns, struct err *e)
{
    pthread_mutex_lock(&f->lock);
    const struct freeze *last = newest(f);
    bool free = !last || clock_mono_ns() > last->end_ns;
    if (free)
        f->list[f->count++ % FREEZES_TOLD] =
            (struct freeze){.begin_ns = begin_ns, .end_ns = end_ns};
    pthread_mutex_unlock(&f->lock);
    return free || err_set(e, "the freeze before this one is not over yet");
}

static void sleep_until(const struct freezer *f, uint64_t end_ns)
{
    uint64_t now_ns;
    while ((now_ns = clock_mono_ns()) < end_ns &&
           !__atomic_load_n(&f->stopping, __ATOMIC_ACQUIRE)) {
        uint64_t to_ns = MIN(end_ns, now_ns + SLICE_NS);
        struct timespec t = {(time_t)(to_ns / NS_PER_S), (long)(to_ns % NS_PER_S)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
    }
}

static void stand_still(struct timer *t)
{
    struct freeze_worker *w = CONTAINER(t, struct freeze_worker, timer);
    struct freezer *f = w->freezer;
    pthread_mutex_lock(&f->lock);
    struct freeze *now = newest(f);
    uint64_t end_ns = now->end_ns;
    now->began_ns = MAX(now->began_ns, clock_mono_ns());
    now->workers_begun++;
    pthread_mutex_unlock(&f->lock);
    sleep_until(f, end_ns);
    uint64_t woke_ns = clock_mono_ns();
    pthread_mutex_lock(&f->lock);
    now->ended_ns = now->workers_ended ? MIN(now->ended_ns, woke_ns) : woke_ns;
    now->workers_ended++;
    pthread_mutex_unlock(&f->lock);
}

void freeze_worker_follow(struct freeze_worker *w)
{
    struct freezer *f = w->freezer;
    pthread_mutex_lock(&f->lock);
    uint64_t begin_ns = f->count ? newest(f)->begin_ns : 0;
    pthread_mutex_unlock(&f->lock);
    if (!begin_ns)
        return;
    w->timer.on_fire = stand_still;
    timer_set(w->loop, &w->timer, begin_ns);
}

bool freezer_write(struct freezer *f, struct buf *b)
{
    bool ok = buf_append_str(b, STR("[")), first = true;
    pthread_mutex_lock(&f->lock);
    for (uint64_t i = f->count > FREEZES_TOLD ? f->count - FREEZES_TOLD : 0; ok && i < f->count;
         i++) {
        const struct freeze *one = &f->list[i % FREEZES_TOLD];
        if (!one->workers_begun || one->workers_begun != one->workers_ended)
            continue;
        ok = buf_printf(b, "%s{\"begin_ns\":%llu,\"end_ns\":%llu}", first ? "" : ",",
                        (unsigned long long)one->began_ns, (unsigned long long)one->ended_ns);
        first = false;
    }
    pthread_mutex_unlock(&f->lock);
    return ok && buf_append_str(b, STR("]"));
}
