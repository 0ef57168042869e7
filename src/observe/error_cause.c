/* error_cause.c -- the table of causes. The first row whose words are in the text wins; then by type; then by status.
 *
 * Words are what providers really say (OpenAI, Azure, Anthropic, Gemini, Bedrock, Mistral, Groq, vLLM, Ollama), in small letters. They come
 * first because gateways and wrappers give one type and one status to many things: a 400 may be a context that is too long. */
#include "observe/error_cause.h"

struct cause_row {
    struct error_cause cause;
    const char *words,
        *types; /* separated by '|', small letters; any of them within the text or the type */
    int64_t statuses[4];
};

// clang-format off
static const struct cause_row rows[] = {
    {{"context_window", "prompt too long", "Send less, cap max_tokens, or fall back to a model with a longer context (context_window_fallbacks).", NEXT_TRACE},
     "maximum context length|context_length_exceeded|context window|prompt is too long|too many tokens|input is too long|exceeds the limit of|reduce the length",
     "contextwindow", {0}},
    {{"content_policy", "content policy", "The provider refused the content: change the prompt, or fall back to another model (content_policy_fallbacks).", NEXT_TRACE},
     "content policy|content_policy|content_filter|content management policy|responsible ai|safety system|flagged|usage policies",
     "contentpolicy", {0}},
    {{"quota", "quota or credit used up", "Add credit at the provider, raise the budget, or move this traffic to another provider or key.", NEXT_TAIL},
     "insufficient_quota|exceeded your current quota|credit balance|billing|payment required|budget has been exceeded|exceededbudget|out of credits",
     "budgetexceeded|budget_exceeded|proxy_budget_exceeded", {402}},
    {{"auth", "key refused", "Check the api_key of these deployments, or the key that the client sent: it is wrong, expired or lacks the right.", NEXT_CHECK_CONFIG},
     "incorrect api key|invalid api key|invalid x-api-key|authentication error|api key not valid|no api key|invalid_api_key|permission denied|unauthorized|security token",
     "authentication|permissiondenied|bad_key|no_key", {401, 403}},
    {{"model_not_found", "no such model", "Check the model's name in model_list and what the provider offers: GET /v1/models lists what there is.", NEXT_CHECK_CONFIG},
     "model_not_found|no such model|does not exist or you do not have access|model not found|is not found for api version|deployment for this resource does not exist|try pulling it",
     "model_unknown|model_missing|notfound|not_found", {404}},
    {{"gateway_limit", "weir's own limit", "The gateway refused it: raise the limit (of the key, or of requests in flight), or have clients wait and try again.", NEXT_TAIL},
     "requests are in flight|max parallel request limit|rate limit exceeded for|key tpm|key rpm|no deployments available",
     "too_many_requests|key_requests_limit|key_tokens_limit|key_parallel_limit", {0}},
    {{"rate_limit", "rate limit", "Slow down, ask for a higher limit, or add deployments and fallbacks that share the load.", NEXT_TAIL},
     "rate limit|rate_limit|ratelimit|too many requests|quota exceeded|resource_exhausted|resource exhausted|throttl|tokens per min|requests per min",
     "ratelimit", {429}},
    {{"client_gone", "client left", "The client closed the connection: its time-out is shorter than the answer takes, or its user gave up.", NEXT_TRACE},
     "client closed the connection|client disconnected", "client_gone|request_timeout", {499}},
    {{"tls", "TLS", "Check the certificate, the clock, and the CA file of this machine (ssl_verify).", NEXT_CHECK_CONFIG},
     "certificate|ssl:|tls|handshake", "upstream_tls", {0}},
    {{"dns", "name not resolved", "Check how api_base is spelt, and this machine's DNS.", NEXT_CHECK_CONFIG},
     "name or service not known|could not be resolved|getaddrinfo|nodename nor servname|temporary failure in name resolution", "upstream_resolve", {0}},
    {{"connect", "upstream not reachable", "Is the server up, and does api_base name its port? A firewall or a proxy may stand between.", NEXT_CHECK_CONFIG},
     "connection refused|no route to host|cannot connect|network is unreachable|unreachable|all connection attempts failed|no such file", "upstream_connect|upstream_proxy|apiconnection", {0}},
    {{"timeout", "timeout", "The provider took too long: raise the model's timeout, stream, or fall back to a faster one.", NEXT_TRACE},
     "timed out|did not answer within|timeout|deadline exceeded", "timeout|apitimeout|upstream_timeout", {408, 504}},
    {{"cut_short", "answer cut short", "The upstream closed too soon: it crashed, restarted, or something between ends idle connections.", NEXT_TRACE},
     "peer closed|connection reset|closed the connection|answer ended|incomplete|broken pipe|server disconnected|eof", "upstream_closed|upstream_truncated|upstream_protocol", {0}},
    {{"overloaded", "provider overloaded", "Wait and try again (num_retries), or add a fallback at another provider.", NEXT_TAIL},
     "overloaded|service unavailable|at capacity|server is busy|try again later|currently unavailable", "serviceunavailable|overloaded", {503, 529}},
    {{"bad_request", "request not accepted", "A parameter is wrong or not supported by this model: see the message; drop_params leaves out what a model lacks.", NEXT_TRACE},
     "invalid_request_error|unsupported parameter|unsupported value|unrecognized request argument|is required|validation error", "badrequest|bad_request|bad_json|unprocessable|media_type|body_too_large", {400, 413, 415, 422}},
    {{"stream_error", "failed within the stream", "The provider broke off an answer that had begun: nobody can retry it but the client.", NEXT_TRACE},
     NULL, "stream_error", {0}},
    {{"provider_error", "provider's own fault", "The provider failed: try again (num_retries), add a fallback, look at its status page.", NEXT_TAIL},
     "internal server error|internal error|bad gateway|server had an error", "internalserver|apierror|upstream_error", {500, 502, 520}},
};
// clang-format on
static const struct error_cause unknown = {"unknown", "not known", "Look at one of the requests.",
                                           NEXT_TRACE};

#define LOWER_BYTES 512

static struct str lower(struct str s, char *out)
{
    size_t n = MIN(s.n, (size_t)LOWER_BYTES);
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] | 0x20 : s.p[i]);
    return (struct str){out, n};
}

static bool has_any(struct str text, const char *words)
{
    for (struct str rest = str_from(words); rest.n;)
        if (str_contains(text, str_cut(&rest, '|')))
            return true;
    return false;
}

static bool begins_with_any(struct str type, const char *heads)
{
    for (struct str rest = str_from(heads); rest.n;)
        if (str_starts(type, str_cut(&rest, '|')))
            return true;
    return false;
}

static bool has_status(const struct cause_row *r, int64_t status)
{
    for (size_t i = 0; i < COUNT(r->statuses); i++)
        if (status > 0 && r->statuses[i] == status)
            return true;
    return false;
}

const struct error_cause *error_cause_of(struct str type, int64_t status, struct str text)
{
    char text_lower[LOWER_BYTES], type_lower[LOWER_BYTES];
    text = lower(text, text_lower);
    type = lower(type, type_lower);
    /* What LiteLLM and weir call by one name for many things is worth less than the status behind it. */
    bool is_vague = str_eq(type, STR("upstream_error")) || str_eq(type, STR("apierror"));
    for (size_t i = 0; i < COUNT(rows); i++)
        if (has_any(text, rows[i].words))
            return &rows[i].cause;
    for (size_t i = 0; i < COUNT(rows) && !is_vague; i++)
        if (begins_with_any(type, rows[i].types))
            return &rows[i].cause;
    for (size_t i = 0; i < COUNT(rows); i++)
        if (has_status(&rows[i], status))
            return &rows[i].cause;
    for (size_t i = 0; i < COUNT(rows) && is_vague; i++)
        if (begins_with_any(type, rows[i].types))
            return &rows[i].cause;
    return &unknown;
}
