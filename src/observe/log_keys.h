/* log_keys.h -- which key of which object is which field: for the walker of logline.c. Private to src/observe's reader. */
#pragma once

#include "observe/logline.h"

/* What a line was seen to hold, beside found fields: struct logline.seen. */
#define LOG_SEEN_UNZONED     UINT64_C(1)    /* the stamp has no zone */
#define LOG_SEEN_START       UINT64_C(2)    /* LiteLLM's startTime */
#define LOG_SEEN_END         UINT64_C(4)    /* endTime */
#define LOG_SEEN_FIRST_TOKEN UINT64_C(8)    /* completionStartTime */
#define LOG_SEEN_GROUP       UINT64_C(16)   /* model_group */
#define LOG_SEEN_MESSAGE     UINT64_C(32)   /* message at the top: json_logs */
#define LOG_SEEN_EMPTY       UINT64_C(64)   /* some text is "" */
#define LOG_SEEN_TAGS        UINT64_C(128)  /* request_tags */
#define LOG_SEEN_STACKTRACE  UINT64_C(256)  /* json_logs' stacktrace */
#define LOG_SEEN_ID          UINT64_C(512)  /* LiteLLM's id */
#define LOG_SEEN_ERROR_STR   UINT64_C(1024) /* error_str */

/* The objects whose keys mean something. */
enum log_place {
    PLACE_TOP,
    PLACE_ERROR,
    PLACE_ENGINE,
    PLACE_METADATA,
    PLACE_ERROR_INFORMATION,
    PLACE_HIDDEN,
    PLACE_USAGE,
    PLACE_PROMPT_DETAILS,
    PLACE_COMPLETION_DETAILS,
    PLACE_COUNT
};

/* How a value is taken. The first ones are record.def's kinds. */
enum log_take {
    TAKE_TIME,
    TAKE_STR,
    TAKE_INT,
    TAKE_MS,
    TAKE_USD,
    TAKE_RATE,
    TAKE_BOOL,
    TAKE_RAW,
    TAKE_EPOCH,       /* seconds since 1970, into a member of struct logline */
    TAKE_ASIDE,       /* a string, into a member of struct logline; STR_NONE when it is none */
    TAKE_TAGS,        /* request_tags, as they lie */
    TAKE_CACHE_HIT,   /* true: "hit", false: "miss" */
    TAKE_STATUS_CODE, /* a number, or a string of one */
    TAKE_OBJECT,      /* its keys mean something, too */
};

struct log_key {
    const char *name;
    uint8_t place, take, field, inside; /* inside: the place, for TAKE_OBJECT */
    bool keep;                          /* TAKE_OBJECT: the whole of it is `field`, too */
    uint16_t offset;                    /* of the member in struct logline */
    uint64_t seen;                      /* bits for struct logline.seen */
};

/* NULL: nobody asked for it. [any thread] */
const struct log_key *log_key_find(enum log_place place, const char *name, size_t n);
/* Once, before the first line. [any thread] */
void log_keys_prepare(void);
