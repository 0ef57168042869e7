/* term.c -- finds out what the output can show, and makes text fit for it.
 *
 * Everything that prints for people stands on this. What a user says on the command line counts more than the
 * environment, and the environment more than what the terminal tells. A width is unlimited when the output is no
 * terminal: a file or a pipe loses nothing to cutting.
 *
 * Text is walked a character at a time (struct walk); each comes out as a glyph: the bytes to print and the columns they
 * take. Widths are those of Unicode, not of the terminal at hand: emoji joined from several are counted as the sum of
 * their parts, which is what most terminals draw. */
#include "cli/term.h"

#include "base/json_text.h"
#include "base/mem.h"
#include "cli/char_width.h"

#include <limits.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    COLUMNS_DEFAULT = 80, /* of a terminal that does not tell */
    COLUMNS_MAX = 10000,
    MARKS_MAX = 8, /* zero-width characters on one base; more would paint over the lines around */
    SMALL_BYTES = 512,
};

const char *const term_color_modes[] = {"auto", "always", "never", NULL};

/* ECMA-48 section 8.3.117, Select Graphic Rendition. Only the eight colours that every palette has. */
static const char *const sgr[] = {
    [STYLE_NONE] = "",        [STYLE_TITLE] = "\033[1m",   [STYLE_HEADING] = "\033[2m",
    [STYLE_DIM] = "\033[2m",  [STYLE_GOOD] = "\033[32m",   [STYLE_WARN] = "\033[33m",
    [STYLE_BAD] = "\033[31m", [STYLE_ACCENT] = "\033[36m",
};

/* ---- what the output is ---- */

/* An environment variable that is set and not empty, or NULL. */
static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

static bool wants_color(FILE *out, enum color_mode mode)
{
    if (mode != COLOR_AUTO)
        return mode == COLOR_ALWAYS; /* no-color.org: an option overrides NO_COLOR */
    const char *kind = setting("TERM");
    return isatty(fileno(out)) && !setting("NO_COLOR") && kind && strcmp(kind, "dumb") != 0;
}

/* COLUMNS comes first (POSIX XBD 8.3: the user's preference), even for a pipe: watch(1) tells its width by it. */
static int find_columns(FILE *out)
{
    struct winsize size;
    int64_t preferred;
    if (str_to_i64(str_from(setting("COLUMNS")), &preferred) && preferred > 0)
        return (int)MIN(preferred, COLUMNS_MAX);
    if (!isatty(fileno(out)))
        return 0;
    if (ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return MIN(size.ws_col, COLUMNS_MAX);
    return COLUMNS_DEFAULT;
}

/* The first of the three that is set decides (POSIX XBD 8.2). */
static bool is_utf8_locale(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < COUNT(names); i++) {
        const char *locale = setting(names[i]);
        if (locale)
            return strcasestr(locale, "UTF-8") || strcasestr(locale, "UTF8");
    }
    return false;
}

void term_init(struct term *t, FILE *out, enum color_mode mode)
{
    *t = (struct term){.out = out,
                       .color = wants_color(out, mode),
                       .utf8 = is_utf8_locale(),
                       .columns = find_columns(out)};
}

const char *term_sgr(const struct term *t, enum term_style style)
{
    return t->color ? sgr[style] : "";
}

const char *term_sgr_end(const struct term *t, enum term_style style)
{
    return t->color && style != STYLE_NONE ? "\033[0m" : "";
}

/* ---- characters ---- */

struct walk {
    const char *p, *end;
    bool utf8;
    int marks; /* zero-width characters since the last base */
};

struct glyph {
    const char *p;
    size_t n; /* 0: nothing to print */
    int columns;
};

/* Characters that are valid UTF-8 and still not to be let through. C1 controls: an 8-bit terminal takes U+009B for ESC [.
 * Marks and overrides of direction (UAX #9) make a line read differently from what it is; separators end lines. */
static const struct char_range unsafe[] = {
    {0x0080, 0x009F}, {0x061C, 0x061C}, {0x200E, 0x200F},   {0x2028, 0x202E},
    {0x2066, 0x2069}, {0xFFF9, 0xFFFB}, {0xE0000, 0xE0001},
};

/* Signs that our own texts use, in ASCII. */
static const struct {
    uint32_t code;
    const char *text;
} ascii_signs[] = {
    {0x00B5, "u"}, {0x00D7, "x"},  {0x2013, "-"},  {0x2014, "-"},   {0x2018, "'"},
    {0x2019, "'"}, {0x201C, "\""}, {0x201D, "\""}, {0x2026, "..."}, {0x2192, "->"},
    {0x2212, "-"}, {0x2264, "<="}, {0x2265, ">="},
};

static bool is_in(const struct char_range *ranges, size_t count, uint32_t code)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (code > ranges[mid].last)
            low = mid + 1;
        else
            high = mid;
    }
    return low < count && code >= ranges[low].first;
}

static int code_columns(uint32_t code)
{
    if (is_in(zero_columns, COUNT(zero_columns), code))
        return 0;
    return is_in(two_columns, COUNT(two_columns), code) ? 2 : 1;
}

/* The code point of a valid multi-byte character. */
static uint32_t decode(const char *p, size_t n)
{
    uint32_t code = (unsigned char)p[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++)
        code = code << 6 | ((unsigned char)p[i] & 0x3F);
    return code;
}

static struct glyph sign_for_bad(bool utf8)
{
    return utf8 ? (struct glyph){"\xEF\xBF\xBD", 3, 1} : (struct glyph){"?", 1, 1};
}

static struct glyph in_ascii(uint32_t code)
{
    for (size_t i = 0; i < COUNT(ascii_signs); i++)
        if (ascii_signs[i].code == code)
            return (struct glyph){ascii_signs[i].text, strlen(ascii_signs[i].text),
                                  (int)strlen(ascii_signs[i].text)};
    if (code_columns(code) == 0)
        return (struct glyph){"", 0, 0};
    return sign_for_bad(false);
}

static struct glyph multi_byte(struct walk *w, const char *p, size_t n)
{
    uint32_t code = decode(p, n);
    if (is_in(unsafe, COUNT(unsafe), code))
        return sign_for_bad(w->utf8);
    if (!w->utf8)
        return in_ascii(code);
    struct glyph g = {p, n, code_columns(code)};
    w->marks = g.columns ? 0 : w->marks + 1;
    if (w->marks > MARKS_MAX)
        g.n = 0;
    return g;
}

static bool next_glyph(struct walk *w, struct glyph *g)
{
    const char *p = w->p;
    if (p == w->end)
        return false;
    unsigned char c = (unsigned char)*p;
    size_t n = c < 0x80 ? 1 : utf8_char(p, w->end);
    w->p += MAX(n, (size_t)1);
    if (n > 1) {
        *g = multi_byte(w, p, n);
        return true;
    }
    w->marks = 0;
    *g = n == 1 && c >= 0x20 && c != 0x7F ? (struct glyph){p, 1, 1} : sign_for_bad(w->utf8);
    return true;
}

static struct walk walk_over(bool utf8, struct str text)
{
    return (struct walk){.p = text.p, .end = text.n ? text.p + text.n : text.p, .utf8 = utf8};
}

/* ---- text ---- */

int term_safe(bool utf8, struct str text, int columns_max, char *out, size_t out_bytes)
{
    const struct glyph ellipsis =
        utf8 ? (struct glyph){"\xE2\x80\xA6", 3, 1} : (struct glyph){"...", 3, 3};
    struct walk w = walk_over(utf8, text);
    struct glyph g;
    size_t at = 0, cut_at = 0; /* cut_at: the last place behind which the ellipsis has room */
    int columns = 0, cut_columns = 0;
    if (columns_max <= 0)
        columns_max = INT_MAX;
    ENSURE(out_bytes > 0);
    while (next_glyph(&w, &g)) {
        if (g.columns > columns_max - columns || g.n >= out_bytes - at) {
            size_t n = MIN(ellipsis.n, out_bytes - 1 - cut_at);
            if (utf8 && n < ellipsis.n)
                n = 0; /* no part of a character */
            else if (!utf8)
                n = MIN(n, (size_t)(columns_max - cut_columns));
            memcpy(out + cut_at, ellipsis.p, n);
            out[cut_at + n] = '\0';
            return cut_columns + (n == 0 ? 0 : utf8 ? 1 : (int)n);
        }
        memcpy(out + at, g.p, g.n);
        at += g.n;
        columns += g.columns;
        if (columns <= columns_max - ellipsis.columns && at + ellipsis.n < out_bytes) {
            cut_at = at;
            cut_columns = columns;
        }
    }
    out[at] = '\0';
    return columns;
}

int term_width(bool utf8, struct str text)
{
    struct walk w = walk_over(utf8, text);
    struct glyph g;
    int columns = 0;
    while (next_glyph(&w, &g))
        columns += g.columns;
    return columns;
}

/* Prints with blanks before or behind, up to `columns_min`. */
static int print(const struct term *t, enum term_style style, struct str text, int columns_max,
                 int columns_min, enum align align)
{
    char small[SMALL_BYTES];
    size_t bytes = TERM_SAFE_BYTES(text.n);
    char *safe = bytes <= sizeof small ? small : mem_alloc(bytes);
    int columns = term_safe(t->utf8, text, columns_max, safe, bytes);
    int blanks = MAX(columns_min - columns, 0);
    if (align == ALIGN_RIGHT)
        fprintf(t->out, "%*s", blanks, "");
    if (safe[0])
        fprintf(t->out, "%s%s%s", term_sgr(t, style), safe, term_sgr_end(t, style));
    if (align == ALIGN_LEFT)
        fprintf(t->out, "%*s", blanks, "");
    if (safe != small)
        mem_free(safe);
    return columns;
}

int term_put(const struct term *t, enum term_style style, struct str text, int columns_max)
{
    return print(t, style, text, columns_max, 0, ALIGN_LEFT);
}

void term_field(const struct term *t, enum term_style style, struct str text, int columns,
                enum align align)
{
    if (columns > 0)
        print(t, style, text, columns, columns, align);
}
