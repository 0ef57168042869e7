/* metrics_render.c -- how long an exposition takes with the series budget full, and how large it is.
 *
 * metrics_render [--rounds N] [--workers N] [--budget N] [--models N] [--providers N] [--keys N] [--file PREFIX]
 *
 * Fills the numbers of a gateway with that many models, each at every provider, and keys: all deployments answer, stream, fail in several ways and are
 * cancelled, then keys ask until every worker holds all the accounts that it may. Then the two formats are written, plain and packed as for a scraper that accepts
 * gzip, in turn. Prints one JSON object. With --file the expositions are left in PREFIX.text and PREFIX.openmetrics. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "observe/metrics.h"

static const char *const provider_names[] = {"openai",  "anthropic", "azure",      "groq",
                                             "mistral", "deepseek",  "openrouter", "vllm"};
static int64_t rounds = 21, workers = 2, budget, models = 200, hosts = 4, keys = 50;
static const char *file;

#define ROUNDS_MAX 1000
#define FORMATS    4

/* ---- what is configured ---- */

static struct str text(const char *format, long a, const char *b)
{
    char out[128];
    int n = snprintf(out, sizeof out, format, a, b);
    return (struct str){mem_strdup((struct str){out, (size_t)n}), (size_t)n};
}

static struct config configured(void)
{
    uint32_t count = (uint32_t)(models * hosts);
    struct deployment *all = mem_alloc(count * sizeof *all);
    for (uint32_t i = 0; i < count; i++) {
        long model = i / (uint32_t)hosts;
        const char *provider = provider_names[i % (uint32_t)hosts];
        all[i] = (struct deployment){
            .id = i,
            .model_name = text("model-%03ld-instruct", model, ""),
            .model_id = text("%06lx0f3a9b2c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f70819", i, ""),
            .upstream_model = text("model-%03ld-instruct-2026", model, ""),
            .provider_name = str_from(provider),
            .api_base = text("https://api-%ld.%s.example/v1", i % (uint32_t)hosts, provider),
            .tpm = -1,
            .rpm = -1};
    }
    return (struct config){.deployments = all, .deployment_count = count, .series_budget = budget};
}

/* ---- what is recorded ---- */

static struct record record_of(const struct deployment *d, uint32_t seed)
{
    struct record r;
    record_init(&r);
    r.event = STR("request");
    r.status = STR("success");
    r.http_status = 200;
    r.stream = (int8_t)(seed % 2);
    r.latency_us = 1000 + seed * 7919 % 3000000;
    r.ttft_us = r.stream ? r.latency_us / 3 : -1;
    r.upstream_us = r.latency_us - 100;
    r.output_us = r.stream ? r.latency_us / 2 : -1;
    r.overhead_us = 20 + seed % 80;
    r.queue_us = 10 + seed % 50;
    r.prompt_tokens = 100 + seed % 900;
    r.completion_tokens = 20 + seed % 500;
    r.total_tokens = r.prompt_tokens + r.completion_tokens;
    r.cached_tokens = seed % 64;
    r.reasoning_tokens = seed % 32;
    r.tokens_source = STR("provider");
    r.cost_usd = (double)seed * 1e-7;
    r.cache = STR("off");
    r.route = STR("/v1/chat/completions");
    r.trace_id = STR("0af7651916cd43dd8448eb211c80319c");
    r.timestamp = 1700000000000000 + seed;
    r.deployed = d;
    r.model = d->model_name;
    r.model_known = true;
    return r;
}

static void fail(struct record *r, int status)
{
    r->status = STR("failure");
    r->error_code = ERR_UPSTREAM_ERROR;
    r->http_status = status;
    r->error.provider_status = status;
    r->prompt_tokens = r->completion_tokens = r->total_tokens = -1;
    r->cost_usd = -1;
}

/* Every deployment, at every worker: successes, streams, failures of the client, of the provider, attempts, a cancelled request. */
static void fill_models(struct metrics *m, const struct config *c, int worker)
{
    static const int statuses[] = {400, 429, 500, 503};
    for (uint32_t i = 0; i < c->deployment_count; i++) {
        for (uint32_t k = 0; k < 20; k++) {
            struct record r = record_of(&c->deployments[i], i * 31 + k * 7);
            metrics_record(m, worker, &r);
        }
        for (size_t k = 0; k < COUNT(statuses); k++) {
            struct record r = record_of(&c->deployments[i], i);
            fail(&r, statuses[k]);
            metrics_record(m, worker, &r);
            r.event = STR("attempt");
            metrics_record(m, worker, &r);
        }
        struct record r = record_of(&c->deployments[i], i);
        r.status = STR("cancelled");
        r.http_status = 499;
        r.error_code = ERR_CLIENT_GONE;
        metrics_record(m, worker, &r);
    }
}

/* As many pairs of a key and a deployment as there is room for, and more; every worker sees others first. */
static void fill_keys(struct metrics *m, const struct config *c, int worker)
{
    uint32_t all = (uint32_t)keys * c->deployment_count,
             from = all / (uint32_t)workers * (uint32_t)worker;
    struct str *aliases = mem_alloc((size_t)keys * sizeof *aliases),
               *hashes = mem_alloc((size_t)keys * sizeof *hashes);
    for (long k = 0; k < keys; k++) {
        aliases[k] = text("team-%02ld", k, "");
        hashes[k] =
            text("%02lx5f8c1e7d3b9a04652f1e0d9c8b7a6958473625140f1e2d3c4b5a69788796a5", k, "");
    }
    for (uint32_t i = 0; i < all; i++) {
        uint32_t pair = (from + i) % all, key = pair % (uint32_t)keys;
        struct record r = record_of(&c->deployments[pair / (uint32_t)keys], i);
        r.key_alias = aliases[key];
        r.key_hash = hashes[key];
        metrics_record(m, worker, &r);
    }
}

/* ---- measuring ---- */

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

struct taken {
    double ms, cpu_ms;
};

/* As the gateway writes a scrape (gateway/scrape.c). */
static struct taken one(const struct metrics *m, const struct config *c, enum metrics_format f,
                        bool packed, struct buf *out)
{
    struct metrics_process p = {
        .version = "bench", .git_commit = "", .compiler = "", .config = c, .ready = true};
    buf_init(out, 0, NULL);
    uint64_t began_ns = clock_mono_ns();
    double began_cpu_ms = cpu_ms();
    ENSURE((packed ? metrics_write_gzip : metrics_write)(m, &p, f, out));
    return (struct taken){(double)(clock_mono_ns() - began_ns) / 1e6, cpu_ms() - began_cpu_ms};
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static uint64_t lines_of(struct str s)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == '\n';
    return n;
}

static void keep(struct str s, const char *suffix)
{
    char path[512];
    snprintf(path, sizeof path, "%s.%s", file, suffix);
    FILE *f = fopen(path, "we");
    ENSURE(f && fwrite(s.p, 1, s.n, f) == s.n && fclose(f) == 0);
}

static void print_spread(const char *name, double *values)
{
    qsort(values, (size_t)rounds, sizeof *values, by_value);
    printf(", \"%s\": {\"min\": %.3f, \"median\": %.3f, \"max\": %.3f}", name, values[0],
           values[rounds / 2], values[rounds - 1]);
}

static void measure(const struct metrics *m, const struct config *c)
{
    static const char *const names[FORMATS] = {"text", "openmetrics", "text_gzip",
                                               "openmetrics_gzip"};
    static double ms[FORMATS][ROUNDS_MAX], cpu[FORMATS][ROUNDS_MAX];
    uint64_t bytes[FORMATS] = {0}, lines[FORMATS] = {0};
    for (int64_t r = -1; r < rounds; r++) { /* one to warm up */
        for (int f = 0; f < FORMATS; f++) {
            struct buf out;
            struct taken t = one(m, c, f % 2 ? METRICS_OPENMETRICS : METRICS_TEXT, f >= 2, &out);
            bytes[f] = buf_used(&out);
            if (r >= 0) {
                ms[f][r] = t.ms;
                cpu[f][r] = t.cpu_ms;
            } else if (f < 2) {
                lines[f] = lines[f + 2] = lines_of(buf_str(&out));
                if (file)
                    keep(buf_str(&out), names[f]);
            }
            buf_fini(&out);
        }
    }
    printf("{");
    for (int f = 0; f < FORMATS; f++) {
        printf("%s\"%s\": {\"bytes\": %llu, \"lines\": %llu", f ? ", " : "", names[f],
               (unsigned long long)bytes[f], (unsigned long long)lines[f]);
        print_spread("ms", ms[f]);
        print_spread("cpu_ms", cpu[f]);
        printf("}");
    }
    printf("}\n");
}

/* ---- the command ---- */

static void usage(void)
{
    fprintf(stderr, "usage: metrics_render [--rounds N] [--workers N] [--budget N] [--models N] "
                    "[--providers N] [--keys N] [--file PREFIX]\n");
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int64_t *into, max;
    } options[] = {{"--rounds", &rounds, ROUNDS_MAX},
                   {"--workers", &workers, 64},
                   {"--budget", &budget, 1000000},
                   {"--models", &models, 100000},
                   {"--providers", &hosts, COUNT(provider_names)},
                   {"--keys", &keys, 100000}};
    budget = 6000; /* the default of weir_settings.series_budget */
    for (int i = 1; i < argc; i += 2) {
        bool known = i + 1 < argc && strcmp(argv[i], "--file") == 0;
        if (known)
            file = argv[i + 1];
        for (size_t k = 0; k < COUNT(options) && i + 1 < argc && !known; k++)
            known = strcmp(argv[i], options[k].name) == 0 &&
                    str_to_i64(str_from(argv[i + 1]), options[k].into) && *options[k].into > 0 &&
                    *options[k].into <= options[k].max;
        if (!known)
            usage();
    }
    struct config c = configured();
    struct metrics *m = metrics_new((int)workers, &c);
    for (int w = 0; w < workers; w++) {
        fill_models(m, &c, w);
        fill_keys(m, &c, w);
    }
    measure(m, &c);
    metrics_free(m);
    return 0;
}
