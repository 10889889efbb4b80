// Fuzz target: what a prompt's line says of itself: spans, answers, needles, its corrupted half. The
// first byte says how many tokens it has and what reads them, a line is a set of positions, the rest
// the other keys of the JSON line. What is taken keeps to the prompt and to the vocabulary.
// covers: analyses/needles.c analyses/answer.c analyses/prompts_extra.c hooks/places.c
#include <stdio.h>

#include "analyses/effect.h"
#include "analyses/needles.h"
#include "tests/fuzz/shared.h"
#include "tests/lib/wordtok.h"

enum { MOST = 12, N_VOCAB = 40 };

static const hs_span given[] = {{"doc", 0, 2}, {"far", 3, 9}};

static void spans(const hs_prompt *p, const char *text) {
    hs_places places = {0};
    for (int i = 0; i < p->spans.n; i++) {
        const hs_span *s = &p->spans.at[i];
        need(s->name && 0 <= s->from && s->from < s->to && s->to <= p->n_token);
    }
    int rc = hs_places_check(text);
    if (!rc) rc = hs_places_resolve(&places, text, p->n_token, p->spans, (hs_spans){given, 2});
    for (int i = 0; i < places.n && !rc && !places.all; i++) {
        need(0 <= places.at[i].from && places.at[i].from < places.at[i].to);
        need(places.at[i].to <= p->n_token && hs_places_has(&places, places.at[i].to - 1));
    }
    hs_places_free(&places);
}

static bool is_token(int64_t id, int64_t n_vocab) {
    return id >= 0 && id < n_vocab;
}

static void tokens_of(hs_ids ids, int64_t n_vocab) {
    for (int64_t i = 0; i < ids.n; i++)
        need(is_token(ids.at[i], n_vocab) && (!i || ids.at[i - 1] < ids.at[i]));
}

static void answers(const hs_prompt *p, const hs_tok *tok, int64_t n_vocab) {
    hs_answer a;
    hs_needle n;
    hs_arena *lists;
    need(!hs_arena_open(&lists));
    if (!hs_answer_of(&a, p, tok, n_vocab, lists)) {
        tokens_of(a.answers, n_vocab);
        tokens_of(a.wrongs, n_vocab);
        need(a.answer == -1 || is_token(a.answer, n_vocab));
        need(a.wrong == -1 || is_token(a.wrong, n_vocab));
        need(0 <= a.end && a.end < p->n_token);
    } else {
        need(strstr(hs_errmsg(), "prompt 'p'") != NULL);
    }
    if (!hs_needle_of(&n, p, n_vocab)) {
        need(0 <= n.from && n.from < n.to && n.to <= p->n_token && n.n_answer >= 1);
        for (int64_t i = 0; i < n.n_answer; i++) need(is_token(n.answer[i], n_vocab));
    } else {
        need(strstr(hs_errmsg(), "prompt 'p'") != NULL);
    }
    hs_needle_free(&n);
    hs_arena_close(lists);
}

// The corrupted half knows its clean one, is as long, and not the same.
static void pair(hs_prompts *all, int64_t n_vocab) {
    if (hs_prompts_add_pairs(all)) return;
    const hs_prompt *a = hs_prompts_at(all, 0), *b = hs_prompts_at(all, 1);
    need(hs_prompts_count(all) == 2 && hs_prompts_pair(all, 0) == 1 &&
         hs_prompts_pair(all, 1) == 0);
    need(a->n_token == b->n_token && a->bos_len == b->bos_len && a->spans.n == b->spans.n);
    bool differs = false;
    for (int64_t i = 0; i < b->n_token; i++) {
        need(is_token(b->tokens[i], n_vocab));
        differs |= a->tokens[i] != b->tokens[i];
    }
    need(differs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static const int32_t tokens[MOST] = {1, 2, 3, 4, 1, 2, 3, 9, 9, 0, 5, 6};
    static hs_tok *words;
    input in = {data, n};
    hs_prompts *p;
    if (n > 4000) return 0;
    if (!words) words = wordtok_make(WORDTOK_SPACED);
    const uint8_t how = take_byte(&in);
    const hs_tok *tok = how & 128 ? words : NULL;
    const int64_t n_vocab = tok ? (int64_t)hs_tok_n_vocab(tok) : N_VOCAB;
    char *places = text_of(take_until(&in, '\n')), *extra = text_of(in);
    need(!hs_prompts_open(&p, tok, HS_BOS_NO, n_vocab));
    if (!hs_prompts_add_tokens(p, "p", tokens, 1 + how % MOST, 0, 0, extra)) {
        spans(hs_prompts_at(p, 0), places);
        answers(hs_prompts_at(p, 0), tok, n_vocab);
        pair(p, n_vocab);
    }
    hs_prompts_close(p);
    free(places);
    free(extra);
    return 0;
}
