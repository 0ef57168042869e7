/* ask.h -- one request and its whole answer, on a loop of its own: for who has nothing else to do until it is there (health checks, lists of
 * models, questions to the weir that runs). Nothing here is measured closely. Of the thread that calls it. */
#pragma once

#include "http/client.h"

struct http_answer {
    int status;                    /* 0: none, see `failure` */
    struct str content_type, body; /* of the arena; the body is empty where it was too long */
    bool too_long;
    char failure[300]; /* why there is no answer, a sentence about this connection */
};

/* Asks once, over a connection of its own, and waits: timeout_ms (> 0) at most. `request` is head and body, exactly as sent. True: there is an answer,
 * whatever it is, that may have been too long. False: out->failure says why not. */
MUST_USE bool http_ask(const struct http_target *target, struct str request, size_t body_bytes_max,
                       int64_t timeout_ms, struct arena *a, struct http_answer *out);
