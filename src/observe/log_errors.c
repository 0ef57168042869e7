/* log_errors.c -- exception classes and how often they came: a short list, looked through from its start. */
#include "observe/log_errors.h"

static struct log_error *error_of(struct log_errors *e, const char *class)
{
    for (size_t i = 0; i < e->count; i++)
        if (strcmp(e->list[i].class, class) == 0)
            return &e->list[i];
    if (e->count == LOG_ERRORS_MAX)
        return NULL;
    struct log_error *error = &e->list[e->count++];
    *error = (struct log_error){.first_us = INT64_MAX, .last_us = INT64_MIN};
    snprintf(error->class, sizeof error->class, "%s", class);
    return error;
}

static void add(struct log_errors *e, const struct log_error *more)
{
    struct log_error *error = error_of(e, more->class);
    if (!error) {
        e->other += more->count;
        return;
    }
    error->count += more->count;
    error->first_us = MIN(error->first_us, more->first_us);
    error->last_us = MAX(error->last_us, more->last_us);
}

void log_errors_take(struct log_errors *e, const struct logline *l)
{
    struct log_error one = {.count = 1, .first_us = INT64_MAX, .last_us = INT64_MIN};
    if (!log_json_logs_is_error(l))
        return;
    /* One byte is left for the NUL: `one` is zeroed. A longer name counts as none. */
    log_json_logs_exception(l, one.class, sizeof one.class - 1);
    if (l->found & LOG_BIT(timestamp))
        one.first_us = one.last_us = l->r.timestamp;
    add(e, &one);
}

void log_errors_merge(struct log_errors *into, const struct log_errors *from)
{
    into->other += from->other;
    for (size_t i = 0; i < from->count; i++)
        add(into, &from->list[i]);
}

static int by_count(const void *a, const void *b)
{
    const struct log_error *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return strcmp(x->class, y->class);
}

void log_errors_sort(struct log_errors *e)
{
    if (e->count)
        qsort(e->list, e->count, sizeof *e->list, by_count);
}
