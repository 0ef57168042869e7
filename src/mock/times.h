/* times.h -- the simulator's own account of its answers: when each request came and when each part of the answer was handed to the kernel. With
 * it "how long did the server take" is what it did, not only what it was told to do; instruments are held against it (weir load --self-test,
 * bench/measuring.py).
 *
 * Only of answers that were completed as asked, without faults and without a client that reads too slowly (those are counted as `left_out`). One account a
 * worker, written by that worker, read by any thread; a lock that nobody else takes meanwhile costs 20 ns. All times CLOCK_MONOTONIC, ns. */
#pragma once

#include <pthread.h>

#include "base/buf.h"
#include "mock/mock.h"

#define TIMES_GAPS_AN_ANSWER 32 /* room for gaps: so many times that for answers */

struct times_row {
    uint64_t number;         /* of the answer: its id's */
    uint64_t arrived_ns;     /* the request's last byte: the kernel's receive time, or read_ns */
    uint64_t read_ns;        /* the pass that read it began */
    uint64_t due_ns;         /* of the first token, or of the whole answer */
    uint64_t first_token_ns; /* the send that carried it was called; a whole answer's: its end */
    uint64_t last_token_ns;
    uint64_t end_ns; /* the send that carried the last byte was called */
    uint32_t tokens;
    bool stream;
};

struct times {
    pthread_mutex_t lock;
    size_t room, gap_room;
    struct times_row *rows; /* rings: the newest ones; NULL: no account is kept */
    uint64_t *gaps;
    uint64_t count, gap_count, left_out; /* ever added since the last reset */
};

void times_init(struct times *t, size_t room);
void times_fini(struct times *t);
void times_reset(struct times *t);
static inline bool times_kept(const struct times *t)
{
    return t->rows != NULL;
}
void times_add(struct times *t, const struct times_row *row);
/* Between two sends that carried tokens of one answer; 0 for tokens that went together. */
void times_gap(struct times *t, uint64_t gap_ns);
void times_leave_out(struct times *t);

/* The accounts of several workers as one. */
void times_summary(struct times *const *all, size_t count, struct mock_times *out);
/* The summary as JSON members: "answers":...,"total_ns":{...},... without braces around. */
MUST_USE bool times_write(struct buf *b, const struct mock_times *t);
/* "rows":[[arrived,read,due,first_token,last_token,end,tokens,stream],...] in order of arrival, less `base`: times since "base_ns". */
MUST_USE bool times_write_rows(struct buf *b, struct times *const *all, size_t count);
