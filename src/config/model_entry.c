/* model_entry.c -- one entry of model_list becomes a deployment: provider, address, key, prices, id, and what /model/info shows.
 *
 * Called by model_list.c. Which provider an entry means, where it is and which key it gets follow LiteLLM, but for one thing: a key from
 * the environment (OPENAI_API_KEY) is never sent to a host that is not the provider's, because an api_base on the user's own machine
 * or of another company would be handed a credential that was never meant for it. Such an entry says api_key itself. */
#include <openssl/evp.h>

#include "base/json.h"

#include "config/loader.h"

#define DEFAULT_TIMEOUT_MS 600000
#define LIST_MAX           64 /* organizations, extra headers of one entry */

/* What is known while an entry is being read. */
struct entry {
    struct loader *loader;
    struct yaml_node *item, *params, *info;
    struct model_entry as_written;
    struct deployment *d;
};

static struct yaml_node *param(struct entry *e, const char *key)
{
    return yaml_get(e->params, key);
}

/* ---- provider ---- */

static struct str prefix_list(struct arena *a)
{
    struct buf b;
    buf_init(&b, 0, NULL);
    for (size_t i = 0; i < provider_count; i++)
        ENSURE(buf_printf(&b, "%s%s", i ? " " : "", providers[i].prefix));
    struct str list = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return list;
}

static void complain_of_provider(struct entry *e, const char *key, struct str name)
{
    struct loader *l = e->loader;
    struct str rest = name, prefix = str_cut(&rest, '/');
    const char *nearest = NULL;
    int best = 3;
    for (size_t i = 0; i < provider_count; i++) {
        int distance = str_distance(prefix, str_from(providers[i].prefix));
        if (distance < best) {
            best = distance;
            nearest = providers[i].prefix;
        }
    }
    loader_error(l, param(e, key),
                 "litellm_params.%s: \"%.*s\" names no provider%s%s%s; expected an api_base, or "
                 "one of: %.*s",
                 key, STR_ARG(name), nearest ? " (did you mean " : "", nearest ? nearest : "",
                 nearest ? "?)" : "", STR_ARG(prefix_list(l->arena)));
}

/* custom_llm_provider, else the prefix, else OpenAI where an address or OpenAI's own names say so. */
static bool set_provider(struct entry *e)
{
    struct deployment *d = e->d;
    const struct model_entry *w = &e->as_written;
    struct str rest = w->model, prefix = STR_NONE;
    if (str_find(w->model, '/') >= 0)
        prefix = str_cut(&rest, '/');
    struct str wanted = w->custom_llm_provider.n ? w->custom_llm_provider : prefix;
    d->provider = provider_find(wanted);
    if (d->provider) {
        d->upstream_model =
            prefix.n && str_eq(prefix, wanted) ? arena_str(e->loader->arena, rest) : w->model;
    } else if (w->custom_llm_provider.n) {
        complain_of_provider(e, "custom_llm_provider", wanted);
        return false;
    } else {
        d->provider =
            w->api_base.n ? provider_find(STR("openai")) : provider_of_bare_model(w->model);
        d->upstream_model = w->model;
    }
    if (!d->provider) {
        complain_of_provider(e, "model", w->model);
        return false;
    }
    d->provider_name = str_from(d->provider->name);
    if (d->provider->dialect != DIALECT_OPENAI)
        loader_note(e->loader, param(e, "model"),
                    "litellm_params.model: %s's own API is not spoken yet: requests for it are "
                    "answered with an error",
                    d->provider->name);
    return true;
}

/* ---- address ---- */

/* The provider's own base, or what stands for it. NULL: there is none. */
static const char *default_base(struct entry *e, const char **from)
{
    const struct provider_info *p = e->d->provider;
    const char *base = p->base_env ? loader_env(e->loader, p->base_env) : NULL;
    if (base && *base) {
        *from = p->base_env;
        return base;
    }
    *from = p->prefix;
    if (!strcmp(p->prefix, "sim"))
        return e->loader->options->builtin_base;
    if (!p->base &&
        p->dialect !=
            DIALECT_OPENAI) /* never asked, but every deployment has a target (RFC 2606: no such name) */
        return "https://not-built-yet.invalid";
    return p->base;
}

static void add_v1(struct arena *a, struct endpoint *at)
{
    if (!str_ends(at->path, STR("/v1")))
        at->path = arena_printf(a, "%.*s/v1", STR_ARG(at->path));
}

static struct str shown_base(struct arena *a, const struct endpoint *at)
{
    if (str_starts(at->host, STR("unix:")))
        return arena_printf(a, "%.*s%s%.*s", STR_ARG(at->host), at->path.n ? ":" : "",
                            STR_ARG(at->path));
    return arena_printf(a, "%s://%.*s%.*s", at->tls ? "https" : "http", STR_ARG(at->authority),
                        STR_ARG(at->path));
}

static bool set_endpoint(struct entry *e)
{
    struct loader *l = e->loader;
    struct deployment *d = e->d;
    const char *from = "litellm_params.api_base",
               *base = e->as_written.api_base.n ? e->as_written.api_base.p : NULL;
    struct err err = {0};
    if (!base)
        base = default_base(e, &from);
    if (!base) {
        const char *variable = d->provider->base_env;
        loader_error(l, param(e, "model"), "litellm_params.model: %s/ needs an api_base%s%s",
                     d->provider->prefix, variable ? ", or the environment variable " : "",
                     variable ? variable : "");
        return false;
    }
    if (!endpoint_parse(l->arena, str_from(base), &d->endpoint, &err)) {
        struct yaml_node *at = param(e, e->as_written.api_base.n ? "api_base" : "model");
        loader_error(l, at, "%s: %s", from, err.text);
        return false;
    }
    if (d->provider->appends_v1)
        add_v1(l->arena, &d->endpoint);
    d->api_base = shown_base(l->arena, &d->endpoint);
    return true;
}

/* ---- key and headers ---- */

/* A provider out there, rather than an engine on the user's own machines. */
static bool is_hosted(const struct provider_info *p)
{
    return p->base && !strncmp(p->base, "https://", 8);
}

static bool is_providers_host(struct entry *e)
{
    struct endpoint own;
    if (!e->as_written.api_base.n)
        return true; /* the default, or what the user's environment says in its place */
    return endpoint_parse(e->loader->arena, str_from(e->d->provider->base), &own, NULL) &&
           str_eq(own.host, e->d->endpoint.host);
}

static struct str key_from_environment(struct entry *e)
{
    const struct provider_info *p = e->d->provider;
    const char *key = p->key_env ? loader_env(e->loader, p->key_env) : NULL;
    bool foreign = is_hosted(p) && !is_providers_host(e);
    if (foreign && key)
        loader_note(e->loader, param(e, "api_base"),
                    "litellm_params.api_base: %s is not sent to a host that is not the provider's: "
                    "expected api_key beside it "
                    "(os.environ/%s, or none)",
                    p->key_env, p->key_env);
    if (foreign)
        return STR("");
    if (!key && is_hosted(p) && p->dialect == DIALECT_OPENAI)
        loader_note(
            e->loader, param(e, "model"),
            "litellm_params.model: no key for %s: expected api_key, or %s in the environment",
            p->name, p->key_env);
    return key ? str_from(key) : STR("");
}

/* Blanks and controls would end the header field. */
static bool is_header_text(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
            return false;
    return true;
}

static void set_authorization(struct entry *e)
{
    struct yaml_node *given = param(e, "api_key");
    struct str key = given ? e->as_written.api_key : key_from_environment(e);
    if (!is_header_text(key))
        loader_error(e->loader, given ? given : param(e, "model"),
                     "litellm_params.api_key: expected one line of text (the key is not shown)");
    e->d->authorization =
        key.n ? arena_printf(e->loader->arena, "Bearer %.*s", STR_ARG(key)) : STR("");
}

/* tchar of RFC 9110 section 5.6.2. */
static bool is_header_name(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z', digit = c >= '0' && c <= '9';
        if (!letter && !digit && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return name.n > 0;
}

/* What weir itself writes, or what frames the message. */
static bool is_reserved_header(struct str name)
{
    static const char *const names[] = {"host",       "content-length",  "transfer-encoding",
                                        "connection", "content-type",    "te",
                                        "upgrade",    "trailer",         "expect",
                                        "keep-alive", "accept-encoding", "proxy-authorization"};
    for (size_t i = 0; i < COUNT(names); i++)
        if (str_ieq(name, str_from(names[i])))
            return true;
    return false;
}

static bool check_header(struct loader *l, const struct yaml_node *n)
{
    const char *why = NULL;
    if (!is_header_name(n->key))
        why = "is not a header field's name";
    else if (is_reserved_header(n->key))
        why = "is weir's own to send";
    else if (n->kind != NODE_SCALAR || !is_header_text(n->text))
        why = "expected one line of text";
    if (why)
        loader_error_at_key(l, n, "litellm_params.extra_headers: \"%.*s\" %s", STR_ARG(n->key),
                            why);
    return !why;
}

static void set_headers(struct entry *e, struct str organization)
{
    struct loader *l = e->loader;
    struct yaml_node *map = param(e, "extra_headers");
    struct config_header *list = arena_alloc(l->arena, (LIST_MAX + 1) * sizeof *list);
    int count = 0;
    if (map && map->kind == NODE_MAP && map->count > LIST_MAX)
        loader_error(l, map, "litellm_params.extra_headers: expected at most %d", LIST_MAX);
    for (struct yaml_node *n = map && map->kind == NODE_MAP ? map->child : NULL;
         n && count < LIST_MAX; n = n->next) {
        if (yaml_is_null(n) || !check_header(l, n))
            continue;
        if (str_ieq(n->key, STR("authorization")))
            e->d->authorization = STR(""); /* the user's own takes its place */
        list[count++] = (struct config_header){n->key, n->text};
    }
    if (organization.n && is_header_text(organization))
        list[count++] = (struct config_header){STR("openai-organization"), organization};
    e->d->extra_headers = list;
    e->d->extra_header_count = count;
}

/* ---- prices, time-outs ---- */

static bool has_price(const struct price *p)
{
    return p->known || p->input_per_second >= 0 || p->output_per_second >= 0 || p->per_request >= 0;
}

/* Prices of long prompts have the tier in their key, so they are not rows. */
static void read_tiers(struct yaml_node *map, struct price *into)
{
    for (struct yaml_node *n = map && map->kind == NODE_MAP ? map->child : NULL; n; n = n->next) {
        double usd;
        if (str_contains(n->key, STR("_above_")) && n->kind == NODE_SCALAR &&
            str_to_f64(n->text, &usd) && usd >= 0)
            price_set(into, n->key, usd);
    }
}

static void set_price(struct entry *e)
{
    struct model_entry *w = &e->as_written;
    read_tiers(e->params, &w->price);
    read_tiers(e->info, &w->info_price);
    if (has_price(&w->price)) {
        e->d->price = w->price;
    } else if (has_price(&w->info_price)) {
        e->d->price = w->info_price;
    } else {
        const struct price *p =
            prices_find(e->loader->config->prices, prices_builtin(), e->d->provider_name,
                        e->d->upstream_model, w->base_model);
        e->d->price = p ? *p : price_unknown();
    }
}

static int64_t first_given(int64_t a, int64_t b, int64_t c, int64_t otherwise)
{
    return a >= 0 ? a : b >= 0 ? b : c >= 0 ? c : otherwise;
}

static void set_limits(struct entry *e)
{
    const struct config *c = e->loader->config;
    const struct model_entry *w = &e->as_written;
    struct deployment *d = e->d;
    d->timeout_ms =
        first_given(w->timeout_ms, c->router_timeout_ms, c->request_timeout_ms, DEFAULT_TIMEOUT_MS);
    d->stream_timeout_ms = first_given(w->stream_timeout_ms, c->router_stream_timeout_ms, -1, 0);
    d->weight = w->weight;
    d->rpm = w->rpm;
    d->tpm = w->tpm;
    d->max_parallel_requests = w->max_parallel_requests ? w->max_parallel_requests
                                                        : c->routing.default_max_parallel_requests;
    d->order = w->order;
    d->num_retries = w->num_retries;
    d->cooldown_ms = w->cooldown_ms;
    d->max_input_tokens = w->max_input_tokens;
    routing_read_tags(e->loader, param(e, "tags"), d);
    d->ssl_verify = w->ssl_verify;
}

/* ---- health ---- */

static void set_health(struct entry *e)
{
    const struct model_entry *w = &e->as_written;
    struct deployment *d = e->d;
    struct str model = w->health_check_model, prefix = str_cut(&model, '/');
    bool prefixed = model.n && str_eq(prefix, str_from(d->provider->prefix));
    d->health_check_model = prefixed ? arena_str(e->loader->arena, model) : w->health_check_model;
    d->health_check_timeout_ms = w->health_check_timeout_ms;
    d->engine = w->engine >= 0 ? (enum engine_kind)w->engine : d->provider->engine;
}

/* ---- JSON ---- */

/* A value that no dump shows: a row that is a secret, or an unknown key that is called like one or came from the environment. */
bool model_entry_is_secret(const struct yaml_node *n)
{
    static const char *const words[] = {"secret",  "password", "credential",
                                        "api_key", "apikey",   "authorization"};
    static const char *const names[] = {"key", "token"};
    const struct directive *d = directive_find(directive_section("litellm_params"), n->key);
    if (d)
        return d->type == D_SECRET;
    if (n->secret || str_eq(n->key, STR("key")) || str_ends(n->key, STR("_key")) ||
        str_ends(n->key, STR("_token")))
        return true;
    for (size_t i = 0; i < COUNT(names); i++)
        if (str_eq(n->key, str_from(names[i])))
            return true;
    for (size_t i = 0; i < COUNT(words); i++)
        if (str_contains(n->key, str_from(words[i])))
            return true;
    return false;
}

static bool write_scalar(struct buf *out, const struct yaml_node *n)
{
    bool truth;
    int64_t whole;
    double number;
    if (yaml_is_null(n))
        return buf_printf(out, "null");
    if (yaml_bool(n, &truth))
        return buf_printf(out, truth ? "true" : "false");
    if (!n->quoted && str_to_i64(n->text, &whole))
        return buf_printf(out, "%lld", (long long)whole);
    if (!n->quoted && str_to_f64(n->text, &number))
        return buf_printf(out, "%.15g", number);
    return json_write_string(out, n->text);
}

/* `mask`: secrets, and the values of all headers, become "***". */
static bool write_json(struct buf *out, const struct yaml_node *n, bool mask)
{
    if (n->kind == NODE_SCALAR)
        return write_scalar(out, n);
    bool map = n->kind == NODE_MAP;
    bool headers = mask && (str_eq(n->key, STR("extra_headers")) || str_eq(n->key, STR("headers")));
    bool ok = buf_printf(out, map ? "{" : "[");
    for (const struct yaml_node *c = n->child; ok && c; c = c->next) {
        ok = (c == n->child || buf_printf(out, ",")) &&
             (!map || (json_write_string(out, c->key) && buf_printf(out, ":")));
        bool hide = headers || (mask && map && !yaml_is_null(c) && model_entry_is_secret(c));
        ok = ok && (hide ? buf_printf(out, "\"***\"") : write_json(out, c, mask));
    }
    return ok && buf_printf(out, map ? "}" : "]");
}

struct str model_entry_json(struct arena *a, const struct yaml_node *n, bool mask)
{
    struct buf b;
    buf_init(&b, 0, NULL);
    ENSURE(write_json(&b, n, mask));
    struct str text = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return text;
}

/* {"id":...,"db_model":false, and what model_info says besides}. */
struct str loader_json(struct arena *a, const struct yaml_node *n)
{
    return model_entry_json(a, n, false);
}

static void set_info_json(struct entry *e)
{
    struct buf b;
    buf_init(&b, 0, NULL);
    bool ok = buf_printf(&b, "{\"id\":") && json_write_string(&b, e->d->model_id) &&
              buf_printf(&b, ",\"db_model\":false");
    for (struct yaml_node *n = e->info ? e->info->child : NULL; ok && n; n = n->next)
        if (!str_eq(n->key, STR("id")) && !str_eq(n->key, STR("db_model")))
            ok = buf_printf(&b, ",") && json_write_string(&b, n->key) && buf_printf(&b, ":") &&
                 write_json(&b, n, false);
    ENSURE(ok && buf_printf(&b, "}"));
    e->d->model_info_json = arena_str(e->loader->arena, buf_str(&b));
    buf_fini(&b);
}

/* ---- id ---- */

static int by_key(const void *left, const void *right)
{
    const struct yaml_node *const *a = left, *const *b = right;
    size_t n = MIN((*a)->key.n, (*b)->key.n);
    int order = memcmp((*a)->key.p, (*b)->key.p, n);
    return order ? order : ((*a)->key.n > (*b)->key.n) - ((*a)->key.n < (*b)->key.n);
}

static void hash_str(EVP_MD_CTX *md, struct str s)
{
    ENSURE(EVP_DigestUpdate(md, s.p ? s.p : "", s.n) == 1 && EVP_DigestUpdate(md, "", 1) == 1);
}

/* SHA-256 over the public name and the parameters by name, like LiteLLM's, so it survives restarts and reordering. `twin` tells apart
 * entries that are equal in all of that. */
static struct str hashed_id(struct entry *e, struct str organization, int twin)
{
    struct arena *a = e->loader->arena;
    struct yaml_node **sorted = arena_alloc(a, e->params->count * sizeof(void *));
    size_t count = 0;
    for (struct yaml_node *n = e->params->child; n; n = n->next)
        sorted[count++] = n;
    qsort(sorted, count, sizeof *sorted, by_key);
    unsigned char digest[32];
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    ENSURE(md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1);
    hash_str(md, e->d->model_name);
    for (size_t i = 0; i < count; i++) {
        hash_str(md, sorted[i]->key);
        hash_str(md, model_entry_json(a, sorted[i], false));
    }
    hash_str(md, organization);
    if (twin)
        hash_str(md, arena_printf(a, "%d", twin));
    ENSURE(EVP_DigestFinal_ex(md, digest, NULL) == 1);
    EVP_MD_CTX_free(md);
    char *hex = arena_alloc(a, 2 * sizeof digest + 1);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return (struct str){hex, 2 * sizeof digest};
}

static bool id_is_taken(const struct loader *l, struct str id)
{
    const struct str *taken = map_get(&l->ids, id);
    return taken != NULL;
}

static void set_id(struct entry *e, struct str organization)
{
    struct loader *l = e->loader;
    struct deployment *d = e->d;
    if (e->as_written.id.n && !organization.n) {
        d->model_id = e->as_written.id;
        if (id_is_taken(l, d->model_id))
            loader_note(
                l, yaml_get(e->info, "id"),
                "model_info.id: \"%.*s\" is another entry's id too: logs and metrics cannot "
                "tell them apart",
                STR_ARG(d->model_id));
    } else {
        for (int twin = 0; !d->model_id.n || id_is_taken(l, d->model_id); twin++)
            d->model_id = hashed_id(e, organization, twin);
    }
    map_put(&l->ids, d->model_id, &d->model_id);
}

/* ---- the whole ---- */

static void init_as_written(struct entry *e)
{
    e->as_written = (struct model_entry){
        .model = STR(""),
        .api_base = STR(""),
        .api_key = STR(""),
        .weight = -1,
        .rpm = -1,
        .tpm = -1,
        .timeout_ms = -1,
        .stream_timeout_ms = -1,
        .num_retries = -1,
        .cooldown_ms = -1,
        .max_input_tokens = -1,
        .ssl_verify = e->loader->config->ssl_verify,
        .price = price_unknown(),
        .id = STR(""),
        .mode = STR(""),
        .health_check_model = STR(""),
        .health_check_timeout_ms = -1,
        .engine = -1,
        .info_price = price_unknown(),
    };
}

static void add_deployment(struct entry *e, struct str organization)
{
    struct config *c = e->loader->config;
    struct arena *a = e->loader->arena;
    e->d = &c->deployments[c->deployment_count];
    *e->d = (struct deployment){
        .id = c->deployment_count,
        .model_name = arena_str(a, yaml_get(e->item, "model_name")->text),
        .litellm_model = e->as_written.model,
        .mode = e->as_written.mode,
        .item = e->item,
    };
    if (!set_provider(e) || !set_endpoint(e))
        return;
    set_authorization(e);
    set_headers(e, organization);
    set_price(e);
    set_limits(e);
    set_health(e);
    set_id(e, organization);
    set_info_json(e);
    e->d->params_json = model_entry_json(a, e->params, true);
    c->deployment_count++;
}

/* What every entry must have; complains of what it has not. */
static bool is_complete(struct entry *e)
{
    struct loader *l = e->loader;
    struct yaml_node *name = yaml_get(e->item, "model_name");
    if (!name || yaml_is_null(name)) {
        loader_error(l, name ? name : e->item, "model_list: expected model_name in every entry");
        return false;
    }
    if (!e->params || e->params->kind != NODE_MAP) {
        if (!e->params || yaml_is_null(e->params))
            loader_error(l, e->params ? e->params : e->item,
                         "model_list: expected litellm_params in every entry");
        return false;
    }
    struct yaml_node *model = param(e, "model");
    if (!model || yaml_is_null(model)) {
        loader_error(l, model ? model : e->params,
                     "litellm_params.model: expected \"provider/model\"");
        return false;
    }
    return name->kind == NODE_SCALAR && model->kind == NODE_SCALAR;
}

size_t model_entry_deployments(struct yaml_node *item)
{
    struct yaml_node *list = yaml_get(yaml_get(item, "litellm_params"), "organization");
    return list && list->kind == NODE_LIST ? MAX(list->count, (size_t)1) : 1;
}

void model_entry_add(struct loader *l, struct yaml_node *item)
{
    struct entry e = {.loader = l, .item = item};
    if (item->kind != NODE_MAP) {
        loader_error(l, item, "model_list: expected a mapping with model_name and litellm_params");
        return;
    }
    e.params = yaml_get(item, "litellm_params");
    e.info = yaml_get(item, "model_info");
    if (e.info && e.info->kind != NODE_MAP)
        e.info = NULL;
    init_as_written(&e);
    int errors = l->error_count;
    loader_apply(l, directive_section("model_list"), &e.as_written, item);
    loader_apply(l, directive_section("litellm_params"), &e.as_written, e.params);
    loader_apply(l, directive_section("model_info"), &e.as_written, e.info);
    if (!is_complete(&e) || l->error_count > errors)
        return;
    struct yaml_node *organization = param(&e, "organization");
    if (organization && organization->kind == NODE_LIST) {
        for (struct yaml_node *n = organization->child; n; n = n->next)
            add_deployment(&e, n->text);
    } else {
        add_deployment(&e,
                       organization && !yaml_is_null(organization) ? organization->text : STR_NONE);
    }
}

/* Built in: an entry as a user would have written it, with a price of nothing. */
void model_entry_add_builtin(struct loader *l, struct str name, struct str mode)
{
    struct err err = {0};
    struct str text = arena_printf(
        l->arena,
        "{model_name: %.*s, litellm_params: {model: sim/%.*s, input_cost_per_token: 0, "
        "output_cost_per_token: 0}, model_info: {mode: %.*s}}",
        STR_ARG(name), STR_ARG(name), STR_ARG(mode));
    struct yaml_node *item = yaml_parse(l->arena, text, "built in", &err);
    ENSURE(item);
    uint32_t before = l->config->deployment_count;
    model_entry_add(l, item);
    if (l->config->deployment_count > before)
        l->config->deployments[before].builtin = true;
}
