/* key_spend.c -- see key_spend.h.
 *
 * The file: a head, then slots of one cache line each, mapped in pieces of 64 KiB, so that a slot never moves while the file grows. A
 * slot lies within one sector of a disk. What a process knows of a slot (is it in use, is its window being turned) is in its own
 * memory: a lock that died with its holder cannot be found there.
 *
 * A window that is over is turned by the first thread that comes along: base = total, then the new end. Who meets it at that takes
 * the window for what it is, over and empty, and goes on: nobody waits. */
#include "gateway/key_spend.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digits.h"
#include "base/mem.h"

#define PIECE_BYTES 65536u
#define PIECE_SLOTS (PIECE_BYTES / sizeof(struct slot))
#define HASH_BYTES  32

static const char file_magic[16] = "weir spend v1\n";

struct slot {
    uint8_t hash[HASH_BYTES] __attribute__((aligned(8))); /* of the key; begins with zeros: free */
    struct spend_numbers n;
};
_Static_assert(sizeof(struct slot) == 64, "a slot is one cache line");

struct key_spend {
    struct slot *slot;
    bool used;    /* atomic: a key_use holds it */
    bool turning; /* atomic: a thread is ending its window */
    bool saved;   /* last_saved is something [keys thread] */
    struct spend_numbers last_saved;
};

struct piece {
    struct slot *slots;
    struct key_spend spends[PIECE_SLOTS];
};

struct spend_file {
    int fd; /* -1: memory only; locked, shared with other processes that have it */
    char path[4096 + 64];
    struct piece **pieces;
    size_t piece_count;
    size_t free_hint;         /* where the search for a free slot begins */
    struct key_spend **found; /* while loading: slots in use in the file, by hash */
    size_t found_count;
};

static void hash_bytes(const char hex[KEY_HASH_BYTES], uint8_t out[HASH_BYTES])
{
    for (size_t i = 0; i < HASH_BYTES; i++) {
        unsigned byte = 0;
        for (int k = 0; k < 2; k++) {
            char c = hex[2 * i + (size_t)k];
            byte = byte * 16 + (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
        }
        out[i] = (uint8_t)byte;
    }
}

static bool slot_is_free(const struct slot *s)
{
    return __atomic_load_n((const uint64_t *)(const void *)s->hash, __ATOMIC_ACQUIRE) == 0;
}

/* Two processes may have the file for a while (one that takes over from another): a slot goes to one of them. */
static bool claim(struct slot *s, const uint8_t hash[HASH_BYTES])
{
    uint64_t nobody = 0, mine;
    memcpy(&mine, hash, sizeof mine);
    if (!__atomic_compare_exchange_n((uint64_t *)(void *)s->hash, &nobody, mine, false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return false;
    memcpy(s->hash, hash, HASH_BYTES);
    s->n = (struct spend_numbers){0};
    return true;
}

/* ---- the file ---- */

static bool map_piece(struct spend_file *f, struct err *e)
{
    off_t at = (off_t)(f->piece_count + 1) * PIECE_BYTES;
    int flags = f->fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
    /* Room on the disk is taken now: writing to a hole of a full disk would be a SIGBUS on the road. */
    int error = f->fd >= 0 ? posix_fallocate(f->fd, at, PIECE_BYTES) : 0;
    if (error)
        return err_set(e, "the spend file cannot grow: %s", strerror(error));
    void *p = mmap(NULL, PIECE_BYTES, PROT_READ | PROT_WRITE, flags, f->fd, f->fd >= 0 ? at : 0);
    if (p == MAP_FAILED)
        return err_set(e, "the spend file cannot be mapped: %s", strerror(errno));
    struct piece *piece = mem_alloc(sizeof *piece);
    piece->slots = p;
    for (size_t i = 0; i < PIECE_SLOTS; i++)
        piece->spends[i].slot = &piece->slots[i];
    f->pieces = mem_realloc(f->pieces, (f->piece_count + 1) * sizeof *f->pieces);
    f->pieces[f->piece_count++] = piece;
    return true;
}

/* Pieces that another process added. */
static bool map_grown(struct spend_file *f, struct err *e)
{
    struct stat st;
    if (f->fd < 0 || fstat(f->fd, &st) != 0)
        return true;
    while ((off_t)(f->piece_count + 2) * PIECE_BYTES <= st.st_size)
        if (!map_piece(f, e))
            return false;
    return true;
}

static struct key_spend *spend_at(const struct spend_file *f, size_t i)
{
    return &f->pieces[i / PIECE_SLOTS]->spends[i % PIECE_SLOTS];
}

static size_t slot_count(const struct spend_file *f)
{
    return f->piece_count * PIECE_SLOTS;
}

static int by_hash(const void *left, const void *right)
{
    const struct key_spend *const *a = left, *const *b = right;
    return memcmp((*a)->slot->hash, (*b)->slot->hash, HASH_BYTES);
}

static void find_used(struct spend_file *f)
{
    f->found = mem_alloc(slot_count(f) * sizeof *f->found);
    for (size_t i = 0; i < slot_count(f); i++)
        if (!slot_is_free(spend_at(f, i)->slot))
            f->found[f->found_count++] = spend_at(f, i);
    qsort(f->found, f->found_count, sizeof *f->found, by_hash);
}

/* Locks; false: the path is another file by now, its last owner removed this one in between. */
static bool lock_and_check(int fd, const char *path)
{
    struct stat here, there;
    return flock(fd, LOCK_SH) == 0 && fstat(fd, &here) == 0 && lstat(path, &there) == 0 &&
           here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

static bool open_and_lock(struct spend_file *f, struct err *e)
{
    for (int tries = 0; tries < 10; tries++) {
        f->fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
        if (f->fd < 0)
            return err_set(e, "%s cannot be opened: %s", f->path, strerror(errno));
        if (lock_and_check(f->fd, f->path))
            return true;
        close(f->fd);
        f->fd = -1;
    }
    return err_set(e, "%s is removed again and again", f->path);
}

static bool open_file(struct spend_file *f, struct err *e)
{
    char head[sizeof file_magic];
    struct stat st;
    if (!open_and_lock(f, e))
        return false;
    /* The folder may be everybody's. */
    if (fstat(f->fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
        st.st_nlink != 1)
        return err_set(e, "%s: expected a file of this user's own", f->path);
    if (st.st_size == 0 && pwrite(f->fd, file_magic, sizeof head, 0) != (ssize_t)sizeof head)
        return err_set(e, "%s cannot be written: %s", f->path, strerror(errno));
    if (pread(f->fd, head, sizeof head, 0) != (ssize_t)sizeof head ||
        memcmp(head, file_magic, sizeof head) != 0)
        return err_set(e, "%s is not a spend file of this version of weir; move it away", f->path);
    return map_grown(f, e);
}

struct spend_file *spend_file_open(const char *path, struct err *e)
{
    struct spend_file *f = mem_alloc(sizeof *f);
    f->fd = -1;
    snprintf(f->path, sizeof f->path, "%s", path ? path : "");
    if (path && !open_file(f, e)) {
        spend_file_free(f);
        return NULL;
    }
    find_used(f);
    return f;
}

void spend_file_loaded(struct spend_file *f)
{
    spend_file_loaded_keeping(f, NULL, NULL);
}

void spend_file_loaded_keeping(struct spend_file *f,
                               bool (*keep)(void *arg, const char hash_hex[KEY_HASH_BYTES]),
                               void *arg)
{
    for (size_t i = 0; i < f->found_count; i++) {
        char hex[KEY_HASH_BYTES];
        digits_hex_bytes(hex, f->found[i]->slot->hash, HASH_BYTES);
        if (!f->found[i]->used && !(keep && keep(arg, hex)))
            *f->found[i]->slot = (struct slot){0};
    }
    mem_free(f->found);
    f->found = NULL;
    f->found_count = 0;
}

void spend_file_free(struct spend_file *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->piece_count; i++) {
        munmap(f->pieces[i]->slots, PIECE_BYTES);
        mem_free(f->pieces[i]);
    }
    if (f->fd >= 0)
        close(f->fd);
    mem_free(f->pieces);
    mem_free(f->found);
    mem_free(f);
}

void spend_file_remove(struct spend_file *f)
{
    if (f && f->fd >= 0 && flock(f->fd, LOCK_EX | LOCK_NB) == 0)
        unlink(f->path);
    spend_file_free(f);
}

/* ---- slots ---- */

/* The slot that the file has for a key, made by a process before this one, or by one beside it. */
static struct key_spend *find_in_file(const struct spend_file *f, uint8_t hash[HASH_BYTES])
{
    for (size_t i = 0; !f->found && i < slot_count(f); i++) {
        struct key_spend *s = spend_at(f, i);
        if (memcmp(s->slot->hash, hash, HASH_BYTES) == 0 && !s->used)
            return s;
    }
    if (!f->found || !f->found_count)
        return NULL;
    struct slot wanted = {0};
    memcpy(wanted.hash, hash, HASH_BYTES);
    struct key_spend probe = {.slot = &wanted}, *key = &probe;
    struct key_spend **found = bsearch(&key, f->found, f->found_count, sizeof *f->found, by_hash);
    return found && !(*found)->used ? *found : NULL;
}

static struct key_spend *find_free(struct spend_file *f)
{
    for (size_t k = 0; k < slot_count(f); k++) {
        size_t i = (f->free_hint + k) % slot_count(f);
        struct key_spend *s = spend_at(f, i);
        if (slot_is_free(s->slot) && !__atomic_load_n(&s->used, __ATOMIC_ACQUIRE)) {
            f->free_hint = i;
            return s;
        }
    }
    return NULL;
}

bool spend_file_room(struct spend_file *f, struct err *e)
{
    return map_grown(f, e) && (find_free(f) || map_piece(f, e));
}

/* Each number by itself: total only grows, and base and end belong to the moment they were set. */
static void merge(struct spend_numbers *n, const struct spend_numbers *stored)
{
    if (stored->total_pico > n->total_pico)
        n->total_pico = stored->total_pico;
    if (stored->set_us > n->set_us) {
        n->base_pico = stored->base_pico;
        n->window_end_us = stored->window_end_us;
        n->set_us = stored->set_us;
    }
}

struct key_spend *key_spend_take(struct spend_file *f, const struct key_facts *facts,
                                 const struct spend_numbers *stored, int64_t now_us)
{
    uint8_t hash[HASH_BYTES];
    hash_bytes(facts->hash_hex, hash);
    struct key_spend *s = find_in_file(f, hash);
    if (!s) {
        s = find_free(f);
        if (!s || !claim(s->slot, hash))
            return NULL;
        f->free_hint++; /* what was given back comes last: another process may not have heard of it yet */
    }
    if (stored)
        merge(&s->slot->n, stored);
    s->saved = s->turning = false;
    __atomic_store_n(&s->used, true, __ATOMIC_RELEASE);
    if (!s->slot->n.window_end_us)
        key_spend_window(s, facts, now_us);
    return s;
}

void key_spend_drop(struct key_spend *s)
{
    memset(s->slot->hash, 0, HASH_BYTES);
}

void key_spend_release(struct key_spend *s)
{
    __atomic_store_n(&s->used, false, __ATOMIC_RELEASE);
}

/* ---- numbers ---- */

static int64_t get(const int64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void put(int64_t *p, int64_t value)
{
    __atomic_store_n(p, value, __ATOMIC_RELEASE);
}

static bool is_over(const struct spend_numbers *n, const struct key_facts *facts, int64_t now_us)
{
    return duration_given(facts->budget_duration) && now_us >= get(&n->window_end_us);
}

static void begin_window(struct spend_numbers *n, int64_t base_pico, int64_t end_us, int64_t now_us)
{
    put(&n->base_pico, base_pico);
    put(&n->set_us, now_us);
    put(&n->window_end_us, end_us);
}

static void turn(struct key_spend *s, const struct key_facts *facts, int64_t now_us)
{
    struct spend_numbers *n = &s->slot->n;
    if (LIKELY(!is_over(n, facts, now_us)) ||
        __atomic_exchange_n(&s->turning, true, __ATOMIC_ACQUIRE))
        return;
    if (is_over(n, facts, now_us))
        begin_window(n, get(&n->total_pico),
                     duration_window_end(facts->budget_began_us, facts->budget_duration, now_us),
                     now_us);
    __atomic_store_n(&s->turning, false, __ATOMIC_RELEASE);
}

static double spent_usd_of(const struct key_spend *s, const struct key_facts *facts, int64_t now_us)
{
    const struct spend_numbers *n = &s->slot->n;
    if (is_over(n, facts, now_us))
        return 0; /* another thread is turning the window */
    int64_t base_pico = get(&n->base_pico);
    return (double)(get(&n->total_pico) - base_pico) / (double)PICO_USD_PER_USD;
}

double key_spend_usd(struct key_spend *s, const struct key_facts *facts, int64_t now_us)
{
    turn(s, facts, now_us);
    return spent_usd_of(s, facts, now_us);
}

bool key_spend_over(struct key_spend *s, const struct key_facts *facts, int64_t now_us,
                    double *spent_usd)
{
    double spent = key_spend_usd(s, facts, now_us);
    if (spent_usd)
        *spent_usd = spent;
    return facts->max_budget_usd >= 0 && spent >= facts->max_budget_usd;
}

void key_spend_add(struct key_spend *s, const struct key_facts *facts, int64_t pico_usd,
                   int64_t now_us)
{
    turn(s, facts, now_us);
    if (pico_usd > 0)
        __atomic_fetch_add(&s->slot->n.total_pico, pico_usd, __ATOMIC_ACQ_REL);
}

int64_t key_spend_reset_us(const struct key_spend *s, const struct key_facts *facts, int64_t now_us)
{
    if (!duration_given(facts->budget_duration))
        return 0;
    int64_t end_us = get(&s->slot->n.window_end_us);
    return now_us < end_us
               ? end_us
               : duration_window_end(facts->budget_began_us, facts->budget_duration, now_us);
}

/* ---- set by the keys thread: it waits out a thread that is turning the window, which takes nanoseconds ---- */

static void hold(struct key_spend *s)
{
    while (__atomic_exchange_n(&s->turning, true, __ATOMIC_ACQUIRE))
        ;
}

void key_spend_set(struct key_spend *s, double spent_usd, int64_t now_us)
{
    struct spend_numbers *n = &s->slot->n;
    hold(s);
    begin_window(n, get(&n->total_pico) - (int64_t)(spent_usd * (double)PICO_USD_PER_USD + 0.5),
                 get(&n->window_end_us), now_us);
    __atomic_store_n(&s->turning, false, __ATOMIC_RELEASE);
}

void key_spend_window(struct key_spend *s, const struct key_facts *facts, int64_t now_us)
{
    struct spend_numbers *n = &s->slot->n;
    int64_t end_us =
        duration_given(facts->budget_duration)
            ? duration_window_end(facts->budget_began_us, facts->budget_duration, now_us)
            : 0;
    hold(s);
    begin_window(n, get(&n->base_pico), end_us, now_us);
    __atomic_store_n(&s->turning, false, __ATOMIC_RELEASE);
}

bool key_spend_changed(struct key_spend *s, struct spend_numbers *out)
{
    struct spend_numbers *n = &s->slot->n;
    hold(s);
    *out = (struct spend_numbers){get(&n->total_pico), get(&n->base_pico), get(&n->window_end_us),
                                  get(&n->set_us)};
    __atomic_store_n(&s->turning, false, __ATOMIC_RELEASE);
    return !s->saved || memcmp(out, &s->last_saved, sizeof *out) != 0;
}

void key_spend_saved(struct key_spend *s, const struct spend_numbers *n)
{
    s->saved = true;
    s->last_saved = *n;
}
