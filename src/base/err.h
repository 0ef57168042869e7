/* err.h -- errors by name (errors.def), and the sentence that cold code hands up to whoever reports it.
 *
 * One error, one name: errors.def gives the HTTP status, the API's error type, the log field, the metric label and the docs.
 * Cold code (config, CLI) returns bool and fills a struct err; it never prints. Only reply.c and the commands report. */
#pragma once

#include "base/str.h"

enum error_code {
    ERR_NONE,
#define E(name, http_status, api_type, retryable, fault, sentence) ERR_##name,
#include "base/errors.def"
#undef E
    ERR_COUNT
};

/* Whose fault it is that a request was not served: what an availability objective may blame a gateway for. */
enum error_fault {
    FAULT_NOBODY, /* nothing went wrong: another attempt answered, or the client left */
    FAULT_CLIENT, /* the request's, or its key's */
    FAULT_PROVIDER, /* the upstream's, or that of the way to it; what the upstream's own status says comes first */
    FAULT_GATEWAY /* weir's, or that of how it is configured: overload, limits set for all */
};

struct error_info {
    const char *name;     /* "upstream_timeout": log field and metric label */
    int http_status;      /* what the client gets */
    const char *api_type; /* OpenAI's error.type */
    bool retryable;       /* may another attempt help? */
    enum error_fault fault;
    const char *sentence; /* default message */
};

const struct error_info *error_info(enum error_code code); /* never NULL; ERR_NONE has name "" */

struct err {
    enum error_code code;
    char file[256]; /* "" when the error has no place in a file */
    int line, column;
    int os_error; /* the errno behind it, where that is known; 0: it is not */
    char text[512];
};

/* Fills `e` (may be NULL) and returns false, so that `return err_set(e, ...)` reads well. The first error wins. */
bool err_set(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool err_at(struct err *e, const char *file, int line, int column, const char *fmt, ...)
    PRINTF_LIKE(5, 6);
/* Puts `where` (an option, a key) and a colon in front of the sentence; returns false, too. */
bool err_prefix(struct err *e, const char *where);
/* "file:line:column: text", or just the text. */
void err_format(const struct err *e, char *out, size_t out_bytes);
