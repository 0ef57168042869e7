/* tail.h -- `weir tail` as a whole: what its files share.
 *
 *   cmd_tail.c      options, signals, the loop
 *   tail.c          a line's way: wanted? counted, kept, shown or skipped
 *   tail_keys.c     keys, and the line at the bottom
 *   tail_view.c     what a line looks like (tail_columns.c, tail_json.c)
 *   tail_stats.c    what is summed up
 *   tail_screen.c   the terminal, or the pipe
 *
 * One thread. */
#pragma once

#include <signal.h>

#include "cli/tail_screen.h"
#include "cli/tail_stats.h"
#include "cli/tail_view.h"
#include "observe/log_filter.h"
#include "observe/log_follow.h"

#define TAIL_KEPT_LINES 1000 /* of a terminal's: for looking back */
#define TAIL_FILTER_MAX 120

/* A line kept for later, with its newline and slack behind it. */
struct tail_kept {
    char *text;
    size_t n;
    bool broken;
};

struct tail_history {
    struct tail_kept *ring;
    size_t room;  /* 0: nothing is kept */
    uint64_t put; /* how many ever were */
};

struct tail {
    /* What was asked for. */
    struct log_filter filter;
    bool errors, json, no_summary;
    int64_t since_us; /* INT64_MIN: whatever the time */

    struct log_follow *follow;
    struct screen screen;
    struct tail_view view;
    struct tail_stats stats;
    struct tail_history history;
    struct logline line; /* for lines read again */
    struct buf public;

    bool in_backlog;      /* until the follower has caught up for the first time */
    bool backlog_is_kept; /* ... shown at its end, the last `backlog_lines` of it */
    uint64_t backlog_lines;
    uint64_t unread,
        withheld; /* lines that were no JSON; that were no good JSON and so not printed with --json */

    /* Keys. */
    bool quit, paused, only_errors, editing;
    uint64_t paused_at; /* history.put then */
    char look_for[TAIL_FILTER_MAX + 1];
    size_t look_for_n;

    uint64_t skipped,
        skipped_now; /* lines that the terminal did not take: in all; since it last did */
    char summary[256];
    uint64_t summary_ns;
    volatile sig_atomic_t stop; /* set by a signal */
};

/* ---- tail.c ---- */
/* For log_follow: the argument is the struct tail. */
void tail_take(void *arg, const struct logline *l, struct str line);
void tail_take_broken(void *arg, const char *expected, size_t column, struct str line);
/* Keeps up to `lines`; 0: none. Forgets what was kept. */
void tail_keep(struct tail *t, size_t lines);
/* Shows the last of the kept lines that came since `since` and pass the filters, `lines_max` at most. Returns how many of all there
 * were (kept or not) it did not look at. */
uint64_t tail_show_kept(struct tail *t, uint64_t since, size_t lines_max);
/* The newest kept request. False: there is none. */
bool tail_newest_request(const struct tail *t, struct str *line);
/* Where the terminal has room again: says what it was not shown, and shows the end of it. */
void tail_catch_up(struct tail *t);
/* Lines that fit above the bottom one. */
size_t tail_page(const struct tail *t);

/* ---- tail_keys.c ---- */
void tail_key(struct tail *t, const char *keys, size_t n);
/* Puts the bottom line together; numbers are made anew four times a second at most. */
void tail_bottom(struct tail *t, uint64_t now_ns);
