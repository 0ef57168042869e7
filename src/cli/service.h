/* service.h -- what `weir serve` tells systemd, and when: ready, reloading, how it does, that it lives, that it ends. [control]
 *
 * Nothing of it costs anything where no service manager listens. docs/services.md has the operator's view. */
#pragma once

#include "gateway/gateway.h"

struct service; /* the watchdog, and what was told last */

/* READY=1 and, where WatchdogSec= is set, WATCHDOG=1 from now on. Free it when the workers have ended. */
struct service *service_ready(struct gateway *g);
void service_free(struct service *s); /* NULL is fine */
/* A reload begins, or has ended: `problem` says why it changed nothing, NULL: it went well. Both kinds of unit (Type=notify, notify-reload) understand it. */
void service_reload(const struct gateway *g, bool begins, const char *problem);
/* Another process listens now, and is the service: nothing more is told from here. */
void service_hand_over(struct service *s, pid_t successor);
/* The end begins (STOPPING=1), with `left` connections that may finish. */
void service_stopping(struct service *s, const struct gateway *g, uint64_t left);
/* Called often while it lasts; about once a second it says how many are left, and asks for the time to wait for them. */
void service_draining(struct service *s, const struct gateway *g, uint64_t left);
/* It never got ready. */
void service_failed(const struct err *e);
