/* profile_throughput.h -- the parts of `weir profile throughput` among themselves (profile.h lists the files). */
#pragma once

#include "cli/profile.h"
#include "measure/knee.h"

enum { LEVELS_MAX = 40 };

/* One load, measured. */
struct level {
    double load; /* users; with --rate requests a second */
    struct profile_run run;
    struct steady steady;
    double error;      /* half of the 95 % interval of the requests a second; NaN: not known */
    double good_share; /* of the attempts, that met every objective; NaN: none were given */
    bool bad;          /* too many failures, or the client was the limit */
    unsigned attempts; /* a level of a sweep is measured again where the client was the limit */
};

struct throughput_profile {
    struct measure_report report; /* its results are those of a level, set when it is reported */
    const char *slo_text;         /* NULL: none */
    struct objectives objectives;
    double slo_share; /* how many must meet them */
    struct str model, settings;
    bool sweep, open_loop, poisson, stream;
    struct level levels[LEVELS_MAX]; /* by load */
    size_t level_count;
    struct knee knee;
    ptrdiff_t slo_at; /* the highest level that meets the objectives; -1: none */
};

/* ---- measuring ---- */

struct level_plan {                            /* how each level is to be measured */
    const struct profile_run_options *options; /* all but the plan */
    const struct mix_part *mix;
    size_t prompt_count;
    uint64_t seed;
    uint64_t requests; /* 0: as many as duration_ns takes */
    uint64_t
        duration_ns; /* 0: as many as requests take; both 0: so many that the level tells something */
    int64_t warmup; /* requests before; < 0: two a user */
    bool open_loop, poisson;
};
/* Adds a level in its place. False with a sentence. */
MUST_USE bool throughput_measure(struct throughput_profile *p, const struct level_plan *plan,
                                 double load, struct err *e);
/* Powers of two up to `most` users, until load pays no more; then between them, beside the knee and where the objectives stop to be met. */
MUST_USE bool throughput_sweep(struct throughput_profile *p, const struct level_plan *plan,
                               int64_t most, struct err *e);
void throughput_fini(struct throughput_profile *p);
/* Finds the knee and the highest level that meets the objectives, from the levels there are. */
void throughput_find(struct throughput_profile *p);
/* Did this program and not the server limit any level? */
bool throughput_client_limited(const struct throughput_profile *p);
/* The level that a report is about: the knee's of a sweep. */
size_t throughput_main_level(const struct throughput_profile *p);
/* The report's results, account and validity become those of the level. */
void throughput_choose(struct throughput_profile *p, size_t level);

/* ---- telling ---- */

void throughput_report(struct throughput_profile *p, enum table_format format,
                       const struct term *t);
/* The levels' table alone. */
void throughput_levels(const struct throughput_profile *p, enum table_format format,
                       const struct term *t);
void throughput_json(struct throughput_profile *p, FILE *out);
/* A case for the objectives, and one a check of the instrument, of the level told of. */
void throughput_junit(struct throughput_profile *p, FILE *out);
MUST_USE bool throughput_page(struct throughput_profile *p, const char *path, struct err *e);
/* What was found, in sentences: the knee and why, the objectives. */
struct sentences;
void throughput_say(const struct throughput_profile *p, struct sentences *s);
