/* log_json_logs.c -- json_logs lines, which are prose within JSON, taken for what they tell.
 *
 * An access line is uvicorn's: HOST:PORT - "METHOD PATH HTTP/VERSION" STATUS. Only POSTs to a model's paths are requests. Messages are matched
 * decoded, so that it does not matter how their quotes were escaped. */
#include "observe/log_json_logs.h"

#include "base/chars.h"
#include "base/json.h"
#include "observe/log_keys.h"

#define ACCESS_BYTES    4096 /* a longer message is no access line */
#define EXCEPTION_BYTES 512  /* of the stacktrace's last line are looked at */

struct access {
    struct str host, path;
    int64_t status;
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_not_space(char c)
{
    return !is_space(c);
}

static bool is_path(char c)
{
    return !is_space(c) && c != '?';
}

static bool is_version(char c)
{
    return char_is_digit(c) || c == '.';
}

static struct str take_run(struct str *rest, bool (*in)(char))
{
    struct str taken = {rest->p, str_run(*rest, in)};
    *rest = str_skip(*rest, taken.n);
    return taken;
}

static bool take_literal(struct str *rest, struct str literal)
{
    if (!str_starts(*rest, literal))
        return false;
    *rest = str_skip(*rest, literal.n);
    return true;
}

/* "HOST:PORT". */
static bool take_client(struct str *rest, struct str *host)
{
    *host = take_run(rest, is_not_space);
    size_t digits = 0;
    while (digits < host->n && char_is_digit(host->p[host->n - 1 - digits]))
        digits++;
    if (digits == 0 || host->n < digits + 2 || host->p[host->n - 1 - digits] != ':')
        return false;
    host->n -= digits + 1;
    return true;
}

static bool take_access(struct str message, struct access *a)
{
    struct str rest = message;
    if (!take_client(&rest, &a->host) || !take_literal(&rest, STR(" - \"POST ")))
        return false;
    a->path = take_run(&rest, is_path);
    if (rest.n && rest.p[0] == '?')
        take_run(&rest, is_not_space);
    if (a->path.n == 0 || !take_literal(&rest, STR(" HTTP/")) ||
        take_run(&rest, is_version).n == 0 || !take_literal(&rest, STR("\" ")))
        return false;
    return rest.n == 3 && str_run(rest, char_is_digit) == 3 && str_to_i64(rest, &a->status);
}

/* The calls to models, by the end of their path; the first that fits. */
static struct str call_type_of(struct str path)
{
    static const struct {
        struct str tail, call_type;
    } calls[] = {
        {{"/chat/completions", 17}, {"chat.completions", 16}},
        {{"/completions", 12}, {"completions", 11}},
        {{"/embeddings", 11}, {"embeddings", 10}},
        {{"/responses", 10}, {"responses", 9}},
        {{"/messages", 9}, {"messages", 8}},
    };
    for (size_t i = 0; i < COUNT(calls); i++)
        if (str_ends(path, calls[i].tail))
            return calls[i].call_type;
    return STR_NONE;
}

/* The host stands at the message's start: borrowed from the line, unless an escape is in it. */
static bool keep_host(struct logline *l, struct str host)
{
    l->r.client = (struct str){l->message.p, host.n};
    if (str_eq(l->r.client, host))
        return true;
    if (host.n > sizeof l->host)
        return false;
    memcpy(l->host, host.p, host.n);
    l->r.client.p = l->host;
    return true;
}

void log_json_logs_settle(struct logline *l)
{
    char decoded[ACCESS_BYTES + 1];
    struct access a;
    const uint64_t common = LOG_BIT(timestamp) | LOG_BIT(level);
    l->found &= common;
    l->escaped &= common;
    if (!l->message.p)
        return;
    struct str message = {decoded, json_unescape(l->message, decoded, sizeof decoded)};
    struct str call_type = STR_NONE;
    if (message.n <= ACCESS_BYTES && take_access(message, &a))
        call_type = call_type_of(a.path);
    if (call_type.p) {
        l->r.http_status = a.status;
        l->r.call_type = call_type;
        l->found |= LOG_BIT(http_status) | LOG_BIT(call_type);
        l->found |= keep_host(l, a.host) ? LOG_BIT(client) : 0;
        return;
    }
    l->r.error.message = l->message;
    l->found |= LOG_BIT(error_message);
    if (memchr(l->message.p, '\\', l->message.n))
        l->escaped |= LOG_BIT(error_message);
}

bool log_json_logs_is_error(const struct logline *l)
{
    char decoded[16];
    if (l->shape != LOG_SHAPE_JSON_LOGS || !(l->found & LOG_BIT(level)) ||
        l->found & LOG_BIT(http_status))
        return false;
    struct str level = logline_text(l, LOG_level, l->r.level, decoded, sizeof decoded);
    return str_eq(level, STR("ERROR")) || str_eq(level, STR("CRITICAL"));
}

/* The character at p, a raw string's: of escapes, only white space is told apart. *bytes: that it takes. */
static char raw_char(const char *p, const char *end, size_t *bytes)
{
    *bytes = 1;
    if (*p != '\\' || end - p < 2)
        return *p;
    if (p[1] == 'u' && end - p >= 6) {
        char c[4];
        *bytes = 6;
        return json_unescape((struct str){p, 6}, c, sizeof c) == 1 ? c[0] : 'x';
    }
    *bytes = 2;
    return p[1] == 'n' ? '\n' : p[1] == 't' ? '\t' : p[1] == 'r' ? '\r' : 'x';
}

/* The last line of a raw string that has more than blanks. */
static struct str last_line(struct str raw)
{
    const char *end = raw.p + raw.n, *begin = raw.p;
    struct str last = STR_NONE;
    bool is_blank = true;
    size_t bytes;
    for (const char *p = raw.p; p < end; p += bytes) {
        char c = raw_char(p, end, &bytes);
        if (c == '\n') {
            begin = p + bytes;
            is_blank = true;
        } else if (c != ' ' && c != '\t' && c != '\r') {
            is_blank = false;
        }
        if (!is_blank)
            last = (struct str){begin, (size_t)(p + bytes - begin)};
    }
    return last;
}

static bool is_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!char_is_letter(s.p[i]) && s.p[i] != '_' && !(i && char_is_digit(s.p[i])))
            return false;
    return s.n > 0;
}

static bool is_trimmed(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

struct str log_json_logs_exception(const struct logline *l, char *out, size_t out_bytes)
{
    char decoded[EXCEPTION_BYTES];
    if (!(l->seen & LOG_SEEN_STACKTRACE) || !l->stacktrace.p)
        return STR_NONE;
    struct str raw = last_line(l->stacktrace);
    struct str line = {decoded, json_unescape(raw, decoded, sizeof decoded)};
    struct str name = str_cut(&line, ':');
    name = str_skip(name, str_run(name, is_trimmed));
    while (name.n && is_trimmed(name.p[name.n - 1]))
        name.n--;
    for (size_t i = name.n; i > 0; i--) {
        if (name.p[i - 1] == '.') {
            name = str_skip(name, i);
            break;
        }
    }
    if (!is_name(name) || !name.p || name.n > out_bytes)
        return STR_NONE;
    memcpy(out, name.p, name.n);
    return (struct str){out, name.n};
}
