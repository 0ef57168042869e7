/* log_input.c -- opens a log and unpacks it where it is packed.
 *
 * gzip (RFC 1952) and zstd (RFC 8878) may be several members in a row, as `cat a.gz b.gz` or a rotating tool makes them: after one
 * ends the next begins. A packed file that is cut short gives what could be unpacked and then an error, for a log that a
 * machine's crash has cut still holds what came before. */
#include "observe/log_input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/mem.h"

#define PACKED_BYTES (64u << 10)

enum packing { PACKED_NOT, PACKED_GZIP, PACKED_ZSTD };

struct log_decoder {
    enum packing packing;
    z_stream gzip;
    ZSTD_DStream *zstd;
    bool member_done; /* nothing of the next member has been unpacked */
    bool at_end;      /* of the packed bytes */
    size_t at, have;  /* of `packed` */
    char packed[PACKED_BYTES];
};

static bool refuse(struct log_input *in, const char *fmt, ...) PRINTF_LIKE(2, 3);
static bool refuse(struct log_input *in, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(in->error, sizeof in->error, fmt, args);
    va_end(args);
    return false;
}

static ssize_t read_all_of(int fd, char *out, size_t room)
{
    ssize_t got;
    do {
        got = read(fd, out, room);
    } while (got < 0 && errno == EINTR);
    return got;
}

/* Reads on until there are `bytes` packed ones, or no more come. */
static bool fill(struct log_input *in, size_t bytes)
{
    struct log_decoder *d = in->decoder;
    if (d->at > 0) {
        memmove(d->packed, d->packed + d->at, d->have - d->at);
        d->have -= d->at;
        d->at = 0;
    }
    while (d->have < bytes && !d->at_end) {
        ssize_t got = read_all_of(in->fd, d->packed + d->have, sizeof d->packed - d->have);
        if (got < 0)
            return refuse(in, "cannot read: %s", strerror(errno));
        d->have += (size_t)got;
        d->at_end = got == 0;
    }
    return true;
}

static enum packing packing_of(const char *p, size_t n)
{
    if (n >= 2 && memcmp(p, "\x1f\x8b", 2) == 0)
        return PACKED_GZIP;
    if (n >= 4 && memcmp(p, "\x28\xb5\x2f\xfd", 4) == 0)
        return PACKED_ZSTD;
    return PACKED_NOT;
}

static bool start_decoder(struct log_input *in)
{
    struct log_decoder *d = in->decoder = mem_alloc(sizeof *in->decoder);
    if (!fill(in, 4))
        return false;
    d->packing = packing_of(d->packed, d->have);
    d->member_done = true;
    if (d->packing == PACKED_GZIP && inflateInit2(&d->gzip, 16 + MAX_WBITS) != Z_OK)
        return refuse(in, "cannot unpack: out of memory");
    if (d->packing == PACKED_ZSTD && !(d->zstd = ZSTD_createDStream()))
        return refuse(in, "cannot unpack: out of memory");
    return true;
}

/* Is the open file plain, so that it can be read anywhere? */
static bool is_plain(const struct log_input *in, const struct stat *st)
{
    char head[4];
    ssize_t got = S_ISREG(st->st_mode) ? pread(in->fd, head, sizeof head, 0) : -1;
    return got >= 0 && packing_of(head, (size_t)got) == PACKED_NOT;
}

bool log_input_open(struct log_input *in, const char *path)
{
    struct stat st;
    *in = (struct log_input){.fd = -1};
    bool standard = strcmp(path, "-") == 0;
    in->fd = standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
    if (in->fd < 0)
        return refuse(in, "cannot open: %s", strerror(errno));
    if (fstat(in->fd, &st) != 0)
        return refuse(in, "cannot look at it: %s", strerror(errno));
    if (S_ISDIR(st.st_mode))
        return refuse(in, "is a folder; name the files in it");
    in->seekable = !standard && is_plain(in, &st);
    in->bytes = in->seekable ? (uint64_t)st.st_size : 0;
    return in->seekable || start_decoder(in);
}

void log_input_close(struct log_input *in)
{
    struct log_decoder *d = in->decoder;
    if (d && d->packing == PACKED_GZIP)
        inflateEnd(&d->gzip);
    if (d && d->zstd)
        ZSTD_freeDStream(d->zstd);
    mem_free(d);
    in->decoder = NULL;
    if (in->fd >= 0)
        close(in->fd);
    in->fd = -1;
}

/* Unpacks some of what is in `packed`. Returns false when it is damaged. */
static bool unpack_gzip(struct log_input *in, char *out, size_t room, size_t *got)
{
    struct log_decoder *d = in->decoder;
    d->gzip.next_in = (Bytef *)d->packed + d->at;
    d->gzip.avail_in = (uInt)(d->have - d->at);
    d->gzip.next_out = (Bytef *)out;
    d->gzip.avail_out = (uInt)room;
    if (d->member_done && inflateReset(&d->gzip) != Z_OK)
        return refuse(in, "cannot unpack: zlib failed");
    d->member_done = false;
    int status = inflate(&d->gzip, Z_NO_FLUSH);
    d->at = d->have - d->gzip.avail_in;
    *got = room - d->gzip.avail_out;
    d->member_done = status == Z_STREAM_END;
    if (status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR)
        return true;
    return refuse(in, "the gzip data are damaged: %s", d->gzip.msg ? d->gzip.msg : "unknown");
}

static bool unpack_zstd(struct log_input *in, char *out, size_t room, size_t *got)
{
    struct log_decoder *d = in->decoder;
    ZSTD_inBuffer from = {d->packed, d->have, d->at};
    ZSTD_outBuffer to = {out, room, 0};
    size_t left = ZSTD_decompressStream(d->zstd, &to, &from);
    d->at = from.pos;
    *got = to.pos;
    d->member_done = left == 0;
    return !ZSTD_isError(left) ||
           refuse(in, "the zstd data are damaged: %s", ZSTD_getErrorName(left));
}

static ssize_t read_packed(struct log_input *in, char *out, size_t room)
{
    struct log_decoder *d = in->decoder;
    size_t got = 0;
    while (got == 0) {
        if (d->at == d->have && !fill(in, 1))
            return -1;
        if (d->at == d->have && d->member_done)
            return 0;
        size_t before = d->at;
        bool ok = d->packing == PACKED_GZIP ? unpack_gzip(in, out, room, &got)
                                            : unpack_zstd(in, out, room, &got);
        if (!ok)
            return -1;
        bool stuck = got == 0 && d->at == before && !d->member_done;
        if (stuck && d->at_end) {
            refuse(in, "is cut short: the packed data end too early");
            return -1;
        }
    }
    return (ssize_t)got;
}

static ssize_t read_stream(struct log_input *in, char *out, size_t room)
{
    struct log_decoder *d = in->decoder;
    if (d->at == d->have) {
        ssize_t got = d->at_end ? 0 : read_all_of(in->fd, out, room);
        if (got < 0)
            refuse(in, "cannot read: %s", strerror(errno));
        return got;
    }
    size_t n = MIN(room, d->have - d->at); /* what was looked at to tell its packing */
    memcpy(out, d->packed + d->at, n);
    d->at += n;
    return (ssize_t)n;
}

ssize_t log_input_read(struct log_input *in, char *out, size_t room, uint64_t at)
{
    if (in->decoder)
        return in->decoder->packing == PACKED_NOT ? read_stream(in, out, room)
                                                  : read_packed(in, out, room);
    if (at >= in->bytes)
        return 0;
    ssize_t got;
    do {
        got = pread(in->fd, out, (size_t)MIN((uint64_t)room, in->bytes - at), (off_t)at);
    } while (got < 0 && errno == EINTR);
    return got;
}

const char *log_input_error(const struct log_input *in)
{
    return *in->error ? in->error : strerror(errno);
}
