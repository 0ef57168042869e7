/* fuzz_scenario.c -- any bytes as a scenario, as a threshold, as a mix and as stages.
 *
 * What must hold: a text is taken, and then all that came of it lies within its bounds; or it is refused, and then each mistake has a sentence, and
 * a threshold's has its column. What was read of thresholds reads the same again. */
#include <math.h>

#include "measure/scenario.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_limit(const struct limit_asked *l)
{
    ENSURE(l->text[0] && strlen(l->text) < LIMIT_TEXT_BYTES);
    ENSURE(isfinite(l->bound) && l->bound >= 0 && l->quantile >= 0 && l->quantile <= 1);
    ENSURE(l->stat != LIMIT_SHARE || l->bound <= 1);
    ENSURE((l->scope == LIMIT_ALL) == (l->name[0] == '\0'));
}

static void check_limits(struct str text)
{
    struct limits_asked l = {0}, again = {0};
    struct err e = {0};
    if (!limits_asked_add(&l, text, &e)) {
        ENSURE(l.count == 0 && e.text[0]);
        return;
    }
    ENSURE(l.count > 0);
    for (size_t i = 0; i < l.count; i++) {
        check_limit(&l.all[i]);
        again.count = 0;
        ENSURE(limits_asked_add(&again, str_from(l.all[i].text), NULL) && again.count == 1);
        ENSURE(again.all[0].bound == l.all[i].bound && again.all[0].of == l.all[i].of &&
               again.all[0].sign == l.all[i].sign && again.all[0].stat == l.all[i].stat);
    }
}

static void check_stages(const struct stage *stages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct stage *s = &stages[i];
        ENSURE(s->from >= 0 && s->to >= 0 && isfinite(s->from) && isfinite(s->to) && s->name.n);
        ENSURE(s->duration_ns || s->requests);
        ENSURE(s->kind == STAGE_RATE || (floor(s->from) == s->from && floor(s->to) == s->to));
        ENSURE(s->spacing != SPACING_GAMMA || s->gamma_shape > 0);
        ENSURE(s->spacing != SPACING_BURST || s->burst > 0);
    }
}

static void check_scenario(struct str text)
{
    struct scenario s;
    scenario_init(&s);
    if (scenario_parse(&s, text, "fuzz", STR("folder"))) {
        check_stages(s.stages, s.stage_count);
        for (size_t i = 0; i < s.mix_count; i++)
            ENSURE(s.mix[i].model.n && s.mix[i].weight > 0);
        for (size_t i = 0; i < s.limits.count; i++)
            check_limit(&s.limits.all[i]);
    } else {
        ENSURE(s.mistake_count > 0 && s.mistake_count <= SCENARIO_MISTAKES_MAX);
        for (size_t i = 0; i < s.mistake_count; i++)
            ENSURE(s.mistakes[i].text[0] && s.mistakes[i].line > 0 && s.mistakes[i].column > 0);
    }
    scenario_fini(&s);
}

static void check_words(struct str text)
{
    struct arena a;
    struct mix_part *mix;
    struct stage *stages;
    size_t count;
    arena_init(&a, NULL, 0);
    if (scenario_mix_text(&a, text, &mix, &count, NULL))
        for (size_t i = 0; i < count; i++)
            ENSURE(mix[i].model.n && mix[i].weight > 0);
    if (scenario_stages_text(&a, text, text.n % 2 == 1, &stages, &count, NULL))
        check_stages(stages, count);
    arena_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    check_scenario(text);
    check_words(text);
    struct str rest = text;
    for (int lines = 0; rest.n && lines < 40;
         lines++) /* each has room for 64 limits: more are only slow */
        check_limits(str_cut(&rest, '\n'));
    return 0;
}
