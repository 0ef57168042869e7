/* fuzz_error_text.c -- folding of error messages: whatever comes, a short text without control bytes, without blanks that double or stand at the ends,
 * the same one each time. */
#include "base/mem.h"
#include "observe/error_cause.h"
#include "observe/error_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(struct str text)
{
    ENSURE(text.n <= ERROR_TEXT_BYTES);
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        ENSURE(c >= ' ' && c != 0x7f);
        ENSURE(c != ' ' || (i > 0 && i + 1 < text.n && text.p[i + 1] != ' '));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char out[ERROR_TEXT_BYTES], again[ERROR_TEXT_BYTES];
    /* The input's first two bytes choose a name within it. */
    size_t from = size > 2 ? data[0] % size : 0, n = size > 2 ? MIN(data[1] % 32u, size - from) : 0;
    char *message = mem_alloc(size + 1);
    if (size)
        memcpy(message, data, size);
    const struct str name = {message + from, n};
    struct str text = error_text_fold((struct str){message, size}, &name, n ? 1 : 0, out);
    struct str second = error_text_fold((struct str){message, size}, &name, n ? 1 : 0, again);
    ENSURE(str_eq(text, second));
    check_text(text);
    ENSURE(error_cause_of(text, size ? data[0] : -1, text)->name);
    mem_free(message);
    return 0;
}
