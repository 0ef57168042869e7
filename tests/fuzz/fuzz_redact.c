/* fuzz_redact.c -- masking of secrets: a key that stands by itself is never let through, whatever surrounds it.
 *
 * Also: what is written is never longer than the text; in place is the same as beside it; what was cut for want of room is the
 * beginning of the whole. */
#include "base/mem.h"
#include "base/redact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SECRET "A1b2C3d4E5f6G7h8I9j0"
#define KEY    " sk-" SECRET " "

static void same_in_place(struct str text, const char *out, size_t n)
{
    char *copy = mem_alloc(text.n + 1);
    memcpy(copy, text.p, text.n);
    ENSURE(redact_secrets((struct str){copy, text.n}, copy, text.n) == n);
    ENSURE(memcmp(copy, out, n) == 0);
    mem_free(copy);
}

static void same_when_cut(struct str text, const char *out, size_t n, size_t room)
{
    char *copy = mem_alloc(room + 1);
    size_t cut = redact_secrets(text, copy, room);
    ENSURE(cut <= room && cut <= n && n <= text.n);
    ENSURE(cut == 0 || memcmp(copy, out, cut) == 0);
    mem_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const size_t at = size ? data[0] % size : 0, n = size + sizeof KEY - 1;
    if (str_contains((struct str){(const char *)data, size}, STR(SECRET)))
        return 0; /* elsewhere it may stand as it likes */
    char *text = mem_alloc(n + 1), *out = mem_alloc(n + 1);
    if (at)
        memcpy(text, data, at);
    memcpy(text + at, KEY, sizeof KEY - 1);
    if (size)
        memcpy(text + at + sizeof KEY - 1, data + at, size - at);
    struct str whole = {text, n};
    size_t written = redact_secrets(whole, out, n);
    ENSURE(!str_contains((struct str){out, written}, STR(SECRET)));
    same_in_place(whole, out, written);
    same_when_cut(whole, out, written, size ? data[size - 1] : 0);
    mem_free(text);
    mem_free(out);
    return 0;
}
