/* error_text.h -- an error's message without what is this request's alone, so that the same failure reads the same.
 *
 * "litellm.RateLimitError: RateLimitError: OpenAIException - Error code: 429 - {'error': {'message': 'Rate limit reached for gpt-4o in
 * organization org-Ab3…: Limit 30000, Used 29811. Please try again in 1.2s.', …}}" becomes "Rate limit reached for <model> in
 * organization <id>: Limit <n>, Used <n>. Please try again in <n>". The rules, by number; tests/reference/patterns.py has them again,
 * written otherwise. A word is a run of letters, digits, '_' and '-' (ASCII); what is folded begins where no word goes on,
 * and ends where none does.
 *
 *  1. The message is decoded, and cut to 4,096 bytes at a character's edge.
 *  2. What is inside: where behind a '{' the key message, else detail, error or msg, has a text for a value, that text takes the
 *     place of everything. Quotes may be " or ', and escaped any number of times. Four times over, as long as there is more inside.
 *  3. What LiteLLM appends is cut off, from "Received Model Group=", "Available Model Group Fallbacks=" or "LiteLLM Retried:" on.
 *  4. Wrappers are taken off the front as often as there are any: "data:", "Error code: 429 -", "Error:", and names that end in
 *     Error, Exception, Timeout or Exceeded, followed by ": " or " - ". Unless nothing would be left.
 *  5. Blanks and control bytes are one blank; none at the ends.
 *  6. Secrets are masked (base/redact.h).
 *  7. Folded, the first that fits: the names given -> <model>; URLs -> <url>; dates and times of day (ISO 8601) -> <time>;
 *     IPv4, IPv6, host:port -> <addr>; addresses of mail -> <email>; UUIDs -> <id>; 6m0s, 350ms -> <n>; words of a
 *     known head (req_, chatcmpl-, call_, org-, ...), or with a part of 8 letters and digits or more, both in it -> <id>;
 *     numbers, with a unit of up to three letters -> <n>; parts of a word that are all digits -> <n>.
 *  8. Cut to 400 bytes at a character's edge; then blanks and . , : ; - are taken off the end. */
#pragma once

#include "base/str.h"

#define ERROR_TEXT_BYTES  400
#define ERROR_TEXT_SOURCE 4096 /* bytes of a message that are looked at */

/* `message` is decoded; `names` are what rule 7 calls names, longest first. Returns a text in `out`, of ERROR_TEXT_BYTES; empty where there
 * is nothing to tell. [any thread] */
struct str error_text_fold(struct str message, const struct str *names, size_t name_count,
                           char *out);
