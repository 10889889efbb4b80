// The tokens of copying scores: given, or drawn; see weights.h.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/weights/weights.h"
#include "model/core/mem.h"
#include "model/core/prng.h"
#include "model/core/utf8.h"

// ---- given --------------------------------------------------------------------------------------

struct parsing {
    hs_token_list *out;
    const hs_tok *tok;
    int64_t n_vocab;
    hs_buf single, other; // what was asked for, by whether it is one token
};

static int add(hs_token_list *list, int32_t id) {
    int rc = hs_grow(&list->id, (size_t)list->n + 1, sizeof *list->id);
    if (!rc) list->id[list->n++] = id;
    return rc;
}

static void quote(hs_buf *out, const char *text, size_t n) {
    hs_buf_str(out, out->len ? ", '" : "'");
    hs_utf8_visible(out, text, n, false);
    hs_buf_chr(out, '\'');
}

static int add_id(struct parsing *p, const char *text, size_t n) {
    char digits[24];
    int64_t id;
    snprintf(digits, sizeof digits, "%.*s", n < sizeof digits ? (int)n : 0, text);
    int rc = hs_parse_int("--tokens #ID", digits, 0, p->n_vocab - 1, &id);
    return rc ? rc : add(p->out, (int32_t)id);
}

static int add_text(struct parsing *p, const char *text, size_t n) {
    hs_tokens tokens = {0};
    if (!n) return HS_OK;
    if (*text == '#' && n > 1) return add_id(p, text + 1, n - 1);
    if (!p->tok)
        return hs_fail(HS_EARG, "--tokens: this model has no tokenizer for '%.*s': give ids, #17",
                       (int)n, text);
    int rc = hs_tok_encode(p->tok, text, n, HS_BOS_NO, &tokens);
    if (rc) return rc;
    const bool one = tokens.n == 1;
    quote(one ? &p->single : &p->other, text, n);
    if (one) rc = add(p->out, tokens.at[0].id);
    hs_tokens_free(&tokens);
    return rc;
}

int hs_token_list_parse(hs_token_list *out, const hs_opt_list *texts, const hs_model *model) {
    struct parsing p = {
        .out = out, .tok = hs_model_tok(model), .n_vocab = hs_model_config(model)->n_vocab};
    int rc = HS_OK;
    *out = (hs_token_list){0};
    for (int i = 0; i < texts->n; i++)
        for (const char *at = texts->at[i]; *at && !rc;) {
            const size_t n = strcspn(at, ",");
            rc = add_text(&p, at, n);
            at += n + (at[n] == ',');
        }
    if (!rc) rc = hs_buf_rc(&p.single);
    if (!rc) rc = hs_buf_rc(&p.other);
    if (!rc && p.other.len)
        rc = hs_fail(HS_EARG,
                     "--tokens: %s: not single tokens of this tokenizer%s%s (a word within "
                     "text mostly begins with its space)",
                     hs_buf_text(&p.other), p.single.len ? "; these are: " : "",
                     p.single.len ? hs_buf_text(&p.single) : "");
    if (!rc && !out->n) rc = hs_fail(HS_EARG, "--tokens names no token");
    hs_buf_free(&p.single);
    hs_buf_free(&p.other);
    return rc;
}

// ---- drawn --------------------------------------------------------------------------------------

static bool is_word(const char *s, size_t n) {
    for (size_t i = 1; i < n; i++)
        if ((s[i] | 32) < 'a' || (s[i] | 32) > 'z') return false;
    return n > 3 && *s == ' ';
}

// All ids that may be drawn.
static int gather(hs_token_list *out, const hs_model *model, bool words) {
    const hs_tok *tok = hs_model_tok(model);
    const int64_t n_vocab = hs_model_config(model)->n_vocab;
    int rc = HS_OK;
    out->n = 0;
    for (int64_t t = 0; t < n_vocab && !rc; t++) {
        size_t n = 0;
        const char *piece = tok ? hs_tok_piece(tok, (int32_t)t, &n) : "";
        if (tok && (words ? !is_word(piece, n) : !n || hs_tok_is_special(tok, (int32_t)t)))
            continue;
        rc = add(out, (int32_t)t);
    }
    return rc;
}

static int by_id(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

int hs_token_list_draw(hs_token_list *out, int64_t n, uint64_t seed, const hs_model *model) {
    hs_prng random = hs_prng_seed(seed);
    *out = (hs_token_list){0};
    if (!n) return HS_OK;
    int rc = gather(out, model, true);
    if (!rc && out->n < n) rc = gather(out, model, false);
    if (rc) return rc;
    if (n > out->n) n = out->n;
    for (int64_t i = 0; i < n; i++) {
        const int64_t k = i + (int64_t)hs_prng_below(&random, (uint64_t)(out->n - i));
        const int32_t id = out->id[k];
        out->id[k] = out->id[i];
        out->id[i] = id;
    }
    out->n = n;
    if (n) qsort(out->id, (size_t)n, sizeof *out->id, by_id);
    return HS_OK;
}
