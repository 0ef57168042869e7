/* log_set.c -- names into files: globs, rotated siblings, order.
 *
 * Called by the commands that read logs, before the first byte is read. A sibling is told by its name alone; where in time it
 * belongs is told by its first stamp, since a number or a date in a name means something else with every tool that rotates. */
#include "observe/log_set.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <sys/stat.h>

#include "base/str.h"
#include "observe/log_range.h"

/* ---- names ---- */

static bool is_tail_byte(char c)
{
    return (c >= '0' && c <= '9') || (c && strchr("-_.:TZ", c));
}

/* "1", "20261124", "2026-11-24T03:00", "20261124.2": what stands for a rotation. `dated`: a bare number is none. */
static bool is_rotation(struct str tail, bool dated)
{
    size_t digits = 0;
    for (size_t i = 0; i < tail.n; i++) {
        if (!is_tail_byte(tail.p[i]))
            return false;
        digits += tail.p[i] >= '0' && tail.p[i] <= '9';
    }
    return tail.n && tail.n <= 40 && tail.p[0] >= '0' && tail.p[0] <= '9' &&
           digits >= (dated ? 6u : 1u);
}

static struct str without_packing(struct str name)
{
    static const struct str endings[] = {{".gz", 3}, {".zst", 4}};
    for (size_t i = 0; i < COUNT(endings); i++)
        if (str_ends(name, endings[i]))
            name.n -= endings[i].n;
    return name;
}

bool log_set_is_sibling(const char *base_name, const char *sibling_name)
{
    struct str base = str_from(base_name), name = str_from(sibling_name);
    struct str bare = without_packing(name);
    if (str_eq(name, base))
        return false;
    if (str_starts(bare, base)) { /* requests.log.1, requests.log-20261124; requests.log.gz */
        struct str tail = str_skip(bare, base.n);
        return tail.n == 0 ||
               ((tail.p[0] == '.' || tail.p[0] == '-') && is_rotation(str_skip(tail, 1), false));
    }
    const char *dot = memrchr(base.p, '.', base.n);
    if (!dot || dot == base.p)
        return false;
    struct str stem = {base.p, (size_t)(dot - base.p)}, ending = str_skip(base, stem.n);
    if (bare.n <= base.n + 1 || !str_starts(bare, stem) || !str_ends(bare, ending))
        return false;
    char joint = bare.p[stem.n]; /* requests-20261124.log; requests.1.log */
    struct str tail = {bare.p + stem.n + 1, bare.n - base.n - 1};
    return (joint == '-' || joint == '.') && is_rotation(tail, joint == '-');
}

/* ---- the list ---- */

struct found {
    const char *path; /* in the set's arena */
    dev_t device;
    ino_t inode;
    int64_t first_us;
    bool stream;  /* not a plain file: its place is where it was named ... */
    size_t named; /* ... in this order */
};

struct list {
    struct found *items;
    size_t count;
};

static bool is_there(const struct list *l, const struct stat *st)
{
    for (size_t i = 0; i < l->count; i++)
        if (!l->items[i].stream && l->items[i].device == st->st_dev &&
            l->items[i].inode == st->st_ino)
            return true;
    return false;
}

static void add(struct list *l, struct log_set *set, const char *path)
{
    struct stat st = {0};
    bool regular = stat(path, &st) == 0 && S_ISREG(st.st_mode);
    int64_t first_us;
    if (regular && is_there(l, &st))
        return;
    if (!regular || !log_first_stamp(path, &first_us))
        first_us = st.st_mtim.tv_sec * INT64_C(1000000) + st.st_mtim.tv_nsec / 1000;
    if ((l->count & (l->count - 1)) == 0) /* room doubles at each power of two */
        l->items = mem_realloc(l->items, MAX(l->count * 2, (size_t)1) * sizeof *l->items);
    l->items[l->count] = (struct found){.path = arena_str(&set->arena, str_from(path)).p,
                                        .device = st.st_dev,
                                        .inode = st.st_ino,
                                        .first_us = first_us,
                                        .stream = !regular,
                                        .named = l->count};
    l->count++;
}

static void add_siblings(struct list *l, struct log_set *set, const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    struct str folder = slash ? (struct str){path, (size_t)(slash - path) + 1} : STR("");
    DIR *d = opendir(folder.n ? arena_str(&set->arena, folder).p : ".");
    const struct dirent *entry;
    if (!d)
        return; /* a folder that may not be listed: the file itself may still be read */
    while ((entry = readdir(d)))
        if (log_set_is_sibling(base, entry->d_name))
            add(l, set, arena_printf(&set->arena, "%.*s%s", STR_ARG(folder), entry->d_name).p);
    closedir(d);
}

static bool add_glob(struct list *l, struct log_set *set, const char *pattern, struct err *e)
{
    glob_t found;
    int status = glob(pattern, 0, NULL, &found);
    if (status != 0)
        return err_set(e,
                       status == GLOB_NOMATCH ? "%s: no file matches it"
                                              : "%s: cannot look for files like it",
                       pattern);
    for (size_t i = 0; i < found.gl_pathc; i++)
        add(l, set, found.gl_pathv[i]);
    globfree(&found);
    return true;
}

static bool is_glob(const char *name)
{
    struct stat st;
    return strpbrk(name, "*?[") && stat(name, &st) != 0;
}

/* Streams first in the order in which they were named, since there is no telling; then by time. */
static int by_time(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->stream != y->stream)
        return x->stream ? -1 : 1;
    if (x->stream)
        return x->named < y->named ? -1 : 1;
    if (x->first_us != y->first_us)
        return x->first_us < y->first_us ? -1 : 1;
    return strcmp(x->path, y->path);
}

bool log_set_open(struct log_set *set, const char *const *patterns, size_t count, bool siblings,
                  struct err *e)
{
    struct list l = {0};
    bool ok = true;
    *set = (struct log_set){0};
    arena_init(&set->arena, NULL, 0);
    for (size_t i = 0; i < count && ok; i++) {
        if (is_glob(patterns[i])) {
            ok = add_glob(&l, set, patterns[i], e);
            continue;
        }
        add(&l, set, patterns[i]);
        if (siblings && strcmp(patterns[i], "-") != 0)
            add_siblings(&l, set, patterns[i]);
    }
    if (l.count > 1)
        qsort(l.items, l.count, sizeof *l.items, by_time);
    set->paths = arena_alloc(&set->arena, MAX(l.count, (size_t)1) * sizeof *set->paths);
    set->first_us = arena_alloc(&set->arena, MAX(l.count, (size_t)1) * sizeof *set->first_us);
    for (size_t i = 0; i < l.count; i++) {
        set->paths[i] = l.items[i].path;
        set->first_us[i] = l.items[i].first_us;
    }
    set->count = l.count;
    mem_free(l.items);
    return ok;
}

void log_set_since(struct log_set *set, int64_t since_us)
{
    size_t drop = 0;
    while (drop + 1 < set->count && set->first_us[drop + 1] <= since_us)
        drop++;
    set->paths += drop;
    set->first_us += drop;
    set->count -= drop;
}

void log_set_close(struct log_set *set)
{
    arena_fini(&set->arena);
    *set = (struct log_set){0};
}
