// Long prompts from pieces; see long.h.
#include "analyses/dataset/long.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/dataset/prose.h"
#include "model/core/json.h"
#include "model/core/mem.h"

enum {
    MAX_LENGTHS = 10000,
    MAX_BACK = 200, // tokens that a position moves back at most
    BYTES = 6,      // of prose for a token, at first
};

// ---- pieces -------------------------------------------------------------------------------------

int hs_long_begin(hs_long *l, int32_t bos) {
    l->n = 0;
    l->bos_len = bos >= 0;
    return bos >= 0 ? hs_long_ids(l, &bos, 1) : HS_OK;
}

int hs_long_ids(hs_long *l, const int32_t *ids, int64_t n) {
    int rc = hs_grow(&l->tokens, (size_t)(l->n + n), sizeof *l->tokens);
    if (rc || !n) return rc;
    memcpy(l->tokens + l->n, ids, (size_t)n * sizeof *ids);
    l->n += n;
    return HS_OK;
}

int hs_long_add(hs_long *l, const hs_long *piece) {
    return hs_long_ids(l, piece->tokens + piece->bos_len, piece->n - piece->bos_len);
}

int hs_long_text(hs_long *l, const hs_tok *tok, const char *text, size_t n) {
    hs_tokens got;
    int rc = hs_tok_encode(tok, text, n, HS_BOS_NO, &got);
    if (rc) return rc;
    rc = hs_grow(&l->tokens, (size_t)l->n + got.n, sizeof *l->tokens);
    for (size_t i = 0; i < got.n && !rc; i++) l->tokens[l->n++] = got.at[i].id;
    hs_tokens_free(&got);
    return rc;
}

void hs_long_free(hs_long *l) {
    free(l->tokens);
    *l = (hs_long){0};
}

// ---- prose --------------------------------------------------------------------------------------

int hs_long_prose(hs_long *l, const hs_tok *tok, hs_prng prng, int64_t n) {
    int rc = HS_OK;
    l->n = 0;
    l->bos_len = 0;
    for (size_t bytes = (size_t)n * BYTES; l->n < n && !rc; bytes *= 2) {
        hs_prng again = prng;
        hs_buf text = {0};
        hs_prose_write(&again, bytes, &text);
        l->n = 0;
        rc = hs_buf_rc(&text);
        if (!rc) rc = hs_long_text(l, tok, text.data, text.len);
        hs_buf_free(&text);
    }
    return rc;
}

// Does a sentence end with this token?
static bool ends_sentence(const hs_tok *tok, int32_t id) {
    size_t n;
    const char *piece = hs_tok_piece(tok, id, &n);
    while (n && strchr(" \t\r\n\"')]", piece[n - 1])) n--;
    return n && memchr(".!?", piece[n - 1], 3);
}

int64_t hs_long_sentence(const hs_long *l, const hs_tok *tok, int64_t at) {
    int64_t to = at;
    while (to > 0 && at - to < MAX_BACK && !ends_sentence(tok, l->tokens[to - 1])) to--;
    return at - to < MAX_BACK ? to : at;
}

// ---- lines --------------------------------------------------------------------------------------

int hs_long_put(hs_prompts *to, const hs_tok *tok, const hs_long *prompt,
                const hs_long_line *line) {
    hs_buf extra = {0}, text = {0};
    hs_jw w = {.out = &extra};
    int rc = hs_tok_decode(tok, prompt->tokens + prompt->bos_len,
                           (size_t)(prompt->n - prompt->bos_len), false, &text);
    hs_jw_begin(&w, '{');
    hs_jw_key(&w, "needle");
    hs_jw_begin(&w, '[');
    hs_jw_int(&w, line->from);
    hs_jw_int(&w, line->to);
    hs_jw_end(&w, ']');
    hs_jw_key(&w, "answer");
    hs_jw_begin(&w, '[');
    for (int64_t i = line->from; i < line->to; i++) hs_jw_int(&w, prompt->tokens[i]);
    hs_jw_end(&w, ']');
    hs_jw_key_int(&w, "length", line->length);
    hs_jw_key_num(&w, "depth", line->depth);
    hs_jw_key_str(&w, "topic", line->topic);
    hs_jw_key_str(&w, "question", line->question);
    if (line->spans) {
        hs_jw_key(&w, "spans");
        hs_jw_raw(&w, line->spans);
    }
    hs_jw_key(&w, "text");
    hs_jw_strn(&w, hs_buf_text(&text), text.len);
    hs_jw_end(&w, '}');
    if (!rc) rc = hs_buf_rc(&extra);
    if (!rc)
        rc = hs_prompts_add_tokens(to, NULL, prompt->tokens, prompt->n, prompt->bos_len, 0,
                                   extra.data);
    hs_buf_free(&extra);
    hs_buf_free(&text);
    return rc;
}

// ---- lengths ------------------------------------------------------------------------------------

// A positive number; *at moves past it.
static bool read_number(const char **at, int64_t max, int64_t *out) {
    char *end;
    errno = 0;
    if (**at < '0' || **at > '9') return false;
    *out = strtoll(*at, &end, 10);
    *at = end;
    return !errno && *out >= 1 && *out <= max;
}

// One item, "N" or "FROM:TO:COUNT".
static bool read_item(const char **at, int64_t *from, int64_t *to, int64_t *count) {
    *count = 1;
    if (!read_number(at, HS_LONG_MAX, from)) return false;
    *to = *from;
    if (**at != ':') return true;
    ++*at;
    if (!read_number(at, HS_LONG_MAX, to) || **at != ':') return false;
    ++*at;
    return read_number(at, MAX_LENGTHS, count);
}

int hs_long_lengths(int64_t **out, int *n, const char *list) {
    const char *at = list;
    int64_t from, to, count, *lengths = NULL;
    int rc = HS_OK;
    *out = NULL;
    *n = 0;
    for (bool more = true; more && !rc;) {
        if (!read_item(&at, &from, &to, &count) || (*at && *at != '+') || *n + count > MAX_LENGTHS)
            rc = hs_fail(HS_EARG,
                         "lengths=%s: give lengths in tokens, 256+512, or FROM:TO:COUNT, "
                         "256:2000:5; at most %d of up to %d tokens",
                         list, MAX_LENGTHS, HS_LONG_MAX);
        if (!rc) rc = hs_grow(&lengths, (size_t)(*n + count), sizeof *lengths);
        for (int64_t i = 0; i < count && !rc; i++)
            lengths[(*n)++] = count > 1 ? llround((double)from +
                                                  (double)((to - from) * i) / (double)(count - 1))
                                        : from;
        more = *at++ == '+';
    }
    if (rc)
        free(lengths);
    else
        *out = lengths;
    return rc;
}

// ---- what may be wrong --------------------------------------------------------------------------

int hs_long_needs(const hs_tok *tok) {
    return tok ? HS_OK : hs_fail(HS_EARG, "its texts need a tokenizer: give a model, -m MODEL");
}

int hs_long_too_short(int64_t length, int64_t least, const char *what) {
    return hs_fail(HS_EARG,
                   "a prompt of %" PRId64 " tokens has no room for %s: ask for lengths=%" PRId64
                   " or more",
                   length, what, least);
}
