/* answer.c -- the simulator's answers, byte by byte.
 *
 * Called by job.c; calls sim.c for words and numbers. The answers to chat and completion requests
 * are the hot part: they are written by plain copies into room reserved beforehand (answer_room,
 * answer_frame_room), with no check a field. A frame of a stream is a prefix written once a stream,
 * the choice's index, one word, and a constant tail.
 *
 * Padding uses fields that clients pass over: "obfuscation" in frames (OpenAI's own name for it)
 * and "padding" in whole answers. */
#include "mock/answer.h"

#include "base/clock.h"
#include "base/digits.h"
#include "base/json.h"

static char *put(char *at, struct str s)
{
    memcpy(at, s.p, s.n);
    return at + s.n;
}
#define PUT(at, literal) put(at, STR(literal))

static char *put_number(char *at, int64_t value)
{
    return digits_u64(at, (uint64_t)value);
}

static uint64_t choice_seed(const struct answer *a, uint32_t choice)
{
    return choice ? sim_mix(a->seed + choice) : a->seed;
}

int64_t answer_completion_tokens(const struct answer *a)
{
    return (int64_t)a->choices * a->tokens + a->reasoning_tokens;
}

/* ---- parts that whole answers and frames share ---- */

/* {"id":"chatcmpl-...","object":"...","created":N,"model":"...","system_fingerprint":"...", */
static char *put_opening(const struct answer *a, char *at, struct str object)
{
    at = a->kind == ANSWER_CHAT ? PUT(at, "{\"id\":\"chatcmpl-") : PUT(at, "{\"id\":\"cmpl-");
    at = digits_hex_fixed(at, a->seed, 16);
    at = digits_hex_fixed(at, a->number, 8);
    at = PUT(at, "\",\"object\":\"");
    at = put(at, object);
    at = PUT(at, "\",\"created\":");
    at = put_number(at, a->created_s);
    at = PUT(at, ",\"model\":\"");
    at = put(at, a->model);
    return PUT(at, "\",\"system_fingerprint\":\"fp_weir_sim\",");
}

static char *put_usage(const struct answer *a, char *at)
{
    int64_t completion = answer_completion_tokens(a);
    at = PUT(at, "\"usage\":{\"prompt_tokens\":");
    at = put_number(at, a->prompt_tokens);
    at = PUT(at, ",\"completion_tokens\":");
    at = put_number(at, completion);
    at = PUT(at, ",\"total_tokens\":");
    at = put_number(at, a->prompt_tokens + completion);
    if (a->usage_details) {
        at = PUT(at, ",\"prompt_tokens_details\":{\"cached_tokens\":");
        at = put_number(at, a->cached_tokens);
        at = PUT(at, ",\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":");
        at = put_number(at, a->reasoning_tokens);
        at = PUT(at, ",\"audio_tokens\":0,\"accepted_prediction_tokens\":0,"
                     "\"rejected_prediction_tokens\":0}");
    }
    return PUT(at, "}");
}

static char *put_finish_reason(const struct answer *a, char *at)
{
    if (a->cut_short)
        return PUT(at, "\"length\"");
    return a->tool_name.n ? PUT(at, "\"tool_calls\"") : PUT(at, "\"stop\"");
}

static char *put_padding(char *at, struct str field, size_t have, size_t want)
{
    size_t frame = field.n + 6; /* ,"field":"" */
    if (have + frame >= want)
        return at;
    at = PUT(at, ",\"");
    at = put(at, field);
    at = PUT(at, "\":\"");
    memset(at, 'x', want - have - frame);
    at += want - have - frame;
    return PUT(at, "\"");
}

static char *put_escaped(char *at, struct str text)
{
    return at + json_escape(at, 6 * text.n + 2, text);
}

/* Without the quotes around it. */
static char *put_escaped_inside(char *at, struct str text)
{
    char quoted[6 * (SIM_PIECE_BYTES + 4) + 2];
    size_t n = json_escape(quoted, sizeof quoted, text);
    return n > 2 ? put(at, (struct str){quoted + 1, n - 2}) : at;
}

static char *put_call_id(const struct answer *a, char *at, uint32_t choice)
{
    at = PUT(at, "\"id\":\"call_");
    at = digits_hex_fixed(at, sim_mix(choice_seed(a, choice) + a->number), 16);
    return PUT(at, "\",\"type\":\"function\",\"function\":{\"name\":");
}

/* ---- whole answers ---- */

size_t answer_room(const struct answer *a)
{
    size_t choice = 512 + (size_t)(a->tokens + 1) * SIM_WORD_BYTES;
    choice += 6 * (a->tool_name.n + a->tool_arguments.n) + 4;
    return 1024 + a->model.n + a->choices * choice + a->body_bytes;
}

static char *put_text(const struct answer *a, char *at, uint32_t choice)
{
    uint64_t seed = choice_seed(a, choice);
    for (uint32_t k = 0; k < a->tokens; k++)
        at += sim_word(seed, k, at);
    return at;
}

static char *put_message(const struct answer *a, char *at, uint32_t choice)
{
    if (!a->tool_name.n) {
        at = PUT(at, ",\"message\":{\"role\":\"assistant\",\"content\":\"");
        at = put_text(a, at, choice);
        return PUT(at, "\",\"refusal\":null}");
    }
    at = PUT(at, ",\"message\":{\"role\":\"assistant\",\"content\":null,\"refusal\":null,"
                 "\"tool_calls\":[{");
    at = put_call_id(a, at, choice);
    at = put_escaped(at, a->tool_name);
    at = PUT(at, ",\"arguments\":");
    at = put_escaped(at, a->tool_arguments);
    return PUT(at, "}}]}");
}

char *answer_whole(const struct answer *a, char *at)
{
    bool chat = a->kind == ANSWER_CHAT;
    char *start = at;
    at = put_opening(a, at, chat ? STR("chat.completion") : STR("text_completion"));
    at = PUT(at, "\"choices\":[");
    for (uint32_t choice = 0; choice < a->choices; choice++) {
        at = choice ? PUT(at, ",{\"index\":") : PUT(at, "{\"index\":");
        at = put_number(at, choice);
        if (chat) {
            at = put_message(a, at, choice);
        } else {
            at = PUT(at, ",\"text\":\"");
            at = put_text(a, at, choice);
            at = PUT(at, "\"");
        }
        at = PUT(at, ",\"logprobs\":null,\"finish_reason\":");
        at = put_finish_reason(a, at);
        at = PUT(at, "}");
    }
    at = PUT(at, "]");
    if (a->usage) {
        at = PUT(at, ",");
        at = put_usage(a, at);
    }
    at = put_padding(at, STR("padding"), (size_t)(at - start) + 1, a->body_bytes);
    return PUT(at, "}");
}

/* ---- streams ---- */

static struct str frame_object(const struct answer *a)
{
    return a->kind == ANSWER_CHAT ? STR("chat.completion.chunk") : STR("text_completion");
}

void answer_frames_init(struct answer_frames *f, const struct answer *a)
{
    ENSURE(a->model.n <= ANSWER_MODEL_BYTES_MAX);
    f->a = a;
    char *at = PUT(f->prefix, "data: ");
    at = put_opening(a, at, frame_object(a));
    at = PUT(at, "\"choices\":[{\"index\":");
    f->prefix_bytes = (size_t)(at - f->prefix);
    ENSURE(f->prefix_bytes <= sizeof f->prefix);
}

size_t answer_frame_room(const struct answer *a)
{
    enum { ALL_BUT_THESE = 1024 };
    return ANSWER_PREFIX_BYTES + ALL_BUT_THESE + 6 * a->tool_name.n + a->frame_bytes;
}

static char *open_frame(const struct answer_frames *f, char *at, uint32_t choice)
{
    at = put(at, (struct str){f->prefix, f->prefix_bytes});
    return put_number(at, choice);
}

/* `start` is where the frame began: padding counts from there. */
static char *close_frame(const struct answer_frames *f, char *at, const char *start)
{
    at = f->a->usage_null ? PUT(at, "],\"usage\":null") : PUT(at, "]");
    if (f->a->frame_bytes)
        at = put_padding(at, STR("obfuscation"), (size_t)(at - start) + 3, f->a->frame_bytes);
    return PUT(at, "}\n\n");
}

char *answer_first(const struct answer_frames *f, char *at, uint32_t choice)
{
    const struct answer *a = f->a;
    const char *start = at;
    if (a->kind != ANSWER_CHAT)
        return at;
    at = open_frame(f, at, choice);
    if (a->tool_name.n) {
        at = PUT(
            at,
            ",\"delta\":{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"index\":0,");
        at = put_call_id(a, at, choice);
        at = put_escaped(at, a->tool_name);
        at = PUT(at, ",\"arguments\":\"\"}}]}");
    } else {
        at = PUT(at, ",\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}");
    }
    at = PUT(at, ",\"logprobs\":null,\"finish_reason\":null}");
    return close_frame(f, at, start);
}

static char *put_frame_word(const struct answer *a, char *at, uint32_t choice, uint64_t k)
{
    if (a->stamp)
        return put_number(PUT(at, "@"), (int64_t)clock_mono_ns());
    return at + sim_word(choice_seed(a, choice), k, at);
}

char *answer_token(const struct answer_frames *f, char *at, uint32_t choice, uint64_t k)
{
    const struct answer *a = f->a;
    const char *start = at;
    at = open_frame(f, at, choice);
    if (a->kind == ANSWER_TEXT) {
        at = PUT(at, ",\"text\":\"");
        at = put_frame_word(a, at, choice, k);
        at = PUT(at, "\"");
    } else if (a->tool_name.n) {
        at = PUT(at, ",\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"");
        at = put_escaped_inside(at, sim_piece(a->tool_arguments, k));
        at = PUT(at, "\"}}]}");
    } else {
        at = PUT(at, ",\"delta\":{\"content\":\"");
        at = put_frame_word(a, at, choice, k);
        at = PUT(at, "\"}");
    }
    at = PUT(at, ",\"logprobs\":null,\"finish_reason\":null}");
    return close_frame(f, at, start);
}

char *answer_finish(const struct answer_frames *f, char *at, uint32_t choice)
{
    const char *start = at;
    at = open_frame(f, at, choice);
    at = f->a->kind == ANSWER_CHAT ? PUT(at, ",\"delta\":{}") : PUT(at, ",\"text\":\"\"");
    at = PUT(at, ",\"logprobs\":null,\"finish_reason\":");
    at = put_finish_reason(f->a, at);
    at = PUT(at, "}");
    return close_frame(f, at, start);
}

char *answer_usage(const struct answer_frames *f, char *at)
{
    at = PUT(at, "data: ");
    at = put_opening(f->a, at, frame_object(f->a));
    at = PUT(at, "\"choices\":[],");
    at = put_usage(f->a, at);
    return PUT(at, "}\n\n");
}

/* ---- errors, models ---- */

bool answer_error_as(struct buf *b, const char *type, const char *code, const char *message)
{
    return buf_append_str(b, STR("{\"error\":{\"message\":")) &&
           json_write_string(b, str_from(message)) &&
           buf_printf(b, ",\"type\":\"%s\",\"param\":null,\"code\":", type) &&
           (code ? json_write_string(b, str_from(code)) : buf_append_str(b, STR("null"))) &&
           buf_append_str(b, STR("}}"));
}

bool answer_error(struct buf *b, int status, const char *message)
{
    /* Types and codes as OpenAI's error guide gives them; the last two rows stand for all other
     * statuses. */
    static const struct {
        int status;
        const char *type, *code, *message;
    } rows[] = {
        {400, "invalid_request_error", NULL, "The simulator was told to refuse this request."},
        {401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."},
        {403, "invalid_request_error", "permission_denied", "You may not use this model."},
        {404, "invalid_request_error", "model_not_found", "The model does not exist."},
        {408, "timeout", "timeout", "Request timed out."},
        {429, "rate_limit_error", "rate_limit_exceeded", "Rate limit reached; try again later."},
        {500, "server_error", "internal_error", "The server had an error processing your request."},
        {503, "server_error", "overloaded", "The engine is currently overloaded."},
        {499, "invalid_request_error", NULL, "The simulator was told to refuse this request."},
        {599, "server_error", NULL, "The simulator was told to fail this request."},
    };
    size_t i = 0;
    while (i < COUNT(rows) - 2 && rows[i].status != status)
        i++;
    if (i == COUNT(rows) - 2 && status > rows[i].status)
        i++;
    return answer_error_as(b, rows[i].type, rows[i].code, message ? message : rows[i].message);
}

bool answer_model(struct buf *b, struct str name)
{
    return buf_printf(
        b, "{\"id\":\"%.*s\",\"object\":\"model\",\"created\":1735689600,\"owned_by\":\"weir\"}",
        STR_ARG(name));
}

/* ---- embeddings ---- */

static char *put_component(char *at, int32_t value)
{
    uint32_t left = (uint32_t)(value < 0 ? -(int64_t)value : value);
    if (value < 0)
        *at++ = '-';
    *at++ = (char)('0' + left / SIM_VECTOR_UNIT % 10);
    *at++ = '.';
    return digits_fixed(at, left % SIM_VECTOR_UNIT, 8);
}

/* RFC 4648 §4, of little-endian float32 as OpenAI sends them. */
static char *put_base64_floats(char *at, const int32_t *vector, size_t dims)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char bytes[ANSWER_DIMS_MAX * 4 + 2];
    size_t n = dims * 4;
    for (size_t i = 0; i < dims; i++) {
        float component = (float)((double)vector[i] / SIM_VECTOR_UNIT);
        memcpy(bytes + 4 * i, &component, 4);
    }
    memset(bytes + n, 0, 2);
    for (size_t i = 0; i < n; i += 3) {
        uint32_t group = (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];
        *at++ = alphabet[group >> 18];
        *at++ = alphabet[group >> 12 & 63];
        *at++ = i + 1 < n ? alphabet[group >> 6 & 63] : '=';
        *at++ = i + 2 < n ? alphabet[group & 63] : '=';
    }
    return at;
}

bool answer_embedding(struct buf *b, size_t index, uint64_t seed, size_t dims, bool base64)
{
    int32_t vector[ANSWER_DIMS_MAX];
    ENSURE(dims <= ANSWER_DIMS_MAX);
    sim_vector(seed, vector, dims);
    char *start = buf_room(b, 128 + dims * 12), *at = start;
    if (!start)
        return false;
    at = PUT(at, "{\"object\":\"embedding\",\"index\":");
    at = put_number(at, (int64_t)index);
    at = PUT(at, ",\"embedding\":");
    if (base64) {
        at = PUT(at, "\"");
        at = put_base64_floats(at, vector, dims);
        at = PUT(at, "\"}");
    } else {
        at = PUT(at, "[");
        for (size_t i = 0; i < dims; i++) {
            if (i)
                *at++ = ',';
            at = put_component(at, vector[i]);
        }
        at = PUT(at, "]}");
    }
    buf_wrote(b, (size_t)(at - start));
    return true;
}

/* ---- arguments of a tool call ---- */

#define SCHEMA_DEPTH_MAX    4
#define ARGUMENTS_BYTES_MAX 4096

static bool put_value(struct buf *b, const struct json_node *schema, uint64_t seed, int depth);

static bool put_object(struct buf *b, const struct json_node *schema, uint64_t seed, int depth)
{
    const struct json_node *properties = json_get(schema, "properties");
    bool ok = buf_append_str(b, STR("{"));
    const struct json_node *p = properties && depth < SCHEMA_DEPTH_MAX ? properties->child : NULL;
    for (uint64_t k = 0; ok && p; p = p->next, k++) {
        ok = (k == 0 || buf_append_str(b, STR(","))) && json_write_string(b, p->key) &&
             buf_append_str(b, STR(":")) && put_value(b, p, sim_mix(seed + k), depth + 1);
    }
    return ok && buf_append_str(b, STR("}"));
}

static bool put_scalar(struct buf *b, const struct json_node *value)
{
    switch (value->kind) {
    case JSON_STRING: return json_write_string(b, value->text);
    case JSON_NUMBER: return buf_append_str(b, value->text);
    case JSON_TRUE: return buf_append_str(b, STR("true"));
    case JSON_FALSE: return buf_append_str(b, STR("false"));
    default: return buf_append_str(b, STR("null"));
    }
}

static bool put_value(struct buf *b, const struct json_node *schema, uint64_t seed, int depth)
{
    const struct json_node *choices = json_get(schema, "enum"), *type = json_get(schema, "type");
    if (choices && choices->kind == JSON_ARRAY && choices->child)
        return put_scalar(b, choices->child);
    if (type && type->kind == JSON_ARRAY) /* ["string", "null"]: the first will do */
        type = type->child;
    struct str name = type && type->kind == JSON_STRING ? type->text : STR("string");
    if (str_eq(name, STR("object")))
        return put_object(b, schema, seed, depth);
    if (str_eq(name, STR("array")))
        return buf_append_str(b, STR("[]"));
    if (str_eq(name, STR("integer")) || str_eq(name, STR("number")))
        return buf_printf(b, "%u", (unsigned)(seed % 100));
    if (str_eq(name, STR("boolean")))
        return buf_append_str(b, seed & 1 ? STR("true") : STR("false"));
    if (str_eq(name, STR("null")))
        return buf_append_str(b, STR("null"));
    char word[SIM_WORD_BYTES];
    size_t n = sim_word(seed, 0, word);
    return json_write_string(b, (struct str){word, n});
}

struct str answer_arguments(struct arena *arena, struct str parameters, uint64_t seed)
{
    struct str text = STR("{}");
    const struct json_node *schema = parameters.n ? json_parse(arena, parameters, NULL) : NULL;
    struct buf b;
    buf_init(&b, ARGUMENTS_BYTES_MAX, NULL);
    if (schema && put_object(&b, schema, seed, 0))
        text = buf_str(&b);
    text = arena_str(arena, text);
    buf_fini(&b);
    return text;
}
