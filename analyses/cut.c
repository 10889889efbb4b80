// A prompt without some of its positions; see cut.h.
//
// Rows that stand side by side in both prompts are read at once. A row of a map is read packed, then
// its keys move to their places from the last one back, where nothing is overwritten that is still
// to move.
#include "analyses/cut.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

struct hs_cut {
    hs_prompt prompt; // what is left
    int32_t *tokens;
    int64_t *at; // [n_token] where a position of the whole prompt went; GONE
    int64_t n_token;
    hs_ref packed;
};
enum { GONE = -1 };

int hs_cut_open(hs_cut **out, const hs_prompt *prompt, const bool *gone) {
    const int64_t n = prompt->n_token;
    hs_cut *c;
    *out = NULL;
    int rc = hs_alloc(&c, 1, sizeof *c);
    if (rc) return rc;
    c->n_token = n;
    rc = hs_alloc(&c->tokens, (size_t)n, sizeof *c->tokens);
    if (!rc) rc = hs_alloc(&c->at, (size_t)n, sizeof *c->at);
    if (rc) {
        hs_cut_close(c);
        return rc;
    }
    c->prompt = (hs_prompt){.id = prompt->id, .tokens = c->tokens};
    for (int64_t i = 0; i < n; i++) {
        c->at[i] = gone[i] ? GONE : c->prompt.n_token;
        if (!gone[i]) c->tokens[c->prompt.n_token++] = prompt->tokens[i];
    }
    *out = c;
    return HS_OK;
}

void hs_cut_close(hs_cut *c) {
    if (!c) return;
    free(c->tokens);
    free(c->at);
    free(c);
}

bool hs_cut_is(const hs_cut *c, const bool *gone) {
    int64_t i = 0;
    while (i < c->n_token && (c->at[i] == GONE) == gone[i]) i++;
    return i == c->n_token;
}

const hs_prompt *hs_cut_prompt(const hs_cut *c) {
    return &c->prompt;
}

// ---- as a reference -----------------------------------------------------------------------------

// Rows row0 .. row0 + n - 1 of the whole prompt are rows *first .. *first + n - 1 of what is left.
static int find_rows(const hs_cut *c, int64_t row0, int64_t n, int64_t *first) {
    if (row0 < 0 || n < 0 || row0 > c->n_token - n)
        return hs_fail(HS_ENOTFOUND, "row %lld is not held", (long long)(row0 + n - 1));
    *first = n ? c->at[row0] : 0;
    for (int64_t i = row0; i < row0 + n; i++)
        if (c->at[i] == GONE) return hs_fail(HS_ENOTFOUND, "row %lld was left out", (long long)i);
    return HS_OK;
}

static int cut_rows(void *ctx, enum hs_point point, int layer, int64_t row0, int64_t n,
                    float *out) {
    const hs_cut *c = ctx;
    int64_t first;
    int rc = find_rows(c, row0, n, &first);
    return rc ? rc : c->packed.rows(c->packed.ctx, point, layer, first, n, out);
}

// The keys [0, n_key) of the whole prompt that are left, when fewer than those asked for are.
static int64_t count_left(const hs_cut *c, int64_t n_key) {
    int64_t n = 0;
    for (int64_t k = 0; k < n_key && k < c->n_token; k++) n += c->at[k] != GONE;
    return n;
}

static int cut_map(void *ctx, enum hs_point point, int layer, int head, int64_t row0, int64_t n,
                   int64_t n_key, float *out, int64_t ld) {
    const hs_cut *c = ctx;
    const float masked = point == HS_SCORES ? -INFINITY : 0;
    const int64_t left = count_left(c, n_key);
    int64_t first;
    int rc = find_rows(c, row0, n, &first);
    if (!rc) rc = c->packed.map(c->packed.ctx, point, layer, head, first, n, left, out, ld);
    for (int64_t r = 0; r < n && !rc; r++) {
        float *row = out + r * ld;
        for (int64_t k = n_key - 1; k >= 0; k--)
            row[k] = k < c->n_token && c->at[k] != GONE ? row[c->at[k]] : masked;
    }
    return rc;
}

hs_ref hs_cut_ref(hs_cut *c, hs_held *held) {
    c->packed = hs_held_ref(held);
    return (hs_ref){.ctx = c, .n_row = c->n_token, .rows = cut_rows, .map = cut_map};
}
