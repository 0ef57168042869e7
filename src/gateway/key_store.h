/* key_store.h -- the keys of the API, and all keys' spending, in an SQLite file. The road never looks at it.
 *
 * Everything: [one thread at a time: control while starting and ending, the keys thread between]. A function that fails leaves the database as it was,
 * with a sentence in `e` that names the file. */
#pragma once

#include "base/buf.h"
#include "config/key_facts.h"
#include "gateway/key_spend.h"

struct key_store;

/* Opens the file, or makes it (mode 0600), and brings an older schema up to date. NULL: `e` says why and what to do. */
struct key_store *key_store_open(const char *path, struct err *e);
void key_store_close(struct key_store *s); /* NULL is fine */

/* Calls `each` with every key; the facts' texts are valid during the call. */
MUST_USE bool key_store_load(struct key_store *s,
                             void (*each)(void *arg, const struct key_facts *facts), void *arg,
                             struct err *e);
/* What the database has of a key's spending; false: nothing. */
bool key_store_spent(struct key_store *s, const char hash_hex[KEY_HASH_BYTES],
                     struct spend_numbers *out);

/* Did another process write since the last call? */
bool key_store_changed(struct key_store *s);

/* Each is one transaction, and durable when it returns: a crash of the machine does not undo it. */
/* Writes a key with its spending; `instead_of` (may be NULL) is taken out. */
MUST_USE bool key_store_write(struct key_store *s, const struct key_facts *facts,
                              const struct spend_numbers *spent, const char *instead_of,
                              struct err *e);
MUST_USE bool key_store_delete(struct key_store *s, const char (*hashes)[KEY_HASH_BYTES],
                               size_t count, struct err *e);

/* Spending of many keys, one transaction. Not `durable`: a crash of the machine may undo it. */
struct key_spent {
    char hash_hex[KEY_HASH_BYTES];
    struct spend_numbers numbers;
};
MUST_USE bool key_store_save_spent(struct key_store *s, const struct key_spent *spent, size_t count,
                                   bool durable, struct err *e);
