/* key_body.c -- see key_body.h. One row a member: which calls take it, how it is read, where it goes. */
#include "gateway/key_body.h"

#include "base/clock.h"
#include "base/json_view.h"

#define TEXT_BYTES_MAX     256
#define ALIAS_BYTES_MAX    128
#define KEY_BYTES_MAX      128
#define NAMES_MAX          1000
#define METADATA_BYTES_MAX 16384
#define COUNT_MAX          1e12
#define USD_MAX            1e6

struct member;
/* False: not what was expected. `raw` is the value's own text. */
typedef bool member_reader(const struct member *m, struct arena *a, const struct json_node *n,
                           int64_t now_us, struct key_body *b, void *field);

struct member {
    const char *name;
    unsigned calls; /* one bit each */
    member_reader *read;
    size_t offset; /* in struct key_body */
    size_t max;    /* bytes of a text */
    const char *expected;
};

/* ---- readers ---- */

static bool is_line(struct str s, size_t max)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
            return false;
    return s.n <= max;
}

static bool read_text(const struct member *m, struct arena *a, const struct json_node *n,
                      int64_t now_us, struct key_body *b, void *field)
{
    struct str *text = field;
    (void)a, (void)now_us, (void)b;
    *text = n->kind == JSON_STRING ? n->text : STR("");
    return n->kind == JSON_NULL || (n->kind == JSON_STRING && is_line(n->text, m->max));
}

/* Visible characters only: it has to fit into a header field. */
static bool read_key(const struct member *m, struct arena *a, const struct json_node *n,
                     int64_t now_us, struct key_body *b, void *field)
{
    if (!read_text(m, a, n, now_us, b, field))
        return false;
    for (size_t i = 0; i < b->key.n; i++)
        if ((unsigned char)b->key.p[i] <= ' ' || (unsigned char)b->key.p[i] > '~')
            return false;
    return true;
}

static bool read_names(const struct member *m, struct arena *a, const struct json_node *n,
                       int64_t now_us, struct key_body *b, void *field)
{
    struct key_names *names = field;
    (void)now_us, (void)b;
    *names = (struct key_names){0};
    if (n->kind == JSON_NULL)
        return true;
    if (n->kind != JSON_ARRAY || n->count > NAMES_MAX)
        return false;
    names->names = arena_alloc(a, MAX(n->count, 1u) * sizeof *names->names);
    for (const struct json_node *c = n->child; c; c = c->next) {
        if (c->kind != JSON_STRING || c->text.n == 0 || !is_line(c->text, m->max))
            return false;
        names->names[names->count++] = c->text;
    }
    return true;
}

static bool read_models(const struct member *m, struct arena *a, const struct json_node *n,
                        int64_t now_us, struct key_body *b, void *field)
{
    struct key_names names;
    (void)field;
    if (!read_names(m, a, n, now_us, b, &names))
        return false;
    for (int i = 0; i < names.count; i++)
        if (str_eq(names.names[i], STR("all-team-models")))
            return false;
    b->facts.models = names.names;
    b->facts.model_count = names.count;
    return true;
}

static bool read_count(const struct member *m, struct arena *a, const struct json_node *n,
                       int64_t now_us, struct key_body *b, void *field)
{
    int64_t *count = field;
    (void)m, (void)a, (void)now_us, (void)b;
    *count = -1;
    if (n->kind == JSON_NULL)
        return true;
    if (n->kind != JSON_NUMBER || !(n->number >= 0 && n->number <= COUNT_MAX))
        return false;
    *count = (int64_t)n->number;
    return (double)*count == n->number;
}

static bool read_usd(const struct member *m, struct arena *a, const struct json_node *n,
                     int64_t now_us, struct key_body *b, void *field)
{
    double *usd = field;
    (void)m, (void)a, (void)now_us, (void)b;
    *usd = n->kind == JSON_NUMBER ? n->number : -1;
    return n->kind == JSON_NULL || (n->kind == JSON_NUMBER && *usd >= 0 && *usd <= USD_MAX);
}

static bool read_bool(const struct member *m, struct arena *a, const struct json_node *n,
                      int64_t now_us, struct key_body *b, void *field)
{
    bool *flag = field;
    (void)m, (void)a, (void)now_us, (void)b;
    *flag = n->kind == JSON_TRUE;
    return n->kind == JSON_TRUE || n->kind == JSON_FALSE || n->kind == JSON_NULL;
}

/* null and, as LiteLLM has it, "-1": never. */
static bool read_expiry(const struct member *m, struct arena *a, const struct json_node *n,
                        int64_t now_us, struct key_body *b, void *field)
{
    int64_t *expires_us = field;
    struct duration d;
    (void)m, (void)a, (void)b;
    *expires_us = 0;
    if (n->kind == JSON_NULL || (n->kind == JSON_STRING && str_eq(n->text, STR("-1"))))
        return true;
    if (n->kind != JSON_STRING || !duration_parse(n->text, &d, NULL))
        return false;
    *expires_us = duration_after(now_us, d, 1);
    return true;
}

static bool read_budget_duration(const struct member *m, struct arena *a, const struct json_node *n,
                                 int64_t now_us, struct key_body *b, void *field)
{
    struct key_facts *f = &b->facts;
    (void)m, (void)a, (void)field;
    b->budget_begins = true;
    f->budget_began_us = now_us;
    f->budget_duration = (struct duration){0};
    f->budget_duration_text = n->kind == JSON_STRING ? n->text : STR("");
    return n->kind == JSON_NULL ||
           (n->kind == JSON_STRING && duration_parse(n->text, &f->budget_duration, NULL));
}

/* Its text is taken from the body as it stands there. */
static bool read_metadata(const struct member *m, struct arena *a, const struct json_node *n,
                          int64_t now_us, struct key_body *b, void *field)
{
    (void)m, (void)a, (void)now_us, (void)b, (void)field;
    return n->kind == JSON_OBJECT || n->kind == JSON_NULL;
}

/* ---- the table ---- */

#define IN(call) (1u << KEY_CALL_##call)
#define CHANGES  (IN(GENERATE) | IN(UPDATE))
#define AT(what) offsetof(struct key_body, what)

// clang-format off
static const struct member members[] = {
    {"key",                   IN(GENERATE) | IN(UPDATE) | IN(BLOCK) | IN(REGENERATE), read_key, AT(key), KEY_BYTES_MAX, "a key or its hash"},
    {"keys",                  IN(DELETE), read_names, AT(keys), KEY_BYTES_MAX, "a list of at most 1000 keys or their hashes"},
    {"key_aliases",           IN(DELETE), read_names, AT(key_aliases), ALIAS_BYTES_MAX, "a list of at most 1000 aliases"},
    {"key_alias",             CHANGES, read_text, AT(facts.alias), ALIAS_BYTES_MAX, "a line of at most 128 bytes"},
    {"user_id",               CHANGES, read_text, AT(facts.user_id), TEXT_BYTES_MAX, "a line of at most 256 bytes"},
    {"team_id",               CHANGES, read_text, AT(facts.team_id), TEXT_BYTES_MAX, "a line of at most 256 bytes"},
    {"models",                CHANGES, read_models, 0, TEXT_BYTES_MAX, "a list of at most 1000 models' names (all-team-models is not built yet)"},
    {"rpm_limit",             CHANGES, read_count, AT(facts.rpm_limit), 0, "a whole number, 0 or more"},
    {"tpm_limit",             CHANGES, read_count, AT(facts.tpm_limit), 0, "a whole number, 0 or more"},
    {"max_parallel_requests", CHANGES, read_count, AT(facts.max_parallel_requests), 0, "a whole number, 0 or more"},
    {"max_budget",            CHANGES, read_usd, AT(facts.max_budget_usd), 0, "US dollars, 0 or more"},
    {"budget_duration",       CHANGES, read_budget_duration, 0, 0, "a duration such as " DURATION_EXAMPLES},
    {"duration",              CHANGES, read_expiry, AT(facts.expires_us), 0, "a duration such as " DURATION_EXAMPLES},
    {"spend",                 CHANGES, read_usd, AT(spend_usd), 0, "US dollars, 0 or more"},
    {"blocked",               CHANGES, read_bool, AT(facts.blocked), 0, "true or false"},
    {"metadata",              CHANGES, read_metadata, 0, 0, "an object of at most 16 KiB"},
};

/* LiteLLM's, not built here: refused by name unless they say nothing. */
static const char *const later[] = {
    "access_group_ids", "agent_id", "aliases", "allowed_cache_controls", "allowed_passthrough_routes", "allowed_routes",
    "allowed_vector_store_indexes", "auto_rotate", "budget_id", "budget_limits", "config", "disable_global_guardrails",
    "enforced_params", "grace_period", "guardrails", "key_type", "model_max_budget", "model_rpm_limit", "model_tpm_limit",
    "new_key", "new_master_key", "object_permission", "organization_id", "permissions", "policies", "project_id", "prompts",
    "rotation_interval", "router_settings", "rpm_limit_type", "send_invite_email", "soft_budget", "tags", "temp_budget_expiry",
    "temp_budget_increase", "throw_exception", "tpm_limit_type",
};
// clang-format on

/* ---- reading ---- */

struct key_facts key_facts_default(void)
{
    return (struct key_facts){.name = STR(""),
                              .alias = STR(""),
                              .user_id = STR(""),
                              .team_id = STR(""),
                              .rpm_limit = -1,
                              .tpm_limit = -1,
                              .max_parallel_requests = -1,
                              .max_budget_usd = -1,
                              .budget_duration_text = STR(""),
                              .metadata_json = STR("{}")};
}

static const struct member *find_member(enum key_call call, struct str name)
{
    for (size_t i = 0; i < COUNT(members); i++)
        if (members[i].calls & 1u << call && str_eq(name, str_from(members[i].name)))
            return &members[i];
    return NULL;
}

static bool says_nothing(const struct json_node *n)
{
    bool container = n->kind == JSON_OBJECT || n->kind == JSON_ARRAY;
    return n->kind == JSON_NULL || (container && n->count == 0);
}

static bool is_later(enum key_call call, struct str name)
{
    for (size_t i = 0; i < COUNT(later); i++)
        if (str_eq(name, str_from(later[i])))
            return true;
    /* LiteLLM's /key/regenerate takes all that /key/generate takes. */
    return call == KEY_CALL_REGENERATE && find_member(KEY_CALL_GENERATE, name);
}

static bool refuse(enum key_call call, const struct json_node *n, struct err *e)
{
    const char *nearest = NULL;
    int best = 3;
    if (is_later(call, n->key))
        return says_nothing(n) || err_set(e, "%.*s: not built yet: leave it out", STR_ARG(n->key));
    for (size_t i = 0; i < COUNT(members); i++) {
        int distance = str_distance(n->key, str_from(members[i].name));
        if (members[i].calls & 1u << call && distance < best) {
            nearest = members[i].name;
            best = distance;
        }
    }
    return err_set(e, "%.*s: no such member%s%s%s", (int)MIN(n->key.n, (size_t)60),
                   n->key.n ? n->key.p : "", nearest ? "; did you mean " : "",
                   nearest ? nearest : "", nearest ? "?" : "");
}

static bool take_metadata(struct arena *a, struct str text, struct key_facts *f, struct err *e)
{
    struct str raw = json_view_member(text, STR("metadata"));
    if (!raw.n)
        return true;
    if (!json_view_is(raw, '{')) {
        f->metadata_json = STR("{}");
        return true;
    }
    char *compact = arena_alloc(a, raw.n);
    f->metadata_json = (struct str){compact, json_compact(compact, raw.n, raw)};
    return f->metadata_json.n <= METADATA_BYTES_MAX ||
           err_set(e, "metadata: expected an object of at most 16 KiB");
}

bool key_body_read(struct arena *a, enum key_call call, struct str text, int64_t now_us,
                   struct key_body *b, struct err *e)
{
    struct err bad = {0};
    const struct json_node *body = json_parse(a, text, &bad);
    b->spend_usd = -1;
    if (!body)
        return err_set(e, "the body is not JSON: line %d, column %d: %s", bad.line, bad.column,
                       bad.text);
    if (body->kind != JSON_OBJECT)
        return err_set(e, "the body: expected a JSON object");
    for (const struct json_node *n = body->child; n; n = n->next) {
        const struct member *m = find_member(call, n->key);
        if (!m && !refuse(call, n, e))
            return false;
        if (m && !m->read(m, a, n, now_us, b, (char *)b + m->offset))
            return err_set(e, "%s: expected %s", m->name, m->expected);
    }
    return !(CHANGES & 1u << call) || take_metadata(a, text, &b->facts, e);
}

/* ---- writing ---- */

static void write_text(struct buf *out, const char *name, struct str text)
{
    bool ok = buf_printf(out, ",\"%s\":", name) &&
              (text.n ? json_write_string(out, text) : buf_printf(out, "null"));
    ENSURE(ok);
}

static void write_moment(struct buf *out, const char *name, int64_t us)
{
    char text[CLOCK_RFC3339_BYTES];
    clock_rfc3339(us, text);
    write_text(out, name, us ? (struct str){text, sizeof text} : STR_NONE);
}

static void write_count(struct buf *out, const char *name, int64_t count)
{
    bool ok = count >= 0 ? buf_printf(out, ",\"%s\":%lld", name, (long long)count)
                         : buf_printf(out, ",\"%s\":null", name);
    ENSURE(ok);
}

static void write_usd(struct buf *out, const char *name, double usd)
{
    bool ok = usd >= 0 ? buf_printf(out, ",\"%s\":%.15g", name, usd)
                       : buf_printf(out, ",\"%s\":null", name);
    ENSURE(ok);
}

void key_models_write(const struct key_facts *f, struct buf *out)
{
    bool ok = buf_printf(out, "[");
    for (int i = 0; i < f->model_count; i++)
        ok = ok && buf_printf(out, "%s", i ? "," : "") && json_write_string(out, f->models[i]);
    ENSURE(ok && buf_printf(out, "]"));
}

void key_row_write(const struct key_facts *f, const struct key_now *now, struct buf *out)
{
    struct str hash = {f->hash_hex, KEY_HASH_BYTES};
    ENSURE(buf_printf(out, "{\"key_name\":") && json_write_string(out, f->name));
    write_text(out, "key_alias", f->alias);
    if (now->key.n)
        write_text(out, "key", now->key);
    if (now->with_token) {
        write_text(out, "token", hash);
        write_text(out, "token_id", hash);
    }
    write_usd(out, "spend", MAX(now->spent_usd, 0));
    write_moment(out, "expires", f->expires_us);
    ENSURE(buf_printf(out, ",\"models\":"));
    key_models_write(f, out);
    write_text(out, "user_id", f->user_id);
    write_text(out, "team_id", f->team_id);
    write_count(out, "rpm_limit", f->rpm_limit);
    write_count(out, "tpm_limit", f->tpm_limit);
    write_count(out, "max_parallel_requests", f->max_parallel_requests);
    write_usd(out, "max_budget", f->max_budget_usd);
    write_text(out, "budget_duration", f->budget_duration_text);
    write_moment(out, "budget_reset_at", now->reset_us);
    ENSURE(buf_printf(out, ",\"blocked\":%s,\"metadata\":%.*s", f->blocked ? "true" : "false",
                      STR_ARG(f->metadata_json)));
    write_moment(out, "created_at", f->created_us);
    write_moment(out, "updated_at", f->updated_us);
    ENSURE(buf_printf(out, "}"));
}
