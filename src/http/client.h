/* client.h -- the calling side: requests to upstreams over pooled keep-alive connections, asynchronously. One client a loop.
 *
 * Used by the gateway's upstream step, by health probes and discovery, and by the measuring engine. Connections are kept per target (an index
 * the caller chooses), last used first. A kept connection that turns out to be closed before a byte of the answer came is replaced once by a new one,
 * unseen by the caller. All calls and callbacks on the loop's thread. */
#pragma once

#include "base/buf.h"
#include "http/body.h"
#include "http/h1.h"
#include "net/loop.h"
#include "net/proxy_env.h"
#include "net/resolve.h"
#include "net/stream.h"

struct http_client;

/* Where to connect. Borrowed: must outlive the client. */
struct http_target {
    struct str host; /* name, IP literal, "unix:/path", "unix:@abstract" */
    uint16_t port;
    bool tls;
    struct tls_client *tls_client; /* with tls */
    struct str authority;          /* for Host */
    /* NULL: connect directly. With TLS the client opens a tunnel (CONNECT); without, the caller writes the request in absolute form. */
    const struct proxy_env *proxy;
};

struct http_client_counters { /* single writer: this loop */
    uint64_t open, idle, connects, reuses, connect_failures, bytes_in, bytes_out;
};

struct http_client_limits {
    int64_t connect_timeout_ms; /* resolve + connect + TLS */
    int64_t idle_timeout_ms;    /* kept connections */
    size_t max_head_bytes;
    uint32_t max_idle_per_target;
    bool stamp_arrivals; /* ask the kernel when bytes arrived: for who measures */
    struct http_client_counters
        *counters; /* where to count, when they outlive the client; NULL: its own */
};

/* One request and its answer. Embed it. It must live, unmoved, until on_done or on_fail ran or http_cancel returned. */
struct http_exchange {
    /* ---- set by the caller before http_send ---- */
    const struct http_target *target;
    uint32_t target_index; /* pool to use */
    struct iovec *
        pieces; /* the request: head and body, exactly as sent; borrowed until the answer's head has come */
    int piece_count;
    bool to_head; /* the method is HEAD */
    int64_t
        answer_timeout_ms; /* request sent to answer's head complete, and while sending without progress; 0: none */
    int64_t silence_timeout_ms; /* between two reads of the answer's body; 0: none */
    int64_t total_timeout_ms;   /* whole exchange; 0: none */
    /* Over a kept connection the request is written within http_send, not at the end of the pass: for who keeps a schedule. */
    bool at_once;

    /* The answer's head; strs valid during the call. */
    void (*on_head)(struct http_exchange *x, const struct h1_head *h);
    /* A piece of payload (framing removed), valid during the call. */
    void (*on_body)(struct http_exchange *x, struct str piece);
    /* The answer is complete. x may be reused or freed in the call. */
    void (*on_done)(struct http_exchange *x);
    /* It failed: nothing more comes. `detail` says more ("connection refused (127.0.0.1:8000)"), valid during the call. */
    void (*on_fail)(struct http_exchange *x, enum error_code code, const char *detail);

    /* ---- times, CLOCK_MONOTONIC; 0: not reached ---- */
    uint64_t started_ns, connected_ns, sent_ns, head_ns, last_ns;
    /* Ends of DNS and TCP (0 over a kept connection; connected_ns is that of TLS); first byte given to the kernel; first byte of the answer. */
    uint64_t resolved_ns, tcp_ns, send_began_ns, first_byte_ns;
    /* In on_head, on_body and on_done: when the bytes arrived that led to the call, and when the read that brought them returned. With stamp_arrivals
     * only; the kernel's time where by_kernel, else that of the read. */
    uint64_t arrived_ns, read_ns;
    bool arrived_by_kernel;
    bool reused; /* ran over a kept connection */

    /* ---- the client's ---- */
    struct http_upconn *conn;
};

/* `blocks` of BUF_BLOCK_BYTES, shared with the loop's other users. */
struct http_client *http_client_new(struct loop *l, struct resolver *r, struct pool *blocks,
                                    const struct http_client_limits *limits, uint32_t targets);
void http_client_free(struct http_client *c);
void *http_client_user(struct http_client *c);
void http_client_set_user(struct http_client *c, void *user);
const struct http_client_counters *http_client_counters(const struct http_client *c);
/* Begins; writes at the end of the pass. No callback runs before it returns. */
void http_send(struct http_client *c, struct http_exchange *x);
/* The socket and TLS (NULL: plain) of an exchange under way, to ask them things; -1 and NULL without a connection. */
int http_exchange_fd(const struct http_exchange *x);
const struct tls *http_exchange_tls(const struct http_exchange *x);
/* Stops at once: the connection is closed, no further callback. */
void http_cancel(struct http_client *c, struct http_exchange *x);
/* Back-pressure: no more reading of this answer until http_resume. */
void http_pause(struct http_exchange *x);
void http_resume(struct http_client *c, struct http_exchange *x);
