/* job_internal.h -- a job from the inside, for job.c (what the answer is, and playing it) and fault.c (spoiling it). */
#pragma once

#include "mock/job.h"

enum job_phase {
    JOB_ERROR,
    JOB_WHOLE,
    JOB_STREAM,
    JOB_STREAMING,
    JOB_STALLED,   /* until the client leaves */
    JOB_DRIBBLING, /* fault.c: `raw` goes out byte by byte */
    JOB_RESETTING  /* fault.c: a reset follows what was sent, when that has had time to arrive */
};

struct job {
    enum job_phase phase;
    int status;
    struct mock_worker *worker;
    struct http_conn *conn;
    struct timer timer;
    struct tally_slot *slot;
    struct sim_knobs knobs;
    struct sim_schedule schedule;
    struct answer answer;
    uint64_t arrived_ns;
    bool timed; /* the account is kept of this answer: `row` */
    struct times_row row;
    uint32_t sent;             /* tokens a choice, of a stream */
    struct buf made;           /* an answer made at intake (embeddings) */
    struct buf raw;            /* fault.c: a whole answer as bytes, head and framing included */
    size_t raw_head, raw_sent; /* of its bytes: those of the head; those sent */
    struct arena arena;        /* a tool call's name and arguments */
    char why[160];             /* an error's sentence; "": the status's own */
    char model[ANSWER_MODEL_BYTES_MAX];
    struct answer_frames frames; /* of a stream; last: it stays unwritten for others */
};

/* ---- job.c ---- */
/* Room for `bytes` in the worker's buffer, emptied; NULL when there is no memory for it. */
char *job_text_room(struct mock_worker *w, size_t bytes);
/* The answer as one JSON text, in the worker's buffer or the job's. Empty: no memory. */
struct str job_whole_text(struct job *j);
/* The answer's tokens, as those of a completed one. */
void job_count_usage(const struct job *j);
/* The answer ended before it was complete: counted, and the job is gone. */
void job_end_partial(struct job *j, enum tally_counter how);
/* The answer is complete: counted, ended, and the job is gone. */
void job_end(struct job *j);

/* ---- fault.c ---- */
/* Answers as a fault says, if one is set that replaces the answer or its bytes. False: none is. */
bool fault_play(struct job *j);
/* The timer of JOB_DRIBBLING and JOB_RESETTING. */
void fault_go_on(struct job *j);
/* A reset soon, in the middle of the answer. */
void fault_reset_soon(struct job *j);
void fault_count(struct job *j, enum sim_knob fault);
