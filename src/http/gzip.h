/* gzip.h -- compressing what weir itself serves (RFC 1952), for clients that take it. [any thread], nothing is kept. */
#pragma once

#include "base/buf.h"

struct gzip;

/* Does an Accept-Encoding header take gzip? (RFC 9110 section 12.5.3: not with a weight of 0.) */
bool gzip_accepted(struct str accept_encoding);
/* Puts the compressed form in the place of the content, if that is long enough to be worth it. Returns whether it did. */
bool gzip_body(struct buf *body);

/* The same for what is made piece by piece, and fast: packed while it is written, so that the whole of it is never in memory. */
struct gzip *gzip_begin(void);
/* Adds a piece, the last one ends it; what comes of it is appended to `packed`. False: no memory. */
MUST_USE bool gzip_add(struct gzip *g, struct str piece, bool last, struct buf *packed);
void gzip_free(struct gzip *g); /* NULL is fine */
