#include "observe/log_meaning.h"

#include "base/str.h"

const char *const log_outcome_names[LOG_OUTCOME_COUNT] = {"success", "failure", "cancelled",
                                                          "unknown"};

enum log_outcome log_outcome_of(const struct logline *l)
{
    static const struct str names[] = {{"success", 7}, {"failure", 7}, {"cancelled", 9}};
    if (LIKELY((l->found & LOG_BIT(status)) && STR_IS(l->r.status, "success")))
        return LOG_OUTCOME_SUCCESS;
    int64_t status = l->found & LOG_BIT(http_status) ? l->r.http_status : 0;
    for (size_t i = 0; i < COUNT(names); i++)
        if (log_text_is(l, LOG_BIT(status), l->r.status, names[i]))
            return (enum log_outcome)i;
    if (status >= 100 && status < 400)
        return LOG_OUTCOME_SUCCESS;
    if (status == 499)
        return LOG_OUTCOME_CANCELLED;
    if ((status >= 400 && status < 600) || (status == 0 && l->found & LOG_BIT(error_type)))
        return LOG_OUTCOME_FAILURE;
    return LOG_OUTCOME_UNKNOWN;
}

enum log_event log_event_of(const struct logline *l)
{
    static const struct str names[] = {{"request", 7}, {"attempt", 7}, {"gap", 3},
                                       {"start", 5},   {"stop", 4},    {"reload", 6}};
    if (l->shape == LOG_SHAPE_LITELLM)
        return LOG_EVENT_REQUEST;
    if (l->shape == LOG_SHAPE_JSON_LOGS)
        return l->found & LOG_BIT(http_status) ? LOG_EVENT_REQUEST : LOG_EVENT_OTHER;
    if (l->shape != LOG_SHAPE_WEIR)
        return LOG_EVENT_OTHER;
    if (LIKELY(!(l->found & LOG_BIT(event)) || STR_IS(l->r.event, "request")))
        return LOG_EVENT_REQUEST;
    for (size_t i = 0; i < COUNT(names); i++)
        if (str_eq(l->r.event, names[i]))
            return (enum log_event)i;
    return LOG_EVENT_OTHER;
}
