// See laws.h.
#include "tests/lib/laws.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "model/core/prng.h"

rand_spec law_spec(int i) {
    rand_spec specs[LAW_N_SPEC] = {
        rand_default("llama", false),     rand_default("llama", true),
        rand_default("gpt2", false),      rand_default("gpt2", true),
        rand_default("attn_only", false), rand_default("attn_only", false),
    };
    specs[1].dtype = HS_F16;
    specs[1].bias = specs[1].tied = true;
    specs[2].dtype = HS_BF16;
    specs[4].bias = true;
    specs[5].no_positions = true;
    specs[5].n_kv_head = 1;
    return specs[i % LAW_N_SPEC];
}

enum hs_precision law_precision(int i) {
    return i < LAW_N_SPEC ? HS_PREC_EXACT : HS_PREC_F64;
}

hs_model *law_open(const rand_spec *s, const hs_model_opts *opts) {
    char dir[PATH_MAX], path[PATH_MAX];
    hs_model *m;
    mk_dir(dir);
    rand_write(path, dir, s);
    if (hs_model_open(&m, path, opts)) fail_msg("%s", hs_errmsg());
    mk_remove(dir); // the map stays
    return m;
}

hs_model *law_model(int i) {
    const rand_spec s = law_spec(i);
    return law_open(&s, &(hs_model_opts){.dev = {.threads = 2, .precision = law_precision(i)}});
}

hs_context *law_context(const hs_model *m, hs_context_opts opts, const hs_tap *tap) {
    hs_context *x;
    if (hs_context_open(&x, m, &opts)) fail_msg("%s", hs_errmsg());
    hs_context_set_tap(x, tap);
    return x;
}

void law_tokens(int32_t *ids, int n, uint64_t seed) {
    hs_prng rng = hs_prng_seed(seed);
    for (int i = 0; i < n; i++) ids[i] = (int32_t)hs_prng_below(&rng, LAW_N_VOCAB);
}

void law_eval(hs_context *x, const hs_batch *b) {
    if (hs_context_eval(x, b)) fail_msg("%s", hs_errmsg());
}

void law_eval_one(hs_context *x, const int32_t *ids, int64_t n, enum hs_logits logits) {
    law_eval(x, &(hs_batch){.seq = &(hs_seq){.tokens = ids, .n = n}, .n_seq = 1, .logits = logits});
}

// One sequence through a fresh context into a capture.
void law_run(cap *c, const hs_model *m, hs_context_opts opts, uint64_t seed, int64_t n) {
    int32_t ids[LAW_N_CTX];
    law_tokens(ids, LAW_N_CTX, seed);
    cap_open(c, m, LAW_N_CTX);
    hs_context *x = law_context(m, opts, &c->tap);
    law_eval_one(x, ids, n, HS_LOGITS_ALL);
    hs_context_close(x);
}

const float *law_row(const cap *c, int layer, enum hs_point p, int64_t r) {
    const cap_tensor *t = &c->at[0][layer][p];
    assert_non_null(t->data);
    return t->data + r * t->width;
}
