#include "observe/histogram.h"

#include <math.h>

#include "base/mem.h"

enum { SUBS = 1 << HISTOGRAM_SUB_BITS };

static uint64_t middle_of(unsigned octave, unsigned sub)
{
    if (octave == 0)
        return sub;
    uint64_t width = UINT64_C(1) << (octave - 1);
    return (SUBS + sub) * width + (width - 1) / 2;
}

COLD uint32_t *histogram_new_octave(struct histogram *h, unsigned octave)
{
    return h->octaves[octave] = mem_alloc(SUBS * sizeof(uint32_t));
}

void histogram_fini(struct histogram *h)
{
    for (unsigned o = 0; o < HISTOGRAM_OCTAVES; o++)
        mem_free(h->octaves[o]);
    *h = (struct histogram){0};
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    if (from->count == 0)
        return;
    for (unsigned o = 0; o < HISTOGRAM_OCTAVES; o++) {
        if (!from->octaves[o])
            continue;
        uint32_t *buckets = into->octaves[o] ? into->octaves[o] : histogram_new_octave(into, o);
        for (unsigned s = 0; s < SUBS; s++)
            buckets[s] += from->octaves[o][s];
    }
    into->min = into->count == 0 ? from->min : MIN(into->min, from->min);
    into->max = MAX(into->max, from->max);
    into->sum += from->sum;
    into->count += from->count;
}

uint64_t histogram_rank(const struct histogram *h, double quantile)
{
    uint64_t rank = (uint64_t)ceil(quantile * (double)h->count);
    return MIN(MAX(rank, UINT64_C(1)), h->count);
}

/* Where the value of that rank is, and how many values come before its bucket. */
static void find_rank(const struct histogram *h, uint64_t rank, unsigned *octave, unsigned *sub,
                      uint64_t *below)
{
    *below = 0;
    for (*octave = 0; *octave < HISTOGRAM_OCTAVES; ++*octave) {
        const uint32_t *buckets = h->octaves[*octave];
        for (*sub = 0; buckets && *sub < SUBS; ++*sub) {
            if (*below + buckets[*sub] >= rank)
                return;
            *below += buckets[*sub];
        }
    }
    ENSURE(!"a rank past the count");
}

struct histogram_bucket histogram_bucket(const struct histogram *h, uint64_t rank)
{
    unsigned octave, sub;
    struct histogram_bucket b;
    find_rank(h, rank, &octave, &sub, &b.below);
    uint64_t width = octave ? UINT64_C(1) << (octave - 1) : 1;
    b.count = h->octaves[octave][sub];
    b.low = octave ? (SUBS + sub) * width : sub;
    b.high = octave == HISTOGRAM_OCTAVES - 1 && sub == SUBS - 1 ? UINT64_MAX : b.low + width - 1;
    return b;
}

uint64_t histogram_quantile(const struct histogram *h, double quantile)
{
    unsigned octave, sub;
    uint64_t rank = histogram_rank(h, quantile), below;
    if (rank <= 1)
        return h->count ? h->min : 0;
    if (rank >= h->count)
        return h->max;
    find_rank(h, rank, &octave, &sub, &below);
    return MAX(MIN(middle_of(octave, sub), h->max), h->min);
}

void histogram_bands(const struct histogram *h, const uint64_t *begins, size_t count, uint64_t *out)
{
    size_t band = 0;
    memset(out, 0, count * sizeof *out);
    for (unsigned o = 0; o < HISTOGRAM_OCTAVES; o++) {
        for (unsigned s = 0; h->octaves[o] && s < SUBS; s++) {
            while (band + 1 < count && begins[band + 1] <= middle_of(o, s))
                band++;
            out[band] += h->octaves[o][s];
        }
    }
}
