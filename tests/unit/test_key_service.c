/* The keys' service over configurations: what a reload brings and takes, what goes on counting, when files are made. */
#include "config_fixture.h"
#include "key_files.h"

#include "gateway/key_service.h"

static struct config *load(const char *keys, const char *more)
{
    char text[2048];
    snprintf(text, sizeof text,
             "general_settings: {master_key: sk-master}\n"
             "weir_settings: {log_ring_dir: %s, keys: [%s], key_file: %s}\n%s",
             dir, keys, in_dir("service.db"), more);
    return sealed_config(text);
}

static struct key_service *start(struct config *c)
{
    struct err e = {0};
    struct key_service *s = key_service_new(c, 1, &e);
    if (!s)
        print_error("%s\n", e.text);
    assert_non_null(s);
    return s;
}

static const struct key *find(struct key_service *s, const char *key)
{
    char hash_hex[KEY_HASH_BYTES];
    key_sha256(str_from(key), hash_hex);
    return keys_find(s->table, 0, hash_hex);
}

static bool has(struct key_service *s, const char *key)
{
    const struct key *k = find(s, key);
    key_put(k);
    return k != NULL;
}

static void spend(struct key_service *s, const char *key, int64_t usd)
{
    const struct key *k = find(s, key);
    assert_non_null(k);
    key_spend_add(k->use->spend, &k->facts, usd * PICO_USD_PER_USD, clock_real_us());
    key_put(k);
}

static double spent(struct key_service *s, const char *key)
{
    const struct key *k = find(s, key);
    assert_non_null(k);
    double usd = key_spend_usd(k->use->spend, &k->facts, clock_real_us());
    key_put(k);
    return usd;
}

static void a_reload_brings_takes_and_keeps(void **state)
{
    (void)state;
    struct config *a = load("{key: sk-stays, rpm_limit: 1}, {key: sk-goes}", ""),
                  *b = load("{key: sk-stays, rpm_limit: 2}, {key: sk-comes}", "");
    struct key_service *s = start(a);
    uint64_t generation = keys_generation(s->table);
    spend(s, "sk-stays", 3);
    spend(s, "sk-goes", 4);
    const struct key *old = find(s, "sk-stays"); /* a request under way */
    key_service_configure(s, b);
    assert_true(keys_generation(s->table) > generation);
    assert_false(has(s, "sk-goes"));
    assert_true(has(s, "sk-comes"));
    const struct key *now = find(s, "sk-stays");
    assert_ptr_not_equal(old, now);
    assert_ptr_equal(old->use, now->use);
    assert_int_equal(old->limits.requests, 1);
    assert_int_equal(now->limits.requests, 2);
    key_put(now);
    key_put(old);
    assert_true(spent(s, "sk-stays") == 3);
    key_service_free(s);
    s = start(a); /* at a restart all have what they spent, also the one that was gone meanwhile */
    assert_true(spent(s, "sk-stays") == 3 && spent(s, "sk-goes") == 4);
    key_service_free(s);
    config_put(a);
    config_put(b);
    unlink(in_dir("service.db"));
}

/* The same key by the API and in the configuration: the latter counts while it is there. */
static void the_api_has_a_key_that_the_configuration_had(void **state)
{
    (void)state;
    struct config *none = load("", ""), *both = load("{key: sk-1, key_alias: theirs}", "");
    struct key_facts f = facts_of(1);
    struct spend_numbers spent_numbers = {0};
    struct key_service *s = start(none);
    assert_true(key_store_write(s->store, &f, &spent_numbers, NULL, NULL));
    key_service_free(s);
    s = start(both);
    const struct key *k = find(s, "sk-1");
    assert_true(k && k->facts.from_config && str_eq(k->facts.alias, STR("theirs")));
    key_put(k);
    spend(s, "sk-1", 2);
    key_service_configure(s, none);
    k = find(s, "sk-1");
    assert_true(k && !k->facts.from_config && str_eq(k->facts.alias, STR("sk-1")));
    key_put(k);
    assert_true(spent(s, "sk-1") == 2); /* it is the same key */
    key_service_free(s);
    config_put(none);
    config_put(both);
    unlink(in_dir("service.db"));
}

static void the_budget_of_all_is_kept_like_a_key(void **state)
{
    (void)state;
    struct config *none = load("", ""),
                  *day = load("", "litellm_settings: {max_budget: 5, budget_duration: 1d}\n"),
                  *month = load("", "litellm_settings: {max_budget: 5, budget_duration: 1mo}\n");
    int64_t now_us = clock_real_us();
    struct key_service *s = start(none);
    assert_null(key_service_proxy(s));
    key_service_configure(s, day);
    assert_non_null(key_service_proxy(s));
    key_spend_add(key_service_proxy(s), &day->proxy, PICO_USD_PER_USD, now_us);
    int64_t end_us = key_spend_reset_us(key_service_proxy(s), &day->proxy, now_us);
    assert_int_equal(end_us % 86400000000, 0);
    key_service_configure(s, month);
    end_us = key_spend_reset_us(key_service_proxy(s), &month->proxy, now_us);
    assert_int_equal(end_us, duration_window_end(0, month->proxy.budget_duration, now_us));
    key_service_free(s);
    s = start(month);
    assert_true(key_spend_usd(key_service_proxy(s), &month->proxy, now_us) == 1);
    key_service_free(s);
    config_put(none);
    config_put(day);
    config_put(month);
    unlink(in_dir("service.db"));
}

/* Without a key file: numbers are in memory, and a reload that brings keys makes no file either. */
static void nothing_is_made_where_nothing_is_kept(void **state)
{
    (void)state;
    struct err e = {0};
    struct config *c = config_load(
        &(struct config_options){.text = STR("general_settings: {master_key: sk-master}\n"
                                             "weir_settings: {key_file: '', keys: [{key: sk-1}]}\n"
                                             "litellm_settings: {max_budget: 5}\n"),
                                 .sealed = true},
        &e);
    assert_non_null(c);
    struct key_service *s = start(c);
    spend(s, "sk-1", 7);
    assert_true(spent(s, "sk-1") == 7);
    assert_non_null(key_service_proxy(s));
    assert_false(key_service_open(s, &e));
    assert_non_null(strstr(e.text, "key_file"));
    key_service_configure(s, c);
    assert_true(spent(s, "sk-1") == 7);
    key_service_free(s);
    config_put(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reload_brings_takes_and_keeps),
        cmocka_unit_test(the_api_has_a_key_that_the_configuration_had),
        cmocka_unit_test(the_budget_of_all_is_kept_like_a_key),
        cmocka_unit_test(nothing_is_made_where_nothing_is_kept),
    };
    return cmocka_run_group_tests_name("key_service", tests, make_dir, remove_dir);
}
