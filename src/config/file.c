#include "config/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

static bool fail(struct err *e, const char *path, const char *why)
{
    return err_at(e, path, 0, 0, "%s", why);
}

static bool fail_with(struct err *e, const char *path, int error)
{
    if (e && !e->text[0])
        e->os_error = error;
    return fail(e, path, strerror(error));
}

/* Reads to the end, in pieces: what is not a regular file (/dev/stdin, a pipe) has no size to go by. */
static bool read_all(struct arena *a, int fd, const char *path, size_t max_bytes, struct str *out,
                     struct err *e)
{
    struct buf b;
    buf_init(&b, max_bytes + 1, NULL);
    for (;;) {
        char *room = buf_room(&b, MIN((size_t)65536, max_bytes + 1 - buf_used(&b)));
        ssize_t n = room ? read(fd, room, MIN((size_t)65536, max_bytes + 1 - buf_used(&b))) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            buf_fini(&b);
            return fail_with(e, path, errno);
        }
        if (n == 0)
            break;
        buf_wrote(&b, (size_t)n);
    }
    bool fits = buf_used(&b) <= max_bytes;
    if (fits)
        *out = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return fits || err_at(e, path, 0, 0, "larger than %zu bytes", max_bytes);
}

bool file_read(struct arena *a, const char *path, size_t max_bytes, struct str *out, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_with(e, path, errno);
    bool ok = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) ? fail(e, path, "is a folder")
                                                         : read_all(a, fd, path, max_bytes, out, e);
    close(fd);
    return ok;
}
