/* The exposition is byte for byte what it was before cells were split into roads and accounts, and lines written in place: metrics_before.txt was written
 * by the version before that (780c3de), from these records. Families that have changed since for other reasons are not in it. */
#include "metrics_fixture.h"

#include <stdio.h>

#define BEFORE "tests/unit/metrics_before.txt"

static const char *const names[] = {"gpt", "a\"b\\c\nd\xC3\xA9\xFF. ", "a\"b\\c\nd\xC3\xA9\xFF.!",
                                    "a", "a!"};

static struct record some_record(int i)
{
    const struct deployment *d = &deployments[(size_t)i % COUNT(deployments)];
    struct record r =
        i % 7 ? record_of(d)
              : failure_of(i % 3 ? d : NULL, i % 2 ? ERR_UPSTREAM_ERROR : ERR_UPSTREAM_TIMEOUT,
                           429 + i % 5, 429 + i % 3);
    r.stream = (int8_t)(i % 2);
    r.ttft_us = r.stream ? 1000 * i : -1;
    r.output_us = r.stream ? 5000 * i : -1;
    r.latency_us = (int64_t)i * i * 1000;
    if (i % 11 == 0)
        r.cache = i % 2 ? STR("hit") : STR("miss");
    if (i % 13 == 0)
        r.event = STR("attempt");
    if (i % 17 == 0) {
        r.status = STR("cancelled");
        r.error_code = ERR_CLIENT_GONE;
        r.http_status = 499;
    }
    if (i % 19 == 0)
        r.model = str_from(names[(size_t)i % COUNT(names)]);
    return r;
}

static struct metrics *metrics_of_before(void)
{
    static double few[] = {.01, 1, 30};
    struct config c = config;
    c.latency_buckets = few;
    c.latency_bucket_count = COUNT(few);
    struct metrics *m = metrics_new(2, &c);
    for (int i = 0; i < 200; i++) {
        struct record r = some_record(i);
        metrics_record(m, i % 2, &r);
    }
    return m;
}

static char *contents(const char *path)
{
    struct buf b;
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    buf_init(&b, 0, NULL);
    for (int c; (c = getc(f)) != EOF;) {
        char byte = (char)c;
        assert_true(buf_append(&b, &byte, 1));
    }
    (void)fclose(f);
    char *text = mem_strdup(buf_str(&b));
    buf_fini(&b);
    return text;
}

/* The families of `text` that `before` has, too. */
static struct buf known_families(const char *text, const char *before)
{
    struct buf out;
    buf_init(&out, 0, NULL);
    while (*text) {
        const char *next = strstr(text + 1, "\n# HELP ");
        size_t n = next ? (size_t)(next + 1 - text) : strlen(text);
        char head[160];
        int name = (int)strcspn(text + 7, " ");
        snprintf(head, sizeof head, "# HELP %.*s ", name, text + 7);
        if (strstr(before, head))
            assert_true(buf_append(&out, text, n));
        text += n;
    }
    assert_true(buf_append(&out, "", 1));
    return out;
}

static void unchanged(void **state)
{
    (void)state;
    struct metrics *m = metrics_of_before();
    char *before = contents(BEFORE);
    struct buf now = known_families(expose(m), before);
    const char *a = before, *b = now.data + now.at;
    assert_true(strlen(before) > 50000);
    while (*a && strcspn(a, "\n") == strcspn(b, "\n") && strncmp(a, b, strcspn(a, "\n")) == 0) {
        a += strcspn(a, "\n") + 1;
        b += strcspn(b, "\n") + 1;
    }
    if (*a || *b)
        fail_msg("before: %.*s\nnow:    %.*s", (int)strcspn(a, "\n"), a, (int)strcspn(b, "\n"), b);
    mem_free(before);
    buf_fini(&now);
    metrics_free(m);
}

int main(void)
{
    (void)some_deployments;
    (void)rows;
    const struct CMUnitTest tests[] = {cmocka_unit_test(unchanged)};
    return cmocka_run_group_tests_name("metrics_before", tests, NULL, NULL);
}
