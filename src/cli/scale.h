/* scale.h -- the arithmetic of a plot's axis: which round values stand on it, and where a value has its place.
 *
 * Three kinds: linear, always with 0 on it; durations in µs, logarithmic, since those of one log go from 1 ms to minutes;
 * moments in µs since 1970, with ticks where the local clock is round. All functions: [any thread], pure, as long as none
 * changes TZ. */
#pragma once

#include "cli/numbers.h"

enum scale_kind { SCALE_LINEAR, SCALE_DURATION, SCALE_CLOCK };

struct scale {
    enum scale_kind kind;
    double low, high;           /* the ends; low < high once scale_round has been */
    double step_least;          /* linear: between ticks; 1 for what is counted in wholes */
    struct num (*show)(double); /* a value as text; not of a clock */
};

#define SCALE_TICKS_MAX   16
#define SCALE_LABEL_BYTES 64

/* Moves the ends outward to where ticks are, for about `most` ticks. Ends may come in any order, equal or not finite: what comes out
 * can be drawn on. A clock's ends stay, for no time is to be shown that was not looked at. */
void scale_round(struct scale *s, int most);
/* Round values within the ends, ascending, about `most` of them; returns how many. */
size_t scale_ticks(const struct scale *s, int most, double out[SCALE_TICKS_MAX]);
/* Where the value is between the ends: 0 to 1, those beyond at the ends; NaN where there is no value. */
double scale_place(const struct scale *s, double value);
/* A tick as text: "100 ms", "14:00", "18 Nov" at midnight. */
void scale_label(const struct scale *s, double tick, char out[SCALE_LABEL_BYTES]);
/* From one value to the next, for a tooltip: "Wed 18 Nov 14:00 to 15:00", "100 ms to 200 ms". */
void scale_span(const struct scale *s, double from, double to, char out[SCALE_LABEL_BYTES]);
