/* fuzz_key_body.c -- the bodies of /key/..., and what is answered about a key made from one.
 *
 * The first byte chooses the call, the rest is the body. What must hold:
 *   - a body is taken, or refused with a sentence of one line;
 *   - what is taken keeps the limits that are promised: lengths, ranges, a duration only with its text;
 *   - the answer about it is valid JSON, and reading it back as an update gives the same facts;
 *   - the same body read a second time changes nothing. */
#include "gateway/key_body.h"

#define NOW_US INT64_C(1795485600000000)

static void check_line(struct str s, size_t max)
{
    ENSURE(s.n <= max);
    for (size_t i = 0; i < s.n; i++)
        ENSURE((unsigned char)s.p[i] >= ' ' && s.p[i] != 0x7f);
}

static void check_facts(const struct key_facts *f)
{
    check_line(f->alias, 128);
    check_line(f->user_id, 256);
    check_line(f->team_id, 256);
    for (int i = 0; i < f->model_count; i++) {
        check_line(f->models[i], 256);
        ENSURE(f->models[i].n);
    }
    ENSURE(f->model_count >= 0 && f->model_count <= 1000);
    ENSURE(f->rpm_limit >= -1 && f->tpm_limit >= -1 && f->max_parallel_requests >= -1);
    ENSURE(f->max_budget_usd == -1 || (f->max_budget_usd >= 0 && f->max_budget_usd <= 1e6));
    ENSURE(f->expires_us == 0 || f->expires_us > NOW_US);
    ENSURE(duration_given(f->budget_duration) == (f->budget_duration_text.n > 0));
    ENSURE(f->metadata_json.n >= 2 && f->metadata_json.n <= 16384);
}

static bool same_facts(const struct key_facts *a, const struct key_facts *b)
{
    bool models = a->model_count == b->model_count;
    for (int i = 0; models && i < a->model_count; i++)
        models = str_eq(a->models[i], b->models[i]);
    return models && str_eq(a->alias, b->alias) && str_eq(a->user_id, b->user_id) &&
           str_eq(a->team_id, b->team_id) && str_eq(a->metadata_json, b->metadata_json) &&
           str_eq(a->budget_duration_text, b->budget_duration_text) && a->blocked == b->blocked &&
           a->rpm_limit == b->rpm_limit && a->tpm_limit == b->tpm_limit &&
           a->max_parallel_requests == b->max_parallel_requests &&
           a->max_budget_usd == b->max_budget_usd;
}

/* What an answer says and a body may not. */
static struct str without_answers_own(struct arena *a, struct str row)
{
    static const char *const own[] = {"key_name",        "spend",      "expires",
                                      "budget_reset_at", "created_at", "updated_at"};
    struct buf out;
    const struct json_node *n = json_parse(a, row, NULL);
    ENSURE(n && n->kind == JSON_OBJECT);
    for (size_t i = 0; i < COUNT(own); i++)
        ENSURE(json_get(n, own[i]));
    buf_init(&out, 0, NULL);
    /* The members between are those that are set: from key_alias to metadata, in one order. */
    const char *alias = memmem(row.p, row.n, ",\"key_alias\":", 13),
               *spend = memmem(row.p, row.n, ",\"spend\":", 9),
               *models = memmem(row.p, row.n, ",\"models\":", 10),
               *reset = memmem(row.p, row.n, ",\"budget_reset_at\":", 19);
    ENSURE(alias && spend && models && reset && alias < spend && spend < models && models < reset);
    const char *blocked = memmem(reset, (size_t)(row.p + row.n - reset), ",\"blocked\":", 11);
    const char *created = row.p + row.n;
    while (strncmp(created, ",\"created_at\":", 14) != 0)
        created--;
    ENSURE(blocked && created > blocked);
    bool ok = buf_printf(&out, "{") && buf_append(&out, alias + 1, (size_t)(spend - alias - 1)) &&
              buf_append(&out, models, (size_t)(reset - models)) &&
              buf_append(&out, blocked, (size_t)(created - blocked)) && buf_printf(&out, "}");
    ENSURE(ok);
    struct str body = arena_str(a, buf_str(&out));
    buf_fini(&out);
    return body;
}

static void check_answer(struct arena *a, const struct key_facts *f)
{
    struct buf out;
    struct key_now now = {.spent_usd = 0.1};
    struct key_body back = {.facts = key_facts_default()};
    buf_init(&out, 0, NULL);
    key_row_write(f, &now, &out);
    ENSURE(buf_append(&out, "", 1)); /* a NUL behind it, for strncmp */
    struct str row = buf_str(&out);
    row.n--;
    struct str body = without_answers_own(a, row);
    ENSURE(key_body_read(a, KEY_CALL_UPDATE, body, NOW_US, &back, NULL));
    ENSURE(same_facts(f, &back.facts));
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct err e = {0};
    if (size == 0)
        return 0;
    enum key_call call = data[0] % KEY_CALL_COUNT;
    struct str text = {(const char *)data + 1, size - 1};
    struct key_body b = {.facts = key_facts_default()}, again;
    arena_init(&a, NULL, 0);
    if (!key_body_read(&a, call, text, NOW_US, &b, &e)) {
        ENSURE(e.text[0]);
    } else {
        check_facts(&b.facts);
        check_line(b.key, 128);
        again = b;
        ENSURE(key_body_read(&a, call, text, NOW_US, &again, &e) &&
               same_facts(&b.facts, &again.facts));
        check_answer(&a, &b.facts);
    }
    arena_fini(&a);
    return 0;
}
