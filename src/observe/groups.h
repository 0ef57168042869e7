/* groups.h -- values by key: what a part of a report counts for each model, each provider and model, each user.
 *
 * A key is a few texts, each of which may be missing; a value is the caller's struct, zeroed when the key is first seen. Up to
 * `max` keys have a value of their own, the rest share one with the key "other". Rollups (rollup.h) have groups of their own:
 * they count the same things for any fields, these count different things for fixed ones.
 * One a thread; merged by asking one for each key of the other. Memory: the groups', until groups_fini. */
#pragma once

#include "base/map.h"
#include "observe/logline.h"

#define GROUPS_FIELDS_MAX 3
#define GROUPS_KEY_BYTES  512 /* of a key's text; longer ones are cut */

struct group {
    struct str values[GROUPS_FIELDS_MAX]; /* decoded; STR_NONE where the field was not there */
    void *value;
};

struct groups {
    int field_count;
    size_t value_bytes, max;
    struct map by_key;
    struct arena memory;
    struct group **all; /* in the order they came in */
    size_t count;
    bool full; /* some keys are in "other" */
};

void groups_init(struct groups *g, int field_count, size_t value_bytes, size_t max);
/* What values own is the caller's to free before. */
void groups_fini(struct groups *g);
/* The group of these texts, made if need be. Never NULL; it stays where it is. */
struct group *groups_get(struct groups *g, const struct str *values);
/* The same by fields of a line, which are texts (RECORD_STR). */
struct group *groups_of_line(struct groups *g, const struct logline *l,
                             const enum log_field *fields);
/* All groups in the order of `compare`, which gets two struct group **. The caller frees the array. */
struct group **groups_sorted(const struct groups *g, int (*compare)(const void *, const void *));
/* By their texts, missing ones first: for a `compare` that ends in a tie. */
int group_compare_keys(const struct group *a, const struct group *b);
