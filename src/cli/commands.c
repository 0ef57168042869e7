/* commands.c -- the lists of commands and tools, and the two that are about the list: version and help. */
#include <openssl/crypto.h>
#include <zlib.h>

#include "cli/command.h"
#include "cli/version.h"

const char *const weir_version = WEIR_VERSION;
const char *const weir_commit = WEIR_COMMIT;

const struct command *const commands[] = {&cmd_serve,
                                          &cmd_mock,
                                          &cmd_tail,
                                          &cmd_analyze,
                                          &cmd_export,
                                          &cmd_test,
                                          &cmd_profile_latency,
                                          &cmd_profile_throughput,
                                          &cmd_compare,
                                          &cmd_load_merge,
                                          &cmd_load,
                                          &cmd_healthcheck,
                                          &cmd_check_config,
                                          &cmd_docs,
                                          &cmd_version,
                                          &cmd_help};
const size_t command_count = COUNT(commands);

/* The links that CMakeLists.txt installs beside the program. */
const struct tool tools[] = {{"tail-requests", &cmd_tail},
                             {"analyze-logs", &cmd_analyze},
                             {"test-request", &cmd_test},
                             {"profile-latency", &cmd_profile_latency},
                             {"profile-throughput", &cmd_profile_throughput},
                             {"compare-providers", &cmd_compare}};
const size_t tool_count = COUNT(tools);

static const struct option_row *no_options(size_t *count)
{
    *count = 0;
    return NULL;
}

static int run_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("weir %s (%s)\nbuilt with %s, %s, zlib %s\n", weir_version, weir_commit, __VERSION__,
           OpenSSL_version(OPENSSL_VERSION), zlibVersion());
    return EXIT_GOOD;
}

static int run_help(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("weir -- an LLM gateway that measures everything that flows through it\n\nusage: weir "
           "COMMAND [options]\n\n");
    for (size_t i = 0; i < command_count; i++)
        printf("  %-18s  %s\n", commands[i]->name, commands[i]->summary);
    printf("\nweir COMMAND --help tells more. Start with: weir serve\n");
    return EXIT_GOOD;
}

const struct command cmd_version = {.name = "version",
                                    .summary = "say what this binary is",
                                    .usage = "weir version",
                                    .options = no_options,
                                    .run = run_version};
const struct command cmd_help = {.name = "help",
                                 .summary = "list the commands",
                                 .usage = "weir help",
                                 .options = no_options,
                                 .run = run_help};
