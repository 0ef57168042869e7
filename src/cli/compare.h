/* compare.h -- what the files of `weir compare` share.
 *
 *   cmd_compare.c     options, the run, exit statuses
 *   compare_models.c  which models: named, of the gateway, or of a configuration
 *   compare_words.c   verdicts and remarks in sentences, once for all formats
 *   compare_tables.c  tables for people, Markdown and CSV
 *   compare_json.c    everything, for programs
 *   compare_page.c    the page of --html
 *   compare_log.c     the records of --log
 *
 * Owner: one struct comparison, the command's; texts in its arena. [one thread] */
#pragma once

#include "cli/measure_options.h"
#include "cli/table.h"
#include "measure/compare_report.h"

struct sentence {
    struct str text;
    enum term_style style; /* STYLE_GOOD, STYLE_WARN, STYLE_BAD or STYLE_NONE */
};

#define COMPARE_SENTENCES_MAX 96

struct comparison {
    struct arena arena;
    struct measure_target *target;
    struct prompts *prompts;
    struct compare_model models[COMPARE_MODELS_MAX];
    size_t model_count;
    struct compare_run_options run_options;
    struct compare_plan plan;
    enum compared asked; /* metric, COMPARED_COUNT: the usual one */
    bool stop_early;
    FILE *log; /* of --log, or NULL */
    enum prompt_api api;
    volatile int interrupted;
    int unusable; /* a model that answered nothing before measuring began; -1: none */
    struct compare_run run;
    struct compare_report report;
    struct sentence verdicts[COMPARE_SENTENCES_MAX], remarks[COMPARE_SENTENCES_MAX];
    size_t verdict_count, remark_count;
};

/* Fills models. `names` (name_count of them, may be 0) are the user's; `config` a path or NULL. False with a sentence and *status. */
MUST_USE bool compare_find_models(struct comparison *c, const struct str *names, size_t name_count,
                                  const char *config, struct err *e, int *status);
/* Names that the server offers, for a sentence: "a, b, c". */
struct str compare_offered(struct comparison *c);

/* Fills verdicts and remarks. */
void compare_find_words(struct comparison *c);
/* "-18 %", "+30 %", "x3.2": a ratio as a change. */
struct num compare_change(double ratio);
struct num compare_effect(enum compared m,
                          double ratio); /* of a metric; a dash where failures leave no figure */
struct str compare_change_range(struct arena *a, double low, double high);
struct num compare_p(double p); /* "0.013", "<0.0001" */
/* A value of a metric (ms or USD) for people. */
struct num compare_value(enum compared m, double value);
struct str compare_value_range(struct arena *a, enum compared m, double low, double high);
/* The model with the least median of the deciding metric. */
uint32_t compare_best(const struct comparison *c);

void compare_write_tables(struct comparison *c, enum table_format format, const struct term *t);
void compare_write_models(struct comparison *c, enum table_format format, const struct term *t);
void compare_write_pairs(struct comparison *c, enum table_format format, const struct term *t);
void compare_write_csv(struct comparison *c, FILE *out);
void compare_write_json(struct comparison *c, FILE *out);
/* Appends all requests of whole blocks to `out`, and closes it (unless it is standard output). */
MUST_USE bool compare_write_log(const struct comparison *c, FILE *out, const char *path,
                                struct err *e);
MUST_USE bool compare_write_page(struct comparison *c, const char *path, struct err *e);
