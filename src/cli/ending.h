/* ending.h -- SIGINT and SIGTERM, for commands that end with the report so far: held back, and asked for where it suits. [main thread] */
#pragma once

#include <stdbool.h>

/* Held back from now on, also in threads that start later. SIGPIPE is ignored. */
void ending_hold(void);
/* Did one come since the last call? One a call. */
bool ending_came(void);
/* Forgets those that came, and lets them through again: a report can be ended by them. */
void ending_release(void);
