/* serve.h -- the parts of `weir serve`: cmd_serve.c (what is run), serve_signals.c (until the end), serve_dry_run.c. [control] */
#pragma once

#include "cli/command.h"
#include "gateway/handover.h"

struct service;

/* Blocks the signals that serve_until_end takes, before any thread starts, so that all of them arrive there; a signalfd. */
int serve_block_signals(void);
/* Has a signal come by now that serve_until_end would take for the end? */
bool serve_stop_is_asked(void);
/* Runs the control thread's loop: signals, and the two sides of a handover. `say_ready` is called once all is there, the door for the next one
 * included. Returns an exit status. `*service` is to be freed when the workers have ended. */
int serve_until_end(struct gateway *g, int signal_fd, struct takeover *takeover,
                    void (*say_ready)(const struct gateway *g), struct service **service,
                    struct err *e);
/* Shows what `c` changes: in the weir that listens where it says, or else against the defaults. Returns an exit status. */
int serve_dry_run(const struct config *c, const char *name, bool as_json);
