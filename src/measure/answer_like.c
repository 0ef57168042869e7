/* answer_like.c -- a whole answer that is the former one with other values, known without being scanned.
 *
 * Of an answer that was scanned and found good its bytes are kept, and where in them values stand that may be others: the insides of strings
 * that are no keys, and whole numbers. An answer that has the same bytes everywhere else, and there again the inside of a JSON string that is
 * not empty, or a number of digits, has the same grammar, keys, kinds and depth: JSON's grammar has no context, so a scan would find the same
 * values at the same paths. What can differ of them and counts are numbers of tokens and the finish_reason, which are read here. An answer that
 * differs elsewhere, or comes in several pieces, is scanned. */
#include "measure/answer_internal.h"

#include "base/json_text.h"

#define LIKE_BYTES 1024
#define LIKE_HOLES 32 /* values behind these may not differ */
#define DIGITS_MAX 15 /* below the bound on what is believed (answer.c), so without a look at it */
#define MISSES_BETWEEN                                                                             \
    63 /* answers between two that are kept, at most, where none is like another */
#define FINISH_BYTES sizeof(((struct sample *)0)->finish_reason)

/* What is told of an answer, besides that it is good. */
struct told {
    int64_t prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens;
    char finish_reason[FINISH_BYTES];
};

struct hole {
    uint16_t start, end; /* in `text`: of a string without its quotes, or of a number */
    uint8_t see;         /* enum see; SEE_COUNT: its value is not looked at */
    bool number;
};

struct answer_like {
    uint16_t bytes; /* of `text` */
    bool good;      /* it is an answer to compare with */
    uint16_t wait,
        wait_after; /* answers not to be kept: from now on, and behind the next one that is */
    uint16_t hole_count;
    bool embeds, finished;
    struct told told, now; /* of the answer kept, of the one at hand */
    struct hole holes[LIKE_HOLES];
    char text[LIKE_BYTES];
};

/* ---- an answer to keep ---- */

bool answer_like_offer(struct answer *a, struct str body)
{
    struct answer_like *l = a->like;
    if (body.n > LIKE_BYTES)
        return false;
    if (!l) {
        a->like = l = mem_alloc(sizeof *l);
        l->good = false;
        l->wait = l->wait_after = 0;
    }
    if (l->wait) {
        l->wait--;
        return false;
    }
    l->wait = l->wait_after;
    l->wait_after = (uint16_t)MIN(l->wait_after * 2 + 1, MISSES_BETWEEN);
    memcpy(l->text, body.p, body.n);
    l->bytes = (uint16_t)body.n;
    l->good = false;
    return true;
}

static uint8_t asked_for(const struct json_found *found, size_t start)
{
    static const uint8_t places[] = {SEE_FINISH, SEE_PROMPT_TOKENS, SEE_COMPLETION_TOKENS,
                                     SEE_CACHED_TOKENS, SEE_REASONING_TOKENS};
    for (size_t i = 0; i < COUNT(places); i++)
        if (found[places[i]].kind != JSON_NONE && found[places[i]].start == start)
            return places[i];
    return SEE_COUNT;
}

static bool is_key(const char *behind, const char *end)
{
    while (behind < end && strchr(" \t\r\n", *behind))
        behind++;
    return behind < end && *behind == ':';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *number_end(const char *p, const char *end)
{
    while (p < end && *p && strchr("+-.0123456789Ee", *p))
        p++;
    return p;
}

static bool all_digits(const char *p, const char *end)
{
    while (p < end && is_digit(*p))
        p++;
    return p == end;
}

static void add_hole(struct answer_like *l, const char *from, const char *to, bool number,
                     uint8_t see)
{
    l->holes[l->hole_count++] = (struct hole){.start = (uint16_t)(from - l->text),
                                              .end = (uint16_t)(to - l->text),
                                              .see = see,
                                              .number = number};
}

/* `text` is known to be JSON. */
static void find_holes(struct answer_like *l, const struct json_found *found)
{
    const char *p = l->text, *end = p + l->bytes;
    l->hole_count = 0;
    while (p < end && l->hole_count < LIKE_HOLES) {
        const char *from = p;
        if (*p == '"') {
            uint8_t see = asked_for(found, (size_t)(p - l->text));
            p = answer_string_end(++from, end);
            ENSURE(p && p < end);
            bool told = see != SEE_FINISH || p - from <= JSON_KEEP_BYTES;
            if (p > from && told && !is_key(p + 1, end))
                add_hole(l, from, p, false, see);
            p++;
        } else if (*p == '-' || is_digit(*p)) {
            p = number_end(p, end);
            if (p - from <= DIGITS_MAX && all_digits(from, p))
                add_hole(l, from, p, true, asked_for(found, (size_t)(from - l->text)));
        } else {
            p++;
        }
    }
}

void answer_like_keep(struct answer *a)
{
    struct answer_like *l = a->like;
    const struct sample *s = a->sample;
    find_holes(l, a->found);
    l->told = (struct told){.prompt_tokens = s->prompt_tokens,
                            .completion_tokens = s->completion_tokens,
                            .cached_tokens = s->cached_tokens,
                            .reasoning_tokens = s->reasoning_tokens};
    memcpy(l->told.finish_reason, s->finish_reason, FINISH_BYTES);
    l->embeds = a->embeds;
    l->finished = a->finished;
    l->good = true;
}

/* ---- an answer that may be like it ---- */

/* How many bytes are the same at the beginning. */
static size_t same_bytes(const char *a, const char *b, size_t n)
{
    size_t i = 0;
#ifdef __SSE2__
    for (; n - i >= 16; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(a + i)),
                y = _mm_loadu_si128((const __m128i *)(const void *)(b + i));
        unsigned same = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, y));
        if (same != 0xFFFF)
            return i + (size_t)__builtin_ctz(~same);
    }
#endif
    while (i < n && a[i] == b[i])
        i++;
    return i;
}

static int64_t *count_of(struct told *t, uint8_t see)
{
    switch (see) {
    case SEE_PROMPT_TOKENS: return &t->prompt_tokens;
    case SEE_COMPLETION_TOKENS: return &t->completion_tokens;
    case SEE_CACHED_TOKENS: return &t->cached_tokens;
    case SEE_REASONING_TOKENS: return &t->reasoning_tokens;
    }
    return NULL;
}

/* A number of digits at p, as JSON has it: behind it, or NULL. */
static const char *take_number(struct answer_like *l, const struct hole *h, const char *p,
                               const char *end)
{
    const char *from = p;
    int64_t value = 0, *count = count_of(&l->now, h->see);
    for (; p < end && is_digit(*p) && p - from < DIGITS_MAX; p++)
        value = value * 10 + (*p - '0');
    if (p == from || (*from == '0' && p - from > 1))
        return NULL;
    if (count)
        *count = value;
    return p;
}

/* The inside of a string at p: behind it, or NULL. */
static const char *take_string(struct answer_like *l, const struct hole *h, const char *p,
                               const char *end)
{
    const char *to = answer_string_end(p, end);
    if (!to || to == p)
        return NULL;
    if (h->see == SEE_FINISH) {
        struct str raw = {p, (size_t)(to - p)};
        if (raw.n > JSON_KEEP_BYTES)
            return NULL;
        l->now.finish_reason[json_unescape(raw, l->now.finish_reason, FINISH_BYTES - 1)] = '\0';
    }
    return to;
}

bool answer_like_fits(struct answer *a, struct str body)
{
    struct answer_like *l = a->like;
    if (!l || !l->good || l->embeds != a->embeds)
        return false;
    const struct hole *h = l->holes, *last = h + l->hole_count;
    const char *old = l->text, *old_end = old + l->bytes, *p = body.p, *end = p + body.n;
    l->now = l->told;
    for (;;) {
        size_t same = same_bytes(old, p, MIN((size_t)(old_end - old), (size_t)(end - p)));
        old += same;
        p += same;
        if (old == old_end && p == end)
            break;
        ptrdiff_t at = old - l->text;
        while (h < last && h->end < at)
            h++;
        if (h == last || h->start > at)
            return false;
        p -= at - h->start;
        p = h->number ? take_number(l, h, p, end) : take_string(l, h, p, end);
        if (!p)
            return false;
        old = l->text + h->end;
        h++;
    }
    l->wait = l->wait_after = 0;
    return true;
}

void answer_like_take(struct answer *a)
{
    const struct answer_like *l = a->like;
    struct sample *s = a->sample;
    s->prompt_tokens = l->now.prompt_tokens;
    s->completion_tokens = l->now.completion_tokens;
    s->cached_tokens = l->now.cached_tokens;
    s->reasoning_tokens = l->now.reasoning_tokens;
    memcpy(s->finish_reason, l->now.finish_reason, FINISH_BYTES);
    a->finished = l->finished;
    a->has_content = true;
    if (!a->embeds && !a->finished)
        a->flaws |= FLAW_NO_FINISH_REASON;
}
