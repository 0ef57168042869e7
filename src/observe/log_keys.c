/* log_keys.c -- the keys of three shapes of log, in one table.
 *
 * weir's come from record.def, so a new field is known here without a line. LiteLLM's are those of its
 * StandardLoggingPayload, which callbacks get and sinks write, under the names that weir's record has for the same thing.
 * Where both shapes use a name ("model", "status", "stream") they mean nearly the same; what differs is settled when the
 * line's shape is known (logline.c, settle_payload).
 *
 * Lookup is a hash of the place, the length, and the first and last letter, made once: most keys nobody asked for end at an
 * empty slot. */
#include "observe/log_keys.h"

#include <pthread.h>

#include "observe/record_names.h"

#define OF(member) (uint16_t) offsetof(struct logline, member)

#define PLACE_error  PLACE_ERROR
#define PLACE_engine PLACE_ENGINE

// clang-format off
static const struct log_key own_keys[] = {
#define F(name, kind, unit, help)                                                                  \
    {KEY_##kind(name), PLACE_TOP, TAKE_##kind, LOG_##name, 0, false, OF(r.MEMBER_##kind(name)), 0},
#define G(group)                                                                                   \
    {#group, PLACE_TOP, TAKE_OBJECT, 0, PLACE_##group, false, 0, 0},
#define N(group, name, kind, unit, help)                                                           \
    {KEY_##kind(name), PLACE_##group, TAKE_##kind, LOG_##group##_##name, 0, false,                 \
     OF(r.group.MEMBER_##kind(name)), 0},
#define G_END(group)
#include "observe/record.def"
#undef F
#undef N
#undef G
#undef G_END
};

/* LiteLLM's StandardLoggingPayload (facts: 1.81, 1.83), and json_logs. "metadata" is also a field of weir's own: this row goes first. */
static const struct log_key their_keys[] = {
    {"metadata", PLACE_TOP, TAKE_OBJECT, LOG_metadata, PLACE_METADATA, true, OF(r.metadata), 0},
    {"id", PLACE_TOP, TAKE_ASIDE, 0, 0, false, OF(id), LOG_SEEN_ID},
    {"litellm_call_id", PLACE_TOP, TAKE_STR, LOG_request_id, 0, false, OF(r.request_id), 0},
    {"startTime", PLACE_TOP, TAKE_EPOCH, 0, 0, false, OF(start_us), LOG_SEEN_START},
    {"endTime", PLACE_TOP, TAKE_EPOCH, 0, 0, false, OF(end_us), LOG_SEEN_END},
    {"completionStartTime", PLACE_TOP, TAKE_EPOCH, 0, 0, false, OF(first_token_us), LOG_SEEN_FIRST_TOKEN},
    {"custom_llm_provider", PLACE_TOP, TAKE_STR, LOG_provider, 0, false, OF(r.provider), 0},
    {"model_group", PLACE_TOP, TAKE_ASIDE, 0, 0, false, OF(group), LOG_SEEN_GROUP},
    {"request_tags", PLACE_TOP, TAKE_TAGS, 0, 0, false, OF(tags), LOG_SEEN_TAGS},
    {"model_id", PLACE_TOP, TAKE_STR, LOG_deployment, 0, false, OF(r.deployment), 0},
    {"response_cost", PLACE_TOP, TAKE_USD, LOG_cost_usd, 0, false, OF(r.cost_usd), 0},
    {"cache_hit", PLACE_TOP, TAKE_CACHE_HIT, LOG_cache, 0, false, OF(r.cache), 0},
    {"end_user", PLACE_TOP, TAKE_STR, LOG_user, 0, false, OF(r.user), 0},
    {"requester_ip_address", PLACE_TOP, TAKE_STR, LOG_client, 0, false, OF(r.client), 0},
    {"error_str", PLACE_TOP, TAKE_ASIDE, 0, 0, false, OF(error_str), LOG_SEEN_ERROR_STR},
    {"error_information", PLACE_TOP, TAKE_OBJECT, 0, PLACE_ERROR_INFORMATION, false, 0, 0},
    {"error_class", PLACE_ERROR_INFORMATION, TAKE_STR, LOG_error_type, 0, false, OF(r.error.type), 0},
    {"error_code", PLACE_ERROR_INFORMATION, TAKE_STATUS_CODE, LOG_error_provider_status, 0, false, OF(r.error.provider_status), 0},
    {"error_message", PLACE_ERROR_INFORMATION, TAKE_STR, LOG_error_message, 0, false, OF(r.error.message), 0},
    {"user_api_key_alias", PLACE_METADATA, TAKE_STR, LOG_key_alias, 0, false, OF(r.key_alias), 0},
    {"user_api_key_hash", PLACE_METADATA, TAKE_STR, LOG_key_hash, 0, false, OF(r.key_hash), 0},
    {"usage_object", PLACE_METADATA, TAKE_OBJECT, 0, PLACE_USAGE, false, 0, 0},
    {"prompt_tokens_details", PLACE_USAGE, TAKE_OBJECT, 0, PLACE_PROMPT_DETAILS, false, 0, 0},
    {"completion_tokens_details", PLACE_USAGE, TAKE_OBJECT, 0, PLACE_COMPLETION_DETAILS, false, 0, 0},
    {"cached_tokens", PLACE_PROMPT_DETAILS, TAKE_INT, LOG_cached_tokens, 0, false, OF(r.cached_tokens), 0},
    {"reasoning_tokens", PLACE_COMPLETION_DETAILS, TAKE_INT, LOG_reasoning_tokens, 0, false, OF(r.reasoning_tokens), 0},
    {"hidden_params", PLACE_TOP, TAKE_OBJECT, 0, PLACE_HIDDEN, false, 0, 0},
    {"litellm_overhead_time_ms", PLACE_HIDDEN, TAKE_MS, LOG_overhead, 0, false, OF(r.overhead_us), 0},
    {"message", PLACE_TOP, TAKE_ASIDE, 0, 0, false, OF(message), LOG_SEEN_MESSAGE},
    {"stacktrace", PLACE_TOP, TAKE_ASIDE, 0, 0, false, OF(stacktrace), LOG_SEEN_STACKTRACE},
};
// clang-format on

static const struct log_key *slots[1024];
static pthread_once_t made = PTHREAD_ONCE_INIT;

static inline size_t slot_of(enum log_place place, const char *name, size_t n)
{
    unsigned first = (unsigned char)name[0], last = (unsigned char)name[n - 1];
    return (n * 7 + first * 31 + last * 67 + (unsigned)place * 131) % COUNT(slots);
}

static void add(const struct log_key *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t slot = slot_of(keys[i].place, keys[i].name, strlen(keys[i].name));
        while (slots[slot])
            slot = (slot + 1) % COUNT(slots);
        slots[slot] = &keys[i];
    }
}

static void make_slots(void)
{
    add(their_keys, COUNT(their_keys));
    add(own_keys, COUNT(own_keys));
}

void log_keys_prepare(void)
{
    pthread_once(&made, make_slots);
}

const struct log_key *log_key_find(enum log_place place, const char *name, size_t n)
{
    if (n == 0)
        return NULL;
    for (size_t slot = slot_of(place, name, n); slots[slot]; slot = (slot + 1) % COUNT(slots)) {
        const struct log_key *k = slots[slot];
        if (k->place == place && strncmp(k->name, name, n) == 0 && k->name[n] == '\0')
            return k;
    }
    return NULL;
}
