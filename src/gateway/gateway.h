/* gateway.h -- the gateway's own structs: the process, its workers, and one request on its road. Private to src/gateway.
 *
 * Shared between threads (all of it; ARCHITECTURE.md has the same table): the configuration snapshot (immutable), the metrics shards and
 * HTTP counters (single writer each, relaxed), the log rings (SPSC), `in_flight` (atomic), the loops' call queues (locked, not on the road). */
#pragma once

#include <pthread.h>

#include "base/json.h"
#include "base/rand.h"
#include "config/config.h"
#include "gateway/attempt.h"
#include "gateway/cache.h"
#include "gateway/fleet.h"
#include "gateway/keys.h"
#include "http/client.h"
#include "http/server.h"
#include "http/sse.h"
#include "observe/log_writer.h"
#include "observe/metrics.h"
#include "observe/record.h"

struct control_job;
struct engines;
struct reload;
struct request;
struct scraper;
struct worker;

#define GATEWAY_VERSION_HEADER "x-litellm-version"
#define REQUEST_MAGIC          0x74736571u
#define REQUEST_ARENA_BYTES    3072u
#define KEY_CACHE_ENTRIES      64
#define RELAY_QUEUE_MAX_BYTES                                                                      \
    (256u * 1024u) /* queued to a slow client before its upstream is paused */
#define RELAY_HOLD_BYTES                                                                           \
    (64u * 1024u) /* plain answers up to this size are sent whole, with their cost in the head */

/* What kind of call an endpoint is: one row in endpoints.c. */
struct call_type {
    const char *name;         /* "chat.completions" in the record */
    struct str route;         /* label value: "/v1/chat/completions" */
    struct str upstream_path; /* "/chat/completions", behind the deployment's base */
    bool may_stream;
};

/* texts.c: per deployment, written once. */
struct deployment_texts {
    struct str start;    /* "POST /v1", before the call's path */
    struct str upstream; /* " HTTP/1.1" and the request lines that never change; holds the key */
    struct str answer;   /* x-litellm-* lines of every answer */
};

/* snapshot.c: one configuration and all that is made from it. Immutable, but for its references. */
struct snapshot {
    struct config *config; /* a reference */
    struct tls_client *tls_verified, *tls_unverified;
    struct http_target *targets;   /* one a config target */
    struct tls_server *tls_listen; /* what clients speak; NULL: no TLS */
    struct proxy_env *proxies;
    struct deployment_texts *texts;   /* one a deployment */
    struct deployment_state **states; /* the fleet's, one a deployment */
    struct arena arena;
    int references; /* atomic: the gateway's, one a worker that has requests on it, one a scrape under way */
};

/* A snapshot as one worker uses it: with upstream connections of its own. */
struct worker_snapshot {
    struct snapshot *shared; /* a reference */
    struct worker *worker;
    struct http_client *client;
    struct hedge_clock *hedges; /* one a group of the configuration */
    uint32_t requests; /* that live on it; with none left and another one in use, it goes */
};

/* The sockets that are listened on, as another process may take them over (handover.h). */
#define LISTENERS_MAX 1024 /* as many as there can be workers */
struct listeners {
    int fds[LISTENERS_MAX]; /* the workers close them when they stop accepting */
    int count;
    char host[257]; /* as configured */
    uint16_t port;  /* the one in use; 0: a Unix socket */
    bool
        activated; /* systemd made them and keeps them: they are where its unit says, and all workers share them */
};

struct gateway {
    struct snapshot *snapshot; /* the one in use [control]; workers have their own reference */
    struct fleet *fleet;
    struct metrics *metrics;
    struct log_writer *log; /* NULL: no log */
    struct worker *workers;
    int worker_count;
    struct loop *control; /* the control thread's loop */
    struct health *health;
    struct cache_store *cache;
    struct key_service *keys;
    struct scraper *scraper;
    struct reload *reload;
    struct config_reloads reloads; /* [control] */
    struct config *(*load)(struct config_options *o, struct err *e);
    void (*on_reload)(const struct gateway *g, bool begins, const char *problem);
    int in_flight;          /* atomic: requests on the road, for global_max_parallel_requests */
    uint64_t answers_bytes; /* atomic: control's answers that clients have not taken yet */
    int64_t started_real_us;
    uint64_t started_mono_ns, drain_started_ns;
    bool ready, draining; /* atomic */
    bool
        handed_over; /* atomic: another process listens now; what is open here may end in its own time */
    bool
        successor_comes; /* [control] a process has the sockets, and may soon say that it listens */
    struct listeners listening;   /* [control] */
    struct http_server **sharing; /* the workers', where they share sockets; NULL: they do not */
    int accepting;                /* atomic: workers that do */
    int turning; /* atomic: workers that may still have something for control to answer */
    const struct listeners *inherited; /* from another process, or NULL */
    bool took_over;                    /* and that was a weir */
    const char *version, *commit;
};

/* A key seen lately: its hash, and the virtual key that was found for it, so that keep-alive traffic is neither hashed nor looked up
 * anew. What was found stands as long as the table's generation is the same. */
struct key_cache_entry {
    char key[160], hash_hex[KEY_HASH_BYTES];
    uint8_t key_bytes;
    const struct key *found; /* a reference; NULL: there was none */
    uint64_t generation;     /* 0: not looked up */
};

struct worker {
    struct gateway *gateway;
    int index;
    pthread_t thread;
    struct loop *loop;
    struct resolver *resolver;
    struct http_server *server;
    struct worker_snapshot *snapshot;     /* new requests live on this one */
    struct http_client_counters upstream; /* of all its snapshots */
    struct pool requests, looks;
    struct rng rng;
    struct key_cache_entry *keys; /* KEY_CACHE_ENTRIES, direct-mapped */
    struct cache_key_maker *cache_keys;
    uint64_t in_flight, streams; /* gauges; single writer */
    uint64_t peak_open;          /* connections, since memory was last given back to the system */
    struct timer housekeeping, drained;
    uint64_t drain_due_ns;
    bool quiet;           /* draining: at the last look no worker accepted any more */
    char *config_problem; /* why the newest reload failed; NULL: it did not */
    int64_t config_problem_real_us;
    bool leaving;  /* it accepts no more */
    bool retiring; /* another process listens: requests may take their time */
    bool stopping; /* the loop has ended: what still runs is cut off */
};

/* What a connection's user pointer points at: a request on the road, or a job at the control thread. */
enum work_kind { WORK_REQUEST, WORK_JOB };
struct work {
    enum work_kind kind;
};

enum step {
    STEP_INTAKE,
    STEP_AUTH,
    STEP_LIMIT,
    STEP_CACHE,
    STEP_ROUTE,
    STEP_UPSTREAM,
    STEP_RELAY,
    STEP_RECORD,
    STEP_COUNT
};
enum step_result { STEP_NEXT, STEP_WAIT, STEP_FAIL };

/* What intake looks for in a request body, in the order of intake.c's table. */
enum want {
    WANT_MODEL,
    WANT_STREAM,
    WANT_STREAM_OPTIONS,
    WANT_INCLUDE_USAGE,
    WANT_USER,
    WANT_METADATA,
    WANT_MESSAGES,
    WANT_PROMPT,
    WANT_INPUT,
    WANT_MAX_TOKENS,
    WANT_MAX_COMPLETION_TOKENS,
    WANT_N,
    /* LiteLLM's own, which are cut out of what goes upstream */
    WANT_FALLBACKS,
    WANT_NO_FALLBACKS,
    WANT_NUM_RETRIES,
    WANT_TIMEOUT,
    WANT_TAGS,
    WANT_SESSION_ID,
    WANT_TRACE_ID,
    WANT_CACHE,
    /* ... and those that stay */
    WANT_PROMPT_CACHE_KEY,
    WANT_METADATA_TAGS,
    WANT_METADATA_SESSION_ID,
    WANT_COUNT
};

/* What relay looks for in an answer or in each event of one. */
enum see {
    SEE_USAGE,
    SEE_PROMPT_TOKENS,
    SEE_COMPLETION_TOKENS,
    SEE_TOTAL_TOKENS,
    SEE_CACHED_TOKENS,
    SEE_REASONING_TOKENS,
    SEE_FINISH_REASON,
    SEE_CHOICE,
    SEE_DELTA_CONTENT,
    SEE_DELTA_REASONING,
    SEE_DELTA_THINKING, /* the same, as Ollama, OpenRouter and newer vLLMs call it */
    SEE_DELTA_TOOLS,
    SEE_TEXT,
    SEE_MESSAGE_CONTENT,
    SEE_ERROR,
    SEE_ERROR_MESSAGE,
    SEE_ERROR_TYPE,
    SEE_ERROR_CODE,
    SEE_ERROR_STATUS,
    SEE_PREFILL_MS,
    SEE_DECODE_MS,
    SEE_COUNT
};

/* IDLE: no answer yet. STREAMING: events. HOLDING: a small plain answer, sent when it is whole. PLAIN: a large one, passed on in pieces.
 * DRAINING: the answer is complete, its end waits for the client to take what is queued. */
enum relay_state { RELAY_IDLE, RELAY_STREAMING, RELAY_HOLDING, RELAY_PLAIN, RELAY_DRAINING };

/* A plain answer being scanned as its pieces pass. */
struct answer_look {
    struct json_scan scan;
    struct json_found seen[SEE_COUNT];
};

/* When a limit that refused will admit again. */
struct limit_refusal {
    int64_t retry_after_s; /* 0: never, the request asks for more than there can be */
    int64_t resets_us;     /* since 1970, a whole second */
};

#define TRIED_MAX           32
#define FALLBACK_DEPTH_MAX  8
#define FALLBACK_GROUPS_MAX 16

/* A row of fallbacks and how far it was tried. */
struct fallback_list {
    const struct fallback *row;
    int next;
};

struct request {
    struct work work; /* first: what http_user points at */
    uint32_t magic;
    enum step step;
    bool running, recorded, client_gone, counted_in_flight, counted_stream;
    bool reached_upstream; /* an attempt that is over was sent */
    struct worker *worker;
    struct worker_snapshot *snapshot; /* the one this request lives on to its end */
    const struct config *config;      /* the snapshot's */
    struct http_conn *conn;           /* NULL once the client is gone */
    struct http_request *http;        /* head and body; gone after http_release_body */
    const struct call_type *call;
    struct arena arena;
    struct record record;
    enum error_code error;   /* set with STEP_FAIL */
    struct str error_detail; /* may be empty */

    /* intake */
    uint64_t arrived_ns;
    struct str body;
    bool stream, wants_usage, added_usage;
    struct str cors; /* header lines for the answer, or empty */
    struct str traceparent_out, tracestate, accept;
    struct str forwarded; /* client headers that go upstream, as a block */
    bool sampled;
    int64_t prompt_bytes;        /* for estimates */
    int64_t output_tokens_asked; /* max_tokens, of all choices; -1: not given */

    /* auth */
    const struct key *key; /* a reference; NULL: the master key, or all is open */

    /* limit */
    struct quota_ticket key_ticket;
    struct limit_refusal refusal;

    /* what the client asked of routing */
    int asked_retries;               /* negative: nothing */
    double asked_timeout_s;          /* 0: nothing */
    struct fallback asked_fallbacks; /* count 0: none */
    bool no_fallbacks;
    struct str *tags;
    int tag_count;
    uint64_t sticky; /* hash of session or prompt's beginning; 0: none */

    /* cache */
    struct cache_request cache;

    /* route */
    const struct model_group *group; /* the one being tried */
    struct str matched;              /* what '*' in its name stands for */
    const struct deployment
        *deployment; /* of the newest attempt, in the end of the one that answered */
    const struct price *price;
    struct str upstream_model;
    struct attempt *attempt; /* the one under way, in the end the one that answered; NULL: none */
    struct attempt first_attempt,
        *second_attempt;      /* the second's memory: the arena's, when first needed */
    struct timer timer;       /* a wait before another attempt, or for a hedge */
    bool waited;              /* for the attempt to come */
    uint64_t first_chosen_ns; /* when its first attempt began; 0: none did */
    int64_t last_retry_after_ms;
    int64_t retry_after_s;     /* told to the client with an error; 0: nothing */
    uint32_t tried[TRIED_MAX]; /* deployments of this group that failed the request */
    int tried_count, retries;  /* in this group */
    int fallbacks;             /* groups gone on to */
    struct fallback_list fallback_lists[FALLBACK_DEPTH_MAX];
    int fallback_depth;
    const struct model_group *used_groups[FALLBACK_GROUPS_MAX];
    int used_group_count;

    /* relay */
    enum relay_state relay;
    int upstream_status;
    int answer_status;       /* what the client is told; 0: the upstream's, or the error's own */
    int64_t upstream_length; /* -1: not known */
    uint64_t relayed_bytes;
    bool saw_done, saw_error, saw_finish, paused, ends_by_close;
    uint64_t first_token_ns, last_token_ns;
    uint64_t data_events, token_events, content_bytes;
    struct sse_scan sse;
    bool answer_is_json, answer_is_no_json;
    struct answer_look *look; /* plain answers: the scanner; from worker.looks */
    struct buf
        held; /* HOLDING: the answer so far; PLAIN: its last piece, which waits for the record */
    struct str tail; /* the answer's last bytes, sent with its end */
    struct str answer_headers;
    char *finish_text,
        *error_text; /* in the arena; record.finish_reason and record.error.message point there */
    struct buf captured; /* start of the answer, for log_responses */
    bool measured;

    /* From here on nothing is zeroed when a request begins: whoever uses it fills it first. */
    struct json_found found[WANT_COUNT]; /* intake */
    char first_block[REQUEST_ARENA_BYTES];
};

/* ---- request.c: the road ---- */
extern const struct http_handler gateway_handler;
/* Goes on from r->step until a step waits or the road ends. [worker] */
void request_run(struct request *r);
/* From callbacks: the step that waited failed. [worker] */
void request_fail(struct request *r, enum error_code code, struct str detail);
/* Sets the error and returns STEP_FAIL. `detail` is copied into the request's arena. */
enum step_result request_error(struct request *r, enum error_code code, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
struct request *request_of(struct http_conn *c);

/* asks.c: what the client asks of routing; part of intake. */
#define ASKED_RETRIES_MAX 10 /* a client may ask for no more */
void asks_take(struct request *r);

/* intake.c, shared with asks.c: a string of the body, decoded, in the arena; STR_NONE where it is none. */
struct str intake_text(struct request *r, const struct json_found *f, size_t max_bytes);
/* intake.c, shared with finish.c: a body as the log shows it. */
struct str intake_body_for_log(struct arena *a, struct str body, uint64_t whole_bytes, size_t cap,
                               bool valid_json);

/* ---- the steps, one file each ---- */
void intake_prepare(void); /* once, before the workers */
enum step_result intake_run(struct request *r);
enum step_result auth_run(struct request *r);
enum step_result limit_run(struct request *r);
enum step_result cache_run(struct request *r);
enum step_result route_run(struct request *r);
/* What the request is said to have been answered by, until another attempt takes its place. */
void route_take(struct request *r, struct attempt *a);
/* A second attempt beside the first, at another deployment; false: there is none for it. */
bool route_hedge(struct request *r);
enum step_result upstream_run(struct request *r);
/* Lays out the request for the attempt's deployment and sends it. */
void upstream_send(struct attempt *a);
enum step_result relay_run(struct request *r);
enum step_result finish_run(struct request *r);
/* The road's end: settles what limit_run took by what the record says was used, and adds the cost to what was spent. Once, after finish_measure. */
void limit_release(struct request *r);

/* limit.c, for answers: the x-ratelimit-* lines of the key's limits and, of a refusal, when to come again. `plain`: also under the names without
 * "api_key-", where no upstream's go to the client. At most LIMIT_LINES_BYTES; returns how many, 0 where no limit is set. */
#define LIMIT_LINES_BYTES 768
size_t limit_header_lines(const struct request *r, bool plain, char out[LIMIT_LINES_BYTES]);

/* limit.c, for route.c: a place at a deployment, by its rpm and tpm (where the configuration has them enforced) and its
 * max_parallel_requests. Takes nothing where it says anything but QUOTA_OK. Then the ticket is for deployment_settle, once, when the attempt is
 * over; `reached`: its upstream got the request (else it is as if there had been none); `answered`: its answer went to the client. */
MUST_USE enum quota_refusal deployment_take(const struct request *r, struct deployment_state *s,
                                            const struct deployment *d, uint64_t now_ns,
                                            struct quota_ticket *t);
void deployment_settle(const struct request *r, struct quota_ticket *t, bool reached,
                       bool answered);

/* auth.c, also for admin endpoints */
struct caller {
    const struct key
        *key;       /* a reference, also where a known key may not pass; NULL: not a virtual key */
    bool is_master; /* the master key, or there is none */
    bool hashed;    /* a key was sent, and this is its hash */
    char hash_hex[KEY_HASH_BYTES];
};
/* Whose key is in these headers? ERR_NONE: it may pass. */
enum error_code auth_check(struct worker *w, const struct config *c, const struct h1_head *h,
                           struct caller *out);
/* May the key (NULL: any may) be used for a model, by the name asked for, or by what that stands for? */
bool auth_model_allowed(const struct config *c, const struct key *k, struct str model);
void auth_fini(struct worker *w); /* gives back the keys that the worker's cache holds */
#define KEY_LINES_BYTES 256
/* x-litellm-key-* lines for an answer; how many bytes were written: none without a virtual key. When the cost is known (finish_measure) and not yet added to
 * the key's spend, it is counted in. */
size_t key_header_lines(const struct request *r, char out[KEY_LINES_BYTES]);

/* relay.c: called by attempt.c, with what r->attempt won with */
void relay_head(struct request *r);
void relay_body(struct request *r, struct str piece);
void relay_done(struct request *r);
void relay_drained(struct request *r);
void relay_fini(struct request *r);  /* frees what the relay holds */
void relay_reset(struct request *r); /* as if there had been no answer: another attempt follows */

/* answer.c: looking at answers (tokens, finish, errors) without changing them, and the header lines put before them */
void answer_prepare(void); /* once, before the workers */
struct str answer_headers(struct request *r, const struct attempt *a, const struct h1_head *h);
/* Is this event's data (or plain answer) an error of the provider? `f` and a->status get what it says. */
bool answer_is_error(struct attempt *a, struct str data, struct failure *f);
/* Is it whole: JSON, or the stream's end? */
bool answer_is_event(struct str data);
/* The message in an error's body that the attempt holds, decoded into `out`; empty: none. */
struct str answer_error_text(const struct attempt *a, char *out, size_t room);
/* LiteLLM's lines on how often it was tried again, and how many other models were: less than 96 bytes. */
char *answer_put_attempts(char *at, const struct request *r);
struct str
answer_headers_so_far(struct request *r); /* with the times known when the answer begins */
struct str
answer_headers_with_costs(struct request *r); /* with those known at its end, and the cost */
struct str answer_times_of_failure(
    struct request *
        r); /* the same times for an error that is weir's to say; an upstream that did not answer took until now */
void answer_look_start(struct request *r);
void answer_look_piece(struct request *r, struct str piece);
/* False: the answer began as JSON and is not complete. */
bool answer_look_end(struct request *r);
/* One event's data. True: it holds nothing but the usage that weir asked for and the client did not. */
bool answer_look_event(struct request *r, struct str data);

/* Microseconds from one moment to another; 0 where the second is not later. */
static inline int64_t us_between(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (int64_t)((to_ns - from_ns) / NS_PER_US) : 0;
}
/* finish.c: fills times, tokens and cost of the record as of now; once. */
void finish_measure(struct request *r);
/* A failed or cancelled attempt that is not the request's last: an "attempt" line in the log, and the deployment's numbers. */
void finish_attempt(const struct attempt *a, const struct failure *f);
/* What attempts that failed, and the waits behind them, have cost so far: not the gateway's doing. */
int64_t finish_lost_us(const struct request *r, uint64_t now_ns);
/* The HTTP status that r->error is told to the client with. */
int error_status(const struct request *r);

/* reply.c */
void reply_error_json(enum error_code code, struct str detail, struct buf *out);
void reply_error(
    struct request
        *r); /* head not yet sent: a whole error answer; else an error event and an abort */
/* An error answer to a request that never came on the road: with CORS lines, and Allow where the method was wrong. */
void reply_refusal(struct http_conn *c, const struct config *config, const struct h1_head *h,
                   enum error_code code);
void reply_write_error(struct http_conn *c, enum error_code code, const char *detail,
                       struct buf *body);
struct str reply_cors(struct arena *a, const struct config *c,
                      const struct h1_head *h); /* header lines or empty */

/* provider.c: what differs between dialects; one row a dialect. */
struct dialect_ops {
    const char *name;
    bool spoken;
    /* Path behind api_base, e.g. "/chat/completions". */
    struct str (*path)(struct request *r);
    /* Body pieces from r->body: what must change is spliced. Fills `pieces` (DIALECT_PIECES_MAX), returns how many; *bytes gets their sum. */
    int (*body)(struct request *r, struct str upstream_model, struct iovec *pieces, size_t *bytes);
};
#define DIALECT_PIECES_MAX 32 /* that `body` may fill */
const struct dialect_ops *provider_dialect(enum dialect d);
/* May this client header go to an upstream? */
bool provider_forwards(struct str name);

/* endpoints.c: which path is what. */
struct endpoint_row {
    struct str path; /* exact; with a trailing '*' a prefix */
    bool get, post;
    enum {
        KEY_NO,
        KEY_YES,
        KEY_MASTER,
        KEY_METRICS
    } key; /* does it need a key, or the master's, when there is a master key (KEY_METRICS: only if asked for) */
    const struct call_type *call; /* a road, or NULL */
    void (*handle)(struct worker *w, struct http_conn *c,
                   const struct http_request *q);           /* answered at once */
    void (*work)(struct gateway *g, struct control_job *j); /* answered by the control thread */
};
/* NULL: *why is NOT_FOUND or METHOD_NOT_ALLOWED. */
const struct endpoint_row *endpoint_find(struct str path, enum h1_method method,
                                         enum error_code *why);
const char *
endpoint_allow(struct str path); /* the Allow line (RFC 9110 §10.2.1) of a path that has a row */
enum error_code endpoint_auth(const struct endpoint_row *row, struct worker *w,
                              const struct h1_head *h);

/* admin.c: a JSON answer with the CORS lines that the request calls for. [worker] */
void admin_reply_json(struct worker *w, struct http_conn *c, const struct http_request *q,
                      int status, struct str body);
/* admin.c: the handlers of endpoints.c's rows */
void admin_liveliness(struct worker *w, struct http_conn *c, const struct http_request *q);
void admin_readiness(struct worker *w, struct http_conn *c, const struct http_request *q);
void admin_backlog(struct worker *w, struct http_conn *c, const struct http_request *q);
void admin_models(struct worker *w, struct http_conn *c, const struct http_request *q);
void admin_model(struct worker *w, struct http_conn *c, const struct http_request *q);
void admin_model_info(struct gateway *g, struct control_job *j);
void admin_status_page(struct gateway *g, struct control_job *j);
void admin_status(struct gateway *g, struct control_job *j);
void admin_requests(struct gateway *g, struct control_job *j);

/* cache_admin.c: the same */
void cache_admin_ping(struct worker *w, struct http_conn *c, const struct http_request *q);
void cache_admin_delete(struct worker *w, struct http_conn *c, const struct http_request *q);
void cache_admin_flush(struct gateway *g, struct control_job *j);

void key_admin(struct gateway *g, struct control_job *j); /* key_admin.c: all of /key/ */

/* A request that the control thread answers. */
struct control_job {
    struct work work;
    struct worker *worker;
    struct http_conn *conn;          /* NULL: the client is gone [worker] */
    const struct http_request *http; /* valid while conn is [worker] */
    const struct endpoint_row *row;
    char query[512], accept[256], accept_encoding[128];
    struct str request_body;       /* the job's own copy, NUL-terminated */
    bool by_master;                /* who asks: the master key (or there is none), else ... */
    char key_hash[KEY_HASH_BYTES]; /* ... the key of this hash */
    /* the answer */
    int status;
    const char *content_type;
    struct buf body;
    bool gzipped;         /* body is; else control_done does it where the client takes it */
    size_t held_bytes;    /* its part of gateway.answers_bytes */
    bool sending, called; /* the answer has begun; its next piece comes in the next pass [worker] */
};
void control_start(struct worker *w, struct http_conn *c, const struct http_request *q,
                   const struct endpoint_row *row); /* [worker] */
void control_gone(struct control_job *j);           /* [worker] */
void control_drained(struct control_job *j);        /* [worker] */
/* Do clients hold as much of control's answers as they may, by reading slowly? Then a large one is refused. [control] */
bool control_is_full(const struct gateway *g);
void control_done(
    struct control_job *j); /* [any thread, once; the last that has to do with the job] */

/* probe.c: one request to an upstream that no client sent, for health, engines and discovery. [the loop's thread] */
struct probe {
    struct http_exchange exchange;
    struct http_client *client;
    struct iovec piece;
    struct buf request, body; /* `body`: the answer's, as far as it was asked for */
    bool too_long;            /* the answer's body was longer than that */
    int status;               /* 0: failed, see `failure` */
    char failure[256];
    void (*on_end)(struct probe *p); /* may start or end the probe anew */
    void *arg;
};
struct probe_ask {
    const struct http_target *target;
    uint32_t target_index;
    struct str path;
    struct str lines;  /* struct deployment_texts.upstream; empty: nothing but what HTTP needs */
    struct str body;   /* JSON, sent by POST; empty: GET */
    size_t keep_bytes; /* of the answer's body; 0: none of it is wanted */
    int64_t timeout_ms;
};
/* `p` is zeroed, or was ended by probe_fini; on_end and arg are set. What `a` points to is copied, but for the target. */
void probe_start(struct probe *p, struct http_client *client, const struct probe_ask *a);
void probe_fini(struct probe *p); /* also while it runs, and where it was never started */

/* texts.c [control]; memory is s->arena's */
struct deployment_texts *texts_new(struct snapshot *s, const char *version);

/* snapshot.c. Takes over the reference to the configuration, also where it fails. NULL with a sentence in `e`. [control] */
struct snapshot *snapshot_new(struct gateway *g, struct config *c, struct err *e);
struct snapshot *snapshot_get(struct snapshot *s); /* another reference [any] */
void snapshot_put(struct snapshot *s);             /* [any] */
/* New requests of the worker live on `s` (a reference, taken over) from now on, and its connections have the limits of it. [worker, or
 * before it runs] */
void worker_use_snapshot(struct worker *w, struct snapshot *s);
struct http_limits worker_http_limits(const struct gateway *g, const struct config *c);
/* A request begins on the worker's snapshot, and ends. [worker] */
struct worker_snapshot *worker_snapshot_get(struct worker *w);
void worker_snapshot_put(struct worker_snapshot *ws);
static inline const struct config *worker_config(const struct worker *w)
{
    return w->snapshot->shared->config;
}

/* health.c [control] */
struct health *health_new(struct gateway *g);
void health_free(struct health *h);
/* After a reload: from now on the deployments of `s` are probed (a reference is taken). Probes of the former one are stopped, those that somebody waits
 * for are made again; what is known of a deployment that both have is kept. Not from within a callback of a probe. */
void health_use_snapshot(struct health *h, struct snapshot *s);
/* GET /health: answers the job when what it asks for is known. */
void health_answer(struct gateway *g, struct control_job *j);
/* The engines of the snapshot in use. */
struct engines *health_engines(struct health *h);
/* health_answer.c: what traffic has shown of a deployment, as a JSON object. False: the buffer's cap. [any] */
MUST_USE bool health_write_state(struct buf *out, const struct deployment_state *s,
                                 uint64_t now_ns);
/* ... and what its engine says, or null. [control] */
MUST_USE bool health_write_engine(struct buf *out, const struct engines *e, uint32_t deployment,
                                  uint64_t now_ns);

/* listen.c: every worker listens, where the configuration or g->inherited says. [control] */
MUST_USE bool gateway_listen(struct gateway *g, struct err *e);
/* Where, as a person or a client would write it: "http://127.0.0.1:4000", "unix:/run/weir.sock". */
#define GATEWAY_ADDRESS_BYTES 320
void gateway_address(const struct gateway *g, char out[GATEWAY_ADDRESS_BYTES]);

/* query.c: percent-decoded into `out`, cut at `room`. [any] */
struct str percent_decode(struct str s, char *out, size_t room);
/* The first value of `name` in a query, NUL-terminated in `out`, cut at `room` - 1 bytes. False: it is not there, or empty. [any] */
bool query_value(struct str query, struct str name, char *out, size_t room);

/* discover.c: YAML for the engines that answer on this machine's usual ports. Owned by `a`. Before any thread is started. */
struct str discover_config(struct arena *a, int *found);

/* gateway.c */
struct gateway_options {
    struct config *config;  /* a reference, taken */
    struct log_writer *log; /* borrowed; may be NULL */
    const char *version, *commit;
    /* Reads the configuration anew, with what the command line says; completes the options. NULL with a sentence in `e`. [control] */
    struct config *(*load)(struct config_options *o, struct err *e);
    /* A reload begins, has ended: `problem` NULL: well. May be NULL. [control] */
    void (*on_reload)(const struct gateway *g, bool begins, const char *problem);
    /* Sockets to listen on, from systemd or (`took_over`) from a weir; borrowed until gateway_start returned; may be NULL. */
    const struct listeners *inherited;
    bool took_over;
};
int gateway_workers_wanted(const struct config *c); /* one a core where the file does not say */
struct gateway *gateway_new(const struct gateway_options *o, struct err *e);
MUST_USE bool gateway_start(struct gateway *g, struct err *e); /* listens and starts the workers */
void gateway_drain(
    struct gateway *g); /* [control] stop accepting, finish what runs, each worker then stops */
/* [any] All workers have. Until then control must turn: a request that a worker reads late may ask it. */
bool gateway_drained(const struct gateway *g);
void gateway_stop_now(
    struct gateway *g); /* [control] workers stop at once; what runs is recorded as cancelled */
void gateway_free(struct gateway *g); /* joins the workers */
/* [control] Another process listens on the same sockets: stop accepting; what runs may end however long it takes, and idle
 * connections are kept until drain_timeout, each closing behind its next answer. */
void gateway_retire(struct gateway *g);
/* [control] A line in the log that is not a request: start, stop, reload. `problem` NULL: it went well. `metadata` is a JSON object. */
void gateway_event(struct gateway *g, const char *event, const char *problem, struct str metadata,
                   int64_t took_us);
