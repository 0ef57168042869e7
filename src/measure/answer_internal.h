/* answer_internal.h -- what the parts of answer.c share: the values looked for in JSON. Private to src/measure. */
#pragma once

#include "measure/answer.h"

#include <ctype.h>

#include "base/json_text.h"

enum see {
    SEE_CHOICE,
    SEE_FINISH,
    SEE_TEXT,
    SEE_CONTENT,
    SEE_REASONING_CONTENT,
    SEE_REASONING,
    SEE_REFUSAL,
    SEE_TOOL_ARGUMENTS,
    SEE_FUNCTION_ARGUMENTS,
    SEE_TOOL,
    SEE_ROLE,
    SEE_USAGE,
    SEE_PROMPT_TOKENS,
    SEE_COMPLETION_TOKENS,
    SEE_CACHED_TOKENS,
    SEE_REASONING_TOKENS,
    SEE_ERROR,
    SEE_ERROR_MESSAGE,
    SEE_EMBEDDING,
    SEE_COUNT
};

/* Usage, finish_reason, content: what streams and whole answers have in common. */
void answer_take_facts(struct answer *a);
bool answer_is_there(const struct json_found *f); /* neither absent nor null */
bool answer_has_payload(
    const struct json_found *f); /* a string, array or object that is not empty */
/* Is an error said? Then its message (decoded) in `out`; `scanned` holds what was scanned, from its first byte on, as far as it is at hand. */
bool answer_error_said(const struct answer *a, struct str scanned, char *out, size_t room);
/* Writes a sentence into the sample's error: `what`, a colon, `detail` without the key, other secrets and control bytes. */
void answer_say(struct answer *a, const char *what, struct str detail);
/* ---- whole answers that are like a former one (answer_like.c) ---- */
/* Is this the kept answer with other values? Then answer_like_take puts what it tells into the sample. */
bool answer_like_fits(struct answer *a, struct str body);
void answer_like_take(struct answer *a);
/* A whole answer of one piece that is JSON and was scanned. True: it may be kept, if it turns out to be good; what was kept is forgotten. */
bool answer_like_offer(struct answer *a, struct str body);
/* What was offered last is good: `found` and the sample tell of it. */
void answer_like_keep(struct answer *a);

/* Where the inside of a JSON string that begins at p ends: at a quote, or at `end`. NULL: it cannot stand there. As json.c's scanner has it: no
 * control bytes, whole escapes, valid UTF-8. */
static inline const char *answer_string_end(const char *p, const char *end)
{
    static const char escapes[] = "\"\\/bfnrtu";
    for (;;) {
        p = json_plain_end(p, end);
        if (p == end || *p == '"')
            return p;
        if (*p == '\\') {
            if (end - p < 2 || !p[1] || !strchr(escapes, p[1]))
                return NULL;
            size_t hex = p[1] == 'u' ? 4 : 0;
            p += 2;
            for (; hex; hex--, p++)
                if (p == end || !isxdigit((unsigned char)*p))
                    return NULL;
            continue;
        }
        size_t n = (unsigned char)*p >= 0x80 ? utf8_char(p, end) : 0;
        if (!n)
            return NULL;
        p += n;
    }
}
