/* target.h -- whom to measure: a URL taken apart, headers, TLS; immutable once made, shared by all threads.
 *
 * "http://localhost:4000", with or without /v1 and trailing slash, "https://...", "unix:/path". */
#pragma once

#include "config/config.h"
#include "http/client.h"

struct measure_target {
    struct endpoint endpoint;
    struct http_target http;
    struct tls_client *tls_client; /* with https */
    struct proxy_env proxy;
    bool proxied;
    struct str url; /* as shown: no credentials */
    struct str
        base_path; /* "" or "/v1" or "/openai/v1": requests go to base_path + "/chat/completions" */
    struct str root_path; /* the same without "/v1": for /health, /metrics */
    struct str
        head_lines; /* "authorization: Bearer ...\r\n" and the caller's own headers. Secret. */
    struct str key; /* as it was given; STR_NONE: none. Secret: to be looked for in what is shown */
    struct arena arena;
};

struct measure_target_options {
    const char *url;            /* NULL: http://localhost:4000 */
    const char *key;            /* NULL: none. Sent as Authorization: Bearer */
    const char *const *headers; /* "Name: value", header_count of them */
    size_t header_count;
    const char *ca_file;
    bool insecure;
};
/* NULL with a sentence. Owned by the caller; outlives every engine that uses it. */
MUST_USE struct measure_target *measure_target_new(const struct measure_target_options *o,
                                                   struct err *e);
void measure_target_free(struct measure_target *t);
/* Whole head of a request but for content-length and x-request-id, ended by CRLF of its last line: "POST path HTTP/1.1\r\nhost: ...\r\n...". */
struct str measure_target_head(const struct measure_target *t, struct arena *a, struct str method,
                               struct str path);

/* How long connecting may take where only the whole request has a bound, or none (0): the client needs one, and 0 would be "at once". */
static inline int64_t measure_connect_timeout_ms(int64_t total_timeout_ms)
{
    return total_timeout_ms > 0 ? total_timeout_ms : 60 * 1000;
}

/* One request and its whole answer, for health checks and lists of models; runs a loop of its own until done. */
struct measure_reply {
    int status;                    /* 0: none; `e` says why */
    struct str body, content_type; /* of the arena */
    uint64_t took_ns;
};
MUST_USE bool measure_ask(const struct measure_target *t, struct arena *a, struct str method,
                          struct str path, struct str body, int64_t timeout_ms,
                          struct measure_reply *out, struct err *e);
/* The gateway's /v1/models, in its order. False with a sentence. */
MUST_USE bool measure_models(const struct measure_target *t, struct arena *a, struct str **names,
                             size_t *count, struct err *e);
