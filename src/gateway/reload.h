/* reload.h -- a new configuration while requests run. [control]
 *
 * A reload reads, checks and builds everything before anything changes; then each worker takes the new snapshot for its new requests, and those
 * under way end on the old one. What fails changes nothing, and is told: in the log, in /metrics and in /health/readiness. docs/reload.md has the user's view. */
#pragma once

#include "gateway/gateway.h"

struct reload;

/* Watches the files that the running configuration was read from, where weir_settings.watch_config says so. */
struct reload *reload_new(struct gateway *g);
void reload_free(struct reload *r); /* NULL is fine */

/* What asked for it: shown in messages and in the log. */
enum reload_trigger { RELOAD_BY_SIGNAL, RELOAD_BY_FILE, RELOAD_BY_API };

/* Reads the configuration anew at the end of this pass and puts it in force, if it is valid and the gateway does not drain by then. */
void gateway_reload(struct gateway *g, enum reload_trigger trigger);

/* The configuration's warnings on stderr. [control, or before it] */
void reload_say_warnings(const struct config *c);

/* endpoints.c: POST /config/reload[?dry_run=true] */
void reload_answer(struct gateway *g, struct control_job *j);
