/* objectives.c -- reads what a good answer is: "ttft=500ms,e2e=5s". */
#include <math.h>

#include "base/clock.h"
#include "base/quantity.h"
#include "measure/results.h"

static const struct {
    const char *name;
    size_t offset;
} rows[] = {
    {"ttft", offsetof(struct objectives, ttft_ns)},
    {"e2e", offsetof(struct objectives, e2e_ns)},
    {"tpot", offsetof(struct objectives, tpot_ns)},
    {"itl", offsetof(struct objectives, itl_ns)},
    {"total", offsetof(struct objectives, total_ns)},
    {"response", offsetof(struct objectives, response_ns)},
};

static const char names[] = "ttft, e2e, tpot, itl, total or response";

static uint64_t *field(struct objectives *o, size_t row)
{
    return (uint64_t *)(void *)((char *)o + rows[row].offset);
}

bool objectives_any(const struct objectives *o)
{
    struct objectives copy = *o;
    bool any = false;
    for (size_t i = 0; i < COUNT(rows); i++)
        any |= *field(&copy, i) != 0;
    return any;
}

static bool parse_one(struct str part, struct objectives *out, struct err *e)
{
    struct str value = part, name = str_trim(str_cut(&value, '='));
    struct err why = {0};
    double ms;
    size_t row = 0;
    while (row < COUNT(rows) && !str_eq(name, str_from(rows[row].name)))
        row++;
    if (row == COUNT(rows))
        return err_set(e, "expected %s, got \"%.*s\": write ttft=500ms,e2e=5s", names,
                       STR_ARG(name));
    if (*field(out, row))
        return err_set(e, "%s is given twice: write one bound for it", rows[row].name);
    if (str_find(part, '=') < 0)
        return err_set(e, "%s has no bound: write %s=500ms", rows[row].name, rows[row].name);
    if (!quantity_parse(str_trim(value), QUANTITY_MS, &ms, &why))
        return err_set(e, "%s: %s", rows[row].name, why.text);
    if (!(ms > 0) || ms > 86400e3)
        return err_set(e, "%s: expected a time above 0 and of at most a day, got \"%.*s\"",
                       rows[row].name, STR_ARG(str_trim(value)));
    *field(out, row) = MAX((uint64_t)llround(ms * NS_PER_MS), UINT64_C(1));
    return true;
}

bool objectives_parse(struct str text, struct objectives *out, struct err *e)
{
    struct objectives parsed = {0};
    do {
        if (!parse_one(str_cut(&text, ','), &parsed, e))
            return false;
    } while (text.p);
    *out = parsed;
    return true;
}
