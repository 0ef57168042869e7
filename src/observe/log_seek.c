/* log_seek.c -- bisection of a log by time.
 *
 * A probe reads PROBE_BYTES from somewhere, crosses the line it fell into, and takes the first stamp after it. First some probes spread over
 * the file tell whether it is in order at all; then some twenty a bound find the place. So 10 GB take fifty reads of 16 KiB. */
#include "observe/log_seek.h"

#include "base/mem.h"
#include "observe/logline.h"

#define PROBE_BYTES  (16u << 10)
#define PROBE_MAX    (1u << 20) /* a stamp must come within this, or the file is read whole */
#define PROBES       32         /* spread over the file */
#define NARROW_BYTES (64u << 10)

struct seek {
    struct log_input *in;
    struct logline line;
    char *data; /* PROBE_MAX and LOGLINE_SLACK */
};

struct probe {
    uint64_t at; /* of the line */
    int64_t us;
};

/* The first stamped line that begins in data[0, n), of the bytes at `at` in the file. */
static bool first_stamp(struct seek *s, size_t n, uint64_t at, struct probe *p)
{
    char *end = memrchr(s->data, '\n', n), *line = s->data;
    if (at > 0 && !(line = memchr(s->data, '\n', n)))
        return false;
    line += at > 0;
    while (end && line <= end) {
        enum line_status status;
        char *next = s->data + (logline_read(&s->line, line, end + 1, &status) - s->data);
        if (status == LINE_READ && s->line.found & LOG_BIT(timestamp)) {
            *p = (struct probe){at + (uint64_t)(line - s->data), s->line.r.timestamp};
            return true;
        }
        line = next;
    }
    return false;
}

/* The first stamped line behind the one that the byte at `at` is in. */
static bool probe(struct seek *s, uint64_t at, struct probe *p)
{
    for (size_t room = PROBE_BYTES; room <= PROBE_MAX; room *= 8) {
        ssize_t got = log_input_read(s->in, s->data, room, at);
        if (got <= 0)
            return false;
        memset(s->data + got, 0, LOGLINE_SLACK);
        s->data[got] = '\n';
        if (first_stamp(s, (size_t)got, at, p))
            return true;
    }
    return false;
}

/* Is it in order, as far as some probes can tell? */
static bool is_in_order(struct seek *s, uint64_t bytes)
{
    struct probe p;
    int64_t latest_us = INT64_MIN;
    for (unsigned i = 0; i < PROBES; i++) {
        if (!probe(s, bytes / PROBES * i, &p))
            return false;
        if (latest_us != INT64_MIN && p.us < latest_us - LOG_SEEK_SLACK_US)
            return false;
        latest_us = MAX(latest_us, p.us);
    }
    return true;
}

/* A line before which all are earlier than `us`: not far from the first one that is not. */
static uint64_t find(struct seek *s, uint64_t bytes, int64_t us)
{
    uint64_t low = 0, high = bytes, found = 0;
    struct probe p;
    while (high - low > NARROW_BYTES) {
        uint64_t middle = low + (high - low) / 2;
        if (!probe(s, middle, &p) || p.us >= us) {
            high = middle;
        } else {
            low = middle;
            found = p.at;
        }
    }
    return found;
}

/* A line from which on all are `us` or later, or the file's end. */
static uint64_t find_end(struct seek *s, uint64_t bytes, int64_t us)
{
    uint64_t low = 0, high = bytes, found = bytes;
    struct probe p;
    while (high - low > NARROW_BYTES) {
        uint64_t middle = low + (high - low) / 2;
        if (!probe(s, middle, &p) || p.us < us) {
            low = middle;
        } else {
            high = middle;
            found = p.at;
        }
    }
    return found;
}

void log_seek(struct log_input *in, int64_t since_us, int64_t until_us, uint64_t *from,
              uint64_t *to)
{
    struct seek s = {.in = in};
    uint64_t bytes = *to;
    if ((since_us == INT64_MIN && until_us == INT64_MAX) || bytes < LOG_SEEK_BYTES_MIN)
        return;
    logline_init(&s.line);
    s.data = mem_alloc(PROBE_MAX + LOGLINE_SLACK);
    if (is_in_order(&s, bytes)) {
        if (since_us > INT64_MIN + LOG_SEEK_SLACK_US)
            *from = find(&s, bytes, since_us - LOG_SEEK_SLACK_US);
        if (until_us < INT64_MAX - LOG_SEEK_SLACK_US)
            *to = MAX(find_end(&s, bytes, until_us + LOG_SEEK_SLACK_US), *from);
    }
    mem_free(s.data);
}
