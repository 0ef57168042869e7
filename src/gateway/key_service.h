/* key_service.h -- virtual keys as the gateway has them: the table, the database, the spend file, and the one thread that changes all three.
 *
 * The keys thread may wait for a disk: so neither /metrics nor the road ever does. It is started with the workers where there is a master key, and answers
 * /key/... (key_admin.c). Lifetimes: control makes and frees the service; between, only the functions marked otherwise are its. */
#pragma once

#include <pthread.h>

#include "config/config.h"
#include "gateway/key_store.h"
#include "gateway/keys.h"
#include "net/loop.h"
#include "observe/metrics.h"

struct key_service {
    struct keys *table;
    struct loop *loop; /* the keys thread's */

    struct key_spend *proxy; /* atomic: key_service_proxy */
    bool has_database;       /* atomic: key_service_has_database */

    /* Private to the keys thread (and control, before and after it). */
    struct spend_file *spend;
    struct key_store *store; /* NULL: not open, and `closed` says why */
    bool has_master; /* a master key: else everything is open, and no virtual key means anything */
    char master_hash[KEY_HASH_BYTES];
    char proxy_hash[KEY_HASH_BYTES]; /* the row of `proxy` in the database */
    char closed[512];
    char path[4096];         /* "": no keys by the API */
    char spend_folder[4096]; /* log_ring_dir; "": chosen by itself */
    struct timer flush;
    pthread_t thread;
    bool started, save_failed, load_failed;
    bool behind; /* the database has changes that could not be read yet */
};

/* Opens what there is to open and publishes all keys. `readers` threads will look at the table. NULL with a sentence in `e`: keys that exist could not be
 * read, or weir_settings.key_file was given and cannot be used. [control] */
struct key_service *key_service_new(const struct config *c, int readers, struct err *e);
MUST_USE bool key_service_start(struct key_service *s, struct err *e); /* [control] */
/* Ends the thread; jobs on their way to it are answered. [control] */
void key_service_stop(struct key_service *s);
/* Saves what was spent. After the last request ended and every reader put its keys back. NULL is fine. [control] */
void key_service_free(struct key_service *s);

/* The keys of another configuration's weir_settings.keys replace those of the one before, and so does litellm_settings.max_budget; counters go on. [keys
 * thread, or before it runs] */
void key_service_configure(struct key_service *s, const struct config *c);
/* Has the keys thread do the same; takes a reference to the snapshot for as long. done(arg) is called there when the keys are in force. [control] */
void key_service_reload(struct key_service *s, struct config *c, void (*done)(void *arg),
                        void *arg);

/* What all requests together spent (litellm_settings.max_budget; struct config has its facts as proxy); NULL: no configuration so far had such a
 * budget. Kept as a key's spending is. [any thread] */
static inline struct key_spend *key_service_proxy(const struct key_service *s)
{
    return __atomic_load_n(&s->proxy, __ATOMIC_ACQUIRE);
}

/* Is the database open? [any thread] */
static inline bool key_service_has_database(const struct key_service *s)
{
    return __atomic_load_n(&s->has_database, __ATOMIC_ACQUIRE);
}

/* What /metrics shows of the keys that have a budget or a limit, `most` of them: the newest. [the thread whose reader's number this is] */
struct key_numbers {
    struct metrics_key *rows;
    size_t row_count;
    const struct key **keys;
    size_t key_count;
};
void key_service_numbers(struct key_service *s, int reader, size_t most, struct key_numbers *out);
void key_numbers_fini(struct key_numbers *n);

/* Opens the database now if it is not open; false: `e` says why that cannot be. [keys thread] */
MUST_USE bool key_service_open(struct key_service *s, struct err *e);
/* The numbers of a new key. NULL: the disk is full. [keys thread] */
struct key_spend *key_service_take_spend(struct key_service *s, const struct key_facts *f,
                                         struct err *e);
