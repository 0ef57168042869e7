/* log_follow_source.c -- one file of a followed log: read on from where it was, cut into lines, and looked at for being
 * emptied under the reader's hands.
 *
 * Bytes come by pread into the source's buffer; whole lines are taken from its front and the rest waits there. A short rest is
 * thrown away and read again with what follows it: so a line is always cut from one look at the file. Only a rest that is
 * long is kept, lest a line of megabytes that comes in small writes be read a thousand times.
 *
 * A file that is truncated in place keeps its inode. When it is short afterwards its size tells; when it has grown past the
 * reader's place again only its first bytes do, which are compared after each read. Bytes that came from a file
 * whose head is another by then are not taken, unless the file now ends before them: then they are of before. */
#include <errno.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "observe/log_follow_internal.h"
#include "observe/logread.h"

#define REST_KEPT_BYTES (64u << 10) /* a longer rest of a line is kept */

static struct follow_source *new_source(uint64_t device, uint64_t inode)
{
    struct follow_source *s = mem_alloc(sizeof *s);
    s->device = device;
    s->inode = inode;
    s->watch = s->fd = s->packed.fd = s->announce = -1;
    s->changed_ns = clock_mono_ns();
    s->cap = 2 * LOGREAD_BLOCK;
    s->data = mem_alloc(s->cap + LOGLINE_SLACK);
    return s;
}

struct follow_source *follow_source_new(int fd, uint64_t device, uint64_t inode)
{
    struct follow_source *s = new_source(device, inode);
    s->fd = fd;
    return s;
}

struct follow_source *follow_source_packed(const struct log_input *in, uint64_t device,
                                           uint64_t inode)
{
    struct follow_source *s = new_source(device, inode);
    s->packed = *in;
    return s;
}

struct follow_source *follow_source_stream(void)
{
    return new_source(0, 0);
}

void follow_source_free(struct follow_source *s)
{
    if (s->fd >= 0)
        close(s->fd);
    else
        log_input_close(&s->packed);
    mem_free(s->data);
    mem_free(s);
}

static ssize_t pread_whole(int fd, char *out, size_t n, uint64_t at)
{
    ssize_t got;
    do {
        got = pread(fd, out, n, (off_t)at);
    } while (got < 0 && errno == EINTR);
    return got;
}

/* ---- where to begin ---- */

void follow_source_start(struct follow_source *s, uint64_t at)
{
    ssize_t got = pread_whole(s->fd, s->head, (size_t)MIN(at, sizeof s->head), 0);
    s->head_bytes = got > 0 ? (uint32_t)got : 0;
    s->line_at = at;
    s->have = 0;
}

uint64_t follow_last_lines(int fd, uint64_t size, uint64_t lines)
{
    static const size_t block_bytes = LOGREAD_BLOCK;
    char *block = mem_alloc(block_bytes);
    uint64_t at = size, newlines = 0, begin = 0;
    while (at > 0 && begin == 0) {
        size_t n = (size_t)MIN(at, block_bytes);
        at -= n;
        ssize_t got = pread_whole(fd, block, n, at);
        size_t left = got > 0 ? (size_t)got : 0;
        /* Each newline ends a line: what stands behind the one before the last N begins them. */
        for (char *newline; left && (newline = memrchr(block, '\n', left)) && begin == 0;) {
            left = (size_t)(newline - block);
            if (newlines++ == lines)
                begin = at + left + 1;
        }
    }
    mem_free(block);
    return begin;
}

bool follow_head_same(const struct follow_source *s)
{
    char now[LOG_POSITION_HEAD];
    return s->fd < 0 || s->head_bytes == 0 ||
           (pread_whole(s->fd, now, s->head_bytes, 0) == (ssize_t)s->head_bytes &&
            memcmp(now, s->head, s->head_bytes) == 0);
}

/* ---- lines ---- */

/* The front of the buffer is done with. */
static void pass(struct follow_source *s, size_t bytes)
{
    if (s->head_bytes == s->line_at && s->head_bytes < sizeof s->head) {
        size_t n = MIN(bytes, sizeof s->head - s->head_bytes);
        memcpy(s->head + s->head_bytes, s->data, n);
        s->head_bytes += (uint32_t)n;
    }
    s->line_at += bytes;
    s->have -= bytes;
    memmove(s->data, s->data + bytes, s->have);
}

static void take_lines(struct log_follow *f, const struct follow_source *s, const char *p,
                       const char *end)
{
    if (s->line_at == 0 && end - p >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0)
        p += 3;
    while (p < end) {
        enum line_status status;
        const char *next = logline_read(&f->line, p, end, &status);
        struct str line = {p, (size_t)(next - p)};
        line.n -= line.n && line.p[line.n - 1] == '\n';
        if (status == LINE_READ)
            f->o.take(f->o.arg, &f->line, line);
        else if (status == LINE_BROKEN && f->o.broken)
            f->o.broken(f->o.arg, f->line.bad, f->line.bad_at + 1, line);
        p = next;
    }
}

/* Takes the whole lines of the buffer, whose bytes from `fresh` on were not searched for a newline yet. */
static void take_whole(struct log_follow *f, struct follow_source *s, size_t fresh)
{
    const char *last = memrchr(s->data + fresh, '\n', s->have - fresh);
    if (!last)
        return;
    size_t whole = (size_t)(last - s->data) + 1, from = 0;
    if (s->skipping)
        from = (size_t)((char *)memchr(s->data, '\n', whole) - s->data) + 1;
    s->skipping = false;
    take_lines(f, s, s->data + from, s->data + whole);
    pass(s, whole);
}

/* The hole that a writer without O_APPEND leaves behind a truncation may be of gigabytes: no line. */
static void pass_hole(struct follow_source *s)
{
    size_t n = 0;
    while (n < s->have && s->data[n] == '\0')
        n++;
    if (n)
        pass(s, n);
}

static void make_room(struct log_follow *f, struct follow_source *s)
{
    if (s->skipping)
        pass(s, s->have);
    if (s->cap - s->have >= LOGREAD_BLOCK / 2)
        return;
    if (s->cap < LOGREAD_LINE_MAX) {
        s->cap *= 2;
        s->data = mem_realloc(s->data, s->cap + LOGLINE_SLACK);
        return;
    }
    if (f->o.broken)
        f->o.broken(f->o.arg, "a line of at most 64 MiB", 1, (struct str){s->data, s->have});
    s->skipping = true;
    pass(s, s->have);
}

/* ---- packed ---- */

const char *follow_source_peek(struct follow_source *s, size_t bytes)
{
    while (s->have < bytes) {
        ssize_t got =
            log_input_read(&s->packed, s->data + s->have, s->cap - s->have, s->line_at + s->have);
        if (got <= 0)
            return NULL;
        s->have += (size_t)got;
    }
    return s->data;
}

void follow_source_skip(struct follow_source *s, uint64_t at)
{
    if (s->fd >= 0) {
        follow_source_start(s, at);
        return;
    }
    while (s->line_at < at && (s->have || follow_source_peek(s, 1)))
        pass(s, (size_t)MIN(at - s->line_at, s->have));
}

/* ---- reading ---- */

static ssize_t read_more(const struct log_follow *f, struct follow_source *s, size_t room,
                         struct err *e)
{
    uint64_t at = s->line_at + s->have;
    char *out = s->data + s->have;
    bool packed = s->fd < 0 && !f->is_stream;
    ssize_t got = packed      ? log_input_read(&s->packed, out, room, at)
                  : s->fd < 0 ? read(STDIN_FILENO, out, room)
                              : pread_whole(s->fd, out, room, at);
    if (got < 0 && packed)
        err_set(e, "a packed older file of %s: %s", f->path, log_input_error(&s->packed));
    else if (got < 0)
        err_set(e, "cannot read %s: %s", f->path, strerror(errno));
    return got;
}

/* Standard input is waited for by the owner, never here. */
static bool has_input(void)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&in, 1, 0) > 0;
}

/* After a read of bytes up to `end`: are they to be taken? */
static bool is_of_before(const struct follow_source *s, uint64_t end)
{
    struct stat st;
    return fstat(s->fd, &st) == 0 && (uint64_t)st.st_size < end;
}

static enum follow_read read_step(struct log_follow *f, struct follow_source *s, uint64_t room,
                                  struct err *e)
{
    make_room(f, s);
    size_t fresh = s->have, want = (size_t)MIN(room, MIN(s->cap - s->have, LOGREAD_BLOCK));
    ssize_t got = read_more(f, s, want, e);
    if (got < 0) {
        s->at_end = s->fd < 0; /* what is damaged is not tried again */
        return READ_FAILED;
    }
    bool same = follow_head_same(s);
    if (got == 0 || (!same && !is_of_before(s, s->line_at + s->have + (uint64_t)got))) {
        s->at_end = s->fd < 0;
        return same ? READ_ALL : READ_TRUNCATED;
    }
    s->have += (size_t)got;
    s->data[s->have] = '\n';
    if (fresh == 0)
        pass_hole(s);
    take_whole(f, s, MIN(fresh, s->have));
    return same ? READ_MORE : READ_TRUNCATED;
}

enum follow_read follow_source_read(struct log_follow *f, struct follow_source *s, uint64_t *budget,
                                    struct err *e)
{
    if (s->fd >= 0 && s->limit < s->line_at)
        return READ_TRUNCATED;
    if (s->fd >= 0 && (s->have < REST_KEPT_BYTES || s->limit < s->line_at + s->have))
        s->have = 0;
    if (s->fd < 0 && !f->is_stream)
        take_whole(f, s, 0); /* what was looked at to tell whose it is */
    while (!s->at_end) {
        uint64_t at = s->line_at + s->have;
        if (s->fd >= 0 && at >= s->limit)
            return follow_head_same(s) ? READ_ALL : READ_TRUNCATED;
        if (f->is_stream && !has_input())
            return READ_ALL;
        if (*budget == 0)
            return READ_MORE;
        enum follow_read r =
            read_step(f, s, MIN(*budget, s->fd >= 0 ? s->limit - at : UINT64_MAX), e);
        uint64_t read = s->line_at + s->have - at;
        *budget -= *budget == UINT64_MAX ? 0 : MIN(*budget, read);
        if (r != READ_MORE)
            return r;
    }
    return READ_ALL;
}

void follow_source_finish(struct log_follow *f, struct follow_source *s)
{
    if (s->have == 0 || s->skipping)
        return;
    memset(s->data + s->have, 0, LOGLINE_SLACK);
    s->data[s->have] = '\n';
    take_lines(f, s, s->data, s->data + s->have);
    pass(s, s->have);
}
