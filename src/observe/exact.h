/* exact.h -- every value kept, four bytes each, so that percentiles are those of the values and not of buckets.
 *
 * Values are whole µs, up to 2^32 (71 minutes); percentiles among longer ones are the histogram's. Pages grow with the number of values: 64
 * bytes for the first few, 4 KiB for many. Zeroed memory is an empty list. Not thread-safe: one a thread, merged. */
#pragma once

#include "observe/histogram.h"

struct exact_page {
    struct exact_page *next;
    uint32_t count, room;
    uint32_t values[];
};

struct exact {
    struct exact_page *pages; /* the first is being filled */
};

void exact_fini(struct exact *e);
void exact_grow(struct exact *e); /* for exact_add */
static inline void exact_add(struct exact *e, uint64_t us)
{
    if (UNLIKELY(!e->pages || e->pages->count == e->pages->room))
        exact_grow(e);
    e->pages->values[e->pages->count++] = (uint32_t)MIN(us, (uint64_t)UINT32_MAX);
}
/* All of `from` becomes part of `into`; `from` is empty then. No value is copied. */
void exact_merge(struct exact *into, struct exact *from);
/* The value that at least `quantile` (0 to 1) of all values of these lists do not exceed (nearest rank). `h` has the same values: it
 * says in which bucket to look, so that only that one's values are sorted. */
uint64_t exact_quantile(const struct exact *const *lists, size_t count, const struct histogram *h,
                        double quantile);
