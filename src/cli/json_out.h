/* json_out.h -- a JSON document written member by member, for commands' --format json.
 *
 *     struct json_out j;
 *     json_out_init(&j);
 *     json_nest(&j, NULL, "{");
 *     json_count(&j, "requests", 12);
 *     json_unnest(&j, "}");
 *     json_out_end(&j, stdout);
 *
 * `name` is NULL in an array. Commas come by themselves. Numbers that are not finite, and texts that are not there, are null. */
#pragma once

#include "base/buf.h"

struct json_out {
    struct buf out;
    bool first; /* of the object or array being written */
};

void json_out_init(struct json_out *j);
/* Writes it with a newline, and frees it. */
void json_out_end(struct json_out *j, FILE *out);
void json_nest(struct json_out *j, const char *name, const char *bracket);
void json_unnest(struct json_out *j, const char *bracket);
void json_text(struct json_out *j, const char *name, struct str text);
void json_count(struct json_out *j, const char *name, uint64_t value);
void json_bool(struct json_out *j, const char *name, bool value);
/* `fmt` takes a double. */
void json_number(struct json_out *j, const char *name, double value, const char *fmt);
/* RFC 3339 in UTC with ms; INT64_MIN and INT64_MAX, which stand for no time, are null. */
void json_stamp(struct json_out *j, const char *name, int64_t us);
