/* test_report.c -- one request, for people: what came, where its time went, its tokens, its connection, and what is odd about it. */
#include <math.h>
#include <stdarg.h>

#include "base/clock.h"
#include "cli/graph.h"
#include "cli/sentences.h"
#include "cli/table.h"
#include "cli/test.h"

#define BAR_COLUMNS_MIN 10
#define BAR_COLUMNS_MAX 40
#define OTHER_COLUMNS   67 /* of the phases' table, but for its bars */
#define SPARK_COLUMNS   60

static double us(int64_t ns)
{
    return (double)ns / 1e3;
}

/* To the microsecond, so that a reader can add them up; below 0 with its sign. */
static struct num span(int64_t ns)
{
    struct num n;
    snprintf(n.text, sizeof n.text, "%.3f ms", us(ns) / 1e3);
    return n;
}

static struct num maybe_span(uint64_t from_ns, uint64_t to_ns)
{
    int64_t ns = sample_span_ns(from_ns, to_ns);
    return num_ms(ns < 0 ? NAN : us(ns));
}

/* ---- facts: "name   value" lines ---- */

#define NAME_COLUMNS 26

struct facts {
    const struct term *term;
    const char *title;
    bool begun;
};

static void facts_begin(struct facts *f, const struct term *term, const char *title)
{
    *f = (struct facts){.term = term, .title = title};
}

static void fact(struct facts *f, enum term_style style, const char *name, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* A line; the title stands before the first one, so that what has no facts has no title. */
static void fact(struct facts *f, enum term_style style, const char *name, const char *fmt, ...)
{
    char text[600];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (!f->begun) {
        fputc('\n', f->term->out);
        term_put(f->term, STYLE_TITLE, str_from(f->title), 0);
        fputc('\n', f->term->out);
    }
    f->begun = true;
    fputs("  ", f->term->out);
    term_field(f->term, STYLE_DIM, str_from(name), NAME_COLUMNS, ALIGN_LEFT);
    fputs("  ", f->term->out);
    term_put(f->term, style, str_from(text), 0);
    fputc('\n', f->term->out);
}

/* ---- what came ---- */

static void show_tokens(struct facts *f, const struct sample *s)
{
    char cached[60] = "", reasoning[60] = "";
    if (s->prompt_tokens < 0 && s->completion_tokens < 0)
        return;
    if (s->cached_tokens > 0)
        snprintf(cached, sizeof cached, " (%lld of them cached)", (long long)s->cached_tokens);
    if (s->reasoning_tokens > 0)
        snprintf(reasoning, sizeof reasoning, " (%lld of them reasoning)",
                 (long long)s->reasoning_tokens);
    fact(f, STYLE_NONE, "Tokens", "%s in%s, %s out%s%s",
         num_count(s->prompt_tokens < 0 ? NAN : (double)s->prompt_tokens).text, cached,
         num_count(s->completion_tokens < 0 ? NAN : (double)s->completion_tokens).text, reasoning,
         s->tokens_counted ? " (chunks: no usage was told)" : "");
}

static void show_deployment(struct facts *f, const struct test_result *r)
{
    struct str base = test_header(r, "x-litellm-model-api-base"),
               retries = test_header(r, "x-litellm-attempted-retries"),
               fallbacks = test_header(r, "x-litellm-attempted-fallbacks"),
               cache = test_header(r, "x-litellm-cache-key");
    if (r->sample.deployment[0])
        fact(f, STYLE_NONE, "Deployment", "%s%s%.*s", r->sample.deployment, base.n ? " at " : "",
             STR_ARG(base));
    if ((retries.n && !STR_IS(retries, "0")) || (fallbacks.n && !STR_IS(fallbacks, "0")))
        fact(f, STYLE_WARN, "Attempts", "%.*s retries, %.*s fallbacks", STR_ARG(retries),
             STR_ARG(fallbacks));
    if (cache.n)
        fact(f, STYLE_NONE, "Cache", "answered from the gateway's cache");
}

static void show_answer(const struct test_result *r, const struct term *term)
{
    const struct sample *s = &r->sample;
    struct facts f;
    facts_begin(&f, term, "Answer");
    if (s->http_status)
        fact(&f, s->outcome == OUTCOME_OK ? STYLE_GOOD : STYLE_BAD, "Status", "%d %s",
             s->http_status, r->reason);
    if (s->outcome != OUTCOME_OK) {
        fact(&f, STYLE_BAD, "Failed", "%s: %s", outcome_key(s->outcome), outcome_help(s->outcome));
        fact(&f, STYLE_BAD, "Why", "%s", s->error);
    }
    fact(&f, STYLE_NONE, "Model", "%.*s", STR_ARG(r->model));
    show_deployment(&f, r);
    show_tokens(&f, s);
    if (s->finish_reason[0])
        fact(&f, STYLE_NONE, "Finish reason", "%s", s->finish_reason);
    if (s->cost_usd >= 0)
        fact(&f, STYLE_NONE, "Cost", "%s", num_usd(s->cost_usd).text);
    fact(&f, STYLE_NONE, "Request id", "%s", s->request_id);
}

/* ---- where the time went ---- */

/* How wide the bars are; 0: none, the output is no terminal or a narrow one. */
static int bar_columns(const struct term *term)
{
    int room = MIN(term->columns - OTHER_COLUMNS, BAR_COLUMNS_MAX);
    return room < BAR_COLUMNS_MIN ? 0 : room;
}

static void put_bar(const struct term *term, const struct test_phase *p, int64_t total_ns,
                    int columns, char *out, size_t out_bytes)
{
    double whole = total_ns > 0 ? (double)total_ns : 1;
    /* Before it is an int: a server may claim to have taken a million times as long. */
    int blanks = (int)MIN((double)p->begins_ns / whole * columns, (double)(columns - 1));
    memset(out, ' ', (size_t)blanks);
    graph_bar(term->utf8, columns - blanks,
              (double)p->took_ns / whole * columns / (columns - blanks), out + blanks,
              out_bytes - (size_t)blanks);
}

/* The wait, as a sum. */
static void prove_wait(const struct test_phases *p, struct sentences *said)
{
    if (p->upstream_ns < 0) {
        if (p->wait_ns >= 0)
            sentences_add(said,
                          "The server does not say how long it took itself (no Server-Timing, no "
                          "x-litellm-overhead-duration-ms): the wait cannot be taken apart.");
        return;
    }
    sentences_add(
        said,
        "Wait for the first byte, %s = gateway %s + upstream %s + gateway %s + network and client "
        "%s. The gateway's parts are its own account; the last one is what is left.",
        span(p->wait_ns).text, span(p->before_ns).text, span(p->upstream_ns).text,
        span(p->after_ns).text, span(p->rest_ns).text);
    if (p->lost_ns > 0)
        sentences_add(said,
                      "Of the gateway's time before the upstream, %s went to attempts that failed "
                      "and to waits behind them.",
                      span(p->lost_ns).text);
    if (p->processing_ns >= 0)
        sentences_add(said,
                      "By the upstream's own account it worked for %s (openai-processing-ms).",
                      span(p->processing_ns).text);
}

static void show_phases(const struct test_result *r, const struct term *term)
{
    static const struct table_column columns[] = {
        {"Phase", ALIGN_LEFT, "phase"},       {"Whose", ALIGN_LEFT, "whose"},
        {"Begins", ALIGN_RIGHT, "begins_ms"}, {"Took", ALIGN_RIGHT, "took_ms"},
        {"Share", ALIGN_RIGHT, "share"},      {"", ALIGN_LEFT, "bar"}};
    struct test_phases p;
    struct table t;
    struct sentences said;
    char bar[GRAPH_BYTES(BAR_COLUMNS_MAX)];
    int graph = bar_columns(term);
    test_phases(r, &p);
    table_init(&t, columns, COUNT(columns) - (graph == 0));
    table_title(&t, "Where the time went");
    for (size_t i = 0; i < p.count; i++) {
        const struct test_phase *one = &p.list[i];
        table_row(&t);
        table_text(&t, STYLE_NONE, str_from(one->name));
        table_text(&t, STYLE_DIM, str_from(one->whose));
        table_text(&t, STYLE_NONE, str_from(span((int64_t)one->begins_ns).text));
        table_text(&t, STYLE_NONE, str_from(span(one->took_ns).text));
        table_printf(&t, STYLE_DIM, "%.1f %%",
                     p.total_ns ? 100 * (double)one->took_ns / (double)p.total_ns : 0);
        if (!graph)
            continue;
        put_bar(term, one, p.total_ns, graph, bar, sizeof bar);
        table_text(&t, STYLE_ACCENT, str_from(bar));
    }
    table_row(&t);
    table_text(&t, STYLE_TITLE, STR("sum: the whole request"));
    table_text(&t, STYLE_NONE, STR(""));
    table_text(&t, STYLE_NONE, STR(""));
    table_text(&t, STYLE_TITLE, str_from(span(p.total_ns).text));
    fputc('\n', term->out);
    table_write(&t, TABLE_TERMINAL, term);
    table_fini(&t);
    sentences_init(&said, "");
    prove_wait(&p, &said);
    sentences_end(&said, TABLE_TERMINAL, term);
}

/* ---- tokens in time ---- */

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The greatest of neighbours shares a column, so that no stall is lost. */
static size_t spark_values(const struct test_result *r, double out[SPARK_COLUMNS])
{
    size_t count = r->sample.gap_count, columns = MIN(count, (size_t)SPARK_COLUMNS);
    for (size_t c = 0; c < columns; c++) {
        out[c] = 0;
        for (size_t i = c * count / columns; i < (c + 1) * count / columns; i++)
            out[c] = MAX(out[c], (double)r->gaps_ns[i]);
    }
    return columns;
}

static void show_gaps(struct facts *f, const struct test_result *r)
{
    double values[SPARK_COLUMNS];
    char spark[GRAPH_BYTES(SPARK_COLUMNS)];
    uint32_t n = r->sample.gap_count;
    if (!n)
        return;
    uint64_t *sorted = arena_alloc(r->arena, n * sizeof *sorted);
    memcpy(sorted, r->gaps_ns, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_size);
    fact(f, STYLE_NONE, "Between chunks", "median %s, shortest %s, longest %s, %u gaps",
         num_ms(us((int64_t)sorted[(n - 1) / 2])).text, num_ms(us((int64_t)sorted[0])).text,
         num_ms(us((int64_t)r->sample.longest_gap_ns)).text, n);
    graph_spark(f->term->utf8, values, spark_values(r, values), 0, spark, sizeof spark);
    fact(f, STYLE_ACCENT, "Each gap", "%s", spark);
}

/* Reasoning that was counted but not sent was over before the first token came: it is not in this time. */
static void show_tpot(struct facts *f, const struct sample *s)
{
    int64_t span_ns = sample_span_ns(s->first_token_ns, s->last_token_ns);
    bool hidden = s->reasoning_tokens > 0 && s->first_content_ns == s->first_token_ns;
    int64_t tokens = s->completion_tokens - (hidden ? s->reasoning_tokens : 0);
    if (span_ns <= 0 || tokens < 2)
        return;
    double each_ns = (double)span_ns / (double)(tokens - 1);
    fact(f, STYLE_NONE, "Each token (TPOT)", "%s; %s%s", num_ms(each_ns / 1e3).text,
         num_rate(1e9 / each_ns).text,
         hidden ? "; without the reasoning tokens, which were not sent" : "");
}

static void show_speed(const struct test_result *r, const struct term *term)
{
    const struct sample *s = &r->sample;
    struct facts f;
    facts_begin(&f, term, "Tokens in time");
    if (s->first_token_ns) {
        fact(&f, STYLE_NONE, "First token (TTFT)",
             "%s after the request's first byte was sent%s%s%s",
             maybe_span(s->sent_first_ns, s->first_token_ns).text, s->reused ? "" : "; ",
             s->reused ? "" : maybe_span(s->start_ns, s->first_token_ns).text,
             s->reused ? "" : " with the connection's begin (cold)");
        if (s->first_content_ns > s->first_token_ns)
            fact(&f, STYLE_NONE, "First that is no reasoning", "%s",
                 maybe_span(s->sent_first_ns, s->first_content_ns).text);
        fact(&f, STYLE_NONE, "Last token (E2E)", "%s",
             maybe_span(s->sent_first_ns, s->last_token_ns).text);
    }
    show_tpot(&f, s);
    show_gaps(&f, r);
}

/* ---- connection ---- */

static void show_link(const struct test_result *r, const struct term *term)
{
    const struct test_link *l = &r->link;
    struct facts f;
    facts_begin(&f, term, "Connection");
    if (l->remote[0])
        fact(&f, STYLE_NONE, "To", "%s, HTTP/1.%d, %s", l->remote, r->minor_version,
             r->sample.reused ? "kept from the request before" : "a new connection");
    if (l->tls)
        fact(&f, STYLE_NONE, "TLS", "%s, %s, %s", l->tls_version, l->tls_cipher,
             l->tls_resumed ? "session resumed" : "full handshake");
    if (l->tcp)
        fact(&f, l->retransmits ? STYLE_WARN : STYLE_NONE, "TCP",
             "round trip %s (varies by %s), %u retransmitted, window of %u segments of %u bytes",
             num_ms(l->rtt_us).text, num_ms(l->rtt_var_us).text, l->retransmits, l->cwnd_segments,
             l->mss_bytes);
    if (r->sample.head_ns)
        fact(&f, STYLE_NONE, "Times by", "%s; reads came up to %s after the bytes",
             r->sample.kernel_stamped ? "the kernel (when bytes arrived)"
                                      : "this program (when reads returned)",
             num_ms(us((int64_t)r->read_lag_max_ns)).text);
}

/* ---- rate limits ---- */

/* "x-ratelimit-limit-requests" -> "x-ratelimit-remaining-requests". */
static struct str sibling(const struct test_result *r, struct str name, struct str part,
                          const char *other)
{
    const char *at = memmem(name.p, name.n, part.p, part.n);
    size_t head = (size_t)(at - name.p);
    struct str wanted = arena_printf(r->arena, "%.*s%s%.*s", (int)head, name.p, other,
                                     STR_ARG(((struct str){at + part.n, name.n - head - part.n})));
    return test_header(r, wanted.p);
}

static void one_limit(const struct test_result *r, struct str name, struct str limit,
                      void (*add)(void *user, struct str name, struct str meaning), void *user)
{
    struct str left = sibling(r, name, STR("-limit-"), "-remaining-"),
               reset = sibling(r, name, STR("-limit-"), "-reset-"), meaning;
    double most, now;
    if (str_to_f64(limit, &most) && str_to_f64(left, &now) && most > 0)
        meaning = arena_printf(r->arena, "%.*s of %.*s left (%s)", STR_ARG(left), STR_ARG(limit),
                               num_pct(now / most).text);
    else
        meaning = arena_printf(r->arena, "at most %.*s%s%.*s", STR_ARG(limit),
                               left.n ? ", left: " : "", STR_ARG(left));
    if (reset.n)
        meaning =
            arena_printf(r->arena, "%.*s; again full: %.*s", STR_ARG(meaning), STR_ARG(reset));
    add(user, name, meaning);
}

/* The gateway says an upstream's header under two names: once is enough. */
static bool is_echo(const struct test_result *r, struct str name)
{
    static const struct str echo = {"llm_provider-", 13};
    return str_starts(name, echo) && test_header(r, str_skip(name, echo.n).p).n;
}

void test_rate_limits(const struct test_result *r,
                      void (*add)(void *user, struct str name, struct str meaning), void *user)
{
    static const struct {
        const char *name, *meaning;
    } waits[] = {{"retry-after", "seconds, or a date, to wait before the next request"},
                 {"retry-after-ms", "milliseconds to wait before the next request"}};
    for (size_t i = 0; i < r->header_count; i++) {
        struct str name = r->headers[i].name, value = r->headers[i].value;
        char *lower = (char *)arena_str(r->arena, name).p;
        for (size_t k = 0; k < name.n; k++)
            lower[k] = (char)(lower[k] >= 'A' && lower[k] <= 'Z' ? lower[k] + 32 : lower[k]);
        struct str low = {lower, name.n};
        if (str_contains(low, STR("ratelimit")) && str_contains(low, STR("-limit-")) &&
            !is_echo(r, low))
            one_limit(r, low, value, add, user);
        for (size_t k = 0; k < COUNT(waits); k++)
            if (str_eq(low, str_from(waits[k].name)))
                add(user, low, arena_printf(r->arena, "%.*s %s", STR_ARG(value), waits[k].meaning));
    }
}

static void add_limit(void *user, struct str name, struct str meaning)
{
    fact(user, STYLE_NONE, name.p, "%.*s", STR_ARG(meaning));
}

/* ---- the whole ---- */

static void show_flaws(const struct test_result *r, const struct term *term)
{
    struct sentences s;
    sentences_init(&s, "What is odd");
    for (unsigned bit = 0; r->flaws >> bit; bit++)
        if (r->flaws >> bit & 1)
            sentences_add(&s, "%s", answer_flaw_text((enum answer_flaw)(1u << bit)));
    if (r->sample.error[0] && r->sample.outcome == OUTCOME_OK)
        sentences_add(&s, "%s", r->sample.error);
    sentences_end(&s, TABLE_TERMINAL, term);
}

void test_report(const struct test_result *r, const struct term *term)
{
    struct facts limits;
    show_answer(r, term);
    if (r->sample.head_ns || r->sample.connected_ns || r->sample.sent_ns)
        show_phases(r, term);
    show_speed(r, term);
    show_link(r, term);
    facts_begin(&limits, term, "Rate limits");
    test_rate_limits(r, add_limit, &limits);
    show_flaws(r, term);
}

/* ---- several ---- */

static int64_t total_ns(const struct test_result *r)
{
    return sample_span_ns(r->sample.start_ns, r->sample.end_ns);
}

size_t test_median(const struct test_result *list, size_t count)
{
    size_t best = 0, good = 0;
    for (size_t i = 0; i < count; i++)
        good += list[i].sample.outcome == OUTCOME_OK;
    for (size_t i = 0; i < count; i++) {
        size_t below = 0;
        if (list[i].sample.outcome != OUTCOME_OK)
            continue;
        for (size_t k = 0; k < count; k++)
            below += list[k].sample.outcome == OUTCOME_OK &&
                     (total_ns(&list[k]) < total_ns(&list[i]) ||
                      (total_ns(&list[k]) == total_ns(&list[i]) && k < i));
        if (below == (good - 1) / 2)
            best = i;
    }
    return best;
}

void test_report_repeats(const struct test_result *list, size_t count, const struct term *term)
{
    static const struct table_column columns[] = {{"#", ALIGN_RIGHT, "number"},
                                                  {"Outcome", ALIGN_LEFT, "outcome"},
                                                  {"Connection", ALIGN_LEFT, "connection"},
                                                  {"TTFB", ALIGN_RIGHT, "ttfb_ms"},
                                                  {"TTFT", ALIGN_RIGHT, "ttft_ms"},
                                                  {"Total", ALIGN_RIGHT, "total_ms"},
                                                  {"Tokens", ALIGN_RIGHT, "tokens"},
                                                  {"Longest gap", ALIGN_RIGHT, "longest_gap_ms"},
                                                  {"Deployment", ALIGN_LEFT, "deployment"}};
    struct table t;
    table_init(&t, columns, COUNT(columns));
    table_title(&t, "%zu requests", count);
    for (size_t i = 0; i < count; i++) {
        const struct sample *s = &list[i].sample;
        enum term_style style = s->outcome == OUTCOME_OK ? STYLE_NONE : STYLE_BAD;
        table_row(&t);
        table_number(&t, style, num_count((double)i + 1), (double)i + 1);
        table_text(&t, style, str_from(outcome_key(s->outcome)));
        table_text(&t, STYLE_DIM, s->reused ? STR("kept") : STR("new"));
        table_text(&t, style, str_from(maybe_span(s->sent_first_ns, s->first_byte_ns).text));
        table_text(&t, style, str_from(maybe_span(s->sent_first_ns, s->first_token_ns).text));
        table_text(&t, style, str_from(num_ms(us(total_ns(&list[i]))).text));
        table_text(
            &t, style,
            str_from(
                num_count(s->completion_tokens < 0 ? NAN : (double)s->completion_tokens).text));
        table_text(&t, style,
                   str_from(num_ms(s->gap_count ? us((int64_t)s->longest_gap_ns) : NAN).text));
        table_maybe(&t, STYLE_DIM,
                    (struct str){s->deployment, MIN(strlen(s->deployment), (size_t)12)});
    }
    table_note(&t, "Shown below: request %zu, the one with the median total.",
               test_median(list, count) + 1);
    fputc('\n', term->out);
    table_write(&t, TABLE_TERMINAL, term);
    table_fini(&t);
}
