/* warm_up.c -- MSER-5. */
#include "measure/warm_up.h"

#include <math.h>

enum { BATCH = 5, LEAST = 20 };

static double batch_mean(const double *values, size_t batch)
{
    double sum = 0;
    for (size_t i = 0; i < BATCH; i++)
        sum += values[batch * BATCH + i];
    return sum / BATCH;
}

/* From the end, so that mean and squares of the rest (Welford) are at hand for each d; of equal ones the earliest is taken. */
size_t mser5(const double *values, size_t count)
{
    size_t batches = count / BATCH, best = 0;
    double mean = 0, squares = 0, least = INFINITY;
    if (count < LEAST)
        return 0;
    for (size_t d = batches; d-- > 0;) {
        double n = (double)(batches - d), value = batch_mean(values, d), away = value - mean;
        mean += away / n;
        squares += away * (value - mean);
        if (d <= batches / 2 && squares / (n * n) <= least) {
            least = squares / (n * n);
            best = d;
        }
    }
    return best * BATCH;
}
