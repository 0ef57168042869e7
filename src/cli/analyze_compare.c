/* analyze_compare.c -- the time asked for against another one: what moved, whether it is more than noise, and what explains it.
 *
 * Wanted by --compare-with. All it tells is in two rollups, a->rollup and a->other, which have the same views; the arithmetic is
 * observe/window_compare.c's. */
#include <math.h>

#include "base/when.h"
#include "cli/analyze.h"
#include "cli/num_signed.h"
#include "cli/table_text.h"
#include "observe/window_compare.h"

/* Both windows, with totals of their own. */
struct sides {
    struct window now, before;
    struct rollup_group *totals[2];
    int64_t since_us[2],
        until_us[2]; /* now, before; open ends closed by the stamps that were seen */
};

static void open_side(struct sides *s, int i, const struct rollup *r, int64_t since_us,
                      int64_t until_us)
{
    struct rollup_group *total = analysis_total(r);
    bool stamped = total->first_us <= total->last_us;
    s->totals[i] = total;
    s->since_us[i] = since_us != INT64_MIN ? since_us : stamped ? total->first_us : 0;
    s->until_us[i] = until_us != INT64_MAX ? until_us : stamped ? total->last_us : 0;
    struct window w = {total, window_hours(s->since_us[i], s->until_us[i])};
    *(i ? &s->before : &s->now) = w;
}

/* A window that reaches past now has lasted only until now. */
static void sides_open(struct sides *s, const struct analysis *a)
{
    open_side(s, 0, &a->rollup, a->since_us,
              a->until_us != INT64_MAX ? MIN(a->until_us, a->now_us) : INT64_MAX);
    open_side(s, 1, &a->other, a->other_since_us, MIN(a->other_until_us, a->now_us));
}

static void sides_close(struct sides *s)
{
    rollup_group_free(s->totals[0]);
    rollup_group_free(s->totals[1]);
}

/* ---- what moved ---- */

static struct num (*const shows[])(double) = {[CHANGE_COUNT] = num_count,
                                              [CHANGE_USD] = num_usd,
                                              [CHANGE_SHARE] = num_pct,
                                              [CHANGE_TIME] = num_ms};

static double raw(const struct change *c, double value)
{
    return c->kind == CHANGE_TIME ? value / 1000 : value;
}

static double relative(const struct change *c)
{
    return c->before > 0 ? (c->now - c->before) / c->before : NAN;
}

/* Shares differ by percentage points, lest "+2 %" be read as a part of the share. */
static struct num difference(const struct change *c)
{
    struct num n;
    double by = c->now - c->before;
    if (c->kind != CHANGE_SHARE || isnan(by))
        return num_signed(by, shows[c->kind]);
    snprintf(n.text, sizeof n.text, "%+.2f points", 100 * by);
    return n;
}

static const char *verdict(const struct change *c)
{
    bool moved = c->now != c->before;
    if (c->kind == CHANGE_COUNT || c->kind == CHANGE_USD)
        return "";
    if (isnan(c->p))
        return "too few to tell";
    return change_is_real(c) && moved ? "real" : "noise";
}

static enum term_style style_of(const struct change *c)
{
    if (!change_is_real(c) || c->now == c->before)
        return STYLE_NONE;
    return (c->now > c->before) == c->worse_up ? STYLE_BAD : STYLE_GOOD;
}

static void title_of(const struct sides *s, struct table *t)
{
    char text[4][WHEN_TEXT_BYTES];
    for (int i = 0; i < 2; i++) {
        when_text(s->since_us[i], text[2 * i], sizeof text[0]);
        when_text(s->until_us[i], text[2 * i + 1], sizeof text[0]);
    }
    table_title(t, "%s to %s, compared with %s to %s", text[0], text[1], text[2], text[3]);
}

/* What is more than noise, in a sentence; then how it was found out. */
static void conclusion(const struct sides *s, const struct change *changes, char *out,
                       size_t out_bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < WINDOW_CHANGES && n < out_bytes; i++)
        if (change_is_real(&changes[i]) && changes[i].now != changes[i].before)
            n += (size_t)snprintf(out + n, out_bytes - n, "%s%s %s",
                                  n ? ", " : "More than noise: ", changes[i].label,
                                  difference(&changes[i]).text);
    if (n == 0)
        n = (size_t)snprintf(out, out_bytes, "No more than noise in rates and times");
    if (n < out_bytes)
        snprintf(
            out + n, out_bytes - n,
            ". A real difference is one that would come about in less than %g of cases if "
            "nothing had changed; times are tested whole, by ranks. Amounts are an hour, of %s "
            "now and %s before, and not tested: traffic comes in bursts.",
            SIGNIFICANCE_P / 5, num_ms(s->now.hours * 3.6e9).text,
            num_ms(s->before.hours * 3.6e9).text);
}

static void write_changes(const struct sides *s, enum table_format format, const struct term *term)
{
    static const struct table_column columns[] = {
        {"", ALIGN_LEFT, "what"},          {"Before", ALIGN_RIGHT, "before"},
        {"Now", ALIGN_RIGHT, "now"},       {"Difference", ALIGN_RIGHT, "difference"},
        {"Change", ALIGN_RIGHT, "change"}, {"More than noise?", ALIGN_LEFT, "verdict"}};
    struct change changes[WINDOW_CHANGES];
    char text[1024];
    struct table t;
    window_changes(&s->now, &s->before, changes);
    table_init(&t, columns, COUNT(columns));
    title_of(s, &t);
    for (size_t i = 0; i < COUNT(changes); i++) {
        const struct change *c = &changes[i];
        if ((isnan(c->now) && isnan(c->before)) || (c->now == 0 && c->before == 0))
            continue;
        table_row(&t);
        table_text(&t, STYLE_NONE, str_from(format == TABLE_CSV ? c->name : c->label));
        table_number(&t, STYLE_NONE, shows[c->kind](c->before), raw(c, c->before));
        table_number(&t, STYLE_NONE, shows[c->kind](c->now), raw(c, c->now));
        table_number(&t, style_of(c), difference(c), raw(c, c->now - c->before));
        table_number(&t, style_of(c), num_signed(relative(c), num_pct), relative(c));
        table_text(&t, STYLE_DIM, str_from(verdict(c)));
    }
    conclusion(s, changes, text, sizeof text);
    table_write_with_text(&t, text, format, term);
    table_fini(&t);
}

/* ---- what explains it ---- */

static struct num num_seconds(double seconds)
{
    return num_ms(seconds * 1e6);
}

static const struct {
    const char *name, *title, *heading;
    struct num (*show)(double);
} explained[EXPLAIN_COUNT] = {
    [EXPLAIN_ERRORS] = {"errors", "What moved the errors", "Errors/h before", num_count},
    [EXPLAIN_COST] = {"cost", "What moved the cost", "Cost/h before", num_usd},
    [EXPLAIN_TIME] = {"time", "What moved the time spent", "Time/h before", num_seconds},
};

static const struct rollup_group *either(const struct contribution *c)
{
    return c->now ? c->now : c->before;
}

static const char *presence(const struct contribution *c)
{
    return !c->before ? "new" : !c->now ? "gone" : "";
}

static void put_contribution(struct table *t, const struct contribution *c, int fields,
                             struct num (*show)(double))
{
    double by = c->now_per_hour - c->before_per_hour;
    table_row(t);
    for (int i = 0; i < fields; i++) {
        struct str value = either(c)->values[i];
        table_text(t, STYLE_NONE, value.n ? value : STR("-"));
    }
    table_number(t, STYLE_NONE, show(c->before_per_hour), c->before_per_hour);
    table_number(t, STYLE_NONE, show(c->now_per_hour), c->now_per_hour);
    table_number(t, by > 0 ? STYLE_BAD : STYLE_GOOD, num_signed(by, show), by);
    table_number(t, STYLE_NONE, num_signed(c->share, num_pct), c->share);
    table_text(t, STYLE_WARN, str_from(presence(c)));
}

static void write_explained(const struct analysis *a, const struct sides *s, enum explained what,
                            enum table_format format, const struct term *term)
{
    const struct rollup_view *v = &a->rollup.views[0];
    struct table_column columns[ROLLUP_FIELDS_MAX + 5];
    size_t n = (size_t)v->field_count, count, shown = 0;
    struct contribution *all =
        window_explain(v, s->now.hours, &a->other.views[0], s->before.hours, what, &count);
    for (size_t i = 0; i < n; i++)
        columns[i] = (struct table_column){v->fields[i].name, ALIGN_LEFT, NULL};
    columns[n++] = (struct table_column){explained[what].heading, ALIGN_RIGHT, "before"};
    columns[n++] = (struct table_column){"Now", ALIGN_RIGHT, "now"};
    columns[n++] = (struct table_column){"Difference", ALIGN_RIGHT, "difference"};
    columns[n++] = (struct table_column){"Of what moved", ALIGN_RIGHT, "share"};
    columns[n++] = (struct table_column){"", ALIGN_LEFT, "presence"};
    struct table t;
    table_init(&t, columns, n);
    table_title(&t, "%s", explained[what].title);
    while (shown < count && shown < (size_t)a->top && all[shown].share != 0)
        put_contribution(&t, &all[shown++], v->field_count, explained[what].show);
    if (shown) {
        fputc('\n', term->out);
        table_write(&t, format, term);
    }
    table_fini(&t);
    mem_free(all);
}

static void write_tables(const struct analysis *a, void *state, enum table_format format,
                         const struct term *t)
{
    (void)state;
    struct sides s;
    sides_open(&s, a);
    if (format != TABLE_CSV)
        fputc('\n', t->out);
    write_changes(&s, format, t);
    for (int what = 0; what < EXPLAIN_COUNT && format != TABLE_CSV; what++)
        write_explained(a, &s, (enum explained)what, format, t);
    sides_close(&s);
}

/* ---- JSON ---- */

static void json_window(struct json_out *j, const char *name, const struct sides *s, int i)
{
    const struct window *w = i ? &s->before : &s->now;
    json_nest(j, name, "{");
    json_stamp(j, "since", s->since_us[i]);
    json_stamp(j, "until", s->until_us[i]);
    json_number(j, "hours", w->hours, "%.6f");
    json_count(j, "requests", w->total->counts[ROLLUP_REQUESTS]);
    json_unnest(j, "}");
}

static void json_changes(struct json_out *j, const struct sides *s)
{
    struct change changes[WINDOW_CHANGES];
    window_changes(&s->now, &s->before, changes);
    json_nest(j, "changes", "[");
    for (size_t i = 0; i < COUNT(changes); i++) {
        const struct change *c = &changes[i];
        json_nest(j, NULL, "{");
        json_text(j, "what", str_from(c->name));
        json_number(j, "before", raw(c, c->before), "%.12g");
        json_number(j, "now", raw(c, c->now), "%.12g");
        json_number(j, "difference", raw(c, c->now - c->before), "%.12g");
        json_number(j, "change", relative(c), "%.6f");
        json_number(j, "p", c->p, "%.6g");
        json_bool(j, "real", change_is_real(c) && c->now != c->before);
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
}

static void json_explained(const struct analysis *a, const struct sides *s, enum explained what,
                           struct json_out *j)
{
    const struct rollup_view *v = &a->rollup.views[0];
    size_t count;
    struct contribution *all =
        window_explain(v, s->now.hours, &a->other.views[0], s->before.hours, what, &count);
    json_nest(j, explained[what].name, "[");
    for (size_t i = 0; i < count; i++) {
        const struct contribution *c = &all[i];
        json_nest(j, NULL, "{");
        analysis_put_keys(j, "by", v->fields, v->field_count, either(c)->values);
        json_number(j, "before_per_hour", c->before_per_hour, "%.12g");
        json_number(j, "now_per_hour", c->now_per_hour, "%.12g");
        json_number(j, "share", c->share, "%.6f");
        json_bool(j, "new", !c->before);
        json_bool(j, "gone", !c->now);
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
    mem_free(all);
}

static void write_json(const struct analysis *a, void *state, struct json_out *j)
{
    (void)state;
    struct sides s;
    sides_open(&s, a);
    json_nest(j, analyze_compare.name, "{");
    json_window(j, "now", &s, 0);
    json_window(j, "before", &s, 1);
    json_changes(j, &s);
    json_nest(j, "explained", "{");
    for (int what = 0; what < EXPLAIN_COUNT; what++)
        json_explained(a, &s, (enum explained)what, j);
    json_unnest(j, "}");
    json_unnest(j, "}");
    sides_close(&s);
}

/* ---- the part: it takes no line, so that its state is empty ---- */

static bool wanted(const struct analysis *a)
{
    return a->compares;
}

static void *make(const struct analysis *a)
{
    (void)a;
    return mem_alloc(1);
}

static void take(void *state, const struct logline *l, enum log_event event, struct str line)
{
    (void)state, (void)l, (void)event, (void)line;
}

static void merge(void *into, void *from)
{
    (void)into, (void)from;
}

const struct analyze_part analyze_compare = {
    .name = "compare",
    .wanted = wanted,
    .is_csv = true,
    .events = 0,
    .make = make,
    .take = take,
    .merge = merge,
    .destroy = mem_free,
    .write_tables = write_tables,
    .write_json = write_json,
};
