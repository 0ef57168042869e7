/* key_facts.h -- what is known of one virtual key, wherever it came from: the configuration (key_list.c), the API, the database.
 *
 * The key itself is in none of this: only its SHA-256 is kept, and the last four characters, by which people tell keys apart. Texts are
 * empty where nothing was given. */
#pragma once

#include "base/duration.h"
#include "base/mem.h"

#define KEY_NAME_FROM_BYTES 20 /* a shorter key's name shows nothing of it */
#define KEY_HASH_BYTES      64 /* SHA-256 of the whole key in lower-case hex, no NUL */

struct key_facts {
    char hash_hex[KEY_HASH_BYTES];
    struct str name;  /* "sk-...wxyz" */
    struct str alias; /* unique where given */
    struct str user_id, team_id;
    const struct str *models; /* none: all; '*' stands for any run of characters */
    int model_count;
    bool blocked, from_config;
    int64_t created_us, updated_us;                      /* since 1970, as all moments here */
    int64_t expires_us;                                  /* 0: never */
    int64_t rpm_limit, tpm_limit, max_parallel_requests; /* negative: no limit */
    double max_budget_usd;                               /* negative: none */
    struct str budget_duration_text;                     /* "30d"; "": the budget is never reset */
    struct duration budget_duration;
    int64_t budget_began_us;  /* budget windows are counted from here */
    struct str metadata_json; /* an object */
};

/* key_list.c; all: [any thread] */
void key_sha256(struct str key, char hex[KEY_HASH_BYTES]);
bool key_hash_ok(struct str hex);                     /* could it be one? */
struct str key_name(struct arena *a, struct str key); /* "sk-...wxyz" */
