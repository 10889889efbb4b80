// Tokens recognised in the text before everything else; see tok_impl.h. The rules are those of the
// reference: leftmost, then longest; a single-word token counts only between non-word characters
// (but its bytes are consumed all the same); lstrip and rstrip take the white space beside it.
#include <stdlib.h>
#include <string.h>

#include "model/tok_impl.h"

int hs_added_put(hs_added *a, hs_added_token t) {
    if (a->n == a->cap) {
        size_t cap = a->cap ? a->cap * 2 : 16;
        int rc = hs_grow(&a->at, cap, sizeof *a->at);
        if (rc) return rc;
        a->cap = cap;
    }
    t.order = a->n;
    a->at[a->n++] = t;
    return HS_OK;
}

// Bytewise, a prefix before what it begins; of one token the descriptions in their order.
static int by_text(const void *x, const void *y) {
    const hs_added_token *a = x, *b = y;
    int order = memcmp(a->s, b->s, a->n < b->n ? a->n : b->n);
    if (order) return order;
    if (a->n != b->n) return a->n < b->n ? -1 : 1;
    if (a->id != b->id) return a->id < b->id ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

int hs_added_finish(hs_added *a) {
    // Word characters as the reference's other regex engine (Rust's) has them.
    static const char word[] = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]";
    bool need_word = false;
    size_t kept = 0;
    if (a->n) qsort(a->at, a->n, sizeof *a->at, by_text);
    for (size_t i = 0; i < a->n; i++) // the last description of a token counts
        if (i + 1 == a->n || a->at[i].id != a->at[i + 1].id) a->at[kept++] = a->at[i];
    a->n = kept;
    for (size_t i = 0; i < a->n; i++) {
        a->first[(unsigned char)a->at[i].s[0] + 1]++;
        if (a->at[i].flags & HS_ADDED_SINGLE_WORD) need_word = true;
    }
    for (int b = 0; b < 256; b++) a->first[b + 1] += a->first[b];
    return need_word ? hs_regex_open(&a->word, word, sizeof word - 1, false) : HS_OK;
}

void hs_added_free(hs_added *a) {
    hs_regex_close(a->word);
    free(a->at);
    *a = (hs_added){0};
}

// The first token in [lo, hi) whose byte at `depth` is not below b; all are longer than depth.
static size_t lower(const hs_added *a, size_t lo, size_t hi, size_t depth, int b) {
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if ((unsigned char)a->at[mid].s[depth] < b)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

// The longest token that text[0..n) begins with, or NULL.
static const hs_added_token *longest(const hs_added *a, const char *text, size_t n) {
    const hs_added_token *best = NULL;
    size_t lo = a->first[(unsigned char)text[0]], hi = a->first[(unsigned char)text[0] + 1];
    for (size_t depth = 1; lo < hi; depth++) {
        // The tokens of [lo, hi) agree with the text up to depth; one that ends here sorts first.
        for (; lo < hi && a->at[lo].n == depth; lo++) best = &a->at[lo];
        if (depth == n) break;
        const int b = (unsigned char)text[depth];
        lo = lower(a, lo, hi, depth, b);
        hi = lower(a, lo, hi, depth, b + 1);
    }
    return best;
}

// The start of the character that ends before subject[i], i >= 1.
static size_t back(const char *subject, size_t i) {
    do i--;
    while (i && ((unsigned char)subject[i] & 0xc0) == 0x80);
    return i;
}

static bool is_space_at(const char *subject, size_t n, size_t i) {
    int32_t cp;
    hs_utf8_decode(subject + i, n - i, &cp);
    return hs_utf8_is_space(cp);
}

// Whether the character at subject[from..to) is a word character.
static int is_word(const hs_added *a, hs_regex_run *run, const char *subject, size_t from,
                   size_t to, bool *yes) {
    size_t start, end;
    return hs_regex_find(a->word, run, subject + from, to - from, 0, yes, &start, &end);
}

// Whether [start, end) stands between non-word characters.
static int stands_alone(const hs_added *a, hs_regex_run *run, const char *subject, size_t n,
                        size_t start, size_t end, bool *alone) {
    bool left = false, right = false;
    int rc = HS_OK;
    if (start) rc = is_word(a, run, subject, back(subject, start), start, &left);
    if (!rc && end < n) {
        int32_t cp;
        size_t len = hs_utf8_decode(subject + end, n - end, &cp);
        rc = is_word(a, run, subject, end, end + len, &right);
    }
    *alone = !left && !right;
    return rc;
}

int hs_added_cut(const hs_added *a, hs_regex_run *run, const char *text, const char *subject,
                 size_t n, hs_added_emit emit, void *ctx) {
    size_t done = 0; // everything before was emitted
    for (size_t i = 0; a->n && i < n;) {
        const hs_added_token *t = longest(a, text + i, n - i);
        if (!t) {
            i++;
            continue;
        }
        size_t start = i, end = i + t->n;
        i = end;
        bool alone = true;
        int rc = HS_OK;
        if (t->flags & HS_ADDED_SINGLE_WORD)
            rc = stands_alone(a, run, subject, n, start, end, &alone);
        if (rc) return rc;
        if (!alone) continue;
        if (t->flags & HS_ADDED_LSTRIP)
            while (start > done && is_space_at(subject, n, back(subject, start)))
                start = back(subject, start);
        if (t->flags & HS_ADDED_RSTRIP)
            for (int32_t cp; end < n && is_space_at(subject, n, end);)
                end += hs_utf8_decode(subject + end, n - end, &cp);
        if (done < start) rc = emit(ctx, -1, done, start);
        if (!rc) rc = emit(ctx, t->id, start, end);
        if (rc) return rc;
        done = end;
    }
    return done < n ? emit(ctx, -1, done, n) : HS_OK;
}
