#include "base/diag.h"

#include <stdarg.h>
#include <unistd.h>

#include "base/clock.h"

static const char *const level_words[] = {"error: ", "warning: ", "", "debug: "};
static const char *const level_names[] = {"ERROR", "WARNING", "INFO", "DEBUG"};
static enum diag_level most_verbose = DIAG_INFO;
static bool as_json;

void diag_set_level(enum diag_level level)
{
    most_verbose = level;
}
void diag_set_json(bool on)
{
    __atomic_store_n(&as_json, on, __ATOMIC_RELAXED);
}

/* Quotes, backslashes and control bytes only: the text is our own, the peer's parts of it are already valid UTF-8. */
static size_t json_text(const char *text, char *out, size_t room)
{
    size_t n = 0;
    for (; *text && n + 7 < room; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            out[n++] = '\\';
            out[n++] = (char)c;
        } else if (c < 0x20) {
            n += (size_t)snprintf(out + n, room - n, "\\u%04x", c);
        } else {
            out[n++] = (char)c;
        }
    }
    out[n] = '\0';
    return n;
}

void diag(enum diag_level level, const char *fmt, ...)
{
    char text[1024], line[2400], escaped[2100], stamp[CLOCK_RFC3339_BYTES + 1] = "";
    if (level > most_verbose)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    int n;
    if (__atomic_load_n(&as_json, __ATOMIC_RELAXED)) {
        clock_rfc3339(clock_real_us(), stamp);
        json_text(text, escaped, sizeof escaped);
        n = snprintf(line, sizeof line,
                     "{\"message\":\"%s\",\"level\":\"%s\",\"timestamp\":\"%s\"}\n", escaped,
                     level_names[level], stamp);
    } else {
        n = snprintf(line, sizeof line, "weir: %s%s\n", level_words[level], text);
    }
    /* One write a line, so lines of several threads do not mix. */
    if (n > 0 && write(STDERR_FILENO, line, MIN((size_t)n, sizeof line - 1)) < 0)
        return; /* nowhere left to say it */
}
