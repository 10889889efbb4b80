// Fuzz target: prompts in JSON lines, through a file as users give them, and the same bytes as a
// text. What is read must be written and read again as the same prompt. Runs in the repository's
// root.
// covers: analyses/prompts.c analyses/prompts_file.c
#include <stdio.h>
#include <unistd.h>

#include "analyses/prompt.h"
#include "tests/fuzz/open.h"
#include "tests/lib/mkmodel.h"

// A file in memory, under a name that does not end in .txt.
static int add(hs_prompts *p, const void *bytes, size_t n) {
    char path[64];
    int fd = memory_file(path, bytes, n);
    int rc = hs_prompts_add_file(p, path);
    close(fd);
    return rc;
}

static void again(const hs_prompt *a) {
    hs_buf line = {0};
    hs_prompts *p;
    need(!hs_prompts_open(&p, NULL, HS_BOS_NO, 1000000));
    hs_prompt_jsonl(a, &line);
    need(!add(p, line.data, line.len) && hs_prompts_count(p) == 1);
    const hs_prompt *b = hs_prompts_at(p, 0);
    need(!strcmp(a->id, b->id) && a->n_token == b->n_token && a->bos_len == b->bos_len);
    need(a->period == b->period && (a->text || !a->extra == !b->extra)); // text becomes extra
    need(!memcmp(a->tokens, b->tokens, (size_t)a->n_token * sizeof *a->tokens));
    hs_prompts_close(p);
    hs_buf_free(&line);
}

static const hs_tok *tokenizer(void) {
    static hs_tok *tok;
    hs_ckpt *ck;
    if (tok) return tok;
    need(!hs_ckpt_open(&ck, "tests/golden/data/tok_smollm", false) && !hs_tok_open(&tok, ck));
    hs_ckpt_close(ck);
    return tok;
}

static void lines(const hs_tok *tok, const uint8_t *data, size_t n) {
    hs_prompts *p;
    need(!hs_prompts_open(&p, tok, HS_BOS_AUTO, tok ? (int64_t)hs_tok_n_vocab(tok) : 1000));
    if (add(p, data, n)) need(*hs_errmsg());
    for (int64_t i = 0; i < hs_prompts_count(p); i++) again(hs_prompts_at(p, i));
    hs_prompts_close(p);
}

static char folder[PATH_MAX];

static void forget(void) {
    mk_remove(folder);
}

// The whole file is one prompt.
static void text(const uint8_t *data, size_t n) {
    char path[PATH_MAX];
    hs_prompts *p;
    if (!*folder) {
        mk_dir(folder);
        atexit(forget);
    }
    mk_file(folder, "p.txt", data, n);
    mk_path(path, folder, "p.txt");
    need(!hs_prompts_open(&p, tokenizer(), HS_BOS_YES, 1000000));
    if (hs_prompts_add_file(p, path))
        need(*hs_errmsg() && !hs_prompts_count(p));
    else
        need(hs_prompts_at(p, 0)->text_len == (int64_t)n);
    hs_prompts_close(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    lines(NULL, data, n);
    lines(tokenizer(), data, n);
    text(data, n);
    return 0;
}
