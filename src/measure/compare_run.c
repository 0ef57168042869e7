/* compare_run.c -- the run of a comparison: lanes take blocks, blocks send trials, trials become samples.
 *
 *     run -> lane -> block -> next trial (or all of them) -> exchange -> answer -> sample -> block whole? -> kept
 *
 * A lane has a slot for each model, a slot a connection of its own: its pool in the client is (lane, model). Cold blocks use a client that
 * keeps no connection. Owner: everything belongs to the run; the loop's thread is the caller's. */
#include "measure/compare_run.h"

#include <math.h>

#include "base/clock.h"
#include "measure/answer.h"
#include "measure/blocks.h"
#include "measure/failure.h"
#include "observe/cost.h"

enum { PASS_MS = 100, ID_BYTES = 40, IDLE_S = 3600 };

struct lane;
struct slot { /* a model's, in a lane */
    struct lane *lane;
    uint32_t model;
    struct http_exchange x;
    struct answer answer;
    struct compare_trial trial; /* under way, or done if its block is not whole yet */
    struct iovec request;
    char *buffer; /* of the request */
    size_t room;
    uint64_t read_ns; /* the read last counted */
    bool busy;
};

struct lane {
    struct driver *driver;
    struct slot *slots; /* by model */
    enum compare_phase phase;
    size_t block;
    const uint32_t *order; /* models of the block, in the order of asking */
    size_t begun, ended;   /* of the block */
    bool busy;
};

struct driver {
    struct compare_run *run;
    const struct compare_run_options *o;
    struct loop *loop;
    struct resolver *resolver;
    struct http_client *warm, *cold; /* the latter keeps nothing */
    struct pool blocks;
    struct arena arena;
    struct str head; /* of every request */
    struct rng rng;
    uint64_t nonce_salt;
    uint32_t *order[PHASE_COUNT];
    enum compare_phase phase;
    size_t next_block; /* of the phase */
    struct lane *lanes;
    size_t lanes_busy;
    bool ending; /* no more blocks */
    bool abort;  /* and those under way are lost */
};

/* ---- a trial ---- */

static void write_request(struct slot *s)
{
    const struct driver *d = s->lane->driver;
    const struct prompts *p = d->o->prompts;
    const struct compare_trial *t = &s->trial;
    struct str model = d->o->models[t->model].name;
    size_t prompt = t->block % prompts_count(p);
    size_t fields = d->head.n + 128, need = fields + prompts_bytes_max(p, prompt, model.n);
    if (s->room < need) {
        mem_free(s->buffer);
        s->buffer = mem_alloc(need);
        s->room = need;
    }
    /* Equal for all models of a block, and no other block's. */
    uint64_t nonce = d->nonce_salt + ((uint64_t)t->phase << 32 | t->block) * 0x9e3779b97f4a7c15u;
    char *body = s->buffer + fields;
    size_t body_bytes = prompts_write(p, prompt, model, nonce, body);
    int n = snprintf(s->buffer, fields, "%.*sx-request-id: %s\r\ncontent-length: %zu\r\n\r\n",
                     STR_ARG(d->head), t->sample.request_id, body_bytes);
    ENSURE(n > 0 && (size_t)n < fields);
    memmove(s->buffer + n, body, body_bytes);
    s->request = (struct iovec){s->buffer, (size_t)n + body_bytes};
}

static void begin_trial(struct slot *s, uint32_t position)
{
    struct lane *l = s->lane;
    struct driver *d = l->driver;
    char hex[16];
    s->trial = (struct compare_trial){.phase = l->phase,
                                      .block = (uint32_t)l->block,
                                      .model = s->model,
                                      .position = position,
                                      .cost_usd = -1};
    struct sample *m = &s->trial.sample;
    m->number = d->run->requests++;
    m->tag = l->block;
    m->model = s->model;
    m->stream = prompts_stream(d->o->prompts);
    m->warm_up = l->phase != PHASE_MEASURED;
    m->due_ns = clock_mono_ns();
    m->kernel_stamped = true; /* until a read is not */
    rng_hex(&d->rng, hex, sizeof hex);
    snprintf(m->request_id, sizeof m->request_id, "weir-compare-%.*s", (int)sizeof hex, hex);
    answer_begin(&s->answer, m);
    write_request(s);
    s->read_ns = 0;
    s->busy = true;
    http_send(l->phase == PHASE_COLD ? d->cold : d->warm, &s->x);
}

static void take_marks(struct slot *s)
{
    sample_take_marks(&s->trial.sample, &s->x);
    s->trial.sample.gaps_ns = NULL; /* the next one's, soon */
    s->trial.sample.gap_count = 0;
}

static double cost_of_trial(const struct compare_trial *t, const struct price *price)
{
    struct record rec;
    if (t->sample.cost_usd >= 0)
        return t->sample.cost_usd;
    record_init(&rec);
    rec.prompt_tokens = t->sample.prompt_tokens;
    rec.completion_tokens = t->sample.completion_tokens;
    rec.cached_tokens = t->sample.cached_tokens;
    rec.reasoning_tokens = t->sample.reasoning_tokens;
    if (t->sample.outcome == OUTCOME_OK) /* for prices by the second */
        rec.upstream_us = (int64_t)((t->sample.end_ns - t->sample.sent_first_ns) / NS_PER_US);
    return cost_of(price, &rec);
}

static void trial_ended(struct slot *s);

/* When the bytes of this callback arrived; counts the read that brought them. */
static uint64_t arrived_ns(struct slot *s)
{
    struct compare_run *r = s->lane->driver->run;
    const struct http_exchange *x = &s->x;
    if (x->read_ns != s->read_ns) {
        s->read_ns = x->read_ns;
        r->reads++;
        if (x->arrived_by_kernel && x->read_ns >= x->arrived_ns) {
            uint64_t lag_ns = x->read_ns - x->arrived_ns;
            r->stamped_reads++;
            r->lag_sum_ns += (double)lag_ns;
            r->lag_max_ns = MAX(r->lag_max_ns, lag_ns);
        }
    }
    s->trial.sample.kernel_stamped = s->trial.sample.kernel_stamped && x->arrived_by_kernel;
    return x->arrived_ns;
}

static void on_head(struct http_exchange *x, const struct h1_head *h)
{
    struct slot *s = CONTAINER(x, struct slot, x);
    answer_head(&s->answer, h, arrived_ns(s));
}

static void on_body(struct http_exchange *x, struct str piece)
{
    struct slot *s = CONTAINER(x, struct slot, x);
    answer_body(&s->answer, piece, arrived_ns(s));
}

static void on_done(struct http_exchange *x)
{
    struct slot *s = CONTAINER(x, struct slot, x);
    s->trial.sample.end_ns = x->arrived_ns;
    answer_end(&s->answer);
    take_marks(s);
    trial_ended(s);
}

static void on_fail(struct http_exchange *x, enum error_code code, const char *detail)
{
    struct slot *s = CONTAINER(x, struct slot, x);
    struct sample *m = &s->trial.sample;
    uint64_t now_ns = clock_mono_ns();
    take_marks(s);
    answer_broken(&s->answer);
    m->outcome = (uint8_t)sample_failure(m, x, code, detail, now_ns);
    snprintf(m->error, sizeof m->error, "%s%s%s", error_info(code)->sentence,
             detail && *detail ? ": " : "", detail ? detail : "");
    m->end_ns = now_ns;
    trial_ended(s);
}

/* ---- blocks and lanes ---- */

static void keep_block(struct lane *l)
{
    struct compare_run *r = l->driver->run;
    size_t models = l->driver->o->model_count;
    if (r->trial_count + models > r->trial_room) {
        r->trial_room = MAX(2 * r->trial_room, 64 * models);
        r->trials = mem_realloc(r->trials, r->trial_room * sizeof *r->trials);
    }
    for (size_t i = 0; i < models; i++)
        r->trials[r->trial_count++] = l->slots[l->order[i]].trial;
    r->blocks_done[l->phase]++;
}

/* May another block begin? If not, sets why. */
static bool has_budget(struct driver *d)
{
    struct compare_run *r = d->run;
    const struct compare_run_options *o = d->o;
    size_t models = o->model_count;
    if (o->budget_requests && r->requests + models > o->budget_requests) {
        r->end = END_BUDGET_REQUESTS;
        return false;
    }
    /* Requests under way are taken to cost as much as those before. */
    uint64_t under_way = (uint64_t)d->lanes_busy * models;
    double ended = (double)(r->requests - MIN(under_way, r->requests));
    double each = ended > 0 ? r->spent_usd / ended : 0;
    double then_usd = r->spent_usd + each * (double)(under_way + models);
    if (o->budget_usd > 0 &&
        then_usd > o->budget_usd * (1 + 1e-9)) { /* sums of doubles are not exact */
        r->end = END_BUDGET_USD;
        return false;
    }
    return true;
}

static void begin_block(struct driver *d, struct lane *l)
{
    l->phase = d->phase;
    l->block = d->next_block++;
    l->order = d->order[l->phase] + l->block * d->o->model_count;
    l->begun = l->ended = 0;
    l->busy = true;
    d->lanes_busy++;
    size_t at_once = d->o->duet ? d->o->model_count : 1;
    for (; l->begun < at_once; l->begun++)
        begin_trial(&l->slots[l->order[l->begun]], (uint32_t)l->begun);
}

static void block_ended(struct lane *l)
{
    struct driver *d = l->driver;
    l->busy = false;
    d->lanes_busy--;
    keep_block(l);
    if (d->o->on_block && !d->o->on_block(d->o->user, d->run, l->phase, l->block)) {
        d->run->end = END_PRECISE;
        d->ending = d->abort = true;
    }
}

static void trial_ended(struct slot *s)
{
    struct lane *l = s->lane;
    struct driver *d = l->driver;
    struct compare_trial *t = &s->trial;
    s->busy = false;
    t->cost_usd = cost_of_trial(t, &d->o->models[t->model].price);
    if (t->cost_usd >= 0)
        d->run->spent_usd += t->cost_usd;
    else
        d->run->unpriced += t->sample.outcome == OUTCOME_OK;
    l->ended++;
    if (l->begun < d->o->model_count) {
        begin_trial(&l->slots[l->order[l->begun]], (uint32_t)l->begun);
        l->begun++;
    } else if (l->ended == d->o->model_count) {
        block_ended(l);
    }
}

/* ---- the run ---- */

static uint64_t thread_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void driver_init(struct driver *d, struct compare_run *r)
{
    const struct compare_run_options *o = r->options;
    struct http_client_limits limits = {.connect_timeout_ms =
                                            measure_connect_timeout_ms(o->timeout_ms),
                                        .idle_timeout_ms = IDLE_S * 1000,
                                        .max_head_bytes = H1_HEAD_BYTES_MAX,
                                        .max_idle_per_target = 1,
                                        .stamp_arrivals = true};
    uint32_t pools = (uint32_t)(o->lanes * o->model_count);
    *d = (struct driver){.run = r, .o = o, .loop = loop_new()};
    d->resolver = resolver_new(d->loop);
    pool_init(&d->blocks, BUF_BLOCK_BYTES, 64, "compare");
    d->warm = http_client_new(d->loop, d->resolver, &d->blocks, &limits, pools);
    limits.max_idle_per_target = 0;
    d->cold = http_client_new(d->loop, d->resolver, &d->blocks, &limits, pools);
    arena_init(&d->arena, NULL, 0);
    struct str path = arena_printf(&d->arena, "%.*s%.*s", STR_ARG(o->target->base_path),
                                   STR_ARG(prompts_path(o->prompts)));
    d->head = measure_target_head(o->target, &d->arena, STR("POST"), path);
    rng_seed(&d->rng, o->seed);
    d->nonce_salt = rng_next(&d->rng);
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        size_t places = MAX(o->blocks[phase] * o->model_count, (size_t)1);
        d->order[phase] = mem_alloc(places * sizeof **d->order);
        blocks_order(&d->rng, o->blocks[phase], o->model_count, d->order[phase]);
    }
}

static void lanes_init(struct driver *d)
{
    const struct compare_run_options *o = d->o;
    d->lanes = mem_alloc(o->lanes * sizeof *d->lanes);
    for (size_t i = 0; i < o->lanes; i++) {
        struct lane *l = &d->lanes[i];
        l->driver = d;
        l->slots = mem_alloc(o->model_count * sizeof *l->slots);
        for (uint32_t m = 0; m < o->model_count; m++) {
            struct slot *s = &l->slots[m];
            *s = (struct slot){.lane = l, .model = m};
            answer_init(&s->answer, &d->blocks, NULL);
            s->answer.key = o->target->key;
            s->answer.embeds = str_ends(prompts_path(o->prompts), STR("/embeddings"));
            s->x = (struct http_exchange){.target = &o->target->http,
                                          .target_index = (uint32_t)(i * o->model_count + m),
                                          .pieces = &s->request,
                                          .piece_count = 1,
                                          .total_timeout_ms = o->timeout_ms,
                                          .at_once = true,
                                          .on_head = on_head,
                                          .on_body = on_body,
                                          .on_done = on_done,
                                          .on_fail = on_fail};
        }
    }
}

static void driver_fini(struct driver *d)
{
    for (size_t i = 0; i < d->o->lanes; i++) {
        for (size_t m = 0; m < d->o->model_count; m++) {
            struct slot *s = &d->lanes[i].slots[m];
            if (s->busy)
                http_cancel(d->lanes[i].phase == PHASE_COLD ? d->cold : d->warm, &s->x);
        }
    }
    http_client_free(d->warm);
    http_client_free(d->cold);
    resolver_free(d->resolver);
    loop_settle(d->loop);
    for (size_t i = 0; i < d->o->lanes; i++) {
        for (size_t m = 0; m < d->o->model_count; m++) {
            answer_fini(&d->lanes[i].slots[m].answer);
            mem_free(d->lanes[i].slots[m].buffer);
        }
        mem_free(d->lanes[i].slots);
    }
    mem_free(d->lanes);
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        mem_free(d->order[phase]);
    loop_free(d->loop);
    pool_trim(&d->blocks);
    arena_fini(&d->arena);
}

/* Blocks for lanes that have none. Phases follow each other; no block of one begins before all of the one before are whole. */
static void fill_lanes(struct driver *d)
{
    for (size_t i = 0; i < d->o->lanes && !d->ending; i++) {
        struct lane *l = &d->lanes[i];
        while (d->phase < PHASE_MEASURED && d->next_block == d->o->blocks[d->phase] &&
               d->lanes_busy == 0) {
            d->phase++;
            d->next_block = 0;
        }
        if (l->busy || d->next_block == d->o->blocks[d->phase])
            continue;
        if (has_budget(d))
            begin_block(d, l);
        else
            d->ending = true;
    }
}

static bool is_over(const struct driver *d)
{
    bool all = d->phase == PHASE_MEASURED && d->next_block == d->o->blocks[PHASE_MEASURED];
    return d->abort || (d->lanes_busy == 0 && (all || d->ending));
}

void compare_run(struct compare_run *r, const struct compare_run_options *o)
{
    struct driver d;
    *r = (struct compare_run){.options = o, .started_real_us = clock_real_us()};
    ENSURE(o->model_count >= 1 && o->model_count <= COMPARE_MODELS_MAX && o->lanes >= 1 &&
           o->seed != 0);
    uint64_t began_ns = clock_mono_ns(), cpu_began_ns = thread_cpu_ns();
    driver_init(&d, r);
    lanes_init(&d);
    for (;;) {
        fill_lanes(&d);
        if (is_over(&d))
            break;
        loop_pass(d.loop, PASS_MS);
        if (o->stop && *o->stop && !d.abort) {
            r->end = END_STOPPED;
            d.ending = d.abort = true;
        }
        if (o->on_block && !d.abort)
            (void)o->on_block(o->user, r, d.phase, SIZE_MAX);
    }
    driver_fini(&d);
    r->elapsed_ns = clock_mono_ns() - began_ns;
    r->cpu_ns = thread_cpu_ns() - cpu_began_ns;
}

void compare_run_fini(struct compare_run *r)
{
    mem_free(r->trials);
    r->trials = NULL;
}
