/* log_follow_watch.c -- hears of changes: inotify where the file system tells of them, nothing where it does not.
 *
 * The folder is watched for names that come and go, each open file for writes. What is told is not believed in detail: any
 * word makes the owner look at everything, which costs a stat and a few fstats; so a queue that ran over loses
 * nothing, and neither does a change of which inotify says nothing: the owner looks once a second all the same.
 * Where watches have run out (fs.inotify.max_user_watches, max_user_instances) the log is polled. */
#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "observe/log_follow_internal.h"

/* File systems whose other machines or user space change files without this kernel knowing (statfs(2), f_type). */
static const uint32_t untold[] = {
    0x6969,     /* NFS */
    0x517B,     /* SMB */
    0xFF534D42, /* CIFS */
    0xFE534D42, /* SMB2 */
    0x65735546, /* FUSE */
    0x01021997, /* 9P */
    0x00C36400, /* Ceph */
    0x5346414F, /* AFS */
    0x73757245, /* Coda */
    0x0BD00BD0, /* Lustre */
    0x47504653, /* GPFS */
};

static bool is_untold(const struct statfs *fs)
{
    for (size_t i = 0; i < COUNT(untold); i++)
        if ((uint32_t)fs->f_type == untold[i])
            return true;
    return false;
}

void follow_watch_open(struct log_follow *f)
{
    struct statfs fs;
    f->inotify = -1;
    f->polled = f->o.poll_only || f->is_stream || statfs(f->folder, &fs) != 0 || is_untold(&fs);
    if (f->polled)
        return;
    f->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    const uint32_t names = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB |
                           IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
    if (f->inotify < 0 || inotify_add_watch(f->inotify, f->folder, names) < 0)
        follow_watch_close(f);
}

void follow_watch_close(struct log_follow *f)
{
    if (f->inotify >= 0)
        close(f->inotify);
    f->inotify = -1;
    f->polled = !f->is_stream;
}

/* By its descriptor, for its name may be another file's by now. */
void follow_watch_add(struct log_follow *f, struct follow_source *s)
{
    char name[40];
    struct statfs fs;
    if (f->inotify < 0 || s->fd < 0)
        return;
    snprintf(name, sizeof name, "/proc/self/fd/%d", s->fd);
    if (fstatfs(s->fd, &fs) == 0 && !is_untold(&fs))
        s->watch = inotify_add_watch(f->inotify, name, IN_MODIFY);
    if (s->watch < 0)
        follow_watch_close(f);
}

void follow_watch_remove(struct log_follow *f, struct follow_source *s)
{
    if (f->inotify >= 0 && s->watch >= 0)
        (void)inotify_rm_watch(f->inotify, s->watch);
    s->watch = -1;
}

void follow_watch_drain(struct log_follow *f)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    while (f->inotify >= 0 && read(f->inotify, events, sizeof events) > 0)
        ;
}
