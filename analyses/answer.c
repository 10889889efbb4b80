// Answers of prompts, from the keys that came with a JSON line; names of effects.
#include <stdlib.h>
#include <string.h>

#include "analyses/effect.h"
#include "model/core/json.h"

// ---- effects ------------------------------------------------------------------------------------

const hs_effect_info hs_effects[HS_N_EFFECT] = {
    [HS_EFFECT_NLL] = {"nll", "nats/token", "negative log-likelihood, mean over scored positions",
                       .harm = 1},
    [HS_EFFECT_KL] = {"kl", "nats/token", "KL(unedited || edited), mean over scored positions",
                      .against = true, .harm = 1},
    [HS_EFFECT_JSD] =
        {"jsd", "nats/token",
         "Jensen-Shannon divergence from the unedited run, mean over scored positions",
         .against = true, .harm = 1},
    [HS_EFFECT_LOGIT_DIFF] = {"logit_diff", "", "logit[answer] - logit[wrong] at END",
                              .answer = true, .wrong = true, .harm = -1},
    [HS_EFFECT_PROB] = {"prob", "", "probability of the answer, or of all answers, at END",
                        .answer = true, .sets = true, .harm = -1},
    [HS_EFFECT_PROB_DIFF] = {"prob_diff", "",
                             "probability of all answers less that of all wrong ones at END",
                             .answer = true, .wrong = true, .sets = true, .harm = -1},
    [HS_EFFECT_ACCURACY] = {"accuracy", "", "1 when an answer has the largest logit at END, else 0",
                            .answer = true, .sets = true, .harm = -1},
};

static int unknown(const char *name, size_t n) {
    hs_buf names = {0};
    for (int i = 0; i < HS_N_EFFECT; i++)
        hs_buf_printf(&names, "%s%s", i ? ", " : "", hs_effects[i].name);
    int rc = hs_fail(HS_ENOTFOUND, "'%.*s' is not a metric of an edit: there are %s", (int)n, name,
                     hs_buf_text(&names));
    hs_buf_free(&names);
    return rc;
}

int hs_effects_parse(unsigned *out, const char *names) {
    *out = 0;
    for (;;) {
        const size_t n = strcspn(names, ",");
        int i = 0;
        while (i < HS_N_EFFECT && (strncmp(hs_effects[i].name, names, n) || hs_effects[i].name[n]))
            i++;
        if (i == HS_N_EFFECT) return unknown(names, n);
        *out |= 1u << i;
        if (!names[n]) return HS_OK;
        names += n + 1;
    }
}

// ---- answers ------------------------------------------------------------------------------------

int hs_token_of(int32_t *out, const char *text, const hs_tok *tok) {
    hs_tokens tokens = {0};
    if (!tok) return hs_fail(HS_EARG, "a text needs a tokenizer: give the token's id");
    int rc = hs_tok_encode(tok, text, strlen(text), HS_BOS_NO, &tokens);
    if (!rc && tokens.n != 1)
        rc = hs_fail(HS_EFORMAT,
                     "'%s' is %lld tokens, and one is meant: mind the space before a word, or give "
                     "the token's id",
                     text, (long long)tokens.n);
    if (!rc) *out = tokens.at[0].id;
    hs_tokens_free(&tokens);
    return rc;
}

// What answers are read with.
struct reader {
    const hs_json *doc;
    const hs_tok *tok;
    int64_t n_vocab;
    hs_arena *lists;
};

static int read_token(int32_t *out, const struct reader *r, const hs_json *v) {
    int64_t id;
    if (hs_json_str(v)) return hs_token_of(out, hs_json_str(v), r->tok);
    if (!hs_json_int(v, &id)) return hs_fail(HS_EFORMAT, "neither a token's id nor its text");
    if (id < 0 || id >= r->n_vocab)
        return hs_fail(HS_EFORMAT, "no token %lld: the vocabulary has %lld", (long long)id,
                       (long long)r->n_vocab);
    *out = (int32_t)id;
    return HS_OK;
}

static int read_one(int32_t *out, const struct reader *r, const char *key) {
    const hs_json *v = hs_json_get(r->doc, key);
    *out = -1;
    return v ? hs_prefix(read_token(out, r, v), "%s", key) : HS_OK;
}

static int ascending(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static int read_list(hs_ids *out, const struct reader *r, const hs_json *list) {
    const size_t n = hs_json_size(list);
    int32_t *ids;
    if (hs_json_type(list) != HS_JSON_ARR) return hs_fail(HS_EFORMAT, "not a list of tokens");
    if (!n) return hs_fail(HS_EFORMAT, "an empty list: leave it out");
    if (n > (size_t)r->n_vocab)
        return hs_fail(HS_EFORMAT, "%zu tokens: the vocabulary has %lld", n, (long long)r->n_vocab);
    int rc = hs_arena_get(r->lists, &ids, n, sizeof *ids);
    if (rc) return rc;
    for (const hs_json *v = hs_json_first(list); v && !rc; v = hs_json_next(v))
        rc = read_token(&ids[out->n++], r, v);
    if (rc) return rc;
    qsort(ids, n, sizeof *ids, ascending);
    for (size_t i = 1; i < n; i++)
        if (ids[i] == ids[i - 1])
            return hs_fail(HS_EFORMAT, "token %ld stands there twice", (long)ids[i]);
    out->at = ids;
    return HS_OK;
}

static int read_all(hs_ids *out, const struct reader *r, const char *key) {
    const hs_json *v = r->lists ? hs_json_get(r->doc, key) : NULL;
    *out = (hs_ids){0};
    return v ? hs_prefix(read_list(out, r, v), "%s", key) : HS_OK;
}

// Where there is a list, no token is right and wrong.
static int check_apart(const hs_answer *a) {
    const hs_ids right = hs_answer_right(a), wrong = hs_answer_wrong(a);
    if (!a->answers.n && !a->wrongs.n) return HS_OK;
    for (int64_t i = 0, k = 0; i < right.n && k < wrong.n;) {
        if (right.at[i] == wrong.at[k])
            return hs_fail(HS_EFORMAT, "token %ld is one of the answers and of the wrong ones",
                           (long)right.at[i]);
        if (right.at[i] < wrong.at[k])
            i++;
        else
            k++;
    }
    return HS_OK;
}

static int read_end(int64_t *out, const hs_json *doc, int64_t n_token) {
    const hs_json *v = hs_json_path(doc, "positions.END");
    const hs_json *positions = hs_json_get(doc, "positions");
    int64_t end = -1;
    if (positions && hs_json_type(positions) != HS_JSON_OBJ)
        return hs_fail(HS_EFORMAT, "positions is not an object of names and numbers");
    if (v && !hs_json_int(v, &end))
        return hs_fail(HS_EFORMAT, "positions.END is not a whole number");
    if (end < -n_token || end >= n_token)
        return hs_fail(HS_EFORMAT, "positions.END is %lld, and there are %lld positions",
                       (long long)end, (long long)n_token);
    *out = end < 0 ? end + n_token : end;
    return HS_OK;
}

int hs_answer_of(hs_answer *out, const hs_prompt *prompt, const hs_tok *tok, int64_t n_vocab,
                 hs_arena *lists) {
    hs_json *doc = NULL;
    *out = (hs_answer){.answer = -1, .wrong = -1, .end = prompt->n_token - 1};
    if (!prompt->extra) return HS_OK;
    int rc = hs_json_parse(&doc, prompt->extra, strlen(prompt->extra));
    const struct reader r = {doc, tok, n_vocab, lists};
    if (!rc) rc = read_one(&out->answer, &r, "answer");
    if (!rc) rc = read_one(&out->wrong, &r, "wrong");
    if (!rc) rc = read_all(&out->answers, &r, "answers");
    if (!rc) rc = read_all(&out->wrongs, &r, "wrongs");
    if (!rc) rc = check_apart(out);
    if (!rc) rc = read_end(&out->end, doc, prompt->n_token);
    hs_json_free(doc);
    return hs_prefix(rc, "prompt '%s'", prompt->id);
}

const char *hs_answer_lacks(const hs_answer *a, enum hs_effect effect) {
    const hs_effect_info *e = &hs_effects[effect];
    const bool right = e->sets ? hs_answer_right(a).n > 0 : a->answer >= 0;
    const bool wrong = e->sets ? hs_answer_wrong(a).n > 0 : a->wrong >= 0;
    return e->answer && !right ? "answer" : e->wrong && !wrong ? "wrong" : NULL;
}

int hs_answer_check(const hs_answer *a, const hs_prompt *prompt, unsigned effects,
                    const char *option) {
    for (int e = 0; e < HS_N_EFFECT; e++) {
        const char *lacks = hs_answer_lacks(a, (enum hs_effect)e);
        if (!(effects >> e & 1) || !lacks) continue;
        return hs_fail(HS_EARG,
                       "prompt '%s' says no \"%s\", which %s%s needs: give prompts as JSON lines "
                       "with it, or another metric",
                       prompt->id, lacks, option, hs_effects[e].name);
    }
    return HS_OK;
}
