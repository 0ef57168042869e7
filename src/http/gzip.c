/* gzip.c -- one call of zlib, and the header that asks for it. */
#include "http/gzip.h"

#include <zlib.h>

#define FROM_BYTES 1024

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

bool gzip_body(struct buf *body)
{
    struct str plain = buf_str(body);
    z_stream z = {0};
    if (plain.n < FROM_BYTES || deflateInit2(&z, Z_BEST_SPEED + 3, Z_DEFLATED, MAX_WBITS + 16, 8,
                                             Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    struct buf packed;
    buf_init(&packed, 0, NULL);
    size_t room = deflateBound(&z, plain.n);
    char *out = buf_room(&packed, room);
    z.next_in = (Bytef *)plain.p;
    z.avail_in = (uInt)plain.n;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)room;
    bool whole = out && deflate(&z, Z_FINISH) == Z_STREAM_END;
    deflateEnd(&z);
    if (!whole) {
        buf_fini(&packed);
        return false;
    }
    buf_wrote(&packed, z.total_out);
    buf_fini(body);
    *body = packed;
    return true;
}
