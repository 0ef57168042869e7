/* knobs.h -- what the simulator can be told about an answer, and how it is told: by name and value. Pure functions. [any thread]
 *
 * A knob can be set for a model (table of models), for the process (weir mock's options), by a rule at run time (rules.h) and for a request
 * (header "x-mock-" + name); each lies over the one before. The names are knobs.def's. */
#pragma once

#include "base/buf.h"

enum sim_knob {
#define K(id, name, off, min, max, implied, help) SIM_##id,
#define F(id, name, off, min, max, implied, help) SIM_##id,
#define A(id, name, off, min, max, implied, help) SIM_##id,
#include "mock/knobs.def"
#undef K
#undef F
#undef A
    SIM_KNOB_COUNT
};

struct sim_knobs {
    int64_t v[SIM_KNOB_COUNT];
    bool faulty; /* a fault may be set: worth looking for it */
};

/* All off: no delay, 16 tokens, no errors. */
void sim_knobs_init(struct sim_knobs *k);
/* "hang-head" */
struct str sim_knob_name(enum sim_knob knob);
static inline bool sim_knob_on(const struct sim_knobs *k, enum sim_knob knob)
{
    return k->v[knob] > 0;
}

/* Sets one knob from a header such as "X-Mock-Status: 429". True when the name is a knob's and the
 * value is in its range, else false with `why` (a sentence of at most `why_bytes`). */
MUST_USE bool sim_knob_set(struct sim_knobs *k, struct str header, struct str value, char *why,
                           size_t why_bytes);
/* Does a header's name begin as the knobs' do? */
static inline bool sim_knob_like(struct str header)
{
    return header.n > 7 && (header.p[0] | 32) == 'x' && header.p[1] == '-' &&
           (header.p[2] | 32) == 'm' && header.p[6] == '-';
}

/* A fault in words, "status=429,retry-after=2", taken apart: one fault at most, and settings. */
#define SIM_SPEC_KNOBS_MAX 8
struct sim_spec {
    struct {
        uint8_t knob;
        int64_t value;
    } set[SIM_SPEC_KNOBS_MAX];
    int count;
    bool at_accept; /* set[0] is a fault at accepting, and all there is */
};
MUST_USE bool sim_spec_parse(struct sim_spec *spec, struct str text, char *why, size_t why_bytes);
void sim_spec_apply(const struct sim_spec *spec, struct sim_knobs *k);
MUST_USE bool sim_spec_write(struct buf *b, const struct sim_spec *spec); /* as words again */

/* The faults as JSON: [{"name":...,"value":...,"help":...},...] */
MUST_USE bool sim_faults_write(struct buf *b);
