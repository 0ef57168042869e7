#include "observe/line_cost.h"

struct record line_cost_record(const struct logline *l)
{
    const struct record *from = &l->r;
    struct record r;
    record_init(&r);
    const struct {
        uint64_t bit;
        int64_t *to, value;
    } numbers[] = {
        {LOG_BIT(prompt_tokens), &r.prompt_tokens, from->prompt_tokens},
        {LOG_BIT(completion_tokens), &r.completion_tokens, from->completion_tokens},
        {LOG_BIT(cached_tokens), &r.cached_tokens, from->cached_tokens},
        {LOG_BIT(reasoning_tokens), &r.reasoning_tokens, from->reasoning_tokens},
        {LOG_BIT(upstream), &r.upstream_us, from->upstream_us},
    };
    for (size_t i = 0; i < COUNT(numbers); i++)
        if (l->found & numbers[i].bit)
            *numbers[i].to = numbers[i].value;
    if (l->found & LOG_BIT(cache))
        r.cache = from->cache;
    return r;
}
