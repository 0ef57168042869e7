/* log_writer.c -- the public face of the log, and the thread that drains all rings into the
 * file.
 *
 * The thread's life: look after the file (reopen when asked or when the path has become another
 * file), write batches until the rings are empty, rest, again. While records come it naps 10 ms
 * at a time, so that a batch is worth a write; after a second without any it sleeps until a
 * worker wakes it. A worker therefore makes a system call for the log only when it ends such a
 * sleep (at most one a second) or finds its ring over half full. `state` tells workers which of
 * the two may apply.
 *
 * When the file cannot be written the thread tries again every 200 ms. Rings fill meanwhile and
 * drop; one warning says when that began and one when it is over, not one a try. Nothing here
 * ever waits for a worker or makes one wait.
 *
 * Stopping: log_close is called when no worker puts any more. The thread drains what is there,
 * with a time limit; what a disk did not take by then stays in the ring file, for the next
 * start. A thread stuck in the kernel (a dead NFS server) is left behind with its memory, since
 * the process is about to end.
 *
 * The thread blocks all signals: SIGUSR1 and SIGTERM are for the control thread, and SIGPIPE or
 * SIGXFSZ must come back as errors of the write. */
#include "observe/log_internal.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/diag.h"

#define NAP_NS                (10 * NS_PER_MS)
#define SHORT_NAP_NS          (2 * NS_PER_MS)
#define LARGE_BATCH_BYTES     (64 * 1024) /* after one of these the next nap is short */
#define SLEEP_NS              NS_PER_S
#define AWAKE_AFTER_RECORD_NS NS_PER_S
#define CHECK_FILE_NS         NS_PER_S
#define RETRY_MS              200
#define CLOSE_NS              (5 * NS_PER_S)
#define TMPFS_TYPE            0x01021994 /* statfs(2), TMPFS_MAGIC */

enum writer_state { AWAKE, NAPPING, SLEEPING };

struct log_writer {
    uint32_t state
        __attribute__((aligned(64))); /* enum writer_state, and the futex the thread rests on */
    bool stop, reopen;                /* atomic */
    struct ring_file rings __attribute__((aligned(64)));
    /* the thread's own */
    struct log_file file;
    struct batch batch;
    uint64_t last_batch_bytes, last_record_ns, check_file_ns, stop_by_ns;
    bool write_failing, reopen_failing, drained;
    pthread_t thread;
    /* single-writer counters of the thread */
    uint64_t bytes, write_errors, reopens, recovered;
    int last_errno;
    char path[PATH_MAX];
};

/* ---- resting and waking ---- */

static void futex_wait(uint32_t *word, uint32_t while_equal, uint64_t ns)
{
    struct timespec t = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, while_equal, &t, NULL, 0);
}

/* Ends a nap or sleep. Safe in signal handlers. */
static void wake(struct log_writer *w)
{
    int saved = errno;
    if (__atomic_exchange_n(&w->state, AWAKE, __ATOMIC_SEQ_CST) != AWAKE)
        syscall(SYS_futex, &w->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = saved;
}

static bool rings_are_empty(const struct ring_file *f)
{
    uint64_t used = 0;
    for (uint32_t i = 0; i < f->count; i++)
        used += ring_used(&f->rings[i]);
    return used == 0;
}

static bool anything_to_do(struct log_writer *w)
{
    return !rings_are_empty(&w->rings) || LOAD(w->stop) || LOAD(w->reopen);
}

static void rest(struct log_writer *w)
{
    bool sleep = clock_mono_ns() - w->last_record_ns > AWAKE_AFTER_RECORD_NS;
    uint32_t state = sleep ? SLEEPING : NAPPING;
    /* At high rates short naps keep what lies in the ring small: in the caches, and few pages. */
    uint64_t nap = w->last_batch_bytes > LARGE_BATCH_BYTES ? SHORT_NAP_NS : NAP_NS;
    __atomic_store_n(&w->state, state, __ATOMIC_SEQ_CST);
    if (!sleep || !anything_to_do(w))
        futex_wait(&w->state, state, sleep ? SLEEP_NS : nap);
    __atomic_store_n(&w->state, AWAKE, __ATOMIC_SEQ_CST);
    if (sleep)
        w->check_file_ns = 0; /* much may have happened to the file */
}

/* ---- the file ---- */

static void reopen_file(struct log_writer *w)
{
    struct log_file opened;
    struct err e = {0};
    if (!log_file_open(&opened, w->path, &e)) {
        if (!w->reopen_failing)
            diag_warn("%s; writing on to the file open until now", e.text);
        w->reopen_failing = true;
        return;
    }
    w->reopen_failing = false;
    COUNTER_ADD(w->reopens, 1);
    if (opened.dev == w->file.dev && opened.ino == w->file.ino) {
        log_file_close(&opened); /* asked for, but nothing has changed; a line begun goes on */
        return;
    }
    batch_leave(&w->rings, &w->batch, &w->file);
    log_file_close(&w->file);
    w->file = opened;
}

static void look_after_file(struct log_writer *w)
{
    uint64_t now = clock_mono_ns();
    bool asked = __atomic_exchange_n(&w->reopen, false, __ATOMIC_ACQ_REL);
    if (!asked && now < w->check_file_ns)
        return;
    w->check_file_ns = now + CHECK_FILE_NS;
    if ((asked && w->file.regular) || log_file_moved(&w->file))
        reopen_file(w);
}

/* ---- writing ---- */

static void write_failed(struct log_writer *w, int reason)
{
    if (reason == EAGAIN)
        return; /* a pipe whose reader is slow */
    COUNTER_ADD(w->write_errors, 1);
    __atomic_store_n(&w->last_errno, reason, __ATOMIC_RELAXED);
    if (!w->write_failing)
        diag_warn("cannot write the log %s: %s; records wait in memory (%llu KiB a worker), then "
                  "are dropped and counted",
                  w->path, strerror(reason), (unsigned long long)(w->rings.ring_bytes >> 10));
    w->write_failing = true;
}

static void write_succeeded(struct log_writer *w)
{
    COUNTER_ADD(w->bytes, w->batch.total);
    w->last_batch_bytes = w->batch.total;
    w->last_record_ns = clock_mono_ns();
    if (!w->write_failing)
        return;
    w->write_failing = false;
    __atomic_store_n(&w->last_errno, 0, __ATOMIC_RELAXED);
    diag_info("the log %s can be written again", w->path);
}

static void pause_before_retry(const struct log_writer *w, int reason)
{
    struct pollfd p = {.fd = w->file.fd, .events = POLLOUT};
    poll(&p, reason == EAGAIN, RETRY_MS);
}

/* IO_OK: a batch was written. IO_AGAIN: there was none. IO_FAIL: not (wholly) written; after a
 * pause it may be. */
static enum io drain(struct log_writer *w)
{
    if (!w->batch.active && !batch_begin(&w->rings, &w->batch))
        return IO_AGAIN;
    enum io io;
    do
        io = batch_write(&w->rings, &w->batch, &w->file);
    while (io == IO_AGAIN);
    if (io == IO_OK) {
        batch_commit(&w->rings, &w->batch);
        write_succeeded(w);
        return IO_OK;
    }
    int reason = errno;
    write_failed(w, reason);
    pause_before_retry(w, reason);
    return IO_FAIL;
}

/* Gap records still owed when the workers have stopped. True when there were none. */
static bool owes_nothing(struct log_writer *w)
{
    bool none = true;
    for (uint32_t i = 0; i < w->rings.count; i++) {
        struct ring *g = &w->rings.rings[i];
        none &= COUNTER_GET(g->control->dropped) == 0;
        ring_put_gap(g);
    }
    return none;
}

/* Called when the rings were empty, or the file could not be written. */
static bool finished(struct log_writer *w, enum io last)
{
    if (!LOAD(w->stop))
        return false;
    if (w->stop_by_ns == 0)
        w->stop_by_ns = clock_mono_ns() + CLOSE_NS;
    if (last == IO_FAIL)
        return clock_mono_ns() > w->stop_by_ns;
    w->drained = last == IO_AGAIN && owes_nothing(w) && rings_are_empty(&w->rings);
    return w->drained;
}

static void *run(void *arg)
{
    struct log_writer *w = arg;
    enum io last;
    do {
        look_after_file(w);
        last = drain(w);
        if (last == IO_AGAIN && !LOAD(w->stop))
            rest(w);
    } while (!finished(w, last));
    return NULL;
}

/* ---- opening ---- */

/* Where a ring file may be: the one asked for, memory-backed folders, the log's own. See
 * record.c's docs for the order. */
static int ring_dirs(const struct log_options *o, const char *log_path, char runtime[PATH_MAX],
                     char beside[PATH_MAX], const char *dirs[LOG_DIRS_MAX])
{
    int n = 0;
    const char *list = getenv("RUNTIME_DIRECTORY");
    if (o->ring_dir && o->ring_dir[0])
        dirs[n++] = o->ring_dir;
    dirs[n++] = "/dev/shm";
    if (list && list[0] == '/') {
        snprintf(runtime, PATH_MAX, "%.*s", (int)strcspn(list, ":"), list);
        dirs[n++] = runtime;
    }
    const char *slash = strrchr(log_path, '/');
    snprintf(beside, PATH_MAX, "%.*s", (int)MAX(slash - log_path, 1), log_path);
    dirs[n++] = beside;
    return n;
}

static void tell_where(const struct ring_file *f)
{
    struct statfs fs;
    if (!f->path[0])
        diag_warn("log: records not yet written will be lost if weir is killed");
    else if (fstatfs(f->fd, &fs) == 0 && (unsigned long)fs.f_type != TMPFS_TYPE)
        diag_info("log: the ring file %s is not in memory (tmpfs); a slow disk may delay requests",
                  f->path);
}

static bool make_rings(struct log_writer *w, const struct log_options *o, const char *const *dirs,
                       int count, struct err *e)
{
    uint64_t bytes = RING_BYTES_MIN, want = o->ring_bytes ? o->ring_bytes : RING_BYTES_DEFAULT;
    while (bytes < want && bytes < RING_BYTES_MAX)
        bytes *= 2;
    for (int i = 0; i < count; i++) {
        struct err reason = {0};
        if (ring_file_create(&w->rings, dirs[i], w->path, (uint32_t)o->rings, bytes, &reason)) {
            tell_where(&w->rings);
            return true;
        }
        diag_warn("log: %s", reason.text);
    }
    if (!ring_file_create(&w->rings, NULL, w->path, (uint32_t)o->rings, bytes, e))
        return false;
    if (count > 0)
        tell_where(&w->rings);
    return true;
}

static bool start_thread(struct log_writer *w, struct err *e)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (failed)
        return err_set(e, "cannot start the log's thread: %s", strerror(failed));
    pthread_setname_np(w->thread, "weir-log");
    return true;
}

/* Of stdout nobody can say later what it had taken, nor whose it was: no recovery, and rings in
 * memory only. */
static bool open_files(struct log_writer *w, const struct log_options *o, struct err *e)
{
    char runtime[PATH_MAX], beside[PATH_MAX];
    const char *dirs[LOG_DIRS_MAX];
    bool is_stdout = strcmp(o->path, "-") == 0;
    int count = 0;
    if (is_stdout)
        snprintf(w->path, sizeof w->path, "-");
    else if (!log_file_resolve(o->path, w->path, e))
        return false;
    if (!log_file_open(&w->file, w->path, e))
        return false;
    if (!is_stdout) {
        count = ring_dirs(o, w->path, runtime, beside, dirs);
        w->recovered = log_recover(dirs, count, &w->file, o->text);
    }
    if (!make_rings(w, o, dirs, count, e))
        return false;
    ring_set_writer(&w->rings, o->text);
    return true;
}

static void free_writer(struct log_writer *w, bool remove_rings)
{
    ring_file_close(&w->rings, remove_rings);
    log_file_close(&w->file);
    free(w);
}

struct log_writer *log_open(const struct log_options *o, struct err *e)
{
    ENSURE(o->rings > 0 && (uint32_t)o->rings <= RINGS_MAX);
    struct log_writer *w = aligned_alloc(128, (sizeof *w + 127) / 128 * 128);
    ENSURE(w != NULL);
    memset(w, 0, sizeof *w);
    w->file.fd = w->rings.fd = -1;
    w->last_record_ns = clock_mono_ns();
    w->check_file_ns = w->last_record_ns + CHECK_FILE_NS;
    if (!open_files(w, o, e) || !start_thread(w, e)) {
        free_writer(w, true);
        return NULL;
    }
    return w;
}

/* ---- the other public functions ---- */

bool log_put(struct log_writer *w, int ring, const struct record *r)
{
    ENSURE((uint32_t)ring < w->rings.count);
    struct ring *g = &w->rings.rings[ring];
    bool kept = ring_put(g, r);
    uint32_t state = __atomic_load_n(&w->state, __ATOMIC_SEQ_CST);
    if (UNLIKELY(state == SLEEPING || (state == NAPPING && g->head - g->tail_seen > g->bytes / 2 &&
                                       ring_used(g) > g->bytes / 2)))
        wake(w);
    return kept;
}

void log_set_text(struct log_writer *w, int ring, bool text)
{
    ENSURE((uint32_t)ring < w->rings.count);
    w->rings.rings[ring].write_line = text ? record_write_text : record_write;
}

void log_reopen(struct log_writer *w)
{
    STORE(w->reopen, true);
    wake(w);
}

bool log_sync(struct log_writer *w, int timeout_ms)
{
    uint64_t by = clock_mono_ns() + (uint64_t)MAX(timeout_ms, 0) * NS_PER_MS;
    for (uint32_t i = 0; i < w->rings.count; i++) {
        const struct ring_control *c = w->rings.rings[i].control;
        uint64_t head = LOAD(c->head);
        while (LOAD(c->tail) < head) {
            if (clock_mono_ns() >= by)
                return false;
            wake(w);
            nanosleep(&(struct timespec){.tv_nsec = (long)NS_PER_MS / 2}, NULL);
        }
    }
    return true;
}

void log_close(struct log_writer *w)
{
    if (!w)
        return;
    struct timespec by;
    STORE(w->stop, true);
    wake(w);
    clock_gettime(CLOCK_REALTIME, &by);
    by.tv_sec += (time_t)(CLOSE_NS / NS_PER_S) + 1;
    if (pthread_timedjoin_np(w->thread, NULL, &by) != 0) {
        diag_warn("log: %s does not take any more; %s keeps what is left for the next start",
                  w->path, w->rings.path);
        return;
    }
    if (!w->drained)
        diag_warn("log: not all records could be written to %s; %s", w->path,
                  w->rings.path[0] ? "the next start adds them" : "they are lost");
    free_writer(w, w->drained);
}

void log_stats(const struct log_writer *w, struct log_stats *out)
{
    *out = (struct log_stats){
        .bytes = COUNTER_GET(w->bytes),
        .write_errors = COUNTER_GET(w->write_errors),
        .reopens = COUNTER_GET(w->reopens),
        .recovered = w->recovered,
        .ring_bytes = w->rings.ring_bytes * w->rings.count,
        .last_errno = COUNTER_GET(w->last_errno),
        .path = w->path,
        .ring_path = w->rings.path,
    };
    for (uint32_t i = 0; i < w->rings.count; i++) {
        const struct ring *g = &w->rings.rings[i];
        out->records += COUNTER_GET(g->records);
        out->dropped += COUNTER_GET(g->dropped);
        out->ring_bytes_used += ring_used(g);
    }
}
