/* test_send.c -- sends one request and keeps all of it.
 *
 * The same client and reader of answers as the measuring engine; but here each event, header and fact about the connection is kept, because one
 * request is looked at and not a million counted. */
#include <netinet/tcp.h>
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rand.h"
#include "cli/test.h"
#include "measure/failure.h"

#define TCP_INFO_EVERY_NS (20 * NS_PER_MS)
#define PROGRESS_AFTER_NS NS_PER_S
#define PASS_MS           100

volatile sig_atomic_t test_stop;

static void on_interrupt(int number)
{
    (void)number;
    test_stop = 1;
}

/* The first Ctrl-C ends the request under way, with a report; the second one the program, as any before a request is sent. */
static void catch_interrupt(void)
{
    static bool caught;
    struct sigaction catch = {.sa_handler = on_interrupt, .sa_flags = SA_RESETHAND};
    if (!caught)
        sigaction(SIGINT, &catch, NULL);
    caught = true;
}

struct sending {
    struct http_exchange x;
    struct tester *tester;
    struct test_result *out;
    struct iovec pieces[2];
    struct buf body;
    uint64_t asked_link_ns;
    bool over, shown;
};

void tester_init(struct tester *t, const struct measure_target *target, int64_t timeout_ms,
                 bool fresh)
{
    struct http_client_limits limits = {.connect_timeout_ms =
                                            measure_connect_timeout_ms(timeout_ms),
                                        .idle_timeout_ms = 60000,
                                        .max_head_bytes = H1_HEAD_BYTES_MAX,
                                        .max_idle_per_target = fresh ? 0 : 1,
                                        .stamp_arrivals = true};
    *t = (struct tester){.target = target, .timeout_ms = timeout_ms, .fresh = fresh};
    t->loop = loop_new();
    t->resolver = resolver_new(t->loop);
    pool_init(&t->blocks, BUF_BLOCK_BYTES, 8, "test");
    t->client = http_client_new(t->loop, t->resolver, &t->blocks, &limits, 1);
    t->gaps_ns = mem_alloc(GAPS_KEPT * sizeof *t->gaps_ns);
    answer_init(&t->answer, &t->blocks, t->gaps_ns);
    t->answer.key = target->key;
}

void tester_fini(struct tester *t)
{
    answer_fini(&t->answer);
    http_client_free(t->client);
    resolver_free(t->resolver);
    loop_settle(t->loop);
    loop_free(t->loop);
    pool_trim(&t->blocks);
    mem_free(t->gaps_ns);
}

/* ---- the connection ---- */

/* Asked while it is there: behind the last byte it is the client's again. */
static void look_at_link(struct sending *g, uint64_t now_ns)
{
    struct test_link *l = &g->out->link;
    struct tcp_info info = {0};
    struct sock_addr peer = {.len = sizeof peer.storage};
    socklen_t bytes = sizeof info;
    int fd = http_exchange_fd(&g->x);
    const struct tls *tls = http_exchange_tls(&g->x);
    if (fd < 0 || (g->asked_link_ns && now_ns < g->asked_link_ns + TCP_INFO_EVERY_NS))
        return;
    g->asked_link_ns = now_ns;
    if (getpeername(fd, &peer.any, &peer.len) == 0)
        sock_addr_text(&peer, l->remote, sizeof l->remote);
    if (peer.any.sa_family != AF_UNIX &&
        getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) == 0) {
        l->tcp = true;
        l->rtt_us = info.tcpi_rtt;
        l->rtt_var_us = info.tcpi_rttvar;
        l->retransmits = info.tcpi_total_retrans;
        l->cwnd_segments = info.tcpi_snd_cwnd;
        l->mss_bytes = info.tcpi_snd_mss;
    }
    if (tls) {
        l->tls = true;
        l->tls_resumed = tls_resumed(tls);
        l->tls_version = tls_version(tls);
        l->tls_cipher = tls_cipher(tls);
    }
}

static void note_lag(struct sending *g)
{
    const struct http_exchange *x = &g->x;
    if (x->arrived_by_kernel && x->read_ns > x->arrived_ns)
        g->out->read_lag_max_ns = MAX(g->out->read_lag_max_ns, x->read_ns - x->arrived_ns);
    g->out->sample.kernel_stamped &= x->arrived_by_kernel;
}

/* ---- what comes ---- */

static void keep_event(struct answer *a, enum event_kind kind, struct str data, uint64_t arrived_ns)
{
    struct test_result *r = a->user;
    r->events_cut |=
        r->event_count == TEST_EVENTS_MAX || data.n > TEST_EVENT_BYTES_MAX - r->event_bytes;
    if (r->events_cut)
        return;
    r->event_bytes += data.n;
    if (r->event_count == r->event_room) {
        size_t room = MAX(2 * r->event_room, (size_t)64);
        struct test_event *list = arena_alloc(r->arena, room * sizeof *list);
        if (r->event_count)
            memcpy(list, r->events, r->event_count * sizeof *list);
        r->events = list;
        r->event_room = room;
    }
    r->events[r->event_count++] =
        (struct test_event){.kind = kind, .at_ns = arrived_ns, .data = arena_str(r->arena, data)};
}

static void on_head(struct http_exchange *x, const struct h1_head *h)
{
    struct sending *g = CONTAINER(x, struct sending, x);
    struct test_result *r = g->out;
    struct sample *s = &r->sample;
    s->kernel_stamped = true;
    note_lag(g);
    if (!s->first_byte_ns)
        s->first_byte_ns = x->first_byte_ns ? x->first_byte_ns : x->arrived_ns;
    answer_head(&g->tester->answer, h, x->arrived_ns);
    r->headers = arena_alloc(r->arena, MAX(h->header_count, 1) * sizeof *r->headers);
    for (int i = 0; i < h->header_count; i++)
        r->headers[r->header_count++] = (struct test_header){
            arena_str(r->arena, h->headers[i].name), arena_str(r->arena, h->headers[i].value)};
    r->minor_version = h->minor_version;
    snprintf(r->reason, sizeof r->reason, "%.*s", STR_ARG(h->reason));
    look_at_link(g, x->read_ns);
}

static void on_body(struct http_exchange *x, struct str piece)
{
    struct sending *g = CONTAINER(x, struct sending, x);
    note_lag(g);
    answer_body(&g->tester->answer, piece, x->arrived_ns);
    if (!g->tester->answer.stream)
        g->out->body_cut |= !buf_append_str(&g->body, piece);
    look_at_link(g, x->read_ns);
}

static void on_done(struct http_exchange *x)
{
    struct sending *g = CONTAINER(x, struct sending, x);
    sample_take_marks(&g->out->sample, x);
    g->out->sample.end_ns = x->arrived_ns;
    answer_end(&g->tester->answer);
    g->over = true;
}

static void give_up(struct sending *g, enum outcome outcome, const char *detail, uint64_t now_ns)
{
    struct sample *s = &g->out->sample;
    answer_broken(&g->tester->answer);
    s->outcome = (uint8_t)outcome;
    snprintf(s->error, sizeof s->error, "%s", detail);
    s->end_ns = now_ns;
    g->over = true;
}

static void on_fail(struct http_exchange *x, enum error_code code, const char *detail)
{
    struct sending *g = CONTAINER(x, struct sending, x);
    uint64_t now_ns = clock_mono_ns();
    sample_take_marks(&g->out->sample, x);
    give_up(g, sample_failure(&g->out->sample, x, code, detail, now_ns), detail, now_ns);
}

/* ---- waiting ---- */

static const char *waits_for(const struct sending *g)
{
    const struct sample *s = &g->out->sample;
    if (!g->x.connected_ns && !g->x.reused)
        return "connecting";
    if (!s->head_ns)
        return "waiting for the answer";
    return s->stream && !s->first_token_ns ? "waiting for the first token" : "reading the answer";
}

static void show_progress(struct sending *g, uint64_t now_ns)
{
    uint64_t since_ns = now_ns - g->x.started_ns;
    if (!g->tester->progress || since_ns < PROGRESS_AFTER_NS)
        return;
    fprintf(stderr, "\r\033[K%s, %.0f s", waits_for(g), (double)since_ns / 1e9);
    if (g->out->sample.chunks)
        fprintf(stderr, ", %u chunks", g->out->sample.chunks);
    fflush(stderr);
    g->shown = true;
}

static void wait_for_end(struct sending *g)
{
    while (!g->over) {
        loop_pass(g->tester->loop, PASS_MS);
        uint64_t now_ns = clock_mono_ns();
        if (!g->over && test_stop) {
            http_cancel(g->tester->client, &g->x);
            sample_take_marks(&g->out->sample, &g->x);
            give_up(g, OUTCOME_CANCELLED, "given up before the answer was whole (Ctrl-C)", now_ns);
        }
        show_progress(g, now_ns);
    }
    if (g->shown)
        fputs("\r\033[K", stderr);
}

/* ---- the request ---- */

void tester_compose(struct tester *t, struct arena *a, const struct prompts *p, struct str model,
                    uint64_t number, struct test_result *out)
{
    struct rng rng;
    char id[36];
    size_t which = number % prompts_count(p);
    *out = (struct test_result){.arena = a, .model = model};
    out->path =
        arena_printf(a, "%.*s%.*s", STR_ARG(t->target->base_path), STR_ARG(prompts_path(p)));
    char *body = arena_alloc(a, prompts_bytes_max(p, which, model.n));
    size_t n = prompts_write(p, which, model, number, body);
    rng_seed(&rng, 0);
    rng_uuid(&rng, id);
    snprintf(out->sample.request_id, sizeof out->sample.request_id, "%.36s", id);
    struct str head = measure_target_head(t->target, a, STR("POST"), out->path);
    out->request_head = arena_printf(a, "%.*sx-request-id: %.36s\r\ncontent-length: %zu\r\n\r\n",
                                     STR_ARG(head), id, n);
    out->request_body = (struct str){body, n};
}

static void keep_results(struct sending *g)
{
    struct test_result *r = g->out;
    struct tester *t = g->tester;
    r->flaws = t->answer.flaws;
    r->stream = t->answer.stream;
    r->body = arena_str(r->arena, buf_str(&g->body));
    buf_fini(&g->body);
    r->gaps_ns = arena_alloc(r->arena, MAX(r->sample.gap_count, 1u) * sizeof *r->gaps_ns);
    if (r->sample.gap_count)
        memcpy(r->gaps_ns, t->gaps_ns, r->sample.gap_count * sizeof *r->gaps_ns);
    r->sample.gaps_ns = r->gaps_ns;
    r->sample.kernel_stamped &= r->sample.head_ns != 0;
}

void tester_send(struct tester *t, struct arena *a, const struct prompts *p, struct str model,
                 uint64_t number, struct test_result *out)
{
    struct sending g = {.tester = t, .out = out};
    tester_compose(t, a, p, model, number, out);
    out->real_us = clock_real_us();
    out->sample.stream = prompts_stream(p);
    out->sample.number = number;
    buf_init(&g.body, TEST_BODY_BYTES_MAX, NULL);
    g.pieces[0] = (struct iovec){(char *)out->request_head.p, out->request_head.n};
    g.pieces[1] = (struct iovec){(char *)out->request_body.p, out->request_body.n};
    t->answer.embeds = str_eq(prompts_path(p), STR("/embeddings"));
    t->answer.on_event = keep_event;
    t->answer.user = out;
    answer_begin(&t->answer, &out->sample);
    g.x = (struct http_exchange){.target = &t->target->http,
                                 .pieces = g.pieces,
                                 .piece_count = 2,
                                 .total_timeout_ms = t->timeout_ms,
                                 .at_once = true,
                                 .on_head = on_head,
                                 .on_body = on_body,
                                 .on_done = on_done,
                                 .on_fail = on_fail};
    catch_interrupt();
    out->sample.due_ns = clock_mono_ns();
    http_send(t->client, &g.x);
    wait_for_end(&g);
    keep_results(&g);
}
