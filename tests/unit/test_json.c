/* test_json.c -- scanner, readers, writer and tree. Every scan is done whole, byte by byte and
 * split at every point, and must find the same. The texts are in tests/vectors/json/. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/json.h"
#include "base/json_text.h"

/* ---- scanning in all ways ---- */

struct result {
    enum json_status status;
    uint64_t offset;
    const char *bad;
    struct json_found found[JSON_WANT_MAX];
};

/* Pieces live in blocks of their own size, so that reading past one is an error under ASan. */
static enum json_status feed_copy(struct json_scan *s, const char *p, size_t n)
{
    char *piece = malloc(n);
    if (n)
        memcpy(piece, p, n);
    enum json_status status = json_scan_feed(s, piece, n);
    free(piece);
    return status;
}

/* Feeds `first` bytes and then pieces of `step`. */
static struct result scan(const struct json_want *want, struct str text, size_t first, size_t step)
{
    struct result r = {0};
    struct json_scan s;
    memset(&s, 0xA5, sizeof s); /* init must not count on zeroed memory */
    memset(r.found, 0xA5, sizeof r.found);
    json_scan_init(&s, want, r.found);
    r.status = feed_copy(&s, text.p, first);
    for (size_t at = first; at < text.n && r.status != JSON_BAD; at += step)
        r.status = feed_copy(&s, text.p + at, MIN(step, text.n - at));
    r.status = json_scan_finish(&s);
    r.offset = s.offset;
    r.bad = s.bad;
    return r;
}

static void same_result(const struct result *a, const struct result *b, size_t count)
{
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->offset, b->offset);
    assert_ptr_equal(a->bad, b->bad);
    for (size_t i = 0; i < count; i++) {
        const struct json_found *x = &a->found[i], *y = &b->found[i];
        assert_int_equal(x->kind, y->kind);
        assert_int_equal(x->count, y->count);
        assert_int_equal(x->cut, y->cut);
        assert_int_equal(x->escaped, y->escaped);
        assert_int_equal(x->start, y->start);
        assert_int_equal(x->end, y->end);
        assert_int_equal(x->kept, y->kept);
        assert_memory_equal(x->text, y->text, x->kept);
    }
}

static struct result scan_all_ways(const struct json_want *want, size_t count, struct str text)
{
    struct result whole = scan(want, text, text.n, 1);
    for (size_t first = 0; first < text.n; first++) {
        struct result split = scan(want, text, first, text.n);
        same_result(&whole, &split, count);
    }
    for (size_t step = 1; step <= 7; step++) {
        struct result pieces = scan(want, text, 0, step);
        same_result(&whole, &pieces, count);
    }
    return whole;
}

/* Tables live as long as the process: here they are kept so that leak checkers see it. */
static const struct json_want *tables[64];
static size_t tables_used;

static const struct json_want *compile(const char *const *paths, size_t count)
{
    assert_true(tables_used < COUNT(tables));
    return tables[tables_used++] = json_want_compile(paths, count);
}

/* ---- vectors ---- */

/* One line without its newline, <HH> made a byte. */
static bool next_line(FILE *file, char *out, size_t out_bytes, size_t *n)
{
    char line[2048];
    if (!fgets(line, sizeof line, file))
        return false;
    *n = 0;
    for (const char *p = line; *p && *p != '\n'; p++) {
        unsigned byte;
        assert_true(*n + 1 < out_bytes);
        if (*p == '<' && p[1] && p[2] && p[3] == '>' && sscanf(p + 1, "%2x>", &byte) == 1) {
            out[(*n)++] = (char)byte;
            p += 3;
        } else {
            out[(*n)++] = *p;
        }
    }
    out[*n] = '\0';
    return true;
}

static FILE *open_vectors(const char *name)
{
    FILE *file = fopen(name, "r");
    if (!file)
        fail_msg("%s: run from the project's root", name);
    return file;
}

/* The tree takes the same texts. */
static void tree_agrees(struct str text, enum json_status status)
{
    struct arena a;
    struct err e = {0};
    arena_init(&a, NULL, 0);
    struct json_node *node = json_parse(&a, text, &e);
    assert_int_equal(node != NULL, status == JSON_DONE);
    assert_int_equal(e.text[0] != '\0', status != JSON_DONE);
    arena_fini(&a);
}

static void valid_texts(void **state)
{
    (void)state;
    char line[2048];
    size_t n, seen = 0;
    FILE *file = open_vectors("tests/vectors/json/valid.txt");
    while (next_line(file, line, sizeof line, &n)) {
        if (line[0] == '#')
            continue;
        struct str text = {line, n};
        struct result r = scan_all_ways(NULL, 0, text);
        if (r.status != JSON_DONE)
            fail_msg("refused at %d: %s", (int)r.offset, line);
        assert_int_equal(r.offset, n);
        tree_agrees(text, r.status);
        seen++;
    }
    fclose(file);
    assert_true(seen > 40);
}

static void invalid_texts(void **state)
{
    (void)state;
    char line[2048];
    size_t n, seen = 0, wrong = 0;
    static const char *const paths[] = {"a", "0"};
    const struct json_want *want = compile(paths, COUNT(paths));
    FILE *file = open_vectors("tests/vectors/json/invalid.txt");
    while (next_line(file, line, sizeof line, &n)) {
        if (line[0] == '#')
            continue;
        char *text = NULL;
        uint64_t offset = strtoul(line, &text, 10);
        text++; /* the space */
        struct str json = {text, n - (size_t)(text - line)};
        struct result r = scan_all_ways(want, COUNT(paths), json);
        if (r.status != JSON_BAD || r.offset != offset)
            print_error("status %d at %d: %s\n", r.status, (int)r.offset, line);
        wrong += r.status != JSON_BAD || r.offset != offset;
        tree_agrees(json, r.status);
        seen++;
    }
    fclose(file);
    assert_int_equal(wrong, 0);
    assert_true(seen > 80);
}

static const char *const kind_names[] = {"-",      "null",   "false",  "true",
                                         "number", "string", "object", "array"};

/* One line of a block, as the vectors write it. */
static void show_found(char *out, size_t out_bytes, const char *path, const struct json_found *f)
{
    if (f->kind == JSON_NONE)
        snprintf(out, out_bytes, "%s -", path);
    else
        snprintf(out, out_bytes, "%s %s %d %d %d %s%s%.*s", path, kind_names[f->kind],
                 (int)f->start, (int)f->end, f->count, f->cut ? "cut " : "",
                 f->escaped ? "escaped " : "", f->kept, f->text);
}

static int check_block(const char *json, size_t json_bytes, char wanted[][512], size_t count)
{
    char paths[JSON_WANT_MAX][64], shown[512];
    const char *pointers[JSON_WANT_MAX] = {0};
    for (size_t i = 0; i < count; i++) {
        snprintf(paths[i], sizeof paths[i], "%.*s", (int)strcspn(wanted[i], " "), wanted[i]);
        pointers[i] = paths[i];
    }
    int wrong = 0;
    const struct json_want *want = compile(pointers, count);
    struct result r = scan_all_ways(want, count, (struct str){json, json_bytes});
    assert_int_equal(r.status, JSON_DONE);
    for (size_t i = 0; i < count; i++) {
        show_found(shown, sizeof shown, paths[i], &r.found[i]);
        if (strcmp(shown, wanted[i]) == 0)
            continue;
        print_error("%s\n  found  %s\n  wanted %s\n", json, shown, wanted[i]);
        wrong++;
    }
    return wrong;
}

static void paths_found(void **state)
{
    (void)state;
    static char json[2048], line[2048], wanted[JSON_WANT_MAX][512];
    size_t n, json_bytes = 0, count = 0, blocks = 0;
    int wrong = 0;
    FILE *file = open_vectors("tests/vectors/json/paths.txt");
    while (next_line(file, line, sizeof line, &n)) {
        if (line[0] == '#')
            continue;
        if (line[0] != '>') {
            snprintf(wanted[count++], sizeof wanted[0], "%.500s", line);
            continue;
        }
        if (count > 0)
            wrong += check_block(json, json_bytes, wanted, count);
        json_bytes = n - 2;
        memcpy(json, line + 2, n - 1);
        count = 0;
        blocks++;
    }
    fclose(file);
    wrong += check_block(json, json_bytes, wanted, count);
    assert_int_equal(wrong, 0);
    assert_true(blocks > 25);
}

/* ---- the scanner beyond the vectors ---- */

static void empty_and_blank(void **state)
{
    (void)state;
    static const struct str texts[] = {STR(""), STR("   "), STR("\r\n\t ")};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct result r = scan_all_ways(NULL, 0, texts[i]);
        assert_int_equal(r.status, JSON_BAD);
        assert_int_equal(r.offset, texts[i].n);
        assert_string_equal(r.bad, "expected a value");
    }
}

static void status_while_feeding(void **state)
{
    (void)state;
    struct json_scan s;
    json_scan_init(&s, NULL, NULL);
    assert_int_equal(json_scan_feed(&s, NULL, 0), JSON_MORE);
    assert_int_equal(json_scan_feed(&s, " {\"a\":", 6), JSON_MORE);
    assert_int_equal(json_scan_feed(&s, "1}", 2), JSON_DONE);
    assert_int_equal(json_scan_feed(&s, " \n", 2), JSON_DONE);
    assert_int_equal(json_scan_feed(&s, "x", 1), JSON_BAD);
    assert_int_equal(s.offset, 10);
    assert_string_equal(s.bad, "expected nothing more");
    assert_int_equal(json_scan_feed(&s, " ", 1), JSON_BAD); /* and it stays so */
    assert_int_equal(json_scan_finish(&s), JSON_BAD);
    assert_int_equal(s.offset, 10);

    json_scan_init(&s, NULL, NULL);
    assert_int_equal(json_scan_feed(&s, "12", 2), JSON_MORE); /* 123 may follow */
    assert_int_equal(json_scan_finish(&s), JSON_DONE);
    json_scan_init(&s, NULL, NULL);
    assert_int_equal(json_scan_feed(&s, "12 ", 3), JSON_DONE);
}

static enum json_status nested(size_t depth, char open, char close)
{
    char text[2 * (JSON_DEPTH_MAX + 8)];
    assert_true(2 * depth <= sizeof text);
    memset(text, open, depth);
    memset(text + depth, close, depth);
    struct result r = scan_all_ways(NULL, 0, (struct str){text, 2 * depth});
    assert_int_equal(r.offset, r.status == JSON_DONE ? 2 * depth : JSON_DEPTH_MAX);
    return r.status;
}

static void depth_is_capped(void **state)
{
    (void)state;
    assert_int_equal(nested(JSON_DEPTH_MAX, '[', ']'), JSON_DONE);
    assert_int_equal(nested(JSON_DEPTH_MAX + 1, '[', ']'), JSON_BAD);
}

/* The table's limits: 24 paths; a count that saturates. */
static void many_paths_and_duplicates(void **state)
{
    (void)state;
    static char names[JSON_WANT_MAX][16];
    const char *paths[JSON_WANT_MAX];
    static char text[8192];
    size_t n = 0;
    text[n++] = '{';
    for (int i = 0; i < JSON_WANT_MAX; i++) {
        snprintf(names[i], sizeof names[i], "p%d.v", i);
        paths[i] = names[i];
        n += (size_t)snprintf(text + n, sizeof text - n, "\"p%d\":{\"v\":%d},", i, i * i);
    }
    for (int i = 0; i < 300; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "\"p%d\":0,", 100 + i % 7);
    n += (size_t)snprintf(text + n, sizeof text - n, "\"p3\":{");
    for (int i = 0; i < 300; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s\"v\":%d", i ? "," : "", i);
    n += (size_t)snprintf(text + n, sizeof text - n, "}}");
    const struct json_want *want = compile(paths, JSON_WANT_MAX);
    struct result r = scan(want, (struct str){text, n}, n, 1);
    assert_int_equal(r.status, JSON_DONE);
    for (int i = 0; i < JSON_WANT_MAX; i++) {
        int64_t value = -1;
        assert_true(json_found_i64(&r.found[i], &value));
        assert_int_equal(value, i == 3 ? 299 : i * i);
        assert_int_equal(r.found[i].count, i == 3 ? 255 : 1);
    }
}

/* A long string with one odd byte, at every place: it is found there, whatever crosses the run before it. */
static void long_strings_end_where_they_end(void **state)
{
    (void)state;
    enum { BYTES = 1400 };
    static char text[BYTES + 2];
    static const char odd[] = {'"', '\\', 0x1F, (char)0x80};
    for (size_t at = 1; at < BYTES; at++) {
        memset(text, 'x', sizeof text);
        text[0] = '"';
        text[at] = odd[at % COUNT(odd)];
        struct json_scan s;
        json_scan_init(&s, NULL, NULL);
        enum json_status status = json_scan_feed(&s, text, BYTES);
        const char *blocks = json_plain_blocks(text + 1, text + BYTES);
        assert_true(blocks <= text + MAX(at, (size_t)1) && (blocks - text - 1) % 64 == 0);
        if (text[at] == '"') { /* what follows it is no JSON */
            assert_int_equal(status, at + 1 < BYTES ? JSON_BAD : JSON_DONE);
            assert_int_equal(s.offset, at + 1 < BYTES ? at + 1 : BYTES);
        } else { /* "\x", a control byte, no UTF-8 */
            assert_int_equal(status, at + 1 < BYTES || text[at] != '\\' ? JSON_BAD : JSON_MORE);
            assert_int_equal(s.offset, text[at] == '\\' ? at + 1 : at);
        }
    }
}

static void both_masks_agree(void **state)
{
    (void)state;
    uint32_t seed = 1;
    char bytes[64];
    for (int round = 0; round < 20000; round++) {
        uint64_t expected = 0;
        for (unsigned i = 0; i < 64; i++) {
            seed = seed * 1664525u + 1013904223u;
            static const char edges[] = {0,          0x1F,       0x20,       '!',       '"',
                                         '#',        '[',        '\\',       ']',       0x7F,
                                         (char)0x80, (char)0xA2, (char)0xDC, (char)0xFF};
            bytes[i] = seed >> 31 ? edges[(seed >> 8) % COUNT(edges)] : (char)(seed >> 16);
            expected |= (uint64_t)!json_is_plain((unsigned char)bytes[i]) << i;
        }
        assert_true(json_odd_64_swar(bytes) == expected);
        assert_true(json_odd_64(bytes) == expected);
        size_t n = seed >> 8 & 63;
        const char *end = json_plain_end(bytes, bytes + n);
        size_t first = expected ? (size_t)__builtin_ctzll(expected) : 64;
        assert_int_equal(end - bytes, MIN(n, first));
    }
}

/* ---- numbers ---- */

static struct json_found number(const char *text)
{
    struct json_found f = {.kind = JSON_NUMBER, .kept = (uint8_t)strlen(text)};
    memcpy(f.text, text, f.kept);
    return f;
}

static void integers(void **state)
{
    (void)state;
    // clang-format off
    static const struct { const char *text; bool ok; int64_t value; } cases[] = {
        {"0", true, 0}, {"-0", true, 0}, {"7", true, 7}, {"-12", true, -12}, {"100", true, 100},
        {"3.0", true, 3}, {"1e2", true, 100}, {"1.5e1", true, 15}, {"1500e-2", true, 15}, {"0.5e1", true, 5},
        {"1E+2", true, 100}, {"0e999999999999999999999", true, 0}, {"0.000", true, 0}, {"1000.0000000000000000000000000000", true, 1000},
        {"0.00000000000000000000000000001e29", true, 1},
        {"9223372036854775807", true, INT64_MAX}, {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0}, {"-9223372036854775809", false, 0}, {"18446744073709551616", false, 0},
        {"123456789012345678901234567890", false, 0}, {"1e18", true, 1000000000000000000}, {"1e19", false, 0}, {"1e400", false, 0},
        {"9.223372036854775807e18", true, INT64_MAX}, {"3.5", false, 0}, {"1e-1", false, 0}, {"1.286e-05", false, 0},
        {"1e-99999999999999999999", false, 0},
    };
    // clang-format on
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct json_found f = number(cases[i].text);
        int64_t value = 42;
        if (json_found_i64(&f, &value) != cases[i].ok ||
            value != (cases[i].ok ? cases[i].value : 42))
            fail_msg("%s: %lld", cases[i].text, (long long)value);
    }
    struct json_found f = number("12");
    int64_t value = 42;
    f.cut = true;
    assert_false(json_found_i64(&f, &value));
    f = (struct json_found){.kind = JSON_STRING, .kept = 1, .text = "1"};
    assert_false(json_found_i64(&f, &value));
    f = (struct json_found){0};
    assert_false(json_found_i64(&f, &value));
    assert_int_equal(value, 42);
}

static void doubles(void **state)
{
    (void)state;
    double value = 42;
    struct json_found f = number("1.286e-05");
    assert_true(json_found_f64(&f, &value));
    assert_true(value == 1.286e-05);
    f = number("-0");
    assert_true(json_found_f64(&f, &value) && value == 0 && __builtin_signbit(value));
    f = number("1e-400");
    assert_true(json_found_f64(&f, &value) && value == 0);
    f = number("1E400");
    assert_false(json_found_f64(&f, &value));
    f = (struct json_found){.kind = JSON_NULL, .kept = 4, .text = "null"};
    assert_false(json_found_f64(&f, &value));
}

/* ---- strings ---- */

static void unescaping(void **state)
{
    (void)state;
    // clang-format off
    static const struct { struct str raw, decoded; size_t room; } cases[] = {
        {STR(""), STR(""), 9}, {STR("plain"), STR("plain"), 9}, {STR("plain"), STR("pla"), 3},
        {STR("\\\"\\\\\\/\\b\\f\\n\\r\\t"), STR("\"\\/\b\f\n\r\t"), 99},
        {STR("\\u0000x"), STR("\0x"), 9}, {STR("\\u00e9"), STR("\xC3\xA9"), 9}, {STR("\\u20AC"), STR("\xE2\x82\xAC"), 9},
        {STR("\\ud83d\\ude00!"), STR("\xF0\x9F\x98\x80!"), 9}, {STR("\\uDBFF\\uDFFF"), STR("\xF4\x8F\xBF\xBF"), 9},
        {STR("\\ud83dx"), STR("\xEF\xBF\xBDx"), 9}, {STR("\\ude00\\ud83d"), STR("\xEF\xBF\xBD\xEF\xBF\xBD"), 9},
        {STR("\\ud83d\\ud83d\\ude00"), STR("\xEF\xBF\xBD\xF0\x9F\x98\x80"), 9},
        {STR("\\ud83d\\u0041"), STR("\xEF\xBF\xBD" "A"), 9},
        {STR("ab\\u00"), STR("ab"), 9}, {STR("ab\\"), STR("ab"), 9}, {STR("\\q\\u12G4"), STR("q\xEF\xBF\xBD"), 9},
        {STR("a\xC3\xA9"), STR("a"), 2}, {STR("a\\u00e9"), STR("a"), 2}, {STR("a\\u00e9z"), STR("a\xC3\xA9"), 3},
    };
    // clang-format on
    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[100];
        size_t n = json_unescape(cases[i].raw, out, cases[i].room);
        assert_int_equal(n, cases[i].decoded.n);
        assert_memory_equal(out, cases[i].decoded.p, n);
        char same[100]; /* in place */
        memcpy(same, cases[i].raw.p, cases[i].raw.n);
        n = json_unescape((struct str){same, cases[i].raw.n}, same, cases[i].room);
        assert_int_equal(n, cases[i].decoded.n);
        assert_memory_equal(same, cases[i].decoded.p, n);
    }
}

static void escaping(void **state)
{
    (void)state;
    // clang-format off
    static const struct { struct str text, json; } cases[] = {
        {STR(""), STR("\"\"")}, {STR("abc"), STR("\"abc\"")},
        {STR("a\"b\\c/"), STR("\"a\\\"b\\\\c/\"")},
        {STR("\b\f\n\r\t"), STR("\"\\b\\f\\n\\r\\t\"")},
        {STR("\0\x1F\x7F"), STR("\"\\u0000\\u001f\x7F\"")},
        {STR("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"), STR("\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"")},
        {STR("\xFF"), STR("\"\xEF\xBF\xBD\"")}, {STR("a\xC3"), STR("\"a\xEF\xBF\xBD\"")},
        {STR("\xC0\x80"), STR("\"\xEF\xBF\xBD\xEF\xBF\xBD\"")},
        {STR("\xED\xA0\x80z"), STR("\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz\"")},
        {STR("a run of plain bytes that is longer than one window of sixty-four bytes\n, and more"),
         STR("\"a run of plain bytes that is longer than one window of sixty-four bytes\\n, and more\"")},
    };
    // clang-format on
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str text = cases[i].text, json = cases[i].json;
        char out[256];
        assert_int_equal(json_escape(out, sizeof out, text), json.n);
        assert_memory_equal(out, json.p, json.n);
        for (size_t room = 0; room < json.n; room++) {
            char *tight = malloc(room);
            assert_int_equal(json_escape(tight, room, text), 0);
            free(tight);
        }
        assert_int_equal(json_escape(out, json.n, text), json.n);
        struct buf b;
        buf_init(&b, 256, NULL);
        assert_true(json_write_string(&b, text) && json_write_string(&b, text));
        assert_int_equal(buf_used(&b), 2 * json.n);
        assert_memory_equal(buf_str(&b).p + json.n, json.p, json.n);
        buf_fini(&b);
    }
    struct buf b;
    buf_init(&b, 16, NULL);
    assert_true(json_write_string(&b, STR("0123456789")));
    assert_false(json_write_string(&b, STR("01234")));
    assert_int_equal(buf_used(&b), 12);
    buf_fini(&b);
}

static void compacting(void **state)
{
    (void)state;
    static const struct str text =
        STR(" { \"a b\" : [ 1 ,\t\"x \\\" y\" ] ,\r\n \"c\\\\\":null } ");
    static const struct str small = STR("{\"a b\":[1,\"x \\\" y\"],\"c\\\\\":null}");
    char out[100];
    assert_int_equal(json_compact(out, sizeof out, text), small.n);
    assert_memory_equal(out, small.p, small.n);
    assert_int_equal(json_compact(out, small.n, text), small.n);
    assert_int_equal(json_compact(out, small.n - 1, text), 0);
    memcpy(out, text.p, text.n);
    assert_int_equal(json_compact(out, text.n, (struct str){out, text.n}), small.n);
    assert_memory_equal(out, small.p, small.n);
    assert_int_equal(json_compact(out, sizeof out, STR("\"not ended \\")), 12);
}

/* ---- the tree ---- */

static void tree(void **state)
{
    (void)state;
    struct arena a;
    struct err e = {0};
    arena_init(&a, NULL, 0);
    struct json_node *top =
        json_parse(&a,
                   STR("{\"a\":[1,-2.5e1,\"x\\ny\"] , \"\\u0062\" : "
                       "{\"c\":null,\"d\":true,\"e\":false},\"a2\":1E400,\"b\":{}}"),
                   &e);
    assert_non_null(top);
    assert_int_equal(top->kind, JSON_OBJECT);
    assert_int_equal(top->count, 4);
    struct json_node *list = json_get(top, "a");
    assert_int_equal(list->kind, JSON_ARRAY);
    assert_int_equal(list->count, 3);
    assert_true(list->child->number == 1 && str_eq(list->child->text, STR("1")));
    assert_true(list->child->next->number == -25);
    assert_true(str_eq(list->child->next->next->text, STR("x\ny")));
    assert_null(list->child->next->next->next);
    assert_null(list->child->key.p);
    struct json_node *first_b = list->next;
    assert_true(str_eq(first_b->key, STR("b")));
    assert_int_equal(json_get(first_b, "c")->kind, JSON_NULL);
    assert_int_equal(json_get(first_b, "d")->kind, JSON_TRUE);
    assert_int_equal(json_get(first_b, "e")->kind, JSON_FALSE);
    assert_int_equal(json_get(top, "b")->count, 0); /* the last one */
    assert_true(__builtin_isinf(json_get(top, "a2")->number));
    assert_null(json_get(top, "nope"));
    assert_null(json_get(list, "a"));
    assert_null(json_get(NULL, "a"));
    assert_int_equal(json_parse(&a, STR(" \"s\" "), &e)->kind, JSON_STRING);
    assert_true(json_parse(&a, STR("42"), &e)->number == 42);
    assert_int_equal(e.text[0], '\0');
    arena_fini(&a);
}

static void tree_names_the_place(void **state)
{
    (void)state;
    struct arena a;
    struct err e = {0};
    char shown[600];
    arena_init(&a, NULL, 0);
    assert_null(json_parse(&a, STR("{\n  \"\xC3\xA9\": 1,\n  \"b\xC3\xA9\" 2\n}"), &e));
    assert_int_equal(e.line, 3);
    assert_int_equal(e.column, 8); /* characters, not bytes */
    err_format(&e, shown, sizeof shown);
    assert_string_equal(shown, "JSON:3:8: expected ':'");
    e = (struct err){0};
    assert_null(json_parse(&a, STR(""), &e));
    assert_int_equal(e.line, 1);
    assert_int_equal(e.column, 1);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_texts),
        cmocka_unit_test(invalid_texts),
        cmocka_unit_test(paths_found),
        cmocka_unit_test(empty_and_blank),
        cmocka_unit_test(status_while_feeding),
        cmocka_unit_test(depth_is_capped),
        cmocka_unit_test(many_paths_and_duplicates),
        cmocka_unit_test(long_strings_end_where_they_end),
        cmocka_unit_test(both_masks_agree),
        cmocka_unit_test(integers),
        cmocka_unit_test(doubles),
        cmocka_unit_test(unescaping),
        cmocka_unit_test(escaping),
        cmocka_unit_test(compacting),
        cmocka_unit_test(tree),
        cmocka_unit_test(tree_names_the_place),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
