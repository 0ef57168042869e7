/* mock.h -- the simulated OpenAI-compatible provider: `weir mock`, and the one inside `weir serve`.
 *
 * It has threads of its own, each with a loop and a server, and shares nothing with the rest of the
 * program. Endpoints, with and without /v1:
 *   POST   /v1/chat/completions, /v1/completions, /v1/embeddings, /mock/reset, /mock/fault, /mock/freeze
 *   GET    /v1/models, /v1/models/{id}, /health, /mock/stats, /mock/faults, /mock/times
 *   DELETE /mock/fault */
#pragma once

#include "base/err.h"
#include "mock/sim.h"

#define MOCK_WORKERS_MAX 256

struct mock_options {
    struct str host; /* as sock_listen takes it; "unix:@name" too */
    uint16_t port;   /* 0: any free one */
    uint32_t workers;
    struct sim_knobs knobs; /* for models whose row does not say otherwise */
    uint64_t seed;
    struct str faults; /* "[MODEL:]NAME[=VALUE][,NAME...]", several with blanks between; or empty */
    int control_port; /* a second port for /mock/..., which faults at accepting leave alone; 0: any free one; -1: none */
    bool known_models_only; /* other names get 404 instead of behaving as sim-fast */
    /* Answers a worker keeps its own account of, for mock_times; 0: none. Tokens then leave one by one, as they are due, instead of at the end of a pass. */
    size_t times;
    int64_t freeze_after_ms,
        freeze_ms; /* stands still for so long, so long after the start; 0: does not */
};

/* What the simulator really did, percentiles by nearest rank of the values kept (the newest ones). */
struct mock_spread {
    uint64_t count, min_ns, p50_ns, p90_ns, p99_ns, p999_ns, max_ns;
    double mean_ns;
};
struct mock_times {
    uint64_t answers, left_out;         /* completed as asked; those whose client read too slowly */
    uint64_t forgotten, gaps_forgotten; /* of these, no longer kept */
    struct mock_spread total;           /* request arrived to last byte sent */
    struct mock_spread ttft, e2e,
        gap;                     /* of streams: to the first token, to the last; between tokens */
    struct mock_spread read_lag; /* request arrived to read */
    struct mock_spread
        late; /* first token (or whole answer) due to sent: how far off the programmed delay was */
};

struct mock;

/* Is that what mock_options.faults takes? False with a sentence. */
MUST_USE bool mock_check_faults(struct str words, struct err *e);
/* Starts listening and its threads. NULL with a sentence in `e`. Signals are the caller's: block
 * what the threads must not take. */
struct mock *mock_start(const struct mock_options *o, struct err *e);
/* For `weir serve`: on an abstract Unix socket, known models only. */
struct mock *mock_start_builtin(uint32_t workers, struct err *e);
/* For api_base: "http://127.0.0.1:9000/v1" or "unix:@weir-sim-1234". Lives as long as `m`. */
struct str mock_api_base(const struct mock *m);
uint16_t mock_control_port(const struct mock *m); /* 0: there is none */
/* The account since the start or the last reset. [any thread] */
void mock_times(struct mock *m, struct mock_times *out);
/* Counts and account begin anew, as by POST /mock/reset. [any thread] */
void mock_reset(struct mock *m);
/* Stands still from `after_ms` on for `ms`. False with a sentence: one is under way. [any thread] */
MUST_USE bool mock_freeze(struct mock *m, int64_t after_ms, int64_t ms, struct err *e);
/* Ends connections and threads, and waits for them. NULL is fine. */
void mock_stop(struct mock *m);
