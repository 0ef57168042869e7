#include "base/err.h"

#include <stdarg.h>

static const struct error_info infos[] = {
    [ERR_NONE] = {"", 200, "", false, FAULT_NOBODY, ""},
#define E(name, http_status, api_type, retryable, fault, sentence)                                 \
    [ERR_##name] = {#name, http_status, api_type, retryable, FAULT_##fault, sentence},
#include "base/errors.def"
#undef E
};

/* "UPSTREAM_TIMEOUT" in the table is "upstream_timeout" in logs: made once, before main. */
static char lower_names[ERR_COUNT][32];
static struct error_info shown[ERR_COUNT];

__attribute__((constructor)) static void make_names(void)
{
    for (size_t i = 0; i < ERR_COUNT; i++) {
        size_t n = strlen(infos[i].name);
        ENSURE(n < sizeof lower_names[i]);
        for (size_t k = 0; k < n; k++) {
            char c = infos[i].name[k];
            lower_names[i][k] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
        }
        shown[i] = infos[i];
        shown[i].name = lower_names[i];
    }
}

const struct error_info *error_info(enum error_code code)
{
    ENSURE((unsigned)code < ERR_COUNT);
    return &shown[code];
}

bool err_set(struct err *e, const char *fmt, ...)
{
    if (!e || e->text[0])
        return false;
    va_list args;
    va_start(args, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, args);
    va_end(args);
    return false;
}

bool err_prefix(struct err *e, const char *where)
{
    char text[sizeof e->text];
    snprintf(text, sizeof text, "%s: %.480s", where, e->text);
    memcpy(e->text, text, sizeof text);
    return false;
}

bool err_at(struct err *e, const char *file, int line, int column, const char *fmt, ...)
{
    if (!e || e->text[0])
        return false;
    snprintf(e->file, sizeof e->file, "%s", file ? file : "");
    e->line = line;
    e->column = column;
    va_list args;
    va_start(args, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, args);
    va_end(args);
    return false;
}

void err_format(const struct err *e, char *out, size_t out_bytes)
{
    if (e->file[0] && e->line > 0)
        snprintf(out, out_bytes, "%s:%d:%d: %s", e->file, e->line, e->column, e->text);
    else if (e->file[0])
        snprintf(out, out_bytes, "%s: %s", e->file, e->text);
    else
        snprintf(out, out_bytes, "%s", e->text);
}
