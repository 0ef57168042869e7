/* sample_log.c -- --log: a record a request, as the gateway writes them, so that `weir analyze` reads what was measured.
 *
 * Each thread of the engine has a ring of samples of its own: one writes, one reads, no lock. A thread of the log's turns them into lines and
 * writes them in large pieces. A sample is some 700 bytes; a full ring makes its writer wait, for a log with holes would be believed. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/sample_log.h"
#include "observe/record.h"

#define RING_SAMPLES 4096u
#define LINE_BYTES   16384u
#define PIECE_BYTES  (256u << 10)
#define IDLE_NS      (2 * NS_PER_MS)

struct logged {
    struct sample sample; /* without gaps */
    struct str model;
};

struct ring {
    _Alignas(64) size_t written; /* by the engine's thread */
    _Alignas(64) size_t read;    /* by the log's */
    struct logged *samples;      /* RING_SAMPLES */
};

struct sample_log {
    int fd;
    const char *path;
    struct str call_type;
    int64_t real_minus_mono_us;
    struct ring *rings;
    unsigned threads;
    pthread_t thread;
    bool stop;
    int error; /* errno of the first failure */
    struct buf out;
};

static void write_out(struct sample_log *l)
{
    while (buf_used(&l->out) && !l->error) {
        struct str text = buf_str(&l->out);
        ssize_t n = write(l->fd, text.p, text.n);
        if (n < 0 && errno != EINTR)
            l->error = errno;
        else if (n > 0)
            buf_consume(&l->out, (size_t)n);
    }
    buf_clear(&l->out);
}

static void write_line(struct sample_log *l, const struct logged *k)
{
    const struct sample *s = &k->sample;
    struct record r;
    int64_t ended_us = (int64_t)((s->end_ns ? s->end_ns : s->due_ns) / NS_PER_US);
    sample_to_record(s, k->model, ended_us + l->real_minus_mono_us, &r);
    r.call_type = l->call_type;
    char *room = buf_room(&l->out, LINE_BYTES);
    ENSURE(room != NULL);
    buf_wrote(&l->out, record_write(&r, room, LINE_BYTES));
    if (buf_used(&l->out) >= PIECE_BYTES)
        write_out(l);
}

/* True: there was something. */
static bool drain(struct sample_log *l, struct ring *r)
{
    size_t written = __atomic_load_n(&r->written, __ATOMIC_ACQUIRE), at = r->read;
    bool any = at != written;
    for (; at != written; at++) {
        write_line(l, &r->samples[at % RING_SAMPLES]);
        __atomic_store_n(&r->read, at + 1, __ATOMIC_RELEASE);
    }
    return any;
}

static void *write_all(void *arg)
{
    struct sample_log *l = arg;
    for (;;) {
        bool last = __atomic_load_n(&l->stop, __ATOMIC_ACQUIRE), any = false;
        for (unsigned i = 0; i < l->threads; i++)
            any |= drain(l, &l->rings[i]);
        if (!any || last)
            write_out(l);
        if (last)
            return NULL;
        if (!any)
            nanosleep(&(struct timespec){.tv_nsec = (long)IDLE_NS}, NULL);
    }
}

void sample_log_take(struct sample_log *l, unsigned thread, const struct sample *s,
                     struct str model)
{
    struct ring *r = &l->rings[thread];
    while (r->written - __atomic_load_n(&r->read, __ATOMIC_ACQUIRE) == RING_SAMPLES)
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    struct logged *kept = &r->samples[r->written % RING_SAMPLES];
    *kept = (struct logged){*s, model};
    kept->sample.gaps_ns = NULL;
    kept->sample.gap_count = 0;
    __atomic_store_n(&r->written, r->written + 1, __ATOMIC_RELEASE);
}

/* Signals are for the threads that expect them. */
static void start_thread(struct sample_log *l)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&l->thread, NULL, write_all, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    ENSURE(error == 0);
    pthread_setname_np(l->thread, "weir-log");
}

struct sample_log *sample_log_open(const char *path, unsigned threads, enum prompt_api api,
                                   struct err *e)
{
    int fd = strcmp(path, "-") == 0 ? dup(STDOUT_FILENO)
                                    : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) {
        err_set(e, "--log: cannot write %s: %s", path, strerror(errno));
        return NULL;
    }
    struct sample_log *l = mem_alloc(sizeof *l);
    l->fd = fd;
    l->path = path;
    l->call_type = prompts_call_type(api);
    l->threads = threads;
    l->real_minus_mono_us = clock_real_us() - (int64_t)(clock_mono_ns() / NS_PER_US);
    buf_init(&l->out, 0, NULL);
    l->rings = aligned_alloc(64, threads * sizeof *l->rings);
    ENSURE(l->rings != NULL);
    memset(l->rings, 0, threads * sizeof *l->rings);
    for (unsigned i = 0; i < threads; i++)
        l->rings[i].samples = mem_alloc(RING_SAMPLES * sizeof *l->rings[i].samples);
    start_thread(l);
    return l;
}

bool sample_log_close(struct sample_log *l, struct err *e)
{
    if (!l)
        return true;
    __atomic_store_n(&l->stop, true, __ATOMIC_RELEASE);
    pthread_join(l->thread, NULL);
    if (close(l->fd) != 0 && !l->error)
        l->error = errno;
    bool good = !l->error || err_set(e, "--log: cannot write %s: %s", l->path, strerror(l->error));
    for (unsigned i = 0; i < l->threads; i++)
        mem_free(l->rings[i].samples);
    free(l->rings);
    buf_fini(&l->out);
    mem_free(l);
    return good;
}
