/* error_text.c -- folds a message in three passes over one buffer on the stack: unwrap, mask, fold. The rules are error_text.h's.
 *
 * Runs once a failed request, so it is written to be linear and quick: what a word can be is told by its first bytes, and most
 * words are letters only and are copied. */
#include "observe/error_text.h"

#include "base/chars.h"
#include "base/redact.h"

#define ROUNDS_MAX  4  /* of JSON in JSON */
#define LABELS_MAX  8  /* of a host's name */
#define LOCAL_MAX   64 /* bytes before the @ */
#define ESCAPES_MAX 7  /* backslashes before a quote: JSON in JSON in JSON */

static struct str slice(struct str s, size_t from, size_t to)
{
    return (struct str){s.p + from, to - from};
}

static char at(struct str s, size_t i)
{
    return i < s.n ? s.p[i] : '\0';
}

static bool is_white(char c)
{
    return (unsigned char)c <= ' ' || c == 0x7f;
}

static struct str trim(struct str s)
{
    s = str_skip(s, str_run(s, is_white));
    while (s.n && is_white(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* ---- what is inside (rule 2) ---- */

/* A text, and its opening quote's bytes: 1, 2, 4 or 8, for one level of escapes more each. */
struct inside {
    struct str text;
    size_t quote;
};

/* Backslashes and then a quote at `from`. Returns their bytes, 0: none. */
static size_t quote_at(struct str s, size_t from)
{
    size_t n = 0;
    while (at(s, from + n) == '\\' && n <= ESCAPES_MAX)
        n++;
    return at(s, from + n) == '"' || at(s, from + n) == '\'' ? n + 1 : 0;
}

/* The end of the text that begins at `from` and whose quote has `escapes` backslashes before it: where those begin. */
static size_t text_end(struct str s, size_t from, char quote, size_t escapes)
{
    size_t backslashes = 0;
    for (size_t i = from; i < s.n; i++) {
        if (s.p[i] == '\\') {
            backslashes++;
            continue;
        }
        /* Each level of escaping doubles what stands before a quote, and adds one. */
        if (s.p[i] == quote && backslashes >= escapes &&
            (backslashes - escapes) % (2 * (escapes + 1)) == 0)
            return i - escapes;
        backslashes = 0;
    }
    return s.n; /* it was cut */
}

/* The text that is the value of `key`, whose opening quote is the one at `quote`. */
static bool value_at(struct str s, size_t quote, struct str key, struct inside *found)
{
    size_t open = quote_at(s, quote), i = quote + open;
    if (open == 0 || !str_starts(str_skip(s, i), key))
        return false;
    i += key.n;
    if (!str_starts(str_skip(s, i), slice(s, quote, quote + open)))
        return false;
    i += open;
    i += str_run(str_skip(s, i), is_white);
    if (at(s, i) != ':')
        return false;
    i++;
    i += str_run(str_skip(s, i), is_white);
    size_t begin = quote_at(s, i);
    if (begin == 0)
        return false;
    i += begin;
    *found = (struct inside){slice(s, i, text_end(s, i, s.p[i - 1], begin - 1)), begin};
    return trim(found->text).n > 0;
}

/* Looks for "key": "value"; a quote begins with the backslashes before it. */
static bool find_value(struct str s, struct str key, struct inside *found)
{
    size_t begin = 0; /* of the backslashes that came last */
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\')
            continue;
        if ((s.p[i] == '"' || s.p[i] == '\'') && value_at(s, begin, key, found))
            return true;
        begin = i + 1;
    }
    return false;
}

/* Takes one level of escapes away, in place. */
static size_t unescape(char *p, size_t n)
{
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (c == '\\' && i + 1 < n) {
            c = p[++i];
            c = c == 'n' || c == 't' || c == 'r' ? ' ' : c;
        }
        p[to++] = c;
    }
    return to;
}

/* `text` becomes what is inside of it. False: there is nothing. */
static bool take_inside(char *text, size_t *n)
{
    static const struct str keys[] = {{"message", 7}, {"detail", 6}, {"error", 5}, {"msg", 3}};
    const char *brace = memchr(text, '{', *n);
    if (!brace)
        return false;
    struct str object = {brace, *n - (size_t)(brace - text)};
    struct inside found;
    for (size_t k = 0; k < COUNT(keys); k++) {
        if (!find_value(object, keys[k], &found))
            continue;
        memmove(text, found.text.p, found.text.n);
        *n = found.text.n;
        for (; found.quote; found.quote /= 2)
            *n = unescape(text, *n);
        return true;
    }
    return false;
}

/* ---- wrappers (rules 3 and 4) ---- */

static bool is_name_char(char c)
{
    return char_is_alnum(c) || c == '_' || c == '.';
}

/* A name of an error and its colon or dash. Returns bytes, 0: there is none. */
static size_t wrapper_name(struct str s)
{
    static const struct str tails[] = {
        {"Error", 5}, {"Exception", 9}, {"Timeout", 7}, {"Exceeded", 8}};
    struct str name = {s.p, str_run(s, is_name_char)};
    size_t i = name.n;
    bool is_error = false;
    for (size_t t = 0; t < COUNT(tails); t++)
        is_error |= str_ends(name, tails[t]);
    if (!is_error)
        return 0;
    if (at(s, i) == ':' && is_white(at(s, i + 1)) && i + 1 < s.n)
        return i + 1;
    return str_starts(str_skip(s, i), STR(" - ")) ? i + 3 : 0;
}

/* "Error code: 429 -": with or without what follows the number. */
static size_t wrapper_code(struct str s)
{
    if (!str_starts(s, STR("Error code: ")))
        return 0;
    size_t i = 12, digits = str_run(str_skip(s, i), char_is_digit);
    i += digits;
    if (digits == 0)
        return 0;
    return str_starts(str_skip(s, i), STR(" -")) ? i + 2 : i;
}

static size_t wrapper(struct str s)
{
    static const struct str heads[] = {{"data:", 5}, {"Error: ", 7}, {"error: ", 7}};
    for (size_t h = 0; h < COUNT(heads); h++)
        if (str_starts(s, heads[h]))
            return heads[h].n;
    size_t code = wrapper_code(s);
    return code ? code : wrapper_name(s);
}

static struct str unwrap(struct str s)
{
    static const struct str appended[] = {{"Received Model Group=", 21},
                                          {"Available Model Group Fallbacks=", 32},
                                          {"LiteLLM Retried:", 16}};
    for (size_t i = 0; i < COUNT(appended); i++) {
        const char *p = s.n ? memmem(s.p, s.n, appended[i].p, appended[i].n) : NULL;
        s.n = p ? (size_t)(p - s.p) : s.n;
    }
    for (s = trim(s); s.n;) {
        size_t n = wrapper(s);
        struct str rest = trim(str_skip(s, n));
        if (n == 0 || rest.n == 0)
            break;
        s = rest;
    }
    return s;
}

/* Blanks and control bytes as one blank, in place (rule 5). */
static size_t squeeze(struct str from, char *to)
{
    size_t n = 0;
    for (size_t i = 0; i < from.n; i++) {
        char c = is_white(from.p[i]) ? ' ' : from.p[i];
        if (c != ' ' || (n && to[n - 1] != ' '))
            to[n++] = c;
    }
    return n && to[n - 1] == ' ' ? n - 1 : n;
}

/* ---- what is folded (rule 7) ----
 * Each returns the bytes at the start of `s` that are of its kind, or 0. Where it is called, no word goes on from before. */

static size_t ends_word(struct str s, size_t n)
{
    return char_is_word(at(s, n)) ? 0 : n;
}

/* Digits, from `least` to `most` of them and no more. 0: not so many. */
static size_t digits_at(struct str s, size_t from, size_t least, size_t most)
{
    size_t n = str_run(str_skip(s, from), char_is_digit);
    return n >= least && n <= most ? n : 0;
}

static bool is_url(char c)
{
    return !is_white(c) && !strchr("\"'<>`", c);
}

static size_t match_url(struct str s)
{
    size_t scheme = str_run(s, char_is_letter), n = scheme + 3;
    if (scheme == 0 || !str_starts(str_skip(s, scheme), STR("://")))
        return 0;
    n += str_run(str_skip(s, n), is_url);
    while (n > scheme + 3 && strchr(".,;:!?)]}", s.p[n - 1]))
        n--;
    return n > scheme + 3 ? n : 0;
}

/* ":MM", and with a second one ":SS" and its fraction. */
static size_t clock_tail(struct str s, size_t from, bool *seconds)
{
    size_t n = from;
    *seconds = false;
    if (at(s, n) != ':' || digits_at(s, n + 1, 2, 2) == 0)
        return 0;
    n += 3;
    if (at(s, n) != ':' || digits_at(s, n + 1, 2, 2) == 0)
        return n;
    n += 3;
    *seconds = true;
    if (at(s, n) == '.' || at(s, n) == ',') {
        size_t fraction = str_run(str_skip(s, n + 1), char_is_digit);
        n += fraction ? fraction + 1 : 0;
    }
    return n;
}

static size_t zone_bytes(struct str s, size_t from)
{
    if (at(s, from) == 'Z')
        return 1;
    if ((at(s, from) != '+' && at(s, from) != '-') ||
        str_run(str_skip(s, from + 1), char_is_digit) < 2)
        return 0;
    size_t hours = str_run(str_skip(s, from + 1), char_is_digit);
    if (hours == 4)
        return 5;
    return hours == 2 && at(s, from + 3) == ':' && digits_at(s, from + 4, 2, 2) ? 6 : 0;
}

static size_t match_time(struct str s)
{
    bool seconds;
    if (digits_at(s, 0, 4, 4) && at(s, 4) == '-' && digits_at(s, 5, 2, 2) && at(s, 7) == '-' &&
        digits_at(s, 8, 2, 2)) {
        size_t n = 10, clock = 0;
        if ((at(s, n) == 'T' || at(s, n) == ' ') && digits_at(s, n + 1, 2, 2))
            clock = clock_tail(s, n + 3, &seconds);
        n = clock ? clock + zone_bytes(s, clock) : n;
        return ends_word(s, n);
    }
    /* A day may also be followed by 'T', which is a digit's neighbour: then digits_at has refused it. */
    size_t hours = digits_at(s, 0, 1, 2), n = hours ? clock_tail(s, hours, &seconds) : 0;
    return n && seconds ? ends_word(s, n) : 0;
}

static size_t port_bytes(struct str s, size_t from)
{
    size_t digits = at(s, from) == ':' ? digits_at(s, from + 1, 1, 5) : 0;
    return digits ? digits + 1 : 0;
}

static size_t match_ipv4(struct str s)
{
    size_t n = 0;
    for (int i = 0; i < 4; i++) {
        if (i && at(s, n++) != '.')
            return 0;
        size_t digits = digits_at(s, n, 1, 3);
        if (digits == 0)
            return 0;
        n += digits;
    }
    return ends_word(s, n + port_bytes(s, n));
}

/* Groups of up to four hex digits between colons, from `from` on: three colons, or two that are neighbours. Returns where they end. */
static size_t ipv6_end(struct str s, size_t from)
{
    size_t n = from, colons = 0;
    bool doubled = false;
    for (;;) {
        size_t digits = str_run(str_skip(s, n), char_is_hex);
        if (digits > 4)
            return 0;
        n += digits;
        if (at(s, n) != ':')
            break;
        doubled |= at(s, n + 1) == ':';
        colons++;
        n++;
    }
    return doubled || colons >= 3 ? n : 0;
}

static size_t match_ipv6(struct str s)
{
    if (at(s, 0) != '[')
        return ends_word(s, ipv6_end(s, 0));
    size_t n = ipv6_end(s, 1);
    if (n == 0 || at(s, n) != ']')
        return 0;
    return ends_word(s, n + 1 + port_bytes(s, n + 1));
}

/* Words with dots between them, from `from` on, two at least. Returns where they end, or 0. */
static size_t host_end(struct str s, size_t from)
{
    size_t n = from, labels = 0;
    for (;;) {
        size_t label = str_run(str_skip(s, n), char_is_word);
        if (label == 0 || labels == LABELS_MAX)
            return 0;
        n += label;
        labels++;
        if (at(s, n) != '.' || !char_is_word(at(s, n + 1)))
            return labels > 1 ? n : 0;
        n++;
    }
}

static size_t match_host_port(struct str s)
{
    size_t n = str_starts(s, STR("localhost:")) ? 9 : host_end(s, 0);
    size_t port = n ? port_bytes(s, n) : 0;
    return port ? ends_word(s, n + port) : 0;
}

static bool is_mail_local(char c)
{
    return char_is_word(c) || c == '.' || c == '+' || c == '%';
}

static size_t match_email(struct str s)
{
    size_t local = str_run((struct str){s.p, MIN(s.n, (size_t)LOCAL_MAX + 1)}, is_mail_local);
    if (local > LOCAL_MAX || at(s, local) != '@')
        return 0;
    return host_end(s, local + 1);
}

static size_t match_uuid(struct str s)
{
    static const size_t groups[] = {8, 4, 4, 4, 12};
    size_t n = 0;
    for (size_t g = 0; g < COUNT(groups); g++) {
        if (g && at(s, n++) != '-')
            return 0;
        if (str_run(str_skip(s, n), char_is_hex) != groups[g])
            return 0;
        n += groups[g];
    }
    return ends_word(s, n);
}

/* 20s, 6m0s, 1.5ms. */
static size_t match_duration(struct str s)
{
    static const struct str units[] = {{"ms", 2}, {"us", 2}, {"ns", 2}, {"d", 1},
                                       {"h", 1},  {"m", 1},  {"s", 1}};
    size_t n = 0;
    for (;;) {
        size_t digits = str_run(str_skip(s, n), char_is_digit), u = 0;
        if (digits == 0)
            return n ? ends_word(s, n) : 0;
        n += digits;
        if (at(s, n) == '.' && char_is_digit(at(s, n + 1)))
            n += 1 + str_run(str_skip(s, n + 1), char_is_digit);
        while (u < COUNT(units) && !str_starts(str_skip(s, n), units[u]))
            u++;
        if (u == COUNT(units))
            return 0;
        n += units[u].n;
    }
}

static bool has_digit(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (char_is_digit(s.p[i]))
            return true;
    return false;
}

static bool has_letter(struct str s)
{
    return str_run(s, char_is_digit) < s.n;
}

/* Words that are ids by their head. */
static bool has_id_head(struct str word)
{
    static const char *const heads[] = {
        "req",    "request", "chatcmpl", "cmpl",  "call", "msg",   "resp",  "run",
        "thread", "org",     "proj",     "asst",  "file", "batch", "toolu", "ft",
        "step",   "gen",     "user",     "trace", "embd", "rs",    "fc",    "ws",
        "sess",   "conv",    "vs",       "key",   "team", "ses",   "evt",   "task"};
    size_t head = str_run(word, char_is_letter);
    if (head < 2 || head + 5 > word.n)
        return false;
    struct str rest = str_skip(word, head + 1);
    if (char_is_digit(word.p[head]))
        return false;
    bool is_id = has_digit(rest) || (rest.n >= 16 && str_run(rest, char_is_alnum) == rest.n);
    for (size_t i = 0; i < COUNT(heads) && is_id; i++)
        if (str_eq(str_from(heads[i]), (struct str){word.p, head}))
            return true;
    return false;
}

/* Has the word a part that nobody would write by hand? */
static bool has_random_part(struct str word)
{
    while (word.n) {
        struct str part = {word.p, str_run(word, char_is_alnum)};
        if (part.n >= 8 && has_digit(part) && has_letter(part))
            return true;
        word = str_skip(word, part.n + 1);
    }
    return false;
}

static size_t match_id(struct str s)
{
    struct str word = {s.p, str_run(s, char_is_word)};
    return word.n && (has_id_head(word) || has_random_part(word)) ? word.n : 0;
}

static size_t match_number(struct str s)
{
    size_t n = 0;
    for (;;) {
        size_t digits = str_run(str_skip(s, n), char_is_digit);
        if (digits == 0)
            return ends_word(s, n);
        n += digits;
        while ((at(s, n) == '.' || at(s, n) == ',') && char_is_digit(at(s, n + 1)))
            n += 1 + str_run(str_skip(s, n + 1), char_is_digit);
        size_t unit = str_run(str_skip(s, n), char_is_letter);
        if (unit > 3)
            return 0;
        n += unit;
    }
}

/* In the order in which they are tried. */
static const struct {
    struct str placeholder;
    size_t (*match)(struct str s);
} folds[] = {
    {{"<url>", 5}, match_url},   {{"<time>", 6}, match_time},   {{"<addr>", 6}, match_ipv4},
    {{"<addr>", 6}, match_ipv6}, {{"<email>", 7}, match_email}, {{"<addr>", 6}, match_host_port},
    {{"<id>", 4}, match_uuid},   {{"<n>", 3}, match_duration},  {{"<id>", 4}, match_id},
    {{"<n>", 3}, match_number},
};

/* ---- the folding ---- */

struct folding {
    struct str rest;
    const struct str *names;
    size_t name_count;
    char *out;
    size_t n;
};

static void put(struct folding *f, struct str text)
{
    size_t n = MIN(text.n, ERROR_TEXT_BYTES - f->n);
    memcpy(f->out + f->n, text.p, n);
    f->n += n;
}

/* A word that stays, but for its parts that are digits only. */
static void put_word(struct folding *f, struct str word)
{
    while (word.n) {
        struct str part = {word.p, str_run(word, char_is_alnum)};
        bool is_number = part.n && str_run(part, char_is_digit) == part.n;
        if (part.n == 0)
            part.n = 1; /* '-' or '_' */
        put(f, is_number ? STR("<n>") : part);
        word = str_skip(word, part.n);
    }
}

/* Is the word of n bytes one of letters only, that begins nothing which is folded? Most are. */
static bool is_plain(struct str s, size_t n, bool digit)
{
    if (digit || n >= 16)
        return false;
    switch (at(s, n)) {
    case '.':
    case ':':
    case '@':
    case '[':
    case '+':
    case '%': return false;
    default: return true;
    }
}

static bool take_name(struct folding *f)
{
    for (size_t i = 0; i < f->name_count; i++) {
        struct str name = f->names[i];
        if (char_is_word(at(name, 0)) && str_starts(f->rest, name) && ends_word(f->rest, name.n)) {
            put(f, STR("<model>"));
            f->rest = str_skip(f->rest, name.n);
            return true;
        }
    }
    return false;
}

/* The rest begins with a word, or with '['. */
static void take_word(struct folding *f)
{
    struct str word = {f->rest.p, str_run(f->rest, char_is_word)};
    if (take_name(f))
        return;
    bool is_folded = !is_plain(f->rest, word.n, has_digit(word));
    for (size_t i = 0; i < COUNT(folds) && is_folded; i++) {
        size_t n = folds[i].match(f->rest);
        if (n) {
            put(f, folds[i].placeholder);
            f->rest = str_skip(f->rest, n);
            return;
        }
    }
    word.n = MAX(word.n, (size_t)1);
    put_word(f, word);
    f->rest = str_skip(f->rest, word.n);
}

struct str error_text_fold(struct str message, const struct str *names, size_t name_count,
                           char *out)
{
    char text[ERROR_TEXT_SOURCE];
    size_t n = MIN(message.n, sizeof text);
    if (n)
        memcpy(text, message.p, n);
    if (n < message.n)
        n = utf8_whole(text, n);
    for (int round = 0; round < ROUNDS_MAX && take_inside(text, &n);)
        round++;
    n = squeeze(unwrap((struct str){text, n}), text);
    n = redact_secrets((struct str){text, n}, text, n);
    struct folding f = {{text, n}, names, name_count, out, 0};
    while (f.rest.n && f.n < ERROR_TEXT_BYTES) {
        if (char_is_word(f.rest.p[0]) || f.rest.p[0] == '[') {
            take_word(&f);
        } else {
            put(&f, (struct str){f.rest.p, 1});
            f.rest = str_skip(f.rest, 1);
        }
    }
    n = f.rest.n || f.n == ERROR_TEXT_BYTES ? utf8_whole(out, f.n) : f.n;
    while (n && strchr(" .,:;-", out[n - 1]))
        n--;
    return (struct str){out, n};
}
