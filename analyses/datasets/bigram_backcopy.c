// The bigram-backcopy task (Guo et al. 2024, active-dormant attention heads): a Markov chain in
// which a token after a trigger copies the token before it. Heads that copy back are at work in
// the rows of triggers and have nothing to do in all others, where they rest on the first token.
//
// Transitions are a softmax of normal numbers with the triggers' columns four times as likely. What
// follows a trigger is a copy and never a trigger, since what stands before one is none.
#include <math.h>
#include <stdlib.h>

#include "analyses/dataset/words.h"
#include "model/core/json.h"
#include "model/core/mem.h"
#include "model/core/prng.h"

enum { MAX_TOKENS = 1 << 20, MAX_SYMBOLS = 1024, LIKELIER = 4 };

struct work {
    hs_prng prng;
    int32_t bos, *id; // id: those of the symbols come first; of these, the triggers
    int64_t symbols, triggers, length;
    double *chain;   // [symbols][symbols] cumulated probabilities
    int32_t *tokens; // [1 + length]
    int64_t *symbol; // [length]
};

// The first of all ids in an order by chance.
static void shuffle(struct work *w, int64_t n_id) {
    for (int64_t i = 0; i < w->symbols; i++) {
        const int64_t k = i + (int64_t)hs_prng_below(&w->prng, (uint64_t)(n_id - i));
        const int32_t id = w->id[k];
        w->id[k] = w->id[i];
        w->id[i] = id;
    }
}

static void make_chain(struct work *w) {
    for (int64_t i = 0; i < w->symbols; i++) {
        double *row = w->chain + i * w->symbols, sum = 0;
        for (int64_t j = 0; j < w->symbols; j++)
            row[j] = sum += exp(hs_prng_normal(&w->prng)) * (j < w->triggers ? LIKELIER : 1);
    }
}

static int64_t step(struct work *w, int64_t from) {
    const double *row = w->chain + from * w->symbols;
    const double u = hs_prng_f64(&w->prng) * row[w->symbols - 1];
    int64_t to = 0;
    while (to < w->symbols - 1 && row[to] <= u) to++;
    return to;
}

static bool is_trigger(const struct work *w, int64_t i) {
    return w->symbol[i] < w->triggers;
}

static void draw(struct work *w) {
    const int64_t others = w->symbols - w->triggers;
    w->symbol[0] = w->triggers + (int64_t)hs_prng_below(&w->prng, (uint64_t)others);
    for (int64_t i = 1; i < w->length; i++)
        w->symbol[i] = is_trigger(w, i - 1) ? w->symbol[i - 2] : step(w, w->symbol[i - 1]);
}

static void write_rows(const struct work *w, hs_jw *j, const char *key, bool triggers) {
    hs_jw_key(j, key);
    hs_jw_begin(j, '[');
    for (int64_t i = 0; i < w->length; i++)
        if (is_trigger(w, i) == triggers) hs_jw_int(j, i + (w->bos >= 0));
    hs_jw_end(j, ']');
}

static void describe(const struct work *w, hs_buf *out) {
    hs_jw j = {.out = out};
    int64_t last = w->length - 1;
    while (last > 0 && !is_trigger(w, last)) last--;
    hs_jw_begin(&j, '{');
    hs_jw_key(&j, "triggers");
    hs_jw_begin(&j, '[');
    for (int64_t i = 0; i < w->triggers; i++) hs_jw_int(&j, w->id[i]);
    hs_jw_end(&j, ']');
    write_rows(w, &j, "backcopy_rows", true);
    write_rows(w, &j, "bigram_rows", false);
    if (last > 0) {
        hs_jw_key_int(&j, "answer", w->id[w->symbol[last - 1]]);
        hs_jw_key(&j, "positions");
        hs_jw_begin(&j, '{');
        hs_jw_key_int(&j, "END", last + (w->bos >= 0));
        hs_jw_end(&j, '}');
    }
    hs_jw_end(&j, '}');
}

static int put_prompt(struct work *w, hs_prompts *out) {
    const int bos_len = w->bos >= 0;
    hs_buf extra = {0};
    draw(w);
    if (bos_len) w->tokens[0] = w->bos;
    for (int64_t i = 0; i < w->length; i++) w->tokens[bos_len + i] = w->id[w->symbol[i]];
    describe(w, &extra);
    int rc = hs_buf_rc(&extra);
    if (!rc)
        rc = hs_prompts_add_tokens(out, NULL, w->tokens, bos_len + w->length, bos_len, 0,
                                   extra.data);
    hs_buf_free(&extra);
    return rc;
}

static int bigram_backcopy_generate(hs_prompts *out, const hs_tok *tok, int64_t n_vocab,
                                    const hs_args *args) {
    struct work w = {.symbols = hs_args_int(args, "symbols"),
                     .triggers = hs_args_int(args, "triggers"),
                     .length = hs_args_int(args, "length")};
    int64_t n_id = 0;
    w.prng = hs_prng_seed((uint64_t)hs_args_int(args, "seed"));
    if (w.triggers >= w.symbols)
        return hs_fail(HS_EARG, "triggers=%lld: some of the %lld symbols must be none",
                       (long long)w.triggers, (long long)w.symbols);
    int rc = hs_dataset_bos(&w.bos, out, tok, args);
    if (!rc) rc = hs_dataset_ids(&w.id, &n_id, tok, n_vocab, w.symbols);
    if (!rc) rc = hs_alloc(&w.chain, (size_t)(w.symbols * w.symbols), sizeof *w.chain);
    if (!rc) rc = hs_alloc(&w.tokens, (size_t)w.length + 1, sizeof *w.tokens);
    if (!rc) rc = hs_alloc(&w.symbol, (size_t)w.length, sizeof *w.symbol);
    if (!rc) shuffle(&w, n_id);
    if (!rc) make_chain(&w);
    for (int64_t i = hs_args_int(args, "n"); i && !rc; i--) rc = put_prompt(&w, out);
    free(w.id);
    free(w.chain);
    free(w.tokens);
    free(w.symbol);
    return rc;
}

static const hs_param params[] = {
    {"length", HS_PARAM_INT, "128", 3, MAX_TOKENS, NULL, "tokens", "of a prompt, without a BOS"},
    {"symbols", HS_PARAM_INT, "64", 2, MAX_SYMBOLS, NULL, "ids",
     "how many different ones, drawn from the vocabulary"},
    {"triggers", HS_PARAM_INT, "3", 1, MAX_SYMBOLS - 1, NULL, "ids", "how many of them trigger"},
    HS_DATASET_PARAMS("32"),
    {0},
};

const hs_dataset hs_dataset_bigram_backcopy = {
    .name = "bigram_backcopy",
    .title = "Bigrams, and copies after triggers",
    .about = "A Markov chain in which the token after a trigger is the one before it: "
             "\"backcopy_rows\" are the positions of triggers, \"bigram_rows\" the others, "
             "\"answer\" and END the last copy. Heads that copy back rest on the first token in "
             "all other rows.",
    .reference = "Guo et al. 2024, arXiv 2410.13835",
    .params = params,
    .generate = bigram_backcopy_generate,
};
