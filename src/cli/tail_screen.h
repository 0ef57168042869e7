/* tail_screen.h -- where `weir tail` writes: a terminal with a line of its own at the bottom, or a pipe.
 *
 * All is written to `out`, a stdio stream into memory, and leaves by screen_flush. On a terminal that never blocks: what the terminal
 * does not take yet stays, and who has more to show asks screen_has_room first. Into a pipe or file it waits until all
 * is gone. The bottom line is taken away before anything else is written, and put back behind it.
 *
 * On a terminal that is ours (foreground), keys come unbuffered and unechoed; ISIG stays on, so Ctrl-C and Ctrl-Z are signals.
 * The mode is put back by screen_close, at a stop (screen_suspend) and when the program dies of a signal. One screen a
 * process; the owner's thread. */
#pragma once

#include <signal.h>
#include <termios.h>

#include "base/buf.h"
#include "cli/term.h"

struct screen {
    struct term term; /* .out is the stream; columns follow the window */
    int fd, keys_fd;  /* keys_fd -1: no keys */
    int rows;
    bool terminal, live; /* live: a terminal that takes cursor movements */
    bool keys_raw, bottom_shown;
    bool gone; /* the reader of the pipe went away, or the terminal did */
    struct buf pending;
    char bottom[1024]; /* safe text with colours; "" none */
};

void screen_open(struct screen *s, enum color_mode color);
void screen_close(struct screen *s);
/* Is there less waiting than a terminal takes in one go? Always true of pipes. */
bool screen_has_room(const struct screen *s);
/* `stop` ends the wait for a pipe that nobody reads. */
void screen_flush(struct screen *s, const volatile sig_atomic_t *stop);
/* Sets the bottom line, cut to the width. It is drawn by the next flush. */
void screen_bottom(struct screen *s, enum term_style style, struct str text);
/* Looks at the window's size again. */
void screen_resized(struct screen *s);
/* Gives the terminal back and stops the process as Ctrl-Z does; returns when it goes on. */
void screen_suspend(struct screen *s);
/* After SIGCONT: takes the keys again, if the terminal is ours. */
void screen_continued(struct screen *s);
