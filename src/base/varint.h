/* varint.h -- whole numbers in as few bytes as they need: seven bits a byte, lowest first, the high bit says "more" (LEB128). For
 * what weir writes for itself to read again. Functions are pure but for their buffer. */
#pragma once

#include "base/buf.h"

/* False: the buffer's cap is reached. */
MUST_USE static inline bool varint_put(struct buf *b, uint64_t value)
{
    char bytes[10];
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[n++] = (char)(value | 0x80);
    bytes[n++] = (char)value;
    return buf_append(b, bytes, n);
}

/* Takes a number off the front. False, and *out untouched: there is none, or it has more than 64 bits. */
MUST_USE static inline bool varint_get(struct str *from, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 10 && i < from->n; i++) {
        uint64_t bits = (unsigned char)from->p[i];
        if (i == 9 && bits > 1)
            return false;
        value |= (bits & 0x7F) << (7 * i);
        if (bits < 0x80) {
            from->p += i + 1;
            from->n -= i + 1;
            *out = value;
            return true;
        }
    }
    return false;
}

/* A text with its length in front. */
MUST_USE static inline bool varint_put_str(struct buf *b, struct str s)
{
    return varint_put(b, s.n) && buf_append_str(b, s);
}

/* *out points into `from`'s bytes. */
MUST_USE static inline bool varint_get_str(struct str *from, struct str *out)
{
    uint64_t n;
    struct str rest = *from;
    if (!varint_get(&rest, &n) || n > rest.n)
        return false;
    *out = (struct str){rest.p, (size_t)n};
    *from = (struct str){rest.p + n, rest.n - (size_t)n};
    return true;
}
