/* results_internal.h -- between results.c and results_slots.c: what goes by the clock. */
#pragma once

#include "measure/results.h"

/* Puts a sample into its slots of time; returns how many tokens of its answer arrived in the window. */
uint64_t slots_take(struct results *r, const struct sample *s);
void slots_merge(struct results *into, const struct results *from);
void slots_seal(struct results *r); /* in_flight of each */
void slots_fini(struct results *r);
