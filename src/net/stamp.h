/* stamp.h -- when did bytes arrive? The kernel's receive time of a socket's data, on the clock of durations.
 *
 * SO_TIMESTAMPING (Linux, Documentation/networking/timestamping.rst) gives each read of a TCP socket the time at which the kernel had the last
 * segment of it, whatever the program was doing then. It comes on the clock of day and is turned into CLOCK_MONOTONIC by the difference of the
 * two, which is measured anew every few milliseconds. All functions: [any thread]. */
#pragma once

#include <sys/socket.h>

#include "base/clock.h"

/* Room that a recvmsg needs for its control messages. */
#define STAMP_CONTROL_BYTES 128

/* Asks for receive times. False: this socket has none (a Unix socket, an old kernel). */
MUST_USE bool stamp_enable(int fd);
/* The kernel notes receive times only while somebody wants them, and begins a moment after that: who holds this descriptor open (the caller closes
 * it) has them for the first bytes of a connection, too. -1: none could be had. */
int stamp_hold(void);
/* recv(2) with flags MSG_DONTWAIT, which also tells when the last byte it took had arrived: CLOCK_MONOTONIC ns, never later than
 * *read_ns, which is when the call returned. Both are 0 where the kernel did not say. */
ssize_t stamp_recv(int fd, void *p, size_t n, uint64_t *arrived_ns, uint64_t *read_ns);
/* How far the conversion may be off, in ns: the time that comparing the two clocks took when it was last done. 0: never done on this thread. */
uint64_t stamp_error_ns(void);
