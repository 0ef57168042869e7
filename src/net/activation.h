/* activation.h -- listening sockets that systemd made and passes to the program it starts (sd_listen_fds(3); no library needed). */
#pragma once

#include "base/err.h"

#define ACTIVATION_MAX 64

struct activation {
    int fds[ACTIVATION_MAX]; /* listening stream sockets: non-blocking, close-on-exec */
    int count;               /* 0: nothing was passed */
};

/* Takes what LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES say was passed to this process, and unsets them: no program started from here shall
 * take it for its own. False with a sentence in `e`: a descriptor is not a listening stream socket, or has a name (FileDescriptorName=)
 * that means nothing here: expected `name`, the socket unit's own, or none. [before any thread is started] */
MUST_USE bool activation_take(struct activation *a, const char *name, struct err *e);
