#include "observe/significance.h"

#include <math.h>

enum { SUBS = 128, EXPECTED_MIN = 5, RANKED_MIN = 8 }; /* SUBS: as histogram.h says */

static const double z95 = 1.959963984540054;

static double two_sided(double z)
{
    return erfc(fabs(z) / sqrt(2));
}

struct interval wilson_interval(uint64_t count, uint64_t n)
{
    if (n == 0)
        return (struct interval){NAN, NAN};
    double size = (double)n, share = (double)count / size, z2 = z95 * z95;
    double middle = (share + z2 / (2 * size)) / (1 + z2 / size);
    double half = z95 * sqrt(share * (1 - share) / size + z2 / (4 * size * size)) / (1 + z2 / size);
    return (struct interval){MAX(middle - half, 0.0), MIN(middle + half, 1.0)};
}

double proportions_p(uint64_t a, uint64_t n_a, uint64_t b, uint64_t n_b)
{
    double na = (double)n_a, nb = (double)n_b;
    if (n_a == 0 || n_b == 0)
        return NAN;
    double pooled = ((double)a + (double)b) / (na + nb);
    double rarer = MIN(pooled, 1 - pooled);
    if (rarer == 0 && MIN(na, nb) >= EXPECTED_MIN)
        return 1; /* all alike on both sides */
    if (rarer * MIN(na, nb) < EXPECTED_MIN)
        return NAN;
    double error = sqrt(pooled * (1 - pooled) * (1 / na + 1 / nb));
    return two_sided(((double)a / na - (double)b / nb) / error);
}

struct rank_test rank_test(const struct histogram *a, const struct histogram *b)
{
    if (!a || !b || a->count < RANKED_MIN || b->count < RANKED_MIN)
        return (struct rank_test){NAN, NAN};
    double na = (double)a->count, nb = (double)b->count, n = na + nb;
    double less = 0, above_b = nb, ties = 0;
    for (unsigned o = 0; o < HISTOGRAM_OCTAVES; o++) {
        for (unsigned s = 0; (a->octaves[o] || b->octaves[o]) && s < SUBS; s++) {
            double in_a = a->octaves[o] ? a->octaves[o][s] : 0;
            double in_b = b->octaves[o] ? b->octaves[o][s] : 0, in_both = in_a + in_b;
            above_b -= in_b;
            less += in_a * (above_b + in_b / 2);
            ties += in_both * in_both * in_both - in_both;
        }
    }
    double variance = na * nb / 12 * (n + 1 - ties / (n * (n - 1)));
    double p = variance > 0 ? two_sided((less - na * nb / 2) / sqrt(variance)) : 1;
    return (struct rank_test){p, less / (na * nb)};
}

double student_t95(unsigned degrees_of_freedom)
{
    static const double exact[] = {NAN,   12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365,
                                   2.306, 2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
                                   2.120, 2.110,  2.101, 2.093, 2.086, 2.080, 2.074, 2.069,
                                   2.064, 2.060,  2.056, 2.052, 2.048, 2.045};
    return degrees_of_freedom < COUNT(exact) ? exact[degrees_of_freedom]
                                             : z95 + 2.4 / degrees_of_freedom;
}
