/* json_view.c -- finds its way through valid JSON by quotes and brackets alone. */
#include "base/json_view.h"

#include "base/json.h"

static const char *skip_blanks(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
        p++;
    return p;
}

/* p is at the opening quote. Returns the byte behind the closing one, or `end`. */
static const char *skip_string(const char *p, const char *end)
{
    const char *text = ++p;
    for (; p < end && (p = memchr(p, '"', (size_t)(end - p))); p++) {
        const char *escape = p;
        while (escape > text && escape[-1] == '\\')
            escape--;
        if ((p - escape) % 2 == 0)
            return p + 1;
        text = p + 1; /* that far no backslash counts any more */
    }
    return end;
}

/* p is at '{' or '['. Returns the byte behind its partner, or `end`. */
static const char *skip_container(const char *p, const char *end)
{
    size_t depth = 0;
    while (p < end) {
        if (*p == '"') {
            p = skip_string(p, end);
            continue;
        }
        depth += *p == '{' || *p == '[';
        depth -= *p == '}' || *p == ']';
        p++;
        if (depth == 0)
            return p;
    }
    return end;
}

static const char *skip_value(const char *p, const char *end)
{
    if (p < end && *p == '"')
        return skip_string(p, end);
    if (p < end && (*p == '{' || *p == '['))
        return skip_container(p, end);
    while (p < end && *p != ',' && *p != '}' && *p != ']' && *p != ' ' && *p != '\t' && *p != '\r')
        p++;
    return p;
}

static struct str between(const char *from, const char *to)
{
    return (struct str){from, (size_t)(to - from)};
}

static bool key_is(struct str quoted, struct str key)
{
    char decoded[256];
    if (quoted.n < 2)
        return false;
    struct str raw = {quoted.p + 1, quoted.n - 2};
    if (!memchr(raw.p, '\\', raw.n))
        return str_eq(raw, key);
    struct str text = {decoded, json_unescape(raw, decoded, sizeof decoded)};
    return str_eq(text, key);
}

struct str json_view_member(struct str object, struct str key)
{
    struct str found = STR_NONE;
    if (!json_view_is(object, '{'))
        return found;
    const char *p = object.p + 1, *end = object.p + object.n;
    while ((p = skip_blanks(p, end)) < end && *p == '"') {
        const char *name = p;
        p = skip_string(p, end);
        struct str quoted = between(name, p);
        p = skip_blanks(p, end);
        if (p == end || *p != ':')
            break;
        const char *value = skip_blanks(p + 1, end);
        p = skip_value(value, end);
        if (key_is(quoted, key))
            found = between(value, p);
        p = skip_blanks(p, end);
        p += p < end && *p == ',';
    }
    return found;
}

bool json_view_next(struct str *rest, struct str *element)
{
    if (rest->n < 2 || (rest->p[0] != '[' && rest->p[0] != ','))
        return false;
    const char *end = rest->p + rest->n;
    const char *p = skip_blanks(rest->p + 1, end), *stop = skip_value(p, end);
    if (stop == p)
        return false;
    *element = between(p, stop);
    stop = skip_blanks(stop, end);
    *rest = between(stop, end);
    return true;
}

struct str json_view_element(struct str array, size_t index)
{
    struct str element;
    if (!json_view_is(array, '['))
        return STR_NONE;
    while (json_view_next(&array, &element))
        if (index-- == 0)
            return element;
    return STR_NONE;
}

struct str json_view_text(struct str value, char *out, size_t out_bytes)
{
    if (!json_view_is(value, '"') || value.n < 2)
        return value;
    struct str raw = {value.p + 1, value.n - 2};
    if (!memchr(raw.p, '\\', raw.n))
        return raw;
    return (struct str){out, json_unescape(raw, out, out_bytes)};
}
