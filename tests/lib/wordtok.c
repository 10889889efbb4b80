// Tokenizers in which words are tokens; see wordtok.h.
#include "tests/lib/wordtok.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/mkmodel.h"

static void need(bool ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "%s\n", what);
    abort();
}

// Words that are tokens; of the data sets' other words none is.
static const char *const vocabulary[] = {
    "Mary",     "John",   "Anna",   "Tom",    "Emma",   "James", "Alice",  "Peter", "park",
    "store",    "ring",   "coin",   "queen",  "king",   "woman", "man",    "girl",  "boy",
    "she",      "he",     "her",    "his",    "dog",    "dogs",  "cat",    "cats",  "teacher",
    "teachers", "is",     "are",    "was",    "were",   "red",   "Red",    "blue",  "Blue",
    "green",    "Green",  "orange", "Orange", "pencil", "cup",   "ball",   "mug",   "load",
    "size",     "files",  "last",   "data",   "name",   "path",  "mode",   "host",  "port",
    "user",     "time",   "value",  "key",    "text",   "line",  "water",  "stone", "river",
    "have",     "garden", "music",  "winter", "summer", "war",   "battle", "siege", "voyage",
    "count",    "level",  "image",  "width",  "field",  "group", NULL,
};

enum { N_TOKEN = 4096 };

struct making {
    hs_buf vocab, merges;
    char token[N_TOKEN][24];
    int n;
};

static void write_token(hs_buf *out, const char *token) {
    for (; *token; token++) {
        if (*token == '"' || *token == '\\') hs_buf_chr(out, '\\');
        hs_buf_chr(out, *token);
    }
}

// Adds a token, made of two when left is given.
static void add(struct making *m, const char *left, const char *right) {
    char token[24];
    snprintf(token, sizeof token, "%s%s", left, right);
    for (int i = 0; i < m->n; i++)
        if (!strcmp(m->token[i], token)) return;
    need(m->n < N_TOKEN, "too many tokens");
    strcpy(m->token[m->n], token);
    hs_buf_str(&m->vocab, m->n ? ",\"" : "\"");
    write_token(&m->vocab, token);
    hs_buf_printf(&m->vocab, "\":%d", m->n++);
    if (!*left) return;
    hs_buf_printf(&m->merges, "%s\"%s %s\"", m->merges.len ? "," : "", left, right);
}

#define SPACE "\u0120"

// A word with the space before it, letter by letter from the left, so that no other merge comes
// between.
static void add_word(struct making *m, const char *word) {
    char left[24] = SPACE, letter[2] = {0};
    for (; *word; word++) {
        letter[0] = *word;
        add(m, left, letter);
        strcat(left, letter);
    }
}

#define NEWLINE "\u010a"
static const char *const pre[N_WORDTOK] = {
    [WORDTOK_SPACED] = "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}",
    [WORDTOK_DIGITS] =
        "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\","
        "\"individual_digits\":true},{\"type\":\"ByteLevel\",\"add_prefix_space\":false}]}",
    [WORDTOK_LONE] =
        "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"
        "\" |[A-Za-z]+|[0-9]|[^A-Za-z0-9 ]+\"},\"behavior\":\"Isolated\"},{\"type\":"
        "\"ByteLevel\",\"use_regex\":false,\"add_prefix_space\":false}]}",
};

void wordtok_write(const char *folder, enum wordtok kind) {
    char c[2] = {0}, d[2] = {0};
    struct making *m = calloc(1, sizeof *m);
    hs_buf json = {0};
    for (c[0] = '!'; c[0] <= '~'; c[0]++) add(m, "", c);
    add(m, "", SPACE);
    add(m, "", NEWLINE);
    add(m, NEWLINE, NEWLINE);
    for (int i = 0; vocabulary[i]; i++)
        kind == WORDTOK_LONE ? add(m, "", vocabulary[i]) : add_word(m, vocabulary[i]);
    if (kind == WORDTOK_SPACED) {
        add(m, SPACE, "1");
        for (c[0] = '0'; c[0] <= '9'; c[0]++) add(m, SPACE "1", c);
        for (c[0] = '0'; c[0] <= '9'; c[0]++)
            for (d[0] = '0'; d[0] <= '9'; d[0]++) add(m, c, d);
    }
    hs_buf_printf(&json,
                  "{\"pre_tokenizer\":%s,\"added_tokens\":[{\"id\":%d,\"content\":\"<s>\","
                  "\"special\":true}],\"model\":{\"type\":\"BPE\",\"ignore_merges\":%s,\"vocab\":{%"
                  "s},\"merges\":[%s]}}",
                  pre[kind], m->n, kind == WORDTOK_LONE ? "true" : "false", hs_buf_text(&m->vocab),
                  hs_buf_text(&m->merges));
    const char *config = kind == WORDTOK_SPACED ? "{\"bos_token\":\"<s>\",\"add_bos_token\":true}"
                                                : "{}";
    mk_file(folder, "tokenizer.json", json.data, json.len);
    mk_file(folder, "tokenizer_config.json", config, strlen(config));
    hs_buf_free(&json);
    hs_buf_free(&m->vocab);
    hs_buf_free(&m->merges);
    free(m);
}

hs_tok *wordtok_at(const char *path) {
    hs_ckpt *ck;
    hs_tok *tok = NULL;
    if (hs_ckpt_open(&ck, path, false) || hs_tok_open(&tok, ck)) need(false, hs_errmsg());
    hs_ckpt_close(ck);
    return tok;
}

hs_tok *wordtok_make(enum wordtok kind) {
    char dir[PATH_MAX];
    mk_dir(dir);
    wordtok_write(dir, kind);
    hs_tok *tok = wordtok_at(dir);
    mk_remove(dir);
    return tok;
}
