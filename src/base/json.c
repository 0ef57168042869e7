/* json.c -- the push scanner: is it JSON, and where are the values asked for?
 *
 * Every request body, answer and stream event crosses this file, so it is built around what
 * they are made of: long strings, and objects of which a few members matter.
 *
 *   - One state machine, one state a place between tokens (`enum state`). json_scan_feed is its
 *     loop. A token that lies whole in the piece is read at once by its own function; one that
 *     is cut leaves its state in the struct and goes on with the next piece. There is no second
 *     way through the grammar for whole input.
 *   - Strings are crossed by plain_end, up to the next byte that means something: the end, an
 *     escape, or a multi-byte character, which is checked as RFC 3629 wants it. It looks at 64
 *     bytes at once and keeps what it saw (`window`), because the many short strings of a small
 *     body then wait for a shift and not for vector loads: measured, a third of the time of a
 *     stream's event.
 *   - Wanted paths are a trie. An open container remembers its place in it (`level`); place 0
 *     means that nothing inside is wanted, and there keys are crossed like any other string.
 *     Names are looked up by their length first: most are out with one load.
 *   - Of arrays only "first" and "any" can be asked for, so no index is counted: '[' goes to
 *     the place of the first element, ',' to that of any.
 *
 * Grammar: RFC 8259, no extensions. A byte order mark is refused (section 8.1 says not to send
 * one). Escaped lone surrogates are grammar (section 8.2) and pass; raw ones are not UTF-8 and
 * do not. */
#include "base/json.h"

#include "base/json_text.h"

/* ---- wanted paths ---- */

#define NODE_MAX  256 /* a place fits a byte */
#define NO_NODE   0   /* not wanted, and nothing below */
#define ROOT_NODE 1

struct want_node {
    uint32_t below;                     /* entries of `found` that lie below, one bit each */
    int8_t found;                       /* entry of this place, or -1 */
    uint8_t first_element, any_element; /* elements: the first one, the others */
    uint8_t same_length;                /* next member of the same parent with a name as long */
    char name[JSON_NAME_MAX];
    uint8_t members[JSON_NAME_MAX + 1]; /* by length of the name: the first member */
};

struct json_want {
    size_t count;
    uint32_t nodes_used;
    struct want_node nodes[NODE_MAX];
};

static unsigned add_node(struct json_want *want)
{
    ENSURE(want->nodes_used < NODE_MAX);
    unsigned at = want->nodes_used++;
    want->nodes[at].found = -1;
    return at;
}

static unsigned member_step(struct json_want *want, unsigned parent, struct str name)
{
    uint8_t *head = &want->nodes[parent].members[name.n];
    for (unsigned at = *head; at; at = want->nodes[at].same_length)
        if (memcmp(want->nodes[at].name, name.p, name.n) == 0)
            return at;
    unsigned at = add_node(want);
    memcpy(want->nodes[at].name, name.p, name.n);
    want->nodes[at].same_length = *head;
    *head = (uint8_t)at;
    return at;
}

static unsigned element_step(struct json_want *want, unsigned parent, bool any)
{
    struct want_node *from = &want->nodes[parent];
    if (from->first_element == NO_NODE) {
        from->first_element = (uint8_t)add_node(want);
        from->any_element = any ? from->first_element : NO_NODE;
    }
    ENSURE(any == (from->any_element != NO_NODE) && "not both 0 and * at one place");
    return from->first_element;
}

static void add_path(struct json_want *want, struct str path, unsigned index)
{
    unsigned at = ROOT_NODE;
    ENSURE(path.n > 0);
    for (struct str rest = path; rest.n > 0;) {
        struct str step = str_cut(&rest, '.');
        ENSURE(step.n > 0 && step.n <= JSON_NAME_MAX);
        want->nodes[at].below |= UINT32_C(1) << index;
        if (str_eq(step, STR("0")) || str_eq(step, STR("*")))
            at = element_step(want, at, step.p[0] == '*');
        else
            at = member_step(want, at, step);
    }
    ENSURE(want->nodes[at].found < 0 && "a path twice");
    want->nodes[at].found = (int8_t)index;
}

const struct json_want *json_want_compile(const char *const *paths, size_t count)
{
    ENSURE(count > 0 && count <= JSON_WANT_MAX);
    struct json_want *want = mem_alloc(sizeof *want);
    want->count = count;
    want->nodes_used = ROOT_NODE;
    add_node(want);
    for (size_t i = 0; i < count; i++)
        add_path(want, str_from(paths[i]), (unsigned)i);
    return want;
}

/* memcmp for short runs of one length: two loads that may overlap beat a call. */
static inline bool same_bytes(const char *a, const char *b, size_t n)
{
    uint64_t a8, b8, a8_tail, b8_tail;
    uint32_t a4, b4, a4_tail, b4_tail;
    if (n > 16)
        return memcmp(a, b, n) == 0;
    if (n >= 8) {
        memcpy(&a8, a, 8);
        memcpy(&b8, b, 8);
        memcpy(&a8_tail, a + n - 8, 8);
        memcpy(&b8_tail, b + n - 8, 8);
        return ((a8 ^ b8) | (a8_tail ^ b8_tail)) == 0;
    }
    if (n >= 4) {
        memcpy(&a4, a, 4);
        memcpy(&b4, b, 4);
        memcpy(&a4_tail, a + n - 4, 4);
        memcpy(&b4_tail, b + n - 4, 4);
        return ((a4 ^ b4) | (a4_tail ^ b4_tail)) == 0;
    }
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

static inline unsigned find_member(const struct json_want *want, unsigned parent, const char *name,
                                   size_t n)
{
    const struct want_node *nodes = want->nodes;
    if (n > JSON_NAME_MAX)
        return NO_NODE;
    unsigned at = nodes[parent].members[n];
    while (at && !same_bytes(nodes[at].name, name, n))
        at = nodes[at].same_length;
    return at;
}

/* ---- states ---- */

/* What may come next. Up to AFTER_VALUE white space may come first; the others are inside a
 * token. */
enum state {
    VALUE,        /* a value */
    VALUE_OR_END, /* behind '[' */
    NAME,         /* a name: behind ',' of an object */
    NAME_OR_END,  /* behind '{' */
    COLON,        /* behind a name */
    AFTER_VALUE,  /* ',' or the end of the container; only white space when none is open */
    IN_STRING,
    IN_NUMBER,
    IN_LITERAL,
};

/* What has been read of a number (RFC 8259 section 6). */
enum number_state {
    N_NONE,
    N_MINUS,
    N_ZERO,
    N_INT,
    N_POINT,
    N_FRACTION,
    N_E,
    N_E_SIGN,
    N_EXPONENT,
    N_STATES
};
enum number_class { C_OTHER, C_ZERO, C_DIGIT, C_POINT, C_E, C_PLUS, C_MINUS, C_CLASSES };

// clang-format off
static const uint8_t number_class[256] = {
    ['0'] = C_ZERO,
    ['1'] = C_DIGIT, ['2'] = C_DIGIT, ['3'] = C_DIGIT, ['4'] = C_DIGIT, ['5'] = C_DIGIT,
    ['6'] = C_DIGIT, ['7'] = C_DIGIT, ['8'] = C_DIGIT, ['9'] = C_DIGIT,
    ['.'] = C_POINT, ['e'] = C_E, ['E'] = C_E, ['+'] = C_PLUS, ['-'] = C_MINUS,
};
/* N_NONE: the byte is not part of the number. */
static const uint8_t number_next[N_STATES][C_CLASSES] = {
    /*                 other   0            1-9          .        e    +         -     */
    [N_NONE]     = {N_NONE, N_ZERO,      N_INT,       N_NONE,  N_NONE, N_NONE,   N_MINUS },
    [N_MINUS]    = {N_NONE, N_ZERO,      N_INT,       N_NONE,  N_NONE, N_NONE,   N_NONE  },
    [N_ZERO]     = {N_NONE, N_NONE,      N_NONE,      N_POINT, N_E,    N_NONE,   N_NONE  },
    [N_INT]      = {N_NONE, N_INT,       N_INT,       N_POINT, N_E,    N_NONE,   N_NONE  },
    [N_POINT]    = {N_NONE, N_FRACTION,  N_FRACTION,  N_NONE,  N_NONE, N_NONE,   N_NONE  },
    [N_FRACTION] = {N_NONE, N_FRACTION,  N_FRACTION,  N_NONE,  N_E,    N_NONE,   N_NONE  },
    [N_E]        = {N_NONE, N_EXPONENT,  N_EXPONENT,  N_NONE,  N_NONE, N_E_SIGN, N_E_SIGN},
    [N_E_SIGN]   = {N_NONE, N_EXPONENT,  N_EXPONENT,  N_NONE,  N_NONE, N_NONE,   N_NONE  },
    [N_EXPONENT] = {N_NONE, N_EXPONENT,  N_EXPONENT,  N_NONE,  N_NONE, N_NONE,   N_NONE  },
};
static const bool number_whole[N_STATES] = {
    [N_ZERO] = true, [N_INT] = true, [N_FRACTION] = true, [N_EXPONENT] = true,
};

static const struct str literals[] = {
    [JSON_NULL] = STR("null"), [JSON_FALSE] = STR("false"), [JSON_TRUE] = STR("true"),
};

/* The byte behind a backslash: 1 ends the escape, 2 is 'u'. */
static const uint8_t escapes[256] = {
    ['"'] = 1, ['\\'] = 1, ['/'] = 1, ['b'] = 1, ['f'] = 1, ['n'] = 1, ['r'] = 1, ['t'] = 1,
    ['u'] = 2,
};
// clang-format on

static const char NOT_UTF8[] = "expected valid UTF-8";

/* What was missing where the input broke off or went on wrongly, by state. */
static const char *const expected[] = {
    [VALUE] = "expected a value",
    [VALUE_OR_END] = "expected a value or ']'",
    [NAME] = "expected a name in quotes",
    [NAME_OR_END] = "expected a name in quotes or '}'",
    [COLON] = "expected ':'",
    [AFTER_VALUE] = "expected ',' or the end of the object or array",
    [IN_STRING] = "expected the end of the string",
    [IN_NUMBER] = "expected a digit",
    [IN_LITERAL] = "expected null, true or false",
};

/* All reading functions return where they stopped; NULL after fail(). The scalar that broke off
 * leaves no text: how much of it was kept so far depends on the pieces. */
COLD static const char *fail(struct json_scan *s, const char *p, const char *what)
{
    s->offset += (uint64_t)(p - s->piece);
    s->bad = what;
    if (s->capture) {
        s->capture->kept = 0;
        s->capture->cut = s->capture->escaped = false;
    }
    return NULL;
}

COLD static const char *unexpected(struct json_scan *s, const char *p)
{
    return fail(s, p,
                s->state == AFTER_VALUE && s->depth == 0 ? "expected nothing more"
                                                         : expected[s->state]);
}

/* ---- noting what is found ---- */

static inline uint64_t offset_of(const struct json_scan *s, const char *p)
{
    return s->offset + (uint64_t)(p - s->piece);
}

static void forget(struct json_scan *s, uint32_t entries)
{
    for (entries &= s->seen; entries; entries &= entries - 1)
        memset(&s->found[__builtin_ctz(entries)], 0, offsetof(struct json_found, text));
}

/* A value begins at p. Returns its entry, or NULL when it is not wanted. */
static inline struct json_found *note_start(struct json_scan *s, const char *p, enum json_kind kind)
{
    if (LIKELY(s->value_node == NO_NODE))
        return NULL;
    const struct want_node *node = &s->want->nodes[s->value_node];
    if (UNLIKELY(s->seen & node->below)) {
        forget(s, node->below);
        s->seen &= ~node->below;
    }
    if (node->found < 0)
        return NULL;
    struct json_found *f = &s->found[node->found];
    s->seen |= UINT32_C(1) << node->found;
    f->kind = (uint8_t)kind;
    f->count = (uint8_t)(f->count + (f->count < UINT8_MAX));
    f->kept = 0;
    f->cut = f->escaped = false;
    f->start = offset_of(s, p);
    f->end = 0;
    return f;
}

/* More of the captured scalar's text. */
static void keep_text(struct json_found *f, const char *p, size_t n)
{
    size_t room = sizeof f->text - f->kept;
    if (n > room) {
        f->cut = true;
        n = room;
    }
    memcpy(f->text + f->kept, p, n);
    f->kept = (uint8_t)(f->kept + n);
}

static void keep_key(struct json_scan *s, const char *p, size_t n)
{
    if (n > sizeof s->key - s->key_bytes) {
        s->key_long = true;
        return;
    }
    memcpy(s->key + s->key_bytes, p, n);
    s->key_bytes = (uint8_t)(s->key_bytes + n);
}

/* A scalar ends before p. */
static inline const char *scalar_end(struct json_scan *s, const char *p)
{
    if (s->capture) {
        s->capture->end = offset_of(s, p);
        s->capture = NULL;
    }
    s->state = AFTER_VALUE;
    return p;
}

/* ---- strings ---- */

#define LONG_BYTES 512

/* First byte in [p, end) that is not plain, or `end`, which is the piece's. */
static inline const char *plain_end(struct json_scan *s, const char *p, const char *end)
{
    size_t at = (size_t)(p - s->window);
    if (LIKELY(at < 64)) {
        uint64_t odd = s->odd >> at;
        if (LIKELY(odd))
            return p + __builtin_ctzll(odd);
        p = s->window + 64;
        if (end - p >= LONG_BYTES) /* 64 plain bytes: it may go on like this */
            p = json_plain_blocks(p, end);
    }
    for (; p < end; p += 64) {
        uint64_t odd;
        size_t left = (size_t)(end - p);
        if (left < 64 && end - s->piece >= 64)
            odd = json_odd_64(end - 64) >> (64 - left) | UINT64_MAX << left; /* of the last 64 */
        else
            odd = json_odd_window(p, end);
        if (odd) {
            s->window = p;
            s->odd = odd;
            return p + __builtin_ctzll(odd);
        }
    }
    return end;
}

/* Continues a character or an escape that the last piece cut, or starts one at p. One byte a
 * step: the slow way. */
static const char *multi_byte(struct json_scan *s, const char *p, const char *end)
{
    if (s->utf8_need == 0) {
        struct utf8_lead lead = utf8_lead((unsigned char)*p);
        if (lead.need == 0)
            return fail(s, p, NOT_UTF8);
        s->utf8_need = lead.need;
        s->utf8_min = lead.min;
        s->utf8_max = lead.max;
        p++;
    }
    for (; s->utf8_need > 0 && p < end; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < s->utf8_min || c > s->utf8_max)
            return fail(s, p, NOT_UTF8);
        s->utf8_need--;
        s->utf8_min = 0x80;
        s->utf8_max = 0xBF;
    }
    return p;
}

static inline bool is_hex(unsigned char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static const char *escape(struct json_scan *s, const char *p, const char *end)
{
    if (s->escape_at == 0) {
        s->escape_at = 1;
        p++;
    }
    if (s->escape_at == 1 && p < end) {
        uint8_t kind = escapes[(unsigned char)*p];
        if (kind == 0)
            return fail(s, p, "expected one of \"\\/bfnrtu behind the backslash");
        s->escape_at = kind == 1 ? 0 : 2;
        p++;
    }
    for (; s->escape_at >= 2 && p < end; p++) {
        if (!is_hex((unsigned char)*p))
            return fail(s, p, "expected four hexadecimal digits behind \\u");
        s->escape_at = s->escape_at == 5 ? 0 : s->escape_at + 1;
    }
    return p;
}

/* Something in a string at p that is not plain and not its end. */
static inline const char *string_special(struct json_scan *s, const char *p, const char *end)
{
    unsigned char c = (unsigned char)*p;
    if (c == '\\') {
        if (s->capture)
            s->capture->escaped = true;
        s->key_escaped = true;
        if (end - p >= 2 && escapes[(unsigned char)p[1]] == 1)
            return p + 2;
        return escape(s, p, end);
    }
    if (c < 0x20)
        return fail(s, p, "expected an escape instead of a control byte");
    /* Text in other scripts comes in runs of such characters. */
    const char *start = p;
    for (size_t n; p < end && *p & 0x80 && (n = utf8_char(p, end)) > 0;)
        p += n;
    return p > start ? p : multi_byte(s, p, end);
}

/* The name is complete, in s->key. */
static unsigned gathered_member(struct json_scan *s, unsigned parent)
{
    if (s->key_long)
        return NO_NODE;
    struct str name = {s->key, s->key_bytes};
    if (s->key_escaped)
        name.n = json_unescape(name, s->key, sizeof s->key);
    return find_member(s->want, parent, name.p, name.n);
}

/* The bytes from `run` to p belong to the string being read. */
static inline void keep_run(struct json_scan *s, const char *run, const char *p)
{
    if (s->capture)
        keep_text(s->capture, run, (size_t)(p - run));
    else if (s->keep_key)
        keep_key(s, run, (size_t)(p - run));
}

/* Inside a string, perhaps inside a character or an escape. */
static const char *string_body(struct json_scan *s, const char *p, const char *end)
{
    const char *run = p;
    s->state = IN_STRING;
    if (UNLIKELY(s->utf8_need))
        p = multi_byte(s, p, end);
    else if (UNLIKELY(s->escape_at))
        p = escape(s, p, end);
    while (p && p < end) {
        p = plain_end(s, p, end);
        if (p == end)
            break;
        if (*p == '"') {
            keep_run(s, run, p);
            if (!s->in_key)
                return scalar_end(s, p + 1);
            if (s->keep_key)
                s->value_node = (uint8_t)gathered_member(s, s->level[s->depth] >> 1);
            s->in_key = s->keep_key = false;
            s->state = COLON;
            return p + 1;
        }
        p = string_special(s, p, end);
    }
    if (p)
        keep_run(s, run, p);
    return p;
}

/* p is at the quote of a name. */
static const char *name_start(struct json_scan *s, const char *p, const char *end)
{
    unsigned parent = s->level[s->depth] >> 1;
    const char *start = p + 1;
    const char *stop = plain_end(s, start, end);
    if (LIKELY(stop < end && *stop == '"')) {
        s->value_node = NO_NODE;
        if (parent != NO_NODE)
            s->value_node = (uint8_t)find_member(s->want, parent, start, (size_t)(stop - start));
        bool colon = stop + 1 < end && stop[1] == ':'; /* as everyone writes it */
        s->state = colon ? VALUE : COLON;
        return stop + 1 + colon;
    }
    s->in_key = true;
    s->keep_key = parent != NO_NODE;
    s->key_escaped = s->key_long = false;
    s->key_bytes = 0;
    s->value_node = NO_NODE;
    return string_body(s, start, end);
}

static inline const char *string_start(struct json_scan *s, const char *p, const char *end)
{
    s->capture = note_start(s, p, JSON_STRING);
    const char *stop = plain_end(s, p + 1, end);
    if (LIKELY(stop < end && *stop == '"')) {
        keep_run(s, p + 1, stop);
        return scalar_end(s, stop + 1);
    }
    return string_body(s, p + 1, end);
}

/* ---- numbers and literals ---- */

static const char *number_body(struct json_scan *s, const char *p, const char *end)
{
    const char *run = p;
    unsigned state = s->number_state;
    while (p < end) {
        unsigned next = number_next[state][number_class[(unsigned char)*p]];
        if (next == N_NONE)
            break;
        p++;
        if (next == state) /* in a run of digits: no other state follows itself */
            while (p < end && *p >= '0' && *p <= '9')
                p++;
        state = next;
    }
    s->number_state = (uint8_t)state;
    s->state = IN_NUMBER;
    if (s->capture)
        keep_text(s->capture, run, (size_t)(p - run));
    if (p == end)
        return p;
    return number_whole[state] ? scalar_end(s, p) : unexpected(s, p);
}

/* p is at a number's first byte. An integer that ends in this piece, as counts do, needs none of the states. */
static inline const char *number_start(struct json_scan *s, const char *p, const char *end)
{
    s->capture = note_start(s, p, JSON_NUMBER);
    s->number_state = N_NONE;
    if (*p >= '1') { /* not '-', and not a zero, which must stand alone */
        const char *stop = p + 1;
        while (stop < end && *stop >= '0' && *stop <= '9')
            stop++;
        if (stop < end && number_class[(unsigned char)*stop] == C_OTHER) {
            if (s->capture)
                keep_text(s->capture, p, (size_t)(stop - p));
            return scalar_end(s, stop);
        }
    }
    return number_body(s, p, end);
}

static const char *literal_body(struct json_scan *s, const char *p, const char *end)
{
    struct str word = literals[s->literal_kind];
    s->state = IN_LITERAL;
    for (; p < end && s->literal_at < word.n; p++, s->literal_at++)
        if (*p != word.p[s->literal_at])
            return unexpected(s, p);
    if (s->literal_at < word.n)
        return p;
    if (s->capture)
        keep_text(s->capture, word.p, word.n);
    return scalar_end(s, p);
}

static inline const char *literal_start(struct json_scan *s, const char *p, const char *end,
                                        enum json_kind kind)
{
    s->capture = note_start(s, p, kind);
    s->literal_kind = (uint8_t)kind;
    s->literal_at = 0;
    return literal_body(s, p, end);
}

/* ---- containers ---- */

static inline const char *open_container(struct json_scan *s, const char *p, bool object)
{
    if (UNLIKELY(s->depth == JSON_DEPTH_MAX))
        return fail(s, p, "expected less than 257 levels");
    note_start(s, p, object ? JSON_OBJECT : JSON_ARRAY);
    s->level[++s->depth] = (uint16_t)(s->value_node << 1 | object);
    if (!object && s->value_node != NO_NODE)
        s->value_node = s->want->nodes[s->value_node].first_element;
    s->state = object ? NAME_OR_END : VALUE_OR_END;
    return p + 1;
}

static inline const char *close_container(struct json_scan *s, const char *p)
{
    unsigned node = s->level[s->depth--] >> 1;
    if (node != NO_NODE && s->want->nodes[node].found >= 0)
        s->found[s->want->nodes[node].found].end = offset_of(s, p + 1);
    s->state = AFTER_VALUE;
    return p + 1;
}

/* ---- between tokens ---- */

static const char *value_start(struct json_scan *s, const char *p, const char *end)
{
    switch (*p) {
    case '"': return string_start(s, p, end);
    case '{': return open_container(s, p, true);
    case '[': return open_container(s, p, false);
    case 'n': return literal_start(s, p, end, JSON_NULL);
    case 'f': return literal_start(s, p, end, JSON_FALSE);
    case 't': return literal_start(s, p, end, JSON_TRUE);
    case '-':
    case '0' ... '9': return number_start(s, p, end);
    default: return unexpected(s, p);
    }
}

/* A name, and its value at once where nothing stands between them. */
static inline const char *member(struct json_scan *s, const char *p, const char *end)
{
    if (UNLIKELY(*p != '"'))
        return unexpected(s, p);
    p = name_start(s, p, end);
    if (LIKELY(p && p < end && s->state == VALUE && *p > ' '))
        return value_start(s, p, end);
    return p;
}

/* p is at the first byte behind a value that is not white space. */
static inline const char *after_value(struct json_scan *s, const char *p, const char *end)
{
    unsigned level = s->level[s->depth];
    bool object = level & 1;
    if (UNLIKELY(s->depth == 0))
        return unexpected(s, p);
    if (*p == ',') {
        s->state = object ? NAME : VALUE;
        if (object)
            return p + 1 < end && p[1] == '"' ? member(s, p + 1, end) : p + 1;
        s->value_node = level >> 1 ? s->want->nodes[level >> 1].any_element : NO_NODE;
        return p + 1;
    }
    if (*p == (object ? '}' : ']'))
        return close_container(s, p);
    return unexpected(s, p);
}

static inline bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* One token, or what this piece has of it. */
static inline const char *step(struct json_scan *s, const char *p, const char *end)
{
    if (UNLIKELY((unsigned char)*p <= ' ') && s->state <= AFTER_VALUE && is_space(*p))
        return p + 1;
    switch ((enum state)s->state) {
    case VALUE: return value_start(s, p, end);
    case VALUE_OR_END: return *p == ']' ? close_container(s, p) : value_start(s, p, end);
    case NAME: return member(s, p, end);
    case NAME_OR_END: return *p == '}' ? close_container(s, p) : member(s, p, end);
    case COLON:
        if (*p != ':')
            return unexpected(s, p);
        s->state = VALUE;
        return p + 1;
    case AFTER_VALUE: return after_value(s, p, end);
    case IN_STRING: return string_body(s, p, end);
    case IN_NUMBER: return number_body(s, p, end);
    case IN_LITERAL: return literal_body(s, p, end);
    }
    return NULL;
}

void json_scan_init(struct json_scan *s, const struct json_want *want, struct json_found *found)
{
    memset(s, 0, offsetof(struct json_scan, key));
    s->want = want;
    s->found = found;
    s->value_node = want ? ROOT_NODE : NO_NODE;
    s->level[0] = 0;
    /* Not the texts: they are most of the bytes, and `kept` says what of them counts. */
    for (size_t i = 0; want && i < want->count; i++)
        memset(&found[i], 0, offsetof(struct json_found, text));
}

enum json_status json_scan_feed(struct json_scan *s, const char *p, size_t n)
{
    if (UNLIKELY(s->bad != NULL))
        return JSON_BAD;
    const char *end = n ? p + n : p;
    s->piece = p;
    s->window = end; /* nothing seen yet */
    s->odd = UINT64_MAX;
    while (p < end) {
        p = step(s, p, end);
        if (UNLIKELY(!p))
            return JSON_BAD;
    }
    s->offset += n;
    return s->depth == 0 && s->state == AFTER_VALUE ? JSON_DONE : JSON_MORE;
}

enum json_status json_scan_finish(struct json_scan *s)
{
    if (s->bad)
        return JSON_BAD;
    s->piece = ""; /* of which `offset` is the place: the end of the input */
    if (s->state == IN_NUMBER && s->depth == 0 && number_whole[s->number_state])
        scalar_end(s, s->piece);
    if (s->depth == 0 && s->state == AFTER_VALUE)
        return JSON_DONE;
    fail(s, s->piece, expected[s->state]);
    return JSON_BAD;
}
