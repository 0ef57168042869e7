/* sim.c -- the simulated models: a table of them, their words, their clock, their failures.
 *
 * Called by job.c and answer.c for every request; calls nothing but base. All of it is a function
 * of the request (its hash), so two runs of a test see the same bytes, and the k-th word of an
 * answer can be made at the moment it is due without keeping the text.
 *
 * Why a share of errors depends on how often the same request came (`nth`): were it a function of
 * the request alone, a retry of a failed request would fail for ever, and a bench that sends one
 * body would see all errors or none. */
#include "mock/sim.h"

#include <endian.h>
#include <math.h>

#define SEED_END_BYTES 2048u

/* clang-format off */
const struct sim_model sim_models[] = {
    {.name = STR("sim-fast"), .says = "16 tokens, at once"},
    {.name = STR("sim-slow"), .says = "first token after 800 ms, then 20 tokens/s",
     .knobs.v = {[SIM_TTFT_MS] = 800, [SIM_TOKENS_PER_SECOND] = 20}},
    {.name = STR("sim-flaky"), .says = "30 % of the requests fail with 429, 500 or 503",
     .knobs.v = {[SIM_ERRORS_PER_MILLION] = 300000}},
    {.name = STR("sim-tools"), .says = "calls the first tool it is offered", .tools = true},
    {.name = STR("sim-embed"), .says = "embeddings of 64 dimensions"},
    {.name = STR("sim-long"), .says = "2,000 tokens, at once", .knobs.v = {[SIM_TOKENS] = 2000}},
    {.name = STR("sim-reasoning"), .reasoning_tokens = 32,
     .says = "usage with 32 reasoning tokens and half of the prompt cached"},
};

/* A power of two of them, each with the blank that goes before it. */
#define W(word) {" " word, sizeof word}
static const struct word {
    char text[SIM_WORD_BYTES - 1];
    uint8_t n;
} words[] = {
    W("river"), W("water"), W("stone"), W("measure"), W("flow"), W("level"), W("gauge"),
    W("depth"), W("bridge"), W("morning"), W("quiet"), W("field"), W("slowly"), W("under"),
    W("over"), W("through"), W("light"), W("shadow"), W("willow"), W("heron"), W("trout"),
    W("reed"), W("bank"), W("current"), W("rises"), W("falls"), W("turns"), W("keeps"),
    W("carries"), W("counts"), W("holds"), W("passes"), W("early"), W("late"), W("always"),
    W("never"), W("again"), W("every"), W("many"), W("few"), W("clear"), W("cold"),
    W("deep"), W("wide"), W("narrow"), W("steady"), W("calm"), W("bright"), W("the"),
    W("a"), W("and"), W("then"), W("where"), W("while"), W("with"), W("along"),
    W("mill"), W("lock"), W("gate"), W("channel"), W("spring"), W("autumn"), W("rain"),
    W("evening"),
};
#undef W
/* clang-format on */
const size_t sim_model_count = COUNT(sim_models);

const struct sim_model *sim_model_find(struct str name)
{
    for (size_t i = 0; i < sim_model_count; i++)
        if (str_eq(sim_models[i].name, name))
            return &sim_models[i];
    return NULL;
}

/* ---- knobs ---- */

void sim_knobs_overlay(struct sim_knobs *k, const struct sim_model *m)
{
    for (int i = 0; i < SIM_KNOB_COUNT; i++)
        if (m->knobs.v[i])
            k->v[i] = m->knobs.v[i];
}

/* ---- words ---- */

/* The finalizer of splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
 * generators", 2014). */
uint64_t sim_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* [0, 1) */
static double unit(uint64_t seed, uint64_t k)
{
    return (double)(sim_mix(seed ^ sim_mix(k)) >> 11) * 0x1p-53;
}

#define EVERY_BYTE(x) (0x0101010101010101u * (x))

/* Bit 7 of each byte: is it more than 0x20, white space being all up to there? Adding 0x5f carries
 * 0x21..0x7f into bit 7 and nothing into the next byte. */
static uint64_t letters_of(uint64_t bytes)
{
    return (((bytes & EVERY_BYTE(0x7f)) + EVERY_BYTE(0x5f)) | bytes) & EVERY_BYTE(0x80);
}

/* Counts the places where a letter follows white space, eight bytes at a time: prompts may be long,
 * and a plain loop over 100 KB would cost more than all the rest of a request. */
uint64_t sim_count_tokens(struct str text)
{
    uint64_t count = 0, before = 0, bytes;
    size_t at = 0;
    while (text.n - at >= 8) {
        uint64_t sums = 0; /* eight counts; after 31 rounds their total still fits a byte */
        for (int i = 0; i < 31 && text.n - at >= 8; i++, at += 8) {
            memcpy(&bytes, text.p + at, 8);
            uint64_t letters = letters_of(le64toh(bytes));
            sums += (letters & ~(letters << 8 | before)) >> 7;
            before = letters >> 56;
        }
        count += (sums * EVERY_BYTE(1)) >> 56;
    }
    for (; at < text.n; at++) {
        bool letter = (unsigned char)text.p[at] > ' ';
        count += letter && !before;
        before = letter;
    }
    return count;
}

/* Of a long prompt only length, beginning and end are looked at. */
uint64_t sim_seed(struct str model, struct str prompt, uint64_t seed)
{
    uint64_t hash = str_hash(model) ^ sim_mix(seed + prompt.n);
    if (prompt.n <= 2 * SEED_END_BYTES)
        return sim_mix(hash ^ str_hash(prompt));
    struct str head = {prompt.p, SEED_END_BYTES};
    struct str tail = {prompt.p + prompt.n - SEED_END_BYTES, SEED_END_BYTES};
    return sim_mix(sim_mix(hash ^ str_hash(head)) ^ str_hash(tail));
}

size_t sim_word(uint64_t seed, uint64_t k, char out[SIM_WORD_BYTES])
{
    const struct word *word = &words[sim_mix(seed + k) % COUNT(words)];
    size_t skip = k == 0;
    memcpy(out, word->text + skip, sizeof word->text - skip); /* a size known here: no call */
    return word->n - skip;
}

size_t sim_piece_count(struct str text)
{
    size_t n = 0;
    while (sim_piece(text, n).n)
        n++;
    return n;
}

/* The first place at or behind `at` where a UTF-8 character begins (RFC 3629: continuation bytes
 * are 10xxxxxx). */
static size_t character_start(struct str text, size_t at)
{
    while (at < text.n && ((unsigned char)text.p[at] & 0xc0) == 0x80)
        at++;
    return MIN(at, text.n);
}

struct str sim_piece(struct str text, size_t k)
{
    if (k >= text.n / SIM_PIECE_BYTES + 1)
        return STR_NONE;
    size_t from = character_start(text, k * SIM_PIECE_BYTES);
    size_t to = character_start(text, (k + 1) * SIM_PIECE_BYTES);
    return (struct str){text.p + from, to - from};
}

/* ---- time ---- */

struct sim_schedule sim_schedule_make(const struct sim_knobs *k, uint64_t start_ns, uint64_t seed)
{
    int64_t rate = k->v[SIM_TOKENS_PER_SECOND];
    return (struct sim_schedule){
        .start_ns = start_ns,
        .ttft_ns = (double)k->v[SIM_TTFT_MS] * 1e6,
        .interval_ns = rate > 0 ? 1e9 / (double)rate : 0,
        .jitter = (double)k->v[SIM_JITTER_PCT] / 100,
        .seed = seed,
    };
}

uint64_t sim_due_ns(const struct sim_schedule *s, uint64_t k)
{
    double at = s->ttft_ns + (double)k * s->interval_ns;
    if (s->jitter > 0) {
        at += s->ttft_ns * s->jitter * (unit(s->seed, 0) - 0.5);
        if (k > 0)
            at += s->interval_ns * s->jitter * (unit(s->seed, k) - 0.5);
    }
    return s->start_ns + (uint64_t)at;
}

bool sim_is_slow(const struct sim_knobs *k, uint64_t nth)
{
    uint64_t share = (uint64_t)k->v[SIM_SLOW_PER_MILLION], at = nth % 1000000;
    return (at + 1) * share / 1000000 > at * share / 1000000;
}

/* ---- failures ---- */

int sim_error_status(const struct sim_knobs *k, uint64_t hash, uint32_t nth)
{
    static const int mixed[] = {429, 500, 503};
    if (k->v[SIM_STATUS])
        return (int)k->v[SIM_STATUS];
    if (!k->v[SIM_ERRORS_PER_MILLION])
        return 0;
    uint64_t dice = sim_mix(hash + 0x5eed * (uint64_t)nth);
    if ((int64_t)(dice % 1000000) >= k->v[SIM_ERRORS_PER_MILLION])
        return 0;
    if (k->v[SIM_ERROR_STATUS])
        return (int)k->v[SIM_ERROR_STATUS];
    return mixed[(dice >> 40) % COUNT(mixed)];
}

/* ---- embeddings ---- */

void sim_vector(uint64_t seed, int32_t *out, size_t dims)
{
    double squares = 0;
    for (size_t i = 0; i < dims; i++) {
        double x = 2 * unit(seed, i) - 1;
        squares += x * x;
    }
    double scale = squares > 0 ? SIM_VECTOR_UNIT / sqrt(squares) : 0;
    for (size_t i = 0; i < dims; i++)
        out[i] = (int32_t)lrint((2 * unit(seed, i) - 1) * scale);
}

static bool is_separator(char c)
{
    return c == ',' || (unsigned char)c <= ' ';
}

/* Where the value at the start of `s` ends; the text is valid JSON, so counting brackets outside of
 * strings is enough. */
static size_t value_end(struct str s)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            depth++;
        } else if (c == ']' || c == '}') {
            if (depth == 0)
                return i;
            depth--;
        } else if (depth == 0 && is_separator(c)) {
            return i;
        }
    }
    return s.n;
}

bool sim_next_element(struct str *rest, struct str *element)
{
    while (rest->n && is_separator(rest->p[0]))
        *rest = str_skip(*rest, 1);
    if (rest->n == 0 || rest->p[0] == ']')
        return false;
    size_t n = value_end(*rest);
    *element = (struct str){rest->p, n};
    *rest = str_skip(*rest, n);
    return true;
}
