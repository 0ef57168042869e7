/* trace.h -- all lines of one request: those whose request_id or trace_id is the one asked for.
 *
 * In weir's log a request's line and those of its attempts share a request_id. In LiteLLM's each attempt is a line with an
 * id of its own, and the trace_id is what they share (it may also be a whole session's).
 * The beginning of an id will do, from TRACE_PREFIX_MIN bytes on: where it fits several ids they are candidates. A line
 * that has the very id always goes before those that begin with it. Memory: TRACE_LINES_MAX lines and as many
 * candidates; which ones are kept does not depend on the order in which lines come. One a thread, merged. */
#pragma once

#include "observe/log_meaning.h"
#include "observe/log_span.h"

#define TRACE_PREFIX_MIN     6
#define TRACE_LINES_MAX      1000
#define TRACE_CANDIDATES_MAX 1000
#define TRACE_ID_BYTES       160  /* a candidate's; longer ones are cut */
#define TRACE_TEXT_BYTES     4096 /* any text's; longer ones are cut */

/* One allocation: the texts lie behind it. */
struct trace_line {
    bool exact; /* its id is what was asked for; else it begins so */
    enum log_event event;
    enum log_shape shape;
    enum log_outcome outcome;
    struct log_span span;
    uint64_t found; /* one bit a field: its member of `r` is set */
    struct record
        r; /* texts decoded, with a NUL; RAW ones only with keep_content, else .p is NULL */
    struct str matched;  /* the id that fits */
    struct str messages; /* LiteLLM's, with keep_content */
    char texts[];
};

struct trace_candidate {
    char id[TRACE_ID_BYTES];
    uint64_t lines;
    int64_t first_us; /* INT64_MAX: none has a stamp */
};

enum trace_result { TRACE_NOT_FOUND, TRACE_FOUND, TRACE_AMBIGUOUS };

struct trace {
    struct str wanted; /* borrowed */
    bool keep_content;
    struct trace_line **lines;
    size_t count;
    uint64_t exact_lines;               /* all there were */
    struct trace_candidate *candidates; /* by id */
    size_t candidate_count;
    bool more_candidates; /* than are kept */
};

void trace_init(struct trace *t, struct str wanted, bool keep_content);
void trace_fini(struct trace *t);
/* `line` is the whole line; only LiteLLM's messages are looked up in it, and only with keep_content. */
void trace_take(struct trace *t, const struct logline *l, enum log_event event, struct str line);
/* Moves what it needs out of `from`. */
void trace_merge(struct trace *into, struct trace *from);
/* When all is read: which id it is (`id`), and only its lines left, in the order in which they began. May be called again. */
enum trace_result trace_settle(struct trace *t, struct str *id);
/* How many lines the settled trace has, those past TRACE_LINES_MAX included. */
uint64_t trace_line_total(const struct trace *t);
