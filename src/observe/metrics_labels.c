/* metrics_labels.c -- labels that follow from how a request ended: outcome, status codes, LiteLLM's exception classes. Texts are static
 * or of the caller's arena. */
#include "observe/metrics_internal.h"

// clang-format off
/* LiteLLM's exception classes: of weir's own errors on the way to a provider, then of statuses
 * that providers answer. */
static const char *const class_of_error[ERR_COUNT] = {
    [ERR_UPSTREAM_RESOLVE] = "APIConnectionError",
    [ERR_UPSTREAM_CONNECT] = "APIConnectionError",
    [ERR_UPSTREAM_TLS] = "APIConnectionError",
    [ERR_UPSTREAM_PROXY] = "APIConnectionError",
    [ERR_UPSTREAM_CLOSED] = "APIConnectionError",
    [ERR_UPSTREAM_PROTOCOL] = "APIConnectionError",
    [ERR_UPSTREAM_TRUNCATED] = "APIConnectionError",
    [ERR_UPSTREAM_TIMEOUT] = "Timeout",
    [ERR_STREAM_ERROR] = "APIError",
};
static const struct {
    uint16_t status;
    const char *class;
} class_of_status[] = {
    {400, "BadRequestError"},
    {401, "AuthenticationError"},
    {403, "PermissionDeniedError"},
    {404, "NotFoundError"},
    {408, "Timeout"},
    {422, "UnprocessableEntityError"},
    {429, "RateLimitError"},
    {500, "InternalServerError"},
    {502, "BadGatewayError"},
    {503, "ServiceUnavailableError"},
};
// clang-format on

/* litellm.exceptions, and what its proxy and its clients raise besides. */
const char *const metrics_exceptions[METRICS_EXCEPTIONS_MAX] = {
    NULL,
    "APIConnectionError",
    "APIError",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadGatewayError",
    "BadRequestError",
    "BudgetExceededError",
    "CancelledError",
    "ContentPolicyViolationError",
    "ContextWindowExceededError",
    "GuardrailRaisedException",
    "HTTPException",
    "ImageFetchError",
    "InternalServerError",
    "InvalidRequestError",
    "JSONSchemaValidationError",
    "MidStreamFallbackError",
    "MockException",
    "NotFoundError",
    "OpenAIError",
    "PermissionDeniedError",
    "ProxyException",
    "RateLimitError",
    "RejectedRequestError",
    "RouterRateLimitError",
    "ServiceUnavailableError",
    "Timeout",
    "TimeoutError",
    "UnprocessableEntityError",
    "UnsupportedParamsError",
};

uint8_t metrics_exception(struct str name)
{
    for (uint8_t i = 1; i < METRICS_EXCEPTIONS_MAX && metrics_exceptions[i]; i++)
        if (str_eq(name, str_from(metrics_exceptions[i])))
            return i;
    return 0;
}

int64_t metrics_exception_status(struct str class)
{
    for (size_t i = 0; i < COUNT(class_of_status); i++)
        if (str_eq(class, str_from(class_of_status[i].class)))
            return class_of_status[i].status;
    return -1;
}

static const char *exception_of(const struct outcome *o, uint16_t status)
{
    if (o->exception)
        return metrics_exceptions[o->exception];
    if (!(o->traits & TRAIT_DEPLOYED))
        return "ProxyException";
    if (class_of_error[o->error_code])
        return class_of_error[o->error_code];
    for (size_t i = 0; i < COUNT(class_of_status); i++)
        if (class_of_status[i].status == status)
            return class_of_status[i].class;
    return "APIError";
}

static uint16_t told_status(const struct outcome *o)
{
    return o->provider_status ? o->provider_status : o->http_status;
}

/* The provider's first letter is raised, as LiteLLM prints it. */
static struct str class_text(struct arena *a, struct str provider, const struct outcome *o)
{
    const char *class = exception_of(o, told_status(o));
    if (!(o->traits & TRAIT_DEPLOYED) || str_eq(provider, NONE))
        return str_from(class);
    char first =
        provider.p[0] >= 'a' && provider.p[0] <= 'z' ? (char)(provider.p[0] - 32) : provider.p[0];
    struct str rest = str_skip(provider, 1);
    return arena_printf(a, "%c%.*s.%s", first, STR_ARG(rest), class);
}

static struct str status_text(struct arena *a, uint16_t status)
{
    return status ? arena_printf(a, "%u", status) : NONE;
}

static struct str outcome_text(const struct outcome *o)
{
    return o->traits & TRAIT_SUCCESS     ? STR("success")
           : o->traits & TRAIT_CANCELLED ? STR("cancelled")
           : o->traits & TRAIT_UNKNOWN   ? STR("unknown")
                                         : STR("failure");
}

void metrics_derive(struct arena *a, const struct outcome *o, struct str provider,
                    struct derived *out)
{
    bool failed = o->traits & TRAIT_FAILURE;
    *out = (struct derived){
        .outcome = outcome_text(o),
        .status_code = status_text(a, o->http_status),
        .exception_status = failed ? status_text(a, told_status(o)) : NONE,
        .exception_class = failed ? class_text(a, provider, o) : NONE,
    };
}
