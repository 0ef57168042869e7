/* engine_slot.c -- one request and its answer: put together, sent, read with the times of its bytes, judged, told.
 *
 * A slot has the request's bytes in a buffer of its own: the body at a fixed place, the head in front of it, so that a request costs a copy of the
 * head and of the body and nothing else. Nothing is allocated for a request once its slot has been used. */
#include "measure/engine_internal.h"
#include "measure/failure.h"
#include "net/stamp.h"

#include <sys/mman.h>

/* ---- slots ---- */

#define ID_FIELD     "x-request-id: "
#define LENGTH_FIELD "\r\ncontent-length: "
#define HEAD_TAIL_MAX                                                                              \
    (sizeof(ID_FIELD) + ENGINE_ID_BYTES + sizeof(LENGTH_FIELD) + 20 + sizeof("\r\n\r\n"))

static void answer_came(struct http_exchange *x, const struct h1_head *h);
static void body_came(struct http_exchange *x, struct str piece);
static void answer_done(struct http_exchange *x);
static void answer_failed(struct http_exchange *x, enum error_code code, const char *detail);

#define GAPS_BYTES      (GAPS_KEPT * sizeof(uint64_t))
#define SLOTS_A_MAPPING 64u

/* Room for the gaps of slot `i`: pages that are never touched are never there. */
static uint64_t *gaps_of(struct engine_thread *t, size_t i)
{
    if (i % SLOTS_A_MAPPING == 0) {
        size_t count = i / SLOTS_A_MAPPING;
        void *p = mmap(NULL, SLOTS_A_MAPPING * GAPS_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        ENSURE(p != MAP_FAILED); /* as mem_alloc: memory is gone */
        t->gaps = mem_realloc(t->gaps, (count + 1) * sizeof *t->gaps);
        t->gaps[count] = p;
    }
    return t->gaps[i / SLOTS_A_MAPPING] + i % SLOTS_A_MAPPING * GAPS_KEPT;
}

static struct slot *new_slot(struct engine_thread *t)
{
    const struct engine_options *o = &t->engine->o;
    struct slot *s = mem_alloc(sizeof *s);
    *s = (struct slot){
        .thread = t,
        .x = {.target = &o->target->http,
              .pieces = &s->request,
              .piece_count = 1,
              .answer_timeout_ms = o->head_timeout_ms,
              .silence_timeout_ms = o->idle_timeout_ms,
              .total_timeout_ms = o->total_timeout_ms,
              .at_once = true,
              .on_head = answer_came,
              .on_body = body_came,
              .on_done = answer_done,
              .on_fail = answer_failed},
        .gaps_ns = prompts_stream(o->prompts) ? gaps_of(t, t->slot_count) : NULL,
    };
    answer_init(&s->answer, &t->blocks, s->gaps_ns);
    s->answer.key = o->target->key;
    s->answer.embeds = str_ends(prompts_path(o->prompts), STR("/embeddings"));
    if ((t->slot_count & (t->slot_count - 1)) == 0)
        t->slots = mem_realloc(t->slots, MAX(t->slot_count * 2, 1u) * sizeof *t->slots);
    t->slots[t->slot_count++] = s;
    return s;
}

struct slot *engine_slot_get(struct engine_thread *t)
{
    struct slot *s = t->free_slots;
    if (s)
        t->free_slots = s->next_free;
    else if (t->slot_count < t->slot_max)
        s = new_slot(t);
    return s;
}

void engine_slots_fini(struct engine_thread *t)
{
    for (size_t i = 0; i < t->slot_count; i++) {
        struct slot *s = t->slots[i];
        answer_fini(&s->answer);
        if (s->gaps_ns && i % SLOTS_A_MAPPING == 0)
            munmap(s->gaps_ns, SLOTS_A_MAPPING * GAPS_BYTES);
        mem_free(s->buffer);
        mem_free(s);
    }
    mem_free(t->slots);
    mem_free(t->gaps);
}

/* ---- the request ---- */

static struct str model_name(const struct engine *e, uint32_t model)
{
    const struct arrivals_plan *p = e->o.plan;
    return p->mix_count ? p->mix[model].model : STR_NONE;
}

static void write_id(const struct engine *e, uint64_t number, char *out)
{
    size_t n = strlen(e->id_prefix);
    memcpy(out, e->id_prefix, n);
    for (size_t i = ENGINE_ID_BYTES; i-- > n; number >>= 4)
        out[i] = "0123456789abcdef"[number & 15];
}

/* Copies in front of `at`; returns the new front. */
static char *put_before(char *at, const char *text, size_t n)
{
    return memcpy(at - n, text, n);
}

static void write_request(struct slot *s, const struct arrival *a)
{
    const struct engine *e = s->thread->engine;
    const struct prompts *p = e->o.prompts;
    struct str model = model_name(e, a->model);
    size_t body_at = e->head.n + HEAD_TAIL_MAX;
    size_t need = body_at + prompts_bytes_max(p, a->prompt, model.n);
    if (s->room < need) {
        mem_free(s->buffer);
        s->buffer = mem_alloc(need);
        s->room = need;
    }
    uint64_t nonce = e->nonce_salt + a->tag * UINT64_C(0x9e3779b97f4a7c15);
    char *body = s->buffer + body_at, *at = put_before(body, "\r\n\r\n", 4);
    size_t n = prompts_write(p, a->prompt, model, nonce, body), left = n;
    do {
        *--at = (char)('0' + left % 10);
    } while (left /= 10);
    at = put_before(at, LENGTH_FIELD, sizeof(LENGTH_FIELD) - 1);
    at = put_before(at, s->sample.request_id, ENGINE_ID_BYTES);
    at = put_before(at, ID_FIELD, sizeof(ID_FIELD) - 1);
    at = put_before(at, e->head.p, e->head.n);
    s->request = (struct iovec){at, (size_t)(body + n - at)};
}

_Static_assert(offsetof(struct sample, error) + SAMPLE_ERROR_BYTES + 8 > sizeof(struct sample),
               "begin_sample clears what is before the strings");

static void begin_sample(struct sample *out, struct engine_thread *t, const struct arrival *a,
                         uint64_t due_ns)
{
    const struct engine *e = t->engine;
    const struct arrivals_plan *plan = e->o.plan;
    bool warm_up = plan->stage_count && plan->stages[a->stage].warm_up;
    /* Behind these members stand strings alone: of those the first byte will do. */
    memset(out, 0, offsetof(struct sample, request_id));
    out->deployment[0] = out->finish_reason[0] = out->error[0] = '\0';
    out->number = e->o.first_number + a->number;
    out->tag = a->tag;
    out->stage = a->stage;
    out->model = a->model;
    out->prompt = a->prompt;
    out->thread = (uint16_t)t->index;
    out->stream = prompts_stream(e->o.prompts);
    out->warm_up = warm_up;
    out->due_ns = due_ns;
    out->prompt_tokens = out->completion_tokens = -1;
    out->cached_tokens = out->reasoning_tokens = -1;
    out->server_queue_us = out->server_upstream_us = out->server_overhead_us = -1;
    out->cost_usd = -1;
    write_id(e, out->number, out->request_id);
    out->request_id[ENGINE_ID_BYTES] = '\0';
    if (a->stage != t->counters.stage || (!warm_up && !t->measured_from_ns))
        engine_thread_note_stage(t, a->stage, warm_up);
}

void engine_slot_send(struct slot *s, const struct arrival *a, uint64_t due_ns, bool open_loop)
{
    struct engine_thread *t = s->thread;
    begin_sample(&s->sample, t, a, due_ns);
    answer_begin(&s->answer, &s->sample);
    write_request(s, a);
    s->busy = true;
    s->open_loop = open_loop;
    s->chunks = 0;
    s->read_ns = 0;
    t->work++;
    t->in_flight++;
    COUNTER_ADD(t->counters.sent, 1);
    COUNTER_ADD(t->counters.in_flight, 1);
    if (!s->sample.warm_up) {
        t->sent++;
        t->in_flight_max = MAX(t->in_flight_max, t->in_flight);
    }
    http_send(t->client, &s->x);
}

void engine_slot_drop(struct engine_thread *t, const struct arrival *a, uint64_t due_ns)
{
    struct sample s;
    begin_sample(&s, t, a, due_ns);
    s.outcome = OUTCOME_DROPPED;
    snprintf(s.error, sizeof s.error, "%s",
             "due, and not sent before the run was over: no slot was free");
    COUNTER_ADD(t->counters.dropped, 1);
    if (!s.warm_up)
        t->dropped++;
    t->engine->o.on_sample(t->engine->o.user, t->index, &s);
}

/* ---- its end ---- */

static void count_end(struct slot *s, uint64_t now_ns)
{
    struct engine_thread *t = s->thread;
    const struct sample *m = &s->sample;
    t->work++;
    t->in_flight--;
    COUNTER_ADD(t->counters.in_flight, (uint64_t)-1);
    COUNTER_ADD(t->counters.ended, 1);
    if (m->outcome == OUTCOME_OK)
        COUNTER_ADD(t->counters.ok, 1);
    else
        COUNTER_ADD(t->counters.failed, 1);
    if (m->warm_up)
        return;
    t->slots_ns += (double)(int64_t)(now_ns - m->start_ns);
    t->measured_last_end_ns = MAX(t->measured_last_end_ns, now_ns);
    /* What it takes to connect is not this program's lateness. */
    uint64_t sent_ns = m->reused ? m->sent_first_ns : m->start_ns;
    if (s->open_loop && sent_ns)
        histogram_add(&t->late, sent_ns > m->due_ns ? sent_ns - m->due_ns : 0);
}

/* Told, and free for the next one. */
static void end(struct slot *s, uint64_t now_ns)
{
    struct engine_thread *t = s->thread;
    s->busy = false;
    count_end(s, now_ns);
    t->engine->o.on_sample(t->engine->o.user, t->index, &s->sample);
    s->next_free = t->free_slots;
    t->free_slots = s;
}

/* ---- what comes ---- */

/* When the bytes of this call arrived. */
static uint64_t arrived_ns(struct slot *s)
{
    struct engine_thread *t = s->thread;
    const struct http_exchange *x = &s->x;
    bool first_look = x->read_ns != s->read_ns;
    t->work++;
    if (t->engine->o.user_stamps) {
        t->reads++;
        return clock_mono_ns();
    }
    if (first_look) {
        s->read_ns = x->read_ns;
        t->reads++;
        if (x->arrived_by_kernel) {
            t->stamped_reads++;
            t->stamp_error_max_ns = MAX(t->stamp_error_max_ns, stamp_error_ns());
            histogram_add(&t->lag, x->read_ns > x->arrived_ns ? x->read_ns - x->arrived_ns : 0);
        }
    }
    s->sample.kernel_stamped &= x->arrived_by_kernel;
    return x->arrived_ns;
}

static void count_chunks(struct slot *s)
{
    uint64_t more = s->sample.chunks - s->chunks;
    if (more) {
        s->chunks = s->sample.chunks;
        COUNTER_ADD(s->thread->counters.chunks, more);
    }
}

static void answer_came(struct http_exchange *x, const struct h1_head *h)
{
    struct slot *s = CONTAINER(x, struct slot, x);
    s->sample.kernel_stamped = x->arrived_by_kernel;
    uint64_t at_ns = arrived_ns(s);
    s->sample.http_status = h->status;
    s->sample.head_ns = at_ns;
    if (!s->sample.first_byte_ns)
        s->sample.first_byte_ns = at_ns; /* without the kernel's stamps */
    answer_head(&s->answer, h, at_ns);
}

static void body_came(struct http_exchange *x, struct str piece)
{
    struct slot *s = CONTAINER(x, struct slot, x);
    answer_body(&s->answer, piece, arrived_ns(s));
    count_chunks(s);
    if (s->answer.stream) /* another answer is about to be whole, and its connection free */
        engine_pace_check(s->thread);
}

static void answer_done(struct http_exchange *x)
{
    struct slot *s = CONTAINER(x, struct slot, x);
    struct engine_thread *t = s->thread;
    bool stamps = !t->engine->o.user_stamps;
    uint64_t now_ns = stamps ? x->read_ns : clock_mono_ns();
    sample_take_marks(&s->sample, &s->x);
    s->sample.end_ns = stamps ? x->arrived_ns : now_ns;
    answer_end(&s->answer);
    count_chunks(s);
    end(s, now_ns);
    engine_thread_freed(t, now_ns);
}

static void fail(struct slot *s, enum outcome outcome, const char *detail, uint64_t now_ns)
{
    answer_broken(&s->answer);
    s->sample.outcome = (uint8_t)outcome;
    snprintf(s->sample.error, sizeof s->sample.error, "%s", detail);
    s->sample.end_ns = now_ns;
    end(s, now_ns);
}

static void answer_failed(struct http_exchange *x, enum error_code code, const char *detail)
{
    struct slot *s = CONTAINER(x, struct slot, x);
    struct engine_thread *t = s->thread;
    uint64_t now_ns = clock_mono_ns();
    sample_take_marks(&s->sample, &s->x);
    fail(s, sample_failure(&s->sample, x, code, detail, now_ns), detail, now_ns);
    engine_thread_freed(t, now_ns);
}

void engine_slots_cancel(struct engine_thread *t)
{
    uint64_t now_ns = clock_mono_ns();
    for (size_t i = 0; i < t->slot_count; i++) {
        struct slot *s = t->slots[i];
        if (!s->busy)
            continue;
        http_cancel(t->client, &s->x);
        sample_take_marks(&s->sample, &s->x);
        fail(s, OUTCOME_CANCELLED, "the run was over before the answer was whole", now_ns);
    }
}
