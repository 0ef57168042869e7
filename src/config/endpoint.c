/* endpoint.c -- api_base, parsed once: scheme, host, port and path, or a Unix socket.
 *
 * Accepted (RFC 3986 without userinfo, query and fragment, which have no place in an API's base):
 *   http://host[:port][/path]    https://...    http://[::1]:8000/v1
 *   unix:/path/to.sock           unix:@abstract        unix:/path/to.sock:/v1   (nginx's way to add a path)
 *   http+unix://%2Fpath%2Fto.sock/v1                   (the way of Python's requests-unixsocket)
 * Bytes that could break a request's head (blanks, controls, anything but ASCII) are refused everywhere. */
#include "config/config.h"

#include <arpa/inet.h>
#include <sys/un.h>

/* Errors of a reload are read by anybody (/health/readiness), so a URL that may hold a password is not repeated. */
static bool refuse(struct err *e, struct str url, const char *why)
{
    if (str_find(url, '@') >= 0 && !str_starts(url, STR("unix:")))
        return err_set(
            e, "%s (the URL is not shown: there is an \"@\" in it, as before a password)", why);
    return err_set(e, "\"%.*s\": %s", (int)MIN(url.n, (size_t)200), url.p ? url.p : "", why);
}

static bool is_printable(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || strchr("\\\"<>`{}|^", s.p[i]))
            return false;
    return true;
}

static struct str without_slashes(struct str path)
{
    while (path.n && path.p[path.n - 1] == '/')
        path.n--;
    return path;
}

/* ---- Unix sockets ---- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoding (RFC 3986 section 2.1). False on a broken escape or an encoded NUL. */
static bool decode(struct arena *a, struct str s, struct str *out)
{
    char *text = arena_alloc(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            int high = i + 2 < s.n ? hex_value(s.p[i + 1]) : -1,
                low = high < 0 ? -1 : hex_value(s.p[i + 2]);
            if (low < 0 || (high == 0 && low == 0))
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        text[n++] = c;
    }
    text[n] = '\0';
    *out = (struct str){text, n};
    return true;
}

static bool set_unix(struct arena *a, struct str url, struct str socket, struct str path,
                     struct endpoint *out, struct err *e)
{
    if (socket.n < 2 || (socket.p[0] != '/' && socket.p[0] != '@'))
        return refuse(e, url, "expected unix:/path/of/the.sock or unix:@abstract-name");
    if (socket.n >= sizeof((struct sockaddr_un *)NULL)->sun_path)
        return refuse(e, url, "the socket's path is too long for this system (107 bytes)");
    *out = (struct endpoint){
        .host = arena_printf(a, "unix:%.*s", STR_ARG(socket)),
        .authority = STR("localhost"),
        .path = arena_str(a, without_slashes(path)),
    };
    return true;
}

static bool parse_unix(struct arena *a, struct str url, struct str rest, struct endpoint *out,
                       struct err *e)
{
    struct str path = STR_NONE;
    const char *mark = rest.n ? memmem(rest.p, rest.n, ":/", 2) : NULL;
    if (mark) {
        path = str_skip(rest, (size_t)(mark + 1 - rest.p));
        rest.n = (size_t)(mark - rest.p);
    }
    return set_unix(a, url, rest, path, out, e);
}

static bool parse_http_unix(struct arena *a, struct str url, struct str rest, struct endpoint *out,
                            struct err *e)
{
    struct str path = rest, socket;
    struct str encoded = str_cut(&path, '/');
    path = encoded.n < rest.n ? str_skip(rest, encoded.n) : STR_NONE;
    if (!decode(a, encoded, &socket))
        return refuse(e, url,
                      "the socket's path is not percent-encoded as it should be (%2Frun%2Fx.sock)");
    return set_unix(a, url, socket, path, out, e);
}

/* ---- http and https ---- */

static bool is_name(struct str host)
{
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        bool fine =
            (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
        if (!fine)
            return false;
    }
    /* Empty labels and names longer than DNS allows (RFC 1035 section 2.3.4) cannot be looked up. */
    return host.n > 0 && host.n <= 253 && host.p[0] != '.' && !str_contains(host, STR(".."));
}

static bool is_ipv6(struct str host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr ignored;
    if (host.n == 0 || host.n >= sizeof text)
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    return inet_pton(AF_INET6, text, &ignored) == 1;
}

/* Splits "host:port" or "[v6]:port". `port` is what stands behind the colon; .p is NULL without a colon. */
static bool split_authority(struct str authority, struct str *host, struct str *port)
{
    struct str rest = authority;
    *port = STR_NONE;
    if (authority.n && authority.p[0] == '[') {
        rest = str_skip(authority, 1);
        *host = str_cut(&rest, ']');
        if (!rest.p || !is_ipv6(*host))
            return false;
        if (rest.n && rest.p[0] != ':')
            return false;
        if (rest.n)
            *port = (struct str){rest.p + 1, rest.n - 1};
        return true;
    }
    *host = str_cut(&rest, ':');
    *port = rest;
    return is_name(*host);
}

static struct str lower(struct arena *a, struct str s)
{
    char *copy = (char *)arena_str(a, s).p;
    for (size_t i = 0; i < s.n; i++)
        if (copy[i] >= 'A' && copy[i] <= 'Z')
            copy[i] = (char)(copy[i] + 32);
    return (struct str){copy, s.n};
}

static bool parse_http(struct arena *a, struct str url, struct str rest, bool tls,
                       struct endpoint *out, struct err *e)
{
    struct str path = rest, host, port_text;
    struct str authority = str_cut(&path, '/');
    path = authority.n < rest.n ? str_skip(rest, authority.n) : STR_NONE;
    int64_t port = tls ? 443 : 80, standard = port;
    if (str_find(authority, '@') >= 0)
        return err_set(e, "credentials do not belong in a URL: expected api_key instead");
    if (!split_authority(lower(a, authority), &host, &port_text))
        return refuse(e, url,
                      "expected a host name, an IPv4 address or [an IPv6 address] after \"//\"");
    if (port_text.p && (!str_to_i64(port_text, &port) || port < 1 || port > 65535))
        return refuse(e, url, "expected a port between 1 and 65535");
    bool v6 = str_find(host, ':') >= 0;
    struct str shown = v6 ? arena_printf(a, "[%.*s]", STR_ARG(host)) : host;
    *out = (struct endpoint){
        .tls = tls,
        .host = arena_str(a, host),
        .port = (uint16_t)port,
        .authority = port == standard ? arena_str(a, shown)
                                      : arena_printf(a, "%.*s:%d", STR_ARG(shown), (int)port),
        .path = arena_str(a, without_slashes(path)),
    };
    return true;
}

bool endpoint_parse(struct arena *a, struct str url, struct endpoint *out, struct err *e)
{
    static const struct {
        struct str scheme;
        bool tls;
    } schemes[] = {{STR("http://"), false}, {STR("https://"), true}};
    if (!is_printable(url))
        return refuse(e, url,
                      "blanks, control bytes, quotes and non-ASCII letters cannot stand in a URL");
    if (str_find(url, '?') >= 0 || str_find(url, '#') >= 0)
        return err_set(e, "expected a base without \"?\" and \"#\"");
    if (str_starts(url, STR("unix:")))
        return parse_unix(a, url, str_skip(url, 5), out, e);
    if (str_starts(url, STR("http+unix://")))
        return parse_http_unix(a, url, str_skip(url, 12), out, e);
    for (size_t i = 0; i < COUNT(schemes); i++) {
        struct str head = {url.p, MIN(url.n, schemes[i].scheme.n)};
        if (str_ieq(head, schemes[i].scheme))
            return parse_http(a, url, str_skip(url, head.n), schemes[i].tls, out, e);
    }
    return refuse(e, url, "expected http://, https:// or unix: at the beginning");
}
