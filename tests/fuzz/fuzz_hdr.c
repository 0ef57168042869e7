/* fuzz_hdr.c -- HdrHistogram payloads: refused with a sentence and nothing changed, or read, and then the same when written and read again. Input: a
 * 'B' and base64 text, or anything else and a payload that is not compressed. */
#include "measure/hdr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void append_base64(struct buf *out, const uint8_t *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    int have = 0;
    for (size_t i = 0; i < n; i++) {
        bits = bits << 8 | p[i];
        for (have += 8; have >= 6; have -= 6)
            ENSURE(buf_append(out, &digits[bits >> (have - 6) & 63], 1));
    }
    if (have)
        ENSURE(buf_append(out, &digits[bits << (6 - have) & 63], 1));
}

static void check_counts(const struct hdr *h)
{
    uint64_t sum = 0;
    for (unsigned o = 0; o < HDR_OCTAVES; o++)
        for (unsigned s = 0; h->octaves[o] && s < HDR_SUBS; s++)
            sum += h->octaves[o][s];
    ENSURE(sum == h->count);
    ENSURE(h->count == 0 || h->min <= h->max);
    ENSURE(hdr_quantile(h, 0.5) >= h->min && hdr_quantile(h, 0.5) <= h->max);
}

static void check_again(const struct hdr *h)
{
    struct hdr again = {0};
    struct buf text = {0};
    struct err e = {0};
    ENSURE(hdr_encode(h, &text));
    ENSURE(hdr_decode(&again, buf_str(&text), &e));
    ENSURE(again.count == h->count);
    for (unsigned o = 0; o < HDR_OCTAVES; o++)
        for (unsigned s = 0; h->octaves[o] && s < HDR_SUBS; s++)
            ENSURE(h->octaves[o][s] == (again.octaves[o] ? again.octaves[o][s] : 0));
    hdr_fini(&again);
    buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hdr h = {0};
    struct buf text = {0};
    struct err e = {0};
    if (size == 0)
        return 0;
    if (data[0] == 'B')
        ENSURE(buf_append(&text, data + 1, size - 1));
    else
        append_base64(&text, data + 1, size - 1);
    if (hdr_decode(&h, buf_str(&text), &e)) {
        check_counts(&h);
        check_again(&h);
    } else {
        ENSURE(e.text[0] && h.count == 0);
    }
    hdr_fini(&h);
    buf_fini(&text);
    return 0;
}
