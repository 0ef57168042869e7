/* sample_log.h -- --log of `weir load` and `weir profile`: a record a request, written off the hot path by a thread of its own. */
#pragma once

#include "measure/prompts.h"
#include "measure/sample.h"

struct sample_log;
/* Appends to `path` ("-": standard output). NULL with a sentence. `threads`: how many will call sample_log_take; `api` is the records' call_type. */
MUST_USE struct sample_log *sample_log_open(const char *path, unsigned threads, enum prompt_api api,
                                            struct err *e);
/* [the engine's thread `thread`] Copies the sample; `model` is borrowed until sample_log_close. Nothing is lost: where the log's thread is behind,
 * this one waits. */
void sample_log_take(struct sample_log *l, unsigned thread, const struct sample *s,
                     struct str model);
/* Writes what is left. False: something was not written. NULL is fine. */
MUST_USE bool sample_log_close(struct sample_log *l, struct err *e);
