/* time_slots.c -- counts over time whose slots double in length when they no longer span all stamps. */
#include "observe/time_slots.h"

/* Twice as long slots. */
static void coarsen(struct time_slots *t)
{
    uint32_t counts[TIME_SLOTS] = {0};
    int64_t first = t->first >> 1;
    for (int i = 0; i < TIME_SLOTS; i++)
        counts[((t->first + i) >> 1) - first] += t->counts[i];
    memcpy(t->counts, counts, sizeof counts);
    t->first = first;
    t->slot_us *= 2;
}

static int64_t last_used(const struct time_slots *t)
{
    int last = TIME_SLOTS - 1;
    while (last > 0 && !t->counts[last])
        last--;
    return t->first + last;
}

static void move_first(struct time_slots *t, int64_t first)
{
    size_t by = (size_t)(t->first - first);
    memmove(t->counts + by, t->counts, (TIME_SLOTS - by) * sizeof *t->counts);
    memset(t->counts, 0, by * sizeof *t->counts);
    t->first = first;
}

/* Makes room for a slot's worth that begins at us, in slots of `slot_us` or longer. The first slot is always in use. */
static uint32_t *slot_for(struct time_slots *t, int64_t us, int64_t slot_us)
{
    if (t->slot_us == 0)
        *t = (struct time_slots){.slot_us = slot_us, .first = us / slot_us};
    while (t->slot_us < slot_us)
        coarsen(t);
    while (MAX(last_used(t), us / t->slot_us) - MIN(t->first, us / t->slot_us) >= TIME_SLOTS)
        coarsen(t);
    int64_t slot = us / t->slot_us;
    if (slot < t->first)
        move_first(t, slot);
    return &t->counts[slot - t->first];
}

void time_slots_add(struct time_slots *t, int64_t us)
{
    ++*slot_for(t, us, TIME_SLOT_US_MIN);
}

void time_slots_merge(struct time_slots *into, const struct time_slots *from)
{
    for (int i = 0; i < TIME_SLOTS; i++)
        if (from->counts[i])
            *slot_for(into, (from->first + i) * from->slot_us, from->slot_us) += from->counts[i];
}

struct time_buckets time_buckets_over(int64_t first_us, int64_t last_us)
{
    int64_t us = TIME_SLOT_US_MIN;
    while (last_us / us - first_us / us >= TIME_SLOTS_SHOWN_MAX)
        us *= 2;
    return (struct time_buckets){.start_us = first_us / us * us,
                                 .bucket_us = us,
                                 .count = (size_t)(last_us / us - first_us / us) + 1};
}

void time_slots_fill(const struct time_slots *t, const struct time_buckets *b, double *counts)
{
    for (size_t i = 0; i < b->count; i++)
        counts[i] = 0;
    for (int i = 0; i < TIME_SLOTS; i++) {
        int64_t bucket =
            t->counts[i] ? ((t->first + i) * t->slot_us - b->start_us) / b->bucket_us : 0;
        if (t->counts[i])
            counts[MIN(MAX(bucket, 0), (int64_t)b->count - 1)] += t->counts[i];
    }
}
