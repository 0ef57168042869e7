/* file_watch.h -- tells when one of a set of files has changed on disk, once the change has settled. [control]
 *
 * Made for configuration files and the ways they are replaced: written in place, renamed over (editors), swapped by a symbolic link
 * (Kubernetes' ..data, deployment tools), deleted and made again. */
#pragma once

#include "net/loop.h"

struct file_watch;

/* `on_change` is called from a timer of the loop; it begins a new set itself. */
struct file_watch *file_watch_new(struct loop *l, void (*on_change)(void *arg), void *arg);
void file_watch_free(struct file_watch *w); /* NULL is fine */
/* A new set: forgets the files, then is told of them one by one, each before it is read, so that no change falls in between. */
void file_watch_begin(struct file_watch *w);
void file_watch_add(struct file_watch *w, const char *path);
/* The set is complete: watch it, or, with `on` false, forget it. */
void file_watch_commit(struct file_watch *w, bool on);
