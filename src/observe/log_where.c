/* log_where.c -- evaluates a compiled --where for a line.
 *
 * log_where_parse.c makes steps of the expression. There is one truth at a time, and each step sets it, turns it or jumps by it:
 * `a and not b` is  test a / skip to the end if false / test b / not.  So nothing is evaluated whose result does not matter, and no
 * depth of brackets costs anything here. */
#include "observe/log_where_steps.h"

#include <math.h>

#include "base/digits.h"
#include "base/json_view.h"
#include "observe/log_filter.h"

/* A value as a text, and as a number where it is one (else NaN). */
struct value {
    struct str text;
    double number;
};

static bool is_ordered(enum where_compare c, double a, double b)
{
    switch (c) {
    case WHERE_EQUAL: return a == b;
    case WHERE_LESS: return a < b;
    case WHERE_LESS_EQUAL: return a <= b;
    case WHERE_MORE: return a > b;
    case WHERE_MORE_EQUAL: return a >= b;
    default: return false;
    }
}

static bool compare_with(const struct where_test *t, const struct where_operand *o,
                         const struct value *v)
{
    if (t->compare == WHERE_LIKE)
        return log_pattern_matches(o->text, v->text);
    bool numbers = !isnan(v->number) && !isnan(o->number);
    if (t->compare == WHERE_EQUAL && !numbers)
        return v->text.p && o->text.p && str_eq(v->text, o->text);
    return numbers && is_ordered(t->compare, v->number, o->number);
}

static bool compare(const struct where_test *t, const struct value *v)
{
    for (int i = 0; i < t->operand_count; i++)
        if (compare_with(t, &t->operands[i], v))
            return true;
    return false;
}

/* Stamps in µs are whole numbers, and stay so. */
static bool compare_moment(const struct where_test *t, int64_t us)
{
    for (int i = 0; i < t->operand_count; i++) {
        int64_t other = t->operands[i].moment_us;
        int order = (us > other) - (us < other);
        if (is_ordered(t->compare, order, 0))
            return true;
    }
    return false;
}

static bool test_count(const struct where_test *t, int64_t count)
{
    char digits[DIGITS_U64_MAX];
    struct value v = {STR_NONE, (double)count};
    if (t->compare == WHERE_LIKE)
        v.text = (struct str){digits, (size_t)(digits_u64(digits, (uint64_t)count) - digits)};
    return compare(t, &v);
}

static bool test_text(const struct where_test *t, const struct logline *l, struct str raw)
{
    char decoded[LOG_WHERE_TEXT_BYTES];
    struct value v = {logline_text(l, t->ref.field, raw, decoded, sizeof decoded), NAN};
    return compare(t, &v);
}

static bool test_field(const struct where_test *t, const struct logline *l)
{
    const void *member = (const char *)&l->r + record_fields[t->ref.field].offset;
    enum record_kind kind = record_fields[t->ref.field].kind;
    if (!(l->found >> t->ref.field & 1))
        return false;
    if (t->compare == WHERE_EXISTS)
        return kind != RECORD_BOOL || *(const int8_t *)member;
    switch (kind) {
    case RECORD_STR: return test_text(t, l, *(const struct str *)member);
    case RECORD_INT: return test_count(t, *(const int64_t *)member);
    case RECORD_TIME: return compare_moment(t, *(const int64_t *)member);
    /* Divided, not multiplied: so 1001 µs is the double that "1.001" is. */
    case RECORD_MS:
        return compare(t, &(struct value){STR_NONE, (double)*(const int64_t *)member / 1000});
    case RECORD_USD:
    case RECORD_RATE: return compare(t, &(struct value){STR_NONE, *(const double *)member});
    case RECORD_BOOL: return compare(t, &(struct value){STR_NONE, *(const int8_t *)member});
    case RECORD_RAW: return compare(t, &(struct value){*(const struct str *)member, NAN});
    }
    return false;
}

static bool test_json(const struct where_test *t, struct str json)
{
    char decoded[LOG_WHERE_TEXT_BYTES];
    struct value v = {.number = NAN};
    double number;
    if (json_view_is(json, 'n')) /* null */
        return false;
    if (t->compare == WHERE_EXISTS)
        return !json_view_is(json, 'f'); /* false */
    v.text = json_view_text(json, decoded, sizeof decoded);
    if (str_to_f64(v.text, &number))
        v.number = number;
    return compare(t, &v);
}

/* Of an array, one element is enough. */
static bool test_path(const struct where_test *t, const struct logline *l)
{
    struct str json = log_ref_json(&t->ref, l), element;
    if (!json.p)
        return false;
    if (!json_view_is(json, '['))
        return test_json(t, json);
    while (json_view_next(&json, &element))
        if (test_json(t, element))
            return true;
    return false;
}

bool log_where_matches(const struct log_where *w, const struct logline *l)
{
    bool truth = false;
    int at = 0;
    while (at < w->step_count) {
        const struct where_step *s = &w->steps[at];
        at++;
        switch (s->kind) {
        case WHERE_TEST:
            truth =
                s->test->ref.kind == LOG_REF_FIELD ? test_field(s->test, l) : test_path(s->test, l);
            break;
        case WHERE_NOT: truth = !truth; break;
        case WHERE_SKIP_IF_FALSE: at = truth ? at : s->to; break;
        case WHERE_SKIP_IF_TRUE: at = truth ? s->to : at; break;
        }
    }
    return truth;
}
