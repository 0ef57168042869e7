/* html.c -- see html.h. */
#include "cli/html.h"

#include "base/mem.h"
#include "cli/term.h"

/* HTML Living Standard section 13.1.2: what must be escaped in text and in quoted attributes. */
static const char *const entities[256] = {
    ['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['"'] = "&quot;", ['\''] = "&#39;"};

void html_put(FILE *out, struct str text)
{
    char few[512];
    size_t bytes = TERM_SAFE_BYTES(text.n);
    char *safe = bytes <= sizeof few ? few : mem_alloc(bytes);
    term_safe(true, text, 0, safe, bytes);
    for (const char *p = safe; *p; p++) {
        const char *entity = entities[(unsigned char)*p];
        if (entity)
            fputs(entity, out);
        else
            fputc(*p, out);
    }
    if (safe != few)
        mem_free(safe);
}
