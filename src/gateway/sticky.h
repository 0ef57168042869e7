/* sticky.h -- what a request wants to be faithful to: its session, else the beginning of its prompt (docs/decisions/15-routing.md). */
#pragma once

#include "base/str.h"

/* `session` is the id that the client sent, decoded; `prompt` the JSON of `messages` or of `prompt` as in the body, looked at only where
 * there is no session. Either may be STR_NONE. The same conversation hashes alike however long it gets. 0: nothing to be
 * faithful to. Looks at STICKY_PROMPT_BYTES of the prompt at most. [any] */
uint64_t sticky_hash(struct str session, struct str prompt);

#define STICKY_PROMPT_BYTES 65536
