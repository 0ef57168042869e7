/* scenario.c -- a scenario's file: its keys, one row each, and how a mistake is told.
 *
 * The order of reading is that of the file, but for thresholds: they name models and stages, so they come last. */
#include "measure/scenario_read.h"

#include <math.h>
#include <stdarg.h>

#include "base/chars.h"
#include "base/quantity.h"
#include "base/when.h"
#include "config/file.h"
#include "config/loader.h"

#define SHOWN_BYTES 60

/* ---- mistakes ---- */

static void note(struct scenario_reader *r, const char *file, int line, int column, const char *fmt,
                 va_list args)
{
    struct scenario *s = r->scenario;
    char text[sizeof((struct err *)0)->text];
    if (s->mistake_count == SCENARIO_MISTAKES_MAX)
        return;
    if (!s->mistakes)
        s->mistakes = arena_zalloc(&s->arena, SCENARIO_MISTAKES_MAX * sizeof *s->mistakes);
    vsnprintf(text, sizeof text, fmt, args);
    err_at(&s->mistakes[s->mistake_count++], file, line, column, "%s", text);
}

void scenario_mistake(struct scenario_reader *r, const struct yaml_node *at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    note(r, at->file, at->line, at->column, fmt, args);
    va_end(args);
}

void scenario_mistake_at_key(struct scenario_reader *r, const struct yaml_node *at, const char *fmt,
                             ...)
{
    va_list args;
    bool has_key = at->key_line > 0;
    va_start(args, fmt);
    note(r, at->file, has_key ? at->key_line : at->line, has_key ? at->key_column : at->column, fmt,
         args);
    va_end(args);
}

struct str scenario_shown(const struct yaml_node *n)
{
    if (n->kind != NODE_SCALAR)
        return n->kind == NODE_LIST ? STR("a list") : STR("a mapping");
    if (n->secret)
        return STR("***");
    return (struct str){n->text.p, MIN(n->text.n, (size_t)SHOWN_BYTES)};
}

static const char *nearest_key(const struct scenario_key *keys, size_t count, struct str name)
{
    const char *nearest = NULL;
    int best = (int)MIN(name.n / 3 + 2, (size_t)5);
    for (size_t i = 0; i < count; i++) {
        int distance = str_distance(name, str_from(keys[i].key));
        if (distance < best) {
            best = distance;
            nearest = keys[i].key;
        }
    }
    return nearest;
}

static void unknown_key(struct scenario_reader *r, const struct yaml_node *n, const char *where,
                        const struct scenario_key *keys, size_t count)
{
    char known[300] = "";
    const char *nearest = nearest_key(keys, count, n->key);
    for (size_t i = 0, at = 0; !nearest && i < count && at + 1 < sizeof known; i++)
        at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", keys[i].key);
    scenario_mistake_at_key(r, n, "unknown key \"%.*s\"%s%s%s%s%s", (int)MIN(n->key.n, 60u),
                            n->key.p ? n->key.p : "", *where ? " in " : "", where,
                            nearest ? "; did you mean " : "; expected one of ",
                            nearest ? nearest : known, nearest ? "?" : "");
}

/* ---- values ---- */

bool scenario_text(struct scenario_reader *r, struct yaml_node *n, struct str *out)
{
    static const struct str mark = {"os.environ/", 11};
    if (n->kind != NODE_SCALAR || yaml_is_null(n)) {
        scenario_mistake(r, n, "%.*s: expected a text, got %.*s", STR_ARG(n->key),
                         STR_ARG(yaml_is_null(n) ? STR("nothing") : scenario_shown(n)));
        return false;
    }
    if (str_starts(n->text, mark)) {
        const char *name = n->text.p + mark.n, *value = getenv(name);
        if (!value || !*value) {
            scenario_mistake(r, n, "%.*s: the environment variable %.80s is not set",
                             STR_ARG(n->key), name);
            return false;
        }
        n->text = arena_str(&r->scenario->arena, str_from(value));
        n->secret = true;
    }
    *out = n->text;
    return true;
}

bool scenario_ms(struct scenario_reader *r, struct yaml_node *n, double *out)
{
    struct str text;
    int64_t us;
    if (!scenario_text(r, n, &text))
        return false;
    if (!when_span(text, &us, NULL)) {
        scenario_mistake(r, n,
                         "%.*s: expected a time with its unit, such as 500ms, 30s or 1m30s, got "
                         "\"%.*s\"",
                         STR_ARG(n->key), STR_ARG(scenario_shown(n)));
        return false;
    }
    *out = (double)us / 1000;
    return true;
}

static void read_ms(struct scenario_reader *r, struct yaml_node *n, int64_t *out)
{
    double ms;
    bool is_none = n->kind == NODE_SCALAR && (str_eq(n->text, STR("0")) || STR_IS(n->text, "none"));
    if (is_none)
        *out = 0;
    else if (scenario_ms(r, n, &ms))
        *out = (int64_t)MAX(ms, 1.0);
}

static void read_bool(struct scenario_reader *r, struct yaml_node *n, bool opposite, bool *out)
{
    bool value;
    struct str text;
    if (n->kind == NODE_SCALAR && !scenario_text(r, n, &text))
        return;
    if (n->kind == NODE_SCALAR && yaml_bool(n, &value))
        *out = value != opposite;
    else
        scenario_mistake(r, n, "%.*s: expected true or false, got %.*s", STR_ARG(n->key),
                         STR_ARG(scenario_shown(n)));
}

static void read_number(struct scenario_reader *r, struct yaml_node *n,
                        const struct scenario_key *k, void *into)
{
    struct str text;
    double value;
    bool whole = k->kind == KEY_WHOLE;
    if (!scenario_text(r, n, &text))
        return;
    bool good = quantity_parse(text, QUANTITY_NUMBER, &value, NULL) && value >= k->least &&
                value <= k->most && (!whole || floor(value) == value);
    if (!good)
        scenario_mistake(r, n, "%.*s: expected a %snumber from %.10g to %.10g, got \"%.*s\"",
                         STR_ARG(n->key), whole ? "whole " : "", k->least, k->most,
                         STR_ARG(scenario_shown(n)));
    else if (whole)
        *(int64_t *)into = (int64_t)value;
    else
        *(double *)into = value;
}

static void read_choice(struct scenario_reader *r, struct yaml_node *n,
                        const struct scenario_key *k, int *into)
{
    struct str text;
    char known[200] = "";
    if (!scenario_text(r, n, &text))
        return;
    for (int i = 0; k->choices[i]; i++) {
        if (str_ieq(text, str_from(k->choices[i]))) {
            *into = i;
            return;
        }
        size_t at = strlen(known);
        snprintf(known + at, sizeof known - at, "%s%s",
                 i == 0              ? ""
                 : k->choices[i + 1] ? ", "
                                     : " or ",
                 k->choices[i]);
    }
    scenario_mistake(r, n, "%.*s: expected %s, got \"%.*s\"", STR_ARG(n->key), known,
                     STR_ARG(scenario_shown(n)));
}

static void read_texts(struct scenario_reader *r, struct yaml_node *n, const struct scenario_key *k,
                       void *into)
{
    struct str text;
    if (!scenario_text(r, n, &text))
        return;
    if (text.n == 0 || memchr(text.p, 0, text.n)) {
        scenario_mistake(r, n, "%.*s: expected a text%s", STR_ARG(n->key),
                         text.n ? " without NUL bytes" : ", got an empty one");
        return;
    }
    struct arena *a = &r->scenario->arena;
    if (k->kind == KEY_NAME)
        *(struct str *)into = arena_str(a, text);
    else if (k->kind == KEY_PATH && text.p[0] != '/' && r->folder.n)
        *(const char **)into = arena_printf(a, "%.*s/%.*s", STR_ARG(r->folder), STR_ARG(text)).p;
    else
        *(const char **)into = arena_str(a, text).p;
}

static void read_value(struct scenario_reader *r, struct yaml_node *n, const struct scenario_key *k,
                       void *base)
{
    void *into = (char *)base + k->offset;
    switch (k->kind) {
    case KEY_TEXT:
    case KEY_NAME:
    case KEY_PATH: read_texts(r, n, k, into); break;
    case KEY_BOOL:
    case KEY_NOT: read_bool(r, n, k->kind == KEY_NOT, into); break;
    case KEY_WHOLE:
    case KEY_NUMBER: read_number(r, n, k, into); break;
    case KEY_MS: read_ms(r, n, into); break;
    case KEY_CHOICE: read_choice(r, n, k, into); break;
    case KEY_OWN: k->own(r, n, base); break;
    }
}

void scenario_read_map(struct scenario_reader *r, struct yaml_node *map, const char *where,
                       const struct scenario_key *keys, size_t count, void *base)
{
    if (map->kind != NODE_MAP) {
        scenario_mistake(r, map, "%s: expected a mapping, such as {%s: ...}, got \"%.*s\"", where,
                         keys[0].key, STR_ARG(scenario_shown(map)));
        return;
    }
    for (struct yaml_node *n = map->child; n; n = n->next) {
        size_t i = 0;
        while (i < count && !str_eq(n->key, str_from(keys[i].key)))
            i++;
        if (i < count)
            read_value(r, n, &keys[i], base);
        else
            unknown_key(r, n, where, keys, count);
    }
}

/* ---- sections ---- */

static void read_key(struct scenario_reader *r, struct yaml_node *n, void *base)
{
    struct scenario *s = base;
    static const struct scenario_key as_text = {
        "key", KEY_TEXT, offsetof(struct scenario, key), 0, 0, NULL, NULL};
    n->secret = true;
    read_value(r, n, &as_text, s);
}

static bool is_header_name(struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!strchr("!#$%&'*+-.^_`|~", name.p[i]) &&
            !((name.p[i] | 0x20) >= 'a' && (name.p[i] | 0x20) <= 'z') &&
            !(name.p[i] >= '0' && name.p[i] <= '9'))
            return false;
    return name.n > 0;
}

static bool is_header_value(struct str value)
{
    for (size_t i = 0; i < value.n; i++)
        if (((unsigned char)value.p[i] < ' ' && value.p[i] != '\t') || value.p[i] == 0x7F)
            return false;
    return true;
}

static void read_headers(struct scenario_reader *r, struct yaml_node *map, void *base)
{
    struct scenario *s = base;
    struct str value;
    if (map->kind != NODE_MAP) {
        scenario_mistake(r, map,
                         "headers: expected a mapping, such as {x-team: load}, got \"%.*s\"",
                         STR_ARG(scenario_shown(map)));
        return;
    }
    for (struct yaml_node *n = map->child; n; n = n->next) {
        n->secret = true;
        if (!is_header_name(n->key))
            scenario_mistake_at_key(r, n, "headers: expected a header's name");
        else if (s->header_count == SCENARIO_HEADERS_MAX)
            scenario_mistake_at_key(r, n, "headers: expected at most %d", SCENARIO_HEADERS_MAX);
        else if (scenario_text(r, n, &value) && !is_header_value(value))
            scenario_mistake(r, n, "headers: expected a value without line breaks");
        else if (n->kind == NODE_SCALAR && !yaml_is_null(n))
            s->headers[s->header_count++] =
                arena_printf(&s->arena, "%.*s: %.*s", STR_ARG(n->key), STR_ARG(n->text)).p;
    }
}

struct prompt_keys { /* what the section's rows fill */
    struct prompts_options *o;
    const char *text, *file, *body;
    int64_t tokens, max_tokens;
    double temperature;
    bool stream, nonce;
    const char *metadata;
};

static void read_metadata(struct scenario_reader *r, struct yaml_node *n, void *base)
{
    struct prompt_keys *p = base;
    if (n->kind == NODE_MAP)
        p->metadata = loader_json(&r->scenario->arena, n).p;
    else
        scenario_mistake(r, n, "metadata: expected a mapping, such as {team: load}, got \"%.*s\"",
                         STR_ARG(scenario_shown(n)));
}

static const struct scenario_key prompt_keys[] = {
    {"text", KEY_TEXT, offsetof(struct prompt_keys, text), 0, 0, NULL, NULL},
    {"file", KEY_PATH, offsetof(struct prompt_keys, file), 0, 0, NULL, NULL},
    {"body", KEY_PATH, offsetof(struct prompt_keys, body), 0, 0, NULL, NULL},
    {"tokens", KEY_WHOLE, offsetof(struct prompt_keys, tokens), 1, 1e6, NULL, NULL},
    {"max_tokens", KEY_WHOLE, offsetof(struct prompt_keys, max_tokens), 0, 1e6, NULL, NULL},
    {"temperature", KEY_NUMBER, offsetof(struct prompt_keys, temperature), 0, 100, NULL, NULL},
    {"stream", KEY_BOOL, offsetof(struct prompt_keys, stream), 0, 0, NULL, NULL},
    {"nonce", KEY_BOOL, offsetof(struct prompt_keys, nonce), 0, 0, NULL, NULL},
    {"metadata", KEY_OWN, 0, 0, 0, NULL, read_metadata},
};

static void read_prompts(struct scenario_reader *r, struct yaml_node *n, void *base)
{
    struct scenario *s = base;
    struct prompts_options *o = &s->prompts;
    struct prompt_keys p = {.o = o,
                            .tokens = -1,
                            .max_tokens = o->max_tokens,
                            .temperature = o->temperature,
                            .stream = o->stream,
                            .nonce = o->nonce};
    if (n->kind == NODE_SCALAR && !yaml_is_null(n)) { /* prompts: what is asked */
        static const struct scenario_key as_text = {"prompts", KEY_TEXT, 0, 0, 0, NULL, NULL};
        read_texts(r, n, &as_text, &p.text);
    } else {
        scenario_read_map(r, n, "prompts", prompt_keys, COUNT(prompt_keys), &p);
    }
    if (!!p.text + !!p.file + !!p.body + (p.tokens >= 0) > 1)
        scenario_mistake_at_key(r, n, "prompts: expected one of text, file, body and tokens");
    s->has_prompts = true;
    o->source = p.file          ? PROMPT_FILE
                : p.body        ? PROMPT_BODY
                : p.tokens >= 0 ? PROMPT_SYNTHETIC
                                : PROMPT_TEXT;
    o->text = p.text;
    o->file = p.file ? p.file : p.body;
    o->prompt_tokens = MAX(p.tokens, (int64_t)0);
    o->max_tokens = p.max_tokens;
    o->temperature = p.temperature;
    o->stream = p.stream;
    o->nonce = p.nonce;
    o->metadata = p.metadata;
}

static void read_api(struct scenario_reader *r, struct yaml_node *n, void *base)
{
    static const char *const apis[] = {"chat", "completions", "embeddings", NULL};
    static const struct scenario_key key = {"api", KEY_CHOICE, 0, 0, 0, apis, NULL};
    int api = API_CHAT;
    read_choice(r, n, &key, &api);
    ((struct scenario *)base)->prompts.api = (enum prompt_api)api;
}

static const struct scenario_key replay_keys[] = {
    {"file", KEY_PATH, offsetof(struct scenario, replay_file), 0, 0, NULL, NULL},
    {"speed", KEY_NUMBER, offsetof(struct scenario, replay_speed), .001, 1e6, NULL, NULL},
};

static void read_replay(struct scenario_reader *r, struct yaml_node *n, void *base)
{
    struct scenario *s = base;
    if (n->kind == NODE_SCALAR && !yaml_is_null(n)) { /* replay: requests.log */
        read_value(r, n, &replay_keys[0], s);
        return;
    }
    scenario_read_map(r, n, "replay", replay_keys, COUNT(replay_keys), s);
    if (n->kind == NODE_MAP && !yaml_get(n, "file"))
        scenario_mistake_at_key(r, n, "replay: expected the log as file: requests.log");
}

static const struct scenario_key connection_keys[] = {
    {"reuse", KEY_NOT, offsetof(struct scenario, fresh_connections), 0, 0, NULL, NULL},
    {"max", KEY_WHOLE, offsetof(struct scenario, connections_max), 1, 1e6, NULL, NULL},
};
static const struct scenario_key timeout_keys[] = {
    {"connect", KEY_MS, offsetof(struct scenario, connect_timeout_ms), 0, 0, NULL, NULL},
    {"head", KEY_MS, offsetof(struct scenario, head_timeout_ms), 0, 0, NULL, NULL},
    {"idle", KEY_MS, offsetof(struct scenario, idle_timeout_ms), 0, 0, NULL, NULL},
    {"total", KEY_MS, offsetof(struct scenario, total_timeout_ms), 0, 0, NULL, NULL},
};

static void read_connections(struct scenario_reader *r, struct yaml_node *n, void *base)
{
    scenario_read_map(r, n, "connections", connection_keys, COUNT(connection_keys), base);
}

static void read_timeouts(struct scenario_reader *r, struct yaml_node *n, void *base)
{
    scenario_read_map(r, n, "timeouts", timeout_keys, COUNT(timeout_keys), base);
}

static void skip_for_now(struct scenario_reader *r, struct yaml_node *n, void *base)
{
    (void)r, (void)n, (void)base;
}

static const struct scenario_key top_keys[] = {
    {"name", KEY_NAME, offsetof(struct scenario, name), 0, 0, NULL, NULL},
    {"url", KEY_TEXT, offsetof(struct scenario, url), 0, 0, NULL, NULL},
    {"key", KEY_OWN, 0, 0, 0, NULL, read_key},
    {"headers", KEY_OWN, 0, 0, 0, NULL, read_headers},
    {"ca_file", KEY_PATH, offsetof(struct scenario, ca_file), 0, 0, NULL, NULL},
    {"insecure", KEY_BOOL, offsetof(struct scenario, insecure), 0, 0, NULL, NULL},
    {"api", KEY_OWN, 0, 0, 0, NULL, read_api},
    {"model", KEY_OWN, 0, 0, 0, NULL, scenario_read_models},
    {"models", KEY_OWN, 0, 0, 0, NULL, scenario_read_models},
    {"prompts", KEY_OWN, 0, 0, 0, NULL, read_prompts},
    {"stages", KEY_OWN, 0, 0, 0, NULL, scenario_read_stages},
    {"replay", KEY_OWN, 0, 0, 0, NULL, read_replay},
    {"connections", KEY_OWN, 0, 0, 0, NULL, read_connections},
    {"timeouts", KEY_OWN, 0, 0, 0, NULL, read_timeouts},
    {"grace", KEY_MS, offsetof(struct scenario, grace_ms), 0, 0, NULL, NULL},
    {"slo", KEY_OWN, 0, 0, 0, NULL, scenario_read_slo},
    {"thresholds", KEY_OWN, 0, 0, 0, NULL, skip_for_now},
    {"threads", KEY_WHOLE, offsetof(struct scenario, threads), 1, 64, NULL, NULL},
    {"seed", KEY_WHOLE, offsetof(struct scenario, seed), 0, 9007199254740992.0, NULL, NULL},
    {"kernel_stamps", KEY_NOT, offsetof(struct scenario, user_stamps), 0, 0, NULL, NULL},
};

/* ---- the whole ---- */

void scenario_init(struct scenario *s)
{
    *s = (struct scenario){
        .prompts = {.source = PROMPT_TEXT,
                    .max_tokens = -1,
                    .temperature = NAN,
                    .stream = true,
                    .nonce = true,
                    .api = API_CHAT},
        .replay_speed = NAN,
        .connections_max = -1,
        .threads = -1,
        .connect_timeout_ms = -1,
        .head_timeout_ms = -1,
        .idle_timeout_ms = -1,
        .total_timeout_ms = -1,
        .grace_ms = -1,
        .seed = -1,
    };
    arena_init(&s->arena, NULL, 0);
}

void scenario_fini(struct scenario *s)
{
    arena_fini(&s->arena);
}

static void check_whole(struct scenario_reader *r)
{
    struct yaml_node *model = yaml_get(r->root, "model"), *models = yaml_get(r->root, "models");
    struct yaml_node *replay = yaml_get(r->root, "replay"), *stages = yaml_get(r->root, "stages");
    if (model && models)
        scenario_mistake_at_key(r, models, "models: expected either model or models");
    if (replay && stages)
        scenario_mistake_at_key(r, replay, "replay: expected either stages or replay");
}

bool scenario_parse(struct scenario *s, struct str text, const char *file, struct str folder)
{
    struct err e = {0};
    struct scenario_reader r = {.scenario = s, .folder = folder};
    s->hash = str_hash(text);
    r.root = yaml_parse(&s->arena, text, arena_str(&s->arena, str_from(file)).p, &e);
    if (!r.root) {
        s->mistakes = arena_zalloc(&s->arena, SCENARIO_MISTAKES_MAX * sizeof *s->mistakes);
        s->mistakes[s->mistake_count++] = e;
        return false;
    }
    scenario_read_map(&r, r.root, "", top_keys, COUNT(top_keys), s);
    if (r.root->kind == NODE_MAP) {
        check_whole(&r);
        struct yaml_node *thresholds = yaml_get(r.root, "thresholds");
        if (thresholds)
            scenario_read_thresholds(&r, thresholds);
    }
    return s->mistake_count == 0;
}

bool scenario_read(struct scenario *s, const char *path)
{
    struct err e = {0};
    struct str text;
    bool is_stdin = strcmp(path, "-") == 0;
    const char *slash = is_stdin ? NULL : strrchr(path, '/');
    struct str folder = slash ? (struct str){path, (size_t)(slash - path)} : STR("");
    if (slash == path)
        folder = STR("/.");
    if (file_read(&s->arena, is_stdin ? "/dev/stdin" : path, SCENARIO_BYTES_MAX, &text, &e))
        return scenario_parse(s, text, is_stdin ? "standard input" : path, folder);
    s->mistakes = arena_zalloc(&s->arena, SCENARIO_MISTAKES_MAX * sizeof *s->mistakes);
    s->mistakes[s->mistake_count++] = e;
    return false;
}
