/* record.h -- the request record: one struct, declared in record.def, from which log, metrics
 * and reports are all derived.
 *
 * A record borrows all its strings from the request's arena, the configuration snapshot or
 * static text; whoever keeps it longer copies. The last members are not fields of the log line:
 * they are what the metrics need to find their series. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

struct deployment;

enum record_kind {
    RECORD_TIME,
    RECORD_STR,
    RECORD_INT,
    RECORD_MS,
    RECORD_USD,
    RECORD_RATE,
    RECORD_BOOL,
    RECORD_RAW
};

/* What a row of each kind declares: the member and its type (record.def says what each kind
 * means). */
#define RECORD_MEMBER_TIME(name) int64_t name
#define RECORD_MEMBER_STR(name)  struct str name
#define RECORD_MEMBER_INT(name)  int64_t name
#define RECORD_MEMBER_MS(name)   int64_t name##_us
#define RECORD_MEMBER_USD(name)  double name
#define RECORD_MEMBER_RATE(name) double name
#define RECORD_MEMBER_BOOL(name) int8_t name
#define RECORD_MEMBER_RAW(name)  struct str name

/* That another model was asked than the one the client named: by names of the configuration. */
struct record_fallback {
    struct str asked,
        to; /* models; `to` is the one tried last, empty: no fallback. `asked` empty: it is the record's model */
    enum error_code cause; /* why the first one could not answer; ERR_NONE: not known */
    int64_t cause_status;  /* what its provider said; < 0: nothing */
    struct str cause_provider;
};

struct record {
#define F(name, kind, unit, help)        RECORD_MEMBER_##kind(name);
#define N(group, name, kind, unit, help) RECORD_MEMBER_##kind(name);
#define G(group)                         struct {
#define G_END(group)                                                                               \
    }                                                                                              \
    group;
#include "observe/record.def"
#undef F
#undef N
#undef G
#undef G_END

    /* ---- for the metrics, not in the line ---- */
    const struct deployment *deployed; /* NULL: none was chosen */
    enum error_code error_code;        /* ERR_NONE on success */
    struct str route;  /* "/v1/chat/completions", as configured, never raw from the wire */
    bool model_known;  /* `model` is a name from the configuration: may become a label */
    int64_t output_us; /* first token to last, < 0 unknown: for time per output token */
    struct record_fallback fallback;
};

/* All fields absent. [any] */
void record_init(struct record *r);

struct record_field {
    const char *name; /* key in the line: "latency_ms"; "engine.load_ms" for nested ones */
    const char *unit, *help;
    enum record_kind kind;
    size_t offset; /* in struct record */
};
extern const struct record_field record_fields[];
extern const size_t record_field_count;

/* Writes the record as one line with its newline; at most `room` bytes. Returns the length, or 0
 * when it does not fit (which may be said up to RECORD_SLACK bytes early). Strings are capped
 * (RECORD_STR_MAX bytes, marked with "…" where cut), control bytes escaped, broken UTF-8
 * replaced; whatever the record holds, the line has exactly one newline, its last byte. [any] */
#define RECORD_STR_MAX 2048
#define RECORD_SLACK   48
size_t record_write(const struct record *r, char *out, size_t room);
/* The same as human text, for log_format: text. */
size_t record_write_text(const struct record *r, char *out, size_t room);
/* docs/log.md, generated. */
void record_write_docs(struct buf *out);
