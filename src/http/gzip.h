/* gzip.h -- compressing what weir itself serves (RFC 1952), for clients that take it. [any thread], nothing is kept. */
#pragma once

#include "base/buf.h"

/* Does an Accept-Encoding header take gzip? (RFC 9110 section 12.5.3: not with a weight of 0.) */
bool gzip_accepted(struct str accept_encoding);
/* Puts the compressed form in the place of the content, if that is long enough to be worth it. Returns whether it did. */
bool gzip_body(struct buf *body);
