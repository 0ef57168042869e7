/* log_lines.h -- lines of a log for unit tests, read as logread would hand them over. */
#pragma once

#include "observe/log_meaning.h"

/* Reads `text` into `l`, whose strings stay valid until the next call. */
static inline enum log_event line_read(struct logline *l, const char *text)
{
    static char data[4096];
    enum line_status status;
    size_t n = strlen(text);
    assert_true(n + LOGLINE_SLACK < sizeof data);
    memcpy(data, text, n);
    memset(data + n, '\n', LOGLINE_SLACK);
    logline_init(l);
    (void)logline_read(l, data, data + n, &status);
    assert_int_equal(status, LINE_READ);
    return log_event_of(l);
}
