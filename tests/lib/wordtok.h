// Tokenizers made for tests in which many words of the data sets are one token each, and others are
// none. Any failure ends the test program.
#ifndef HS_TESTS_LIB_WORDTOK_H
#define HS_TESTS_LIB_WORDTOK_H

#include "model/tok.h"

enum wordtok {
    WORDTOK_SPACED, // words take the space before them, two-digit numbers are tokens; has a BOS
    WORDTOK_DIGITS, // the same words, digits one by one, no BOS
    WORDTOK_LONE,   // spaces stand alone
    N_WORDTOK,
};
// tokenizer.json and tokenizer_config.json into a folder, with a model or without.
void wordtok_write(const char *folder, enum wordtok kind);
hs_tok *wordtok_make(enum wordtok kind);
hs_tok *wordtok_at(const char *path); // of a model's folder

#endif
