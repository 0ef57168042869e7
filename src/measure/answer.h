/* answer.h -- reads one answer as it comes: where its tokens are, how it ends, what is wrong with it.
 *
 * Fed the body's pieces with the time at which their bytes arrived; writes the marks and counts into the sample. Streams of OpenAI's chat and
 * text completions (server-sent events), and whole JSON answers. Allocation-free for events that lie whole in a piece, and for
 * whole answers but the first one. One an exchange; reset and used again. */
#pragma once

#include "base/json.h"
#include "http/sse.h"
#include "measure/sample.h"

struct h1_head;
struct answer_like;

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

/* What the last event with a token looked like around its text: the next one is the same bytes with another text, as a rule, and is then known
 * without being scanned. */
#define ANSWER_PATTERN_BYTES 1024
struct answer_pattern {
    uint16_t head_bytes,
        tail_bytes; /* of `text`: up to and with the opening quote, from the closing one on; 0: none yet */
    uint8_t kind; /* enum event_kind */
    char text[ANSWER_PATTERN_BYTES];
};

/* How a whole answer is read. */
enum answer_whole {
    WHOLE_UNREAD,
    WHOLE_SCANNED,
    WHOLE_OFFERED, /* scanned, and one to compare the next one with, if it turns out to be good */
    WHOLE_LIKE,    /* it is a former one with other values, and good */
    WHOLE_NOT_JSON /* it was like a former one, and more came */
};

struct answer {
    struct sample *sample;
    struct sse_scan sse;
    struct json_scan json; /* of a whole answer, or of the event at hand */
    struct json_found *found;
    uint64_t *gaps_ns; /* GAPS_KEPT of the owner's, or NULL */
    uint32_t flaws;
    struct str
        key; /* the caller's: what was sent as the key, shown nowhere. Stays over answer_begin */
    bool embeds;         /* the caller's: the call is /embeddings. Stays over answer_begin */
    bool no_patterns;    /* the caller's, for tests: all is scanned. Stays over answer_begin */
    uint8_t whole;       /* enum answer_whole */
    bool asked_stream;   /* sample->stream at answer_begin */
    bool stream;         /* a stream came */
    bool is_error;       /* an error event, or an error in a 200 */
    bool finished, done; /* a finish_reason, [DONE] */
    bool has_content;    /* text or a tool's call, however short */
    char excerpt[SAMPLE_ERROR_BYTES]; /* beginning of the body, of what is no stream */
    size_t excerpt_bytes;
    char content_type[48]; /* as it came, cut */
    struct answer_pattern pattern;
    struct answer_like
        *like; /* the last good whole answer; NULL: none yet. Stays over answer_begin */
    /* For who shows each event (weir test -v); may be NULL. `data` is valid in the call. Both stay over answer_begin. */
    void (*on_event)(struct answer *a, enum event_kind kind, struct str data, uint64_t arrived_ns);
    void *user;
};

/* `blocks`: as sse_scan_init. Events that lie whole in a piece need no memory; others up to 1 MiB, given back by answer_begin and answer_fini. */
void answer_init(struct answer *a, struct pool *blocks, uint64_t *gaps_ns);
void answer_fini(struct answer *a);
/* A new exchange: `s` gets what is found; s->stream says whether a stream was asked for. Sets its token counts, cost and server times to
 * "not told", its finish_reason, deployment and error to "". */
void answer_begin(struct answer *a, struct sample *s);
/* Status, deployment, cost, Server-Timing; decides whether a stream comes. head_ns becomes `arrived_ns`. */
void answer_head(struct answer *a, const struct h1_head *h, uint64_t arrived_ns);
void answer_body(struct answer *a, struct str piece, uint64_t arrived_ns);
/* The framing says it is whole: sets sample->outcome, error, flaws and, from chunks, what usage did not tell. */
void answer_end(struct answer *a);
/* The same when it broke off, before or after its head: counts and flaws, but not outcome and error, which the caller knows. */
void answer_broken(struct answer *a);
/* What a bit of `flaws` means, in words; NULL: no such bit. */
const char *answer_flaw_text(enum answer_flaw flaw);
const char *event_kind_name(enum event_kind kind); /* "content" */
