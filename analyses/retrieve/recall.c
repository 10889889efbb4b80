// ROUGE-1 recall; see recall.h. Answers are short: each word of one text is crossed out in the other
// by looking through it.
#include "analyses/retrieve/recall.h"

#include <math.h>
#include <stdlib.h>

#include "model/core/mem.h"

static bool in_word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (unsigned char)c >= 0x80;
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

// The next word from *at on, its length; 0 at the end.
static size_t next_word(const char *s, size_t n, size_t *at) {
    size_t len = 0;
    while (*at < n && !in_word(s[*at])) ++*at;
    while (*at + len < n && in_word(s[*at + len])) len++;
    return len;
}

static bool same_word(const char *a, const char *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (lower(a[i]) != lower(b[i])) return false;
    return true;
}

// Crosses out the word in `in`, whose used words are marked at their first byte.
static bool cross_out(const char *word, size_t n, const char *in, size_t n_in, bool *used) {
    size_t len;
    for (size_t at = 0; (len = next_word(in, n_in, &at)); at += len)
        if (len == n && !used[at] && same_word(word, in + at, n)) return used[at] = true;
    return false;
}

int hs_recall_text(const char *of, size_t n_of, const char *in, size_t n_in, double *out) {
    int64_t n = 0, hits = 0;
    size_t len;
    bool *used;
    int rc = hs_alloc(&used, n_in + 1, sizeof *used);
    for (size_t at = 0; !rc && (len = next_word(of, n_of, &at)); at += len) {
        n++;
        hits += cross_out(of + at, len, in, n_in, used);
    }
    free(used);
    *out = n ? (double)hits / (double)n : (double)NAN;
    return rc;
}

static int recall_ids(const int32_t *of, int64_t n_of, const int32_t *in, int64_t n_in,
                      double *out) {
    int64_t hits = 0;
    bool *used;
    int rc = hs_alloc(&used, (size_t)n_in + 1, sizeof *used);
    for (int64_t i = 0; i < n_of && !rc; i++) {
        int64_t k = 0;
        while (k < n_in && (used[k] || in[k] != of[i])) k++;
        if (k < n_in) used[k] = ++hits;
    }
    free(used);
    *out = (double)hits / (double)n_of;
    return rc;
}

int hs_recall(const hs_tok *tok, const int32_t *of, int64_t n_of, const int32_t *in, int64_t n_in,
              double *out) {
    hs_buf a = {0}, b = {0};
    *out = (double)NAN;
    int rc = tok ? hs_tok_decode(tok, of, (size_t)n_of, true, &a) : HS_OK;
    if (!rc && tok) rc = hs_tok_decode(tok, in, (size_t)n_in, true, &b);
    if (!rc) rc = hs_buf_rc(&a);
    if (!rc) rc = hs_buf_rc(&b);
    if (!rc) rc = hs_recall_text(hs_buf_text(&a), a.len, hs_buf_text(&b), b.len, out);
    if (!rc && isnan(*out)) rc = recall_ids(of, n_of, in, n_in, out);
    hs_buf_free(&a);
    hs_buf_free(&b);
    return rc;
}
