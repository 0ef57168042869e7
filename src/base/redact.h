/* redact.h -- text without the secrets in it, for what is shown, written to a report or mailed around.
 *
 * Error messages repeat what was sent: keys, headers, URLs with passwords. They are masked by what they look like, and by
 * the names they stand behind: a head that tells what it was stays ("sk-ant-***", "Bearer ***", "password=***"). What has
 * neither a known head nor a name before it (a bare AWS secret, say) is not known to be a secret and stays.
 * Model names, UUIDs, request ids and hashes stay: they are what people search for. */
#pragma once

#include "base/str.h"

/* Copies `text` to `out` with its secrets masked. Masked are
 *   - words that begin as keys do: sk-, sk-ant-, gsk_, hf_, AIza, xai-, ghp_, AKIA, ... (redact.c has the table), and JWTs;
 *   - what follows Bearer and Basic;
 *   - the value behind a name such as api_key, x-api-key, password, token, client_secret, authorization, in any of the forms
 *     name=value, name: value, "name": "value", 'name': 'value' and \"name\": \"value\" (JSON within JSON);
 *   - user and password in a URL.
 * Returns bytes written: never more than text.n, nor than `out_bytes`; what does not fit is left off at a character's edge. No NUL is
 * added. `out` may be text.p. Linear in text.n, allocates nothing. [any thread] */
size_t redact_secrets(struct str text, char *out, size_t out_bytes);
