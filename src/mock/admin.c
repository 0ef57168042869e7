/* admin.c -- faults set, shown and taken back while the simulator runs: the endpoints under /mock/fault; and /mock/freeze, /mock/times.
 *
 * Faults of answers become rules (rules.h). Faults at accepting are the listeners' own: they hold for the whole port, so the simulator must
 * have a control port, or nobody could take them back. [worker] */
#include "mock/job.h"

enum { WHY_BYTES = 200 };

/* What a body of POST /mock/fault says. */
struct fault_order {
    struct str model;
    struct sim_spec spec;
    bool none; /* take faults back */
    int64_t count;
    double share;
};

static bool say(char *why, const char *sentence)
{
    snprintf(why, WHY_BYTES, "%s", sentence);
    return false;
}

/* {"fault":"status","value":429} is short for {"fault":"status=429"}. */
static bool take_fault(struct fault_order *o, const struct json_node *body, char *why)
{
    const struct json_node *fault = json_get(body, "fault"), *value = json_get(body, "value");
    char text[256];
    if (!fault || fault->kind != JSON_STRING)
        return say(why, "fault: expected the name of a fault, as GET /mock/faults lists them");
    o->none = str_eq(fault->text, STR("none"));
    if (o->none)
        return true;
    if (!value)
        return sim_spec_parse(&o->spec, fault->text, why, WHY_BYTES);
    if (value->kind != JSON_NUMBER)
        return say(why, "value: expected a number");
    int n = snprintf(text, sizeof text, "%.*s=%.*s", STR_ARG(fault->text), STR_ARG(value->text));
    if (n < 0 || (size_t)n >= sizeof text)
        return say(why, "fault: too long");
    return sim_spec_parse(&o->spec, (struct str){text, (size_t)n}, why, WHY_BYTES);
}

static bool take_reach(struct fault_order *o, const struct json_node *body, char *why)
{
    const struct json_node *model = json_get(body, "model"), *count = json_get(body, "count"),
                           *share = json_get(body, "share");
    if (model && model->kind != JSON_STRING)
        return say(why, "model: expected a string");
    if (count && (count->kind != JSON_NUMBER || !str_to_i64(count->text, &o->count) ||
                  o->count < 1 || o->count > INT32_MAX))
        return say(why, "count: expected a whole number of at least 1");
    if (share && share->kind != JSON_NUMBER)
        return say(why, "share: expected a number from 0 to 1");
    o->model = model ? model->text : STR_NONE;
    o->share = share ? share->number : 1;
    if (!(o->share >= 0 && o->share <= 1))
        return say(why, "share: expected a number from 0 to 1");
    return true;
}

static bool take_order(struct fault_order *o, struct arena *a, struct str text, char *why)
{
    static const char *const members[] = {"fault", "value", "model", "count", "share"};
    struct err e = {0};
    struct json_node *body = json_parse(a, text, &e);
    *o = (struct fault_order){.count = -1};
    if (!body || body->kind != JSON_OBJECT)
        return say(why, body ? "expected a JSON object" : e.text);
    for (const struct json_node *n = body->child; n; n = n->next) {
        bool known = false;
        for (size_t i = 0; i < COUNT(members); i++)
            known |= str_eq(n->key, str_from(members[i]));
        if (!known) {
            snprintf(why, WHY_BYTES, "%.*s: expected one of fault, value, model, count, share",
                     (int)MIN(n->key.n, (size_t)60), n->key.p);
            return false;
        }
    }
    return take_fault(o, body, why) && take_reach(o, body, why);
}

static void follow_at_accept(void *arg)
{
    struct mock_worker *w = arg;
    int fault = __atomic_load_n(&w->mock->at_accept, __ATOMIC_ACQUIRE);
    http_server_refuse(w->server, fault == SIM_REFUSE);
}

void mock_set_at_accept(struct mock *m, struct mock_worker *self, int fault, int64_t count)
{
    __atomic_store_n(&m->at_accept_left, count, __ATOMIC_RELAXED);
    __atomic_store_n(&m->at_accept, fault, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < m->worker_count; i++) {
        struct mock_worker *w = &m->workers[i];
        if (!self || w->index == self->index) /* none runs yet, or its own loop */
            follow_at_accept(w);
        else
            loop_call(w->loop, follow_at_accept, w);
    }
}

enum http_welcome mock_on_accept(struct http_server *s)
{
    struct mock_worker *w = http_server_user(s);
    struct mock *m = w->mock;
    int fault = __atomic_load_n(&m->at_accept, __ATOMIC_ACQUIRE);
    if (fault != SIM_CLOSE_ACCEPT && fault != SIM_RESET_ACCEPT)
        return HTTP_SERVE;
    if (__atomic_load_n(&m->at_accept_left, __ATOMIC_RELAXED) >= 0 &&
        __atomic_fetch_sub(&m->at_accept_left, 1, __ATOMIC_RELAXED) <= 0) {
        __atomic_store_n(&m->at_accept, 0, __ATOMIC_RELEASE);
        return HTTP_SERVE;
    }
    COUNTER_ADD(w->tally.turned_away, 1);
    return fault == SIM_CLOSE_ACCEPT ? HTTP_TURN_AWAY : HTTP_TURN_AWAY_RST;
}

static bool obey(struct mock_worker *w, const struct fault_order *o, char *why)
{
    struct mock *m = w->mock;
    bool all = o->model.n == 0;
    if (o->none && all) {
        rules_clear(&m->rules);
        mock_set_at_accept(m, w, 0, -1);
    } else if (o->none) {
        rules_remove(&m->rules, o->model);
    } else if (!o->spec.at_accept) {
        return rules_set(&m->rules, o->model, &o->spec, o->count, o->share, why, WHY_BYTES);
    } else if (!all || o->share < 1) {
        return say(why, "it is about connections: model and share do not go with it");
    } else if (!m->control) {
        return say(why, "nobody could take it back: start weir mock with --control-port PORT");
    } else {
        mock_set_at_accept(m, w, o->spec.set[0].value ? o->spec.set[0].knob : 0, o->count);
    }
    return true;
}

void admin_faults(struct mock_worker *w, struct http_conn *c, struct http_request *r)
{
    struct mock *m = w->mock;
    int fault = __atomic_load_n(&m->at_accept, __ATOMIC_ACQUIRE);
    struct str at_accept = fault ? sim_knob_name((enum sim_knob)fault) : STR("none");
    (void)r;
    buf_clear(&w->text);
    ENSURE(buf_append_str(&w->text, STR("{\"faults\":")) && sim_faults_write(&w->text) &&
           buf_printf(&w->text, ",\"at_accept\":\"%.*s\",\"set\":", STR_ARG(at_accept)) &&
           rules_write(&m->rules, &w->text) && buf_append_str(&w->text, STR("}")));
    http_reply(c, 200, STR("application/json"), STR_NONE, buf_str(&w->text));
}

static void reply_ok(struct http_conn *c)
{
    http_reply(c, 200, STR("application/json"), STR_NONE, STR("{\"status\":\"ok\"}"));
}

void admin_set_fault(struct mock_worker *w, struct http_conn *c, struct http_request *r)
{
    struct arena a;
    struct fault_order o;
    char why[WHY_BYTES] = "";
    arena_init(&a, NULL, 0);
    bool ok = take_order(&o, &a, r->body, why) && obey(w, &o, why);
    arena_fini(&a);
    if (ok)
        reply_ok(c);
    else
        job_refuse(w, c, 400, why);
}

void admin_clear_faults(struct mock_worker *w, struct http_conn *c, struct http_request *r)
{
    rules_clear(&w->mock->rules);
    mock_set_at_accept(w->mock, w, 0, -1);
    (void)r;
    reply_ok(c);
}

/* ---- standing still ---- */

#define FREEZE_MS_MAX 3600000

static void follow_freeze(void *arg)
{
    freeze_worker_follow(&((struct mock_worker *)arg)->freeze);
}

bool mock_order_freeze(struct mock *m, const struct mock_worker *self, int64_t after_ms, int64_t ms,
                       struct err *e)
{
    uint64_t begin_ns = clock_mono_ns() + (uint64_t)after_ms * NS_PER_MS;
    if (!freezer_order(&m->freezer, begin_ns, begin_ns + (uint64_t)ms * NS_PER_MS, e))
        return false;
    for (uint32_t i = 0; i < m->worker_count; i++) {
        struct mock_worker *w = &m->workers[i];
        if (w == self)
            follow_freeze(w);
        else
            loop_call(w->loop, follow_freeze, w);
    }
    return true;
}

/* An optional whole number of ms. */
static bool take_ms(const struct json_node *body, const char *name, int64_t *out, char *why)
{
    const struct json_node *n = json_get(body, name);
    if (!n ||
        (n->kind == JSON_NUMBER && str_to_i64(n->text, out) && *out >= 0 && *out <= FREEZE_MS_MAX))
        return true;
    snprintf(why, WHY_BYTES, "%s: expected a whole number of ms from 0 to %d", name, FREEZE_MS_MAX);
    return false;
}

static bool freeze_as_told(struct mock_worker *w, struct str text, char *why)
{
    struct arena a;
    struct err e = {0};
    int64_t ms = 2000, after_ms = 0;
    arena_init(&a, NULL, 0);
    const struct json_node *body = json_parse(&a, text, &e);
    bool ok = body && body->kind == JSON_OBJECT;
    if (!ok)
        say(why, body ? "expected a JSON object such as {\"ms\":2000,\"after_ms\":500}" : e.text);
    ok = ok && take_ms(body, "ms", &ms, why) && take_ms(body, "after_ms", &after_ms, why);
    arena_fini(&a);
    return ok && (mock_order_freeze(w->mock, w, after_ms, ms, &e) || say(why, e.text));
}

void admin_freeze(struct mock_worker *w, struct http_conn *c, struct http_request *r)
{
    char why[WHY_BYTES] = "";
    if (freeze_as_told(w, r->body, why))
        reply_ok(c);
    else
        job_refuse(w, c, 400, why);
}

/* ---- the account ---- */

void admin_times(struct mock_worker *w, struct http_conn *c, struct http_request *r)
{
    struct mock *m = w->mock;
    struct times *all[MOCK_WORKERS_MAX];
    struct mock_times t;
    bool rows = str_eq(r->head->query, STR("rows"));
    if (!times_kept(&w->times)) {
        job_refuse(w, c, 404, "no account is kept: start weir mock with --times N");
        return;
    }
    for (uint32_t i = 0; i < m->worker_count; i++)
        all[i] = &m->workers[i].times;
    times_summary(all, m->worker_count, &t);
    buf_clear(&w->text);
    bool ok = buf_append_str(&w->text, STR("{")) && times_write(&w->text, &t);
    if (rows)
        ok = ok && buf_append_str(&w->text, STR(",")) &&
             times_write_rows(&w->text, all, m->worker_count);
    ENSURE(ok && buf_append_str(&w->text, STR(",\"freezes\":")) &&
           freezer_write(&m->freezer, &w->text) && buf_append_str(&w->text, STR("}")));
    http_reply(c, 200, STR("application/json"), STR_NONE, buf_str(&w->text));
}

/* One word of --fault, taken apart. */
static bool parse_word(struct str word, struct str *model, struct sim_spec *spec, struct err *e)
{
    char why[WHY_BYTES] = "";
    size_t colon =
        word.n; /* the last one: names of models may have some, those of faults have none */
    while (colon > 0 && word.p[colon - 1] != ':')
        colon--;
    *model = (struct str){word.p, colon ? colon - 1 : 0};
    bool ok = sim_spec_parse(spec, str_skip(word, colon), why, sizeof why);
    if (ok && spec->at_accept && model->n)
        ok = say(why, "it is about connections: a model does not go with it");
    return ok || err_set(e, "--fault %.*s: %s", STR_ARG(word), why);
}

bool mock_check_faults(struct str words, struct err *e)
{
    struct sim_spec spec;
    struct str model, word;
    while (words.n) {
        word = str_cut(&words, ' ');
        if (word.n && !parse_word(word, &model, &spec, e))
            return false;
    }
    return true;
}

bool mock_set_faults(struct mock *m, struct str words, struct err *e)
{
    char why[WHY_BYTES] = "";
    while (words.n) {
        struct sim_spec spec;
        struct str model, word = str_cut(&words, ' ');
        if (!word.n)
            continue;
        if (!parse_word(word, &model, &spec, e))
            return false;
        if (spec.at_accept)
            mock_set_at_accept(m, NULL, spec.set[0].value ? spec.set[0].knob : 0, -1);
        else if (!rules_set(&m->rules, model, &spec, -1, 1, why, sizeof why))
            return err_set(e, "--fault %.*s: %s", STR_ARG(word), why);
    }
    return true;
}
