/* key_files.h -- what the tests of keys share: a folder of their own, and facts about keys that differ by a number. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

#include "base/clock.h"
#include "gateway/key_body.h"

static char dir[64];

static inline int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/weir-keys-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static inline int remove_dir(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

/* A path in the folder; the last four stay valid. */
static inline const char *in_dir(const char *name)
{
    static char paths[4][128];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

/* The key "sk-NUMBER". The last eight of a thread stay valid. */
static inline struct key_facts facts_of(int number)
{
    static _Thread_local char names[8][32];
    char *name = names[number % 8];
    struct key_facts f = key_facts_default();
    snprintf(name, sizeof names[0], "sk-%d", number);
    key_sha256(str_from(name), f.hash_hex);
    f.name = STR("sk-...");
    f.alias = str_from(name);
    f.created_us = f.updated_us = 1000 + number;
    return f;
}
