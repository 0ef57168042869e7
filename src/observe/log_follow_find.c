/* log_follow_find.c -- finds among a log's rotated siblings (log_set.h) the files that a follower has yet to read.
 *
 * Names say little: rotation moves them on, perhaps while they are being listed. So all are opened first, the list is made
 * until it comes out the same twice, and files are told apart by device and inode, packed ones by how their content begins.
 * Which came after which is told by their first stamps, as in the set. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "observe/log_follow_internal.h"
#include "observe/log_range.h"
#include "observe/log_seek.h"
#include "observe/log_set.h"

#define LISTINGS_MAX   8  /* a folder that changes all the time is taken as it is */
#define HEAD_TELLS_MIN 64 /* bytes that make the beginning of a log its own: a stamp and an id */

/* The siblings, opened, oldest first; without the file that has the name now. */
struct listing {
    struct follow_source **items;
    size_t count;
    uint64_t signature; /* of who is in it */
};

static void listing_close(struct listing *l)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->items[i])
            follow_source_free(l->items[i]);
    mem_free(l->items);
    *l = (struct listing){0};
}

/* False: not to be had, which for a name that is gone again is no error. */
static bool open_sibling(const char *path, struct follow_source **s, struct err *e)
{
    struct stat st;
    struct log_input in;
    *s = NULL;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return true;
    if (!log_input_open(&in, path) || fstat(in.fd, &st) != 0) {
        bool gone = in.fd < 0 && errno == ENOENT;
        if (!gone)
            err_set(e, "an older file, %s: %s", path, log_input_error(&in));
        log_input_close(&in);
        return gone;
    }
    *s = log_input_seekable(&in) ? follow_source_new(in.fd, st.st_dev, st.st_ino)
                                 : follow_source_packed(&in, st.st_dev, st.st_ino);
    (*s)->limit = (uint64_t)st.st_size;
    return true;
}

static bool is_file(const struct follow_source *s, uint64_t device, uint64_t inode)
{
    return s->device == device && s->inode == inode;
}

static bool list_once(const struct log_follow *f, const struct follow_source *live,
                      struct listing *l, struct err *e)
{
    struct log_set set;
    const char *path = f->path;
    bool ok = log_set_open(&set, &path, 1, true, e);
    l->items = mem_alloc(MAX(set.count, (size_t)1) * sizeof(struct follow_source *));
    for (size_t i = 0; i < set.count && ok; i++) {
        struct follow_source *s;
        ok = open_sibling(set.paths[i], &s, e);
        if (!s)
            continue;
        if (live && is_file(s, live->device, live->inode)) {
            follow_source_free(s);
            continue;
        }
        uint64_t who[3] = {l->signature, s->device, s->inode};
        l->signature = str_hash((struct str){(const char *)who, sizeof who});
        l->items[l->count++] = s;
    }
    log_set_close(&set);
    if (!ok)
        listing_close(l);
    return ok;
}

static bool list_steadily(const struct log_follow *f, const struct follow_source *live,
                          struct listing *l, struct err *e)
{
    uint64_t before = 0;
    *l = (struct listing){0};
    for (int i = 0; i < LISTINGS_MAX; i++) {
        listing_close(l);
        if (!list_once(f, live, l, e))
            return false;
        if (l->count == 0 || (i > 0 && l->signature == before))
            break;
        before = l->signature;
    }
    return true;
}

/* ---- who is who ---- */

static bool head_is(struct follow_source *s, uint64_t hash, uint32_t bytes)
{
    char head[LOG_POSITION_HEAD];
    struct str text = {head, bytes};
    if (bytes > sizeof head)
        return false;
    if (s->fd < 0)
        text.p = follow_source_peek(s, bytes);
    else if (pread(s->fd, head, bytes, 0) != (ssize_t)bytes)
        return false;
    return text.p && str_hash(text) == hash;
}

/* Is the candidate this file, whose head is told? A packed one is when it begins as that did. */
static bool is_same(struct follow_source *s, const struct follow_done *d)
{
    if (s->fd >= 0)
        return is_file(s, d->device, d->inode) && head_is(s, d->head_hash, d->head_bytes);
    return d->head_bytes >= HEAD_TELLS_MIN && head_is(s, d->head_hash, d->head_bytes);
}

static struct follow_done identity_of(const struct follow_source *s)
{
    return (struct follow_done){s->device, s->inode, str_hash((struct str){s->head, s->head_bytes}),
                                s->head_bytes};
}

static bool is_known(const struct log_follow *f, struct follow_source *s)
{
    for (size_t i = 0; i < f->source_count; i++) {
        struct follow_done d = identity_of(f->sources[i]);
        if (is_same(s, &d))
            return true;
    }
    for (size_t i = 0; i < MIN(f->done_count, (size_t)FOLLOW_DONE_MAX); i++)
        if (is_same(s, &f->done[i]))
            return true;
    return false;
}

/* ---- rotations between two looks ---- */

static int64_t changed_us(const struct follow_source *s)
{
    struct stat st = {0};
    (void)fstat(s->fd >= 0 ? s->fd : s->packed.fd, &st);
    return st.st_mtim.tv_sec * INT64_C(1000000) + st.st_mtim.tv_nsec / 1000;
}

/* The least stamp at the file's beginning. By its descriptor, for its name may be another's by now. */
static bool first_stamp(const struct follow_source *s, int64_t *us)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", s->fd >= 0 ? s->fd : s->packed.fd);
    return log_first_stamp(path, us);
}

/* Did the file come after `old`? One that is empty may have, and harms nobody if not: what is written to it from now on is new.
 * Without stamps it counts when it was last written to. */
static bool is_younger(const struct follow_source *s, const struct follow_source *old)
{
    int64_t its_us, old_us;
    if (first_stamp(s, &its_us))
        return its_us >= (first_stamp(old, &old_us) ? old_us : changed_us(old));
    return (s->fd >= 0 && s->limit == 0) || changed_us(s) >= changed_us(old);
}

bool follow_find_between(struct log_follow *f, const struct follow_source *live, struct err *e)
{
    struct listing l;
    const struct follow_source *old = f->sources[f->source_count - 1];
    if (!list_steadily(f, live, &l, e))
        return false;
    bool still = follow_name_is(f, live);
    for (size_t i = 0; i < l.count && still; i++) {
        struct follow_source *s = l.items[i];
        if (is_known(f, s) || !is_younger(s, old))
            continue;
        s->announce = s->limit ? FOLLOW_ROTATED : -1;
        follow_insert(f, f->source_count, s);
        l.items[i] = NULL;
    }
    listing_close(&l);
    return still;
}

struct follow_source *follow_find_copy(const struct log_follow *f, const struct follow_source *s)
{
    struct listing l = {0};
    struct follow_source *copy = NULL;
    struct err ignored = {0}; /* without the copy there is a little less to show */
    struct follow_done d = identity_of(s);
    if (d.head_bytes < HEAD_TELLS_MIN || !list_once(f, s, &l, &ignored))
        return NULL;
    for (size_t i = 0; i < l.count && !copy; i++) {
        struct follow_source *one = l.items[i];
        if (one->fd < 0 || one->limit <= s->line_at || !head_is(one, d.head_hash, d.head_bytes) ||
            is_known(f, one))
            continue;
        follow_source_start(one, s->line_at);
        copy = one;
        l.items[i] = NULL;
    }
    listing_close(&l);
    return copy;
}

/* ---- where to begin ---- */

static bool is_at_position(struct follow_source *s, const struct log_position *p, bool by_head)
{
    if (s->fd >= 0 && s->limit < p->offset)
        return false; /* emptied since */
    if (!by_head)
        return is_file(s, p->device, p->inode) && head_is(s, p->head_hash, p->head_bytes);
    return p->head_bytes >= HEAD_TELLS_MIN && head_is(s, p->head_hash, p->head_bytes);
}

/* Its place in the list, or `count`. The same file first, then one with the same beginning: packed, or copied. */
static size_t find_place(const struct listing *l, const struct log_position *p)
{
    for (int by_head = 0; by_head < 2; by_head++)
        for (size_t i = 0; i < l->count; i++)
            if (is_at_position(l->items[i], p, by_head))
                return i;
    return l->count;
}

/* The siblings from number `from` on, and the live one if there is one. */
static void add_all(struct log_follow *f, struct listing *l, size_t from,
                    struct follow_source *live)
{
    for (size_t i = from; i <= l->count; i++) {
        struct follow_source *s = i < l->count ? l->items[i] : live;
        if (!s)
            continue;
        s->announce = f->source_count ? FOLLOW_ROTATED : -1;
        follow_insert(f, f->source_count, s);
        if (i < l->count)
            l->items[i] = NULL;
    }
}

static void begin_at_position(struct log_follow *f, struct listing *l, struct follow_source *live)
{
    const struct log_position *p = &f->o.position;
    bool in_live = live && is_at_position(live, p, false);
    size_t place = in_live ? l->count : find_place(l, p);
    bool lost = !in_live && place == l->count;
    add_all(f, l, lost ? 0 : place, live);
    if (!lost)
        follow_source_skip(f->sources[0], p->offset);
    if (lost && f->source_count)
        f->sources[0]->announce = FOLLOW_LOST;
}

/* The last one that begins before the moment holds it. */
static void begin_at_time(struct log_follow *f, struct listing *l, struct follow_source *live)
{
    size_t from = 0;
    int64_t begins_us, before_us = f->o.since_us;
    before_us -= before_us > INT64_MIN + LOG_SEEK_SLACK_US ? LOG_SEEK_SLACK_US : 0;
    for (size_t i = 0; i <= l->count; i++) {
        const struct follow_source *s = i < l->count ? l->items[i] : live;
        if (s && first_stamp(s, &begins_us) && begins_us <= before_us)
            from = i;
    }
    add_all(f, l, from, live);
    if (f->source_count == 0 || f->sources[0]->fd < 0)
        return;
    struct follow_source *s = f->sources[0];
    struct log_input in = {.fd = s->fd, .seekable = true, .bytes = s->limit}; /* borrowed */
    uint64_t at = 0, end = s->limit;
    log_seek(&in, f->o.since_us, INT64_MAX, &at, &end);
    follow_source_start(s, at);
}

/* Lists, opens and hands over to `begin`, until nothing changed meanwhile. */
static bool find_begin(struct log_follow *f,
                       void (*begin)(struct log_follow *, struct listing *, struct follow_source *),
                       struct err *e)
{
    for (int i = 0;; i++) {
        struct listing l = {0};
        struct stat st;
        struct follow_source *live = follow_open_live(f, e);
        if (!live && e->text[0])
            return false;
        if (live)
            live->limit = fstat(live->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
        bool ok = list_steadily(f, live, &l, e);
        bool steady = ok && (!live || follow_name_is(f, live));
        if (steady || (ok && i == LISTINGS_MAX)) {
            begin(f, &l, live);
            live = NULL;
        }
        listing_close(&l);
        if (live)
            follow_source_free(live);
        if (!ok || steady || i == LISTINGS_MAX)
            return ok;
    }
}

bool follow_find_position(struct log_follow *f, struct err *e)
{
    return find_begin(f, begin_at_position, e);
}

bool follow_find_time(struct log_follow *f, struct err *e)
{
    return find_begin(f, begin_at_time, e);
}
