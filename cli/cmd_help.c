// headscope help [COMMAND|TOPIC|NAME]
#include "cli/cli.h"

static int run(const hs_call *call, const void *options) {
    (void)options;
    if (call->n_arg) return hs_help_word(call->arg[0], stdout);
    hs_help_overview(stdout);
    return HS_OK;
}

const hs_cmd hs_cmd_help = {
    .name = "help",
    .group = "other",
    .title = "explains a command, topic, observer, data set or query",
    .synopsis = "[COMMAND | TOPIC | NAME]",
    .about = "Without a word: the commands. Topics: models, prompts, select, output, environment, "
             "exit.",
    .examples = (const char *const[][2]){{"help record", "what record does, and its options"},
                                         {"help sinks", "what the observer sinks measures"},
                                         {"help exit", "what the exit statuses mean"},
                                         {NULL}},
    .max_arg = 1,
    .run = run,
};
