/* logread.c -- cuts files into chunks, gives each to the next thread that is free, and sums up.
 *
 *   chunk    CHUNK_BYTES of a plain file, fewer of a small one; or all of a compressed file or stream. A line belongs to the chunk in which its
 *            first byte lies: so a thread that begins in mid-file first crosses the line it finds itself in, and reads on
 *            past its chunk's end until its last line is whole.
 *   block    what one pread brings. Only whole lines are given to logline_read; a cut one is moved to the front and waits
 *            for the next block. A line longer than the buffer makes it grow, up to LOGREAD_LINE_MAX.
 *
 * Line numbers: a chunk counts its lines and notes its first broken ones by their number within it. When all are done, the
 * lines of the chunks before give the number in the file. So nobody waits for anybody.
 *
 * A file that grows while it is read is read up to the size it had; what is appended meanwhile is for follow. */
#include "observe/logread.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "observe/log_input.h"
#include "observe/log_seek.h"

#define CHUNK_BYTES     (8u << 20)
#define CHUNK_BYTES_MIN (1u << 20) /* of a small part of a file: each thread is to have several */
#define REST_BYTES      (16u << 10) /* read behind a chunk's end: all but its last line is another's */

struct chunk {
    uint32_t file;
    uint64_t from, to; /* to: UINT64_MAX for all of a stream */
    uint64_t lines;
    int broken_kept;
    struct broken_line broken[LOGREAD_BROKEN_KEPT]; /* `line` counts from this chunk's first */
};

struct reading {
    const struct logread *r;
    struct log_input *inputs; /* one a path */
    struct chunk **chunks;
    size_t chunk_count, next; /* next: atomic */
    uint64_t done, total;     /* bytes; done is atomic */
    uint64_t skipped;
    pthread_mutex_t lock; /* of `e` and `failed` */
    struct err *e;
    bool failed;
};

/* One thread's hands. */
struct hand {
    struct reading *reading;
    int index;
    pthread_t thread;
    char *data; /* cap bytes and LOGLINE_SLACK */
    size_t cap, have;
    struct logline line;
    struct logread_sum sum;
};

static void fail(struct reading *g, const char *path, const char *what)
{
    pthread_mutex_lock(&g->lock);
    if (!g->failed)
        err_set(g->e, "%s: %s", path, what);
    g->failed = true;
    pthread_mutex_unlock(&g->lock);
}

/* ---- lines of a block ---- */

static void note_broken(struct chunk *c, const char *path, const struct logline *l, struct str line,
                        uint64_t byte)
{
    if (c->broken_kept == LOGREAD_BROKEN_KEPT)
        return;
    struct broken_line *b = &c->broken[c->broken_kept++];
    size_t from = l->bad_at > 40 ? l->bad_at - 40 : 0;
    while (line.n && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
        line.n--;
    struct str shown = str_skip(line, from);
    *b = (struct broken_line){path, c->lines, byte, l->bad_at + 1, l->bad, ""};
    memcpy(b->text, shown.p ? shown.p : "", MIN(shown.n, sizeof b->text - 1));
}

/* The lines in [p, end), each with its newline; p is at `begins` in the file. */
static void take_lines(struct hand *h, struct chunk *c, const char *p, const char *end,
                       uint64_t begins)
{
    const struct logread *r = h->reading->r;
    void *context = r->contexts[h->index];
    const char *first = p;
    while (p < end) {
        enum line_status status;
        const char *next = r->take_head ? logline_read_failed(&h->line, p, end, &status)
                                        : logline_read(&h->line, p, end, &status);
        struct str line = {p, (size_t)(next - p)};
        c->lines++;
        if (r->take_head && status == LINE_HEAD) {
            h->sum.heads++;
            r->take_head(context, &h->line);
        } else if (LIKELY(status == LINE_READ)) {
            h->sum.read[h->line.shape]++;
            r->take(context, &h->line, line);
        } else if (status == LINE_BLANK) {
            h->sum.blank++;
        } else {
            h->sum.broken++;
            note_broken(c, r->paths[c->file], &h->line, line, begins + (uint64_t)(p - first));
        }
        p = next;
    }
}

/* ---- a chunk ---- */

static bool make_room(struct hand *h)
{
    if (h->cap - h->have >= LOGREAD_BLOCK / 2)
        return true;
    if (h->cap >= LOGREAD_LINE_MAX)
        return false;
    h->cap *= 2;
    h->data = mem_realloc(h->data, h->cap + LOGLINE_SLACK);
    return true;
}

/* A line that is too long: what there is of it is thrown away, and it ends with its newline somewhere ahead. */
static void give_up_line(struct hand *h, struct chunk *c, uint64_t begins, bool *in_long_line)
{
    if (!*in_long_line) {
        h->line.bad = "a line of at most 64 MiB";
        h->line.bad_at = 0;
        h->sum.broken++;
        c->lines++;
        note_broken(c, h->reading->r->paths[c->file], &h->line, (struct str){h->data, 80}, begins);
    }
    *in_long_line = true;
    h->sum.bytes += h->have;
    h->have = 0;
}

/* Bytes at the front that are whole lines; at the input's end the last one needs no newline. */
static size_t whole_lines(struct hand *h, bool at_end)
{
    memset(h->data + h->have, 0, LOGLINE_SLACK);
    h->data[h->have] = '\n';
    const char *last = at_end ? h->data + h->have - 1 : memrchr(h->data, '\n', h->have);
    return h->have && last ? (size_t)(last - h->data) + 1 : 0;
}

/* Of `whole` bytes of whole lines, which lie at `begins` in the file: those of lines that begin before `to`. */
static size_t lines_before(const char *data, size_t whole, uint64_t begins, uint64_t to)
{
    if (to >= begins + whole)
        return whole;
    if (to <= begins)
        return 0;
    size_t at = (size_t)(to - begins);
    const char *newline = memchr(data + at - 1, '\n', whole - at + 1);
    return newline ? (size_t)(newline - data) + 1 : whole;
}

static void drop_front(struct hand *h, size_t bytes)
{
    memmove(h->data, h->data + bytes, h->have - bytes);
    h->have -= bytes;
}

/* Throws away bytes up to and with the first newline. True: it was found. */
static bool cross_line(struct hand *h)
{
    char *newline = memchr(h->data, '\n', h->have);
    size_t drop = newline ? (size_t)(newline - h->data) + 1 : h->have;
    drop_front(h, drop);
    return newline != NULL;
}

static bool told_to_stop(const struct reading *g)
{
    return g->r->stop && __atomic_load_n(g->r->stop, __ATOMIC_RELAXED);
}

static void tell_progress(struct hand *h, size_t bytes)
{
    struct reading *g = h->reading;
    uint64_t done = __atomic_add_fetch(&g->done, bytes, __ATOMIC_RELAXED);
    if (h->index == 0 && g->r->progress)
        g->r->progress(g->r->arg, done, g->total);
}

/* Appends the next block of the chunk's file. Returns its bytes, 0 at the end, -1 on failure. */
static ssize_t read_block(struct hand *h, const struct chunk *c, uint64_t at)
{
    struct reading *g = h->reading;
    uint64_t mine = at < c->to ? c->to - at : 0;
    size_t most = (size_t)MIN(mine, (uint64_t)LOGREAD_BLOCK - REST_BYTES) + REST_BYTES;
    ssize_t got =
        log_input_read(&g->inputs[c->file], h->data + h->have, MIN(h->cap - h->have, most), at);
    if (got < 0) {
        fail(g, g->r->paths[c->file], log_input_error(&g->inputs[c->file]));
        return -1;
    }
    h->have += (size_t)got;
    tell_progress(h, (size_t)got);
    return got;
}

static void read_chunk(struct hand *h, struct chunk *c)
{
    /* From the byte before: if that is a newline, the chunk's first line begins where the chunk does. */
    uint64_t at = c->from ? c->from - 1 : 0;
    bool crossing = c->from > 0, too_long = false;
    h->have = 0;
    while (!told_to_stop(h->reading)) {
        if (!make_room(h))
            give_up_line(h, c, at - h->have, &too_long);
        ssize_t got = read_block(h, c, at);
        if (got < 0)
            return;
        at += (uint64_t)got;
        if ((crossing || too_long) && !cross_line(h) && got > 0)
            continue;
        crossing = too_long = false;
        if (at == (uint64_t)got && h->have >= 3 && memcmp(h->data, "\xEF\xBB\xBF", 3) == 0)
            drop_front(h, 3); /* a byte order mark, which only a file's first bytes are */
        uint64_t begins = at - h->have;
        size_t whole = whole_lines(h, got == 0), mine = lines_before(h->data, whole, begins, c->to);
        take_lines(h, c, h->data, h->data + mine, begins);
        h->sum.bytes += mine; /* not what was read: a long line is read by each chunk it crosses */
        if (got == 0 || begins + whole >= c->to)
            return;
        drop_front(h, whole);
    }
}

/* ---- chunks of files ---- */

static struct chunk *add_chunk(struct reading *g, uint32_t file, uint64_t from, uint64_t to)
{
    struct chunk *c = mem_alloc(sizeof *c);
    c->file = file;
    c->from = from;
    c->to = to;
    if ((g->chunk_count & (g->chunk_count - 1)) == 0) /* room doubles at each power of two */
        g->chunks = mem_realloc(g->chunks, MAX(g->chunk_count * 2, 1u) * sizeof(struct chunk *));
    g->chunks[g->chunk_count++] = c;
    return c;
}

static void cut_file(struct reading *g, uint32_t file)
{
    struct log_input *in = &g->inputs[file];
    uint64_t from = 0, to = log_input_bytes(in);
    if (!log_input_seekable(in)) {
        add_chunk(g, file, 0, UINT64_MAX);
        return;
    }
    log_seek(in, g->r->since_us, g->r->until_us, &from, &to);
    g->skipped += log_input_bytes(in) - (to - from);
    g->total += to - from;
    uint64_t fair = (to - from) / (16 * (unsigned)g->r->threads) + 1;
    uint64_t chunk = MIN(MAX(fair, (uint64_t)CHUNK_BYTES_MIN), (uint64_t)CHUNK_BYTES);
    for (; from < to; from += chunk)
        add_chunk(g, file, from, MIN(from + chunk, to));
}

static void *hand_main(void *arg)
{
    struct hand *h = arg;
    struct reading *g = h->reading;
    for (;;) {
        size_t i = __atomic_fetch_add(&g->next, 1, __ATOMIC_RELAXED);
        if (i >= g->chunk_count || told_to_stop(g))
            return NULL;
        read_chunk(h, g->chunks[i]);
    }
}

static void hand_init(struct hand *h, struct reading *g, int index)
{
    h->reading = g;
    h->index = index;
    h->cap = 2 * LOGREAD_BLOCK;
    h->data = mem_alloc(h->cap + LOGLINE_SLACK);
    logline_init(&h->line);
    h->line.unwanted = g->r->unwanted;
}

/* ---- the sum ---- */

static void sum_up(struct reading *g, const struct hand *hands, int count, struct logread_sum *sum)
{
    for (int i = 0; i < count; i++) {
        sum->bytes += hands[i].sum.bytes;
        sum->blank += hands[i].sum.blank;
        sum->broken += hands[i].sum.broken;
        sum->heads += hands[i].sum.heads;
        for (int s = 0; s < LOG_SHAPE_COUNT; s++)
            sum->read[s] += hands[i].sum.read[s];
    }
    uint64_t lines_before = 0;
    bool numbered = true;
    sum->skipped = g->skipped;
    for (size_t i = 0; i < g->chunk_count; i++) {
        const struct chunk *c = g->chunks[i];
        if (i == 0 || c->file != g->chunks[i - 1]->file) {
            lines_before = 0;
            numbered = c->from == 0;
        }
        for (int b = 0; b < c->broken_kept && sum->broken_kept < LOGREAD_BROKEN_KEPT; b++) {
            struct broken_line *kept = &sum->first_broken[sum->broken_kept++];
            *kept = c->broken[b];
            kept->line = numbered ? kept->line + lines_before : 0;
        }
        lines_before += c->lines;
        sum->lines += c->lines;
    }
}

static void run_hands(struct reading *g, struct logread_sum *sum)
{
    int count = (int)MAX(MIN((size_t)g->r->threads, g->chunk_count), (size_t)1), started = 1;
    struct hand *hands = mem_alloc((size_t)count * sizeof *hands);
    for (int i = 0; i < count; i++)
        hand_init(&hands[i], g, i);
    while (started < count &&
           pthread_create(&hands[started].thread, NULL, hand_main, &hands[started]) == 0)
        started++;
    hand_main(&hands[0]);
    for (int i = 1; i < started; i++)
        pthread_join(hands[i].thread, NULL);
    sum_up(g, hands, count, sum);
    for (int i = 0; i < count; i++)
        mem_free(hands[i].data);
    mem_free(hands);
}

int logread_threads(void)
{
    return (int)MIN(MAX(sysconf(_SC_NPROCESSORS_ONLN), 1), LOGREAD_THREADS_MAX);
}

bool logread(const struct logread *r, struct logread_sum *sum, struct err *e)
{
    struct reading g = {.r = r, .e = e, .lock = PTHREAD_MUTEX_INITIALIZER};
    ENSURE(r->threads >= 1 && r->threads <= LOGREAD_THREADS_MAX);
    *sum = (struct logread_sum){0};
    g.inputs = mem_alloc(MAX(r->path_count, (size_t)1) * sizeof *g.inputs);
    for (size_t i = 0; i < r->path_count; i++) {
        if (log_input_open(&g.inputs[i], r->paths[i]))
            cut_file(&g, (uint32_t)i);
        else
            fail(&g, r->paths[i], log_input_error(&g.inputs[i]));
    }
    run_hands(&g, sum);
    for (size_t i = 0; i < r->path_count; i++)
        log_input_close(&g.inputs[i]);
    for (size_t i = 0; i < g.chunk_count; i++)
        mem_free(g.chunks[i]);
    mem_free(g.chunks);
    mem_free(g.inputs);
    pthread_mutex_destroy(&g.lock);
    return !g.failed;
}
