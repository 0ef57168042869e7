/* test_json.c -- a test's results for programs: --json, and --har (HTTP Archive 1.2, as browsers' tools read it). Secrets are masked. */
#include <errno.h>
#include <math.h>

#include "base/clock.h"
#include "cli/test.h"
#include "cli/version.h"

static double ms(int64_t ns)
{
    return ns < 0 ? NAN : (double)ns / 1e6;
}

static void put_span(struct json_out *j, const char *name, uint64_t from_ns, uint64_t to_ns)
{
    json_number(j, name, ms(sample_span_ns(from_ns, to_ns)), "%.6f");
}

static void put_tokens(struct json_out *j, const char *name, int64_t tokens)
{
    json_number(j, name, tokens < 0 ? NAN : (double)tokens, "%.0f");
}

/* A text that may not be there. */
static void put_text(struct json_out *j, const char *name, const char *text)
{
    json_text(j, name, text[0] ? str_from(text) : STR_NONE);
}

/* ---- --json ---- */

static void put_phases(struct json_out *j, const struct test_result *r)
{
    struct test_phases p;
    test_phases(r, &p);
    json_nest(j, "phases", "[");
    for (size_t i = 0; i < p.count; i++) {
        json_nest(j, NULL, "{");
        json_text(j, "phase", str_from(p.list[i].key));
        json_text(j, "whose", str_from(p.list[i].whose));
        json_number(j, "begins_ms", (double)p.list[i].begins_ns / 1e6, "%.6f");
        json_number(j, "took_ms", (double)p.list[i].took_ns / 1e6, "%.6f");
        json_unnest(j, "}");
    }
    json_unnest(j, "]");
    json_number(j, "total_ms", (double)p.total_ns / 1e6, "%.6f");
    json_nest(j, "wait", "{");
    json_number(j, "all_ms", ms(p.wait_ns), "%.6f");
    json_number(j, "gateway_before_ms", ms(p.before_ns), "%.6f");
    json_number(j, "upstream_ms", ms(p.upstream_ns), "%.6f");
    json_number(j, "gateway_after_ms", ms(p.after_ns), "%.6f");
    json_number(j, "network_and_client_ms", p.upstream_ns < 0 ? NAN : (double)p.rest_ns / 1e6,
                "%.6f");
    json_unnest(j, "}");
}

static void put_times(struct json_out *j, const struct sample *s)
{
    put_span(j, "ttft_ms", s->sent_first_ns, s->first_token_ns);
    put_span(j, "ttft_cold_ms", s->reused ? 0 : s->start_ns, s->first_token_ns);
    put_span(j, "ttfo_ms", s->sent_first_ns, s->first_content_ns);
    put_span(j, "first_event_ms", s->sent_first_ns, s->first_event_ns);
    put_span(j, "ttfb_ms", s->sent_first_ns, s->first_byte_ns);
    put_span(j, "e2e_ms", s->sent_first_ns, s->last_token_ns);
    put_span(j, "usage_ms", s->sent_first_ns, s->usage_ns);
    put_span(j, "done_ms", s->sent_first_ns, s->done_ns);
    json_number(j, "longest_gap_ms", s->gap_count ? (double)s->longest_gap_ns / 1e6 : NAN, "%.6f");
    json_nest(j, "gaps_ms", "[");
    for (uint32_t i = 0; i < s->gap_count; i++)
        json_number(j, NULL, (double)s->gaps_ns[i] / 1e6, "%.6f");
    json_unnest(j, "]");
}

static void put_link(struct json_out *j, const struct test_result *r)
{
    const struct test_link *l = &r->link;
    json_nest(j, "connection", "{");
    put_text(j, "remote", l->remote);
    json_bool(j, "reused", r->sample.reused);
    json_number(j, "rtt_ms", l->tcp ? l->rtt_us / 1e3 : NAN, "%.3f");
    json_number(j, "rtt_varies_ms", l->tcp ? l->rtt_var_us / 1e3 : NAN, "%.3f");
    json_number(j, "retransmits", l->tcp ? l->retransmits : NAN, "%.0f");
    json_text(j, "tls_version", l->tls ? str_from(l->tls_version) : STR_NONE);
    json_text(j, "tls_cipher", l->tls ? str_from(l->tls_cipher) : STR_NONE);
    json_bool(j, "tls_resumed", l->tls_resumed);
    json_bool(j, "kernel_stamped", r->sample.kernel_stamped);
    json_number(j, "read_lag_max_ms", (double)r->read_lag_max_ns / 1e6, "%.6f");
    json_unnest(j, "}");
}

static void put_flaws(struct json_out *j, const struct test_result *r)
{
    json_nest(j, "flaws", "[");
    for (unsigned bit = 0; r->flaws >> bit; bit++)
        if (r->flaws >> bit & 1)
            json_text(j, NULL, str_from(answer_flaw_text((enum answer_flaw)(1u << bit))));
    json_unnest(j, "]");
}

static void put_header(struct json_out *j, const struct test_result *r, const char *key,
                       struct str name, struct str value)
{
    /* Masked as one line, because it is by its name that a value is known to be secret. */
    struct str line = test_masked(
        r->arena, arena_printf(r->arena, "%.*s: %.*s", STR_ARG(name), STR_ARG(value)), key);
    struct str shown = line.n > name.n + 2 ? str_skip(line, name.n + 2) : STR("");
    json_nest(j, NULL, "{");
    json_text(j, "name", name);
    json_text(j, "value", shown);
    json_unnest(j, "}");
}

static void put_header_pairs(struct json_out *j, const struct test_result *r, const char *key)
{
    json_nest(j, "headers", "[");
    for (size_t i = 0; i < r->header_count; i++) {
        put_header(j, r, key, r->headers[i].name, r->headers[i].value);
    }
    json_unnest(j, "]");
}

static void add_limit(void *user, struct str name, struct str meaning)
{
    struct json_out *j = user;
    json_nest(j, NULL, "{");
    json_text(j, "name", name);
    json_text(j, "meaning", meaning);
    json_unnest(j, "}");
}

static void put_result(struct json_out *j, const struct test_result *r, const char *key)
{
    const struct sample *s = &r->sample;
    json_nest(j, NULL, "{");
    json_text(j, "model", r->model);
    json_text(j, "request_id", str_from(s->request_id));
    json_stamp(j, "started", r->real_us);
    json_text(j, "outcome", str_from(outcome_key(s->outcome)));
    json_text(j, "error", s->error[0] ? test_masked(r->arena, str_from(s->error), key) : STR_NONE);
    json_number(j, "http_status", s->http_status ? s->http_status : NAN, "%.0f");
    json_bool(j, "stream", r->stream);
    put_text(j, "deployment", s->deployment);
    put_text(j, "finish_reason", s->finish_reason);
    put_tokens(j, "prompt_tokens", s->prompt_tokens);
    put_tokens(j, "completion_tokens", s->completion_tokens);
    put_tokens(j, "cached_tokens", s->cached_tokens);
    put_tokens(j, "reasoning_tokens", s->reasoning_tokens);
    json_bool(j, "tokens_counted", s->tokens_counted);
    json_count(j, "chunks", s->chunks);
    json_number(j, "cost_usd", s->cost_usd < 0 ? NAN : s->cost_usd, "%.12g");
    put_times(j, s);
    put_phases(j, r);
    put_link(j, r);
    json_nest(j, "rate_limits", "[");
    test_rate_limits(r, add_limit, j);
    json_unnest(j, "]");
    put_flaws(j, r);
    put_header_pairs(j, r, key);
    json_unnest(j, "}");
}

void test_json(const struct test_result *list, size_t count, const char *key)
{
    struct json_out j;
    json_out_init(&j);
    json_nest(&j, NULL, "{");
    json_count(&j, "schema", 1);
    json_text(&j, "tool", STR("weir test"));
    json_text(&j, "version", str_from(weir_version));
    json_nest(&j, "requests", "[");
    for (size_t i = 0; i < count; i++)
        put_result(&j, &list[i], key);
    json_unnest(&j, "]");
    json_unnest(&j, "}");
    json_out_end(&j, stdout);
}

/* ---- --har ---- */

/* HAR's -1 is "does not apply"; its spans are ms. */
static void har_span(struct json_out *j, const char *name, uint64_t from_ns, uint64_t to_ns)
{
    int64_t ns = sample_span_ns(from_ns, to_ns);
    json_number(j, name, ns < 0 && !(from_ns && to_ns) ? -1 : fmax((double)ns / 1e6, 0), "%.6f");
}

/* Their sum, ssl being part of connect, is the entry's time. */
static void har_timings(struct json_out *j, const struct sample *s)
{
    uint64_t ready_ns = MAX(MAX(s->resolved_ns, s->connected_ns), MAX(s->secured_ns, s->start_ns));
    json_nest(j, "timings", "{");
    json_number(j, "blocked", -1, "%.0f");
    har_span(j, "dns", s->resolved_ns ? s->start_ns : 0, s->resolved_ns);
    har_span(j, "connect", s->resolved_ns,
             s->connected_ns ? MAX(s->connected_ns, s->secured_ns) : 0);
    har_span(j, "ssl", s->secured_ns ? s->connected_ns : 0, s->secured_ns);
    json_number(j, "send", s->sent_ns ? (double)(s->sent_ns - ready_ns) / 1e6 : 0, "%.6f");
    json_number(j, "wait", fmax(ms(sample_span_ns(s->sent_ns, s->first_byte_ns)), 0), "%.6f");
    json_number(j, "receive",
                fmax(ms(sample_span_ns(MAX(s->first_byte_ns, s->sent_ns),
                                       s->first_byte_ns ? s->end_ns : 0)),
                     0),
                "%.6f");
    json_unnest(j, "}");
}

static void har_request(struct json_out *j, const struct test_result *r,
                        const struct measure_target *t, const char *key)
{
    struct str rest = r->request_head;
    (void)str_cut(&rest, '\n'); /* the start line */
    json_nest(j, "request", "{");
    json_text(j, "method", STR("POST"));
    json_text(j, "url",
              arena_printf(r->arena, "%s://%.*s%.*s", t->endpoint.tls ? "https" : "http",
                           STR_ARG(t->endpoint.authority), STR_ARG(r->path)));
    json_text(j, "httpVersion", STR("HTTP/1.1"));
    json_nest(j, "cookies", "[");
    json_unnest(j, "]");
    json_nest(j, "headers", "[");
    while (rest.n) {
        struct str value = str_cut(&rest, '\n');
        value.n -= value.n && value.p[value.n - 1] == '\r';
        struct str name = str_cut(&value, ':');
        if (name.n)
            put_header(j, r, key, name, str_trim(value));
    }
    json_unnest(j, "]");
    json_nest(j, "queryString", "[");
    json_unnest(j, "]");
    json_nest(j, "postData", "{");
    json_text(j, "mimeType", STR("application/json"));
    json_text(j, "text", test_masked(r->arena, r->request_body, key));
    json_unnest(j, "}");
    json_count(j, "headersSize", r->request_head.n);
    json_count(j, "bodySize", r->request_body.n);
    json_unnest(j, "}");
}

/* A stream's body: its events' data, as they came. */
static struct str body_text(const struct test_result *r, const char *key)
{
    struct buf b;
    buf_init(&b, 0, NULL);
    ENSURE(buf_append_str(&b, r->body));
    for (size_t i = 0; i < r->event_count; i++)
        ENSURE(buf_append_str(&b, STR("data: ")) && buf_append_str(&b, r->events[i].data) &&
               buf_append_str(&b, STR("\n\n")));
    struct str text = test_masked(r->arena, buf_str(&b), key);
    buf_fini(&b);
    return text;
}

static void har_response(struct json_out *j, const struct test_result *r, const char *key)
{
    struct str type = test_header(r, "content-type"), location = test_header(r, "location");
    json_nest(j, "response", "{");
    json_number(j, "status", r->sample.http_status, "%.0f"); /* 0: none came */
    json_text(j, "statusText", str_from(r->reason));
    json_text(j, "httpVersion", arena_printf(r->arena, "HTTP/1.%d", r->minor_version));
    json_nest(j, "cookies", "[");
    json_unnest(j, "]");
    json_nest(j, "headers", "[");
    for (size_t i = 0; i < r->header_count; i++)
        put_header(j, r, key, r->headers[i].name, r->headers[i].value);
    json_unnest(j, "]");
    json_nest(j, "content", "{");
    json_count(j, "size", r->sample.body_bytes);
    json_text(j, "mimeType", type.p ? type : STR("x-unknown"));
    json_text(j, "text", body_text(r, key));
    json_unnest(j, "}");
    json_text(j, "redirectURL", location.p ? location : STR(""));
    json_number(j, "headersSize", -1, "%.0f");
    json_count(j, "bodySize", r->sample.body_bytes);
    if (r->sample.error[0])
        json_text(j, "_error", test_masked(r->arena, str_from(r->sample.error), key));
    json_unnest(j, "}");
}

static void har_entry(struct json_out *j, const struct test_result *r,
                      const struct measure_target *t, const char *key)
{
    struct test_phases p;
    test_phases(r, &p);
    json_nest(j, NULL, "{");
    json_stamp(j, "startedDateTime", r->real_us);
    json_number(j, "time", (double)p.total_ns / 1e6, "%.6f");
    har_request(j, r, t, key);
    har_response(j, r, key);
    json_nest(j, "cache", "{");
    json_unnest(j, "}");
    har_timings(j, &r->sample);
    if (r->link.remote[0])
        json_text(j, "serverIPAddress", str_from(r->link.remote));
    json_unnest(j, "}");
}

bool test_har(const struct test_result *list, size_t count, const struct measure_target *t,
              const char *key, const char *path, struct err *e)
{
    struct json_out j;
    FILE *out = fopen(path, "w");
    if (!out)
        return err_set(e, "--har %s: %s", path, strerror(errno));
    json_out_init(&j);
    json_nest(&j, NULL, "{");
    json_nest(&j, "log", "{");
    json_text(&j, "version", STR("1.2"));
    json_nest(&j, "creator", "{");
    json_text(&j, "name", STR("weir"));
    json_text(&j, "version", str_from(weir_version));
    json_unnest(&j, "}");
    json_nest(&j, "entries", "[");
    for (size_t i = 0; i < count; i++)
        har_entry(&j, &list[i], t, key);
    json_unnest(&j, "]");
    json_unnest(&j, "}");
    json_unnest(&j, "}");
    json_out_end(&j, out);
    bool written = !ferror(out);
    if (fclose(out) != 0 || !written)
        return err_set(e, "--har %s: %s", path, strerror(errno));
    return true;
}
