/* key_spend.h -- what each key has spent, exact across threads and crashes.
 *
 * The numbers lie in a file that is mapped shared: its pages belong to the kernel, so they outlive SIGKILL, as the log's rings do, and like those it is
 * on tmpfs where there is one, since a store to a page of a disk's file may wait for the disk. The keys thread carries the numbers into the
 * database every few seconds (key_service.c); that copy outlives the machine. Which of the two is newer can be told
 * from the numbers themselves, since `total_pico` only ever grows: so nothing is counted twice, whatever died when.
 *
 * spend_file_*, key_spend_take, _drop and _set: [keys thread, or before it runs]. All else: [any thread], without lock, disk or system call. */
#pragma once

#include "config/key_facts.h"

#define PICO_USD_PER_USD 1000000000000ll

struct spend_file;
struct key_spend; /* one key's; struct key_use holds it */

/* What is kept of a key's spending. Spent in the budget window = total - base. */
struct spend_numbers {
    int64_t total_pico;    /* 1e-12 USD since the key was made */
    int64_t base_pico;     /* total_pico when the window began */
    int64_t window_end_us; /* 0: the budget is never reset */
    int64_t set_us; /* when base and end were set last: of two copies, the later one's stand */
};

/* Opens the file or makes it; `path` NULL: the numbers live in memory only. NULL with a sentence in `e`. */
struct spend_file *spend_file_open(const char *path, struct err *e);
/* All keys there are have been taken: numbers of others are wiped, but for those that `keep` (the second form) wants kept. */
void spend_file_loaded(struct spend_file *f);
void spend_file_loaded_keeping(struct spend_file *f,
                               bool (*keep)(void *arg, const char hash_hex[KEY_HASH_BYTES]),
                               void *arg);
void spend_file_free(struct spend_file *f); /* every key_spend must have been released */
/* The same, and removes the file, unless another process has it: all it holds is in the database. */
void spend_file_remove(struct spend_file *f);

/* The numbers of a key: the file's, or `stored` where those are newer (NULL: none are). NULL: there was no room, or another process took it. */
struct key_spend *key_spend_take(struct spend_file *f, const struct key_facts *facts,
                                 const struct spend_numbers *stored, int64_t now_us);
/* Makes room for one more key. False with a sentence in `e`: the disk is full. */
MUST_USE bool spend_file_room(struct spend_file *f, struct err *e);
/* The key was deleted: its numbers are not found again, though requests may still add to them. */
void key_spend_drop(struct key_spend *s);
/* Sets what was spent in this window, or begins a window of the facts' duration where there was none or another one. */
void key_spend_set(struct key_spend *s, double spent_usd, int64_t now_us);
void key_spend_window(struct key_spend *s, const struct key_facts *facts, int64_t now_us);
/* For the database: the numbers now; true if they are others than those it has. */
bool key_spend_changed(struct key_spend *s, struct spend_numbers *out);
void key_spend_saved(struct key_spend *s, const struct spend_numbers *n); /* it has these */

/* Nobody uses it any more. */
void key_spend_release(struct key_spend *s);
/* May this key spend no more? LiteLLM's rule: spent >= max_budget. *spent_usd (may be NULL) gets what was spent in this window. */
bool key_spend_over(struct key_spend *s, const struct key_facts *facts, int64_t now_us,
                    double *spent_usd);
/* Adds what a request cost, in 1e-12 USD. */
void key_spend_add(struct key_spend *s, const struct key_facts *facts, int64_t pico_usd,
                   int64_t now_us);
double key_spend_usd(struct key_spend *s, const struct key_facts *facts, int64_t now_us);
/* When the window ends that `now_us` lies in; 0: never. */
int64_t key_spend_reset_us(const struct key_spend *s, const struct key_facts *facts,
                           int64_t now_us);
