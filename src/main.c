/* main.c -- finds the command, by the first words or by the name of the program, and runs it. The tables are cli/commands.c's. */
#include "cli/command.h"

/* The command whose words begin argv; `*words` gets how many they are ("check config" is two). */
static const struct command *find(int argc, char **argv, int *words)
{
    for (size_t i = 0; i < command_count; i++) {
        struct str rest = str_from(commands[i]->name);
        int n = 0;
        bool same = true;
        while (rest.n && same) {
            struct str word = str_cut(&rest, ' ');
            same = n < argc && str_eq(word, str_from(argv[n]));
            n++;
        }
        if (same) {
            *words = n;
            return commands[i];
        }
    }
    return NULL;
}

/* The command of the tool that this was started as, or NULL. */
static const struct command *find_tool(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    for (size_t i = 0; i < tool_count; i++)
        if (!strcmp(name, tools[i].name))
            return tools[i].command;
    return NULL;
}

static int unknown(const char *name)
{
    const char *nearest = NULL;
    int best = 4;
    for (size_t i = 0; i < command_count; i++) {
        ENSURE(commands[i]);
        int distance = str_distance(str_from(name), str_from(commands[i]->name));
        if (distance < best) {
            best = distance;
            nearest = commands[i]->name;
        }
    }
    fprintf(stderr, "weir: there is no command \"%s\"%s%s%s (weir help lists them)\n", name,
            nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
    return EXIT_USAGE;
}

static int run(const struct command *c, int argc, char **argv)
{
    argc = options_parse(c, argc, argv);
    return c->run(argc, argv);
}

int main(int argc, char **argv)
{
    int words = 1;
    const struct command *c = argc > 0 ? find_tool(argv[0]) : NULL;
    if (c)
        return run(c, argc - 1, argv + 1);
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        return cmd_help.run(0, NULL) == EXIT_GOOD && argc >= 2 ? EXIT_GOOD : EXIT_USAGE;
    if (!strcmp(argv[1], "--version"))
        return cmd_version.run(0, NULL);
    c = find(argc - 1, argv + 1, &words);
    if (!c)
        return unknown(argv[1]);
    return run(c, argc - 1 - words, argv + 1 + words);
}
