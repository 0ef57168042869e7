/* thresholds.h -- --fail-if: bounds on the numbers of a report, for cron and CI.
 *
 *   error_rate > 5%                      of all requests of the report
 *   p95 > 5s or cost_usd > $20           commas and `or` separate thresholds
 *   error_rate[provider=ollama] > 5%     of the groups of --by with that value; ~ takes a pattern: [model~gpt-*]
 *   any error_rate > 5%                  of one group of --by at least
 *   any error_rate > 5% and requests > 100       all of these, of the same group
 *   no_data                              no request was found, or a threshold has nothing to be measured by
 *
 * Numbers: the counts that a group has in JSON (requests, failure, total_tokens, unpriced, ...); error_rate, success_rate, cancelled_rate,
 * slow_rate, cache_hit_rate, which are shares of the requests; cost_usd, failed_cost_usd; latency_p95 and the same of ttft, upstream, overhead,
 * queue and tokens_per_second, with _min, _max or any percentile (_p99.9), p95 alone being latency_p95; and of the whole log dropped, broken, lines.
 * A number that is not there (a percentile of nothing) fails no threshold but no_data. [one thread] */
#pragma once

#include "cli/analyze.h"

#define THRESHOLDS_MAX       32
#define THRESHOLD_BOUNDS_MAX 4 /* joined by `and` */

struct thresholds;

/* `text` and the fields of --by are copied. NULL on a mistake: the sentence has its column, and a line that shows it. */
MUST_USE struct thresholds *thresholds_parse(struct str text, const struct log_ref *by,
                                             int by_count, struct err *e);
void thresholds_free(struct thresholds *t); /* NULL is fine */
/* Measures the report. True: one of them holds, which is a failure. Values of groups are borrowed from the analysis. */
bool thresholds_check(struct thresholds *t, const struct analysis *a);
/* A line for each that holds. */
void thresholds_write(const struct thresholds *t, const struct term *term);
/* An array, one object each: text, holds, value, bound, group. */
void thresholds_write_json(const struct thresholds *t, struct json_out *j, const char *name);
