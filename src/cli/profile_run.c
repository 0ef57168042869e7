/* profile_run.c -- one run of the engine, watched (profile.h).
 *
 * The engine calls take() on its own threads, each with a taker of its own: nothing is shared there, and what is kept grows in blocks, so that no
 * request waits until many are moved. This thread only waits, shows how far it is, and listens for Ctrl-C. */
#include <math.h>
#include <stdarg.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rand.h"
#include "cli/ending.h"
#include "cli/profile.h"
#include "measure/failure.h"

enum { BLOCK_SAMPLES = 128, BLOCK_TIMES = 4096, WAIT_MS = 50 };
#define SHOW_AFTER_NS NS_PER_S
#define MOMENT_NS     (2 * NS_PER_S) /* from Ctrl-C on, for what is in flight */
#define SHOW_EVERY_NS (200 * NS_PER_MS)

static bool interrupted;

bool profile_interrupted(void)
{
    interrupted |= ending_came();
    return interrupted;
}

/* ---- taking samples; on the engine's threads ---- */

struct sample_block {
    struct sample_block *next;
    size_t count;
    struct sample samples[BLOCK_SAMPLES];
};

struct times_block {
    struct times_block *next;
    size_t count;
    struct profile_times times[BLOCK_TIMES];
};

struct taker {
    struct results *results;
    struct sample_block *samples; /* the newest first */
    struct times_block *times;
    size_t sample_count, time_count;
    uint64_t lost;
};

struct course {
    const struct profile_run_options *o;
    struct taker *takers;
    unsigned threads;
    size_t keep_each;
};

static void keep_sample(struct taker *t, const struct sample *s, size_t most)
{
    if (t->sample_count >= most) {
        t->lost++;
        return;
    }
    if (!t->samples || t->samples->count == BLOCK_SAMPLES) {
        struct sample_block *b = mem_alloc(sizeof *b);
        b->next = t->samples;
        t->samples = b;
    }
    struct sample *kept = &t->samples->samples[t->samples->count++];
    *kept = *s;
    kept->gaps_ns = NULL;
    kept->gap_count = 0;
    t->sample_count++;
}

static void keep_times(struct taker *t, const struct sample *s)
{
    if (!t->times || t->times->count == BLOCK_TIMES) {
        struct times_block *b = mem_alloc(sizeof *b);
        b->next = t->times;
        t->times = b;
    }
    t->times->times[t->times->count++] = (struct profile_times){
        .due_ns = s->due_ns,
        .start_ns = s->start_ns,
        .first_token_ns = s->first_token_ns,
        .last_token_ns = s->last_token_ns,
        .end_ns = s->end_ns,
        .tokens = (uint32_t)MAX(s->completion_tokens, (int64_t)0),
        .ok = s->outcome == OUTCOME_OK,
    };
    t->time_count++;
}

static void take(void *user, unsigned thread, const struct sample *s)
{
    struct course *c = user;
    struct taker *t = &c->takers[thread];
    results_take(t->results, s);
    if (!s->warm_up) {
        keep_sample(t, s, c->keep_each);
        if (s->start_ns && s->outcome != OUTCOME_DROPPED)
            keep_times(t, s);
    }
    if (c->o->log)
        sample_log_take(c->o->log, thread, s, c->o->plan->mix[s->model].model);
}

static int by_due(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    return x->due_ns != y->due_ns ? (x->due_ns > y->due_ns) - (x->due_ns < y->due_ns)
                                  : (x->number > y->number) - (x->number < y->number);
}

static int by_end(const void *a, const void *b)
{
    const struct profile_times *x = a, *y = b;
    return (x->end_ns > y->end_ns) - (x->end_ns < y->end_ns);
}

/* Moves what the takers kept into one array each, and frees their blocks. */
static void collect(struct course *c, struct profile_run *out)
{
    for (unsigned i = 0; i < c->threads; i++) {
        out->kept_count += c->takers[i].sample_count;
        out->time_count += c->takers[i].time_count;
        out->kept_lost += c->takers[i].lost;
    }
    struct sample *kept = out->kept = mem_alloc(MAX(out->kept_count, 1u) * sizeof *kept);
    struct profile_times *times = out->times = mem_alloc(MAX(out->time_count, 1u) * sizeof *times);
    for (unsigned i = 0; i < c->threads; i++) {
        for (struct sample_block *b = c->takers[i].samples, *next; b; b = next) {
            next = b->next;
            memcpy(kept, b->samples, b->count * sizeof *kept);
            kept += b->count;
            mem_free(b);
        }
        for (struct times_block *b = c->takers[i].times, *next; b; b = next) {
            next = b->next;
            memcpy(times, b->times, b->count * sizeof *times);
            times += b->count;
            mem_free(b);
        }
    }
    qsort(out->kept, out->kept_count, sizeof *out->kept, by_due);
    qsort(out->times, out->time_count, sizeof *out->times, by_end);
}

/* ---- progress ---- */

struct progress {
    const struct profile_run_options *o;
    bool terminal, shown;
    uint64_t began_ns, shown_ns;
    uint64_t requests, duration_ns; /* that the plan asks for; 0: not known */
};

static void progress_begin(struct progress *p, const struct profile_run_options *o)
{
    *p = (struct progress){.o = o, .terminal = isatty(STDERR_FILENO), .began_ns = clock_mono_ns()};
    bool counted = true;
    for (size_t i = 0; i < o->plan->stage_count; i++) {
        p->requests += o->plan->stages[i].requests;
        p->duration_ns += o->plan->stages[i].duration_ns;
        counted &= o->plan->stages[i].requests > 0;
    }
    p->requests = counted ? p->requests : 0;
}

struct num profile_span(uint64_t ns)
{
    return num_ms(floor((double)ns / 1e9) * 1e6);
}

static void progress_show(struct progress *p, const struct engine *e)
{
    struct engine_progress now;
    uint64_t now_ns = clock_mono_ns();
    if (!p->terminal || now_ns - p->began_ns < SHOW_AFTER_NS ||
        now_ns - p->shown_ns < SHOW_EVERY_NS)
        return;
    p->shown_ns = now_ns;
    p->shown = true;
    engine_progress(e, &now);
    fprintf(stderr, "\r\x1b[K%s: %s", p->o->label, num_count((double)now.ended).text);
    if (p->requests)
        fprintf(stderr, " of %s", num_count((double)p->requests).text);
    fprintf(stderr, " requests, %s failed, %s in flight, %s", num_count((double)now.failed).text,
            num_count((double)now.in_flight).text, profile_span(now_ns - p->began_ns).text);
    if (!p->requests && p->duration_ns)
        fprintf(stderr, " of %s", profile_span(p->duration_ns).text);
    if (interrupted)
        fputs("; ending", stderr);
    fflush(stderr);
}

static void progress_end(const struct progress *p)
{
    if (p->shown)
        fputs("\r\x1b[K", stderr);
}

/* ---- the run ---- */

static struct engine_options engine_options_of(const struct profile_run_options *o,
                                               struct course *c)
{
    int64_t timeout_ms = (int64_t)(o->timeout_s * 1000);
    return (struct engine_options){
        .target = o->target,
        .prompts = o->prompts,
        .plan = o->plan,
        .threads = c->threads,
        .fresh_connections = o->fresh_connections,
        .spin = o->spin,
        .total_timeout_ms = timeout_ms,
        /* The last requests have as long as any other. */
        .grace_ms = -1,
        .on_sample = take,
        .user = c,
        .first_number = o->first_number,
    };
}

/* Until all have ended. Ctrl-C: no more are sent, and those in flight have a moment; Ctrl-C again: none. */
static void watch(struct engine *engine, const struct profile_run_options *o,
                  struct profile_run *out)
{
    struct progress p;
    uint64_t cancel_ns = UINT64_MAX;
    progress_begin(&p, o);
    while (!engine_wait(engine, WAIT_MS)) {
        if (ending_came()) {
            cancel_ns = interrupted ? 0 : clock_mono_ns() + MOMENT_NS;
            interrupted = out->cut_short = true;
            engine_stop(engine);
        }
        if (clock_mono_ns() >= cancel_ns) {
            engine_cancel(engine);
            cancel_ns = UINT64_MAX;
        }
        progress_show(&p, engine);
    }
    progress_end(&p);
}

bool profile_run(const struct profile_run_options *o, struct profile_run *out, struct err *e)
{
    struct course c = {.o = o, .threads = MAX(o->threads, 1u)};
    uint64_t origin_ns = clock_mono_ns();
    c.takers = mem_alloc(c.threads * sizeof *c.takers);
    c.keep_each = (o->keep_max + c.threads - 1) / c.threads;
    *out = (struct profile_run){0};
    /* One stage: what is beside the measured one is warm-up, which results keep apart. */
    for (unsigned i = 0; i < c.threads; i++)
        c.takers[i].results =
            results_new(1, (uint32_t)o->plan->mix_count, o->objectives, origin_ns);
    struct engine_options options = engine_options_of(o, &c);
    struct engine *engine = engine_start(&options, e);
    if (engine) {
        watch(engine, o, out);
        engine_account(engine, &out->account);
        engine_free(engine);
        collect(&c, out);
    }
    out->results = c.takers[0].results;
    for (unsigned i = 1; i < c.threads; i++) {
        results_merge(out->results, c.takers[i].results);
        results_free(c.takers[i].results);
    }
    mem_free(c.takers);
    results_seal(out->results);
    if (engine)
        validity_check(&out->validity, &out->account, out->results);
    else
        profile_run_fini(out);
    return engine != NULL;
}

void profile_run_fini(struct profile_run *r)
{
    results_free(r->results);
    mem_free(r->kept);
    mem_free(r->times);
    *r = (struct profile_run){0};
}

/* ---- how it begins and ends ---- */

enum profile_file profile_file_of(const char *path)
{
    struct str name = str_from(path);
    return str_ends(name, STR(".xml"))    ? PROFILE_FILE_JUNIT
           : str_ends(name, STR(".hgrm")) ? PROFILE_FILE_HGRM
                                          : PROFILE_FILE_MEASURE;
}

int64_t profile_seed(int64_t asked)
{
    struct rng r;
    rng_seed(&r, 0);
    return asked ? asked : 1 + (int64_t)(rng_next(&r) % 999999);
}

int profile_usage(const char *command, const char *fmt, ...)
{
    struct err e = {0};
    va_list args;
    va_start(args, fmt);
    vsnprintf(e.text, sizeof e.text, fmt, args);
    va_end(args);
    return measure_options_fail(command, &e, EXIT_USAGE);
}

int profile_status(const char *command, const struct profile_run *r)
{
    const struct results *x = r->results;
    const char *words = x->failure_count ? x->failures[0].error : "";
    struct err e = {0};
    if (outcomes_are_unreached(x->total.outcomes)) {
        err_set(&e, "no request reached the server: %.300s; is it running?", words);
        return measure_options_fail(command, &e, EXIT_UNREACHABLE);
    }
    if (x->total.outcomes[OUTCOME_OK] == 0 && !r->cut_short) {
        err_set(&e, "no request was answered well: %.300s", words);
        return measure_options_fail(command, &e, EXIT_PROBLEM);
    }
    if (r->validity.client_limited) {
        err_set(&e, "%s", r->validity.summary);
        return measure_options_fail(command, &e, EXIT_PROBLEM);
    }
    return EXIT_GOOD;
}
