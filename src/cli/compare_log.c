/* compare_log.c -- --log: each request of the comparison as a record, as the gateway writes them, for weir analyze and weir tail.
 *
 * Written when the run is over, in the order in which requests ended: a run has at most some ten thousand. */
#include <errno.h>

#include "base/clock.h"
#include "cli/compare.h"
#include "observe/record.h"

#define LINE_BYTES 16384

static int by_end(const void *x, const void *y)
{
    const struct sample *a = &(*(const struct compare_trial *const *)x)->sample;
    const struct sample *b = &(*(const struct compare_trial *const *)y)->sample;
    return (a->end_ns > b->end_ns) - (a->end_ns < b->end_ns);
}

static void write_trial(const struct comparison *c, const struct compare_trial *t, FILE *out)
{
    char line[LINE_BYTES];
    struct record r;
    int64_t ago_us = (int64_t)((clock_mono_ns() - t->sample.end_ns) / NS_PER_US);
    sample_to_record(&t->sample, c->models[t->model].name, clock_real_us() - ago_us, &r);
    r.call_type = prompts_call_type(c->api);
    r.provider = c->models[t->model].provider.n ? c->models[t->model].provider : STR_NONE;
    r.cost_usd = t->cost_usd;
    fwrite(line, 1, record_write(&r, line, sizeof line), out);
}

bool compare_write_log(const struct comparison *c, FILE *out, const char *path, struct err *e)
{
    size_t n = c->run.trial_count;
    const struct compare_trial **order = mem_alloc(MAX(n, (size_t)1) * sizeof(void *));
    for (size_t i = 0; i < n; i++)
        order[i] = &c->run.trials[i];
    qsort(order, n, sizeof *order, by_end);
    for (size_t i = 0; i < n; i++)
        write_trial(c, order[i], out);
    mem_free(order);
    bool good = fflush(out) == 0 && !ferror(out);
    if (out != stdout)
        good = fclose(out) == 0 && good;
    return good || err_set(e, "--log: cannot write %s: %s", path, strerror(errno));
}
