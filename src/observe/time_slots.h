/* time_slots.h -- how often something happened over time, in fixed memory and without knowing the window beforehand.
 *
 * Counts of equal slots, as fine as 64 of them span all stamps seen; when a stamp falls outside, slots double in length. A slot begins at a
 * multiple of its length, so two of one length become exactly one of the next: what is held depends on the stamps only, not on their
 * order, and merging two gives the same as taking all into one. Not thread-safe; plain data, needs no end. */
#pragma once

#include "base/base.h"

#define TIME_SLOTS           64
#define TIME_SLOT_US_MIN     INT64_C(1000)
#define TIME_SLOTS_SHOWN_MAX 32

struct time_slots {
    int64_t slot_us; /* a power of two times TIME_SLOT_US_MIN; 0: nothing yet */
    int64_t first;   /* number of the slot counts[0] stands for: it begins at first * slot_us */
    uint32_t counts[TIME_SLOTS];
};

/* us >= 0. */
void time_slots_add(struct time_slots *t, int64_t us);
void time_slots_merge(struct time_slots *into, const struct time_slots *from);

/* At most TIME_SLOTS_SHOWN_MAX buckets over a window that all stamps lie in: the finest that are each whole slots of any time_slots within it. */
struct time_buckets {
    int64_t start_us, bucket_us;
    size_t count;
};
struct time_buckets time_buckets_over(int64_t first_us, int64_t last_us);
void time_slots_fill(const struct time_slots *t, const struct time_buckets *b, double *counts);
