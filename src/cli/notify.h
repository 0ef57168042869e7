/* notify.h -- telling systemd how a service does: "READY=1", "STOPPING=1" over $NOTIFY_SOCKET (sd_notify(3); no library needed). */
#pragma once

#include <stdbool.h>

/* Nothing without the variable; a failure is a warning. */
void notify_service(const char *state);
/* A reload begins, or has ended, well or not (Type=notify-reload). */
void notify_reload(bool begins);
