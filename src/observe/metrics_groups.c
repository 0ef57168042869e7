/* metrics_groups.c -- which cells show equal labels, and in which order those are written.
 *
 * Many families share a label set, so cells are put into groups once a set. No text is compared for it: all texts of all shards are
 * sorted once, as they will be written, and a cell's labels are then the ranks of its texts. Sorting cells by them, the last label first, is a
 * counting sort each; labels that are the same in all cells need none. The order is that of the written labels' bytes, and equal state gives
 * equal bytes: each text is compared with its closing quote, which no escaped text has in it, so no text is another's beginning. */
#include "observe/metrics_scrape.h"

#include "base/json_text.h"

size_t scrape_escape(char *out, struct str t, bool quoted)
{
    const char *p = t.p, *end = t.p + t.n;
    char *at = out;
    while (p < end) {
        size_t n = (unsigned char)*p < 0x80 ? 1 : utf8_char(p, end);
        if (*p == '\\' || *p == '\n' || (quoted && *p == '"')) {
            *at++ = '\\';
            *at++ = *p++ == '\n' ? 'n' : p[-1];
        } else if (n == 0) {
            *at++ = '?';
            p++;
        } else {
            memcpy(at, p, n);
            at += n;
            p += n;
        }
    }
    return (size_t)(at - out);
}

/* ---- texts ---- */

struct text {
    struct str escaped;
    uint32_t id;
};

static int compare_texts(const void *a, const void *b)
{
    struct str x = ((const struct text *)a)->escaped, y = ((const struct text *)b)->escaped;
    int order = memcmp(x.p, y.p, MIN(x.n, y.n));
    return order ? order : (x.n > y.n) - (x.n < y.n);
}

static struct str quote_end(struct scrape *s, struct str text)
{
    char *out = arena_alloc(&s->kept, 2 * text.n + 1);
    size_t n = scrape_escape(out, text, true);
    out[n++] = '"';
    return (struct str){out, n};
}

/* Numbers all shards' texts; ids[shard][text of the shard] is the number. Returns how many there are. */
static uint32_t merge_texts(struct scrape *s, uint32_t **ids, const uint32_t *counts,
                            struct text *all)
{
    struct map known;
    uint32_t n = 0;
    map_init(&known);
    for (int i = 0; i < s->m->shard_count; i++) {
        const struct shard *shard = &s->m->shards[i];
        ids[i] = arena_alloc(&s->kept, (counts[i] + 1) * sizeof *ids[i]);
        for (uint32_t t = 0; t < counts[i]; t++) {
            struct str escaped = quote_end(s, shard_text(shard, t));
            uintptr_t id = (uintptr_t)map_get(&known, escaped);
            if (id == 0) {
                id = n + 1;
                map_put(&known, escaped, (void *)id);
                all[n] = (struct text){escaped, n};
                n++;
            }
            ids[i][t] = (uint32_t)id - 1;
        }
    }
    map_fini(&known);
    return n;
}

/* ranks[shard][text of the shard]. */
static uint32_t **rank_texts(struct scrape *s, const uint32_t *counts)
{
    int shards = s->m->shard_count;
    size_t total = 1;
    for (int i = 0; i < shards; i++)
        total += counts[i];
    uint32_t **ids = arena_alloc(&s->kept, (size_t)shards * sizeof *ids);
    uint32_t *rank_of = arena_alloc(&s->kept, total * sizeof *rank_of);
    struct text *all = arena_alloc(&s->kept, total * sizeof *all);
    s->text_count = merge_texts(s, ids, counts, all);
    if (s->text_count > 1)
        qsort(all, s->text_count, sizeof *all, compare_texts);
    s->escaped = arena_alloc(&s->kept, total * sizeof *s->escaped);
    for (uint32_t r = 0; r < s->text_count; r++) {
        s->escaped[r] = all[r].escaped;
        rank_of[all[r].id] = r;
    }
    for (int i = 0; i < shards; i++)
        for (uint32_t t = 0; t < counts[i]; t++)
            ids[i][t] = rank_of[ids[i][t]];
    return ids;
}

/* ---- cells ---- */

static void view_init(struct scrape *s, struct view *v, size_t room)
{
    v->cells = arena_alloc(&s->kept, (room + 1) * sizeof *v->cells);
    for (int i = 0; i < VALUE_COUNT; i++)
        v->ranks[i] = arena_alloc(&s->kept, (room + 1) * sizeof *v->ranks[i]);
}

static void view_add(struct view *v, const struct cell *c, const uint32_t *ranks)
{
    for (int i = 0; i < VALUE_COUNT; i++) {
        uint32_t rank = ranks[c->texts[i]];
        v->ranks[i][v->count] = rank;
        v->differs[i] |= rank != v->ranks[i][0];
    }
    v->cells[v->count++] = c;
}

static void add_shard(struct scrape *s, const struct shard *shard, const uint32_t *ranks,
                      const size_t counts[VIEW_COUNT])
{
    for (size_t i = 0; i < counts[VIEW_CELLS]; i++) {
        const struct cell *c = pile_cell(&shard->cells, i), *coarse = cell_coarse(s->m, c);
        view_add(&s->views[VIEW_CELLS], c, ranks);
        if (COUNTER_GET(coarse->numbers[NUMBER_REQUESTS]))
            view_add(&s->views[VIEW_ACCOUNTS], coarse, ranks);
    }
    for (size_t i = 0; i < counts[VIEW_ACCOUNTS]; i++)
        view_add(&s->views[VIEW_ACCOUNTS], pile_cell(&shard->accounts, i), ranks);
}

/* Texts are counted after the cells that show them. */
void scrape_collect(struct scrape *s)
{
    size_t shards = (size_t)s->m->shard_count, cells = 0, accounts = 0;
    size_t(*counts)[VIEW_COUNT] = arena_alloc(&s->kept, shards * sizeof *counts);
    uint32_t *texts = arena_alloc(&s->kept, shards * sizeof *texts);
    for (size_t i = 0; i < shards; i++) {
        const struct shard *shard = &s->m->shards[i];
        cells += counts[i][VIEW_CELLS] = pile_count(&shard->cells);
        accounts += counts[i][VIEW_ACCOUNTS] = pile_count(&shard->accounts);
        texts[i] = __atomic_load_n(&shard->texts.count, __ATOMIC_ACQUIRE);
    }
    uint32_t **ranks = rank_texts(s, texts);
    view_init(s, &s->views[VIEW_CELLS], cells);
    view_init(s, &s->views[VIEW_ACCOUNTS], accounts + cells);
    for (size_t i = 0; i < shards; i++)
        add_shard(s, &s->m->shards[i], ranks[i], counts[i]);
}

/* ---- groups ---- */

/* `order` sorted by one column, what was before staying so where that is equal. */
static void sort_by(struct scrape *s, const uint32_t *ranks, uint32_t *order, uint32_t *sorted,
                    uint32_t count)
{
    uint32_t *starts = arena_zalloc(&s->texts, (s->text_count + 1) * sizeof *starts);
    for (uint32_t i = 0; i < count; i++)
        starts[ranks[i] + 1]++;
    for (uint32_t r = 0; r < s->text_count; r++)
        starts[r + 1] += starts[r];
    for (uint32_t i = 0; i < count; i++)
        sorted[starts[ranks[order[i]]]++] = order[i];
}

static bool same_labels(const struct view *v, const struct family *f, uint32_t a, uint32_t b)
{
    for (size_t i = 0; i < f->label_count; i++) {
        const uint32_t *ranks = v->ranks[f->labels[i].value];
        if (ranks[a] != ranks[b])
            return false;
    }
    return true;
}

static char *copy(char *at, struct str t)
{
    memcpy(at, t.p, t.n);
    return at + t.n;
}

/* What stands behind a label's name: the text and its closing quote. */
static struct str shown(const struct scrape *s, const struct view *v, const struct label *label,
                        uint32_t cell)
{
    return label->text ? STR("\"") : s->escaped[v->ranks[label->value][cell]];
}

static struct str label_text(struct scrape *s, const struct view *v, const struct family *f,
                             const struct str *names, uint32_t cell)
{
    size_t room = 0;
    for (size_t i = 0; i < f->label_count; i++)
        room += names[i].n + shown(s, v, &f->labels[i], cell).n;
    char *text = arena_alloc(&s->kept, room + 1), *at = text;
    for (size_t i = 0; i < f->label_count; i++)
        at = copy(copy(at, names[i]), shown(s, v, &f->labels[i], cell));
    return (struct str){text, room};
}

/* ,name=" for each label, the comma but for the first; and the text of one that has always the same. */
static struct str *label_names(struct scrape *s, const struct family *f)
{
    struct str *names = arena_alloc(&s->texts, (f->label_count + 1) * sizeof *names);
    for (size_t i = 0; i < f->label_count; i++)
        names[i] = arena_printf(&s->texts, "%s%s=\"%s", i ? "," : "", f->labels[i].name,
                                f->labels[i].text ? f->labels[i].text : "");
    return names;
}

static void cut_groups(struct scrape *s, const struct view *v, const struct family *f,
                       const uint32_t *order, struct grouping *g)
{
    const struct str *names = label_names(s, f);
    for (uint32_t i = 0, end; i < v->count; i = end) {
        for (end = i + 1; end < v->count && same_labels(v, f, order[i], order[end]); end++)
            ;
        g->groups[g->group_count++] = (struct group){label_text(s, v, f, names, order[i]), i, end};
    }
    for (uint32_t i = 0; i < v->count; i++)
        g->cells[i] = v->cells[order[i]];
}

static struct grouping *make_groups(struct scrape *s, struct view *v, const struct family *f)
{
    uint32_t *order = arena_alloc(&s->texts, (v->count + 1) * sizeof *order);
    uint32_t *sorted = arena_alloc(&s->texts, (v->count + 1) * sizeof *sorted);
    struct grouping *g = arena_zalloc(&s->kept, sizeof *g);
    *g =
        (struct grouping){.labels = f->labels, .label_count = f->label_count, .next = v->groupings};
    g->of_accounts = v == &s->views[VIEW_ACCOUNTS];
    g->cells = arena_alloc(&s->kept, (v->count + 1) * sizeof *g->cells);
    g->groups = arena_alloc(&s->kept, (v->count + 1) * sizeof *g->groups);
    for (uint32_t i = 0; i < v->count; i++)
        order[i] = i;
    for (size_t i = f->label_count; i-- > 0;) {
        enum value value = f->labels[i].value;
        if (!v->differs[value])
            continue;
        sort_by(s, v->ranks[value], order, sorted, v->count);
        uint32_t *swap = order;
        order = sorted;
        sorted = swap;
    }
    cut_groups(s, v, f, order, g);
    v->groupings = g;
    return g;
}

static bool is_of_accounts(const struct family *f)
{
    for (size_t i = 0; i < f->label_count; i++)
        if (VALUES_OF_ACCOUNTS & 1u << f->labels[i].value)
            return true;
    return false;
}

const struct grouping *scrape_groups(struct scrape *s, const struct family *f)
{
    struct view *v = &s->views[is_of_accounts(f) ? VIEW_ACCOUNTS : VIEW_CELLS];
    struct grouping *g = v->groupings;
    while (g && (g->labels != f->labels || g->label_count != f->label_count))
        g = g->next;
    return g ? g : make_groups(s, v, f);
}
