/* A log read while it grows: every trap that rotation sets. Each test runs with inotify and polled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <zlib.h>

#include "base/when.h"
#include "log_files.h"
#include "observe/log_follow.h"
#include "observe/logread.h"

/* ---- what came ---- */

struct heard {
    struct log_follow *follow;
    int numbers[4096];
    size_t count, broken;
    char events[64]; /* a letter each */
    struct str last;
};

static bool poll_only; /* of the round */

static void take(void *arg, const struct logline *l, struct str line)
{
    struct heard *h = arg;
    assert_true(logline_has(l, LOG_BIT(request_id)));
    assert_true(line.n > 0 && line.p[line.n - 1] == '}');
    assert_true(h->count < COUNT(h->numbers));
    char id[16] = "";
    memcpy(id, l->r.request_id.p, MIN(l->r.request_id.n, sizeof id - 1));
    h->numbers[h->count++] = (int)strtol(id, NULL, 10);
}

/* The first number, and how many there are. */
static void count_only(void *arg, const struct logline *l, struct str line)
{
    struct heard *h = arg;
    size_t count = h->count;
    h->count = 0;
    if (count == 0)
        take(arg, l, line);
    h->count = count + 1;
}

static void on_broken(void *arg, const char *expected, size_t column, struct str line)
{
    (void)line;
    assert_non_null(expected);
    assert_true(column >= 1);
    ((struct heard *)arg)->broken++;
}

static void on_event(void *arg, enum log_follow_event event, const char *path)
{
    struct heard *h = arg;
    assert_non_null(path);
    size_t n = strlen(h->events);
    if (n + 1 < sizeof h->events)
        h->events[n] = "MARTL"[event];
}

static struct log_follow_options options_of(struct heard *h, const char *path,
                                            enum log_follow_start start)
{
    *h = (struct heard){0};
    return (struct log_follow_options){.path = path,
                                       .start = start,
                                       .poll_only = poll_only,
                                       .take = take,
                                       .broken = on_broken,
                                       .event = on_event,
                                       .arg = h};
}

static void hear_with(struct heard *h, const struct log_follow_options *o)
{
    struct err e = {0};
    h->follow = log_follow_open(o, &e);
    if (!h->follow)
        fail_msg("%s", e.text);
}

static void hear(struct heard *h, enum log_follow_start start)
{
    struct log_follow_options o = options_of(h, in_dir("requests.log"), start);
    hear_with(h, &o);
}

/* Until there is nothing more. */
static void look(struct heard *h)
{
    struct err e = {0};
    enum log_follow_state state;
    while ((state = log_follow_run(h->follow, 0, &e)) == FOLLOW_MORE)
        ;
    if (state == FOLLOW_FAILED)
        fail_msg("%s", e.text);
}

/* Exactly the numbers [from, to), in order, and then none are left over. */
static void expect(struct heard *h, int from, int to)
{
    size_t n = (size_t)(to - from);
    if (h->count != n)
        fail_msg("%zu lines, expected %zu (%d to %d)", h->count, n, from, to);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(h->numbers[i], from + (int)i);
    h->count = 0;
}

/* ---- who writes ---- */

static FILE *open_log(const char *name, const char *mode)
{
    FILE *out = fopen(in_dir(name), mode);
    assert_non_null(out);
    setvbuf(out, NULL, _IOFBF, 1 << 16);
    return out;
}

static void put(FILE *out, int from, int to)
{
    for (int i = from; i < to; i++)
        fprintf(out,
                "{\"timestamp\":\"2026-11-24T01:%02d:%02d.%03dZ\",\"level\":\"INFO\",\"event\":"
                "\"request\",\"request_id\":\"%d\",\"model\":\"m\"}\n",
                i / 60000 % 60, i / 1000 % 60, i % 1000, i);
    fflush(out);
}

static void append(const char *name, int from, int to)
{
    FILE *out = open_log(name, "a");
    put(out, from, to);
    fclose(out);
}

static void move(const char *from, const char *to)
{
    assert_int_equal(rename(in_dir(from), in_dir(to)), 0);
}

static void finish(struct heard *h)
{
    log_follow_close(h->follow);
    for (int i = -1; i < 30; i++) {
        char name[64] = "requests.log";
        if (i >= 0)
            snprintf(name, sizeof name, "requests.log.%d%s", i / 2, i % 2 ? ".gz" : "");
        unlink(in_dir(name));
    }
}

/* ---- growing ---- */

static void whole_lines_only(void **state)
{
    (void)state;
    struct heard h;
    FILE *out = open_log("requests.log", "a");
    put(out, 0, 3);
    hear(&h, FOLLOW_FROM_END);
    look(&h);
    expect(&h, 0, 0);
    put(out, 3, 5);
    fputs("{\"timestamp\":\"2026-11-24T01:00:00.000Z\",\"request", out);
    fflush(out);
    look(&h);
    expect(&h, 3, 5);
    assert_int_equal(log_follow_behind_bytes(h.follow), 0);
    fputs("_id\":\"5\"}\n\n\r\n", out);
    put(out, 6, 8);
    assert_true(log_follow_behind_bytes(h.follow) > 0);
    look(&h);
    expect(&h, 5, 8);
    fputs("no JSON\n", out);
    put(out, 8, 9);
    look(&h);
    expect(&h, 8, 9);
    assert_int_equal(h.broken, 1);
    assert_string_equal(h.events, "");
    fclose(out);
    finish(&h);
}

static void end_is_where_a_line_begins(void **state)
{
    (void)state;
    struct heard h;
    append("requests.log", 0, 2);
    FILE *out = open_log("requests.log", "a");
    fputs("{\"request_id\":", out);
    fflush(out);
    hear(&h, FOLLOW_FROM_END);
    fputs("\"2\"}\n", out);
    fflush(out);
    look(&h);
    expect(&h, 2, 3);
    fclose(out);
    finish(&h);
}

static void last_lines(void **state)
{
    (void)state;
    static const int asked[] = {0, 1, 7, 2999, 3000, 4000};
    append("requests.log", 0, 3000); /* more than a block */
    for (size_t i = 0; i < COUNT(asked); i++) {
        struct heard h;
        struct log_follow_options o = options_of(&h, in_dir("requests.log"), FOLLOW_LAST_LINES);
        o.last_lines = (uint64_t)asked[i];
        hear_with(&h, &o);
        look(&h);
        expect(&h, MAX(3000 - asked[i], 0), 3000);
        log_follow_close(h.follow);
    }
    unlink(in_dir("requests.log"));
}

static void small_budget(void **state)
{
    (void)state;
    struct heard h;
    struct err e = {0};
    int runs = 1;
    append("requests.log", 0, 3000);
    hear(&h, FOLLOW_FROM_BEGIN);
    while (log_follow_run(h.follow, 10000, &e) == FOLLOW_MORE) {
        assert_int_equal(log_follow_wait_ms(h.follow), 0);
        runs++;
    }
    assert_true(runs > 30);
    expect(&h, 0, 3000);
    finish(&h);
}

static void tells_of_writes(void **state)
{
    (void)state;
    struct heard h;
    append("requests.log", 0, 1);
    hear(&h, FOLLOW_FROM_BEGIN);
    look(&h);
    struct pollfd fd = {.fd = log_follow_fd(h.follow), .events = POLLIN};
    if (poll_only) {
        assert_int_equal(fd.fd, -1);
        assert_int_equal(log_follow_wait_ms(h.follow), 250);
        finish(&h);
        return;
    }
    assert_int_equal(poll(&fd, 1, 0), 0);
    append("requests.log", 1, 2);
    assert_int_equal(poll(&fd, 1, 5000), 1);
    look(&h);
    expect(&h, 0, 2);
    move("requests.log", "requests.log.1");
    assert_int_equal(poll(&fd, 1, 5000), 1);
    look(&h);
    append("requests.log", 2, 3);
    assert_int_equal(poll(&fd, 1, 5000), 1);
    look(&h);
    expect(&h, 2, 3);
    finish(&h);
}

static void line_too_long(void **state)
{
    (void)state;
    struct heard h;
    FILE *out = open_log("requests.log", "a");
    char *x = mem_alloc(1 << 20);
    memset(x, 'x', 1 << 20);
    put(out, 0, 1);
    hear(&h, FOLLOW_FROM_BEGIN);
    for (int i = 0; i < 70; i++) {
        fwrite(x, 1, 1 << 20, out);
        fflush(out);
        look(&h);
    }
    fputs("\n", out);
    put(out, 1, 3);
    look(&h);
    expect(&h, 0, 3);
    assert_int_equal(h.broken, 1);
    mem_free(x);
    fclose(out);
    finish(&h);
}

/* ---- renamed, replaced ---- */

static void renamed_and_written_on(void **state)
{
    (void)state;
    struct heard h;
    FILE *old = open_log("requests.log", "a");
    put(old, 0, 2);
    hear(&h, FOLLOW_FROM_BEGIN);
    look(&h);
    move("requests.log", "requests.log.1");
    put(old, 2, 4);
    look(&h);
    expect(&h, 0, 4);
    FILE *new = open_log("requests.log", "a"); /* made by the tool that rotates */
    put(old, 4, 6);
    look(&h);
    put(old, 6, 8);
    put(new, 8, 10); /* the writer has reopened: all it wrote before is before */
    look(&h);
    expect(&h, 4, 10);
    assert_string_equal(h.events, "R");
    put(old, 10, 11); /* another writer has not yet */
    put(new, 11, 12);
    look(&h);
    expect(&h, 10, 12);
    fclose(old);
    fclose(new);
    finish(&h);
}

static void rotated_many_times_between_looks(void **state)
{
    (void)state;
    struct heard h;
    append("requests.log", 0, 10);
    move("requests.log", "requests.log.1"); /* of before: nobody's business */
    append("requests.log", 10, 20);
    hear(&h, FOLLOW_FROM_BEGIN);
    look(&h);
    expect(&h, 10, 20);
    append("requests.log", 20, 25);
    for (int turn = 0; turn < 4; turn++) {
        for (int i = turn + 1; i >= 1; i--) {
            char from[32], to[32];
            snprintf(from, sizeof from, "requests.log.%d", i);
            snprintf(to, sizeof to, "requests.log.%d", i + 1);
            move(from, to);
        }
        move("requests.log", "requests.log.1");
        append("requests.log", 25 + 10 * turn, 35 + 10 * turn);
    }
    look(&h);
    expect(&h, 20, 65);
    assert_string_equal(h.events, "RRRR");
    append("requests.log", 65, 66);
    look(&h);
    expect(&h, 65, 66);
    finish(&h);
}

/* A file that had the name only while it was empty, and got its lines when it had it no more. */
static void empty_while_it_was_live(void **state)
{
    (void)state;
    struct heard h;
    const struct timespec long_ago[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    append("requests.log", 0, 0);
    hear(&h, FOLLOW_FROM_BEGIN);
    look(&h);
    move("requests.log", "requests.log.1");
    append("requests.log", 0, 0);
    assert_int_equal(utimensat(AT_FDCWD, in_dir("requests.log"), long_ago, 0), 0);
    move("requests.log.1", "requests.log.2");
    move("requests.log", "requests.log.1");
    append("requests.log", 0, 0);
    append("requests.log.2", 0, 5);
    look(&h);
    append("requests.log.1", 5, 10);
    append("requests.log", 10, 15);
    look(&h);
    expect(&h, 0, 15);
    finish(&h);
}

static void from_a_time(void **state)
{
    (void)state;
    append("requests.log.2", 0, 100000); /* numbers are ms from 01:00 on */
    append("requests.log.1", 900000, 900100);
    append("requests.log", 1800000, 1800100);
    static const struct {
        int64_t since_ms;
        int first;
        size_t count;
    } rows[] = {{0, 0, 100200},
                {50000, 0, 100200},
                {1300000, 900000, 200},
                {1800050, 900000, 200},
                {2500000, 1800000, 100}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct heard h;
        int64_t hour_us;
        bool zoned;
        struct log_follow_options o = options_of(&h, in_dir("requests.log"), FOLLOW_FROM_TIME);
        assert_true(when_stamp(STR("2026-11-24T01:00:00Z"), &hour_us, &zoned));
        o.since_us = hour_us + rows[i].since_ms * 1000;
        o.take = count_only;
        hear_with(&h, &o);
        look(&h);
        assert_int_equal(h.numbers[0], rows[i].first);
        assert_int_equal(h.count, rows[i].count);
        log_follow_close(h.follow);
    }
    unlink(in_dir("requests.log.2"));
    unlink(in_dir("requests.log.1"));
    unlink(in_dir("requests.log"));
}

static void removed_and_made_again(void **state)
{
    (void)state;
    struct heard h;
    append("requests.log", 0, 5);
    hear(&h, FOLLOW_FROM_BEGIN);
    look(&h);
    for (int i = 1; i < 5; i++) {
        unlink(in_dir("requests.log"));
        append("requests.log", 5 * i, 5 * i + 5);
        look(&h);
    }
    expect(&h, 0, 25);
    finish(&h);
}

static void renamed_and_back(void **state)
{
    (void)state;
    struct heard h;
    append("requests.log", 0, 5);
    hear(&h, FOLLOW_FROM_BEGIN);
    look(&h);
    move("requests.log", "elsewhere");
    look(&h);
    move("elsewhere", "requests.log");
    append("requests.log", 5, 6);
    look(&h);
    expect(&h, 0, 6);
    finish(&h);
}

static void symlink_pointed_elsewhere(void **state)
{
    (void)state;
    struct heard h;
    append("first", 0, 3);
    append("second", 3, 6);
    assert_int_equal(symlink("first", in_dir("requests.log")), 0);
    hear(&h, FOLLOW_FROM_BEGIN);
    look(&h);
    append("first", 3, 4);
    assert_int_equal(symlink("second", in_dir("next")), 0);
    move("next", "requests.log");
    look(&h);
    assert_int_equal(h.count, 7);
    append("second", 6, 7);
    look(&h);
    assert_int_equal(h.count, 8);
    unlink(in_dir("first"));
    unlink(in_dir("second"));
    finish(&h);
}

static void last_line_of_a_file_let_go(void **state)
{
    (void)state;
    struct heard h;
    FILE *old = open_log("requests.log", "a");
    put(old, 0, 1);
    fputs("{\"request_id\":\"1\"}", old);
    fclose(old);
    hear(&h, FOLLOW_FROM_BEGIN);
    look(&h);
    move("requests.log", "requests.log.1");
    append("requests.log", 2, 3);
    look(&h);
    assert_int_equal(h.count, 2);
    usleep(2100000);
    look(&h);
    assert_int_equal(h.count, 3); /* nobody will end that line */
    assert_int_equal(h.numbers[2], 1);
    append("requests.log", 3, 4);
    look(&h);
    assert_int_equal(h.count, 4);
    finish(&h);
}

/* ---- truncated ---- */

static void truncated(void **state)
{
    (void)state;
    struct heard h;
    append("requests.log", 0, 10);
    hear(&h, FOLLOW_FROM_BEGIN);
    look(&h);
    expect(&h, 0, 10);
    assert_int_equal(truncate(in_dir("requests.log"), 0), 0);
    append("requests.log", 10, 12);
    look(&h);
    expect(&h, 10, 12);
    assert_int_equal(truncate(in_dir("requests.log"), 0), 0);
    append("requests.log", 12, 40); /* longer than it was */
    look(&h);
    expect(&h, 12, 40);
    assert_string_equal(h.events, "TT");
    finish(&h);
}

static void truncated_after_half_a_line(void **state)
{
    (void)state;
    struct heard h;
    FILE *out = open_log("requests.log", "a");
    put(out, 0, 2);
    fputs("{\"timestamp\":\"2026", out);
    fclose(out);
    hear(&h, FOLLOW_FROM_BEGIN);
    look(&h);
    assert_int_equal(truncate(in_dir("requests.log"), 0), 0);
    append("requests.log", 2, 9);
    look(&h);
    expect(&h, 0, 9);
    assert_int_equal(h.broken, 0);
    finish(&h);
}

/* What was written between the last look and the copy is in the copy. */
static void copied_and_truncated(void **state)
{
    (void)state;
    struct heard h;
    char command[400];
    append("requests.log", 0, 10);
    hear(&h, FOLLOW_FROM_BEGIN);
    look(&h);
    append("requests.log", 10, 20);
    snprintf(command, sizeof command, "cp %s %s", in_dir("requests.log"), in_dir("requests.log.1"));
    assert_int_equal(system(command), 0);
    assert_int_equal(truncate(in_dir("requests.log"), 0), 0);
    append("requests.log", 20, 22);
    look(&h);
    expect(&h, 0, 22);
    append("requests.log", 22, 23);
    move("requests.log.1", "requests.log.2");
    move("requests.log", "requests.log.1");
    append("requests.log", 23, 25);
    look(&h);
    expect(&h, 22, 25);
    finish(&h);
}

static void truncated_with_a_hole(void **state)
{
    (void)state;
    struct heard h;
    FILE *out = open_log("requests.log", "w"); /* not O_APPEND: goes on where it was */
    put(out, 0, 3000);
    hear(&h, FOLLOW_FROM_BEGIN);
    look(&h);
    expect(&h, 0, 3000);
    assert_int_equal(truncate(in_dir("requests.log"), 0), 0);
    put(out, 3000, 3003);
    look(&h);
    expect(&h, 3000, 3003);
    assert_int_equal(h.broken, 0);
    fclose(out);
    finish(&h);
}

/* ---- missing ---- */

static void missing_at_start(void **state)
{
    (void)state;
    struct heard h;
    hear(&h, FOLLOW_LAST_LINES);
    look(&h);
    assert_string_equal(h.events, "M");
    append("requests.log", 0, 20);
    look(&h);
    expect(&h, 0, 20);
    assert_string_equal(h.events, "MA");
    finish(&h);
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *name, *says;
    } rows[] = {{"none/requests.log", "no folder"}, {".", "a folder"}, {"packed", "is packed"}};
    FILE *out = open_log("packed", "w");
    fputs("\x1f\x8b\x08 and so on", out);
    fclose(out);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct heard h;
        struct err e = {0};
        struct log_follow_options o = options_of(&h, in_dir(rows[i].name), FOLLOW_FROM_END);
        assert_null(log_follow_open(&o, &e));
        if (!strstr(e.text, rows[i].says))
            fail_msg("%s", e.text);
    }
}

static void standard_input(void **state)
{
    (void)state;
    struct heard h;
    struct err e = {0};
    int ends[2], saved = dup(STDIN_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[0], STDIN_FILENO);
    FILE *out = fdopen(ends[1], "w");
    struct log_follow_options o = options_of(&h, "-", FOLLOW_FROM_END);
    hear_with(&h, &o);
    assert_int_equal(log_follow_run(h.follow, 0, &e), FOLLOW_CAUGHT_UP);
    put(out, 0, 3);
    assert_int_equal(log_follow_run(h.follow, 0, &e), FOLLOW_CAUGHT_UP);
    expect(&h, 0, 3);
    fputs("{\"request_id\":\"3\"}", out);
    fclose(out);
    assert_int_equal(log_follow_run(h.follow, 0, &e), FOLLOW_ENDED);
    expect(&h, 3, 4);
    log_follow_close(h.follow);
    dup2(saved, STDIN_FILENO);
    close(saved);
    close(ends[0]);
}

/* ---- positions ---- */

/* Reads what there is, and says where it stopped. */
static struct log_position read_some(void)
{
    struct heard h;
    hear(&h, FOLLOW_FROM_BEGIN);
    look(&h);
    struct log_position p = log_follow_position(h.follow);
    log_follow_close(h.follow);
    return p;
}

static struct log_position read_on(struct heard *h, struct log_position p)
{
    struct log_follow_options o = options_of(h, in_dir("requests.log"), FOLLOW_FROM_POSITION);
    o.position = p;
    hear_with(h, &o);
    look(h);
    return log_follow_position(h->follow);
}

static void pack(const char *name, const char *packed)
{
    size_t bytes;
    char *text = read_file(in_dir(name), &bytes);
    gzFile out = gzopen(in_dir(packed), "wb");
    assert_int_equal(gzwrite(out, text, (unsigned)bytes), (int)bytes);
    assert_int_equal(gzclose(out), Z_OK);
    mem_free(text);
    unlink(in_dir(name));
}

static void position_in_the_same_file(void **state)
{
    (void)state;
    struct heard h;
    append("requests.log", 0, 100);
    struct log_position p = read_some();
    assert_int_equal(p.head_bytes, LOG_POSITION_HEAD);
    append("requests.log", 100, 110);
    struct log_position q = read_on(&h, p);
    expect(&h, 100, 110);
    assert_true(q.offset > p.offset && q.head_hash == p.head_hash);
    finish(&h);
}

static void position_renamed_and_packed(void **state)
{
    (void)state;
    struct heard h;
    append("requests.log", 0, 3);
    struct log_position p = read_some();
    append("requests.log", 3, 10);
    move("requests.log", "requests.log.1");
    append("requests.log", 10, 20);
    struct log_position q = read_on(&h, p);
    expect(&h, 3, 20);
    assert_string_equal(h.events, "R");
    log_follow_close(h.follow);

    pack("requests.log.1", "requests.log.2.gz");
    move("requests.log", "requests.log.1");
    pack("requests.log.1", "requests.log.1.gz");
    read_on(&h, p); /* the name is missing */
    expect(&h, 3, 20);
    append("requests.log", 20, 22);
    look(&h);
    expect(&h, 20, 22);
    log_follow_close(h.follow);
    read_on(&h, q);
    expect(&h, 20, 22);
    finish(&h);
}

static void position_lost(void **state)
{
    (void)state;
    struct heard h;
    append("requests.log", 0, 30);
    struct log_position p = read_some();
    assert_int_equal(truncate(in_dir("requests.log"), 0), 0); /* same inode, another beginning */
    append("requests.log", 30, 70);
    read_on(&h, p);
    expect(&h, 30, 70);
    assert_string_equal(h.events, "L");
    log_follow_close(h.follow);

    p = (struct log_position){0};
    read_on(&h, p);
    expect(&h, 30, 70);
    assert_string_equal(h.events, "");
    finish(&h);
}

#define TESTS                                                                                      \
    cmocka_unit_test(whole_lines_only), cmocka_unit_test(end_is_where_a_line_begins),              \
        cmocka_unit_test(last_lines), cmocka_unit_test(small_budget),                              \
        cmocka_unit_test(tells_of_writes), cmocka_unit_test(line_too_long),                        \
        cmocka_unit_test(renamed_and_written_on),                                                  \
        cmocka_unit_test(rotated_many_times_between_looks),                                        \
        cmocka_unit_test(empty_while_it_was_live), cmocka_unit_test(from_a_time),                  \
        cmocka_unit_test(removed_and_made_again), cmocka_unit_test(renamed_and_back),              \
        cmocka_unit_test(symlink_pointed_elsewhere), cmocka_unit_test(last_line_of_a_file_let_go), \
        cmocka_unit_test(truncated), cmocka_unit_test(truncated_after_half_a_line),                \
        cmocka_unit_test(copied_and_truncated), cmocka_unit_test(truncated_with_a_hole),           \
        cmocka_unit_test(missing_at_start), cmocka_unit_test(refusals),                            \
        cmocka_unit_test(standard_input), cmocka_unit_test(position_in_the_same_file),             \
        cmocka_unit_test(position_renamed_and_packed), cmocka_unit_test(position_lost)

int main(void)
{
    const struct CMUnitTest told[] = {TESTS}, polled[] = {TESTS};
    int failed = cmocka_run_group_tests_name("inotify", told, make_dir, remove_dir);
    poll_only = true;
    return failed + cmocka_run_group_tests_name("polled", polled, make_dir, remove_dir);
}
