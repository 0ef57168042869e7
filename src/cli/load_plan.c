/* load_plan.c -- a scenario's file and the command line become one plan: what options say goes before the file.
 *
 * An option that shapes the load (--concurrency, --rate, --stages, --replay, --duration, --requests) puts away all stages of the file, and
 * makes its own: a ramp, a warm-up, and the load itself. */
#include <math.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rand.h"
#include "base/when.h"
#include "cli/load.h"

#define DEFAULT_USERS      10
#define DEFAULT_DURATION_S 30
#define RAMP_START         10 /* the warm-up of a ramp is at this part of its end */

static int usage(const struct err *e)
{
    return measure_options_fail("load", e, EXIT_USAGE);
}

/* ---- spans ---- */

static bool span_ns(const char *option, const char *text, uint64_t *out, struct err *e)
{
    int64_t us;
    *out = 0;
    if (!text)
        return true;
    if (!when_span(str_from(text), &us, e))
        return err_prefix(e, option);
    *out = (uint64_t)us * NS_PER_US;
    return true;
}

/* ---- stages by options ---- */

struct shape {
    uint64_t duration_ns, ramp_ns, warmup_ns;
    double level;
    enum stage_kind kind;
};

static bool is_shaped(const struct load_options *o)
{
    return o->concurrency || o->rate > 0 || o->duration || o->requests || o->ramp || o->stages ||
           o->replay;
}

/* An option that is given as 0 is no option that was not given. */
static bool check_zeros(const struct load_options *o, struct err *e)
{
    const struct {
        const char *name;
        double value;
    } positive[] = {{"--rate", o->rate}, {"--gamma", o->gamma}, {"--speed", o->speed}};
    for (size_t i = 0; i < COUNT(positive); i++)
        if (positive[i].value <= 0)
            return err_set(e, "%s: expected a number above 0", positive[i].name);
    return true;
}

static bool check_shape(const struct load_options *o, struct err *e)
{
    const char *levels = o->concurrency ? "--concurrency" : o->rate > 0 ? "--rate" : NULL;
    bool timed = o->duration || o->requests || o->ramp;
    if (o->concurrency && o->rate > 0)
        return err_set(e, "--concurrency and --rate are two kinds of load: give one of them");
    if (o->stages && (o->concurrency || timed))
        return err_set(e, "--stages says how much and how long: expected no %s beside it",
                       o->concurrency ? "--concurrency"
                       : o->ramp      ? "--ramp"
                       : o->duration  ? "--duration"
                                      : "--requests");
    if (o->replay && (levels || o->stages || o->ramp || o->requests))
        return err_set(e, "--replay keeps to the log's own times: expected no %s beside it",
                       levels        ? levels
                       : o->stages   ? "--stages"
                       : o->requests ? "--requests"
                                     : "--ramp");
    if (o->replay && o->warmup)
        return err_set(e, "--replay keeps to the log's own times: expected no --warmup beside it");
    if (o->speed > 0 && !o->replay)
        return err_set(e, "--speed is of --replay FILE");
    if ((int)o->poisson + (o->gamma > 0) + (o->burst > 0) > 1)
        return err_set(e, "--poisson, --gamma and --burst exclude each other");
    return true;
}

static void set_spacing(const struct load_options *o, struct stage *s)
{
    s->spacing = o->poisson     ? SPACING_POISSON
                 : o->gamma > 0 ? SPACING_GAMMA
                 : o->burst > 0 ? SPACING_BURST
                                : SPACING_CONSTANT;
    s->gamma_shape = o->gamma > 0 ? o->gamma : 0;
    s->burst = (uint32_t)o->burst;
}

static bool has_spacing(const struct load_options *o)
{
    return o->poisson || o->gamma > 0 || o->burst > 0;
}

/* What comes before the measured load: as it begins, so that caches and connections are warm and nobody is overrun. */
static struct stage warm_up(const struct stage *first, uint64_t duration_ns)
{
    struct stage s = *first;
    double level = first->from == first->to ? first->to : MAX(first->from, first->to / RAMP_START);
    s.from = s.to = first->kind == STAGE_USERS ? MAX(ceil(level), 1.0) : level;
    s.name = STR("warm-up");
    s.requests = 0;
    s.duration_ns = duration_ns;
    s.warm_up = true;
    return s;
}

static void add_level_stages(struct load_plan *p, const struct load_options *o,
                             const struct shape *x)
{
    struct scenario *s = &p->scenario;
    struct stage load = {.kind = x->kind,
                         .from = x->level,
                         .to = x->level,
                         .duration_ns = x->duration_ns,
                         .requests = (uint64_t)o->requests};
    if (!load.duration_ns && !load.requests)
        load.duration_ns = DEFAULT_DURATION_S * NS_PER_S;
    set_spacing(o, &load);
    if (x->ramp_ns) {
        struct stage ramp = load;
        ramp.name = STR("ramp");
        ramp.from = 0;
        ramp.duration_ns = x->ramp_ns;
        ramp.requests = 0;
        s->stages[s->stage_count++] = ramp;
    }
    s->stages[s->stage_count++] = load;
}

static bool make_stages(struct load_plan *p, const struct load_options *o, struct err *e)
{
    struct scenario *s = &p->scenario;
    struct shape x = {.kind = o->rate > 0 ? STAGE_RATE : STAGE_USERS};
    x.level = o->rate > 0 ? o->rate : o->concurrency ? (double)o->concurrency : DEFAULT_USERS;
    if (!span_ns("--duration", o->duration, &x.duration_ns, e) ||
        !span_ns("--ramp", o->ramp, &x.ramp_ns, e))
        return false;
    s->stage_count = 0;
    if (o->stages) {
        if (!scenario_stages_text(&s->arena, str_from(o->stages), false, &s->stages,
                                  &s->stage_count, e))
            return err_prefix(e, "--stages");
        for (size_t i = 0; i < s->stage_count; i++)
            if (s->stages[i].kind == STAGE_RATE)
                set_spacing(o, &s->stages[i]);
    } else {
        s->stages = arena_zalloc(&s->arena, 2 * sizeof *s->stages);
        add_level_stages(p, o, &x);
    }
    return true;
}

static bool add_warm_up(struct load_plan *p, const struct load_options *o, struct err *e)
{
    struct scenario *s = &p->scenario;
    uint64_t warmup_ns;
    if (!span_ns("--warmup", o->warmup, &warmup_ns, e) || !warmup_ns)
        return !e->text[0];
    if (s->stage_count == RESULTS_STAGES_MAX)
        return err_set(e, "--warmup: there are %u stages already", RESULTS_STAGES_MAX);
    struct stage *all = arena_zalloc(&s->arena, (s->stage_count + 1) * sizeof *all);
    all[0] = warm_up(&s->stages[0], warmup_ns);
    memcpy(all + 1, s->stages, s->stage_count * sizeof *all);
    s->stages = all;
    s->stage_count++;
    return true;
}

/* A replay may be cut: its stage only says when, and the log says what. */
static bool make_replay(struct load_plan *p, const struct load_options *o, struct err *e)
{
    struct scenario *s = &p->scenario;
    struct arrivals_plan *a = &p->arrivals;
    struct replayed *replay;
    uint64_t duration_ns;
    s->stage_count = 0;
    if (o->replay)
        s->replay_file = o->replay;
    if (o->speed > 0)
        s->replay_speed = o->speed;
    if (!span_ns("--duration", o->duration, &duration_ns, e) ||
        !arrivals_from_log(&s->arena, s->replay_file, &replay, &a->replay_count, &s->mix,
                           &s->mix_count, e))
        return false;
    if (a->replay_count == 0)
        return err_set(e, "%s: it has no request to replay", s->replay_file);
    if (s->mix_count > RESULTS_MODELS_MAX)
        return err_set(e, "%s: it has %zu models, and at most %u can be told apart", s->replay_file,
                       s->mix_count, RESULTS_MODELS_MAX);
    a->replay = replay;
    a->replay_speed = isnan(s->replay_speed) ? 1 : s->replay_speed;
    if (duration_ns) {
        s->stages = arena_zalloc(&s->arena, sizeof *s->stages);
        s->stages[0] =
            (struct stage){.name = STR("replay"), .kind = STAGE_RATE, .duration_ns = duration_ns};
        s->stage_count = 1;
    }
    return true;
}

static bool make_load(struct load_plan *p, const struct load_options *o, struct err *e)
{
    struct scenario *s = &p->scenario;
    if (!check_zeros(o, e) || !check_shape(o, e))
        return false;
    if (o->replay || (s->replay_file && !is_shaped(o)))
        return make_replay(p, o, e);
    s->replay_file = NULL;
    if ((is_shaped(o) || !s->stage_count) && !make_stages(p, o, e))
        return false;
    bool rates = false;
    for (size_t i = 0; i < s->stage_count; i++)
        rates |= s->stages[i].kind == STAGE_RATE;
    if (has_spacing(o) && !rates)
        return err_set(e, "%s is of a rate: expected --rate, or --stages with /s",
                       o->poisson     ? "--poisson"
                       : o->gamma > 0 ? "--gamma"
                                      : "--burst");
    if (!add_warm_up(p, o, e))
        return false;
    scenario_name_stages(&s->arena, s->stages, s->stage_count);
    return true;
}

/* ---- whom, and what ---- */

/* What options leave open is as the file says. */
static struct measure_options shared_of(const struct load_plan *p, const struct load_options *o)
{
    const struct scenario *s = &p->scenario;
    struct measure_options m = o->shared;
    m.url = m.url ? m.url : s->url;
    m.key = m.key ? m.key : s->key;
    m.ca_file = m.ca_file ? m.ca_file : s->ca_file;
    m.insecure |= s->insecure;
    for (size_t i = 0; i < s->header_count && m.headers.count < OPTION_LIST_MAX; i++)
        m.headers.values[m.headers.count++] = s->headers[i];
    m.api = m.api ? m.api : (int)s->prompts.api;
    if (!m.prompt && !m.prompt_file && !m.body_file && !m.prompt_tokens) {
        m.prompt = s->prompts.text;
        m.prompt_file = s->prompts.source == PROMPT_FILE ? s->prompts.file : NULL;
        m.body_file = s->prompts.source == PROMPT_BODY ? s->prompts.file : NULL;
        m.prompt_tokens = s->prompts.prompt_tokens;
    }
    m.max_tokens = m.max_tokens >= 0 ? m.max_tokens : s->prompts.max_tokens;
    m.temperature = isnan(m.temperature) ? s->prompts.temperature : m.temperature;
    m.metadata = m.metadata ? m.metadata : s->prompts.metadata;
    m.no_stream |= !s->prompts.stream;
    m.no_nonce |= !s->prompts.nonce;
    m.seed = s->seed;
    return m;
}

/* Equal for equal questions: not the seed, which machines of one test have each of their own. */
static uint64_t hash_of_prompts(const struct measure_options *m)
{
    struct buf b;
    buf_init(&b, 0, NULL);
    ENSURE(buf_printf(&b, "%s\n%s\n%s\n%s\n%lld %lld %.9g %d %d %d", m->prompt ? m->prompt : "",
                      m->prompt_file ? m->prompt_file : "", m->body_file ? m->body_file : "",
                      m->metadata ? m->metadata : "", (long long)m->prompt_tokens,
                      (long long)m->max_tokens, isnan(m->temperature) ? -1 : m->temperature,
                      m->no_stream, m->no_nonce, m->api));
    uint64_t hash = str_hash(buf_str(&b));
    buf_fini(&b);
    return hash;
}

static void choose_seed(struct scenario *s, const struct load_options *o)
{
    struct rng r;
    if (o->shared.seed)
        s->seed = o->shared.seed;
    if (s->seed > 0)
        return;
    rng_seed(&r, 0);
    s->seed = (int64_t)(rng_next(&r) >> 12) + 1; /* a double holds it, as JSON's readers have it */
}

static bool take_mix(struct load_plan *p, const struct load_options *o, struct err *e)
{
    struct scenario *s = &p->scenario;
    const char *text = o->mix ? o->mix : o->model;
    if (o->mix && o->model)
        return err_set(e, "--model and --mix both say whom to ask: give one of them");
    if (o->mix)
        return scenario_mix_text(&s->arena, str_from(text), &s->mix, &s->mix_count, e) ||
               err_prefix(e, "--mix");
    if (o->model) {
        s->mix = arena_zalloc(&s->arena, sizeof *s->mix);
        s->mix[0] = (struct mix_part){arena_str(&s->arena, str_from(text)), 1};
        s->mix_count = 1;
    }
    return true;
}

static bool take_rest(struct load_plan *p, const struct load_options *o, struct err *e)
{
    struct scenario *s = &p->scenario;
    uint64_t grace_ns;
    if (o->slo && !objectives_parse(str_from(o->slo), &s->slo, e))
        return err_prefix(e, "--slo");
    for (size_t i = 0; i < o->thresholds.count; i++)
        if (!limits_asked_add(&s->limits, str_from(o->thresholds.values[i]), e))
            return err_prefix(e, "--threshold");
    if (!span_ns("--grace", o->grace, &grace_ns, e))
        return false;
    s->grace_ms = o->grace ? (int64_t)(grace_ns / NS_PER_MS) : s->grace_ms;
    s->threads = o->threads ? o->threads : s->threads;
    s->connections_max = o->connections ? o->connections : s->connections_max;
    s->fresh_connections |= o->fresh_connections;
    s->user_stamps |= o->user_stamps;
    if (o->name)
        s->name = arena_str(&s->arena, str_from(o->name));
    choose_seed(s, o);
    p->spin = !o->no_spin;
    return true;
}

static void fill_arrivals(struct load_plan *p)
{
    struct scenario *s = &p->scenario;
    struct arrivals_plan *a = &p->arrivals;
    a->stages = s->stages;
    a->stage_count = s->stage_count;
    a->mix = s->mix;
    a->mix_count = s->mix_count;
    a->prompt_count = prompts_count(p->prompts);
    a->seed = (uint64_t)s->seed;
    p->open_loop = a->replay != NULL;
    p->all_open = true;
    for (size_t i = 0; i < s->stage_count && !a->replay; i++) {
        bool rate = s->stages[i].kind == STAGE_RATE, measured = !s->stages[i].warm_up;
        p->open_loop |= rate && measured;
        p->all_open &= rate || !measured;
    }
    p->models = arena_alloc(&s->arena, (s->mix_count + 1) * sizeof *p->models);
    p->stages = arena_alloc(&s->arena, (s->stage_count + 1) * sizeof *p->stages);
    for (size_t i = 0; i < s->mix_count; i++)
        p->models[i] = s->mix[i].model;
    for (size_t i = 0; i < s->stage_count; i++)
        p->stages[i] = s->stages[i].name;
    if (!s->stage_count)
        p->stages[0] = STR("replay");
}

/* ---- the whole ---- */

static bool read_file(struct load_plan *p, const char *file, int *status)
{
    struct scenario *s = &p->scenario;
    if (!file || scenario_read(s, file))
        return true;
    for (size_t i = 0; i < s->mistake_count; i++)
        *status = measure_options_fail("load", &s->mistakes[i],
                                       s->mistakes[i].line ? EXIT_USAGE : EXIT_UNREACHABLE);
    return false;
}

static bool find_model(struct load_plan *p, int *status)
{
    struct scenario *s = &p->scenario;
    if (s->mix_count)
        return true;
    struct str name = measure_options_model("load", p->target, &s->arena, NULL, status);
    s->mix = arena_zalloc(&s->arena, sizeof *s->mix);
    s->mix[0] = (struct mix_part){name, 1};
    s->mix_count = name.p != NULL;
    return name.p != NULL;
}

bool load_plan_make(struct load_plan *p, const struct load_options *o, const char *file,
                    int *status)
{
    struct err e = {0};
    struct scenario *s = &p->scenario;
    *p = (struct load_plan){.file = file};
    scenario_init(s);
    if (!read_file(p, file, status))
        return false;
    if (!take_mix(p, o, &e) || !make_load(p, o, &e) || !take_rest(p, o, &e)) {
        bool unread = s->replay_file && access(s->replay_file, R_OK) != 0;
        *status = measure_options_fail("load", &e, unread ? EXIT_UNREACHABLE : EXIT_USAGE);
        return false;
    }
    struct measure_options shared = shared_of(p, o);
    p->api = (enum prompt_api)shared.api;
    p->prompts_hash = hash_of_prompts(&shared);
    p->prompts = measure_options_prompts("load", &shared, status);
    p->target = p->prompts ? measure_options_target("load", &shared, status) : NULL;
    if (!p->target || !find_model(p, status))
        return false;
    fill_arrivals(p);
    size_t stages = MAX(s->stage_count, (size_t)1);
    if (limits_asked_bind(&s->limits, p->models, s->mix_count, p->stages, stages, &e) &&
        limits_asked_fit(&s->limits, objectives_any(&s->slo), p->open_loop, &e))
        return true;
    if (file && is_shaped(o) && strstr(e.text, "there is no stage"))
        snprintf(e.text + strlen(e.text), sizeof e.text - strlen(e.text),
                 ": options replaced the stages of the file");
    *status = usage(&e);
    return false;
}

void load_plan_fini(struct load_plan *p)
{
    measure_target_free(p->target);
    prompts_free(p->prompts);
    scenario_fini(&p->scenario);
}
