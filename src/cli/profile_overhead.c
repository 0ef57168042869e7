/* profile_overhead.c -- --direct: what the gateway adds to a request (profile_latency.h).
 *
 * Pairs of blocks: a few requests one after another through the gateway, and the same prompts around it, now this way first and now that, so that
 * drift and what the first way warms up hit both alike. Each block has its own connection, opened by a request that does not count. A pair gives one
 * difference, of its blocks' medians; reported is the median of these, with the interval of order statistics. */
#include <math.h>

#include "cli/profile_latency.h"
#include "cli/sentences.h"
#include "measure/failure.h"

static const enum measured metrics[OVERHEAD_METRICS] = {MEASURED_TOTAL, MEASURED_TTFT};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of the median: values of the ranks that have it with 95 %. */
static void summarize(struct overhead_metric *m, double *differences, double *through,
                      double *direct)
{
    uint64_t low, high;
    m->low_ns = m->high_ns = NAN;
    if (m->count > 0 && quantile_ranks(m->count, .5, &low, &high)) {
        qsort(differences, m->count, sizeof *differences, compare_doubles);
        m->low_ns = differences[low - 1];
        m->high_ns = differences[high - 1];
    }
    m->median_ns = regression_median(differences, m->count);
    m->through_ns = regression_median(through, m->count);
    m->direct_ns = regression_median(direct, m->count);
}

struct block {
    double medians[OVERHEAD_METRICS];
    uint64_t failed, outcomes[OUTCOME_COUNT];
    char error[SAMPLE_ERROR_BYTES];
};

static double group_median(const struct results_group *g, enum measured m, double *room)
{
    const struct spread *s = &g->spreads[m];
    for (size_t i = 0; i < s->value_count; i++)
        room[i] = (double)s->values[i];
    return regression_median(room, s->value_count);
}

static bool run_block(const struct profile_run_options *o, size_t block, struct block *out,
                      struct err *e)
{
    struct profile_run run;
    double *room = mem_alloc(block * sizeof *room);
    bool good = profile_run(o, &run, e);
    if (good) {
        for (size_t i = 0; i < OVERHEAD_METRICS; i++)
            out->medians[i] = group_median(&run.results->total, metrics[i], room);
        out->failed = results_failures(&run.results->total);
        memcpy(out->outcomes, run.results->total.outcomes, sizeof out->outcomes);
        snprintf(out->error, sizeof out->error, "%s",
                 run.results->failure_count ? run.results->failures[0].error : "");
        profile_run_fini(&run);
    }
    mem_free(room);
    return good;
}

static void take_side(struct overhead_side *s, const struct block *b)
{
    for (int i = 0; i < OUTCOME_COUNT; i++)
        s->outcomes[i] += b->outcomes[i];
    if (!s->error[0])
        memcpy(s->error, b->error, sizeof s->error);
}

/* A pair more where both blocks have the metric. */
static void take_pair(struct overhead *o, const struct block *through, const struct block *direct,
                      double *room, size_t pairs)
{
    for (size_t i = 0; i < OVERHEAD_METRICS; i++) {
        double *differences = room + i * 3 * pairs, difference;
        difference = through->medians[i] - direct->medians[i];
        if (isnan(difference))
            continue;
        size_t at = o->metrics[i].count++;
        differences[at] = difference;
        differences[pairs + at] = through->medians[i];
        differences[2 * pairs + at] = direct->medians[i];
    }
    take_side(&o->through, through);
    take_side(&o->direct, direct);
    o->failed += through->failed + direct->failed;
    o->pairs++;
}

/* After a pair: has one of the two answered nothing? The rest would only take as long as its failures do. */
static bool is_silent(const struct overhead *o)
{
    return o->pairs > 0 && (!o->through.outcomes[OUTCOME_OK] || !o->direct.outcomes[OUTCOME_OK]);
}

bool overhead_measure(struct overhead *o, const struct profile_run_options *through,
                      const struct profile_run_options *direct, size_t pairs, size_t block,
                      struct err *e)
{
    double *room = mem_alloc(OVERHEAD_METRICS * 3 * pairs * sizeof *room);
    struct profile_run_options sides[2] = {*through, *direct};
    bool good = true;
    *o = (struct overhead){
        .through.url = through->target->url, .direct.url = direct->target->url, .block = block};
    for (size_t pair = 0; pair < pairs && good && !profile_interrupted() && !is_silent(o); pair++) {
        struct block found[2];
        size_t first = pair % 2;
        for (size_t k = 0; k < 2 && good; k++) {
            size_t side = (first + k) % 2;
            sides[side].first_number = pair * (block + 1);
            good = run_block(&sides[side], block, &found[side], e);
        }
        if (good && !profile_interrupted())
            take_pair(o, &found[0], &found[1], room, pairs);
    }
    for (size_t i = 0; i < OVERHEAD_METRICS; i++) {
        double *differences = room + i * 3 * pairs;
        summarize(&o->metrics[i], differences, differences + pairs, differences + 2 * pairs);
    }
    mem_free(room);
    return good;
}

/* ---- saying ---- */

static bool has_pairs(const struct overhead *o)
{
    for (size_t i = 0; i < OVERHEAD_METRICS; i++)
        if (o->metrics[i].count > 0)
            return true;
    return false;
}

/* Why there is nothing to tell. False: it is not this side. */
static bool blame(const struct overhead_side *s, struct err *e)
{
    if (s->outcomes[OUTCOME_OK])
        return false;
    if (outcomes_are_unreached(s->outcomes))
        return !err_set(e, "no request reached %.*s: %.300s; is it running?", STR_ARG(s->url),
                        s->error);
    return !err_set(e, "no request to %.*s was answered well: %.300s", STR_ARG(s->url), s->error);
}

static void say_why_not(const struct overhead *o, struct err *e)
{
    if (!blame(&o->direct, e) && !blame(&o->through, e))
        err_set(e, "in no pair of blocks both ways were answered well: %.300s",
                o->direct.error[0] ? o->direct.error : o->through.error);
}

int overhead_status(const char *command, const struct overhead *o)
{
    struct err e = {0};
    if (o->pairs == 0 || has_pairs(o))
        return EXIT_GOOD;
    say_why_not(o, &e);
    err_prefix(&e, "--direct");
    return measure_options_fail(command, &e,
                                outcomes_are_unreached(o->direct.outcomes) ||
                                        outcomes_are_unreached(o->through.outcomes)
                                    ? EXIT_UNREACHABLE
                                    : EXIT_PROBLEM);
}

void overhead_write(const struct overhead *o, enum table_format format, const struct term *term)
{
    static const struct table_column columns[] = {
        {"Median of", ALIGN_LEFT, NULL},      {"Through", ALIGN_RIGHT, NULL},
        {"Direct", ALIGN_RIGHT, NULL},        {"Added", ALIGN_RIGHT, NULL},
        {"95 % interval", ALIGN_RIGHT, NULL}, {"Pairs", ALIGN_RIGHT, NULL}};
    struct table t;
    if (format == TABLE_CSV || o->pairs == 0)
        return;
    if (!has_pairs(o)) {
        struct err e = {0};
        say_why_not(o, &e);
        fprintf(term->out, "\nWhat the gateway adds is not known: %s\n", e.text);
        return;
    }
    table_init(&t, columns, COUNT(columns));
    table_title(&t, "What the gateway adds, against %.*s", STR_ARG(o->direct.url));
    for (size_t i = 0; i < OVERHEAD_METRICS; i++) {
        const struct overhead_metric *m = &o->metrics[i];
        if (m->count == 0)
            continue;
        table_row(&t);
        table_text(&t, STYLE_NONE, str_from(measured_info(metrics[i])->heading));
        table_text(&t, STYLE_NONE, str_from(measured_show(metrics[i], m->through_ns).text));
        table_text(&t, STYLE_NONE, str_from(measured_show(metrics[i], m->direct_ns).text));
        table_text(&t, STYLE_NONE, str_from(measured_show(metrics[i], m->median_ns).text));
        table_printf(&t, STYLE_DIM, isnan(m->low_ns) ? "%s" : "%s to %s",
                     isnan(m->low_ns) ? "n/a (n < 6)" : measured_show(metrics[i], m->low_ns).text,
                     measured_show(metrics[i], m->high_ns).text);
        table_text(&t, STYLE_NONE, str_from(num_count((double)m->count).text));
    }
    table_note(&t, "Pairs of %zu requests each way, alternating which way is first%s", o->block,
               o->failed ? "; some failed" : "");
    fputc('\n', term->out);
    table_write(&t, format, term);
    table_fini(&t);
}

void overhead_json(const struct overhead *o, struct json_out *j)
{
    json_nest(j, "overhead", "{");
    json_text(j, "direct_url", o->direct.url);
    json_count(j, "pairs", o->pairs);
    json_count(j, "requests_a_block", o->block);
    json_count(j, "failed", o->failed);
    for (size_t i = 0; i < OVERHEAD_METRICS; i++) {
        const struct overhead_metric *m = &o->metrics[i];
        json_nest(j, measured_info(metrics[i])->key, "{");
        json_count(j, "pairs", m->count);
        json_number(j, "through_p50_ms", m->through_ns / 1e6, "%.9g");
        json_number(j, "direct_p50_ms", m->direct_ns / 1e6, "%.9g");
        json_number(j, "added_ms", m->median_ns / 1e6, "%.9g");
        json_nest(j, "added_ci95_ms", "[");
        json_number(j, NULL, m->low_ns / 1e6, "%.9g");
        json_number(j, NULL, m->high_ns / 1e6, "%.9g");
        json_unnest(j, "]");
        json_unnest(j, "}");
    }
    json_unnest(j, "}");
}
