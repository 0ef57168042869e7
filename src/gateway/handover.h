/* handover.h -- one process hands its listening sockets to the next one: an upgrade without one refused connection. [control]
 *
 * The sockets themselves are passed (SCM_RIGHTS), not their address, so a connection that waits in one's queue is accepted by whoever
 * comes to it. The old process stops accepting only when the new one has said that it is ready, and then ends what it has
 * begun. If the new one does not get that far, the old one goes on as if nothing had been. */
#pragma once

#include <signal.h>

#include "gateway/gateway.h"

/* ---- the process that listens ---- */

struct handover;

/* Called when another process has taken over, before that is told so. The gateway retires already. */
typedef void handover_done(void *arg, pid_t successor);
/* Called when the process that was to take over has ended before it was ready. */
typedef void handover_ended(void *arg);

/* Answers a `weir serve --takeover` of the same user (or root) from now on. */
struct handover *handover_new(struct gateway *g, handover_done *done, void *arg);
void handover_free(struct handover *h); /* NULL is fine */
/* SIGUSR2: starts this program again with the arguments it was started with, and offers it the sockets. `signals` is the mask to start
 * it with. False: it could not be started, or one is under way. */
MUST_USE bool handover_spawn(struct handover *h, const sigset_t *signals, struct err *e);
void handover_reap(struct handover *h); /* SIGCHLD */
/* SIGTERM: tells a process that handover_spawn started, and that is not ready yet, to end as well. False: there is none. True: either
 * `ended` follows (with handover_new's `arg`; by SIGKILL after 5 s), or handover_done, if it was ready before it heard of it: then it drains, too. */
MUST_USE bool handover_stop(struct handover *h, handover_ended *ended);
void handover_kill(struct handover *h); /* such a process ends at once; NULL is fine */

/* ---- the process that takes over ---- */

struct takeover {
    int socket; /* to the old process; -1: none */
    struct listeners listeners;
};

/* Is this start to end in a takeover: by --takeover (`wanted`), or by SIGUSR2 to another process? Before takeover_begin. */
bool takeover_is_asked(bool wanted);
/* Was this process started to take over (SIGUSR2)? Then, or when `wanted` (--takeover), asks for the sockets of the process that listens where
 * the configuration says. True with socket -1: not wanted. False with a sentence in `e`. */
MUST_USE bool takeover_begin(struct takeover *t, const struct config *c, bool wanted,
                             struct err *e);
/* Requests are being accepted here: the old process may stop. False: it has given up waiting, and goes on. */
MUST_USE bool takeover_ready(struct takeover *t, struct err *e);
void takeover_end(struct takeover *t); /* whatever came of it */
