// headscope completion SHELL: the script that a shell loads; headscope completion words: what the
// script asks.
#include <limits.h>
#include <string.h>

#include "cli/help/complete.h"

static const struct {
    const char *shell, *text;
} scripts[] = {
#define HS_SCRIPT(shell, text) {#shell, text},
#include "gen/completion.inc"
#undef HS_SCRIPT
    {NULL, NULL},
};

static int answer(const hs_call *call) {
    hs_buf out = {0};
    int rc = hs_complete(&out, call->n_arg - 1, call->arg + 1);
    if (!rc) fputs(hs_buf_text(&out), stdout);
    hs_buf_free(&out);
    return rc;
}

static int run(const hs_call *call, const void *options) {
    (void)options;
    const char *shell = call->n_arg ? call->arg[0] : "";
    if (strcmp(shell, "words") == 0) return answer(call);
    for (int i = 0; scripts[i].shell && call->n_arg == 1; i++)
        if (strcmp(scripts[i].shell, shell) == 0) {
            fputs(scripts[i].text, stdout);
            return HS_OK;
        }
    return hs_fail(HS_EARG, "completion for which shell? One of bash, zsh, fish");
}

const hs_cmd hs_cmd_completion = {
    .name = "completion",
    .group = "other",
    .title = "completion of commands, options and values in bash, zsh and fish",
    .synopsis = "bash|zsh|fish|words [-- WORD...]",
    .about =
        "Prints the script that the shell loads. make install puts all three where the shells "
        "look; "
        "otherwise:\n"
        "bash :: source <(headscope completion bash), in ~/.bashrc\n"
        "zsh :: source <(headscope completion zsh), in ~/.zshrc after compinit\n"
        "fish :: headscope completion fish | source, in ~/.config/fish/config.fish\n"
        "The scripts ask headscope itself: completion words -- WORD... prints what may stand in "
        "place of the last word. The first line is 'words', 'folders' or 'files' with the endings "
        "that fit; then comes a line a word, and after a tab what it means. Runs, prompts and "
        "heads come from the database that the line names. Words that a shell would give a meaning "
        "to are never offered.",
    .examples = (const char *const[][2]){{"completion bash", "the script for bash"},
                                         {"completion words -- heads --metric sink",
                                          "metrics that begin with sink"},
                                         {NULL}},
    .max_arg = INT_MAX,
    .run = run,
};
