/* arrivals_log.c -- a recorded log as arrivals: when each request began (its stamp less its latency) and for which model. */
#include "measure/arrivals.h"

#include "base/clock.h"
#include "base/map.h"
#include "observe/log_meaning.h"
#include "observe/logread.h"

#define MODEL_BYTES_MAX 256

struct begun {
    int64_t start_us;
    uint64_t line; /* its place in the log: equal times keep their order */
    uint32_t model;
};

struct collector {
    struct arena *arena;
    struct map by_name; /* model -> its number + 1 */
    struct mix_part *mix;
    size_t mix_count, mix_room;
    struct begun *list;
    size_t count, room;
    size_t nameless; /* requests without a model */
};

static void add_part(struct collector *c, struct str name, double weight)
{
    if (c->mix_count == c->mix_room) {
        c->mix_room = MAX(c->mix_room * 2, 16u);
        c->mix = mem_realloc(c->mix, c->mix_room * sizeof *c->mix);
    }
    struct str kept = arena_str(c->arena, name);
    c->mix[c->mix_count++] = (struct mix_part){kept, weight};
    map_put(&c->by_name, kept, (void *)(uintptr_t)c->mix_count);
}

/* Its number; models that the mix had not weigh as much as they are asked for. */
static uint32_t number_of(struct collector *c, struct str name, size_t given)
{
    uintptr_t found = (uintptr_t)map_get(&c->by_name, name);
    if (!found) {
        add_part(c, name, 0);
        found = c->mix_count;
    }
    if (found > given)
        c->mix[found - 1].weight += 1;
    return (uint32_t)(found - 1);
}

struct taking {
    struct collector c;
    size_t given; /* parts of the mix that the caller had */
};

static void take(void *context, const struct logline *l, struct str line)
{
    struct taking *t = context;
    char text[MODEL_BYTES_MAX];
    (void)line;
    if (log_event_of(l) != LOG_EVENT_REQUEST || !logline_has(l, LOG_BIT(timestamp)))
        return;
    struct collector *c = &t->c;
    if (c->count == c->room) {
        c->room = MAX(c->room * 2, 1024u);
        c->list = mem_realloc(c->list, c->room * sizeof *c->list);
    }
    struct begun *b = &c->list[c->count];
    int64_t took_us = logline_has(l, LOG_BIT(latency)) ? l->r.latency_us : 0;
    *b = (struct begun){.start_us = l->r.timestamp - MAX(took_us, 0), .line = c->count};
    struct str model = logline_has(l, LOG_BIT(model))
                           ? logline_text(l, LOG_model, l->r.model, text, sizeof text)
                           : STR_NONE;
    if (model.n)
        b->model = number_of(c, model, t->given);
    else
        c->nameless++; /* the first of the mix is asked */
    c->count++;
}

static int by_start(const void *a, const void *b)
{
    const struct begun *x = a, *y = b;
    if (x->start_us != y->start_us)
        return x->start_us < y->start_us ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static bool explain_none(const char *path, const struct logread_sum *sum, struct err *e)
{
    if (sum->broken_kept)
        return err_at(e, path, (int)MIN(sum->first_broken[0].line, (uint64_t)INT32_MAX), 0,
                      "expected %s; to replay, give a request log of weir or LiteLLM",
                      sum->first_broken[0].expected);
    return err_set(e,
                   "%s: no request with a time in it; to replay, give a request log of weir or "
                   "LiteLLM",
                   path);
}

static bool read_log(struct taking *t, const char *path, struct err *e)
{
    struct logread_sum sum = {0};
    void *contexts[] = {t};
    struct logread r = {.paths = &path,
                        .path_count = 1,
                        .threads = 1,
                        .since_us = INT64_MIN,
                        .until_us = INT64_MAX,
                        .contexts = contexts,
                        .take = take};
    if (!logread(&r, &sum, e))
        return false;
    if (t->c.count == 0)
        return explain_none(path, &sum, e);
    if (t->c.nameless && t->c.mix_count == 0)
        return err_set(e, "%s: no line names a model; say which to ask", path);
    return true;
}

static struct replayed *as_offsets(struct collector *c)
{
    struct replayed *out = arena_alloc(c->arena, c->count * sizeof *out);
    qsort(c->list, c->count, sizeof *c->list, by_start);
    for (size_t i = 0; i < c->count; i++)
        out[i] = (struct replayed){
            (uint64_t)(c->list[i].start_us - c->list[0].start_us) * NS_PER_US, c->list[i].model};
    return out;
}

bool arrivals_from_log(struct arena *a, const char *path, struct replayed **out, size_t *count,
                       struct mix_part **mix, size_t *mix_count, struct err *e)
{
    struct taking t = {.c = {.arena = a}, .given = *mix_count};
    map_init(&t.c.by_name);
    for (size_t i = 0; i < *mix_count; i++)
        add_part(&t.c, (*mix)[i].model, (*mix)[i].weight);
    bool fine = read_log(&t, path, e);
    if (fine) {
        *out = as_offsets(&t.c);
        *count = t.c.count;
        *mix = arena_alloc(a, t.c.mix_count * sizeof **mix);
        memcpy(*mix, t.c.mix, t.c.mix_count * sizeof **mix);
        *mix_count = t.c.mix_count;
    }
    map_fini(&t.c.by_name);
    mem_free(t.c.mix);
    mem_free(t.c.list);
    return fine;
}
