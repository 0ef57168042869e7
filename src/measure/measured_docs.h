/* measured_docs.h -- docs/measuring.md, from the tables that the program measures by. */
#pragma once

#include "base/buf.h"

/* Appends the page. [any thread] */
void measured_write_docs(struct buf *out);
