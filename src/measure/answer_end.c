/* answer_end.c -- how an answer ended: one of the outcomes, in words where it is not OK, and what a protocol lint has to say. */
#include "measure/answer_internal.h"

#define USAGE_MISMATCH_SHARE 0.10

bool answer_error_said(const struct answer *a, struct str scanned, char *out, size_t room)
{
    const struct json_found *error = &a->found[SEE_ERROR], *message = &a->found[SEE_ERROR_MESSAGE];
    if (error->kind != JSON_OBJECT && error->kind != JSON_STRING)
        return false;
    if (error->kind == JSON_STRING)
        message = error;
    size_t n = 0;
    if (message->kind == JSON_STRING) {
        bool there = message->start + 1 < scanned.n;
        struct str raw = {message->text, message->kept};
        if (there) {
            size_t from = message->start + 1, to = MIN((size_t)message->end - 1, scanned.n);
            raw = (struct str){scanned.p + from, to - from};
        }
        n = json_unescape(raw, out, room - 1);
    }
    out[n] = '\0';
    return true;
}

/* ---- outcomes ---- */

static enum outcome of_status(int status)
{
    static const struct {
        int status;
        enum outcome outcome;
    } apart[] = {
        {400, OUTCOME_HTTP_400}, {401, OUTCOME_HTTP_401}, {403, OUTCOME_HTTP_403},
        {404, OUTCOME_HTTP_404}, {408, OUTCOME_HTTP_408}, {413, OUTCOME_HTTP_413},
        {429, OUTCOME_HTTP_429},
    };
    for (size_t i = 0; i < COUNT(apart); i++)
        if (apart[i].status == status)
            return apart[i].outcome;
    return status >= 500 && status < 600 ? OUTCOME_HTTP_5XX : OUTCOME_HTTP_4XX;
}

static enum outcome end_status(struct answer *a, bool is_json)
{
    char message[SAMPLE_ERROR_BYTES], what[32];
    struct str excerpt = {a->excerpt, a->excerpt_bytes};
    snprintf(what, sizeof what, "status %d", a->sample->http_status);
    bool said = is_json && answer_error_said(a, excerpt, message, sizeof message) && message[0];
    answer_say(a, what, said ? str_from(message) : excerpt);
    return of_status(a->sample->http_status);
}

static enum outcome fails(struct answer *a, enum outcome outcome, const char *sentence)
{
    answer_say(a, sentence, STR_NONE);
    return outcome;
}

static enum outcome end_whole(struct answer *a)
{
    static const enum see contents[] = {
        SEE_CONTENT,           SEE_TEXT,           SEE_REFUSAL,           SEE_REASONING,
        SEE_REASONING_CONTENT, SEE_TOOL_ARGUMENTS, SEE_FUNCTION_ARGUMENTS};
    char message[SAMPLE_ERROR_BYTES];
    if (a->whole == WHOLE_LIKE) {
        answer_like_take(a);
        return OUTCOME_OK;
    }
    bool scanned = a->whole == WHOLE_SCANNED || a->whole == WHOLE_OFFERED;
    bool is_json = scanned && json_scan_finish(&a->json) == JSON_DONE;
    struct str excerpt = {a->excerpt, a->excerpt_bytes};
    if (a->sample->http_status < 200 || a->sample->http_status > 299)
        return end_status(a, is_json);
    if (!is_json) {
        answer_say(a, "the answer is not JSON", excerpt);
        return OUTCOME_INVALID;
    }
    answer_take_facts(a);
    if (answer_error_said(a, excerpt, message, sizeof message)) {
        a->is_error = true;
        answer_say(a, "an error under a status of success", str_from(message));
        return OUTCOME_STREAM_ERROR;
    }
    if (a->asked_stream)
        return fails(a, OUTCOME_INVALID, "a stream was asked for, and a whole answer came");
    for (size_t i = 0; i < COUNT(contents); i++)
        a->has_content |= answer_has_payload(&a->found[contents[i]]);
    if (a->embeds)
        a->has_content = answer_is_there(&a->found[SEE_EMBEDDING]);
    else if (!a->finished)
        a->flaws |= FLAW_NO_FINISH_REASON;
    if (!a->has_content)
        return fails(a, OUTCOME_EMPTY,
                     a->embeds ? "there is no embedding in the answer"
                               : "there is no content in the answer");
    return OUTCOME_OK;
}

static enum outcome end_stream(struct answer *a)
{
    if (a->is_error)
        return OUTCOME_STREAM_ERROR; /* said when it came */
    if (a->flaws & FLAW_BAD_EVENT) {
        if (!a->sample->error[0])
            answer_say(a, "an event that is longer than 1 MiB", STR_NONE);
        return OUTCOME_INVALID;
    }
    if (!a->asked_stream)
        return fails(a, OUTCOME_INVALID, "a whole answer was asked for, and a stream came");
    if (!a->sample->first_event_ns)
        return fails(a, OUTCOME_TRUNCATED, "the stream ended without an event");
    if (!a->finished)
        return fails(a, OUTCOME_TRUNCATED, "the stream ended without a finish_reason");
    if (!a->done)
        return fails(a, OUTCOME_TRUNCATED, "the stream ended without [DONE]");
    if (!a->has_content)
        return fails(a, OUTCOME_EMPTY, "there is no content in the answer");
    return OUTCOME_OK;
}

/* What is told of every answer, however it ended. */
static void lint(struct answer *a)
{
    struct sample *s = a->sample;
    bool good = s->http_status >= 200 && s->http_status < 300;
    if (a->stream && !a->done)
        a->flaws |= FLAW_NO_DONE;
    if (a->stream && !a->finished)
        a->flaws |= FLAW_NO_FINISH_REASON;
    if (good && s->prompt_tokens < 0 && s->completion_tokens < 0)
        a->flaws |= FLAW_NO_USAGE;
    if (a->stream && s->completion_tokens >= 0) {
        double told = (double)s->completion_tokens, counted = s->chunks;
        double off = told > counted ? told - counted : counted - told;
        if (off > USAGE_MISMATCH_SHARE * told)
            a->flaws |= FLAW_USAGE_MISMATCH;
    }
    if (a->stream && s->completion_tokens < 0 && s->chunks) {
        s->completion_tokens = s->chunks;
        s->tokens_counted = true;
    }
}

void answer_end(struct answer *a)
{
    a->sample->outcome = (uint8_t)(a->stream ? end_stream(a) : end_whole(a));
    if (a->whole == WHOLE_OFFERED && a->sample->outcome == OUTCOME_OK)
        answer_like_keep(a);
    lint(a);
}

void answer_broken(struct answer *a)
{
    lint(a);
}

const char *answer_flaw_text(enum answer_flaw flaw)
{
    switch (flaw) {
    case FLAW_NO_DONE: return "the stream has no [DONE] at its end";
    case FLAW_NO_FINISH_REASON:
        return "no finish_reason: clients cannot tell a whole answer from a cut one";
    case FLAW_NO_USAGE:
        return "no usage, although it was asked for: tokens cannot be counted but by chunks";
    case FLAW_USAGE_MISMATCH:
        return "usage and the number of chunks differ by more than 10 %: a chunk is not a token "
               "here";
    case FLAW_BAD_EVENT: return "an event whose data is not JSON";
    case FLAW_NO_CONTENT_TYPE: return "the stream's content-type is not text/event-stream";
    case FLAW_AFTER_DONE: return "there are events behind [DONE]";
    case FLAW_NO_REQUEST_ID:
        return "no x-request-id in the answer: it cannot be found in the server's log";
    }
    return NULL;
}
