/* logline.h -- one line of a request log, read: what `weir tail`, `analyze` and `export` see of a log.
 *
 * Three shapes are understood, told apart line by line: weir's own (schema 1, record.def), LiteLLM's
 * StandardLoggingPayload, and LiteLLM's json_logs. All become the same record.
 * A line is read where it lies: strings are borrowed from it, raw (escapes not decoded; see `escaped`), and only the members
 * named in `found` are set, because clearing a whole record would cost more than reading the line.
 * The bytes must be followed by LOGLINE_SLACK readable ones, the first of which is '\n'.
 * Threads: a struct logline belongs to one thread; functions are otherwise pure. */
#pragma once

#include "observe/log_order.h"
#include "observe/record.h"

#define LOGLINE_SLACK 96 /* an id of 64 bytes is compared whole, wherever the line ends */

/* One a row of record.def, in its order. */
enum log_field {
#define F(name, kind, unit, help)        LOG_##name,
#define N(group, name, kind, unit, help) LOG_##group##_##name,
#define G(group)
#define G_END(group)
#include "observe/record.def"
#undef F
#undef N
#undef G
#undef G_END
    LOG_FIELD_COUNT
};
#define LOG_BIT(field) (UINT64_C(1) << LOG_##field)

/* OTHER: JSON, but nothing that weir knows. */
enum log_shape {
    LOG_SHAPE_WEIR,
    LOG_SHAPE_LITELLM,
    LOG_SHAPE_JSON_LOGS,
    LOG_SHAPE_OTHER,
    LOG_SHAPE_COUNT
};
/* HEAD: logline_read_failed passed over it. */
enum line_status { LINE_READ, LINE_BLANK, LINE_BROKEN, LINE_HEAD };

struct logline {
    uint64_t found; /* one bit a field: its member of `r` is set */
    uint64_t
        unwanted; /* the owner's: fields that need not be found. Their values are crossed where that is faster */
    uint64_t
        escaped; /* string fields that hold a backslash: decode before comparing (logline_text) */
    struct record r;
    enum log_shape shape;
    const char *bad; /* LINE_BROKEN: what was expected, static text ... */
    size_t bad_at;   /* ... and at which byte of the line */

    /* Private: what LiteLLM's payload says before it is known to be one, and the day last seen. */
    uint64_t seen;
    int64_t start_us, end_us, first_token_us;
    /* Raw; valid where `seen` has their bit. */
    struct str group, tags, message, stacktrace, id, error_str;
    char day[11];
    int64_t day_us;
    char words[4][16]; /* decoded words of fixed vocabularies */
    char host[64];     /* decoded address of a json_logs line, where it is written with escapes */
    struct log_order order;
};

void logline_init(struct logline *l);
/* Reads the line at p, which is before `end`. Returns where the next one begins (at most `end`). NUL bytes, blanks
 * and CR around a line are passed over. *status is LINE_BROKEN for what is not one JSON object. */
const char *logline_read(struct logline *l, const char *p, const char *end,
                         enum line_status *status);
/* The same for who asks about failures only: a line of weir's own whose status says that the request did not fail is not read further than
 * that (fields up to `status` are found), and its end is looked for. Whether the rest of such a line is sound nobody knows then; but a second
 * status in it is noticed, and the line read whole. */
const char *logline_read_failed(struct logline *l, const char *p, const char *end,
                                enum line_status *status);
static inline bool logline_has(const struct logline *l, uint64_t bits)
{
    return (l->found & bits) == bits;
}
/* A found string field's text: `raw` itself, or where `escaped` has its bit decoded into `out`, of `out_bytes`. */
struct str logline_text(const struct logline *l, enum log_field field, struct str raw, char *out,
                        size_t out_bytes);
