/* log_template.h -- the fast way through a line of weir's own: record.def, expanded into a run of "is this key next?". Private to logline.c. */
#pragma once

#include "observe/log_value.h"
#include "observe/record_names.h"

/* memcmp of a literal, by words that may overlap: the compiler calls a function for all but the shortest. */
static inline __attribute__((always_inline)) bool at_literal(const char *p, const char *literal,
                                                             size_t n)
{
    uint64_t here, there = 0;
    if (n < 8) {
        memcpy(&there, literal, n);
        return digits_load(p) << (64 - 8 * n) == there << (64 - 8 * n);
    }
    for (size_t i = 0; i + 8 <= n; i += 8) {
        memcpy(&here, p + i, 8);
        memcpy(&there, literal + i, 8);
        if (here != there)
            return false;
    }
    if (n % 8 == 0)
        return true;
    memcpy(&here, p + n - 8, 8);
    memcpy(&there, literal + n - 8, 8);
    return here == there;
}
#define AT(literal) at_literal(p, literal, sizeof(literal) - 1)

/* What a text nearly always is: compared at once, instead of looked through for its end. Its quotes included; "" for others. */
static inline __attribute__((always_inline)) const char *usual_text(enum log_field field)
{
    switch (field) {
    case LOG_level: return "\"INFO\"";
    case LOG_event: return "\"request\"";
    case LOG_call_type: return "\"chat.completions\"";
    case LOG_status: return "\"success\"";
    case LOG_tokens_source: return "\"provider\"";
    case LOG_cache: return "\"off\"";
    case LOG_finish_reason: return "\"stop\"";
    default: return "";
    }
}

static inline __attribute__((always_inline)) bool is_usual(const char *p, enum log_field field)
{
    const char *text = usual_text(field);
    return text[0] && at_literal(p, text, __builtin_strlen(text));
}

/* Ids have a length; 0 for others. A length that is only checked lets the processor go on with what follows meanwhile; one that
 * is looked for makes it wait. */
static inline __attribute__((always_inline)) size_t id_bytes(enum log_field field)
{
    switch (field) {
    case LOG_request_id: return 36;
    case LOG_key_hash: return 64;
    case LOG_trace_id: return 32;
    default: return 0;
    }
}

/* Is p at a string of n bytes, at least 16, that are all plain? */
static inline __attribute__((always_inline)) bool is_plain_string(const char *p, size_t n)
{
    unsigned marks = marks_16(p + 1 + n - 16);
    for (size_t i = 0; i + 16 <= n; i += 16)
        marks |= marks_16(p + 1 + i);
    return p[0] == '"' && p[n + 1] == '"' && !marks;
}

static inline __attribute__((always_inline)) const char *
take_text(struct logline *l, const char *p, enum log_field field, struct str *out)
{
    if (is_usual(p, field)) {
        *out = (struct str){p + 1, __builtin_strlen(usual_text(field)) - 2};
    } else if (id_bytes(field) && is_plain_string(p, id_bytes(field))) {
        *out = (struct str){p + 1, id_bytes(field)};
    } else {
        return value_STR(l, p, UINT64_C(1) << field, out);
    }
    l->found |= UINT64_C(1) << field;
    return p + out->n + 2;
}

/* The value of a field: texts as above, the other kinds as log_value.h has them. */
#define VALUE_TIME(l, p, field, out) value_TIME(l, p, UINT64_C(1) << (field), out)
#define VALUE_STR(l, p, field, out)  take_text(l, p, field, out)
#define VALUE_INT(l, p, field, out)  value_INT(l, p, UINT64_C(1) << (field), out)
#define VALUE_MS(l, p, field, out)                                                                 \
    (l->unwanted >> (field)&1 ? cross_decimal(p) : value_MS(l, p, UINT64_C(1) << (field), out))
#define VALUE_USD(l, p, field, out)  value_USD(l, p, UINT64_C(1) << (field), out)
#define VALUE_RATE(l, p, field, out) value_RATE(l, p, UINT64_C(1) << (field), out)
#define VALUE_BOOL(l, p, field, out) value_BOOL(l, p, UINT64_C(1) << (field), out)
#define VALUE_RAW(l, p, field, out)  value_RAW(l, p, UINT64_C(1) << (field), out)

/* Takes the value behind `key` if that is what comes next. A value of another kind leaves the template. */
#define TAKE(key, kind, field, member)                                                             \
    if (AT(key)) {                                                                                 \
        p = VALUE_##kind(l, p + sizeof(key) - 1, field, &(member));                                \
        if (UNLIKELY(!p))                                                                          \
            return NULL;                                                                           \
    }

/* Reads a line in weir's own order. Returns the byte behind its '}', or NULL: it is for the walker. With `head_only` no further than its
 * status: the byte behind that. long: record.def, expanded. */
static inline __attribute__((always_inline)) const char *
read_template(struct logline *l, const char *p, bool head_only)
{
    bool open;
    if (!AT("{\"timestamp\":"))
        return NULL;
    p = value_TIME(l, p + sizeof("{\"timestamp\":") - 1, LOG_BIT(timestamp), &l->r.timestamp);
    if (!p || !(l->found & LOG_BIT(timestamp)))
        return NULL;
#define F(name, kind, unit, help)                                                                  \
    if (LOG_##name != LOG_timestamp) {                                                             \
        TAKE(",\"" KEY_##kind(name) "\":", kind, LOG_##name, l->r.MEMBER_##kind(name))             \
    }                                                                                              \
    if (head_only && LOG_##name == LOG_status)                                                     \
        return p;
#define G(group) open = false;
#define N(group, name, kind, unit, help)                                                           \
    if (!open && AT(",\"" #group "\":{\"" KEY_##kind(name) "\":")) {                               \
        open = true;                                                                               \
        p += sizeof(",\"" #group "\":{") - 2; /* as if its '{' were a comma */                     \
        p = value_##kind(l, p + sizeof(",\"" KEY_##kind(name) "\":") - 1,                          \
                         UINT64_C(1) << LOG_##group##_##name, &l->r.group.MEMBER_##kind(name));    \
        if (UNLIKELY(!p))                                                                          \
            return NULL;                                                                           \
    } else if (open) {                                                                             \
        TAKE(",\"" KEY_##kind(name) "\":", kind, LOG_##group##_##name,                             \
             l->r.group.MEMBER_##kind(name))                                                       \
    }
#define G_END(group)                                                                               \
    if (open && *p++ != '}')                                                                       \
        return NULL;
#include "observe/record.def"
#undef F
#undef N
#undef G
#undef G_END
    return *p == '}' ? p + 1 : NULL;
}
