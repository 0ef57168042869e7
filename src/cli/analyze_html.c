/* analyze_html.c -- the analysis as a page: one file that needs nothing else, to be sent on, opened offline, printed.
 *
 * It fetches nothing and runs nothing, and its Content-Security-Policy says so to the browser: no script, no image, no font; only
 * the style sheet within it (web/report.css) and styles in place, which tables have. Whatever the log's strangers wrote goes through html_put.
 *
 * The page is written under another name and renamed when it is whole: who opens it never sees half of it. */
#include <errno.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/when.h"
#include "cli/analyze_page.h"
#include "cli/html.h"
#include "cli/version.h"

__asm__(".section .rodata\n"
        ".globl report_css, report_css_end\n"
        "report_css:\n"
        ".incbin \"web/report.css\"\n"
        "report_css_end:\n"
        ".byte 0\n"
        ".previous\n");
extern const char report_css[], report_css_end[];

/* ---- pieces ---- */

static void put_text(const struct page *p, const char *text)
{
    html_put(p->out, str_from(text));
}

static void put_element(const struct page *p, const char *open, const char *text, const char *close)
{
    fputs(open, p->out);
    put_text(p, text);
    fputs(close, p->out);
}

void page_begin_figure(const struct page *p, const char *title, const char *remark, bool is_wide)
{
    fputs(is_wide ? "<figure class=\"card wide\">\n" : "<figure class=\"card\">\n", p->out);
    put_element(p, "<figcaption><b>", title, "</b>");
    if (remark)
        put_element(p, " <span>", remark, "</span>");
    fputs("</figcaption>\n", p->out);
}

void page_end_figure(const struct page *p)
{
    fputs("</figure>\n", p->out);
}

/* ---- the head ---- */

static void write_begin(const struct page *p)
{
    fputs("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
          "'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<meta name=\"referrer\" content=\"no-referrer\">\n"
          "<meta name=\"color-scheme\" content=\"light dark\">\n"
          "<title>LLM gateway report</title>\n<style>\n",
          p->out);
    fwrite(report_css, 1, (size_t)(report_css_end - report_css), p->out);
    fputs("</style>\n</head>\n<body>\n", p->out);
}

static void write_range(const struct page *p)
{
    char first[WHEN_TEXT_BYTES], last[WHEN_TEXT_BYTES], span[WHEN_TEXT_BYTES];
    const struct rollup_group *g = p->a->total;
    if (g->first_us > g->last_us)
        return;
    fprintf(p->out, "<p class=\"range\">%.*s to %.*s <span>%.*s</span></p>\n",
            STR_ARG(when_text_zoned(g->first_us, first, sizeof first)),
            STR_ARG(when_text_zoned(g->last_us, last, sizeof last)),
            STR_ARG(when_span_text(g->last_us - g->first_us, span, sizeof span)));
}

static void write_input(const struct page *p)
{
    const struct analysis *a = p->a;
    fputs("<p class=\"input\">", p->out);
    for (size_t i = 0; i < MIN(a->path_count, (size_t)3); i++) {
        put_element(p, i ? ", <code>" : "<code>",
                    strcmp(a->paths[i], "-") == 0 ? "standard input" : a->paths[i], "</code>");
    }
    if (a->path_count > 3)
        fprintf(p->out, " and %zu more files", a->path_count - 3);
    fprintf(p->out, ": %s, %s line%s", num_bytes((double)a->sum.bytes).text,
            num_count((double)a->sum.lines).text, a->sum.lines == 1 ? "" : "s");
    if (a->rollup.outside)
        fprintf(p->out, "; %s requests outside the time asked for",
                num_count((double)a->rollup.outside).text);
    fputs("</p>\n", p->out);
}

static void write_filter(const struct page *p)
{
    const struct log_filter *f = &p->a->filter;
    if (log_filter_is_empty(f))
        return;
    fputs("<p class=\"filter\">Only requests with ", p->out);
    for (int i = 0; i < f->count; i++) {
        fprintf(p->out, "%s%s <code>", i ? ", " : "", analysis_field_name(f->rows[i].field));
        html_put(p->out, f->rows[i].pattern);
        fputs("</code>", p->out);
    }
    if (f->slow_only && f->slow_us > 0)
        fprintf(p->out, "%sa latency of at least %s", f->count ? ", " : "",
                num_ms((double)f->slow_us).text);
    else if (f->slow_only)
        fprintf(p->out, "%sthe mark slow", f->count ? ", " : "");
    if (f->where) {
        fprintf(p->out, "%s<code>", f->count || f->slow_only ? ", " : "");
        html_put(p->out, log_where_text(f->where));
        fputs("</code>", p->out);
    }
    fputs("</p>\n", p->out);
}

static void write_broken(const struct page *p)
{
    const struct logread_sum *sum = &p->a->sum;
    if (!sum->broken)
        return;
    fprintf(p->out, "<div class=\"note\"><b>%s line%s could not be read.</b> The first:\n<ul>\n",
            num_count((double)sum->broken).text, sum->broken == 1 ? "" : "s");
    for (int i = 0; i < sum->broken_kept; i++) {
        const struct broken_line *b = &sum->first_broken[i];
        put_element(p, "<li><code>", b->path, "");
        fprintf(p->out, ":%llu:%llu</code> expected ", (unsigned long long)b->line,
                (unsigned long long)b->column);
        put_element(p, "", b->expected, ": ");
        put_element(p, "<code class=\"dim\">", b->text, "</code></li>\n");
    }
    fputs("</ul>\n</div>\n", p->out);
}

static void write_notes(const struct page *p)
{
    const struct analysis *a = p->a;
    uint64_t json_logs = a->sum.read[LOG_SHAPE_JSON_LOGS];
    if (a->cut_short)
        fputs("<div class=\"note\"><b>Stopped by Ctrl-C:</b> this is of a part of the log.</div>\n",
              p->out);
    if (a->rollup.dropped)
        fprintf(p->out,
                "<div class=\"note bad\"><b>%s records are missing:</b> the gateway could not keep "
                "them (event gap).</div>\n",
                num_count((double)a->rollup.dropped).text);
    if (json_logs)
        fprintf(p->out,
                "<div class=\"note\">%s lines are LiteLLM's own messages (json_logs), which tell "
                "of no request's times.</div>\n",
                num_count((double)json_logs).text);
    write_broken(p);
}

static void write_head(const struct page *p)
{
    fputs("<header>\n<h1>LLM gateway report</h1>\n", p->out);
    write_range(p);
    write_input(p);
    write_filter(p);
    fputs("</header>\n", p->out);
    write_notes(p);
}

/* ---- key figures ---- */

/* A figure, and what is said under it. */
static void write_tile(const struct page *p, const char *name, struct num value, const char *under,
                       const char *class)
{
    fprintf(p->out, "<div class=\"tile%s\"><span>%s</span><b>%s</b><small>%s</small></div>\n",
            class, name, value.text, under);
}

static void write_request_tiles(const struct page *p)
{
    const struct rollup_group *g = p->a->total;
    const uint64_t *n = g->counts;
    char under[200];
    double requests = (double)n[ROLLUP_REQUESTS];
    snprintf(under, sizeof under, "%s cancelled", num_count((double)n[ROLLUP_CANCELLED]).text);
    write_tile(p, "Requests", num_count(requests), under, "");
    snprintf(under, sizeof under, "%s requests", num_count((double)n[ROLLUP_FAILURE]).text);
    write_tile(p, "Failed", num_pct(requests > 0 ? (double)n[ROLLUP_FAILURE] / requests : NAN),
               under, n[ROLLUP_FAILURE] ? " bad" : "");
    snprintf(under, sizeof under, "%s requests", num_count((double)n[ROLLUP_CACHE_HITS]).text);
    write_tile(p, "From cache",
               num_pct(requests > 0 ? (double)n[ROLLUP_CACHE_HITS] / requests : NAN), under, "");
}

static void write_time_tiles(const struct page *p)
{
    const struct rollup_group *g = p->a->total;
    char under[200];
    snprintf(under, sizeof under, "p95 %s \xC2\xB7 p99 %s",
             num_ms(rollup_quantile(g, SPREAD_LATENCY, .95)).text,
             num_ms(rollup_quantile(g, SPREAD_LATENCY, .99)).text);
    write_tile(p, "Latency p50", num_ms(rollup_quantile(g, SPREAD_LATENCY, .5)), under, "");
    snprintf(under, sizeof under, "p95 %s \xC2\xB7 p99 %s",
             num_ms(rollup_quantile(g, SPREAD_TTFT, .95)).text,
             num_ms(rollup_quantile(g, SPREAD_TTFT, .99)).text);
    write_tile(p, "First token p50", num_ms(rollup_quantile(g, SPREAD_TTFT, .5)), under, "");
    double slow = rollup_quantile(g, SPREAD_TOKENS_PER_SECOND, .05) / 1000;
    snprintf(under, sizeof under, "p5 %s", num_rate(slow).text);
    write_tile(p, "Tokens a second p50",
               num_rate(rollup_quantile(g, SPREAD_TOKENS_PER_SECOND, .5) / 1000), under, "");
}

static void write_token_tiles(const struct page *p)
{
    const uint64_t *n = p->a->total->counts;
    char under[200];
    snprintf(under, sizeof under, "%s in \xC2\xB7 %s out",
             num_count((double)n[ROLLUP_PROMPT_TOKENS]).text,
             num_count((double)n[ROLLUP_COMPLETION_TOKENS]).text);
    write_tile(p, "Tokens", num_count((double)n[ROLLUP_TOTAL_TOKENS]), under, "");
    if (n[ROLLUP_UNPRICED])
        snprintf(under, sizeof under, "%s without a price",
                 num_count((double)n[ROLLUP_UNPRICED]).text);
    else
        snprintf(under, sizeof under, "%s on failed or cancelled",
                 num_usd((double)n[ROLLUP_FAILED_COST_PICO] / 1e12).text);
    write_tile(p, "Cost", num_usd((double)n[ROLLUP_COST_PICO] / 1e12), under, "");
}

/* ---- sections ---- */

static bool has_steps(const struct page *p)
{
    return p->step_count > 0;
}

static bool has_latencies(const struct page *p)
{
    return p->a->total->spreads[SPREAD_LATENCY] != NULL;
}

static bool has_tokens(const struct page *p)
{
    const uint64_t *n = p->a->total->counts;
    return n[ROLLUP_TOTAL_TOKENS] + n[ROLLUP_PROMPT_TOKENS] + n[ROLLUP_COMPLETION_TOKENS] +
               n[ROLLUP_COST_PICO] >
           0;
}

static bool has_failures(const struct page *p)
{
    return p->a->errors->group_count > 0;
}

/* Those that have nothing to show are left out. */
static const struct {
    const char *id, *title;
    bool (*has)(const struct page *);
    void (*write)(struct page *);
    const char *numbers; /* where they stand as tables */
} sections[] = {
    {"traffic", "Traffic", has_steps, page_traffic, "#steps"},
    {"latency", "Latency", has_latencies, page_latency, "#latencies"},
    {"tokens", "Tokens and cost", has_tokens, page_tokens, "#costs"},
    {"errors", "Errors", has_failures, page_errors, "#failures"},
};

static void write_nav(const struct page *p)
{
    fputs("<nav><b>weir</b>", p->out);
    for (size_t i = 0; i < COUNT(sections); i++)
        if (sections[i].has(p))
            fprintf(p->out, " <a href=\"#%s\">%s</a>", sections[i].id, sections[i].title);
    fputs(" <a href=\"#tables\">Tables</a></nav>\n", p->out);
}

static void write_plots(struct page *p)
{
    if (p->a->total->counts[ROLLUP_REQUESTS] && !p->step_count)
        fputs("<div class=\"note\">No line has a stamp: there is nothing to show over "
              "time.</div>\n",
              p->out);
    for (size_t i = 0; i < COUNT(sections); i++) {
        if (!sections[i].has(p))
            continue;
        fprintf(p->out,
                "<section id=\"%s\">\n<h2>%s <a href=\"%s\">as a table</a></h2>\n"
                "<div class=\"grid\">\n",
                sections[i].id, sections[i].title, sections[i].numbers);
        sections[i].write(p);
        fputs("</div>\n</section>\n", p->out);
    }
}

static void begin_table(const struct page *p, const char *id, bool is_long)
{
    fprintf(p->out, "<div class=\"card scroll%s\" id=\"%s\" tabindex=\"0\">\n",
            is_long ? " tall" : "", id);
}

static void end_table(const struct page *p)
{
    fputs("</div>\n", p->out);
}

static void write_groups(const struct page *p, const struct term *t)
{
    static const struct {
        const char *id, *title;
        enum analyze_section section;
    } tables[] = {
        {"groups", "Groups", SECTION_OVERVIEW},
        {"performance", "Times of groups", SECTION_PERFORMANCE},
        {"costs", "Tokens and cost of groups", SECTION_TOKENS},
        {"failures", "Failures", SECTION_ERRORS},
    };
    for (size_t i = 0; i < COUNT(tables); i++) {
        if (tables[i].section == SECTION_ERRORS && !has_failures(p))
            continue;
        begin_table(p, tables[i].id, false);
        analyze_write_section(p->a, tables[i].section, tables[i].title, TABLE_HTML, t);
        end_table(p);
    }
}

static void write_parts(struct page *p, const struct term *t)
{
    for (size_t i = 0; i < analyze_part_count; i++) {
        if (!p->a->parts[i])
            continue;
        begin_table(p, arena_printf(&p->arena, "part-%s", analyze_parts[i]->name).p, false);
        analyze_parts[i]->write_tables(p->a, p->a->parts[i], TABLE_HTML, t);
        end_table(p);
    }
}

static void write_tables(struct page *p)
{
    struct term t = {.out = p->out, .utf8 = true};
    fputs("<section id=\"tables\">\n<h2>Tables</h2>\n", p->out);
    write_groups(p, &t);
    write_parts(p, &t);
    if (has_latencies(p)) {
        begin_table(p, "latencies", true);
        page_write_bands(p, &t);
        end_table(p);
    }
    if (has_steps(p)) {
        begin_table(p, "steps", true);
        page_write_steps(p, &t);
        end_table(p);
    }
    fputs("</section>\n", p->out);
}

static void write_end(const struct page *p)
{
    char now[WHEN_TEXT_BYTES];
    fprintf(p->out,
            "<footer>weir %s, %.*s. Percentiles are nearest rank, within 0.4 %%; times are local "
            "to where this page was made. Point at a plot to see its numbers.</footer>\n"
            "</body>\n</html>\n",
            weir_version, STR_ARG(when_text_zoned(p->a->now_us, now, sizeof now)));
}

static void write_page(const struct analysis *a, FILE *out)
{
    struct page p;
    page_init(&p, a, out);
    write_begin(&p);
    write_nav(&p);
    fputs("<main>\n", out);
    write_head(&p);
    fputs("<div class=\"tiles\">\n", out);
    write_request_tiles(&p);
    write_time_tiles(&p);
    write_token_tiles(&p);
    fputs("</div>\n", out);
    write_plots(&p);
    write_tables(&p);
    fputs("</main>\n", out);
    write_end(&p);
    page_fini(&p);
}

/* ---- the file ---- */

/* Closes what is not standard output. */
static bool close_page(FILE *out)
{
    bool good = fflush(out) == 0 && !ferror(out);
    return (out == stdout || fclose(out) == 0) && good;
}

/* A device, a pipe or a link cannot be replaced by a file: it is written into. */
static bool is_replaceable(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 ? S_ISREG(st.st_mode) : errno == ENOENT;
}

static bool write_and_rename(const struct analysis *a)
{
    char name[4096];
    int n = snprintf(name, sizeof name, "%s.%ld.tmp", a->html_path, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof name) {
        errno = ENAMETOOLONG;
        return false;
    }
    FILE *out = fopen(name, "wx");
    if (!out)
        return false;
    write_page(a, out);
    if (close_page(out) && rename(name, a->html_path) == 0)
        return true;
    int error = errno;
    unlink(name);
    errno = error;
    return false;
}

bool analyze_write_page(const struct analysis *a, struct err *e)
{
    bool to_stdout = strcmp(a->html_path, "-") == 0, good;
    if (!to_stdout && is_replaceable(a->html_path)) {
        good = write_and_rename(a);
    } else {
        FILE *out = to_stdout ? stdout : fopen(a->html_path, "w");
        if (out)
            write_page(a, out);
        good = out && close_page(out);
    }
    return good || err_set(e, "--html: cannot write %s: %s", a->html_path, strerror(errno));
}
