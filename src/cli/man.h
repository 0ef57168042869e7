/* man.h -- the manual pages: weir(1), one for each command, and the tools' names as links to them. From the tables that --help is made of. */
#pragma once

#include "base/err.h"

/* Writes weir.1, weir-COMMAND.1 ("check config" is weir-check-config.1) and TOOL.1 into `folder`, which is made if it is not there (its
 * parent must be). False: `e` names the file and why it could not be written. Before any option has been parsed: defaults are told.
 * [any thread] */
MUST_USE bool man_write_pages(const char *folder, struct err *e);
