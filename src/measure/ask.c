/* ask.c -- questions to the target beside what is measured: health checks, lists of models. */
#include "base/clock.h"
#include "base/json.h"
#include "http/ask.h"
#include "measure/target.h"

#define BODY_BYTES_MAX (16u << 20)

bool measure_ask(const struct measure_target *t, struct arena *a, struct str method,
                 struct str path, struct str body, int64_t timeout_ms, struct measure_reply *out,
                 struct err *e)
{
    struct http_answer answer;
    struct str head = measure_target_head(t, a, method, path), length = STR_NONE;
    if (body.n)
        length = arena_printf(a, "content-length: %zu\r\n", body.n);
    struct str request = arena_printf(a, "%.*s%.*sconnection: close\r\n\r\n%.*s", STR_ARG(head),
                                      STR_ARG(length), STR_ARG(body));
    uint64_t began_ns = clock_mono_ns();
    bool answered = http_ask(&t->http, request, BODY_BYTES_MAX, timeout_ms, a, &answer);
    *out = (struct measure_reply){.status = answer.status,
                                  .body = answer.body,
                                  .content_type = answer.content_type,
                                  .took_ns = clock_mono_ns() - began_ns};
    if (!answered)
        return err_set(e, "%.*s: %s", STR_ARG(t->url), answer.failure);
    if (answer.too_long)
        return err_set(e, "%.*s%.*s: the answer is longer than %u MiB", STR_ARG(t->url),
                       STR_ARG(path), BODY_BYTES_MAX >> 20);
    return true;
}

/* ---- models ---- */

static bool no_models(const struct measure_target *t, const struct measure_reply *r, struct err *e)
{
    static const struct {
        int status;
        const char *advice;
    } known[] = {
        {401, "it wants a key: give --key, or set LITELLM_API_KEY"},
        {403, "the key may not see the models"},
        {404, "there is no such path: is the URL an OpenAI API's?"},
    };
    for (size_t i = 0; i < COUNT(known); i++)
        if (r->status == known[i].status)
            return err_set(e, "%.*s: status %d for the list of models; %s", STR_ARG(t->url),
                           r->status, known[i].advice);
    return err_set(e, "%.*s: status %d for the list of models", STR_ARG(t->url), r->status);
}

bool measure_models(const struct measure_target *t, struct arena *a, struct str **names,
                    size_t *count, struct err *e)
{
    struct measure_reply reply;
    struct err bad = {0};
    struct str path = arena_printf(a, "%.*s/models", STR_ARG(t->base_path));
    if (!measure_ask(t, a, STR("GET"), path, STR_NONE, 30000, &reply, e))
        return false;
    if (reply.status != 200)
        return no_models(t, &reply, e);
    struct json_node *root = json_parse(a, reply.body, &bad);
    struct json_node *data = root ? json_get(root, "data") : NULL;
    if (!data || data->kind != JSON_ARRAY)
        return err_set(e, "%.*s%.*s: expected a list of models ({\"data\": [...]}), got %s",
                       STR_ARG(t->url), STR_ARG(path), root ? "other JSON" : "no JSON");
    *names = arena_alloc(a, MAX(data->count, (size_t)1) * sizeof **names);
    *count = 0;
    for (struct json_node *m = data->child; m; m = m->next) {
        struct json_node *id = json_get(m, "id");
        if (id && id->kind == JSON_STRING && id->text.n)
            (*names)[(*count)++] = id->text;
    }
    return true;
}
