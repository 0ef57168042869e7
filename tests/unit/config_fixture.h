/* config_fixture.h -- a configuration that must load, for tests that look at what it became. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "config/config.h"

/* Fails the test, and says why, where it does not load. */
static inline struct config *config_that_loads(const struct config_options *o)
{
    struct err e = {0};
    struct config *c = config_load(o, &e);
    if (!c)
        print_error("%d:%d: %s\n", e.line, e.column, e.text);
    assert_non_null(c);
    return c;
}

/* Of text alone: nothing else is read. */
static inline struct config *sealed_config(const char *yaml)
{
    return config_that_loads(&(struct config_options){.text = str_from(yaml), .sealed = true});
}

/* With the built-in models' provider, and the environment. */
static inline struct config *open_config(const char *yaml)
{
    return config_that_loads(
        &(struct config_options){.text = str_from(yaml), .builtin_base = "unix:@sim"});
}
