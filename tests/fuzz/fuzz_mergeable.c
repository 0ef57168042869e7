/* fuzz_mergeable.c -- any JSON as a report's histograms that add up: read within bounds, or refused with a sentence; and what was read can be
 * merged, sealed, and written to be read again as the same. */
#include "cli/measure_export.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint32_t same[] = {0, 1};
static const struct mergeable_places places = {2, 2, same, same, 2, 1, 0};

static struct results *read(struct arena *a, struct str text)
{
    struct err e = {0};
    int64_t us;
    const struct json_node *n = json_parse(a, text, NULL);
    if (n && !json_get(n, "origin_real_us"))
        n = json_get(n, "mergeable");
    if (n && !export_mergeable_origin(n, &us, &e)) {
        ENSURE(e.text[0]);
        return NULL;
    }
    struct results *r = export_mergeable_read(n, &places, &e);
    ENSURE(r || e.text[0]);
    return r;
}

static void check(const struct results *r)
{
    ENSURE(r->second_count <= RESULTS_SLOTS_MAX && r->failure_count <= RESULTS_FAILURES_MAX);
    for (int m = 0; m < MEASURED_COUNT; m++) {
        const struct spread *s = &r->total.spreads[m];
        double low = spread_min(s), high = spread_max(s);
        struct estimate e = spread_quantile(s, .5);
        ENSURE(spread_count(s) == 0 || low <= high);
        ENSURE(e.refused || spread_count(s) == 0 || (e.value >= low && e.value <= high));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    arena_init(&a, NULL, 0);
    struct results *r = read(&a, (struct str){(const char *)data, size});
    struct results *twin = r ? read(&a, (struct str){(const char *)data, size}) : NULL;
    if (r) {
        uint64_t count = r->total.spreads[MEASURED_TOTAL].hdr.count;
        ENSURE(twin != NULL);
        results_merge(r, twin);
        ENSURE(r->total.spreads[MEASURED_TOTAL].hdr.count == 2 * count);
        results_seal(r);
        check(r);
    }
    results_free(r);
    results_free(twin);
    arena_fini(&a);
    return 0;
}
