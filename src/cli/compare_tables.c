/* compare_tables.c -- the comparison as tables: each model by itself, then pair by pair, then sentences.
 *
 * A terminal gets a model in two lines, the value and its interval below it; Markdown and HTML have both in one cell. CSV is one table: a
 * row a model and metric, set against the first model. */
#include <math.h>

#include "cli/compare.h"
#include "cli/sentences.h"

/* ---- models ---- */

enum cell_kind { CELL_SUCCESS, CELL_MEDIAN, CELL_P95, CELL_P99, CELL_SPEED, CELL_COST, CELL_COLD };

struct model_column {
    const char *heading;
    enum cell_kind kind;
    enum compared metric;
};

static const struct model_column model_columns[] = {
    {"Success", CELL_SUCCESS, COMPARED_E2E},
    {"E2E p50", CELL_MEDIAN, COMPARED_E2E},
    {"p95", CELL_P95, COMPARED_E2E},
    {"p99", CELL_P99, COMPARED_E2E},
    {"Per token", CELL_MEDIAN, COMPARED_PER_TOKEN},
    {"TTFT p50", CELL_MEDIAN, COMPARED_TTFT},
    {"TPOT p50", CELL_MEDIAN, COMPARED_TPOT},
    {"Tokens/s", CELL_SPEED, COMPARED_TPOT},
    {"Cost/1k", CELL_COST, COMPARED_COST},
    {"Connect", CELL_COLD, COMPARED_E2E},
};

/* Columns that say nothing here are left out: percentiles that no sample carries, what has no values. */
static bool is_shown(const struct comparison *c, const struct model_column *k)
{
    const struct compare_report *r = &c->report;
    bool cold = false;
    switch (k->kind) {
    case CELL_SUCCESS: return true;
    case CELL_P99: return r->blocks >= quantile_needs(.99) && r->has[k->metric];
    case CELL_COLD:
        for (size_t m = 0; m < r->models; m++)
            cold = cold || !isnan(r->facts[m].cold_connect_ms);
        return cold;
    case CELL_MEDIAN:
        return r->has[k->metric] && (k->metric != COMPARED_PER_TOKEN || r->is_compared[k->metric]);
    default: return r->has[k->metric];
    }
}

struct shown {
    struct str value, below; /* below: interval, or empty */
    enum term_style style;
};

static struct shown shown_estimate(struct comparison *c, enum compared metric,
                                   const struct estimate *e)
{
    struct arena *a = &c->arena;
    if (e->refused)
        return (struct shown){STR("n/a"), arena_printf(a, "n < %llu", (unsigned long long)e->need),
                              STYLE_DIM};
    if (isinf(e->value))
        return (struct shown){STR("failed"), STR_NONE, STYLE_BAD};
    return (struct shown){arena_str(a, str_from(compare_value(metric, e->value).text)),
                          compare_value_range(a, metric, e->low, e->high), STYLE_NONE};
}

static struct shown shown_rate(struct comparison *c, const struct estimate *e)
{
    struct arena *a = &c->arena;
    if (e->refused || !(e->value > 0))
        return (struct shown){e->refused ? STR("n/a") : STR(NUM_UNKNOWN), STR_NONE, STYLE_DIM};
    struct str range = STR_NONE;
    if (isfinite(e->low) && isfinite(e->high))
        range =
            arena_printf(a, "%s" NUM_UNKNOWN "%s", num_count(e->low).text, num_rate(e->high).text);
    return (struct shown){arena_str(a, str_from(num_rate(e->value).text)), range, STYLE_NONE};
}

static struct shown shown_success(struct comparison *c, const struct compare_model_facts *f)
{
    struct arena *a = &c->arena;
    double share = f->requests ? (double)f->ok / (double)f->requests : NAN;
    return (struct shown){arena_str(a, str_from(num_pct(share).text)),
                          arena_printf(a, "%s" NUM_UNKNOWN "%s", num_pct(f->success.low).text,
                                       num_pct(f->success.high).text),
                          f->ok < f->requests ? STYLE_BAD : STYLE_NONE};
}

static struct shown shown_cell(struct comparison *c, const struct model_column *k, uint32_t m)
{
    const struct compare_report *r = &c->report;
    const struct compare_system *s = &r->results[k->metric].system[m];
    switch (k->kind) {
    case CELL_SUCCESS: return shown_success(c, &r->facts[m]);
    case CELL_MEDIAN: return shown_estimate(c, k->metric, &s->median);
    case CELL_P95: return shown_estimate(c, k->metric, &s->p95);
    case CELL_P99: return shown_estimate(c, k->metric, &s->p99);
    case CELL_SPEED: return shown_rate(c, &r->facts[m].speed);
    case CELL_COST:
        if (s->values == 0)
            return (struct shown){STR(NUM_UNKNOWN), STR_NONE, STYLE_DIM};
        return shown_estimate(c, k->metric, &s->median);
    case CELL_COLD:
        return (struct shown){
            arena_str(&c->arena, str_from(num_ms(r->facts[m].cold_connect_ms * 1000).text)),
            STR_NONE, STYLE_NONE};
    }
    return (struct shown){STR_NONE, STR_NONE, STYLE_NONE};
}

/* What stands below a model's name. */
static struct str below_name(struct comparison *c, uint32_t m)
{
    const struct compare_model_facts *f = &c->report.facts[m];
    struct str provider = c->models[m].provider;
    if (f->tokens_most < 0)
        return provider;
    struct str tokens = f->tokens_least == f->tokens_most
                            ? arena_printf(&c->arena, "%lld tokens", (long long)f->tokens_most)
                            : arena_printf(&c->arena, "%lld to %lld tokens",
                                           (long long)f->tokens_least, (long long)f->tokens_most);
    return provider.n ? arena_printf(&c->arena, "%.*s, %.*s", STR_ARG(provider), STR_ARG(tokens))
                      : tokens;
}

void compare_write_models(struct comparison *c, enum table_format format, const struct term *term)
{
    struct table_column columns[1 + COUNT(model_columns)] = {{"Model", ALIGN_LEFT, NULL}};
    const struct model_column *shown[COUNT(model_columns)];
    size_t count = 0;
    bool in_two_lines = format == TABLE_TERMINAL;
    struct table t;
    for (size_t i = 0; i < COUNT(model_columns); i++) {
        if (!is_shown(c, &model_columns[i]))
            continue;
        shown[count++] = &model_columns[i];
        columns[count] = (struct table_column){model_columns[i].heading, ALIGN_RIGHT, NULL};
    }
    table_init(&t, columns, 1 + count);
    table_title(&t, "Models, each with 95 %% intervals");
    for (uint32_t m = 0; m < c->model_count; m++) {
        struct shown cells[COUNT(model_columns)];
        struct str below = below_name(c, m);
        table_row(&t);
        if (in_two_lines || below.n == 0)
            table_text(&t, STYLE_ACCENT, c->models[m].name);
        else
            table_printf(&t, STYLE_NONE, "%.*s (%.*s)", STR_ARG(c->models[m].name), STR_ARG(below));
        for (size_t i = 0; i < count; i++) {
            cells[i] = shown_cell(c, shown[i], m);
            if (in_two_lines || cells[i].below.n == 0)
                table_text(&t, cells[i].style, cells[i].value);
            else
                table_printf(&t, cells[i].style, "%.*s (%.*s)", STR_ARG(cells[i].value),
                             STR_ARG(cells[i].below));
        }
        if (!in_two_lines)
            continue;
        table_row(&t);
        table_text(&t, STYLE_DIM, below);
        for (size_t i = 0; i < count; i++)
            table_text(&t, STYLE_DIM, cells[i].below);
    }
    table_write(&t, format, term);
    table_fini(&t);
}

/* ---- pairs ---- */

static const enum term_style verdict_styles[] = {[VERDICT_FASTER] = STYLE_GOOD,
                                                 [VERDICT_SLOWER] = STYLE_BAD,
                                                 [VERDICT_EQUIVALENT] = STYLE_NONE,
                                                 [VERDICT_INCONCLUSIVE] = STYLE_DIM};

static const char *verdict_word(enum compared m, enum verdict v)
{
    const struct compared_info *info = compared_info(m);
    switch (v) {
    case VERDICT_FASTER: return info->less;
    case VERDICT_SLOWER: return info->more;
    case VERDICT_EQUIVALENT: return "equivalent";
    case VERDICT_INCONCLUSIVE: return "not shown";
    }
    return "";
}

static void write_pair(struct comparison *c, struct table *t, enum compared m,
                       const struct compare_pair *p)
{
    struct arena *a = &c->arena;
    table_row(t);
    if (c->model_count > 2)
        table_printf(t, STYLE_NONE, "%.*s : %.*s", STR_ARG(c->models[p->a].name),
                     STR_ARG(c->models[p->b].name));
    table_text(t, m == c->report.primary ? STYLE_ACCENT : STYLE_NONE,
               str_from(compared_info(m)->heading));
    table_text(t, verdict_styles[p->verdict], str_from(verdict_word(m, p->verdict)));
    table_text(t, STYLE_NONE, str_from(compare_effect(m, p->typical.value).text));
    table_text(t, STYLE_DIM, compare_change_range(a, p->typical.low, p->typical.high));
    table_text(t, STYLE_NONE, str_from(num_pct(p->less).text));
    table_text(t, STYLE_NONE, str_from(compare_p(p->p_holm).text));
    table_text(t, STYLE_NONE, str_from(compare_effect(m, p->median.value).text));
    table_text(t, STYLE_DIM, compare_change_range(a, p->median.low, p->median.high));
    table_text(t, STYLE_NONE, str_from(compare_effect(m, p->p95.value).text));
}

void compare_write_pairs(struct comparison *c, enum table_format format, const struct term *term)
{
    static const struct table_column columns[] = {
        {"Pair", ALIGN_LEFT, NULL},    {"Metric", ALIGN_LEFT, NULL},
        {"Verdict", ALIGN_LEFT, NULL}, {"Typical", ALIGN_RIGHT, NULL},
        {"95 %", ALIGN_RIGHT, NULL},   {"Less in", ALIGN_RIGHT, NULL},
        {"p", ALIGN_RIGHT, NULL},      {"Medians", ALIGN_RIGHT, NULL},
        {"95 %", ALIGN_RIGHT, NULL},   {"p95s", ALIGN_RIGHT, NULL}};
    bool one_pair = c->model_count == 2;
    struct table t;
    table_init(&t, columns + one_pair, COUNT(columns) - one_pair);
    if (one_pair)
        table_title(&t, "\"%.*s\" against \"%.*s\", over %zu blocks", STR_ARG(c->models[0].name),
                    STR_ARG(c->models[1].name), c->report.blocks);
    else
        table_title(&t, "The first of each pair against the second, over %zu blocks",
                    c->report.blocks);
    for (int i = 0; i < COMPARED_COUNT; i++) {
        const struct compare_result *r = &c->report.results[i];
        for (size_t p = 0; c->report.is_compared[i] && p < r->pair_count; p++)
            if (r->pair[p].blocks)
                write_pair(c, &t, (enum compared)i, &r->pair[p]);
    }
    table_note(&t,
               "Typical: Hodges-Lehmann, within blocks. Less in: share of blocks. p: signed "
               "ranks%s. Medians, p95s: of one against the other's.",
               one_pair ? "" : ", after Holm");
    if (t.row_count)
        table_write(&t, format, term);
    table_fini(&t);
}

/* ---- the whole ---- */

static void write_sentences(const char *heading, const struct sentence *s, size_t count,
                            enum table_format format, const struct term *term)
{
    struct sentences out;
    sentences_init(&out, heading);
    for (size_t i = 0; i < count; i++)
        sentences_add(&out, "%.*s", STR_ARG(s[i].text));
    sentences_end(&out, format, term);
}

void compare_write_tables(struct comparison *c, enum table_format format, const struct term *term)
{
    compare_write_models(c, format, term);
    fputc('\n', term->out);
    compare_write_pairs(c, format, term);
    write_sentences("Verdict", c->verdicts, c->verdict_count, format, term);
    write_sentences("Remarks", c->remarks, c->remark_count, format, term);
}

/* ---- CSV ---- */

static void put_raw(struct table *t, double value)
{
    char text[40];
    if (!isfinite(value))
        text[0] = '\0';
    else
        snprintf(text, sizeof text, "%.9g", value);
    table_text(t, STYLE_NONE, str_from(text));
}

static void put_estimate(struct table *t, const struct estimate *e)
{
    put_raw(t, e->refused ? NAN : e->value);
    put_raw(t, e->refused ? NAN : e->low);
    put_raw(t, e->refused ? NAN : e->high);
}

static void put_against_first(struct comparison *c, struct table *t, enum compared metric,
                              uint32_t m)
{
    bool turned;
    const struct compare_pair *p = compare_pair_of(&c->report.results[metric], m, 0, &turned);
    if (m == 0 || !p || p->blocks == 0 || !c->report.is_compared[metric])
        return;
    struct ratio r =
        turned ? (struct ratio){1 / p->typical.value, 1 / p->typical.high, 1 / p->typical.low}
               : p->typical;
    enum verdict v = p->verdict;
    if (turned && v <= VERDICT_SLOWER)
        v = v == VERDICT_FASTER ? VERDICT_SLOWER : VERDICT_FASTER;
    table_text(t, STYLE_NONE, c->models[0].name);
    put_raw(t, r.value);
    put_raw(t, r.low);
    put_raw(t, r.high);
    put_raw(t, p->p_holm);
    table_text(t, STYLE_NONE, str_from(verdict_names[v]));
}

void compare_write_csv(struct comparison *c, FILE *out)
{
    static const char *const names[] = {
        "model",      "provider",    "metric", "unit",      "blocks",     "failures", "median",
        "median_low", "median_high", "p95",    "p95_low",   "p95_high",   "p99",      "p99_low",
        "p99_high",   "against",     "ratio",  "ratio_low", "ratio_high", "p_holm",   "verdict"};
    struct table_column columns[COUNT(names)];
    struct table t;
    struct term term = {.out = out, .utf8 = true};
    for (size_t i = 0; i < COUNT(names); i++)
        columns[i] = (struct table_column){names[i], ALIGN_LEFT, names[i]};
    table_init(&t, columns, COUNT(names));
    for (uint32_t m = 0; m < c->model_count; m++) {
        for (int i = 0; i < COMPARED_COUNT; i++) {
            const struct compare_system *s = &c->report.results[i].system[m];
            if (!c->report.has[i])
                continue;
            table_row(&t);
            table_text(&t, STYLE_NONE, c->models[m].name);
            table_text(&t, STYLE_NONE, c->models[m].provider);
            table_text(&t, STYLE_NONE, str_from(compared_info((enum compared)i)->key));
            table_text(&t, STYLE_NONE, str_from(compared_info((enum compared)i)->suffix + 1));
            put_raw(&t, (double)s->values);
            put_raw(&t, (double)s->failures);
            put_estimate(&t, &s->median);
            put_estimate(&t, &s->p95);
            put_estimate(&t, &s->p99);
            put_against_first(c, &t, (enum compared)i, m);
        }
    }
    table_write(&t, TABLE_CSV, &term);
    table_fini(&t);
}
