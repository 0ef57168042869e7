/* command.h -- a subcommand is one file that ends in a const struct command, and one line in main.c's table. */
#pragma once

#include "base/err.h"

/* Exit statuses every command uses. */
enum exit_status { EXIT_GOOD = 0, EXIT_PROBLEM = 1, EXIT_USAGE = 2, EXIT_UNREACHABLE = 3 };

#define OPTION_VALUE_BYTES 400 /* what option_describe needs at most */

enum option_type { OPT_FLAG, OPT_STR, OPT_INT, OPT_F64, OPT_CHOICE, OPT_LIST };

/* What an option that may be given several times was given, in order. */
#define OPTION_LIST_MAX 32
struct option_list {
    const char *values[OPTION_LIST_MAX];
    size_t count;
};

/* One row an option: parsing, range check, --help, manual. `into` points at bool, const char *, int64_t, double, int (choice index) or
 * struct option_list. */
struct option_row {
    const char *name;       /* "--port" */
    const char *short_name; /* "-p" or NULL */
    enum option_type type;
    void *into;
    int64_t min, max;           /* OPT_INT */
    const char *const *choices; /* OPT_CHOICE, NULL-terminated */
    const char *value;          /* "PORT" in --help */
    const char *help;
    const char *heading; /* above this row and those that follow, or NULL */
};

struct command {
    const char *name;     /* "serve", "check config" */
    const char *summary;  /* one line */
    const char *usage;    /* "weir serve [--config FILE] [options]" */
    const char *examples; /* shown by --help, or NULL */
    const struct option_row *(*options)(
        size_t *count); /* the table; its `into` pointers are the command's statics */
    int (*run)(int argc,
               char **argv); /* what is left after the options, argv[0] the first of them */
};

/* Parses argv against the table ("--x v", "--x=v", "-x v", "--"); prints --help and exits 0; on a mistake prints a sentence that names the
 * nearest option and exits 2. Leaves positional words in argv[0..return). */
int options_parse(const struct command *c, int argc, char **argv);

/* What to say behind the option's help, from what its target holds, so before parsing: " (default 9000)", ": a, b or c (default a)", or
 * nothing. */
void option_describe(const struct option_row *row, char *out, size_t out_bytes);

/* A name that the program is also installed under, and what it does under that name: `analyze-logs FILE` is `weir analyze FILE`. */
struct tool {
    const char *name;
    const struct command *command;
};

extern const struct command cmd_serve, cmd_mock, cmd_tail, cmd_analyze, cmd_export, cmd_test,
    cmd_profile_latency, cmd_profile_throughput, cmd_compare, cmd_load_merge, cmd_load,
    cmd_healthcheck, cmd_check_config, cmd_docs, cmd_version, cmd_help;
extern const struct command *const commands[];
extern const size_t command_count;
extern const struct tool tools[];
extern const size_t tool_count;
