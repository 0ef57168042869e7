/* server_internal.h -- a connection from the inside, for server.c (reading, accepting, ends) and server_answer.c (writing). */
#pragma once

#include "http/server.h"

enum conn_state {
    CONN_HANDSHAKE,
    CONN_READING,
    CONN_HANDLING,
    CONN_CLOSING,
    CONN_LINGER,
    CONN_DEAD
};

#define CONN_MAGIC      0x6e6e6f63u
#define FAR_NS          (24 * 3600 * NS_PER_S)
#define READ_ROOM_BYTES 4096u
#define READ_AHEAD_MAX_BYTES                                                                       \
    (1024u * 1024u) /* a body's length is a promise: memory follows what comes, not what is said */
#define READS_A_PASS    8    /* then the others have their turn */
#define LINGER_MS       2000 /* without a byte from the client */
#define LINGER_MAX_MS   30000
#define ACCEPTS_A_PASS  64
#define WAITING_MAX     8192 /* in a listener's queue */
#define GRACE_MS        1000 /* draining: for a connection's first request, from heard_ns on */
#define REFUSED_BACKLOG 4096 /* of a port that listens again */

struct http_conn {
    uint32_t magic;
    uint8_t state;
    bool readable, writable; /* what the last edges said and was not used up */
    bool peer_closed;        /* the client has shut down its side */
    bool keep_alive, head_only, chunked_out, began, ended, aborted, blocked, close_delimited;
    bool no_body, sized_out; /* of the answer: nothing follows its head; `owed` counts */
    bool head_timed;         /* the time-out for the request's head is running */
    bool in_body;            /* the head is parsed, the body is coming */
    bool answered;           /* a request was, before the one that is there or awaited */
    bool old_client;         /* HTTP/1.0 */
    bool reset;              /* with `aborted`: end by a RST */
    struct http_server *server;
    struct stream stream;
    struct watch watch;
    struct timer timer;
    struct task flush;
    struct buf in, out;
    size_t head_bytes, resume; /* head's length in `in`; how far its end was searched */
    uint64_t heard_ns;         /* when it was accepted, or something came of the handshake */
    uint64_t owed;             /* bytes of the answer's announced length still to be queued */
    uint64_t linger_end_ns;
    size_t raw_at,
        body_bytes; /* `in` from its start: bytes of this request taken; payload unpacked behind the head */
    struct h1_head *head;
    struct body_decoder decoder;
    struct http_request request;
    void *user;
    int unacked_bytes; /* in the kernel's buffer when last looked at while blocked; 0: not looked yet */
    struct http_conn *next, **link;
    char client[48];
};

struct listener {
    struct watch watch;
    int paused_fd; /* >= 0: bound but not listening; the watch has no descriptor then */
    struct http_server *server;
    struct listener *next;
};

struct http_server {
    struct loop *loop;
    struct http_limits limits;
    const struct http_handler *handler;
    void *user;
    struct http_counters counters;
    struct pool conns, heads, blocks;
    struct http_conn *open;
    struct listener *listeners;
    struct tls_server *tls;           /* what new connections speak; NULL: no TLS */
    struct http_server *const *dealt; /* connections are dealt out to these; NULL: they stay here */
    int dealt_count, next_dealt;
    struct timer accept_again; /* after the process ran out of descriptors */
    bool draining;             /* idle connections are closed */
    bool retiring;             /* each connection closes behind its next answer */
    uint64_t date_second;
    uint64_t warned_ns; /* when it was last said that accepting fails */
    char date[32];      /* "Tue, 24 Nov 2026 01:49:00 GMT" */
};

/* ---- server.c ---- */
void server_set_timeout(struct http_conn *c, int64_t ms); /* from now; 0: none */
void server_forget_request(struct http_conn *c);
void server_close(
    struct http_conn *c); /* from any state; the handler learns of it if it holds a request */
void server_read(struct http_conn *c); /* what the socket has, as far as the state wants it */
void server_next_request(
    struct http_conn *c); /* the answer is out: the next one may be here already */

/* ---- server_answer.c ---- */
void server_flush_task(struct task *t);
void server_say_continue(struct http_conn *c); /* the interim answer to Expect: 100-continue */
