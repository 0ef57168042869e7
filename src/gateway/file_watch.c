/* file_watch.c -- inotify as an alarm clock, stat(2) as the judge.
 *
 * What an event means depends on how a file was replaced, so events are only taken as a hint to look: a file has changed when its
 * identity (device, inode, size, times; through all links) is another one than when it was read. And it is taken for settled
 * when two looks SETTLE_NS apart agree, so that half a file that is being copied is not read.
 *
 * Watched are each file (for a file that is bind-mounted into a container there is no folder to watch), its folder, the folder it
 * really lies in, and the folder of every symbolic link on the way to it. Watches are
 * made anew with each set; what changes meanwhile shows in the look that follows. */
#include "gateway/file_watch.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/mem.h"

#define SETTLE_NS (150 * NS_PER_MS)
#define FILES_MAX 128
#define FOLDER_MASK                                                                                \
    (IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM | IN_ATTRIB)
#define FILE_MASK (IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

/* What tells a file's content from another one's; all 0: not there. */
struct identity {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
};

struct watched {
    char *path;
    struct identity read, looked; /* when it was read, when last looked at */
};

struct file_watch {
    struct loop *loop;
    struct watch inotify; /* fd -1: off */
    struct timer look;
    struct watched files[FILES_MAX];
    int count;
    bool warned;
    void (*on_change)(void *arg);
    void *arg;
};

static struct identity identify(const char *path)
{
    struct stat st;
    struct identity id;
    memset(&id, 0, sizeof id); /* padding too: they are compared as memory */
    if (stat(path, &st) != 0)
        return id;
    id.device = st.st_dev;
    id.inode = st.st_ino;
    id.size = st.st_size;
    id.modified = st.st_mtim;
    id.changed = st.st_ctim;
    return id;
}

static bool same(const struct identity *a, const struct identity *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* ---- looking ---- */

static void look_again(struct file_watch *w)
{
    timer_set(w->loop, &w->look, loop_now_ns(w->loop) + SETTLE_NS);
}

static void look(struct timer *t)
{
    struct file_watch *w = CONTAINER(t, struct file_watch, look);
    bool changed = false, settled = true;
    for (int i = 0; i < w->count; i++) {
        struct watched *f = &w->files[i];
        struct identity now = identify(f->path);
        changed |= !same(&now, &f->read);
        settled &= same(&now, &f->looked);
        f->looked = now;
    }
    if (changed && settled)
        w->on_change(w->arg);
    else if (changed)
        look_again(w);
}

static void on_event(struct watch *watch, uint32_t events)
{
    struct file_watch *w = CONTAINER(watch, struct file_watch, inotify);
    char ignored[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    (void)events;
    while (read(watch->fd, ignored, sizeof ignored) > 0) {
    }
    if (!timer_armed(&w->look))
        look_again(w);
}

/* ---- what to watch ---- */

static void watch_folder_of(int fd, const char *path, size_t bytes)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%.*s", (int)bytes, path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0'; /* "/" stays "/" */
    (void)inotify_add_watch(fd, slash ? folder : ".", FOLDER_MASK);
}

static void watch_path(int fd, const char *path)
{
    char real[PATH_MAX];
    struct stat st;
    (void)inotify_add_watch(fd, path,
                            FILE_MASK); /* where it is missing its folder tells when it comes */
    watch_folder_of(fd, path, strlen(path));
    if (realpath(path, real))
        watch_folder_of(fd, real, strlen(real));
    for (size_t i = 1; path[i]; i++) {
        char part[PATH_MAX];
        if (path[i] != '/' || i >= sizeof part)
            continue;
        snprintf(part, sizeof part, "%.*s", (int)i, path);
        if (lstat(part, &st) == 0 && S_ISLNK(st.st_mode))
            watch_folder_of(fd, path, i);
    }
}

static void close_inotify(struct file_watch *w)
{
    int fd = w->inotify.fd;
    if (fd < 0)
        return;
    loop_remove(w->loop, &w->inotify);
    close(fd);
}

/* A device or a pipe is read once, and has nothing to compare. */
static bool may_be_watched(const char *path)
{
    struct stat st;
    return stat(path, &st) != 0 || S_ISREG(st.st_mode);
}

void file_watch_begin(struct file_watch *w)
{
    for (int i = 0; i < w->count; i++)
        mem_free(w->files[i].path);
    w->count = 0;
}

void file_watch_add(struct file_watch *w, const char *path)
{
    if (w->count == FILES_MAX || !*path || !may_be_watched(path))
        return;
    struct watched *f = &w->files[w->count++];
    f->path = mem_strdup(str_from(path));
    f->read = f->looked = identify(path);
}

void file_watch_commit(struct file_watch *w, bool on)
{
    timer_clear(w->loop, &w->look);
    close_inotify(w);
    if (!on || w->count == 0)
        return;
    w->inotify =
        (struct watch){.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), .on_event = on_event};
    if (w->inotify.fd < 0 || !loop_add_level(w->loop, &w->inotify, 0)) {
        if (!w->warned)
            diag_warn("the configuration's files cannot be watched for changes: %s; send SIGHUP "
                      "after a change (see "
                      "fs.inotify.max_user_instances)",
                      strerror(errno));
        w->warned = true;
        if (w->inotify.fd >= 0)
            close(w->inotify.fd);
        w->inotify.fd = -1;
        return;
    }
    for (int i = 0; i < w->count; i++)
        watch_path(w->inotify.fd, w->files[i].path);
    look_again(w); /* for what changed since it was read */
}

struct file_watch *file_watch_new(struct loop *l, void (*on_change)(void *arg), void *arg)
{
    struct file_watch *w = mem_alloc(sizeof *w);
    w->loop = l;
    w->inotify.fd = -1;
    w->look.on_fire = look;
    w->on_change = on_change;
    w->arg = arg;
    return w;
}

void file_watch_free(struct file_watch *w)
{
    if (!w)
        return;
    file_watch_begin(w);
    timer_clear(w->loop, &w->look);
    close_inotify(w);
    mem_free(w);
}
