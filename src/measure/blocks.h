/* blocks.h -- in which order systems are asked: randomised complete blocks (Fisher). Pure.
 *
 * A block asks every system once, with the same prompt, in random order, so that drift and bursts of load hit all alike. Of any
 * `systems` blocks that follow each other from the first, each system begins one: who goes first may find caches cold or a queue
 * empty, and none is to have that more often than another. */
#pragma once

#include "base/rand.h"

/* order[block * systems + position] = system; `order` has room for blocks * systems. */
void blocks_order(struct rng *r, size_t blocks, size_t systems, uint32_t *order);
