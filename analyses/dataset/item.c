// Items of two parts; see item.h.
#include "analyses/dataset/item.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/dataset/long.h"
#include "model/core/mem.h"

enum { CALIBRATION, HELD_OUT, BOTH };
static const char *const part_name[] = {"calibration", "held_out"};

// ---- chance -------------------------------------------------------------------------------------

// A stream of its own for each of `what`.
static hs_prng stream(uint64_t seed, int part, uint64_t what) {
    hs_prng p = hs_prng_seed(seed);
    return hs_prng_seed(hs_prng_u64(&p) ^ (2 * what + (uint64_t)part));
}

static void shuffle(hs_prng *prng, int *order, int n) {
    for (int i = 0; i < n; i++) {
        const int k = (int)hs_prng_below(prng, (uint64_t)i + 1);
        order[i] = order[k];
        order[k] = i;
    }
}

int hs_item_below(hs_item *it, int n) {
    return (int)hs_prng_below(&it->prng, (uint64_t)n);
}

void hs_item_shuffle(hs_item *it, int *order, int n) {
    shuffle(&it->prng, order, n);
}

int hs_item_turn(const hs_item *it, int n, int salt) {
    enum { MOST = 64 };
    int order[MOST] = {0};
    assert(n <= MOST);
    // Numbers of items stay below 2^40.
    hs_prng prng = stream(it->seed, it->part,
                          (uint64_t)(salt + 1) << 40 | (uint64_t)(it->number / n));
    shuffle(&prng, order, n);
    return order[it->number % n];
}

// ---- putting together ---------------------------------------------------------------------------

int hs_item_from(hs_item *it, const char *name) {
    assert(it->n_span < HS_ITEM_SPANS);
    struct hs_item_span *s = &it->span[it->n_span];
    snprintf(s->name, sizeof s->name, "%s", name);
    s->from = it->text.len;
    return it->n_span++;
}

void hs_item_to(hs_item *it, int span) {
    struct hs_item_span *s = &it->span[span];
    s->to = it->text.len;
    while (s->from < s->to && it->text.data[s->from] == ' ') s->from++;
}

void hs_item_choice(hs_item *it, const char *word, bool quoted) {
    const char *mark = quoted ? "\"" : "";
    assert(it->n_choice < HS_ITEM_CHOICES);
    hs_buf_printf(&it->choice[it->n_choice++], " %s%s%s", mark, word, mark);
}

static void empty(hs_item *it) {
    hs_buf_clear(&it->text);
    hs_buf_clear(&it->keys);
    for (int i = 0; i < HS_ITEM_CHOICES; i++) hs_buf_clear(&it->choice[i]);
    it->n_span = it->n_choice = it->right = 0;
    it->open = false;
    it->more = (hs_jw){.out = &it->keys};
}

static int item_rc(const hs_item *it) {
    for (int i = 0; i < it->n_choice; i++)
        if (hs_buf_rc(&it->choice[i])) return HS_ENOMEM;
    return hs_buf_rc(&it->text) ? HS_ENOMEM : hs_buf_rc(&it->keys);
}

// ---- the line -----------------------------------------------------------------------------------

// The tokens that stand for bytes of the span, BOS not counted.
static int find_span(const struct hs_item_span *s, const hs_tokens *t, int64_t *from, int64_t *to) {
    *from = *to = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (t->at[i].end <= (int64_t)s->from || t->at[i].start >= (int64_t)s->to) continue;
        if (!*to) *from = (int64_t)i;
        *to = (int64_t)i + 1;
    }
    return *to ? HS_OK : hs_fail(HS_EARG, "this tokenizer has no tokens for the span %s", s->name);
}

static int write_spans(hs_jw *w, const hs_item *it, const hs_tokens *t, int64_t bos_len) {
    int rc = HS_OK;
    hs_jw_key(w, "spans");
    hs_jw_begin(w, '{');
    for (int i = 0; i < it->n_span && !rc; i++) {
        int64_t from, to;
        rc = find_span(&it->span[i], t, &from, &to);
        hs_jw_key(w, it->span[i].name);
        hs_jw_begin(w, '[');
        hs_jw_int(w, from + bos_len);
        hs_jw_int(w, to + bos_len);
        hs_jw_end(w, ']');
    }
    hs_jw_end(w, '}');
    return rc;
}

static int write_keys(hs_buf *out, const hs_item *it, const hs_tokens *t, int64_t bos_len) {
    hs_jw w = {.out = out};
    const char *right = hs_buf_text(&it->choice[it->right]);
    hs_jw_begin(&w, '{');
    hs_jw_key_str(&w, "part", part_name[it->part]);
    if (!it->open) {
        hs_jw_key(&w, "choices");
        hs_jw_begin(&w, '[');
        for (int i = 0; i < it->n_choice; i++) hs_jw_str(&w, hs_buf_text(&it->choice[i]));
        hs_jw_end(&w, ']');
        hs_jw_key_int(&w, "answer", it->right);
        hs_jw_key_str(&w, "answer_text", right);
    } else {
        hs_jw_key_str(&w, "answer", right);
    }
    if (it->keys.len) {
        hs_buf_chr(out, ',');
        hs_buf_add(out, it->keys.data, it->keys.len);
    }
    int rc = write_spans(&w, it, t, bos_len);
    hs_jw_key_str(&w, "text", hs_buf_text(&it->text));
    hs_jw_end(&w, '}');
    return rc ? rc : hs_buf_rc(out);
}

static int put(hs_prompts *to, const hs_tok *tok, const hs_item *it, int32_t bos) {
    const size_t bos_len = bos >= 0;
    hs_tokens t;
    hs_buf keys = {0};
    int32_t *ids = NULL;
    char id[32];
    int rc = hs_tok_encode(tok, it->text.data, it->text.len, HS_BOS_NO, &t);
    if (rc) return rc;
    rc = hs_alloc(&ids, t.n + bos_len, sizeof *ids);
    for (size_t i = 0; i < t.n + bos_len && !rc; i++)
        ids[i] = i < bos_len ? bos : t.at[i - bos_len].id;
    if (!rc) rc = write_keys(&keys, it, &t, (int64_t)bos_len);
    snprintf(id, sizeof id, "%c%" PRId64, *part_name[it->part], it->number);
    if (!rc)
        rc = hs_prompts_add_tokens(to, id, ids, (int64_t)(t.n + bos_len), (int)bos_len, 0,
                                   keys.data);
    free(ids);
    hs_buf_free(&keys);
    hs_tokens_free(&t);
    return rc;
}

// ---- the set ------------------------------------------------------------------------------------

int hs_items_generate(hs_prompts *to, const hs_tok *tok, const hs_args *args, hs_item_draw draw,
                      void *ctx) {
    const char *part = hs_args_text(args, "part");
    const int which = !strcmp(part, "all") ? BOTH : !strcmp(part, part_name[HELD_OUT]);
    hs_item it = {.seed = (uint64_t)hs_args_int(args, "seed")};
    int32_t bos;
    int rc = hs_long_needs(tok);
    if (!rc) rc = hs_dataset_bos(&bos, to, tok, args);
    for (int64_t i = 0; i < hs_args_int(args, "n") && !rc; i++) {
        empty(&it);
        it.part = which == BOTH ? (int)(i % 2) : which;
        it.number = which == BOTH ? i / 2 : i;
        it.prng = stream(it.seed, it.part, (uint64_t)it.number);
        draw(ctx, &it);
        rc = item_rc(&it);
        if (!rc) rc = put(to, tok, &it, bos);
    }
    hs_buf_free(&it.text);
    hs_buf_free(&it.keys);
    for (int i = 0; i < HS_ITEM_CHOICES; i++) hs_buf_free(&it.choice[i]);
    return rc;
}
