#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/rand.h"
#include "gateway/cache_store.h"

#define S NS_PER_S

/* ---- keys ---- */

static void take(void *arg, struct str run)
{
    assert_true(buf_append_str(arg, run));
}

static void check_canonical(const char *body, const char *expected)
{
    struct buf out;
    buf_init(&out, 0, NULL);
    cache_key_canonical(str_from(body), take, &out);
    if (!str_eq(buf_str(&out), str_from(expected)))
        print_error("%s\n  got      %.*s\n  expected %s\n", body, STR_ARG(buf_str(&out)), expected);
    assert_true(str_eq(buf_str(&out), str_from(expected)));
    buf_fini(&out);
}

static void leaves_out_white_space_and_what_does_not_matter(void **state)
{
    (void)state;
    check_canonical("{}", "{}");
    check_canonical(" {\n} ", "{}");
    check_canonical("{\"a\":1}", "{\"a\":1}");
    check_canonical("{ \"a\" :\t[ 1 , { \"b\" : \"x  y\" } ] }", "{\"a\":[1,{\"b\":\"x  y\"}]}");
    check_canonical("{\"model\":\"m\",\"a\":1}", "{\"a\":1}");
    check_canonical("{\"a\":1,\"model\":\"m\"}", "{\"a\":1}");
    check_canonical("{\"a\":1, \"cache\":{\"ttl\":[1,2]} , \"b\":2}", "{\"a\":1,\"b\":2}");
    check_canonical("{\"cache\":{},\"metadata\":{\"a\":\"}\"},\"tags\":[],\"litellm_x\":1}", "{}");
    check_canonical("{\"fallbacks\":[],\"num_retries\":1,\"timeout\":1,\"z\":0}", "{\"z\":0}");
    /* Only at the top, only whole names, and only where they are names. */
    check_canonical("{\"a\":{\"model\":1},\"models\":\"cache\"}",
                    "{\"a\":{\"model\":1},\"models\":\"cache\"}");
}

static void keeps_what_may_matter(void **state)
{
    (void)state;
    check_canonical("{\"b\":1.0,\"a\":1}", "{\"b\":1.0,\"a\":1}"); /* order, numbers as written */
    check_canonical("{\"user\":\"u\",\"stream\":true}", "{\"user\":\"u\",\"stream\":true}");
    check_canonical("{\"a\":\"\\\\\", \"b\":\"\\\"} , \"}", "{\"a\":\"\\\\\",\"b\":\"\\\"} , \"}");
    check_canonical("{\"a\":\"\\u0041 \"}", "{\"a\":\"\\u0041 \"}");
}

static void survives_what_is_no_json(void **state)
{
    (void)state;
    static const char *const texts[] = {"",          "{",       "{\"",        "{\"a",
                                        "{\"a\"",    "{\"a\":", "{\"a\":1",   "{\"a\":\"\\",
                                        "{\"a\":1,", "{]",      "{\"a\"]1,2", "{,,}",
                                        "[1, 2]",    "\"a\\\"", "{\"a\":]}",  "{\"a\" 1}",
                                        "}{",        " "};
    struct buf out;
    buf_init(&out, 0, NULL);
    for (size_t i = 0; i < COUNT(texts); i++) {
        size_t n = strlen(texts[i]);
        char *exact = mem_alloc(n + !n); /* not a byte more: sanitizers watch */
        memcpy(exact, texts[i], n);
        cache_key_canonical((struct str){exact, n}, take, &out);
        mem_free(exact);
    }
    buf_fini(&out);
}

static struct cache_key key_from(struct cache_key_maker *m, const char *a, const char *b,
                                 const char *body)
{
    struct cache_key key;
    cache_key_begin(m);
    cache_key_part(m, str_from(a));
    cache_key_part(m, str_from(b));
    cache_key_body(m, str_from(body));
    cache_key_end(m, &key);
    return key;
}

static bool same_key(struct cache_key a, struct cache_key b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static void keys_tell_requests_apart(void **state)
{
    (void)state;
    struct cache_key_maker *m = cache_key_maker_new();
    struct cache_key base = key_from(m, "ns", "gpt", "{\"a\":1}");
    assert_true(same_key(base, key_from(m, "ns", "gpt", "{ \"a\": 1 }")));
    assert_true(same_key(base, key_from(m, "ns", "gpt", "{\"model\":\"x\",\"a\":1}")));
    assert_false(
        same_key(base, key_from(m, "nsg", "pt", "{\"a\":1}"))); /* parts do not run together */
    assert_false(same_key(base, key_from(m, "", "nsgpt", "{\"a\":1}")));
    assert_false(same_key(base, key_from(m, "ns", "gpt", "{\"a\":1.0}")));
    assert_false(same_key(base, key_from(m, "ns", "gpt", "{\"a\":\"1\"}")));
    assert_false(same_key(key_from(m, "", "", "{\"a\":1,\"b\":2}"),
                          key_from(m, "", "", "{\"b\":2,\"a\":1}")));
    cache_key_maker_free(m);
}

static void keys_are_hex_and_back(void **state)
{
    (void)state;
    struct cache_key key, back;
    char hex[CACHE_KEY_HEX];
    for (size_t i = 0; i < sizeof key.bytes; i++)
        key.bytes[i] = (uint8_t)(i * 37 + 5);
    cache_key_hex(&key, hex);
    assert_memory_equal(hex, "052a4f74", 8);
    assert_true(cache_key_from_hex((struct str){hex, sizeof hex}, &back));
    assert_true(same_key(key, back));
    assert_false(cache_key_from_hex((struct str){hex, sizeof hex - 1}, &back));
    hex[9] = 'g';
    assert_false(cache_key_from_hex((struct str){hex, sizeof hex}, &back));
}

/* ---- the store ---- */

static struct cache_key key_number(uint64_t n)
{
    struct cache_key key = {{0}};
    uint64_t mixed = (n + 1) * 0x9E3779B97F4A7C15u;
    mixed ^= mixed >> 29;
    memcpy(key.bytes, &mixed, sizeof mixed);
    memcpy(key.bytes + 8, &n, sizeof n);
    return key;
}

/* Head and body are full of the number's low byte. */
static bool put(struct cache_store *s, uint64_t n, size_t body_bytes, uint64_t now_ns,
                uint64_t ttl_ns)
{
    struct cache_key key = key_number(n);
    char *body = mem_alloc(body_bytes + 1);
    memset(body, (int)(n & 0xff), body_bytes);
    struct cache_entry *e =
        cache_store_make(s, &key, n % 700, (struct str){body, body_bytes}, now_ns);
    mem_free(body);
    if (!e)
        return false;
    memset(e->head, (int)(n & 0xff), n % 700);
    e->stored_ns = now_ns;
    e->expires_ns = now_ns + ttl_ns;
    return cache_store_put(e);
}

/* Is it whole, and of that number? */
static void check_entry(const struct cache_entry *e, uint64_t n, size_t body_bytes)
{
    struct cache_reader r;
    struct str piece;
    size_t total = 0;
    assert_int_equal(e->body_bytes, body_bytes);
    assert_int_equal(e->head_bytes, n % 700);
    for (size_t i = 0; i < e->head_bytes; i += 13)
        assert_int_equal((uint8_t)e->head[i], (uint8_t)n);
    cache_store_read(e, &r);
    while ((piece = cache_store_next(&r)).n) {
        for (size_t i = 0; i < piece.n; i += 61)
            assert_int_equal((uint8_t)piece.p[i], (uint8_t)n);
        total += piece.n;
    }
    assert_int_equal(total, body_bytes);
}

static struct cache_entry *get(struct cache_store *s, uint64_t n, uint64_t now_ns)
{
    struct cache_key key = key_number(n);
    return cache_store_get(s, &key, now_ns);
}

static bool has(struct cache_store *s, uint64_t n, uint64_t now_ns)
{
    struct cache_entry *e = get(s, n, now_ns);
    if (e)
        check_entry(e, n, e->body_bytes);
    cache_store_release(e);
    return e != NULL;
}

/* Every split of head and body over blocks. */
static void bodies_of_all_sizes_are_read_back(void **state)
{
    (void)state;
    struct cache_store *s = cache_store_new(1 << 20, 1 << 16);
    struct cache_key key = {{1}};
    const size_t heads[] = {0, 100, CACHE_HEAD_BYTES_MAX - 1, CACHE_HEAD_BYTES_MAX};
    char body[3200];
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (char)(i * 31 + i / 256);
    for (size_t n = 0; n <= sizeof body; n++)
        for (size_t h = 0; h < COUNT(heads); h++) {
            struct cache_entry *e = cache_store_make(s, &key, heads[h], (struct str){body, n}, 0);
            struct cache_reader r;
            struct str piece;
            size_t at = 0;
            assert_non_null(e);
            memset(e->head, 'h', heads[h]);
            for (cache_store_read(e, &r); (piece = cache_store_next(&r)).n; at += piece.n)
                assert_memory_equal(piece.p, body + at, piece.n);
            assert_int_equal(at, n);
            cache_store_release(e);
        }
    assert_null(cache_store_make(s, &key, CACHE_HEAD_BYTES_MAX + 1, STR_NONE, 0));
    cache_store_free(s);
}

static void keeps_replaces_and_forgets(void **state)
{
    (void)state;
    struct cache_store *s = cache_store_new(1 << 20, 1 << 16);
    struct cache_key key = key_number(7);
    assert_false(has(s, 7, 0));
    assert_true(put(s, 7, 100, 0, 10 * S));
    assert_true(has(s, 7, 0));
    assert_true(put(s, 7, 300, 1 * S, 10 * S));
    struct cache_stats stats;
    cache_store_stats(s, &stats);
    assert_int_equal(stats.entries, 1);
    assert_int_equal(stats.stores, 2);
    assert_true(has(s, 7, 11 * S - 1));
    assert_false(has(s, 7, 11 * S)); /* its time is over, and it is gone */
    cache_store_stats(s, &stats);
    assert_int_equal(stats.entries, 0);
    assert_true(put(s, 7, 10, 0, S));
    assert_true(cache_store_delete(s, &key));
    assert_false(cache_store_delete(s, &key));
    assert_false(has(s, 7, 0));
    for (uint64_t i = 0; i < 100; i++)
        assert_true(put(s, i, 1, 0, S));
    assert_int_equal(cache_store_flush(s), 100);
    assert_int_equal(cache_store_flush(s), 0);
    assert_false(has(s, 42, 0));
    cache_store_free(s);
}

static void reader_outlives_eviction(void **state)
{
    (void)state;
    struct cache_store *s = cache_store_new(1 << 20, 1 << 16);
    struct cache_key key = key_number(3);
    struct cache_stats before, after;
    cache_store_stats(s, &before);
    assert_true(put(s, 3, 5000, 0, S));
    struct cache_entry *e = get(s, 3, 0);
    assert_non_null(e);
    assert_true(cache_store_delete(s, &key));
    cache_store_stats(s, &after);
    assert_true(after.bytes >= before.bytes + 5000); /* it counts until nobody reads it */
    check_entry(e, 3, 5000);
    cache_store_release(e);
    cache_store_stats(s, &after);
    assert_int_equal(after.bytes, before.bytes);
    cache_store_free(s);
}

static void is_bounded_by_bytes(void **state)
{
    (void)state;
    enum { BYTES = 4 << 20 };
    struct cache_store *s = cache_store_new(BYTES, 1 << 18);
    struct cache_stats stats;
    struct rng rng;
    rng_seed(&rng, 11);
    for (uint64_t i = 0; i < 20000; i++) {
        size_t payload =
            rng_next(&rng) % 20 == 0 ? rng_next(&rng) % (200 << 10) : rng_next(&rng) % 3000;
        put(s, i, payload + 1, i, 1000 * S);
        cache_store_stats(s, &stats);
        assert_true(stats.bytes <= BYTES);
    }
    assert_true(stats.bytes > BYTES / 2); /* and it is used */
    assert_true(stats.entries > 100);
    assert_int_equal(stats.stores, stats.entries + stats.evictions);
    assert_int_equal(stats.stores + stats.refused, 20000);
    assert_true(stats.refused < 20);
    assert_false(put(s, 1 << 20, BYTES, 0, S)); /* larger than the whole */
    cache_store_free(s);
}

/* What is asked for again and again stays, while a flood of others goes by. */
static void spares_what_is_asked_for(void **state)
{
    (void)state;
    struct cache_store *s = cache_store_new(1 << 20, 1 << 12);
    int found = 0;
    for (uint64_t i = 0; i < 20; i++)
        assert_true(put(s, i, 500, 0, 1000 * S));
    for (uint64_t i = 1000; i < 20000; i++) {
        assert_true(put(s, i, 500, 0, 1000 * S));
        if (i % 50 == 0)
            for (uint64_t hot = 0; hot < 20; hot++)
                has(s, hot, 0);
    }
    for (uint64_t i = 0; i < 20; i++)
        found += has(s, i, 0);
    assert_int_equal(found, 20);
    assert_false(has(s, 1000, 0));
    cache_store_free(s);
}

/* Entries that are being read are not evicted: freeing them would make no room. */
static void room_held_by_readers_is_not_room(void **state)
{
    (void)state;
    struct cache_store *s = cache_store_new(1 << 16, 1 << 13); /* one shard */
    struct cache_entry *held[64];
    struct cache_stats stats;
    int count = 0;
    for (uint64_t i = 0; i < 64; i++) {
        if (!put(s, i, 4000, 0, S))
            break;
        held[count] = get(s, i, 0);
        assert_non_null(held[count++]);
    }
    assert_true(count > 5 && count < 16);
    cache_store_stats(s, &stats);
    assert_int_equal(stats.refused, 1);
    assert_int_equal(stats.evictions, 0);
    cache_store_release(held[--count]);
    assert_true(put(s, 99, 4000, 0, S));
    while (count)
        cache_store_release(held[--count]);
    cache_store_free(s);
}

static void gathering_has_its_share(void **state)
{
    (void)state;
    struct cache_store *s = cache_store_new(1 << 20, 1 << 16);
    struct cache_stats before, after;
    cache_store_stats(s, &before);
    assert_true(cache_store_reserve(s, 200 << 10));
    assert_false(cache_store_reserve(s, 100 << 10));
    assert_true(cache_store_reserve(s, 56 << 10));
    cache_store_stats(s, &after);
    assert_int_equal(after.bytes - before.bytes, 256 << 10);
    assert_int_equal(after.refused, 1);
    cache_store_unreserve(s, 256 << 10);
    cache_store_stats(s, &after);
    assert_int_equal(after.bytes, before.bytes);
    cache_store_free(s);
}

/* ---- threads ---- */

struct player {
    pthread_t thread;
    struct cache_store *store;
    uint64_t seed, hits;
};

/* Puts, gets, holds and deletes; whatever it gets must be whole and its own key's. */
static void *play(void *arg)
{
    struct player *p = arg;
    struct cache_entry *held[8] = {NULL};
    struct rng rng;
    rng_seed(&rng, p->seed);
    for (int i = 0; i < 20000; i++) {
        uint64_t n = rng_next(&rng) % 500, dice = rng_next(&rng) % 16;
        struct cache_key key = key_number(n);
        if (dice < 4) {
            put(p->store, n, 64 + n * 8, (uint64_t)i, 5000);
        } else if (dice == 4 && i % 64 == 0) {
            cache_store_delete(p->store, &key);
        } else {
            struct cache_entry *e = cache_store_get(p->store, &key, (uint64_t)i),
                               **slot = &held[dice % 8];
            cache_store_release(*slot);
            *slot = e;
            if (!e)
                continue;
            p->hits++;
            assert_true(same_key(e->key, key));
            check_entry(e, n, 64 + n * 8);
        }
    }
    for (size_t i = 0; i < COUNT(held); i++)
        cache_store_release(held[i]);
    return NULL;
}

static void threads_share_it(void **state)
{
    (void)state;
    struct cache_store *s = cache_store_new(1 << 20, 1 << 13);
    struct player players[4];
    struct cache_stats empty, stats;
    cache_store_stats(s, &empty);
    for (size_t i = 0; i < COUNT(players); i++) {
        players[i] = (struct player){.store = s, .seed = i + 1};
        assert_int_equal(pthread_create(&players[i].thread, NULL, play, &players[i]), 0);
    }
    for (int i = 0; i < 50; i++) {
        cache_store_flush(s);
        cache_store_stats(s, &stats);
        assert_true(stats.bytes <= 1 << 20);
    }
    for (size_t i = 0; i < COUNT(players); i++) {
        pthread_join(players[i].thread, NULL);
        assert_true(players[i].hits > 100);
    }
    cache_store_flush(s);
    cache_store_stats(s, &stats);
    assert_int_equal(stats.bytes, empty.bytes);
    assert_int_equal(stats.entries, 0);
    cache_store_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_out_white_space_and_what_does_not_matter),
        cmocka_unit_test(keeps_what_may_matter),
        cmocka_unit_test(survives_what_is_no_json),
        cmocka_unit_test(keys_tell_requests_apart),
        cmocka_unit_test(keys_are_hex_and_back),
        cmocka_unit_test(bodies_of_all_sizes_are_read_back),
        cmocka_unit_test(keeps_replaces_and_forgets),
        cmocka_unit_test(reader_outlives_eviction),
        cmocka_unit_test(is_bounded_by_bytes),
        cmocka_unit_test(spares_what_is_asked_for),
        cmocka_unit_test(room_held_by_readers_is_not_room),
        cmocka_unit_test(gathering_has_its_share),
        cmocka_unit_test(threads_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
