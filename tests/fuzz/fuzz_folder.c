// Fuzz target: a model's folder: config.json, an index with its shards, and the files of a
// tokenizer. The input holds files that end with NUL; the first letter of each says which one. A
// safetensors file is the number of its bytes of tensors (all 0), then its header.
// covers: model/ckpt.c model/ckpt_st.c model/tok_hf.c model/ends.c model/tok.c
#include <ctype.h>

#include "model/ends.h"
#include "model/tok.h"
#include "tests/fuzz/open.h"
#include "tests/lib/mkmodel.h"

static const struct {
    char letter;
    const char *name;
} files[] = {
    {'c', "config.json"},
    {'i', "model.safetensors.index.json"},
    {'m', "model.safetensors"},
    {'a', "a.safetensors"},
    {'b', "b.safetensors"},
    {'t', "tokenizer.json"},
    {'k', "tokenizer_config.json"},
    {'s', "special_tokens_map.json"},
    {'v', "vocab.json"},
    {'g', "merges.txt"},
    {'e', "generation_config.json"},
};
enum { N_FILES = sizeof files / sizeof *files };

static char folder[PATH_MAX];

static void forget(void) {
    mk_remove(folder);
}

static void put_st(const char *name, input in) {
    hs_buf file = {0};
    uint64_t zeros = 0;
    while (in.n && isdigit(*in.at)) zeros = (zeros * 10 + take_byte(&in) - '0') % 4096;
    const uint64_t header = in.n;
    hs_buf_add(&file, &header, sizeof header);
    hs_buf_add(&file, in.at, in.n);
    while (zeros--) hs_buf_chr(&file, 0);
    need(!hs_buf_rc(&file));
    mk_file(folder, name, file.data, file.len);
    hs_buf_free(&file);
}

static void put_file(input in) {
    const char letter = (char)take_byte(&in);
    for (int i = 0; i < N_FILES; i++) {
        if (files[i].letter != letter) continue;
        if (strstr(files[i].name, ".safetensors") && letter != 'i')
            put_st(files[i].name, in);
        else
            mk_file(folder, files[i].name, in.n ? (const void *)in.at : "", in.n);
    }
}

static void use_tok(const hs_ckpt *ck) {
    static const char text[] = "a <s>ab  \xc3\xa9\xff 12";
    hs_tok *tok;
    hs_tokens got;
    if (hs_tok_open(&tok, ck)) {
        need(!tok && *hs_errmsg());
        return;
    }
    need(hs_tok_bos(tok) < (int32_t)hs_tok_n_vocab(tok));
    if (!hs_tok_encode(tok, text, sizeof text - 1, HS_BOS_AUTO, &got)) {
        for (size_t i = 0; i < got.n; i++)
            need(got.at[i].id >= 0 && (size_t)got.at[i].id < hs_tok_n_vocab(tok));
        hs_tokens_free(&got);
    }
    hs_tok_close(tok);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    input in = {data, n};
    hs_ckpt *ck;
    hs_ends ends;
    if (!*folder) {
        mk_dir(folder);
        atexit(forget);
    }
    for (int i = 0; i < N_FILES; i++) {
        char path[PATH_MAX];
        mk_path(path, folder, files[i].name);
        unlink(path);
    }
    while (in.n) put_file(take_until(&in, 0));
    int rc = hs_ckpt_open(&ck, folder, false);
    if (rc) {
        need(!ck && rc < 0 && *hs_errmsg());
        return 0;
    }
    read_ckpt(ck);
    use_tok(ck);
    if (!hs_ends_read(&ends, ck)) hs_ends_free(&ends);
    hs_ckpt_close(ck);
    return 0;
}
