/* reply.c -- errors told to the client, in the shape OpenAI's SDKs read and with LiteLLM's string code. */
#include "gateway/gateway.h"
#include "gateway/lines.h"

#define PREFLIGHT_HEADERS_BYTES_MAX 1024 /* of a list that is sent back; a longer one gets "*" */

/* LiteLLM's error.param, as JSON: which member of the request was wrong. */
static const char *error_param(enum error_code code)
{
    switch (code) {
    case ERR_MODEL_MISSING:
    case ERR_MODEL_UNKNOWN:
    case ERR_KEY_MODEL_DENIED: return "\"model\"";
    default: return "null";
    }
}

/* `status` is also the JSON's code. */
static void write_error_json(enum error_code code, int status, struct str detail, struct buf *out)
{
    const struct error_info *info = error_info(code);
    struct str message = detail.n ? detail : str_from(info->sentence);
    bool ok = buf_printf(out, "{\"error\":{\"message\":") && json_write_string(out, message) &&
              buf_printf(out, ",\"type\":\"%s\",\"param\":%s,\"code\":\"%d\"}}", info->api_type,
                         error_param(code), status);
    ENSURE(ok); /* the buffer has no cap */
}

void reply_error_json(enum error_code code, struct str detail, struct buf *out)
{
    write_error_json(code, error_info(code)->http_status, detail, out);
}

void reply_write_error(struct http_conn *c, enum error_code code, const char *detail,
                       struct buf *body)
{
    char text[512] = "";
    (void)c;
    if (detail && detail[0])
        snprintf(text, sizeof text, "%s: %s", error_info(code)->sentence, detail);
    reply_error_json(code, str_from(text), body);
}

struct str reply_cors(struct arena *a, const struct config *c, const struct h1_head *h)
{
    struct str origin = h1_get(h, H1_ORIGIN), asked = h1_get(h, H1_ACCESS_CONTROL_REQUEST_HEADERS);
    if (!origin.n || !c->cors_origin.n)
        return STR_NONE;
    if (asked.n == 0 || asked.n > PREFLIGHT_HEADERS_BYTES_MAX)
        asked = STR("*");
    if (h->method != H1_OPTIONS || !h1_get(h, H1_ACCESS_CONTROL_REQUEST_METHOD).n)
        return arena_printf(
            a, "access-control-allow-origin: %.*s\r\naccess-control-expose-headers: *\r\n",
            STR_ARG(c->cors_origin));
    return arena_printf(
        a,
        "access-control-allow-origin: %.*s\r\naccess-control-allow-methods: GET, POST, OPTIONS\r\n"
        "access-control-allow-headers: %.*s\r\naccess-control-max-age: 600\r\n",
        STR_ARG(c->cors_origin), STR_ARG(asked));
}

void reply_refusal(struct http_conn *c, const struct config *config, const struct h1_head *h,
                   enum error_code code)
{
    struct arena a;
    struct buf body;
    char first[512];
    arena_init(&a, first, sizeof first);
    buf_init(&body, 0, NULL);
    reply_error_json(code, STR_NONE, &body);
    struct str cors = reply_cors(&a, config, h);
    struct str headers = arena_printf(
        &a, "%s%.*s", code == ERR_METHOD_NOT_ALLOWED ? endpoint_allow(h->path) : "", STR_ARG(cors));
    http_reply(c, error_info(code)->http_status, STR("application/json"), headers, buf_str(&body));
    buf_fini(&body);
    arena_fini(&a);
}

static struct str error_headers(struct request *r)
{
    struct str id = r->record.request_id;
    char limits[LIMIT_LINES_BYTES];
    size_t limits_bytes = limit_header_lines(r, true, limits);
    int64_t retry_after_s = r->error == ERR_TOO_MANY_REQUESTS ? 1 : r->retry_after_s;
    struct str times = r->deployment ? answer_times_of_failure(r) : STR_NONE;
    size_t room = 256 + 2 * id.n + (r->deployment ? r->deployment->model_id.n : 0) + r->cors.n +
                  limits_bytes + KEY_LINES_BYTES + times.n;
    char *text = arena_alloc(&r->arena, room), *at = text;
    at = put_line(at, STR("content-type"), STR("application/json"));
    if (id.n && r->config->include_request_id_in_response) {
        at = put_line(at, STR("x-request-id"), id);
        at = put_line(at, STR("x-litellm-call-id"), id);
    }
    if (r->deployment)
        at = put_line(at, STR("x-litellm-model-id"), r->deployment->model_id);
    at = put(answer_put_attempts(at, r), times);
    if (retry_after_s > 0)
        at = put(digits_u64(put(at, STR("retry-after: ")), (uint64_t)retry_after_s), STR("\r\n"));
    at = put(at, (struct str){limits, limits_bytes});
    at += key_header_lines(r, at);
    at = put(at, r->cors);
    ENSURE((size_t)(at - text) <= room);
    return (struct str){text, (size_t)(at - text)};
}

/* A stream is under way: the client gets an error event and no [DONE], then the connection closes without the final chunk. */
static void abort_stream(struct request *r)
{
    if (r->counted_stream) {
        struct buf event;
        buf_init(&event, 0, NULL);
        /* Where pieces were passed on as they came, the last one may have ended within an event. */
        bool ok = buf_printf(&event, "%sdata: ", r->added_usage ? "" : "\n\n");
        reply_error_json(r->error, r->error_detail, &event);
        ok = ok && buf_printf(&event, "\n\n");
        ENSURE(ok);
        http_body(r->conn, buf_str(&event));
        buf_fini(&event);
    }
    http_abort(r->conn);
}

void reply_error(struct request *r)
{
    if (http_began(r->conn)) {
        abort_stream(r);
        return;
    }
    struct buf body;
    buf_init(&body, 0, NULL);
    write_error_json(r->error, error_status(r), r->error_detail, &body);
    http_begin(r->conn, error_status(r), error_headers(r), (int64_t)buf_used(&body));
    http_body(r->conn, buf_str(&body));
    http_end(r->conn);
    buf_fini(&body);
}
