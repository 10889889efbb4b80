// Pairs of prompts from templates; see pair.h.
//
// Both halves are encoded with the answer behind them, as one text: the answer's token is then the
// last one, and the prompt is what lies before it, a lone space included where the tokenizer makes
// one. That the prompt alone gives the same tokens is checked.
#include "analyses/dataset/pair.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

enum { CLEAN, CORRUPT };
enum { RIGHT, WRONG };
enum { TRIES = 1000 };

// ---- putting together ---------------------------------------------------------------------------

void hs_pair_text(hs_pair *p, const char *text) {
    hs_buf_str(&p->text[CLEAN], text);
    hs_buf_str(&p->text[CORRUPT], text);
}

void hs_pair_word(hs_pair *p, const char *name, const char *after, const char *clean,
                  const char *corrupt) {
    assert(p->n_word < HS_PAIR_WORDS);
    struct hs_pair_word *w = &p->word[p->n_word++];
    w->name = name;
    w->after = after;
    for (int h = 0; h < 2; h++) {
        w->from[h] = p->text[h].len;
        hs_buf_str(&p->text[h], h == CLEAN ? clean : corrupt);
        w->to[h] = p->text[h].len;
    }
}

static const hs_slot *find_slot(const hs_slot *slots, int n, const char *mark, size_t len) {
    for (int i = 0; i < n; i++)
        if (strlen(slots[i].mark) == len && !memcmp(slots[i].mark, mark, len)) return &slots[i];
    return NULL;
}

void hs_pair_fill(hs_pair *p, const char *text, const hs_slot *slots, int n) {
    for (const char *at = text; *at;) {
        const size_t plain = strcspn(at, "[");
        hs_buf_add(&p->text[CLEAN], at, plain);
        hs_buf_add(&p->text[CORRUPT], at, plain);
        at += plain;
        if (!*at) return;
        const size_t len = strcspn(++at, "]");
        const hs_slot *s = find_slot(slots, n, at, len);
        assert(s && at[len]);
        if (s->name)
            hs_pair_word(p, s->name, s->after, s->clean, s->corrupt ? s->corrupt : s->clean);
        else
            hs_pair_text(p, s->clean);
        at += len + 1;
    }
}

void hs_pair_answer(hs_pair *p, const char *before, const char *right, const char *wrong) {
    for (int k = 0; k < 2; k++) {
        hs_buf_str(&p->answer[k], before);
        hs_buf_str(&p->answer[k], k == RIGHT ? right : wrong);
    }
}

static void pair_free(hs_pair *p) {
    for (int i = 0; i < 2; i++) {
        hs_buf_free(&p->text[i]);
        hs_buf_free(&p->answer[i]);
    }
    hs_buf_free(&p->keys);
    *p = (hs_pair){.more.out = &p->keys};
}

static int pair_rc(const hs_pair *p) {
    for (int i = 0; i < 2; i++)
        if (hs_buf_rc(&p->text[i]) || hs_buf_rc(&p->answer[i])) return HS_ENOMEM;
    return hs_buf_rc(&p->keys);
}

// ---- tokens -------------------------------------------------------------------------------------

// One half with an answer behind it.
struct half {
    hs_buf text;
    hs_tokens tokens;
    size_t n;     // tokens of the prompt: the one after them is the answer's
    size_t bytes; // of the prompt
};

static void half_free(struct half *h) {
    hs_tokens_free(&h->tokens);
    hs_buf_free(&h->text);
}

// That the prompt alone is the same tokens.
static int check_alone(const struct half *h, const hs_tok *tok, const char **why) {
    hs_tokens alone;
    int rc = hs_tok_encode(tok, h->text.data, h->bytes, HS_BOS_NO, &alone);
    if (rc) return rc;
    bool same = alone.n == h->n;
    for (size_t i = 0; same && i < h->n; i++) same = alone.at[i].id == h->tokens.at[i].id;
    if (!same) *why = "the answer changes the tokens before it";
    hs_tokens_free(&alone);
    return HS_OK;
}

// *why tells when the half cannot be used.
static int half_open(struct half *h, const hs_buf *text, const hs_buf *answer, const hs_tok *tok,
                     const char **why) {
    const size_t from = text->len + strspn(hs_buf_text(answer), " ");
    *h = (struct half){0};
    hs_buf_add(&h->text, hs_buf_text(text), text->len);
    hs_buf_str(&h->text, hs_buf_text(answer));
    int rc = hs_buf_rc(&h->text);
    if (!rc) rc = hs_tok_encode(tok, h->text.data, h->text.len, HS_BOS_NO, &h->tokens);
    if (rc) return rc;
    const int64_t at = hs_word_token(tok, &h->tokens, h->text.data, from, h->text.len);
    if (at < 1 || h->tokens.at[at].start < (int64_t)text->len) {
        *why = "an answer is not one token where it stands";
        return HS_OK;
    }
    h->n = (size_t)at;
    h->bytes = (size_t)h->tokens.at[at].start;
    return check_alone(h, tok, why);
}

// The positions of the words, the same in both halves, which are equal elsewhere.
static const char *align(const hs_pair *p, const struct half *half, const hs_tok *tok,
                         int64_t *at) {
    if (half[CLEAN].n != half[CORRUPT].n) return "its halves are not equally many tokens";
    for (int i = 0; i < p->n_word; i++) {
        const struct hs_pair_word *w = &p->word[i];
        int64_t of[2];
        for (int h = 0; h < 2; h++)
            of[h] = hs_word_token(tok, &half[h].tokens, half[h].text.data, w->from[h], w->to[h]);
        if (of[0] < 0 || of[0] != of[1] || of[0] >= (int64_t)half[CLEAN].n)
            return "a word is not one token where it stands";
        at[i] = of[0];
    }
    bool any = false;
    for (size_t t = 0; t < half[CLEAN].n; t++) {
        if (half[CLEAN].tokens.at[t].id == half[CORRUPT].tokens.at[t].id) continue;
        int i = 0;
        while (i < p->n_word && at[i] != (int64_t)t) i++;
        if (i == p->n_word) return "its halves differ beside their words";
        any = true;
    }
    return any ? NULL : "its halves are the same";
}

// ---- the line -----------------------------------------------------------------------------------

static void write_ids(hs_jw *w, const char *key, const int32_t *ids, int n) {
    if (!ids) return;
    hs_jw_key(w, key);
    hs_jw_begin(w, '[');
    for (int i = 0; i < n; i++) hs_jw_int(w, ids[i]);
    hs_jw_end(w, ']');
}

static void write_positions(hs_jw *w, const hs_pair *p, const int64_t *at, int64_t end) {
    hs_jw_key(w, "positions");
    hs_jw_begin(w, '{');
    for (int i = 0; i < p->n_word; i++) {
        hs_jw_key_int(w, p->word[i].name, at[i]);
        if (p->word[i].after) hs_jw_key_int(w, p->word[i].after, at[i] + 1);
    }
    hs_jw_key_int(w, "END", end);
    hs_jw_end(w, '}');
}

static void write_words(hs_jw *w, const char *key, const hs_pair *p, int h) {
    hs_jw_key(w, key);
    hs_jw_begin(w, '{');
    for (int i = 0; i < p->n_word; i++) {
        const struct hs_pair_word *word = &p->word[i];
        hs_jw_key(w, word->name);
        hs_jw_strn(w, p->text[h].data + word->from[h], word->to[h] - word->from[h]);
    }
    hs_jw_end(w, '}');
}

// A pair whose tokens are known.
struct found {
    struct half half[2];
    int64_t at[HS_PAIR_WORDS]; // position of each word, BOS not counted
    int32_t answer, wrong;
};

static void write_keys(hs_buf *out, const hs_pair *p, const struct found *f, const int32_t *corrupt,
                       int64_t bos_len) {
    const int64_t n = (int64_t)f->half[CLEAN].n + bos_len;
    int64_t at[HS_PAIR_WORDS];
    hs_jw w = {.out = out};
    for (int i = 0; i < p->n_word; i++) at[i] = f->at[i] + bos_len;
    hs_jw_begin(&w, '{');
    write_ids(&w, "corrupt_tokens", corrupt, (int)n);
    hs_jw_key_int(&w, "answer", f->answer);
    hs_jw_key_int(&w, "wrong", f->wrong);
    write_positions(&w, p, at, n - 1);
    write_ids(&w, "answers", p->answers, p->n_answer);
    write_ids(&w, "wrongs", p->wrongs, p->n_wrong);
    if (p->keys.len) {
        hs_buf_chr(out, ',');
        hs_buf_add(out, p->keys.data, p->keys.len);
    }
    write_words(&w, "words", p, CLEAN);
    write_words(&w, "corrupt_words", p, CORRUPT);
    hs_jw_key(&w, "text");
    hs_jw_strn(&w, f->half[CLEAN].text.data, f->half[CLEAN].bytes);
    hs_jw_key(&w, "corrupt_text");
    hs_jw_strn(&w, f->half[CORRUPT].text.data, f->half[CORRUPT].bytes);
    // A space that is a token of its own belongs to the prompt.
    const size_t taken = f->half[CLEAN].bytes - p->text[CLEAN].len;
    hs_jw_key_str(&w, "answer_text", hs_buf_text(&p->answer[RIGHT]) + taken);
    hs_jw_key_str(&w, "wrong_text", hs_buf_text(&p->answer[WRONG]) + taken);
    hs_jw_end(&w, '}');
}

static int add_prompt(hs_prompts *to, const hs_pair *p, const struct found *f, int32_t bos) {
    const int64_t bos_len = bos >= 0, n = (int64_t)f->half[CLEAN].n + bos_len;
    int32_t *tokens[2] = {NULL, NULL};
    hs_buf keys = {0};
    int rc = HS_OK;
    for (int h = 0; h < 2 && !rc; h++) {
        rc = hs_alloc(&tokens[h], (size_t)n, sizeof *tokens[h]);
        for (int64_t t = 0; t < n && !rc; t++)
            tokens[h][t] = t < bos_len ? bos : f->half[h].tokens.at[t - bos_len].id;
    }
    if (!rc) write_keys(&keys, p, f, tokens[CORRUPT], bos_len);
    if (!rc) rc = hs_buf_rc(&keys);
    if (!rc) rc = hs_prompts_add_tokens(to, NULL, tokens[CLEAN], n, (int)bos_len, 0, keys.data);
    hs_buf_free(&keys);
    free(tokens[CLEAN]);
    free(tokens[CORRUPT]);
    return rc;
}

// ---- drawing ------------------------------------------------------------------------------------

// The token of another answer behind the same prompt.
static int other_answer(int32_t *id, const hs_pair *p, const struct half *clean, const hs_tok *tok,
                        const char **why) {
    struct half h;
    int rc = half_open(&h, &p->text[CLEAN], &p->answer[WRONG], tok, why);
    if (!rc && !*why && (h.n != clean->n || h.bytes != clean->bytes))
        *why = "its answers do not follow the same prompt";
    if (!rc && !*why) *id = h.tokens.at[h.n].id;
    half_free(&h);
    return rc;
}

static int try_pair(hs_prompts *to, const hs_pair *p, const hs_tok *tok, int32_t bos,
                    const char **why) {
    struct found f = {0};
    *why = NULL;
    int rc = pair_rc(p);
    for (int h = 0; h < 2 && !rc && !*why; h++)
        rc = half_open(&f.half[h], &p->text[h], &p->answer[RIGHT], tok, why);
    if (!rc && !*why) *why = align(p, f.half, tok, f.at);
    if (!rc && !*why) rc = other_answer(&f.wrong, p, &f.half[CLEAN], tok, why);
    if (!rc && !*why) {
        f.answer = f.half[CLEAN].tokens.at[f.half[CLEAN].n].id;
        rc = add_prompt(to, p, &f, bos);
    }
    for (int h = 0; h < 2; h++) half_free(&f.half[h]);
    return rc;
}

int hs_pairs_generate(hs_prompts *to, const hs_tok *tok, const hs_args *args, hs_pair_draw draw,
                      void *ctx) {
    hs_prng prng = hs_prng_seed((uint64_t)hs_args_int(args, "seed"));
    hs_pair pair = {0};
    int32_t bos;
    int rc = hs_dataset_bos(&bos, to, tok, args);
    for (int64_t i = 0; i < hs_args_int(args, "n") && !rc; i++) {
        const char *why = "";
        for (int k = 0; k < TRIES && why && !rc; k++) {
            pair_free(&pair);
            draw(ctx, &prng, &pair);
            rc = try_pair(to, &pair, tok, bos, &why);
        }
        if (!rc && why)
            rc = hs_fail(HS_EARG,
                         "none of %d pairs can be used with this tokenizer: in the last one %s; "
                         "take other words, or another model",
                         TRIES, why);
    }
    pair_free(&pair);
    return rc;
}
