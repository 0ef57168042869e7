/* error_cause.h -- what an error is likely to come from, and what to do about it: a table, for reports. */
#pragma once

#include "base/str.h"

/* Which command tells more. */
enum error_next {
    NEXT_TRACE,        /* one of the requests: what was tried, and where the time went */
    NEXT_TAIL,         /* what comes in now */
    NEXT_CHECK_CONFIG, /* the configuration */
};

struct error_cause {
    const char *name;  /* for programs: "rate_limit" */
    const char *title; /* for people: "rate limit" */
    const char *fix;   /* a sentence */
    enum error_next next;
};

/* By the words of its text, else its type, else its status (the provider's, or the client's where the provider gave none; -1: none). `type` may
 * be weir's name of an error or LiteLLM's class. Never NULL. [any thread] */
const struct error_cause *error_cause_of(struct str type, int64_t status, struct str text);
