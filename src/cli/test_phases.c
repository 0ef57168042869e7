/* test_phases.c -- one request's time, taken apart so that the parts add up to the whole.
 *
 * Marks divide it: each phase goes from one mark to the next, marks that were not reached give none, and a mark that lies before the one
 * in front of it (the kernel saw bytes arrive before our call that sent the request had returned) is moved up to it. The wait for the first
 * byte is then divided again by what the gateway says of itself: Server-Timing's queue (from the request's last byte to the upstream having
 * it), upstream (to what the gateway waited for before it answered) and LiteLLM's response duration (all that the gateway saw). */
#include "base/clock.h"
#include "cli/test.h"

struct divider {
    struct test_phases *out;
    uint64_t start_ns, at_ns;
};

static void add(struct test_phases *p, const char *key, const char *name, const char *whose,
                uint64_t begins_ns, int64_t took_ns)
{
    ENSURE(p->count < TEST_PHASES_MAX);
    p->list[p->count++] = (struct test_phase){key, name, whose, begins_ns, took_ns};
}

/* The stretch up to this mark; nothing where it was not reached. */
static void until(struct divider *d, uint64_t mark_ns, const char *key, const char *name,
                  const char *whose)
{
    if (!mark_ns)
        return;
    mark_ns = MAX(mark_ns, d->at_ns);
    add(d->out, key, name, whose, d->at_ns - d->start_ns, (int64_t)(mark_ns - d->at_ns));
    d->at_ns = mark_ns;
}

struct str test_header(const struct test_result *r, const char *name)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (str_ieq(r->headers[i].name, str_from(name)))
            return r->headers[i].value;
    return STR_NONE;
}

/* ---- the wait ---- */

static int64_t header_ns(const struct test_result *r, const char *name)
{
    double ms;
    struct str text = test_header(r, name);
    return text.n && str_to_f64(text, &ms) && ms >= 0 && ms < 1e9 ? (int64_t)(ms * 1e6) : -1;
}

static int64_t us_as_ns(int64_t us)
{
    return us < 0 ? -1 : us * (int64_t)NS_PER_US;
}

/* What the gateway says: before the upstream, there, and behind it. */
static void ask_gateway(const struct test_result *r, struct test_phases *p)
{
    const struct sample *s = &r->sample;
    int64_t all_ns = header_ns(r, "x-litellm-response-duration-ms"),
            overhead_ns = us_as_ns(s->server_overhead_us);
    p->before_ns = us_as_ns(s->server_queue_us);
    p->upstream_ns = us_as_ns(s->server_upstream_us);
    if (p->upstream_ns < 0)
        return;
    if (p->before_ns < 0) { /* LiteLLM tells its overhead in one number */
        p->before_ns = MAX(overhead_ns, (int64_t)0);
        p->after_ns = 0;
    } else {
        all_ns = MAX(all_ns, p->before_ns + p->upstream_ns);
        p->after_ns = all_ns - p->before_ns - p->upstream_ns;
        if (overhead_ns >= 0)
            p->lost_ns = MAX(all_ns - p->upstream_ns - overhead_ns, (int64_t)0);
    }
}

/* An upstream's own account: OpenAI's header, which weir passes on under another name. */
static void ask_upstream(const struct test_result *r, struct test_phases *p)
{
    int64_t own_ns = header_ns(r, "openai-processing-ms");
    if (own_ns < 0)
        own_ns = header_ns(r, "llm_provider-openai-processing-ms");
    p->processing_ns = own_ns;
    if (p->upstream_ns < 0 && own_ns >= 0 && own_ns <= p->wait_ns) {
        p->upstream_ns = own_ns;
        p->before_ns = p->after_ns = 0;
    }
}

static void divide_wait(const struct test_result *r, struct divider *d)
{
    struct test_phases *p = d->out;
    uint64_t first_ns = MAX(r->sample.first_byte_ns, d->at_ns), at_ns = d->at_ns - d->start_ns;
    p->wait_ns = (int64_t)(first_ns - d->at_ns);
    d->at_ns = first_ns;
    ask_gateway(r, p);
    ask_upstream(r, p);
    if (p->upstream_ns < 0) {
        add(p, "wait", "wait for the first byte", "unknown", at_ns, p->wait_ns);
        return;
    }
    p->rest_ns = p->wait_ns - p->before_ns - p->upstream_ns - p->after_ns;
    bool asked = p->upstream_ns > 0; /* not by the gateway's cache */
    const char *upstream = r->stream ? "upstream to first event" : "upstream to its end";
    if (p->before_ns)
        add(p, "gateway_before", asked ? "gateway before upstream" : "gateway", "gateway", at_ns,
            p->before_ns);
    at_ns += (uint64_t)p->before_ns;
    if (asked)
        add(p, "upstream", upstream, "upstream", at_ns, p->upstream_ns);
    at_ns += (uint64_t)p->upstream_ns;
    if (p->after_ns)
        add(p, "gateway_after", "gateway after upstream", "gateway", at_ns, p->after_ns);
    at_ns += (uint64_t)p->after_ns;
    add(p, "network_and_client", "network and client", "network", at_ns, p->rest_ns);
}

/* ---- the whole ---- */

static void divide_stream(const struct sample *s, struct divider *d)
{
    const char *whose = d->out->upstream_ns < 0 ? "server" : "upstream";
    bool thinks =
        s->first_content_ns > s->first_token_ns || (s->first_token_ns && !s->first_content_ns);
    until(d, s->first_event_ns, "first_event", "first event (the role)", whose);
    until(d, s->first_token_ns, "first_token", thinks ? "first reasoning token" : "first token",
          whose);
    if (thinks)
        until(d, s->first_content_ns, "reasoning", "reasoning", whose);
    until(d, s->last_token_ns, "tokens", "tokens", whose);
    until(d, s->usage_ns, "usage", "finish_reason and usage", whose);
    until(d, s->done_ns, "done", "[DONE]", whose);
}

void test_phases(const struct test_result *r, struct test_phases *out)
{
    const struct sample *s = &r->sample;
    struct divider d = {out, s->start_ns, s->start_ns};
    *out = (struct test_phases){.wait_ns = -1,
                                .before_ns = -1,
                                .upstream_ns = -1,
                                .after_ns = -1,
                                .rest_ns = -1,
                                .processing_ns = -1};
    until(&d, s->resolved_ns, "dns", "name looked up", "network");
    until(&d, s->connected_ns, "tcp", "TCP connected", "network");
    until(&d, s->secured_ns, "tls", "TLS ready", "network");
    until(&d, s->sent_ns, "send", "request sent", "client");
    if (s->first_byte_ns)
        divide_wait(r, &d);
    if (r->stream)
        divide_stream(s, &d);
    until(&d, s->end_ns, r->stream ? "end" : "receive",
          r->stream || !s->head_ns ? "end" : "rest of the answer",
          s->head_ns ? "server" : "unknown");
    out->total_ns = (int64_t)(d.at_ns - d.start_ns);
}
