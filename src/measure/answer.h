/* answer.h -- reads one answer as it comes: where its tokens are, how it ends, what is wrong with it.
 *
 * Fed the body's pieces with the time at which their bytes arrived; writes the marks and counts into the sample. Streams of OpenAI's chat and
 * text completions (server-sent events), and whole JSON answers. Allocation-free for events that lie whole in a piece. One an
 * exchange; reset and used again. */
#pragma once

#include "base/json.h"
#include "http/sse.h"
#include "measure/sample.h"

struct h1_head;

/* What a protocol lint says of an answer (weir test); a bit each. */
enum answer_flaw {
    FLAW_NO_DONE = 1 << 0, /* stream without [DONE] */
    FLAW_NO_FINISH_REASON = 1 << 1,
    FLAW_NO_USAGE = 1 << 2,        /* although it was asked for */
    FLAW_USAGE_MISMATCH = 1 << 3,  /* usage and chunks differ by more than 10 % */
    FLAW_BAD_EVENT = 1 << 4,       /* data that is not JSON */
    FLAW_NO_CONTENT_TYPE = 1 << 5, /* a stream that is not text/event-stream */
    FLAW_AFTER_DONE = 1 << 6,      /* events behind [DONE] */
    FLAW_NO_REQUEST_ID = 1 << 7,
};

enum event_kind {
    EVENT_ROLE,
    EVENT_CONTENT,
    EVENT_REASONING,
    EVENT_TOOL,
    EVENT_FINISH,
    EVENT_USAGE,
    EVENT_DONE,
    EVENT_ERROR,
    EVENT_OTHER,
    EVENT_BAD
};

struct answer {
    struct sample *sample;
    struct sse_scan sse;
    struct json_scan json; /* of a whole answer */
    uint64_t last_chunk_ns;
    uint64_t *gaps_ns; /* GAPS_KEPT of the owner's, or NULL */
    uint32_t flaws;
    bool stream, is_error, finished, done, json_ended;
    char excerpt[SAMPLE_ERROR_BYTES]; /* beginning of an error's body */
    size_t excerpt_bytes;
    /* For who shows each event (weir test -v); may be NULL. `data` is valid in the call. */
    void (*on_event)(struct answer *a, enum event_kind kind, struct str data, uint64_t arrived_ns);
    void *user;
    /* the implementer adds what it needs: json_found[] and the like */
    struct json_found *found;
};

void answer_init(struct answer *a, struct pool *blocks, uint64_t *gaps_ns);
void answer_fini(struct answer *a);
/* A new exchange: `s` gets what is found. */
void answer_begin(struct answer *a, struct sample *s);
/* Status, ids, cost, Server-Timing; decides whether a stream comes. */
void answer_head(struct answer *a, const struct h1_head *h, uint64_t arrived_ns);
void answer_body(struct answer *a, struct str piece, uint64_t arrived_ns);
/* The framing says it is whole: sets sample->outcome, error and, from chunks, what usage did not tell. */
void answer_end(struct answer *a);
