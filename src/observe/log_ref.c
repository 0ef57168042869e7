/* log_ref.c -- finds a value of a line by its name. Fields are members of the record; the rest is looked for in JSON that the reader
 * has checked, each time it is asked for. */
#include "observe/log_ref.h"

#include "base/json_view.h"
#include "observe/log_keys.h"

/* Whose members are found by paths. */
static const struct {
    struct str head;
    enum log_field field;
} roots[] = {
    {{"metadata.", 9}, LOG_metadata},
    {{"request.", 8}, LOG_request},
    {{"response.", 9}, LOG_response},
};

/* ---- names ---- */

static void set_name(struct log_ref *ref, struct str name)
{
    size_t n = MIN(name.n, sizeof ref->name - 1);
    if (n)
        memcpy(ref->name, name.p, n);
    ref->name[n] = '\0';
}

struct log_ref log_ref_of(enum log_field field)
{
    struct log_ref ref = {.kind = LOG_REF_FIELD, .field = field};
    set_name(&ref, str_from(record_fields[field].name));
    return ref;
}

/* How far a known name is from what was written; one that goes on from it is near. */
static int distance(struct str known, struct str name)
{
    bool goes_on = name.n >= 3 && str_starts(known, name);
    return goes_on ? 1 : str_distance(known, name);
}

static bool no_such_name(struct str name, struct err *e)
{
    const char *nearest = "tag";
    int best = str_distance(STR("tag"), name);
    for (size_t i = 0; i < record_field_count; i++) {
        int d = distance(str_from(record_fields[i].name), name);
        if (d < best) {
            best = d;
            nearest = record_fields[i].name;
        }
    }
    bool near = best <= 3 && (size_t)best < name.n;
    return err_set(
        e, "expected a field of the log (docs/log.md), metadata.NAME or tag, got \"%.*s\"%s%s%s",
        (int)MIN(name.n, 60u), name.p ? name.p : "", near ? "; did you mean " : "",
        near ? nearest : "", near ? "?" : "");
}

/* Steps with something in each. */
static bool is_path(struct str path)
{
    if (path.n == 0 || path.p[path.n - 1] == '.')
        return false;
    while (path.n)
        if (str_cut(&path, '.').n == 0)
            return false;
    return true;
}

static bool parse_path(struct log_ref *ref, struct str name, struct err *e)
{
    for (size_t i = 0; i < COUNT(roots); i++) {
        if (!str_starts(name, roots[i].head))
            continue;
        if (!is_path(str_skip(name, roots[i].head.n)))
            return err_set(e, "expected a name behind each dot, such as %.*steam, got \"%.*s\"",
                           STR_ARG(roots[i].head), (int)MIN(name.n, 60u), name.p);
        *ref = (struct log_ref){
            .kind = LOG_REF_PATH, .field = roots[i].field, .path_at = (uint8_t)roots[i].head.n};
        return true;
    }
    return no_such_name(name, e);
}

bool log_ref_parse(struct log_ref *ref, struct str name, struct err *e)
{
    if (name.n >= LOG_REF_NAME_BYTES)
        return err_set(e, "expected a name of at most %d bytes", LOG_REF_NAME_BYTES - 1);
    for (size_t i = 0; i < record_field_count; i++) {
        if (str_eq(str_from(record_fields[i].name), name)) {
            *ref = log_ref_of((enum log_field)i);
            return true;
        }
    }
    if (str_eq(name, STR("tag")))
        *ref = (struct log_ref){.kind = LOG_REF_TAG, .field = LOG_metadata};
    else if (!parse_path(ref, name, e))
        return false;
    set_name(ref, name);
    return true;
}

bool log_ref_groups(const struct log_ref *ref)
{
    enum record_kind kind = record_fields[ref->field].kind;
    return ref->kind != LOG_REF_FIELD || kind == RECORD_STR || kind == RECORD_INT ||
           kind == RECORD_BOOL;
}

/* ---- JSON ---- */

static struct str raw_member(const struct logline *l, enum log_field field)
{
    struct str raw;
    if (!(l->found >> field & 1))
        return STR_NONE;
    memcpy(&raw, (const char *)&l->r + record_fields[field].offset, sizeof raw);
    return raw;
}

static struct str step_into(struct str json, struct str step)
{
    int64_t index;
    if (json_view_is(json, '['))
        return str_to_i64(step, &index) && index >= 0 ? json_view_element(json, (size_t)index)
                                                      : STR_NONE;
    return json_view_member(json, step);
}

static struct str follow(struct str json, struct str path)
{
    while (path.n && json.p)
        json = step_into(json, str_cut(&path, '.'));
    return json_view_is(json, 'n') ? STR_NONE : json; /* null */
}

static struct str follow_in(const struct logline *l, enum log_field field, struct str path)
{
    struct str json = raw_member(l, field), found = follow(json, path);
    if (!found.p && field == LOG_metadata && l->shape == LOG_SHAPE_LITELLM)
        found = follow(json_view_member(json, STR("requester_metadata")), path);
    return found;
}

struct str log_ref_json(const struct log_ref *ref, const struct logline *l)
{
    if (ref->kind == LOG_REF_PATH)
        return follow_in(l, ref->field, str_from(ref->name + ref->path_at));
    if (l->shape == LOG_SHAPE_LITELLM && l->seen & LOG_SEEN_TAGS && json_view_is(l->tags, '['))
        return l->tags;
    return follow_in(l, LOG_metadata, STR("tags"));
}

int log_ref_tags(const struct logline *l, struct str tags[LOG_REF_TAGS_MAX], char *out)
{
    static const struct log_ref tag = {.kind = LOG_REF_TAG, .field = LOG_metadata};
    struct str rest = log_ref_json(&tag, l), element;
    int count = 0;
    size_t room = LOG_REF_TEXT_BYTES;
    while (count < LOG_REF_TAGS_MAX && room > 0 && json_view_next(&rest, &element)) {
        if (!json_view_is(element, '"')) /* a tag is a text */
            continue;
        struct str text = json_view_text(element, out, room);
        bool known = false;
        for (int i = 0; i < count; i++)
            known |= str_eq(tags[i], text);
        if (known)
            continue;
        bool decoded = text.p == out;
        out += decoded ? text.n : 0;
        room -= decoded ? text.n : 0;
        tags[count++] = (struct str){text.p, MIN(text.n, (size_t)LOG_REF_TEXT_BYTES)};
    }
    return count;
}

/* ---- texts ---- */

static struct str tags_text(const struct logline *l, char *out)
{
    struct str tags[LOG_REF_TAGS_MAX];
    char decoded[LOG_REF_OUT_BYTES];
    size_t n = 0;
    int count = log_ref_tags(l, tags, decoded);
    for (int i = 0; i < count && n < LOG_REF_TEXT_BYTES - 1; i++) {
        if (i)
            out[n++] = ',';
        size_t take = MIN(tags[i].n, LOG_REF_TEXT_BYTES - n);
        memcpy(out + n, tags[i].p, take);
        n += take;
    }
    return count ? (struct str){out, n} : STR_NONE;
}

struct str log_ref_text(const struct log_ref *ref, const struct logline *l, char *out)
{
    struct str text;
    if (ref->kind == LOG_REF_FIELD)
        text = log_field_text(l, ref->field, out);
    else if (ref->kind == LOG_REF_TAG)
        text = tags_text(l, out);
    else
        text = json_view_text(log_ref_json(ref, l), out, LOG_REF_TEXT_BYTES);
    text.n = MIN(text.n, (size_t)LOG_REF_TEXT_BYTES);
    return text;
}
