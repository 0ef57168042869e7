/* fault.c -- answers that are wrong on purpose: one function or canned answer a fault, found by table.
 *
 * job.c comes here when an answer is due and a fault may be set. Faults that happen in the middle of a stream (cut-after, stall-after,
 * reset-after, error-in-stream, no-end) are job.c's own, and errors by status too: they are ordinary answers.
 *
 * What HTTP's framing would not let out (half a head, a wrong length) is made as bytes first: render writes the whole good answer, head and
 * framing included, into the job's `raw`, and a fault then sends part of it, or all of it slowly. Thread: the worker's. */
#include "mock/job_internal.h"

#define RAW_BYTES_MAX  (64u << 20)
#define RESET_AFTER_MS 20 /* what was sent before has arrived by then: a reset may overtake it */
#define EXTRA_BYTES    100

void fault_count(struct job *j, enum sim_knob fault)
{
    tally_add(j->slot, TALLY_FAULT + (int)fault, 1);
}

/* ---- a good answer as bytes ---- */

enum framing { FRAMED_RIGHT, FRAMED_CHUNKED, FRAMED_TOO_LONG, FRAMED_TOO_SHORT };

static bool put_piece(struct buf *b, struct str piece, bool chunked)
{
    return !chunked ? buf_append_str(b, piece)
                    : buf_printf(b, "%zx\r\n", piece.n) && buf_append_str(b, piece) &&
                          buf_append_str(b, STR("\r\n"));
}

static bool put_frame(struct buf *b, const char *start, const char *end, bool chunked)
{
    return end == start || put_piece(b, (struct str){start, (size_t)(end - start)}, chunked);
}

static bool render_stream(struct job *j, struct buf *b, bool chunked)
{
    const struct answer *a = &j->answer;
    struct answer_frames *f = &j->frames;
    answer_frames_init(f, a);
    char *room = job_text_room(j->worker, answer_frame_room(a));
    bool ok = room != NULL;
    for (uint32_t choice = 0; ok && choice < a->choices; choice++)
        ok = put_frame(b, room, answer_first(f, room, choice), chunked);
    for (uint32_t k = 0; k < a->tokens; k++)
        for (uint32_t choice = 0; ok && choice < a->choices; choice++)
            ok = put_frame(b, room, answer_token(f, room, choice, k), chunked);
    for (uint32_t choice = 0; ok && choice < a->choices; choice++)
        ok = put_frame(b, room, answer_finish(f, room, choice), chunked);
    if (ok && a->usage)
        ok = put_frame(b, room, answer_usage(f, room), chunked);
    return ok && put_piece(b, ANSWER_DONE, chunked);
}

static bool render_whole(struct job *j, struct buf *b, bool chunked)
{
    struct str text = job_whole_text(j), half = {text.p, text.n / 2};
    return text.n && put_piece(b, half, chunked) && put_piece(b, str_skip(text, half.n), chunked);
}

static bool render(struct job *j, enum framing framing)
{
    bool stream = j->phase == JOB_STREAM;
    bool chunked = framing == FRAMED_CHUNKED || (framing == FRAMED_RIGHT && stream);
    struct buf body;
    buf_init(&body, RAW_BYTES_MAX, NULL);
    bool ok = stream ? render_stream(j, &body, chunked) : render_whole(j, &body, chunked);
    ok = ok && (!chunked || buf_append_str(&body, STR("0\r\n\r\n")));
    size_t said = buf_used(&body);
    if (framing == FRAMED_TOO_LONG)
        said += EXTRA_BYTES;
    else if (framing == FRAMED_TOO_SHORT)
        said /= 2;
    ok = ok && buf_printf(&j->raw, "HTTP/1.1 200 OK\r\ncontent-type: %s\r\n",
                          stream ? "text/event-stream; charset=utf-8" : "application/json");
    ok = ok && (chunked ? buf_append_str(&j->raw, STR("transfer-encoding: chunked\r\n\r\n"))
                        : buf_printf(&j->raw, "content-length: %zu\r\n\r\n", said));
    j->raw_head = buf_used(&j->raw);
    ok = ok && buf_append_str(&j->raw, buf_str(&body));
    buf_fini(&body);
    return ok;
}

/* ---- ends ---- */

static void close_now(struct job *j)
{
    http_abort(j->conn);
    job_end_partial(j, TALLY_CUT);
}

static void reset_now(struct job *j)
{
    http_reset(j->conn);
    job_end_partial(j, TALLY_CUT);
}

static void hang(struct job *j)
{
    j->phase = JOB_STALLED;
}

void fault_reset_soon(struct job *j)
{
    j->phase = JOB_RESETTING;
    timer_set(j->worker->loop, &j->timer, clock_mono_ns() + RESET_AFTER_MS * NS_PER_MS);
}

static void reply(struct job *j, int status, const char *content_type, struct str body)
{
    tally_add(j->slot, TALLY_STATUS + status, 1);
    http_begin(j->conn, status,
               content_type[0] ? str_from(content_type) : STR("content-type: application/json\r\n"),
               (int64_t)body.n);
    http_body(j->conn, body);
    job_end(j);
}

/* ---- faults that send part of a good answer ---- */

static void garbage(struct job *j)
{
    http_raw(j->conn, STR("220 weir.test ESMTP ready, which is not HTTP\r\n"));
    close_now(j);
}

/* How much of the rendered answer is sent, and how it ends: one row a fault. */
enum extent { HALF_HEAD, WHOLE_HEAD, MOST, ALL };
/* clang-format off */
static const struct part {
    enum sim_knob fault;
    enum framing framing;
    enum extent extent;
    void (*end)(struct job *j);
} parts[] = {
    {SIM_CUT_HEAD,         FRAMED_RIGHT,     HALF_HEAD,  close_now},
    {SIM_HANG_IN_HEAD,     FRAMED_RIGHT,     HALF_HEAD,  hang},
    {SIM_HANG_BODY,        FRAMED_RIGHT,     WHOLE_HEAD, hang},
    {SIM_LENGTH_TOO_LONG,  FRAMED_TOO_LONG,  ALL,        close_now},
    {SIM_LENGTH_TOO_SHORT, FRAMED_TOO_SHORT, ALL,        close_now},
    {SIM_CUT_CHUNK,        FRAMED_CHUNKED,   MOST,       close_now},
};
/* clang-format on */

static void send_part(struct job *j, const struct part *part)
{
    struct str raw = buf_str(&j->raw);
    size_t bytes[] = {
        [HALF_HEAD] = j->raw_head / 2,
        [WHOLE_HEAD] = j->raw_head,
        [MOST] = j->raw_head + (raw.n - j->raw_head) * 3 / 5,
        [ALL] = raw.n,
    };
    if (part->extent != HALF_HEAD)
        tally_add(j->slot, TALLY_STATUS + 200, 1);
    http_raw(j->conn, (struct str){raw.p, bytes[part->extent]});
    part->end(j);
}

/* ---- byte by byte ---- */

static void dribble(struct job *j)
{
    struct str left = str_skip(buf_str(&j->raw), j->raw_sent);
    bool all = !sim_knob_on(&j->knobs, SIM_SLOW_BYTES) && j->raw_sent >= j->raw_head;
    int64_t step_ms = MAX(j->knobs.v[SIM_SLOW_BYTES], j->knobs.v[SIM_SLOW_HEAD]);
    size_t n = all ? left.n : 1;
    http_raw(j->conn, (struct str){left.p, n});
    j->raw_sent += n;
    if (n < left.n) {
        timer_set(j->worker->loop, &j->timer, clock_mono_ns() + (uint64_t)step_ms * NS_PER_MS);
        return;
    }
    job_count_usage(j);
    job_end(j);
}

static void start_dribble(struct job *j)
{
    tally_add(j->slot, TALLY_STATUS + 200, 1);
    j->phase = JOB_DRIBBLING;
    dribble(j);
}

void fault_go_on(struct job *j)
{
    if (j->phase == JOB_DRIBBLING)
        dribble(j);
    else
        reset_now(j);
}

/* ---- answers that are not what was asked for ---- */

#define TEXT_HTML "content-type: text/html\r\n"

/* clang-format off */
static const struct canned {
    enum sim_knob fault;
    int status; /* 0: the fault's value */
    const char *content_type; /* the header line; "": JSON */
    struct str body;
} canned[] = {
    {SIM_CONTEXT_WINDOW, 400, "", STR("{\"error\":{\"message\":\"This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens. Please reduce the length of the messages.\",\"type\":\"invalid_request_error\",\"param\":\"messages\",\"code\":\"context_length_exceeded\"}}")},
    {SIM_CONTENT_POLICY, 400, "", STR("{\"error\":{\"message\":\"Your request was rejected as a result of our safety system.\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"content_policy_violation\"}}")},
    {SIM_CONTENT_FILTER, 400, "", STR("{\"error\":{\"message\":\"The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry.\",\"type\":null,\"param\":\"prompt\",\"code\":\"content_filter\",\"status\":400,\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\"}}}")},
    {SIM_HTML_ERROR, 0, TEXT_HTML, STR("<html>\r\n<head><title>Bad Gateway</title></head>\r\n<body>\r\n<center><h1>Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n")},
    {SIM_ERROR_IN_200, 200, "", STR("{\"error\":{\"message\":\"The server had an error processing your request.\",\"type\":\"server_error\",\"param\":null,\"code\":\"internal_error\"}}")},
    {SIM_EMPTY_200, 200, "", {"", 0}},
    {SIM_NOT_JSON, 200, "", STR("OK, here is what you asked for.")},
};
/* clang-format on */

static void huge_error(struct job *j)
{
    static const struct str head = STR("{\"error\":{\"message\":\"");
    static const struct str tail =
        STR("\",\"type\":\"server_error\",\"param\":null,\"code\":\"internal_error\"}}");
    size_t n = (size_t)j->knobs.v[SIM_HUGE_ERROR];
    char *start = job_text_room(j->worker, head.n + n + tail.n);
    ENSURE(start); /* bounded by the knob */
    memcpy(start, head.p, head.n);
    memset(start + head.n, 'x', n);
    memcpy(start + head.n + n, tail.p, tail.n);
    reply(j, 500, "", (struct str){start, head.n + n + tail.n});
}

static void cut_json(struct job *j)
{
    struct str text = job_whole_text(j);
    reply(j, 200, "", (struct str){text.p, text.n / 2});
}

/* clang-format off */
static const struct {
    enum sim_knob fault;
    void (*play)(struct job *j);
} plays[] = {
    {SIM_CLOSE_BEFORE_HEAD, close_now},
    {SIM_RESET_BEFORE_HEAD, reset_now},
    {SIM_HANG_HEAD,         hang},
    {SIM_GARBAGE,           garbage},
    {SIM_HUGE_ERROR,        huge_error},
    {SIM_CUT_JSON,          cut_json},
};
/* clang-format on */

/* Faults for which the answer is rendered first. False: none of them is set. */
static bool play_rendered(struct job *j)
{
    const struct part *part = NULL;
    for (size_t i = 0; !part && i < COUNT(parts); i++)
        if (sim_knob_on(&j->knobs, parts[i].fault))
            part = &parts[i];
    enum sim_knob slow = sim_knob_on(&j->knobs, SIM_SLOW_BYTES) ? SIM_SLOW_BYTES : SIM_SLOW_HEAD;
    if (!part && !sim_knob_on(&j->knobs, slow))
        return false;
    fault_count(j, part ? part->fault : slow);
    if (!render(j, part ? part->framing : FRAMED_RIGHT))
        close_now(j); /* larger than RAW_BYTES_MAX */
    else if (part)
        send_part(j, part);
    else
        start_dribble(j);
    return true;
}

bool fault_play(struct job *j)
{
    for (size_t i = 0; i < COUNT(plays); i++) {
        if (!sim_knob_on(&j->knobs, plays[i].fault))
            continue;
        fault_count(j, plays[i].fault);
        plays[i].play(j);
        return true;
    }
    for (size_t i = 0; i < COUNT(canned); i++) {
        const struct canned *c = &canned[i];
        if (!sim_knob_on(&j->knobs, c->fault))
            continue;
        fault_count(j, c->fault);
        reply(j, c->status ? c->status : (int)j->knobs.v[c->fault], c->content_type, c->body);
        return true;
    }
    return play_rendered(j);
}
