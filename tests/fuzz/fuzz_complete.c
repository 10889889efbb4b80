// Fuzz target: completion, a line of the input each word of the command line; names of prompts, a
// label and tokens come from a damaged database (the first line says how). Every answer has one of
// the three first lines, and only words that go on from the last one and that no shell evaluates.
// covers: cli/help/complete.c cli/help/words.c
#include "cli/help/complete.h"
#include "tests/fuzz/damage.h"

enum { MAX_WORDS = 24 };

static bool is_inert(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!s[i] ||
            !strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./@%+,:=-",
                    s[i]))
            return false;
    return n > 0;
}

static void check(const char *answer, const char *last) {
    need(!strncmp(answer, "words\n", 6) || !strncmp(answer, "folders\n", 8) ||
         !strncmp(answer, "files\n", 6) || !strncmp(answer, "files .", 7));
    for (const char *s = strchr(answer, '\n') + 1; *s;) {
        const size_t n = strcspn(s, "\t\n"), typed = strlen(last);
        need(s[n] == '\t' && n >= typed && !memcmp(s, last, typed));
        // What was typed is the user's own.
        need(typed == n || is_inert(s + typed, n - typed));
        for (s += n + 1; *s != '\n'; s++) need(*s && (unsigned char)*s >= ' ');
        s++;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    input in = {data, n};
    char *words[MAX_WORDS + 1] = {0};
    int n_word = 0;
    damage(take_until(&in, '\n'));
    while (in.n && n_word < MAX_WORDS) words[n_word++] = text_of(take_until(&in, '\n'));
    bool outside = false; // another file than the damaged one may be anything
    for (int i = 0; i < n_word; i++) outside |= strchr(words[i], '/') != NULL;
    setenv("HEADSCOPE_DB", damage_path(), 1);
    hs_buf out = {0};
    if (!outside) {
        need(!hs_complete(&out, n_word, (const char *const *)words));
        check(hs_buf_text(&out), n_word ? words[n_word - 1] : "");
    }
    hs_buf_free(&out);
    for (int i = 0; i < n_word; i++) free(words[i]);
    return 0;
}
