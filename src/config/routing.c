/* routing.c -- what of router_settings and litellm_settings rows of a table cannot say: fallbacks, policies, strategy's arguments, tags. */
#include "config/routing.h"

#include "config/loader.h"

void routing_read(struct loader *l, struct yaml_node *root)
{
    struct routing *r = &l->config->routing;
    (void)root;
    for (int i = 0; i < FAILURE_CLASS_COUNT; i++)
        r->retry_policy.by_class[i] = r->allowed_fails_policy.by_class[i] = -1;
    r->latency_ttl_ms = 3600 * 1000;
}

void routing_check(struct loader *l, struct yaml_node *root)
{
    (void)l, (void)root;
}

void routing_read_tags(struct loader *l, struct yaml_node *tags, struct deployment *d)
{
    (void)l, (void)tags, (void)d;
}
