/* upstream_limits.c -- what providers say is left of their own limits: header lines of an answer, kept with the deployment it came from.
 *
 * Each number is one atomic word, stored by whichever worker read the newest answer; nothing is compared, and an answer without the lines changes nothing. So a number is what
 * was said last, however long ago: providers count by windows of a minute, and nobody tells when one has begun anew. [any] */
#include "gateway/attempt.h"

// clang-format off
/* Anthropic's names are told by its OpenAI-compatible endpoint, too. */
static const struct {
    struct str header;
    size_t at; /* in struct deployment_state */
} rows[] = {
    {STR("x-ratelimit-remaining-requests"),         offsetof(struct deployment_state, remaining_requests)},
    {STR("x-ratelimit-remaining-tokens"),           offsetof(struct deployment_state, remaining_tokens)},
    {STR("anthropic-ratelimit-requests-remaining"), offsetof(struct deployment_state, remaining_requests)},
    {STR("anthropic-ratelimit-tokens-remaining"),   offsetof(struct deployment_state, remaining_tokens)},
};
// clang-format on

#define REMAINING_MAX ((int64_t)1 << 52) /* what a metric can say exactly */

static void note(struct deployment_state *s, const struct h1_header *header, size_t at)
{
    uint64_t *word = (uint64_t *)(void *)((char *)s + at);
    int64_t left;
    if (str_to_i64(header->value, &left) && left >= 0 && left <= REMAINING_MAX)
        __atomic_store_n(word, (uint64_t)left + 1, __ATOMIC_RELAXED);
}

void upstream_limits_note(struct deployment_state *s, const struct h1_head *h)
{
    for (int i = 0; i < h->header_count; i++) {
        const struct h1_header *header = &h->headers[i];
        if (header->field != H1_OTHER)
            continue;
        for (size_t k = 0; k < COUNT(rows); k++)
            if (header->name.n == rows[k].header.n && str_ieq(header->name, rows[k].header))
                note(s, header, rows[k].at);
    }
}
