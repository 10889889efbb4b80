// Multi-query associative recall (Arora et al. 2023, Zoology): keys and values, then at random
// places the keys again, each of which is to be answered by its value. Keys are drawn without
// replacement from the lower half of the ordinary ids, values from the upper half. The gap between
// the pairs and a query is g, in steps of two tokens, with a probability like g^(a-1).
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "analyses/dataset/words.h"
#include "model/core/json.h"
#include "model/core/mem.h"
#include "model/core/prng.h"

enum { MAX_TOKENS = 1 << 20 };

struct work {
    const hs_args *args;
    hs_prng prng;
    int32_t bos, *id, *tokens;
    int64_t n_id, length, pairs, passes;
    int64_t *low, *high; // [pairs] numbers of ids: keys, values
    int64_t n_slot;
    struct slot {
        double rank;
        int64_t at;
    } * slot;       // places where a query may stand
    int64_t *query; // [n_slot] the pair that is asked for there, -1: none
};

// Different numbers from [from, to), by Floyd's algorithm in the order of drawing.
static void draw(struct work *w, int64_t from, int64_t to, int64_t *out) {
    for (int64_t i = 0; i < w->pairs; i++) {
        const int64_t top = to - w->pairs + i;
        int64_t x = from + (int64_t)hs_prng_below(&w->prng, (uint64_t)(top - from + 1));
        for (int64_t k = 0; k < i; k++)
            if (out[k] == x) x = top;
        out[i] = x;
    }
}

static int by_rank(const void *a, const void *b) {
    const struct slot *x = a, *y = b;
    if (x->rank != y->rank) return x->rank > y->rank ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

// Places of the queries: weighted draws without replacement are the largest ln(u)/weight.
static void draw_slots(struct work *w) {
    const double a = hs_args_num(w->args, "a");
    for (int64_t i = 0; i < w->n_slot; i++) {
        const double u = 1 - hs_prng_f64(&w->prng);
        w->slot[i] = (struct slot){log(u) / pow((double)(i + 1), a - 1), i};
        w->query[i] = -1;
    }
    qsort(w->slot, (size_t)w->n_slot, sizeof *w->slot, by_rank);
    for (int64_t i = 0; i < w->pairs; i++) w->query[w->slot[i].at] = i;
}

static void fill(struct work *w, int32_t *tokens) {
    const bool zero = hs_args_text(w->args, "fill")[0] == 'z';
    const int64_t head = 2 * w->pairs * w->passes;
    for (int64_t i = 0; i < head; i++)
        tokens[i] = w->id[(i % 2 ? w->high : w->low)[i / 2 % w->pairs]];
    for (int64_t i = head; i < w->length; i++) {
        const int64_t slot = (i - head) / 2;
        const int64_t pair = (i - head) % 2 || slot >= w->n_slot ? -1 : w->query[slot];
        if (pair >= 0)
            tokens[i] = w->id[w->low[pair]];
        else
            tokens[i] = w->id[zero ? 0 : (int64_t)hs_prng_below(&w->prng, (uint64_t)w->n_id)];
    }
}

// Queries and their labels in the order of positions; the last one is what `answer` is about.
static void describe(const struct work *w, int64_t start, hs_buf *out) {
    hs_jw j = {.out = out};
    int64_t end = 0, last = 0;
    hs_jw_begin(&j, '{');
    hs_jw_key(&j, "queries");
    hs_jw_begin(&j, '[');
    for (int64_t i = 0; i < w->n_slot; i++) {
        if (w->query[i] < 0) continue;
        last = w->query[i];
        end = start + 2 * i;
        hs_jw_int(&j, end);
    }
    hs_jw_end(&j, ']');
    hs_jw_key(&j, "labels");
    hs_jw_begin(&j, '[');
    for (int64_t i = 0; i < w->n_slot; i++)
        if (w->query[i] >= 0) hs_jw_int(&j, w->id[w->high[w->query[i]]]);
    hs_jw_end(&j, ']');
    hs_jw_key_int(&j, "answer", w->id[w->high[last]]);
    if (w->pairs > 1) hs_jw_key_int(&j, "wrong", w->id[w->high[(last + 1) % w->pairs]]);
    hs_jw_key(&j, "positions");
    hs_jw_begin(&j, '{');
    hs_jw_key_int(&j, "END", end);
    hs_jw_end(&j, '}');
    hs_jw_end(&j, '}');
}

static int put_prompt(struct work *w, hs_prompts *out) {
    const int bos_len = w->bos >= 0;
    const int64_t half = w->n_id / 2;
    hs_buf extra = {0};
    draw(w, 1, half, w->low);
    draw(w, half, w->n_id, w->high);
    draw_slots(w);
    if (bos_len) w->tokens[0] = w->bos;
    fill(w, w->tokens + bos_len);
    describe(w, bos_len + 2 * w->pairs * w->passes, &extra);
    int rc = hs_buf_rc(&extra);
    if (!rc)
        rc = hs_prompts_add_tokens(out, NULL, w->tokens, bos_len + w->length, bos_len, 0,
                                   extra.data);
    hs_buf_free(&extra);
    return rc;
}

static int open_work(struct work *w, const hs_prompts *out, const hs_tok *tok, int64_t n_vocab) {
    const int64_t vocab = hs_args_int(w->args, "vocab");
    w->length = hs_args_int(w->args, "length");
    w->pairs = hs_args_int(w->args, "pairs");
    w->passes = hs_args_int(w->args, "passes");
    w->prng = hs_prng_seed((uint64_t)hs_args_int(w->args, "seed"));
    w->n_slot = (w->length - 2 * w->pairs * w->passes) / 2;
    if (w->n_slot < w->pairs)
        return hs_fail(HS_EARG,
                       "%" PRId64 " pairs and as many queries do not fit %" PRId64
                       " tokens: give length=%" PRId64 " or more, or fewer pairs",
                       w->pairs, w->length, 2 * w->pairs * (w->passes + 1));
    int rc = hs_dataset_bos(&w->bos, out, tok, w->args);
    const int64_t least = 2 * w->pairs + 2;
    if (!rc) rc = hs_dataset_ids(&w->id, &w->n_id, tok, n_vocab, vocab > least ? vocab : least);
    if (!rc && vocab && vocab < least)
        rc = hs_fail(HS_EARG, "vocab=%" PRId64 ": %" PRId64 " pairs need %" PRId64 " ids or more",
                     vocab, w->pairs, least);
    if (vocab) w->n_id = vocab;
    if (!rc) rc = hs_alloc(&w->tokens, (size_t)w->length + 1, sizeof *w->tokens);
    if (!rc) rc = hs_alloc(&w->low, (size_t)w->pairs, sizeof *w->low);
    if (!rc) rc = hs_alloc(&w->high, (size_t)w->pairs, sizeof *w->high);
    if (!rc) rc = hs_alloc(&w->slot, (size_t)w->n_slot, sizeof *w->slot);
    if (!rc) rc = hs_alloc(&w->query, (size_t)w->n_slot, sizeof *w->query);
    return rc;
}

static int mqar_generate(hs_prompts *out, const hs_tok *tok, int64_t n_vocab, const hs_args *args) {
    struct work w = {.args = args};
    int rc = open_work(&w, out, tok, n_vocab);
    for (int64_t i = hs_args_int(args, "n"); i && !rc; i--) rc = put_prompt(&w, out);
    free(w.id);
    free(w.tokens);
    free(w.low);
    free(w.high);
    free(w.slot);
    free(w.query);
    return rc;
}

static const hs_param params[] = {
    {"length", HS_PARAM_INT, "128", 4, MAX_TOKENS, NULL, "tokens", "of a prompt, without a BOS"},
    {"pairs", HS_PARAM_INT, "8", 1, 4096, NULL, NULL, "keys with their values"},
    {"passes", HS_PARAM_INT, "1", 1, 100, NULL, NULL, "how often the pairs are told"},
    {"a", HS_PARAM_NUM, "0.01", 1e-6, 10, NULL, NULL,
     "queries come at gap g with a probability like g^(a-1): small means soon"},
    {"fill", HS_PARAM_ENUM, "random", 0, 0, "random|zero", NULL,
     "what stands between the queries: random ids, or the first one of all"},
    {"vocab", HS_PARAM_INT, "0", 0, 1e9, NULL, "ids", "use the first ones only; 0: all"},
    HS_DATASET_PARAMS("32"),
    {0},
};

const hs_dataset hs_dataset_mqar = {
    .name = "mqar",
    .title = "Multi-query associative recall",
    .about = "Random keys with their values, then the keys again at random places: \"queries\" are "
             "the positions of these, \"labels\" the values that should follow, \"answer\" and END "
             "the last of them. Feeds induction and retrieval scores.",
    .reference = "Arora et al. 2023, arXiv 2312.04927",
    .params = params,
    .generate = mqar_generate,
};
