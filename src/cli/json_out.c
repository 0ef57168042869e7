#include "cli/json_out.h"

#include <math.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"

static void put(struct json_out *j, const char *text)
{
    ENSURE(buf_append_str(&j->out, str_from(text)));
}

/* Names are the program's own: nothing in them needs an escape. */
static void begin(struct json_out *j, const char *name)
{
    if (!j->first)
        put(j, ",");
    j->first = false;
    if (name)
        ENSURE(buf_printf(&j->out, "\"%s\":", name));
}

void json_out_init(struct json_out *j)
{
    buf_init(&j->out, 0, NULL);
    j->first = true;
}

void json_out_end(struct json_out *j, FILE *out)
{
    put(j, "\n");
    fwrite(j->out.data, 1, j->out.len, out);
    buf_fini(&j->out);
}

void json_nest(struct json_out *j, const char *name, const char *bracket)
{
    begin(j, name);
    put(j, bracket);
    j->first = true;
}

void json_unnest(struct json_out *j, const char *bracket)
{
    put(j, bracket);
    j->first = false;
}

void json_text(struct json_out *j, const char *name, struct str text)
{
    begin(j, name);
    if (text.p)
        ENSURE(json_write_string(&j->out, text));
    else
        put(j, "null");
}

void json_count(struct json_out *j, const char *name, uint64_t value)
{
    begin(j, name);
    ENSURE(buf_printf(&j->out, "%llu", (unsigned long long)value));
}

void json_bool(struct json_out *j, const char *name, bool value)
{
    begin(j, name);
    put(j, value ? "true" : "false");
}

void json_number(struct json_out *j, const char *name, double value, const char *fmt)
{
    char text[400];
    begin(j, name);
    snprintf(text, sizeof text, fmt, value);
    put(j, isfinite(value) ? text : "null");
}

void json_stamp(struct json_out *j, const char *name, int64_t us)
{
    char text[CLOCK_RFC3339_BYTES];
    if (us == INT64_MIN || us == INT64_MAX) {
        json_text(j, name, STR_NONE);
        return;
    }
    clock_rfc3339(us, text);
    json_text(j, name, (struct str){text, sizeof text});
}
