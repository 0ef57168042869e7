/* times.c -- see times.h. Exact values in rings; sorted when somebody asks. */
#include "mock/times.h"

#include "base/mem.h"

void times_init(struct times *t, size_t room)
{
    *t = (struct times){.room = room, .gap_room = room * TIMES_GAPS_AN_ANSWER};
    pthread_mutex_init(&t->lock, NULL);
    if (room) {
        t->rows = mem_alloc(room * sizeof *t->rows);
        t->gaps = mem_alloc(t->gap_room * sizeof *t->gaps);
    }
}

void times_fini(struct times *t)
{
    mem_free(t->rows);
    mem_free(t->gaps);
    pthread_mutex_destroy(&t->lock);
}

void times_reset(struct times *t)
{
    pthread_mutex_lock(&t->lock);
    t->count = t->gap_count = t->left_out = 0;
    pthread_mutex_unlock(&t->lock);
}

void times_add(struct times *t, const struct times_row *row)
{
    pthread_mutex_lock(&t->lock);
    t->rows[t->count++ % t->room] = *row;
    pthread_mutex_unlock(&t->lock);
}

void times_gap(struct times *t, uint64_t gap_ns)
{
    pthread_mutex_lock(&t->lock);
    t->gaps[t->gap_count++ % t->gap_room] = gap_ns;
    pthread_mutex_unlock(&t->lock);
}

void times_leave_out(struct times *t)
{
    pthread_mutex_lock(&t->lock);
    t->left_out++;
    pthread_mutex_unlock(&t->lock);
}

/* ---- reading ---- */

/* What several accounts hold, copied out so that sorting keeps nobody waiting. */
struct gathered {
    struct times_row *rows;
    uint64_t *gaps;
    size_t row_count, gap_count;
    uint64_t answers, gaps_ever, left_out;
};

static void gather_one(struct gathered *g, struct times *t)
{
    pthread_mutex_lock(&t->lock);
    size_t rows = (size_t)MIN(t->count, t->room), gaps = (size_t)MIN(t->gap_count, t->gap_room);
    if (rows) {
        g->rows = mem_realloc(g->rows, (g->row_count + rows) * sizeof *g->rows);
        memcpy(g->rows + g->row_count, t->rows, rows * sizeof *g->rows);
    }
    if (gaps) {
        g->gaps = mem_realloc(g->gaps, (g->gap_count + gaps) * sizeof *g->gaps);
        memcpy(g->gaps + g->gap_count, t->gaps, gaps * sizeof *g->gaps);
    }
    g->row_count += rows;
    g->gap_count += gaps;
    g->answers += t->count;
    g->gaps_ever += t->gap_count;
    g->left_out += t->left_out;
    pthread_mutex_unlock(&t->lock);
}

static struct gathered gather(struct times *const *all, size_t count)
{
    struct gathered g = {0};
    for (size_t i = 0; i < count; i++)
        gather_one(&g, all[i]);
    return g;
}

static void gathered_fini(struct gathered *g)
{
    mem_free(g->rows);
    mem_free(g->gaps);
}

static int compare_ns(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int compare_arrival(const void *a, const void *b)
{
    const struct times_row *x = a, *y = b;
    return (x->arrived_ns > y->arrived_ns) - (x->arrived_ns < y->arrived_ns);
}

/* Nearest rank: the smallest value that at least that share of all do not exceed. */
static uint64_t quantile(const uint64_t *sorted, size_t count, double share)
{
    double exact = share * (double)count;
    size_t rank = (size_t)exact;
    rank += (double)rank < exact;
    return sorted[MIN(MAX(rank, (size_t)1), count) - 1];
}

static struct mock_spread spread(uint64_t *values, size_t count)
{
    struct mock_spread s = {.count = count};
    double sum = 0;
    if (!count)
        return s;
    qsort(values, count, sizeof *values, compare_ns);
    for (size_t i = 0; i < count; i++)
        sum += (double)values[i];
    s.mean_ns = sum / (double)count;
    s.min_ns = values[0];
    s.p50_ns = quantile(values, count, 0.5);
    s.p90_ns = quantile(values, count, 0.9);
    s.p99_ns = quantile(values, count, 0.99);
    s.p999_ns = quantile(values, count, 0.999);
    s.max_ns = values[count - 1];
    return s;
}

/* clang-format off */
/* The spans of a row that are told of, as members of struct mock_times; a row that has no such span is not in it. */
static const struct span {
    const char *key;
    size_t at, from, to;
    bool streams_only;
} spans[] = {
#define SPAN(key, member, from, to, streams_only)                                                                                                              \
    {key, offsetof(struct mock_times, member), offsetof(struct times_row, from), offsetof(struct times_row, to), streams_only}
    SPAN("total_ns",     total,     arrived_ns,     end_ns,         false),
    SPAN("ttft_ns",      ttft,      arrived_ns,     first_token_ns, true),
    SPAN("e2e_ns",       e2e,       arrived_ns,     last_token_ns,  true),
    SPAN("read_lag_ns",  read_lag,  arrived_ns,     read_ns,        false),
    SPAN("late_ns",      late,      due_ns,         first_token_ns, false),
#undef SPAN
};
/* clang-format on */

static uint64_t mark(const struct times_row *row, size_t offset)
{
    uint64_t value;
    memcpy(&value, (const char *)row + offset, sizeof value);
    return value;
}

void times_summary(struct times *const *all, size_t count, struct mock_times *out)
{
    struct gathered g = gather(all, count);
    uint64_t *values = mem_alloc((g.row_count + 1) * sizeof *values);
    *out = (struct mock_times){.answers = g.answers,
                               .left_out = g.left_out,
                               .forgotten = g.answers - g.row_count,
                               .gaps_forgotten = g.gaps_ever - g.gap_count};
    for (size_t i = 0; i < COUNT(spans); i++) {
        const struct span *s = &spans[i];
        size_t n = 0;
        for (size_t r = 0; r < g.row_count; r++) {
            uint64_t from = mark(&g.rows[r], s->from), to = mark(&g.rows[r], s->to);
            if (g.rows[r].stream || !s->streams_only)
                values[n++] = to > from ? to - from : 0;
        }
        struct mock_spread found = spread(values, n);
        memcpy((char *)out + s->at, &found, sizeof found);
    }
    out->gap = spread(g.gaps, g.gap_count);
    mem_free(values);
    gathered_fini(&g);
}

static bool write_spread(struct buf *b, const char *key, const struct mock_spread *s)
{
    return buf_printf(b,
                      ",\"%s\":{\"count\":%llu,\"mean\":%.0f,\"min\":%llu,\"p50\":%llu,"
                      "\"p90\":%llu,\"p99\":%llu,\"p999\":%llu,\"max\":%llu}",
                      key, (unsigned long long)s->count, s->mean_ns, (unsigned long long)s->min_ns,
                      (unsigned long long)s->p50_ns, (unsigned long long)s->p90_ns,
                      (unsigned long long)s->p99_ns, (unsigned long long)s->p999_ns,
                      (unsigned long long)s->max_ns);
}

bool times_write(struct buf *b, const struct mock_times *t)
{
    bool ok = buf_printf(
        b, "\"answers\":%llu,\"left_out\":%llu,\"forgotten\":%llu,\"gaps_forgotten\":%llu",
        (unsigned long long)t->answers, (unsigned long long)t->left_out,
        (unsigned long long)t->forgotten, (unsigned long long)t->gaps_forgotten);
    for (size_t i = 0; ok && i < COUNT(spans); i++) {
        struct mock_spread s;
        memcpy(&s, (const char *)t + spans[i].at, sizeof s);
        ok = write_spread(b, spans[i].key, &s);
    }
    return ok && write_spread(b, "gap_ns", &t->gap);
}

bool times_write_rows(struct buf *b, struct times *const *all, size_t count)
{
    struct gathered g = gather(all, count);
    if (g.row_count)
        qsort(g.rows, g.row_count, sizeof *g.rows, compare_arrival);
    uint64_t base = g.row_count ? g.rows[0].arrived_ns : 0;
    bool ok = buf_printf(b, "\"base_ns\":%llu,\"rows\":[", (unsigned long long)base);
    for (size_t i = 0; ok && i < g.row_count; i++) {
        const struct times_row *r = &g.rows[i];
        const uint64_t marks[] = {r->arrived_ns,     r->read_ns,       r->due_ns,
                                  r->first_token_ns, r->last_token_ns, r->end_ns};
        ok = buf_append_str(b, i ? STR(",[") : STR("["));
        for (size_t m = 0; ok && m < COUNT(marks); m++)
            ok = buf_printf(b, "%lld,", (long long)(marks[m] - base));
        ok = ok && buf_printf(b, "%u,%d]", r->tokens, r->stream);
    }
    gathered_fini(&g);
    return ok && buf_append_str(b, STR("]"));
}
