/* health_ask.c -- what a health check asks of a deployment, and what the answer means (docs/health.md has the same table). [control thread]
 *
 * GET {api_base}/models proves name resolution, way, certificate and key without buying tokens. A server may have no such path and be well. A completion
 * of one token (weir_settings.health_check: completion) proves that the model answers, and costs what it costs. */
#include "gateway/health.h"

#include "base/json.h"

#define MODELS_TIMEOUT_MS     5000
#define COMPLETION_TIMEOUT_MS 60000 /* LiteLLM's */

/* ---- what to ask ---- */

static const struct completion_call {
    const char *mode; /* model_info.mode */
    const char *path;
    const char *input; /* what follows the model's name */
} calls[] = {
    {"chat", "/chat/completions", "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"},
    {"completion", "/completions", "\"prompt\":\"Hi\""},
    {"embedding", "/embeddings", "\"input\":\"Hi\""},
};

/* NULL: this one can only be asked for its models. */
static const struct completion_call *call_of(const struct deployment *d, struct str model)
{
    if (str_find(model, '*') >= 0)
        return NULL;
    for (size_t i = 0; i < COUNT(calls); i++)
        if (str_eq(d->mode, str_from(calls[i].mode)))
            return &calls[i];
    return d->mode.n ? NULL : &calls[0];
}

/* OpenAI's reasoning models refuse max_tokens; what they think counts, so one token would be no answer. */
static const char *token_limit(const struct completion_call *call, struct str model)
{
    static const char *const heads[] = {"o1", "o3", "o4", "gpt-5"};
    if (str_eq(str_from(call->mode), STR("embedding")))
        return "";
    for (size_t i = 0; i < COUNT(heads); i++)
        if (str_starts(model, str_from(heads[i])))
            return ",\"max_completion_tokens\":16";
    return ",\"max_tokens\":1";
}

static void write_body(struct buf *out, const struct completion_call *call, struct str model)
{
    bool ok = buf_printf(out, "{\"model\":") && json_write_string(out, model);
    ENSURE(ok && buf_printf(out, ",%s%s}", call->input, token_limit(call, model)));
}

static int64_t timeout_of(const struct deployment *d, bool completion)
{
    return d->health_check_timeout_ms > 0 ? d->health_check_timeout_ms
           : completion                   ? COMPLETION_TIMEOUT_MS
                                          : MODELS_TIMEOUT_MS;
}

void health_ask(struct check *c, const struct deployment *d)
{
    const struct snapshot *s = c->health->snapshot;
    struct str model = d->health_check_model.n ? d->health_check_model : d->upstream_model;
    const struct completion_call *call =
        s->config->health_check == HEALTH_CHECK_COMPLETION ? call_of(d, model) : NULL;
    struct buf path, body;
    buf_init(&path, 0, NULL);
    buf_init(&body, 0, NULL);
    c->completion = call != NULL;
    ENSURE(buf_append_str(&path, d->endpoint.path) &&
           buf_append_str(&path, str_from(call ? call->path : "/models")));
    if (call)
        write_body(&body, call, model);
    struct probe_ask a = {
        .target = &s->targets[d->target],
        .target_index = d->target,
        .path = buf_str(&path),
        .lines = s->texts[d->id].upstream,
        .body = buf_str(&body),
        .timeout_ms = timeout_of(d, call != NULL),
    };
    probe_start(&c->probe, c->health->client, &a);
    buf_fini(&path);
    buf_fini(&body);
}

/* ---- what an answer means ---- */

static const struct meaning {
    int from, to; /* HTTP status */
    bool alive;
    const char *said;
} of_models[] =
    {
        {200, 299, true, ""},
        {401, 401, false, "the key was refused"},
        {403, 403, false, "the key was refused"},
        {404, 405, true, "it has no list of models, but it answers"},
        {429, 429, false, "too many requests"},
        {500, 599, false, "it fails"},
        {0, 999, false, "a list of models was expected"},
},
  of_completion[] = {
      {200, 299, true, ""},
      {401, 401, false, "the key was refused"},
      {403, 403, false, "the key was refused"},
      {404, 404, false, "there is no such model, or nothing at this path"},
      {429, 429, false, "too many requests"},
      {500, 599, false, "it fails"},
      {0, 999, false, "a completion was expected"},
};

void health_judge(struct check *c)
{
    const struct probe *p = &c->probe;
    c->status = p->status;
    c->alive = false;
    if (!p->status) {
        snprintf(c->said, sizeof c->said, "%s", p->failure);
        return;
    }
    const struct meaning *m = c->completion ? of_completion : of_models;
    while (p->status < m->from || p->status > m->to) /* the last row is all others */
        m++;
    c->alive = m->alive;
    c->said[0] = '\0';
    if (m->said[0])
        snprintf(c->said, sizeof c->said, "%s answered %d: %s",
                 c->completion ? "a completion of one token" : "GET {api_base}/models", p->status,
                 m->said);
}
