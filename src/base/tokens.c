/* tokens.c -- cuts a line into words, quoted texts and signs, and shows the place of a mistake in it. */
#include "base/tokens.h"

#include <stdarg.h>

#define BEFORE_BYTES 40 /* shown in front of a mistake ... */
#define SHOWN_BYTES  72 /* ... and in all */
#define SENTENCE_MAX 240

/* Longer ones first. */
static const char *const signs[] = {"==", "!=", "<=", ">=", "!~", "&&", "||", "=", "<",
                                    ">",  "~",  "!",  "(",  ")",  "[",  "]",  ","};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* NUL is none: strchr finds it. */
static bool is_word_byte(char c)
{
    return !is_blank(c) && !strchr("'\"=<>!~&|()[],", c);
}

static struct str take_text(struct str rest, enum token_kind *kind)
{
    ptrdiff_t end = str_find(str_skip(rest, 1), rest.p[0]);
    *kind = end < 0 ? TOKEN_UNCLOSED : TOKEN_TEXT;
    return (struct str){rest.p + 1, end < 0 ? rest.n - 1 : (size_t)end};
}

static struct str take_sign(struct str rest)
{
    for (size_t i = 0; i < COUNT(signs); i++)
        if (str_starts(rest, str_from(signs[i])))
            return (struct str){rest.p, strlen(signs[i])};
    return (struct str){rest.p, 1}; /* a single & or | */
}

void tokens_next(struct tokens *t)
{
    size_t at = t->next_at;
    while (at < t->all.n && is_blank(t->all.p[at]))
        at++;
    struct str rest = {t->all.p + at, t->all.n - at};
    t->now = (struct token){TOKEN_END, STR_NONE, at};
    t->next_at = at;
    if (rest.n == 0)
        return;
    if (rest.p[0] == '\'' || rest.p[0] == '"') {
        t->now.text = take_text(rest, &t->now.kind);
        t->next_at = at + t->now.text.n + (t->now.kind == TOKEN_TEXT ? 2 : 1);
        return;
    }
    size_t n = 0;
    while (n < rest.n && is_word_byte(rest.p[n]))
        n++;
    t->now.kind = n ? TOKEN_WORD : TOKEN_SIGN;
    t->now.text = n ? (struct str){rest.p, n} : take_sign(rest);
    t->next_at = at + t->now.text.n;
}

void tokens_init(struct tokens *t, struct str all)
{
    *t = (struct tokens){.all = all};
    tokens_next(t);
}

bool tokens_at(const struct tokens *t, const char *word)
{
    bool plain = t->now.kind == TOKEN_WORD || t->now.kind == TOKEN_SIGN;
    return plain && str_ieq(t->now.text, str_from(word));
}

bool tokens_take(struct tokens *t, const char *word)
{
    bool is = tokens_at(t, word);
    if (is)
        tokens_next(t);
    return is;
}

static bool continues_character(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

/* What is shown must not steer the terminal. */
static void blunt(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7F)
            *text = '?';
}

bool tokens_fail(const struct tokens *t, struct err *e, const char *fmt, ...)
{
    char sentence[SENTENCE_MAX], shown[SHOWN_BYTES + 1];
    size_t at = t->now.at, from = at > BEFORE_BYTES ? at - BEFORE_BYTES : 0;
    va_list args;
    va_start(args, fmt);
    vsnprintf(sentence, sizeof sentence, fmt, args);
    va_end(args);
    while (from < at && continues_character(t->all.p[from]))
        from++;
    snprintf(shown, sizeof shown, "%.*s", STR_ARG(str_skip(t->all, from)));
    int column = 1, indent = 0;
    for (size_t i = 0; i < at; i++) {
        bool begins = !continues_character(t->all.p[i]);
        column += begins;
        indent += begins && i >= from;
    }
    blunt(sentence);
    blunt(shown);
    return err_set(e, "column %d: %s\n  %s\n  %*s^", column,
                   t->now.kind == TOKEN_UNCLOSED ? "expected a closing quote" : sentence, shown,
                   indent, "");
}
