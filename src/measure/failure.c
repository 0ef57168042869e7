/* failure.c -- the client's words for what went wrong, as outcomes. */
#include "measure/failure.h"

#include <errno.h>

void sample_take_marks(struct sample *s, const struct http_exchange *x)
{
    s->reused = x->reused;
    s->start_ns = x->started_ns;
    s->sent_first_ns = x->send_began_ns;
    s->sent_ns = x->sent_ns;
    if (x->first_byte_ns)
        s->first_byte_ns = x->first_byte_ns;
    if (!x->reused) {
        s->resolved_ns = x->resolved_ns;
        s->connected_ns = x->tcp_ns;
        s->secured_ns = x->target->tls ? x->connected_ns : 0;
    }
}

static bool detail_is(const char *detail, int error)
{
    const char *text = strerror(error);
    return strncmp(detail, text, strlen(text)) == 0;
}

static enum outcome of_connect(const char *detail)
{
    if (detail_is(detail, ECONNREFUSED))
        return OUTCOME_CONNECT_REFUSED;
    bool timed_out =
        detail_is(detail, ETIMEDOUT) || strncmp(detail, "not connected within", 20) == 0;
    return timed_out ? OUTCOME_CONNECT_TIMEOUT : OUTCOME_CONNECT_OTHER;
}

static enum outcome of_timeout(const struct sample *s, const struct http_exchange *x,
                               uint64_t now_ns)
{
    uint64_t total_ns = (uint64_t)MAX(x->total_timeout_ms, 0) * NS_PER_MS;
    if (!x->reused && !x->connected_ns) /* whichever of the bounds it was */
        return OUTCOME_CONNECT_TIMEOUT;
    if (total_ns && now_ns >= x->started_ns + total_ns)
        return OUTCOME_TOTAL_TIMEOUT;
    if (!s->head_ns)
        return OUTCOME_HEAD_TIMEOUT;
    return s->stream && !s->first_token_ns ? OUTCOME_FIRST_TOKEN_TIMEOUT : OUTCOME_IDLE_TIMEOUT;
}

enum outcome sample_failure(const struct sample *s, const struct http_exchange *x,
                            enum error_code code, const char *detail, uint64_t now_ns)
{
    switch (code) {
    case ERR_UPSTREAM_RESOLVE: return OUTCOME_DNS;
    case ERR_UPSTREAM_CONNECT: return of_connect(detail);
    case ERR_UPSTREAM_PROXY: return OUTCOME_CONNECT_OTHER;
    case ERR_UPSTREAM_TLS: return OUTCOME_TLS;
    case ERR_UPSTREAM_TIMEOUT: return of_timeout(s, x, now_ns);
    case ERR_UPSTREAM_TRUNCATED: return OUTCOME_TRUNCATED;
    case ERR_UPSTREAM_PROTOCOL:
    case ERR_UPSTREAM_TOO_LARGE: return OUTCOME_INVALID;
    default: return s->first_byte_ns ? OUTCOME_TRUNCATED : OUTCOME_SEND;
    }
}

bool outcome_is_unreached(enum outcome o)
{
    switch (o) {
    case OUTCOME_DNS:
    case OUTCOME_CONNECT_REFUSED:
    case OUTCOME_CONNECT_TIMEOUT:
    case OUTCOME_CONNECT_OTHER:
    case OUTCOME_TLS: return true;
    default: return false;
    }
}

bool outcomes_are_unreached(const uint64_t counts[OUTCOME_COUNT])
{
    uint64_t reached = 0, unreached = 0;
    for (int o = 0; o < OUTCOME_COUNT; o++) {
        if (outcome_is_unreached((enum outcome)o))
            unreached += counts[o];
        else if (o != OUTCOME_CANCELLED && o != OUTCOME_DROPPED) /* these tell nothing */
            reached += counts[o];
    }
    return unreached > 0 && reached == 0;
}
