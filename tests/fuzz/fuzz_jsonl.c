// Fuzz target: prompts in JSON lines, through a file as users give them. What is read must be
// written and read again as the same prompt.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analyses/prompt.h"

static void need(int ok) {
    if (!ok) abort();
}

// A file in memory, under a name that does not end in .txt.
static int add(hs_prompts *p, const void *bytes, size_t n) {
    FILE *f = tmpfile();
    char path[64];
    if (!f) return HS_EIO;
    need(fwrite(bytes, 1, n, f) == n && fflush(f) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(f));
    int rc = hs_prompts_add_file(p, path);
    fclose(f);
    return rc;
}

static void again(const hs_prompt *a) {
    hs_buf line = {0};
    hs_prompts *p;
    need(!hs_prompts_open(&p, NULL, HS_BOS_NO, 1000));
    hs_prompt_jsonl(a, &line);
    need(!add(p, line.data, line.len) && hs_prompts_count(p) == 1);
    const hs_prompt *b = hs_prompts_at(p, 0);
    need(!strcmp(a->id, b->id) && a->n_token == b->n_token && a->bos_len == b->bos_len);
    need(a->period == b->period && !a->extra == !b->extra);
    need(!memcmp(a->tokens, b->tokens, (size_t)a->n_token * sizeof *a->tokens));
    hs_prompts_close(p);
    hs_buf_free(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hs_prompts *p;
    if (hs_prompts_open(&p, NULL, HS_BOS_AUTO, 1000)) return 0;
    if (add(p, data, size)) need(hs_errmsg()[0] != 0);
    for (int64_t i = 0; i < hs_prompts_count(p); i++) again(hs_prompts_at(p, i));
    hs_prompts_close(p);
    return 0;
}
