/* measure_export.c -- JUnit XML and HdrHistogram text. measure_mergeable.c has the histograms that add up. */
#include "cli/measure_export.h"

#include "base/clock.h"
#include "cli/term.h"

/* ---- JUnit ---- */

/* Text into XML 1.0: what it forbids (control bytes, broken UTF-8) is replaced by term_safe first. */
static void put_xml(FILE *out, struct str text)
{
    char *safe = mem_alloc(TERM_SAFE_BYTES(text.n));
    term_safe(true, text, 0, safe, TERM_SAFE_BYTES(text.n));
    for (const char *c = safe; *c; c++) {
        switch (*c) {
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '&': fputs("&amp;", out); break;
        case '"': fputs("&quot;", out); break;
        default: fputc(*c, out);
        }
    }
    mem_free(safe);
}

static void put_attribute(FILE *out, const char *name, struct str value)
{
    fprintf(out, " %s=\"", name);
    put_xml(out, value);
    fputc('"', out);
}

static void write_case(FILE *out, const struct junit_case *c)
{
    fputs("    <testcase", out);
    put_attribute(out, "name", c->name);
    put_attribute(out, "classname", c->class_name);
    fprintf(out, " time=\"%.3f\">\n", c->seconds);
    if (c->failure.n) {
        fputs("      <failure", out);
        put_attribute(out, "message", c->failure);
        fputs("/>\n", out);
    }
    if (c->output.n) {
        fputs("      <system-out>", out);
        put_xml(out, c->output);
        fputs("</system-out>\n", out);
    }
    fputs("    </testcase>\n", out);
}

void junit_write(FILE *out, struct str suite, int64_t began_real_us, double seconds,
                 const struct junit_case *cases, size_t count)
{
    char stamp[CLOCK_RFC3339_BYTES];
    size_t failures = 0;
    for (size_t i = 0; i < count; i++)
        failures += cases[i].failure.n > 0;
    clock_rfc3339(began_real_us, stamp);
    fprintf(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"%zu\" failures=\"%zu\" "
        "errors=\"0\" time=\"%.3f\">\n  <testsuite",
        count, failures, seconds);
    put_attribute(out, "name", suite);
    /* xs:dateTime without a zone, as JUnit's own schema has it: UTC. */
    fprintf(out,
            " tests=\"%zu\" failures=\"%zu\" errors=\"0\" skipped=\"0\" time=\"%.3f\" "
            "timestamp=\"%.19s\">\n",
            count, failures, seconds, stamp);
    for (size_t i = 0; i < count; i++)
        write_case(out, &cases[i]);
    fputs("  </testsuite>\n</testsuites>\n", out);
}

static struct junit_case case_of_limit(struct arena *a, const struct limit_asked *l)
{
    char value[64];
    limit_asked_show(l, l->value, value, sizeof value);
    return (struct junit_case){
        .name = str_from(l->text),
        .class_name = STR("thresholds"),
        .failure = l->verdict == LIMIT_HELD ? STR_NONE : str_from(l->why),
        .output = arena_printf(a, "measured: %s", value),
    };
}

static struct junit_case case_of_check(const struct validity_check *c)
{
    return (struct junit_case){
        .name = str_from(c->heading),
        .class_name = STR("instrument"),
        .failure = c->verdict == CHECK_BAD ? str_from(c->text) : STR_NONE,
        .output = str_from(c->text),
    };
}

struct junit_case *junit_cases(struct arena *a, const struct limits_asked *limits,
                               const struct validity *validity, size_t *count)
{
    size_t most = (limits ? limits->count : 0) + (validity ? validity->count : 0), n = 0;
    struct junit_case *cases = arena_zalloc(a, (most + 1) * sizeof *cases);
    for (size_t i = 0; limits && i < limits->count; i++)
        cases[n++] = case_of_limit(a, &limits->all[i]);
    for (size_t i = 0; validity && i < validity->count; i++)
        if (validity->checks[i].verdict != CHECK_NOT_ASKED)
            cases[n++] = case_of_check(&validity->checks[i]);
    *count = n;
    return cases;
}

/* ---- HdrHistogram ---- */

void export_hgrm(FILE *out, const struct results_group *g, enum measured m)
{
    static const double scales[] = {
        [MEASURED_NS] = 1e6, [MEASURED_PER_S] = 1e3, [MEASURED_TOKENS] = 1, [MEASURED_USD] = 1e12};
    hdr_write_text(&g->spreads[m].hdr, out, scales[measured_info(m)->unit]);
}
