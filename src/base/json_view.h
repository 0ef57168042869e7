/* json_view.h -- members of JSON that was checked before, looked at where it lies: no tree, no table, no copy.
 *
 * A value is the run of its bytes, a string's quotes included. What is given must be one valid value (as a RAW field of a log
 * line is); of what is not, anything may be answered, but nothing outside of it is read. All functions: [any thread], pure. */
#pragma once

#include "base/str.h"

/* The member `key` (decoded names are compared) of an object; of several the last one, as everywhere. STR_NONE: not there, or no object. */
struct str json_view_member(struct str object, struct str key);
/* Element number `index`, from 0. STR_NONE: not there, or no array. */
struct str json_view_element(struct str array, size_t index);
/* For a loop over an array's elements: `*rest` begins as the array and shrinks. False: no more. */
bool json_view_next(struct str *rest, struct str *element);
static inline bool json_view_is(struct str value, char first)
{
    return value.p && value.n > 0 && value.p[0] == first;
}
/* A string decoded into `out` (its head, where it is too long; borrowed, where there is nothing to decode); all else as it is. */
struct str json_view_text(struct str value, char *out, size_t out_bytes);
