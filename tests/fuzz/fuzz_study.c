// Fuzz target: whole experiments on a small model. The first byte picks the command, a line each is a
// word of its options, and after an empty line come prompts as JSON lines. Everything that a command
// promises is looked at (cli_run), and what one call stored, the next one with --resume finds again.
// covers: cli/cmd_retrieve.c cli/retrieve/check.c cli/retrieve/store.c cli/retrieve/mask.c
// covers: cli/retrieve/print.c cli/retrieve/echo.c cli/cmd_influence.c cli/influence/heads.c
// covers: cli/influence/print.c cli/cmd_patch.c cli/patch/cells.c cli/patch/path.c cli/patch/edges.c
// covers: db/circuit.c cli/patch/print.c cli/patch/run.c cli/cmd_lens.c cli/lens/ask.c
// covers: cli/lens/store.c cli/lens/print.c cli/lens/json.c cli/cmd_weights.c cli/weights/print.c
// covers: cli/study.c cli/answers.c analyses/retrieve/tests.c analyses/retrieve/masked.c
// covers: analyses/retrieve/recall.c analyses/patch/exact.c analyses/patch/attribute.c
// covers: cli/cmd_duo.c cli/duo/check.c cli/duo/store.c cli/duo/print.c
// covers: analyses/path/paths.c analyses/path/edges.c analyses/lens/lens.c analyses/lens/dla.c
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/cli.h"
#include "tests/fuzz/shared.h"
#include "tests/lib/dbrun.h"
#include "tests/lib/randmodel.h"
#include "tests/lib/wordtok.h"

enum { MAX_WORDS = 12, N_CTX = 48 };

static char folder[PATH_MAX];

static void forget(void) {
    mk_remove(folder);
}

// Two families, of which one has a tokenizer.
static void set_up(void) {
    char path[PATH_MAX], dir[PATH_MAX];
    rand_spec llama = rand_default("llama", false), gpt2 = rand_default("gpt2", true);
    if (*folder) return;
    if (!access("/dev/shm", W_OK)) setenv("TMPDIR", "/dev/shm", 0); // no waiting for a disk
    hs_tok *tok = wordtok_make(WORDTOK_SPACED);
    mk_dir(folder);
    atexit(forget);
    llama.n_vocab = (int)hs_tok_n_vocab(tok);
    llama.n_ctx = gpt2.n_ctx = N_CTX;
    llama.n_layer = gpt2.n_layer = 2;
    hs_tok_close(tok);
    mk_path(dir, folder, "llama");
    need(!mkdir(dir, 0700));
    rand_write(path, dir, &llama);
    wordtok_write(dir, WORDTOK_SPACED);
    rand_write(path, folder, &gpt2);
    unsetenv("HEADSCOPE_DB");
    unsetenv("HEADSCOPE_MODEL");
}

// No way out of the scratch folder, and no numbers that ask for much.
static bool is_harmless(const char *word) {
    for (const char *s = word; *s; s++)
        if (strspn(s, "0123456789") > 3) return false;
    return *word && !strchr(word, '/') && strcmp(word, "-o") != 0 && !strstr(word, "output") &&
           !strstr(word, "db") && !strstr(word, "label") && strcmp(word, "--json") != 0;
}

static int call(const char *const *words, bool again) {
    const char *line[MAX_WORDS + 10] = {0};
    int n = 0;
    while (words[n]) line[n] = words[n], n++;
    line[n++] = "-o";
    line[n++] = "run.db";
    line[n++] = "--json";
    if (again) line[n++] = "--resume";
    return cli_run(folder, line, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static const char *const names[] = {"retrieve", "influence", "patch", "lens", "weights", "duo"};
    static const char *const models[] = {"llama", "model.gguf"};
    input in = {data, n};
    char *words[MAX_WORDS], db[PATH_MAX];
    int n_word = 0;
    bool good = true;
    if (n > 3000) return 0;
    set_up();
    const uint8_t which = take_byte(&in);
    const char *line[MAX_WORDS + 5] = {names[which % 6], models[which / 6 % 2]};
    int k = 2;
    while (in.n && *in.at != '\n' && n_word < MAX_WORDS) {
        words[n_word] = text_of(take_until(&in, '\n'));
        good = good && is_harmless(words[n_word]);
        line[k++] = words[n_word++];
    }
    take_byte(&in);
    mk_file(folder, "p.jsonl", in.at, in.n);
    if (which % 6 != 4) {
        line[k++] = "-f";
        line[k++] = "p.jsonl";
    }
    mk_path(db, folder, "run.db");
    dbrun_remove(db);
    if (good && !call(line, false)) need(!call(line, true));
    for (int i = 0; i < n_word; i++) free(words[i]);
    return 0;
}
