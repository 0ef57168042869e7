/* cache_control.c -- what a request says of the cache.
 *
 * LiteLLM's member `cache` of the body, and the Cache-Control header (RFC 9111 section 5.2.1; s-maxage means `ttl`, as in LiteLLM). Where both
 * speak, the body wins. The member is ours: it is checked here, and provider.c cuts it out of what goes upstream. */
#include "gateway/gateway.h"

#define TTL_MAX_S        (10.0 * 365 * 86400)
#define SPACE_BYTES_MAX  256
#define HEADER_TTL_MAX_S 315360000 /* the same */

enum member {
    MEMBER_TTL,
    MEMBER_S_MAXAGE,
    MEMBER_S_MAX_AGE,
    MEMBER_NO_CACHE,
    MEMBER_NO_STORE,
    MEMBER_USE_CACHE,
    MEMBER_NAMESPACE,
    MEMBER_COUNT
};

enum member_type { SECONDS, FLAG, TEXT };

static const char *const expected[] = {
    [SECONDS] = "a number of seconds, 0 or more",
    [FLAG] = "true or false",
    [TEXT] = "a text of at most 256 bytes",
};

#define CONTROL(name) offsetof(struct cache_control, name)
static const struct {
    const char *name;
    enum member_type type;
    size_t offset; /* in struct cache_control */
} members[MEMBER_COUNT] = {
    [MEMBER_TTL] = {"ttl", SECONDS, CONTROL(ttl_ms)},
    [MEMBER_S_MAXAGE] = {"s-maxage", SECONDS, CONTROL(max_age_ms)},
    [MEMBER_S_MAX_AGE] = {"s-max-age", SECONDS, CONTROL(max_age_ms)},
    [MEMBER_NO_CACHE] = {"no-cache", FLAG, CONTROL(no_cache)},
    [MEMBER_NO_STORE] = {"no-store", FLAG, CONTROL(no_store)},
    [MEMBER_USE_CACHE] = {"use-cache", FLAG, CONTROL(use_cache)},
    [MEMBER_NAMESPACE] = {"namespace", TEXT, CONTROL(space)},
};

static const struct json_want *wanted; /* compiled */

void cache_prepare(void)
{
    const char *paths[MEMBER_COUNT];
    for (int i = 0; i < MEMBER_COUNT; i++)
        paths[i] = members[i].name;
    if (!wanted)
        wanted = json_want_compile(paths, MEMBER_COUNT);
}

/* ---- the header ---- */

/* What is no number of seconds is not understood, and that is ignored (RFC 9111 section 5.2). */
static void take_seconds(struct str text, int64_t *ms)
{
    int64_t seconds;
    if (text.n && text.p[0] == '"' && text.p[text.n - 1] == '"' && text.n >= 2)
        text = (struct str){text.p + 1, text.n - 2};
    if (str_to_i64(text, &seconds) && seconds >= 0)
        *ms = MIN(seconds, HEADER_TTL_MAX_S) * 1000;
}

static void take_directive(struct cache_control *c, struct str directive)
{
    struct str value = directive, name = str_trim(str_cut(&value, '='));
    value = str_trim(value);
    if (str_ieq(name, STR("no-cache")))
        c->no_cache = true;
    else if (str_ieq(name, STR("no-store")))
        c->no_store = true;
    else if (str_ieq(name, STR("s-maxage")))
        take_seconds(value, &c->ttl_ms);
    else if (str_ieq(name, STR("max-age")))
        take_seconds(value, &c->max_age_ms);
}

static void take_header(struct cache_control *c, const struct h1_head *h)
{
    for (int i = 0; i < h->header_count; i++) {
        struct str rest = h->headers[i].value;
        while (h->headers[i].field == H1_CACHE_CONTROL && rest.n)
            take_directive(c, str_cut(&rest, ','));
    }
}

/* ---- the body ---- */

static bool take_member(struct request *r, enum member_type type, const struct json_found *f,
                        struct str object, void *field)
{
    double seconds;
    switch (type) {
    case SECONDS:
        if (!json_found_f64(f, &seconds) || seconds < 0)
            return false;
        *(int64_t *)field = (int64_t)(MIN(seconds, TTL_MAX_S) * 1000);
        return true;
    case FLAG:
        *(bool *)field = f->kind == JSON_TRUE;
        return *(bool *)field || f->kind == JSON_FALSE;
    case TEXT: break;
    }
    if (f->kind != JSON_STRING || f->end - f->start > SPACE_BYTES_MAX + 2)
        return false;
    struct str raw = {object.p + f->start + 1, (size_t)(f->end - f->start - 2)};
    char *text = arena_alloc(&r->arena, raw.n + 1);
    *(struct str *)field = (struct str){text, json_unescape(raw, text, raw.n)};
    return true;
}

static bool take_body(struct request *r)
{
    const struct json_found *whole = &r->found[WANT_CACHE];
    if (whole->kind == JSON_NONE || whole->kind == JSON_NULL)
        return true;
    if (whole->kind != JSON_OBJECT) {
        request_error(r, ERR_BAD_REQUEST,
                      "\"cache\": expected an object, such as {\"no-cache\": true}");
        return false;
    }
    struct str object = {r->body.p + whole->start, (size_t)(whole->end - whole->start)};
    struct json_found found[MEMBER_COUNT];
    struct json_scan scan;
    json_scan_init(&scan, wanted, found);
    ENSURE(json_scan_feed(&scan, object.p, object.n) == JSON_DONE); /* intake read all of it */
    for (int i = 0; i < MEMBER_COUNT; i++) {
        char *field = (char *)&r->cache.control + members[i].offset;
        if (found[i].kind == JSON_NONE || found[i].kind == JSON_NULL)
            continue;
        if (take_member(r, members[i].type, &found[i], object, field))
            continue;
        request_error(r, ERR_BAD_REQUEST, "\"cache\": \"%s\": expected %s", members[i].name,
                      expected[members[i].type]);
        return false;
    }
    return true;
}

bool cache_control_read(struct request *r)
{
    r->cache.control = (struct cache_control){.ttl_ms = -1, .max_age_ms = -1};
    take_header(&r->cache.control, r->http->head);
    return take_body(r);
}
