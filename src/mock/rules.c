/* rules.c -- see rules.h. Few rules, few requests: a list and a lock are fast enough for faults. */
#include "mock/rules.h"

#include "base/json.h"
#include "base/mem.h"

#define PPM 1000000

void rules_init(struct rules *r)
{
    *r = (struct rules){0};
    pthread_mutex_init(&r->lock, NULL);
}

void rules_fini(struct rules *r)
{
    mem_free(r->list);
    pthread_mutex_destroy(&r->lock);
}

static void set_count(struct rules *r, uint32_t count)
{
    __atomic_store_n(&r->count, count, __ATOMIC_RELEASE);
}

/* The rule of exactly this model, or NULL. */
static struct rule *find(struct rules *r, struct str model)
{
    for (uint32_t i = 0; i < r->count; i++)
        if (str_eq((struct str){r->list[i].model, r->list[i].model_bytes}, model))
            return &r->list[i];
    return NULL;
}

static void drop(struct rules *r, struct rule *rule)
{
    *rule = r->list[r->count - 1];
    set_count(r, r->count - 1);
}

static struct rule *make(struct rules *r)
{
    if (r->count == RULES_MAX)
        return NULL;
    if (!r->list)
        r->list = mem_alloc(RULES_MAX * sizeof *r->list);
    return &r->list[r->count];
}

bool rules_set(struct rules *r, struct str model, const struct sim_spec *spec, int64_t count,
               double share, char *why, size_t why_bytes)
{
    if (model.n > RULES_MODEL_BYTES_MAX) {
        snprintf(why, why_bytes, "model: the name is longer than %d bytes", RULES_MODEL_BYTES_MAX);
        return false;
    }
    pthread_mutex_lock(&r->lock);
    struct rule *old = find(r, model), *rule = old ? old : make(r);
    if (rule) {
        *rule = (struct rule){
            .model_bytes = model.n,
            .spec = *spec,
            .left = count,
            .share_ppm = (int64_t)(share * PPM + 0.5),
        };
        if (model.n)
            memcpy(rule->model, model.p, model.n);
        set_count(r, r->count + !old);
    }
    pthread_mutex_unlock(&r->lock);
    if (!rule)
        snprintf(why, why_bytes, "at most %d models can have a fault", RULES_MAX);
    return rule != NULL;
}

void rules_remove(struct rules *r, struct str model)
{
    pthread_mutex_lock(&r->lock);
    struct rule *rule = find(r, model);
    if (rule)
        drop(r, rule);
    pthread_mutex_unlock(&r->lock);
}

void rules_clear(struct rules *r)
{
    pthread_mutex_lock(&r->lock);
    set_count(r, 0);
    pthread_mutex_unlock(&r->lock);
}

/* Is it this request's turn? The share's running sum passes a whole number at the requests that are in it. */
static bool takes_turn(struct rule *rule)
{
    uint64_t n = rule->seen++, share = (uint64_t)rule->share_ppm;
    return (n + 1) * share / PPM > n * share / PPM;
}

void rules_apply(struct rules *r, struct str model, struct sim_knobs *k)
{
    if (__atomic_load_n(&r->count, __ATOMIC_ACQUIRE) == 0)
        return;
    pthread_mutex_lock(&r->lock);
    struct rule *rule = find(r, model);
    if (!rule)
        rule = find(r, STR_NONE);
    if (rule && takes_turn(rule)) {
        sim_spec_apply(&rule->spec, k);
        if (rule->left > 0 && --rule->left == 0)
            drop(r, rule);
    }
    pthread_mutex_unlock(&r->lock);
}

bool rules_write(struct rules *r, struct buf *b)
{
    bool ok = buf_append_str(b, STR("["));
    pthread_mutex_lock(&r->lock);
    for (uint32_t i = 0; ok && i < r->count; i++) {
        const struct rule *rule = &r->list[i];
        ok = buf_append_str(b, i ? STR(",{\"model\":") : STR("{\"model\":")) &&
             json_write_string(b, (struct str){rule->model, rule->model_bytes}) &&
             buf_append_str(b, STR(",\"fault\":\"")) && sim_spec_write(b, &rule->spec) &&
             buf_printf(b, "\",\"left\":%lld,\"share\":%.6g}", (long long)rule->left,
                        (double)rule->share_ppm / PPM);
    }
    pthread_mutex_unlock(&r->lock);
    return ok && buf_append_str(b, STR("]"));
}
