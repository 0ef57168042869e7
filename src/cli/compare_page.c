/* compare_page.c -- the comparison as a page: verdicts first, then tables, effects with their intervals, and how values came and are spread. */
#include <math.h>

#include "cli/compare.h"
#include "cli/html.h"
#include "cli/measure_page.h"

#define SERIES_MAX  7   /* colours that a page has */
#define FOREST_SPAN 2.0 /* an axis of effects never ends before x1.05 */

static struct num show_us(double us)
{
    return num_ms(us);
}

/* ---- tiles ---- */

static void write_tiles(struct measure_page *p, const struct comparison *c)
{
    const struct compare_report *r = &c->report;
    const struct compare_result *result = &r->results[r->primary];
    measure_page_begin_tiles(p);
    for (uint32_t m = 0; m < c->model_count; m++) {
        const struct estimate *e = &result->system[m].median;
        struct str name = c->models[m].name;
        struct str range = compare_value_range(&p->arena, r->primary, e->low, e->high);
        struct str under = arena_printf(&p->arena, "%s p50, %.*s (95 %%)",
                                        compared_info(r->primary)->heading, STR_ARG(range));
        measure_page_tile(p, arena_str(&p->arena, name).p, compare_value(r->primary, e->value),
                          under.p, isinf(e->value) ? STYLE_BAD : STYLE_NONE);
    }
    measure_page_tile(p, "Blocks", num_count((double)r->blocks), "each asks every model once",
                      STYLE_NONE);
    measure_page_tile(p, "Spent", num_usd(c->run.spent_usd),
                      c->run.unpriced ? "of what has a known price" : "all requests", STYLE_NONE);
    measure_page_end_tiles(p);
}

/* ---- effects: a line a pair, its interval around 1 ---- */

/* Where a ratio is on the axis, in per cent; the axis is that of logarithms, the same to both sides. */
static double place(double ratio, double span)
{
    double at = 50 + 50 * log(ratio) / span;
    return at < 0 ? 0 : at > 100 ? 100 : at;
}

static double span_of(const struct comparison *c, const struct compare_result *r)
{
    double span = FOREST_SPAN * log1p(c->plan.min_effect);
    for (size_t i = 0; i < r->pair_count; i++) {
        const struct ratio *t = &r->pair[i].typical;
        if (isfinite(log(t->low)) && isfinite(log(t->high)))
            span = MAX(span, MAX(fabs(log(t->low)), fabs(log(t->high))));
    }
    return span * 1.1;
}

static const char *class_of(enum verdict v)
{
    return v == VERDICT_FASTER ? "good" : v == VERDICT_SLOWER ? "bad" : "accent";
}

/* The band of what does not matter, the interval, and the estimate. */
static void draw_pair(struct measure_page *p, const struct comparison *c,
                      const struct compare_pair *e, double span)
{
    double least = place(1 / (1 + c->plan.min_effect), span),
           most = place(1 + c->plan.min_effect, span);
    double low = place(e->typical.low, span), high = place(e->typical.high, span);
    fprintf(
        p->out,
        "<svg width=\"100%%\" height=\"22\" role=\"img\" aria-label=\"%s, 95 %% interval %.*s\">"
        "<rect x=\"%.2f%%\" y=\"0\" width=\"%.2f%%\" height=\"22\" fill=\"currentColor\" "
        "fill-opacity=\".08\"/><line x1=\"50%%\" x2=\"50%%\" y1=\"0\" y2=\"22\" "
        "stroke=\"currentColor\" stroke-opacity=\".4\"/>",
        compare_change(e->typical.value).text,
        STR_ARG(compare_change_range(&p->arena, e->typical.low, e->typical.high)), least,
        most - least);
    fprintf(p->out,
            "<g class=\"%s\"><rect x=\"%.2f%%\" y=\"9\" width=\"%.2f%%\" height=\"4\" "
            "fill=\"currentColor\"/><circle cx=\"%.2f%%\" cy=\"11\" r=\"5\" "
            "fill=\"currentColor\"/></g></svg>\n",
            class_of(e->verdict), low, MAX(high - low, .2), place(e->typical.value, span));
}

static void write_effects(struct measure_page *p, const struct comparison *c, enum compared m)
{
    const struct compare_result *r = &c->report.results[m];
    double span = span_of(c, r);
    if (!c->report.is_compared[m])
        return;
    struct str remark =
        arena_printf(&p->arena, "typical ratio within a block; shaded: less than %s; left is %s",
                     num_pct(c->plan.min_effect).text, compared_info(m)->less);
    measure_page_begin_figure(p, compared_info(m)->heading, remark.p, false);
    for (size_t i = 0; i < r->pair_count; i++) {
        const struct compare_pair *e = &r->pair[i];
        if (!isfinite(log(e->typical.low)) || !isfinite(log(e->typical.high)))
            continue;
        fputs("<p class=\"dim\">", p->out);
        html_put(p->out, c->models[e->a].name);
        fputs(" against ", p->out);
        html_put(p->out, c->models[e->b].name);
        fprintf(p->out, ": <b>%s</b> (", compare_change(e->typical.value).text);
        html_put(p->out, compare_change_range(&p->arena, e->typical.low, e->typical.high));
        fputs(")</p>\n", p->out);
        draw_pair(p, c, e, span);
    }
    measure_page_end_figure(p);
}

/* ---- values ---- */

static double trial_us(const struct compare_trial *t, enum compared m)
{
    const struct sample *s = &t->sample;
    uint64_t to_ns = m == COMPARED_TTFT              ? s->first_token_ns
                     : s->stream && s->last_token_ns ? s->last_token_ns
                                                     : s->end_ns;
    int64_t ns = sample_span_ns(s->sent_first_ns, to_ns);
    return s->outcome == OUTCOME_OK && ns >= 0 ? (double)ns / 1000 : NAN;
}

/* By block, a line a model. */
static void write_course(struct measure_page *p, const struct comparison *c, enum compared m)
{
    struct plot_series series[SERIES_MAX];
    size_t blocks = 0, count = MIN(c->model_count, (size_t)SERIES_MAX); /* as far as the run came */
    for (size_t t = 0; t < c->run.trial_count; t++)
        if (c->run.trials[t].phase == PHASE_MEASURED)
            blocks = MAX(blocks, (size_t)c->run.trials[t].block + 1);
    double *xs = arena_alloc(&p->arena, MAX(blocks, (size_t)1) * sizeof *xs);
    for (size_t b = 0; b < blocks; b++)
        xs[b] = (double)b + 1;
    for (size_t i = 0; i < count; i++) {
        double *ys = arena_alloc(&p->arena, MAX(blocks, (size_t)1) * sizeof *ys);
        for (size_t b = 0; b < blocks; b++)
            ys[b] = NAN;
        for (size_t t = 0; t < c->run.trial_count; t++) {
            const struct compare_trial *trial = &c->run.trials[t];
            if (trial->phase == PHASE_MEASURED && trial->model == i)
                ys[trial->block] = trial_us(trial, m);
        }
        series[i] = (struct plot_series){
            .name = arena_str(&p->arena, c->models[i].name).p, .values = ys, .color = (int)i + 1};
    }
    if (c->report.has[m])
        measure_page_lines(p, &(struct measure_page_chart){.title = compared_info(m)->heading,
                                                           .remark = "by block; gaps are failures",
                                                           .xs = xs,
                                                           .x_count = blocks,
                                                           .series = series,
                                                           .series_count = count,
                                                           .show_x = num_count,
                                                           .show_y = show_us});
}

static void write_spread(struct measure_page *p, const struct comparison *c, enum compared m)
{
    struct measure_page_curve curves[SERIES_MAX];
    struct hdr *hdrs = mem_alloc(SERIES_MAX * sizeof *hdrs);
    size_t count = MIN(c->model_count, (size_t)SERIES_MAX);
    for (size_t t = 0; t < c->run.trial_count; t++) {
        const struct compare_trial *trial = &c->run.trials[t];
        double us = trial_us(trial, m);
        if (trial->phase == PHASE_MEASURED && trial->model < count && !isnan(us))
            hdr_add(&hdrs[trial->model], (uint64_t)(us * 1000));
    }
    for (size_t i = 0; i < count; i++)
        curves[i] =
            (struct measure_page_curve){arena_str(&p->arena, c->models[i].name).p, &hdrs[i]};
    if (c->report.has[m])
        measure_page_curves(p, compared_info(m)->heading, "share of requests done within a time",
                            curves, count);
    for (size_t i = 0; i < count; i++)
        hdr_fini(&hdrs[i]);
    mem_free(hdrs);
}

/* ---- the page ---- */

static void write_sentences(struct measure_page *p, const struct sentence *s, size_t count)
{
    for (size_t i = 0; i < count; i++)
        measure_page_note(p, s[i].style == STYLE_DIM ? STYLE_NONE : s[i].style, "%.*s",
                          STR_ARG(s[i].text));
}

static void write_body(struct measure_page *p, void *arg)
{
    static const enum compared timed[] = {COMPARED_E2E, COMPARED_TTFT};
    struct comparison *c = arg;
    int64_t until_us = c->run.started_real_us + (int64_t)(c->run.elapsed_ns / 1000);
    measure_page_range(p, c->run.started_real_us, until_us, c->target->url,
                       arena_printf(&p->arena, "%zu models, seed %llu", c->model_count,
                                    (unsigned long long)c->run_options.seed));
    write_sentences(p, c->verdicts, c->verdict_count);
    write_tiles(p, c);
    measure_page_begin_section(p, "tables", "Figures");
    measure_page_begin_table(p, "models", false);
    compare_write_models(c, TABLE_HTML, &p->term);
    measure_page_end_table(p);
    measure_page_begin_table(p, "pairs", false);
    compare_write_pairs(c, TABLE_HTML, &p->term);
    measure_page_end_table(p);
    measure_page_end_section(p);
    measure_page_begin_section(p, "effects", "Differences");
    for (int m = 0; m < COMPARED_COUNT; m++)
        write_effects(p, c, (enum compared)m);
    measure_page_end_section(p);
    measure_page_begin_section(p, "values", "Values");
    for (size_t i = 0; i < COUNT(timed); i++)
        write_spread(p, c, timed[i]);
    for (size_t i = 0; i < COUNT(timed); i++)
        write_course(p, c, timed[i]);
    measure_page_end_section(p);
    write_sentences(p, c->remarks, c->remark_count);
}

bool compare_write_page(struct comparison *c, const char *path, struct err *e)
{
    return measure_page_write(path, "Providers compared", write_body, c, e);
}
