/* self_test.c -- see self_test.h: three loads against a simulated provider, each compared with the provider's own account.
 *
 * The provider runs in threads of its own over TCP on the loopback device, as a real one would be reached. Nothing is pinned: the test is to see what
 * later runs will see. */
#include "cli/self_test.h"

#include <math.h>
#include <signal.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/self_test_found.h"
#include "mock/mock.h"
#include "net/sock.h"

#define ACCOUNT_ANSWERS 400000
#define ALLOWED_SHARE   0.01
#define ALLOWED_NS      1e5
#define GRACE_MS        5000

/* clang-format off */
static const struct self_test_load loads[SELF_TEST_LOADS] = {
    {.key = "streams", .heading = "8 streams at a time, closed loop", .stream = true, .users = 8, .seconds = 1.5, .judged = true,
     .headers = {"x-mock-ttft-ms: 5", "x-mock-tokens-per-second: 500", "x-mock-tokens: 4"}},
    {.key = "schedule", .heading = "1,000 requests/s, open loop", .rate = 1000, .seconds = 1.5, .judged = true,
     .headers = {"x-mock-delay-ms: 2"}},
    {.key = "fastest", .heading = "64 requests at a time, as fast as they go", .users = 64, .seconds = 1.2},
};

/* What is compared with what. */
static const struct comparison {
    enum measured measured;
    size_t truth; /* of struct mock_times */
} comparisons[] = {
    {MEASURED_TOTAL, offsetof(struct mock_times, total)},
    {MEASURED_TTFT,  offsetof(struct mock_times, ttft)},
    {MEASURED_ICL,   offsetof(struct mock_times, gap)},
};
/* clang-format on */

static void take(void *user, unsigned thread, const struct sample *s)
{
    struct results **results = user;
    results_take(results[thread], s);
}

/* ---- comparing ---- */

/* Nearest rank of the values kept, as the provider's account has it: what is compared is the same requests' times, so that no interval is needed and no
 * percentile is refused. */
static double quantile_said(const struct spread *s, double quantile)
{
    size_t rank = (size_t)ceil(quantile * (double)s->value_count);
    if (s->overflowed || !s->value_count)
        return (double)hdr_quantile(&s->hdr, quantile);
    return (double)s->values[MAX(rank, (size_t)1) - 1];
}

static void compare_quantile(struct self_test_part *part, enum measured m, const char *name,
                             double quantile, const struct spread *said, uint64_t truth_ns)
{
    struct self_test_error *error = &part->errors[part->error_count++];
    *error = (struct self_test_error){
        .metric = measured_info(m)->key,
        .heading = measured_info(m)->heading,
        .quantile = name,
        .said_ns = quantile_said(said, quantile),
        .truth_ns = (double)truth_ns,
        .allowed_ns = MAX(ALLOWED_SHARE * (double)truth_ns, ALLOWED_NS),
    };
    error->holds = fabs(error->said_ns - error->truth_ns) <= error->allowed_ns;
}

static void compare(struct self_test_part *part, const struct results *r, struct mock *m)
{
    struct mock_times truth;
    mock_times(m, &truth);
    for (size_t i = 0; i < COUNT(comparisons); i++) {
        const struct spread *said = &r->total.spreads[comparisons[i].measured];
        struct mock_spread real;
        memcpy(&real, (const char *)&truth + comparisons[i].truth, sizeof real);
        if (!real.count || !spread_count(said))
            continue;
        compare_quantile(part, comparisons[i].measured, "p50", .5, said, real.p50_ns);
        compare_quantile(part, comparisons[i].measured, "p99", .99, said, real.p99_ns);
    }
}

/* ---- one load ---- */

static void take_figures(struct self_test_part *part, const struct results *r, unsigned threads)
{
    const struct results_group *g = &r->total;
    const struct engine_account *a = &part->account;
    part->requests = g->requests;
    part->failed = g->requests - g->outcomes[OUTCOME_OK];
    part->seconds = (double)(a->ended_ns - a->started_ns) / 1e9;
    if (part->seconds > 0)
        part->requests_per_s = (double)g->outcomes[OUTCOME_OK] / part->seconds;
    if (g->requests)
        part->cpu_us_per_request =
            a->cpu_share * threads * part->seconds * 1e6 / (double)g->requests;
    if (r->failure_count)
        snprintf(part->failure, sizeof part->failure, "%s", r->failures[0].error);
}

/* The engine against the provider; `part` gets the account, `results` the samples of each thread. */
static bool run_engine(const struct self_test_load *load, const struct self_test_options *o,
                       const struct measure_target *target, const struct prompts *prompts,
                       struct results **results, struct engine_account *account, struct err *e)
{
    struct stage stage = {
        .name = str_from(load->key),
        .kind = load->rate > 0 ? STAGE_RATE : STAGE_USERS,
        .from = load->rate > 0 ? load->rate : load->users,
        .to = load->rate > 0 ? load->rate : load->users,
        .duration_ns = (uint64_t)(load->seconds * 1e9),
        .spacing = SPACING_CONSTANT,
    };
    const struct mix_part mix = {.model = STR("sim-fast"), .weight = 1};
    const struct arrivals_plan plan = {.stages = &stage,
                                       .stage_count = 1,
                                       .mix = &mix,
                                       .mix_count = 1,
                                       .prompt_count = prompts_count(prompts),
                                       .seed = 1};
    struct engine *engine = engine_start(
        &(struct engine_options){
            .target = target,
            .prompts = prompts,
            .plan = &plan,
            .threads = o->threads,
            .user_stamps = o->user_stamps,
            .spin = load->rate > 0,
            .total_timeout_ms = GRACE_MS,
            .grace_ms = GRACE_MS,
            .on_sample = take,
            .user = results,
        },
        e);
    if (!engine)
        return false;
    engine_wait(engine, -1);
    engine_account(engine, account);
    engine_free(engine);
    return true;
}

static bool run_load(const struct self_test_load *load, const struct self_test_options *o,
                     struct mock *m, struct self_test_part *part, struct err *e)
{
    const struct prompts_options asked = {
        .max_tokens = -1, .temperature = NAN, .stream = load->stream, .nonce = true, .seed = 1};
    size_t headers = 0;
    while (headers < SELF_TEST_HEADERS_MAX && load->headers[headers])
        headers++;
    struct measure_target *target = measure_target_new(
        &(struct measure_target_options){
            .url = mock_api_base(m).p, .headers = load->headers, .header_count = headers},
        e);
    struct prompts *prompts = target ? prompts_new(&asked, e) : NULL;
    struct results *results[ENGINE_THREADS_MAX] = {0};
    *part = (struct self_test_part){.load = load};
    for (unsigned i = 0; i < o->threads; i++)
        results[i] = results_new(1, 1, NULL, clock_mono_ns());
    mock_reset(m);
    bool ok = prompts && run_engine(load, o, target, prompts, results, &part->account, e);
    for (unsigned i = 1; i < o->threads; i++) {
        results_merge(results[0], results[i]);
        results_free(results[i]);
    }
    if (ok) {
        results_seal(results[0]);
        take_figures(part, results[0], o->threads);
        compare(part, results[0], m);
    }
    results_free(results[0]);
    prompts_free(prompts);
    measure_target_free(target);
    return ok;
}

/* ---- all of it ---- */

static void show_progress(const struct self_test_load *load)
{
    if (!isatty(STDERR_FILENO))
        return;
    if (load)
        fprintf(stderr, "\r\x1b[Kself-test: %s", load->heading);
    else
        fputs("\r\x1b[K", stderr);
    fflush(stderr);
}

/* A provider whose threads leave signals to the program's first. */
static struct mock *start_provider(struct err *e)
{
    struct mock_options o = {
        .host = STR("127.0.0.1"), .workers = 1, .control_port = -1, .times = ACCOUNT_ANSWERS};
    sigset_t all, before;
    sim_knobs_init(&o.knobs);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    struct mock *m = mock_start(&o, e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return m;
}

static bool run_loads(const struct self_test_options *o, struct self_test_found *f, struct err *e)
{
    struct mock *m = start_provider(e);
    bool ok = m != NULL;
    uint64_t reads = 0, stamped = 0;
    for (size_t i = 0; ok && i < SELF_TEST_LOADS; i++) {
        struct self_test_part *part = &f->parts[f->part_count++];
        show_progress(&loads[i]);
        ok = run_load(&loads[i], o, m, part, e);
        reads += part->account.reads;
        stamped += part->account.stamped_reads;
    }
    show_progress(NULL);
    f->stamped_share = reads ? (double)stamped / (double)reads : 0;
    mock_stop(m);
    return ok;
}

int self_test(const struct self_test_options *given)
{
    struct self_test_options o = *given;
    struct self_test_found f = {.user_stamps = o.user_stamps};
    struct err e = {0};
    o.threads = MIN(MAX(o.threads, 1u), ENGINE_THREADS_MAX);
    signal(SIGPIPE, SIG_IGN);
    sock_raise_file_limit();
    struct self_test_ticks before = self_test_ticks_now();
    if (!run_loads(&o, &f, &e)) {
        fprintf(stderr, "weir %s: --self-test: %s\n", o.command, e.text);
        return EXIT_UNREACHABLE;
    }
    struct self_test_ticks after = self_test_ticks_now();
    self_test_look_at_host(&f.host, &before, &after);
    self_test_judge(&f);
    if (o.json)
        self_test_write_json(&f);
    else
        self_test_write_text(&f, o.color);
    return f.good ? EXIT_GOOD : EXIT_PROBLEM;
}
