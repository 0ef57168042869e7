/* self_test_report.c -- what a self-test found, judged, and told to people and programs. */
#include <math.h>
#include <stdarg.h>

#include "cli/json_out.h"
#include "cli/self_test_found.h"
#include "cli/sentences.h"
#include "cli/version.h"

#define FOREIGN_SHARE 0.1 /* of all processors: other programs are in the way */
#define STOLEN_SHARE  0.02
#define CLOCK_SLOW_NS 150 /* through the vDSO it costs 20 to 40 ns */

/* ---- the verdict ---- */

PRINTF_LIKE(2, 3) static void advise(struct self_test_found *f, const char *fmt, ...)
{
    va_list args;
    if (f->advice_count == SELF_TEST_ADVICE_MAX)
        return;
    va_start(args, fmt);
    vsnprintf(f->advice[f->advice_count++], SELF_TEST_ADVICE_BYTES, fmt, args);
    va_end(args);
}

static void judge_errors(struct self_test_found *f, const struct self_test_part *part)
{
    for (size_t i = 0; i < part->error_count; i++) {
        const struct self_test_error *e = &part->errors[i];
        double off_ns = fabs(e->said_ns - e->truth_ns);
        double *largest = strcmp(e->quantile, "p50") == 0 ? &f->error_p50_ns : &f->error_p99_ns;
        *largest = MAX(*largest, off_ns);
        if (e->holds)
            continue;
        f->good = false;
        advise(f, "%s: %s of %s is off by %s; at most %s is allowed.", part->load->heading,
               e->quantile, e->heading, num_ms(off_ns / 1e3).text,
               num_ms(e->allowed_ns / 1e3).text);
    }
}

static void judge_schedule(struct self_test_found *f, const struct self_test_part *part)
{
    const struct engine_account *a = &part->account;
    double asked = part->load->rate * part->load->seconds;
    if (part->load->rate <= 0)
        return;
    if (a->late_p50_ns > SELF_TEST_LATE_P50_NS || a->late_p99_ns > SELF_TEST_LATE_P99_NS) {
        f->good = false;
        advise(f, "%s: sends are late by %.1f \xC2\xB5s (p50) and %.1f \xC2\xB5s (p99).",
               part->load->heading, a->late_p50_ns / 1e3, a->late_p99_ns / 1e3);
    }
    if ((double)a->sent < asked * SELF_TEST_RATE_SHARE) {
        f->good = false;
        advise(f, "%s: only %s of %s requests were sent.", part->load->heading,
               num_count((double)a->sent).text, num_count(asked).text);
    }
}

static void look_for_causes(struct self_test_found *f)
{
    const struct self_test_host *h = &f->host;
    if (h->foreign_share > FOREIGN_SHARE)
        advise(f,
               "Other programs used %s of the processors meanwhile: measure when they rest, or "
               "give weir a core of its own (taskset -c 1 weir ...).",
               num_pct(h->foreign_share).text);
    if (h->stolen_share > STOLEN_SHARE)
        advise(f,
               "The hypervisor took %s of the time away from this machine: measure on one that is "
               "not shared.",
               num_pct(h->stolen_share).text);
    if (h->processors == 1)
        advise(f, "This program may use one processor only, so it and the simulated provider take "
                  "turns: part of what is off is that.");
    if (f->stamped_share < 0.99)
        advise(f,
               "%s of the reads have the kernel's receive time%s: first-token and token times "
               "include this program's own delay.",
               num_pct(f->stamped_share).text, f->user_stamps ? ", as asked for" : "");
    if (h->clock_ns > CLOCK_SLOW_NS)
        advise(f,
               "A look at the clock costs %.0f ns (clock source %s): boot with one that the vDSO "
               "can read, such as tsc or kvm-clock.",
               h->clock_ns, h->clock_source);
}

void self_test_judge(struct self_test_found *f)
{
    f->good = true;
    for (size_t i = 0; i < f->part_count; i++) {
        const struct self_test_part *part = &f->parts[i];
        if (part->failed) {
            f->good = false;
            advise(f, "%s: %s of %s requests failed: %s.", part->load->heading,
                   num_count((double)part->failed).text, num_count((double)part->requests).text,
                   part->failure);
        }
        if (!part->error_count) {
            f->good = false;
            advise(f, "%s: no request was answered.", part->load->heading);
        }
        if (part->load->judged)
            judge_errors(f, part);
        judge_schedule(f, part);
    }
    size_t complaints = f->advice_count;
    look_for_causes(f);
    if (!f->good && f->advice_count == complaints)
        advise(f, "Nothing else is seen to be in the way: try again, and if it stays, give weir "
                  "priority (chrt --rr 1 weir ...).");
}

/* ---- for people ---- */

static void write_errors(const struct self_test_found *f, const struct term *term)
{
    static const struct table_column columns[] = {
        {"Load", ALIGN_LEFT, "load"},      {"What", ALIGN_LEFT, "what"},
        {"Said", ALIGN_RIGHT, "said"},     {"Truth", ALIGN_RIGHT, "truth"},
        {"Off by", ALIGN_RIGHT, "off_us"}, {"Verdict", ALIGN_LEFT, "verdict"}};
    struct table t;
    table_init(&t, columns, COUNT(columns));
    for (size_t i = 0; i < f->part_count; i++) {
        const struct self_test_part *part = &f->parts[i];
        for (size_t k = 0; k < part->error_count; k++) {
            const struct self_test_error *e = &part->errors[k];
            double off_us = (e->said_ns - e->truth_ns) / 1e3;
            table_row(&t);
            table_text(&t, STYLE_NONE, str_from(k ? "" : part->load->heading));
            table_printf(&t, STYLE_NONE, "%s %s", e->heading, e->quantile);
            table_number(&t, STYLE_NONE, num_ms(e->said_ns / 1e3), e->said_ns / 1e6);
            table_number(&t, STYLE_NONE, num_ms(e->truth_ns / 1e3), e->truth_ns / 1e6);
            table_printf(&t, STYLE_NONE, "%+.1f \xC2\xB5s", off_us);
            table_text(&t, e->holds || !part->load->judged ? STYLE_NONE : STYLE_BAD,
                       str_from(!part->load->judged ? "not judged"
                                : e->holds          ? "good"
                                                    : "poor"));
        }
    }
    table_write(&t, TABLE_TERMINAL, term);
    table_fini(&t);
}

static void write_costs(const struct self_test_found *f, const struct term *term)
{
    static const struct table_column columns[] = {
        {"Load", ALIGN_LEFT, "load"},        {"Requests", ALIGN_RIGHT, "requests"},
        {"Rate", ALIGN_RIGHT, "rate"},       {"CPU a request", ALIGN_RIGHT, "cpu_us"},
        {"Receive lag", ALIGN_RIGHT, "lag"}, {"p99", ALIGN_RIGHT, "lag_p99"},
        {"Lateness", ALIGN_RIGHT, "late"},   {"p99", ALIGN_RIGHT, "late_p99"}};
    struct table t;
    table_init(&t, columns, COUNT(columns));
    for (size_t i = 0; i < f->part_count; i++) {
        const struct self_test_part *part = &f->parts[i];
        const struct engine_account *a = &part->account;
        bool scheduled = part->load->rate > 0;
        const double spans_ns[] = {
            a->stamped_reads ? a->lag_p50_ns : NAN, a->stamped_reads ? a->lag_p99_ns : NAN,
            scheduled ? a->late_p50_ns : NAN, scheduled ? a->late_p99_ns : NAN};
        table_row(&t);
        table_text(&t, STYLE_NONE, str_from(part->load->heading));
        table_number(&t, STYLE_NONE, num_count((double)part->requests), (double)part->requests);
        table_number(&t, STYLE_NONE, num_rate(part->requests_per_s), part->requests_per_s);
        table_printf(&t, STYLE_NONE, "%.1f \xC2\xB5s", part->cpu_us_per_request);
        for (size_t k = 0; k < COUNT(spans_ns); k++) {
            if (isnan(spans_ns[k]))
                table_maybe(&t, STYLE_NONE, STR_NONE);
            else
                table_printf(&t, STYLE_NONE, "%.1f \xC2\xB5s", spans_ns[k] / 1e3);
        }
    }
    table_note(
        &t,
        "Receive lag: from the kernel's receipt to the read; not in any time above%s. "
        "Lateness: from due to sent; in every time that is counted from when a request was due.",
        f->stamped_share < 0.99 ? ", where the kernel tells" : "");
    table_write(&t, TABLE_TERMINAL, term);
    table_fini(&t);
}

void self_test_write_text(const struct self_test_found *f, enum color_mode color)
{
    struct term term;
    struct sentences s;
    term_init(&term, stdout, color);
    printf("Self-test: this instrument against a simulated provider in this process, whose own "
           "account is the truth\n\n");
    write_errors(f, &term);
    printf("\n");
    write_costs(f, &term);
    sentences_init(&s, f->good ? "" : "Why, and what to do");
    for (size_t i = 0; i < f->advice_count; i++)
        sentences_add(&s, "%s", f->advice[i]);
    if (f->good)
        printf(
            "\nVerdict: good. p50 is off by at most %.0f \xC2\xB5s here, p99 by %.0f \xC2\xB5s.\n",
            f->error_p50_ns / 1e3, f->error_p99_ns / 1e3);
    else
        printf("\nVerdict: poor. What is measured here, now, is not to be trusted.\n");
    sentences_end(&s, TABLE_TERMINAL, &term);
}

/* ---- for programs ---- */

static void json_span(struct json_out *j, const char *name, double p50_ns, double p99_ns,
                      double max_ns)
{
    json_nest(j, name, "{");
    json_number(j, "p50", p50_ns / 1e3, "%.3f");
    json_number(j, "p99", p99_ns / 1e3, "%.3f");
    json_number(j, "max", max_ns / 1e3, "%.3f");
    json_unnest(j, "}");
}

static void json_part(struct json_out *j, const struct self_test_part *part)
{
    const struct engine_account *a = &part->account;
    bool scheduled = part->load->rate > 0;
    json_nest(j, NULL, "{");
    json_text(j, "load", str_from(part->load->key));
    json_text(j, "what", str_from(part->load->heading));
    json_bool(j, "judged", part->load->judged);
    json_count(j, "requests", part->requests);
    json_count(j, "failed", part->failed);
    json_number(j, "requests_per_s", part->requests_per_s, "%.1f");
    json_number(j, "asked_per_s", scheduled ? part->load->rate : NAN, "%.1f");
    json_number(j, "cpu_us_per_request", part->cpu_us_per_request, "%.3f");
    json_span(j, "receive_lag_us", a->lag_p50_ns, a->lag_p99_ns, a->lag_max_ns);
    if (scheduled)
        json_span(j, "lateness_us", a->late_p50_ns, a->late_p99_ns, a->late_max_ns);
    json_nest(j, "errors", "[");
    for (size_t i = 0; i < part->error_count; i++) {
        const struct self_test_error *e = &part->errors[i];
        json_nest(j, NULL, "{");
        json_text(j, "metric", str_from(e->metric));
        json_text(j, "quantile", str_from(e->quantile));
        json_number(j, "said_ms", e->said_ns / 1e6, "%.6f");
        json_number(j, "truth_ms", e->truth_ns / 1e6, "%.6f");
        json_number(j, "error_us", (e->said_ns - e->truth_ns) / 1e3, "%.3f");
        json_number(j, "allowed_us", e->allowed_ns / 1e3, "%.3f");
        json_bool(j, "holds", e->holds);
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
    json_unnest(j, "}");
}

void self_test_write_json(const struct self_test_found *f)
{
    const struct self_test_host *h = &f->host;
    struct json_out j;
    json_out_init(&j);
    json_nest(&j, NULL, "{");
    json_text(&j, "schema", STR("weir.self-test/1"));
    json_text(&j, "weir", str_from(weir_version));
    json_text(&j, "verdict", f->good ? STR("good") : STR("poor"));
    json_number(&j, "error_p50_us", f->error_p50_ns / 1e3, "%.3f");
    json_number(&j, "error_p99_us", f->error_p99_ns / 1e3, "%.3f");
    json_nest(&j, "loads", "[");
    for (size_t i = 0; i < f->part_count; i++)
        json_part(&j, &f->parts[i]);
    json_unnest(&j, "]");
    json_nest(&j, "host", "{");
    json_count(&j, "processors", (uint64_t)h->processors);
    json_text(&j, "clock_source", str_from(h->clock_source));
    json_number(&j, "clock_read_ns", h->clock_ns, "%.1f");
    json_number(&j, "kernel_stamped_share", f->stamped_share, "%.4f");
    json_number(&j, "foreign_cpu_share", h->foreign_share, "%.4f");
    json_number(&j, "stolen_cpu_share", h->stolen_share, "%.4f");
    json_unnest(&j, "}");
    json_nest(&j, "advice", "[");
    for (size_t i = 0; i < f->advice_count; i++)
        json_text(&j, NULL, str_from(f->advice[i]));
    json_unnest(&j, "]");
    json_unnest(&j, "}");
    json_out_end(&j, stdout);
}
