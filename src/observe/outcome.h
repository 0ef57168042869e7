/* outcome.h -- whose fault it is how a request ended: the five outcomes of weir_request_outcomes_total. */
#pragma once

#include "observe/record.h"

enum outcome_kind {
    OUTCOME_SUCCESS,
    OUTCOME_CLIENT_ERROR,   /* the request, its key or that key's own limits */
    OUTCOME_PROVIDER_ERROR, /* the upstream, or the way to it */
    OUTCOME_GATEWAY_ERROR,  /* weir, or limits that its operator set for all */
    OUTCOME_CANCELLED,      /* the client left */
    OUTCOME_UNKNOWN,        /* a line of a log that does not say how the request ended */
    OUTCOME_COUNT
};
extern const char *const outcome_names[OUTCOME_COUNT]; /* "success", "client_error", ... */

/* By the record's status; of a failure by weir's own error (error_code, errors.def), where that blames the provider by the status it answered with, if it did; of a
 * failure in LiteLLM's log by its exception class (error.type), else by its status. `wildcard`: the model's name was the client's choice, so
 * that a provider's 404 is the client's. [any thread] */
enum outcome_kind outcome_of_record(const struct record *r, bool wildcard);
