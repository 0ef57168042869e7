/* what_if.c -- see what_if.h. Which route or price a line has follows from its model, provider and upstream model: it is looked for once
 * for each combination of these, and kept with the sums. */
#include "observe/what_if.h"

struct line_group {
    struct what_if_sum sum;
    bool looked_up;
    int route;                 /* -1: none */
    const struct price *price; /* NULL: stays what the log says */
};

static const enum log_field fields[] = {LOG_model, LOG_provider, LOG_upstream_model};

/* ---- the plan ---- */

static bool plan_route(struct what_if_plan *plan, struct str text, struct err *e)
{
    struct str to = text, from = str_trim(str_cut(&to, '='));
    to = str_trim(to);
    if (!from.n || !to.n)
        return err_set(e,
                       "expected MODEL=MODEL, such as gpt-4o=gpt-4o-mini or "
                       "'claude*=groq/llama-3.3-70b-versatile', got \"%.*s\"",
                       STR_ARG(text));
    if (plan->count == WHAT_IF_ROUTES_MAX)
        return err_set(e, "expected at most %d routes", WHAT_IF_ROUTES_MAX);
    const struct price *price = prices_find(plan->table, prices_builtin(), STR_NONE, to, STR_NONE);
    if (!price || !(price->known || price->per_request >= 0 || price->input_per_second >= 0 ||
                    price->output_per_second >= 0))
        return err_set(e,
                       "no price is known for \"%.*s\"; give a table that has it with --prices "
                       "FILE: {\"%.*s\": {\"input_cost_per_token\": 1e-06, "
                       "\"output_cost_per_token\": 2e-06}}",
                       STR_ARG(to), STR_ARG(to));
    plan->routes[plan->count++] = (struct what_if_route){from, to, price};
    return true;
}

bool what_if_plan(struct what_if_plan *plan, const char *routes, const struct prices *table,
                  struct err *e)
{
    *plan = (struct what_if_plan){.table = table};
    struct str rest = str_from(routes);
    while (rest.n) {
        struct str one = str_trim(str_cut(&rest, ','));
        if (one.n && !plan_route(plan, one, e))
            return false;
    }
    return !routes || plan->count || err_set(e, "expected MODEL=MODEL, such as gpt-4o=gpt-4o-mini");
}

/* ---- lines ---- */

void what_if_init(struct what_if *w, const struct what_if_plan *plan)
{
    *w = (struct what_if){.plan = plan};
    groups_init(&w->lines, COUNT(fields), sizeof(struct line_group), WHAT_IF_GROUPS_MAX);
}

void what_if_fini(struct what_if *w)
{
    groups_fini(&w->lines);
}

static void look_up(const struct what_if_plan *plan, const struct group *g, struct line_group *line)
{
    struct str model = g->values[0], provider = g->values[1], upstream = g->values[2];
    line->looked_up = true;
    line->route = -1;
    for (int i = 0; i < plan->count; i++) {
        const struct what_if_route *r = &plan->routes[i];
        if (!str_glob(r->from, model) && !(upstream.n && str_glob(r->from, upstream)))
            continue;
        line->route = i;
        line->price = r->price;
        return;
    }
    if (plan->table)
        line->price = prices_find(plan->table, NULL, provider, model, upstream);
}

void what_if_take(struct what_if *w, const struct logline *l, enum log_event event)
{
    if (event != LOG_EVENT_REQUEST)
        return;
    struct group *g = groups_of_line(&w->lines, l, fields);
    struct line_group *line = g->value;
    if (!line->looked_up)
        look_up(w->plan, g, line);
    uint64_t now_pico = line_cost_pico(l), then_pico = now_pico;
    uint64_t tokens = line_count(l, LOG_BIT(total_tokens), l->r.total_tokens);
    if (line->price) {
        struct record r = line_cost_record(l);
        double then = cost_of(line->price, &r);
        then_pico = then >= 0 ? pico_of_usd(then) : now_pico;
        line->sum.unknown_then += then < 0;
    }
    line->sum.requests++;
    line->sum.tokens += tokens;
    sum_add(&line->sum.now_pico, now_pico);
    sum_add(&line->sum.then_pico, then_pico);
    line->sum.unpriced_now += tokens && !(l->found & LOG_BIT(cost_usd));
}

void what_if_add(struct what_if_sum *to, const struct what_if_sum *sum)
{
    to->requests += sum->requests;
    to->tokens += sum->tokens;
    sum_add(&to->now_pico, sum->now_pico);
    sum_add(&to->then_pico, sum->then_pico);
    to->unpriced_now += sum->unpriced_now;
    to->unknown_then += sum->unknown_then;
}

void what_if_merge(struct what_if *into, const struct what_if *from)
{
    for (size_t i = 0; i < from->lines.count; i++) {
        const struct line_group *line = from->lines.all[i]->value;
        struct line_group *to = groups_get(&into->lines, from->lines.all[i]->values)->value;
        struct what_if_sum sum = to->sum;
        what_if_add(&sum, &line->sum);
        *to = *line;
        to->sum = sum;
    }
}

struct what_if_sum what_if_result(const struct what_if *w, struct groups *out)
{
    struct what_if_sum total = {0};
    groups_init(out, COUNT(fields), sizeof(struct what_if_sum), WHAT_IF_GROUPS_MAX);
    for (size_t i = 0; i < w->lines.count; i++) {
        const struct line_group *line = w->lines.all[i]->value;
        const struct str *values = w->lines.all[i]->values;
        struct str as = line->route >= 0 ? w->plan->routes[line->route].to
                        : line->price    ? STR("")
                                         : STR_NONE;
        const struct str key[] = {values[0], values[1], as};
        what_if_add(groups_get(out, key)->value, &line->sum);
        what_if_add(&total, &line->sum);
    }
    return total;
}
