/* test.h -- `weir test` from the inside: one request measured closely, and the ways to show it.
 *
 *     cmd_test.c       options, health check, which requests are sent, exit status
 *     test_send.c      sends one and keeps all of it: marks, head, events, connection
 *     test_phases.c    its time, taken apart so that the parts add up
 *     test_report.c    the report for people
 *     test_exchange.c  -v and --curl: what went over the wire, without secrets
 *     test_json.c      --json, and --har
 *     test_routing.c   --test-routing and --list-models
 *
 * A result's texts are of the arena it was made with. Single thread. */
#pragma once

#include <signal.h>

#include "cli/json_out.h"
#include "cli/measure_options.h"
#include "cli/term.h"
#include "measure/answer.h"
#include "net/resolve.h"

#define TEST_BODY_BYTES_MAX  (4u << 20) /* of an answer that is kept */
#define TEST_EVENTS_MAX      100000u
#define TEST_EVENT_BYTES_MAX (64u << 20) /* of all events of an answer */

struct test_event {
    enum event_kind kind;
    uint64_t at_ns;
    struct str data;
};

struct test_header {
    struct str name, value;
};

/* The connection, as far as the kernel and TLS tell. */
struct test_link {
    char remote[80]; /* "127.0.0.1:4000"; "": not known */
    bool tcp;        /* the numbers below are known */
    uint32_t rtt_us, rtt_var_us, retransmits, cwnd_segments, mss_bytes;
    bool tls, tls_resumed;
    const char *tls_version, *tls_cipher;
};

struct test_result {
    struct arena *arena;
    struct str model, path;
    struct sample sample;
    uint64_t *gaps_ns; /* sample.gap_count */
    int64_t real_us;   /* when it started */
    struct str request_head, request_body;
    struct test_header *headers; /* the answer's */
    size_t header_count;
    int minor_version;
    char reason[40];
    struct str body; /* of an answer that is no stream */
    bool body_cut;
    struct test_event *events;
    size_t event_count, event_room, event_bytes;
    bool events_cut;
    uint32_t flaws;
    bool stream; /* a stream came */
    struct test_link link;
    uint64_t read_lag_max_ns; /* between a segment's arrival and the read that brought it */
};

/* A loop, and a client that keeps its connection from one request to the next. */
struct tester {
    const struct measure_target *target;
    int64_t timeout_ms;
    bool fresh;    /* a new connection for each request */
    bool progress; /* says on stderr what is waited for, after a second */
    struct loop *loop;
    struct resolver *resolver;
    struct pool blocks;
    struct http_client *client;
    struct answer answer;
    uint64_t *gaps_ns;
};

void tester_init(struct tester *t, const struct measure_target *target, int64_t timeout_ms,
                 bool fresh);
void tester_fini(struct tester *t);
/* Sends one request and waits for its end, or for test_stop. */
void tester_send(struct tester *t, struct arena *a, const struct prompts *p, struct str model,
                 uint64_t number, struct test_result *out);
/* Only puts the request together: model, path, request_head and request_body. */
void tester_compose(struct tester *t, struct arena *a, const struct prompts *p, struct str model,
                    uint64_t number, struct test_result *out);
/* Ctrl-C: the request under way is given up. Set by a signal handler that tester_send installs. */
extern volatile sig_atomic_t test_stop;

/* ---- test_phases.c ---- */

/* One stretch of a request's time. They follow one another without a hole, so that their sum is the whole: from start to end. */
struct test_phase {
    const char *key, *name; /* "wait_upstream", "upstream to first event" */
    const char *whose;      /* "client", "network", "gateway", "upstream", "server", "unknown" */
    uint64_t
        begins_ns; /* after the start; where in the wait the network's part lies is not known: it is put last */
    int64_t took_ns; /* below 0 for "network and client" alone: see test_phases */
};

#define TEST_PHASES_MAX 20

struct test_phases {
    struct test_phase list[TEST_PHASES_MAX];
    size_t count;
    int64_t total_ns;
    /* How the wait for the first byte was taken apart, ns; -1: not known. wait = before + upstream + after + rest. */
    int64_t wait_ns, before_ns, upstream_ns, after_ns, rest_ns;
    int64_t lost_ns;       /* of `before`: attempts that failed, and waits behind them */
    int64_t processing_ns; /* of `upstream`: the upstream's own account (openai-processing-ms) */
};
/* The rest, "network and client", is what is left of the wait when the gateway's own account of it is taken away. The two clocks are read on
 * different sides of the kernel, so on one machine it may be some microseconds below 0: shown as it is, or the sum would not be right. */
void test_phases(const struct test_result *r, struct test_phases *out);
/* The value of the answer's header, without regard to case; STR_NONE: not there. */
struct str test_header(const struct test_result *r, const char *name);

/* ---- test_report.c ---- */
/* The whole of one but for the exchange itself. */
void test_report(const struct test_result *r, const struct term *term);
/* A line each, and the medians. */
void test_report_repeats(const struct test_result *list, size_t count, const struct term *term);
/* The one with the median total among those that went well; else the first. */
size_t test_median(const struct test_result *list, size_t count);
/* Rate-limit headers as sentences, in the answer's order: calls `add` for each. */
void test_rate_limits(const struct test_result *r,
                      void (*add)(void *user, struct str name, struct str meaning), void *user);

/* ---- test_exchange.c ---- */
/* `text` without secrets, in `a`: a body, or a header line with its name. The key that is sent is masked wherever it stands. */
struct str test_masked(struct arena *a, struct str text, const char *key);
void test_show_exchange(const struct test_result *r, const struct term *term, const char *key);
/* The same request as a curl command; the key as $LITELLM_API_KEY, or the variable it came from. */
void test_show_curl(const struct test_result *r, const struct measure_target *t,
                    const struct measure_options *o);

/* ---- test_json.c ---- */
void test_json(const struct test_result *list, size_t count, const char *key);
/* False with a sentence: the file could not be written. */
MUST_USE bool test_har(const struct test_result *list, size_t count, const struct measure_target *t,
                       const char *key, const char *path, struct err *e);

/* ---- test_routing.c ---- */
/* Each returns an exit status. `look`: whom to ask for the list; see cmd_test.c. `config`: the models of this file instead of those that the gateway offers. */
int test_list_models(const struct measure_target *t, bool json);
int test_routing(struct tester *t, const struct measure_target *look,
                 const struct measure_options *o, const char *config, bool json,
                 const struct term *term);
