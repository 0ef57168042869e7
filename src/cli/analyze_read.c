/* analyze_read.c -- the reading of `weir analyze`: one share a thread, merged at the end.
 *
 * Each line passes the filter, then goes to the share's rollup and to those parts that want its event. */
#include <unistd.h>

#include "base/clock.h"
#include "cli/analyze.h"

/* One thread's. */
struct share {
    const struct analysis *a;
    struct rollup rollup, other;
    struct passed { /* requests that did not fail, where nothing else is asked about them */
        uint64_t requests, cancelled;
        int64_t first_us, last_us;
    } passed;
    void *parts[ANALYZE_PARTS_MAX];
    unsigned part_events; /* that any of them wants: of most lines, in the overview, none */
};

static bool stop_reading; /* atomic */

void analyze_stop(void)
{
    __atomic_store_n(&stop_reading, true, __ATOMIC_RELAXED);
}

static void take_parts(struct share *s, const struct logline *l, enum log_event event,
                       struct str line)
{
    if (!(s->part_events >> event & 1) || !log_is_within(l, s->a->since_us, s->a->until_us))
        return;
    for (size_t i = 0; i < analyze_part_count; i++)
        if (s->parts[i] && analyze_parts[i]->events >> event & 1)
            analyze_parts[i]->take(s->parts[i], l, event, line);
}

static void take(void *context, const struct logline *l, struct str line)
{
    struct share *s = context;
    const struct log_filter *f = &s->a->filter;
    if (!log_filter_is_empty(f) && !log_filter_matches(f, l))
        return;
    enum log_event event = log_event_of(l);
    bool others = s->a->compares && log_is_within(l, s->a->other_since_us, s->a->other_until_us);
    if (others)
        rollup_take(&s->other, l, event);
    if (others && !log_is_within(l, s->a->since_us, s->a->until_us))
        return; /* asked for, so not outside */
    rollup_take(&s->rollup, l, event);
    take_parts(s, l, event, line);
}

static void take_head(void *context, const struct logline *l)
{
    struct share *s = context;
    struct passed *p = &s->passed;
    if (log_event_of(l) != LOG_EVENT_REQUEST ||
        (!log_filter_is_empty(&s->a->filter) && !log_filter_matches(&s->a->filter, l)))
        return;
    if (!log_is_within(l, s->a->since_us, s->a->until_us)) {
        s->rollup.outside++;
        return;
    }
    p->requests++;
    p->cancelled += log_outcome_of(l) == LOG_OUTCOME_CANCELLED;
    p->first_us = MIN(p->first_us, l->r.timestamp);
    p->last_us = MAX(p->last_us, l->r.timestamp);
}

static void add_passed(struct rollup_group *total, const struct passed *p)
{
    total->counts[ROLLUP_REQUESTS] += p->requests;
    total->counts[ROLLUP_CANCELLED] += p->cancelled;
    total->counts[ROLLUP_SUCCESS] += p->requests - p->cancelled;
    total->first_us = MIN(total->first_us, p->first_us);
    total->last_us = MAX(total->last_us, p->last_us);
}

static void show_progress(void *arg, uint64_t done, uint64_t total)
{
    static uint64_t begin_ns, shown_ns;
    uint64_t now_ns = clock_mono_ns();
    bool *shown = arg;
    begin_ns = begin_ns ? begin_ns : now_ns;
    if (now_ns < begin_ns + NS_PER_S || now_ns < shown_ns + 100 * NS_PER_MS)
        return;
    shown_ns = now_ns;
    *shown = true;
    if (total)
        fprintf(stderr, "\rreading: %3.0f %% of %s ",
                100.0 * (double)MIN(done, total) / (double)total, num_bytes((double)total).text);
    else
        fprintf(stderr, "\rreading: %s ", num_bytes((double)done).text);
}

static void add_views(struct rollup *r, const struct analysis *a)
{
    static const enum log_field error_fields[] = {LOG_error_type, LOG_provider, LOG_model};
    uint32_t all = a->plain
                       ? 1u << SPREAD_LATENCY | 1u << SPREAD_TTFT | 1u << SPREAD_TOKENS_PER_SECOND
                       : (1u << SPREAD_COUNT) - 1;
    struct rollup_view *by = rollup_add_view_by(r, a->by_refs, a->by_count, 0, all);
    by->exact = a->exact_max > 0;
    rollup_add_view(r, error_fields, COUNT(error_fields), 0, 0)->only_failed = true;
    /* A page has plots of them over time. */
    uint32_t over_time = a->html_path ? 1u << SPREAD_LATENCY | 1u << SPREAD_TTFT : 0;
    rollup_add_view(r, NULL, 0, a->step_us, over_time);
    if (by->tag_at >= 0) /* groups that overlap do not add up to all */
        rollup_add_view(r, NULL, 0, 0, all)->exact = by->exact;
}

struct rollup_group *analysis_total(const struct rollup *r)
{
    return rollup_total(r->views[0].tag_at >= 0 ? &r->views[3] : &r->views[0]);
}

static void rollup_start(struct rollup *r, const struct analysis *a, int64_t since_us,
                         int64_t until_us, uint64_t *exact_pool)
{
    rollup_init(r);
    r->exact_pool = exact_pool;
    r->since_us = since_us;
    r->until_us = until_us;
    add_views(r, a);
}

static void share_init(struct share *s, const struct analysis *a, uint64_t *exact_pool)
{
    s->a = a;
    s->passed = (struct passed){.first_us = INT64_MAX, .last_us = INT64_MIN};
    rollup_start(&s->rollup, a, a->since_us, a->until_us, exact_pool);
    if (a->compares)
        rollup_start(&s->other, a, a->other_since_us, a->other_until_us, exact_pool);
    for (size_t i = 0; i < analyze_part_count; i++) {
        s->parts[i] = analyze_parts[i]->wanted(a) ? analyze_parts[i]->make(a) : NULL;
        s->part_events |= s->parts[i] ? analyze_parts[i]->events : 0;
    }
}

/* `from` is gone afterwards. */
static void share_merge(struct share *into, struct share *from)
{
    rollup_merge(&into->rollup, &from->rollup);
    rollup_fini(&from->rollup);
    if (into->a->compares) {
        rollup_merge(&into->other, &from->other);
        rollup_fini(&from->other);
    }
    into->passed.requests += from->passed.requests;
    into->passed.cancelled += from->passed.cancelled;
    into->passed.first_us = MIN(into->passed.first_us, from->passed.first_us);
    into->passed.last_us = MAX(into->passed.last_us, from->passed.last_us);
    for (size_t i = 0; i < analyze_part_count; i++) {
        if (!from->parts[i])
            continue;
        analyze_parts[i]->merge(into->parts[i], from->parts[i]);
        analyze_parts[i]->destroy(from->parts[i]);
    }
}

static void settle(struct analysis *a, const struct share *s)
{
    a->rollup = s->rollup;
    a->other = s->other;
    memcpy(a->parts, s->parts, sizeof a->parts);
    a->by = &a->rollup.views[0];
    a->errors = &a->rollup.views[1];
    a->times = &a->rollup.views[2];
    a->total = analysis_total(&a->rollup);
    add_passed(a->total, &s->passed);
    a->cut_short = __atomic_load_n(&stop_reading, __ATOMIC_RELAXED);
}

/* Times that no table of the overview shows. */
static uint64_t unwanted_of(const struct analysis *a)
{
    uint64_t times = LOG_BIT(upstream) | LOG_BIT(overhead) | LOG_BIT(queue) | LOG_BIT(engine_load) |
                     LOG_BIT(engine_prefill) | LOG_BIT(engine_decode);
    return a->plain ? times : 0;
}

bool analyze_read(struct analysis *a, struct err *e)
{
    uint64_t begin_ns = clock_mono_ns();
    uint64_t exact_pool = (uint64_t)a->exact_max;
    bool shown = false, on_terminal = isatty(STDERR_FILENO);
    struct share *shares = mem_alloc((size_t)a->threads * sizeof *shares);
    void *contexts[LOGREAD_THREADS_MAX];
    for (int i = 0; i < a->threads; i++) {
        share_init(&shares[i], a, &exact_pool);
        contexts[i] = &shares[i];
    }
    struct logread reading = {
        .paths = a->paths,
        .path_count = a->path_count,
        .threads = a->threads,
        .since_us = a->compares ? MIN(a->since_us, a->other_since_us) : a->since_us,
        .until_us = a->compares ? MAX(a->until_us, a->other_until_us) : a->until_us,
        .unwanted = unwanted_of(a),
        .contexts = contexts,
        .take = take,
        .take_head = a->failures_only ? take_head : NULL,
        .arg = &shown,
        .progress = on_terminal ? show_progress : NULL,
        .stop = &stop_reading};
    bool ok = logread(&reading, &a->sum, e);
    if (shown)
        fputs("\r\033[K", stderr);
    for (int i = 1; i < a->threads; i++)
        share_merge(&shares[0], &shares[i]);
    settle(a, &shares[0]);
    mem_free(shares);
    a->seconds = (double)(clock_mono_ns() - begin_ns) / 1e9;
    return ok;
}

void analyze_free(struct analysis *a)
{
    for (size_t i = 0; i < analyze_part_count; i++)
        if (a->parts[i])
            analyze_parts[i]->destroy(a->parts[i]);
    rollup_group_free(a->total);
    rollup_fini(&a->rollup);
    if (a->compares)
        rollup_fini(&a->other);
}
