/* watchdog.h -- is every loop of this process still turning? Asked in earnest: each loop must run a call. [control]
 *
 * One thread that hangs (a lock, an endless loop, a disk) makes every connection on it hang, while the process looks well from outside. So
 * what a service manager is told depends on all of them. */
#pragma once

#include "net/loop.h"

struct watchdog;

/* Every `every_ns` each loop of `loops` is asked to run a call and to send word to `control`; `on_alive(arg)` runs there when all of them
 * have, the first time at once. While one has not, nothing is called and no other round begins; who it is, is said on stderr. `loops` is copied. */
struct watchdog *watchdog_new(struct loop *control, struct loop *const *loops, int count,
                              uint64_t every_ns, void (*on_alive)(void *arg), void *arg);
/* Ends asking: on_alive is not called any more. NULL is fine, and so is a second time. */
void watchdog_stop(struct watchdog *d);
/* Only when none of the loops will run again: calls on their way there point here. NULL is fine. */
void watchdog_free(struct watchdog *d);
