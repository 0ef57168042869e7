/* log_order.h -- which key follows which, learned from the lines before. Part of struct logline; used by logline.c's walker.
 *
 * Whoever wrote a log wrote the same keys in the same order, line after line, with some left out. So what stands between two values (`, "model": `)
 * is compared with what stood there last time, or the time before, instead of looking for the key's end and then for its meaning. A step is
 * remembered by its bytes: the same bytes in the same kind of object mean the same. Zeroed memory has learned nothing. */
#pragma once

#include "base/base.h"

struct log_key;

#define LOG_ORDER_STEPS 192
#define LOG_ORDER_TEXT  48 /* longer ones are not learned */

struct log_step {
    char text[LOG_ORDER_TEXT];
    const struct log_key *key; /* what the value behind it is; NULL: nothing that is asked for */
    uint8_t bytes, place;      /* of the text; enum log_place of the object */
    uint8_t next[2];           /* steps that came after it, the newest first; 0: none */
};

/* The first steps stand for what comes before an object's first key: one for each place. */
struct log_order {
    unsigned used;
    struct log_step steps[LOG_ORDER_STEPS];
};

/* Of the 16 bytes at a and b, one bit each: are they different? */
#ifdef __SSE2__
#include <emmintrin.h>
static inline unsigned log_differing_16(const char *a, const char *b)
{
    __m128i x = _mm_loadu_si128((const void *)a), y = _mm_loadu_si128((const void *)b);
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, y)) ^ 0xFFFF;
}
#else
static inline unsigned log_differing_16(const char *a, const char *b)
{
    unsigned bits = 0;
    for (unsigned i = 0; i < 16; i++)
        bits |= (unsigned)(a[i] != b[i]) << i;
    return bits;
}
#endif

static inline bool log_step_is(const struct log_step *s, const char *p)
{
    unsigned left = s->bytes;
    const char *text = s->text;
    for (; UNLIKELY(left > 16); left -= 16, text += 16, p += 16)
        if (log_differing_16(p, text))
            return false;
    return !(log_differing_16(p, text) & ((1u << left) - 1));
}

/* The step that p is at, if it is one that has come after step `at` before; else 0. */
static inline unsigned log_order_next(struct log_order *o, unsigned at, const char *p)
{
    uint8_t *next = o->steps[at].next;
    if (LIKELY(next[0] && log_step_is(&o->steps[next[0]], p)))
        return next[0];
    if (!next[1] || !log_step_is(&o->steps[next[1]], p))
        return 0;
    uint8_t newest = next[1];
    next[1] = next[0];
    next[0] = newest;
    return newest;
}

/* Notes that the `bytes` at p came after step `at` and mean `key`. Returns their step; one that is not kept is step `place`. */
unsigned log_order_learn(struct log_order *o, unsigned at, unsigned place, const char *p,
                         size_t bytes, const struct log_key *key);
