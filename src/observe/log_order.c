#include "observe/log_order.h"

#include "observe/log_keys.h"

_Static_assert(LOG_ORDER_STEPS <= UINT8_MAX, "steps are numbered by bytes");

static unsigned find_step(const struct log_order *o, unsigned place, const char *p, size_t bytes)
{
    for (unsigned i = PLACE_COUNT; i < o->used; i++) {
        const struct log_step *s = &o->steps[i];
        if (s->place == place && s->bytes == bytes && log_step_is(s, p))
            return i;
    }
    return 0;
}

unsigned log_order_learn(struct log_order *o, unsigned at, unsigned place, const char *p,
                         size_t bytes, const struct log_key *key)
{
    if (bytes > LOG_ORDER_TEXT)
        return place;
    unsigned i = find_step(o, place, p, bytes);
    if (i == 0 && o->used == LOG_ORDER_STEPS) { /* keys without end: begin anew */
        memset(o, 0, sizeof *o);
        at = place;
    }
    if (i == 0) {
        o->used = MAX(o->used, (unsigned)PLACE_COUNT);
        i = o->used++;
        o->steps[i] =
            (struct log_step){.key = key, .bytes = (uint8_t)bytes, .place = (uint8_t)place};
        memcpy(o->steps[i].text, p, bytes);
    }
    uint8_t *next = o->steps[at].next;
    next[1] = next[0];
    next[0] = (uint8_t)i;
    return i;
}
