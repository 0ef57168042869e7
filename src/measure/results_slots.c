/* results_slots.c -- a run by the clock: how much began, ended, failed and arrived in each slot of time, and in the window. */
#include <math.h>

#include "base/mem.h"
#include "measure/results_internal.h"

static void slot_merge(struct results_second *into, const struct results_second *from)
{
    into->begun += from->begun;
    into->ended += from->ended;
    into->failed += from->failed;
    into->chunks += from->chunks;
    histogram_merge(&into->latency, &from->latency);
    histogram_merge(&into->response, &from->response);
    histogram_merge(&into->ttft, &from->ttft);
}

static void slot_fini(struct results_second *s)
{
    histogram_fini(&s->latency);
    histogram_fini(&s->response);
    histogram_fini(&s->ttft);
}

/* Two slots become one of twice the length. */
static void halve(struct results *r)
{
    for (size_t i = 0; i < r->second_count; i++) {
        struct results_second moved = r->seconds[i];
        r->seconds[i] = (struct results_second){0};
        if (i % 2 == 0) {
            r->seconds[i / 2] = moved;
        } else {
            slot_merge(&r->seconds[i / 2], &moved);
            slot_fini(&moved);
        }
    }
    r->second_count = (r->second_count + 1) / 2;
    r->second_ns *= 2;
}

/* The slot of a moment; the first for what was before the origin. Pointers to others are void then. */
static struct results_second *slot_at(struct results *r, uint64_t at_ns)
{
    uint64_t since = at_ns - MIN(r->origin_ns, at_ns), slot;
    while ((slot = since / r->second_ns) >= RESULTS_SLOTS_MAX)
        halve(r);
    if (UNLIKELY(slot >= r->second_room)) {
        size_t room = MIN(MAX((size_t)slot + 1, MAX(r->second_room * 2, (size_t)64)),
                          (size_t)RESULTS_SLOTS_MAX);
        r->seconds = mem_realloc(r->seconds, room * sizeof *r->seconds);
        memset(r->seconds + r->second_room, 0, (room - r->second_room) * sizeof *r->seconds);
        r->second_room = room;
    }
    r->second_count = MAX(r->second_count, (size_t)slot + 1);
    return &r->seconds[slot];
}

/* What is due in the warm-up counts where it reaches into a window that was set. */
static bool may_count(const struct results *r, const struct sample *s)
{
    return !s->warm_up || r->window_from_ns > r->origin_ns;
}

static bool in_window(const struct results *r, uint64_t at_ns)
{
    return at_ns >= r->window_from_ns && at_ns < r->window_to_ns;
}

/* Chunks by arrival. Those whose gaps were not kept are spread evenly up to the last token. */
static uint64_t take_chunks(struct results *r, const struct sample *s)
{
    uint64_t at = s->first_token_ns, inside = 0, kept = MIN(s->gap_count + 1, s->chunks);
    uint64_t from = 0, to = 0; /* of the slot at hand */
    struct results_second *slot = NULL;
    double step = 0, beyond = 0;
    for (uint64_t i = 0; i < s->chunks; i++) {
        if (i == kept) {
            beyond = (double)at;
            step = ((double)s->last_token_ns - beyond) / (double)(s->chunks - kept);
        }
        if (i >= kept)
            at = (uint64_t)(beyond += step);
        else if (i)
            at += s->gaps_ns[i - 1];
        if (!slot || at < from || at >= to) {
            slot = slot_at(r, at);
            from = r->origin_ns + (uint64_t)(slot - r->seconds) * r->second_ns;
            to = from + r->second_ns;
        }
        slot->chunks++;
        inside += in_window(r, at);
    }
    return inside;
}

static uint64_t take_tokens(struct results *r, const struct sample *s)
{
    double tokens = s->completion_tokens > 0 ? (double)s->completion_tokens : 0;
    if (s->chunks == 0 || s->first_token_ns == 0)
        return s->outcome == OUTCOME_OK && in_window(r, s->end_ns) ? (uint64_t)tokens : 0;
    uint64_t inside = take_chunks(r, s);
    return tokens > 0 ? (uint64_t)llround(tokens * (double)inside / s->chunks) : inside;
}

uint64_t slots_take(struct results *r, const struct sample *s)
{
    uint64_t from = MAX(s->start_ns, r->window_from_ns), to = MIN(s->end_ns, r->window_to_ns);
    struct results_second *slot;
    if (s->outcome == OUTCOME_DROPPED) {
        slot_at(r, s->due_ns)->failed++;
        return 0;
    }
    slot_at(r, s->start_ns)->begun++;
    slot = slot_at(r, s->end_ns);
    slot->ended++;
    slot->failed += s->outcome != OUTCOME_OK && s->outcome != OUTCOME_CANCELLED;
    if (s->outcome == OUTCOME_OK && s->sent_first_ns && s->end_ns >= s->sent_first_ns)
        histogram_add(&slot->latency, s->end_ns - s->sent_first_ns);
    if (s->outcome == OUTCOME_OK && s->due_ns && s->end_ns >= s->due_ns)
        histogram_add(&slot->response, s->end_ns - s->due_ns);
    if (s->outcome == OUTCOME_OK && s->sent_first_ns && s->first_token_ns >= s->sent_first_ns)
        histogram_add(&slot->ttft, s->first_token_ns - s->sent_first_ns);
    r->in_flight_ns += may_count(r, s) && to > from ? (double)(to - from) : 0;
    uint64_t tokens = take_tokens(r, s);
    return may_count(r, s) ? tokens : 0;
}

void slots_merge(struct results *into, const struct results *from)
{
    while (into->second_ns < from->second_ns)
        halve(into);
    for (size_t i = 0; i < from->second_count; i++)
        slot_merge(slot_at(into, into->origin_ns + i * from->second_ns), &from->seconds[i]);
}

void slots_seal(struct results *r)
{
    uint64_t begun = 0, ended = 0;
    for (size_t i = 0; i < r->second_count; i++) {
        begun += r->seconds[i].begun;
        ended += r->seconds[i].ended;
        r->seconds[i].in_flight = (uint32_t)(begun - MIN(ended, begun));
    }
}

void slots_fini(struct results *r)
{
    for (size_t i = 0; i < r->second_count; i++)
        slot_fini(&r->seconds[i]);
    mem_free(r->seconds);
}
