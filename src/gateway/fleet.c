/* fleet.c -- deployments' states: counting failures, sending to rest, half-open probes, speed.
 *
 * When does a deployment rest? (docs/routing.md tells it to users; LiteLLM's rules and what is wrong with them: docs/compatibility.md)
 *   - more than allowed_fails failures in a row (or of one class, by allowed_fails_policy);
 *   - not alone in its group, and more than half of at least RATE_ATTEMPTS_MIN attempts of this minute failed;
 *   - not alone, and the failure says that the next request will fail too: 401, 403, 404, 429;
 *   - alone, and a 429 asks for a longer wait than a request makes (Retry-After; FLEET_WAITED_FOR_MS).
 * It rests for its cooldown_time, else the provider's Retry-After, else router_settings.cooldown_time; twice as long each time that the request that tried
 * it afterwards failed again, up to REST_MAX_MS. So what is dead costs few requests a delay, and what came back is found soon.
 *
 * All counters are relaxed atomics. A race can only make two workers count at the same time, and both counts arrive; sending to rest is a
 * compare-and-swap, so it is counted once. */
#include "gateway/fleet.h"

#include "base/map.h"
#include "base/mem.h"

#define RATE_ATTEMPTS_MIN  5
#define REST_MAX_MS        60000
#define RETRY_AFTER_MAX_MS 600000
#define TRYING_MAX_NS                                                                              \
    (600 * NS_PER_S) /* then another may try: the one that does may be a long answer */
#define DECAY 0.2    /* share of a new measurement: about the last ten count */

#define GET(p)    __atomic_load_n(&(p), __ATOMIC_RELAXED)
#define SET(p, v) __atomic_store_n(&(p), (v), __ATOMIC_RELAXED)

struct fleet {
    struct deployment_state *states;
    struct map by_id;
};

struct fleet *fleet_new(void)
{
    struct fleet *f = mem_alloc(sizeof *f);
    map_init(&f->by_id);
    return f;
}

void fleet_free(struct fleet *f)
{
    for (struct deployment_state *s; f && (s = f->states);) {
        f->states = s->next;
        mem_free((char *)s->model_id.p);
        free(s); /* aligned_alloc's */
    }
    if (f)
        map_fini(&f->by_id);
    mem_free(f);
}

struct deployment_state *fleet_state(struct fleet *f, struct str model_id)
{
    struct deployment_state *s = map_get(&f->by_id, model_id);
    if (s)
        return s;
    s = aligned_alloc(128, sizeof *s);
    ENSURE(s);
    memset(s, 0, sizeof *s);
    s->model_id = (struct str){mem_strdup(model_id), model_id.n};
    s->hash = str_hash(model_id);
    s->next = f->states;
    f->states = s;
    map_put(&f->by_id, s->model_id, s);
    return s;
}

/* ---- rest: one word, so that each change is one compare-and-swap ----
 *
 *     0            in rotation
 *     even: time   rests until then; from then on half open
 *     odd: time    somebody tries it; a lease until then, in case that nothing is ever heard of it */

#define LEASE     1u
#define HALF_OPEN 2u /* a time long past */

static uint64_t until_ns(uint64_t rest)
{
    return rest & ~(uint64_t)LEASE;
}

static bool swap_rest(struct deployment_state *s, uint64_t from, uint64_t to)
{
    return __atomic_compare_exchange_n(&s->rest, &from, to, false, __ATOMIC_RELAXED,
                                       __ATOMIC_RELAXED);
}

enum rest fleet_rest(const struct deployment_state *s, uint64_t now_ns)
{
    uint64_t rest = GET(s->rest);
    if (!rest)
        return REST_NOT;
    return until_ns(rest) > now_ns ? REST_RESTS : REST_HALF_OPEN;
}

uint64_t fleet_rest_left_ns(const struct deployment_state *s, uint64_t now_ns)
{
    uint64_t rest = GET(s->rest);
    if (until_ns(rest) <= now_ns)
        return 0;
    return rest & LEASE ? NS_PER_S : until_ns(rest) - now_ns; /* a trial ends when it ends */
}

bool fleet_try(struct deployment_state *s, uint64_t now_ns)
{
    uint64_t rest = GET(s->rest);
    return rest && until_ns(rest) <= now_ns &&
           swap_rest(s, rest, until_ns(now_ns + TRYING_MAX_NS) | LEASE);
}

/* A trial has ended. */
static void end_lease(struct deployment_state *s, uint64_t rest_after)
{
    uint64_t rest = GET(s->rest);
    if (rest & LEASE)
        (void)swap_rest(s, rest, rest_after); /* lost: somebody else ended it */
}

void fleet_untried(struct deployment_state *s)
{
    end_lease(s, HALF_OPEN);
}

void fleet_alive(struct deployment_state *s)
{
    end_lease(s, 0);
}

/* ---- this minute: 24 bits of minute, 20 of attempts, 20 of failures ---- */

static uint64_t minute_of(uint64_t now_ns)
{
    return (now_ns / (60 * NS_PER_S) & 0xffffff) << 40;
}

#define COUNT_MASK 0xfffffu

/* Counts an attempt; returns the minute's counts with it. */
static uint64_t count_attempt(struct deployment_state *s, bool failed, uint64_t now_ns)
{
    uint64_t old = GET(s->minute), now = minute_of(now_ns), new;
    do {
        new = now >> 40 > old >> 40 ? now : old;    /* a worker's clock may be a moment late */
        if ((new >> 20 & COUNT_MASK) == COUNT_MASK) /* full: halved, the share stays */
            new =
                new >> 40 << 40 | (new >> 21 & COUNT_MASK / 2) << 20 | (new >> 1 & COUNT_MASK / 2);
        new += (1u << 20) + failed;
    } while (!__atomic_compare_exchange_n(&s->minute, &old, new, true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return new;
}

static bool mostly_fails(uint64_t minute)
{
    uint64_t attempts = minute >> 20 & COUNT_MASK, failures = minute & COUNT_MASK;
    return attempts >= RATE_ATTEMPTS_MIN && failures * 2 > attempts;
}

/* ---- speed ---- */

static void blend(uint64_t *average_us, int64_t sample_us)
{
    uint64_t old = GET(*average_us), new;
    if (sample_us < 0)
        return;
    do {
        new = old ? (uint64_t)((double)old + DECAY * ((double)sample_us - (double)old))
                  : (uint64_t)sample_us;
        new = MAX(new, 1u);
    } while (!__atomic_compare_exchange_n(average_us, &old, new, true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
}

static void measure(struct deployment_state *s, int64_t ttft_us, int64_t token_us, uint64_t now_ns)
{
    if (ttft_us >= 0) {
        blend(&s->ttft_us, ttft_us);
        blend(&s->token_us, token_us);
        SET(s->measured_ns, now_ns);
    } else if (token_us >= 0) {
        blend(&s->plain_token_us, token_us);
        SET(s->plain_measured_ns, now_ns);
    }
}

/* Written only where it changes: the line stays shared between the cores. */
static void clear(uint32_t *count)
{
    if (GET(*count))
        SET(*count, 0);
}

void fleet_succeeded(struct deployment_state *s, int64_t ttft_us, int64_t token_us, uint64_t now_ns)
{
    fleet_alive(s);
    clear(&s->fails_in_row);
    clear(&s->rests_in_row);
    for (int i = 0; i < FAILURE_CLASS_COUNT; i++)
        clear(&s->class_fails[i]);
    (void)count_attempt(s, false, now_ns);
    SET(s->last_success_ns, now_ns);
    measure(s, ttft_us, token_us, now_ns);
}

/* ---- failures ---- */

/* The request's, that is: the deployment answered. */
static bool is_own_fault(enum failure_class class)
{
    return class == FAILURE_BAD_REQUEST || class == FAILURE_CONTEXT_WINDOW ||
           class == FAILURE_CONTENT_POLICY;
}

/* Will the next request fail the same way, most likely? */
static bool is_lasting(enum failure_class class)
{
    return class == FAILURE_AUTHENTICATION || class == FAILURE_NOT_FOUND ||
           class == FAILURE_RATE_LIMIT;
}

static bool must_rest(struct deployment_state *s, const struct routing *r, bool alone,
                      const struct attempt_failure *f, uint64_t minute)
{
    uint32_t of_class = __atomic_add_fetch(&s->class_fails[f->class], 1, __ATOMIC_RELAXED);
    int allowed = r->allowed_fails_policy.by_class[f->class];
    if (is_own_fault(f->class))
        return allowed >= 0 && of_class > (uint32_t)allowed;
    uint32_t in_row = __atomic_add_fetch(&s->fails_in_row, 1, __ATOMIC_RELAXED);
    if (GET(s->rest) & LEASE) /* it was tried, and failed again */
        return true;
    if (allowed >= 0)
        return of_class > (uint32_t)allowed;
    if (in_row > (uint32_t)r->allowed_fails)
        return true;
    if (alone)
        return f->class == FAILURE_RATE_LIMIT && f->retry_after_ms > FLEET_WAITED_FOR_MS;
    return is_lasting(f->class) || mostly_fails(minute);
}

static int64_t rest_ms(const struct deployment_state *s, const struct deployment *d,
                       const struct routing *r, const struct attempt_failure *f)
{
    if (d->cooldown_ms >= 0)
        return d->cooldown_ms;
    if (f->retry_after_ms > 0)
        return MIN(f->retry_after_ms, RETRY_AFTER_MAX_MS);
    int64_t ms = r->cooldown_ms;
    for (uint32_t i = 0; i < GET(s->rests_in_row) && ms < REST_MAX_MS; i++)
        ms = MIN(ms * 2, MAX(r->cooldown_ms, REST_MAX_MS));
    return ms;
}

/* Those that make a deployment rest; others are rare. */
static const int rest_statuses[REST_STATUS_COUNT] = {0,   401, 403, 404, 408, 429,
                                                     500, 502, 503, 504, 529, -1};

int fleet_rest_status(int index)
{
    return rest_statuses[index];
}

static void count_rest(struct deployment_state *s, const struct attempt_failure *f)
{
    int i = 0;
    while (i < REST_STATUS_COUNT - 1 && rest_statuses[i] != f->status)
        i++;
    SET(s->rest_class, f->class);
    __atomic_add_fetch(&s->rests_total, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&s->rests_by_status[i], 1, __ATOMIC_RELAXED);
}

const char *fleet_failure_name(enum failure_class class)
{
    static const char *const names[FAILURE_CLASS_COUNT] = {
        [FAILURE_NONE] = "none",
        [FAILURE_BAD_REQUEST] = "bad_request",
        [FAILURE_CONTEXT_WINDOW] = "context_window",
        [FAILURE_CONTENT_POLICY] = "content_policy",
        [FAILURE_AUTHENTICATION] = "authentication",
        [FAILURE_NOT_FOUND] = "not_found",
        [FAILURE_TIMEOUT] = "timeout",
        [FAILURE_RATE_LIMIT] = "rate_limit",
        [FAILURE_SERVER] = "server",
        [FAILURE_CONNECTION] = "connection",
    };
    return names[class];
}

/* Takes it out of rotation, unless it is already: then this is an attempt that began before, and says nothing new. */
static bool send_to_rest(struct deployment_state *s, int64_t ms, const struct attempt_failure *f,
                         uint64_t now_ns)
{
    uint64_t rest = GET(s->rest);
    if (rest && !(rest & LEASE))
        return false;
    if (!swap_rest(s, rest, until_ns(now_ns + (uint64_t)ms * NS_PER_MS)))
        return false; /* another failure did so in this moment */
    __atomic_add_fetch(&s->rests_in_row, 1, __ATOMIC_RELAXED);
    count_rest(s, f);
    return true;
}

bool fleet_failed(struct deployment_state *s, const struct deployment *d, const struct routing *r,
                  bool alone, const struct attempt_failure *f, uint64_t now_ns)
{
    /* A wildcard's name is the client's choice, and may well not be there. */
    bool wildcard_404 = f->class == FAILURE_NOT_FOUND && str_find(d->model_name, '*') >= 0;
    bool own_fault = is_own_fault(f->class) || wildcard_404;
    uint64_t minute = count_attempt(s, !own_fault, now_ns);
    SET(s->last_status, (uint32_t)f->status);
    SET(s->last_class, (uint32_t)f->class);
    if (own_fault) { /* it answered */
        fleet_alive(s);
        clear(&s->fails_in_row);
    } else {
        SET(s->last_failure_ns, now_ns);
    }
    if (wildcard_404)
        return false;
    bool rest = must_rest(s, r, alone, f, minute) && !r->disable_cooldowns;
    int64_t ms = rest ? rest_ms(s, d, r, f) : 0;
    if (ms > 0)
        return send_to_rest(s, ms, f, now_ns);
    fleet_alive(s); /* one that may not rest was being tried: it is in rotation */
    return false;
}

bool fleet_wake(struct deployment_state *s, uint64_t now_ns)
{
    uint64_t rest = GET(s->rest);
    return until_ns(rest) > now_ns && !(rest & LEASE) && swap_rest(s, rest, HALF_OPEN);
}

int fleet_health(const struct deployment_state *s, uint64_t now_ns)
{
    if (fleet_rest(s, now_ns) == REST_RESTS)
        return 2;
    return GET(s->last_failure_ns) > GET(s->last_success_ns);
}
