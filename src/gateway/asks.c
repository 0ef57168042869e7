/* asks.c -- what a client asks of routing: retries, time-out, fallbacks, tags, its session. Part of step 1, called by intake.c.
 *
 * LiteLLM's headers and body members (docs/routing.md). What makes no sense is ignored, as LiteLLM does, but for fallbacks (route.c): who names a model that is not there would
 * find out only on the day it is needed. The members are cut out of what goes upstream (provider.c). */
#include "gateway/gateway.h"
#include "gateway/sticky.h"

#define TAGS_MAX          32
#define TAG_BYTES_MAX     128
#define FALLBACKS_MAX     16
#define SESSION_BYTES_MAX 256

static struct str raw_of(const struct request *r, enum want want)
{
    const struct json_found *f = &r->found[want];
    return (struct str){r->body.p + f->start, (size_t)(f->end - f->start)};
}

/* The strings of a JSON array, or of the named member of its objects; at most `max`. */
static int strings_of(struct request *r, struct str json, const char *member, struct str *out,
                      int max)
{
    struct arena a;
    struct err e = {0};
    int count = 0;
    arena_init(&a, NULL, 0);
    const struct json_node *list = json_parse(&a, json, &e);
    for (const struct json_node *n = list ? list->child : NULL; n && count < max; n = n->next) {
        const struct json_node *s = n->kind == JSON_OBJECT && member ? json_get(n, member) : n;
        if (s && s->kind == JSON_STRING && s->text.n)
            out[count++] = arena_str(&r->arena, s->text);
    }
    arena_fini(&a);
    return count;
}

static void add_tag(struct request *r, struct str tag)
{
    if (!r->tags)
        r->tags = arena_alloc(&r->arena, TAGS_MAX * sizeof *r->tags);
    if (tag.n && tag.n <= TAG_BYTES_MAX && r->tag_count < TAGS_MAX)
        r->tags[r->tag_count++] = tag;
}

static void take_tags(struct request *r, const struct h1_head *h)
{
    static const enum want places[] = {WANT_TAGS, WANT_METADATA_TAGS};
    struct str header = h1_get(h, H1_X_LITELLM_TAGS);
    if (!r->config->routing.tag_filtering)
        return;
    while (header.n) {
        struct str tag = str_trim(str_cut(&header, ','));
        if (tag.n)
            add_tag(r, arena_str(&r->arena, tag));
    }
    for (size_t i = 0; i < COUNT(places); i++) {
        struct str tags[TAGS_MAX];
        if (r->found[places[i]].kind != JSON_ARRAY)
            continue;
        int n = strings_of(r, raw_of(r, places[i]), NULL, tags, TAGS_MAX);
        for (int k = 0; k < n; k++)
            add_tag(r, tags[k]);
    }
}

static void take_retries(struct request *r, const struct h1_head *h)
{
    int64_t number;
    if (!str_to_i64(h1_get(h, H1_X_LITELLM_NUM_RETRIES), &number) &&
        !json_found_i64(&r->found[WANT_NUM_RETRIES], &number))
        return;
    if (number >= 0)
        r->asked_retries = (int)MIN(number, ASKED_RETRIES_MAX);
}

/* Whether they are there is for route.c to say, to those whose key has passed. */
static void take_fallbacks(struct request *r)
{
    r->no_fallbacks = r->found[WANT_NO_FALLBACKS].kind == JSON_TRUE;
    if (r->found[WANT_FALLBACKS].kind != JSON_ARRAY)
        return;
    struct str *names = arena_alloc(&r->arena, FALLBACKS_MAX * sizeof *names);
    int count = strings_of(r, raw_of(r, WANT_FALLBACKS), "model", names, FALLBACKS_MAX);
    r->asked_fallbacks = (struct fallback){.to = names, .count = count};
}

static void take_session(struct request *r, const struct h1_head *h)
{
    static const enum want places[] = {WANT_SESSION_ID, WANT_METADATA_SESSION_ID,
                                       WANT_PROMPT_CACHE_KEY};
    const struct routing *routing = &r->config->routing;
    struct str session = h1_get(h, H1_X_LITELLM_SESSION_ID), prompt = STR_NONE;
    for (size_t i = 0; i < COUNT(places) && !session.n; i++)
        session = intake_text(r, &r->found[places[i]], SESSION_BYTES_MAX);
    if (!routing->session_affinity)
        session = STR_NONE;
    if (routing->prefix_affinity && r->found[WANT_MESSAGES].kind != JSON_NONE)
        prompt = raw_of(r, WANT_MESSAGES);
    else if (routing->prefix_affinity && r->found[WANT_PROMPT].kind != JSON_NONE)
        prompt = raw_of(r, WANT_PROMPT);
    r->sticky = sticky_hash(session, prompt);
}

void asks_take(struct request *r)
{
    const struct h1_head *h = r->http->head;
    double seconds;
    take_retries(r, h);
    take_tags(r, h);
    take_session(r, h);
    if (json_found_f64(&r->found[WANT_TIMEOUT], &seconds) && seconds > 0)
        r->asked_timeout_s = seconds;
    take_fallbacks(r);
}
