/* self_test_host.c -- what on this host is in an instrument's way: other programs, the hypervisor, a slow clock (proc(5), Linux's
 * /sys/devices/system/clocksource). */
#include <math.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/self_test_found.h"

#define CLOCK_READS 20000

static double seconds_of(const struct timeval *t)
{
    return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

struct self_test_ticks self_test_ticks_now(void)
{
    struct self_test_ticks t = {0};
    /* user nice system idle iowait irq softirq steal */
    unsigned long long v[8] = {0};
    double hz = (double)sysconf(_SC_CLK_TCK);
    struct rusage own;
    FILE *f = fopen("/proc/stat", "re");
    int n = f ? fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3],
                       &v[4], &v[5], &v[6], &v[7])
              : 0;
    if (f)
        fclose(f);
    if (n < 8 || hz <= 0 || getrusage(RUSAGE_SELF, &own) != 0)
        return t;
    for (size_t i = 0; i < COUNT(v); i++)
        t.total += (double)v[i] / hz;
    t.stolen = (double)v[7] / hz;
    t.busy = t.total - (double)(v[3] + v[4] + v[7]) / hz;
    t.own = seconds_of(&own.ru_utime) + seconds_of(&own.ru_stime);
    return t;
}

static void read_clock_source(char *out, size_t room)
{
    FILE *f = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
    bool ok = f && fgets(out, (int)room, f);
    if (f)
        fclose(f);
    out[ok ? strcspn(out, "\n") : 0] = '\0';
}

static double clock_cost_ns(void)
{
    uint64_t begin_ns = clock_mono_ns(), now_ns = begin_ns;
    for (int i = 0; i < CLOCK_READS; i++)
        now_ns = clock_mono_ns();
    return (double)(now_ns - begin_ns) / CLOCK_READS;
}

void self_test_look_at_host(struct self_test_host *h, const struct self_test_ticks *before,
                            const struct self_test_ticks *after)
{
    cpu_set_t usable;
    double total = after->total - before->total;
    bool known = before->total > 0 && total > 0;
    CPU_ZERO(&usable);
    h->processors = sched_getaffinity(0, sizeof usable, &usable) == 0 ? CPU_COUNT(&usable) : 0;
    h->clock_ns = clock_cost_ns();
    read_clock_source(h->clock_source, sizeof h->clock_source);
    double foreign = (after->busy - before->busy) - (after->own - before->own);
    h->foreign_share = known ? MAX(foreign, 0) / total : NAN;
    h->stolen_share = known ? (after->stolen - before->stolen) / total : NAN;
}
