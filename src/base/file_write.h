/* file_write.h -- a file replaced as a whole: who reads it sees the old content or the new, also after a crash. [any thread] */
#pragma once

#include <sys/types.h>

#include "base/err.h"

/* Writes beside it, syncs, renames over `path`, and syncs the folder. False: `e` says which step failed; what was there stays. */
MUST_USE bool file_write_whole(const char *path, struct str content, mode_t mode, struct err *e);
