/* warm_up.h -- how much of a run's beginning is no part of its steady state? [any thread], pure. */
#pragma once

#include "base/base.h"

/* MSER-5 (White, Cobb and Spratt, 2000): how many of the first values to leave out, so that the mean of the rest is best known: of batches of five,
 * those from d on, with d up to half of them, whose squared standard error is least. Values in the order of time. A proposal, not a cut: say what was
 * left out. Half of the batches' values means that the run did not settle. 0 below 20 values. */
size_t mser5(const double *values, size_t count);
