// Answers of prompts, from the keys that came with a JSON line; names of effects.
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
    [HS_EFFECT_PROB] = {"prob", "", "probability of the answer at END", .answer = true, .harm = -1},
    [HS_EFFECT_ACCURACY] = {"accuracy", "",
                            "1 when the answer has the largest logit at END, else 0",
                            .answer = true, .harm = -1},
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

static int read_token(int32_t *out, const hs_json *doc, const char *key, const hs_tok *tok,
                      int64_t n_vocab) {
    const hs_json *v = hs_json_get(doc, key);
    int64_t id;
    int rc = HS_OK;
    *out = -1;
    if (!v) return HS_OK;
    if (hs_json_str(v)) {
        rc = hs_token_of(out, hs_json_str(v), tok);
    } else if (!hs_json_int(v, &id)) {
        rc = hs_fail(HS_EFORMAT, "neither a token's id nor its text");
    } else if (id < 0 || id >= n_vocab) {
        rc = hs_fail(HS_EFORMAT, "no token %lld: the vocabulary has %lld", (long long)id,
                     (long long)n_vocab);
    } else {
        *out = (int32_t)id;
    }
    return hs_prefix(rc, "%s", key);
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

int hs_answer_of(hs_answer *out, const hs_prompt *prompt, const hs_tok *tok, int64_t n_vocab) {
    hs_json *doc = NULL;
    *out = (hs_answer){-1, -1, prompt->n_token - 1};
    if (!prompt->extra) return HS_OK;
    int rc = hs_json_parse(&doc, prompt->extra, strlen(prompt->extra));
    if (!rc) rc = read_token(&out->answer, doc, "answer", tok, n_vocab);
    if (!rc) rc = read_token(&out->wrong, doc, "wrong", tok, n_vocab);
    if (!rc) rc = read_end(&out->end, doc, prompt->n_token);
    hs_json_free(doc);
    return hs_prefix(rc, "prompt '%s'", prompt->id);
}
