/* log_ref.h -- a value of a line by its name, as --by and --where take it.
 *
 *   model, error.type, latency_ms      a field of the record, by its key in the line (record.def)
 *   metadata.team, metadata.a.b.0      what the metadata holds there; 0 is an array's first element
 *   request.temperature, response.id   the same of bodies, where they are logged
 *   tag                                the request's tags: weir's metadata.tags, LiteLLM's request_tags
 *
 * Case matters. A dot always begins a new step. LiteLLM puts what the client sent as metadata into metadata.requester_metadata: there
 * it is found, too, unless metadata itself has the name. A null is not there. A reference owns nothing; all functions: [any thread]. */
#pragma once

#include "base/digits.h"
#include "observe/logline.h"

#define LOG_REF_NAME_BYTES 96
#define LOG_REF_TEXT_BYTES 512 /* of a value by which lines are grouped; longer ones are cut */
#define LOG_REF_SLACK      8   /* bytes that may be read behind any text that comes from here */
#define LOG_REF_OUT_BYTES  (LOG_REF_TEXT_BYTES + LOG_REF_SLACK)
#define LOG_REF_TAGS_MAX   32 /* distinct tags of one request that count */

enum log_ref_kind { LOG_REF_FIELD, LOG_REF_PATH, LOG_REF_TAG };

struct log_ref {
    enum log_ref_kind kind;
    enum log_field field;          /* PATH, TAG: the one that holds the JSON */
    uint8_t path_at;               /* PATH: where in `name` its steps begin */
    char name[LOG_REF_NAME_BYTES]; /* as it was written; NUL-terminated */
};

struct log_ref log_ref_of(enum log_field field);
/* False: there is no such name; the sentence has the nearest. */
MUST_USE bool log_ref_parse(struct log_ref *ref, struct str name, struct err *e);
/* Can lines be grouped by it? By texts, whole numbers, flags, paths and tags; not by times, amounts or whole bodies. */
bool log_ref_groups(const struct log_ref *ref);

/* The value as a text, decoded into `out` where need be; numbers and flags as in the line, arrays and objects as their JSON, tags with
 * commas between. STR_NONE: it is not there, or no lines can be grouped by it. `out` has LOG_REF_OUT_BYTES. */
struct str log_ref_text(const struct log_ref *ref, const struct logline *l, char *out);
/* PATH and TAG: the value where it lies in the line, for json_view.h. STR_NONE: not there. */
struct str log_ref_json(const struct log_ref *ref, const struct logline *l);
/* The request's distinct tags, at most LOG_REF_TAGS_MAX, decoded into `out` of LOG_REF_OUT_BYTES where need be. Returns how many. */
int log_ref_tags(const struct logline *l, struct str tags[LOG_REF_TAGS_MAX], char *out);

/* log_ref_text of a field; inline, for lines by the million. */
static inline struct str log_field_text(const struct logline *l, enum log_field field, char *out)
{
    static const char yes[4 + LOG_REF_SLACK] = "true", no[5 + LOG_REF_SLACK] = "false";
    const void *member = (const char *)&l->r + record_fields[field].offset;
    if (!(l->found >> field & 1))
        return STR_NONE;
    switch (record_fields[field].kind) {
    case RECORD_STR: {
        struct str text =
            logline_text(l, field, *(const struct str *)member, out, LOG_REF_TEXT_BYTES);
        return (struct str){text.p, MIN(text.n, (size_t)LOG_REF_TEXT_BYTES)};
    }
    case RECORD_INT: {
        char *end = digits_u64(out, (uint64_t) * (const int64_t *)member);
        return (struct str){out, (size_t)(end - out)};
    }
    case RECORD_BOOL: return *(const int8_t *)member ? (struct str){yes, 4} : (struct str){no, 5};
    default: return STR_NONE;
    }
}
