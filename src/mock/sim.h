/* sim.h -- what a simulated model says and when: pure functions of the request. [any thread]
 *
 * The rules a test may count on:
 *   token   One word: a run of bytes that are not white space. An answer's text is N words with one
 *           blank between them.
 *   prompt  Its tokens are counted by the same rule in the raw bytes of the JSON value of
 *           "messages", "prompt" or "input" as they came, quotes and brackets included. (So compact
 *           JSON counts fewer than JSON with blanks after its commas.)
 *   text    Depends on model, prompt and seed only: the same request gets the same words.
 *   time    Token k is due at start + ttft + k / rate. Jitter moves ttft and each interval by at
 *           most half of its share of them. */
#pragma once

#include "mock/knobs.h"

/* One row a simulated model. A knob that is 0 here is left as the process has it. */
struct sim_model {
    struct str name;
    bool tools;               /* calls the first tool offered */
    int64_t reasoning_tokens; /* usage then has its details, with half of the prompt "cached" */
    struct sim_knobs knobs;
    const char *says; /* for people: what it does */
};

extern const struct sim_model sim_models[];
extern const size_t sim_model_count;
const struct sim_model *sim_model_find(struct str name); /* NULL: not in the table */

/* Lays a model's settings over those of the process. */
void sim_knobs_overlay(struct sim_knobs *k, const struct sim_model *m);
/* A well-mixed number of x (the finalizer of splitmix64). */
uint64_t sim_mix(uint64_t x);
uint64_t sim_count_tokens(struct str text);
/* What an answer's text and dice are made from. */
uint64_t sim_seed(struct str model, struct str prompt, uint64_t seed);

#define SIM_WORD_BYTES 16
/* Writes word `k` of the text of `seed`, with a leading blank unless k is 0; all SIM_WORD_BYTES
 * bytes may be written. Returns its length. */
size_t sim_word(uint64_t seed, uint64_t k, char out[SIM_WORD_BYTES]);

/* When a token is due. */
struct sim_schedule {
    uint64_t start_ns;
    double ttft_ns, interval_ns; /* interval 0: all with the first */
    double jitter;               /* 0..1 */
    uint64_t seed;
};
struct sim_schedule sim_schedule_make(const struct sim_knobs *k, uint64_t start_ns, uint64_t seed);
uint64_t sim_due_ns(const struct sim_schedule *s, uint64_t k); /* never decreases with k */

/* Is the `nth` (from 0) request one of the share that takes longer? The share's running sum passes a whole number there: of each 20 in a row, 5 % are
 * exactly one. */
bool sim_is_slow(const struct sim_knobs *k, uint64_t nth);

/* The error that the `nth` (from 0) coming of the request with this hash is answered by, or 0. */
int sim_error_status(const struct sim_knobs *k, uint64_t hash, uint32_t nth);

/* The arguments of a tool call are not words: they are cut into tokens of SIM_PIECE_BYTES, never
 * inside a UTF-8 character. */
#define SIM_PIECE_BYTES 8
size_t sim_piece_count(struct str text);
struct str sim_piece(struct str text, size_t k);

/* A unit vector in units of 1e-8: component / 1e8. */
#define SIM_VECTOR_UNIT 100000000
void sim_vector(uint64_t seed, int32_t *out, size_t dims);

/* Cuts the next element off the inside of a JSON array known to be valid: `*rest` begins behind
 * '['. False: there is none. */
bool sim_next_element(struct str *rest, struct str *element);
