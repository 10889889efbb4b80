// Fuzz target: a tokenizer file, tokenizer.json or GGUF by its first bytes. What opens must encode
// any text into ids that it knows, with ranges inside the text that never go back.
// covers: model/tok_json.c model/tok_gguf.c model/tok_vocab.c model/tok_added.c model/tok_pre.c
#include <stdio.h>
#include <unistd.h>

#include "model/tok_impl.h"
#include "tests/fuzz/open.h"

static const char text[] =
    "The  quick it's 1234,5\u00b2 <|endoftext|>\r\n\n\tx [B]  caf\u00e9 cafe\u0301 \u4e2d\u6587 "
    "\uac01\U0001f469\u200d\U0001f467 a.b\0\xff\xe2\x82 aaaaaaaaaaaaaaaaaaaaaaaaaaaa <abc>";

static void encode(const hs_tok *t, enum hs_bos bos) {
    hs_tokens got;
    hs_buf out = {0};
    const int64_t n = sizeof text - 1;
    int rc = hs_tok_encode(t, text, (size_t)n, bos, &got);
    if (rc) {
        // No BOS token, or a regex that runs away.
        need(!got.at && (rc == HS_EARG || rc == HS_EUNSUPPORTED || rc == HS_ENOMEM));
        return;
    }
    need(got.bos_len == 0 || (got.bos_len == 1 && got.at[0].id == hs_tok_bos(t)));
    for (size_t i = 0; i < got.n; i++) {
        const hs_token *k = &got.at[i];
        need(k->id >= 0 && (size_t)k->id < hs_tok_n_vocab(t));
        need(k->start >= 0 && k->start <= k->end && k->end <= n);
        need(!i || (k->start >= k[-1].start && k->end >= k[-1].end));
        need(!hs_tok_decode(t, &k->id, 1, false, &out));
    }
    hs_buf_free(&out);
    hs_tokens_free(&got);
}

static void use(const hs_tok *t) {
    size_t n;
    for (int32_t id = -1; id <= (int32_t)hs_tok_n_vocab(t); id++) {
        const char *s = hs_tok_piece(t, id, &n);
        need(s[n] == 0);
        if (hs_tok_is_special(t, id) || hs_tok_is_eog(t, id)) need(n > 0);
    }
    need(hs_tok_bos(t) < (int32_t)hs_tok_n_vocab(t));
    encode(t, HS_BOS_AUTO);
    encode(t, HS_BOS_YES);
    encode(t, HS_BOS_NO);
}

static void gguf(const uint8_t *data, size_t n) {
    char path[64];
    hs_ckpt *ck;
    hs_tok *t;
    int fd = memory_file(path, data, n);
    if (!hs_ckpt_open(&ck, path, false)) {
        int rc = hs_tok_open(&t, ck);
        hs_ckpt_close(ck);
        need(rc ? !t && rc < 0 && *hs_errmsg() : t != NULL);
        if (!rc) use(t);
        hs_tok_close(t);
    }
    close(fd);
}

static void json(const uint8_t *data, size_t n) {
    hs_tok *t;
    need(!hs_tok_new(&t));
    int rc = hs_tok_read_json(t, (const char *)data, n);
    if (rc)
        need(rc == HS_EFORMAT || rc == HS_EUNSUPPORTED || rc == HS_ENOMEM);
    else
        use(t);
    hs_tok_close(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (n >= 4 && !memcmp(data, "GGUF", 4))
        gguf(data, n);
    else
        json(data, n);
    return 0;
}
