/* tail_view.h -- what `weir tail` shows of a line: one aligned line a request, and what failed below it.
 *
 * Contents of requests and answers are not shown unless asked for, keys' hashes only by their beginning, and what looks like a
 * secret in an error's message is masked. Text reaches the terminal through term_put and term_field only. */
#pragma once

#include "base/buf.h"
#include "cli/term.h"
#include "observe/logline.h"

#define TAIL_COLUMNS_MAX 24

struct tail_view {
    const struct term *term; /* its columns may change between lines */
    bool show_content;
    int field_count; /* --fields; 0: the usual columns */
    enum log_field fields[TAIL_COLUMNS_MAX];
    int64_t day_us;      /* terminal: start of the local day that was last named, and ... */
    int64_t next_day_us; /* ... of the one behind it; 0: none was */
};

/* "timestamp,model,latency_ms". False: `e` names the nearest field. */
MUST_USE bool tail_view_fields(struct tail_view *v, const char *names, struct err *e);
/* The columns' names. */
void tail_view_heading(const struct tail_view *v);
/* A line that was read, and one that is no JSON. */
void tail_view_line(struct tail_view *v, const struct logline *l, struct str line);
void tail_view_broken(const struct tail_view *v, struct str line);
/* A remark of the tool's own. */
void tail_view_note(const struct tail_view *v, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Text for one line as it may be shown: secrets masked, if they are to be, and line ends and tabs as blanks. At most `out_bytes`, no NUL. */
size_t tail_view_public(const struct tail_view *v, struct str text, char *out, size_t out_bytes);
/* The whole record, a member a line. */
void tail_view_record(const struct tail_view *v, struct str line);

/* ---- tail_json.c ---- */
/* The line's JSON object without what is private: members that hold contents are cut out, secrets masked. `out`, which has no cap, is
 * cleared first. False: it is not quite JSON (broken UTF-8, too deep), and nobody can say what it holds. */
MUST_USE bool tail_json_public(struct str line, struct buf *out);
