/* threshold_parts.h -- what --fail-if consists of once it is read: between threshold_parse.c, which makes it, and thresholds.c, which
 * measures by it. */
#pragma once

#include "base/quantity.h"
#include "cli/thresholds.h"

enum log_number { LOG_NUMBER_DROPPED, LOG_NUMBER_BROKEN, LOG_NUMBER_LINES };

struct metric {
    enum { METRIC_COUNT, METRIC_SHARE, METRIC_COST, METRIC_SPREAD, METRIC_LOG } from;
    int which;       /* rollup_count, rollup_spread or log_number */
    double quantile; /* SPREAD */
    enum quantity unit;
};

enum bound_sign {
    BOUND_MORE,
    BOUND_MORE_EQUAL,
    BOUND_LESS,
    BOUND_LESS_EQUAL,
    BOUND_EQUAL,
    BOUND_NOT_EQUAL
};

struct bound {
    struct metric metric;
    enum bound_sign sign;
    double value;
};

struct scope {
    int by; /* which field of --by */
    bool is_pattern;
    struct str value;
};

struct threshold {
    struct str text;
    bool any;     /* one group is enough */
    bool no_data; /* all else means nothing then */
    int scope_count, bound_count;
    struct scope scope[ROLLUP_FIELDS_MAX];
    struct bound bounds[THRESHOLD_BOUNDS_MAX]; /* the first one's value is told */
    /* As measured: */
    bool holds;
    double value;                     /* NaN: no data */
    const struct rollup_group *group; /* the worst one, for `any` */
};

struct thresholds {
    struct arena arena; /* of the text */
    int by_count, count;
    struct log_ref by[ROLLUP_FIELDS_MAX];
    struct threshold all[THRESHOLDS_MAX];
};
