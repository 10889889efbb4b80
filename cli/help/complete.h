// What can follow on a command line: the answer that the shells' completion scripts ask for.
//
// The words so far are read as the parser would read them; then comes an option's name, or a value,
// whose name in the option's table or the command's synopsis says what words there are
// ("METRIC", "FILE.png|FILE.svg", "exact|bf16"). Some come from a database, which may be a
// stranger's: only words that no shell gives a meaning to are ever offered.
#ifndef HS_CLI_COMPLETE_H
#define HS_CLI_COMPLETE_H

#include "cli/cli.h"

// The words before the cursor, and the one under it.
typedef struct hs_line {
    const hs_cmd *cmd; // NULL: not named yet, or not known
    const char *const *arg;
    int n_arg; // words that are no options
    const char *db, *run;
    const char *word; // under the cursor, maybe ""
} hs_line;

// The answer under way.
typedef struct hs_words {
    const hs_line *line;
    size_t stem;  // leading bytes of line->word that stay: "--metric=", "sinks,"
    hs_buf lines; // WORD, a tab, what it is, a newline
    hs_buf files; // " .png .svg": endings of files that fit
    bool any_file, folders;
} hs_words;

// Adds stem + word where what is typed begins so; about: one line, may be hostile.
void hs_words_add(hs_words *, const char *word, const char *about);
// Adds what the name of a value stands for: alternatives between '|', each a word in small letters (or
// several with commas between, of which any may be given), a file, or one of the kinds in words.c's table. Others, as N or TEXT, have no words.
void hs_words_of(hs_words *, const char *value);

// Appends the answer for words[0..n), what follows the program's name, the last one unfinished: a
// line "words", "folders" or "files ENDING...", then a line "WORD\tABOUT" a word. What cannot be
// found out (no database, a damaged one) is left out; HS_ENOMEM is the only failure.
int hs_complete(hs_buf *out, int n, const char *const *words) HS_MUST_USE;

#endif
