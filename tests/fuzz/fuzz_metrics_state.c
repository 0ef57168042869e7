/* fuzz_metrics_state.c -- cells loaded from bytes that may be anything: the state file's checksum is no secret.
 *
 * What must hold: nothing is read or written where it should not; what was loaded can be shown; and saved and loaded again it
 * shows the same. The budget is small, so that its end is often reached. */
#include "observe/metrics.h"

static struct metrics *cells(void)
{
    static const struct config config = {.series_budget = 4};
    return metrics_new(1, &config);
}

static void show(const struct metrics *m, struct buf *out)
{
    const struct metrics_process p = {.about = METRICS_REQUESTS};
    buf_init(out, 0, NULL);
    metrics_write(m, &p, METRICS_OPENMETRICS, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    struct metrics *m = cells(), *again = cells();
    if (metrics_load(m, (struct str){(const char *)data, size}, &e)) {
        struct buf bytes, first, second;
        buf_init(&bytes, 0, NULL);
        metrics_save(m, &bytes);
        ENSURE(metrics_load(again, buf_str(&bytes), &e));
        show(m, &first);
        show(again, &second);
        ENSURE(str_eq(buf_str(&first), buf_str(&second)));
        buf_fini(&bytes);
        buf_fini(&first);
        buf_fini(&second);
    } else {
        ENSURE(e.text[0]);
    }
    metrics_free(m);
    metrics_free(again);
    return 0;
}
