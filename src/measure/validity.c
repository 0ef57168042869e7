/* validity.c -- the checks, one function each, in the order of the table; each fills its text whatever its verdict. */
#include "measure/validity.h"

#include <math.h>
#include <stdarg.h>

#include "measure/figures.h"
#include "observe/significance.h"

static const double rate_least = 0.99, cpu_most = 0.8, little_most = 0.05, latency_share = 0.1,
                    drift_told = 0.05;
/* Per request, so much is the engine's own handling of it. */
static const double handling_ns = 50e3;
/* In less, the moments between an answer and the next request are a share that means nothing. */
static const double little_window_ns = 0.5e9;
/* In less, a few requests and their beginning are all that a thread did. */
static const double cpu_window_ns = 50e6;
static const double lag_least_ns = 1e6, stall_least_ns = 100e6, unstamped_stall_least_ns = 20e6;

/* What the checks look at. */
struct run {
    const struct engine_account *a;
    const struct results *r;
    double latency_p50_ns; /* 0: nothing was answered well */
    bool open_loop, all_stamped;
};

/* Rounded away from the bound, so that 98.996 % is not said to be the 99 % that were asked. */
static double percent(double share)
{
    return floor(share * 10000) / 100;
}

static void say(struct validity_check *c, enum check_verdict verdict, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
static void say(struct validity_check *c, enum check_verdict verdict, const char *fmt, ...)
{
    va_list args;
    c->verdict = verdict;
    va_start(args, fmt);
    vsnprintf(c->text, sizeof c->text, fmt, args);
    va_end(args);
}

static const char *less_load(const struct run *run)
{
    return run->open_loop ? "a lower --rate" : "a lower --concurrency";
}

static void check_dropped(struct validity_check *c, const struct run *run)
{
    c->value = (double)run->a->dropped;
    c->bound = 0;
    if (run->a->dropped)
        say(c, CHECK_BAD,
            "%s of %s requests due were never sent, as no connection was free or the run was over: "
            "allow more at a time, or %s",
            figure_count(run->a->dropped).text, figure_count(run->a->offered).text, less_load(run));
    else
        say(c, CHECK_GOOD, "none of %s requests due", figure_count(run->a->offered).text);
}

static void check_achieved_rate(struct validity_check *c, const struct run *run)
{
    const struct engine_account *a = run->a;
    c->bound = rate_least;
    if (!run->open_loop || !a->offered) {
        say(c, CHECK_NOT_ASKED, "closed loop: a request follows an answer, no rate is asked for");
        return;
    }
    c->value = (double)a->sent / (double)a->offered;
    double seconds = a->ended_ns > a->started_ns ? (double)(a->ended_ns - a->started_ns) / 1e9 : 0;
    struct figure rate =
        figure_count((uint64_t)(seconds > 0 ? (double)a->sent / seconds + 0.5 : 0));
    bool good = c->value >= rate_least;
    say(c, good ? CHECK_GOOD : CHECK_BAD, "%s of %s requests due were sent (%.2f %%, %s/s)%s",
        figure_count(a->sent).text, figure_count(a->offered).text, percent(c->value), rate.text,
        good ? "" : ": more --threads, or a lower --rate");
}

/* A lag is no matter while it is small against what is measured, or as small as any scheduler's. */
static double lag_bound_ns(const struct run *run)
{
    return MAX(latency_share * run->latency_p50_ns, lag_least_ns);
}

static void check_schedule_lag(struct validity_check *c, const struct run *run)
{
    const struct engine_account *a = run->a;
    c->bound = lag_bound_ns(run);
    if (!run->open_loop) {
        say(c, CHECK_NOT_ASKED, "closed loop: there is no schedule");
        return;
    }
    c->value = a->late_p99_ns;
    bool good = c->value <= c->bound;
    say(c, good ? CHECK_GOOD : CHECK_BAD,
        "sent %s after due at the median, %s at p99; latency's median is %s%s",
        figure_time(a->late_p50_ns).text, figure_time(a->late_p99_ns).text,
        figure_time(run->latency_p50_ns).text,
        good ? "" : ": more --threads, allow more at a time, or a lower --rate");
}

static void check_cpu(struct validity_check *c, const struct run *run)
{
    const struct engine_account *a = run->a;
    double window_ns = a->ended_ns > a->started_ns ? (double)(a->ended_ns - a->started_ns) : 0;
    c->value = a->cpu_share;
    c->bound = cpu_most;
    if (window_ns < cpu_window_ns) {
        say(c, CHECK_NOT_ASKED, "the run was too short to tell: %s of at least %s",
            figure_time(window_ns).text, figure_time(cpu_window_ns).text);
        return;
    }
    bool good = c->value < cpu_most;
    say(c, good ? CHECK_GOOD : CHECK_BAD, "the busiest thread used %s %% of a core%s%s",
        figure_digits(c->value * 100, 3).text, good ? "" : ": more --threads, or ",
        good ? "" : less_load(run));
}

static void check_little(struct validity_check *c, const struct run *run)
{
    const struct engine_account *a = run->a;
    const struct results_group *all = &run->r->total;
    double window_ns = (double)a->in_flight_window_ns;
    c->bound = little_most;
    if (!(a->in_flight_mean > 0) || !(window_ns > 0)) {
        say(c, CHECK_NOT_ASKED, "nothing was in flight");
        return;
    }
    if (window_ns < little_window_ns) {
        say(c, CHECK_NOT_ASKED, "the run was too short to tell: %s of at least %s",
            figure_time(window_ns).text, figure_time(little_window_ns).text);
        return;
    }
    double by_samples = all->slots_ns / window_ns, per_s = (double)all->requests / window_ns;
    double unread = a->lag_mean_ns * per_s;
    double apart = fabs(a->in_flight_mean - by_samples - unread);
    c->value = apart / a->in_flight_mean;
    bool good = c->value < little_most || apart / per_s < handling_ns;
    say(c, good ? CHECK_GOOD : CHECK_BAD,
        "%s requests in flight by the clock, %s by rate times mean time and %s whose answers "
        "lay unread (%.1f %% apart)%s%s",
        figure_digits(a->in_flight_mean, 3).text, figure_digits(by_samples, 3).text,
        figure_digits(unread, 2).text, c->value * 100,
        good ? "" : ": requests waited inside the client: more --threads, or ",
        good ? "" : less_load(run));
}

static void check_receive_lag(struct validity_check *c, const struct run *run)
{
    const struct engine_account *a = run->a;
    c->bound = lag_bound_ns(run);
    if (!a->stamped_reads) {
        say(c, CHECK_NOT_ASKED,
            "not known: the kernel told no receive times here, so times are when reads returned");
        return;
    }
    bool blind = !run->all_stamped && a->lag_p99_ns > c->bound;
    bool slow = !run->open_loop && a->lag_mean_ns > c->bound;
    c->value = slow ? a->lag_mean_ns : a->lag_p99_ns;
    say(c, blind || slow ? CHECK_BAD : CHECK_GOOD,
        "answers waited %s on average and %s at p99 to be read; %s%s%s",
        figure_time(a->lag_mean_ns).text, figure_time(a->lag_p99_ns).text,
        run->all_stamped ? "times are the kernel's and without it"
                         : "some times are not the kernel's and have it within",
        slow    ? ", but the next request waited for it: more --threads, or "
        : blind ? ": more --threads, or "
                : "",
        slow || blind ? less_load(run) : "");
}

static void check_stalls(struct validity_check *c, const struct run *run)
{
    double least_ns = run->all_stamped ? stall_least_ns : unstamped_stall_least_ns;
    c->value = (double)run->a->ticker_stall_max_ns;
    c->bound = MAX(latency_share * run->latency_p50_ns, least_ns);
    bool good = c->value <= c->bound;
    say(c, good ? CHECK_GOOD : CHECK_BAD, "the client stood still for %s at most%s",
        figure_time(c->value).text, good ? "" : ": run it on a machine with nothing else to do");
}

/* The halves by time: slots of the measured stages, before and after their middle. */
static void merge_halves(const struct run *run, struct histogram halves[2])
{
    const struct results *r = run->r;
    uint64_t from_ns = run->a->started_ns - MIN(r->origin_ns, run->a->started_ns);
    size_t from = MIN((size_t)(from_ns / r->second_ns), r->second_count);
    size_t middle = from + (r->second_count - from + 1) / 2;
    for (size_t i = from; i < r->second_count; i++)
        histogram_merge(&halves[i >= middle], &r->seconds[i].latency);
}

static void check_drift(struct validity_check *c, const struct run *run)
{
    struct histogram halves[2] = {0};
    c->bound = NAN;
    if (run->r->stage_count > 1) {
        say(c, CHECK_NOT_ASKED, "the stages ask for different loads");
        return;
    }
    merge_halves(run, halves);
    double p = rank_test(&halves[0], &halves[1]).p;
    double first = (double)histogram_quantile(&halves[0], 0.5);
    double second = (double)histogram_quantile(&halves[1], 0.5);
    c->value = first > 0 ? second / first - 1 : NAN;
    histogram_fini(&halves[0]);
    histogram_fini(&halves[1]);
    if (isnan(p) || isnan(c->value))
        say(c, CHECK_NOT_ASKED, "too few seconds or answers to compare the halves of the run");
    else if (p < SIGNIFICANCE_P && fabs(c->value) >= drift_told)
        say(c, CHECK_GOOD,
            "latency's median went from %s in the first half to %s in the second: %s",
            figure_time(first).text, figure_time(second).text,
            second > first
                ? "it was getting slower; what of it is load, and what is the server's age?"
                : "it was warming up; a longer --warmup would leave that out");
    else
        say(c, CHECK_GOOD,
            "none to speak of: latency's median was %s in the first half, %s in the "
            "second",
            figure_time(first).text, figure_time(second).text);
}

static const struct {
    const char *key, *heading;
    void (*check)(struct validity_check *c, const struct run *run);
} checks[] = {
    {"dropped", "Dropped arrivals", check_dropped},
    {"achieved_rate", "Achieved rate", check_achieved_rate},
    {"schedule_lag", "Schedule lag", check_schedule_lag},
    {"client_cpu", "Client's CPU", check_cpu},
    {"littles_law", "Little's law", check_little},
    {"receive_lag", "Receive lag", check_receive_lag},
    {"stalls", "Client's stalls", check_stalls},
    {"drift", "Drift", check_drift},
};

static double error_of(const struct run *run)
{
    const struct engine_account *a = run->a;
    if (run->all_stamped)
        return (double)MAX(a->stamp_error_max_ns, UINT64_C(1)); /* two looks within one ns */
    return a->stamped_reads ? a->lag_p99_ns : (double)a->ticker_stall_max_ns;
}

static void summarise(struct validity *v, const struct run *run)
{
    const struct validity_check *bad = NULL;
    size_t bad_count = 0;
    for (size_t i = 0; i < v->count; i++) {
        if (v->checks[i].verdict != CHECK_BAD)
            continue;
        bad = bad ? bad : &v->checks[i];
        bad_count++;
    }
    v->client_limited = bad;
    if (bad)
        snprintf(v->summary, sizeof v->summary, "client-limited (%zu of %zu checks failed): %s: %s",
                 bad_count, v->count, bad->heading, bad->text);
    else
        snprintf(v->summary, sizeof v->summary,
                 "the client kept up: %s %% of a core at most; a time may be off by %s",
                 figure_digits(run->a->cpu_share * 100, 3).text, figure_time(v->error_ns).text);
}

void validity_check(struct validity *v, const struct engine_account *a, const struct results *r)
{
    const struct spread *latency = &r->total.spreads[MEASURED_TOTAL];
    struct run run = {.a = a,
                      .r = r,
                      .latency_p50_ns = (double)hdr_quantile(&latency->hdr, 0.5),
                      .open_loop = a->late_max_ns > 0,
                      .all_stamped = a->reads > 0 && a->stamped_reads == a->reads};
    *v = (struct validity){.count = COUNT(checks), .error_ns = error_of(&run)};
    for (size_t i = 0; i < COUNT(checks); i++) {
        v->checks[i].key = checks[i].key;
        v->checks[i].heading = checks[i].heading;
        v->checks[i].value = NAN;
        checks[i].check(&v->checks[i], &run);
    }
    summarise(v, &run);
}
