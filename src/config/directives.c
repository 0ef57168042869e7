/* directives.c -- what the rows of directive_tables.c mean: parsing, ranges, messages, documentation.
 *
 * Called by config.c and model_list.c for every key of a file, and by `weir docs`. A type is one row of `types` below: how its text
 * is read, and what a message or the documentation calls it. Defaults go through the same functions as a file's values, so a bad
 * default cannot survive the first start. Sizes and times may have a unit ("64MiB", "10s"); numbers and booleans may be quoted,
 * as values that come from the environment always look. Nothing here prints or aborts on input. */
#include "config/directives.h"

#include <inttypes.h>

#include "base/redact.h"

/* ---- one type each ---- */

typedef bool directive_reader(const struct directive *d, const struct yaml_node *n, struct arena *a,
                              void *field);

static bool in_range(const struct directive *d, double value)
{
    return (d->min == 0 && d->max == 0) || (value >= (double)d->min && value <= (double)d->max);
}

static bool store_i64(const struct directive *d, int64_t value, void *field)
{
    if (!in_range(d, (double)value))
        return false;
    memcpy(field, &value, sizeof value);
    return true;
}

static bool read_bool(const struct directive *d, const struct yaml_node *n, struct arena *a,
                      void *field)
{
    (void)d, (void)a;
    struct yaml_node plain = *n;
    plain.quoted = false;
    bool value;
    if (!yaml_bool(&plain, &value))
        return false;
    memcpy(field, &value, sizeof value);
    return true;
}

static bool read_int(const struct directive *d, const struct yaml_node *n, struct arena *a,
                     void *field)
{
    (void)a;
    int64_t value;
    return str_to_i64(n->text, &value) && store_i64(d, value, field);
}

static bool read_int32(const struct directive *d, const struct yaml_node *n, struct arena *a,
                       void *field)
{
    (void)a;
    int64_t value;
    if (!str_to_i64(n->text, &value) || !in_range(d, (double)value) || value < INT32_MIN ||
        value > INT32_MAX)
        return false;
    int small = (int)value;
    memcpy(field, &small, sizeof small);
    return true;
}

struct unit {
    const char *name;
    int64_t times;
};

/* A whole number and, if there is one, a unit behind it. */
static bool read_with_unit(const struct unit *units, struct str text, int64_t *out)
{
    int64_t value, times = 1;
    size_t digits = 0;
    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    struct str unit = str_trim(str_skip(text, digits));
    if (unit.n) {
        while (units->name && !str_eq(unit, str_from(units->name)))
            units++;
        if (!units->name)
            return false;
        times = units->times;
    }
    return str_to_i64((struct str){text.p, digits}, &value) &&
           !__builtin_mul_overflow(value, times, out);
}

static bool read_bytes(const struct directive *d, const struct yaml_node *n, struct arena *a,
                       void *field)
{
    static const struct unit units[] = {
        {"B", 1},     {"KiB", 1 << 10}, {"MiB", 1 << 20},    {"GiB", 1 << 30},
        {"KB", 1000}, {"kB", 1000},     {"MB", 1000 * 1000}, {"GB", 1000 * 1000 * 1000},
        {NULL, 0}};
    (void)a;
    int64_t value;
    return read_with_unit(units, n->text, &value) && store_i64(d, value, field);
}

static bool read_ms(const struct directive *d, const struct yaml_node *n, struct arena *a,
                    void *field)
{
    static const struct unit units[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 60 * 60 * 1000}, {NULL, 0}};
    (void)a;
    int64_t value;
    return read_with_unit(units, n->text, &value) && store_i64(d, value, field);
}

static bool read_seconds(const struct directive *d, const struct yaml_node *n, struct arena *a,
                         void *field)
{
    (void)a;
    double seconds;
    if (!str_to_f64(n->text, &seconds) || seconds < (double)d->min || seconds > (double)d->max)
        return false;
    int64_t ms = (int64_t)(seconds * 1000 + 0.5);
    memcpy(field, &ms, sizeof ms);
    return true;
}

static bool read_f64(const struct directive *d, const struct yaml_node *n, struct arena *a,
                     void *field)
{
    (void)a;
    double value;
    if (!str_to_f64(n->text, &value) || !in_range(d, value))
        return false;
    memcpy(field, &value, sizeof value);
    return true;
}

static bool read_price(const struct directive *d, const struct yaml_node *n, struct arena *a,
                       void *field)
{
    (void)a;
    double usd;
    return str_to_f64(n->text, &usd) && usd >= 0 && price_set(field, str_from(d->key), usd);
}

/* One line: a control byte in a key, a path or a header would reach places where it means something. */
static bool read_str(const struct directive *d, const struct yaml_node *n, struct arena *a,
                     void *field)
{
    for (size_t i = 0; i < n->text.n; i++)
        if ((unsigned char)n->text.p[i] < ' ' || n->text.p[i] == 0x7f)
            return false;
    if (n->text.n < (size_t)d->min || (d->max && n->text.n > (size_t)d->max))
        return false;
    struct str copy = arena_str(a, n->text);
    memcpy(field, &copy, sizeof copy);
    return true;
}

static bool read_choice(const struct directive *d, const struct yaml_node *n, struct arena *a,
                        void *field)
{
    (void)a;
    for (int i = 0; d->choices[i]; i++)
        if (str_ieq(n->text, str_from(d->choices[i]))) {
            memcpy(field, &i, sizeof i);
            return true;
        }
    return false;
}

// clang-format off
static const struct {
    const char *what;       /* "expected ..." */
    directive_reader *read; /* NULL: not a scalar, not stored by the row */
} types[] = {
    [D_BOOL]          = {"true or false", read_bool},
    [D_INT]           = {"an integer", read_int},
    [D_INT32]         = {"an integer", read_int32},
    [D_BYTES]         = {"a number of bytes (4096, \"64KiB\", \"64MiB\")", read_bytes},
    [D_MS]            = {"a number of milliseconds (500, \"10s\", \"2m\")", read_ms},
    [D_SECONDS_AS_MS] = {"a number of seconds", read_seconds},
    [D_F64]           = {"a number", read_f64},
    [D_PRICE]         = {"a price in USD, 0 or more", read_price},
    [D_STR]           = {"a line of text", read_str},
    [D_SECRET]        = {"a line of text", read_str},
    [D_CHOICE]        = {"one of", read_choice},
    [D_LIST]          = {"a list", NULL},
    [D_MAP]           = {"a mapping", NULL},
    [D_ANY]           = {"any value", NULL},
};
// clang-format on

/* ---- messages ---- */

/* "an integer between 1 and 65535" */
static void append_expected(struct buf *b, const struct directive *d)
{
    bool ok = buf_printf(b, "%s", types[d->type].what);
    if (d->type == D_CHOICE)
        for (int i = 0; d->choices[i]; i++)
            ok = ok && buf_printf(b, "%s%s", i ? ", " : " ", d->choices[i]);
    else if (d->type == D_STR || d->type == D_SECRET)
        ok = ok &&
             (!d->max || buf_printf(b, " of %" PRId64 " to %" PRId64 " bytes", d->min, d->max));
    else if (d->min || d->max)
        ok = ok && buf_printf(b, " between %" PRId64 " and %" PRId64, d->min, d->max);
    ENSURE(ok);
}

static void append_got(struct buf *b, const struct directive *d, const struct yaml_node *n)
{
    char shown[60];
    bool ok = true;
    if (n->kind != NODE_SCALAR)
        ok = buf_printf(b, "%s", n->kind == NODE_MAP ? "a mapping" : "a list");
    else if (d->type == D_SECRET || n->secret)
        ok = buf_printf(b, "something else (not shown: it is a secret)");
    else
        ok = buf_printf(b, "\"%.*s\"%s", (int)redact_secrets(n->text, shown, sizeof shown), shown,
                        n->text.n > sizeof shown ? "..." : "");
    ENSURE(ok);
}

static bool complain(const struct directive *d, const char *section, const struct yaml_node *n,
                     struct err *e)
{
    struct buf expected, got;
    buf_init(&expected, 0, NULL);
    buf_init(&got, 0, NULL);
    append_expected(&expected, d);
    append_got(&got, d, n);
    err_at(e, n->file, n->line, n->column, "%s%s%s: expected %.*s, got %.*s", section,
           *section ? "." : "", d->key, STR_ARG(buf_str(&expected)), STR_ARG(buf_str(&got)));
    buf_fini(&expected);
    buf_fini(&got);
    return false;
}

/* ---- setting ---- */

/* For rows that are only checked: room for whatever the reader writes. */
union scratch {
    struct str text;
    struct price price;
    int64_t number;
};

bool directive_set(const struct directive *d, void *base, struct arena *a, const char *section,
                   const struct yaml_node *n, struct err *e)
{
    union scratch ignored = {0};
    void *field = d->offset == DIRECTIVE_NOT_STORED ? (void *)&ignored : (char *)base + d->offset;
    if (yaml_is_null(n)) {
        bool may_be_empty = d->offset != DIRECTIVE_NOT_STORED && d->min == 0;
        if (may_be_empty && (d->type == D_STR || d->type == D_SECRET))
            memcpy(field, &STR(""), sizeof(struct str));
        return true;
    }
    directive_reader *read = types[d->type].read;
    bool fits = read                ? n->kind == NODE_SCALAR && read(d, n, a, field)
                : d->type == D_LIST ? n->kind == NODE_LIST
                : d->type == D_MAP  ? n->kind == NODE_MAP
                                    : true;
    return fits || complain(d, section, n, e);
}

void directive_defaults(const struct directive_section *s, void *base, struct arena *a)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct directive *d = &s->rows[i];
        if (!d->def)
            continue;
        struct yaml_node n = {
            .kind = NODE_SCALAR, .quoted = true, .text = str_from(d->def), .file = "default"};
        ENSURE(directive_set(d, base, a, s->path, &n, NULL));
    }
}

/* ---- finding ---- */

const struct directive_section *directive_section(const char *path)
{
    for (size_t i = 0; i < directive_section_count; i++)
        if (!strcmp(directive_sections[i].path, path))
            return &directive_sections[i];
    ensure_failed(__FILE__, __LINE__, path);
}

const struct directive *directive_find(const struct directive_section *s, struct str key)
{
    for (size_t i = 0; i < s->count; i++)
        if (str_eq(key, str_from(s->rows[i].key)))
            return &s->rows[i];
    return NULL;
}

/* Near enough to be a slip of the fingers: a third of the letters at most. */
const char *directive_nearest(const struct directive_section *s, struct str key)
{
    const char *best = NULL;
    int best_distance = (int)MIN(key.n / 3 + 1, (size_t)4);
    for (size_t i = 0; i < s->count; i++) {
        size_t n = strlen(s->rows[i].key);
        if (MAX(n, key.n) - MIN(n, key.n) >= (size_t)best_distance)
            continue;
        int distance = str_distance(key, str_from(s->rows[i].key));
        if (distance < best_distance) {
            best = s->rows[i].key;
            best_distance = distance;
        }
    }
    return best;
}

/* ---- docs/config.md ---- */

static void write_type(struct buf *out, const struct directive *d)
{
    struct buf text;
    buf_init(&text, 0, NULL);
    append_expected(&text, d);
    ENSURE(buf_append_str(out, buf_str(&text)));
    buf_fini(&text);
}

static void write_built(struct buf *out, const struct directive_section *s)
{
    ENSURE(buf_printf(out, "| key | value | default | meaning |\n| --- | --- | --- | --- |\n"));
    for (size_t i = 0; i < s->count; i++) {
        const struct directive *d = &s->rows[i];
        if (d->later)
            continue;
        bool ok = buf_printf(out, "| `%s` | ", d->key);
        write_type(out, d);
        ok = ok && (d->def ? buf_printf(out, " | `%s`", d->def) : buf_printf(out, " |"));
        ENSURE(ok && buf_printf(out, " | %s%s |\n", d->help,
                                d->restart ? " Takes effect at a restart." : ""));
    }
}

static void write_later(struct buf *out, const struct directive_section *s)
{
    bool any = false, ok = true;
    for (size_t i = 0; i < s->count; i++) {
        if (!s->rows[i].later)
            continue;
        ok = ok &&
             buf_printf(out,
                        any ? ", `%s`"
                            : "\nKnown, not built yet (parsed, kept, and named in a warning): `%s`",
                        s->rows[i].key);
        any = true;
    }
    ENSURE(ok && (!any || buf_printf(out, ".\n")));
}

void directives_write_docs(struct buf *out)
{
    ENSURE(buf_printf(
        out, "# Configuration\n\n"
             "Generated by `weir docs config` from the tables that read the file; do not edit.\n\n"
             "weir reads LiteLLM's YAML. A value that begins with `os.environ/` is replaced by "
             "that environment variable; one that\n"
             "is not set is null, and a warning names it. `weir check config FILE` names every "
             "mistake with line and column.\n"));
    for (size_t i = 0; i < directive_section_count; i++) {
        const struct directive_section *s = &directive_sections[i];
        ENSURE(buf_printf(out, "\n## %s%s%s\n\n%s\n\n", *s->path ? "`" : "",
                          *s->path ? s->path : "Top level", *s->path ? "`" : "", s->help));
        write_built(out, s);
        write_later(out, s);
    }
}
