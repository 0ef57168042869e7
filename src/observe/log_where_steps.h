/* log_where_steps.h -- what a compiled --where consists of: between log_where_parse.c, which makes it, and log_where.c, which runs it. */
#pragma once

#include "base/mem.h"
#include "observe/log_where.h"

enum where_compare {
    WHERE_EXISTS,
    WHERE_EQUAL, /* to one of the operands */
    WHERE_LESS,
    WHERE_LESS_EQUAL,
    WHERE_MORE,
    WHERE_MORE_EQUAL,
    WHERE_LIKE,
};

struct where_operand {
    struct str text;   /* STR_NONE: only the number counts */
    double number;     /* in the field's unit; a flag's 0 or 1; NaN: it is none */
    int64_t moment_us; /* for timestamp */
};

struct where_test {
    struct log_ref ref;
    enum where_compare compare;
    int operand_count;
    struct where_operand *operands;
};

struct where_step {
    enum { WHERE_TEST, WHERE_NOT, WHERE_SKIP_IF_FALSE, WHERE_SKIP_IF_TRUE } kind;
    int to; /* SKIP: the step to go on with */
    const struct where_test *test;
};

struct log_where {
    struct arena arena; /* of the text and the tests */
    struct str text;
    int step_count;
    struct where_step steps[LOG_WHERE_STEPS_MAX];
};
