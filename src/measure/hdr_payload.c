/* hdr_payload.c -- HdrHistogram's V2 payload in base64: what its logs and tools hand to each other.
 *
 *   compressed = cookie 0x1c849314 | bytes | zlib(payload)                     integers are big-endian
 *   payload    = cookie 0x1c849313 | bytes of counts | normalizing offset | digits | lowest 8 | highest 8 | ratio 8 (double) | counts
 *   counts     = ZigZag LEB128 of at most nine bytes, from bucket 0 on; below zero: so many empty buckets
 *
 * Reading: the text may be a stranger's. It is inflated through a window of 16 KiB and each count goes where it belongs at once, so memory
 * is what one histogram and the text take; a count that lies behind the highest value ends it, so a bomb does not go off. */
#include <math.h>
#include <zlib.h>

#include "measure/hdr.h"

enum {
    HEADER_BYTES = 40,
    VARINT_BYTES = 9,
    WINDOW_BYTES = 16384,
    DIGITS = 3,
    COOKIE_V2 = 0x1c849303,
    COOKIE_V2_ZLIB = 0x1c849304,
    WORD_BITS = 0xf0, /* of a cookie */
    WORD_VARINT = 0x10,
};
#define TOTAL_MAX (UINT64_C(1) << 62)

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void put_be(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--, value >>= 8)
        to[i] = (uint8_t)value;
}

static uint64_t get_be(const uint8_t *from, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | from[i];
    return value;
}

/* ---- writing ---- */

static size_t put_varint(uint8_t *to, int64_t number)
{
    uint64_t value = (uint64_t)number << 1 ^ (number < 0 ? UINT64_MAX : 0);
    size_t n = 0;
    while (value > 0x7f && n < VARINT_BYTES - 1) {
        to[n++] = (uint8_t)(value & 0x7f) | 0x80;
        value >>= 7;
    }
    to[n++] = (uint8_t)value; /* the ninth has eight bits */
    return n;
}

static bool append_run(struct buf *out, int64_t empty)
{
    uint8_t bytes[VARINT_BYTES];
    /* One empty bucket is a count of 0, as HdrHistogram writes it. */
    return empty == 0 || buf_append(out, bytes, put_varint(bytes, empty == 1 ? 0 : -empty));
}

static bool append_counts(const struct hdr *h, struct buf *out)
{
    uint8_t bytes[VARINT_BYTES];
    int64_t empty = 0;
    for (unsigned o = 0; o < HDR_OCTAVES; o++) {
        for (unsigned s = 0; s < HDR_SUBS; s++) {
            uint64_t count = h->octaves[o] ? h->octaves[o][s] : 0;
            if (count == 0) {
                empty++;
                continue;
            }
            if (!append_run(out, empty) ||
                !buf_append(out, bytes, put_varint(bytes, (int64_t)MIN(count, TOTAL_MAX))))
                return false;
            empty = 0;
        }
    }
    return h->count > 0 || append_run(out, 1);
}

static bool append_base64(struct buf *out, const uint8_t *bytes, size_t n)
{
    char four[4];
    for (size_t i = 0; i < n; i += 3) {
        uint32_t group = (uint32_t)bytes[i] << 16 | (i + 1 < n ? (uint32_t)bytes[i + 1] << 8 : 0) |
                         (i + 2 < n ? bytes[i + 2] : 0);
        for (size_t c = 0; c < 4; c++)
            four[c] = i + c > n ? '=' : alphabet[group >> (18 - 6 * c) & 63];
        if (!buf_append(out, four, sizeof four))
            return false;
    }
    return true;
}

static bool encode(const struct hdr *h, struct buf *payload, struct buf *packed, struct buf *out)
{
    uint8_t header[HEADER_BYTES] = {0};
    double ratio = 1;
    uint64_t ratio_bits;
    if (!buf_append(payload, header, sizeof header) || !append_counts(h, payload))
        return false;
    memcpy(&ratio_bits, &ratio, sizeof ratio_bits);
    uint8_t *at = (uint8_t *)payload->data;
    put_be(at, COOKIE_V2 | WORD_VARINT, 4);
    put_be(at + 4, payload->len - HEADER_BYTES, 4);
    put_be(at + 12, DIGITS, 4);
    put_be(at + 16, 1, 8);
    put_be(at + 24, hdr_high(HDR_OCTAVES - 1, HDR_SUBS - 1), 8);
    put_be(at + 32, ratio_bits, 8);
    uLongf packed_bytes = compressBound(payload->len);
    uint8_t *room = (uint8_t *)buf_room(packed, packed_bytes + 8);
    if (!room || compress(room + 8, &packed_bytes, at, payload->len) != Z_OK)
        return false;
    put_be(room, COOKIE_V2_ZLIB | WORD_VARINT, 4);
    put_be(room + 4, packed_bytes, 4);
    return append_base64(out, room, packed_bytes + 8);
}

bool hdr_encode(const struct hdr *h, struct buf *out)
{
    struct buf payload = {0}, packed = {0};
    size_t before = out->len;
    bool ok = encode(h, &payload, &packed, out);
    if (!ok)
        out->len = before;
    buf_fini(&payload);
    buf_fini(&packed);
    return ok;
}

/* ---- reading ---- */

static const char what[] =
    "expected an HdrHistogram V2 payload in base64 (it begins with \"HIST\")";

static int base64_value(char c)
{
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

static bool read_base64(struct str text, struct buf *out, struct err *e)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t end = text.n;
    while (end > 0 && text.n - end < 2 && text.p[end - 1] == '=')
        end--;
    char *room = buf_room(out, end / 4 * 3 + 3);
    ENSURE(room);
    for (size_t i = 0; i < end; i++) {
        int six = base64_value(text.p[i]);
        if (six < 0)
            return err_set(e, "%s; character %zu is none of base64's", what, i + 1);
        bits = bits << 6 | (uint32_t)six;
        have += 6;
        if (have >= 8) {
            have -= 8;
            *room++ = (char)(bits >> have & 0xff);
            buf_wrote(out, 1);
        }
    }
    return true;
}

struct layout { /* of the histogram that was encoded */
    unsigned half_bits, unit_bits;
    uint64_t index_end; /* buckets that it can have */
};

struct reader {
    struct hdr found;
    struct layout layout;
    uint8_t header[HEADER_BYTES];
    size_t header_bytes;
    uint64_t counts_bytes, counts_read; /* announced, read */
    uint64_t varint;
    unsigned varint_bytes;
    uint64_t index;
    struct err *e;
};

/* The header's numbers, as HdrHistogram checks them when it makes a histogram. */
static bool read_layout(struct reader *r)
{
    const uint8_t *h = r->header;
    uint64_t digits = get_be(h + 12, 4), lowest = get_be(h + 16, 8), highest = get_be(h + 24, 8);
    uint64_t ratio_bits = get_be(h + 32, 8), buckets = 1;
    double ratio;
    memcpy(&ratio, &ratio_bits, sizeof ratio);
    if (digits > 5)
        return err_set(r->e, "the histogram says it has %llu digits; expected 0 to 5",
                       (unsigned long long)digits);
    if (lowest < 1 || highest > INT64_MAX || highest < 2 * lowest || lowest > INT64_MAX / 2)
        return err_set(r->e,
                       "the histogram's range is %llu to %llu; expected 1 or more, to "
                       "twice that or more",
                       (unsigned long long)lowest, (unsigned long long)highest);
    if (get_be(h + 8, 4) != 0 || ratio != 1)
        return err_set(r->e, "the histogram is shifted or holds fractions; expected one of whole "
                             "numbers (Histogram, not DoubleHistogram)");
    unsigned sub_bits = (unsigned)ceil(log2(2 * pow(10, (double)digits)));
    r->layout.half_bits = sub_bits - 1;
    r->layout.unit_bits = 63 - (unsigned)__builtin_clzll(lowest);
    if (r->layout.unit_bits + r->layout.half_bits > 61)
        return err_set(r->e, "the histogram's lowest value is %llu; expected less with %llu digits",
                       (unsigned long long)lowest, (unsigned long long)digits);
    for (uint64_t end = UINT64_C(1) << (sub_bits + r->layout.unit_bits); end <= highest;
         end <<= 1) {
        buckets++;
        if (end > INT64_MAX / 2)
            break;
    }
    r->layout.index_end = (buckets + 1) << r->layout.half_bits;
    r->counts_bytes = get_be(h + 4, 4);
    return true;
}

static bool read_header(struct reader *r)
{
    uint64_t cookie = get_be(r->header, 4);
    if ((cookie & ~(uint64_t)WORD_BITS) != COOKIE_V2)
        return err_set(r->e, "%s; within, the cookie is 0x%08llx and not 0x%08x", what,
                       (unsigned long long)cookie, COOKIE_V2 | WORD_VARINT);
    return read_layout(r);
}

static void add_bucket(struct reader *r, uint64_t count)
{
    const struct layout *l = &r->layout;
    uint64_t octave = r->index >> l->half_bits, half = UINT64_C(1) << l->half_bits;
    uint64_t sub = (r->index & (half - 1)) + (octave ? half : 0);
    unsigned shift = l->unit_bits + (octave ? (unsigned)octave - 1 : 0);
    uint64_t low = sub << shift, size = UINT64_C(1) << shift;
    struct hdr *h = &r->found;
    uint64_t min = h->count ? h->min : low;
    hdr_add_times(h, low + size / 2, count);
    h->min = min;
    h->max = low + size - 1;
}

static bool take_count(struct reader *r, int64_t number)
{
    uint64_t steps = number < 0 ? -(uint64_t)number : 1;
    if (steps > r->layout.index_end - r->index)
        return err_set(r->e, "the histogram has counts beyond its highest value: it is damaged");
    if (number > 0) {
        if ((uint64_t)number > TOTAL_MAX - r->found.count)
            return err_set(r->e, "the histogram's counts add up to more than 2^62: it is damaged");
        add_bucket(r, (uint64_t)number);
    }
    r->index += steps;
    return true;
}

static bool take_byte(struct reader *r, uint8_t byte)
{
    bool last = r->varint_bytes == VARINT_BYTES - 1;
    r->varint |= (uint64_t)(last ? byte : byte & 0x7f) << (7 * r->varint_bytes);
    r->varint_bytes++;
    if (!last && byte & 0x80)
        return true;
    int64_t number = (int64_t)(r->varint >> 1 ^ -(r->varint & 1));
    r->varint = r->varint_bytes = 0;
    return take_count(r, number);
}

/* The payload, piece by piece. */
static bool take(struct reader *r, const uint8_t *p, size_t n)
{
    for (; n > 0 && r->header_bytes < HEADER_BYTES; p++, n--) {
        r->header[r->header_bytes++] = *p;
        if (r->header_bytes == HEADER_BYTES && !read_header(r))
            return false;
    }
    r->counts_read += n;
    if (r->header_bytes == HEADER_BYTES && r->counts_read > r->counts_bytes)
        return err_set(r->e, "the histogram is longer than it says: it is damaged");
    for (size_t i = 0; i < n; i++)
        if (!take_byte(r, p[i]))
            return false;
    return true;
}

static bool take_all(struct reader *r, struct str bytes)
{
    return take(r, (const uint8_t *)bytes.p, bytes.n);
}

static bool inflate_all(struct reader *r, struct str bytes)
{
    uint8_t window[WINDOW_BYTES];
    z_stream z = {.next_in = (Bytef *)(uintptr_t)bytes.p, .avail_in = (uInt)bytes.n};
    int status = inflateInit(&z);
    bool ok = status == Z_OK;
    while (ok && status == Z_OK) {
        z.next_out = window;
        z.avail_out = sizeof window;
        status = inflate(&z, Z_NO_FLUSH);
        ok = take(r, window, sizeof window - z.avail_out);
    }
    inflateEnd(&z);
    if (ok && status != Z_STREAM_END)
        return err_set(r->e, "%s; its compressed part %s", what,
                       status == Z_BUF_ERROR ? "ends too early" : "is damaged");
    return ok;
}

static bool read_outer(struct reader *r, struct str bytes)
{
    uint64_t cookie = bytes.p && bytes.n >= 8 ? get_be((const uint8_t *)bytes.p, 4) : 0;
    switch (cookie & ~(uint64_t)WORD_BITS) {
    case COOKIE_V2: return take_all(r, bytes);
    case COOKIE_V2_ZLIB:
        if (get_be((const uint8_t *)bytes.p + 4, 4) != bytes.n - 8)
            return err_set(r->e, "%s; it has %zu bytes where it says %llu: it is cut or damaged",
                           what, bytes.n - 8,
                           (unsigned long long)get_be((const uint8_t *)bytes.p + 4, 4));
        return inflate_all(r, str_skip(bytes, 8));
    case 0x1c849301:
    case 0x1c849302:
    case 0x1c849308:
    case 0x1c849309:
        return err_set(r->e, "the histogram is encoded as V0 or V1; expected V2: write it with "
                             "HdrHistogram 2.1.9 or later");
    default:
        return err_set(r->e, "%s; its cookie is 0x%08llx and not 0x%08x", what,
                       (unsigned long long)cookie, COOKIE_V2_ZLIB | WORD_VARINT);
    }
}

static bool is_whole(const struct reader *r)
{
    if (r->header_bytes == HEADER_BYTES && r->counts_read == r->counts_bytes &&
        r->varint_bytes == 0)
        return true;
    return err_set(r->e, "the histogram ends too early: it is cut");
}

bool hdr_decode(struct hdr *h, struct str base64, struct err *e)
{
    struct reader r = {.e = e};
    struct buf bytes = {0};
    struct str text = str_trim(base64);
    bool ok = text.n <= INT32_MAX || err_set(e, "%s; it is longer than 2 GiB", what);
    ok = ok && read_base64(text, &bytes, e) && read_outer(&r, buf_str(&bytes)) && is_whole(&r);
    if (ok && r.found.count > TOTAL_MAX - MIN(h->count, TOTAL_MAX))
        ok = err_set(e, "the histograms' counts add up to more than 2^62");
    if (ok)
        hdr_merge(h, &r.found);
    hdr_fini(&r.found);
    buf_fini(&bytes);
    return ok;
}
