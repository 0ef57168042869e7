/* quota_cost.c -- what the limits cost a request: ns of one quota_take and its quota_settle, with one thread and with several on one key.
 *
 * quota_cost [SECONDS]   prints a line for 1, 2 and 4 threads. All threads take from the same quota, the worst there is: one key that
 * every worker serves. */
#include <pthread.h>

#include "base/clock.h"
#include "gateway/quota.h"

#define THREADS_MAX 4
#define BATCH       1000

struct runner {
    pthread_t thread;
    struct quota *quota;
    const bool *stop; /* atomic */
    uint64_t pairs;
};

static void *run(void *arg)
{
    struct runner *r = arg;
    const struct quota_limits limits = {INT64_MAX, INT64_MAX, INT64_MAX};
    while (!__atomic_load_n(r->stop, __ATOMIC_RELAXED)) {
        uint64_t now_ns = clock_mono_ns();
        for (int i = 0; i < BATCH; i++) {
            struct quota_ticket t = {0};
            if (quota_take(r->quota, &limits, 300, now_ns, &t) == QUOTA_OK)
                quota_settle(&t, 200);
        }
        r->pairs += BATCH;
    }
    return NULL;
}

static void measure(int threads, double seconds)
{
    static struct quota quota;
    struct runner runners[THREADS_MAX] = {{0}};
    bool stop = false;
    uint64_t pairs = 0, began_ns = clock_mono_ns();
    for (int i = 0; i < threads; i++) {
        runners[i] = (struct runner){.quota = &quota, .stop = &stop};
        ENSURE(pthread_create(&runners[i].thread, NULL, run, &runners[i]) == 0);
    }
    nanosleep(
        &(struct timespec){(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)},
        NULL);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < threads; i++) {
        pthread_join(runners[i].thread, NULL);
        pairs += runners[i].pairs;
    }
    double ns = (double)(clock_mono_ns() - began_ns);
    printf(
        "threads %d: %.1f ns a request in each thread, %.2f million requests a second together\n",
        threads, ns * threads / (double)pairs, (double)pairs / ns * 1e3);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 1;
    if (!(seconds > 0 && seconds <= 3600)) {
        fprintf(stderr, "quota_cost: expected seconds between 0 and 3600, got \"%s\"\n", argv[1]);
        return 2;
    }
    for (int threads = 1; threads <= THREADS_MAX; threads *= 2)
        measure(threads, seconds);
    return 0;
}
