/* outcome.c -- see outcome.h.
 *
 * The question behind each row: would the same request, sent by the same key to a gateway and a provider in good order, have been served? Then it is not the
 * client's fault. A provider's 401, 402 and 403 are about the key that the gateway's operator has there, and its 429 about that key's limits: no client of
 * the gateway can do anything about them. They count as the provider's, since that is where the operator has to go and look. A provider's 404 says that it has
 * no such model: the operator named it, unless a wildcard passed on the client's own text. */
#include "observe/outcome.h"

const char *const outcome_names[OUTCOME_COUNT] = {
    "success", "client_error", "provider_error", "gateway_error", "cancelled", "unknown",
};

/* 4xx of a provider that are not about the request. */
static bool blames_provider(int64_t status)
{
    static const int64_t statuses[] = {401, 402, 403, 407, 408, 409, 425, 429};
    for (size_t i = 0; i < COUNT(statuses); i++)
        if (status == statuses[i])
            return true;
    return status < 400 || status >= 500;
}

static enum outcome_kind of_provider_status(int64_t status, bool wildcard)
{
    if (status == 404)
        return wildcard ? OUTCOME_CLIENT_ERROR : OUTCOME_PROVIDER_ERROR;
    return blames_provider(status) ? OUTCOME_PROVIDER_ERROR : OUTCOME_CLIENT_ERROR;
}

static const enum outcome_kind of_fault[] = {
    [FAULT_NOBODY] = OUTCOME_CANCELLED,
    [FAULT_CLIENT] = OUTCOME_CLIENT_ERROR,
    [FAULT_PROVIDER] = OUTCOME_PROVIDER_ERROR,
    [FAULT_GATEWAY] = OUTCOME_GATEWAY_ERROR,
};

// clang-format off
/* LiteLLM's classes, where a status would not tell. ProxyException and HTTPException are its proxy's own: by their status. */
static const struct {
    struct str class;
    enum outcome_kind outcome;
} exceptions[] = {
    {STR("APIConnectionError"),         OUTCOME_PROVIDER_ERROR},
    {STR("APIError"),                   OUTCOME_PROVIDER_ERROR},
    {STR("APIResponseValidationError"), OUTCOME_PROVIDER_ERROR},
    {STR("APITimeoutError"),            OUTCOME_PROVIDER_ERROR},
    {STR("BadRequestError"),            OUTCOME_CLIENT_ERROR},
    {STR("BudgetExceededError"),        OUTCOME_CLIENT_ERROR},
    {STR("CancelledError"),             OUTCOME_CANCELLED},
    {STR("ContentPolicyViolationError"), OUTCOME_CLIENT_ERROR},
    {STR("ContextWindowExceededError"), OUTCOME_CLIENT_ERROR},
    {STR("GuardrailRaisedException"),   OUTCOME_CLIENT_ERROR},
    {STR("ImageFetchError"),            OUTCOME_CLIENT_ERROR},
    {STR("InvalidRequestError"),        OUTCOME_CLIENT_ERROR},
    {STR("JSONSchemaValidationError"),  OUTCOME_PROVIDER_ERROR},
    {STR("MidStreamFallbackError"),     OUTCOME_PROVIDER_ERROR},
    {STR("RejectedRequestError"),       OUTCOME_CLIENT_ERROR},
    {STR("RouterRateLimitError"),       OUTCOME_PROVIDER_ERROR}, /* all deployments rest, as in deployments_rest */
    {STR("Timeout"),                    OUTCOME_PROVIDER_ERROR},
    {STR("TimeoutError"),               OUTCOME_PROVIDER_ERROR},
    {STR("UnsupportedParamsError"),     OUTCOME_CLIENT_ERROR},
};
// clang-format on

static bool find_exception(struct str class, enum outcome_kind *out)
{
    for (size_t i = 0; i < COUNT(exceptions); i++) {
        if (!str_eq(class, exceptions[i].class))
            continue;
        *out = exceptions[i].outcome;
        return true;
    }
    return false;
}

static enum outcome_kind of_failure(const struct record *r, bool wildcard)
{
    enum outcome_kind found;
    bool own = r->error_code != ERR_NONE;
    bool reached = r->deployed || r->deployment.n || r->provider.n || r->api_base.n;
    if (own) {
        enum error_fault fault = error_info(r->error_code)->fault;
        return fault == FAULT_PROVIDER && r->error.provider_status >= 400
                   ? of_provider_status(r->error.provider_status, wildcard)
                   : of_fault[fault];
    }
    if (find_exception(r->error.type, &found))
        return found;
    int64_t status = MAX(r->error.provider_status, r->http_status);
    if (status >= 400 && status < 500)
        return reached ? of_provider_status(status, wildcard) : OUTCOME_CLIENT_ERROR;
    return reached ? OUTCOME_PROVIDER_ERROR : OUTCOME_GATEWAY_ERROR;
}

enum outcome_kind outcome_of_record(const struct record *r, bool wildcard)
{
    if (str_eq(r->status, STR("success")))
        return OUTCOME_SUCCESS;
    if (str_eq(r->status, STR("cancelled")))
        return OUTCOME_CANCELLED;
    if (str_eq(r->status, STR("unknown")))
        return OUTCOME_UNKNOWN;
    return of_failure(r, wildcard);
}
