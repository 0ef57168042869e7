/* notify.h -- one datagram to the service manager: "READY=1", "STATUS=..." over $NOTIFY_SOCKET (sd_notify(3); no library needed). [any thread]
 *
 * The protocol is the stable interface; what is said and when is service.h's. */
#pragma once

#include "base/base.h"

/* Is there a service manager that listens? */
bool notify_wanted(void);
/* Assignments, one a line. Nothing without the variable; a failure is a warning. Waits at most two seconds for a manager that does not read. */
void notify_service(const char *state);
/* `text` as a value: on one line, cut at `room`. */
void notify_value(const char *text, char *out, size_t room);
/* WATCHDOG_USEC, where it is meant for this process (WATCHDOG_PID, or that is not set); 0: no watchdog. */
uint64_t notify_watchdog_us(void);
/* Reads the variables, and warns of a NOTIFY_SOCKET that cannot be an address. Unsets WATCHDOG_PID: a process that takes over from this one shall
 * not be told that the watchdog is another's. Before any thread is started. */
void notify_begin(void);
