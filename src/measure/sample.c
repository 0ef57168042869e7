/* sample.c -- outcomes by name, and a sample as a record of the request log. */
#include "measure/sample.h"

#include "base/clock.h"
#include "observe/record.h"

static const struct {
    const char *key, *help;
} outcomes[] = {
#define O(name, key, help) [OUTCOME_##name] = {key, help},
#include "measure/outcomes.def"
#undef O
};

const char *outcome_key(enum outcome o)
{
    return (size_t)o < COUNT(outcomes) ? outcomes[o].key : "unknown";
}

const char *outcome_help(enum outcome o)
{
    return (size_t)o < COUNT(outcomes) ? outcomes[o].help : "";
}

static int64_t span_us(uint64_t from_ns, uint64_t to_ns)
{
    int64_t ns = sample_span_ns(from_ns, to_ns);
    return ns < 0 ? -1 : ns / (int64_t)NS_PER_US;
}

/* "" is "not told", as a record has it. */
static struct str told(const char *text)
{
    return text[0] ? str_from(text) : STR_NONE;
}

static void write_failure(const struct sample *s, struct record *out)
{
    enum outcome o = s->outcome;
    out->level = STR("ERROR");
    out->status = o == OUTCOME_CANCELLED ? STR("cancelled") : STR("failure");
    out->error.type = str_from(outcome_key(o));
    out->error.message = s->error[0] ? str_from(s->error) : str_from(outcome_help(o));
}

/* Completion tokens over the time from the first to the last; whole answers: over all the time, as record.def has it. */
static double tokens_per_second(const struct sample *s)
{
    uint64_t from_ns = s->stream ? s->first_token_ns : s->sent_first_ns;
    int64_t span_ns = sample_span_ns(from_ns, s->stream ? s->last_token_ns : s->end_ns);
    int64_t tokens = s->completion_tokens - (s->stream ? 1 : 0);
    return span_ns > 0 && tokens > 0 ? (double)tokens * (double)NS_PER_S / (double)span_ns : -1;
}

void sample_to_record(const struct sample *s, struct str model, int64_t real_us_at_end,
                      struct record *out)
{
    record_init(out);
    uint64_t began_ns = s->sent_first_ns ? s->sent_first_ns : s->start_ns;
    out->timestamp = real_us_at_end;
    out->level = STR("INFO");
    out->event = STR("request");
    out->request_id = told(s->request_id);
    out->model = model;
    out->deployment = told(s->deployment);
    out->call_type = STR("chat.completions");
    out->stream = s->stream;
    out->status = STR("success");
    out->http_status = s->http_status > 0 ? s->http_status : -1;
    out->latency_us = span_us(began_ns, s->end_ns);
    out->ttft_us = span_us(began_ns, s->first_token_ns);
    out->output_us = span_us(s->first_token_ns, s->last_token_ns);
    out->upstream_us = s->server_upstream_us;
    out->overhead_us = s->server_overhead_us;
    out->queue_us = s->server_queue_us;
    out->prompt_tokens = s->prompt_tokens;
    out->completion_tokens = s->completion_tokens;
    if (s->prompt_tokens >= 0 && s->completion_tokens >= 0)
        out->total_tokens = s->prompt_tokens + s->completion_tokens;
    out->cached_tokens = s->cached_tokens;
    out->reasoning_tokens = s->reasoning_tokens;
    if (s->completion_tokens >= 0)
        out->tokens_source = s->tokens_counted ? STR("estimated") : STR("provider");
    out->tokens_per_second = tokens_per_second(s);
    out->cost_usd = s->cost_usd;
    out->finish_reason = told(s->finish_reason);
    if (s->outcome != OUTCOME_OK)
        write_failure(s, out);
}
