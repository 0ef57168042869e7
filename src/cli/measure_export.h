/* measure_export.h -- the results of a measuring command for other programs: JUnit, HdrHistogram text, CSV by the second, mergeable histograms.
 *
 * Tables as Markdown and CSV, and the JSON that people read, are measure_report.h's. Texts of strangers are escaped as each format needs.
 * [one thread] */
#pragma once

#include "base/json.h"
#include "cli/json_out.h"
#include "measure/limits_asked.h"
#include "measure/results.h"
#include "measure/validity.h"

/* ---- JUnit XML: what CI shows as tests ---- */

struct junit_case {
    struct str name, class_name; /* "latency p95 < 500ms", "thresholds" */
    double seconds;
    struct str failure; /* a sentence; STR_NONE: passed */
    struct str output;  /* shown beside it, or STR_NONE */
};
/* One suite. `began_real_us` is its time stamp. */
void junit_write(FILE *out, struct str suite, int64_t began_real_us, double seconds,
                 const struct junit_case *cases, size_t count);
/* A case a threshold, a case a check of the instrument. Of the arena; `validity` and `limits` may be NULL. */
struct junit_case *junit_cases(struct arena *a, const struct limits_asked *limits,
                               const struct validity *validity, size_t *count);

/* ---- HdrHistogram ---- */

/* The percentile distribution of a metric as HdrHistogram's plotters read it, in ms. */
void export_hgrm(FILE *out, const struct results_group *g, enum measured m);

/* ---- histograms and counts that add up: in the JSON of weir load, read by weir load merge ---- */

/* "mergeable": {"total": {...}, "warm_up": ..., "by_stage": [...], "by_model": [...], "seconds": [...], "failures": [...]} with the metrics'
 * histograms (HdrHistogram V2, compressed, base64). Values that were kept exactly are not written. `origin_real_us` is the wall clock at
 * r->origin_ns. */
void export_mergeable(struct json_out *j, const char *name, const struct results *r,
                      int64_t origin_real_us);

/* Where what is read goes: all results that are to be merged have the same. */
struct mergeable_places {
    uint32_t stage_count, model_count;   /* of what comes out */
    const uint32_t *stage_of, *model_of; /* which of these each of the file's is */
    uint32_t stages_in_file, models_in_file;
    int64_t origin_real_us; /* at which second 0 begins; not after the file's own */
};
/* When the file's second 0 began. */
MUST_USE bool export_mergeable_origin(const struct json_node *n, int64_t *real_us, struct err *e);
/* The same back, on the wall clock: ns since 1970 where results have CLOCK_MONOTONIC. NULL with a sentence that names the place
 * ("by_model[1].ttft"). Percentiles of what comes back are the histogram's. Seconds are those of the places, so off by half a second at most. */
MUST_USE struct results *export_mergeable_read(const struct json_node *n,
                                               const struct mergeable_places *places,
                                               struct err *e);
