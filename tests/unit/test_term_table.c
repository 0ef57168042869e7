/* The terminal's properties, text made safe for it, and tables in all four formats, byte for byte. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/table.h"

/* ---- what the output is ---- */

static const char *const variables[] = {"NO_COLOR", "TERM",     "COLUMNS",
                                        "LC_ALL",   "LC_CTYPE", "LANG"};

static int clear_environment(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(variables); i++)
        unsetenv(variables[i]);
    return 0;
}

static bool utf8_with(const char *all, const char *ctype, const char *lang)
{
    struct term t;
    setenv("LC_ALL", all, 1);
    setenv("LC_CTYPE", ctype, 1);
    setenv("LANG", lang, 1);
    term_init(&t, stdout, COLOR_NEVER);
    return t.utf8;
}

static void charset_of_the_locale(void **state)
{
    (void)state;
    assert_false(utf8_with("", "", ""));
    assert_true(utf8_with("", "", "en_US.UTF-8"));
    assert_true(utf8_with("", "", "C.utf8"));
    assert_true(utf8_with("", "de_DE.UTF-8@euro", "C"));
    assert_false(utf8_with("", "POSIX", "en_US.UTF-8"));
    assert_false(utf8_with("C", "en_US.UTF-8", "en_US.UTF-8"));
    assert_true(utf8_with("en_US.UTF-8", "C", "C"));
}

static void a_pipe_has_no_colour_and_no_end(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    struct term t;
    setenv("TERM", "xterm", 1);
    term_init(&t, out, COLOR_AUTO);
    assert_false(t.color);
    assert_int_equal(t.columns, 0);
    assert_ptr_equal(t.out, out);
    assert_string_equal(term_sgr(&t, STYLE_BAD), "");
    assert_string_equal(term_sgr_end(&t, STYLE_BAD), "");
    setenv("NO_COLOR", "1", 1);
    term_init(&t, out, COLOR_ALWAYS);
    assert_true(t.color);
    assert_string_equal(term_sgr(&t, STYLE_BAD), "\033[31m");
    assert_string_equal(term_sgr_end(&t, STYLE_BAD), "\033[0m");
    assert_string_equal(term_sgr(&t, STYLE_NONE), "");
    assert_string_equal(term_sgr_end(&t, STYLE_NONE), "");
    setenv("COLUMNS", "72", 1);
    term_init(&t, out, COLOR_NEVER);
    assert_int_equal(t.columns, 72);
    fclose(out);
    free(text);
}

/* A terminal `columns` wide; NULL where the system has none to give. */
static FILE *open_terminal(unsigned short columns)
{
    char name[64];
    struct winsize size = {.ws_row = 24, .ws_col = columns};
    int controller = posix_openpt(O_RDWR | O_NOCTTY);
    if (controller < 0 || grantpt(controller) != 0 || unlockpt(controller) != 0 ||
        ptsname_r(controller, name, sizeof name) != 0 || ioctl(controller, TIOCSWINSZ, &size) != 0)
        return NULL;
    int fd = open(name, O_RDWR | O_NOCTTY); /* `controller` stays open as long as the test runs */
    return fd < 0 ? NULL : fdopen(fd, "w");
}

static void a_terminal_tells_its_width(void **state)
{
    (void)state;
    struct term t;
    FILE *out = open_terminal(132), *unsized = open_terminal(0);
    if (!out || !unsized)
        skip();
    term_init(&t, out, COLOR_AUTO);
    assert_int_equal(t.columns, 132);
    assert_false(t.color); /* no TERM */
    setenv("TERM", "dumb", 1);
    term_init(&t, out, COLOR_AUTO);
    assert_false(t.color);
    setenv("TERM", "xterm", 1);
    term_init(&t, out, COLOR_AUTO);
    assert_true(t.color);
    term_init(&t, out, COLOR_NEVER);
    assert_false(t.color);
    setenv("NO_COLOR", "", 1); /* no-color.org: only when not empty */
    term_init(&t, out, COLOR_AUTO);
    assert_true(t.color);
    setenv("NO_COLOR", "1", 1);
    term_init(&t, out, COLOR_AUTO);
    assert_false(t.color);
    setenv("COLUMNS", "44", 1);
    term_init(&t, out, COLOR_AUTO);
    assert_int_equal(t.columns, 44);
    setenv("COLUMNS", "-1", 1);
    term_init(&t, out, COLOR_AUTO);
    assert_int_equal(t.columns, 132);
    setenv("COLUMNS", "99999999999", 1);
    term_init(&t, out, COLOR_AUTO);
    assert_int_equal(t.columns, 10000);
    unsetenv("COLUMNS");
    term_init(&t, unsized, COLOR_AUTO);
    assert_int_equal(t.columns, 80);
    fclose(out);
    fclose(unsized);
}

/* ---- safe text ---- */

static char safe[256];
static int safe_columns;

static const char *made_safe(bool utf8, struct str text, int columns_max)
{
    safe_columns = term_safe(utf8, text, columns_max, safe, sizeof safe);
    return safe;
}

#define ASSERT_SAFE(utf8, text, columns_max, want, want_columns)                                   \
    do {                                                                                           \
        assert_string_equal(made_safe(utf8, STR(text), columns_max), want);                        \
        assert_int_equal(safe_columns, want_columns);                                              \
    } while (0)

static void nothing_steers_the_terminal(void **state)
{
    (void)state;
    ASSERT_SAFE(true, "\033[2J\033]0;x\007", 0, "�[2J�]0;x�", 10);
    ASSERT_SAFE(false, "\033[2J\033]0;x\007", 0, "?[2J?]0;x?", 10);
    ASSERT_SAFE(true, "a\nb\rc\td\0e\177f", 0, "a�b�c�d�e�f", 11);
    ASSERT_SAFE(true,
                "\xC2\x9B"
                "31m",
                0, "�31m", 4); /* U+009B, the C1 control that begins a sequence */
    ASSERT_SAFE(true, "\x9B", 0, "�", 1);
    ASSERT_SAFE(true, "abc\xE2\x80\xAEtxt.exe", 0, "abc�txt.exe", 11); /* U+202E turns direction */
    ASSERT_SAFE(true, "a\xE2\x80\xA8z", 0, "a�z", 3);                  /* U+2028 */
    ASSERT_SAFE(false, "a\xE2\x80\xA8z", 0, "a?z", 3);
}

static void invalid_utf8_is_shown_as_such(void **state)
{
    (void)state;
    ASSERT_SAFE(true, "\xFF\xC3", 0, "��", 2);
    ASSERT_SAFE(true, "\xC3(", 0, "�(", 2);
    ASSERT_SAFE(true, "\xC0\x9B", 0, "��", 2);           /* overlong ESC [ */
    ASSERT_SAFE(true, "\xED\xA0\x80", 0, "���", 3);      /* a surrogate */
    ASSERT_SAFE(true, "\xF4\x90\x80\x80", 0, "����", 4); /* above U+10FFFF */
    ASSERT_SAFE(true, "\xE6\x97", 0, "��", 2);           /* cut off */
    ASSERT_SAFE(false, "\xFFx", 0, "?x", 2);
    assert_string_equal(made_safe(true, STR_NONE, 0), "");
    assert_int_equal(safe_columns, 0);
}

static void columns_are_those_of_unicode(void **state)
{
    (void)state;
    ASSERT_SAFE(true, "naïve", 0, "naïve", 5);
    ASSERT_SAFE(true, "nai\xCC\x88ve", 0, "nai\xCC\x88ve", 5);
    ASSERT_SAFE(true, "日本語", 0, "日本語", 6);
    ASSERT_SAFE(true, "한국", 0, "한국", 4);
    ASSERT_SAFE(true, "🚀x", 0, "🚀x", 3);
    ASSERT_SAFE(true, "\xF0\xA0\x80\x80", 0, "\xF0\xA0\x80\x80", 2); /* U+20000 */
    ASSERT_SAFE(true,
                "a\xE2\x80\x8D"
                "b",
                0,
                "a\xE2\x80\x8D"
                "b",
                2); /* U+200D joins */
    assert_int_equal(term_width(true, STR("日本 ok")), 7);
    assert_int_equal(term_width(false, STR("日本 ok")), 5);
    assert_int_equal(term_width(true, STR_NONE), 0);
}

static void ascii_has_stand_ins(void **state)
{
    (void)state;
    ASSERT_SAFE(false, "µs × – — “a” ‘b’ → ≤", 0, "us x - - \"a\" 'b' -> <=", 22);
    ASSERT_SAFE(false, "naïve 日本 i\xCC\x88", 0, "na?ve ?? i", 10);
}

static void marks_do_not_pile_up(void **state)
{
    (void)state;
    char piled[1 + 2 * 100], want[1 + 2 * 8 + 1];
    piled[0] = want[0] = 'o';
    for (size_t i = 1; i < sizeof piled; i += 2)
        memcpy(piled + i, "\xCC\x81", 2);
    memcpy(want + 1, piled + 1, 16);
    want[17] = '\0';
    assert_string_equal(made_safe(true, (struct str){piled, sizeof piled}, 0), want);
    assert_int_equal(safe_columns, 1);
}

static void cuts_at_a_character(void **state)
{
    (void)state;
    ASSERT_SAFE(true, "abcdef", 6, "abcdef", 6);
    ASSERT_SAFE(true, "abcdef", 5, "abcd…", 5);
    ASSERT_SAFE(true, "abcdef", 1, "…", 1);
    ASSERT_SAFE(false, "abcdef", 6, "abcdef", 6);
    ASSERT_SAFE(false, "abcdef", 5, "ab...", 5);
    ASSERT_SAFE(false, "abcdef", 2, "..", 2);
    ASSERT_SAFE(true, "日本語", 6, "日本語", 6);
    ASSERT_SAFE(true, "日本語", 5, "日本…", 5);
    ASSERT_SAFE(true, "日本語", 4, "日…", 3);
    ASSERT_SAFE(true, "日本語", 2, "…", 1);
    ASSERT_SAFE(true, "ae\xCC\x81xyz", 3, "ae\xCC\x81…", 3); /* a mark stays with its base */
    ASSERT_SAFE(true, "\033\033\033\033", 3, "��…", 3);
}

static void cuts_to_the_room_there_is(void **state)
{
    (void)state;
    char room[9];
    memset(room, 'x', sizeof room);
    assert_int_equal(term_safe(true, STR("12345678"), 0, room, 9), 8);
    assert_string_equal(room, "12345678");
    assert_int_equal(term_safe(true, STR("123456789"), 0, room, 9), 6);
    assert_string_equal(room, "12345…");
    assert_int_equal(term_safe(false, STR("123456789"), 0, room, 9), 8);
    assert_string_equal(room, "12345...");
    assert_int_equal(term_safe(true, STR("日本語"), 0, room, 9), 3);
    assert_string_equal(room, "日…");
    assert_int_equal(term_safe(true, STR("123456789"), 0, room, 3), 0);
    assert_string_equal(room, ""); /* no part of an ellipsis */
    assert_int_equal(term_safe(false, STR("123456789"), 0, room, 3), 2);
    assert_string_equal(room, "..");
    assert_int_equal(term_safe(false, STR("1"), 0, room, 1), 0);
    assert_string_equal(room, "");
}

/* Whatever comes in: what goes out is printable, as wide as was said, within both limits, and stays as it is when made
 * safe again. */
static void any_bytes_come_out_safe(void **state)
{
    (void)state;
    static const char *const parts[] = {"\033[", "a", "日", "\xCC\x81", "\xC2\x85", "\xE2\x80",
                                        "\xAE",  "…", "\n", "🚀",        "\xF0\x9F", "\xFF"};
    uint32_t random = 1;
    char again[96], out[96], in[64];
    for (int round = 0; round < 20000; round++) {
        size_t n = 0;
        while (n < 40) {
            random = random * 1664525 + 1013904223;
            const char *part = parts[(random >> 16) % COUNT(parts)];
            memcpy(in + n, part, strlen(part));
            n += strlen(part);
        }
        bool utf8 = round % 2;
        int columns_max = round % 50;
        size_t out_bytes = 1 + (size_t)round % sizeof out;
        int columns_now = term_safe(utf8, (struct str){in, n}, columns_max, out, out_bytes);
        assert_true(strlen(out) < out_bytes);
        assert_true(columns_max == 0 || columns_now <= columns_max);
        assert_int_equal(columns_now, term_width(utf8, str_from(out)));
        for (const char *p = out; *p; p++)
            assert_true((unsigned char)*p >= 0x20 && *p != 0x7F && (utf8 || (*p & 0x80) == 0));
        term_safe(utf8, str_from(out), 0, again, sizeof again);
        assert_string_equal(again, out);
    }
}

/* ---- tables ---- */

static char *written; /* what the last write_as() printed */

static int forget(void **state)
{
    (void)state;
    free(written);
    written = NULL;
    return 0;
}

static const char *write_as(const struct table *t, enum table_format format, struct term term)
{
    size_t bytes;
    free(written);
    term.out = open_memstream(&written, &bytes);
    table_write(t, format, &term);
    fclose(term.out);
    return written;
}

static const struct term wide = {.utf8 = true}, ascii = {.utf8 = false};

static const struct table_column columns[] = {{"Model", ALIGN_LEFT, "model"},
                                              {"Requests", ALIGN_RIGHT, "requests"},
                                              {"Latency", ALIGN_RIGHT, "latency_ms"}};

static void fill(struct table *t)
{
    table_init(t, columns, COUNT(columns));
    table_title(t, "Models of %s", "today");
    table_row(t);
    table_text(t, STYLE_NONE, STR("gpt-4o-mini"));
    table_number(t, STYLE_NONE, num_count(12345), 12345);
    table_number(t, STYLE_BAD, num_ms(850100), 850.1);
    table_row(t);
    table_text(t, STYLE_ACCENT, STR("ü日本"));
    table_number(t, STYLE_NONE, num_count(1), 1);
    table_number(t, STYLE_NONE, num_ms(NAN), NAN);
    table_row(t);
    table_printf(t, STYLE_NONE, "(%d others)", 2);
    table_note(t, "%d more rows: --top 20", 8);
}

static void tables_on_a_terminal(void **state)
{
    (void)state;
    struct table t;
    fill(&t);
    assert_string_equal(write_as(&t, TABLE_TERMINAL, wide), "Models of today\n"
                                                            "Model        Requests  Latency\n"
                                                            "───────────  ────────  ───────\n"
                                                            "gpt-4o-mini    12,345   850 ms\n"
                                                            "ü日本               1        –\n"
                                                            "(2 others)\n"
                                                            "8 more rows: --top 20\n");
    assert_string_equal(write_as(&t, TABLE_TERMINAL, ascii), "Models of today\n"
                                                             "Model        Requests  Latency\n"
                                                             "-----------  --------  -------\n"
                                                             "gpt-4o-mini    12,345   850 ms\n"
                                                             "???                 1        -\n"
                                                             "(2 others)\n"
                                                             "8 more rows: --top 20\n");
    table_fini(&t);
}

static void tables_in_colour(void **state)
{
    (void)state;
    struct table t;
    struct term colored = {.utf8 = true, .color = true};
    table_init(&t, columns, 2);
    table_title(&t, "T");
    table_note(&t, "N");
    table_row(&t);
    table_text(&t, STYLE_GOOD, STR("a\033[0m"));
    table_number(&t, STYLE_BAD, num_count(1), 1);
    assert_string_equal(write_as(&t, TABLE_TERMINAL, colored),
                        "\033[1mT\033[0m\n"
                        "\033[2mModel\033[0m  \033[2mRequests\033[0m\n"
                        "\033[2m─────  ────────\033[0m\n"
                        "\033[32ma�[0m\033[0m         \033[31m1\033[0m\n"
                        "\033[2mN\033[0m\n");
    table_fini(&t);
}

static void tables_as_markdown(void **state)
{
    (void)state;
    struct table t;
    fill(&t);
    assert_string_equal(write_as(&t, TABLE_MARKDOWN, ascii),
                        "### Models of today\n"
                        "\n"
                        "| Model       | Requests | Latency |\n"
                        "| ----------- | -------: | ------: |\n"
                        "| gpt-4o-mini |   12,345 |  850 ms |\n"
                        "| ü日本       |        1 |       – |\n"
                        "| (2 others)  |          |         |\n"
                        "\n"
                        "8 more rows: --top 20\n");
    table_fini(&t);
}

static void tables_as_csv(void **state)
{
    (void)state;
    struct table t;
    fill(&t);
    assert_string_equal(write_as(&t, TABLE_CSV, ascii), "model,requests,latency_ms\n"
                                                        "gpt-4o-mini,12345,850.1\n"
                                                        "ü日本,1,\n"
                                                        "(2 others),,\n");
    table_fini(&t);
}

static void tables_as_html(void **state)
{
    (void)state;
    struct table t;
    fill(&t);
    assert_string_equal(
        write_as(&t, TABLE_HTML, ascii),
        "<table>\n"
        "<caption>Models of today</caption>\n"
        "<thead>\n"
        "<tr><th style=\"text-align:left\">Model</th><th style=\"text-align:right\">Requests</th>"
        "<th style=\"text-align:right\">Latency</th></tr>\n"
        "</thead>\n"
        "<tbody>\n"
        "<tr><td style=\"text-align:left\">gpt-4o-mini</td>"
        "<td style=\"text-align:right\">12,345</td>"
        "<td class=\"bad\" style=\"text-align:right\">850 ms</td></tr>\n"
        "<tr><td class=\"accent\" style=\"text-align:left\">ü日本</td>"
        "<td style=\"text-align:right\">1</td><td style=\"text-align:right\">–</td></tr>\n"
        "<tr><td style=\"text-align:left\">(2 others)</td><td style=\"text-align:right\"></td>"
        "<td style=\"text-align:right\"></td></tr>\n"
        "</tbody>\n"
        "<tfoot>\n"
        "<tr><td colspan=\"3\">8 more rows: --top 20</td></tr>\n"
        "</tfoot>\n"
        "</table>\n");
    table_fini(&t);
}

static struct term narrow(bool utf8, int columns_now)
{
    return (struct term){.utf8 = utf8, .columns = columns_now};
}

static void names_give_way_to_numbers(void **state)
{
    (void)state;
    struct table t;
    fill(&t);
    assert_string_equal(write_as(&t, TABLE_TERMINAL, narrow(true, 28)),
                        "Models of today\n"
                        "Model      Requests  Latency\n"
                        "─────────  ────────  ───────\n"
                        "gpt-4o-m…    12,345   850 ms\n"
                        "ü日本             1        –\n"
                        "(2 other…\n"
                        "8 more rows: --top 20\n");
    /* the names are at their least and the latency still has no room */
    assert_string_equal(write_as(&t, TABLE_TERMINAL, narrow(true, 20)), "Models of today\n"
                                                                        "Model       Requests\n"
                                                                        "──────────  ────────\n"
                                                                        "gpt-4o-mi…    12,345\n"
                                                                        "ü日本              1\n"
                                                                        "(2 others)\n"
                                                                        "1 more column: need…\n"
                                                                        "8 more rows: --top …\n");
    assert_string_equal(write_as(&t, TABLE_TERMINAL, narrow(false, 8)), "Model...\n"
                                                                        "Model\n"
                                                                        "--------\n"
                                                                        "gpt-4...\n"
                                                                        "???\n"
                                                                        "(2 ot...\n"
                                                                        "2 mor...\n"
                                                                        "8 mor...\n");
    assert_string_equal(write_as(&t, TABLE_TERMINAL, narrow(true, 4)), "Mod…\n"
                                                                       "Mod…\n"
                                                                       "────\n"
                                                                       "gpt…\n"
                                                                       "ü日…\n"
                                                                       "(2 …\n"
                                                                       "2 m…\n"
                                                                       "8 m…\n");
    table_fini(&t);
}

static void the_widest_names_give_way_first(void **state)
{
    (void)state;
    static const struct table_column three[] = {
        {"Key", ALIGN_LEFT, NULL}, {"N", ALIGN_RIGHT, NULL}, {"Error", ALIGN_LEFT, NULL}};
    struct table t;
    table_init(&t, three, COUNT(three));
    table_row(&t);
    table_text(&t, STYLE_NONE, STR("team-alpha-key"));
    table_text(&t, STYLE_NONE, STR("7"));
    table_text(&t, STYLE_NONE, STR("the upstream closed the connection"));
    assert_string_equal(write_as(&t, TABLE_TERMINAL, narrow(true, 40)),
                        "Key             N  Error\n"
                        "──────────────  ─  ─────────────────────\n"
                        "team-alpha-key  7  the upstream closed …\n");
    assert_string_equal(write_as(&t, TABLE_TERMINAL, narrow(true, 26)),
                        "Key         N  Error\n"
                        "──────────  ─  ───────────\n"
                        "team-alph…  7  the upstre…\n");
    assert_string_equal(write_as(&t, TABLE_TERMINAL, narrow(true, 20)), "Key             N\n"
                                                                        "──────────────  ─\n"
                                                                        "team-alpha-key  7\n"
                                                                        "1 more column: need…\n");
    table_fini(&t);
}

#define HOSTILE "\033[31mx|y\n\"<b>&*_`'\xFF"

static void hostile_cells(void **state)
{
    (void)state;
    static const struct table_column two[] = {{"a|b", ALIGN_LEFT, "a\"b"},
                                              {"<i>", ALIGN_RIGHT, NULL}};
    struct table t;
    table_init(&t, two, COUNT(two));
    table_title(&t, "%s", HOSTILE);
    table_row(&t);
    table_text(&t, STYLE_NONE, STR(HOSTILE));
    table_text(&t, STYLE_NONE, STR("1,2"));
    assert_string_equal(write_as(&t, TABLE_TERMINAL, wide), "�[31mx|y�\"<b>&*_`'�\n"
                                                            "a|b                  <i>\n"
                                                            "───────────────────  ───\n"
                                                            "�[31mx|y�\"<b>&*_`'�  1,2\n");
    assert_string_equal(write_as(&t, TABLE_MARKDOWN, wide),
                        "### �\\[31mx\\|y�\"\\<b\\>\\&\\*\\_\\`'�\n"
                        "\n"
                        "| a\\|b                        | \\<i\\> |\n"
                        "| --------------------------- | ----: |\n"
                        "| �\\[31mx\\|y�\"\\<b\\>\\&\\*\\_\\`'� |   1,2 |\n");
    assert_string_equal(write_as(&t, TABLE_CSV, wide), "\"a\"\"b\",<i>\n"
                                                       "\"�[31mx|y�\"\"<b>&*_`'�\",\"1,2\"\n");
    assert_string_equal(
        write_as(&t, TABLE_HTML, wide),
        "<table>\n"
        "<caption>�[31mx|y�&quot;&lt;b&gt;&amp;*_`&#39;�</caption>\n"
        "<thead>\n"
        "<tr><th style=\"text-align:left\">a|b</th>"
        "<th style=\"text-align:right\">&lt;i&gt;</th></tr>\n"
        "</thead>\n"
        "<tbody>\n"
        "<tr><td style=\"text-align:left\">�[31mx|y�&quot;&lt;b&gt;&amp;*_`&#39;�</td>"
        "<td style=\"text-align:right\">1,2</td></tr>\n"
        "</tbody>\n"
        "</table>\n");
    table_fini(&t);
}

static void csv_has_no_formulas(void **state)
{
    (void)state;
    static const struct table_column one[] = {{"v", ALIGN_LEFT, NULL}};
    static const char *const texts[] = {"=1+1", "+1",  "-1",  "@SUM(A1)", "=\"a\",b", "\t=1",
                                        "\r=1", "＝1", "a=1", "'x",       " =1",      ""};
    struct table t;
    table_init(&t, one, 1);
    for (size_t i = 0; i < COUNT(texts); i++) {
        table_row(&t);
        table_text(&t, STYLE_NONE, str_from(texts[i]));
    }
    table_row(&t);
    table_number(&t, STYLE_NONE, num_count(-1.5), -1.5);
    table_row(&t);
    table_text_raw(&t, STYLE_NONE, STR("shown"), STR("=raw"));
    assert_string_equal(write_as(&t, TABLE_CSV, wide), "v\n"
                                                       "'=1+1\n"
                                                       "'+1\n"
                                                       "'-1\n"
                                                       "'@SUM(A1)\n"
                                                       "\"'=\"\"a\"\",b\"\n"
                                                       "�=1\n"
                                                       "�=1\n"
                                                       "'＝1\n"
                                                       "a=1\n"
                                                       "'x\n"
                                                       " =1\n"
                                                       "\n"
                                                       "-1.5\n"
                                                       "'=raw\n");
    table_fini(&t);
}

static void raw_numbers_are_exact(void **state)
{
    (void)state;
    static const struct table_column one[] = {{"v", ALIGN_RIGHT, NULL}};
    static const double values[] = {0.1, 1.0 / 3, 1e-7, 123456789012345, INFINITY};
    struct table t;
    table_init(&t, one, 1);
    for (size_t i = 0; i < COUNT(values); i++) {
        table_row(&t);
        table_number(&t, STYLE_NONE, num_count(values[i]), values[i]);
    }
    assert_string_equal(write_as(&t, TABLE_CSV, wide), "v\n"
                                                       "0.1\n"
                                                       "0.33333333333333331\n"
                                                       "1e-07\n"
                                                       "123456789012345\n"
                                                       "\n");
    table_fini(&t);
}

static void empty_and_large_tables(void **state)
{
    (void)state;
    struct table t;
    table_init(&t, columns, COUNT(columns));
    assert_string_equal(write_as(&t, TABLE_TERMINAL, wide), "Model  Requests  Latency\n"
                                                            "─────  ────────  ───────\n");
    assert_string_equal(write_as(&t, TABLE_CSV, wide), "model,requests,latency_ms\n");
    for (int i = 0; i < 1000; i++) {
        char long_name[2000];
        memset(long_name, 'a' + i % 26, sizeof long_name);
        table_row(&t);
        table_text(&t, STYLE_NONE, (struct str){long_name, sizeof long_name});
    }
    assert_int_equal(t.row_count, 1000);
    assert_int_equal(table_at(&t, 999, 0)->text.n, 2000);
    assert_int_equal(table_at(&t, 999, 0)->text.p[1999], 'a' + 999 % 26);
    assert_int_equal(table_at(&t, 999, 2)->text.n, 0);
    assert_true(str_ends(str_from(write_as(&t, TABLE_TERMINAL, narrow(true, 40))),
                         STR("\nllllllllllllllllllll…\n")));
    table_fini(&t);
}

static void fields_are_filled_up(void **state)
{
    (void)state;
    size_t bytes;
    free(written);
    struct term t = {.out = open_memstream(&written, &bytes), .utf8 = true, .color = true};
    term_field(&t, STYLE_WARN, STR("日本"), 6, ALIGN_LEFT);
    term_field(&t, STYLE_NONE, STR("9"), 3, ALIGN_RIGHT);
    term_field(&t, STYLE_NONE, STR("gone"), 0, ALIGN_RIGHT);
    assert_int_equal(term_put(&t, STYLE_NONE, STR("abcdef"), 4), 4);
    assert_int_equal(term_put(&t, STYLE_BAD, STR_NONE, 0), 0);
    fclose(t.out);
    assert_string_equal(written, "\033[33m日本\033[0m    9abc…");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(charset_of_the_locale, clear_environment),
        cmocka_unit_test_setup(a_pipe_has_no_colour_and_no_end, clear_environment),
        cmocka_unit_test_setup(a_terminal_tells_its_width, clear_environment),
        cmocka_unit_test(nothing_steers_the_terminal),
        cmocka_unit_test(invalid_utf8_is_shown_as_such),
        cmocka_unit_test(columns_are_those_of_unicode),
        cmocka_unit_test(ascii_has_stand_ins),
        cmocka_unit_test(marks_do_not_pile_up),
        cmocka_unit_test(cuts_at_a_character),
        cmocka_unit_test(cuts_to_the_room_there_is),
        cmocka_unit_test(any_bytes_come_out_safe),
        cmocka_unit_test_teardown(tables_on_a_terminal, forget),
        cmocka_unit_test_teardown(tables_in_colour, forget),
        cmocka_unit_test_teardown(tables_as_markdown, forget),
        cmocka_unit_test_teardown(tables_as_csv, forget),
        cmocka_unit_test_teardown(tables_as_html, forget),
        cmocka_unit_test_teardown(names_give_way_to_numbers, forget),
        cmocka_unit_test_teardown(the_widest_names_give_way_first, forget),
        cmocka_unit_test_teardown(hostile_cells, forget),
        cmocka_unit_test_teardown(csv_has_no_formulas, forget),
        cmocka_unit_test_teardown(raw_numbers_are_exact, forget),
        cmocka_unit_test_teardown(empty_and_large_tables, forget),
        cmocka_unit_test_teardown(fields_are_filled_up, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
