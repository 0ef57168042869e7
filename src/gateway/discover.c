/* discover.c -- no configuration given: which engines answer on this machine's usual ports?
 *
 * Asks Ollama (11434), vLLM (8001) and llama.cpp or anything OpenAI-compatible (8000, 8080) for their models, all at once, and writes the LiteLLM YAML that a user would
 * have written. A port that nobody listens on refuses at once; a silent one costs TIMEOUT_MS. On a loop of its own, at the start and at each reload: the control
 * thread waits for it, requests do not. */
#include "gateway/gateway.h"

#define TIMEOUT_MS       1000
#define MODELS_MAX       200
#define ANSWER_BYTES_MAX (1024u * 1024u)

static const struct engine {
    const char *what, *prefix;
    uint16_t port;
    const char *base_path;
} engines[] = {
    {"Ollama", "ollama", 11434, ""},
    {"vLLM", "hosted_vllm", 8001, "/v1"},
    {"llama.cpp", "openai", 8000, "/v1"},
    {"llama.cpp", "openai", 8080, "/v1"},
};

struct discovery {
    struct probe probes[COUNT(engines)];
    int running;
};

static void ended(struct probe *p)
{
    ((struct discovery *)p->arg)->running--;
}

/* Names that would need care in YAML or look like an attack are left out; engines do not have such. */
static bool plain_name(struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] <= ' ' || name.p[i] == '"' || name.p[i] == '\\' ||
            (unsigned char)name.p[i] >= 0x7f)
            return false;
    return name.n > 0 && name.n < 200;
}

static int write_models(struct arena *a, struct buf *yaml, const struct engine *e, struct str body)
{
    struct json_node *root = json_parse(a, body, NULL),
                     *list = root ? json_get(root, "data") : NULL;
    int count = 0;
    for (struct json_node *m = list ? list->child : NULL; m && count < MODELS_MAX; m = m->next) {
        struct json_node *id = json_get(m, "id");
        if (!id || id->kind != JSON_STRING || !plain_name(id->text))
            continue;
        bool ok = buf_printf(yaml,
                             "  - model_name: \"%.*s\"\n    litellm_params: {model: \"%s/%.*s\", "
                             "api_base: \"http://127.0.0.1:%u%s\"%s}\n%s",
                             STR_ARG(id->text), e->prefix, STR_ARG(id->text), e->port, e->base_path,
                             strcmp(e->prefix, "openai") ? "" : ", api_key: none",
                             strcmp(e->prefix, "openai") ? "" : "    model_info: {engine: auto}\n");
        ENSURE(ok);
        count++;
    }
    return count;
}

struct str discover_config(struct arena *a, int *found)
{
    struct loop *loop = loop_new();
    struct resolver *resolver = resolver_new(loop);
    struct pool blocks;
    struct http_client_limits limits = {.connect_timeout_ms = TIMEOUT_MS,
                                        .idle_timeout_ms = 1,
                                        .max_head_bytes = H1_HEAD_BYTES_MAX,
                                        .max_idle_per_target = 0};
    struct http_target targets[COUNT(engines)];
    struct discovery d = {.running = COUNT(engines)};
    struct buf yaml;
    pool_init(&blocks, BUF_BLOCK_BYTES, 4, "discovery");
    struct http_client *client = http_client_new(loop, resolver, &blocks, &limits, COUNT(engines));
    buf_init(&yaml, 0, NULL);
    for (size_t i = 0; i < COUNT(engines); i++) {
        targets[i] = (struct http_target){
            .host = STR("127.0.0.1"), .port = engines[i].port, .authority = STR("localhost")};
        d.probes[i].on_end = ended;
        d.probes[i].arg = &d;
        probe_start(&d.probes[i], client,
                    &(struct probe_ask){.target = &targets[i],
                                        .target_index = (uint32_t)i,
                                        .path = STR("/v1/models"),
                                        .keep_bytes = ANSWER_BYTES_MAX,
                                        .timeout_ms = TIMEOUT_MS});
    }
    while (d.running > 0)
        loop_pass(loop, -1);
    *found = 0;
    bool ok = buf_printf(&yaml, "model_list:\n");
    for (size_t i = 0; i < COUNT(engines); i++) {
        if (d.probes[i].status == 200)
            *found += write_models(a, &yaml, &engines[i], buf_str(&d.probes[i].body));
        probe_fini(&d.probes[i]);
    }
    if (*found == 0)
        buf_clear(&yaml);
    ENSURE(ok && buf_printf(&yaml, "%s", ""));
    struct str text = arena_str(a, buf_str(&yaml));
    buf_fini(&yaml);
    http_client_free(client);
    resolver_free(resolver);
    loop_free(loop);
    pool_trim(&blocks);
    return text;
}
