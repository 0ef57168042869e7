/* when.h -- moments, spans and windows as people write them, and the stamps of logs.
 *
 * For --since, --until, --last, --timeline and --compare-with of `weir tail` and `weir analyze`; when_stamp reads the lines.
 * A moment is in µs since 1970, a span in µs. Case does not matter and blanks are tolerated, but in when_stamp. `now_us` is the
 * caller's, so that tests and all options of one command mean the same now. What is written without a zone is local time (TZ).
 *
 * Outputs are set on success only. A failure's sentence names what was expected, what was found, and how each form is
 * written; the caller puts the option's name in front. [any thread], as long as none changes TZ. */
#pragma once

#include "base/err.h"

/* One of each form: for the sentences here and for --help. */
#define WHEN_MOMENT_EXAMPLES                                                                       \
    "now, 15m, -3h, \"2 hours ago\", 14:00, today, \"yesterday 14:00\", monday, 2026-11-25, "      \
    "\"2026-11-25 14:00\", 2026-11-25T14:00:00+01:00, @1795640452"
#define WHEN_SPAN_EXAMPLES "250ms, 90s, 15m, 1h30m, 1.5h, 2d, 1w, \"2 hours 5 minutes\""
#define WHEN_WINDOW_EXAMPLES                                                                       \
    "today, yesterday, \"last hour\", \"last week\", monday, 2026-11-24, "                         \
    "\"2026-11-24 14:00..2026-11-24 15:30\", 2h..1h"

/* A moment, from year 1 to 9999:
 *   now                                     2h, -2h, "2 hours ago", "an hour ago": that long before now
 *   today, yesterday                        00:00 of that day
 *   monday, "last mon"                      00:00 of the most recent one before today: on a Monday, a week ago
 *   2026-11-25                              00:00 of that day
 *   @1795640452, @1795640452123             seconds (with a fraction, if you like) or milliseconds since 1970
 * A day may be followed by a time: "yesterday 14:00", "monday at 9:30", "2026-11-25T14:00:05.250". A time alone is
 * today's, also one that is yet to come. A time may be followed by a zone, Z, UTC or ±hh[[:]mm]; "today" is then that zone's. */
MUST_USE bool when_parse(struct str text, int64_t now_us, int64_t *out_us, struct err *e);

/* A span, more than 0: numbers with units (us ms s m h d w and their names), larger units first, each once. A day is
 * 24 hours here, whatever the clocks do. Months and years are refused: they have no one length. */
MUST_USE bool when_span(struct str text, int64_t *out_us, struct err *e);

/* A window, *until_us exclusive and after *from_us. A day is that whole local day, be it of 23, 24 or 25 hours; "last week" the
 * Monday to Sunday before this one (ISO 8601); "last hour" the clock hour before this one. "A..B" are two moments as
 * when_parse takes them: "monday..tuesday" ends where Tuesday begins. */
MUST_USE bool when_window(struct str text, int64_t now_us, int64_t *from_us, int64_t *until_us,
                          struct err *e);

/* The stamp of a log's line: RFC 3339, or ISO 8601's extended form. "2026-11-24T01:49:00.123Z"; 'T' or one blank between; '.' or
 * ',' and any number of digits of fraction, or none (below 1 µs is cut off); Z, ±hh:mm, ±hhmm, ±hh, or no zone: then *zoned is
 * false, the value is read as if it were UTC, and the caller decides. All of `text` must match, and the date must
 * exist. Second 60 is 59.999999. Neither allocates nor calls anything. */
MUST_USE bool when_stamp(struct str text, int64_t *out_us, bool *zoned);

#define WHEN_TEXT_BYTES 40 /* enough for each of the three below, NUL included */
/* For people, rounded to what they care about: "250 ms", "4.2 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
struct str when_span_text(int64_t us, char *out, size_t out_bytes);
/* Local time, whole seconds: "2026-11-25 14:03:07". */
struct str when_text(int64_t us, char *out, size_t out_bytes);
/* The same with its zone, "2026-11-25 14:03:07+01:00" or "2026-11-25 13:03:07Z": when_parse takes it back. */
struct str when_text_zoned(int64_t us, char *out, size_t out_bytes);
