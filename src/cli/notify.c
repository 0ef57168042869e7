/* notify.c -- the service manager's socket and its variables. */
#include "cli/notify.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/str.h"

#define PATIENCE_S 2

static uint64_t watchdog_us;

/* Path or, with '@', a name in the abstract namespace. 0: no address. */
static socklen_t address_of(const char *path, struct sockaddr_un *to)
{
    size_t n = path ? strlen(path) : 0;
    *to = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (n < 2 || n >= sizeof to->sun_path || (path[0] != '/' && path[0] != '@'))
        return 0;
    memcpy(to->sun_path, path, n);
    if (path[0] == '@')
        to->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
}

bool notify_wanted(void)
{
    struct sockaddr_un to;
    return address_of(getenv("NOTIFY_SOCKET"), &to) > 0;
}

void notify_service(const char *state)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    struct sockaddr_un to;
    socklen_t len = address_of(getenv("NOTIFY_SOCKET"), &to);
    if (!len)
        return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        (void)!setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to, len) < 0)
        diag_warn("cannot tell systemd %.*s: %s", (int)strcspn(state, "\n"), state,
                  strerror(errno));
    if (fd >= 0)
        close(fd);
}

void notify_value(const char *text, char *out, size_t room)
{
    size_t n = MIN(strlen(text), room - 1);
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)text[i] < ' ' ? ' ' : text[i];
    out[n] = '\0';
}

static int64_t number_in(const char *variable)
{
    int64_t value;
    const char *text = getenv(variable);
    return text && str_to_i64(str_from(text), &value) ? value : -1;
}

void notify_begin(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    int64_t us = number_in("WATCHDOG_USEC");
    bool ours = !getenv("WATCHDOG_PID") || number_in("WATCHDOG_PID") == (int64_t)getpid();
    watchdog_us = us > 0 && ours ? (uint64_t)us : 0;
    if (!ours)
        unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    if (path && path[0] && !notify_wanted())
        diag_warn("NOTIFY_SOCKET: expected a path or @name, got \"%.120s\"; systemd is told "
                  "nothing",
                  path);
}

uint64_t notify_watchdog_us(void)
{
    return notify_wanted() ? watchdog_us : 0;
}
