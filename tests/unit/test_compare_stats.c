/* The tests, intervals and verdicts of weir compare: against R's and scipy's answers, and cases counted by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/mem.h"
#include "measure/blocks.h"
#include "measure/compare_stats.h"

static void near(double value, double wanted, double within)
{
    if (!(fabs(value - wanted) <= within))
        fail_msg("%.12g is not %.12g", value, wanted);
}

/* ---- signed ranks ---- */

/* Hollander and Wolfe 1973, 29f: R's example(wilcox.test). */
static const double depression[] = {1.83 - 0.878, 0.50 - 0.647, 1.62 - 0.598,
                                    2.48 - 2.05,  1.68 - 1.06,  1.88 - 1.29,
                                    1.55 - 1.06,  3.06 - 3.14,  1.30 - 1.29};

static void fill_tied(double d[60])
{
    for (int i = 0; i < 60; i++)
        d[i] = (i * 7919 % 101 - 40) / 10.;
}

static void signed_ranks_are_exact_for_few(void **state)
{
    (void)state;
    struct signed_rank s = signed_rank_test(depression, COUNT(depression));
    assert_true(s.exact);
    near(s.w_plus, 40, 0); /* R: V = 40 */
    near(s.p, 0.0390625, 1e-12);
    /* Ties and a zero: all 2^11 signs counted one by one. */
    static const double tied[] = {1, 1, -1, 2, 2, 3, -3, 4, 0, 5, 2, -1};
    s = signed_rank_test(tied, COUNT(tied));
    assert_int_equal(s.n, 11);
    near(s.w_plus, 52.5, 0);
    near(s.p, 0.09375, 1e-12);
    static const double all_alike[6] = {1, 2, 3, 4, 5, 6}, zeros[3] = {0};
    near(signed_rank_test(all_alike, 5).p, 2. / 32, 1e-12);
    near(signed_rank_test(all_alike, 6).p, 2. / 64, 1e-12);
    near(signed_rank_test(zeros, 3).p, 1, 0);
    near(signed_rank_test(NULL, 0).p, 1, 0);
}

static void signed_ranks_are_normal_for_many(void **state)
{
    double d[60];
    (void)state;
    fill_tied(
        d); /* scipy: wilcoxon(d, correction=True, method="approx"), with one zero and many ties */
    struct signed_rank s = signed_rank_test(d, 60);
    assert_int_equal(s.n, 59);
    assert_false(s.exact);
    near(s.w_plus, 59 * 60 / 2. - 580, 0);
    near(s.p, 0.021532075658869908, 1e-12);
}

static void failures_are_the_greatest_differences(void **state)
{
    (void)state;
    near(log_ratio(2, 1), log(2), 1e-15);
    assert_true(isinf(log_ratio(INFINITY, 1)) && log_ratio(INFINITY, 1) > 0);
    assert_true(isinf(log_ratio(1, INFINITY)) && log_ratio(1, INFINITY) < 0);
    assert_true(isnan(log_ratio(INFINITY, INFINITY)));
    /* Two failures share ranks 4 and 5; the pair that failed both counts for nothing. */
    double d[] = {1, -2, 3, INFINITY, -INFINITY, NAN};
    struct signed_rank s = signed_rank_test(d, COUNT(d));
    assert_int_equal(s.n, 5);
    near(s.w_plus, 1 + 3 + 4.5, 0);
}

static void shift_is_as_wilcox_test(void **state)
{
    (void)state;
    struct shift s = hodges_lehmann(depression, COUNT(depression), .95);
    near(s.value, 0.46, 1e-9);
    near(s.low, 0.010, 1e-9);
    near(s.high, 0.786, 1e-9);
    double d[60];
    fill_tied(d);
    s = hodges_lehmann(d, 60, .95); /* all 1,830 means sorted, those of ranks 649 and 1,182 */
    near(s.value, 0.95, 1e-9);
    near(s.low, 0.15, 1e-9);
    near(s.high, 1.75, 1e-9);
    s = hodges_lehmann(d, 5, .95); /* too few for any interval */
    assert_true(isinf(s.low) && isinf(s.high));
    static const double failing[] = {INFINITY, INFINITY, INFINITY, .1, INFINITY, .2, INFINITY};
    s = hodges_lehmann(failing, COUNT(failing), .95);
    assert_true(isinf(s.value) && s.value > 0);
    assert_true(isnan(hodges_lehmann(NULL, 0, .95).value));
}

/* Every mean made and sorted, against bisection. */
static void shift_is_as_counted(void **state)
{
    struct rng r;
    (void)state;
    rng_seed(&r, 11);
    for (size_t n = 1; n < 40; n++) {
        double d[40], means[820];
        size_t count = 0;
        for (size_t i = 0; i < n; i++)
            d[i] = n % 2 ? rng_unit(&r) - .4 : floor(rng_unit(&r) * 5);
        for (size_t i = 0; i < n; i++)
            for (size_t k = i; k < n; k++)
                means[count++] = (d[i] + d[k]) / 2;
        sort_doubles(means, count);
        double wanted = (means[(count - 1) / 2] + means[count / 2]) / 2;
        near(hodges_lehmann(d, n, .95).value, wanted, 1e-12);
    }
}

/* The interval is what the test does not reject: shifted to its ends, p is on either side of 5 %. */
static void interval_and_test_agree(void **state)
{
    struct rng r;
    (void)state;
    rng_seed(&r, 12);
    for (size_t n = 8; n < 120; n += 7) {
        double d[120], moved[120];
        for (size_t i = 0; i < n; i++)
            d[i] = rng_unit(&r) - .3;
        struct shift s = hodges_lehmann(d, n, .95);
        for (int side = -1; side <= 1; side += 2) {
            double end = side < 0 ? s.low : s.high;
            for (size_t i = 0; i < n; i++)
                moved[i] = d[i] - end - side * 1e-9;
            assert_true(signed_rank_test(moved, n).p <= .05);
            for (size_t i = 0; i < n; i++)
                moved[i] = d[i] - end + side * 1e-9;
            assert_true(signed_rank_test(moved, n).p > .05);
        }
    }
}

/* ---- Friedman, McNemar, Holm, distributions ---- */

static void friedman_is_as_in_r(void **state)
{
    (void)state;
    static const double four[] = {7.0, 5.3, 4.9, 8.8, 9.9, 5.7, 7.6,  8.9, 8.5, 4.7,
                                  5.5, 8.1, 5.1, 3.5, 2.8, 3.3, 10.3, 7.7, 8.4, 9.1};
    struct friedman f = friedman_test(four, 5, 4);
    near(f.statistic, 10.68, 1e-9);
    near(f.p, 0.0135882729582177, 1e-12);
    /* Hollander and Wolfe 1973, 140ff, R's example(friedman.test): rounding first base, with ties. */
    static const double rounding[] = {
        5.40, 5.50, 5.55, 5.85, 5.70, 5.75, 5.20, 5.60, 5.50, 5.55, 5.50, 5.40, 5.90, 5.85,
        5.70, 5.45, 5.55, 5.60, 5.40, 5.40, 5.35, 5.45, 5.50, 5.35, 5.25, 5.15, 5.00, 5.85,
        5.80, 5.70, 5.25, 5.20, 5.10, 5.65, 5.55, 5.45, 5.60, 5.35, 5.45, 5.05, 5.00, 4.95,
        5.50, 5.50, 5.40, 5.45, 5.55, 5.50, 5.55, 5.55, 5.35, 5.45, 5.50, 5.55, 5.50, 5.45,
        5.25, 5.65, 5.60, 5.40, 5.70, 5.65, 5.55, 6.30, 6.30, 6.25};
    f = friedman_test(rounding, 22, 3);
    near(f.statistic, 11.142857142857, 1e-9);
    near(f.p, 0.003805040775511383, 1e-12);
    static const double alike[] = {1, 1, 1, 2, 2, 2, NAN, 1, 2};
    f = friedman_test(alike, 3, 3);
    assert_int_equal(f.blocks, 2);
    near(f.p, 1, 0);
    assert_true(isnan(friedman_test(alike, 1, 3).p));
}

static void mcnemar_is_binomial(void **state)
{
    (void)state;
    near(mcnemar_p(1, 8), 0.0390625, 1e-12);
    near(mcnemar_p(3, 3), 1, 0);
    near(mcnemar_p(0, 6), 0.03125, 1e-12);
    near(mcnemar_p(30, 12), 0.007915897334896727, 1e-12);
    near(mcnemar_p(150, 250), 6.531819212838477e-07, 1e-15);
    near(mcnemar_p(0, 0), 1, 0);
}

static void holm_is_as_p_adjust(void **state)
{
    (void)state;
    double p[] = {.01, .04, .03, .005}, with_nan[] = {.04, NAN, .02}, same[] = {.6, .6};
    static const double wanted[] = {.03, .06, .06, .02};
    holm_adjust(p, 4);
    for (int i = 0; i < 4; i++)
        near(p[i], wanted[i], 1e-12);
    holm_adjust(with_nan, 3);
    near(with_nan[0], .04, 1e-12);
    assert_true(isnan(with_nan[1]));
    near(with_nan[2], .04, 1e-12);
    holm_adjust(same, 2);
    near(same[0], 1, 0);
    holm_adjust(p, 0);
}

static void distributions_are_as_in_scipy(void **state)
{
    (void)state;
    near(chi_square_above(3.84, 1), 0.05004352124870519, 1e-13);
    near(chi_square_above(.5, 3), 0.9188914116546758, 1e-13);
    near(chi_square_above(20, 4), 0.0004993992273873336, 1e-13);
    near(chi_square_above(100, 7) / 1.0787979671702833e-18, 1, 1e-9);
    near(chi_square_above(1e-3, 2), 0.9995001249791693, 1e-13);
    near(normal_quantile(.975), 1.959963984540054, 1e-12);
    near(normal_quantile(.8), 0.8416212335729143, 1e-12);
    near(normal_quantile(.001), -3.090232306167813, 1e-12);
}

/* ---- levels ---- */

static void levels_are_order_statistics(void **state)
{
    static const struct {
        size_t n;
        double quantile, value, low,
            high; /* values are 1 to n, so these are ranks; scipy.stats.binom */
    } rows[] = {
        {100, .5, 50, 40, 61},     {72, .95, 69, 64, 72}, {368, .99, 365, 360, 368},
        {1000, .9, 900, 881, 919}, {6, .5, 3, 1, 6},
    };
    double values[1000];
    (void)state;
    for (int i = 0; i < 1000; i++)
        values[i] = i + 1;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct estimate l = compare_level(values, rows[i].n, (double)rows[i].n, rows[i].quantile);
        near(l.value, rows[i].value, 0);
        near(l.low, rows[i].low, 0);
        near(l.high, rows[i].high, 0);
        assert_false(l.refused);
    }
    struct estimate l = compare_level(values, 71, 71, .95);
    assert_true(isnan(l.value));
    assert_int_equal(l.need, 72);
    assert_int_equal(compare_level(values, 367, 367, .99).need, 368);
    l = compare_level(values, 100, 25, .5); /* a quarter of them independent: twice as wide */
    near(l.high - l.low, 2 * (61 - 40), 2);
}

/* ---- order of trials ---- */

static void every_block_is_whole_and_firsts_are_even(void **state)
{
    struct rng r;
    uint32_t order[600 * 5];
    (void)state;
    rng_seed(&r, 5);
    for (size_t systems = 1; systems <= 5; systems++) {
        size_t at[5][5] = {{0}};
        blocks_order(&r, 600, systems, order);
        for (size_t b = 0; b < 600; b++) {
            unsigned seen = 0;
            for (size_t p = 0; p < systems; p++) {
                seen |= 1u << order[b * systems + p];
                at[order[b * systems + p]][p]++;
            }
            assert_int_equal(seen, (1u << systems) - 1);
        }
        for (size_t s = 0; s < systems; s++) {
            assert_int_equal(at[s][0], 600 / systems);
            for (size_t p = 1; p < systems; p++) /* four sigma of chance */
                near((double)at[s][p], 600. / (double)systems, 4 * sqrt(600. / (double)systems));
        }
    }
}

/* ---- bootstrap ---- */

static void bootstrap_is_seeded_and_covers(void **state)
{
    enum { N = 100, RUNS = 400 };
    static const double quantiles[] = {.5, .95};
    struct rng r;
    double a[N], b[N];
    int covered = 0;
    struct ratio one[2], again[2], other[2];
    (void)state;
    rng_seed(&r, 77);
    for (int run = 0; run < RUNS; run++) {
        for (int i = 0; i < N; i++) {
            a[i] = 1 + 8 * rng_unit(&r);
            b[i] = 1 + 8 * rng_unit(&r);
        }
        bootstrap_ratios(&(struct bootstrap){400, .95, 9}, a, b, N, quantiles, 2, one);
        covered += one[0].low <= 1 && one[0].high >= 1;
        assert_true(one[0].low <= one[0].value && one[0].value <= one[0].high);
    }
    near((double)covered / RUNS, .95,
         .04); /* 3.7 sigma; percentile intervals of medians are a little wide */
    bootstrap_ratios(&(struct bootstrap){400, .95, 9}, a, b, N, quantiles, 2, again);
    bootstrap_ratios(&(struct bootstrap){400, .95, 10}, a, b, N, quantiles, 2, other);
    near(again[0].low, one[0].low, 0);
    near(again[1].high, one[1].high, 0);
    assert_true(other[0].low < one[0].low || other[0].low > one[0].low ||
                other[1].high < one[1].high || other[1].high > one[1].high);
}

static void bootstrap_takes_whole_blocks(void **state)
{
    static const double quantiles[] = {.5, .95};
    double a[101], b[101];
    struct ratio ratios[2];
    (void)state;
    for (int i = 0; i < 101; i++) {
        b[i] = exp(i * 37 % 101 / 20.);
        a[i] = 2 * b[i]; /* the spread between blocks is great, within them there is none */
    }
    bootstrap_ratios(&(struct bootstrap){1000, .95, 3}, a, b, 101, quantiles, 2, ratios);
    for (int q = 0; q < 2; q++) {
        near(ratios[q].value, 2, 1e-12);
        near(ratios[q].low, 2, 1e-12);
        near(ratios[q].high, 2, 1e-12);
    }
    for (int i = 0; i < 101; i++)
        a[i] = i % 4 ? INFINITY : a[i]; /* three of four fail */
    bootstrap_ratios(&(struct bootstrap){1000, .95, 3}, a, b, 101, quantiles, 1, ratios);
    assert_true(isinf(ratios[0].value) && isinf(ratios[0].low) && isinf(ratios[0].high));
}

/* ---- verdicts ---- */

static const struct compare_plan plan = {
    .alpha = .05, .min_effect = .05, .resamples = 1000, .seed = 1};

/* Values of `systems` systems around the given factors, with noise of `sigma` within a block and far more between blocks. */
static void make(struct rng *r, double *values, size_t blocks, size_t systems,
                 const double *factors, double sigma)
{
    for (size_t b = 0; b < blocks; b++) {
        double of_block = exp(2 * rng_unit(r));
        for (size_t s = 0; s < systems; s++)
            values[b * systems + s] =
                of_block * factors[s] * exp(sigma * (rng_unit(r) - .5) * sqrt(12));
    }
}

static void verdicts_are_four(void **state)
{
    static const struct {
        double factors[2], sigma;
        size_t blocks;
        enum verdict wanted;
        bool beyond;
    } rows[] = {
        {{1, 1.3}, .1, 60, VERDICT_FASTER, true},
        {{1.3, 1}, .1, 60, VERDICT_SLOWER, true},
        {{1, 1.07}, .08, 60, VERDICT_FASTER, false}, /* surely faster, perhaps not by 5 % */
        {{1, 1}, .03, 200, VERDICT_EQUIVALENT, false},
        {{1, 1.02},
         .02,
         200,
         VERDICT_EQUIVALENT,
         false}, /* surely different, by less than what matters */
        {{1, 1}, .4, 20, VERDICT_INCONCLUSIVE, false},
        {{1, 3}, .1, 5, VERDICT_INCONCLUSIVE, false}, /* five blocks cannot show anything */
        {{1, 3}, .1, 6, VERDICT_FASTER, true},
        {{1, 1}, 0, 5, VERDICT_INCONCLUSIVE, false},
    };
    double values[2 * 200];
    struct rng r;
    (void)state;
    rng_seed(&r, 21);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct compare_result result;
        make(&r, values, rows[i].blocks, 2, rows[i].factors, rows[i].sigma);
        compare_values(values, rows[i].blocks, 2, &plan, &result);
        if (result.pair[0].verdict != rows[i].wanted)
            fail_msg("row %zu: %s (p %g, %g to %g)", i, verdict_names[result.pair[0].verdict],
                     result.pair[0].p_holm, result.pair[0].typical.low,
                     result.pair[0].typical.high);
        assert_int_equal(result.pair[0].beyond, rows[i].beyond);
        compare_result_fini(&result);
    }
}

static void failures_make_slower(void **state)
{
    double values[2 * 40], both[2 * 40];
    static const double same[] = {1, 1};
    struct compare_result result;
    struct rng r;
    (void)state;
    rng_seed(&r, 22);
    make(&r, values, 40, 2, same, .05);
    memcpy(both, values, sizeof both);
    for (int b = 0; b < 40; b++) {
        values[2 * b] = b % 2 ? INFINITY : values[2 * b];
        both[2 * b] = both[2 * b + 1] = INFINITY;
    }
    compare_values(values, 40, 2, &plan, &result);
    assert_int_equal(result.pair[0].verdict, VERDICT_SLOWER);
    assert_int_equal(result.system[0].failures, 20);
    assert_int_equal(result.system[1].failures, 0);
    compare_result_fini(&result);
    compare_values(both, 40, 2, &plan, &result); /* no answer from either says nothing of speed */
    assert_int_equal(result.pair[0].verdict, VERDICT_INCONCLUSIVE);
    assert_true(isinf(result.system[0].median.value));
    compare_result_fini(&result);
}

static void many_systems_are_corrected(void **state)
{
    enum { N = 40, SYSTEMS = 4 };
    static const double factors[] = {1, 1, 1, 2};
    double values[N * SYSTEMS];
    struct compare_result result;
    struct rng r;
    bool turned;
    (void)state;
    rng_seed(&r, 23);
    make(&r, values, N, SYSTEMS, factors, .3);
    compare_values(values, N, SYSTEMS, &plan, &result);
    assert_int_equal(result.pair_count, 6);
    assert_true(result.friedman.p < 1e-6);
    assert_false(result.nothing_shown);
    for (size_t i = 0; i < 6; i++) {
        const struct compare_pair *p = &result.pair[i];
        assert_true(p->p_holm >= p->p);
        assert_int_equal(p->verdict, p->b == 3 ? VERDICT_FASTER : VERDICT_INCONCLUSIVE);
        assert_true(compare_pair_of(&result, p->b, p->a, &turned) == p && turned);
    }
    compare_result_fini(&result);
    /* Where Friedman shows nothing, a pair's own p is not enough: 9 blocks of 3 in which ranks cancel but one pair's sizes do not. */
    for (int b = 0; b < N; b++)
        for (int s = 0; s < SYSTEMS; s++)
            values[b * SYSTEMS + s] = 1 + (b + s) % SYSTEMS;
    compare_values(values, N, SYSTEMS, &plan, &result);
    assert_true(result.nothing_shown);
    for (size_t i = 0; i < 6; i++)
        assert_true(result.pair[i].verdict == VERDICT_INCONCLUSIVE);
    compare_result_fini(&result);
}

static void missing_values_leave_a_pairs_block_out(void **state)
{
    double values[3 * 30];
    static const double factors[] = {1, 1.5, 1.5};
    struct compare_result result;
    struct rng r;
    (void)state;
    rng_seed(&r, 24);
    make(&r, values, 30, 3, factors, .1);
    for (int b = 0; b < 30; b++)
        values[3 * b + 2] = b < 10 ? values[3 * b + 2] : NAN;
    compare_values(values, 30, 3, &plan, &result);
    assert_int_equal(result.pair[0].blocks, 30);
    assert_int_equal(result.pair[1].blocks, 10);
    assert_int_equal(result.friedman.blocks, 10);
    assert_int_equal(result.system[2].values, 10);
    assert_int_equal(result.pair[0].verdict, VERDICT_FASTER);
    compare_result_fini(&result);
    for (int b = 0; b < 30; b++)
        values[3 * b + 2] =
            NAN; /* a system without any value is no reason to be silent of the others */
    compare_values(values, 30, 3, &plan, &result);
    assert_int_equal(result.pair[0].verdict, VERDICT_FASTER);
    assert_int_equal(result.pair[1].blocks, 0);
    assert_int_equal(result.pair[1].verdict, VERDICT_INCONCLUSIVE);
    compare_result_fini(&result);
    compare_values(values, 0, 3, &plan, &result);
    assert_int_equal(result.pair[0].verdict, VERDICT_INCONCLUSIVE);
    compare_result_fini(&result);
    compare_values(values, 30, 1, &plan, &result);
    assert_int_equal(result.pair_count, 0);
    compare_result_fini(&result);
}

static void blocks_needed_are_as_published(void **state)
{
    (void)state;
    near(compare_blocks_needed(.35, .10), 222, 1); /* facts/benchmarking §5.2 */
    near(compare_blocks_needed(.35, .20), 61, 1);
}

static void drift_is_told(void **state)
{
    double values[2 * 40];
    struct compare_result result;
    (void)state;
    for (int b = 0; b < 40; b++) {
        values[2 * b] = (b < 20 ? 1 : 2) * (1 + b % 3 * .01);
        values[2 * b + 1] = 1 + b % 5 * .01;
    }
    compare_values(values, 40, 2, &plan, &result);
    near(result.system[0].later, 2, .05);
    near(result.system[1].later, 1, .05);
    near(result.pair[0].later, 2, .05);
    assert_true(result.system[0].autocorrelation > .8);
    compare_result_fini(&result);
}

static void successes_are_paired(void **state)
{
    signed char good[3 * 20];
    struct compare_success s[3];
    (void)state;
    for (int b = 0; b < 20; b++) {
        good[3 * b] = 1;
        good[3 * b + 1] = b >= 8;
        good[3 * b + 2] = b < 19 ? 1 : -1;
    }
    compare_successes(good, 20, 3, s);
    assert_int_equal(s[0].only_a, 8);
    assert_int_equal(s[0].only_b, 0);
    near(s[0].p, 2. / 256, 1e-12);
    near(s[0].p_holm, 6. / 256, 1e-12);
    assert_int_equal(s[1].blocks, 19);
    near(s[1].p_holm, 1, 0);
    near(s[2].p_holm, 6. / 256, 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signed_ranks_are_exact_for_few),
        cmocka_unit_test(signed_ranks_are_normal_for_many),
        cmocka_unit_test(failures_are_the_greatest_differences),
        cmocka_unit_test(shift_is_as_wilcox_test),
        cmocka_unit_test(shift_is_as_counted),
        cmocka_unit_test(interval_and_test_agree),
        cmocka_unit_test(friedman_is_as_in_r),
        cmocka_unit_test(mcnemar_is_binomial),
        cmocka_unit_test(holm_is_as_p_adjust),
        cmocka_unit_test(distributions_are_as_in_scipy),
        cmocka_unit_test(levels_are_order_statistics),
        cmocka_unit_test(every_block_is_whole_and_firsts_are_even),
        cmocka_unit_test(bootstrap_is_seeded_and_covers),
        cmocka_unit_test(bootstrap_takes_whole_blocks),
        cmocka_unit_test(verdicts_are_four),
        cmocka_unit_test(failures_make_slower),
        cmocka_unit_test(many_systems_are_corrected),
        cmocka_unit_test(missing_values_leave_a_pairs_block_out),
        cmocka_unit_test(blocks_needed_are_as_published),
        cmocka_unit_test(drift_is_told),
        cmocka_unit_test(successes_are_paired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
