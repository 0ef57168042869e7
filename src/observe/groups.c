/* groups.c -- see groups.h.
 *
 * Keys of the map are a group's texts one behind the other, each with its length before it, so that neither ("a", "bc") and
 * ("ab", "c") nor a missing text and an empty one are the same. */
#include "observe/groups.h"

#define MISSING 0xFFFFu /* in place of a length */

struct key {
    char bytes[GROUPS_FIELDS_MAX * (GROUPS_KEY_BYTES + 2)];
    size_t n;
};

void groups_init(struct groups *g, int field_count, size_t value_bytes, size_t max)
{
    ENSURE(field_count <= GROUPS_FIELDS_MAX);
    *g = (struct groups){.field_count = field_count, .value_bytes = value_bytes, .max = max};
    map_init(&g->by_key);
    arena_init(&g->memory, NULL, 0);
}

void groups_fini(struct groups *g)
{
    map_fini(&g->by_key);
    arena_fini(&g->memory);
    mem_free(g->all);
    *g = (struct groups){0};
}

static void key_add(struct key *k, struct str text)
{
    size_t n = text.p ? MIN(text.n, (size_t)GROUPS_KEY_BYTES) : 0;
    uint16_t length = text.p ? (uint16_t)n : MISSING;
    memcpy(k->bytes + k->n, &length, sizeof length);
    if (n)
        memcpy(k->bytes + k->n + sizeof length, text.p, n);
    k->n += sizeof length + n;
}

static struct key key_of(const struct groups *g, const struct str *values)
{
    struct key k;
    k.n = 0;
    for (int i = 0; i < g->field_count; i++)
        key_add(&k, values[i]);
    return k;
}

static struct group *add_group(struct groups *g, const struct str *values, const struct key *k)
{
    struct group *made = arena_zalloc(&g->memory, sizeof *made);
    const int field_count = MIN(g->field_count, GROUPS_FIELDS_MAX);
    for (int i = 0; i < field_count; i++) {
        struct str cut = {values[i].p, MIN(values[i].n, (size_t)GROUPS_KEY_BYTES)};
        made->values[i] = values[i].p ? arena_str(&g->memory, cut) : STR_NONE;
    }
    made->value = arena_zalloc(&g->memory, g->value_bytes);
    if ((g->count & (g->count - 1)) == 0) /* room doubles at each power of two */
        g->all = mem_realloc(g->all, MAX(g->count * 2, (size_t)1) * sizeof(struct group *));
    g->all[g->count++] = made;
    map_put(&g->by_key, arena_str(&g->memory, (struct str){k->bytes, k->n}), made);
    return made;
}

struct group *groups_get(struct groups *g, const struct str *values)
{
    struct key k = key_of(g, values);
    struct group *found = map_get(&g->by_key, (struct str){k.bytes, k.n});
    if (LIKELY(found))
        return found;
    if (g->count < g->max)
        return add_group(g, values, &k);
    const struct str other[GROUPS_FIELDS_MAX] = {STR("other"), STR("other"), STR("other")};
    g->full = true;
    k = key_of(g, other);
    found = map_get(&g->by_key, (struct str){k.bytes, k.n});
    return found ? found : add_group(g, other, &k);
}

struct group *groups_of_line(struct groups *g, const struct logline *l,
                             const enum log_field *fields)
{
    char decoded[GROUPS_FIELDS_MAX][GROUPS_KEY_BYTES];
    struct str values[GROUPS_FIELDS_MAX] = {STR_NONE};
    for (int i = 0; i < g->field_count; i++) {
        if (!(l->found >> fields[i] & 1))
            continue;
        memcpy(&values[i], (const char *)&l->r + record_fields[fields[i]].offset, sizeof values[i]);
        values[i] = logline_text(l, fields[i], values[i], decoded[i], sizeof decoded[i]);
    }
    return groups_get(g, values);
}

int group_compare_keys(const struct group *a, const struct group *b)
{
    for (int i = 0; i < GROUPS_FIELDS_MAX; i++) {
        struct str x = a->values[i], y = b->values[i];
        size_t n = MIN(x.n, y.n);
        int order = n ? memcmp(x.p, y.p, n) : 0;
        if (order || x.n != y.n)
            return order ? order : x.n < y.n ? -1 : 1;
        if (!x.p != !y.p)
            return x.p ? 1 : -1;
    }
    return 0;
}

struct group **groups_sorted(const struct groups *g, int (*compare)(const void *, const void *))
{
    struct group **sorted = mem_alloc(MAX(g->count, (size_t)1) * sizeof *sorted);
    if (g->count) {
        memcpy(sorted, g->all, g->count * sizeof(struct group *));
        qsort(sorted, g->count, sizeof(struct group *), compare);
    }
    return sorted;
}
