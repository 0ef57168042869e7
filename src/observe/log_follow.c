/* log_follow.c -- reads a log while it grows, through everything that rotation does to it.
 *
 * The log is a row of sources (log_follow_internal.h), oldest first: files that had the name once and are not known to be
 * done with, then the one that has it now. One run is one look at all of them:
 *
 *   1  does the name belong to another file now? Then that is a new source; so are those that came and went unseen in between
 *      (log_follow_find.c)
 *   2  measure all, the newest first
 *   3  read all, the oldest first, each up to its measure
 *
 * The order of 2 and 3 is the whole trick: a writer that has begun the new file has finished with the old one, so what it
 * wrote there before is within a measure that is taken later. Lines come in the order in which they were written though the
 * writer reopens its file at a time of its own. What others write to a renamed file after that comes late, but it comes:
 * a file is let go of when it has been quiet for a while and its successor has something in it. */
#include "observe/log_follow.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "observe/log_follow_internal.h"

#define POLL_MS_DEFAULT 250
#define WATCHED_LOOK_MS 1000 /* inotify or not: for what it does not tell of */

/* ---- sources ---- */

void follow_tell(const struct log_follow *f, enum log_follow_event event)
{
    if (f->o.event)
        f->o.event(f->o.arg, event, f->path);
}

void follow_insert(struct log_follow *f, size_t at, struct follow_source *s)
{
    f->sources = mem_realloc(f->sources, (f->source_count + 1) * sizeof(struct follow_source *));
    memmove(f->sources + at + 1, f->sources + at,
            (f->source_count - at) * sizeof(struct follow_source *));
    f->sources[at] = s;
    f->source_count++;
    follow_watch_add(f, s);
}

static void remember_done(struct log_follow *f, const struct follow_source *s)
{
    f->done[f->done_count++ % FOLLOW_DONE_MAX] = (struct follow_done){
        s->device, s->inode, str_hash((struct str){s->head, s->head_bytes}), s->head_bytes};
}

static void let_go(struct log_follow *f, size_t at)
{
    struct follow_source *s = f->sources[at];
    follow_source_finish(f, s);
    remember_done(f, s);
    follow_watch_remove(f, s);
    follow_source_free(s);
    memmove(f->sources + at, f->sources + at + 1,
            (--f->source_count - at) * sizeof(struct follow_source *));
}

/* Is source number `at`, which is not the live one, done with? */
static bool is_done(const struct log_follow *f, size_t at, uint64_t now_ns)
{
    const struct follow_source *s = f->sources[at], *next = f->sources[at + 1];
    if (s->fd < 0)
        return s->at_end;
    bool next_begun = next->line_at + next->have + next->limit > 0;
    return next_begun && s->line_at + s->have >= s->limit &&
           now_ns - s->changed_ns >= FOLLOW_GRACE_NS;
}

/* ---- the name ---- */

static bool is_packed(int fd)
{
    unsigned char head[4] = {0};
    return pread(fd, head, sizeof head, 0) >= 2 &&
           (memcmp(head, "\x1f\x8b", 2) == 0 || memcmp(head, "\x28\xb5\x2f\xfd", 4) == 0);
}

struct follow_source *follow_open_live(struct log_follow *f, struct err *e)
{
    struct stat st = {0};
    int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno != ENOENT)
        err_set(e, "cannot open %s: %s", f->path, strerror(errno));
    if (fd < 0)
        return NULL;
    bool looked = fstat(fd, &st) == 0, packed = looked && is_packed(fd);
    if (looked && S_ISREG(st.st_mode) && !packed)
        return follow_source_new(fd, st.st_dev, st.st_ino);
    if (packed)
        err_set(e,
                "%s is packed, and so does not grow: read it with weir analyze, or zcat FILE | "
                "weir tail -",
                f->path);
    else
        err_set(e, "%s: expected a file that grows, found %s; for what a pipe brings name -",
                f->path, S_ISDIR(st.st_mode) ? "a folder" : "something else");
    close(fd);
    return NULL;
}

static struct follow_source *live_source(const struct log_follow *f)
{
    return f->source_count ? f->sources[f->source_count - 1] : NULL;
}

bool follow_name_is(const struct log_follow *f, const struct follow_source *s)
{
    struct stat st;
    return stat(f->path, &st) == 0 && st.st_dev == s->device && st.st_ino == s->inode;
}

/* Another file has the name. */
static bool begin_new(struct log_follow *f, struct err *e)
{
    struct follow_source *live = follow_open_live(f, e);
    if (!live)
        return e->text[0] == '\0';
    if (f->source_count && !follow_find_between(f, live, e)) {
        follow_source_free(live);
        f->more = true;
        return e->text[0] == '\0';
    }
    live->announce = f->missing_told ? FOLLOW_APPEARED : FOLLOW_ROTATED;
    f->missing_told = false;
    follow_insert(f, f->source_count, live);
    return true;
}

static void note_missing(struct log_follow *f, uint64_t now_ns)
{
    if (f->missing_ns == 0)
        f->missing_ns = now_ns;
    /* Between a rename and the new file's making there is none for a moment: not worth a word. */
    if (f->missing_told || (f->source_count && now_ns - f->missing_ns < FOLLOW_GRACE_NS))
        return;
    f->missing_told = true;
    follow_tell(f, FOLLOW_MISSING);
}

static bool look_at_name(struct log_follow *f, uint64_t now_ns, struct err *e)
{
    struct stat st;
    const struct follow_source *live = live_source(f);
    if (stat(f->path, &st) != 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            return err_set(e, "cannot look at %s: %s", f->path, strerror(errno));
        note_missing(f, now_ns);
        return true;
    }
    f->missing_ns = 0;
    if (live && st.st_dev == live->device && st.st_ino == live->inode) {
        if (f->missing_told)
            follow_tell(f, FOLLOW_APPEARED); /* it was renamed away and came back */
        f->missing_told = false;
        return true;
    }
    return begin_new(f, e);
}

/* ---- one look ---- */

static void measure(struct log_follow *f, uint64_t now_ns)
{
    for (size_t i = f->source_count; i-- > 0;) {
        struct follow_source *s = f->sources[i];
        struct stat st;
        if (s->fd < 0 || fstat(s->fd, &st) != 0)
            continue;
        if ((uint64_t)st.st_size != s->limit)
            s->changed_ns = now_ns;
        s->limit = (uint64_t)st.st_size;
    }
}

/* What was in the file and not read yet may still be in the copy that was made of it. */
static void begin_anew(struct log_follow *f, size_t at)
{
    struct follow_source *s = f->sources[at], *copy = follow_find_copy(f, s);
    follow_source_start(s, 0);
    s->skipping = false;
    s->announce = FOLLOW_TRUNCATED;
    if (copy)
        follow_insert(f, at, copy);
}

/* True: all were read, or one failed; false: there is more. */
static bool read_sources(struct log_follow *f, uint64_t budget, bool *ok, struct err *e)
{
    for (size_t i = 0; i < f->source_count; i++) {
        struct follow_source *s = f->sources[i];
        if (s->announce >= 0)
            follow_tell(f, (enum log_follow_event)s->announce);
        s->announce = -1;
        switch (follow_source_read(f, s, &budget, e)) {
        case READ_ALL: break;
        case READ_MORE: return false;
        case READ_TRUNCATED: begin_anew(f, i); return false;
        case READ_FAILED: *ok = false; break;
        }
    }
    return true;
}

enum log_follow_state log_follow_run(struct log_follow *f, uint64_t bytes_max, struct err *e)
{
    uint64_t now_ns = clock_mono_ns();
    bool ok = true;
    e->text[0] = '\0';
    f->more = false;
    follow_watch_drain(f);
    if (!f->is_stream)
        ok = look_at_name(f, now_ns, e);
    measure(f, now_ns);
    f->more |= !read_sources(f, bytes_max ? bytes_max : UINT64_MAX, &ok, e);
    for (size_t i = 0; !f->more && i + 1 < f->source_count;)
        if (is_done(f, i, now_ns))
            let_go(f, i);
        else
            i++;
    if (f->is_stream && f->sources[0]->at_end) {
        follow_source_finish(f, f->sources[0]);
        return ok ? FOLLOW_ENDED : FOLLOW_FAILED;
    }
    if (!ok) {
        f->more = false; /* not at once again */
        return FOLLOW_FAILED;
    }
    return f->more ? FOLLOW_MORE : FOLLOW_CAUGHT_UP;
}

/* ---- from open to close ---- */

static bool begin_first(struct log_follow *f, struct err *e)
{
    struct stat st;
    if (f->is_stream) {
        follow_insert(f, 0, follow_source_stream());
        return true;
    }
    if (stat(f->folder, &st) != 0 || !S_ISDIR(st.st_mode))
        return err_set(e,
                       "cannot follow %s: there is no folder %s; expected the path of a log that "
                       "is, or will be, written",
                       f->path, f->folder);
    bool from_position =
        f->o.start == FOLLOW_FROM_POSITION && (f->o.position.inode || f->o.position.head_bytes);
    if (from_position)
        return follow_find_position(f, e);
    if (f->o.start == FOLLOW_FROM_TIME)
        return follow_find_time(f, e);
    struct follow_source *live = follow_open_live(f, e);
    if (!live)
        return e->text[0] == '\0';
    uint64_t size = fstat(live->fd, &st) == 0 ? (uint64_t)st.st_size : 0, at = 0;
    if (f->o.start == FOLLOW_FROM_END || f->o.start == FOLLOW_LAST_LINES)
        at = follow_last_lines(live->fd, size,
                               f->o.start == FOLLOW_LAST_LINES ? f->o.last_lines : 0);
    follow_source_start(live, at);
    follow_insert(f, 0, live);
    return true;
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return mem_strdup(STR("."));
    return mem_strdup((struct str){path, MAX((size_t)(slash - path), (size_t)1)});
}

struct log_follow *log_follow_open(const struct log_follow_options *o, struct err *e)
{
    struct log_follow *f = mem_alloc(sizeof *f);
    f->o = *o;
    f->path = mem_strdup(str_from(o->path));
    f->folder = folder_of(o->path);
    f->is_stream = strcmp(o->path, "-") == 0;
    f->o.poll_ms = o->poll_ms ? o->poll_ms : POLL_MS_DEFAULT;
    logline_init(&f->line);
    follow_watch_open(f);
    if (begin_first(f, e))
        return f;
    log_follow_close(f);
    return NULL;
}

void log_follow_close(struct log_follow *f)
{
    for (size_t i = 0; i < f->source_count; i++)
        follow_source_free(f->sources[i]);
    follow_watch_close(f);
    mem_free(f->sources);
    mem_free(f->folder);
    mem_free(f->path);
    mem_free(f);
}

int log_follow_fd(const struct log_follow *f)
{
    return f->is_stream ? STDIN_FILENO : f->inotify;
}

int log_follow_wait_ms(const struct log_follow *f)
{
    if (f->more)
        return 0;
    if (f->is_stream)
        return -1;
    return f->polled ? (int)f->o.poll_ms : WATCHED_LOOK_MS;
}

struct log_position log_follow_position(const struct log_follow *f)
{
    const struct follow_source *s = NULL;
    for (size_t i = f->source_count; i-- > 0 && !(s && s->line_at);)
        s = f->sources[i];
    if (!s || f->is_stream)
        return (struct log_position){0};
    return (struct log_position){.device = s->device,
                                 .inode = s->inode,
                                 .offset = s->line_at,
                                 .head_bytes = s->head_bytes,
                                 .head_hash = str_hash((struct str){s->head, s->head_bytes})};
}

uint64_t log_follow_behind_bytes(const struct log_follow *f)
{
    uint64_t behind = 0;
    for (size_t i = 0; i < f->source_count; i++) {
        const struct follow_source *s = f->sources[i];
        struct stat st;
        if (s->fd >= 0 && fstat(s->fd, &st) == 0 && (uint64_t)st.st_size > s->line_at + s->have)
            behind += (uint64_t)st.st_size - s->line_at - s->have;
    }
    return behind;
}
