/* record.c -- the request record as a line: JSON for machines, text for people, and the
 * documentation of both.
 *
 * Called by log_ring.c, once a request, straight into the ring; so this is on the request's road
 * and has neither snprintf nor allocation. The JSON writer is record.def expanded: for each row
 * a copy of the key, whose text and length the compiler knows, and the value. Nothing is decided
 * at run time but whether the value is there.
 *
 * Room is checked once a field (struct out), with RECORD_SLACK bytes kept back so that a number,
 * a bracket or the newline need no check of their own. The first field that does not fit sets
 * `full`, and the caller gets 0 for the whole line.
 *
 * Numbers: times are integers of microseconds, so milliseconds with three decimals are made
 * without floating point. Money is rounded to 1e-12 USD, far below the price of one token, and
 * written with as many decimals as that needs. Threads: all functions are pure; any thread. */
#include "observe/record.h"

#include <math.h>

#include "base/clock.h"
#include "base/digits.h"
#include "base/json.h"
#include "base/json_text.h"
#include "observe/record_names.h"

/* ---- the table ---- */

const struct record_field record_fields[] = {
#define F(name, kind, unit, help)                                                                  \
    {KEY_##kind(name), unit, help, RECORD_##kind, offsetof(struct record, MEMBER_##kind(name))},
#define N(group, name, kind, unit, help)                                                           \
    {#group "." KEY_##kind(name), unit, help, RECORD_##kind,                                       \
     offsetof(struct record, group.MEMBER_##kind(name))},
#define G(group)
#define G_END(group)
#include "observe/record.def"
#undef F
#undef N
#undef G
#undef G_END
};
const size_t record_field_count = COUNT(record_fields);

#define ABSENT_TIME 0
#define ABSENT_STR  STR_NONE
#define ABSENT_INT  -1
#define ABSENT_MS   -1
#define ABSENT_USD  -1
#define ABSENT_RATE -1
#define ABSENT_BOOL -1
#define ABSENT_RAW  STR_NONE

void record_init(struct record *r)
{
    *r = (struct record){
#define F(name, kind, unit, help)        .MEMBER_##kind(name) = ABSENT_##kind,
#define N(group, name, kind, unit, help) .group.MEMBER_##kind(name) = ABSENT_##kind,
#define G(group)
#define G_END(group)
#include "observe/record.def"
#undef F
#undef N
#undef G
#undef G_END
        .output_us = -1,
    };
}

/* ---- values ---- */

struct out {
    char *p, *end; /* end: RECORD_SLACK before the end of the room */
    bool full;
};

/* Is there room for `bytes` and one number? */
static inline bool fits(struct out *o, size_t bytes)
{
    if (LIKELY(o->p < o->end && (size_t)(o->end - o->p) >= bytes))
        return true;
    o->full = true;
    return false;
}

static inline void put_bytes(struct out *o, const char *p, size_t n)
{
    memcpy(o->p, p, n);
    o->p += n;
}

static void put_u64(struct out *o, uint64_t v)
{
    o->p = digits_u64(o->p, v);
}

/* v / `scale`, which is 10^decimals, without trailing zeros. */
static inline void put_decimal(struct out *o, uint64_t v, uint64_t scale, unsigned decimals)
{
    uint64_t fraction = v % scale;
    char *at = digits_u64(o->p, v / scale);
    if (fraction) {
        *at++ = '.';
        at = digits_fixed(at, fraction, decimals);
        while (at[-1] == '0')
            at--;
    }
    o->p = at;
}

/* Bytes of `s` within the cap, not cutting a UTF-8 sequence in two. */
static size_t capped_bytes(struct str s)
{
    if (s.n <= RECORD_STR_MAX)
        return s.n;
    size_t n = RECORD_STR_MAX;
    while (n > RECORD_STR_MAX - 3 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--;
    return n;
}

/* Copies plain ASCII; false at the first byte that needs json_escape. Up to 16 bytes a step; the last step of a
 * longer text looks at bytes again rather than at fewer of them. */
static bool copy_plain(char *out, const char *p, size_t n)
{
    size_t i = 0;
    for (; n - i >= 16; i += 16) {
        if (json_odd_16(p + i))
            return false;
        memcpy(out + i, p + i, 16);
    }
    if (i == n)
        return true;
    if (n >= 16) {
        memcpy(out + n - 16, p + n - 16, 16);
        return !json_odd_16(p + n - 16);
    }
    if (n >= 8) {
        memcpy(out, p, 8);
        memcpy(out + n - 8, p + n - 8, 8);
        return !(json_odd_8(p) | json_odd_8(p + n - 8));
    }
    for (; i < n; i++) {
        if (!json_is_plain((unsigned char)p[i]))
            return false;
        out[i] = p[i];
    }
    return true;
}

static void put_quoted(struct out *o, struct str s)
{
    static const char mark[] = "…\"";
    size_t n = capped_bytes(s), wrote = n + 2;
    if (!fits(o, n + 2))
        return;
    if (copy_plain(o->p + 1, s.p, n)) {
        o->p[0] = '"';
        o->p[n + 1] = '"';
    } else {
        wrote = json_escape(o->p, (size_t)(o->end - o->p), (struct str){s.p, n});
        o->full |= wrote == 0;
    }
    o->p += wrote;
    if (n < s.n && wrote && fits(o, sizeof mark)) {
        o->p--; /* in place of the closing quote */
        put_bytes(o, mark, sizeof mark - 1);
    }
}

/* The record's RAW values are valid JSON by contract. Should one not be, it must still not break
 * the line in two. */
static bool put_json(struct out *o, struct str s)
{
    size_t n = fits(o, 1) ? json_compact(o->p, (size_t)(o->end - o->p), s) : 0;
    if (n == 0 && s.n > (size_t)(o->end - o->p))
        o->full = true;
    if (n == 0 || memchr(o->p, '\n', n))
        return false;
    o->p += n;
    return true;
}

/* ---- is a value there, and how is it written ---- */

#define is_there_TIME(v) ((void)(v), true)
static inline bool is_there_STR(struct str v)
{
    return v.p != NULL;
}
static inline bool is_there_INT(int64_t v)
{
    return v >= 0;
}
static inline bool is_there_MS(int64_t v)
{
    return v >= 0;
}
static inline bool is_there_USD(double v)
{
    return v >= 0 && v < 1e18;
} /* NaN is not there */
static inline bool is_there_RATE(double v)
{
    return v >= 0 && v < 1e16;
}
static inline bool is_there_BOOL(int8_t v)
{
    return v >= 0;
}
static inline bool is_there_RAW(struct str v)
{
    return v.p != NULL && v.n > 0;
}

static void value_TIME(struct out *o, int64_t v)
{
    *o->p++ = '"';
    clock_rfc3339(v, o->p);
    o->p += CLOCK_RFC3339_BYTES;
    *o->p++ = '"';
}

static void value_STR(struct out *o, struct str v)
{
    put_quoted(o, v);
}
static void value_INT(struct out *o, int64_t v)
{
    put_u64(o, (uint64_t)v);
}
static void value_MS(struct out *o, int64_t v)
{
    put_decimal(o, (uint64_t)v, 1000, 3);
}

/* A double holds 15 digits: large sums get fewer decimals rather than invented ones. */
static void value_USD(struct out *o, double v)
{
    if (v < 1e3)
        put_decimal(o, (uint64_t)llround(v * 1e12), 1000000000000, 12);
    else if (v < 1e9)
        put_decimal(o, (uint64_t)llround(v * 1e6), 1000000, 6);
    else
        put_u64(o, (uint64_t)v);
}

static void value_RATE(struct out *o, double v)
{
    put_decimal(o, (uint64_t)llround(v * 100), 100, 2);
}
static void value_BOOL(struct out *o, int8_t v)
{
    put_bytes(o, v ? "true" : "false", v ? 4 : 5);
}

static void value_RAW(struct out *o, struct str v)
{
    if (!put_json(o, v) && !o->full)
        put_bytes(o, "null", 4);
}

/* ---- JSON ---- */

#define PUT(kind, key, value)                                                                      \
    if (is_there_##kind(value) && fits(&o, sizeof(key))) {                                         \
        put_bytes(&o, key, sizeof(key) - 1);                                                       \
        value_##kind(&o, value);                                                                   \
    }

/* What is written without a check of its own: a value other than a string, then the end of the
 * line. */
_Static_assert(RECORD_SLACK >= CLOCK_RFC3339_BYTES + 2 + 2 && RECORD_SLACK >= 20 + 1 + 12 + 2,
               "room kept back");

static struct out out_over(char *out, size_t room)
{
    return (struct out){out, room > RECORD_SLACK ? out + room - RECORD_SLACK : out,
                        room <= RECORD_SLACK};
}

size_t record_write(const struct record *r, char *out, size_t room)
{
    struct out o = out_over(out, room);
    bool open; /* the group has a member already */
#define F(name, kind, unit, help) PUT(kind, ",\"" KEY_##kind(name) "\":", r->MEMBER_##kind(name))
#define G(group)                  open = false;
#define N(group, name, kind, unit, help)                                                           \
    if (!open) {                                                                                   \
        PUT(kind, ",\"" #group "\":{\"" KEY_##kind(name) "\":", r->group.MEMBER_##kind(name))      \
    } else {                                                                                       \
        PUT(kind, ",\"" KEY_##kind(name) "\":", r->group.MEMBER_##kind(name))                      \
    }                                                                                              \
    open |= is_there_##kind(r->group.MEMBER_##kind(name));
#define G_END(group)                                                                               \
    if (open && fits(&o, 1))                                                                       \
        *o.p++ = '}';
#include "observe/record.def"
#undef F
#undef N
#undef G
#undef G_END
    if (o.full)
        return 0;
    out[0] = '{'; /* was the first field's comma */
    put_bytes(&o, "}\n", 2);
    return (size_t)(o.p - out);
}

/* ---- text ---- */

#define WORD_BYTES 128 /* longest text written without quotes */

/* May the text stand without quotes, so that a person can grep and select it? */
static bool is_word(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '=')
            return false;
    }
    return s.n > 0 && s.n <= WORD_BYTES;
}

static void put_word(struct out *o, struct str s)
{
    if (!is_word(s))
        put_quoted(o, s);
    else if (fits(o, s.n))
        put_bytes(o, s.p, s.n);
}

static bool field_is_there(const struct record_field *f, const void *at)
{
    switch (f->kind) {
#define CASE(kind, type)                                                                           \
    case RECORD_##kind: return is_there_##kind(*(const type *)at);
        CASE(TIME, int64_t)
        CASE(STR, struct str)
        CASE(INT, int64_t)
        CASE(MS, int64_t)
        CASE(USD, double)
        CASE(RATE, double)
        CASE(BOOL, int8_t)
        CASE(RAW, struct str)
#undef CASE
    }
    return false;
}

static void put_field_text(struct out *o, const struct record_field *f, const void *at)
{
    switch (f->kind) {
    case RECORD_TIME:
        clock_rfc3339(*(const int64_t *)at, o->p);
        o->p += CLOCK_RFC3339_BYTES;
        break;
    case RECORD_STR: put_word(o, *(const struct str *)at); break;
    case RECORD_INT: value_INT(o, *(const int64_t *)at); break;
    case RECORD_MS: value_MS(o, *(const int64_t *)at); break;
    case RECORD_USD: value_USD(o, *(const double *)at); break;
    case RECORD_RATE: value_RATE(o, *(const double *)at); break;
    case RECORD_BOOL: value_BOOL(o, *(const int8_t *)at); break;
    case RECORD_RAW: value_RAW(o, *(const struct str *)at); break;
    }
}

/* The first three fields (when, how bad, what) stand bare, the others as key=value: `... INFO
 * request request_id=... model=...` */
size_t record_write_text(const struct record *r, char *out, size_t room)
{
    struct out o = out_over(out, room);
    for (size_t i = 0; i < record_field_count && !o.full; i++) {
        const struct record_field *f = &record_fields[i];
        const void *at = (const char *)r + f->offset;
        size_t key = i < 3 ? 0 : strlen(f->name) + 1;
        if (!field_is_there(f, at) || !fits(&o, key + 1))
            continue;
        if (o.p > out)
            *o.p++ = ' ';
        if (key) {
            put_bytes(&o, f->name, key - 1);
            *o.p++ = '=';
        }
        put_field_text(&o, f, at);
    }
    if (o.full)
        return 0;
    *o.p++ = '\n';
    return (size_t)(o.p - out);
}

/* ---- docs/log.md ---- */

static const char docs_head[] =
    "# The request log\n"
    "\n"
    "<!-- Made by `weir docs log` from src/observe/record.def. Change that, not this. -->\n"
    "\n"
    "weir writes one line for every request it has answered, to "
    "`litellm_settings.logging.log_file`. With `log_format: json` "
    "(the default) a line is one JSON object, UTF-8, without blanks, its keys always in the order "
    "of the table below. A field "
    "that is not known is left out, never `null`. With `log_format: text` the same fields stand as "
    "`key=value`.\n"
    "\n"
    "```json\n";

static const char docs_middle[] = "```\n"
                                  "\n"
                                  "Texts longer than 2048 bytes are cut and end in `…`. Control "
                                  "bytes are escaped and broken UTF-8 is replaced, so a line "
                                  "never holds a second newline. Times are milliseconds with up to "
                                  "three decimals; costs are rounded to 1e-12 USD.\n"
                                  "\n"
                                  "## Fields\n"
                                  "\n"
                                  "| field | type | unit | meaning |\n"
                                  "| --- | --- | --- | --- |\n";

static const char docs_tail[] =
    "\n"
    "`engine` and `error` are nested objects: `\"error\":{\"type\":\"upstream_timeout\",...}`.\n"
    "\n"
    "## What you can rely on\n"
    "\n"
    "- A client that got its whole answer has its line in the log, even if weir is killed with "
    "SIGKILL the next moment. Each "
    "worker writes its lines into a ring in shared memory, which outlives the process; one thread "
    "moves them to the file, at "
    "latest 10 ms later. The next start finds the ring, compares it with the file, completes a "
    "line that was cut in two, and "
    "adds what is missing. No line is torn or written twice. (One exception: when the file the "
    "last write went to has "
    "been deleted, compressed or truncated before that start, the lines of that write are written "
    "again rather than lost; "
    "they carry the same `request_id`. And where several processes write to one log and one of "
    "them is killed within a write, "
    "the piece stays as a line of its own beside the whole one.)\n"
    "- A power failure may lose what the kernel had not yet written to the disk, as with any log "
    "that is not synced line by "
    "line.\n"
    "- A full or stalled disk never delays a request. The rings fill "
    "(`weir_settings.log_ring_bytes`, 4 MiB a worker), then records are "
    "dropped and counted; as soon as there is room again a line with `event` `gap` says in "
    "`dropped` how many are missing.\n"
    "- Where the log is `-` (stdout), or no ring file could be made, lines still in memory die "
    "with the process.\n"
    "\n"
    "## Where the rings are\n"
    "\n"
    "`weir-<hash of the log's path>-<n>.ring`, mode 0600, in the first of these that works: "
    "`weir_settings.log_ring_dir`, `/dev/shm`, `$RUNTIME_DIRECTORY`, the log's own folder. "
    "Memory-backed folders come first because on a disk a "
    "worker that touches a page being written back would have to wait for it. `/dev/shm` comes "
    "before "
    "`$RUNTIME_DIRECTORY` because systemd empties the latter whenever the service stops, unless "
    "the unit says "
    "`RuntimeDirectoryPreserve=yes`. A unit with `DynamicUser=yes` loses its files in `/dev/shm` "
    "in the same way: there, set "
    "the folder, with that line in the unit.\n"
    "\n"
    "## Rotation\n"
    "\n"
    "Rename the file and send SIGUSR1, or rename or delete it and do nothing: weir notices within "
    "a second and opens the path "
    "anew. `copytruncate` works too, but loses what is written between the copy and the "
    "truncation.\n"
    "\n"
    "A file for logrotate: [monitoring/logrotate/litellm](../monitoring/logrotate/litellm). It "
    "renames "
    "and sends the signal to the service; [services.md](services.md) has the rest.\n";

/* A line as most are, for the page. */
static void write_example(struct buf *out)
{
    struct record r;
    record_init(&r);
    r.timestamp = 1795485023417000;
    r.level = STR("INFO");
    r.event = STR("request");
    r.request_id = STR("5f0c2c1e-8a54-4f0e-9d0a-3f0e6a0f7f11");
    r.model = STR("gpt-4o-mini");
    r.provider = STR("openai");
    r.call_type = STR("chat.completions");
    r.stream = 1;
    r.status = STR("success");
    r.http_status = 200;
    r.latency_us = 912345;
    r.ttft_us = 301200;
    r.upstream_us = 912300;
    r.overhead_us = 45;
    r.prompt_tokens = 412;
    r.completion_tokens = 96;
    r.total_tokens = 508;
    r.tokens_source = STR("provider");
    r.tokens_per_second = 157.1;
    r.cost_usd = 0.0001194;
    r.finish_reason = STR("stop");
    char *line = buf_room(out, 2048);
    if (line)
        buf_wrote(out, record_write(&r, line, 2048));
}

void record_write_docs(struct buf *out)
{
    static const char *const types[] = {
        [RECORD_TIME] = "time, RFC 3339", [RECORD_STR] = "string", [RECORD_INT] = "integer",
        [RECORD_MS] = "number",           [RECORD_USD] = "number", [RECORD_RATE] = "number",
        [RECORD_BOOL] = "true or false",  [RECORD_RAW] = "JSON",
    };
    bool ok = buf_append(out, docs_head, sizeof docs_head - 1);
    write_example(out);
    ok = ok && buf_append(out, docs_middle, sizeof docs_middle - 1);
    for (size_t i = 0; i < record_field_count; i++) {
        const struct record_field *f = &record_fields[i];
        ok = ok && buf_printf(out, "| `%s` | %s | %s | %s |\n", f->name, types[f->kind], f->unit,
                              f->help);
    }
    ok = ok && buf_append(out, docs_tail, sizeof docs_tail - 1);
    ENSURE(ok); /* the caller's buffer for documentation has no cap */
}
