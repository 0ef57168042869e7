#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/options.c" /* statics: parse_words, print_help */

static struct {
    bool quiet;
    const char *host;
    int64_t port, seed;
    double share;
    int format;
    struct option_list headers;
} got;

static const char *const formats[] = {"table", "json", "csv", NULL};
/* clang-format off */
static const struct option_row rows[] = {
    {.name = "--port", .short_name = "-p", .type = OPT_INT, .into = &got.port, .min = 1, .max = 65535, .value = "PORT", .help = "port to listen on, and a sentence that goes on for so long that it has to be broken into lines"},
    {.name = "--host", .type = OPT_STR, .into = &got.host, .value = "ADDRESS", .help = "address"},
    {.name = "--seed", .type = OPT_INT, .into = &got.seed, .value = "N", .help = "any number"},
    {.name = "--share", .type = OPT_F64, .into = &got.share, .max = 1, .value = "SHARE", .help = "share"},
    {.heading = "How", .name = "--format", .short_name = "-f", .type = OPT_CHOICE, .into = &got.format, .choices = formats, .value = "FORMAT", .help = "output"},
    {.name = "--quiet", .short_name = "-q", .type = OPT_FLAG, .into = &got.quiet, .help = "less"},
    {.name = "--header", .short_name = "-H", .type = OPT_LIST, .into = &got.headers, .value = "LINE", .help = "a line"},
};
/* clang-format on */

static const struct option_row *options(size_t *count)
{
    *count = COUNT(rows);
    return rows;
}

static int run(int argc, char **argv)
{
    (void)argv;
    return argc;
}

static const struct command command = {.name = "try",
                                       .summary = "a command",
                                       .usage = "weir try [options]",
                                       .examples = "  weir try -p 1",
                                       .options = options,
                                       .run = run};

static int reset(void **state)
{
    (void)state;
    memset(&got, 0, sizeof got);
    got.host = "localhost";
    got.port = 4000;
    return 0;
}

#define ARGV_MAX 12
static char *argv_now[ARGV_MAX];
static struct err error_now;
static int kept;

/* Parses NULL-terminated words. */
static enum outcome parse(const char *first, ...)
{
    struct words w = {.rows = rows, .row_count = COUNT(rows), .argv = argv_now};
    va_list args;
    va_start(args, first);
    for (const char *word = first; word && w.argc < ARGV_MAX; word = va_arg(args, const char *))
        argv_now[w.argc++] = (char *)word;
    va_end(args);
    error_now = (struct err){0};
    enum outcome outcome = parse_words(&w, &error_now);
    kept = w.kept;
    return outcome;
}

static void all_forms_of_a_value(void **state)
{
    (void)state;
    assert_int_equal(parse("--port", "1", "--host=a=b", "-q", "--share", "0.25", "-f", "csv", NULL),
                     PARSED);
    assert_int_equal(got.port, 1);
    assert_string_equal(got.host, "a=b");
    assert_true(got.quiet);
    assert_true(got.share > 0.249 && got.share < 0.251);
    assert_int_equal(got.format, 2);
    assert_int_equal(kept, 0);
    assert_int_equal(parse("-p", "65535", "--seed=-7", "--host", "", NULL), PARSED);
    assert_int_equal(got.port, 65535);
    assert_int_equal(got.seed, -7);
    assert_string_equal(got.host, "");
}

static void words_are_kept_in_order(void **state)
{
    (void)state;
    assert_int_equal(parse("one", "-q", "-", "--port", "5", "two", "--", "--port", "--help", NULL),
                     PARSED);
    assert_int_equal(kept, 5);
    assert_string_equal(argv_now[0], "one");
    assert_string_equal(argv_now[1], "-");
    assert_string_equal(argv_now[2], "two");
    assert_string_equal(argv_now[3], "--port");
    assert_string_equal(argv_now[4], "--help");
    assert_int_equal(got.port, 5);
}

static void nothing_is_fine(void **state)
{
    (void)state;
    assert_int_equal(parse(NULL), PARSED);
    assert_int_equal(kept, 0);
    assert_int_equal(got.port, 4000);
}

static void a_list_grows_in_order(void **state)
{
    (void)state;
    assert_int_equal(parse("--header", "a: 1", "-q", "-H", "b: 2", "--header=c: 3", NULL), PARSED);
    assert_int_equal(got.headers.count, 3);
    assert_string_equal(got.headers.values[0], "a: 1");
    assert_string_equal(got.headers.values[1], "b: 2");
    assert_string_equal(got.headers.values[2], "c: 3");
    for (size_t i = 3; i < OPTION_LIST_MAX; i++)
        assert_int_equal(parse("-H", "x", NULL), PARSED);
    assert_int_equal(parse("-H", "x", NULL), MISTAKEN);
    assert_string_equal(error_now.text, "--header: given more than 32 times");
    assert_int_equal(got.headers.count, OPTION_LIST_MAX);
}

#define ASSERT_MISTAKE(sentence, ...)                                                              \
    do {                                                                                           \
        assert_int_equal(parse(__VA_ARGS__, NULL), MISTAKEN);                                      \
        assert_string_equal(error_now.text, sentence);                                             \
    } while (0)

static void mistakes_are_named(void **state)
{
    (void)state;
    ASSERT_MISTAKE("unknown option --prot; did you mean --port?", "--prot", "1");
    ASSERT_MISTAKE("unknown option --formt; did you mean --format?", "--formt=json");
    ASSERT_MISTAKE("unknown option --something-else", "--something-else");
    ASSERT_MISTAKE("unknown option -x", "-x");
    ASSERT_MISTAKE("--port needs a value: --port PORT", "--port");
    ASSERT_MISTAKE("--port: expected a whole number from 1 to 65535, got \"0\"", "--port", "0");
    ASSERT_MISTAKE("--port: expected a whole number from 1 to 65535, got \"65536\"", "-p", "65536");
    ASSERT_MISTAKE("--port: expected a whole number from 1 to 65535, got \"-5\"", "--port", "-5");
    ASSERT_MISTAKE("--port: expected a whole number from 1 to 65535, got \"\"", "--port=");
    ASSERT_MISTAKE("--seed: expected a whole number, got \"1x\"", "--seed", "1x");
    ASSERT_MISTAKE("--share: expected a number from 0 to 1, got \"1.5\"", "--share", "1.5");
    ASSERT_MISTAKE("--share: expected a number from 0 to 1, got \"nan\"", "--share", "nan");
    ASSERT_MISTAKE("--format: expected table, json or csv, got \"xml\"", "--format", "xml");
    ASSERT_MISTAKE("--quiet takes no value", "--quiet=1");
    assert_int_equal(got.port, 4000);
}

/* Runs options_parse in a child; returns its exit status, 100 + its result when it came back. */
static int in_child(char *argument, int stream, char *out, size_t out_bytes)
{
    int ends[2], status;
    char *argv[] = {argument, NULL};
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], stream);
        exit(100 + options_parse(&command, 1, argv));
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t r; (r = read(ends[0], out + n, out_bytes - 1 - n)) > 0;)
        n += (size_t)r;
    out[n] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void help_is_whole_and_exits_0(void **state)
{
    (void)state;
    char text[4096];
    assert_int_equal(in_child((char[]){"--help"}, STDOUT_FILENO, text, sizeof text), 0);
    assert_string_equal(text, "weir try - a command\n"
                              "\n"
                              "Usage: weir try [options]\n"
                              "\n"
                              "Options:\n"
                              "  -p, --port PORT      port to listen on, and a sentence that goes "
                              "on for so long that it has to\n"
                              "                       be broken into lines (default 4000)\n"
                              "      --host ADDRESS   address (default localhost)\n"
                              "      --seed N         any number (default 0)\n"
                              "      --share SHARE    share (default 0)\n"
                              "\n"
                              "How:\n"
                              "  -f, --format FORMAT  output: table, json or csv (default table)\n"
                              "  -q, --quiet          less\n"
                              "  -H, --header LINE    a line\n"
                              "  -h, --help           show this text\n"
                              "\n"
                              "Examples:\n"
                              "  weir try -p 1\n");
    assert_int_equal(in_child((char[]){"-h"}, STDOUT_FILENO, text, sizeof text), 0);
}

static void a_mistake_exits_2(void **state)
{
    (void)state;
    char text[512];
    assert_int_equal(in_child((char[]){"--hots=x"}, STDERR_FILENO, text, sizeof text), 2);
    assert_string_equal(text, "weir try: unknown option --hots; did you mean --host?\n"
                              "Try \"weir try --help\".\n");
    assert_int_equal(in_child((char[]){"word"}, STDERR_FILENO, text, sizeof text), 101);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(all_forms_of_a_value, reset),
        cmocka_unit_test_setup(words_are_kept_in_order, reset),
        cmocka_unit_test_setup(nothing_is_fine, reset),
        cmocka_unit_test_setup(a_list_grows_in_order, reset),
        cmocka_unit_test_setup(mistakes_are_named, reset),
        cmocka_unit_test_setup(help_is_whole_and_exits_0, reset),
        cmocka_unit_test_setup(a_mistake_exits_2, reset),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
