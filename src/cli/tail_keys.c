/* tail_keys.c -- keys while `weir tail` runs, and the line at the bottom that answers them. */
#include "base/clock.h"
#include "cli/numbers.h"
#include "cli/tail.h"

#define SUMMARY_NS (250 * NS_PER_MS)
#define ESC        '\033'
#define CTRL_U     '\025'
#define BACKSPACE  '\177'
#define CTRL_H     '\b'

static void help(struct tail *t);

/* ---- what keys do ---- */

static void quit(struct tail *t)
{
    t->quit = true;
}

static void pause_or_go_on(struct tail *t)
{
    t->paused = !t->paused;
    if (t->paused) {
        t->paused_at = t->history.put;
        return;
    }
    uint64_t left_out = t->history.put - t->paused_at;
    if (left_out > t->history.room) { /* older ones are not kept */
        tail_view_note(&t->view, "%s lines not shown",
                       num_count((double)(left_out - t->history.room)).text);
        t->skipped += left_out - t->history.room;
        t->paused_at = t->history.put - t->history.room;
    }
    tail_show_kept(t, t->paused_at, t->history.room);
}

/* After a change of what is looked for: the newest that fit it. */
static void look_back(struct tail *t)
{
    if (t->only_errors || t->look_for_n)
        tail_view_note(&t->view, "only %s%s%.*s", t->only_errors ? "errors" : "lines",
                       t->look_for_n ? " with " : "", (int)t->look_for_n, t->look_for);
    else
        tail_view_note(&t->view, "all lines");
    tail_show_kept(t, 0, tail_page(t));
}

static void errors_or_all(struct tail *t)
{
    t->only_errors = !t->only_errors;
    look_back(t);
}

static void show_record(struct tail *t)
{
    struct str line;
    if (tail_newest_request(t, &line))
        tail_view_record(&t->view, line);
    else
        tail_view_note(&t->view, "there was no request yet");
}

static void edit(struct tail *t)
{
    t->editing = true;
}

static void all_lines(struct tail *t)
{
    if (!t->only_errors && t->look_for_n == 0)
        return;
    t->only_errors = false;
    t->look_for_n = 0;
    look_back(t);
}

static const struct {
    const char *keys, *name, *help;
    void (*act)(struct tail *t);
} actions[] = {
    {" ", "space", "pause, and go on", pause_or_go_on},
    {"\r\n", "Enter", "the newest request's whole record", show_record},
    {"e", "e", "only errors, or all again", errors_or_all},
    {"/", "/", "only lines with this text; with a * in it, only this model", edit},
    {"\033", "Esc", "all lines again", all_lines},
    {"?h", "?", "this help", help},
    {"q", "q", "quit", quit},
};

static void help(struct tail *t)
{
    for (size_t i = 0; i < COUNT(actions); i++)
        fprintf(t->screen.term.out, "  %-6s %s\n", actions[i].name, actions[i].help);
}

/* ---- keys ---- */

static void drop_last_character(struct tail *t)
{
    while (t->look_for_n && ((unsigned char)t->look_for[t->look_for_n - 1] & 0xC0) == 0x80)
        t->look_for_n--; /* the rest of a character of several bytes */
    t->look_for_n -= t->look_for_n > 0;
}

static void edit_key(struct tail *t, char key)
{
    if (key == '\r' || key == '\n' || key == ESC) {
        t->editing = false;
        t->look_for_n = key == ESC ? 0 : t->look_for_n;
        look_back(t);
    } else if (key == BACKSPACE || key == CTRL_H) {
        drop_last_character(t);
    } else if (key == CTRL_U) {
        t->look_for_n = 0;
    } else if ((unsigned char)key >= ' ' && t->look_for_n < TAIL_FILTER_MAX) {
        t->look_for[t->look_for_n++] = key;
    }
}

static void act(struct tail *t, char key)
{
    for (size_t i = 0; i < COUNT(actions); i++)
        if (key && strchr(actions[i].keys, key))
            actions[i].act(t);
}

/* An arrow or function key sends ESC [ or ESC O, parameters, and a letter: nothing that is known here. */
static size_t skip_sequence(const char *keys, size_t n)
{
    size_t i = 2;
    if (n < 3 || (keys[1] != '[' && keys[1] != 'O'))
        return 0;
    while (i < n && (unsigned char)keys[i] < '@')
        i++;
    return MIN(i + 1, n);
}

void tail_key(struct tail *t, const char *keys, size_t n)
{
    for (size_t i = 0; i < n && !t->quit;) {
        size_t skip = keys[i] == ESC ? skip_sequence(keys + i, n - i) : 0;
        if (skip == 0) {
            if (t->editing)
                edit_key(t, keys[i]);
            else
                act(t, keys[i]);
        }
        i += MAX(skip, (size_t)1);
    }
    t->look_for[t->look_for_n] = '\0';
}

/* ---- the bottom line ---- */

void tail_bottom(struct tail *t, uint64_t now_ns)
{
    char text[sizeof t->summary + TAIL_FILTER_MAX + 200], held[64] = "", skipped[64] = "";
    if (t->editing) {
        snprintf(text, sizeof text, "/%s_   Enter keeps it, Esc ends it", t->look_for);
        screen_bottom(&t->screen, STYLE_ACCENT, str_from(text));
        return;
    }
    if (!t->no_summary && (now_ns - t->summary_ns >= SUMMARY_NS || !t->summary[0])) {
        tail_stats_live(&t->stats, now_ns, t->summary, sizeof t->summary);
        t->summary_ns = now_ns;
    }
    if (t->paused)
        snprintf(held, sizeof held, "paused, +%s new  ",
                 num_count((double)(t->history.put - t->paused_at)).text);
    if (t->skipped + t->skipped_now)
        snprintf(skipped, sizeof skipped, "%s lines not shown  ",
                 num_count((double)(t->skipped + t->skipped_now)).text);
    snprintf(text, sizeof text, "%s%s%s%s%s%s%s", held, t->only_errors ? "errors only  " : "",
             t->look_for_n ? "/" : "", t->look_for, t->look_for_n ? "  " : "", skipped, t->summary);
    screen_bottom(&t->screen, t->paused ? STYLE_WARN : STYLE_DIM, str_from(text));
}
