/* log_set.h -- which files a log is: names and patterns a person gave, and what rotation made of older ones; oldest first.
 *
 * Siblings of "requests.log" are files of its folder called requests.log.N, requests.log-DATE, requests.log.DATE,
 * requests-DATE.log and requests.N.log (DATE: 20261124, 2026-11-24, with a time behind it or a number), packed or not (.gz, .zst).
 * Order is that of their first stamps; files without one come by their time of change. */
#pragma once

#include "base/err.h"
#include "base/mem.h"

struct log_set {
    const char **paths; /* in the arena */
    int64_t *first_us;  /* of each; in the arena, too */
    size_t count;
    struct arena arena;
};

/* `patterns` may be names, globs (*, ?, [a-z]) and "-"; one that matches nothing is an error that says so. With `siblings` the rotated
 * ones of each plain name come along. A file named twice is there once. [any thread] */
MUST_USE bool log_set_open(struct log_set *set, const char *const *patterns, size_t count,
                           bool siblings, struct err *e);
/* Takes out those that end before `since_us`, as far as the beginnings of the next ones tell: of one log and its siblings. */
void log_set_since(struct log_set *set, int64_t since_us);
void log_set_close(struct log_set *set);
/* Is `name` (without a folder) what rotation makes of `base`? For tests, and for who looks at one file. */
bool log_set_is_sibling(const char *base, const char *name);
