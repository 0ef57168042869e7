/* file_write.c -- write, fsync, rename, fsync: the order that makes rename(2) a commit. */
#include "base/file_write.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static bool write_all(int fd, struct str content)
{
    while (content.n) {
        ssize_t n = write(fd, content.p, content.n);
        if (n < 0 && errno != EINTR)
            return false;
        content = n > 0 ? str_skip(content, (size_t)n) : content;
    }
    return true;
}

/* Without it the rename itself may be lost with the power. Not every file system can: then it was said to be done. */
static void sync_folder(const char *path)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path + 1) : 1,
             slash ? path : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

bool file_write_whole(const char *path, struct str content, mode_t mode, struct err *e)
{
    char beside[4096];
    if ((size_t)snprintf(beside, sizeof beside, "%s.tmp", path) >= sizeof beside)
        return err_set(e, "cannot write %s: the name is too long", path);
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return err_set(e, "cannot write %s: %s", beside, strerror(errno));
    bool written = write_all(fd, content) && fsync(fd) == 0;
    int why = errno;
    if (close(fd) != 0 && written) {
        written = false;
        why = errno;
    }
    if (!written) {
        unlink(beside);
        return err_set(e, "cannot write %s: %s", beside, strerror(why));
    }
    if (rename(beside, path) != 0) {
        why = errno;
        unlink(beside);
        return err_set(e, "cannot rename %s to %s: %s", beside, path, strerror(why));
    }
    sync_folder(path);
    return true;
}
