/* export_state.c -- where the exporter was, and all it had counted, in one file.
 *
 *     weir export state 1\n
 *     <CRC-32 of the rest, 8 hex digits>\n
 *     log's path, position, counts, cells: varints and texts (base/varint.h, metrics_state.c)
 *
 * Position and numbers stand in one file because they must be of one moment: a process killed between two saves goes back to
 * the last one with both, reads on from there, and so counts nothing twice and leaves nothing out. The file is replaced as a whole
 * (file_write.h). The lock is a file of its own, since the state's inode changes with each save. */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/file_write.h"
#include "base/varint.h"
#include "cli/export.h"

#define MAGIC           "weir export state 1\n"
#define CHECKSUM_BYTES  9 /* eight digits and a newline */
#define STATE_BYTES_MAX (256u << 20)

/* Of struct export_stats: what goes on after a restart. */
#define STATS_KEPT (offsetof(struct export_stats, behind_bytes) / sizeof(uint64_t))

static uint32_t checksum(struct str s)
{
    return (uint32_t)crc32_z(crc32_z(0, NULL, 0), (const Bytef *)s.p, s.n);
}

/* ---- where ---- */

/* A name in a folder that other logs' states share: the log's own, and a sum of its path. */
static struct str shared_name(struct arena *a, const char *folder, const char *log)
{
    const char *slash = strrchr(log, '/');
    return arena_printf(a, "%s/%s-%08x.weir-export", folder, slash ? slash + 1 : log,
                        checksum(str_from(log)));
}

static bool make_folders(char *path)
{
    for (char *p = path + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        bool ok = mkdir(path, 0700) == 0 || errno == EEXIST;
        *p = '/';
        if (!ok)
            return false;
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

static struct str in_home(struct arena *a, const char *log, struct err *e)
{
    const char *state_home = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    struct str folder = state_home && state_home[0] == '/' ? arena_printf(a, "%s/weir", state_home)
                        : home && home[0] == '/' ? arena_printf(a, "%s/.local/state/weir", home)
                                                 : STR_NONE;
    if (folder.n && make_folders((char *)(uintptr_t)folder.p))
        return shared_name(a, folder.p, log);
    err_set(e,
            "found no folder for the state of %s: its own cannot be written%s%s; give one with "
            "--state FILE",
            log, folder.n ? ", nor can " : "", folder.n ? folder.p : "");
    return STR_NONE;
}

char *export_state_default(const char *log, struct err *e)
{
    struct arena a;
    arena_init(&a, NULL, 0);
    struct str given = str_from(getenv("STATE_DIRECTORY")), path;
    struct str folder = str_cut(&given, ':'); /* systemd may name several */
    const char *slash = strrchr(log, '/');
    struct str beside = slash && slash > log ? (struct str){log, (size_t)(slash - log)} : STR("/");
    if (folder.n)
        path = shared_name(&a, arena_str(&a, folder).p, log);
    else if (access(arena_str(&a, beside).p, W_OK | X_OK) == 0)
        path = arena_printf(&a, "%s.weir-export", log);
    else
        path = in_home(&a, log, e);
    char *copy = path.n ? mem_strdup(path) : NULL;
    arena_fini(&a);
    return copy;
}

/* ---- the lock ---- */

bool export_state_open(struct export_state *s, const char *path, struct err *e)
{
    char lock[4096], holder[32] = "";
    *s = (struct export_state){.lock_fd = -1};
    snprintf(lock, sizeof lock, "%s.lock", path);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(e, "cannot keep the state in %s: cannot open %s: %s", path, lock,
                       strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = pread(fd, holder, sizeof holder - 1, 0);
        struct str text = {holder, n > 0 ? (size_t)n : 0}, pid = str_cut(&text, '\n');
        close(fd);
        return err_set(
            e,
            "the state %s is in use by another weir export (process %.*s): end that one, "
            "or give this one a --state FILE of its own",
            path, STR_ARG(pid));
    }
    int n = snprintf(holder, sizeof holder, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, holder, (size_t)n, 0) != n) {
        close(fd);
        return err_set(e, "cannot write %s: %s", lock, strerror(errno));
    }
    s->path = mem_strdup(str_from(path));
    s->lock_fd = fd;
    return true;
}

void export_state_close(struct export_state *s)
{
    if (s->lock_fd > 0)
        close(s->lock_fd);
    mem_free(s->path);
    *s = (struct export_state){.lock_fd = -1};
}

/* ---- saving ---- */

bool export_state_save(const struct export_state *s, const char *log, const struct log_metrics *lm,
                       const struct log_position *position, struct err *e)
{
    struct buf content, file;
    uint64_t stats[STATS_KEPT];
    memcpy(stats, &lm->stats, sizeof stats);
    buf_init(&content, 0, NULL);
    buf_init(&file, 0, NULL);
    bool ok = varint_put_str(&content, str_from(log)) && varint_put(&content, position->device) &&
              varint_put(&content, position->inode) && varint_put(&content, position->offset) &&
              varint_put(&content, position->head_hash) &&
              varint_put(&content, position->head_bytes) &&
              varint_put(&content, (uint64_t)lm->since_us) &&
              varint_put(&content, (uint64_t)lm->newest_us) && varint_put(&content, STATS_KEPT);
    for (size_t i = 0; i < STATS_KEPT; i++)
        ok = ok && varint_put(&content, stats[i]);
    ENSURE(ok);
    metrics_save(lm->metrics, &content);
    ENSURE(buf_printf(&file, MAGIC "%08x\n", checksum(buf_str(&content))) &&
           buf_append_str(&file, buf_str(&content)));
    ok = file_write_whole(s->path, buf_str(&file), 0600, e);
    buf_fini(&file);
    buf_fini(&content);
    return ok;
}

/* ---- loading ---- */

/* The whole file. False: `e`, which stays empty where there is none. */
static bool read_file(const char *path, struct buf *out, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? false
                               : err_set(e, "cannot read the state %s: %s", path, strerror(errno));
    bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= STATE_BYTES_MAX;
    if (!ok)
        err_set(e, "--state %s: expected a state file of weir export, found something else", path);
    for (ssize_t n = 1; ok && n > 0;) {
        char *room = buf_room(out, 65536);
        n = read(fd, room, 65536);
        if (n < 0)
            ok = err_set(e, "cannot read the state %s: %s", path, strerror(errno));
        buf_wrote(out, n > 0 ? (size_t)n : 0);
    }
    close(fd);
    return ok;
}

static bool get_position(struct str *from, struct log_position *p)
{
    uint64_t head_bytes;
    if (!varint_get(from, &p->device) || !varint_get(from, &p->inode) ||
        !varint_get(from, &p->offset) || !varint_get(from, &p->head_hash) ||
        !varint_get(from, &head_bytes) || head_bytes > LOG_POSITION_HEAD)
        return false;
    p->head_bytes = (uint32_t)head_bytes;
    return true;
}

/* Counts that this version has and the file does not stay 0; those it has and we do not are passed over. */
static bool get_stats(struct str *from, struct export_stats *stats)
{
    uint64_t kept[STATS_KEPT] = {0}, count, value;
    if (!varint_get(from, &count))
        return false;
    for (uint64_t i = 0; i < count; i++) {
        if (!varint_get(from, &value))
            return false;
        if (i < STATS_KEPT)
            kept[i] = value;
    }
    memcpy(stats, kept, sizeof kept);
    return true;
}

static bool parse(struct str text, const char *log, struct log_metrics *lm,
                  struct log_position *position, struct err *e)
{
    struct str sum = {text.p, MIN(text.n, (size_t)CHECKSUM_BYTES)}, of = STR_NONE;
    char expected[CHECKSUM_BYTES + 1];
    uint64_t since_us, newest_us;
    text = str_skip(text, CHECKSUM_BYTES);
    snprintf(expected, sizeof expected, "%08x\n", checksum(text));
    if (!str_eq(sum, str_from(expected)) || !varint_get_str(&text, &of))
        return err_set(e, "it is damaged (its checksum is not that of its content)");
    if (!str_eq(of, str_from(log)))
        return err_set(e, "it is of another log, %.*s", (int)MIN(of.n, (size_t)200), of.p);
    if (!get_position(&text, position) || !varint_get(&text, &since_us) ||
        !varint_get(&text, &newest_us) || !get_stats(&text, &lm->stats))
        return err_set(e, "it is damaged");
    lm->since_us = (int64_t)since_us;
    lm->newest_us = (int64_t)newest_us;
    return metrics_load(lm->metrics, text, e);
}

/* Moved aside, so that whoever wants to know why can look at it. */
static void move_aside(const char *path, const struct err *why, struct err *e)
{
    char refused[4096];
    snprintf(refused, sizeof refused, "%s.refused", path);
    bool moved = rename(path, refused) == 0;
    err_set(e, "the state %s cannot be used: %s; beginning anew%s%s", path, why->text,
            moved ? ", the old one is kept as " : "", moved ? refused : "");
}

enum export_state_found export_state_load(const struct export_state *s, const char *log,
                                          struct log_metrics *lm, struct log_position *position,
                                          struct err *e)
{
    struct buf file;
    struct err why = {0};
    enum export_state_found found = STATE_FOREIGN;
    buf_init(&file, 0, NULL);
    bool there = read_file(s->path, &file, e);
    struct str text = buf_str(&file);
    if (!there || !text.p || text.n == 0) {
        found = e->text[0] ? STATE_FOREIGN : STATE_NONE;
    } else if (!str_starts(text, STR(MAGIC))) {
        err_set(e,
                "--state %s: that is not a state file of weir export, and is left as it is; give "
                "another name",
                s->path);
    } else if (parse(str_skip(text, sizeof MAGIC - 1), log, lm, position, &why)) {
        found = STATE_LOADED;
    } else {
        found = STATE_REFUSED;
        move_aside(s->path, &why, e);
    }
    buf_fini(&file);
    return found;
}
