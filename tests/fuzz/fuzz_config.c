/* fuzz_config.c -- any bytes as a configuration, sealed off from disk and environment: a snapshot that holds together, or an error. */
#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a fallback names is there, or nothing would be there when it is needed. */
static void check_routing(const struct config *c)
{
    for (int kind = 0; kind < FALLBACK_KIND_COUNT; kind++)
        for (int i = 0; i < c->routing.fallbacks[kind].count; i++) {
            const struct fallback *f = &c->routing.fallbacks[kind].rows[i];
            ENSURE(routing_fallback(&c->routing, kind, f->from, f->from));
            for (int k = 0; k < f->count; k++)
                ENSURE(config_group(c, f->to[k], NULL));
        }
    for (int i = 0; i < c->routing.group_retry_policy_count; i++)
        ENSURE(config_group(c, c->routing.group_retry_policies[i].group, NULL));
}

static void check(const struct config *c)
{
    for (uint32_t i = 0; i < c->deployment_count; i++) {
        const struct deployment *d = &c->deployments[i];
        ENSURE(d->provider && d->target < c->target_count && d->endpoint.host.n && d->model_id.n &&
               d->id == i);
        ENSURE(!memchr(d->authorization.p, '\n', d->authorization.n));
        ENSURE(config_group(c, d->model_name, NULL));
        const struct model_ref *of_id = map_get(&c->names, d->model_id);
        ENSURE(str_find(d->upstream_model, '*') >= 0 || (of_id && of_id->group->count >= 1));
    }
    for (uint32_t i = 0; i < c->group_count; i++)
        ENSURE(c->groups[i].count > 0 && c->groups[i].weight_total >= 0);
    for (uint32_t i = 0; i < c->model_name_count; i++)
        ENSURE(config_group(c, c->model_names[i], NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    struct config_options o = {.text = {(const char *)data, size},
                               .builtin_base = "unix:@sim",
                               .add_builtin_models = true,
                               .sealed = true};
    if (!data)
        o.text = STR("");
    struct config *c = config_load(&o, &e);
    ENSURE(c || e.text[0]);
    if (c) {
        check(c);
        check_routing(c);
        config_put(c);
    }
    return 0;
}
