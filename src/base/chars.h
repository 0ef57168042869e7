/* chars.h -- classes of ASCII characters, whatever the locale, and runs of them. All functions: [any thread], pure. */
#pragma once

#include "base/str.h"

static inline bool char_is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static inline bool char_is_hex(char c)
{
    return char_is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}
static inline bool char_is_letter(char c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}
static inline bool char_is_alnum(char c)
{
    return char_is_digit(c) || char_is_letter(c);
}
/* Of a word: what names, ids and keys are made of. */
static inline bool char_is_word(char c)
{
    return char_is_alnum(c) || c == '_' || c == '-';
}
static inline bool char_is_blank(char c)
{
    return c == ' ' || c == '\t';
}
/* How many bytes at the start of `s` are `in`. */
static inline size_t str_run(struct str s, bool (*in)(char))
{
    size_t n = 0;
    while (n < s.n && in(s.p[n]))
        n++;
    return n;
}
/* n, less a UTF-8 character that begins but does not end within the n bytes at p. */
static inline size_t utf8_whole(const char *p, size_t n)
{
    size_t back = 0;
    while (back < n && back < 3 && ((unsigned char)p[n - 1 - back] & 0xC0) == 0x80)
        back++;
    unsigned char head = back < n ? (unsigned char)p[n - 1 - back] : 0;
    size_t wanted = head >= 0xF0 ? 4 : head >= 0xE0 ? 3 : head >= 0xC0 ? 2 : 1;
    return wanted > back + 1 ? n - back - 1 : n;
}
