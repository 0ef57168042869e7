/* job.c -- one request with the simulator, from body to last byte.
 *
 * intake  The body is scanned once (json.h) for the few values that matter; headers "x-mock-*" turn
 *         the model's knobs.
 * job     What the answer will be (struct answer) and when (struct sim_schedule). The body is not
 *         needed from here on.
 * play    At once when nothing is to be waited for; else by one timer, against a schedule fixed at
 *         the start, so that being late once does not make the rest late. A stream writes every
 *         token that is due, each as a frame of its own.
 *
 * A job belongs to its connection (http_user) from intake to the end of the answer, or until the
 * client is gone. It never allocates for a token: frames are put together in the worker's buffer.
 * What is queued for a slow reader stays below QUEUE_HIGH_BYTES: the job then waits for on_drained.
 * Thread: the worker's. */
#include "mock/job_internal.h"

#include <stdarg.h>
#include <time.h>

#define QUEUE_HIGH_BYTES 65536u
#define TOKENS_TOTAL_MAX 200000 /* all choices together */
#define CHOICES_MAX      128    /* OpenAI's bound for n */
#define INPUTS_MAX       2048   /* OpenAI's bound for embeddings */
#define COMPONENTS_MAX   (1 << 20)
#define DIMS_DEFAULT     64
#define TEXT_KEEP_BYTES  (1u << 20) /* a larger buffer is given back after use */

enum want {
    WANT_MODEL,
    WANT_STREAM,
    WANT_MAX_TOKENS,
    WANT_MAX_COMPLETION_TOKENS,
    WANT_INCLUDE_USAGE,
    WANT_N,
    WANT_MESSAGES,
    WANT_PROMPT,
    WANT_INPUT,
    WANT_LAST_ROLE,
    WANT_TOOL_NAME,
    WANT_TOOL_PARAMETERS,
    WANT_TOOL_CHOICE,
    WANT_ENCODING,
    WANT_DIMENSIONS,
    WANT_COUNT
};

/* clang-format off */
static const char *const want_paths[WANT_COUNT] = {
    [WANT_MODEL] = "model",
    [WANT_STREAM] = "stream",
    [WANT_MAX_TOKENS] = "max_tokens",
    [WANT_MAX_COMPLETION_TOKENS] = "max_completion_tokens",
    [WANT_INCLUDE_USAGE] = "stream_options.include_usage",
    [WANT_N] = "n",
    [WANT_MESSAGES] = "messages",
    [WANT_PROMPT] = "prompt",
    [WANT_INPUT] = "input",
    [WANT_LAST_ROLE] = "messages.*.role",
    [WANT_TOOL_NAME] = "tools.0.function.name",
    [WANT_TOOL_PARAMETERS] = "tools.0.function.parameters",
    [WANT_TOOL_CHOICE] = "tool_choice",
    [WANT_ENCODING] = "encoding_format",
    [WANT_DIMENSIONS] = "dimensions",
};
/* clang-format on */
static const struct json_want *want;

/* What intake has in hand. */
struct intake {
    struct mock_worker *worker;
    struct http_request *request;
    struct json_found found[WANT_COUNT];
};

void job_init(void)
{
    want = json_want_compile(want_paths, WANT_COUNT);
}

size_t job_bytes(void)
{
    return sizeof(struct job);
}

static void job_free(struct job *j)
{
    struct mock_worker *w = j->worker;
    timer_clear(w->loop, &j->timer);
    http_set_user(j->conn, NULL);
    buf_fini(&j->made);
    buf_fini(&j->raw);
    arena_fini(&j->arena);
    pool_put(&w->jobs, j);
}

char *job_text_room(struct mock_worker *w, size_t bytes)
{
    if (w->text.cap > TEXT_KEEP_BYTES)
        buf_fini(&w->text);
    buf_clear(&w->text);
    return buf_room(&w->text, bytes);
}

static void reply_error(struct mock_worker *w, struct http_conn *c, int status, struct str headers,
                        const char *message)
{
    buf_clear(&w->text);
    ENSURE(answer_error(&w->text, status, message));
    http_reply(c, status, STR("application/json"), headers, buf_str(&w->text));
}

void job_refuse(struct mock_worker *w, struct http_conn *c, int status, const char *message)
{
    reply_error(w, c, status, STR_NONE, message);
}

/* ---- play: the end of an answer ---- */

void job_count_usage(const struct job *j)
{
    const struct answer *a = &j->answer;
    tally_add(j->slot, TALLY_PROMPT_TOKENS, (uint64_t)a->prompt_tokens);
    tally_add(j->slot, TALLY_COMPLETION_TOKENS, (uint64_t)answer_completion_tokens(a));
    tally_add(j->slot, TALLY_CACHED_TOKENS, (uint64_t)a->cached_tokens);
    tally_add(j->slot, TALLY_REASONING_TOKENS, (uint64_t)a->reasoning_tokens);
}

void job_end_partial(struct job *j, enum tally_counter how)
{
    if (how == TALLY_CANCELLED)
        tally_cancel(j->slot, j->arrived_ns, clock_mono_ns());
    else
        tally_add(j->slot, how, 1);
    tally_add(j->slot, TALLY_PARTIAL_TOKENS, (uint64_t)j->sent * j->answer.choices);
    job_free(j);
}

/* Sends what is queued now, for the account: when was it handed to the kernel, and was all of it? */
static void send_now(struct job *j)
{
    uint64_t sent_ns = clock_mono_ns();
    struct times_row *row = &j->row;
    if (http_flush_now(j->conn)) {
        j->timed = false; /* the client does not keep up: the rest goes when it can */
        times_leave_out(&j->worker->times);
        return;
    }
    row->end_ns = sent_ns;
    if (row->tokens == j->sent)
        return;
    for (uint32_t k = row->tokens; k < j->sent; k++)
        if (k > 0)
            times_gap(&j->worker->times, k == row->tokens ? sent_ns - row->last_token_ns : 0);
    if (!row->tokens)
        row->first_token_ns = sent_ns;
    row->last_token_ns = sent_ns;
    row->tokens = j->sent;
}

static void close_account(struct job *j)
{
    struct times_row *row = &j->row;
    row->stream = j->phase == JOB_STREAMING;
    send_now(j);
    if (!j->timed)
        return;
    if (!row->stream) {
        row->first_token_ns = row->last_token_ns = row->end_ns;
        row->tokens = j->answer.tokens;
    }
    times_add(&j->worker->times, row);
}

void job_end(struct job *j)
{
    struct http_conn *c = j->conn;
    tally_add(j->slot, TALLY_COMPLETED, 1);
    http_end(c);
    if (j->timed)
        close_account(j);
    job_free(j);
}

/* The header lines that say when to come again. */
static struct str retry_lines(const struct job *j, char *out, size_t room)
{
    const int64_t *v = j->knobs.v;
    size_t n = 0;
    out[0] = '\0';
    if (v[SIM_RETRY_AFTER])
        n += (size_t)snprintf(out, room, "retry-after: %lld\r\n", (long long)v[SIM_RETRY_AFTER]);
    if (v[SIM_RETRY_AFTER_MS])
        n += (size_t)snprintf(out + n, room - n, "retry-after-ms: %lld\r\n",
                              (long long)v[SIM_RETRY_AFTER_MS]);
    if (v[SIM_RETRY_AFTER_DATE]) {
        time_t when = time(NULL) + (time_t)v[SIM_RETRY_AFTER_DATE];
        struct tm tm;
        gmtime_r(&when, &tm);
        n += strftime(out + n, room - n, "retry-after: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
    }
    return (struct str){out, n};
}

static void play_error(struct job *j)
{
    struct http_conn *c = j->conn;
    char lines[160];
    tally_add(j->slot, TALLY_STATUS + j->status, 1);
    tally_add(j->slot, TALLY_COMPLETED, 1);
    reply_error(j->worker, c, j->status, retry_lines(j, lines, sizeof lines),
                j->why[0] ? j->why : NULL);
    job_free(j);
}

/* ---- play: whole answers ---- */

struct str job_whole_text(struct job *j)
{
    struct str made = buf_str(&j->made);
    char *start = made.n ? NULL : job_text_room(j->worker, answer_room(&j->answer));
    return start ? (struct str){start, (size_t)(answer_whole(&j->answer, start) - start)} : made;
}

/* What a fault leaves of a plain answer's body: half of it. */
static void play_half(struct job *j, struct str text)
{
    const int64_t *v = j->knobs.v;
    http_body(j->conn, (struct str){text.p, text.n / 2});
    if (v[SIM_STALL_AFTER] >= 0) {
        fault_count(j, SIM_STALL_AFTER);
        j->phase = JOB_STALLED;
    } else if (v[SIM_RESET_AFTER] >= 0) {
        fault_count(j, SIM_RESET_AFTER);
        fault_reset_soon(j);
    } else {
        fault_count(j, SIM_CUT_AFTER);
        http_abort(j->conn);
        job_end_partial(j, TALLY_CUT);
    }
}

static void play_whole(struct job *j)
{
    struct http_conn *c = j->conn;
    const int64_t *v = j->knobs.v;
    struct str text = job_whole_text(j);
    if (!text.n) {
        j->status = 500;
        play_error(j);
        return;
    }
    tally_add(j->slot, TALLY_STATUS + 200, 1);
    http_begin(c, 200, STR("content-type: application/json\r\n"), (int64_t)text.n);
    if (v[SIM_STALL_AFTER] >= 0 || v[SIM_CUT_AFTER] >= 0 || v[SIM_RESET_AFTER] >= 0) {
        play_half(j, text);
        return;
    }
    http_body(c, text);
    job_count_usage(j);
    job_end(j);
}

/* ---- play: streams ---- */

static void begin_stream(struct job *j)
{
    tally_add(j->slot, TALLY_STATUS + 200, 1);
    http_begin(j->conn, 200,
               STR("content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"),
               -1);
    answer_frames_init(&j->frames, &j->answer);
    j->phase = JOB_STREAMING;
}

static void send_frame(struct job *j, const char *start, const char *end)
{
    http_body(j->conn, (struct str){start, (size_t)(end - start)});
}

static void send_token(struct job *j, char *room)
{
    uint32_t k = j->sent++;
    tally_add(j->slot, TALLY_SENT_TOKENS, j->answer.choices);
    for (uint32_t choice = 0; k == 0 && choice < j->answer.choices; choice++)
        send_frame(j, room, answer_first(&j->frames, room, choice));
    for (uint32_t choice = 0; choice < j->answer.choices; choice++)
        send_frame(j, room, answer_token(&j->frames, room, choice, k));
}

static void finish_stream(struct job *j, char *room)
{
    const struct answer *a = &j->answer;
    bool unfinished = sim_knob_on(&j->knobs, SIM_NO_END);
    for (uint32_t choice = 0; !a->tokens && choice < a->choices; choice++)
        send_frame(j, room, answer_first(&j->frames, room, choice));
    if (unfinished) {
        fault_count(j, SIM_NO_END);
        http_end(j->conn);
        job_end_partial(j, TALLY_CUT);
        return;
    }
    for (uint32_t choice = 0; choice < a->choices; choice++)
        send_frame(j, room, answer_finish(&j->frames, room, choice));
    if (a->usage)
        send_frame(j, room, answer_usage(&j->frames, room));
    http_body(j->conn, ANSWER_DONE);
    job_count_usage(j);
    job_end(j);
}

static void error_in_stream(struct job *j)
{
    struct http_conn *c = j->conn;
    struct buf *b = &j->worker->text;
    buf_clear(b);
    ENSURE(buf_append_str(b, STR("data: ")) && answer_error(b, 500, NULL) &&
           buf_append_str(b, STR("\n\n")));
    http_body(c, buf_str(b));
    http_end(c);
    job_end_partial(j, TALLY_STREAM_ERRORS);
}

/* Does the stream stop at this token, as a knob says? Then it has been dealt with. */
static bool stops_here(struct job *j)
{
    const int64_t *v = j->knobs.v;
    if (v[SIM_CUT_AFTER] == j->sent) {
        fault_count(j, SIM_CUT_AFTER);
        http_abort(j->conn);
        job_end_partial(j, TALLY_CUT);
    } else if (v[SIM_RESET_AFTER] == j->sent) {
        fault_count(j, SIM_RESET_AFTER);
        fault_reset_soon(j);
    } else if (v[SIM_STALL_AFTER] == j->sent) {
        fault_count(j, SIM_STALL_AFTER);
        j->phase = JOB_STALLED;
    } else if (v[SIM_ERROR_AFTER] == j->sent) {
        fault_count(j, SIM_ERROR_AFTER);
        error_in_stream(j);
    } else {
        return false;
    }
    return true;
}

/* Sends what is due, and sets the timer for what is not. */
static void play_stream(struct job *j)
{
    struct mock_worker *w = j->worker;
    uint64_t now_ns = clock_mono_ns();
    if (http_queued(j->conn) && http_flush_now(j->conn))
        return; /* the socket is full: on_drained goes on */
    char *room = job_text_room(w, answer_frame_room(&j->answer));
    ENSURE(room); /* bounded by SIM_FRAME_BYTES */
    while (!stops_here(j)) {
        if (j->sent == j->answer.tokens) {
            finish_stream(j, room);
            return;
        }
        uint64_t due_ns = sim_due_ns(&j->schedule, j->sent);
        if (http_queued(j->conn) >= QUEUE_HIGH_BYTES)
            due_ns = MAX(due_ns, now_ns + 1); /* others have their turn */
        if (due_ns > now_ns) {
            if (j->timed && j->row.tokens < j->sent)
                send_now(j);
            timer_set(w->loop, &j->timer, due_ns);
            return;
        }
        send_token(j, room);
    }
}

static void play(struct job *j)
{
    bool due = j->phase == JOB_WHOLE || j->phase == JOB_STREAM;
    if (due && j->knobs.faulty && fault_play(j))
        return;
    switch (j->phase) {
    case JOB_ERROR: play_error(j); break;
    case JOB_WHOLE: play_whole(j); break;
    case JOB_STREAM:
        begin_stream(j);
        play_stream(j);
        break;
    case JOB_STREAMING: play_stream(j); break;
    case JOB_STALLED: break;
    case JOB_DRIBBLING:
    case JOB_RESETTING: fault_go_on(j); break;
    }
}

static void timer_fired(struct timer *t)
{
    play(CONTAINER(t, struct job, timer));
}

void job_drained(struct http_conn *c)
{
    struct job *j = http_user(c);
    if (j && j->phase == JOB_STREAMING && !timer_armed(&j->timer))
        play_stream(j);
}

void job_gone(struct http_conn *c)
{
    struct job *j = http_user(c);
    if (j)
        job_end_partial(j, TALLY_CANCELLED);
}

/* When the first byte of the answer is due: a whole answer comes when its last token would. */
static uint64_t first_due_ns(const struct job *j, uint64_t delayed_ns)
{
    if (j->phase != JOB_WHOLE || !j->answer.tokens)
        return delayed_ns;
    return sim_due_ns(&j->schedule, j->answer.tokens - 1);
}

/* Is it one of those that slow-ms is for? */
static bool takes_longer(struct job *j)
{
    uint64_t nth = __atomic_fetch_add(&j->worker->mock->slow_seen, 1, __ATOMIC_RELAXED);
    if (!sim_is_slow(&j->knobs, nth))
        return false;
    tally_add(j->slot, TALLY_SLOW, 1);
    return true;
}

static void open_account(struct job *j, const struct http_request *r, uint64_t delayed_ns)
{
    j->timed = j->phase != JOB_ERROR && !j->knobs.faulty;
    j->row = (struct times_row){
        .number = j->answer.number,
        .arrived_ns = r->received_ns ? r->received_ns : r->arrived_ns,
        .read_ns = r->arrived_ns,
        .due_ns =
            j->phase == JOB_STREAM ? sim_due_ns(&j->schedule, 0) : first_due_ns(j, delayed_ns),
    };
}

static void start(struct job *j, const struct http_request *r)
{
    const int64_t *v = j->knobs.v;
    uint64_t delayed_ns = r->arrived_ns + (uint64_t)v[SIM_DELAY_MS] * NS_PER_MS;
    if (v[SIM_SLOW_PER_MILLION] && takes_longer(j))
        delayed_ns += (uint64_t)v[SIM_SLOW_MS] * NS_PER_MS;
    j->schedule = sim_schedule_make(&j->knobs, delayed_ns, j->answer.seed);
    uint64_t due_ns = first_due_ns(j, delayed_ns);
    bool now = due_ns <= r->arrived_ns;
    if (times_kept(&j->worker->times))
        open_account(j, r, delayed_ns);
    http_release_body(j->conn); /* and `r` with it */
    if (now)
        play(j);
    else
        timer_set(j->worker->loop, &j->timer, due_ns);
}

/* ---- intake ---- */

static struct str found_raw(const struct intake *in, enum want what)
{
    const struct json_found *f = &in->found[what];
    return (struct str){in->request->body.p + f->start, (size_t)(f->end - f->start)};
}

static struct str found_string(const struct intake *in, enum want what)
{
    struct str raw = found_raw(in, what);
    return in->found[what].kind == JSON_STRING ? (struct str){raw.p + 1, raw.n - 2} : STR_NONE;
}

/* An optional whole number. False: it is there and is not one within the bounds. */
static bool found_number(const struct intake *in, enum want what, int64_t min, int64_t max,
                         int64_t *out)
{
    const struct json_found *f = &in->found[what];
    int64_t value;
    if (f->kind == JSON_NONE || f->kind == JSON_NULL)
        return true;
    if (!json_found_i64(f, &value) || value < min || value > max)
        return false;
    *out = value;
    return true;
}

/* The job becomes an error answer; returns false for the caller to pass on. */
PRINTF_LIKE(3, 4) static bool fail(struct job *j, int status, const char *fmt, ...)
{
    va_list args;
    j->phase = JOB_ERROR;
    j->status = status;
    va_start(args, fmt);
    vsnprintf(j->why, sizeof j->why, fmt, args);
    va_end(args);
    return false;
}

/* The job for a request: counted, with the knobs of its model, not more. */
static struct job *job_new(struct intake *in, struct http_conn *c)
{
    struct mock_worker *w = in->worker;
    struct job *j = pool_get(&w->jobs);
    memset(j, 0, offsetof(struct job, why));
    j->why[0] = '\0';
    j->phase = JOB_WHOLE;
    j->worker = w;
    j->conn = c;
    j->timer.on_fire = timer_fired;
    j->arrived_ns = in->request->arrived_ns;
    j->answer.number = (uint64_t)w->index << 24 | (w->requests++ & 0xffffff);
    j->answer.choices = 1;
    buf_init(&j->made, 0, NULL);
    buf_init(&j->raw, 0, NULL);
    arena_init(&j->arena, NULL, 0);
    http_set_user(c, j);
    return j;
}

static bool apply_headers(struct job *j, const struct h1_head *head)
{
    for (int i = 0; i < head->header_count; i++) {
        const struct h1_header *h = &head->headers[i];
        if (h->field == H1_OTHER && sim_knob_like(h->name) &&
            !sim_knob_set(&j->knobs, h->name, h->value, j->why, sizeof j->why)) {
            j->phase = JOB_ERROR;
            j->status = 400;
            return false;
        }
    }
    return true;
}

/* Model, knobs and count: for every request whose body is JSON. `*row` is NULL for a name that is
 * not in the table. */
static bool take_model(struct job *j, struct intake *in, const struct sim_model **row)
{
    struct mock *m = in->worker->mock;
    struct str model = found_string(in, WANT_MODEL);
    bool too_long = model.n > sizeof j->model;
    j->answer.model = (struct str){j->model, too_long ? 0 : model.n};
    if (j->answer.model.n)
        memcpy(j->model, model.p, model.n);
    j->slot = tally_slot(&in->worker->tally, j->answer.model);
    tally_add(j->slot, TALLY_REQUESTS, 1);
    if (too_long)
        return fail(j, 400, "model: the name is longer than %zu bytes", sizeof j->model);
    if (!model.n)
        return fail(j, 400, "you must provide a model parameter");
    *row = sim_model_find(j->answer.model);
    if (!*row && m->options.known_models_only)
        return fail(j, 404, "The model `%.*s` does not exist.", STR_ARG(j->answer.model));
    j->knobs = *row ? m->model_knobs[*row - sim_models] : m->options.knobs;
    rules_apply(&m->rules, j->answer.model, &j->knobs);
    return apply_headers(j, in->request->head);
}

/* The text's seed, and whether the dice say error. */
static bool take_prompt(struct job *j, const struct intake *in, enum want what)
{
    struct mock *m = in->worker->mock;
    struct str prompt = found_raw(in, what);
    j->answer.prompt_tokens = (int64_t)sim_count_tokens(prompt);
    j->answer.seed = sim_seed(j->answer.model, prompt, m->options.seed);
    uint32_t nth = 0;
    if (j->knobs.v[SIM_ERRORS_PER_MILLION])
        nth = __atomic_fetch_add(&m->seen[j->answer.seed % MOCK_SEEN_SLOTS], 1, __ATOMIC_RELAXED);
    j->status = sim_error_status(&j->knobs, j->answer.seed, nth);
    if (j->status)
        j->phase = JOB_ERROR;
    if (j->knobs.v[SIM_STATUS])
        fault_count(j, SIM_STATUS);
    return j->status == 0;
}

static bool tool_wanted(const struct intake *in, const struct sim_model *row)
{
    return row && row->tools && found_string(in, WANT_TOOL_NAME).n &&
           !str_eq(found_string(in, WANT_TOOL_CHOICE), STR("none")) &&
           !str_eq(found_string(in, WANT_LAST_ROLE), STR("tool"));
}

/* A tool call instead of words. */
static void take_tool(struct job *j, const struct intake *in)
{
    struct answer *a = &j->answer;
    struct str raw = found_string(in, WANT_TOOL_NAME);
    char *name = arena_alloc(&j->arena, raw.n);
    a->tool_name = (struct str){name, json_unescape(raw, name, raw.n)};
    struct str schema = in->found[WANT_TOOL_PARAMETERS].kind == JSON_OBJECT
                            ? found_raw(in, WANT_TOOL_PARAMETERS)
                            : STR_NONE;
    a->tool_arguments = answer_arguments(&j->arena, schema, a->seed);
    a->tokens = (uint32_t)sim_piece_count(a->tool_arguments);
    a->cut_short = false; /* a call is short, and half of one is of no use to anybody */
}

static bool take_lengths(struct job *j, const struct intake *in)
{
    struct answer *a = &j->answer;
    int64_t choices = 1, limit = INT64_MAX;
    if (!found_number(in, WANT_N, 1, CHOICES_MAX, &choices))
        return fail(j, 400, "n: expected a whole number from 1 to %d", CHOICES_MAX);
    if (!found_number(in, WANT_MAX_TOKENS, 1, INT64_MAX, &limit) ||
        !found_number(in, WANT_MAX_COMPLETION_TOKENS, 1, INT64_MAX, &limit))
        return fail(j, 400, "max_tokens: expected a whole number of at least 1");
    a->choices = (uint32_t)choices;
    a->tokens = (uint32_t)j->knobs.v[SIM_TOKENS];
    if (limit < a->tokens) {
        a->tokens = (uint32_t)limit;
        a->cut_short = true;
    }
    if ((int64_t)a->tokens * choices > TOKENS_TOTAL_MAX)
        return fail(j, 400, "n: the simulator sends at most %d tokens an answer", TOKENS_TOTAL_MAX);
    return true;
}

/* What a chat or completion request asks for. False: it became an error. */
static bool take_generation(struct job *j, struct intake *in, enum answer_kind kind)
{
    const struct sim_model *row = NULL;
    enum want prompt = kind == ANSWER_CHAT ? WANT_MESSAGES : WANT_PROMPT;
    struct answer *a = &j->answer;
    a->kind = kind;
    if (!take_model(j, in, &row))
        return false;
    bool stream = in->found[WANT_STREAM].kind == JSON_TRUE;
    if (stream)
        tally_add(j->slot, TALLY_STREAMS, 1);
    if (kind == ANSWER_CHAT && in->found[prompt].kind != JSON_ARRAY)
        return fail(j, 400, "messages: expected an array of messages");
    if (in->found[prompt].kind == JSON_NONE)
        return fail(j, 400, "prompt: expected a string or an array");
    if (!take_prompt(j, in, prompt) || !take_lengths(j, in))
        return false;
    if (kind == ANSWER_CHAT && tool_wanted(in, row))
        take_tool(j, in);
    if (row && row->reasoning_tokens) {
        a->usage_details = true;
        a->reasoning_tokens = row->reasoning_tokens;
        a->cached_tokens = a->prompt_tokens / 2;
    }
    a->created_s = clock_real_us() / 1000000;
    a->usage_null =
        stream && in->found[WANT_INCLUDE_USAGE].kind == JSON_TRUE && !j->knobs.v[SIM_NO_USAGE];
    a->usage = stream ? a->usage_null : !j->knobs.v[SIM_NO_USAGE];
    a->frame_bytes = (size_t)j->knobs.v[SIM_FRAME_BYTES];
    a->body_bytes = (size_t)j->knobs.v[SIM_BODY_BYTES];
    a->stamp = j->knobs.v[SIM_STAMP];
    j->phase = stream ? JOB_STREAM : JOB_WHOLE;
    return true;
}

/* Scans the body. NULL: answered already, the body was not JSON. */
static struct job *open_job(struct intake *in, struct mock_worker *w, struct http_conn *c,
                            struct http_request *r)
{
    in->worker = w;
    in->request = r;
    json_scan_init(&w->scan, want, in->found);
    enum json_status s = json_scan_feed(&w->scan, r->body.p, r->body.n);
    if (s == JSON_MORE)
        s = json_scan_finish(&w->scan);
    if (s == JSON_DONE)
        return job_new(in, c);
    struct tally_slot *slot = tally_slot(&w->tally, STR(""));
    tally_add(slot, TALLY_REQUESTS, 1);
    tally_add(slot, TALLY_COMPLETED, 1);
    tally_add(slot, TALLY_STATUS + 400, 1);
    char why[160];
    snprintf(why, sizeof why, "We could not parse the JSON body of your request: byte %llu: %s",
             (unsigned long long)w->scan.offset, w->scan.bad ? w->scan.bad : "it ends too early");
    job_refuse(w, c, 400, why);
    return NULL;
}

static void generate(struct mock_worker *w, struct http_conn *c, struct http_request *r,
                     enum answer_kind kind)
{
    struct intake in;
    struct job *j = open_job(&in, w, c, r);
    if (!j)
        return;
    (void)take_generation(j, &in, kind); /* an error is a job as well: it may have to wait */
    start(j, r);
}

void job_chat(struct mock_worker *w, struct http_conn *c, struct http_request *r)
{
    generate(w, c, r, ANSWER_CHAT);
}

void job_completion(struct mock_worker *w, struct http_conn *c, struct http_request *r)
{
    generate(w, c, r, ANSWER_TEXT);
}

/* ---- embeddings ---- */

/* One input is a string or an array of token numbers; several are an array of these. */
static bool is_several(const struct intake *in)
{
    struct str rest = str_skip(found_raw(in, WANT_INPUT), 1), first;
    return in->found[WANT_INPUT].kind == JSON_ARRAY && sim_next_element(&rest, &first) &&
           (first.p[0] == '"' || first.p[0] == '[');
}

static bool write_vectors(struct job *j, const struct intake *in, size_t dims)
{
    struct buf *b = &j->made;
    struct str input = found_raw(in, WANT_INPUT), rest = str_skip(input, 1), element = input;
    bool several = is_several(in), base64 = str_eq(found_string(in, WANT_ENCODING), STR("base64"));
    uint64_t seed = in->worker->mock->options.seed;
    size_t n = 0;
    for (; several ? sim_next_element(&rest, &element) : n == 0; n++) {
        if (n >= INPUTS_MAX || (n + 1) * dims > COMPONENTS_MAX)
            return fail(j, 400, "input: the simulator takes at most %d inputs and %d components",
                        INPUTS_MAX, COMPONENTS_MAX);
        if ((n && !buf_append_str(b, STR(","))) ||
            !answer_embedding(b, n, sim_seed(j->answer.model, element, seed), dims, base64))
            return fail(j, 500, "input: out of memory");
    }
    return true;
}

static bool take_embeddings(struct job *j, struct intake *in)
{
    const struct sim_model *row = NULL;
    int64_t dims = DIMS_DEFAULT;
    struct answer *a = &j->answer;
    a->kind = ANSWER_EMBEDDINGS;
    if (!take_model(j, in, &row))
        return false;
    uint8_t kind = in->found[WANT_INPUT].kind;
    if (kind != JSON_STRING && kind != JSON_ARRAY)
        return fail(j, 400, "input: expected a string or an array");
    if (!found_number(in, WANT_DIMENSIONS, 1, ANSWER_DIMS_MAX, &dims))
        return fail(j, 400, "dimensions: expected a whole number from 1 to %d", ANSWER_DIMS_MAX);
    if (!take_prompt(j, in, WANT_INPUT))
        return false;
    if (!buf_append_str(&j->made, STR("{\"object\":\"list\",\"data\":[")) ||
        !write_vectors(j, in, (size_t)dims))
        return j->phase != JOB_ERROR ? fail(j, 500, "input: out of memory") : false;
    bool ok = buf_printf(&j->made, "],\"model\":\"%.*s\"", STR_ARG(a->model));
    if (!j->knobs.v[SIM_NO_USAGE])
        ok = ok && buf_printf(&j->made, ",\"usage\":{\"prompt_tokens\":%lld,\"total_tokens\":%lld}",
                              (long long)a->prompt_tokens, (long long)a->prompt_tokens);
    return (ok && buf_append_str(&j->made, STR("}"))) || fail(j, 500, "input: out of memory");
}

void job_embeddings(struct mock_worker *w, struct http_conn *c, struct http_request *r)
{
    struct intake in;
    struct job *j = open_job(&in, w, c, r);
    if (!j)
        return;
    (void)take_embeddings(j, &in);
    start(j, r);
}
