/* gzip.c -- ISA-L's igzip, and the header that asks for it. It packs an exposition of metrics, lines that begin as the line before did, at 3 GB/s,
 * into less than zlib does at a sixth of that (decision 18). */
#include "http/gzip.h"

#include <isa-l/igzip_lib.h>

#include "base/mem.h"

#define FROM_BYTES 1024
#define OUT_BYTES  65536
#define LEVEL      1 /* 0 is no faster and packs worse; 3 takes twice as long for a tenth less */
#define WORK_BYTES ISAL_DEF_LVL1_DEFAULT

bool gzip_accepted(struct str accept_encoding)
{
    while (accept_encoding.n) {
        struct str item = str_cut(&accept_encoding, ','), name = str_trim(str_cut(&item, ';')),
                   weight = str_trim(item);
        double q = 1;
        if (str_starts(weight, STR("q=")) && !str_to_f64(str_skip(weight, 2), &q))
            q = 0;
        if (str_ieq(name, STR("gzip")))
            return q > 0;
    }
    return false;
}

struct gzip {
    struct isal_zstream z;
    uint8_t work[WORK_BYTES];
};

struct gzip *gzip_begin(void)
{
    struct gzip *g = mem_alloc(sizeof *g);
    isal_deflate_init(&g->z);
    g->z.level = LEVEL;
    g->z.level_buf = g->work;
    g->z.level_buf_size = sizeof g->work;
    g->z.gzip_flag = IGZIP_GZIP;
    return g;
}

bool gzip_add(struct gzip *g, struct str piece, bool last, struct buf *packed)
{
    do {
        uint32_t taken = (uint32_t)MIN(piece.n, (size_t)UINT32_MAX / 2);
        char *out = buf_room(packed, OUT_BYTES);
        if (!out)
            return false;
        g->z.next_in = (uint8_t *)piece.p;
        g->z.avail_in = taken;
        g->z.end_of_stream = last && taken == piece.n;
        g->z.next_out = (uint8_t *)out;
        g->z.avail_out = OUT_BYTES;
        if (isal_deflate(&g->z) != COMP_OK)
            return false;
        buf_wrote(packed, OUT_BYTES - g->z.avail_out);
        piece = str_skip(piece, taken - g->z.avail_in);
    } while (piece.n || g->z.avail_out == 0 || (last && g->z.internal_state.state != ZSTATE_END));
    return true;
}

void gzip_free(struct gzip *g)
{
    mem_free(g);
}

bool gzip_body(struct buf *body)
{
    if (buf_used(body) < FROM_BYTES)
        return false;
    struct buf packed;
    buf_init(&packed, 0, NULL);
    struct gzip *g = gzip_begin();
    bool whole = gzip_add(g, buf_str(body), true, &packed);
    gzip_free(g);
    buf_fini(whole ? body : &packed);
    if (whole)
        *body = packed;
    return whole;
}
