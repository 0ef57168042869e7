/* metrics_gzip.c -- an exposition, packed while it is written. */
#include "http/gzip.h"
#include "observe/metrics.h"

struct packing {
    struct gzip *gzip;
    struct buf *packed;
};

static bool pack(void *arg, struct buf *piece)
{
    struct packing *p = arg;
    bool ok = gzip_add(p->gzip, buf_str(piece), false, p->packed);
    buf_clear(piece);
    return ok;
}

bool metrics_write_gzip(const struct metrics *m, const struct metrics_process *p,
                        enum metrics_format f, struct buf *out)
{
    struct packing packing = {gzip_begin(), out};
    struct metrics_process numbers = *p;
    struct buf text;
    buf_init(&text, 0, NULL);
    numbers.drain = pack;
    numbers.drain_arg = &packing;
    bool whole =
        metrics_write(m, &numbers, f, &text) && gzip_add(packing.gzip, buf_str(&text), true, out);
    buf_fini(&text);
    gzip_free(packing.gzip);
    return whole;
}
