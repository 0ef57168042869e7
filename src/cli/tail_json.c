/* tail_json.c -- a line of the log as JSON for others' eyes: without what was asked and answered.
 *
 * Members of the top level that hold contents are cut out, in weir's own records and in LiteLLM's payloads, however their keys are
 * spelled and however often they come. In the texts that are left what looks like a secret is masked. All else stays as it was, byte
 * by byte. */
#include "base/json.h"
#include "base/redact.h"
#include "cli/tail_view.h"

#define NAME_BYTES 24 /* a member's name that is shorter is no key */

static const char *const contents[] = {"request",
                                       "response",
                                       "metadata",
                                       "messages",
                                       "prompt",
                                       "input",
                                       "model_parameters",
                                       "hidden_params",
                                       "proxy_server_request",
                                       "vector_store_request_metadata"};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The member whose value is [start, end), with its key and one of the commas around it. The text is a good JSON object, so that each
 * step finds what it looks for; a key that is wanted has no quote in it, however it is spelled. */
static struct str member_around(struct str object, size_t start, size_t end)
{
    const char *p = object.p;
    while (p[start - 1] != '"')
        start--;
    start--;
    while (p[start - 1] != '"')
        start--;
    start--;
    while (is_blank(p[start - 1]))
        start--;
    while (is_blank(p[end]))
        end++;
    if (p[start - 1] == ',')
        start--;
    else if (p[end] == ',')
        end++;
    return (struct str){p + start, end - start};
}

enum cut { CUT_ONE, CUT_NONE, CUT_FAILED };

static enum cut cut_one(struct buf *out, const struct json_want *want)
{
    struct json_scan scan;
    struct json_found found[COUNT(contents)];
    struct str object = buf_str(out);
    ENSURE(object.p); /* a line is not empty */
    json_scan_init(&scan, want, found);
    if (json_scan_feed(&scan, object.p, object.n) != JSON_DONE)
        return CUT_FAILED;
    for (size_t i = 0; i < COUNT(contents); i++) {
        if (found[i].kind == JSON_NONE)
            continue;
        struct str member = member_around(object, (size_t)found[i].start, (size_t)found[i].end);
        size_t at = (size_t)(member.p - object.p), behind = at + member.n;
        memmove(out->data + at, out->data + behind, object.n - behind);
        out->len -= member.n;
        return CUT_ONE;
    }
    return CUT_NONE;
}

/* Behind the string that begins at p; the JSON is known to be good. */
static const char *string_end(const char *p)
{
    for (p++; *p != '"'; p++)
        p += *p == '\\';
    return p + 1;
}

/* A string's end, or where it is a key the end of its value if that is a string too: some secrets are known by their names only. */
static const char *text_end(const char *p, const char *end)
{
    const char *behind = string_end(p);
    for (p = behind; p < end && (is_blank(*p) || *p == ':'); p++)
        ;
    return p > behind && p < end && *p == '"' ? string_end(p) : behind;
}

static size_t name_bytes(const char *p)
{
    size_t n = 0;
    while ((p[n] >= 'a' && p[n] <= 'z') || p[n] == '_' || p[n] == '.')
        n++;
    return n;
}

/* Is the text, with its quotes, one of those that every line is full of? A short name whose value is no string, a stamp, or one of weir's
 * own words. Only to save time. */
static bool is_harmless(struct str text)
{
    static const struct str words[] = {{"\"event\":\"", 9},      {"\"status\":\"", 10},
                                       {"\"call_type\":\"", 13}, {"\"tokens_source\":\"", 17},
                                       {"\"cache\":\"", 9},      {"\"finish_reason\":\"", 17}};
    size_t n = name_bytes(text.p + 1) + 1;
    if (n + 1 == text.n)
        return n < NAME_BYTES;
    if (str_starts(text, STR("\"timestamp\":")))
        return true;
    for (size_t i = 0; i < COUNT(words); i++)
        if (str_starts(text, words[i]))
            return words[i].n + name_bytes(text.p + words[i].n) + 1 == text.n &&
                   text.n - words[i].n < NAME_BYTES;
    return false;
}

/* Numbers and words are none of redact_secrets' business: with asterisks they would be no JSON. */
static void mask_texts(struct buf *out)
{
    struct str object = buf_str(out);
    const char *end = object.p + object.n;
    char *to = out->data;
    for (const char *p = object.p; p < end;) {
        const char *quote = memchr(p, '"', (size_t)(end - p));
        size_t plain = (size_t)((quote ? quote : end) - p);
        memmove(to, p, plain);
        to += plain;
        if (!quote)
            break;
        const char *behind = text_end(quote, end);
        struct str text = {quote, (size_t)(behind - quote)};
        if (is_harmless(text)) {
            memmove(to, text.p, text.n);
            to += text.n;
        } else {
            to += redact_secrets(text, to, text.n);
        }
        p = behind;
    }
    out->len = (size_t)(to - out->data);
}

bool tail_json_public(struct str line, struct buf *out)
{
    static const struct json_want *want;
    enum cut cut;
    if (!want)
        want = json_want_compile(contents, COUNT(contents));
    ptrdiff_t begin =
        str_find(line, '{'); /* a byte order mark may stand before it, or a hole's NULs */
    buf_clear(out);
    ENSURE(buf_append_str(out, str_skip(line, begin > 0 ? (size_t)begin : 0))); /* has no cap */
    while ((cut = cut_one(out, want)) == CUT_ONE)
        ;
    if (cut == CUT_FAILED)
        return false;
    mask_texts(out);
    return true;
}
