/* query.c -- parts of a request's target: percent-decoding (RFC 3986 §2.1), and the values of a query. Pure. */
#include "gateway/gateway.h"

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

struct str percent_decode(struct str s, char *out, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n && n < room; i++) {
        bool escape = s.p[i] == '%' && i + 2 < s.n && hex_value(s.p[i + 1]) >= 0 &&
                      hex_value(s.p[i + 2]) >= 0;
        out[n++] = escape ? (char)(hex_value(s.p[i + 1]) * 16 + hex_value(s.p[i + 2])) : s.p[i];
        i += escape ? 2 : 0;
    }
    return (struct str){out, n};
}

bool query_value(struct str query, struct str name, char *out, size_t room)
{
    out[0] = '\0';
    while (query.n) {
        struct str value = str_cut(&query, '&'), key = str_cut(&value, '=');
        if (!str_eq(key, name))
            continue;
        struct str text = percent_decode(value, out, room - 1);
        out[text.n] = '\0';
        return text.n > 0;
    }
    return false;
}
