/* handover.c -- SIGUSR2 and --takeover: the listening sockets go from one process to the next.
 *
 *   old                                            new
 *   SIGUSR2: socketpair, spawn ── descriptor 3 ──► reads its configuration, opens the log
 *   or: abstract socket, accept ◄── connect ────── --takeover
 *   offer: all listening sockets ────────────────►
 *                                                  workers accept on them
 *   retire: no more accepts      ◄──────── ready
 *   done ────────────────────────────────────────► READY to systemd
 *
 * Both accept between "ready" and "done", and both answer what they accept. Messages are datagrams (SOCK_SEQPACKET), so an end is either there or not,
 * and a process that dies is seen at once. Who may take over: a process of the same user, or root's; the new one checks the old one, too, since
 * anybody may bind an abstract name. Everything on the old one's side is non-blocking; the new one has nothing else to do yet and waits.
 *
 * SIGTERM to the old one while one that it started is not ready yet ends both. Whoever sent it wants the service to stop, and knows one process: the
 * other's number has been told to nobody, so what is left would hold the port unseen. systemd (KillMode=control-group) and the end of a container end both
 * as well. (nginx leaves the new one: there an upgrade is completed by ending the old one, here that happens by itself.) The old one goes on serving
 * until the new one is gone, since what comes into the queue of a socket that they share would be reset with it. If the new one is ready first, it has taken
 * over, drains as it was told to, and so does the old one. Who was started with --takeover is its starter's to end. */
#include "gateway/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/diag.h"

#define OFFER_MAGIC      0x32726f7469657768u /* changes with the messages below */
#define FDS_A_MESSAGE    64
#define READY_TIMEOUT_NS (60 * NS_PER_S) /* the new one may have a large log to recover */
#define STOP_TIMEOUT_NS  (5 * NS_PER_S)  /* well within the units' TimeoutStopSec= */
#define ANSWER_TIMEOUT_S 10
#define CHILD_FD         3
#define CHILD_VARIABLE   "WEIR_TAKEOVER_FD"
#define ARGUMENTS_BYTES  (128u * 1024u)
#define ARGUMENTS_MAX    512

extern char **environ;

struct offer { /* with `count` descriptors */
    uint64_t magic;
    uint32_t total, count;
    char host[257];
    uint8_t activated;
    uint16_t port;
};

enum note_kind {
    NOTE_READY,    /* new to old: requests are being accepted */
    NOTE_DONE,     /* old to new: no more of them here */
    NOTE_GIVEN_UP, /* old to new: too late, end */
};

struct note {
    uint64_t magic;
    uint32_t kind;
    int32_t pid;
};

struct handover {
    struct gateway *gateway;
    struct watch door, peer; /* who knocks; the one that was let in and is not ready yet */
    struct timer patience;
    pid_t child; /* started by us and not waited for yet; 0: none */
    handover_done *done;
    handover_ended *ended; /* not NULL: handover_stop waits for the child */
    void *arg;
};

/* ---- both sides ---- */

/* "@weir-takeover/0.0.0.0:4000"; of a long path the end, which tells more. */
static void door_address(struct str host, uint16_t port, struct sock_addr *out)
{
    char name[400], text[300];
    int n = snprintf(text, sizeof text, "%.*s:%u", STR_ARG(host), port);
    n = snprintf(name, sizeof name, "unix:@weir-takeover/%s", text + MAX(n - 80, 0));
    ENSURE(sock_addr_parse((struct str){name, (size_t)n}, 0, out));
}

static bool is_friend(int socket)
{
    struct ucred who;
    socklen_t bytes = sizeof who;
    return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &bytes) == 0 &&
           (who.uid == geteuid() || who.uid == 0);
}

static bool send_note(int socket, enum note_kind kind)
{
    struct note note = {OFFER_MAGIC, kind, (int32_t)getpid()};
    return send(socket, &note, sizeof note, MSG_NOSIGNAL) == (ssize_t)sizeof note;
}

/* False: an end, a time-out, or not a note. */
static bool read_note(int socket, struct note *note)
{
    return recv(socket, note, sizeof *note, 0) == (ssize_t)sizeof *note &&
           note->magic == OFFER_MAGIC;
}

/* ---- the old one: offering ---- */

static bool send_fds(int socket, struct offer *o, const int *fds)
{
    union {
        char bytes[CMSG_SPACE(FDS_A_MESSAGE * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec piece = {o, sizeof *o};
    size_t bytes = o->count * sizeof(int);
    struct msghdr m = {.msg_iov = &piece,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = CMSG_SPACE(bytes)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(bytes);
    memcpy(CMSG_DATA(c), fds, bytes);
    return sendmsg(socket, &m, MSG_NOSIGNAL) == (ssize_t)sizeof *o;
}

static bool send_offer(int socket, const struct listeners *l)
{
    struct offer o = {.magic = OFFER_MAGIC,
                      .total = (uint32_t)l->count,
                      .activated = l->activated,
                      .port = l->port};
    memcpy(o.host, l->host, sizeof o.host);
    for (int i = 0; i < l->count; i += FDS_A_MESSAGE) {
        o.count = (uint32_t)MIN(l->count - i, FDS_A_MESSAGE);
        if (!send_fds(socket, &o, l->fds + i))
            return false;
    }
    return true;
}

static void close_watch(struct handover *h, struct watch *w)
{
    int fd = w->fd;
    if (fd < 0)
        return;
    loop_remove(h->gateway->control, w);
    close(fd);
}

static void forget_peer(struct handover *h)
{
    if (!h->ended) /* else it is for the child's end */
        timer_clear(h->gateway->control, &h->patience);
    close_watch(h, &h->peer);
    h->gateway->successor_comes = false;
}

static void peer_event(struct watch *w, uint32_t events)
{
    struct handover *h = CONTAINER(w, struct handover, peer);
    struct note note;
    (void)events;
    if (!read_note(w->fd, &note) || note.kind != NOTE_READY) {
        if (!h->child)
            diag_error("the process that wanted to take over has ended before it was ready; this "
                       "one goes on");
        forget_peer(h); /* of a child handover_reap tells */
        return;
    }
    h->ended = NULL;
    gateway_retire(h->gateway);
    close_watch(h, &h->door); /* the name is the new one's */
    h->done(h->arg, note.pid);
    (void)send_note(w->fd,
                    NOTE_DONE); /* it is ready, and accepts, whether it hears of this or not */
    forget_peer(h);
}

static void lost_patience(struct timer *t)
{
    struct handover *h = CONTAINER(t, struct handover, patience);
    if (h->ended)
        diag_warn("process %d has not ended within %llu s: killing it", (int)h->child,
                  (unsigned long long)(STOP_TIMEOUT_NS / NS_PER_S));
    else
        diag_error("the new process was not ready within %llu s; this one goes on",
                   (unsigned long long)(READY_TIMEOUT_NS / NS_PER_S));
    (void)send_note(h->peer.fd, NOTE_GIVEN_UP);
    if (h->child)
        kill(h->child, SIGKILL);
    forget_peer(h);
}

/* Takes over `socket`. */
static bool let_in(struct handover *h, int socket)
{
    h->peer.fd = socket;
    if (!send_offer(socket, &h->gateway->listening) ||
        !loop_add_level(h->gateway->control, &h->peer, 0)) {
        close(socket);
        h->peer.fd = -1;
        return false;
    }
    h->gateway->successor_comes = true;
    timer_set(h->gateway->control, &h->patience,
              loop_now_ns(h->gateway->control) + READY_TIMEOUT_NS);
    return true;
}

static void door_event(struct watch *w, uint32_t events)
{
    struct handover *h = CONTAINER(w, struct handover, door);
    (void)events;
    int fd = sock_accept(w->fd, NULL);
    if (fd < 0)
        return;
    if (!is_friend(fd) || h->peer.fd >= 0) {
        diag_warn("refused to hand over: %s", h->peer.fd >= 0
                                                  ? "another process is taking over already"
                                                  : "the process is another user's");
        close(fd);
    } else if (!let_in(h, fd)) {
        diag_warn("cannot hand over: %s", strerror(errno));
    }
}

/* ---- the old one: starting the new one ---- */

/* The command line, from the kernel: options parsing has changed our own copy. */
static bool own_arguments(char *text, char **argv, struct err *e)
{
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, ARGUMENTS_BYTES - 1) : -1;
    int count = 0;
    if (fd >= 0)
        close(fd);
    for (ssize_t at = 0; at < n && count < ARGUMENTS_MAX; at += (ssize_t)strlen(text + at) + 1)
        argv[count++] = text + at;
    argv[count] = NULL;
    return (n > 0 && n < (ssize_t)ARGUMENTS_BYTES - 1 && count < ARGUMENTS_MAX) ||
           err_set(e, "cannot read this process's command line: %s",
                   n < 0 ? strerror(errno) : "it is too long");
}

/* A copy, since other threads may be reading the process's own. */
static char **child_environment(void)
{
    static char variable[] = CHILD_VARIABLE "=3";
    size_t count = 0;
    while (environ[count])
        count++;
    char **copy = mem_alloc((count + 2) * sizeof *copy);
    memcpy(copy, environ, count * sizeof *copy);
    copy[count] = variable;
    return copy;
}

static int spawn(pid_t *pid, int socket, const char *program, char **argv, const sigset_t *signals)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, socket, CHILD_FD);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, signals);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    char **environment = child_environment();
    int error = posix_spawnp(pid, program, &files, &attributes, argv, environment);
    mem_free(environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return error;
}

bool handover_spawn(struct handover *h, const sigset_t *signals, struct err *e)
{
    int ends[2];
    char *argv[ARGUMENTS_MAX + 1];
    if (h->peer.fd >= 0 || h->child)
        return err_set(e, "another process is taking over already");
    char *text = mem_alloc(ARGUMENTS_BYTES);
    bool ok = own_arguments(text, argv, e);
    if (ok && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
        ok = err_set(e, "cannot make a pair of sockets: %s", strerror(errno));
    if (ok) {
        int error = spawn(&h->child, ends[1], text, argv, signals);
        close(ends[1]);
        if (error) {
            h->child = 0;
            close(ends[0]);
            ok = err_set(e, "cannot start %s: %s", text, strerror(error));
        } else if (!let_in(h, ends[0])) {
            ok = err_set(e, "cannot hand over to process %d: %s", (int)h->child, strerror(errno));
        }
    }
    mem_free(text);
    return ok;
}

void handover_reap(struct handover *h)
{
    int status;
    if (!h || !h->child || waitpid(h->child, &status, WNOHANG) != h->child)
        return;
    pid_t child = h->child;
    handover_ended *ended = h->ended;
    h->child = 0;
    h->ended = NULL;
    if (h->gateway->handed_over)
        return;
    if (ended) {
        forget_peer(h);
        ended(h->arg);
        return;
    }
    diag_error("process %d ended with %s %d before it was ready; this one goes on", (int)child,
               WIFSIGNALED(status) ? "signal" : "status",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    forget_peer(h);
}

bool handover_stop(struct handover *h, handover_ended *ended)
{
    if (!h || !h->child || h->gateway->handed_over)
        return false;
    diag_info("process %d, which was to take over, is to end as well", (int)h->child);
    h->ended = ended;
    kill(h->child, SIGTERM);
    timer_set(h->gateway->control, &h->patience,
              loop_now_ns(h->gateway->control) + STOP_TIMEOUT_NS);
    return true;
}

void handover_kill(struct handover *h)
{
    if (h && h->child && !h->gateway->handed_over)
        kill(h->child, SIGKILL);
}

struct handover *handover_new(struct gateway *g, handover_done *done, void *arg)
{
    struct handover *h = mem_alloc(sizeof *h);
    struct sock_addr a;
    *h = (struct handover){.gateway = g,
                           .door = {.on_event = door_event},
                           .peer = {.fd = -1, .on_event = peer_event},
                           .patience = {.on_fire = lost_patience},
                           .done = done,
                           .arg = arg};
    door_address(str_from(g->listening.host), g->listening.port, &a);
    h->door.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (h->door.fd < 0 || bind(h->door.fd, &a.any, a.len) != 0 || listen(h->door.fd, 4) != 0 ||
        !loop_add_level(g->control, &h->door, 0)) {
        diag_warn(
            "cannot offer the listening sockets to a weir serve --takeover: %s; SIGUSR2 works",
            strerror(errno));
        if (h->door.fd >= 0)
            close(h->door.fd);
        h->door.fd = -1;
    }
    return h;
}

void handover_free(struct handover *h)
{
    if (!h)
        return;
    h->ended = NULL;
    forget_peer(h);
    close_watch(h, &h->door);
    mem_free(h);
}

/* ---- the new one ---- */

static bool wait_at_most(int socket)
{
    struct timeval limit = {.tv_sec = ANSWER_TIMEOUT_S};
    int flags = fcntl(socket, F_GETFL);
    return flags >= 0 && fcntl(socket, F_SETFL, flags & ~O_NONBLOCK) == 0 &&
           fcntl(socket, F_SETFD, FD_CLOEXEC) == 0 &&
           setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0;
}

/* Descriptors of one message to the end of `l`; false: it was not an offer of ours. */
static bool read_fds(int socket, struct listeners *l, uint32_t *total)
{
    struct offer o;
    union {
        char bytes[CMSG_SPACE(FDS_A_MESSAGE * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec piece = {&o, sizeof o};
    struct msghdr m = {.msg_iov = &piece,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    ssize_t n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
        return false;
    size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count && l->count < LISTENERS_MAX; i++)
        memcpy(&l->fds[l->count++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
    bool good = n == (ssize_t)sizeof o && o.magic == OFFER_MAGIC && count == o.count && count > 0;
    *total = o.total;
    memcpy(l->host, o.host, sizeof l->host);
    l->host[sizeof l->host - 1] = '\0';
    l->port = o.port;
    l->activated = o.activated != 0;
    return good;
}

static bool receive(struct takeover *t, struct err *e)
{
    uint32_t total = 0;
    do {
        if (!read_fds(t->socket, &t->listeners, &total))
            return err_set(e, "the running weir did not hand over its sockets (is it another "
                              "version, or another user's?)");
    } while ((uint32_t)t->listeners.count < MIN(total, (uint32_t)LISTENERS_MAX));
    return true;
}

static bool connect_to_old(struct takeover *t, const struct config *c, struct err *e)
{
    struct sock_addr a;
    bool is_unix = str_starts(c->host, STR("unix:"));
    if (!is_unix && c->port == 0)
        return err_set(e, "--takeover: expected a port (--port, weir_settings.port), since port 0 "
                          "does not tell whose sockets to take over");
    door_address(c->host, is_unix ? 0 : (uint16_t)c->port, &a);
    t->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (t->socket < 0 || connect(t->socket, &a.any, a.len) != 0)
        return err_set(e,
                       "--takeover: no weir that could hand over listens on %.*s, port %lld (%s); "
                       "start without --takeover",
                       STR_ARG(c->host), (long long)c->port, strerror(errno));
    return is_friend(t->socket) ||
           err_set(e, "--takeover: the process that answers is another user's");
}

/* Only what this configuration listens on anyway; where systemd's sockets are is its unit's to say. */
static bool is_address_of(const struct listeners *l, const struct config *c)
{
    bool is_unix = str_starts(c->host, STR("unix:"));
    return l->activated ||
           (str_eq(c->host, str_from(l->host)) && (is_unix || c->port == 0 || c->port == l->port));
}

bool takeover_is_asked(bool wanted)
{
    return wanted || getenv(CHILD_VARIABLE);
}

bool takeover_begin(struct takeover *t, const struct config *c, bool wanted, struct err *e)
{
    const char *given = getenv(CHILD_VARIABLE);
    bool started_for_it = given && !strcmp(given, "3");
    *t = (struct takeover){.socket = -1};
    unsetenv(CHILD_VARIABLE);
    if (started_for_it)
        t->socket = CHILD_FD;
    else if (!wanted)
        return true;
    else if (!connect_to_old(t, c, e))
        return false;
    if (!wait_at_most(t->socket))
        return err_set(e, "cannot take over: %s", strerror(errno));
    if (!receive(t, e))
        return false;
    return is_address_of(&t->listeners, c) ||
           err_set(e,
                   "cannot take over from a weir that listens on %s port %u: the configuration "
                   "says %.*s port %lld; a change of "
                   "address needs a restart",
                   t->listeners.host, t->listeners.port, STR_ARG(c->host), (long long)c->port);
}

/* An old one that died, or hangs, does not serve: then this one does. */
bool takeover_ready(struct takeover *t, struct err *e)
{
    struct note note;
    bool sent = send_note(t->socket, NOTE_READY), answered = read_note(t->socket, &note);
    if (answered && note.kind == NOTE_GIVEN_UP)
        return err_set(e, "the weir to take over from has given up waiting, and goes on");
    if (!sent || !answered)
        diag_warn("the weir to take over from does not answer; going on without it");
    return true;
}

void takeover_end(struct takeover *t)
{
    if (t->socket >= 0)
        close(t->socket);
    t->socket = -1;
}
