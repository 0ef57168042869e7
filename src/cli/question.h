/* question.h -- one request to the gateway of this machine: the one that listens where a configuration says.
 *
 * Whoever asks knows the address from the gateway's own side ("0.0.0.0", "unix:/run/weir.sock", port 0 cannot be known), so it is turned into one to
 * connect to. No proxy of the environment is used, and the certificate is not checked: it may be for another name than this machine's. */
#pragma once

#include "config/config.h"
#include "http/ask.h"

struct question {
    struct http_answer answer;
    struct arena arena; /* what the answer points into */
};

/* Asks and waits (http_ask). True: there is an answer; false: q->answer.failure says why not, in a sentence. question_fini either way. */
MUST_USE bool question_ask(struct question *q, const struct config_listener *at, struct str request,
                           size_t body_bytes_max, int64_t timeout_ms);
void question_fini(struct question *q);
/* "http://127.0.0.1:4000", "unix:/path": where question_ask connects. */
struct str question_url(struct arena *a, const struct config_listener *at);
