/* job.h -- one request with the simulator: from its body to the last byte of its answer. Private to
 * the mock room. */
#pragma once

#include <pthread.h>

#include "base/json.h"
#include "http/server.h"
#include "mock/answer.h"
#include "mock/freeze.h"
#include "mock/mock.h"
#include "mock/rules.h"
#include "mock/tally.h"
#include "mock/times.h"

#define MOCK_SEEN_SLOTS 4096 /* a power of two */

struct mock_worker {
    struct mock *mock;
    struct loop *loop;
    struct http_server *server;
    pthread_t thread;
    uint32_t index;
    uint64_t requests; /* numbers the answers' ids */
    struct tally tally;
    struct pool jobs;
    struct buf text; /* where answers are written before they are queued */
    struct json_scan scan;
    struct times times;
    struct freeze_worker freeze;
};

struct mock {
    struct mock_options options;
    struct sim_knobs *model_knobs; /* one a row of sim_models: the row over the options */
    struct mock_worker *workers;
    uint32_t worker_count; /* running */
    char api_base[128];
    uint32_t seen[MOCK_SEEN_SLOTS]; /* how often a request came that may fail; by hash; atomic */
    pthread_mutex_t reset_lock;
    struct tally base; /* counts at the last reset; under reset_lock */
    struct rules rules;
    struct freezer freezer;
    uint64_t slow_seen;     /* atomic: requests that slow-per-million was asked of */
    int at_accept;          /* atomic: a knob of the A rows, or 0 */
    int64_t at_accept_left; /* atomic: connections that still get it; < 0: no end */
    uint16_t control_port;
    struct http_server *control; /* the control port, on the first worker's loop; or NULL */
};

/* Once, before any worker runs. */
void job_init(void);
/* The three POST endpoints. */
void job_chat(struct mock_worker *w, struct http_conn *c, struct http_request *r);
void job_completion(struct mock_worker *w, struct http_conn *c, struct http_request *r);
void job_embeddings(struct mock_worker *w, struct http_conn *c, struct http_request *r);
/* http_handler's. */
void job_drained(struct http_conn *c);
void job_gone(struct http_conn *c);
/* Answers with an error at once; no job. */
void job_refuse(struct mock_worker *w, struct http_conn *c, int status, const char *message);
size_t job_bytes(void); /* size of a job, for the pool */

/* ---- admin.c ---- */
void admin_faults(struct mock_worker *w, struct http_conn *c, struct http_request *r);
void admin_set_fault(struct mock_worker *w, struct http_conn *c, struct http_request *r);
void admin_clear_faults(struct mock_worker *w, struct http_conn *c, struct http_request *r);
void admin_times(struct mock_worker *w, struct http_conn *c, struct http_request *r);
void admin_freeze(struct mock_worker *w, struct http_conn *c, struct http_request *r);
/* `self`: the worker that calls; NULL: none does. */
MUST_USE bool mock_order_freeze(struct mock *m, const struct mock_worker *self, int64_t after_ms,
                                int64_t ms, struct err *e);
enum http_welcome mock_on_accept(struct http_server *s);
/* `fault` is a knob at accepting, or 0 for none. `self`: the worker that calls; NULL: before
 * the threads run. */
void mock_set_at_accept(struct mock *m, struct mock_worker *self, int fault, int64_t count);
/* Sets what mock_options.faults says. Before the threads run. */
MUST_USE bool mock_set_faults(struct mock *m, struct str words, struct err *e);
