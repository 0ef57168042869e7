/* answer_head.c -- what an answer's head says: whether a stream comes, and the gateway's own account (LiteLLM's headers, Server-Timing).
 *
 * Once a request, so on the clock of small ones: known fields by number, no allocation. */
#include "base/redact.h"
#include "measure/answer_internal.h"

#include "http/h1.h"

#define SPAN_US_MAX INT64_C(1000000000000) /* eleven days: what is more is no time of a request */

/* "12.345" ms as us; -1: it is no such number, or beyond SPAN_US_MAX. What follows a third decimal is cut. */
static int64_t ms_as_us(struct str text)
{
    int64_t us = 0;
    int decimals = -1;
    if (!text.n)
        return -1;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '.' && decimals < 0) {
            decimals = 0;
            continue;
        }
        unsigned digit = (unsigned char)text.p[i] - '0';
        if (digit > 9 || us > INT64_MAX / 10000 - 10)
            return -1;
        if (decimals >= 3)
            continue;
        us = us * 10 + digit;
        decimals += decimals >= 0;
    }
    for (int i = MAX(decimals, 0); i < 3; i++)
        us *= 10;
    return us <= SPAN_US_MAX ? us : -1;
}

/* "queue;dur=0.012, upstream;dur=50.1;desc=x": W3C Server-Timing. */
static void take_server_timing(struct sample *s, struct str list)
{
    while (list.n) {
        struct str entry = str_cut(&list, ','), name = str_trim(str_cut(&entry, ';'));
        int64_t us = -1;
        while (entry.n) {
            struct str parameter = str_trim(str_cut(&entry, ';'));
            if (str_starts(parameter, STR("dur=")))
                us = ms_as_us(str_skip(parameter, 4));
        }
        if (STR_IS(name, "queue"))
            s->server_queue_us = us;
        else if (STR_IS(name, "upstream"))
            s->server_upstream_us = us;
        else if (STR_IS(name, "overhead"))
            s->server_overhead_us = us;
    }
}

/* LiteLLM itself has no Server-Timing: how long it took in all, and how much of that was its own. */
static void take_durations(struct sample *s, const struct h1_head *h)
{
    int64_t all_us = ms_as_us(h1_get(h, H1_X_LITELLM_RESPONSE_MS)),
            own_us = ms_as_us(h1_get(h, H1_X_LITELLM_OVERHEAD_MS));
    s->server_overhead_us = own_us;
    if (all_us >= 0 && own_us >= 0 && all_us >= own_us)
        s->server_upstream_us = all_us - own_us;
}

/* "0.000034", as weir writes it: at most 15 digits, so that digits and power of ten are exact in a double, and their quotient is the
 * nearest one. False: another spelling. */
static bool plain_decimal(struct str text, double *out)
{
    static const double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    uint64_t digits = 0;
    size_t behind = 0, count = 0;
    bool point = false;
    if (!text.n || text.n > COUNT(powers))
        return false;
    for (size_t i = 0; i < text.n; i++) {
        unsigned digit = (unsigned char)text.p[i] - '0';
        if (text.p[i] == '.' && !point && count) {
            point = true;
            continue;
        }
        if (digit > 9)
            return false;
        digits = digits * 10 + digit;
        count++;
        behind += point;
    }
    if (point && !behind)
        return false;
    *out = (double)digits / powers[behind];
    return count < COUNT(powers);
}

static double cost_of(struct str text)
{
    double usd;
    return text.n && (plain_decimal(text, &usd) || str_to_f64(text, &usd)) && usd >= 0 ? usd : -1;
}

static void keep(char *out, size_t room, struct str text)
{
    size_t n = MIN(text.n, room - 1);
    if (n)
        memcpy(out, text.p, n);
    out[n] = '\0';
}

/* "text/event-stream; charset=utf-8"? */
static bool is_type(struct str value, struct str type)
{
    return value.n >= type.n && str_ieq((struct str){value.p, type.n}, type) &&
           (value.n == type.n || value.p[type.n] == ';' || value.p[type.n] == ' ');
}

void answer_head(struct answer *a, const struct h1_head *h, uint64_t arrived_ns)
{
    struct sample *s = a->sample;
    struct str type = h1_get(h, H1_CONTENT_TYPE), timing = h1_get(h, H1_SERVER_TIMING);
    bool good = h->status >= 200 && h->status < 300;
    s->http_status = h->status;
    s->head_ns = arrived_ns;
    s->cost_usd = cost_of(h1_get(h, H1_X_LITELLM_RESPONSE_COST));
    keep(s->deployment, sizeof s->deployment, h1_get(h, H1_X_LITELLM_MODEL_ID));
    keep(a->content_type, sizeof a->content_type, type);
    if (timing.n)
        take_server_timing(s, timing);
    else if (h1_get(h, H1_X_LITELLM_OVERHEAD_MS).n)
        take_durations(s, h);
    if (!h1_get(h, H1_X_REQUEST_ID).n)
        a->flaws |= FLAW_NO_REQUEST_ID;
    bool says_stream = is_type(type, STR("text/event-stream"));
    a->stream =
        good && (says_stream || (a->asked_stream && !is_type(type, STR("application/json"))));
    if (a->stream && !says_stream)
        a->flaws |= FLAW_NO_CONTENT_TYPE;
}

/* ---- sentences ---- */

#define KEY_BYTES_MIN 4 /* a shorter key is in every other word */

/* `text` with the key in it as "***"; at its end, where it may have been cut, a beginning of the key as well. Never longer than `text`. */
static size_t without_key(struct str text, struct str key, char *out, size_t room)
{
    size_t n = 0;
    bool masks = key.n >= KEY_BYTES_MIN;
    while (text.n && n + 3 < room) {
        size_t same = MIN(text.n, key.n);
        if (masks && same >= KEY_BYTES_MIN && memcmp(text.p, key.p, same) == 0) {
            memcpy(out + n, "***", 3);
            n += 3;
            text = str_skip(text, same);
        } else {
            out[n++] = *text.p;
            text = str_skip(text, 1);
        }
    }
    return n;
}

void answer_say(struct answer *a, const char *what, struct str detail)
{
    struct sample *s = a->sample;
    char text[SAMPLE_ERROR_BYTES];
    size_t n = without_key(detail, a->key, text, sizeof text);
    n = redact_secrets((struct str){text, n}, text, sizeof text);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7F)
            text[i] = ' ';
    snprintf(s->error, sizeof s->error, "%s%s%.*s", what, n ? ": " : "", (int)n, text);
}
