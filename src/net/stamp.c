/* stamp.c -- kernel receive times of sockets, converted between clocks. */
#include "net/stamp.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <time.h>
#include <unistd.h>

/* The clock of day may be steered (NTP: 500 ppm at most, so 5 us in this time) or set. */
#define COMPARE_EVERY_NS (10 * NS_PER_MS)
#define COMPARE_TRIES    5

/* Clock of day less CLOCK_MONOTONIC, as it was last measured by this thread. */
static _Thread_local struct {
    uint64_t measured_ns; /* CLOCK_MONOTONIC; 0: never */
    int64_t difference_ns;
    uint64_t error_ns;
} clocks;

bool stamp_enable(int fd)
{
    int flags = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    return setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags) == 0;
}

int stamp_hold(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && !stamp_enable(fd)) {
        close(fd);
        return -1;
    }
    return fd;
}

static int64_t real_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * (int64_t)NS_PER_S + t.tv_nsec;
}

/* The narrowest of a few looks at both: an interrupt between them would be taken for a difference. */
static void compare_clocks(uint64_t now_ns)
{
    clocks.error_ns = UINT64_MAX;
    for (int i = 0; i < COMPARE_TRIES; i++) {
        uint64_t before_ns = clock_mono_ns();
        int64_t real = real_ns();
        uint64_t width_ns = clock_mono_ns() - before_ns;
        if (width_ns < clocks.error_ns) {
            clocks.error_ns = width_ns;
            clocks.difference_ns = real - (int64_t)(before_ns + width_ns / 2);
        }
    }
    clocks.measured_ns = now_ns;
}

static uint64_t to_monotonic(const struct timespec *real, uint64_t now_ns)
{
    if (!clocks.measured_ns || now_ns - clocks.measured_ns > COMPARE_EVERY_NS)
        compare_clocks(now_ns);
    int64_t at = (int64_t)real->tv_sec * (int64_t)NS_PER_S + real->tv_nsec - clocks.difference_ns;
    return at <= 0 ? 0 : MIN((uint64_t)at, now_ns);
}

ssize_t stamp_recv(int fd, void *p, size_t n, uint64_t *arrived_ns, uint64_t *read_ns)
{
    _Alignas(struct cmsghdr) char control[STAMP_CONTROL_BYTES];
    struct iovec piece = {p, n};
    struct msghdr m = {.msg_iov = &piece,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof control};
    ssize_t got;
    *arrived_ns = *read_ns = 0;
    do {
        got = recvmsg(fd, &m, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got <= 0)
        return got;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        struct scm_timestamping stamps;
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPING)
            continue;
        memcpy(&stamps, CMSG_DATA(c), sizeof stamps);
        if (stamps.ts[0].tv_sec) {
            *read_ns = clock_mono_ns();
            *arrived_ns = to_monotonic(&stamps.ts[0], *read_ns);
        }
    }
    return got;
}

uint64_t stamp_error_ns(void)
{
    return clocks.error_ns;
}
