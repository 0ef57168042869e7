/* tokens.h -- the words and signs of the small languages of the command line: --where, --fail-if.
 *
 *     struct tokens t;
 *     tokens_init(&t, text);
 *     while (t.now.kind != TOKEN_END) { ... tokens_next(&t); }
 *
 * A word is a run of bytes without blanks, quotes and signs; a text stands in quotes, '...' or "...", and ends at the same quote:
 * there is no escape. Signs: == != <= >= !~ && || = < > ~ ! ( ) [ ] and the comma. Tokens borrow from the text. [any thread] */
#pragma once

#include "base/err.h"

enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_TEXT, TOKEN_SIGN, TOKEN_UNCLOSED };

struct token {
    enum token_kind kind;
    struct str text; /* without its quotes */
    size_t at;       /* its first byte, in the whole */
};

struct tokens {
    struct str all;
    size_t next_at;
    struct token now;
};

/* The first token becomes `now`. */
void tokens_init(struct tokens *t, struct str all);
void tokens_next(struct tokens *t);
/* Is the token now this word, without regard to case, or this sign? */
bool tokens_at(const struct tokens *t, const char *word);
/* The same, and then on to the next. */
bool tokens_take(struct tokens *t, const char *word);
/* A sentence with the column of the token now, and a line below that shows the place. Returns false. */
bool tokens_fail(const struct tokens *t, struct err *e, const char *fmt, ...) PRINTF_LIKE(3, 4);
