/* log_names.h -- texts of lines that outlive the line: copies, and names that come again and again (models, providers, keys).
 *
 * A name is kept once, so that within one struct log_names equal names are equal pointers. There is a limit to how many
 * there are, because strangers choose them: past it a name is "other". Not thread-safe: one a thread. */
#pragma once

#include "base/map.h"
#include "observe/logline.h"

#define LOG_NAME_BYTES 256 /* a longer one is cut, at a character's edge */

struct log_names {
    struct map by_text;
    struct arena texts;
    size_t max;
    uint64_t refused; /* how often a name became "other" */
};

/* A found string field's text, decoded, cut to the room at a character's edge, with a NUL. "" where the field is not there.
 * Returns its length. [any thread] */
size_t log_text_copy(const struct logline *l, enum log_field field, char *out, size_t out_bytes);

void log_names_init(struct log_names *n, size_t max);
void log_names_fini(struct log_names *n);
/* The kept copy, as long-lived as `n`. NULL for STR_NONE. */
const char *log_name(struct log_names *n, struct str text);
/* The name in a line's field; NULL where it is not there. */
const char *log_name_of(struct log_names *n, const struct logline *l, enum log_field field);
