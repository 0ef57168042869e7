/* activation.c -- descriptors 3, 4, ... as systemd passes them, checked before anything is built on them.
 *
 * The protocol (sd_listen_fds(3)): LISTEN_PID is the process they are meant for, LISTEN_FDS how many there are, LISTEN_FDNAMES their names
 * with colons between. Variables meant for another process came down by inheritance and mean nothing. */
#include "net/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */

/* systemd's own words where the unit gives no name: "unknown", or the unit's, which ends in ".socket". */
static bool is_ours(struct str given, const char *name)
{
    return given.n == 0 || str_eq(given, str_from(name)) || str_eq(given, STR("unknown")) ||
           (given.n > 7 && str_eq(str_skip(given, given.n - 7), STR(".socket")));
}

static int option_of(int fd, int option)
{
    int value = -1;
    socklen_t bytes = sizeof value;
    return getsockopt(fd, SOL_SOCKET, option, &value, &bytes) == 0 ? value : -1;
}

/* What is wrong with it, and what to do; NULL: nothing. */
static const char *fault_of(int fd)
{
    int family = option_of(fd, SO_DOMAIN), type = option_of(fd, SO_TYPE);
    if (type < 0)
        return errno == EBADF ? "it is not open" : "it is not a socket";
    if (type != SOCK_STREAM)
        return "it is not a stream socket: use ListenStream= in the .socket unit";
    if (family != AF_INET && family != AF_INET6 && family != AF_UNIX)
        return "it is neither of IP nor a Unix socket";
    if (option_of(fd, SO_ACCEPTCONN) != 1)
        return "it does not listen, it is one connection: use Accept=no in the .socket unit";
    return NULL;
}

static bool prepare(int fd)
{
    int on = 1, flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return false;
    /* What it accepts has it from the listener: as sock_listen does. */
    return option_of(fd, SO_DOMAIN) == AF_UNIX ||
           setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0;
}

static bool take(struct activation *a, int count, struct str names, const char *name, struct err *e)
{
    for (int i = 0; i < count; i++) {
        struct str given = str_cut(&names, ':');
        int fd = FIRST_FD + i;
        const char *fault = fault_of(fd);
        if (fault)
            return err_set(e, "socket activation: descriptor %d (\"%.*s\") cannot be used: %s", fd,
                           STR_ARG(given), fault);
        if (!is_ours(given, name))
            return err_set(e,
                           "socket activation: descriptor %d is called \"%.*s\"; expected "
                           "FileDescriptorName=%s in the .socket unit, or none",
                           fd, STR_ARG(given), name);
        if (!prepare(fd))
            return err_set(e, "socket activation: descriptor %d cannot be used: %s", fd,
                           strerror(errno));
        a->fds[a->count++] = fd;
    }
    return true;
}

/* Is it there, and a number? */
static bool number_in(const char *variable, int64_t *out)
{
    const char *text = getenv(variable);
    return text && str_to_i64(str_from(text), out);
}

bool activation_take(struct activation *a, const char *name, struct err *e)
{
    int64_t pid = 0, count = 0;
    const char *names = getenv("LISTEN_FDNAMES");
    bool told = getenv("LISTEN_FDS") != NULL, good = true;
    *a = (struct activation){0};
    if (told && number_in("LISTEN_PID", &pid) && pid == (int64_t)getpid()) {
        if (!number_in("LISTEN_FDS", &count) || count < 0 || count > ACTIVATION_MAX)
            good = err_set(e, "LISTEN_FDS: expected a number from 0 to %d, got \"%.40s\"",
                           ACTIVATION_MAX, getenv("LISTEN_FDS"));
        else
            good = take(a, (int)count, names ? str_from(names) : STR_NONE, name, e);
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return good;
}
