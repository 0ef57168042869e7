/* export_history.c -- what Prometheus would have scraped, had it been there: the exposition at each step, with the step's time.
 *
 * For `promtool tsdb create-blocks-from openmetrics`. OpenMetrics wants a family's samples together, in it a metric's, and those in
 * the order of time; a log gives time first. So each step's exposition is taken apart into series, and of a series only its changes
 * are kept; the text is put together at the end.
 *
 * A counter that appears with a value was 0 one step before: otherwise rate() would never see its first requests. */
#include "base/varint.h"
#include "cli/export.h"

#define STEPS_MAX 200000 /* 138 days by the minute */
#define US_PER_S  1000000

struct series {
    struct str text;    /* name and labels as they are exposed */
    struct buf changes; /* of each: steps since the one before (varint), then the value's text */
    struct str value;   /* the last one, in `changes` */
    int64_t last_step;
    struct series *next; /* of its metric */
    /* While writing: */
    struct str left; /* of `changes` */
    struct str now;
    int64_t change_step;
};

/* Series that have all but their "le" and their suffix in common. */
struct metric {
    struct series *first, **last;
    struct metric *next; /* of its family */
};

struct family {
    struct str name, head; /* "# HELP ...\n# TYPE ...\n" */
    bool gauge;
    struct metric *first, **last;
    struct family *next;
};

struct history {
    int64_t step_us, first_step, open_step; /* steps since 1970; open_step: what is counted now */
    bool begun, counted;
    struct arena arena;
    struct map families, metrics, series;
    struct family *first, **last;
    struct buf exposition;
};

struct history *history_new(int64_t step_us)
{
    struct history *h = mem_alloc(sizeof *h);
    h->step_us = step_us;
    arena_init(&h->arena, NULL, 0);
    map_init(&h->families);
    map_init(&h->metrics);
    map_init(&h->series);
    buf_init(&h->exposition, 0, NULL);
    h->last = &h->first;
    return h;
}

void history_free(struct history *h)
{
    if (!h)
        return;
    for (struct family *f = h->first; f; f = f->next)
        for (struct metric *m = f->first; m; m = m->next)
            for (struct series *s = m->first; s; s = s->next)
                buf_fini(&s->changes);
    map_fini(&h->families);
    map_fini(&h->metrics);
    map_fini(&h->series);
    buf_fini(&h->exposition);
    arena_fini(&h->arena);
    mem_free(h);
}

/* ---- taking an exposition apart ---- */

static struct family *family_of(struct history *h, struct str name)
{
    struct family *f = map_get(&h->families, name);
    if (f)
        return f;
    f = arena_zalloc(&h->arena, sizeof *f);
    f->name = arena_str(&h->arena, name);
    f->last = &f->first;
    map_put(&h->families, f->name, f);
    *h->last = f;
    h->last = &f->next;
    return f;
}

/* "# HELP name text", "# TYPE name counter": kept once, as they come. */
static struct family *take_head(struct history *h, struct str line)
{
    struct str rest = line;
    str_cut(&rest, ' ');
    struct str what = str_cut(&rest, ' '), name = str_cut(&rest, ' ');
    struct family *f = family_of(h, name);
    if (f->first)
        return f; /* known */
    f->head = arena_printf(&h->arena, "%.*s%.*s\n", STR_ARG(f->head), STR_ARG(line));
    if (str_eq(what, STR("TYPE")))
        f->gauge = str_eq(rest, STR("gauge"));
    return f;
}

/* Length of name and labels of a sample: up to the blank before its value, which no label can hide. */
static size_t series_length(struct str line)
{
    bool quoted = false;
    for (size_t i = 0; i < line.n; i++) {
        if (quoted && line.p[i] == '\\')
            i++;
        else if (line.p[i] == '"')
            quoted = !quoted;
        else if (line.p[i] == ' ' && !quoted)
            return i;
    }
    return line.n;
}

/* What series of one metric have in common: the labels before "le", which comes last. */
static struct str metric_key(struct history *h, const struct family *f, struct str series)
{
    ptrdiff_t brace = str_find(series, '{');
    struct str labels = brace < 0 ? STR_NONE : str_skip(series, (size_t)brace + 1);
    labels.n -= labels.n > 0; /* its '}' */
    for (size_t i = labels.n; i-- > 0;) {
        struct str tail = str_skip(labels, i);
        if (str_starts(tail, STR("le=\"")) && (i == 0 || labels.p[i - 1] == ',')) {
            labels.n = i - (i > 0);
            break;
        }
        if (labels.p[i] == ',')
            break; /* the last label is another one */
    }
    return arena_printf(&h->arena, "%.*s{%.*s", STR_ARG(f->name), STR_ARG(labels));
}

static struct series *series_of(struct history *h, struct family *f, struct str text)
{
    struct series *s = map_get(&h->series, text);
    if (s)
        return s;
    struct str key = metric_key(h, f, text);
    struct metric *m = map_get(&h->metrics, key);
    if (!m) {
        m = arena_zalloc(&h->arena, sizeof *m);
        m->last = &m->first;
        map_put(&h->metrics, key, m);
        *f->last = m;
        f->last = &m->next;
    }
    s = arena_zalloc(&h->arena, sizeof *s);
    s->text = arena_str(&h->arena, text);
    buf_init(&s->changes, 0, NULL);
    map_put(&h->series, s->text, s);
    *m->last = s;
    m->last = &s->next;
    return s;
}

static void take_sample(struct history *h, struct family *f, struct str line)
{
    size_t n = series_length(line);
    struct series *s = series_of(h, f, (struct str){line.p, n});
    struct str rest = str_skip(line, n + 1),
               value = str_cut(&rest, ' '); /* behind it: an exemplar */
    bool is_new = buf_used(&s->changes) == 0;
    if (!is_new && str_eq(value, s->value))
        return;
    int64_t since = is_new ? h->first_step : s->last_step;
    ENSURE(varint_put(&s->changes, (uint64_t)(h->open_step - since)) &&
           varint_put_str(&s->changes, value));
    s->value = (struct str){s->changes.data + s->changes.len - value.n, value.n};
    s->last_step = h->open_step;
}

/* The state of all at the end of the open step. */
static void take_step(struct history *h, const struct metrics *m)
{
    const struct metrics_process p = {.about = METRICS_REQUESTS};
    struct family *f = NULL;
    buf_clear(&h->exposition);
    metrics_write(m, &p, METRICS_OPENMETRICS, &h->exposition);
    struct str text = buf_str(&h->exposition);
    while (text.n) {
        struct str line = str_cut(&text, '\n');
        if (str_eq(line, STR("# EOF")))
            break;
        if (line.p[0] == '#')
            f = take_head(h, line);
        else if (f) /* which it is: HELP and TYPE come first */
            take_sample(h, f, line);
    }
}

bool history_advance(struct history *h, const struct metrics *m, int64_t stamp_us, struct err *e)
{
    int64_t step = stamp_us / h->step_us + 1; /* its end */
    if (!h->begun) {
        h->begun = true;
        h->first_step = h->open_step = step;
    }
    h->counted = true;
    if (step <= h->open_step)
        return true;
    if (step - h->first_step > STEPS_MAX)
        return err_set(e,
                       "--openmetrics-history: more than %d steps between the log's first stamp "
                       "and its last; give a "
                       "larger --step, or --backfill SPAN for less of the past",
                       STEPS_MAX);
    take_step(h, m);
    h->open_step = step;
    return true;
}

/* ---- putting it together ---- */

/* Moves a series to `step`: `now` is its value then, or empty before its first. */
static void move_to(struct series *s, int64_t step)
{
    while (s->left.n && s->change_step <= step) {
        uint64_t gap;
        ENSURE(varint_get_str(&s->left, &s->now));
        if (s->left.n) {
            ENSURE(varint_get(&s->left, &gap));
            s->change_step += (int64_t)gap;
        }
    }
}

static void rewind_series(const struct history *h, struct series *s)
{
    uint64_t gap;
    s->left = buf_str(&s->changes);
    s->now = STR_NONE;
    ENSURE(s->left.p && varint_get(&s->left, &gap));
    s->change_step = h->first_step + (int64_t)gap;
}

static void write_metric(const struct history *h, const struct family *f, struct metric *m,
                         FILE *out)
{
    int64_t first = INT64_MAX;
    for (struct series *s = m->first; s; s = s->next) {
        rewind_series(h, s);
        first = MIN(first, s->change_step);
    }
    for (int64_t step = f->gauge ? first : first - 1; step <= h->open_step; step++) {
        long long seconds = (long long)step * (h->step_us / US_PER_S);
        for (struct series *s = m->first; s; s = s->next) {
            move_to(s, step);
            struct str value = s->now.n ? s->now : STR("0");
            if (s->now.n || step == first - 1)
                fprintf(out, "%.*s %.*s %lld\n", STR_ARG(s->text), STR_ARG(value), seconds);
        }
    }
}

bool history_write(struct history *h, const struct metrics *m, FILE *out)
{
    if (h->counted)
        take_step(h, m);
    for (struct family *f = h->first; f; f = f->next) {
        fwrite(f->head.p, 1, f->head.n, out);
        for (struct metric *metric = f->first; metric; metric = metric->next)
            write_metric(h, f, metric, out);
    }
    fputs("# EOF\n", out);
    return fflush(out) == 0 && !ferror(out);
}
