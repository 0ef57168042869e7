/* fuzz_splice.c -- a request's body as it goes upstream: whatever intake admits must be JSON afterwards, and mean the same but for what is cut out and put in.
 *
 * The input is the body; its first byte says what the deployment calls the model. */
#include "../unit/splice_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct str models[] = {STR("m"), STR("another/name"), STR("\"\\\n"), STR("")};
    struct arena a;
    if (size < 1 || size > 65536)
        return 0;
    arena_init(&a, NULL, 0);
    (void)splice(&a, (struct str){(const char *)data + 1, size - 1},
                 models[data[0] % COUNT(models)]);
    arena_fini(&a);
    return 0;
}
