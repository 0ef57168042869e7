/* fuzz_engine.c -- what an engine may say of itself: anything.
 *
 * The first byte chooses the question, the rest is the answer. What must hold:
 *   - a report's numbers are counts or unknown, its ratio lies in 0..1 or is unknown, its texts are whole UTF-8 and end;
 *   - the metrics of a page are those of its lines, each read alone; and what is read lies inside the page. */
#include <math.h>

#include "base/json.h"
#include "base/json_text.h"
#include "gateway/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_count(int64_t n)
{
    return n >= ENGINE_UNKNOWN && n < INT64_C(1) << 53;
}

static void check_text(const char *text, size_t room)
{
    const char *end = memchr(text, '\0', room), *p = text;
    ENSURE(end);
    while (p < end) {
        size_t n = (unsigned char)*p < 0x80 ? 1 : utf8_char(p, end);
        ENSURE(n > 0);
        p += n;
    }
}

static void check_report(const struct engine_report *r)
{
    ENSURE(is_count(r->loaded) && is_count(r->running) && is_count(r->waiting) &&
           is_count(r->slots));
    ENSURE(!(r->kv_cache_ratio > 1) && (r->kv_cache_ratio >= 0 || r->kv_cache_ratio < -0.5));
    ENSURE(r->models_kept >= 0 && r->models_kept <= ENGINE_MODELS_MAX &&
           r->models_kept <= MAX(r->loaded, 0));
    check_text(r->version, sizeof r->version);
    for (int i = 0; i < r->models_kept; i++) {
        const struct engine_model *m = &r->models[i];
        check_text(m->name, sizeof m->name);
        check_text(m->expires_at, sizeof m->expires_at);
        ENSURE(is_count(m->size_bytes) && is_count(m->vram_bytes));
    }
}

static bool lies_in(struct str part, struct str whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void check_samples(struct str page)
{
    struct str rest = page, lines = page, line = STR_NONE;
    struct prom_sample whole, alone;
    while (prom_next(&rest, &whole)) {
        ENSURE(whole.name.n > 0 && lies_in(whole.name, page) && lies_in(whole.labels, page));
        while (!prom_next(&line, &alone)) {
            ENSURE(lines.n > 0);
            line = str_cut(&lines, '\n');
        }
        ENSURE(alone.name.p == whole.name.p && str_eq(alone.name, whole.name) &&
               str_eq(alone.labels, whole.labels));
        ENSURE(alone.value == whole.value || (isnan(alone.value) && isnan(whole.value)));
    }
    while (lines.n) {
        line = str_cut(&lines, '\n');
        ENSURE(!prom_next(&line, &alone));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct engine_report r;
    struct arena a;
    if (size == 0)
        return 0;
    int rows = 0;
    for (enum engine_kind k = engine_next_kind(ENGINE_AUTO); k != ENGINE_NONE;
         k = engine_next_kind(k))
        for (int row = engine_next_ask(k, 0); row >= 0; row = engine_next_ask(k, row + 1))
            rows = MAX(rows, row + 1);
    struct str body = {(const char *)data + 1, size - 1};
    arena_init(&a, NULL, 0);
    engine_report_init(&r);
    bool understood = engine_ask(data[0] % rows)->read(&a, body, &r);
    check_report(&r);
    understood &= engine_ask(data[0] % rows)->read(&a, body, &r); /* on top of another one */
    (void)understood;
    check_report(&r);
    check_samples(body);
    arena_fini(&a);
    return 0;
}
