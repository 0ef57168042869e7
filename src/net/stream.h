/* stream.h -- a byte stream over a socket, with or without TLS: the five calls everything above is written against.
 *
 * (read, writev, handshake, connected?, close.) Another kind of I/O is another implementation of these five. */
#pragma once

#include <sys/uio.h>

#include "net/tls.h"

struct stream {
    int fd;              /* -1: closed */
    struct tls *tls;     /* NULL: plain */
    bool stamped;        /* reads tell when their bytes arrived (stream_stamp) */
    uint64_t arrived_ns; /* of the last read, by the kernel, CLOCK_MONOTONIC; 0: not known */
    uint64_t read_ns;    /* when the last read returned; 0: the clock was not looked at, ask it */
};

/* From now on reads ask the kernel when their bytes arrived; where it does not say, nothing changes. With TLS: of the bytes on the wire that
 * held the last record. Before the first read, and behind tls_connect. */
void stream_stamp(struct stream *s);

/* One recv (or TLS read) of at most `n` bytes. With edge-triggered readiness the caller reads again until *got < n
 * (plain: the socket is then drained) or IO_AGAIN. */
enum io stream_read(struct stream *s, char *p, size_t n, size_t *got);
/* One send of all pieces that the socket takes. IO_OK with *put less than the total: the socket is full. */
enum io stream_writev(struct stream *s, const struct iovec *pieces, int count, size_t *put);
/* Drives a TLS handshake; IO_OK at once for a plain stream. */
enum io stream_handshake(struct stream *s);
/* True when a short read does not mean "drained" (TLS may hold decrypted bytes). */
static inline bool stream_may_hold_more(const struct stream *s)
{
    return s->tls != NULL;
}
void stream_close(struct stream *s);
