/* Bars, sparklines and timelines, exactly as they are drawn. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "cli/graph.h"

static char text[GRAPH_BYTES(64)];

static const char *bar(bool utf8, int columns, double fraction)
{
    graph_bar(utf8, columns, fraction, text, sizeof text);
    return text;
}

static void bars(void **state)
{
    (void)state;
    assert_string_equal(bar(true, 4, 0), "");
    assert_string_equal(bar(true, 4, -1), "");
    assert_string_equal(bar(true, 4, NAN), "");
    assert_string_equal(bar(true, 0, 1), "");
    assert_string_equal(bar(true, 4, 1e-9), "▏");
    assert_string_equal(bar(true, 4, 1.0 / 32), "▏");
    assert_string_equal(bar(true, 4, 2.0 / 32), "▎");
    assert_string_equal(bar(true, 4, 3.0 / 32), "▍");
    assert_string_equal(bar(true, 4, 4.0 / 32), "▌");
    assert_string_equal(bar(true, 4, 5.0 / 32), "▋");
    assert_string_equal(bar(true, 4, 6.0 / 32), "▊");
    assert_string_equal(bar(true, 4, 7.0 / 32), "▉");
    assert_string_equal(bar(true, 4, 8.0 / 32), "█");
    assert_string_equal(bar(true, 4, 0.6), "██▍");
    assert_string_equal(bar(true, 4, 1), "████");
    assert_string_equal(bar(true, 4, 1.5), "████");
    assert_string_equal(bar(true, 4, INFINITY), "████");
}

static void bars_in_ascii(void **state)
{
    (void)state;
    assert_string_equal(bar(false, 4, 0), "");
    assert_string_equal(bar(false, 4, 1e-9), "#");
    assert_string_equal(bar(false, 4, 0.6), "##");
    assert_string_equal(bar(false, 4, 0.63), "###");
    assert_string_equal(bar(false, 4, 7), "####");
}

#define SPARK(utf8, high, ...)                                                                     \
    (graph_spark(utf8, (const double[]){__VA_ARGS__},                                              \
                 sizeof((double[]){__VA_ARGS__}) / sizeof(double), high, text, sizeof text),       \
     text)

static void sparklines(void **state)
{
    (void)state;
    assert_string_equal(SPARK(true, 0, 0, 1, 2, 3, 4, 5, 6, 7), "▁▂▃▄▅▆▇█");
    assert_string_equal(SPARK(false, 0, 0, 1, 2, 3, 4, 5, 6, 7), " .:-=+*#");
    assert_string_equal(SPARK(true, 0, 0, 0, 0), "▁▁▁");
    assert_string_equal(SPARK(true, 0, 5, 5, 5), "███");
    assert_string_equal(SPARK(true, 0, 0, 1, 1000000), "▁▂█"); /* little is not nothing */
    assert_string_equal(SPARK(true, 0, 1, NAN, 2, INFINITY), "▅ █ ");
    assert_string_equal(SPARK(true, 0, NAN, NAN), "  ");
    assert_string_equal(SPARK(true, 0, -3, 1), "▁█");
    assert_string_equal(SPARK(true, 14, 7, 14, 28), "▅██"); /* the scale of another line */
    graph_spark(true, NULL, 0, 0, text, sizeof text);
    assert_string_equal(text, "");
}

static char *drawn; /* what the last draw() printed */

static const char *draw(const struct graph_timeline *g, bool utf8, bool color, int columns)
{
    size_t bytes;
    free(drawn);
    struct term t = {
        .out = open_memstream(&drawn, &bytes), .color = color, .utf8 = utf8, .columns = columns};
    graph_timeline(&t, g);
    fclose(t.out);
    return drawn;
}

static int forget(void **state)
{
    (void)state;
    free(drawn);
    drawn = NULL;
    return 0;
}

static const double hour[] = {0, 1, 2, 4, 8, 16, NAN, 12.25, 3, 0.0001};
static const struct graph_label hour_labels[] = {{0, "10:00"}, {3, "no room"}, {6, "10:06"}};

static const struct graph_timeline chart = {.values = hour,
                                            .count = COUNT(hour),
                                            .height = 4,
                                            .show = num_rate,
                                            .labels = hour_labels,
                                            .label_count = COUNT(hour_labels),
                                            .style = STYLE_ACCENT};

static void timelines(void **state)
{
    (void)state;
    assert_string_equal(draw(&chart, true, false, 0), "16/s ┤     █ ▁\n"
                                                      "     │     █ █\n"
                                                      "     │    ██ █\n"
                                                      " 0/s ┤▁▂▄███ █▆▁\n"
                                                      "     └┬─────┬───\n"
                                                      "      10:00 10:06\n");
    assert_string_equal(draw(&chart, false, false, 0), "16/s +     # .\n"
                                                       "     |     # #\n"
                                                       "     |    ## #\n"
                                                       " 0/s +..:### #:.\n"
                                                       "     ++-----+---\n"
                                                       "      10:00 10:06\n");
}

static void timelines_in_colour(void **state)
{
    (void)state;
    struct graph_timeline g = chart;
    g.height = 1;
    g.count = 4;
    g.label_count = 1;
    assert_string_equal(draw(&g, true, true, 80), "\033[2m4/s\033[0m \033[2m┤\033[0m"
                                                  "\033[36m▁▂▄█\033[0m\n"
                                                  "    \033[2m└\033[0m\033[2m┬───\033[0m\n"
                                                  "     \033[2m10:00\033[0m\n");
}

static void timelines_fold_to_fit(void **state)
{
    (void)state;
    /* 12 columns are 6 for the axis and 6 for the chart: pairs of buckets share one, the greater of them shows */
    assert_string_equal(draw(&chart, true, false, 12), "16/s ┤  █▁\n"
                                                       "     │  ██\n"
                                                       "     │  ██\n"
                                                       " 0/s ┤▂███▆\n"
                                                       "     └┬────\n"
                                                       "      10:00\n");
    /* narrower than the axis: one column, no label fits */
    assert_string_equal(draw(&chart, true, false, 3), "16/s ┤█\n"
                                                      "     │█\n"
                                                      "     │█\n"
                                                      " 0/s ┤█\n"
                                                      "     └─\n");
}

static void labels_keep_inside(void **state)
{
    (void)state;
    static const struct graph_label labels[] = {{0, "a"}, {9, "end\033[31m"}, {10, "beyond"}};
    struct graph_timeline g = chart;
    g.height = 1;
    g.labels = labels;
    g.label_count = COUNT(labels);
    assert_string_equal(draw(&g, true, false, 18), "16/s ┤▁▁▁▂▄█ ▆▂▁\n"
                                                   "     └┬────────┬\n"
                                                   "      a   end�[31m\n");
}

static void timelines_of_little(void **state)
{
    (void)state;
    static const double zeros[] = {0, 0, NAN}, none[] = {NAN, NAN}, below[] = {-4, -2, 0};
    struct graph_timeline g = {.values = zeros, .count = 3, .height = 2, .show = num_count};
    assert_string_equal(draw(&g, true, false, 0), "  │\n"
                                                  "0 ┤▁▁\n"
                                                  "  └───\n");
    g.values = none;
    g.count = 2;
    assert_string_equal(draw(&g, true, false, 0), "  │\n"
                                                  "0 ┤\n"
                                                  "  └──\n");
    g.values = below;
    g.count = 3;
    assert_string_equal(draw(&g, true, false, 0), " 0 ┤  █\n"
                                                  "-4 ┤▁██\n"
                                                  "   └───\n");
    g.low = -8;
    g.high = 0;
    g.height = 1;
    assert_string_equal(draw(&g, true, false, 0), " 0 ┤▄▆█\n"
                                                  "   └───\n");
    g.count = 0;
    assert_string_equal(draw(&g, true, false, 0), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bars),
        cmocka_unit_test(bars_in_ascii),
        cmocka_unit_test(sparklines),
        cmocka_unit_test_teardown(timelines, forget),
        cmocka_unit_test_teardown(timelines_in_colour, forget),
        cmocka_unit_test_teardown(timelines_fold_to_fit, forget),
        cmocka_unit_test_teardown(labels_keep_inside, forget),
        cmocka_unit_test_teardown(timelines_of_little, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
