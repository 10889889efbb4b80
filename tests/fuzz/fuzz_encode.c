// Fuzz target: any text, with the tokenizer and BOS policy that its first byte picks. Decoding
// gives the bytes back and ranges tile the text, where the tokenizer changes nothing. Reads the
// golden fixtures: runs in the repository's root.
// covers: model/tok.c model/tok_bpe.c model/tok_added.c model/tok_pre.c
#include "model/tok.h"
#include "tests/fuzz/shared.h"

#define DATA "tests/golden/data/tok_"

static struct {
    const char *path;
    bool exact; // keeps every byte
    hs_tok *tok;
} toks[] = {
    {DATA "gpt2", true, NULL},     {DATA "llama3", true, NULL},    {DATA "smollm", true, NULL},
    {DATA "qwen2", false, NULL},   {DATA "added", false, NULL},    {DATA "splits", false, NULL},
    {DATA "unknown", false, NULL}, {DATA "fallback", false, NULL},
};
enum { N_TOKS = sizeof toks / sizeof *toks };

static const hs_tok *tok_at(int i) {
    hs_ckpt *ck;
    if (toks[i].tok) return toks[i].tok;
    need(!hs_ckpt_open(&ck, toks[i].path, false) && !hs_tok_open(&toks[i].tok, ck));
    hs_ckpt_close(ck);
    return toks[i].tok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (n == 0) return 0;
    const int which = *data % N_TOKS;
    const enum hs_bos bos = *data / N_TOKS % 2 ? HS_BOS_AUTO : HS_BOS_NO;
    const hs_tok *t = tok_at(which);
    const char *text = (const char *)++data;
    hs_tokens got;
    hs_buf back = {0};
    int64_t start = 0, end = 0;
    need(!hs_tok_encode(t, text, --n, bos, &got));
    for (size_t i = 0; i < got.n; i++) {
        const hs_token *k = &got.at[i];
        need(k->id >= 0 && (size_t)k->id < hs_tok_n_vocab(t));
        need(k->start >= start && k->end >= end && k->end >= k->start && k->end <= (int64_t)n);
        need(!toks[which].exact || k->start == end);
        start = k->start;
        end = k->end;
        if (i >= (size_t)got.bos_len) need(!hs_tok_decode(t, &k->id, 1, false, &back));
    }
    if (toks[which].exact) need(back.len == n && (!n || !memcmp(back.data, text, n)));
    hs_buf_free(&back);
    hs_tokens_free(&got);
    return 0;
}
