/* log_names.c -- names are looked up in a map by their text; the map's key is the kept copy. */
#include "observe/log_names.h"

static size_t cut_at_character(struct str text, size_t max)
{
    size_t n = MIN(text.n, max);
    while (n < text.n && n > 0 && ((unsigned char)text.p[n] & 0xC0) == 0x80)
        n--;
    return n;
}

static struct str field_text(const struct logline *l, enum log_field field, char *decoded,
                             size_t decoded_bytes)
{
    struct str raw;
    if (!(l->found >> field & 1))
        return STR_NONE;
    memcpy(&raw, (const char *)&l->r + record_fields[field].offset, sizeof raw);
    return logline_text(l, field, raw, decoded, decoded_bytes);
}

size_t log_text_copy(const struct logline *l, enum log_field field, char *out, size_t out_bytes)
{
    struct str text = field_text(l, field, out, out_bytes - 1);
    size_t n = text.p ? cut_at_character(text, out_bytes - 1) : 0;
    if (text.p && text.p != out)
        memcpy(out, text.p, n);
    out[n] = '\0';
    return n;
}

void log_names_init(struct log_names *n, size_t max)
{
    *n = (struct log_names){.max = max};
    map_init(&n->by_text);
    arena_init(&n->texts, NULL, 0);
}

void log_names_fini(struct log_names *n)
{
    map_fini(&n->by_text);
    arena_fini(&n->texts);
}

const char *log_name(struct log_names *n, struct str text)
{
    if (!text.p)
        return NULL;
    text.n = cut_at_character(text, LOG_NAME_BYTES - 1);
    const char *known = map_get(&n->by_text, text);
    if (LIKELY(known))
        return known;
    if (n->by_text.count >= n->max && !str_eq(text, STR("other"))) {
        n->refused++;
        return log_name(n, STR("other"));
    }
    struct str kept = arena_str(&n->texts, text);
    map_put(&n->by_text, kept, (void *)(uintptr_t)kept.p);
    return kept.p;
}

const char *log_name_of(struct log_names *n, const struct logline *l, enum log_field field)
{
    char decoded[LOG_NAME_BYTES];
    return log_name(n, field_text(l, field, decoded, sizeof decoded));
}
