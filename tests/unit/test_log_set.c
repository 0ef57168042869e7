/* Which names rotation makes, and in which order files of a set come. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "observe/log_set.h"

static void names_of_rotated_files_are_known(void **state)
{
    (void)state;
    static const struct {
        const char *base, *name;
        bool sibling;
    } rows[] = {
        {"requests.log", "requests.log", false},
        {"requests.log", "requests.log.1", true},
        {"requests.log", "requests.log.12.gz", true},
        {"requests.log", "requests.log.gz", true},
        {"requests.log", "requests.log-20261124", true},
        {"requests.log", "requests.log-20261124.zst", true},
        {"requests.log", "requests.log-2026-11-24T03:00:00Z.gz", true},
        {"requests.log", "requests.log.2026-11-24_03", true},
        {"requests.log", "requests-20261124.log", true},
        {"requests.log", "requests-2026-11-24.log.gz", true},
        {"requests.log", "requests.3.log", true},
        {"requests.log", "requests-2.log", false}, /* another gateway's */
        {"requests.log", "requests.log.bak", false},
        {"requests.log", "requests.log.weir-export", false},
        {"requests.log", "requests.logger", false},
        {"requests.log", "my-requests.log.1", false},
        {"requests.log", "requests.log.", false},
        {"requests.log", "requests..log", false},
        {"requests.log", ".log", false},
        {"requests", "requests.1", true},
        {"requests", "requests-1.gz", true},
        {".log", ".log.1", true},
        {".log", "1.log", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        if (log_set_is_sibling(rows[i].base, rows[i].name) != rows[i].sibling)
            fail_msg("%s of %s: expected %d", rows[i].name, rows[i].base, rows[i].sibling);
}

static char folder[] = "/tmp/weir-set-XXXXXX";

static char *path_of(const char *name)
{
    static char paths[8][128];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void write_log(const char *name, const char *stamp, bool packed)
{
    char line[128];
    int n = snprintf(line, sizeof line,
                     "{\"timestamp\":\"%s\",\"level\":\"INFO\",\"event\":\"request\"}\n", stamp);
    if (packed) {
        gzFile f = gzopen(path_of(name), "w");
        assert_int_equal(gzwrite(f, line, (unsigned)n), n);
        gzclose(f);
        return;
    }
    FILE *f = fopen(path_of(name), "w");
    assert_int_equal(fwrite(line, 1, (size_t)n, f), n);
    fclose(f);
}

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    write_log("r.log", "2026-11-25T10:00:00.000Z", false);
    write_log("r.log.1", "2026-11-24T10:00:00.000Z", false);
    write_log("r.log.2.gz", "2026-11-23T10:00:00.000Z", true);
    write_log("other.log", "2026-11-22T10:00:00.000Z", false);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static void expect_names(const struct log_set *set, const char *const *names, size_t count)
{
    assert_int_equal(set->count, count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(strrchr(set->paths[i], '/') + 1, names[i]);
}

static void siblings_come_oldest_first(void **state)
{
    (void)state;
    struct err e = {0};
    struct log_set set;
    const char *name = path_of("r.log");
    assert_true(log_set_open(&set, &name, 1, true, &e));
    expect_names(&set, (const char *[]){"r.log.2.gz", "r.log.1", "r.log"}, 3);
    int64_t second_us = set.first_us[1];
    log_set_since(&set, second_us - 1);
    expect_names(&set, (const char *[]){"r.log.2.gz", "r.log.1", "r.log"}, 3);
    log_set_since(&set, second_us + 1);
    expect_names(&set, (const char *[]){"r.log.1", "r.log"}, 2);
    log_set_since(&set, INT64_MAX);
    expect_names(&set, (const char *[]){"r.log"}, 1);
    log_set_close(&set);
    assert_true(log_set_open(&set, &name, 1, false, &e));
    expect_names(&set, (const char *[]){"r.log"}, 1);
    log_set_close(&set);
}

static void globs_and_names_make_one_list_without_doubles(void **state)
{
    (void)state;
    struct err e = {0};
    struct log_set set;
    const char *patterns[] = {path_of("r.log*"), path_of("r.log"), path_of("[n-p]ther.log")};
    assert_true(log_set_open(&set, patterns, COUNT(patterns), false, &e));
    expect_names(&set, (const char *[]){"other.log", "r.log.2.gz", "r.log.1", "r.log"}, 4);
    log_set_close(&set);
    const char *nothing = path_of("x*.log");
    assert_false(log_set_open(&set, &nothing, 1, false, &e));
    assert_non_null(strstr(e.text, "no file matches"));
    log_set_close(&set);
}

static void what_is_not_there_stays_for_the_reader_to_say(void **state)
{
    (void)state;
    struct err e = {0};
    struct log_set set;
    const char *names[] = {"-", path_of("missing.log")};
    assert_true(log_set_open(&set, names, 2, true, &e));
    assert_int_equal(set.count, 2);
    assert_string_equal(set.paths[0], "-");
    log_set_close(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_rotated_files_are_known),
        cmocka_unit_test(siblings_come_oldest_first),
        cmocka_unit_test(globs_and_names_make_one_list_without_doubles),
        cmocka_unit_test(what_is_not_there_stays_for_the_reader_to_say),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
