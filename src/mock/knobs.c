/* knobs.c -- knobs.def as a table, and the ways to set one: header, words of a fault. */
#include "mock/knobs.h"

#include "base/json.h"

enum knob_kind { KNOB_SETTING, KNOB_FAULT, KNOB_AT_ACCEPT };

static const struct knob_row {
    struct str name;
    int64_t off, min, max, implied; /* implied -1: a value must be given */
    enum knob_kind kind;
    const char *help;
} rows[SIM_KNOB_COUNT] = {
#define K(id, name, off, min, max, implied, help)                                                  \
    [SIM_##id] = {STR(name), off, min, max, implied, KNOB_SETTING, help},
#define F(id, name, off, min, max, implied, help)                                                  \
    [SIM_##id] = {STR(name), off, min, max, implied, KNOB_FAULT, help},
#define A(id, name, off, min, max, implied, help)                                                  \
    [SIM_##id] = {STR(name), off, min, max, implied, KNOB_AT_ACCEPT, help},
#include "mock/knobs.def"
#undef K
#undef F
#undef A
};

static const struct str header_prefix = STR("x-mock-");

void sim_knobs_init(struct sim_knobs *k)
{
    k->faulty = false;
    for (int i = 0; i < SIM_KNOB_COUNT; i++)
        k->v[i] = rows[i].off;
}

struct str sim_knob_name(enum sim_knob knob)
{
    return rows[knob].name;
}

static void put_knob(struct sim_knobs *k, int knob, int64_t value)
{
    k->v[knob] = value;
    k->faulty |= rows[knob].kind == KNOB_FAULT;
}

static int find_row(struct str name)
{
    for (int i = 0; i < SIM_KNOB_COUNT; i++)
        if (str_ieq(rows[i].name, name))
            return i;
    return -1;
}

/* `said` is how the name was written, for the sentence. */
static bool take_value(int knob, struct str said, struct str value, int64_t *out, char *why,
                       size_t why_bytes)
{
    const struct knob_row *row = &rows[knob];
    int64_t number = 0;
    bool flag = row->min == 0 && row->max == 1;
    if (value.n == 0 && row->implied >= 0)
        number = row->implied;
    else if (flag && (str_eq(value, STR("true")) || str_eq(value, STR("false"))))
        number = value.n == 4;
    else if (!str_to_i64(value, &number) || number < row->min || number > row->max) {
        snprintf(why, why_bytes, "%.*s: expected a whole number from %lld to %lld, got \"%.*s\"",
                 STR_ARG(said), (long long)row->min, (long long)row->max,
                 (int)MIN(value.n, (size_t)40), value.p ? value.p : "");
        return false;
    }
    *out = number;
    return true;
}

bool sim_knob_set(struct sim_knobs *k, struct str header, struct str value, char *why,
                  size_t why_bytes)
{
    int64_t number;
    int knob = find_row(str_skip(header, header_prefix.n));
    if (knob < 0) {
        snprintf(why, why_bytes, "%.*s: the simulator knows no such header",
                 (int)MIN(header.n, (size_t)60), header.p);
        return false;
    }
    if (rows[knob].kind == KNOB_AT_ACCEPT) {
        snprintf(why, why_bytes, "%.*s: it is about connections, so a request cannot ask for it",
                 STR_ARG(header));
        return false;
    }
    if (!take_value(knob, header, value, &number, why, why_bytes))
        return false;
    put_knob(k, knob, number);
    return true;
}

bool sim_spec_parse(struct sim_spec *spec, struct str text, char *why, size_t why_bytes)
{
    struct str rest = text;
    int faults = 0;
    *spec = (struct sim_spec){0};
    do {
        struct str value = str_cut(&rest, ','), name = str_trim(str_cut(&value, '='));
        int knob = find_row(name);
        if (knob < 0) {
            snprintf(why, why_bytes,
                     "\"%.*s\" is no fault of the simulator's; GET /mock/faults and weir mock "
                     "--help list them",
                     (int)MIN(name.n, (size_t)60), name.p ? name.p : "");
            return false;
        }
        if (spec->count == SIM_SPEC_KNOBS_MAX) {
            snprintf(why, why_bytes, "at most %d faults and settings at once", SIM_SPEC_KNOBS_MAX);
            return false;
        }
        spec->set[spec->count].knob = (uint8_t)knob;
        spec->at_accept |= rows[knob].kind == KNOB_AT_ACCEPT;
        faults += rows[knob].kind != KNOB_SETTING;
        if (!take_value(knob, name, str_trim(value), &spec->set[spec->count++].value, why,
                        why_bytes))
            return false;
    } while (rest.n);
    if (faults > 1 || (spec->at_accept && spec->count > 1)) {
        snprintf(why, why_bytes, "one fault at a time; %s",
                 spec->at_accept ? "no setting goes with one at accepting"
                                 : "settings, such as retry-after, may go with it");
        return false;
    }
    return true;
}

void sim_spec_apply(const struct sim_spec *spec, struct sim_knobs *k)
{
    for (int i = 0; i < spec->count; i++)
        put_knob(k, spec->set[i].knob, spec->set[i].value);
}

bool sim_spec_write(struct buf *b, const struct sim_spec *spec)
{
    bool ok = true;
    for (int i = 0; ok && i < spec->count; i++)
        ok = buf_printf(b, "%s%.*s=%lld", i ? "," : "", STR_ARG(rows[spec->set[i].knob].name),
                        (long long)spec->set[i].value);
    return ok;
}

bool sim_faults_write(struct buf *b)
{
    bool ok = buf_append_str(b, STR("[")), first = true;
    for (int i = 0; ok && i < SIM_KNOB_COUNT; i++) {
        const struct knob_row *row = &rows[i];
        if (row->kind == KNOB_SETTING)
            continue;
        ok =
            buf_printf(b, "%s{\"name\":\"%.*s\",\"value\":%lld,\"min\":%lld,\"max\":%lld,\"help\":",
                       first ? "" : ",", STR_ARG(row->name), (long long)row->implied,
                       (long long)row->min, (long long)row->max) &&
            json_write_string(b, str_from(row->help)) && buf_append_str(b, STR("}"));
        first = false;
    }
    return ok && buf_append_str(b, STR("]"));
}
