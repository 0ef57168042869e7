/* log_where_parse.c -- compiles the text of --where:
 *
 *   either = both { or both }
 *   both   = one { and one }
 *   one    = { not } ( '(' either ')' | test )
 *   test   = name [ sign value | [not] in '(' value { , value } ')' ]
 *
 * What may be asked of a name, and what a value must look like, depends on the kind of its field: the table below. */
#include <math.h>

#include "base/quantity.h"
#include "base/tokens.h"
#include "base/when.h"
#include "observe/log_where_steps.h"

struct parser {
    struct tokens t;
    struct log_where *w;
    int64_t now_us;
    int depth;
    struct err *e;
};

/* ---- kinds ---- */

enum { CAN_EQUAL = 1, CAN_ORDER = 2, CAN_LIKE = 4 };

static const struct {
    const char *what;  /* a field of this kind is ... */
    const char *takes; /* ... and can be asked so */
    unsigned can;
} kinds[] = {
    [RECORD_TIME] = {"a time", "= != < <= > >= or in", CAN_EQUAL | CAN_ORDER},
    [RECORD_STR] = {"a text", "= != ~ !~ or in", CAN_EQUAL | CAN_LIKE},
    [RECORD_INT] = {"a whole number", "= != < <= > >= ~ !~ or in",
                    CAN_EQUAL | CAN_ORDER | CAN_LIKE},
    [RECORD_MS] = {"a duration", "= != < <= > >= or in", CAN_EQUAL | CAN_ORDER},
    [RECORD_USD] = {"an amount", "= != < <= > >= or in", CAN_EQUAL | CAN_ORDER},
    [RECORD_RATE] = {"a rate", "= != < <= > >= or in", CAN_EQUAL | CAN_ORDER},
    [RECORD_BOOL] = {"true or false", "= or !=, or its name alone", CAN_EQUAL},
    [RECORD_RAW] = {"JSON", "~ or !~, or a path into it", CAN_LIKE},
};

static const struct {
    const char *sign;
    enum where_compare compare;
    bool negated;
    unsigned needs;
} signs[] = {
    {"==", WHERE_EQUAL, false, CAN_EQUAL},      {"=", WHERE_EQUAL, false, CAN_EQUAL},
    {"!=", WHERE_EQUAL, true, CAN_EQUAL},       {"<", WHERE_LESS, false, CAN_ORDER},
    {"<=", WHERE_LESS_EQUAL, false, CAN_ORDER}, {">", WHERE_MORE, false, CAN_ORDER},
    {">=", WHERE_MORE_EQUAL, false, CAN_ORDER}, {"~", WHERE_LIKE, false, CAN_LIKE},
    {"!~", WHERE_LIKE, true, CAN_LIKE},
};

/* ---- steps ---- */

static struct where_step *add_step(struct parser *p)
{
    if (p->w->step_count < LOG_WHERE_STEPS_MAX)
        return &p->w->steps[p->w->step_count++];
    tokens_fail(&p->t, p->e, "expected at most %d tests, ands, ors and nots", LOG_WHERE_STEPS_MAX);
    return NULL;
}

static bool add_test(struct parser *p, const struct where_test *test)
{
    struct where_step *s = add_step(p);
    if (!s)
        return false;
    struct where_test *copy = arena_alloc(&p->w->arena, sizeof *copy);
    *copy = *test;
    *s = (struct where_step){.kind = WHERE_TEST, .test = copy};
    return true;
}

static bool add_not(struct parser *p)
{
    struct where_step *s = add_step(p);
    if (s)
        *s = (struct where_step){.kind = WHERE_NOT};
    return s != NULL;
}

/* ---- values ---- */

/* The error of somebody else, at the token now. */
static bool fail_with(struct parser *p, const struct err *why)
{
    return tokens_fail(&p->t, p->e, "%s", why->text);
}

static bool take_flag(struct parser *p, struct where_operand *o)
{
    o->number = str_ieq(p->t.now.text, STR("true"));
    o->text = STR_NONE;
    return o->number > 0 || str_ieq(p->t.now.text, STR("false")) ||
           tokens_fail(&p->t, p->e, "expected true or false");
}

/* In metadata a value may be anything: a number where it looks like one and is not in quotes. */
static bool take_any(struct parser *p, enum where_compare c, struct where_operand *o)
{
    struct err e = {0};
    double number;
    if (c == WHERE_LIKE || (c == WHERE_EQUAL && p->t.now.kind == TOKEN_TEXT))
        return true;
    if (quantity_parse(o->text, QUANTITY_NUMBER, &number, &e))
        o->number = number;
    return c == WHERE_EQUAL || !isnan(o->number) || fail_with(p, &e);
}

static bool take_number(struct parser *p, enum quantity kind, struct where_operand *o)
{
    struct err e = {0};
    if (!quantity_parse(o->text, kind, &o->number, &e))
        return fail_with(p, &e);
    o->text = STR_NONE;
    return true;
}

static bool take_moment(struct parser *p, struct where_operand *o)
{
    struct err e = {0};
    return when_parse(o->text, p->now_us, &o->moment_us, &e) || fail_with(p, &e);
}

static bool take_operand(struct parser *p, const struct where_test *t, struct where_operand *o)
{
    *o = (struct where_operand){.text = p->t.now.text, .number = NAN};
    if (t->ref.kind != LOG_REF_FIELD)
        return take_any(p, t->compare, o);
    switch (record_fields[t->ref.field].kind) {
    case RECORD_TIME: return take_moment(p, o);
    case RECORD_INT: return t->compare == WHERE_LIKE || take_number(p, QUANTITY_NUMBER, o);
    case RECORD_MS: return take_number(p, QUANTITY_MS, o);
    case RECORD_USD: return take_number(p, QUANTITY_USD, o);
    case RECORD_RATE: return take_number(p, QUANTITY_NUMBER, o);
    case RECORD_BOOL: return take_flag(p, o);
    case RECORD_STR:
    case RECORD_RAW: break;
    }
    return true;
}

static bool take_value(struct parser *p, const struct where_test *t, struct where_operand *o)
{
    if (p->t.now.kind != TOKEN_WORD && p->t.now.kind != TOKEN_TEXT)
        return tokens_fail(&p->t, p->e, "expected a value to compare %s with", t->ref.name);
    if (!take_operand(p, t, o))
        return false;
    tokens_next(&p->t);
    return true;
}

static bool take_list(struct parser *p, struct where_test *t)
{
    struct where_operand values[LOG_WHERE_VALUES_MAX];
    if (!tokens_take(&p->t, "("))
        return tokens_fail(&p->t, p->e, "expected ( and values behind in");
    do {
        if (t->operand_count == LOG_WHERE_VALUES_MAX)
            return tokens_fail(&p->t, p->e, "expected at most %d values", LOG_WHERE_VALUES_MAX);
        if (!take_value(p, t, &values[t->operand_count++]))
            return false;
    } while (tokens_take(&p->t, ","));
    if (!tokens_take(&p->t, ")"))
        return tokens_fail(&p->t, p->e, "expected , or ) behind a value");
    size_t bytes = (size_t)t->operand_count * sizeof *values;
    t->operands = arena_alloc(&p->w->arena, bytes);
    memcpy(t->operands, values, bytes);
    return true;
}

/* ---- tests ---- */

static bool may_ask(struct parser *p, const struct where_test *t, unsigned needs)
{
    enum record_kind kind = record_fields[t->ref.field].kind;
    if (t->ref.kind != LOG_REF_FIELD || kinds[kind].can & needs)
        return true;
    return tokens_fail(&p->t, p->e, "%s is %s: expected %s", t->ref.name, kinds[kind].what,
                       kinds[kind].takes);
}

/* `test in (...)`, from its bracket on. */
static bool parse_in(struct parser *p, struct where_test *t, bool negated)
{
    t->compare = WHERE_EQUAL;
    return may_ask(p, t, CAN_EQUAL) && take_list(p, t) && add_test(p, t) &&
           (!negated || add_not(p));
}

static bool parse_comparison(struct parser *p, struct where_test *t)
{
    for (size_t i = 0; i < COUNT(signs); i++) {
        if (!tokens_at(&p->t, signs[i].sign))
            continue;
        if (!may_ask(p, t, signs[i].needs))
            return false;
        tokens_next(&p->t);
        t->compare = signs[i].compare;
        t->operands = arena_alloc(&p->w->arena, sizeof *t->operands);
        t->operand_count = 1;
        return take_value(p, t, t->operands) && add_test(p, t) && (!signs[i].negated || add_not(p));
    }
    return add_test(p, t); /* the name alone */
}

static bool parse_test(struct parser *p)
{
    struct err e = {0};
    struct where_test t = {.compare = WHERE_EXISTS};
    if (p->t.now.kind != TOKEN_WORD)
        return tokens_fail(&p->t, p->e, "expected the name of a field, such as latency_ms");
    if (!log_ref_parse(&t.ref, p->t.now.text, &e))
        return fail_with(p, &e);
    tokens_next(&p->t);
    if (tokens_take(&p->t, "in"))
        return parse_in(p, &t, false);
    if (!tokens_take(&p->t, "not"))
        return parse_comparison(p, &t);
    return tokens_take(&p->t, "in") ? parse_in(p, &t, true)
                                    : tokens_fail(&p->t, p->e, "expected in behind not");
}

/* ---- expressions ---- */

static bool parse_either(struct parser *p);

static bool parse_brackets(struct parser *p)
{
    if (p->depth == LOG_WHERE_DEPTH_MAX)
        return tokens_fail(&p->t, p->e, "expected at most %d brackets in each other",
                           LOG_WHERE_DEPTH_MAX);
    p->depth++;
    if (!parse_either(p))
        return false;
    p->depth--;
    return tokens_take(&p->t, ")") || tokens_fail(&p->t, p->e, "expected and, or, or )");
}

static bool parse_one(struct parser *p)
{
    bool negated = false;
    while (tokens_take(&p->t, "not") || tokens_take(&p->t, "!"))
        negated = !negated;
    bool ok = tokens_take(&p->t, "(") ? parse_brackets(p) : parse_test(p);
    return ok && (!negated || add_not(p));
}

static bool parse_both(struct parser *p)
{
    if (!parse_one(p))
        return false;
    while (tokens_take(&p->t, "and") || tokens_take(&p->t, "&&")) {
        struct where_step *skip = add_step(p);
        if (!skip || !parse_one(p))
            return false;
        *skip = (struct where_step){.kind = WHERE_SKIP_IF_FALSE, .to = p->w->step_count};
    }
    return true;
}

static bool parse_either(struct parser *p)
{
    if (!parse_both(p))
        return false;
    while (tokens_take(&p->t, "or") || tokens_take(&p->t, "||")) {
        struct where_step *skip = add_step(p);
        if (!skip || !parse_both(p))
            return false;
        *skip = (struct where_step){.kind = WHERE_SKIP_IF_TRUE, .to = p->w->step_count};
    }
    return true;
}

struct log_where *log_where_parse(struct str text, int64_t now_us, struct err *e)
{
    struct log_where *w = mem_alloc(sizeof *w);
    struct parser p = {.w = w, .now_us = now_us, .e = e};
    arena_init(&w->arena, NULL, 0);
    w->text = arena_str(&w->arena, text);
    tokens_init(&p.t, w->text);
    bool ok = parse_either(&p);
    if (ok && p.t.now.kind != TOKEN_END)
        ok = tokens_fail(&p.t, e, "expected and, or, or the end; a value with blanks needs quotes");
    if (ok)
        return w;
    log_where_free(w);
    return NULL;
}

struct str log_where_text(const struct log_where *w)
{
    return w->text;
}

void log_where_free(struct log_where *w)
{
    if (!w)
        return;
    arena_fini(&w->arena);
    mem_free(w);
}
