// headscope help [KIND] [WORD]
#include "cli/cli.h"

static int run(const hs_call *call, const void *options) {
    (void)options;
    int rc = HS_OK;
    if (call->n_arg > 1)
        rc = hs_help_of(call->arg[0], call->arg[1], stdout);
    else if (call->n_arg)
        rc = hs_help_word(call->arg[0], stdout);
    else
        hs_help_overview(stdout);
    return rc ? rc : hs_help_rc();
}

const hs_cmd hs_cmd_help = {
    .name = "help",
    .group = "other",
    .title = "explains a command, a topic, or anything that has a name",
    .synopsis = "[KIND] [WORD]",
    .about = "Without a word: the commands and topics. WORD is a command, a topic, an observer, an "
             "intervention, a data set, a query, a metric, the short name of a hook point, a "
             "figure, or a table of "
             "the database; where several have that name, KIND tells which.",
    .examples = (const char *const[][2]){{"help record", "what record does, and its options"},
                                         {"help sinks", "what sinks are, and who measures them"},
                                         {"help query sink_rate", "a named query, SQL and all"},
                                         {"help table run", "the columns of a table"},
                                         {"help exit", "what the exit statuses mean"},
                                         {NULL}},
    .max_arg = 2,
    .run = run,
};
