#include "observe/exact.h"

#include "base/mem.h"

enum { ROOM_MIN = 12, ROOM_MAX = 1020 }; /* with the page's head: 64 bytes to 4 KiB */

void exact_fini(struct exact *e)
{
    for (struct exact_page *p = e->pages, *next; p; p = next) {
        next = p->next;
        mem_free(p);
    }
    e->pages = NULL;
}

COLD void exact_grow(struct exact *e)
{
    uint32_t room = e->pages ? MIN(e->pages->room * 2, (uint32_t)ROOM_MAX) : ROOM_MIN;
    struct exact_page *p = mem_realloc(NULL, sizeof *p + room * sizeof *p->values);
    p->room = room;
    p->count = 0;
    p->next = e->pages;
    e->pages = p;
}

/* The page being filled stays in front: that of the list with the larger one. */
void exact_merge(struct exact *into, struct exact *from)
{
    if (!from->pages)
        return;
    if (!into->pages || from->pages->room > into->pages->room) {
        struct exact swapped = *into;
        *into = *from;
        *from = swapped;
    }
    struct exact_page **end = &into->pages->next, *rest = into->pages->next;
    *end = from->pages;
    while (*end)
        end = &(*end)->next;
    *end = rest;
    from->pages = NULL;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Puts the values in [low, low + span] into `out`; returns how many they are, at most `room`. */
static size_t pick(const struct exact *e, uint32_t low, uint32_t span, uint32_t *out, size_t room)
{
    size_t n = 0;
    for (const struct exact_page *p = e->pages; p; p = p->next)
        for (uint32_t v = 0; v < p->count; v++)
            if (UNLIKELY(p->values[v] - low <= span) && n < room)
                out[n++] = p->values[v];
    return n;
}

uint64_t exact_quantile(const struct exact *const *lists, size_t count, const struct histogram *h,
                        double quantile)
{
    uint64_t rank = histogram_rank(h, quantile);
    if (rank <= 1 || rank >= h->count)
        return rank <= 1 ? h->min : h->max;
    struct histogram_bucket b = histogram_bucket(h, rank);
    if (b.high >= UINT32_MAX)
        return histogram_quantile(h, quantile);
    uint32_t *values = mem_alloc(b.count * sizeof *values);
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += pick(lists[i], (uint32_t)b.low, (uint32_t)(b.high - b.low), values + n, b.count - n);
    ENSURE(n == b.count);
    qsort(values, n, sizeof *values, compare);
    uint64_t value = values[rank - b.below - 1];
    mem_free(values);
    return value;
}
