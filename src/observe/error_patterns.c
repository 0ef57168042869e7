/* error_patterns.c -- folds messages and counts them; joins what is nearly the same at the end.
 *
 * Runs for failed requests only. The table is open-addressed and never grows: it has room for twice the patterns that are kept. Texts are
 * copied once, when a pattern or a name is new; ids are copied into the pattern, as they change with each line. */
#include "observe/error_patterns.h"

#include "base/chars.h"

#define TABLE_SIZE     (2 * ERROR_PATTERNS_MAX)
#define NAME_BYTES     128 /* of a model's or key's name; longer ones are cut */
#define WORDS_MAX      (ERROR_TEXT_BYTES / 2 + 1)
#define JOIN_WORDS_MIN 5
#define TREND_MIN      8

const char *const error_trend_names[TREND_COUNT] = {"unknown", "new",     "few",   "gone",
                                                    "growing", "falling", "steady"};

/* What a line says, decoded, while its pattern is looked for. */
struct found {
    struct str type, text, id;
    struct str names[ERROR_NAMES_COUNT];
    int64_t status, us; /* us: -1 when there is no stamp */
    bool status_is_clients;
    uint64_t hash;
    char type_room[NAME_BYTES], id_room[NAME_BYTES], text_room[ERROR_TEXT_BYTES];
    char name_room[ERROR_NAMES_COUNT][NAME_BYTES];
};

void error_patterns_init(struct error_patterns *p)
{
    *p = (struct error_patterns){
        .list = mem_alloc(ERROR_PATTERNS_MAX * sizeof(struct error_pattern *)),
        .table = mem_alloc(TABLE_SIZE * sizeof(struct error_pattern *)),
    };
    arena_init(&p->texts, NULL, 0);
}

static void pattern_free(struct error_pattern *e)
{
    for (int i = 0; i < ERROR_NAMES_COUNT; i++)
        mem_free(e->names[i].list);
    mem_free(e);
}

void error_patterns_fini(struct error_patterns *p)
{
    for (size_t i = 0; i < p->count; i++)
        pattern_free(p->list[i]);
    mem_free(p->list);
    mem_free(p->table);
    arena_fini(&p->texts);
}

/* ---- what a line says ---- */

static struct str field_text(const struct logline *l, enum log_field field, struct str raw,
                             char *room)
{
    if (!(l->found >> field & 1))
        return STR_NONE;
    struct str text = logline_text(l, field, raw, room, NAME_BYTES);
    text.n = text.n > NAME_BYTES ? utf8_whole(text.p, NAME_BYTES) : text.n;
    return text;
}

/* The names that rule 7 folds, longest first. */
static size_t names_of(const struct logline *l, struct str names[3], char rooms[3][NAME_BYTES])
{
    struct str found[] = {
        field_text(l, LOG_model, l->r.model, rooms[0]),
        field_text(l, LOG_upstream_model, l->r.upstream_model, rooms[1]),
        field_text(l, LOG_deployment, l->r.deployment, rooms[2]),
    };
    size_t count = 0;
    for (size_t i = 0; i < COUNT(found); i++) {
        if (found[i].n < 3)
            continue;
        size_t at = count++;
        for (; at > 0 && names[at - 1].n < found[i].n; at--)
            names[at] = names[at - 1];
        names[at] = found[i];
    }
    return count;
}

static struct str fold_message(const struct logline *l, char *out)
{
    char decoded[ERROR_TEXT_SOURCE + 4], rooms[3][NAME_BYTES];
    struct str names[3];
    if (!(l->found & LOG_BIT(error_message)))
        return (struct str){out, 0};
    struct str message =
        logline_text(l, LOG_error_message, l->r.error.message, decoded, sizeof decoded);
    return error_text_fold(message, names, names_of(l, names, rooms), out);
}

static void find_status(struct found *f, const struct logline *l)
{
    f->status = -1;
    f->status_is_clients = false;
    if (l->found & LOG_BIT(error_provider_status)) {
        f->status = l->r.error.provider_status;
    } else if (l->found & LOG_BIT(http_status)) {
        f->status = l->r.http_status;
        f->status_is_clients = true;
    }
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 32;
}

static void find(struct found *f, const struct logline *l)
{
    f->type = field_text(l, LOG_error_type, l->r.error.type, f->type_room);
    if (f->type.n == 0)
        f->type = STR_NONE;
    f->text = fold_message(l, f->text_room);
    f->id = field_text(l, LOG_request_id, l->r.request_id, f->id_room);
    f->names[ERROR_MODELS] = field_text(l, LOG_model, l->r.model, f->name_room[ERROR_MODELS]);
    f->names[ERROR_PROVIDERS] =
        field_text(l, LOG_provider, l->r.provider, f->name_room[ERROR_PROVIDERS]);
    f->names[ERROR_KEYS] = field_text(l, LOG_key_alias, l->r.key_alias, f->name_room[ERROR_KEYS]);
    f->us = l->found & LOG_BIT(timestamp) ? l->r.timestamp : -1;
    find_status(f, l);
    f->hash = mix(mix(mix(str_hash(f->type), str_hash(f->text)), (uint64_t)f->status),
                  f->status_is_clients);
}

/* ---- patterns ---- */

static bool pattern_is(const struct error_pattern *e, uint64_t hash, struct str type,
                       struct str text, int64_t status, bool status_is_clients)
{
    return e->hash == hash && e->status == status && e->status_is_clients == status_is_clients &&
           str_eq(e->type, type) && str_eq(e->text, text);
}

/* The pattern, made where it is not there; NULL: there is no room for another. */
static struct error_pattern *pattern_of(struct error_patterns *p, uint64_t hash, struct str type,
                                        struct str text, int64_t status, bool status_is_clients)
{
    size_t i = hash & (TABLE_SIZE - 1);
    for (; p->table[i]; i = (i + 1) & (TABLE_SIZE - 1))
        if (pattern_is(p->table[i], hash, type, text, status, status_is_clients))
            return p->table[i];
    if (p->count == ERROR_PATTERNS_MAX)
        return NULL;
    struct error_pattern *e = mem_alloc(sizeof *e);
    *e = (struct error_pattern){
        .hash = hash,
        .type = type.p ? arena_str(&p->texts, type) : STR_NONE,
        .text = arena_str(&p->texts, text),
        .status = status,
        .status_is_clients = status_is_clients,
        .first_us = INT64_MAX,
        .last_us = INT64_MIN,
        .first = {.us = INT64_MAX},
        .last = {.us = INT64_MIN},
    };
    p->list[p->count++] = p->table[i] = e;
    return e;
}

static void names_add(struct error_patterns *p, struct error_names *names, struct str name,
                      uint64_t count)
{
    if (name.n == 0)
        return;
    for (size_t i = 0; i < names->count; i++) {
        if (str_eq(names->list[i].name, name)) {
            names->list[i].count += count;
            return;
        }
    }
    if (names->count == ERROR_NAMES_MAX) {
        names->other += count;
        return;
    }
    if ((names->count & (names->count - 1)) == 0) /* room doubles at each power of two */
        names->list =
            mem_realloc(names->list, MAX(names->count * 2, (size_t)1) * sizeof *names->list);
    names->list[names->count++] = (struct error_name){arena_str(&p->texts, name), count};
}

/* Which of two examples comes first in time; equal stamps by id. */
static int example_order(const struct error_example *a, const struct error_example *b)
{
    if (a->us != b->us)
        return a->us < b->us ? -1 : 1;
    int order = memcmp(a->id, b->id, MIN(a->n, b->n));
    return order ? order : (int)a->n - (int)b->n;
}

static void add_examples(struct error_pattern *e, const struct error_example *first,
                         const struct error_example *last)
{
    if (first->n && (!e->first.n || example_order(first, &e->first) < 0))
        e->first = *first;
    if (last->n && (!e->last.n || example_order(last, &e->last) > 0))
        e->last = *last;
}

static void add_id(struct error_pattern *e, struct str id, int64_t us)
{
    struct error_example first = {.us = us < 0 ? INT64_MAX : us};
    if (id.n == 0 || id.n > sizeof first.id)
        return;
    first.n = (uint8_t)id.n;
    memcpy(first.id, id.p, id.n);
    struct error_example last = first;
    last.us = us < 0 ? INT64_MIN : us;
    add_examples(e, &first, &last);
}

void error_patterns_take(struct error_patterns *p, const struct logline *l)
{
    struct found f;
    /* Nearly every line: told by one comparison. */
    if (LIKELY(log_text_is(l, LOG_BIT(status), l->r.status, STR("success"))) ||
        log_outcome_of(l) != LOG_OUTCOME_FAILURE)
        return;
    p->errors++;
    find(&f, l);
    struct error_pattern *e = pattern_of(p, f.hash, f.type, f.text, f.status, f.status_is_clients);
    if (!e) {
        p->other++;
        return;
    }
    e->count++;
    add_id(e, f.id, f.us);
    for (int i = 0; i < ERROR_NAMES_COUNT; i++)
        names_add(p, &e->names[i], f.names[i], 1);
    if (f.us < 0)
        return;
    e->first_us = MIN(e->first_us, f.us);
    e->last_us = MAX(e->last_us, f.us);
    time_slots_add(&e->times, f.us);
}

/* ---- merging ---- */

/* Adds what `from` counted; their texts may differ. */
static void pattern_merge(struct error_patterns *p, struct error_pattern *into,
                          const struct error_pattern *from)
{
    into->count += from->count;
    into->first_us = MIN(into->first_us, from->first_us);
    into->last_us = MAX(into->last_us, from->last_us);
    add_examples(into, &from->first, &from->last);
    for (int i = 0; i < ERROR_NAMES_COUNT; i++) {
        for (size_t n = 0; n < from->names[i].count; n++)
            names_add(p, &into->names[i], from->names[i].list[n].name,
                      from->names[i].list[n].count);
        into->names[i].other += from->names[i].other;
    }
    time_slots_merge(&into->times, &from->times);
}

void error_patterns_merge(struct error_patterns *into, const struct error_patterns *from)
{
    ENSURE(!into->settled && !from->settled);
    into->errors += from->errors;
    into->other += from->other;
    for (size_t i = 0; i < from->count; i++) {
        const struct error_pattern *e = from->list[i];
        struct error_pattern *to =
            pattern_of(into, e->hash, e->type, e->text, e->status, e->status_is_clients);
        if (to)
            pattern_merge(into, to, e);
        else
            into->other += e->count;
    }
}

/* ---- settling ---- */

static int str_order(struct str a, struct str b)
{
    size_t n = MIN(a.n, b.n);
    int order = n ? memcmp(a.p, b.p, n) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

/* Most frequent first; equals in an order of their own, so that it is always the same. */
static int pattern_order(const void *a, const void *b)
{
    const struct error_pattern *x = *(struct error_pattern *const *)a,
                               *y = *(struct error_pattern *const *)b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    int order = str_order(x->type, y->type);
    order = order ? order : str_order(x->text, y->text);
    order = order ? order : (x->status > y->status) - (x->status < y->status);
    return order ? order : (int)x->status_is_clients - (int)y->status_is_clients;
}

static int name_order(const void *a, const void *b)
{
    const struct error_name *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return str_order(x->name, y->name);
}

struct word {
    struct str text;
    bool plain;   /* a small word, with or without punctuation */
    bool differs; /* in a pattern that was joined */
};

/* A pattern that others may join, and its words. */
struct cluster {
    struct error_pattern *pattern;
    struct word *words;
    size_t word_count;
    bool joined;
};

static bool is_plain(struct str word)
{
    while (word.n && strchr(".,:;!?()'\"", word.p[word.n - 1]))
        word.n--;
    while (word.n && strchr("('\"", word.p[0]))
        word = str_skip(word, 1);
    for (size_t i = 0; i < word.n; i++)
        if (word.p[i] < 'a' || word.p[i] > 'z')
            return false;
    return word.n > 0;
}

static size_t split(struct str text, struct word *words)
{
    size_t n = 0;
    while (text.n && n < WORDS_MAX) {
        struct str word = str_cut(&text, ' ');
        words[n++] = (struct word){word, is_plain(word), false};
    }
    return n;
}

static bool may_join(const struct cluster *c, const struct cluster *with)
{
    const struct error_pattern *a = c->pattern, *b = with->pattern;
    size_t n = c->word_count, differ = 0;
    if (n != with->word_count || n < JOIN_WORDS_MIN || a->status != b->status ||
        a->status_is_clients != b->status_is_clients || !str_eq(a->type, b->type))
        return false;
    for (size_t i = 0; i < n && 10 * differ <= 3 * n; i++) {
        const struct word *x = &c->words[i], *y = &with->words[i];
        if (str_eq(x->text, y->text))
            continue;
        if (x->plain && y->plain)
            return false;
        differ++;
    }
    return 10 * differ <= 3 * n;
}

static void join(struct error_patterns *p, struct cluster *c, const struct cluster *with)
{
    for (size_t i = 0; i < c->word_count; i++)
        c->words[i].differs |= !str_eq(c->words[i].text, with->words[i].text);
    c->joined = true;
    pattern_merge(p, c->pattern, with->pattern);
    pattern_free(with->pattern);
}

static void rewrite(struct error_patterns *p, const struct cluster *c)
{
    char text[2 * ERROR_TEXT_BYTES];
    size_t n = 0;
    for (size_t i = 0; i < c->word_count; i++) {
        struct str word = c->words[i].differs ? STR("<*>") : c->words[i].text;
        if (i)
            text[n++] = ' ';
        memcpy(text + n, word.p, word.n);
        n += word.n;
    }
    c->pattern->text = arena_str(&p->texts, (struct str){text, n});
}

/* Each pattern joins the first one before it that it is near to. Those it is compared with keep the words they began with, so that
 * a cluster cannot wander. */
static void join_all(struct error_patterns *p)
{
    struct arena words;
    arena_init(&words, NULL, 0);
    struct cluster *clusters = mem_alloc(MAX(p->count, (size_t)1) * sizeof *clusters);
    size_t count = 0;
    for (size_t i = 0; i < p->count; i++) {
        struct word room[WORDS_MAX];
        struct cluster *c = &clusters[count];
        *c = (struct cluster){p->list[i], room, split(p->list[i]->text, room), false};
        size_t to = 0;
        while (to < count && !may_join(&clusters[to], c))
            to++;
        if (to < count) {
            join(p, &clusters[to], c);
            continue;
        }
        c->words = arena_alloc(&words, MAX(c->word_count, (size_t)1) * sizeof *room);
        memcpy(c->words, room, c->word_count * sizeof *room);
        count++;
    }
    for (size_t i = 0; i < count; i++) {
        if (clusters[i].joined)
            rewrite(p, &clusters[i]);
        p->list[i] = clusters[i].pattern;
    }
    p->count = count;
    mem_free(clusters);
    arena_fini(&words);
}

void error_patterns_settle(struct error_patterns *p)
{
    if (p->settled)
        return;
    p->settled = true;
    qsort(p->list, p->count, sizeof(struct error_pattern *), pattern_order);
    join_all(p);
    qsort(p->list, p->count, sizeof(struct error_pattern *), pattern_order);
    for (size_t i = 0; i < p->count; i++)
        for (int k = 0; k < ERROR_NAMES_COUNT; k++)
            if (p->list[i]->names[k].count)
                qsort(p->list[i]->names[k].list, p->list[i]->names[k].count,
                      sizeof(struct error_name), name_order);
}

/* ---- trend ---- */

static bool is_more(double many, double few)
{
    return many >= 1.5 * few && (many - few) * (many - few) > 9 * (many + few);
}

enum error_trend error_pattern_trend(const struct error_pattern *p, int64_t first_us,
                                     int64_t last_us)
{
    double counts[TIME_SLOTS_SHOWN_MAX], early = 0, late = 0;
    if (p->first_us > p->last_us || first_us >= last_us)
        return TREND_UNKNOWN;
    int64_t last_quarter_us = last_us - (last_us - first_us) / 4;
    if (p->first_us >= last_quarter_us)
        return TREND_NEW;
    if (p->count < TREND_MIN)
        return TREND_FEW;
    if (p->last_us < last_quarter_us)
        return TREND_GONE;
    struct time_buckets b = time_buckets_over(first_us, last_us);
    time_slots_fill(&p->times, &b, counts);
    for (size_t i = 0; i < b.count / 2; i++) {
        early += counts[i];
        late += counts[b.count - 1 - i];
    }
    return is_more(late, early)   ? TREND_GROWING
           : is_more(early, late) ? TREND_FALLING
                                  : TREND_STEADY;
}
