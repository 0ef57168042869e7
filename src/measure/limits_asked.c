/* limits_asked.c -- reads thresholds:
 *
 *   list  = limit { (, | and) limit }
 *   limit = [NAME [scope]] [stat] [scope] SIGN VALUE [abort [after SPAN]]
 *   stat  = avg | med | min | max | stddev | count | rate | share | pN | p ( N )
 *   scope = '[' (model | stage) = NAME ']' | '{' (model | stage) : NAME '}'
 *
 * limits_check.c measures by them. */
#include "measure/limits_asked.h"

#include <math.h>

#include "base/quantity.h"
#include "base/tokens.h"
#include "base/when.h"

struct parser {
    struct tokens t;
    struct limit_asked *limit;
    struct err *e;
    size_t end; /* of the last token taken */
    bool has_name, has_stat;
};

/* What is not a metric of measured.def, under our names and k6's. `share`, `rate` and `count` say which statistics it has; `rate` is a share
 * where k6 has it so. */
static const struct own_name {
    const char *name;
    enum limit_of of;
    enum limit_stat plain; /* when none is said */
    bool share, rate, count, rate_is_share;
} own_names[] = {
    {"errors", LIMIT_ERRORS, LIMIT_SHARE, true, true, true, true},
    {"http_req_failed", LIMIT_ERRORS, LIMIT_SHARE, true, true, true, true},
    {"requests", LIMIT_REQUESTS, LIMIT_COUNT, false, true, true, false},
    {"http_reqs", LIMIT_REQUESTS, LIMIT_COUNT, false, true, true, false},
    {"iterations", LIMIT_REQUESTS, LIMIT_COUNT, false, true, true, false},
    {"dropped", LIMIT_DROPPED, LIMIT_SHARE, true, true, true, false},
    {"dropped_iterations", LIMIT_DROPPED, LIMIT_COUNT, true, true, true, false},
    {"goodput", LIMIT_GOODPUT, LIMIT_SHARE, true, true, true, false},
    {"achieved", LIMIT_ACHIEVED, LIMIT_SHARE, true, true, false, false},
    {"achieved_rate", LIMIT_ACHIEVED, LIMIT_SHARE, true, true, false, false},
    {"tokens", LIMIT_TOKENS, LIMIT_RATE, false, true, true, false},
};

/* k6's names of what measured.def calls otherwise. */
static const struct {
    const char *name;
    enum measured metric;
} k6_names[] = {
    {"http_req_duration", MEASURED_TOTAL},      {"iteration_duration", MEASURED_RESPONSE},
    {"http_req_waiting", MEASURED_WAIT},        {"http_req_connecting", MEASURED_CONNECT},
    {"http_req_tls_handshaking", MEASURED_TLS}, {"http_req_sending", MEASURED_SEND},
    {"http_req_receiving", MEASURED_RECEIVE},
};

static const struct {
    const char *name;
    enum limit_stat stat;
    double quantile;
} stats[] = {
    {"avg", LIMIT_MEAN, 0},         {"mean", LIMIT_MEAN, 0},    {"med", LIMIT_QUANTILE, .5},
    {"median", LIMIT_QUANTILE, .5}, {"min", LIMIT_QUANTILE, 0}, {"max", LIMIT_QUANTILE, 1},
    {"stddev", LIMIT_STDDEV, 0},    {"count", LIMIT_COUNT, 0},  {"rate", LIMIT_RATE, 0},
    {"share", LIMIT_SHARE, 0},
};

static const struct {
    const char *text;
    enum limit_sign sign;
} signs[] = {
    {"<", LIMIT_LESS},  {"<=", LIMIT_LESS_EQUAL}, {">", LIMIT_MORE},       {">=", LIMIT_MORE_EQUAL},
    {"=", LIMIT_EQUAL}, {"==", LIMIT_EQUAL},      {"!=", LIMIT_NOT_EQUAL},
};

static void next(struct parser *p)
{
    p->end = p->t.next_at;
    tokens_next(&p->t);
}

static bool take(struct parser *p, const char *word)
{
    bool is = tokens_at(&p->t, word);
    if (is)
        next(p);
    return is;
}

/* ---- names ---- */

static const struct own_name *own_name(struct str name)
{
    for (size_t i = 0; i < COUNT(own_names); i++)
        if (str_ieq(name, str_from(own_names[i].name)))
            return &own_names[i];
    return NULL;
}

static const struct own_name *name_of(enum limit_of of)
{
    for (size_t i = 0; i < COUNT(own_names); i++)
        if (own_names[i].of == of)
            return &own_names[i];
    return NULL;
}

static bool metric_named(struct str name, enum measured *out)
{
    for (int m = 0; m < MEASURED_COUNT; m++) {
        if (str_ieq(name, str_from(measured_info((enum measured)m)->key))) {
            *out = (enum measured)m;
            return true;
        }
    }
    for (size_t i = 0; i < COUNT(k6_names); i++) {
        if (str_ieq(name, str_from(k6_names[i].name))) {
            *out = k6_names[i].metric;
            return true;
        }
    }
    return false;
}

static bool read_name(struct parser *p, struct str name)
{
    const struct own_name *own = own_name(name);
    p->limit->of = own ? own->of : LIMIT_METRIC;
    if (own)
        p->limit->stat = own->plain;
    return p->has_name = own || metric_named(name, &p->limit->metric);
}

static bool read_stat(struct parser *p, struct str text)
{
    double percent;
    for (size_t i = 0; i < COUNT(stats); i++) {
        if (str_ieq(text, str_from(stats[i].name))) {
            p->limit->stat = stats[i].stat;
            p->limit->quantile = stats[i].quantile;
            return p->has_stat = true;
        }
    }
    if (text.n < 2 || (text.p[0] | 0x20) != 'p' || !str_to_f64(str_skip(text, 1), &percent) ||
        !(percent > 0) || !(percent < 100))
        return false;
    p->limit->stat = LIMIT_QUANTILE;
    p->limit->quantile = percent / 100;
    return p->has_stat = true;
}

/* "latency_p95", and as CSV's columns are called: "latency_p95_ms". */
static bool read_joined(struct parser *p, struct str word)
{
    word.n -= str_ends(word, STR("_ms")) ? 3 : 0;
    for (size_t i = word.n; i-- > 1;)
        if (word.p[i] == '_' && read_name(p, (struct str){word.p, i}))
            return read_stat(p, str_skip(word, i + 1));
    return false;
}

static void closer(struct str name, const char *known, const char **nearest, int *best)
{
    int distance = str_distance(str_from(known), name);
    if (distance < *best) {
        *nearest = known;
        *best = distance;
    }
}

static bool fail_name(struct parser *p, struct str name)
{
    const char *nearest = NULL;
    int best = (int)MIN(name.n / 3 + 2, (size_t)5);
    for (int m = 0; m < MEASURED_COUNT; m++)
        closer(name, measured_info((enum measured)m)->key, &nearest, &best);
    for (size_t i = 0; i < COUNT(own_names); i++)
        closer(name, own_names[i].name, &nearest, &best);
    for (size_t i = 0; i < COUNT(k6_names); i++)
        closer(name, k6_names[i].name, &nearest, &best);
    return tokens_fail(
        &p->t, p->e, "expected what is measured, such as latency, ttft or errors%s%s%s",
        nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

/* ---- the scope ---- */

static bool set_scope(struct parser *p, struct str what, struct str name)
{
    struct limit_asked *l = p->limit;
    bool is_model = str_ieq(what, STR("model"));
    if (!is_model && !str_ieq(what, STR("stage")))
        return tokens_fail(&p->t, p->e, "expected model or stage");
    if (l->scope != LIMIT_ALL)
        return tokens_fail(&p->t, p->e, "expected one model or one stage, not both");
    if (name.n == 0 || name.n >= sizeof l->name)
        return tokens_fail(&p->t, p->e, "expected the name of a %s", is_model ? "model" : "stage");
    l->scope = is_model ? LIMIT_MODEL : LIMIT_STAGE;
    snprintf(l->name, sizeof l->name, "%.*s", STR_ARG(name));
    return true;
}

/* Behind '['. */
static bool take_scope(struct parser *p)
{
    struct str what = p->t.now.text;
    if (p->t.now.kind != TOKEN_WORD)
        return tokens_fail(&p->t, p->e, "expected model=NAME or stage=NAME");
    ptrdiff_t colon = str_find(what, ':');
    if (colon > 0) { /* as k6 has it, [model:x] */
        if (!set_scope(p, (struct str){what.p, (size_t)colon}, str_skip(what, (size_t)colon + 1)))
            return false;
    } else {
        next(p);
        if (!take(p, "=") && !take(p, "=="))
            return tokens_fail(&p->t, p->e, "expected =");
        if (p->t.now.kind != TOKEN_WORD && p->t.now.kind != TOKEN_TEXT)
            return tokens_fail(&p->t, p->e, "expected the name of a model or stage");
        if (!set_scope(p, what, p->t.now.text))
            return false;
    }
    next(p);
    return take(p, "]") || tokens_fail(&p->t, p->e, "expected ]");
}

/* "http_req_duration{model:gpt-4o}" is one word: the name is what is left of it. */
static bool cut_braces(struct parser *p, struct str *word)
{
    ptrdiff_t open = str_find(*word, '{');
    if (open <= 0)
        return true;
    struct str inner = str_skip(*word, (size_t)open + 1);
    if (inner.n == 0 || inner.p[inner.n - 1] != '}')
        return tokens_fail(&p->t, p->e, "expected {model:NAME} or {stage:NAME} without blanks");
    inner.n--;
    struct str what = str_cut(&inner, ':');
    word->n = (size_t)open;
    return set_scope(p, str_trim(what), str_trim(inner));
}

/* ---- one limit ---- */

/* "p(95)": the word was p. */
static bool take_k6_percentile(struct parser *p)
{
    char text[32];
    if (!take(p, "("))
        return tokens_fail(&p->t, p->e, "expected p95, p(95), avg, med, min, max, rate or count");
    snprintf(text, sizeof text, "p%.*s", (int)MIN(p->t.now.text.n, 24u),
             p->t.now.kind == TOKEN_WORD ? p->t.now.text.p : "");
    if (!read_stat(p, str_from(text)))
        return tokens_fail(&p->t, p->e, "expected a percentile above 0 and below 100");
    next(p);
    return take(p, ")") || tokens_fail(&p->t, p->e, "expected )");
}

static bool take_stat(struct parser *p)
{
    if (p->has_stat || p->t.now.kind != TOKEN_WORD)
        return true;
    if (str_ieq(p->t.now.text, STR("p"))) {
        next(p);
        return take_k6_percentile(p);
    }
    if (!read_stat(p, p->t.now.text))
        return tokens_fail(&p->t, p->e, "expected p95, p(95), avg, med, min, max, rate or count");
    next(p);
    return true;
}

static bool take_name(struct parser *p)
{
    struct str word = p->t.now.text;
    if (p->t.now.kind != TOKEN_WORD)
        return tokens_fail(&p->t, p->e,
                           "expected a threshold, such as latency p95 < 500ms or errors < 1%%");
    word.n -= word.n > 1 && word.p[word.n - 1] == ':';
    if (!cut_braces(p, &word))
        return false;
    if (read_name(p, word) || read_joined(p, word)) {
        next(p);
        return true;
    }
    p->has_name = p->has_stat = false;
    p->limit->of = LIMIT_METRIC;
    if (str_ieq(word, STR("p")) || read_stat(p, word)) { /* k6's, of latency */
        p->has_stat = false;
        return true;
    }
    return fail_name(p, word);
}

/* k6's "rate" alone is of failures, its "count" of requests. */
static void imply_name(struct parser *p)
{
    struct limit_asked *l = p->limit;
    if (p->has_name)
        return;
    l->metric = MEASURED_TOTAL;
    l->of = l->stat == LIMIT_RATE || l->stat == LIMIT_SHARE ? LIMIT_ERRORS
            : l->stat == LIMIT_COUNT                        ? LIMIT_REQUESTS
                                                            : LIMIT_METRIC;
}

static bool check_stat(struct parser *p, const struct tokens *at)
{
    struct limit_asked *l = p->limit;
    if (l->of == LIMIT_METRIC) {
        const char *key = measured_info(l->metric)->key;
        if (p->has_stat && l->stat != LIMIT_RATE && l->stat != LIMIT_SHARE)
            return true;
        return tokens_fail(at, p->e,
                           "expected what of %s: p95, avg, med, min, max, stddev or count", key);
    }
    const struct own_name *own = name_of(l->of);
    if (!p->has_stat)
        return true;
    if ((l->stat == LIMIT_SHARE && own->share) || (l->stat == LIMIT_COUNT && own->count))
        return true;
    if (l->stat == LIMIT_RATE && own->rate) {
        l->stat = own->rate_is_share ? LIMIT_SHARE : LIMIT_RATE;
        return true;
    }
    return tokens_fail(at, p->e, "%s has %s%s%s%s%s only", own->name, own->share ? "share" : "",
                       own->share && own->rate ? ", " : "", own->rate ? "rate" : "",
                       own->count ? ", " : "", own->count ? "count" : "");
}

static enum quantity unit_of(const struct limit_asked *l)
{
    if (l->stat == LIMIT_SHARE)
        return QUANTITY_SHARE;
    if (l->of != LIMIT_METRIC || l->stat == LIMIT_COUNT)
        return QUANTITY_NUMBER;
    enum measured_unit unit = measured_info(l->metric)->unit;
    return unit == MEASURED_NS    ? QUANTITY_MS
           : unit == MEASURED_USD ? QUANTITY_USD
                                  : QUANTITY_NUMBER;
}

static bool is_unit(struct str word)
{
    static const char *const units[] = {"%", "us", "ms", "s", "m", "min", "h", "/s"};
    for (size_t i = 0; i < COUNT(units); i++)
        if (str_eq(word, str_from(units[i])))
            return true;
    return false;
}

/* "500ms", "500 ms", "20/s". */
static bool take_value(struct parser *p)
{
    struct limit_asked *l = p->limit;
    struct err e = {0};
    char text[64];
    if (p->t.now.kind != TOKEN_WORD && p->t.now.kind != TOKEN_TEXT)
        return tokens_fail(&p->t, p->e, "expected a bound, such as 500ms, 1%% or 100");
    struct tokens at = p->t;
    int n = snprintf(text, sizeof text, "%.*s", (int)MIN(at.now.text.n, 48u), at.now.text.p);
    next(p);
    if (p->t.now.kind == TOKEN_WORD && is_unit(p->t.now.text)) {
        n += snprintf(text + n, sizeof text - (size_t)n, "%.*s", STR_ARG(p->t.now.text));
        next(p);
    }
    struct str value = {text, (size_t)n};
    enum quantity unit = unit_of(l);
    if (unit == QUANTITY_NUMBER && str_ends(value, STR("/s")))
        value.n -= 2;
    if (!quantity_parse(value, unit, &l->bound, &e))
        return tokens_fail(&at, p->e, "%s", e.text);
    if (l->bound < 0)
        return tokens_fail(&at, p->e, "expected a bound that is not negative");
    if (unit == QUANTITY_SHARE && l->bound > 1)
        return tokens_fail(&at, p->e,
                           "expected a share of at most 100%%, such as 1%% or 0.01; a number is %s "
                           "count",
                           name_of(l->of)->name);
    return true;
}

static bool take_sign(struct parser *p)
{
    for (size_t i = 0; i < COUNT(signs); i++) {
        if (take(p, signs[i].text)) {
            p->limit->sign = signs[i].sign;
            return true;
        }
    }
    return tokens_fail(&p->t, p->e, "expected < <= > >= = or !=");
}

/* A number that only grows is below any bound at first. */
static bool can_abort(const struct limit_asked *l)
{
    return l->stat != LIMIT_COUNT || l->sign == LIMIT_LESS || l->sign == LIMIT_LESS_EQUAL;
}

static bool take_abort(struct parser *p)
{
    int64_t us;
    struct tokens at = p->t;
    p->limit->abort = take(p, "abort");
    if (!p->limit->abort)
        return true;
    if (!can_abort(p->limit))
        return tokens_fail(&at, p->e,
                           "a count is below its bound until the end: it cannot end the "
                           "run early; expected < or <= with abort");
    if (!take(p, "after"))
        return true;
    if (p->t.now.kind != TOKEN_WORD || !when_span(p->t.now.text, &us, NULL))
        return tokens_fail(&p->t, p->e, "expected a time with its unit, such as 10s");
    p->limit->abort_after_ns = (uint64_t)us * 1000;
    next(p);
    return true;
}

/* What is told of it later, and read again when reports are merged: as written, but for one blank instead of a run of them outside of quotes. */
static void keep_text(struct limit_asked *l, struct str text)
{
    size_t n = 0;
    char quote = '\0';
    for (size_t i = 0; i < text.n && n + 1 < sizeof l->text; i++) {
        char c = text.p[i];
        bool is_blank = !quote && (c == ' ' || c == '\t' || c == '\n' || c == '\r');
        if (c == quote)
            quote = '\0';
        else if (!quote && (c == '"' || c == '\''))
            quote = c;
        if (!is_blank)
            l->text[n++] = c;
        else if (n && l->text[n - 1] != ' ')
            l->text[n++] = ' ';
    }
    l->text[n] = '\0';
}

static bool is_plain(struct str text)
{
    for (size_t i = 0; i < text.n; i++)
        if (((unsigned char)text.p[i] < ' ' && !strchr("\t\n\r", text.p[i])) || text.p[i] == '\0' ||
            text.p[i] == 0x7F)
            return false;
    return true;
}

static bool take_limit(struct parser *p)
{
    struct limit_asked *l = p->limit;
    size_t from = p->t.now.at;
    *l = (struct limit_asked){.value = NAN};
    p->has_name = p->has_stat = false;
    if (!take_name(p) || (take(p, "[") && !take_scope(p)))
        return false;
    struct tokens at = p->t;
    if (!take_stat(p) || (take(p, "[") && !take_scope(p)))
        return false;
    imply_name(p);
    if (!check_stat(p, &at))
        return false;
    if (l->of == LIMIT_ACHIEVED && l->scope != LIMIT_ALL)
        return tokens_fail(&at, p->e,
                           "achieved is of the whole run: expected no model and no stage");
    if (!take_sign(p) || !take_value(p) || !take_abort(p))
        return false;
    struct str text = {p->t.all.p + from, p->end - from};
    if (text.n >= sizeof l->text)
        return tokens_fail(&at, p->e, "expected a threshold of at most %zu bytes",
                           sizeof l->text - 1);
    keep_text(l, text);
    return true;
}

bool limits_asked_add(struct limits_asked *l, struct str text, struct err *e)
{
    struct parser p = {.e = e};
    size_t count = l->count;
    tokens_init(&p.t, text);
    if (!is_plain(text))
        return tokens_fail(&p.t, e, "expected a text without control bytes");
    do {
        if (count == LIMITS_ASKED_MAX)
            return tokens_fail(&p.t, e, "expected at most %d thresholds", LIMITS_ASKED_MAX);
        p.limit = &l->all[count++];
        if (!take_limit(&p))
            return false;
    } while (take(&p, ",") || take(&p, "and") || take(&p, "&&"));
    if (p.t.now.kind != TOKEN_END)
        return tokens_fail(&p.t, e, "expected a comma, and, abort, or the end");
    l->count = count;
    return true;
}

/* ---- names of a run ---- */

static bool bind_one(struct limit_asked *l, const struct str *names, size_t count, struct err *e)
{
    struct str wanted = str_from(l->name), nearest = STR_NONE;
    int64_t number;
    int best = (int)MIN(wanted.n / 3 + 2, (size_t)5);
    const char *what = l->scope == LIMIT_MODEL ? "model" : "stage";
    for (size_t i = 0; i < count; i++) {
        int distance = str_distance(names[i], wanted);
        if (str_eq(names[i], wanted)) {
            l->index = (uint32_t)i;
            return true;
        }
        if (distance < best) {
            best = distance;
            nearest = names[i];
        }
    }
    if (l->scope == LIMIT_STAGE && str_to_i64(wanted, &number) && number >= 1 &&
        (uint64_t)number <= count) {
        l->index = (uint32_t)number - 1;
        return true;
    }
    return err_set(e, "threshold \"%s\": there is no %s \"%s\"%s%.*s%s", l->text, what, l->name,
                   nearest.n ? "; did you mean " : "", STR_ARG(nearest), nearest.n ? "?" : "");
}

bool limits_asked_bind(struct limits_asked *l, const struct str *models, size_t model_count,
                       const struct str *stages, size_t stage_count, struct err *e)
{
    for (size_t i = 0; i < l->count; i++) {
        struct limit_asked *one = &l->all[i];
        bool is_model = one->scope == LIMIT_MODEL;
        if (one->scope != LIMIT_ALL &&
            !bind_one(one, is_model ? models : stages, is_model ? model_count : stage_count, e))
            return false;
    }
    return true;
}

bool limits_asked_fit(const struct limits_asked *l, bool has_objectives, bool open_loop,
                      struct err *e)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct limit_asked *one = &l->all[i];
        if (one->of == LIMIT_GOODPUT && !has_objectives)
            return err_set(e,
                           "threshold \"%s\": goodput needs objectives, such as --slo "
                           "ttft=500ms,e2e=5s",
                           one->text);
        if ((one->of == LIMIT_ACHIEVED || one->of == LIMIT_DROPPED) && !open_loop)
            return err_set(e,
                           "threshold \"%s\": %s is measured against a rate asked for: expected "
                           "--rate, stages with a rate, or --replay",
                           one->text, name_of(one->of)->name);
    }
    return true;
}
