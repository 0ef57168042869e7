/* compare_words.c -- what a comparison means, in sentences that a person can act on; and what a reader should know before believing it. */
#include <math.h>
#include <stdarg.h>

#include "cli/compare.h"
#include "cli/num_signed.h"

static const double drift_worth_saying = .1, place_worth_saying = .05;

/* ---- numbers ---- */

struct num compare_change(double ratio)
{
    struct num n, times = num_count(ratio);
    if (!(ratio >= 2))
        return num_signed(ratio - 1, num_pct);
    if (isinf(ratio))
        snprintf(n.text, sizeof n.text, "failing");
    else
        snprintf(n.text, sizeof n.text, "x%.38s", times.text);
    return n;
}

struct num compare_effect(enum compared m, double ratio)
{
    /* Nothing takes no time: such a ratio means that the other one failed. But what is free costs nothing. */
    return compare_change(ratio > 0 || m == COMPARED_COST ? ratio : NAN);
}

struct str compare_change_range(struct arena *a, double low, double high)
{
    if (isnan(low) || isnan(high) || isinf(high) || !(low > 0))
        return STR(NUM_UNKNOWN);
    return arena_printf(a, "%s to %s", compare_change(low).text, compare_change(high).text);
}

struct num compare_p(double p)
{
    struct num n;
    if (isnan(p))
        snprintf(n.text, sizeof n.text, "%s", NUM_UNKNOWN);
    else if (p < .0001)
        snprintf(n.text, sizeof n.text, "<0.0001");
    else
        snprintf(n.text, sizeof n.text, p < .01 ? "%.4f" : "%.2f", p);
    return n;
}

struct num compare_value(enum compared m, double value)
{
    return m == COMPARED_COST ? num_usd(value) : num_ms(value * 1000);
}

struct str compare_value_range(struct arena *a, enum compared m, double low, double high)
{
    if (!isfinite(low) || !isfinite(high))
        return STR(NUM_UNKNOWN);
    struct num from = compare_value(m, low), until = compare_value(m, high);
    size_t unit_at = strcspn(from.text, " "), unit_too = strcspn(until.text, " ");
    if (strcmp(from.text + unit_at, until.text + unit_too) == 0)
        from.text[unit_at] = '\0';
    return arena_printf(a, "%s" NUM_UNKNOWN "%s", from.text, until.text);
}

/* ---- sentences ---- */

static void add(struct comparison *c, bool is_verdict, enum term_style style, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static void add(struct comparison *c, bool is_verdict, enum term_style style, const char *fmt, ...)
{
    char text[1000];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    size_t *count = is_verdict ? &c->verdict_count : &c->remark_count;
    struct sentence *into = is_verdict ? c->verdicts : c->remarks;
    if (*count < COMPARE_SENTENCES_MAX)
        into[(*count)++] = (struct sentence){arena_str(&c->arena, str_from(text)), style};
}

#define VERDICT(c, style, ...) add(c, true, style, __VA_ARGS__)
#define REMARK(c, style, ...)  add(c, false, style, __VA_ARGS__)

static struct str name_of(const struct comparison *c, uint32_t model)
{
    return c->models[model].name;
}

/* A pair as seen from `a`. */
struct view {
    const struct compare_pair *pair;
    enum compared metric;
    uint32_t a, b;
    enum verdict verdict;
    struct ratio typical;
    double less;
};

static struct ratio turn_ratio(struct ratio r)
{
    return (struct ratio){1 / r.value, 1 / r.high, 1 / r.low};
}

static struct view view_of(const struct comparison *c, enum compared m, uint32_t a, uint32_t b)
{
    bool turned;
    const struct compare_pair *p = compare_pair_of(&c->report.results[m], a, b, &turned);
    struct view v = {p, m, a, b, p->verdict, p->typical, p->less};
    if (turned) {
        v.verdict = p->verdict == VERDICT_FASTER   ? VERDICT_SLOWER
                    : p->verdict == VERDICT_SLOWER ? VERDICT_FASTER
                                                   : p->verdict;
        v.typical = turn_ratio(p->typical);
        v.less = 1 - p->less;
    }
    return v;
}

uint32_t compare_best(const struct comparison *c)
{
    const struct compare_result *r = &c->report.results[c->report.primary];
    uint32_t best = 0;
    for (uint32_t m = 1; m < r->systems; m++) {
        double value = r->system[m].median.value, least = r->system[best].median.value;
        if (value < least || (isnan(least) && !isnan(value)))
            best = m;
    }
    return best;
}

/* "18 % less (95 % interval 13 % to 22 % less)", from the one that is faster. */
static struct str how_much_less(struct comparison *c, struct ratio r)
{
    if (!(r.value > 0) || !(r.low > 0))
        return STR("less: the other one failed too often for a figure");
    return arena_printf(&c->arena, "%s less (95 %% interval %s to %s)", num_pct(1 - r.value).text,
                        num_pct(1 - r.high).text, num_pct(1 - r.low).text);
}

static void say_different(struct comparison *c, struct view v)
{
    const struct compared_info *info = compared_info(v.metric);
    if (v.verdict == VERDICT_SLOWER) { /* told from the other side */
        v = view_of(c, v.metric, v.b, v.a);
    }
    struct str much = how_much_less(c, v.typical);
    const char *sure =
        v.pair->beyond ? ""
                       : "; that there is a difference is sure, that it is more than the minimum "
                         "effect is not";
    VERDICT(c, STYLE_GOOD,
            "\"%.*s\" is %s than \"%.*s\": its %s is typically %.*s. It was the %s one in %s of "
            "%zu blocks (p %s%s)%s.",
            STR_ARG(name_of(c, v.a)), info->less, STR_ARG(name_of(c, v.b)), info->noun,
            STR_ARG(much), info->less, num_pct(v.less).text, v.pair->blocks,
            v.pair->p_holm < .0001 ? "" : "= ", compare_p(v.pair->p_holm).text, sure);
}

static void say_equivalent(struct comparison *c, struct view v)
{
    const struct compared_info *info = compared_info(v.metric);
    VERDICT(c, STYLE_GOOD,
            "\"%.*s\" and \"%.*s\" are equivalent in %s: the difference lies within the minimum "
            "effect of %s (95 %% interval %.*s). Choose by something else.",
            STR_ARG(name_of(c, v.a)), STR_ARG(name_of(c, v.b)), info->noun,
            num_pct(c->plan.min_effect).text,
            STR_ARG(compare_change_range(&c->arena, v.typical.low, v.typical.high)));
}

static void say_nothing_shown(struct comparison *c, struct view v)
{
    const struct compare_pair *p = v.pair;
    const struct compared_info *info = compared_info(v.metric);
    if (p->blocks < COMPARE_BLOCKS_LEAST) {
        VERDICT(c, STYLE_WARN,
                "No difference shown between \"%.*s\" and \"%.*s\" in %s: %zu blocks with a value "
                "of both "
                "are too few for any verdict; %d are the least.",
                STR_ARG(name_of(c, v.a)), STR_ARG(name_of(c, v.b)), info->noun, p->blocks,
                COMPARE_BLOCKS_LEAST);
        return;
    }
    bool looks_so = v.typical.high < 1 || v.typical.low > 1;
    struct str need = STR_NONE,
               why = arena_printf(&c->arena, "either may be the %s one", info->less);
    if (looks_so)
        why = arena_printf(&c->arena,
                           "by itself this pair looks different, but one of %zu may look so by "
                           "chance (p = %s after Holm)",
                           c->report.results[v.metric].pair_count, compare_p(p->p_holm).text);
    if (isfinite(p->need_blocks) && isfinite(p->seen) && p->need_blocks > (double)p->blocks)
        need = arena_printf(
            &c->arena,
            " %zu blocks show a difference of %s 4 times in 5; for one of %s take --iterations "
            "%.0f.",
            p->blocks, num_pct(p->seen).text, num_pct(c->plan.min_effect).text, p->need_blocks);
    else if (isfinite(p->seen))
        need = arena_printf(&c->arena, " A difference of %s would have been shown 4 times in 5.",
                            num_pct(p->seen).text);
    struct str much = STR("so often did requests fail that there is no figure");
    if (v.typical.value > 0 && isfinite(v.typical.value))
        much = arena_printf(
            &c->arena, "the first one's is typically %s against the other's (95 %% interval %.*s)",
            compare_change(v.typical.value).text,
            STR_ARG(compare_change_range(&c->arena, v.typical.low, v.typical.high)));
    VERDICT(c, STYLE_WARN,
            "No difference shown between \"%.*s\" and \"%.*s\" in %s: %.*s; %.*s.%.*s",
            STR_ARG(name_of(c, v.a)), STR_ARG(name_of(c, v.b)), info->noun, STR_ARG(much),
            STR_ARG(why), STR_ARG(need));
}

static void say_pair(struct comparison *c, enum compared m, uint32_t a, uint32_t b)
{
    struct view v = view_of(c, m, a, b);
    switch (v.verdict) {
    case VERDICT_FASTER:
    case VERDICT_SLOWER: say_different(c, v); return;
    case VERDICT_EQUIVALENT: say_equivalent(c, v); return;
    case VERDICT_INCONCLUSIVE: say_nothing_shown(c, v); return;
    }
}

/* What the other metrics say of the same pair: "time to first token: no difference shown; cost: 40 % cheaper." */
static void say_others(struct comparison *c, uint32_t a, uint32_t b)
{
    struct str text = STR_NONE;
    for (int i = 0; i < COMPARED_COUNT; i++) {
        enum compared m = (enum compared)i;
        if (m == c->report.primary || !c->report.is_compared[m])
            continue;
        const struct compared_info *info = compared_info(m);
        struct view v = view_of(c, m, a, b);
        struct str what = STR("no difference shown");
        if (v.pair->blocks == 0)
            continue; /* one of them has no such values */
        if (v.verdict == VERDICT_EQUIVALENT)
            what = STR("equivalent");
        else if (v.verdict != VERDICT_INCONCLUSIVE)
            what = arena_printf(&c->arena, "%s (%s)",
                                v.verdict == VERDICT_FASTER ? info->less : info->more,
                                compare_effect(m, v.typical.value).text);
        text = arena_printf(&c->arena, "%.*s%s%s: %.*s", STR_ARG(text), text.n ? "; " : "",
                            info->noun, STR_ARG(what));
    }
    if (text.n)
        VERDICT(c, STYLE_NONE, "Otherwise, \"%.*s\" against \"%.*s\": %.*s.",
                STR_ARG(name_of(c, a)), STR_ARG(name_of(c, b)), STR_ARG(text));
}

static void say_successes(struct comparison *c)
{
    const struct compare_report *r = &c->report;
    for (size_t i = 0; i < r->results[0].pair_count; i++) {
        const struct compare_success *s = &r->successes[i];
        bool a_fails = s->only_b > s->only_a;
        if (!(s->p_holm < c->plan.alpha))
            continue;
        VERDICT(c, STYLE_BAD,
                "\"%.*s\" fails more often than \"%.*s\": it alone in %zu of %zu blocks, the other "
                "alone "
                "in %zu (p %s%s).",
                STR_ARG(name_of(c, a_fails ? s->a : s->b)),
                STR_ARG(name_of(c, a_fails ? s->b : s->a)), MAX(s->only_a, s->only_b), s->blocks,
                MIN(s->only_a, s->only_b), s->p_holm < .0001 ? "" : "= ",
                compare_p(s->p_holm).text);
    }
}

static void find_verdicts(struct comparison *c)
{
    const struct compare_report *r = &c->report;
    const struct compare_result *result = &r->results[r->primary];
    uint32_t best = compare_best(c);
    if (!r->has[r->primary]) {
        VERDICT(c, STYLE_BAD, "Nothing to compare in %s: no request has a value.",
                compared_info(r->primary)->noun);
    } else {
        if (r->models > 2 && result->nothing_shown)
            VERDICT(
                c, STYLE_WARN,
                "No difference shown among the %zu models in %s (Friedman's test, p = %s): none "
                "of them is called %s.",
                r->models, compared_info(r->primary)->noun, compare_p(result->friedman.p).text,
                compared_info(r->primary)->less);
        for (uint32_t m = 0; m < r->models; m++) {
            if (m == best)
                continue;
            say_pair(c, r->primary, best, m);
            say_others(c, best, m);
        }
    }
    say_successes(c);
}

/* ---- remarks ---- */

static void remark_end(struct comparison *c)
{
    const struct compare_run *run = &c->run;
    size_t asked = c->run_options.blocks[PHASE_MEASURED], done = c->report.blocks;
    switch (run->end) {
    case END_BLOCKS: return;
    case END_BUDGET_USD:
        REMARK(c, STYLE_WARN, "Stopped at the budget of %s, after %zu of %zu blocks.",
               num_usd(c->run_options.budget_usd).text, done, asked);
        return;
    case END_BUDGET_REQUESTS:
        REMARK(c, STYLE_WARN, "Stopped at the budget of %s requests, after %zu of %zu blocks.",
               num_count((double)c->run_options.budget_requests).text, done, asked);
        return;
    case END_STOPPED:
        REMARK(c, STYLE_WARN, "Interrupted: these are the %zu whole blocks of %zu.", done, asked);
        return;
    case END_PRECISE:
        REMARK(c, STYLE_NONE,
               "Stopped early after %zu of %zu blocks by the rule declared with --stop-early: the "
               "interval of each pair is no wider than the minimum effect to either side. "
               "Intervals and "
               "p are not adjusted for having looked several times.",
               done, asked);
        return;
    }
}

static void remark_lengths(struct comparison *c)
{
    const struct compare_report *r = &c->report;
    if (r->blocks_unequal == 0)
        return;
    if (r->primary == COMPARED_PER_TOKEN)
        REMARK(
            c, STYLE_WARN,
            "Answers differ in length in %zu of %zu blocks, so E2E is not compared: time per "
            "token is, over which longer answers spread their first token. Ask for answers of one "
            "length (--max-tokens) to compare E2E.",
            r->blocks_unequal, r->blocks);
    else
        REMARK(c, STYLE_NONE,
               "In %zu of %zu blocks answers differ in length: E2E is compared over the others.",
               r->blocks_unequal, r->blocks);
}

/* What is to be known of one model. */
static void remark_model(struct comparison *c, uint32_t m)
{
    const struct compare_model_facts *f = &c->report.facts[m];
    struct str name = name_of(c, m);
    if (f->limited)
        REMARK(c, STYLE_WARN,
               "\"%.*s\" was limited (429) in %s of %s requests: lower --concurrency, or raise the "
               "limit.",
               STR_ARG(name), num_count((double)f->limited).text,
               num_count((double)f->requests).text);
    if (f->error)
        REMARK(c, STYLE_BAD, "\"%.*s\" failed %s of %s requests, first with: %s", STR_ARG(name),
               num_count((double)(f->requests - f->ok)).text, num_count((double)f->requests).text,
               f->error);
    if (f->token_mismatches)
        REMARK(c, STYLE_WARN,
               "\"%.*s\": usage and the number of chunks differ by more than 10 %% in %s answers; "
               "usage is what counts.",
               STR_ARG(name), num_count((double)f->token_mismatches).text);
    if (f->reconnected)
        REMARK(c, STYLE_NONE,
               "\"%.*s\": %s measured requests went over a new connection, none being kept; "
               "connecting is not in their times.",
               STR_ARG(name), num_count((double)f->reconnected).text);
    if (f->unpriced && f->unpriced < f->ok)
        REMARK(c, STYLE_NONE, "\"%.*s\": the cost of %s answers is not known.", STR_ARG(name),
               num_count((double)f->unpriced).text);
}

static void remark_drift(struct comparison *c)
{
    const struct compare_report *r = &c->report;
    const struct compare_result *result = &r->results[r->primary];
    if (fabs(log(r->later)) > log1p(drift_worth_saying))
        REMARK(c, STYLE_NONE,
               "All models drifted together: E2E in the second half of the run was %s against "
               "the first. Blocks are compared within themselves, so that cancels out.",
               compare_change(r->later).text);
    for (size_t i = 0; i < result->pair_count; i++) {
        const struct compare_pair *p = &result->pair[i];
        /* Standard error of the difference of two halves' centres, each of n/2 differences with sd sigma * sqrt(2). */
        double error = p->sigma * sqrt(8 / (double)p->blocks), moved = fabs(log(p->later));
        if (moved > 2.5 * error && moved > log1p(drift_worth_saying))
            REMARK(c, STYLE_WARN,
                   "The difference between \"%.*s\" and \"%.*s\" itself changed (by %s from the "
                   "first half "
                   "to the second): the verdict is of this hour, not of any.",
                   STR_ARG(name_of(c, p->a)), STR_ARG(name_of(c, p->b)),
                   compare_change(p->later).text);
    }
    for (size_t i = 0; i < r->models && !c->run_options.duet; i++)
        if (fabs(log(r->position[i])) > log1p(place_worth_saying) && r->blocks >= 30)
            REMARK(
                c, STYLE_NONE,
                "Who was asked %s in a block took %s against the usual: order matters here, and is "
                "balanced.",
                i == 0               ? "first"
                : i + 1 == r->models ? "last"
                                     : "in between",
                compare_change(r->position[i]).text);
}

/* "E2E: last token's arrival - first byte sent; TTFT: ..." */
static void remark_definitions(struct comparison *c)
{
    struct str text = STR_NONE;
    for (int m = 0; m < COMPARED_COUNT; m++)
        if (c->report.has[m] && (m != COMPARED_PER_TOKEN || c->report.is_compared[m]))
            text = arena_printf(&c->arena, "%.*s%s: %s. ", STR_ARG(text),
                                compared_info((enum compared)m)->heading,
                                compared_info((enum compared)m)->formula);
    REMARK(c, STYLE_DIM,
           "%.*sPercentiles are nearest rank; a failure is infinitely slow (docs/compare.md).",
           STR_ARG(text));
}

static void remark_run(struct comparison *c)
{
    const struct compare_run *run = &c->run;
    double busy = (double)run->cpu_ns / (double)run->elapsed_ns;
    if (busy > .8 && c->run_options.lanes > 1)
        REMARK(c, STYLE_WARN,
               "This program was busy %s of the time: with --concurrency %zu it may hold requests "
               "up. Times "
               "are from when they were sent, but measure again with less at once.",
               num_pct(busy).text, c->run_options.lanes);
    struct str stamps = STR("by the kernel");
    if (run->stamped_reads == 0)
        stamps = STR("when read returned (no kernel stamps here)");
    else if (run->stamped_reads < run->reads)
        stamps = arena_printf(&c->arena, "by the kernel in %s of reads",
                              num_pct((double)run->stamped_reads / (double)run->reads).text);
    REMARK(
        c, STYLE_DIM,
        "Arrivals are stamped %.*s; reading them lagged behind by %s on average, %s at most.",
        STR_ARG(stamps),
        num_ms(run->stamped_reads ? run->lag_sum_ns / (double)run->stamped_reads / 1000 : NAN).text,
        num_ms(run->stamped_reads ? (double)run->lag_max_ns / 1000 : NAN).text);
    REMARK(c, STYLE_DIM,
           "%s requests in %s, %s spent%s. Seed %llu gives the same order, prompts and intervals "
           "(--seed %llu).",
           num_count((double)run->requests).text, num_ms((double)run->elapsed_ns / 1000).text,
           num_usd(run->spent_usd).text,
           run->unpriced ? ", not counting what has no known price" : "",
           (unsigned long long)c->run_options.seed, (unsigned long long)c->run_options.seed);
}

void compare_find_words(struct comparison *c)
{
    find_verdicts(c);
    remark_end(c);
    for (uint32_t m = 0; m < c->model_count; m++)
        remark_model(c, m);
    remark_lengths(c);
    remark_drift(c);
    remark_run(c);
    remark_definitions(c);
}
