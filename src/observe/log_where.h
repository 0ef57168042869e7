/* log_where.h -- an expression over a line of the log: --where 'latency_ms>2000 and provider=ollama'.
 *
 *   model = gpt-4o                 == is the same; != < <= > >=
 *   model ~ 'gpt-*,o3'             a pattern: * is any run of bytes, commas separate, ! shuts out; http_status ~ 5xx. !~
 *   provider in (openai, azure)    one of them; not in
 *   error.type                     a name alone: the value is there, and not false
 *   and or not ( )                 && || ! are the same; `and` binds closer than `or`
 *
 * Names are those of log_ref.h. What a value is compared with has the field's unit, or its own: latency_ms > 2s, cost_usd > $0.01,
 * prompt_tokens > 10k, timestamp > '1 hour ago' (all that when_parse takes). Quotes, '...' or "...", are needed around what has
 * blanks or signs in it. Texts are equal when their bytes are: case matters, but not in and, or, not, in.
 *
 * A value that is not there is equal to nothing, like nothing, and neither less nor more: such a test is false; != !~ and `not in`
 * are the opposites of = ~ and `in`, so they are true of it. Of an array and of tags, a test holds when it holds for one element.
 * In metadata and bodies numbers are compared as numbers where both sides are (also a text that is one), else as texts; a value in
 * quotes is a text. Escaped texts are looked at up to LOG_WHERE_TEXT_BYTES.
 *
 * Compiled once, into steps with jumps and without a stack. [any thread], once compiled. */
#pragma once

#include "observe/log_ref.h"

#define LOG_WHERE_STEPS_MAX  256 /* tests, nots, ands and ors */
#define LOG_WHERE_VALUES_MAX 256 /* values of one `in` */
#define LOG_WHERE_DEPTH_MAX  64  /* of brackets */
#define LOG_WHERE_TEXT_BYTES 16384

struct log_where;

/* `text` is copied. NULL on a mistake: the sentence names the column, with a line below that shows it. Times are meant at now_us. */
MUST_USE struct log_where *log_where_parse(struct str text, int64_t now_us, struct err *e);
void log_where_free(struct log_where *w); /* NULL is fine */
/* The text it was made of; lives as long as it. */
struct str log_where_text(const struct log_where *w);
bool log_where_matches(const struct log_where *w, const struct logline *l);
