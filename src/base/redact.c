/* redact.c -- one pass over the text, word by word; each word is judged by how it begins, or by being the name of a secret.
 *
 * A word is a run of letters, digits, '_' and '-'. Where it is neither, it is copied. Decisions look forward only, and what is written is
 * never longer than what it stands for, so the text may be masked in place. What is looked at without being consumed is bounded
 * by a constant or by the next blank, quote or slash, so that the whole stays linear. */
#include "base/redact.h"

#include "base/chars.h"

#define MASK_BYTES     3  /* asterisks; a secret that is shorter gets as many as it has bytes */
#define HEAD_BYTES     16 /* a masked secret has fewer: its head and the mask */
#define RANDOM_BYTES   20 /* no word of prose is as long */
#define LONG_KEY_BYTES 14 /* of keys, but for a few kinds (least_bytes) */

struct redactor {
    struct str rest;  /* of the text */
    const char *kept; /* from here up to the rest all is kept, and not copied yet */
    char before;      /* the byte before the rest; 0 at the start */
    char *out;
    size_t n, room;
};

static size_t kept_bytes(const struct redactor *r)
{
    return (size_t)(r->rest.p - r->kept);
}

static void put(struct redactor *r, const char *p, size_t n)
{
    n = MIN(n, r->room - r->n);
    if (n)
        memmove(r->out + r->n, p, n);
    r->n += n;
}

/* n is at most what is left. */
static void pass(struct redactor *r, size_t n)
{
    r->rest.p += n;
    r->rest.n -= n;
}

static void keep(struct redactor *r, size_t n)
{
    if (n == 0)
        return;
    r->before = r->rest.p[n - 1];
    pass(r, n);
}

static void mask(struct redactor *r, size_t n)
{
    if (n == 0)
        return;
    put(r, r->kept, kept_bytes(r));
    r->before = '*';
    put(r, "***", MIN(n, (size_t)MASK_BYTES));
    pass(r, n);
    r->kept = r->rest.p;
}

/* ---- characters ----
 * Each byte of a text is asked for: a table answers at once. */

enum { WORD = 1, DULL = 2 };

// clang-format off
static const unsigned char classes[256] = {
    ['a' ... 'z'] = WORD, ['A' ... 'Z'] = WORD, ['0' ... '9'] = WORD, ['_'] = WORD, ['-'] = WORD,
    [0 ... ' '] = DULL, ['!' ... '$'] = DULL, ['&' ... ','] = DULL, ['.' ... '/'] = DULL, [';' ... '@'] = DULL,
    ['['] = DULL, [']' ... '^'] = DULL, ['`'] = DULL, ['{' ... 255] = DULL,
};
// clang-format on

/* Of a word, as char_is_word has it. */
static inline bool is_word(char c)
{
    return classes[(unsigned char)c] & WORD;
}

/* Neither in a word nor the beginning of anything: a backslash, a per cent sign and a colon are. */
static inline bool is_dull(char c)
{
    return classes[(unsigned char)c] & DULL;
}

/* RFC 6750's b64token, which has Basic's base64 in it. */
static bool is_credential(char c)
{
    return is_word(c) || (c && strchr(".~+/=", c));
}

/* What a value without quotes may hold. */
static bool is_value(char c)
{
    return (unsigned char)c > ' ' && !strchr("\"'`,;&)}]<>\\", c);
}

static bool istarts(struct str s, struct str head)
{
    return s.n >= head.n && str_ieq((struct str){s.p, head.n}, head);
}

/* Is it made up rather than written: has it a digit, base64's padding, a capital behind a small letter, or more length than words? */
static bool looks_random(struct str s)
{
    bool small = false;
    for (size_t i = 0; i < MIN(s.n, (size_t)RANDOM_BYTES); i++) {
        bool capital = s.p[i] >= 'A' && s.p[i] <= 'Z';
        if (char_is_digit(s.p[i]) || s.p[i] == '=' || (small && capital))
            return true;
        small = s.p[i] >= 'a' && s.p[i] <= 'z';
    }
    return s.n >= RANDOM_BYTES;
}

/* ---- words that are secrets by their beginning ---- */

enum body {
    BODY_RANDOM, /* letters, digits, _ and -, of which it must look random */
    BODY_ALNUM,  /* letters and digits only: the head could begin an ordinary name */
    BODY_DOTTED, /* goes on behind dots, of which there must be one */
};

struct key_head {
    struct str head; /* kept */
    size_t body_min;
    enum body body;
};

// clang-format off
/* A row whose head and body_min are less than LONG_KEY_BYTES has its own in least_bytes. */
static const struct key_head key_heads[] = {
    {{"sk-ant-", 7}, 8, BODY_RANDOM},      /* Anthropic */
    {{"sk-proj-", 8}, 8, BODY_RANDOM},     /* OpenAI */
    {{"sk-svcacct-", 11}, 8, BODY_RANDOM},
    {{"sk-admin-", 9}, 8, BODY_RANDOM},
    {{"sk-or-", 6}, 8, BODY_RANDOM},       /* OpenRouter */
    {{"sk-lf-", 6}, 8, BODY_RANDOM},       /* Langfuse */
    {{"pk-lf-", 6}, 8, BODY_RANDOM},
    {{"sk-", 3}, 4, BODY_RANDOM},          /* OpenAI, DeepSeek, LiteLLM's virtual keys: sk-1234 is one */
    {{"csk-", 4}, 20, BODY_ALNUM},         /* Cerebras */
    {{"gsk_", 4}, 20, BODY_ALNUM},         /* Groq */
    {{"hf_", 3}, 20, BODY_ALNUM},          /* Hugging Face */
    {{"AIza", 4}, 30, BODY_RANDOM},        /* Google */
    {{"ya29", 4}, 0, BODY_DOTTED},
    {{"xai-", 4}, 20, BODY_ALNUM},
    {{"pplx-", 5}, 20, BODY_ALNUM},        /* Perplexity */
    {{"nvapi-", 6}, 20, BODY_RANDOM},
    {{"fw_", 3}, 20, BODY_ALNUM},          /* Fireworks */
    {{"r8_", 3}, 30, BODY_ALNUM},          /* Replicate */
    {{"tvly-", 5}, 16, BODY_RANDOM},       /* Tavily */
    {{"AKIA", 4}, 12, BODY_ALNUM},         /* AWS */
    {{"ASIA", 4}, 12, BODY_ALNUM},
    {{"ghp_", 4}, 20, BODY_ALNUM},         /* GitHub */
    {{"gho_", 4}, 20, BODY_ALNUM},
    {{"ghu_", 4}, 20, BODY_ALNUM},
    {{"ghs_", 4}, 20, BODY_ALNUM},
    {{"ghr_", 4}, 20, BODY_ALNUM},
    {{"github_pat_", 11}, 20, BODY_RANDOM},
    {{"glpat-", 6}, 16, BODY_RANDOM},      /* GitLab */
    {{"xoxb-", 5}, 10, BODY_RANDOM},       /* Slack */
    {{"xoxp-", 5}, 10, BODY_RANDOM},
    {{"xapp-", 5}, 10, BODY_RANDOM},
    {{"npm_", 4}, 30, BODY_ALNUM},
    {{"sk_live_", 8}, 16, BODY_ALNUM},     /* Stripe */
    {{"rk_live_", 8}, 16, BODY_ALNUM},
    {{"eyJ", 3}, 8, BODY_DOTTED},          /* a JWT: {" in base64 */
};
// clang-format on

/* Of words and the dots between them. */
static size_t dotted_run(struct str s)
{
    size_t n = str_run(s, is_word);
    while (n + 1 < s.n && s.p[n] == '.' && is_word(s.p[n + 1]))
        n += 1 + str_run(str_skip(s, n + 1), is_word);
    return n;
}

/* No row of the table has fewer in its head and body. */
static size_t least_bytes(struct str word)
{
    return str_starts(word, STR("sk-"))    ? 7
           : str_starts(word, STR("ya29")) ? 4
           : str_starts(word, STR("eyJ"))  ? 11
                                           : LONG_KEY_BYTES;
}

/* Bytes of the secret that `s` begins with, its head included, or 0. *head_bytes: of its head. */
static size_t secret_word(struct str s, size_t *head_bytes)
{
    struct str word = {s.p, str_run(s, is_word)};
    if (word.n < least_bytes(word)) /* nearly all words */
        return 0;
    for (size_t i = 0; i < COUNT(key_heads); i++) {
        const struct key_head *k = &key_heads[i];
        if (word.p[0] != k->head.p[0] || !str_starts(word, k->head))
            continue;
        struct str body = str_skip(word, k->head.n);
        size_t n = word.n;
        bool fits = false;
        switch (k->body) {
        case BODY_RANDOM: fits = looks_random(body); break;
        case BODY_ALNUM: fits = str_run(body, char_is_alnum) >= k->body_min; break;
        case BODY_DOTTED:
            n = dotted_run(s);
            fits = n > word.n && n >= RANDOM_BYTES;
            break;
        }
        if (!fits || body.n < k->body_min)
            continue;
        *head_bytes = k->head.n;
        return n;
    }
    return 0;
}

/* ---- names that secrets stand behind ---- */

/* How sure the name makes us. */
enum sureness { SURE_IF_RANDOM, SURE };

// clang-format off
/* What such names end with, in small letters and without '_' and '-'. */
static const struct { struct str tail; enum sureness sure; } secret_names[] = {
    {{"apikey", 6}, SURE_IF_RANDOM},
    {{"token", 5}, SURE_IF_RANDOM},
    {{"secret", 6}, SURE_IF_RANDOM},
    {{"password", 8}, SURE},
    {{"passwd", 6}, SURE},
    {{"passphrase", 10}, SURE},
    {{"authorization", 13}, SURE_IF_RANDOM},
    {{"accesskey", 9}, SURE_IF_RANDOM},
    {{"secretkey", 9}, SURE_IF_RANDOM},
    {{"privatekey", 10}, SURE_IF_RANDOM},
    {{"masterkey", 9}, SURE_IF_RANDOM},
    {{"virtualkey", 10}, SURE_IF_RANDOM},
    {{"subscriptionkey", 15}, SURE_IF_RANDOM}, /* Azure's Ocp-Apim-Subscription-Key */
    {{"accountkey", 10}, SURE_IF_RANDOM},
    {{"credential", 10}, SURE_IF_RANDOM},
    {{"signature", 9}, SURE_IF_RANDOM},
    {{"cookie", 6}, SURE_IF_RANDOM},
};
// clang-format on

#define NAME_BYTES 16 /* the longest tail has fewer */

/* The name's end in small letters, without '_' and '-'. */
static struct str name_tail(struct str name, char out[NAME_BYTES])
{
    size_t at = NAME_BYTES;
    for (size_t i = name.n; i > 0 && at > 0; i--) {
        char c = name.p[i - 1];
        if (c != '_' && c != '-')
            out[--at] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    return (struct str){out + at, NAME_BYTES - at};
}

static bool is_secret_name(const struct redactor *r, struct str name, enum sureness *sure)
{
    char tail[NAME_BYTES];
    struct str end = name_tail(name, tail);
    char last = end.n ? end.p[end.n - 1] : '\0';
    for (size_t i = 0; i < COUNT(secret_names); i++) {
        struct str wanted = secret_names[i].tail;
        if (last == wanted.p[wanted.n - 1] && str_ends(end, wanted)) {
            *sure = secret_names[i].sure;
            return true;
        }
    }
    /* A URL's ?key= and &sig=: names too short to stand anywhere else. */
    *sure = SURE_IF_RANDOM;
    return (r->before == '?' || r->before == '&') &&
           (str_ieq(name, STR("key")) || str_ieq(name, STR("sig")));
}

/* ---- their values ---- */

/* "Bearer " or "Basic " with its blanks; 0: neither. */
static size_t scheme_bytes(struct str s)
{
    static const struct str schemes[] = {{"bearer", 6}, {"basic", 5}};
    if (s.n == 0 || (s.p[0] | 0x20) != 'b')
        return 0;
    for (size_t i = 0; i < COUNT(schemes); i++) {
        size_t n = schemes[i].n;
        if (istarts(s, schemes[i]) && s.n > n && char_is_blank(s.p[n]))
            return n + str_run(str_skip(s, n), char_is_blank);
    }
    return 0;
}

/* The next n bytes are a secret: but for what tells its kind. */
static void mask_value(struct redactor *r, size_t n)
{
    size_t head = 0, scheme = scheme_bytes((struct str){r->rest.p, n});
    keep(r, scheme);
    n -= scheme;
    secret_word((struct str){r->rest.p, n}, &head);
    keep(r, head);
    mask(r, n - head);
}

static bool is_reference(char c)
{
    return is_word(c) || c == '/' || c == '.';
}

/* What stands behind such names without being one: nothing, a mask, a count, the place where the secret is. */
static bool is_harmless(struct str value)
{
    static const struct str words[] = {{"null", 4}, {"none", 4}, {"true", 4}, {"false", 5}};
    for (size_t i = 0; i < COUNT(words); i++)
        if (str_ieq(value, words[i]))
            return true;
    if (str_ends(value, STR("***")) && str_run(value, is_word) == value.n - 3 &&
        value.n < HEAD_BYTES)
        return true;
    if (str_starts(value, STR("os.environ/")))
        return str_run(value, is_reference) == value.n;
    return value.n <= 7 && str_run(value, char_is_digit) == value.n;
}

/* Backslashes and then a quote: of JSON, of Python's repr, of JSON within JSON. 0: none. */
static size_t quote_bytes(struct str s)
{
    size_t n = 0;
    while (n < s.n && s.p[n] == '\\')
        n++;
    return n < s.n && (s.p[n] == '"' || s.p[n] == '\'') ? n + 1 : 0;
}

/* Bytes of the value up to its closing quote, which may be missing where the text was cut. */
static size_t quoted_bytes(struct str s, char quote, bool is_escaped)
{
    size_t n = 0;
    while (n < s.n && s.p[n] != quote && s.p[n] != '\n')
        n += s.p[n] == '\\' && !is_escaped && n + 1 < s.n ? 2 : 1;
    while (is_escaped && n > 0 && s.p[n - 1] == '\\')
        n--;
    return n;
}

/* Behind a secret's name: its closing quote, blanks, '=' or ':', blanks. Returns their bytes, 0 where it is followed by something else. */
static size_t separator_bytes(struct str s)
{
    size_t n = quote_bytes(s);
    n += str_run(str_skip(s, n), char_is_blank);
    if (n >= s.n || (s.p[n] != '=' && s.p[n] != ':'))
        return 0;
    n++;
    return n + str_run(str_skip(s, n), char_is_blank);
}

/* The rest begins with a secret's name, of `name_bytes`, and what separates it from its value. */
static void take_named(struct redactor *r, size_t name_bytes, size_t separator, enum sureness sure)
{
    struct str behind = str_skip(r->rest, name_bytes);
    keep(r, name_bytes);
    /* "token=x" and "token":x are surely values; "token: x" may be prose. */
    bool is_prose = behind.n && (behind.p[0] == ':' || char_is_blank(behind.p[0]));
    keep(r, separator);
    size_t quote = quote_bytes(r->rest), n;
    if (quote) {
        char mark = r->rest.p[quote - 1];
        keep(r, quote);
        n = quoted_bytes(r->rest, mark, quote > 1);
    } else {
        n = scheme_bytes(r->rest);
        n += str_run(str_skip(r->rest, n), is_value);
    }
    struct str value = {r->rest.p, n};
    if (is_harmless(str_skip(value, scheme_bytes(value))))
        keep(r, n);
    else if (quote || !is_prose || sure == SURE || scheme_bytes(value) || looks_random(value))
        mask_value(r, n);
}

/* "Bearer x", whatever stands before it. False: the rest is no such thing. */
static bool take_scheme(struct redactor *r)
{
    size_t scheme = scheme_bytes(r->rest);
    if (scheme == 0)
        return false;
    struct str value = {r->rest.p + scheme, str_run(str_skip(r->rest, scheme), is_credential)};
    if (value.n < 4 || !looks_random(value))
        return false;
    mask_value(r, scheme + value.n);
    return true;
}

static void take_word(struct redactor *r)
{
    size_t n = str_run(r->rest, is_word), head;
    enum sureness sure;
    size_t secret = secret_word(r->rest, &head);
    size_t separator = secret ? 0 : separator_bytes(str_skip(r->rest, n));
    if (secret) {
        keep(r, head);
        mask(r, secret - head);
    } else if (separator && is_secret_name(r, (struct str){r->rest.p, n}, &sure)) {
        take_named(r, n, separator, sure);
    } else if (!take_scheme(r)) {
        keep(r, n);
    }
}

/* ---- what is no word ---- */

static bool is_userinfo(char c)
{
    return (unsigned char)c > ' ' && !strchr("/?#\"'<>\\", c);
}

/* Behind "://": all before the last '@' of the authority. */
static void take_userinfo(struct redactor *r)
{
    keep(r, 3);
    size_t n = str_run(r->rest, is_userinfo);
    while (n > 0 && r->rest.p[n - 1] != '@')
        n--;
    mask(r, n ? n - 1 : 0);
}

/* An escape of JSON, or of a URL: its letters belong to no word. 0: none. */
static size_t escape_bytes(struct str s)
{
    if (s.p[0] == '%' && scheme_bytes(str_skip(s, 1))) /* "%Bearer x", not "%Be" */
        return 0;
    if (s.p[0] == '%')
        return str_run((struct str){s.p + 1, MIN(s.n - 1, (size_t)2)}, char_is_hex) == 2 ? 3 : 0;
    if (s.p[0] != '\\' || s.n < 2 || !s.p[1])
        return 0;
    if (s.p[1] == 'u')
        return str_run((struct str){s.p + 2, MIN(s.n - 2, (size_t)4)}, char_is_hex) == 4 ? 6 : 0;
    return strchr("\"\\/bfnrt", s.p[1]) ? 2 : 0;
}

size_t redact_secrets(struct str text, char *out, size_t out_bytes)
{
    struct redactor r = {.rest = text, .kept = text.p, .out = out, .room = MIN(text.n, out_bytes)};
    while (r.rest.n && r.n + kept_bytes(&r) < r.room) {
        size_t escape = escape_bytes(r.rest);
        if (escape)
            keep(&r, escape);
        else if (is_word(r.rest.p[0]))
            take_word(&r);
        else if (str_starts(r.rest, STR("://")))
            take_userinfo(&r);
        else
            keep(&r, MAX(str_run(r.rest, is_dull), (size_t)1));
    }
    bool is_cut = r.rest.n || r.n + kept_bytes(&r) > r.room;
    put(&r, r.kept, kept_bytes(&r));
    return is_cut ? utf8_whole(out, r.n) : r.n;
}
