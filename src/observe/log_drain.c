/* log_drain.c -- the log's file, and carrying a batch from the rings into it so that a kill at
 * any moment can be resumed.
 *
 * A batch is what lies in the rings, taken once, ring by ring, each part ending at the end of a
 * line. It goes to the file by writev straight from the rings. O_APPEND makes each write land at
 * the end, whoever else appends or truncates.
 *
 *   batch_begin    batch_start and batch_end of each ring
 *   batch_write    the note (which file, its size now, bytes done so far), then one writev;
 *                  again until all is written
 *   batch_commit   state DONE, then the tails, then state NONE
 *
 * A process killed before the note has written nothing of the batch. Killed after DONE it has
 * written all. In between the note says from where in which file to look for the batch's bytes
 * (log_recover.c). The lines stay in their rings until DONE, so there is always the original to
 * compare with and to go on from.
 *
 * A short write (disk full, a signal that kills) leaves a torn line. The next write goes on
 * exactly where it stopped, so the line becomes whole as soon as there is room. If the log is
 * reopened on another file first, batch_leave ends the line in the old file when it can, else
 * the line is written anew, whole, to the new one. The same when somebody else has appended to
 * the file in between, or truncated it (its size is not what we left).
 *
 * Several processes may have one log. Between looking at the file's end and writing another one could write half a line and be
 * killed: ours would go on where it stopped, and be lost with it. So looking and writing are done under flock, which
 * the kernel takes back from the dead. Who can read the log can hold the lock, so it is not waited for forever.
 *
 * Threads: the writer's, or the one that starts and stops the log; never two at once. */
#include "observe/log_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_MS   100  /* longer than that nobody holds the log who means well */
#define STILL_MS  20   /* a torn end that has not moved for so long is not being written */
#define MOVING_MS 1000 /* ... and one that moves for so long is somebody else's to end */

/* ---- the log's file ---- */

bool log_file_resolve(const char *path, char out[PATH_MAX], struct err *e)
{
    char dir[PATH_MAX], real[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (!*name || strlen(path) >= PATH_MAX / 2)
        return err_set(e, "the log's path %s must end in a file name and be shorter than %d bytes",
                       path, PATH_MAX / 2);
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)MAX(slash - path, 1) : 1, slash ? path : ".");
    if (!realpath(dir, real) && errno == ENOENT)
        (void)!mkdir(dir, 0755); /* its failure shows in the next line */
    if (!realpath(dir, real))
        return err_set(e, "cannot write the log %s: the folder %s: %s", path, dir, strerror(errno));
    if (snprintf(out, PATH_MAX, "%s/%s", strcmp(real, "/") ? real : "", name) >= PATH_MAX)
        return err_set(e, "the log's path %s is too long", path);
    return true;
}

/* Readable too if that is allowed, to see whether the last line is whole. Not blocking, for the
 * case that it is a FIFO. */
static int open_log(const char *path)
{
    int flags = O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int fd = open(path, O_RDWR | flags, 0640);
    return fd < 0 && errno == EACCES ? open(path, O_WRONLY | flags, 0640) : fd;
}

bool log_file_open(struct log_file *l, const char *path, struct err *e)
{
    bool is_stdout = strcmp(path, "-") == 0;
    struct stat st;
    *l = (struct log_file){
        .path = path, .fd = is_stdout ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3) : open_log(path)};
    if (l->fd < 0 || fstat(l->fd, &st) != 0) {
        int reason = errno;
        log_file_close(l);
        return err_set(e,
                       "cannot write the log %s: %s (as user id %u); give that user the right to "
                       "write there, or set litellm_settings.logging.log_file",
                       path, strerror(reason), (unsigned)geteuid());
    }
    l->regular = S_ISREG(st.st_mode) && !is_stdout;
    l->dev = st.st_dev;
    l->ino = st.st_ino;
    l->end = LOG_END_UNKNOWN;
    return true;
}

void log_file_close(struct log_file *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}

bool log_file_moved(const struct log_file *l)
{
    struct stat st;
    if (!l->regular)
        return false;
    if (stat(l->path, &st) != 0)
        return errno == ENOENT || errno == ENOTDIR; /* other errors tell nothing about the file */
    return st.st_dev != l->dev || st.st_ino != l->ino;
}

uint64_t log_file_size(const struct log_file *l)
{
    struct stat st;
    return fstat(l->fd, &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
}

/* Somebody else has had the file: a piece of a line that a killed process left at its end
 * becomes a line of its own. While another process is within a write the size moves and the end
 * looks torn too, so it must have stood still for a while. */
static bool end_line(const struct log_file *l)
{
    char last;
    uint64_t size_before = 0;
    for (int all = 0, still = 0; still < STILL_MS; all++) {
        uint64_t size = log_file_size(l);
        if (size == 0 || all == MOVING_MS || pread(l->fd, &last, 1, (off_t)size - 1) != 1 ||
            last == '\n')
            return true;
        still = size == size_before ? still + 1 : 0;
        size_before = size;
        poll(NULL, 0, 1);
    }
    return write(l->fd, "\n", 1) == 1;
}

/* ---- a batch ---- */

bool batch_begin(struct ring_file *f, struct batch *b)
{
    *b = (struct batch){0};
    for (uint32_t i = 0; i < f->count; i++) {
        struct ring *g = &f->rings[i];
        struct ring_control *c = g->control;
        uint64_t from = LOAD(c->tail), bytes = LOAD(c->head) - from;
        if (bytes > LINE_BYTES_MAX) {
            /* As many whole lines as that holds; it holds one, for no line is longer. */
            const char *start = ring_at(g, from), *end = memrchr(start, '\n', LINE_BYTES_MAX);
            bytes = end ? (uint64_t)(end + 1 - start) : 0;
        }
        STORE(c->batch_start, from); /* not before the last batch's state NONE */
        STORE(c->batch_end, from + bytes);
        b->total += bytes;
    }
    b->active = b->total > 0;
    return b->active;
}

bool batch_resume(struct ring_file *f, struct batch *b, struct batch_note *note)
{
    uint64_t state = LOAD(f->header->batch_state);
    *b = (struct batch){0};
    for (uint32_t i = 0; i < f->count; i++)
        b->total += f->rings[i].control->batch_end - f->rings[i].control->batch_start;
    if (state != BATCH_NOTE_A && state != BATCH_NOTE_B)
        return false;
    *note = f->header->notes[state == BATCH_NOTE_B];
    b->active = b->total > 0 && note->done <= b->total;
    b->done = note->done;
    return b->active;
}

int batch_pieces(struct ring_file *f, uint64_t done)
{
    int n = 0;
    for (uint32_t i = 0; i < f->count; i++) {
        struct ring *g = &f->rings[i];
        uint64_t bytes = g->control->batch_end - g->control->batch_start, skip = MIN(done, bytes);
        done -= skip;
        if (skip < bytes)
            f->pieces[n++] =
                (struct iovec){(char *)ring_at(g, g->control->batch_start + skip), bytes - skip};
    }
    return n;
}

uint64_t batch_line_start(const struct ring_file *f, uint64_t done)
{
    uint64_t before = 0;
    for (uint32_t i = 0; i < f->count; i++) {
        const struct ring *g = &f->rings[i];
        uint64_t bytes = g->control->batch_end - g->control->batch_start;
        if (done - before < bytes) {
            const char *start = ring_at(g, g->control->batch_start);
            const char *newline = memrchr(start, '\n', done - before);
            return before + (newline ? (uint64_t)(newline + 1 - start) : 0);
        }
        before += bytes;
    }
    return done;
}

/* Fills the note that is not in use, then makes it the one that counts. */
static void note_try(struct ring_file *f, const struct batch *b, const struct log_file *l,
                     uint64_t size)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* not before the last try's switch */
    bool to_b = LOAD(f->header->batch_state) == BATCH_NOTE_A;
    f->header->notes[to_b] = (struct batch_note){l->dev, l->ino, size, b->done};
    STORE(f->header->batch_state, to_b ? BATCH_NOTE_B : BATCH_NOTE_A);
}

static enum io write_pieces(struct batch *b, struct log_file *l, const struct iovec *pieces,
                            int count)
{
    ssize_t n;
    do
        n = writev(l->fd, pieces, count);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return IO_FAIL;
    b->done += (uint64_t)n;
    l->end += (uint64_t)n;
    return b->done == b->total ? IO_OK : IO_AGAIN;
}

/* False: it could not be locked. The write goes on all the same. */
static bool lock_log(const struct log_file *l)
{
    for (int ms = 0; l->regular && ms < LOCK_MS; ms++) {
        if (flock(l->fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (errno != EWOULDBLOCK && errno != EINTR) /* a file system without locks */
            return false;
        poll(NULL, 0, 1);
    }
    return false;
}

static enum io write_at_end(struct ring_file *f, struct batch *b, struct log_file *l)
{
    uint64_t size = l->regular ? log_file_size(l) : 0;
    if (l->regular && size != l->end) {
        b->done = batch_line_start(f, b->done); /* what we had begun is no longer at the end */
        if (!end_line(l))
            return IO_FAIL;
        l->end = size = log_file_size(l);
    }
    note_try(f, b, l, size);
    return write_pieces(b, l, f->pieces, batch_pieces(f, b->done));
}

enum io batch_write(struct ring_file *f, struct batch *b, struct log_file *l)
{
    bool locked = lock_log(l);
    enum io io = write_at_end(f, b, l);
    int saved = errno;
    if (locked)
        flock(l->fd, LOCK_UN);
    errno = saved;
    return io;
}

void batch_leave(struct ring_file *f, struct batch *b, struct log_file *l)
{
    if (!b->active || b->done == batch_line_start(f, b->done))
        return;
    bool locked = lock_log(l);
    uint64_t size = log_file_size(l);
    note_try(f, b, l, size);
    batch_pieces(f, b->done); /* the rest of a line is always within the first piece */
    struct iovec rest = f->pieces[0];
    char *newline = memchr(rest.iov_base, '\n', rest.iov_len);
    rest.iov_len = newline ? (size_t)(newline + 1 - (char *)rest.iov_base) : rest.iov_len;
    if (size == l->end)
        (void)write_pieces(b, l, &rest, 1);
    if (locked)
        flock(l->fd, LOCK_UN);
    b->done = batch_line_start(f, b->done);
}

void batch_commit(struct ring_file *f, struct batch *b)
{
    STORE(f->header->batch_state, BATCH_DONE);
    for (uint32_t i = 0; i < f->count; i++)
        STORE(f->rings[i].control->tail, f->rings[i].control->batch_end);
    STORE(f->header->batch_state, BATCH_NONE);
    b->active = false;
}
