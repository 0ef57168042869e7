/* finish.c -- step 7: the record. Runs once for every request, whatever became of it.
 *
 * Times, all from the monotonic clock: a request "arrives" when its last byte was read. queue = arrived to sent upstream, upstream = sent to the
 * answer's last byte read, latency = arrived to now (the answer's end is handed to the kernel next), overhead = latency -
 * upstream - what failed attempts and waits before the last attempt took.
 * The record goes to the worker's log ring and to the worker's metrics shard: one pass, one struct. */
#include "gateway/gateway.h"
#include "observe/cost.h"

#define ATTEMPT_ERROR_BYTES 512

/* When the upstream had the request; of one that answered before all of it was out: when the first of it was. */
static uint64_t sent_ns_of(const struct http_exchange *x)
{
    return x->sent_ns || !x->head_ns ? x->sent_ns : x->connected_ns;
}

int64_t finish_lost_us(const struct request *r, uint64_t now_ns)
{
    if (!r->first_chosen_ns)
        return 0;
    return us_between(r->first_chosen_ns, r->attempt ? r->attempt->chosen_ns : now_ns);
}

static void measure_times(struct request *r)
{
    struct record *rec = &r->record;
    const struct http_exchange *x = r->attempt ? &r->attempt->exchange : NULL;
    uint64_t now_ns = clock_mono_ns(), sent_ns = x ? sent_ns_of(x) : 0;
    rec->latency_us = us_between(r->arrived_ns, now_ns);
    if (sent_ns) {
        uint64_t end_ns = x->last_ns && r->error == ERR_NONE ? x->last_ns : now_ns;
        rec->queue_us = us_between(r->arrived_ns, sent_ns);
        rec->upstream_us = us_between(sent_ns, end_ns);
    }
    rec->overhead_us =
        MAX(rec->latency_us - MAX(rec->upstream_us, 0) - finish_lost_us(r, now_ns), 0);
    if (r->counted_stream && r->first_token_ns) {
        rec->ttft_us = us_between(r->arrived_ns, r->first_token_ns);
        rec->output_us = us_between(r->first_token_ns, r->last_token_ns);
    }
}

/* Counts the provider sent stand; what it left out is estimated and marked so. */
static void measure_tokens(struct request *r)
{
    struct record *rec = &r->record;
    bool answered = r->upstream_status >= 200 && r->upstream_status < 300;
    if (rec->tokens_source.n) {
        /* the cache told them, and where they came from */
    } else if (rec->prompt_tokens >= 0 || rec->completion_tokens >= 0) {
        rec->tokens_source = STR("provider");
    } else if (answered && (r->content_bytes || r->token_events || r->error == ERR_NONE)) {
        rec->tokens_source = STR("estimated");
        rec->prompt_tokens = cost_estimate_tokens((uint64_t)r->prompt_bytes);
        rec->completion_tokens =
            r->token_events ? (int64_t)r->token_events : cost_estimate_tokens(r->content_bytes);
    }
    if (rec->total_tokens < 0 && rec->tokens_source.n)
        rec->total_tokens = MAX(rec->prompt_tokens, 0) + MAX(rec->completion_tokens, 0);
    if (rec->completion_tokens > 1 && rec->output_us > 0)
        rec->tokens_per_second =
            (double)(rec->completion_tokens - 1) * 1e6 / (double)rec->output_us;
    else if (rec->completion_tokens > 0 && !r->counted_stream && rec->upstream_us > 0)
        rec->tokens_per_second = (double)rec->completion_tokens * 1e6 / (double)rec->upstream_us;
    if (r->deployment)
        rec->cost_usd = cost_of(r->price, rec);
}

void finish_measure(struct request *r)
{
    if (r->measured)
        return;
    r->measured = true;
    measure_times(r);
    measure_tokens(r);
}

static void fill_error(struct request *r)
{
    struct record *rec = &r->record;
    if (r->error == ERR_NONE && r->upstream_status >= 400)
        rec->error_code = ERR_UPSTREAM_ERROR;
    else if (r->error == ERR_NONE && r->saw_error)
        rec->error_code = r->counted_stream ? ERR_STREAM_ERROR : ERR_UPSTREAM_ERROR;
    else
        rec->error_code = r->error;
    if (rec->error_code == ERR_NONE)
        return;
    const struct error_info *info = error_info(rec->error_code);
    rec->error.type = str_from(info->name);
    if (r->upstream_status >= 400)
        rec->error.provider_status = r->upstream_status;
    if (!rec->error.message.n)
        rec->error.message = r->error_detail.n ? r->error_detail : str_from(info->sentence);
}

int error_status(const struct request *r)
{
    return r->answer_status && r->error == ERR_STREAM_ERROR ? r->answer_status
                                                            : error_info(r->error)->http_status;
}

/* A request that was refused on its way to `route`: is its model one of the configuration's, so that it may become a label? */
static void know_model(struct request *r)
{
    const struct model_group *group =
        r->group || !r->record.model.n ? NULL : config_group(r->config, r->record.model, NULL);
    if (group)
        r->record.model_known = !group->wildcard;
}

static void fill_outcome(struct request *r)
{
    struct record *rec = &r->record;
    bool began = r->relay != RELAY_IDLE && r->upstream_status > 0 &&
                 (r->relay != RELAY_HOLDING || r->error == ERR_NONE);
    fill_error(r);
    if (rec->error_code != ERR_NONE)
        know_model(r);
    rec->http_status = r->error == ERR_NONE || began ? r->upstream_status : error_status(r);
    if (r->error == ERR_CLIENT_GONE)
        rec->http_status = error_info(ERR_CLIENT_GONE)->http_status;
    rec->status = rec->error_code == ERR_NONE ? STR("success")
                  : r->client_gone            ? STR("cancelled")
                                              : STR("failure");
    bool slow = r->config->log_slow_requests &&
                rec->latency_us > r->config->slow_request_threshold_ms * 1000;
    if (slow)
        rec->slow = true;
    if (rec->error_code == ERR_NONE)
        rec->level = slow ? STR("WARNING") : STR("INFO");
    else
        rec->level = r->client_gone ? STR("WARNING") : STR("ERROR");
}

static int level_rank(struct str level)
{
    return level.p[0] == 'E' ? 3 : level.p[0] == 'W' ? 2 : 1;
}

/* What the deployment is told of the attempt that ended with the request. */
static void tell_fleet(struct request *r)
{
    struct attempt *a = r->attempt;
    const struct record *rec = &r->record;
    if (!a || a->judged || a->phase != ATTEMPT_WON || r->error != ERR_NONE)
        return;
    if (rec->error_code == ERR_STREAM_ERROR) { /* it began well */
        const struct failure f = {.code = ERR_STREAM_ERROR, .class = FAILURE_SERVER};
        attempt_judge(a, &f);
        return;
    }
    a->judged = true;
    int64_t first_us = r->first_token_ns ? us_between(a->chosen_ns, r->first_token_ns)
                                         : us_between(a->chosen_ns, a->exchange.head_ns);
    int64_t token_us = -1;
    if (r->first_token_ns && rec->completion_tokens > 1 && rec->output_us > 0)
        token_us = rec->output_us / (rec->completion_tokens - 1);
    else if (!r->counted_stream)
        token_us =
            us_between(a->chosen_ns, a->exchange.last_ns) / MAX(rec->completion_tokens, (int64_t)1);
    fleet_succeeded(a->state, r->counted_stream ? first_us : -1, token_us,
                    loop_now_ns(r->worker->loop));
    /* The rival's time alone would say that the group is fast, just because its slow answers were given up on. */
    if (a->is_hedge)
        first_us += us_between(r->first_attempt.chosen_ns, a->chosen_ns);
    hedge_measure(r, first_us);
}

static void put_record(struct request *r, struct record *rec)
{
    struct gateway *g = r->worker->gateway;
    rec->timestamp = clock_real_us();
    if (g->log && level_rank(rec->level) >= r->config->log_level_rank)
        (void)log_put(g->log, r->worker->index,
                      rec); /* a record that could not be kept is counted by the log */
    metrics_record(g->metrics, r->worker->index, rec);
}

void finish_attempt(const struct attempt *a, const struct failure *f)
{
    struct request *r = a->request;
    const struct record *whole = &r->record;
    const struct deployment *d = a->deployment;
    uint64_t now_ns = clock_mono_ns(), sent_ns = sent_ns_of(&a->exchange);
    bool cancelled = f->code == ERR_HEDGE_LOST || f->code == ERR_CLIENT_GONE;
    struct record rec;
    record_init(&rec);
    rec.event = STR("attempt");
    rec.level = STR("WARNING");
    rec.request_id = whole->request_id;
    rec.model = whole->model;
    rec.model_known = whole->model_known;
    rec.provider = d->provider_name;
    rec.deployment = d->model_id;
    rec.deployed = d;
    rec.upstream_model = a->upstream_model;
    rec.api_base = d->api_base;
    rec.call_type = whole->call_type;
    rec.route = whole->route;
    rec.stream = whole->stream;
    rec.status = cancelled ? STR("cancelled") : STR("failure");
    rec.http_status = a->status ? a->status : error_info(f->code)->http_status;
    rec.latency_us = us_between(a->chosen_ns, now_ns);
    if (sent_ns) {
        rec.queue_us = us_between(a->chosen_ns, sent_ns);
        rec.upstream_us = us_between(sent_ns, now_ns);
        rec.overhead_us = MAX(rec.latency_us - rec.upstream_us, 0);
    }
    rec.attempts = a->number;
    rec.fallback_from = a->fallback_from;
    rec.key_alias = whole->key_alias;
    rec.key_hash = whole->key_hash;
    rec.trace_id = whole->trace_id;
    rec.user = whole->user;
    rec.client = whole->client;
    if (a->rested)
        rec.rested = true;
    rec.error_code = f->code;
    rec.error.type = str_from(error_info(f->code)->name);
    if (a->status >= 400)
        rec.error.provider_status = a->status;
    char text[ATTEMPT_ERROR_BYTES];
    rec.error.message = answer_error_text(a, text, sizeof text);
    if (!rec.error.message.n)
        rec.error.message = f->detail.n ? f->detail : str_from(error_info(f->code)->sentence);
    put_record(r, &rec);
}

enum step_result finish_run(struct request *r)
{
    struct record *rec = &r->record;
    ENSURE(!r->recorded);
    r->recorded = true;
    finish_measure(r);
    fill_outcome(r);
    tell_fleet(r);
    if (r->attempt && r->attempt->rested)
        rec->rested = true;
    if (buf_used(&r->captured)) {
        rec->response = intake_body_for_log(&r->arena, buf_str(&r->captured), r->relayed_bytes,
                                            (size_t)r->config->log_body_bytes, r->answer_is_json);
    }
    put_record(r, rec);
    cache_keep(r);
    return STEP_NEXT;
}
