/* hdr_text.c -- the percentile distribution as HdrHistogram prints it (.hgrm), so that its plotter and those who know it can read it.
 *
 * Levels go from 0 % towards 100 % in ticks, five to each halving of the distance that is left; a line for each, with the greatest value of the
 * bucket that reaches it. Mean and deviation are of the buckets' middles and of the population (n), as there: they may differ from hdr_mean and
 * hdr_stddev in the fourth digit. */
#include <math.h>

#include "measure/hdr.h"

enum { TICKS_PER_HALF = 5, BUCKETS = HDR_OCTAVES - 1, SUB_BUCKETS = 2 * HDR_SUBS };

static double next_level(double percent)
{
    double halvings = trunc(log(100 / (100 - percent)) / log(2)) + 1;
    return percent + 100 / (TICKS_PER_HALF * exp2(halvings));
}

static double middle_of(unsigned octave, unsigned sub)
{
    uint64_t low = hdr_low(octave, sub), size = hdr_high(octave, sub) - low + 1;
    uint64_t middle = low + size / 2;
    return (double)middle;
}

static void write_lines(const struct hdr *h, FILE *out, double scale)
{
    double percent = 0, value = 0;
    uint64_t below = 0;
    for (unsigned o = 0; o < HDR_OCTAVES && below < h->count; o++) {
        for (unsigned s = 0; h->octaves[o] && s < HDR_SUBS && below < h->count; s++) {
            if (h->octaves[o][s] == 0)
                continue;
            below += h->octaves[o][s];
            value = (double)hdr_high(o, s) / scale;
            while (100.0 * (double)below / (double)h->count >= percent) {
                /* Levels are often halves of the last digit: Java rounds them up, printf to even. */
                fprintf(out, "%12.3f %2.12f %10llu %14.2f\n", value, nextafter(percent / 100, 1),
                        (unsigned long long)below, 1 / (1 - percent / 100));
                percent = next_level(percent);
                if (below == h->count)
                    break; /* the last bucket has one tick and then 100 % */
            }
        }
    }
    if (h->count)
        fprintf(out, "%12.3f %2.12f %10llu\n", value, 1.0, (unsigned long long)h->count);
}

static double sum_of_middles(const struct hdr *h, double mean, int power)
{
    double sum = 0;
    for (unsigned o = 0; o < HDR_OCTAVES; o++)
        for (unsigned s = 0; h->octaves[o] && s < HDR_SUBS; s++)
            if (h->octaves[o][s])
                sum += pow(middle_of(o, s) - mean, power) * (double)h->octaves[o][s];
    return sum;
}

void hdr_write_text(const struct hdr *h, FILE *out, double scale)
{
    double n = (double)MAX(h->count, UINT64_C(1));
    double mean = sum_of_middles(h, 0, 1) / n, deviation = sqrt(sum_of_middles(h, mean, 2) / n);
    unsigned octave = hdr_octave_of(h->max);
    uint64_t max = h->max ? hdr_high(octave, hdr_sub_of(octave, h->max)) : 0;
    fprintf(out, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount",
            "1/(1-Percentile)");
    write_lines(h, out, scale);
    fprintf(out, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", mean / scale, deviation / scale);
    fprintf(out, "#[Max     = %12.3f, Total count    = %12llu]\n", (double)max / scale,
            (unsigned long long)h->count);
    fprintf(out, "#[Buckets = %12d, SubBuckets     = %12d]\n", BUCKETS, SUB_BUCKETS);
}
