/* duration.h -- spans as LiteLLM writes them, "30s", "15m", "12h", "30d", "2w", "1mo", and the windows they cut time into.
 *
 * A month is a calendar month (UTC): it has no length of its own, so a duration is seconds or months, and windows are counted from
 * the moment they began at first. All functions: [any thread], pure. */
#pragma once

#include "base/err.h"

struct duration {
    int64_t seconds; /* 0: none, or months */
    int months;
};

#define DURATION_EXAMPLES "30s, 30m, 12h, 30d, 2w, 1mo"

static inline bool duration_given(struct duration d)
{
    return d.seconds > 0 || d.months > 0;
}

/* One whole number above 0 and a unit (s m h d w mo), at most a hundred years. */
MUST_USE bool duration_parse(struct str text, struct duration *out, struct err *e);
/* `times` durations after a moment. A day that a month lacks is that month's last one. */
int64_t duration_after(int64_t from_us, struct duration d, int64_t times);
/* The end of the window that `now_us` lies in, where one ends and the next begins every `d` from `began_us` on. */
int64_t duration_window_end(int64_t began_us, struct duration d, int64_t now_us);
