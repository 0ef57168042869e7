/* measure_page.c -- the frame of a measuring command's page: head, tiles, sections, figures, tables. measure_plots.c draws.
 *
 * As with the page of weir analyze, the Content-Security-Policy allows styles in place and nothing else. */
#include "cli/measure_page.h"

#include <stdarg.h>

#include "base/clock.h"
#include "base/when.h"
#include "cli/html.h"
#include "cli/measure_report.h"
#include "cli/version.h"

extern const char report_css[], report_css_end[]; /* web/report.css, embedded by analyze_html.c */

static void put(const struct measure_page *p, const char *text)
{
    html_put(p->out, str_from(text));
}

static void put_element(const struct measure_page *p, const char *open, const char *text,
                        const char *close)
{
    fputs(open, p->out);
    put(p, text);
    fputs(close, p->out);
}

/* ---- the whole ---- */

static void write_begin(const struct measure_page *p, const char *title)
{
    fputs("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
          "'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<meta name=\"referrer\" content=\"no-referrer\">\n"
          "<meta name=\"color-scheme\" content=\"light dark\">\n",
          p->out);
    put_element(p, "<title>", title, "</title>\n<style>\n");
    fwrite(report_css, 1, (size_t)(report_css_end - report_css), p->out);
    fputs("</style>\n</head>\n<body>\n<main>\n<header>\n", p->out);
    put_element(p, "<h1>", title, "</h1>\n</header>\n");
}

static void write_end(const struct measure_page *p)
{
    char now[WHEN_TEXT_BYTES];
    fprintf(
        p->out,
        "</main>\n<footer>weir %s, %.*s. Times of the plots are local to where this page was "
        "made; their percentiles are of each step, nearest rank, within 0.4 %%. Point at a plot "
        "to see its numbers.</footer>\n</body>\n</html>\n",
        weir_version, STR_ARG(when_text_zoned(clock_real_us(), now, sizeof now)));
}

bool measure_page_write(const char *path, const char *title,
                        void (*body)(struct measure_page *p, void *arg), void *arg, struct err *e)
{
    struct measure_file_writer w;
    struct measure_page p = {0};
    measure_file_begin(&w);
    p.out = w.out;
    p.term = (struct term){.out = w.out, .utf8 = true};
    arena_init(&p.arena, NULL, 0);
    write_begin(&p, title);
    body(&p, arg);
    write_end(&p);
    arena_fini(&p.arena);
    return measure_file_end(&w, path, e);
}

/* ---- the head ---- */

void measure_page_range(struct measure_page *p, int64_t from_real_us, int64_t until_real_us,
                        struct str url, struct str what)
{
    char from[WHEN_TEXT_BYTES], until[WHEN_TEXT_BYTES], span[WHEN_TEXT_BYTES];
    fprintf(
        p->out, "<p class=\"range dim\">%.*s to %.*s <span>%.*s</span></p>\n",
        STR_ARG(when_text_zoned(from_real_us, from, sizeof from)),
        STR_ARG(when_text_zoned(until_real_us, until, sizeof until)),
        STR_ARG(when_span_text(MAX(until_real_us - from_real_us, INT64_C(0)), span, sizeof span)));
    if (url.n) {
        fputs("<p class=\"input dim\"><code>", p->out);
        html_put(p->out, url);
        fputs("</code>", p->out);
        if (what.n)
            fputs(" \xC2\xB7 ", p->out);
        html_put(p->out, what);
        fputs("</p>\n", p->out);
    }
}

void measure_page_note(struct measure_page *p, enum term_style style, const char *fmt, ...)
{
    char text[1200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    const char *class = style == STYLE_BAD ? " bad" : style == STYLE_GOOD ? " good" : "";
    fprintf(p->out, "<div class=\"note%s\">", class);
    put_element(p, style == STYLE_NONE ? "" : "<b>", text, style == STYLE_NONE ? "" : "</b>");
    fputs("</div>\n", p->out);
}

void measure_page_begin_tiles(struct measure_page *p)
{
    fputs("<div class=\"tiles\">\n", p->out);
}

void measure_page_tile(struct measure_page *p, const char *name, struct num value,
                       const char *under, enum term_style style)
{
    fprintf(p->out, "<div class=\"tile%s\">",
            style == STYLE_BAD    ? " bad"
            : style == STYLE_GOOD ? " good"
                                  : "");
    put_element(p, "<span>", name, "</span>");
    put_element(p, "<b>", value.text, "</b>");
    put_element(p, "<small>", under, "</small></div>\n");
}

void measure_page_end_tiles(struct measure_page *p)
{
    fputs("</div>\n", p->out);
}

/* ---- sections ---- */

void measure_page_begin_section(struct measure_page *p, const char *id, const char *title)
{
    fprintf(p->out, "<section id=\"%s\">\n", id);
    put_element(p, "<h2>", title, "</h2>\n<div class=\"grid\">\n");
}

void measure_page_end_section(struct measure_page *p)
{
    fputs("</div>\n</section>\n", p->out);
}

void measure_page_begin_figure(struct measure_page *p, const char *title, const char *remark,
                               bool is_wide)
{
    fputs(is_wide ? "<figure class=\"card wide\">\n" : "<figure class=\"card\">\n", p->out);
    put_element(p, "<figcaption><b>", title, "</b>");
    if (remark)
        put_element(p, " <span>", remark, "</span>");
    fputs("</figcaption>\n", p->out);
}

void measure_page_end_figure(struct measure_page *p)
{
    fputs("</figure>\n", p->out);
}

void measure_page_begin_table(struct measure_page *p, const char *id, bool is_long)
{
    fprintf(p->out, "<div class=\"card scroll%s wide\" id=\"%s\" tabindex=\"0\">\n",
            is_long ? " tall" : "", id);
}

void measure_page_end_table(struct measure_page *p)
{
    fputs("</div>\n", p->out);
}
