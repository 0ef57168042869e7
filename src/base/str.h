/* str.h -- a borrowed run of bytes: pointer and length, not NUL-terminated, never freed through this type.
 *
 * All functions are pure and may be called from any thread. */
#pragma once

#include "base/base.h"

struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_NONE     ((struct str){NULL, 0})
/* For printf: printf("%.*s", STR_ARG(s)). */
#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

static inline struct str str_from(const char *z)
{
    return (struct str){z, z ? strlen(z) : 0};
}
static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
/* Is it this literal? Compared without a call. */
#define STR_IS(s, literal)                                                                         \
    ((s).n == sizeof(literal) - 1 && memcmp((s).p, "" literal, sizeof(literal) - 1) == 0)
static inline bool str_starts(struct str s, struct str head)
{
    return s.n >= head.n && (head.n == 0 || memcmp(s.p, head.p, head.n) == 0);
}
static inline bool str_ends(struct str s, struct str tail)
{
    return s.n >= tail.n && (tail.n == 0 || memcmp(s.p + s.n - tail.n, tail.p, tail.n) == 0);
}
static inline struct str str_skip(struct str s, size_t n)
{
    return n >= s.n ? STR_NONE : (struct str){s.p + n, s.n - n};
}

/* Equal without regard to ASCII case. */
bool str_ieq(struct str a, struct str b);
/* Without leading and trailing spaces and tabs. */
struct str str_trim(struct str s);
/* Position of the first `c`, or -1. */
ptrdiff_t str_find(struct str s, char c);
/* True when `needle` occurs in `s`. */
bool str_contains(struct str s, struct str needle);
/* Cuts the part before the first `sep` off `*rest` and returns it; the whole of it when there is no `sep`. */
struct str str_cut(struct str *rest, char sep);
/* Whole-string decimal numbers; false (and *out untouched) on anything else, overflow included. */
MUST_USE bool str_to_i64(struct str s, int64_t *out);
MUST_USE bool str_to_f64(struct str s, double *out);
/* Not for cryptography; good enough against accidental collisions (wyhash-like mixing of 8-byte words). */
uint64_t str_hash(struct str s);
/* Does `text` match `pattern`, where '*' stands for any run of bytes? */
bool str_glob(struct str pattern, struct str text);
/* Damerau-Levenshtein distance, for "did you mean"; gives up above 8 and returns 9. */
int str_distance(struct str a, struct str b);
/* Constant-time equality for secrets: time depends on lengths only. */
bool str_eq_secret(struct str a, struct str b);
