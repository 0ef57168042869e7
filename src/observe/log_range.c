#include "observe/log_range.h"

#include "observe/log_input.h"
#include "observe/logline.h"

/* Notes the stamps of the whole lines in [p, end). */
static void note_stamps(struct logline *l, const char *p, const char *end, int64_t *first_us,
                        int64_t *last_us)
{
    while (p < end) {
        enum line_status status;
        p = logline_read(l, p, end, &status);
        if (status != LINE_READ || !(l->found & LOG_BIT(timestamp)))
            continue;
        *first_us = MIN(*first_us, l->r.timestamp);
        *last_us = MAX(*last_us, l->r.timestamp);
    }
}

static bool note_part(struct log_input *in, struct logline *l, char *data, uint64_t at,
                      int64_t *first_us, int64_t *last_us)
{
    ssize_t got = log_input_read(in, data, LOG_RANGE_BYTES, at);
    if (got <= 0)
        return false;
    memset(data + got, '\n', LOGLINE_SLACK);
    const char *p = data, *end = memrchr(data, '\n', (size_t)got);
    if (at > 0 && (p = memchr(data, '\n', (size_t)got))) /* it begins in the middle of a line */
        p++;
    if (p && end && p <= end)
        note_stamps(l, p, end + 1, first_us, last_us);
    return true;
}

bool log_first_stamp(const char *path, int64_t *first_us)
{
    struct log_input in;
    struct logline l;
    int64_t last_us = INT64_MIN;
    char *data = mem_alloc(LOG_RANGE_BYTES + LOGLINE_SLACK);
    *first_us = INT64_MAX;
    logline_init(&l);
    if (log_input_open(&in, path))
        (void)note_part(&in, &l, data, 0, first_us, &last_us);
    log_input_close(&in);
    mem_free(data);
    return *first_us <= last_us;
}

bool log_range(const char *path, int64_t *first_us, int64_t *last_us)
{
    struct log_input in;
    struct logline l;
    char *data = mem_alloc(LOG_RANGE_BYTES + LOGLINE_SLACK);
    *first_us = INT64_MAX;
    *last_us = INT64_MIN;
    logline_init(&l);
    if (log_input_open(&in, path) && log_input_seekable(&in)) {
        uint64_t bytes = log_input_bytes(&in);
        bool ok = note_part(&in, &l, data, 0, first_us, last_us);
        if (ok && bytes > LOG_RANGE_BYTES)
            (void)note_part(&in, &l, data, bytes - LOG_RANGE_BYTES, first_us, last_us);
    }
    log_input_close(&in);
    mem_free(data);
    return *first_us <= *last_us;
}
