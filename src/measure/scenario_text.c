/* scenario_text.c -- mixes and stages in an option's words, stages' names, and what a plan asks for at a moment. */
#include <math.h>

#include "base/clock.h"
#include "base/quantity.h"
#include "base/when.h"
#include "measure/scenario_read.h"

#define AMOUNT_MAX 1e7

/* ---- amounts ---- */

static bool one_amount(struct str text, enum stage_kind kind, double *out, struct err *e)
{
    double value, divisor = 1;
    struct str number = str_trim(text);
    if (kind == STAGE_RATE && str_ends(number, STR("/s")))
        number.n -= 2;
    else if (kind == STAGE_RATE && str_ends(number, STR("/min")))
        number.n -= 4, divisor = 60;
    bool good = quantity_parse(str_trim(number), QUANTITY_NUMBER, &value, NULL) && value >= 0 &&
                value <= AMOUNT_MAX && (kind == STAGE_RATE || floor(value) == value);
    if (!good)
        return err_set(e, "expected %s, got \"%.*s\"",
                       kind == STAGE_RATE
                           ? "requests a second, such as 50, 50/s, 600/min or 10..100"
                           : "a whole number of users, such as 50 or 1..100",
                       (int)MIN(text.n, 60u), text.p ? text.p : "");
    *out = value / divisor;
    return true;
}

/* Position of "..", or -1. */
static ptrdiff_t find_dots(struct str text)
{
    for (size_t i = 0; i + 1 < text.n; i++)
        if (text.p[i] == '.' && text.p[i + 1] == '.')
            return (ptrdiff_t)i;
    return -1;
}

bool scenario_amount(struct str text, enum stage_kind kind, double *from, double *to, struct err *e)
{
    ptrdiff_t dots = find_dots(text);
    if (dots < 0) {
        if (!one_amount(text, kind, from, e))
            return false;
        *to = *from;
        return true;
    }
    return one_amount((struct str){text.p, (size_t)dots}, kind, from, e) &&
           one_amount(str_skip(text, (size_t)dots + 2), kind, to, e);
}

/* ---- a mix ---- */

static size_t count_parts(struct str text)
{
    size_t parts = 1;
    for (size_t i = 0; i < text.n; i++)
        parts += text.p[i] == ',';
    return parts;
}

bool scenario_mix_text(struct arena *a, struct str text, struct mix_part **mix, size_t *count,
                       struct err *e)
{
    struct str rest = text;
    size_t parts = count_parts(text), n = 0;
    if (parts > RESULTS_MODELS_MAX)
        return err_set(e, "expected at most %u models, got %zu", RESULTS_MODELS_MAX, parts);
    *mix = arena_zalloc(a, parts * sizeof **mix);
    while (n < parts) {
        struct str part = str_trim(str_cut(&rest, ',')), name = part;
        double weight = 1;
        ptrdiff_t equals = -1;
        for (size_t i = 0; i < part.n; i++) /* the last one: names may have some */
            equals = part.p[i] == '=' ? (ptrdiff_t)i : equals;
        if (equals >= 0) {
            name = str_trim((struct str){part.p, (size_t)equals});
            struct str number = str_trim(str_skip(part, (size_t)equals + 1));
            if (!quantity_parse(number, QUANTITY_NUMBER, &weight, NULL) || !(weight > 0) ||
                weight > 1e9)
                return err_set(e,
                               "expected a weight above 0 in \"%.*s\", as in gpt-4o=60,claude=25",
                               (int)MIN(part.n, 60u), part.p);
        }
        if (name.n == 0)
            return err_set(e,
                           "expected models with weights, as in gpt-4o=60,claude=25, got \"%.*s\"",
                           (int)MIN(text.n, 60u), text.p ? text.p : "");
        for (size_t i = 0; i < n; i++)
            if (str_eq((*mix)[i].model, name))
                return err_set(e, "\"%.*s\" is there twice", (int)MIN(name.n, 60u), name.p);
        (*mix)[n++] = (struct mix_part){arena_str(a, name), weight};
    }
    *count = n;
    return true;
}

/* ---- stages ---- */

static bool read_one_stage(struct str part, bool rates, double from, struct stage *s, struct err *e)
{
    int64_t us;
    struct str text = part, span = str_cut(&text, ':');
    bool is_rate = rates || str_ends(text, STR("/s")) || str_ends(text, STR("/min"));
    bool stays = str_starts(text, STR("="));
    if (!when_span(str_trim(span), &us, NULL) || text.n == 0)
        return err_set(e,
                       "expected stages as time:number, such as 10s:100,1m:500 or 1m:50/s, got "
                       "\"%.*s\"",
                       (int)MIN(part.n, 60u), part.p ? part.p : "");
    s->kind = is_rate ? STAGE_RATE : STAGE_USERS;
    s->duration_ns = (uint64_t)us * NS_PER_US;
    if (!scenario_amount(stays ? str_skip(text, 1) : text, s->kind, &s->from, &s->to, e))
        return false;
    if (!stays && find_dots(text) < 0)
        s->from = from;
    return true;
}

bool scenario_stages_text(struct arena *a, struct str text, bool rates, struct stage **stages,
                          size_t *count, struct err *e)
{
    struct str rest = text;
    size_t parts = count_parts(text);
    double from = 0;
    if (parts > RESULTS_STAGES_MAX)
        return err_set(e, "expected at most %u stages, got %zu", RESULTS_STAGES_MAX, parts);
    *stages = arena_zalloc(a, parts * sizeof **stages);
    for (size_t i = 0; i < parts; i++) {
        struct stage *s = &(*stages)[i];
        if (!read_one_stage(str_trim(str_cut(&rest, ',')), rates, from, s, e))
            return false;
        if (i && s->kind != s[-1].kind)
            s->from = s->to; /* users and rates do not go over into each other */
        if (s->from <= 0 && s->to <= 0 && (i == 0 || i + 1 == parts))
            return err_set(e, "stage %zu asks for nothing: expected more than 0 at one of its ends",
                           i + 1);
        from = s->to;
    }
    *count = parts;
    scenario_name_stages(a, *stages, parts);
    return true;
}

void scenario_name_stages(struct arena *a, struct stage *stages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct stage *s = &stages[i];
        const char *unit = s->kind == STAGE_RATE ? "/s" : s->to == 1 ? " user" : " users";
        if (s->name.n)
            continue;
        if (s->from == s->to)
            s->name =
                arena_printf(a, "%zu: %.9g%s%s", i + 1, s->to, unit, s->warm_up ? ", warm-up" : "");
        else
            s->name = arena_printf(a, "%zu: %.9g to %.9g%s%s", i + 1, s->from, s->to, unit,
                                   s->warm_up ? ", warm-up" : "");
    }
}

/* ---- what a plan asks for ---- */

double scenario_asked_at(const struct arrivals_plan *p, uint64_t offset_ns, enum stage_kind *kind)
{
    uint64_t begins = 0;
    for (size_t i = 0; !p->replay && i < p->stage_count; i++) {
        const struct stage *s = &p->stages[i];
        *kind = s->kind;
        if (!s->duration_ns) /* until requests were sent: nobody knows when that is */
            return s->to;
        if (offset_ns < begins + s->duration_ns)
            return s->from +
                   (s->to - s->from) * (double)(offset_ns - begins) / (double)s->duration_ns;
        begins += s->duration_ns;
    }
    *kind = STAGE_RATE;
    return NAN;
}

uint64_t scenario_duration_ns(const struct arrivals_plan *p)
{
    uint64_t sum = 0;
    if (p->replay)
        return p->replay_count ? (uint64_t)((double)p->replay[p->replay_count - 1].offset_ns /
                                            (p->replay_speed > 0 ? p->replay_speed : 1))
                               : 0;
    for (size_t i = 0; i < p->stage_count; i++) {
        if (!p->stages[i].duration_ns)
            return 0;
        sum += p->stages[i].duration_ns;
    }
    return sum;
}
