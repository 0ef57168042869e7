/* The table of keys under readers that never wait, and spending that is exact: across threads, windows, restarts and SIGKILL. */
#include "key_files.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "gateway/keys.h"

#define READERS 4
#define KEYS    40
#define CHANGES 2000
#define FINDS   20000
#define THREADS 4
#define ADDS    20000

/* ---- the table ---- */

static struct spend_file *file;

static struct key *make(int number, struct key_use *use)
{
    struct key_facts f = facts_of(number);
    if (use)
        return key_new(&f, use, NULL);
    assert_true(spend_file_room(file, NULL));
    return key_new(&f, NULL, key_spend_take(file, &f, NULL, 1));
}

static const struct key *find(struct keys *t, int number)
{
    struct key_facts f = facts_of(number);
    return keys_find(t, 0, f.hash_hex);
}

static void what_is_put_is_found(void **state)
{
    (void)state;
    file = spend_file_open(NULL, NULL);
    struct keys *t = keys_new(1);
    struct key *come[1000];
    for (int i = 0; i < 1000; i++)
        come[i] = make(i, NULL);
    uint64_t before = keys_generation(t);
    keys_change(t, NULL, 0, come, 1000);
    assert_true(keys_generation(t) > before);
    for (int i = 0; i < 1000; i++) {
        const struct key *k = find(t, i);
        assert_ptr_equal(k, come[i]);
        key_put(k);
    }
    assert_null(find(t, 1000));
    size_t count;
    const struct key **all = keys_list(t, 0, &count);
    assert_int_equal(count, 1000);
    assert_ptr_equal(all[0], come[999]); /* newest first */
    keys_list_free(all, count);
    const struct key *named = keys_find_alias(t, STR("sk-77"));
    assert_ptr_equal(named, come[77]);
    key_put(named);
    keys_free(t);
    spend_file_free(file);
}

/* A request keeps the version it came with; the counters are one for all versions. */
static void versions_share_counters(void **state)
{
    (void)state;
    file = spend_file_open(NULL, NULL);
    struct keys *t = keys_new(1);
    struct key *first = make(1, NULL), *second = make(1, first->use);
    keys_change(t, NULL, 0, &first, 1);
    const struct key *held = find(t, 1);
    keys_change(t, NULL, 0, &second, 1);
    const struct key *now = find(t, 1);
    assert_ptr_equal(held, first);
    assert_ptr_equal(now, second);
    key_spend_add(held->use->spend, &held->facts, 5 * PICO_USD_PER_USD, 2);
    assert_true(key_spend_usd(now->use->spend, &now->facts, 2) == 5.0);
    keys_change(t, (const char(*)[KEY_HASH_BYTES]) & first->facts.hash_hex, 1, NULL, 0);
    assert_null(find(t, 1));
    assert_true(str_eq(held->facts.alias, STR("sk-1"))); /* deleted, and still whole */
    key_put(held);
    key_put(now);
    keys_free(t);
    spend_file_free(file);
}

struct readers {
    struct keys *table;
    int next, stop; /* atomic */
    uint64_t found; /* atomic */
};

static void *read_all(void *arg)
{
    struct readers *r = arg;
    int me = __atomic_fetch_add(&r->next, 1, __ATOMIC_RELAXED);
    struct key_facts facts[KEYS];
    for (int i = 0; i < KEYS; i++)
        facts[i] = facts_of(i);
    while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED))
        for (int i = 0; i < KEYS; i++) {
            const struct key *k = keys_find(r->table, me, facts[i].hash_hex);
            if (!k)
                continue;
            if (memcmp(k->facts.hash_hex, facts[i].hash_hex, KEY_HASH_BYTES) != 0)
                abort();
            key_spend_add(k->use->spend, &k->facts, 1, 2);
            key_put(k);
            __atomic_fetch_add(&r->found, 1, __ATOMIC_RELAXED);
        }
    return NULL;
}

/* One thread replaces and takes out keys while others look: no version is freed under them, and nothing that is spent is lost. */
static void readers_and_a_writer(void **state)
{
    (void)state;
    file = spend_file_open(NULL, NULL);
    struct readers r = {.table = keys_new(READERS)};
    struct key *come[KEYS];
    struct key_use *uses[KEYS];
    pthread_t threads[READERS];
    for (int i = 0; i < KEYS; i++) {
        come[i] = make(i, NULL);
        uses[i] = come[i]->use;
    }
    struct key *kept[KEYS]; /* so that counters outlive every version */
    for (int i = 0; i < KEYS; i++)
        kept[i] = make(i, uses[i]);
    keys_change(r.table, NULL, 0, come, KEYS);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_all, &r), 0);
    /* As long as it takes for the readers to have a good part in it: on few cores they may be late. */
    for (int i = 0; i < CHANGES || __atomic_load_n(&r.found, __ATOMIC_RELAXED) < FINDS; i++) {
        struct key_facts f = facts_of(i % KEYS);
        struct key *k = make(i % KEYS, uses[i % KEYS]);
        if (i % 3)
            keys_change(r.table, NULL, 0, &k, 1);
        else {
            keys_change(r.table, (const char(*)[KEY_HASH_BYTES]) & f.hash_hex, 1, NULL, 0);
            keys_change(r.table, NULL, 0, &k, 1);
        }
    }
    __atomic_store_n(&r.stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    uint64_t spent = 0;
    for (int i = 0; i < KEYS; i++) {
        struct spend_numbers n;
        (void)key_spend_changed(uses[i]->spend, &n);
        spent += (uint64_t)n.total_pico;
        key_put(kept[i]);
    }
    assert_true(r.found >= FINDS);
    assert_int_equal(spent, r.found);
    keys_free(r.table);
    spend_file_free(file);
}

/* ---- spending ---- */

static struct key_facts with_budget(double max_usd, const char *duration)
{
    struct key_facts f = facts_of(1);
    f.max_budget_usd = max_usd;
    f.budget_duration_text = str_from(duration);
    if (*duration)
        assert_true(duration_parse(f.budget_duration_text, &f.budget_duration, NULL));
    return f;
}

static struct key_spend *take(struct spend_file *f, const struct key_facts *facts, int64_t now_us)
{
    assert_true(spend_file_room(f, NULL));
    return key_spend_take(f, facts, NULL, now_us);
}

static void over_at_the_budget_and_not_before(void **state)
{
    (void)state;
    struct spend_file *f = spend_file_open(NULL, NULL);
    struct key_facts facts = with_budget(1, "");
    struct key_spend *s = take(f, &facts, 1);
    double spent;
    assert_false(key_spend_over(s, &facts, 1, &spent));
    key_spend_add(s, &facts, PICO_USD_PER_USD - 1, 1);
    assert_false(key_spend_over(s, &facts, 1, &spent));
    key_spend_add(s, &facts, 1, 1);
    assert_true(key_spend_over(s, &facts, 1, &spent));
    assert_true(spent == 1.0);
    facts.max_budget_usd = -1;
    assert_false(key_spend_over(s, &facts, 1, NULL));
    facts.max_budget_usd = 0; /* as LiteLLM: nothing may be spent */
    struct key_spend *other = take(f, &(struct key_facts){.hash_hex = {'a'}}, 1);
    assert_true(key_spend_over(other, &facts, 1, NULL));
    assert_int_equal(key_spend_reset_us(s, &facts, 1), 0);
    spend_file_free(f);
}

static void a_window_that_is_over_begins_anew(void **state)
{
    (void)state;
    struct spend_file *f = spend_file_open(NULL, NULL);
    struct key_facts facts = with_budget(1, "30s");
    int64_t second = 1000000;
    struct key_spend *s = take(f, &facts, 10 * second);
    assert_int_equal(key_spend_reset_us(s, &facts, 10 * second), 30 * second);
    key_spend_add(s, &facts, 2 * PICO_USD_PER_USD, 11 * second);
    assert_true(key_spend_over(s, &facts, 30 * second - 1, NULL));
    assert_false(key_spend_over(s, &facts, 30 * second, NULL));
    assert_int_equal(key_spend_reset_us(s, &facts, 30 * second), 60 * second);
    key_spend_add(s, &facts, 2 * PICO_USD_PER_USD, 31 * second);
    assert_true(key_spend_over(s, &facts, 31 * second, NULL));
    /* Nobody came for a while. */
    assert_true(key_spend_usd(s, &facts, 1000 * second) == 0);
    assert_int_equal(key_spend_reset_us(s, &facts, 1000 * second), 1020 * second);
    key_spend_set(s, 0.25, 1001 * second);
    assert_true(key_spend_usd(s, &facts, 1001 * second) == 0.25);
    facts = with_budget(1, "1h");
    key_spend_window(s, &facts, 1001 * second); /* another duration: what was spent stands */
    assert_true(key_spend_usd(s, &facts, 3599 * second) == 0.25);
    assert_true(key_spend_usd(s, &facts, 3600 * second) == 0);
    spend_file_free(f);
}

struct spenders {
    struct key_spend *spend;
    struct key_facts facts;
    int64_t clock_us; /* atomic: time goes on with each add */
};

static void *spend_all(void *arg)
{
    struct spenders *s = arg;
    for (int i = 0; i < ADDS; i++) {
        int64_t now_us = __atomic_add_fetch(&s->clock_us, 1000, __ATOMIC_RELAXED);
        (void)key_spend_over(s->spend, &s->facts, now_us, NULL);
        key_spend_add(s->spend, &s->facts, 3, now_us);
    }
    return NULL;
}

/* Threads spend while windows end all the time: the sum is exact, and a window never holds more than all of them. */
static void threads_spend_exactly(void **state)
{
    (void)state;
    struct spend_file *f = spend_file_open(NULL, NULL);
    struct spenders s = {.facts = with_budget(1000, "1s")};
    pthread_t threads[THREADS];
    struct spend_numbers n;
    s.spend = take(f, &s.facts, 1);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, spend_all, &s), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    (void)key_spend_changed(s.spend, &n);
    assert_int_equal(n.total_pico, 3ll * THREADS * ADDS);
    assert_true(n.base_pico > 0 && n.base_pico <= n.total_pico);
    assert_true(n.window_end_us >= s.clock_us);
    spend_file_free(f);
}

static void a_file_keeps_numbers_and_forgets_the_deleted(void **state)
{
    (void)state;
    struct key_facts one = facts_of(1), two = facts_of(2), three = facts_of(3);
    const char *path = in_dir("kept.spend");
    struct spend_file *f = spend_file_open(path, NULL);
    key_spend_add(take(f, &one, 1), &one, 11, 1);
    key_spend_add(take(f, &two, 1), &two, 22, 1);
    struct key_spend *gone = take(f, &three, 1);
    key_spend_add(gone, &three, 33, 1);
    key_spend_drop(gone);
    spend_file_free(f);

    struct spend_numbers n, newer = {.total_pico = 1000, .base_pico = 5, .set_us = 9},
                            older = {.total_pico = 7};
    f = spend_file_open(path, NULL);
    (void)key_spend_changed(key_spend_take(f, &one, &older, 2), &n);
    assert_int_equal(n.total_pico, 11); /* the file's are newer */
    (void)key_spend_changed(take(f, &three, 2), &n);
    assert_int_equal(n.total_pico, 0); /* a deleted key's are not found again */
    spend_file_loaded(f);              /* nobody asked for the second key: it is no more */
    spend_file_free(f);

    f = spend_file_open(path, NULL);
    (void)key_spend_changed(take(f, &two, 3), &n);
    assert_int_equal(n.total_pico, 0);
    (void)key_spend_changed(key_spend_take(f, &one, &newer, 3), &n);
    assert_int_equal(n.total_pico, 1000); /* those of the database are, never the sum */
    assert_int_equal(n.base_pico, 5);
    spend_file_free(f);
}

/* It goes with the last process that has it, and one that is opened meanwhile is another one. */
static void a_file_is_removed_by_its_last_owner(void **state)
{
    (void)state;
    const char *path = in_dir("shared.spend");
    struct key_facts one = facts_of(1), two = facts_of(2);
    struct spend_file *here = spend_file_open(path, NULL), *there = spend_file_open(path, NULL);
    struct key_spend *mine = take(here, &one, 1), *theirs = take(there, &two, 1);
    struct spend_numbers n;
    spend_file_loaded(here);
    spend_file_loaded(there);
    key_spend_add(mine, &one, 1, 1);
    key_spend_add(theirs, &two, 2, 1);
    (void)key_spend_changed(take(there, &one, 2), &n); /* both see both, each in its own slot */
    assert_int_equal(n.total_pico, 1);
    (void)key_spend_changed(take(here, &two, 2), &n);
    assert_int_equal(n.total_pico, 2);
    spend_file_remove(here);
    assert_int_equal(access(path, F_OK), 0);
    spend_file_remove(there);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(symlink(in_dir("elsewhere"), path), 0);
    assert_null(spend_file_open(path, NULL));
    assert_int_equal(access(in_dir("elsewhere"), F_OK), -1);
}

static void a_file_grows_and_slots_stay(void **state)
{
    (void)state;
    enum { MANY = 3000 }; /* three pieces */
    static struct key_spend *spends[MANY];
    struct spend_file *f = spend_file_open(in_dir("many.spend"), NULL);
    for (int i = 0; i < MANY; i++) {
        struct key_facts facts = facts_of(i);
        spends[i] = take(f, &facts, 1);
        key_spend_add(spends[i], &facts, i + 1, 1);
    }
    spend_file_free(f);
    f = spend_file_open(in_dir("many.spend"), NULL);
    for (int i = MANY - 1; i >= 0; i--) {
        struct key_facts facts = facts_of(i);
        struct spend_numbers n;
        (void)key_spend_changed(key_spend_take(f, &facts, NULL, 1), &n);
        assert_int_equal(n.total_pico, i + 1);
    }
    spend_file_free(f);
}

static void refuses_what_is_no_spend_file(void **state)
{
    (void)state;
    struct err e = {0};
    const char *path = in_dir("other");
    FILE *other = fopen(path, "w");
    assert_non_null(other);
    fputs("a file that somebody needs", other);
    fclose(other);
    assert_null(spend_file_open(path, &e));
    assert_non_null(strstr(e.text, path));
    e = (struct err){0};
    assert_null(spend_file_open(in_dir("no/such/folder"), &e));
    assert_non_null(strstr(e.text, "No such file"));
    e = (struct err){0};
    assert_null(spend_file_open(dir, &e));
    assert_non_null(strstr(e.text, dir));
}

/* What was added before SIGKILL is there after it. */
static void survives_sigkill(void **state)
{
    (void)state;
    int64_t *told = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct key_facts facts = facts_of(5);
    assert_true(told != MAP_FAILED);
    for (int round = 0; round < 10; round++) {
        int64_t before = *told;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct spend_file *f = spend_file_open(in_dir("killed.spend"), NULL);
            struct key_spend *s = take(f, &facts, 1);
            for (;;) {
                key_spend_add(s, &facts, 7, 1);
                __atomic_add_fetch(told, 7, __ATOMIC_SEQ_CST);
            }
        }
        while (__atomic_load_n(told, __ATOMIC_SEQ_CST) < before + 7000)
            usleep(100);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        struct spend_numbers n;
        struct spend_file *f = spend_file_open(in_dir("killed.spend"), NULL);
        (void)key_spend_changed(take(f, &facts, 1), &n);
        spend_file_free(f);
        assert_in_range(n.total_pico - *told, 0, 7); /* killed between the two at most */
        *told = n.total_pico;
    }
    munmap(told, 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_found),
        cmocka_unit_test(versions_share_counters),
        cmocka_unit_test(readers_and_a_writer),
        cmocka_unit_test(over_at_the_budget_and_not_before),
        cmocka_unit_test(a_window_that_is_over_begins_anew),
        cmocka_unit_test(threads_spend_exactly),
        cmocka_unit_test(a_file_keeps_numbers_and_forgets_the_deleted),
        cmocka_unit_test(a_file_is_removed_by_its_last_owner),
        cmocka_unit_test(a_file_grows_and_slots_stay),
        cmocka_unit_test(refuses_what_is_no_spend_file),
        cmocka_unit_test(survives_sigkill),
    };
    return cmocka_run_group_tests_name("keys", tests, make_dir, remove_dir);
}
