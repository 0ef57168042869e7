/* stream.c -- reading and writing a connection, plain or TLS, with one meaning for both. */
#include "net/stream.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/stamp.h"

static enum io io_of_errno(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK ? IO_AGAIN : IO_FAIL;
}

enum io stream_read(struct stream *s, char *p, size_t n, size_t *got)
{
    *got = 0;
    if (s->tls) {
        enum io io = tls_read(s->tls, p, n, got);
        s->arrived_ns = s->stamped ? tls_arrived_ns(s->tls) : 0;
        return io;
    }
    ssize_t r;
    if (s->stamped) {
        r = stamp_recv(s->fd, p, n, &s->arrived_ns, &s->read_ns);
    } else {
        do {
            r = recv(s->fd, p, n, MSG_DONTWAIT);
        } while (r < 0 && errno == EINTR); /* not IO_AGAIN: that would say "drained", and no edge
                                              would follow */
    }
    if (r > 0) {
        *got = (size_t)r;
        return IO_OK;
    }
    return r == 0 ? IO_EOF : io_of_errno();
}

static enum io tls_writev(struct stream *s, const struct iovec *pieces, int count, size_t *put)
{
    for (int i = 0; i < count; i++) {
        size_t wrote = 0;
        enum io io = pieces[i].iov_len
                         ? tls_write(s->tls, pieces[i].iov_base, pieces[i].iov_len, &wrote)
                         : IO_OK;
        *put += wrote;
        if (io == IO_AGAIN && *put > 0)
            return IO_OK;
        if (io != IO_OK || wrote < pieces[i].iov_len)
            return io;
    }
    return IO_OK;
}

enum io stream_writev(struct stream *s, const struct iovec *pieces, int count, size_t *put)
{
    *put = 0;
    if (s->tls)
        return tls_writev(s, pieces, count, put);
    struct msghdr m = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)count};
    ssize_t r;
    do {
        if (count == 1)
            r = send(s->fd, pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        else
            r = sendmsg(s->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (r < 0 && errno == EINTR);
    if (r < 0)
        return io_of_errno();
    *put = (size_t)r;
    return IO_OK;
}

void stream_stamp(struct stream *s)
{
    s->stamped = stamp_enable(s->fd);
    if (s->stamped && s->tls)
        tls_stamp(s->tls);
}

enum io stream_handshake(struct stream *s)
{
    return s->tls ? tls_handshake(s->tls) : IO_OK;
}

void stream_close(struct stream *s)
{
    if (s->tls)
        tls_free(s->tls);
    if (s->fd >= 0)
        close(s->fd);
    *s = (struct stream){.fd = -1};
}
