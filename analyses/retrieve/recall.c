// Recall and F1 of answers; see recall.h. They are short: each word of one text is crossed out in the
// other by looking through it.
#include "analyses/retrieve/recall.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

// Words of an answer, of what was said, and of both.
typedef struct overlap {
    int64_t answer, said, both;
} overlap;

static double recall_of(const overlap *o) {
    return o->answer ? (double)o->both / (double)o->answer : (double)NAN;
}

static double f1_of(const overlap *o) {
    if (!o->answer) return !o->said;
    return 2 * (double)o->both / (double)(o->answer + o->said);
}

// ---- words ------------------------------------------------------------------------------------

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

static int compare(const char *answer, size_t n_answer, const char *said, size_t n_said,
                   overlap *out) {
    size_t len;
    bool *used;
    *out = (overlap){0};
    int rc = hs_alloc(&used, n_said + 1, sizeof *used);
    if (rc) return rc;
    for (size_t at = 0; (len = next_word(answer, n_answer, &at)); at += len) {
        out->answer++;
        out->both += cross_out(answer + at, len, said, n_said, used);
    }
    for (size_t at = 0; (len = next_word(said, n_said, &at)); at += len) out->said++;
    free(used);
    return HS_OK;
}

// ---- as SQuAD has them --------------------------------------------------------------------------

static bool is_article(const char *s, size_t n) {
    return (n == 1 && s[0] == 'a') || (n == 2 && !memcmp(s, "an", 2)) ||
           (n == 3 && !memcmp(s, "the", 3));
}

// Punctuation falls out of words, which spaces and other bytes that are not seen separate.
int hs_mark_words(const char *s, size_t n, hs_buf *out) {
    size_t word = 0; // where the last one begins
    for (size_t i = 0; i <= n && !hs_buf_rc(out); i++) {
        const char c = i < n ? s[i] : ' ';
        if (in_word(c)) hs_buf_chr(out, lower(c));
        if ((unsigned char)c > ' ' && c != 127) continue;
        if (out->len > word && is_article(out->data + word, out->len - word)) out->len = word;
        if (out->len > word) hs_buf_chr(out, ' ');
        word = out->len;
    }
    return hs_buf_rc(out);
}

int hs_mark_text(const char *answer, size_t n_answer, const char *said, size_t n_said,
                 hs_marks *out) {
    hs_buf a = {0}, b = {0};
    overlap o;
    *out = (hs_marks){NAN, NAN};
    int rc = compare(answer, n_answer, said, n_said, &o);
    out->recall = recall_of(&o);
    if (!rc && o.answer) {
        rc = hs_mark_words(answer, n_answer, &a);
        if (!rc) rc = hs_mark_words(said, n_said, &b);
        if (!rc) rc = compare(hs_buf_text(&a), a.len, hs_buf_text(&b), b.len, &o);
        if (!rc) out->f1 = f1_of(&o);
    }
    hs_buf_free(&a);
    hs_buf_free(&b);
    return rc;
}

// ---- tokens -----------------------------------------------------------------------------------

static int mark_ids(const int32_t *answer, int64_t n_answer, const int32_t *said, int64_t n_said,
                    hs_marks *out) {
    overlap o = {n_answer, n_said, 0};
    bool *used;
    int rc = hs_alloc(&used, (size_t)n_said + 1, sizeof *used);
    for (int64_t i = 0; i < n_answer && !rc; i++) {
        int64_t k = 0;
        while (k < n_said && (used[k] || said[k] != answer[i])) k++;
        if (k < n_said) used[k] = ++o.both;
    }
    free(used);
    *out = (hs_marks){recall_of(&o), f1_of(&o)};
    return rc;
}

int hs_mark(const hs_tok *tok, const int32_t *answer, int64_t n_answer, const int32_t *said,
            int64_t n_said, hs_marks *out) {
    hs_buf a = {0}, b = {0};
    *out = (hs_marks){NAN, NAN};
    int rc = tok ? hs_tok_decode(tok, answer, (size_t)n_answer, true, &a) : HS_OK;
    if (!rc && tok) rc = hs_tok_decode(tok, said, (size_t)n_said, true, &b);
    if (!rc) rc = hs_buf_rc(&a);
    if (!rc) rc = hs_buf_rc(&b);
    if (!rc) rc = hs_mark_text(hs_buf_text(&a), a.len, hs_buf_text(&b), b.len, out);
    if (!rc && isnan(out->recall)) rc = mark_ids(answer, n_answer, said, n_said, out);
    hs_buf_free(&a);
    hs_buf_free(&b);
    return rc;
}
