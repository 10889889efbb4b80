// Fuzz target: words of a command line, the first byte of the input the command and a line of the
// rest each word. All are read by the option tables; those of commands that only read, and end
// soon, are run as well, on a small run.
// covers: cli/opt.c cli/main.c cli/cmd_list.c cli/cmd_help.c cli/help/help.c cli/out.c cli/reader.c
#include <stdio.h>

#include "cli/cli.h"
#include "tests/fuzz/cli.h"
#include "tests/fuzz/damage.h"

enum { MAX_WORDS = 24 };

static bool reads_only(const char *name) {
    static const char *const names[] = {"attend", "export", "heads", "heatmap", "help",
                                        "list",   "query",  "runs",  "show",    "version"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], name)) return true;
    return false;
}

// No way out of the scratch folder, no SQL (fuzz_sql), no pictures of any size.
static bool is_harmless(const char *word) {
    return !strchr(word, '/') && !strchr(word, ' ') && !strchr(word, '\t') &&
           !strstr(word, "dpi") && !strstr(word, "..");
}

static void parse(const hs_cmd *cmd, char *const *words, int n) {
    void *options = calloc(1, cmd->options_size ? cmd->options_size : 1);
    const char **arg = calloc((size_t)n + 1, sizeof *arg);
    hs_globals globals = {0};
    int n_arg = -1;
    need(options && arg);
    int rc = hs_opts_parse(cmd, options, &globals, n, words, arg, &n_arg);
    need(n_arg >= 0 && n_arg <= n && (!rc || rc == HS_EARG || rc == HS_ENOMEM));
    need(!rc || (*hs_errmsg() && !strchr(hs_errmsg(), '\n')));
    hs_opts_free(cmd, options);
    free(options);
    free(arg);
}

static void run(const hs_cmd *cmd, char *const *words, int n) {
    const char *line[MAX_WORDS + 2] = {cmd->name};
    for (int i = 0; i < n; i++) {
        if (!is_harmless(words[i])) return;
        line[i + 1] = words[i];
    }
    cli_run(damage_folder(), line, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    input in = {data, n};
    char *words[MAX_WORDS + 1] = {0};
    int n_cmd = 0, n_word = 0;
    while (hs_cmds[n_cmd]) n_cmd++;
    const hs_cmd *cmd = hs_cmds[take_byte(&in) % n_cmd];
    while (in.n && n_word < MAX_WORDS) words[n_word++] = text_of(take_until(&in, '\n'));
    parse(cmd, words, n_word);
    if (reads_only(cmd->name)) {
        setenv("HEADSCOPE_DB", "run.db", 1);
        unsetenv("HEADSCOPE_MODEL");
        damage_fresh();
        run(cmd, words, n_word);
    }
    for (int i = 0; i < n_word; i++) free(words[i]);
    return 0;
}
