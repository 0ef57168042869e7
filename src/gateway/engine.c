/* engine.c -- reads what Ollama, vLLM and llama.cpp say of themselves: JSON, and Prometheus's text format.
 *
 * Formats as their documentation shows them in 2026: Ollama's docs/api.md (/api/ps, /api/version), vLLM's "Production metrics" (vllm:kv_cache_usage_perc
 * was vllm:gpu_cache_usage_perc before its engine V1), llama.cpp's tools/server/README.md (/props, /metrics, /slots; the latter two may be switched off). */
#include "gateway/engine.h"

#include <math.h>

#include "base/json.h"

#define COUNT_MAX 9007199254740991.0 /* what a double counts exactly: 2^53 - 1 */

void engine_report_init(struct engine_report *r)
{
    *r = (struct engine_report){.loaded = ENGINE_UNKNOWN,
                                .running = ENGINE_UNKNOWN,
                                .waiting = ENGINE_UNKNOWN,
                                .slots = ENGINE_UNKNOWN,
                                .kv_cache_ratio = ENGINE_UNKNOWN};
}

const char *engine_name(enum engine_kind kind)
{
    static const char *const names[ENGINE_KIND_COUNT] = {[ENGINE_NONE] = "none",
                                                         [ENGINE_AUTO] = "auto",
                                                         [ENGINE_OLLAMA] = "ollama",
                                                         [ENGINE_VLLM] = "vllm",
                                                         [ENGINE_LLAMA_CPP] = "llama.cpp"};
    return names[kind];
}

bool engine_is_model(const char *name, struct str upstream_model)
{
    struct str loaded = str_from(name);
    return str_eq(loaded, upstream_model) ||
           (str_starts(loaded, upstream_model) &&
            STR_IS(str_skip(loaded, upstream_model.n), ":latest"));
}

/* ---- Prometheus's text format ---- */

static bool is_name_byte(char c, bool first)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
    return letter || (!first && c >= '0' && c <= '9');
}

static struct str cut_name(struct str *line)
{
    size_t n = 0;
    while (n < line->n && is_name_byte(line->p[n], n == 0))
        n++;
    struct str name = {line->p, n};
    *line = str_skip(*line, n);
    return name;
}

/* Bytes up to the brace that closes the labels; a brace within a quoted value does not. -1: it is missing. */
static ptrdiff_t labels_end(struct str s)
{
    bool quoted = false;
    for (size_t i = 0; i < s.n; i++) {
        if (quoted && s.p[i] == '\\')
            i++;
        else if (s.p[i] == '"')
            quoted = !quoted;
        else if (!quoted && s.p[i] == '}')
            return (ptrdiff_t)i;
    }
    return -1;
}

static bool read_value(struct str text, double *out)
{
    static const struct {
        const char *text;
        double value;
    } words[] = {{"NaN", (double)NAN},
                 {"+Inf", (double)INFINITY},
                 {"Inf", (double)INFINITY},
                 {"-Inf", -(double)INFINITY}};
    for (size_t i = 0; i < COUNT(words); i++)
        if (str_ieq(text, str_from(words[i].text))) {
            *out = words[i].value;
            return true;
        }
    return str_to_f64(text, out);
}

/* name{labels} value [timestamp] [# exemplar] */
static bool read_sample(struct str line, struct prom_sample *out)
{
    *out = (struct prom_sample){.name = cut_name(&line)};
    line = str_trim(line);
    if (line.n && line.p[0] == '{') {
        line = str_skip(line, 1);
        ptrdiff_t end = labels_end(line);
        if (end < 0)
            return false;
        out->labels = (struct str){line.p, (size_t)end};
        line = str_trim(str_skip(line, (size_t)end + 1));
    }
    struct str value = str_cut(&line, ' ');
    return out->name.n && read_value(str_cut(&value, '\t'), &out->value);
}

bool prom_next(struct str *rest, struct prom_sample *out)
{
    while (rest->n) {
        struct str line = str_cut(rest, '\n');
        if (str_ends(line, STR("\r")))
            line.n--;
        line = str_trim(line);
        if (line.n && line.p[0] != '#' && read_sample(line, out))
            return true;
    }
    return false;
}

/* ---- numbers ---- */

static int64_t count_of(double value)
{
    return value >= 0 ? (int64_t)MIN(value, COUNT_MAX) : ENGINE_UNKNOWN; /* NaN is not >= 0 */
}

static void add_count(int64_t *to, double value)
{
    int64_t more = count_of(value);
    if (more != ENGINE_UNKNOWN)
        *to = MIN(MAX(*to, 0) + more, (int64_t)COUNT_MAX);
}

/* What of an engine's samples is wanted. Several of one name are its parts (data-parallel ranks): requests are added up, of ratios the highest counts. */
enum gauge { GAUGE_RUNNING, GAUGE_WAITING, GAUGE_KV_CACHE };
struct gauge_row {
    const char *name;
    enum gauge gauge;
};

static void add_gauge(struct engine_report *r, enum gauge gauge, double value)
{
    switch (gauge) {
    case GAUGE_RUNNING: add_count(&r->running, value); break;
    case GAUGE_WAITING: add_count(&r->waiting, value); break;
    case GAUGE_KV_CACHE:
        if (value >= 0 && value <= 1)
            r->kv_cache_ratio = MAX(r->kv_cache_ratio, value);
        break;
    }
}

/* False: there is no sample whose name begins with `prefix`. */
static bool read_gauges(struct str body, const char *prefix, const struct gauge_row *rows,
                        size_t count, struct engine_report *r)
{
    struct prom_sample sample;
    bool found = false;
    while (prom_next(&body, &sample)) {
        if (!str_starts(sample.name, str_from(prefix)))
            continue;
        found = true;
        for (size_t i = 0; i < count; i++)
            if (str_eq(sample.name, str_from(rows[i].name)))
                add_gauge(r, rows[i].gauge, sample.value);
    }
    return found;
}

static bool read_vllm_metrics(struct arena *a, struct str body, struct engine_report *r)
{
    static const struct gauge_row rows[] = {
        {"vllm:num_requests_running", GAUGE_RUNNING},
        {"vllm:num_requests_waiting", GAUGE_WAITING},
        {"vllm:kv_cache_usage_perc", GAUGE_KV_CACHE},
        {"vllm:gpu_cache_usage_perc", GAUGE_KV_CACHE},
    };
    (void)a;
    return read_gauges(body, "vllm:", rows, COUNT(rows), r);
}

static bool read_llama_metrics(struct arena *a, struct str body, struct engine_report *r)
{
    static const struct gauge_row rows[] = {
        {"llamacpp:requests_processing", GAUGE_RUNNING},
        {"llamacpp:requests_deferred", GAUGE_WAITING},
        {"llamacpp:kv_cache_usage_ratio", GAUGE_KV_CACHE},
    };
    (void)a;
    return read_gauges(body, "llamacpp:", rows, COUNT(rows), r);
}

/* ---- JSON ---- */

/* Cut at a character's edge: the text may be any. */
static void copy_text(char *to, size_t room, const struct json_node *n)
{
    size_t bytes = n && n->kind == JSON_STRING ? MIN(n->text.n, room - 1) : 0;
    while (bytes && bytes < n->text.n && ((unsigned char)n->text.p[bytes] & 0xc0) == 0x80)
        bytes--;
    if (bytes)
        memcpy(to, n->text.p, bytes);
    to[bytes] = '\0';
}

static int64_t number_of(const struct json_node *n)
{
    return n && n->kind == JSON_NUMBER ? count_of(n->number) : ENGINE_UNKNOWN;
}

static void read_model(const struct json_node *n, struct engine_model *m)
{
    const struct json_node *name = json_get(n, "model");
    copy_text(m->name, sizeof m->name, name ? name : json_get(n, "name"));
    copy_text(m->expires_at, sizeof m->expires_at, json_get(n, "expires_at"));
    m->size_bytes = number_of(json_get(n, "size"));
    m->vram_bytes = number_of(json_get(n, "size_vram"));
}

/* {"models": [{"name": "llama3.2:latest", "size": 3427000000, "size_vram": 3427000000, "expires_at": "2026-..."}]} */
static bool read_ollama_ps(struct arena *a, struct str body, struct engine_report *r)
{
    struct json_node *root = json_parse(a, body, NULL),
                     *models = root ? json_get(root, "models") : NULL;
    if (!models || models->kind != JSON_ARRAY)
        return false;
    r->loaded = (int64_t)models->count;
    r->models_kept = 0;
    for (const struct json_node *m = models->child; m && r->models_kept < ENGINE_MODELS_MAX;
         m = m->next)
        if (m->kind == JSON_OBJECT)
            read_model(m, &r->models[r->models_kept++]);
    return true;
}

/* {"version": "0.5.1"}: Ollama and vLLM. */
static bool read_version(struct arena *a, struct str body, struct engine_report *r)
{
    const struct json_node *root = json_parse(a, body, NULL),
                           *version = root ? json_get(root, "version") : NULL;
    copy_text(r->version, sizeof r->version, version);
    return r->version[0] != '\0';
}

/* {"total_slots": 1, "build_info": "b6000-...", "model_path": ..., "default_generation_settings": {...}} */
static bool read_llama_props(struct arena *a, struct str body, struct engine_report *r)
{
    const struct json_node *root = json_parse(a, body, NULL);
    if (!root || !json_get(root, "default_generation_settings"))
        return false;
    r->slots = number_of(json_get(root, "total_slots"));
    copy_text(r->version, sizeof r->version, json_get(root, "build_info"));
    return true;
}

/* [{"id": 0, "is_processing": false, ...}]; before 2025 "state": 0 or 1. What /metrics has said stands. */
static bool read_llama_slots(struct arena *a, struct str body, struct engine_report *r)
{
    const struct json_node *root = json_parse(a, body, NULL);
    int64_t busy = 0;
    if (!root || root->kind != JSON_ARRAY)
        return false;
    for (const struct json_node *n = root->child; n; n = n->next) {
        const struct json_node *now = json_get(n, "is_processing"), *state = json_get(n, "state");
        busy += now ? now->kind == JSON_TRUE : number_of(state) > 0;
    }
    r->slots = (int64_t)root->count;
    if (r->running == ENGINE_UNKNOWN)
        r->running = busy;
    return true;
}

/* ---- what to ask ---- */

static const struct engine_ask asks[] = {
    {ENGINE_OLLAMA, "/api/ps", read_ollama_ps},
    {ENGINE_OLLAMA, "/api/version", read_version},
    {ENGINE_VLLM, "/metrics", read_vllm_metrics},
    {ENGINE_VLLM, "/version", read_version},
    {ENGINE_LLAMA_CPP, "/props", read_llama_props},
    {ENGINE_LLAMA_CPP, "/metrics", read_llama_metrics},
    {ENGINE_LLAMA_CPP, "/slots", read_llama_slots},
};

int engine_next_ask(enum engine_kind kind, int from)
{
    for (int i = from; i < (int)COUNT(asks); i++)
        if (asks[i].kind == kind)
            return i;
    return -1;
}

const struct engine_ask *engine_ask(int row)
{
    return &asks[row];
}

enum engine_kind engine_next_kind(enum engine_kind kind)
{
    static const enum engine_kind next[ENGINE_KIND_COUNT] = {[ENGINE_AUTO] = ENGINE_OLLAMA,
                                                             [ENGINE_OLLAMA] = ENGINE_VLLM,
                                                             [ENGINE_VLLM] = ENGINE_LLAMA_CPP,
                                                             [ENGINE_LLAMA_CPP] = ENGINE_NONE};
    return next[kind];
}
