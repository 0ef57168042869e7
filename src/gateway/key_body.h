/* key_body.h -- the bodies of the calls below /key/: LiteLLM's members to facts about a key, and facts to LiteLLM's answers. Knows no table and no disk. */
#pragma once

#include "base/buf.h"
#include "base/json.h"
#include "config/key_facts.h"

/* What a body is for; each takes its own members. */
enum key_call {
    KEY_CALL_GENERATE,
    KEY_CALL_UPDATE,
    KEY_CALL_DELETE,
    KEY_CALL_BLOCK, /* and unblock */
    KEY_CALL_REGENERATE,
    KEY_CALL_COUNT
};

struct key_names { /* a list of texts */
    struct str *names;
    int count;
};

struct key_body {
    struct key_facts facts; /* as before, with what the body says changed */
    struct str key;         /* "sk-..." or its hash; "" */
    struct key_names keys, key_aliases;
    double spend_usd;   /* negative: not given */
    bool budget_begins; /* budget_duration was given: the window begins anew */
};

/* Facts of a key that nothing is said about. */
struct key_facts key_facts_default(void);
/* Reads a body into `b`, whose facts are what it changes. Texts lie in `a` or in `text`. False: `e` names the member, what was expected, and whether it is one
 * of LiteLLM's that is not built. A null takes a limit away. */
MUST_USE bool key_body_read(struct arena *a, enum key_call call, struct str text, int64_t now_us,
                            struct key_body *b, struct err *e);

/* What an answer says beside the facts. */
struct key_now {
    double spent_usd;
    int64_t reset_us; /* end of the budget window; 0: none */
    struct str key;   /* the key itself, told once: where it is made; "" otherwise */
    bool with_token;  /* the hash, as token */
};
/* One JSON object, as LiteLLM's rows are. */
void key_row_write(const struct key_facts *f, const struct key_now *now, struct buf *out);
/* ["a","b"]: its models. */
void key_models_write(const struct key_facts *f, struct buf *out);
