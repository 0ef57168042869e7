/* tally.c -- what the simulated provider was asked, counted by model and status. */
#include "mock/tally.h"

static const char *const counter_names[TALLY_NAMED_COUNT] = {
    [TALLY_REQUESTS] = "requests",
    [TALLY_STREAMS] = "streams",
    [TALLY_COMPLETED] = "completed",
    [TALLY_CANCELLED] = "cancelled",
    [TALLY_CUT] = "cut",
    [TALLY_STREAM_ERRORS] = "stream_errors",
    [TALLY_PROMPT_TOKENS] = "prompt_tokens",
    [TALLY_COMPLETION_TOKENS] = "completion_tokens",
    [TALLY_CACHED_TOKENS] = "cached_tokens",
    [TALLY_REASONING_TOKENS] = "reasoning_tokens",
    [TALLY_SLOW] = "slow",
    [TALLY_SENT_TOKENS] = "sent_tokens",
    [TALLY_PARTIAL_TOKENS] = "partial_tokens",
    [TALLY_IN_FLIGHT] = "in_flight",
};

struct tally_slot *tally_slot(struct tally *t, struct str model)
{
    uint32_t i = 0;
    while (i < t->slot_count && !str_eq(t->slots[i]->model, model))
        i++;
    if (i < t->slot_count)
        return t->slots[i];
    if (t->slot_count >= TALLY_MODELS_MAX && !str_eq(model, STR("other")))
        return tally_slot(t, STR("other"));
    struct tally_slot *s = mem_alloc(sizeof *s);
    s->model = (struct str){mem_strdup(model), model.n};
    t->slots[t->slot_count] = s;
    __atomic_store_n(&t->slot_count, t->slot_count + 1, __ATOMIC_RELEASE);
    return s;
}

void tally_cancel(struct tally_slot *s, uint64_t arrived_ns, uint64_t now_ns)
{
    __atomic_store_n(&s->last_cancel_after_ns, now_ns - arrived_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&s->last_cancel_ns, now_ns, __ATOMIC_RELAXED);
    tally_add(s, TALLY_CANCELLED, 1);
}

static void take_newer_cancel(struct tally_slot *into, const struct tally_slot *from)
{
    uint64_t when_ns = __atomic_load_n(&from->last_cancel_ns, __ATOMIC_RELAXED);
    if (when_ns <= into->last_cancel_ns)
        return;
    into->last_cancel_ns = when_ns;
    into->last_cancel_after_ns = __atomic_load_n(&from->last_cancel_after_ns, __ATOMIC_RELAXED);
}

void tally_merge(struct tally *into, const struct tally *from)
{
    uint32_t n = __atomic_load_n(&from->slot_count, __ATOMIC_ACQUIRE);
    into->accepted += COUNTER_GET(from->accepted);
    into->turned_away += COUNTER_GET(from->turned_away);
    for (uint32_t i = 0; i < n; i++) {
        struct tally_slot *s = tally_slot(into, from->slots[i]->model);
        for (int c = 0; c < TALLY_COUNTER_COUNT; c++)
            s->counts[c] += COUNTER_GET(from->slots[i]->counts[c]);
        take_newer_cancel(s, from->slots[i]);
    }
}

static bool write_counts(struct buf *b, const struct tally_slot *s)
{
    const uint64_t *counts = s->counts;
    bool ok = true;
    for (int c = 0; c < TALLY_NAMED_COUNT; c++)
        ok = ok && buf_printf(b, "\"%s\":%llu,", counter_names[c], (unsigned long long)counts[c]);
    if (s->last_cancel_ns)
        ok = ok && buf_printf(b, "\"last_cancel_ns\":%llu,\"last_cancel_after_ms\":%.3f,",
                              (unsigned long long)s->last_cancel_ns,
                              (double)s->last_cancel_after_ns / 1e6);
    const char *comma = "";
    ok = ok && buf_append_str(b, STR("\"status\":{"));
    for (int status = TALLY_STATUS_MIN; ok && status <= TALLY_STATUS_MAX; status++) {
        uint64_t n = counts[TALLY_STATUS + status];
        if (!n)
            continue;
        ok = buf_printf(b, "%s\"%d\":%llu", comma, status, (unsigned long long)n);
        comma = ",";
    }
    comma = "";
    ok = ok && buf_append_str(b, STR("},\"faults\":{"));
    for (int knob = 0; ok && knob < SIM_KNOB_COUNT; knob++) {
        uint64_t n = counts[TALLY_FAULT + knob];
        if (!n)
            continue;
        ok = buf_printf(b, "%s\"%.*s\":%llu", comma, STR_ARG(sim_knob_name((enum sim_knob)knob)),
                        (unsigned long long)n);
        comma = ",";
    }
    return ok && buf_append_str(b, STR("}"));
}

static uint64_t in_flight(const uint64_t *counts)
{
    return counts[TALLY_REQUESTS] - counts[TALLY_COMPLETED] - counts[TALLY_CANCELLED] -
           counts[TALLY_CUT] - counts[TALLY_STREAM_ERRORS];
}

bool tally_write(struct buf *b, struct tally *now, struct tally *base)
{
    struct tally_slot totals = {0};
    for (uint32_t i = 0; i < now->slot_count; i++) {
        const struct tally_slot *before = tally_slot(base, now->slots[i]->model);
        /* Before the base is taken off: what a reset found in flight still is, or ended since. */
        now->slots[i]->counts[TALLY_IN_FLIGHT] = in_flight(now->slots[i]->counts);
        for (int c = 0; c < TALLY_COUNTER_COUNT; c++) {
            now->slots[i]->counts[c] -= before->counts[c];
            totals.counts[c] += now->slots[i]->counts[c];
        }
        take_newer_cancel(&totals, now->slots[i]);
    }
    bool ok = write_counts(b, &totals) &&
              buf_printf(b, ",\"connections\":{\"accepted\":%llu,\"turned_away\":%llu}",
                         (unsigned long long)(now->accepted - base->accepted),
                         (unsigned long long)(now->turned_away - base->turned_away));
    ok = ok && buf_append_str(b, STR(",\"models\":{"));
    bool first = true;
    for (uint32_t i = 0; ok && i < now->slot_count; i++) {
        const struct tally_slot *s = now->slots[i];
        if (!s->counts[TALLY_REQUESTS] && !s->counts[TALLY_IN_FLIGHT])
            continue;
        ok = buf_printf(b, "%s\"%.*s\":{", first ? "" : ",", STR_ARG(s->model)) &&
             write_counts(b, s) && buf_append_str(b, STR("}"));
        first = false;
    }
    return ok && buf_append_str(b, STR("}"));
}

void tally_fini(struct tally *t)
{
    for (uint32_t i = 0; i < t->slot_count; i++) {
        mem_free((char *)t->slots[i]->model.p);
        mem_free(t->slots[i]);
    }
    *t = (struct tally){0};
}
