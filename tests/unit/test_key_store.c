/* The database of keys: what was written comes back, what was answered survives SIGKILL, and what makes no sense is refused. */
#include "key_files.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "gateway/key_store.h"

static struct key_facts full(int number)
{
    static struct str models[] = {{"gpt-4o", 6}, {"openai/*", 8}, {"quoted \"name\"", 13}};
    struct key_facts f = facts_of(number);
    f.user_id = STR("usér");
    f.team_id = STR("team");
    f.models = models;
    f.model_count = 3;
    f.blocked = true;
    f.expires_us = 123456789;
    f.rpm_limit = 0;
    f.tpm_limit = 1000000000000;
    f.max_parallel_requests = 7;
    f.max_budget_usd = 0.1;
    f.budget_duration_text = STR("1mo");
    f.budget_began_us = 42;
    f.metadata_json = STR("{\"a\":[1,{\"b\":\"\\u00e9\"}]}");
    return f;
}

static struct key_store *open_store(const char *name)
{
    struct err e = {0};
    struct key_store *s = key_store_open(in_dir(name), &e);
    if (!s)
        print_error("%s\n", e.text);
    assert_non_null(s);
    return s;
}

struct seen {
    int count;
    bool hit[4000];
};

static void note(void *arg, const struct key_facts *f)
{
    struct seen *seen = arg;
    int64_t number;
    assert_true(str_to_i64(str_skip(f->alias, 3), &number));
    assert_in_range(number, 0, COUNT(seen->hit) - 1);
    assert_false(seen->hit[number]);
    seen->hit[number] = true;
    seen->count++;
}

static void compare(void *arg, const struct key_facts *f)
{
    const struct key_facts *want = arg;
    assert_memory_equal(f->hash_hex, want->hash_hex, KEY_HASH_BYTES);
    const struct str got_texts[] = {
        f->name, f->alias, f->user_id, f->team_id, f->budget_duration_text, f->metadata_json};
    const struct str want_texts[] = {
        want->name,         want->alias, want->user_id, want->team_id, want->budget_duration_text,
        want->metadata_json};
    for (size_t i = 0; i < COUNT(got_texts); i++)
        assert_true(str_eq(got_texts[i], want_texts[i]));
    assert_int_equal(f->model_count, want->model_count);
    for (int i = 0; i < f->model_count; i++)
        assert_true(str_eq(f->models[i], want->models[i]));
    const int64_t got[] = {f->blocked,
                           f->created_us,
                           f->updated_us,
                           f->expires_us,
                           f->rpm_limit,
                           f->tpm_limit,
                           f->max_parallel_requests,
                           f->budget_began_us,
                           f->budget_duration.months};
    const int64_t wanted[] = {want->blocked,
                              want->created_us,
                              want->updated_us,
                              want->expires_us,
                              want->rpm_limit,
                              want->tpm_limit,
                              want->max_parallel_requests,
                              want->budget_began_us,
                              1};
    assert_memory_equal(got, wanted, sizeof got);
    assert_true(f->max_budget_usd == want->max_budget_usd);
}

static void what_was_written_comes_back(void **state)
{
    (void)state;
    struct key_facts f = full(1);
    struct spend_numbers spent = {1, -2, 3, 4}, back;
    struct stat st;
    struct key_store *s = open_store("full.db");
    assert_true(key_store_write(s, &f, &spent, NULL, NULL));
    key_store_close(s);
    assert_int_equal(stat(in_dir("full.db"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    s = open_store("full.db");
    assert_true(key_store_load(s, compare, &f, NULL));
    assert_true(key_store_spent(s, f.hash_hex, &back));
    assert_memory_equal(&spent, &back, sizeof back);

    struct key_facts next = facts_of(2);
    assert_true(key_store_write(s, &next, &spent, f.hash_hex, NULL)); /* in place of the first */
    struct seen seen = {0};
    assert_true(key_store_load(s, note, &seen, NULL));
    assert_true(seen.count == 1 && seen.hit[2]);
    assert_false(key_store_spent(s, f.hash_hex, &back));

    struct key_spent many[2] = {{.numbers = {10, 20, 30, 40}}, {.numbers = {50, 60, 70, 80}}};
    memcpy(many[0].hash_hex, next.hash_hex, KEY_HASH_BYTES);
    memcpy(many[1].hash_hex, f.hash_hex, KEY_HASH_BYTES); /* a key of the configuration */
    assert_true(key_store_save_spent(s, many, 2, false, NULL));
    assert_true(key_store_spent(s, f.hash_hex, &back));
    assert_int_equal(back.total_pico, 50);
    const char(*gone)[KEY_HASH_BYTES] = (const char(*)[KEY_HASH_BYTES]) & next.hash_hex;
    assert_true(key_store_delete(s, gone, 1, NULL));
    seen = (struct seen){0};
    assert_true(key_store_load(s, note, &seen, NULL));
    assert_int_equal(seen.count, 0);
    key_store_close(s);
}

static void run_sql(const char *name, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(in_dir(name), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void thousands_of_keys(void **state)
{
    (void)state;
    struct seen seen = {0};
    key_store_close(open_store("many.db"));
    run_sql("many.db",
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 3999)"
            " INSERT INTO keys SELECT printf('%064x', i), 'sk-...', 'sk-' || i, '', '', '[]', '{}',"
            " '', 0, i, i, 0, 0, -1, -1, -1, -1 FROM n");
    struct key_store *s = open_store("many.db");
    assert_true(key_store_load(s, note, &seen, NULL));
    assert_int_equal(seen.count, 4000);
    key_store_close(s);
}

static void refuses(const char *name, const char *sentence)
{
    struct err e = {0};
    struct key_store *s = key_store_open(in_dir(name), &e);
    assert_true(!s || !key_store_load(s, note, &(struct seen){0}, &e));
    key_store_close(s);
    if (!strstr(e.text, sentence))
        print_error("got: %s\n", e.text);
    assert_non_null(strstr(e.text, sentence));
    assert_non_null(strstr(e.text, name));
}

static void refuses_what_makes_no_sense(void **state)
{
    (void)state;
    key_store_close(open_store("newer.db"));
    run_sql("newer.db", "PRAGMA user_version = 99");
    refuses("newer.db", "newer weir");

    struct key_facts f = full(1);
    struct spend_numbers spent = {0};
    struct key_store *s = open_store("bad.db");
    assert_true(key_store_write(s, &f, &spent, NULL, NULL));
    key_store_close(s);
    run_sql("bad.db", "UPDATE keys SET models = 'gpt-4o'");
    refuses("bad.db", "makes no sense");
    run_sql("bad.db", "UPDATE keys SET models = '[]', budget_duration = 'soon'");
    refuses("bad.db", "makes no sense");
    run_sql("bad.db", "UPDATE keys SET budget_duration = '', hash = 'short'");
    refuses("bad.db", "makes no sense");

    FILE *other = fopen(in_dir("notes.txt"), "w");
    for (int i = 0; i < 1000; i++)
        fputs("not a database at all\n", other);
    fclose(other);
    refuses("notes.txt", "not a database");
    refuses("no/such/folder.db", "weir_settings.key_file");
}

/* A write that was acknowledged is there after SIGKILL; one that was not is there whole or not at all. */
static void survives_sigkill(void **state)
{
    (void)state;
    int *told = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(told != MAP_FAILED);
    for (int round = 0; round < 8; round++) {
        int before = *told;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct key_store *s = key_store_open(in_dir("killed.db"), NULL);
            struct spend_numbers spent = {0};
            if (!s)
                _exit(1);
            for (int i = before;; i++) {
                struct key_facts f = facts_of(i);
                if (!key_store_write(s, &f, &spent, NULL, NULL))
                    _exit(1);
                __atomic_store_n(told, i + 1, __ATOMIC_SEQ_CST);
            }
        }
        while (__atomic_load_n(told, __ATOMIC_SEQ_CST) < before + 20)
            usleep(200 + 50 * (useconds_t)round);
        kill(child, SIGKILL);
        int status;
        waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status));
        struct seen seen = {0};
        struct key_store *s = open_store("killed.db");
        assert_true(key_store_load(s, note, &seen, NULL));
        key_store_close(s);
        for (int i = 0; i < *told; i++)
            assert_true(seen.hit[i]);
        assert_in_range(seen.count, *told, *told + 1);
        *told = seen.count;
    }
    munmap(told, 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_comes_back),
        cmocka_unit_test(thousands_of_keys),
        cmocka_unit_test(refuses_what_makes_no_sense),
        cmocka_unit_test(survives_sigkill),
    };
    return cmocka_run_group_tests_name("key_store", tests, make_dir, remove_dir);
}
