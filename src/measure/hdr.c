/* hdr.c -- merging and reading; the formats are in hdr_text.c and hdr_payload.c. */
#include "measure/hdr.h"

#include <math.h>

#include "base/mem.h"

uint64_t hdr_low(unsigned octave, unsigned sub)
{
    return octave ? ((uint64_t)HDR_SUBS + sub) << (octave - 1) : sub;
}

uint64_t hdr_high(unsigned octave, unsigned sub)
{
    return hdr_low(octave, sub) + (octave ? (UINT64_C(1) << (octave - 1)) - 1 : 0);
}

static uint64_t middle_of(unsigned octave, unsigned sub)
{
    return hdr_low(octave, sub) + (hdr_high(octave, sub) - hdr_low(octave, sub)) / 2;
}

COLD uint64_t *hdr_new_octave(struct hdr *h, unsigned octave)
{
    return h->octaves[octave] = mem_alloc(HDR_SUBS * sizeof(uint64_t));
}

void hdr_fini(struct hdr *h)
{
    for (unsigned o = 0; o < HDR_OCTAVES; o++)
        mem_free(h->octaves[o]);
    *h = (struct hdr){0};
}

void hdr_merge(struct hdr *into, const struct hdr *from)
{
    if (from->count == 0)
        return;
    for (unsigned o = 0; o < HDR_OCTAVES; o++) {
        if (!from->octaves[o])
            continue;
        uint64_t *buckets = into->octaves[o] ? into->octaves[o] : hdr_new_octave(into, o);
        for (unsigned s = 0; s < HDR_SUBS; s++)
            buckets[s] += from->octaves[o][s];
    }
    into->min = into->count == 0 ? from->min : MIN(into->min, from->min);
    into->max = MAX(into->max, from->max);
    into->sum += from->sum;
    into->sum_squares += from->sum_squares;
    into->count += from->count;
}

uint64_t nearest_rank(uint64_t count, double quantile)
{
    double exact = quantile * (double)count;
    uint64_t rank = (uint64_t)ceil(exact - exact * 1e-12);
    return MIN(MAX(rank, UINT64_C(1)), count);
}

uint64_t hdr_at_rank(const struct hdr *h, uint64_t rank)
{
    uint64_t below = 0;
    if (rank <= 1 || h->count == 0)
        return h->count ? h->min : 0;
    for (unsigned o = 0; rank < h->count && o < HDR_OCTAVES; o++) {
        for (unsigned s = 0; h->octaves[o] && s < HDR_SUBS; s++) {
            below += h->octaves[o][s];
            if (below >= rank)
                return MAX(MIN(middle_of(o, s), h->max), h->min);
        }
    }
    return h->max;
}

uint64_t hdr_quantile(const struct hdr *h, double quantile)
{
    return hdr_at_rank(h, nearest_rank(h->count, quantile));
}

double hdr_mean(const struct hdr *h)
{
    return h->count ? h->sum / (double)h->count : NAN;
}

double hdr_stddev(const struct hdr *h)
{
    double n = (double)h->count;
    if (h->count < 2)
        return NAN;
    return sqrt(MAX(h->sum_squares - h->sum * (h->sum / n), 0.0) / (n - 1));
}

uint64_t hdr_between(const struct hdr *h, uint64_t from_ns, uint64_t to_ns)
{
    uint64_t count = 0;
    for (unsigned o = hdr_octave_of(from_ns); from_ns < to_ns && o < HDR_OCTAVES; o++) {
        if (hdr_low(o, 0) >= to_ns)
            break;
        for (unsigned s = 0; h->octaves[o] && s < HDR_SUBS; s++) {
            uint64_t middle = middle_of(o, s);
            count += middle >= from_ns && middle < to_ns ? h->octaves[o][s] : 0;
        }
    }
    return count;
}
