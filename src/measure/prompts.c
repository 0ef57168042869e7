/* prompts.c -- request bodies as templates: each is made whole once, and a request then costs three copies.
 *
 * Every template begins with {"model": so the model goes in at one place; the nonce goes in at `nonce_at`, right behind the opening quote of the
 * first text that a model reads, because a cache of prefixes is defeated only by a difference at the very front. A nonce is a bijection of its
 * number and the seed: two numbers never give the same prompt, and two runs share none unless told the same seed. */
#include "measure/prompts.h"

#include "base/json.h"
#include "base/json_view.h"
#include "base/rand.h"
#include "config/file.h"

#define HEAD             "{\"model\":"
#define NONCE_BYTES      19 /* "[0123456789abcdef] " */
#define FILE_BYTES_MAX   (256u << 20)
#define SYNTHETIC_COUNT  16 /* distinct texts; the nonce makes each one sent distinct again */
#define TEXT_DEFAULT     "Write two sentences about a river."
#define NONCE_TOKENS     12 /* what common tokenizers make of a nonce, about */
#define TOKENS_SPENT_MIN 1

struct prompt {
    char *text;
    size_t bytes;
    size_t nonce_at; /* 0: no place for one */
};

struct prompts {
    struct arena arena;
    struct prompt *list;
    size_t count, room;
    uint64_t seed;
    bool stream, nonce;
    enum prompt_api api;
};

/* The calls, and the member that holds what is asked. */
static const struct {
    struct str path, member;
    bool generates;
} apis[] = {
    [API_CHAT] = {STR("/chat/completions"), STR("messages"), true},
    [API_COMPLETIONS] = {STR("/completions"), STR("prompt"), true},
    [API_EMBEDDINGS] = {STR("/embeddings"), STR("input"), false},
};

/* ---- composing ---- */

/* Where the first text that a model reads begins, in a value of "messages", "prompt" or "input": behind its quote. NULL: there is none. */
static const char *first_text(struct str value)
{
    for (int depth = 0; depth < 6 && value.p; depth++) {
        if (json_view_is(value, '"'))
            return value.p + 1;
        if (json_view_is(value, '[')) {
            value = json_view_element(value, 0);
            continue;
        }
        struct str content = json_view_member(value, STR("content"));
        value = content.p ? content : json_view_member(value, STR("text"));
    }
    return NULL;
}

/* Members that the options decide: of a given body, these are not taken. */
static bool is_ours(const struct prompts_options *o, struct str key)
{
    static const struct str always[] = {{"model", 5}, {"stream", 6}, {"stream_options", 14}};
    for (size_t i = 0; i < COUNT(always); i++)
        if (str_eq(key, always[i]))
            return true;
    return (o->max_tokens >= 0 && str_eq(key, STR("max_tokens"))) ||
           (o->temperature == o->temperature && str_eq(key, STR("temperature"))) ||
           (o->metadata && str_eq(key, STR("metadata")));
}

static void write_options(struct buf *b, const struct prompts_options *o, bool stream)
{
    bool fine = true;
    if (o->max_tokens >= 0)
        fine = buf_printf(b, ",\"max_tokens\":%lld", (long long)o->max_tokens);
    if (o->temperature == o->temperature)
        fine = fine && buf_printf(b, ",\"temperature\":%g", o->temperature);
    if (o->metadata)
        fine = fine && buf_printf(b, ",\"metadata\":%s", o->metadata);
    if (stream)
        fine = fine && buf_append_str(
                           b, STR(",\"stream\":true,\"stream_options\":{\"include_usage\":true}"));
    ENSURE(fine); /* no cap: our own data */
}

/* Begins a body: all that stands before what is asked. */
static void begin_body(struct prompts *p, struct buf *b, const struct prompts_options *o)
{
    buf_init(b, 0, NULL);
    ENSURE(buf_append_str(b, STR(HEAD)));
    write_options(b, o, p->stream);
}

/* Takes the finished body; `asked` is where the value of what is asked lies in it. */
static void end_body(struct prompts *p, struct buf *b, size_t asked_at, size_t asked_bytes)
{
    if (p->count == p->room) {
        p->room = MAX(2 * p->room, (size_t)16);
        p->list = mem_realloc(p->list, p->room * sizeof *p->list);
    }
    struct str text = arena_str(&p->arena, buf_str(b));
    const char *first = p->nonce ? first_text((struct str){text.p + asked_at, asked_bytes}) : NULL;
    p->list[p->count++] = (struct prompt){
        .text = (char *)text.p, .bytes = text.n, .nonce_at = first ? (size_t)(first - text.p) : 0};
    buf_fini(b);
}

/* One prompt whose value is JSON already. */
static void add_value(struct prompts *p, const struct prompts_options *o, struct str value)
{
    struct buf b;
    begin_body(p, &b, o);
    ENSURE(buf_printf(&b, ",\"%.*s\":", STR_ARG(apis[p->api].member)));
    size_t at = buf_used(&b);
    ENSURE(buf_append_str(&b, value) && buf_append_str(&b, STR("}")));
    end_body(p, &b, at, value.n);
}

/* One prompt that is a text. */
static void add_text(struct prompts *p, const struct prompts_options *o, struct str text)
{
    struct buf value;
    bool chat = p->api == API_CHAT;
    buf_init(&value, 0, NULL);
    ENSURE(buf_append_str(&value, chat ? STR("[{\"role\":\"user\",\"content\":") : STR_NONE));
    ENSURE(json_write_string(&value, text));
    ENSURE(buf_append_str(&value, chat ? STR("}]") : STR_NONE));
    add_value(p, o, buf_str(&value));
    buf_fini(&value);
}

/* ---- sources ---- */

/* {"prompt": "..."} or {"messages": [...]}, a line. */
static bool add_json_line(struct prompts *p, const struct prompts_options *o, struct str line,
                          int number, struct err *e)
{
    struct arena scratch;
    struct err bad = {0};
    arena_init(&scratch, NULL, 0);
    struct json_node *root = json_parse(&scratch, line, &bad);
    struct json_node *prompt = root ? json_get(root, "prompt") : NULL;
    struct json_node *messages = root ? json_get(root, "messages") : NULL;
    bool fine = false;
    if (!root)
        err_at(e, o->file, number, bad.column, "not JSON: %s", bad.text);
    else if (prompt && prompt->kind == JSON_STRING) {
        add_text(p, o, prompt->text);
        fine = true;
    } else if (messages && messages->kind == JSON_ARRAY && messages->count && p->api == API_CHAT) {
        add_value(p, o, json_view_member(line, STR("messages")));
        fine = true;
    } else {
        err_at(e, o->file, number, 1, "expected {\"prompt\": \"...\"}%s",
               p->api == API_CHAT ? " or {\"messages\": [...]}" : "");
    }
    arena_fini(&scratch);
    return fine;
}

static bool add_file(struct prompts *p, const struct prompts_options *o, struct err *e)
{
    struct str rest;
    if (!file_read(&p->arena, o->file, FILE_BYTES_MAX, &rest, e))
        return false;
    for (int number = 1; rest.n; number++) {
        struct str line = str_cut(&rest, '\n');
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        line = str_trim(line);
        if (line.n && line.p[0] == '{') {
            if (!add_json_line(p, o, line, number, e))
                return false;
        } else if (line.n) {
            add_text(p, o, line);
        }
    }
    if (!p->count)
        return err_at(e, o->file, 1, 1, "no prompts in it: expected one a line");
    return true;
}

/* Of a key that comes twice, the last one stands. */
static bool comes_again(const struct json_node *member)
{
    for (const struct json_node *m = member->next; m; m = m->next)
        if (str_eq(m->key, member->key))
            return true;
    return false;
}

/* A whole body: all its members but those that the options decide. */
static bool add_body(struct prompts *p, const struct prompts_options *o, struct err *e)
{
    struct str text;
    struct err bad = {0};
    struct buf b;
    size_t at = 0, bytes = 0;
    if (!file_read(&p->arena, o->file, FILE_BYTES_MAX, &text, e))
        return false;
    struct json_node *root = json_parse(&p->arena, text, &bad);
    if (!root || root->kind != JSON_OBJECT)
        return err_at(e, o->file, root ? 1 : bad.line, root ? 1 : bad.column, "%s%s",
                      root ? "expected a JSON object" : "not JSON: ", root ? "" : bad.text);
    struct str asked = json_view_member(text, apis[p->api].member);
    if (!asked.p)
        return err_at(e, o->file, 1, 1, "expected \"%.*s\" in it, as %.*s has it",
                      STR_ARG(apis[p->api].member), STR_ARG(apis[p->api].path));
    begin_body(p, &b, o);
    for (struct json_node *m = root->child; m; m = m->next) {
        if (is_ours(o, m->key) || comes_again(m))
            continue;
        struct str value = json_view_member(text, m->key);
        ENSURE(buf_append_str(&b, STR(",")) && json_write_string(&b, m->key) &&
               buf_append_str(&b, STR(":")));
        if (str_eq(m->key, apis[p->api].member)) {
            at = buf_used(&b);
            bytes = value.n;
        }
        ENSURE(buf_append_str(&b, value));
    }
    ENSURE(buf_append_str(&b, STR("}")));
    end_body(p, &b, at, bytes);
    return true;
}

/* Short words, each one token with the blank before it in the vocabularies in use. */
static const char *const words[] = {
    "time",  "year",   "people", "way",    "day",    "man",    "thing", "woman", "life",   "child",
    "world", "school", "state",  "family", "hand",   "part",   "place", "case",  "week",   "work",
    "fact",  "group",  "number", "night",  "point",  "home",   "water", "room",  "mother", "area",
    "money", "story",  "month",  "lot",    "right",  "study",  "book",  "eye",   "job",    "word",
    "side",  "kind",   "head",   "house",  "friend", "father", "power", "hour",  "game",   "line",
    "end",   "city",   "name",   "team",   "minute", "idea",   "body",  "back",  "face",   "door",
    "art",   "war",    "party",  "air",
};

static void add_synthetic(struct prompts *p, const struct prompts_options *o)
{
    struct rng r;
    int64_t spent = p->nonce ? NONCE_TOKENS : 0,
            count = MAX(o->prompt_tokens - spent, (int64_t)TOKENS_SPENT_MIN);
    rng_seed(&r, p->seed ? p->seed : 1);
    for (int i = 0; i < SYNTHETIC_COUNT; i++) {
        struct buf text;
        buf_init(&text, 0, NULL);
        for (int64_t k = 0; k < count; k++)
            ENSURE(buf_printf(&text, "%s%s", k ? " " : "", words[rng_next(&r) % COUNT(words)]));
        add_text(p, o, buf_str(&text));
        buf_fini(&text);
    }
}

/* ---- made and used ---- */

static bool options_fit(const struct prompts_options *o, struct err *e)
{
    struct arena scratch;
    struct err bad = {0};
    bool fine = true;
    if (!apis[o->api].generates && (o->max_tokens >= 0 || o->temperature == o->temperature))
        return err_set(e, "embeddings have neither --max-tokens nor --temperature");
    if (o->source == PROMPT_SYNTHETIC && o->prompt_tokens < 1)
        return err_set(e, "--prompt-tokens: expected at least 1");
    if (!o->metadata)
        return true;
    arena_init(&scratch, NULL, 0);
    struct json_node *root = json_parse(&scratch, str_from(o->metadata), &bad);
    if (!root)
        fine = err_set(e, "--metadata: not JSON at column %d: %s", bad.column, bad.text);
    else if (root->kind != JSON_OBJECT)
        fine = err_set(e, "--metadata: expected a JSON object, such as '{\"team\": \"search\"}'");
    arena_fini(&scratch);
    return fine;
}

struct prompts *prompts_new(const struct prompts_options *o, struct err *e)
{
    struct prompts *p = mem_alloc(sizeof *p);
    struct rng r;
    bool fine = options_fit(o, e);
    arena_init(&p->arena, NULL, 0);
    rng_seed(&r, 0);
    p->seed = o->seed ? o->seed : rng_next(&r);
    p->api = o->api;
    p->stream = o->stream && apis[o->api].generates;
    p->nonce = o->nonce;
    if (fine)
        switch (o->source) {
        case PROMPT_TEXT: add_text(p, o, str_from(o->text ? o->text : TEXT_DEFAULT)); break;
        case PROMPT_FILE: fine = add_file(p, o, e); break;
        case PROMPT_BODY: fine = add_body(p, o, e); break;
        case PROMPT_SYNTHETIC: add_synthetic(p, o); break;
        }
    if (fine)
        return p;
    prompts_free(p);
    return NULL;
}

void prompts_free(struct prompts *p)
{
    if (!p)
        return;
    mem_free(p->list);
    arena_fini(&p->arena);
    mem_free(p);
}

size_t prompts_count(const struct prompts *p)
{
    return p->count;
}

bool prompts_stream(const struct prompts *p)
{
    return p->stream;
}

struct str prompts_call_type(enum prompt_api api)
{
    static const struct str names[] = {[API_CHAT] = STR("chat.completions"),
                                       [API_COMPLETIONS] = STR("completions"),
                                       [API_EMBEDDINGS] = STR("embeddings")};
    return names[api];
}

struct str prompts_path(const struct prompts *p)
{
    return apis[p->api].path;
}

size_t prompts_bytes_max(const struct prompts *p, size_t i, size_t model_bytes)
{
    return p->list[i].bytes + NONCE_BYTES + 6 * model_bytes + 2;
}

/* Every step can be undone, so distinct numbers stay distinct (the finalizer of splitmix64, by Sebastiano Vigna). */
static uint64_t mixed(uint64_t v)
{
    v += UINT64_C(0x9E3779B97F4A7C15);
    v = (v ^ (v >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    v = (v ^ (v >> 27)) * UINT64_C(0x94D049BB133111EB);
    return v ^ (v >> 31);
}

static char *put_nonce(char *at, uint64_t value)
{
    static const char digits[] = "0123456789abcdef";
    *at++ = '[';
    for (int shift = 60; shift >= 0; shift -= 4)
        *at++ = digits[value >> shift & 15];
    *at++ = ']';
    *at++ = ' ';
    return at;
}

static char *put(char *at, const char *p, size_t n)
{
    memcpy(at, p, n);
    return at + n;
}

size_t prompts_write(const struct prompts *p, size_t i, struct str model, uint64_t nonce, char *out)
{
    const struct prompt *t = &p->list[i];
    size_t head = sizeof HEAD - 1, from = head;
    char *at = put(out, HEAD, head);
    at += json_escape(at, 6 * model.n + 2, model);
    if (t->nonce_at) {
        at = put(at, t->text + from, t->nonce_at - from);
        at = put_nonce(at, mixed(nonce ^ mixed(p->seed)));
        from = t->nonce_at;
    }
    at = put(at, t->text + from, t->bytes - from);
    return (size_t)(at - out);
}
