/* slowest.c -- a heap whose top is the first to go: nearly every line is turned away by one comparison with it. */
#include "observe/slowest.h"

#include "observe/log_names.h"

void slowest_init(struct slowest *s, size_t max)
{
    max = MIN(max, (size_t)SLOWEST_MAX);
    *s = (struct slowest){.max = max, .heap = mem_alloc(MAX(max, (size_t)1) * sizeof *s->heap)};
}

void slowest_fini(struct slowest *s)
{
    for (size_t i = 0; i < s->count; i++)
        mem_free(s->heap[i]);
    mem_free(s->heap);
    *s = (struct slowest){0};
}

/* Below 0: `a` comes first, being slower. */
static int compare(const struct slow_request *a, const struct slow_request *b)
{
    if (a->latency_us != b->latency_us)
        return a->latency_us > b->latency_us ? -1 : 1;
    if (a->stamp_us != b->stamp_us)
        return a->stamp_us < b->stamp_us ? -1 : 1;
    int order = strcmp(a->id, b->id);
    order = order ? order : strcmp(a->model, b->model);
    return order ? order : strcmp(a->provider, b->provider);
}

static void sift_down(struct slowest *s, size_t i)
{
    for (;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2; child++)
            if (child < s->count && compare(s->heap[child], s->heap[least]) > 0)
                least = child;
        if (least == i)
            return;
        struct slow_request *moved = s->heap[i];
        s->heap[i] = s->heap[least];
        s->heap[least] = moved;
        i = least;
    }
}

static void sift_up(struct slowest *s, size_t i)
{
    for (; i > 0 && compare(s->heap[i], s->heap[(i - 1) / 2]) > 0; i = (i - 1) / 2) {
        struct slow_request *moved = s->heap[i];
        s->heap[i] = s->heap[(i - 1) / 2];
        s->heap[(i - 1) / 2] = moved;
    }
}

/* Takes `r` over; what falls out is freed. */
static void put(struct slowest *s, struct slow_request *r)
{
    if (s->count < s->max) {
        s->heap[s->count++] = r;
        sift_up(s, s->count - 1);
    } else if (s->max && compare(r, s->heap[0]) < 0) {
        mem_free(s->heap[0]);
        s->heap[0] = r;
        sift_down(s, 0);
    } else {
        mem_free(r);
    }
}

static int64_t number(const struct logline *l, uint64_t bit, int64_t value)
{
    return l->found & bit ? value : -1;
}

static struct slow_request *copy_of(const struct logline *l)
{
    const struct record *r = &l->r;
    struct slow_request *s = mem_alloc(sizeof *s);
    s->latency_us = r->latency_us;
    s->stamp_us = l->found & LOG_BIT(timestamp) ? r->timestamp : INT64_MAX;
    s->ttft_us = number(l, LOG_BIT(ttft), r->ttft_us);
    s->prompt_tokens = number(l, LOG_BIT(prompt_tokens), r->prompt_tokens);
    s->completion_tokens = number(l, LOG_BIT(completion_tokens), r->completion_tokens);
    s->total_tokens = number(l, LOG_BIT(total_tokens), r->total_tokens);
    s->http_status = number(l, LOG_BIT(http_status), r->http_status);
    s->provider_status = number(l, LOG_BIT(error_provider_status), r->error.provider_status);
    s->span = log_span_of(l);
    s->outcome = log_outcome_of(l);
    log_text_copy(l, LOG_request_id, s->id, sizeof s->id);
    log_text_copy(l, LOG_trace_id, s->trace_id, sizeof s->trace_id);
    log_text_copy(l, LOG_model, s->model, sizeof s->model);
    log_text_copy(l, LOG_provider, s->provider, sizeof s->provider);
    log_text_copy(l, LOG_deployment, s->deployment, sizeof s->deployment);
    log_text_copy(l, LOG_error_type, s->error_type, sizeof s->error_type);
    return s;
}

void slowest_take(struct slowest *s, const struct logline *l)
{
    if (!(l->found & LOG_BIT(latency)))
        return;
    if (s->count == s->max && (!s->max || l->r.latency_us < s->heap[0]->latency_us))
        return; /* nearly all lines end here */
    put(s, copy_of(l));
}

void slowest_merge(struct slowest *into, struct slowest *from)
{
    for (size_t i = 0; i < from->count; i++)
        put(into, from->heap[i]);
    from->count = 0;
}

static int by_slowness(const void *a, const void *b)
{
    return compare(*(struct slow_request *const *)a, *(struct slow_request *const *)b);
}

void slowest_sort(struct slowest *s)
{
    if (s->count)
        qsort(s->heap, s->count, sizeof(struct slow_request *), by_slowness);
}
