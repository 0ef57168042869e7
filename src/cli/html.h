/* html.h -- text into HTML. Every text of a page that is not the program's own goes through here. [any thread] */
#pragma once

#include "base/str.h"

/* Writes `text` as content or as the value of a quoted attribute, of HTML or of SVG within it. What could steer a terminal is
 * replaced first (term_safe): control bytes, invalid UTF-8, characters that turn the direction of text. */
void html_put(FILE *out, struct str text);
