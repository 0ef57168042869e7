/* cache_key.c -- canonical form of a request, and its SHA-256.
 *
 * The body was read by the strict scanner at intake, so the walk here needs to know strings, brackets and commas only. It hands on runs of the
 * body's own bytes, as long as they can be: JSON without white space is one run up to the first member left out.
 * JSON texts delimit themselves and parts carry their lengths, so no two lists of parts and bodies are the same bytes. */
#include "gateway/cache_key.h"

#include <openssl/evp.h>

#include "base/digits.h"
#include "base/mem.h"

/* What an answer does not depend on, or what LiteLLM leaves out as well: `model` is replaced by its group, which is a part. Members that
 * begin with "litellm_" are left out too. */
static const struct str ignored[] = {
    {"model", 5},        {"cache", 5},     {"metadata", 8},
    {"tags", 4},         {"fallbacks", 9}, {"disable_fallbacks", 17},
    {"num_retries", 11}, {"timeout", 7},   {"stream_timeout", 14}};

#define BODY_FOLLOWS UINT64_MAX /* in the place of a part's length: no part is so long */

struct cache_key_maker {
    EVP_MD *sha256;
    EVP_MD_CTX *state;
};

/* ---- canonical form ---- */

/* Runs that touch are joined, so that the taker is called as seldom as can be. */
struct walk {
    const char *end;
    struct str run;
    void (*take)(void *arg, struct str run);
    void *arg;
};

static void flush(struct walk *w)
{
    if (w->run.n)
        w->take(w->arg, w->run);
    w->run = STR_NONE;
}

static void emit(struct walk *w, const char *from, const char *to)
{
    if (w->run.n && w->run.p + w->run.n == from) {
        w->run.n += (size_t)(to - from);
        return;
    }
    flush(w);
    w->run = (struct str){from, (size_t)(to - from)};
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *skip_space(const struct walk *w, const char *p)
{
    while (p < w->end && is_space(*p))
        p++;
    return p;
}

/* Behind the string that begins at `p`. A quote ends it unless an odd number of backslashes is before it; the opening quote ends their count. */
static const char *string_end(const struct walk *w, const char *p)
{
    const char *at = p + 1;
    while (at < w->end && (at = memchr(at, '"', (size_t)(w->end - at)))) {
        size_t slashes = 0;
        while (at[-1 - (ptrdiff_t)slashes] == '\\')
            slashes++;
        at++;
        if (slashes % 2 == 0)
            return at;
    }
    return w->end;
}

/* Behind the value that begins at `p`: at the comma or bracket that ends it. */
static const char *walk_value(struct walk *w, const char *p, bool kept)
{
    const char *run = p;
    int64_t depth = 0;
    while (p < w->end) {
        char c = *p;
        if (is_space(c)) {
            if (kept)
                emit(w, run, p);
            run = p = skip_space(w, p);
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}' || c == ']'))
            break;
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        p = c == '"' ? string_end(w, p) : p + 1;
    }
    if (kept)
        emit(w, run, p);
    return p;
}

/* `name` as it is written, with its quotes. One with escapes is nobody's usual spelling: it counts, which costs a miss at most. */
static bool is_ignored(struct str name)
{
    if (name.n < 2)
        return false;
    struct str text = {name.p + 1, name.n - 2};
    for (size_t i = 0; i < COUNT(ignored); i++)
        if (str_eq(text, ignored[i]))
            return true;
    return str_starts(text, STR("litellm_"));
}

void cache_key_canonical(struct str body, void (*take)(void *arg, struct str run), void *arg)
{
    if (!body.n)
        return;
    struct walk w = {.end = body.p + body.n, .take = take, .arg = arg};
    const char *p = skip_space(&w, body.p), *comma = NULL;
    bool first = true;
    if (p == w.end || *p != '{') { /* no object: nothing has a name to be left out by */
        p = walk_value(&w, p, true);
        emit(&w, p, w.end);
        flush(&w);
        return;
    }
    emit(&w, p, p + 1);
    p = skip_space(&w, p + 1);
    while (p < w.end && *p == '"') {
        struct str name = {p, (size_t)(string_end(&w, p) - p)};
        const char *colon = skip_space(&w, name.p + name.n);
        bool kept = !is_ignored(name);
        if (kept && !first)
            emit(&w, comma, comma + 1);
        if (kept)
            emit(&w, name.p, name.p + name.n);
        if (kept && colon < w.end)
            emit(&w, colon, colon + 1);
        first = first && !kept;
        p = walk_value(&w, skip_space(&w, MIN(colon + 1, w.end)), kept);
        if (p == w.end || *p != ',')
            break;
        comma = p;
        p = skip_space(&w, p + 1);
    }
    if (p < w.end)
        emit(&w, p, p + 1);
    flush(&w);
}

/* ---- the hash ---- */

struct cache_key_maker *cache_key_maker_new(void)
{
    struct cache_key_maker *m = mem_alloc(sizeof *m);
    m->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    m->state = EVP_MD_CTX_new();
    ENSURE(m->sha256 && m->state && EVP_DigestInit_ex2(m->state, m->sha256, NULL));
    return m;
}

void cache_key_maker_free(struct cache_key_maker *m)
{
    if (!m)
        return;
    EVP_MD_CTX_free(m->state);
    EVP_MD_free(m->sha256);
    mem_free(m);
}

static void hash(void *arg, struct str run)
{
    struct cache_key_maker *m = arg;
    ENSURE(EVP_DigestUpdate(m->state, run.p, run.n));
}

static void hash_u64(struct cache_key_maker *m, uint64_t value)
{
    hash(m, (struct str){(const char *)&value, sizeof value});
}

void cache_key_begin(struct cache_key_maker *m)
{
    ENSURE(EVP_DigestInit_ex2(m->state, m->sha256, NULL));
}

void cache_key_part(struct cache_key_maker *m, struct str part)
{
    hash_u64(m, part.n);
    if (part.n)
        hash(m, part);
}

void cache_key_body(struct cache_key_maker *m, struct str body)
{
    hash_u64(m, BODY_FOLLOWS);
    cache_key_canonical(body, hash, m);
}

void cache_key_end(struct cache_key_maker *m, struct cache_key *out)
{
    unsigned n = 0;
    ENSURE(EVP_DigestFinal_ex(m->state, out->bytes, &n) && n == CACHE_KEY_BYTES);
}

/* ---- as text ---- */

void cache_key_hex(const struct cache_key *k, char out[CACHE_KEY_HEX])
{
    digits_hex_bytes(out, k->bytes, CACHE_KEY_BYTES);
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool cache_key_from_hex(struct str hex, struct cache_key *out)
{
    struct cache_key key;
    if (hex.n != CACHE_KEY_HEX)
        return false;
    for (size_t i = 0; i < CACHE_KEY_BYTES; i++) {
        int high = digit_of(hex.p[2 * i]), low = digit_of(hex.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        key.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *out = key;
    return true;
}
