/* profile_throughput_report.c -- what `weir profile throughput` says, for people and for programs (profile_throughput.h). */
#include <math.h>

#include "cli/graph.h"
#include "cli/measure_export.h"
#include "cli/num_signed.h"
#include "cli/profile_throughput.h"
#include "cli/sentences.h"

enum { BAR_COLUMNS = 24, TIMELINE_ROWS = 6 };
#define PEAK_WORTH_TELLING 1.02 /* times what the knee has */

static struct num show_load(const struct throughput_profile *p, double load)
{
    return p->open_loop ? num_rate(load) : num_count(load);
}

/* A difference of a tenth of a percent is nothing to tell of. */
static struct num show_gain(double gain)
{
    return num_signed(round(gain * 1000) / 1000, num_pct);
}

/* Of an error the second digit says nothing more. */
static struct num show_error(const struct level *l)
{
    double share = l->error / l->steady.requests_per_s;
    return num_pct(round(share * 1000) / 1000);
}

static bool any_failed(const struct throughput_profile *p)
{
    for (size_t i = 0; i < p->level_count; i++)
        if (results_failures(&p->levels[i].run.results->total))
            return true;
    return false;
}

static struct num quantile(const struct level *l, enum measured m, double q)
{
    struct estimate e = spread_quantile(&l->run.results->total.spreads[m], q);
    struct num n = measured_show(m, e.value);
    if (e.refused && l->run.results->total.outcomes[OUTCOME_OK])
        snprintf(n.text, sizeof n.text, "n/a");
    return n;
}

static double quantile_raw(const struct level *l, enum measured m, double q)
{
    struct estimate e = spread_quantile(&l->run.results->total.spreads[m], q);
    return e.refused ? NAN : measured_raw(m, e.value);
}

static double mean_response_ns(const struct level *l)
{
    return spread_mean(&l->run.results->total.spreads[MEASURED_RESPONSE]).value;
}

static double requests_of(const struct level *l)
{
    return l->steady.requests_per_s;
}

static double failed_share(const struct level *l)
{
    const struct results_group *g = &l->run.results->total;
    return results_attempts(g) ? (double)results_failures(g) / (double)results_attempts(g) : NAN;
}

/* ---- the sweep in words ---- */

/* The good level whose load is nearest to `factor` times that of level `at`, on that side of it; `at` if there is none. */
static size_t neighbour(const struct throughput_profile *p, size_t at, double factor)
{
    size_t best = at;
    double distance = HUGE_VAL;
    for (size_t i = 0; i < p->level_count; i++) {
        double d = fabs(log(p->levels[i].load / (p->levels[at].load * factor)));
        if ((factor > 1 ? i > at : i < at) && isfinite(requests_of(&p->levels[i])) &&
            !p->levels[i].run.validity.client_limited && d < distance) {
            distance = d;
            best = i;
        }
    }
    return best;
}

/* "From 8 to 16 users: +97 % requests/s, +2 % latency", the same for twice as many, and so what a knee is. */
static void say_step(const struct throughput_profile *p, struct sentences *s, size_t from,
                     size_t to)
{
    const struct level *a = &p->levels[from], *b = &p->levels[to];
    if (from != to)
        sentences_add(s, "From %s to %s users: %s requests/s, %s latency.", num_count(a->load).text,
                      num_count(b->load).text, show_gain(requests_of(b) / requests_of(a) - 1).text,
                      show_gain(mean_response_ns(b) / mean_response_ns(a) - 1).text);
}

static void say_knee(const struct throughput_profile *p, struct sentences *s)
{
    const struct knee *k = &p->knee;
    const struct level *l = &p->levels[k->at], *peak = &p->levels[k->peak];
    if (k->kind == KNEE_NONE) {
        sentences_add(s, "No knee can be told: fewer than two loads gave good answers.");
        return;
    }
    const char *what = k->kind == KNEE_FOUND     ? "The knee is at %s user%s: %s requests a second "
                                                   "at a mean latency of %s."
                       : k->kind == KNEE_AT_ONCE ? "It serves one at a time: at %s user%s it "
                                                   "answers %s requests a second at a mean latency "
                                                   "of %s, and more users only wait for each other."
                                                 : "No knee up to %s user%s: %s requests a second "
                                                   "at a mean latency of %s, and load still pays.";
    sentences_add(s, what, num_count(l->load).text, l->load > 1 ? "s" : "",
                  num_count(l->steady.requests_per_s).text,
                  measured_show(MEASURED_RESPONSE, mean_response_ns(l)).text);
    say_step(p, s, neighbour(p, k->at, 0.5), k->at);
    say_step(p, s, k->at, neighbour(p, k->at, 2));
    if (k->kind == KNEE_NOT_REACHED && throughput_client_limited(p))
        sentences_add(s, "What comes beyond that is not known: there the client was the limit.");
    else if (k->kind == KNEE_NOT_REACHED)
        sentences_add(s, "Go on with --max-concurrency %.0f.", l->load * 4);
    else if (requests_of(peak) > requests_of(l) * PEAK_WORTH_TELLING)
        sentences_add(s, "The most it answered was %s requests a second, at %s users.",
                      num_count(peak->steady.requests_per_s).text, num_count(peak->load).text);
    sentences_add(s, "The knee is where requests/s divided by latency is greatest: up to there "
                     "twice the users bring at least 41 %% more requests/s, beyond it they mostly "
                     "bring waiting.");
}

static void say_objectives(const struct throughput_profile *p, struct sentences *s)
{
    char most[40];
    snprintf(most, sizeof most, "%s", num_pct(p->slo_share).text);
    const char *unit = p->open_loop ? "" : " users";
    if (!p->slo_text)
        return;
    if (p->slo_at < 0) {
        const struct level *l = &p->levels[0];
        sentences_add(s, "The objectives %s are not met by %s of the requests at %s%s, but by %s.",
                      p->slo_text, most, show_load(p, l->load).text, unit,
                      num_pct(l->good_share).text);
        return;
    }
    const struct level *l = &p->levels[p->slo_at];
    sentences_add(s,
                  "The objectives %s are met by at least %s of the requests up to %s%s: %s of "
                  "them, %s good requests a second.",
                  p->slo_text, most, show_load(p, l->load).text, unit, num_pct(l->good_share).text,
                  num_count(l->steady.requests_per_s * l->good_share).text);
    if ((size_t)p->slo_at + 1 < p->level_count) {
        const struct level *next = &p->levels[p->slo_at + 1];
        sentences_add(s, "At %s%s it is %s.", show_load(p, next->load).text, unit,
                      num_pct(next->good_share).text);
    }
}

static void say_limits(const struct throughput_profile *p, struct sentences *s)
{
    for (size_t i = 0; i < p->level_count; i++) {
        const struct level *l = &p->levels[i];
        if (l->run.validity.client_limited)
            sentences_add(s, "At %s%s the client was the limit, not the server: %s",
                          show_load(p, l->load).text, p->open_loop ? "" : " users",
                          l->run.validity.summary);
        else if (l->bad)
            sentences_add(s, "At %s%s %s of the requests failed: %s", show_load(p, l->load).text,
                          p->open_loop ? "" : " users", num_pct(failed_share(l)).text,
                          l->run.results->failure_count ? l->run.results->failures[0].error : "");
        else if (l->attempts > 1)
            sentences_add(s, "%s%s were measured %u times: before, the client was the limit.",
                          show_load(p, l->load).text, p->open_loop ? "" : " users", l->attempts);
        if (l->steady.whole_run && p->sweep)
            sentences_add(s,
                          "At %s%s the run was so short that its ending is in its numbers: give "
                          "it more --requests or a --duration.",
                          show_load(p, l->load).text, p->open_loop ? "" : " users");
    }
}

void throughput_say(const struct throughput_profile *p, struct sentences *s)
{
    if (p->sweep)
        say_knee(p, s);
    say_objectives(p, s);
    say_limits(p, s);
}

/* ---- the sweep as a table and as bars ---- */

static void mark_of(const struct throughput_profile *p, size_t i, char out[40])
{
    bool has_knee = p->knee.kind == KNEE_FOUND || p->knee.kind == KNEE_AT_ONCE;
    const struct level *l = &p->levels[i];
    snprintf(out, 40, "%s%s%s%s", has_knee && p->knee.at == i ? "knee " : "",
             p->knee.kind != KNEE_NONE && p->knee.peak == i ? "peak " : "",
             p->slo_at == (ptrdiff_t)i ? "slo " : "",
             l->run.validity.client_limited ? "client"
             : l->bad                       ? "failing"
                                            : "");
    size_t n = strlen(out);
    if (n && out[n - 1] == ' ')
        out[n - 1] = '\0';
}

static void put_level(struct table *t, const struct throughput_profile *p, size_t i)
{
    const struct level *l = &p->levels[i];
    uint64_t requests = l->run.results->total.requests;
    double failed = failed_share(l);
    char mark[40];
    mark_of(p, i, mark);
    table_row(t);
    table_number(t, STYLE_NONE, show_load(p, l->load), l->load);
    table_text(t, l->bad ? STYLE_BAD : STYLE_ACCENT, str_from(mark));
    table_number(t, STYLE_NONE, num_rate(l->steady.requests_per_s), l->steady.requests_per_s);
    table_number(t, STYLE_DIM, show_error(l), l->error);
    table_number(t, STYLE_NONE, num_rate(l->steady.tokens_per_s), l->steady.tokens_per_s);
    table_number(t, STYLE_NONE, quantile(l, MEASURED_RESPONSE, .5),
                 quantile_raw(l, MEASURED_RESPONSE, .5));
    table_number(t, STYLE_NONE, quantile(l, MEASURED_RESPONSE, .95),
                 quantile_raw(l, MEASURED_RESPONSE, .95));
    for (int late = 0; late < 2 && p->stream; late++)
        table_number(t, STYLE_NONE, quantile(l, MEASURED_TTFT_CORRECTED, late ? .95 : .5),
                     quantile_raw(l, MEASURED_TTFT_CORRECTED, late ? .95 : .5));
    if (p->slo_text)
        table_number(t, l->good_share >= p->slo_share ? STYLE_GOOD : STYLE_WARN,
                     num_pct(l->good_share), l->good_share);
    if (any_failed(p))
        table_number(t, failed > 0 ? STYLE_BAD : STYLE_NONE, num_pct(failed), failed);
    table_number(t, STYLE_NONE, num_count((double)requests), (double)requests);
}

void throughput_levels(const struct throughput_profile *p, enum table_format format,
                       const struct term *term)
{
    struct table_column columns[12] = {
        {p->open_loop ? "Rate" : "Users", ALIGN_RIGHT, p->open_loop ? "rate_per_s" : "users"},
        {"", ALIGN_LEFT, "mark"},
        {"Requests/s", ALIGN_RIGHT, "requests_per_s"},
        {"\xC2\xB1", ALIGN_RIGHT, "requests_per_s_error"},
        {"Tokens/s", ALIGN_RIGHT, "tokens_per_s"},
        {"p50", ALIGN_RIGHT, "response_p50_ms"},
        {"p95", ALIGN_RIGHT, "response_p95_ms"},
        {"TTFT p50", ALIGN_RIGHT, "ttft_corrected_p50_ms"},
        {"TTFT p95", ALIGN_RIGHT, "ttft_corrected_p95_ms"}};
    size_t n = p->stream ? 9 : 7;
    struct table t;
    if (p->slo_text)
        columns[n++] = (struct table_column){"Good", ALIGN_RIGHT, "good_share"};
    if (any_failed(p))
        columns[n++] = (struct table_column){"Failed", ALIGN_RIGHT, "failed_share"};
    columns[n++] = (struct table_column){"n", ALIGN_RIGHT, "requests"};
    table_init(&t, columns, n);
    table_title(&t, "Levels of load; times from when a request was due");
    for (size_t i = 0; i < p->level_count; i++)
        put_level(&t, p, i);
    if (format != TABLE_CSV)
        fputc('\n', term->out);
    table_write(&t, format, term);
    table_fini(&t);
}

static double greatest(const struct throughput_profile *p, double (*value)(const struct level *))
{
    double most = 0;
    for (size_t i = 0; i < p->level_count; i++)
        if (isfinite(value(&p->levels[i])))
            most = MAX(most, value(&p->levels[i]));
    return most;
}

static void put_bar(struct table *t, bool utf8, enum term_style style, double value, double most)
{
    char bar[GRAPH_BYTES(BAR_COLUMNS)];
    graph_bar(utf8, BAR_COLUMNS, most > 0 ? value / most : 0, bar, sizeof bar);
    table_text(t, style, str_from(bar));
}

/* Throughput that stops to grow, beside latency that begins to. */
static void write_bars(const struct throughput_profile *p, enum table_format format,
                       const struct term *term)
{
    static const struct table_column columns[] = {
        {"Users", ALIGN_RIGHT, NULL},      {"", ALIGN_LEFT, NULL},
        {"Requests/s", ALIGN_RIGHT, NULL}, {"", ALIGN_LEFT, NULL},
        {"Latency", ALIGN_RIGHT, NULL},    {"", ALIGN_LEFT, NULL}};
    double most_requests = greatest(p, requests_of), most_ns = greatest(p, mean_response_ns);
    bool utf8 = term->utf8 || format != TABLE_TERMINAL;
    struct table t;
    if (format == TABLE_CSV || format == TABLE_HTML)
        return;
    table_init(&t, columns, COUNT(columns));
    table_title(&t, "Throughput and mean latency by users");
    for (size_t i = 0; i < p->level_count; i++) {
        const struct level *l = &p->levels[i];
        bool is_knee = p->knee.kind != KNEE_NONE && p->knee.at == i;
        char mark[40];
        mark_of(p, i, mark);
        table_row(&t);
        table_text(&t, STYLE_NONE, str_from(num_count(l->load).text));
        table_text(&t, STYLE_ACCENT, str_from(mark));
        table_text(&t, STYLE_NONE, str_from(num_rate(l->steady.requests_per_s).text));
        put_bar(&t, utf8, is_knee ? STYLE_GOOD : STYLE_ACCENT, requests_of(l), most_requests);
        table_text(&t, STYLE_NONE,
                   str_from(measured_show(MEASURED_RESPONSE, mean_response_ns(l)).text));
        put_bar(&t, utf8, is_knee ? STYLE_GOOD : STYLE_WARN, mean_response_ns(l), most_ns);
    }
    fputc('\n', term->out);
    table_write(&t, format, term);
    table_fini(&t);
}

static void write_sweep(struct throughput_profile *p, enum table_format format,
                        const struct term *term)
{
    struct sentences s;
    throughput_levels(p, format, term);
    if (format == TABLE_CSV)
        return;
    write_bars(p, format, term);
    sentences_init(&s, "What that means");
    throughput_say(p, &s);
    sentences_end(&s, format, term);
}

/* ---- one level by itself ---- */

static void write_timeline(const struct throughput_profile *p, enum table_format format,
                           const struct term *term)
{
    const struct results *x = p->report.results;
    double *values;
    if (format != TABLE_TERMINAL || x->second_count < 3)
        return;
    values = mem_alloc(x->second_count * sizeof *values);
    for (size_t i = 0; i < x->second_count; i++)
        values[i] = (double)x->seconds[i].ended * 1e9 / (double)x->second_ns;
    struct graph_label label = {0, "begin, warm-up included"};
    struct graph_timeline g = {.values = values,
                               .count = x->second_count,
                               .height = TIMELINE_ROWS,
                               .show = num_rate,
                               .labels = &label,
                               .label_count = 1,
                               .style = STYLE_ACCENT};
    fputc('\n', term->out);
    term_put(term, STYLE_TITLE, STR("Requests ended a second"), 0);
    fputc('\n', term->out);
    graph_timeline(term, &g);
    mem_free(values);
}

static void write_single(struct throughput_profile *p, enum table_format format,
                         const struct term *term)
{
    const struct measure_report *r = &p->report;
    const struct results_group *g = &r->results->total;
    const struct steady *w = &p->levels[0].steady;
    struct sentences s;
    measure_write_rates("Rates", r, g, format, term);
    sentences_init(&s, "");
    if (isfinite(w->requests_per_s))
        sentences_add(&s, "%s: %s requests/s%s%s, %s tokens/s, over %s.",
                      w->whole_run ? "The whole run, its ending included" : "While the load was on",
                      num_count(w->requests_per_s).text,
                      isfinite(p->levels[0].error) ? " \xC2\xB1 " : "",
                      isfinite(p->levels[0].error) ? show_error(&p->levels[0]).text : "",
                      num_count(w->tokens_per_s).text, num_ms(w->seconds * 1e6).text);
    throughput_say(p, &s);
    sentences_end(&s, format, term);
    write_timeline(p, format, term);
    measure_write_times("Times", g, NULL, 0, format, term);
    if (format != TABLE_CSV) {
        measure_write_histogram("How total is spread, from due", g, MEASURED_RESPONSE, format,
                                term);
        measure_write_failures(r, format, term);
    }
    measure_write_validity(r, false, format, term);
}

static void write_heading(const struct throughput_profile *p, enum table_format format,
                          const struct term *term)
{
    struct sentences s;
    const struct level *l = &p->levels[0];
    char how[100];
    if (p->sweep)
        snprintf(how, sizeof how, "1 to %s users",
                 num_count(p->levels[p->level_count - 1].load).text);
    else if (p->open_loop)
        snprintf(how, sizeof how, "%s asked, %s gaps", num_rate(l->load).text,
                 p->poisson ? "Poisson" : "equal");
    else
        snprintf(how, sizeof how, "%s user%s", num_count(l->load).text, l->load > 1 ? "s" : "");
    sentences_init(&s, "Throughput profile");
    sentences_add(&s, "%.*s at %.*s", STR_ARG(p->model), STR_ARG(p->report.url));
    sentences_add(&s, "%s, %s.%s", how, p->stream ? "streamed" : "not streamed",
                  p->report.cut_short ? " Stopped by Ctrl-C: this is what there was until then."
                                      : "");
    sentences_end(&s, format, term);
}

void throughput_report(struct throughput_profile *p, enum table_format format,
                       const struct term *term)
{
    size_t shown = throughput_main_level(p);
    throughput_choose(p, shown);
    write_heading(p, format, term);
    if (p->sweep)
        write_sweep(p, format, term);
    else
        write_single(p, format, term);
    if (p->sweep && format != TABLE_CSV) {
        char title[100];
        snprintf(title, sizeof title, "Times at %s user%s", num_count(p->levels[shown].load).text,
                 p->levels[shown].load > 1 ? "s" : "");
        measure_write_times(title, &p->report.results->total, NULL, 0, format, term);
        measure_write_failures(&p->report, format, term);
        measure_write_validity(&p->report, false, format, term);
    }
    if (format != TABLE_CSV)
        measure_write_definitions(&p->report, &p->report.results->total, NULL, 0, format, term);
}

/* ---- for programs ---- */

static void write_level(struct throughput_profile *p, size_t i, struct json_out *j)
{
    const struct level *l = &p->levels[i];
    char mark[40];
    mark_of(p, i, mark);
    throughput_choose(p, i);
    json_nest(j, NULL, "{");
    json_number(j, p->open_loop ? "rate_per_s" : "users", l->load, "%.9g");
    json_text(j, "mark", str_from(mark));
    json_bool(j, "bad", l->bad);
    json_count(j, "attempts", l->attempts);
    json_nest(j, "steady", "{");
    json_number(j, "seconds", l->steady.seconds, "%.6f");
    json_bool(j, "whole_run", l->steady.whole_run);
    json_count(j, "ended", l->steady.ended);
    json_number(j, "requests_per_s", l->steady.requests_per_s, "%.9g");
    json_number(j, "requests_per_s_error", l->error, "%.9g");
    json_number(j, "tokens_per_s", l->steady.tokens_per_s, "%.9g");
    json_number(j, "good_per_s", l->steady.requests_per_s * l->good_share, "%.9g");
    json_unnest(j, "}");
    measure_json_group(j, "summary", &p->report, &l->run.results->total);
    measure_json_seconds(j, &p->report);
    measure_json_failures(j, &p->report);
    measure_json_validity(j, &p->report);
    json_unnest(j, "}");
}

static void write_step(const struct throughput_profile *p, struct json_out *j, const char *name,
                       size_t from, size_t to)
{
    const struct level *a = &p->levels[from], *b = &p->levels[to];
    if (from == to)
        return;
    json_nest(j, name, "{");
    json_number(j, "from_users", a->load, "%.9g");
    json_number(j, "to_users", b->load, "%.9g");
    json_number(j, "requests_per_s_gain", requests_of(b) / requests_of(a) - 1, "%.6g");
    json_number(j, "latency_gain", mean_response_ns(b) / mean_response_ns(a) - 1, "%.6g");
    json_unnest(j, "}");
}

static void write_knee(const struct throughput_profile *p, struct json_out *j)
{
    static const char *const kinds[] = {[KNEE_NONE] = "none",
                                        [KNEE_FOUND] = "found",
                                        [KNEE_NOT_REACHED] = "not_reached",
                                        [KNEE_AT_ONCE] = "at_once"};
    const struct knee *k = &p->knee;
    bool known = k->kind != KNEE_NONE;
    json_nest(j, "knee", "{");
    json_text(j, "found", str_from(kinds[k->kind]));
    json_number(j, "users", known ? p->levels[k->at].load : NAN, "%.9g");
    json_number(j, "requests_per_s", known ? p->levels[k->at].steady.requests_per_s : NAN, "%.9g");
    json_number(j, "peak_users", known ? p->levels[k->peak].load : NAN, "%.9g");
    if (known)
        write_step(p, j, "before", neighbour(p, k->at, 0.5), k->at);
    if (known)
        write_step(p, j, "beyond", k->at, neighbour(p, k->at, 2));
    json_unnest(j, "}");
}

static void write_objectives(const struct throughput_profile *p, struct json_out *j)
{
    const struct level *l = p->slo_at >= 0 ? &p->levels[p->slo_at] : NULL;
    json_nest(j, "slo", "{");
    json_text(j, "objectives", str_from(p->slo_text));
    json_number(j, "share", p->slo_share, "%.9g");
    json_bool(j, "met", l != NULL);
    json_number(j, "highest_load", l ? l->load : NAN, "%.9g");
    json_number(j, "good_per_s", l ? l->steady.requests_per_s * l->good_share : NAN, "%.9g");
    json_unnest(j, "}");
}

void throughput_json(struct throughput_profile *p, FILE *out)
{
    struct json_out j;
    struct sentences s;
    size_t shown = throughput_main_level(p);
    throughput_choose(p, shown);
    json_out_init(&j);
    json_nest(&j, NULL, "{");
    measure_json_head(&j, &p->report);
    /* Of a sweep the summary is the knee's. */
    measure_json_group(&j, "summary", &p->report, &p->report.results->total);
    if (p->sweep)
        write_knee(p, &j);
    if (p->slo_text)
        write_objectives(p, &j);
    json_nest(&j, "levels", "[");
    for (size_t i = 0; i < p->level_count; i++)
        write_level(p, i, &j);
    json_unnest(&j, "]");
    json_nest(&j, "explained", "[");
    sentences_init(&s, "");
    throughput_say(p, &s);
    for (size_t i = 0; i < s.table.row_count; i++)
        json_text(&j, NULL, table_at(&s.table, i, 0)->text);
    table_fini(&s.table);
    json_unnest(&j, "]");
    json_bool(&j, "client_limited", throughput_client_limited(p));
    measure_json_definitions(&j);
    json_unnest(&j, "}");
    json_out_end(&j, out);
}

void throughput_junit(struct throughput_profile *p, FILE *out)
{
    struct arena arena;
    size_t checks, n = 0;
    arena_init(&arena, NULL, 0);
    throughput_choose(p, throughput_main_level(p));
    const struct engine_account *a = p->report.account;
    struct junit_case *of_instrument = junit_cases(&arena, NULL, p->report.validity, &checks);
    struct junit_case *cases = arena_alloc(&arena, (checks + 1) * sizeof *cases);
    if (p->slo_text) {
        struct sentences s;
        sentences_init(&s, "");
        say_objectives(p, &s);
        struct str text = arena_str(&arena, table_at(&s.table, 0, 0)->text);
        cases[n++] = (struct junit_case){.name = str_from(p->slo_text),
                                         .class_name = STR("objectives"),
                                         .failure = p->slo_at < 0 ? text : STR_NONE,
                                         .output = text};
        table_fini(&s.table);
    }
    memcpy(cases + n, of_instrument, checks * sizeof *cases);
    junit_write(out, STR("weir profile throughput"), a->started_real_us,
                (double)(a->ended_ns - a->started_ns) / 1e9, cases, n + checks);
    arena_fini(&arena);
}
