/* term.h -- what the output is: its width, whether it takes colours and UTF-8; and the only way for text to get there.
 *
 * Much of what these tools show was written by strangers: model names, user ids, error messages. Such text never reaches
 * a terminal raw: an escape sequence in it could rewrite the screen or the clipboard. All text goes through term_safe,
 * which term_put, term_field and the tables use. A struct term is filled once by the command (again after SIGWINCH) and
 * passed along; it owns nothing. All functions: [any thread] that owns the FILE. */
#pragma once

#include "base/str.h"

enum color_mode { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };
extern const char *const term_color_modes[]; /* their names in that order, for an OPT_CHOICE */

enum term_style {
    STYLE_NONE,
    STYLE_TITLE,
    STYLE_HEADING,
    STYLE_DIM,
    STYLE_GOOD,
    STYLE_WARN,
    STYLE_BAD,
    STYLE_ACCENT,
};

enum align { ALIGN_LEFT, ALIGN_RIGHT };

struct term {
    FILE *out;
    bool color, utf8;
    int columns; /* 0: no limit, as when the output is a file */
};

void term_init(struct term *t, FILE *out, enum color_mode mode);

/* The SGR sequence that begins a style, and the one that ends all; "" where no colour is wanted. */
const char *term_sgr(const struct term *t, enum term_style style);
const char *term_sgr_end(const struct term *t, enum term_style style);

/* Room that n bytes need at most once made safe, with the ellipsis and the NUL. */
#define TERM_SAFE_BYTES(n) (3 * (n) + 4)
/* Copies `text` without what could steer a terminal: control bytes, C1, DEL, invalid UTF-8 and characters that turn the
 * direction of text are each shown as U+FFFD ('?' in ASCII). Cut at a character's edge, with an ellipsis, to
 * `columns_max` (0: no limit) and to the room in `out`, which ends with a NUL. Returns the columns it takes. */
int term_safe(bool utf8, struct str text, int columns_max, char *out, size_t out_bytes);
/* Columns that term_safe's text takes uncut. */
int term_width(bool utf8, struct str text);

/* Safe text in a style, cut to `columns_max` (0: no limit). Returns the columns it took. */
int term_put(const struct term *t, enum term_style style, struct str text, int columns_max);
/* The same, filled up with blanks to exactly `columns`. */
void term_field(const struct term *t, enum term_style style, struct str text, int columns,
                enum align align);
