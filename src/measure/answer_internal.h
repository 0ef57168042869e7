/* answer_internal.h -- what the parts of answer.c share: the values looked for in JSON. Private to src/measure. */
#pragma once

#include "measure/answer.h"

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
/* Begins to scan a whole answer. */
void answer_scan_whole(struct answer *a);
