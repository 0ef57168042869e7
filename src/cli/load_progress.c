/* load_progress.c -- what is seen while a load test runs, on stderr: a block that is painted over on a terminal, a line every five seconds
 * elsewhere. Percentiles are of the last five seconds. */
#include <math.h>
#include <stdarg.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/when.h"
#include "cli/graph.h"
#include "cli/load.h"

#define WINDOWS     5  /* seconds that percentiles are of */
#define PLAIN_EVERY 5  /* seconds between lines where there is no terminal */
#define SPARK       40 /* seconds of the rate that are drawn */
#define BAR_COLUMNS 24

struct load_progress {
    const struct load_plan *plan;
    struct term term;
    bool terminal, quiet;
    int painted; /* lines on the terminal that are ours */
    uint64_t seconds;
    uint64_t all_ns; /* the plan lasts; 0: not known */
    struct load_window windows[WINDOWS];
    struct engine_progress now, before;
    double rates[SPARK]; /* done a second */
    size_t rate_count;
};

struct load_progress *load_progress_new(const struct load_plan *p, bool quiet)
{
    struct load_progress *g = mem_alloc(sizeof *g);
    g->plan = p;
    g->quiet = quiet;
    term_init(&g->term, stderr, COLOR_AUTO);
    g->terminal = isatty(STDERR_FILENO) && !quiet;
    g->all_ns = scenario_duration_ns(&p->arrivals);
    return g;
}

static void take_away(struct load_progress *g)
{
    for (; g->painted > 0; g->painted--)
        fputs("\x1b[A\x1b[2K", stderr);
}

void load_window_fini(struct load_window *w)
{
    histogram_fini(&w->latency);
    histogram_fini(&w->ttft);
}

void load_progress_free(struct load_progress *g)
{
    if (!g)
        return;
    take_away(g);
    fflush(stderr);
    for (size_t i = 0; i < WINDOWS; i++)
        load_window_fini(&g->windows[i]);
    mem_free(g);
}

/* ---- what a second saw ---- */

/* The pieces of one line, cut where there is no room. */
struct line {
    char text[400];
    size_t n;
};

static void add(struct line *l, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void add(struct line *l, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(l->text + l->n, sizeof l->text - l->n, fmt, args);
    va_end(args);
    l->n = MIN(l->n + (size_t)MAX(n, 0), sizeof l->text - 1);
}

static void add_quantiles(struct line *l, const struct histogram *h)
{
    static const struct {
        const char *name;
        double quantile;
        uint64_t need;
    } wanted[] = {{"p50", .5, 6}, {"p95", .95, 72}, {"p99", .99, 368}};
    for (size_t i = 0; i < COUNT(wanted); i++) {
        if (h->count >= wanted[i].need)
            add(l, "  %s %s", wanted[i].name,
                num_ms(round((double)histogram_quantile(h, wanted[i].quantile) / 1e4) * 10).text);
        else
            add(l, "  %s n/a", wanted[i].name);
    }
}

/* Of the last seconds together; the caller frees. */
static struct load_window last_seconds(const struct load_progress *g)
{
    struct load_window sum = {0};
    for (size_t i = 0; i < WINDOWS; i++) {
        sum.ok += g->windows[i].ok;
        sum.failed += g->windows[i].failed;
        histogram_merge(&sum.latency, &g->windows[i].latency);
        histogram_merge(&sum.ttft, &g->windows[i].ttft);
    }
    return sum;
}

static struct str stage_name(const struct load_progress *g)
{
    size_t count = MAX(g->plan->arrivals.stage_count, (size_t)1);
    return g->plan->stages[MIN((size_t)g->now.stage, count - 1)];
}

static void add_clock(struct line *l, uint64_t ns)
{
    unsigned long long s = ns / NS_PER_S;
    if (s >= 3600)
        add(l, "%llu:", s / 3600);
    add(l, "%02llu:%02llu", s / 60 % 60, s % 60);
}

static double since_before(uint64_t now, uint64_t before, const struct load_progress *g)
{
    double s = (double)(g->now.elapsed_ns - g->before.elapsed_ns) / 1e9;
    return s > 0 ? (double)(now - MIN(before, now)) / s : NAN;
}

/* "asked 50/s", "asked 20 users"; nothing in a replay. */
static void add_asked(struct line *l, const struct load_progress *g)
{
    enum stage_kind kind;
    double asked = scenario_asked_at(&g->plan->arrivals, g->now.elapsed_ns, &kind);
    if (isnan(asked))
        return;
    if (kind == STAGE_RATE)
        add(l, "asked %s  ", num_rate(asked).text);
    else
        add(l, "asked %s user%s  ", num_count(round(asked)).text, round(asked) == 1 ? "" : "s");
}

/* ---- lines ---- */

static void line_of_stage(struct load_progress *g, struct line *l)
{
    size_t count = g->plan->arrivals.stage_count;
    struct str stage = stage_name(g), name = g->plan->scenario.name;
    if (name.n)
        add(l, "%.*s  ", (int)MIN(name.n, 60u), name.p);
    if (count > 1)
        add(l, "stage %u of %zu, ", MIN(g->now.stage + 1, (uint32_t)count), count);
    add(l, "%.*s", (int)MIN(stage.n, 60u), stage.p);
}

static void line_of_rate(struct load_progress *g, struct line *l)
{
    add_asked(l, g);
    add(l, "sent %s  done %s  in flight %s",
        num_rate(since_before(g->now.sent, g->before.sent, g)).text,
        num_rate(since_before(g->now.ended, g->before.ended, g)).text,
        num_count((double)g->now.in_flight).text);
}

static void line_of_requests(struct load_progress *g, struct line *l)
{
    double all = (double)(g->now.ok + g->now.failed);
    add(l, "%s done", num_count((double)g->now.ended).text);
    if (g->now.failed)
        add(l, ", %s failed (%s)", num_count((double)g->now.failed).text,
            num_pct((double)g->now.failed / all).text);
    if (g->now.dropped)
        add(l, ", %s due and never sent", num_count((double)g->now.dropped).text);
}

static void line_of_time(struct load_progress *g, struct line *l)
{
    char bar[GRAPH_BYTES(BAR_COLUMNS)];
    double part = g->all_ns ? MIN((double)g->now.elapsed_ns / (double)g->all_ns, 1.0) : NAN;
    if (!g->all_ns) {
        add_clock(l, g->now.elapsed_ns);
        return;
    }
    graph_bar(g->term.utf8, BAR_COLUMNS, part, bar, sizeof bar);
    add_clock(l, g->now.elapsed_ns);
    add(l, " of ");
    add_clock(l, g->all_ns);
    add(l, "  %s", bar);
    if (g->now.elapsed_ns < g->all_ns) {
        add(l, "  ");
        add_clock(l, g->all_ns - g->now.elapsed_ns + NS_PER_S / 2);
        add(l, " left");
    } else if (g->now.in_flight) {
        add(l, "  waiting for what is in flight");
    }
}

static void line_of_graph(struct load_progress *g, struct line *l)
{
    char spark[GRAPH_BYTES(SPARK)];
    graph_spark(g->term.utf8, g->rates, g->rate_count, 0, spark, sizeof spark);
    add(l, "%s", spark);
}

static void paint_line(struct load_progress *g, const char *name, const struct line *l,
                       enum term_style style)
{
    int room = g->term.columns > 0 ? g->term.columns - 1 : 100;
    term_field(&g->term, STYLE_DIM, str_from(name), MIN(10, room), ALIGN_LEFT);
    term_put(&g->term, style, (struct str){l->text, l->n}, MAX(room - 10, 1));
    fputc('\n', stderr);
    g->painted++;
}

static void paint(struct load_progress *g)
{
    struct load_window last = last_seconds(g);
    static void (*const parts[])(struct load_progress *, struct line *) = {
        line_of_stage, line_of_time, line_of_rate, line_of_requests};
    static const char *const names[] = {"running", "time", "rate", "requests"};
    take_away(g);
    term_init(&g->term, stderr, COLOR_AUTO); /* the window may have another width by now */
    for (size_t i = 0; i < COUNT(parts); i++) {
        struct line l = {.n = 0};
        parts[i](g, &l);
        bool bad = parts[i] == line_of_requests && g->now.failed + g->now.dropped > 0;
        paint_line(g, names[i], &l, bad ? STYLE_BAD : STYLE_NONE);
    }
    struct line latency = {.n = 0}, ttft = {.n = 0}, graph = {.n = 0};
    add(&latency, "last %d s", WINDOWS);
    add_quantiles(&latency, &last.latency);
    paint_line(g, "latency", &latency, STYLE_NONE);
    if (last.ttft.count) {
        add(&ttft, "last %d s", WINDOWS);
        add_quantiles(&ttft, &last.ttft);
        paint_line(g, "TTFT", &ttft, STYLE_NONE);
    }
    line_of_graph(g, &graph);
    paint_line(g, "done/s", &graph, STYLE_ACCENT);
    fflush(stderr);
    load_window_fini(&last);
}

static void print_plain(struct load_progress *g)
{
    struct load_window last = last_seconds(g);
    struct line l = {.n = 0};
    add_clock(&l, g->now.elapsed_ns);
    add(&l, "  ");
    line_of_stage(g, &l);
    add(&l, ": ");
    line_of_rate(g, &l);
    add(&l, "; ");
    line_of_requests(g, &l);
    add(&l, "; latency");
    add_quantiles(&l, &last.latency);
    if (last.ttft.count) {
        add(&l, "; TTFT");
        add_quantiles(&l, &last.ttft);
    }
    term_put(&g->term, STYLE_NONE, (struct str){l.text, l.n}, 0);
    fputc('\n', stderr);
    load_window_fini(&last);
}

/* ---- the course ---- */

static void swap_histograms(struct histogram *a, struct histogram *b)
{
    struct histogram kept = *a;
    *a = *b;
    *b = kept;
}

/* The window takes the oldest one's place, whose memory it gets in exchange. */
static void keep_window(struct load_progress *g, struct load_window *w)
{
    struct load_window *oldest = &g->windows[g->seconds % WINDOWS];
    oldest->ok = w->ok;
    oldest->failed = w->failed;
    oldest->dropped = w->dropped;
    swap_histograms(&oldest->latency, &w->latency);
    swap_histograms(&oldest->ttft, &w->ttft);
    load_window_fini(w);
    *w = (struct load_window){0};
}

static void keep_rate(struct load_progress *g)
{
    double rate = since_before(g->now.ended, g->before.ended, g);
    if (g->rate_count == SPARK) {
        memmove(g->rates, g->rates + 1, (SPARK - 1) * sizeof *g->rates);
        g->rate_count--;
    }
    g->rates[g->rate_count++] = rate;
}

void load_progress_second(struct load_progress *g, struct load_window *w,
                          const struct engine_progress *now)
{
    g->now = *now;
    keep_window(g, w);
    keep_rate(g);
    g->seconds++;
    if (g->terminal)
        paint(g);
    else if (!g->quiet && g->seconds % PLAIN_EVERY == 0 && !now->over)
        print_plain(g);
    g->before = *now;
}

void load_progress_say(struct load_progress *g, const char *fmt, ...)
{
    char said[300];
    va_list args;
    take_away(g);
    va_start(args, fmt);
    vsnprintf(said, sizeof said, fmt, args);
    va_end(args);
    term_put(&g->term, STYLE_NONE, STR("weir load: "), 0);
    term_put(&g->term, STYLE_NONE, str_from(said), 0);
    fputc('\n', stderr);
    fflush(stderr);
}
