/* tail_screen.c -- see tail_screen.h. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/tail_screen.h"

#define PENDING_MAX (64u << 10) /* bytes a terminal may be behind before lines are skipped */
#define ERASE_LINE  "\r\033[K"
#define LAST_TRIES  10 /* of 100 ms, for a terminal to take the last words */

/* For the handler of signals that kill: one screen a process. */
static struct termios saved_mode;
static volatile sig_atomic_t raw_fd = -1;

/* ---- the stream ---- */

static ssize_t take_bytes(void *cookie, const char *p, size_t n)
{
    struct screen *s = cookie;
    bool ok = !s->bottom_shown || buf_append_str(&s->pending, STR(ERASE_LINE));
    s->bottom_shown = false;
    ok = ok && buf_append(&s->pending, p, n);
    return ok ? (ssize_t)n : -1;
}

bool screen_has_room(const struct screen *s)
{
    return !s->terminal || buf_used(&s->pending) < PENDING_MAX;
}

void screen_flush(struct screen *s, const volatile sig_atomic_t *stop)
{
    fflush(s->term.out);
    if (s->live && !s->bottom_shown && s->bottom[0]) {
        s->bottom_shown = buf_append_str(&s->pending, STR("\r")) &&
                          buf_append_str(&s->pending, str_from(s->bottom));
    }
    while (buf_used(&s->pending) && !s->gone && !*stop) {
        struct str left = buf_str(&s->pending);
        ssize_t n = write(s->fd, left.p, left.n);
        if (n >= 0)
            buf_consume(&s->pending, (size_t)n);
        else if (errno == EAGAIN)
            return;
        else if (errno != EINTR)
            s->gone = true;
    }
}

void screen_bottom(struct screen *s, enum term_style style, struct str text)
{
    char safe[sizeof s->bottom - 64], line[sizeof s->bottom];
    if (!s->live)
        return;
    /* One column less than there are: a full line would wrap. */
    term_safe(s->term.utf8, text, MAX(s->term.columns - 1, 1), safe, sizeof safe);
    snprintf(line, sizeof line, "%s%s%s", safe[0] ? term_sgr(&s->term, style) : "", safe,
             safe[0] ? term_sgr_end(&s->term, style) : "");
    if (strcmp(line, s->bottom) == 0)
        return;
    if (s->bottom_shown && buf_append_str(&s->pending, STR(ERASE_LINE)))
        s->bottom_shown = false;
    memcpy(s->bottom, line, sizeof line);
}

/* ---- keys ---- */

static void restore_mode(void)
{
    if (raw_fd >= 0)
        (void)tcsetattr(raw_fd, TCSANOW, &saved_mode);
    raw_fd = -1;
}

static void on_deadly(int number)
{
    restore_mode(); /* tcsetattr may be called in a handler (POSIX XSH 2.4.3) */
    raise(number);  /* SA_RESETHAND: this time it kills */
}

/* Only a process in the foreground may change the mode: one in the background would be stopped for trying. The mode to be put
 * back is the one that was found first: later ones may be our own. */
static void take_keys(struct screen *s)
{
    static bool is_saved;
    if (s->keys_fd < 0 || tcgetpgrp(s->keys_fd) != getpgrp() ||
        (!is_saved && tcgetattr(s->keys_fd, &saved_mode) != 0))
        return;
    is_saved = true;
    struct termios mode = saved_mode;
    mode.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    mode.c_cc[VMIN] = 1;
    mode.c_cc[VTIME] = 0;
    raw_fd = s->keys_fd;
    s->keys_raw = tcsetattr(s->keys_fd, TCSANOW, &mode) == 0;
}

static void give_keys_back(struct screen *s)
{
    if (s->keys_raw)
        restore_mode();
    s->keys_raw = false;
}

/* ---- open, close, stop ---- */

/* A description of its own, so that not to wait is said of this program's writes alone and not of the shell's as well. */
static int open_terminal(void)
{
    char name[256];
    int fd = -1;
    if (ttyname_r(STDOUT_FILENO, name, sizeof name) == 0)
        fd = open(name, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    return fd >= 0 ? fd : STDOUT_FILENO;
}

void screen_open(struct screen *s, enum color_mode color)
{
    static const int deadly[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    const char *kind = getenv("TERM");
    *s = (struct screen){.fd = STDOUT_FILENO, .keys_fd = -1, .rows = 24};
    term_init(&s->term, stdout, color);
    s->terminal = isatty(STDOUT_FILENO);
    s->live = s->terminal && kind && strcmp(kind, "dumb") != 0;
    buf_init(&s->pending, 0, NULL);
    s->term.out = fopencookie(s, "w", (cookie_io_functions_t){.write = take_bytes});
    ENSURE(s->term.out);
    if (!s->terminal)
        return;
    s->fd = open_terminal();
    screen_resized(s);
    if (!s->live)
        return;
    s->keys_fd = isatty(STDIN_FILENO) ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                      : open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
    struct sigaction die = {.sa_handler = on_deadly, .sa_flags = SA_RESETHAND | SA_NODEFER};
    for (size_t i = 0; i < COUNT(deadly); i++)
        sigaction(deadly[i], &die, NULL);
    take_keys(s);
}

/* Not more at a time than is sure to fit where there is any room (POSIX XSH write, PIPE_BUF). */
static void write_last_words(struct screen *s)
{
    struct pollfd room = {.fd = s->fd, .events = POLLOUT};
    fflush(s->term.out);
    for (int tries = 0; tries < LAST_TRIES && buf_used(&s->pending) && !s->gone;) {
        if (poll(&room, 1, 100) <= 0) {
            tries++;
            continue;
        }
        struct str left = buf_str(&s->pending);
        ssize_t n = write(s->fd, left.p, MIN(left.n, (size_t)PIPE_BUF));
        if (n > 0)
            buf_consume(&s->pending, (size_t)n);
        s->gone = n < 0 && errno != EAGAIN && errno != EINTR;
    }
}

void screen_close(struct screen *s)
{
    write_last_words(s);
    give_keys_back(s);
    fclose(s->term.out);
    buf_fini(&s->pending);
    if (s->keys_fd >= 0)
        close(s->keys_fd);
    if (s->fd != STDOUT_FILENO)
        close(s->fd);
}

void screen_resized(struct screen *s)
{
    struct winsize size;
    if (!s->terminal || ioctl(s->fd, TIOCGWINSZ, &size) != 0)
        return;
    if (size.ws_col > 0)
        s->term.columns = size.ws_col;
    if (size.ws_row > 0)
        s->rows = size.ws_row;
}

void screen_suspend(struct screen *s)
{
    struct sigaction before, stop = {.sa_handler = SIG_DFL};
    give_keys_back(s);
    if (s->bottom_shown && write(s->fd, ERASE_LINE, sizeof ERASE_LINE - 1) > 0)
        s->bottom_shown = false;
    sigaction(SIGTSTP, &stop, &before);
    raise(SIGTSTP);
    sigaction(SIGTSTP, &before, NULL);
    screen_continued(s); /* or nothing stopped us: there is no shell that could let us go on */
}

/* Whoever had the terminal meanwhile has left it in a mode of his own. */
void screen_continued(struct screen *s)
{
    s->keys_raw = false;
    take_keys(s);
    screen_resized(s);
}
