/* client_internal.h -- an upstream connection from the inside, for client.c (exchanges) and client_connect.c (getting connected). */
#pragma once

#include "http/client.h"

enum upconn_state {
    UP_RESOLVING,
    UP_CONNECTING,
    UP_TUNNEL,
    UP_HANDSHAKE,
    UP_ACTIVE,
    UP_IDLE,
    UP_FAILING,
    UP_DEAD
};

#define UPCONN_MAGIC  0x6e6f6375u
#define SCRATCH_BYTES 65536u
#define READS_A_PASS  4 /* then the others have their turn */
#define REPLAY_WITHIN_NS                                                                           \
    NS_PER_S /* later than that the server has been at work: asking again would do it twice */
#define PIECES_MAX          16
#define SEND_JOIN_MAX_BYTES 16384u

struct http_upconn {
    uint32_t magic;
    uint8_t state;
    bool readable, writable, peer_closed, paused, got_bytes, head_done, keep_alive;
    bool send_broken; /* the server takes no more; it may have answered */
    bool in_call;     /* within http_send: no callback may run, what fails waits for the task */
    struct http_client *client;
    const struct http_target *target;
    uint32_t target_index;
    struct http_exchange *x;
    struct stream stream;
    struct watch watch;
    struct timer timer;
    struct task task; /* flush, or go on reading */
    struct resolve_query query;
    struct resolve_answer answer;
    int address; /* of `answer`, the one being tried */
    int last_errno;
    uint64_t phase_due_ns; /* connect, send, answer or silence; 0: none */
    uint64_t connect_due_ns;
    int piece; /* next to send, and how much of it has gone */
    size_t piece_at;
    struct buf in; /* part of a head; or the tunnel's request while that is sent */
    size_t resume;
    struct body_decoder decoder;
    enum error_code failing;
    char detail[256];
    struct http_upconn *next, **link; /* in the idle list, or in the client's list of busy ones */
};

struct http_client {
    struct loop *loop;
    struct resolver *resolver;
    struct pool *blocks;
    struct http_client_limits limits;
    struct http_client_counters own_counters, *counters;
    void *user;
    struct pool conns;
    struct http_upconn **idle; /* one list a target, last used first */
    uint32_t *idle_count;
    uint32_t targets;
    int stamp_fd; /* stamp_hold's, or -1 */
    struct http_upconn *busy;
    struct h1_head head;                    /* the answer being looked at */
    char scratch[SCRATCH_BYTES];            /* what was just read */
    char send_scratch[SEND_JOIN_MAX_BYTES]; /* what is just being sent */
};

/* ---- client.c ---- */
void client_arm(struct http_upconn *u); /* sets the timer to what is due first */
/* What is waited for now is due `ms` after `from_ns`; 0: nothing is. */
void client_set_phase(struct http_upconn *u, uint64_t from_ns, int64_t ms);
void client_send(struct http_upconn *u);
void client_read(struct http_upconn *u);
/* Tells the exchange from the task: for what goes wrong where no callback may run. */
void client_fail_later(struct http_upconn *u, enum error_code code, const char *detail);

/* ---- client_connect.c ---- */
void client_resolved(struct resolve_query *q, const struct resolve_answer *a);
void client_try_address(
    struct http_upconn *u); /* u->address, or the first one behind it that works */
void client_connected(struct http_upconn *u); /* the socket says so */
void client_drive_handshake(struct http_upconn *u);
void client_read_tunnel(struct http_upconn *u);
