/* tail.c -- a line's way through `weir tail`: is it wanted? Then it is counted, kept where there are keys to look back with, and shown;
 * unless the reader has paused, or the terminal cannot keep up: then it is skipped, and said so. Into a pipe everything goes. */
#include "cli/tail.h"

#include "base/clock.h"
#include "observe/log_meaning.h"

#define PIPE_BYTES (64u << 10) /* written to a pipe in one go */

/* ---- which lines ---- */

static bool is_error(const struct logline *l)
{
    static const struct str levels[] = {{"ERROR", 5}, {"CRITICAL", 8}};
    return log_outcome_of(l) == LOG_OUTCOME_FAILURE ||
           log_text_is(l, LOG_BIT(level), l->r.level, levels[0]) ||
           log_text_is(l, LOG_BIT(level), l->r.level, levels[1]);
}

static bool is_wanted(const struct tail *t, const struct logline *l)
{
    if (t->in_backlog && !log_is_within(l, t->since_us, INT64_MAX))
        return false;
    return (!t->errors || is_error(l)) && log_filter_matches(&t->filter, l);
}

/* What the keys have set: '/' looks in the whole line, or with a '*' at the model. */
static bool is_looked_for(const struct tail *t, const struct logline *l, struct str line)
{
    char model[512];
    struct str what = {t->look_for, t->look_for_n};
    if (t->only_errors && !(l && is_error(l)))
        return false;
    if (what.n == 0)
        return true;
    if (str_find(what, '*') < 0)
        return str_contains(line, what);
    return l && l->found & LOG_BIT(model) &&
           str_glob(what, logline_text(l, LOG_model, l->r.model, model, sizeof model));
}

/* ---- kept lines ---- */

void tail_keep(struct tail *t, size_t lines)
{
    struct tail_history *h = &t->history;
    for (size_t i = 0; i < h->room; i++)
        mem_free(h->ring[i].text);
    mem_free(h->ring);
    *h = (struct tail_history){.room = lines};
    h->ring = lines ? mem_alloc(lines * sizeof *h->ring) : NULL;
}

static void keep(struct tail_history *h, struct str line, bool broken)
{
    if (h->room == 0)
        return;
    struct tail_kept *k = &h->ring[h->put++ % h->room];
    mem_free(k->text);
    k->text = mem_alloc(line.n + 1 + LOGLINE_SLACK);
    memcpy(k->text, line.p, line.n);
    k->text[line.n] = '\n';
    k->n = line.n;
    k->broken = broken;
}

/* The kept line as it was read; NULL: no JSON. */
static const struct logline *read_again(struct tail *t, const struct tail_kept *k)
{
    enum line_status status;
    if (k->broken)
        return NULL;
    logline_read(&t->line, k->text, k->text + k->n + 1, &status);
    return status == LINE_READ ? &t->line : NULL;
}

static void show(struct tail *t, const struct logline *l, struct str line)
{
    if (!t->json) {
        if (l)
            tail_view_line(&t->view, l, line);
        else
            tail_view_broken(&t->view, line);
        return;
    }
    struct str text = line;
    if (!t->view.show_content) {
        if (!tail_json_public(line, &t->public)) {
            t->withheld++;
            return;
        }
        text = buf_str(&t->public);
    }
    fwrite(text.p, 1, text.n, t->screen.term.out);
    fputc('\n', t->screen.term.out);
}

uint64_t tail_show_kept(struct tail *t, uint64_t since, size_t lines_max)
{
    const struct tail_history *h = &t->history;
    uint64_t oldest = h->put > h->room ? h->put - h->room : 0, at = h->put;
    uint64_t begin = MAX(since, oldest);
    size_t found = 0;
    while (at > begin && found < lines_max) {
        const struct tail_kept *k = &h->ring[--at % h->room];
        found += is_looked_for(t, read_again(t, k), (struct str){k->text, k->n});
    }
    uint64_t left_out = at - since;
    for (; at < h->put; at++) {
        const struct tail_kept *k = &h->ring[at % h->room];
        const struct logline *l = read_again(t, k);
        struct str line = {k->text, k->n};
        if (is_looked_for(t, l, line))
            show(t, l, line);
    }
    return left_out;
}

bool tail_newest_request(const struct tail *t, struct str *line)
{
    const struct tail_history *h = &t->history;
    uint64_t end = t->paused ? MIN(t->paused_at, h->put) : h->put;
    uint64_t oldest = h->put > h->room ? h->put - h->room : 0;
    for (uint64_t at = end; at > oldest; at--) {
        const struct tail_kept *k = &h->ring[(at - 1) % h->room];
        *line = (struct str){k->text, k->n};
        if (!k->broken)
            return true;
    }
    return false;
}

/* ---- a line ---- */

size_t tail_page(const struct tail *t)
{
    return (size_t)MAX(t->screen.rows - 2, 1);
}

void tail_catch_up(struct tail *t)
{
    uint64_t lines = t->skipped_now, page = tail_page(t);
    if (lines == 0 || t->paused || !screen_has_room(&t->screen))
        return;
    t->skipped_now = 0;
    uint64_t shown = t->history.room ? MIN(lines, page) : 0;
    if (lines > shown)
        tail_view_note(&t->view, "%llu lines not shown: the terminal is slower than the log",
                       (unsigned long long)(lines - shown));
    t->skipped += lines - shown;
    if (shown)
        tail_show_kept(t, t->history.put - shown, (size_t)shown);
}

static void offer(struct tail *t, const struct logline *l, struct str line)
{
    if (t->paused || !is_looked_for(t, l, line))
        return;
    if (t->skipped_now || !screen_has_room(&t->screen)) {
        t->skipped_now++;
        return;
    }
    show(t, l, line);
    if (!t->screen.terminal && buf_used(&t->screen.pending) >= PIPE_BYTES)
        screen_flush(&t->screen, &t->stop); /* waits for whoever reads */
}

static void pass_on(struct tail *t, const struct logline *l, struct str line)
{
    keep(&t->history, line, l == NULL);
    if (!(t->in_backlog && t->backlog_is_kept))
        offer(t, l, line);
}

void tail_take(void *arg, const struct logline *l, struct str line)
{
    struct tail *t = arg;
    if (t->stop || t->screen.gone || !is_wanted(t, l))
        return;
    if (!t->in_backlog && log_event_of(l) == LOG_EVENT_REQUEST)
        tail_stats_take(&t->stats, l, clock_mono_ns());
    pass_on(t, l, line);
}

void tail_take_broken(void *arg, const char *expected, size_t column, struct str line)
{
    struct tail *t = arg;
    (void)expected;
    (void)column;
    t->unread++;
    if (t->stop || t->screen.gone || t->json || t->errors || !log_filter_is_empty(&t->filter) ||
        (t->in_backlog && t->since_us != INT64_MIN))
        return;
    pass_on(t, NULL, line);
}
