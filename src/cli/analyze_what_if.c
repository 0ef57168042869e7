/* analyze_what_if.c -- the same log at other prices (observe/what_if.h): wanted by --what-if, or by --prices alone. */
#include <math.h>

#include "cli/analyze.h"
#include "cli/num_signed.h"
#include "cli/table_text.h"
#include "observe/what_if.h"

static bool wanted(const struct analysis *a)
{
    return a->what_if;
}

static void *make(const struct analysis *a)
{
    struct what_if *w = mem_alloc(sizeof *w);
    what_if_init(w, a->what_if);
    return w;
}

static void take(void *state, const struct logline *l, enum log_event event, struct str line)
{
    (void)line;
    what_if_take(state, l, event);
}

static void merge(void *into, void *from)
{
    what_if_merge(into, from);
}

static void destroy(void *state)
{
    what_if_fini(state);
    mem_free(state);
}

/* ---- tables ---- */

static double difference(const struct what_if_sum *s)
{
    return USD_OF_PICO(s->then_pico) - USD_OF_PICO(s->now_pico);
}

static double change(const struct what_if_sum *s)
{
    return s->now_pico ? difference(s) / USD_OF_PICO(s->now_pico) : NAN;
}

/* Largest difference first; what stays as it is comes last. */
static int by_difference(const void *a, const void *b)
{
    const struct group *x = *(struct group *const *)a, *y = *(struct group *const *)b;
    double dx = fabs(difference(x->value)), dy = fabs(difference(y->value));
    if (!x->values[2].p != !y->values[2].p)
        return x->values[2].p ? -1 : 1;
    return dx != dy ? dx < dy ? 1 : -1 : group_compare_keys(x, y);
}

static void put_sum(struct table *t, const struct what_if_sum *s)
{
    double now = USD_OF_PICO(s->now_pico), then = USD_OF_PICO(s->then_pico), by = difference(s);
    enum term_style style = by < 0 ? STYLE_GOOD : by > 0 ? STYLE_BAD : STYLE_NONE;
    table_number(t, STYLE_NONE, num_count((double)s->requests), (double)s->requests);
    table_number(t, STYLE_NONE, num_count((double)s->tokens), (double)s->tokens);
    table_number(t, STYLE_NONE, num_usd(now), now);
    table_number(t, STYLE_NONE, num_usd(then), then);
    table_number(t, style, num_signed(by, num_usd), by);
    table_number(t, style, num_signed(change(s), num_pct), change(s));
}

/* What it does not know. */
static void caveats(const struct what_if_sum *total, char *out, size_t out_bytes)
{
    size_t n = (size_t)snprintf(
        out, out_bytes,
        "The same tokens at other prices. Another model would write another number of them, have "
        "another part of them cached, and fail at other times.");
    if (total->unpriced_now)
        n += (size_t)snprintf(out + n, out_bytes - n,
                              " %s requests have no price in the log: 0 in Now.",
                              num_count((double)total->unpriced_now).text);
    if (total->unknown_then)
        snprintf(out + n, out_bytes - n,
                 " %s requests do not say how many tokens they had: Then is as Now.",
                 num_count((double)total->unknown_then).text);
}

/* The last row but one: all that no route and no table had a price for. */
static void put_rest(struct table *t, const struct groups *groups)
{
    struct what_if_sum rest = {0};
    for (size_t i = 0; i < groups->count; i++)
        if (!groups->all[i]->values[2].p)
            what_if_add(&rest, groups->all[i]->value);
    if (!rest.requests)
        return;
    table_row(t);
    table_text(t, STYLE_NONE, STR("the rest"));
    table_text(t, STYLE_NONE, STR(""));
    table_text(t, STYLE_NONE, STR("as it is"));
    put_sum(t, &rest);
}

static void write_tables(const struct analysis *a, void *state, enum table_format format,
                         const struct term *term)
{
    static const struct table_column columns[] = {{"model", ALIGN_LEFT, NULL},
                                                  {"provider", ALIGN_LEFT, NULL},
                                                  {"Priced as", ALIGN_LEFT, "priced_as"},
                                                  {"Requests", ALIGN_RIGHT, "requests"},
                                                  {"Tokens", ALIGN_RIGHT, "total_tokens"},
                                                  {"Now", ALIGN_RIGHT, "now_usd"},
                                                  {"Then", ALIGN_RIGHT, "then_usd"},
                                                  {"Difference", ALIGN_RIGHT, "difference_usd"},
                                                  {"Change", ALIGN_RIGHT, "change"}};
    struct groups groups;
    struct what_if_sum total = what_if_result(state, &groups);
    struct group **sorted = groups_sorted(&groups, by_difference);
    size_t priced = 0, shown = 0;
    char text[512];
    struct table t;
    while (priced < groups.count && sorted[priced]->values[2].p)
        priced++;
    table_init(&t, columns, COUNT(columns));
    table_title(&t, "What if");
    for (; shown < MIN(priced, (size_t)a->top); shown++) {
        const struct str *values = sorted[shown]->values;
        table_row(&t);
        table_maybe(&t, STYLE_NONE, values[0]);
        table_maybe(&t, STYLE_NONE, values[1]);
        table_text(&t, STYLE_NONE, values[2].n ? values[2] : STR("the table's price"));
        put_sum(&t, sorted[shown]->value);
    }
    if (format == TABLE_CSV) {
        table_write(&t, format, term);
    } else {
        put_rest(&t, &groups);
        table_row(&t);
        table_printf(&t, STYLE_HEADING, "all");
        table_text(&t, STYLE_NONE, STR(""));
        if (shown < priced)
            table_printf(&t, STYLE_DIM, "%zu more: --top", priced - shown);
        else
            table_text(&t, STYLE_NONE, STR(""));
        put_sum(&t, &total);
        caveats(&total, text, sizeof text);
        fputc('\n', term->out);
        table_write_with_text(&t, text, format, term);
    }
    table_fini(&t);
    mem_free(sorted);
    groups_fini(&groups);
}

/* ---- JSON ---- */

static void json_sum(struct json_out *j, const struct what_if_sum *s)
{
    json_count(j, "requests", s->requests);
    json_count(j, "total_tokens", s->tokens);
    json_number(j, "now_usd", USD_OF_PICO(s->now_pico), "%.12f");
    json_number(j, "then_usd", USD_OF_PICO(s->then_pico), "%.12f");
    json_number(j, "difference_usd", difference(s), "%.12f");
    json_number(j, "change", change(s), "%.6f");
    json_count(j, "unpriced_now", s->unpriced_now);
    json_count(j, "unknown_then", s->unknown_then);
}

static void write_json(const struct analysis *a, void *state, struct json_out *j)
{
    struct groups groups;
    struct what_if_sum total = what_if_result(state, &groups);
    struct group **sorted = groups_sorted(&groups, by_difference);
    json_nest(j, analyze_what_if.name, "{");
    json_nest(j, "routes", "[");
    for (int i = 0; i < a->what_if->count; i++) {
        json_nest(j, NULL, "{");
        json_text(j, "from", a->what_if->routes[i].from);
        json_text(j, "to", a->what_if->routes[i].to);
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
    json_nest(j, "total", "{");
    json_sum(j, &total);
    json_unnest(j, "}");
    json_nest(j, "groups", "[");
    for (size_t i = 0; i < groups.count; i++) {
        json_nest(j, NULL, "{");
        json_text(j, "model", sorted[i]->values[0]);
        json_text(j, "provider", sorted[i]->values[1]);
        json_text(j, "priced_as", sorted[i]->values[2]);
        json_sum(j, sorted[i]->value);
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
    json_unnest(j, "}");
    mem_free(sorted);
    groups_fini(&groups);
}

const struct analyze_part analyze_what_if = {
    .name = "what_if",
    .wanted = wanted,
    .is_csv = true,
    .events = LOG_EVENT_BIT(REQUEST),
    .make = make,
    .take = take,
    .merge = merge,
    .destroy = destroy,
    .write_tables = write_tables,
    .write_json = write_json,
};
