// Values of keys in JSON: an object of random keys and sentences, a few questions with their
// answers, and one without. The proxy task of AttentionInfluence (Hua et al. 2025, appendix A).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/dataset/long.h"
#include "analyses/dataset/prose.h"
#include "analyses/dataset/words.h"
#include "model/core/mem.h"

enum { LONG_KEY = 32, SHORT_KEY = 8, SHORT = 1000, MAX_SHOTS = 20, MAX_WORDS = 100 };

// A member of the object; the first one is the one asked for, then come those of the shots.
struct pair {
    hs_long key, value;
    int64_t place; // of the value in the prompt
};

enum { INTRO, OPEN, COLON, NEXT, CLOSE, KEY, VALUE, END, N_PART };
static const char *const parts[N_PART] = {
    [INTRO] = "Find the value of the key in the JSON object and write nothing but the value.\n{\n",
    [OPEN] = "  \"",
    [COLON] = "\": \"",
    [NEXT] = "\",\n",
    [CLOSE] = "\"\n}\n",
    [KEY] = "Key: \"",
    [VALUE] = "\"\nValue: \"",
    [END] = "\"\n",
};

struct work {
    hs_prompts *out;
    const hs_tok *tok;
    const hs_args *args;
    hs_prng prng;
    int32_t bos;
    hs_long prompt, part[N_PART];
    struct pair *pair;
    int64_t n, cap; // pairs of the prompt; pairs that there is memory in
    int64_t *order; // [cap] pairs as they stand in the object
};

static int draw_pair(struct work *w, struct pair *pair, int key_len) {
    static const char digits[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    hs_buf text = {0};
    for (int i = 0; i < key_len; i++)
        hs_buf_chr(&text, digits[hs_prng_below(&w->prng, sizeof digits - 1)]);
    pair->key.n = pair->value.n = 0;
    int rc = hs_buf_rc(&text);
    if (!rc) rc = hs_long_text(&pair->key, w->tok, text.data, text.len);
    hs_buf_clear(&text);
    hs_prose_line(&w->prng, (int)hs_args_int(w->args, "words"), &text);
    if (!rc) rc = hs_buf_rc(&text);
    if (!rc) rc = hs_long_text(&pair->value, w->tok, text.data, text.len);
    hs_buf_free(&text);
    return rc;
}

static int make_room(struct work *w) {
    if (w->n < w->cap) return HS_OK;
    const int64_t cap = 2 * w->cap + 16;
    int rc = hs_grow(&w->pair, (size_t)cap, sizeof *w->pair);
    if (!rc) rc = hs_grow(&w->order, (size_t)cap, sizeof *w->order);
    for (; w->cap < cap && !rc; w->cap++) w->pair[w->cap] = (struct pair){0};
    return rc;
}

// As many pairs as the length has room for.
static int draw_pairs(struct work *w, int64_t length) {
    const hs_long *part = w->part;
    const int64_t shots = hs_args_int(w->args, "shots");
    const int key_len = length < SHORT ? SHORT_KEY : LONG_KEY;
    int64_t used = (w->bos >= 0) + part[INTRO].n + part[CLOSE].n - part[NEXT].n;
    int rc = HS_OK;
    for (w->n = 0; !rc; w->n++) {
        rc = make_room(w);
        if (!rc) rc = draw_pair(w, &w->pair[w->n], key_len);
        if (rc) break;
        const struct pair *p = &w->pair[w->n];
        used += part[OPEN].n + p->key.n + part[COLON].n + p->value.n + part[NEXT].n;
        if (w->n <= shots) used += part[KEY].n + p->key.n + part[VALUE].n;
        if (w->n >= 1 && w->n <= shots) used += p->value.n + part[END].n;
        if (used <= length || w->n < shots) continue;
        if (w->n > shots) break;
        rc = hs_long_too_short(length, used, "the pairs that are asked for (shots=, words=)");
    }
    return rc;
}

static int add_question(struct work *w, const struct pair *p) {
    int rc = hs_long_add(&w->prompt, &w->part[KEY]);
    if (!rc) rc = hs_long_add(&w->prompt, &p->key);
    return rc ? rc : hs_long_add(&w->prompt, &w->part[VALUE]);
}

static int put_prompt(struct work *w, int64_t length) {
    const int64_t shots = hs_args_int(w->args, "shots");
    hs_long *p = &w->prompt;
    int64_t depth = 0;
    int rc = draw_pairs(w, length);
    for (int64_t i = 0; i < w->n && !rc; i++) {
        const int64_t k = (int64_t)hs_prng_below(&w->prng, (uint64_t)i + 1);
        w->order[i] = w->order[k];
        w->order[k] = i;
    }
    if (!rc) rc = hs_long_begin(p, w->bos);
    if (!rc) rc = hs_long_add(p, &w->part[INTRO]);
    for (int64_t i = 0; i < w->n && !rc; i++) {
        struct pair *pair = &w->pair[w->order[i]];
        if (w->order[i] == 0) depth = i;
        rc = hs_long_add(p, &w->part[OPEN]);
        if (!rc) rc = hs_long_add(p, &pair->key);
        if (!rc) rc = hs_long_add(p, &w->part[COLON]);
        pair->place = p->n;
        if (!rc) rc = hs_long_add(p, &pair->value);
        if (!rc) rc = hs_long_add(p, &w->part[i + 1 < w->n ? NEXT : CLOSE]);
    }
    for (int64_t i = 1; i <= shots && !rc; i++) {
        rc = add_question(w, &w->pair[i]);
        if (!rc) rc = hs_long_add(p, &w->pair[i].value);
        if (!rc) rc = hs_long_add(p, &w->part[END]);
    }
    if (!rc) rc = add_question(w, &w->pair[0]);
    if (rc) return rc;
    const struct pair *asked = &w->pair[0];
    return hs_long_put(w->out, w->tok, p,
                       &(hs_long_line){.from = asked->place,
                                       .to = asked->place + asked->value.n,
                                       .length = length,
                                       .depth = 100 * (double)depth / (double)(w->n - 1),
                                       .topic = "json",
                                       .question = "What is the value of the key?"});
}

static int kv_json_generate(hs_prompts *out, const hs_tok *tok, int64_t n_vocab,
                            const hs_args *args) {
    struct work w = {.out = out, .tok = tok, .args = args};
    const int64_t n = hs_args_int(args, "n");
    int64_t *length = NULL;
    int n_length = 0;
    (void)n_vocab; // the tokenizer has it
    w.prng = hs_prng_seed((uint64_t)hs_args_int(args, "seed"));
    int rc = hs_long_needs(tok);
    if (!rc) rc = hs_dataset_bos(&w.bos, out, tok, args);
    if (!rc) rc = hs_long_lengths(&length, &n_length, hs_args_text(args, "lengths"));
    for (int i = 0; i < N_PART && !rc; i++)
        rc = hs_long_text(&w.part[i], tok, parts[i], strlen(parts[i]));
    for (int i = 0; i < n_length && !rc; i++)
        for (int64_t k = 0; k < n && !rc; k++) rc = put_prompt(&w, length[i]);
    for (int64_t i = 0; i < w.cap; i++) {
        hs_long_free(&w.pair[i].key);
        hs_long_free(&w.pair[i].value);
    }
    for (int i = 0; i < N_PART; i++) hs_long_free(&w.part[i]);
    hs_long_free(&w.prompt);
    free(w.pair);
    free(w.order);
    free(length);
    return rc;
}

static const hs_param params[] = {
    HS_LENGTHS_PARAM("900"),
    {"n", HS_PARAM_INT, "20", 1, 1e9, NULL, "prompts", "prompts of each length"},
    {"shots", HS_PARAM_INT, "3", 0, MAX_SHOTS, NULL, NULL, "questions with their answers"},
    {"words", HS_PARAM_INT, "12", 1, MAX_WORDS, NULL, NULL, "words of a value at most"},
    HS_DATASET_DRAW,
    {0},
};

const hs_dataset hs_dataset_kv_json = {
    .name = "kv_json",
    .title = "Values of keys in a JSON object",
    .about = "Random keys and sentences as a JSON object of as many pairs as its length has room "
             "for, and the question for the value of one key after a few examples. Keys have 32 "
             "characters, 8 in prompts below 1,000 tokens. Feeds the retrieval scores.",
    .reference = "Hua et al. 2025, arXiv 2505.07293",
    .params = params,
    .generate = kv_json_generate,
};
