/* quantity.h -- numbers with units, as people write them on a command line: 2s, 10k, $0.01, 5%. [any thread] */
#pragma once

#include "base/err.h"

enum quantity {
    QUANTITY_NUMBER, /* 12, 12.5, 10k, 1.5M, 2G, 5% (0.05) */
    QUANTITY_MS,     /* 2000, 2000ms, 2s, 1m30s: in ms; without a unit ms */
    QUANTITY_USD,    /* 0.01, $0.01, $2k */
    QUANTITY_SHARE,  /* 0.05, 5% */
};

/* The nearest double to what is written: 1.1k is exactly what 1100 is. On failure the sentence says what was expected. */
MUST_USE bool quantity_parse(struct str text, enum quantity kind, double *out, struct err *e);
