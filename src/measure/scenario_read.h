/* scenario_read.h -- between the parts that read a scenario: scenario.c (the keys), scenario_parts.c (models, stages, thresholds),
 * scenario_text.c (options' words). */
#pragma once

#include "config/yaml.h"
#include "measure/scenario.h"

struct scenario_reader {
    struct scenario *scenario;
    struct str folder; /* where relative paths begin */
    struct yaml_node *root;
};

/* What a key's value becomes. Offsets are into the struct that the section fills. */
enum scenario_key_kind {
    KEY_TEXT,   /* const char * */
    KEY_NAME,   /* struct str */
    KEY_PATH,   /* const char *, made relative to the scenario's folder */
    KEY_BOOL,   /* bool */
    KEY_NOT,    /* bool, the opposite */
    KEY_WHOLE,  /* int64_t, `least` to `most` */
    KEY_NUMBER, /* double, `least` to `most` */
    KEY_MS,     /* int64_t: "30s"; 0 or none: no limit */
    KEY_CHOICE, /* int: the index */
    KEY_OWN,    /* `own` reads the node */
};

struct scenario_key {
    const char *key;
    enum scenario_key_kind kind;
    size_t offset;
    double least, most;
    const char *const *choices; /* NULL-terminated */
    void (*own)(struct scenario_reader *r, struct yaml_node *n, void *base);
};

/* Notes a mistake at the value, or at the key. */
void scenario_mistake(struct scenario_reader *r, const struct yaml_node *at, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void scenario_mistake_at_key(struct scenario_reader *r, const struct yaml_node *at, const char *fmt,
                             ...) PRINTF_LIKE(3, 4);
/* Fills `base` from a mapping; unknown keys are mistakes that name the nearest known one. `where` is the mapping's name, "" at the top. */
void scenario_read_map(struct scenario_reader *r, struct yaml_node *map, const char *where,
                       const struct scenario_key *keys, size_t count, void *base);
/* The text of a scalar; os.environ/NAME is replaced. False: a mistake was noted. */
bool scenario_text(struct scenario_reader *r, struct yaml_node *n, struct str *out);
/* A time with its unit, in ms. */
bool scenario_ms(struct scenario_reader *r, struct yaml_node *n, double *out);
/* For messages: the scalar's text cut to 60 bytes, or "***" where it is a secret. */
struct str scenario_shown(const struct yaml_node *n);

void scenario_read_models(struct scenario_reader *r, struct yaml_node *n, void *base);
void scenario_read_stages(struct scenario_reader *r, struct yaml_node *n, void *base);
void scenario_read_slo(struct scenario_reader *r, struct yaml_node *n, void *base);
/* Last: names of models and stages are known then. */
void scenario_read_thresholds(struct scenario_reader *r, struct yaml_node *n);

/* "50", "50/s", "10..100"; users are whole. False with a sentence. */
MUST_USE bool scenario_amount(struct str text, enum stage_kind kind, double *from, double *to,
                              struct err *e);
