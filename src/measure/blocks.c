/* blocks.c -- see blocks.h. */
#include "measure/blocks.h"

#include "base/mem.h"

/* Fisher and Yates. */
static void shuffle(struct rng *r, uint32_t *items, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t with = (size_t)(rng_unit(r) * (double)i);
        uint32_t kept = items[i - 1];
        items[i - 1] = items[with];
        items[with] = kept;
    }
}

void blocks_order(struct rng *r, size_t blocks, size_t systems, uint32_t *order)
{
    uint32_t *firsts = mem_alloc(MAX(systems, (size_t)1) * sizeof *firsts);
    for (size_t b = 0; b < blocks; b++) {
        uint32_t *block = order + b * systems;
        for (size_t s = 0; b % systems == 0 && s < systems; s++)
            firsts[s] = (uint32_t)s;
        if (b % systems == 0)
            shuffle(r, firsts, systems);
        uint32_t first = firsts[b % systems];
        size_t at = 0;
        block[at++] = first;
        for (uint32_t s = 0; s < systems; s++)
            if (s != first)
                block[at++] = s;
        shuffle(r, block + 1, systems - 1);
    }
    mem_free(firsts);
}
