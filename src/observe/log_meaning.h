/* log_meaning.h -- what a line tells of: which event, and how a request ended. One answer for all who read logs.
 *
 * The rules are those of tests/reference/analyze.py (14, 15, 20). All functions: [any thread], pure. */
#pragma once

#include "observe/logline.h"

/* OTHER: a line that tells of nothing that is counted, or an event that is not known. */
enum log_event {
    LOG_EVENT_REQUEST,
    LOG_EVENT_ATTEMPT,
    LOG_EVENT_GAP,
    LOG_EVENT_START,
    LOG_EVENT_STOP,
    LOG_EVENT_RELOAD,
    LOG_EVENT_OTHER,
};
#define LOG_EVENT_BIT(event) (1u << LOG_EVENT_##event)

/* UNKNOWN: the line does not say. */
enum log_outcome {
    LOG_OUTCOME_SUCCESS,
    LOG_OUTCOME_FAILURE,
    LOG_OUTCOME_CANCELLED,
    LOG_OUTCOME_UNKNOWN,
    LOG_OUTCOME_COUNT
};
extern const char *const log_outcome_names[LOG_OUTCOME_COUNT]; /* "success", ... */

enum log_event log_event_of(const struct logline *l);
/* By its status; a line without one by the status that the client got, or by its error. */
enum log_outcome log_outcome_of(const struct logline *l);
/* Is the field there, and this text? For words of fixed vocabularies, whose escapes logline has decoded. */
static inline bool log_text_is(const struct logline *l, uint64_t bit, struct str value,
                               struct str wanted)
{
    return (l->found & bit) && str_eq(value, wanted);
}
/* Is the line's stamp in [since_us, until_us)? INT64_MIN and INT64_MAX are open ends; without a stamp it is only between those. */
static inline bool log_is_within(const struct logline *l, int64_t since_us, int64_t until_us)
{
    if (l->found & LOG_BIT(timestamp))
        return l->r.timestamp >= since_us && l->r.timestamp < until_us;
    return since_us == INT64_MIN && until_us == INT64_MAX;
}
