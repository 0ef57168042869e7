/* server.h -- the listening side: accept, read one request at a time, answer, keep alive or close. Used by the gateway and by weir mock.
 *
 * One server a loop. A connection reads a head (limits, timeouts), then the body, then calls on_request; the handler answers now or later with
 * http_reply* / http_begin + http_body + http_end. Pipelined requests wait until the answer before them is complete. What is written is
 * queued and flushed at the end of the loop's pass, so an answer is usually one system call.
 * Owner: the server owns connections; `c` stays valid until on_closed returned. All calls on the loop's thread. */
#pragma once

#include "base/buf.h"
#include "http/body.h"
#include "http/h1.h"
#include "net/loop.h"
#include "net/sock.h"
#include "net/stream.h"

struct http_server;
struct http_conn;

struct http_limits {
    size_t max_head_bytes, max_body_bytes;
    uint32_t max_connections;
    int64_t head_timeout_ms;  /* first byte of a request to its head being complete */
    int64_t body_timeout_ms;  /* between two reads of a body */
    int64_t idle_timeout_ms;  /* between requests */
    int64_t write_timeout_ms; /* no progress in writing */
    bool
        stamps; /* ask the kernel when requests arrived: http_request.received_ns. Of connections accepted from now on */
};

/* A whole request. Valid until the answer is complete; the body until http_release_body. */
struct http_request {
    struct h1_head *head; /* strs point into the connection's buffer */
    struct str body;
    uint64_t arrived_ns;  /* when its last byte was read: CLOCK_MONOTONIC */
    uint64_t received_ns; /* when the kernel had it; 0: not asked for, or not known */
    struct str client;    /* address without port */
};

enum http_welcome { HTTP_SERVE, HTTP_TURN_AWAY, HTTP_TURN_AWAY_RST };

struct http_handler {
    /* The head is complete, the body is not read yet. ERR_NONE to go on, or an error to answer at once (404, 401, 413). May be NULL. */
    enum error_code (*on_head)(struct http_conn *c, const struct h1_head *h);
    void (*on_request)(struct http_conn *c, struct http_request *r);
    /* All that was queued has gone to the kernel and http_end was not called yet: more may be written. May be NULL. */
    void (*on_drained)(struct http_conn *c);
    /* The client went away (or shut down its side), or a timeout or error ended the connection, while a request was with the handler (between on_request and
     * http_end): the handler must let go of it. */
    void (*on_gone)(struct http_conn *c);
    /* Fills an error answer's body as the API's JSON. Used for errors found by the server itself too. */
    void (*write_error)(struct http_conn *c, enum error_code code, const char *detail,
                        struct buf *body);
    /* A connection was accepted: serve it, or close it at once, maybe by a reset. May be NULL. For weir mock's faults. */
    enum http_welcome (*on_accept)(struct http_server *s);
};

struct http_counters { /* single writer: this loop */
    uint64_t open, accepted, refused, requests, errors, bytes_in, bytes_out;
};

struct http_server *http_server_new(struct loop *l, const struct http_limits *limits,
                                    const struct http_handler *h, void *user);
void http_server_free(struct http_server *s);
void *http_server_user(struct http_server *s);
struct loop *http_server_loop(struct http_server *s);
const struct http_counters *http_server_counters(struct http_server *s);
/* Takes over the listening descriptor. `tls` may be NULL. */
MUST_USE bool http_server_listen(struct http_server *s, int listener, struct tls_server *tls);
/* From now on what `s` accepts is dealt out in turn to all `count` servers of `to` (borrowed; `s` among them), each on its loop: for listening sockets that
 * they share, where the kernel would leave nearly all to one. None of them may be freed while another one accepts. */
void http_server_deal(struct http_server *s, struct http_server *const *to, int count);
/* Accepts at once all that wait in the listeners' queues: closing a socket that no other process has resets them. */
void http_server_accept_waiting(struct http_server *s);
/* Stops accepting, closes idle connections, lets running answers finish with "Connection: close". Those accepted less than a second ago have what is left of
 * it for their first request: nobody told them to go elsewhere. What the kernel has of a request by now is answered, whoever sent it. */
void http_server_drain(struct http_server *s);
/* For weir mock's faults: the ports stay bound, but nothing listens, so connections are refused; idle ones are closed. False takes it back. TCP only. */
void http_server_refuse(struct http_server *s, bool refuse);
/* Stops accepting as the above, but closes no idle connection: what a client sends on it next is answered, with "Connection: close". For
 * a process whose listening sockets live on in another one; http_server_drain later closes what is still idle. */
void http_server_retire(struct http_server *s);
/* From now on; connections that are open included. */
void http_server_set_limits(struct http_server *s, const struct http_limits *limits);
/* What connections accepted from now on speak; `tls` (borrowed) may be NULL. */
void http_server_set_tls(struct http_server *s, struct tls_server *tls);
uint32_t http_server_open(const struct http_server *s);
struct pool *
http_server_blocks(struct http_server *s); /* of BUF_BLOCK_BYTES; shared by all of this loop */

struct http_server *http_conn_server(struct http_conn *c);
void http_set_user(struct http_conn *c,
                   void *user); /* one pointer for the handler; survives from request to request */
void *http_user(struct http_conn *c);

/* ---- answering ---- */
/* A whole answer in one go. `headers` is a block of "name: value\r\n" lines or empty; Content-Length, Date, Connection are added. */
void http_reply(struct http_conn *c, int status, struct str content_type, struct str headers,
                struct str body);
/* An error answer (write_error makes the body). `detail` may be NULL. */
void http_reply_error(struct http_conn *c, enum error_code code, const char *detail);
/* An answer in pieces: head first. `length` < 0: chunked (or until close for HTTP/1.0). `headers` as above. */
void http_begin(struct http_conn *c, int status, struct str headers, int64_t length);
void http_body(struct http_conn *c,
               struct str piece); /* framed as begun; empty pieces are ignored */
/* Completes the answer. After it the request is forgotten and the next one may come. */
void http_end(struct http_conn *c);
/* Ends without completing: what is queued is flushed, then the connection is closed without the terminating chunk, so that the client can tell. */
void http_abort(struct http_conn *c);
/* For weir mock's faults: bytes exactly as they are instead of http_begin and http_body, head, framing and all. Ends by http_end or http_abort. */
void http_raw(struct http_conn *c, struct str bytes);
/* For weir mock's faults: as http_abort, but by a reset (RST), which may overtake what is still on its way. */
void http_reset(struct http_conn *c);
/* Bytes queued and not yet taken by the kernel. */
size_t http_queued(const struct http_conn *c);
/* Is the client's socket full? on_drained will tell when all that is queued has gone. */
bool http_blocked(const struct http_conn *c);
/* Hands what is queued to the kernel now instead of at the end of the pass; returns bytes still queued. If any are, on_drained follows. */
size_t http_flush_now(struct http_conn *c);
/* The request's body is not needed any more: give its memory back while a long answer runs. */
void http_release_body(struct http_conn *c);
bool http_began(const struct http_conn *c); /* has any of this answer been queued? */
