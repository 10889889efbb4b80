// How heads look at documents that say nothing; see looks.h. Maps are summed as their tiles pass: a
// number a head and document is all that is held.
#include "analyses/looks.h"

#include <stdlib.h>
#include <string.h>

#include "analyses/watched.h"
#include "model/core/mem.h"

struct hs_look {
    int64_t ord, token;
    hs_range *doc; // [n_doc]
    int n_doc;
    double *mean; // [n_layer][n_head][n_doc]
};

// ---- dummies ------------------------------------------------------------------------------------

// The next of 0 .. n - 1 after `i` counts in binary, read backwards: neighbours come from afar, and
// each stretch from everywhere.
static int64_t next_scattered(uint64_t *i, int64_t n) {
    int64_t at;
    do {
        at = 0;
        for (int64_t bit = 1, from = (int64_t)(*i)++; bit < n; bit *= 2, from /= 2)
            at = 2 * at + from % 2;
    } while (at >= n);
    return at;
}

// Position k of the documents, laid end to end.
static int64_t position(const hs_places *docs, int64_t k) {
    int d = 0;
    for (; k >= docs->at[d].to - docs->at[d].from; d++) k -= docs->at[d].to - docs->at[d].from;
    return docs->at[d].from + k;
}

void hs_looks_dummy(int32_t *to, const int32_t *from, const hs_places *docs, int64_t token) {
    int64_t n = 0;
    uint64_t i = 0;
    for (int d = 0; d < docs->n; d++) n += docs->at[d].to - docs->at[d].from;
    for (int64_t k = 0; k < n; k++)
        to[position(docs, k)] = token < 0 ? from[position(docs, next_scattered(&i, n))]
                                          : (int32_t)token;
}

// ---- measuring ----------------------------------------------------------------------------------

struct pass {
    hs_look *look;
    int n_head;
    int64_t from; // the first row that counts
};

static int on_tile(void *ctx, const hs_tile *tile, int worker) {
    const struct pass *p = ctx;
    const hs_look *k = p->look;
    double *sum = k->mean + ((int64_t)tile->layer * p->n_head + tile->head) * k->n_doc;
    (void)worker;
    for (int64_t r = 0; r < tile->n_row; r++) {
        const float *row = tile->row + r * tile->ld;
        for (int d = 0; tile->row0 + r >= p->from && d < k->n_doc; d++)
            for (int64_t j = k->doc[d].from; j < k->doc[d].to; j++) sum[d] += (double)row[j];
    }
    return HS_OK;
}

static int run(struct pass *p, const hs_model *model, const int32_t *tokens, int64_t n) {
    const hs_seq seq = {.tokens = tokens, .n = n};
    return hs_watched_run(model, HS_PATTERN, HS_WATCH_ALL, (hs_hook){.tile = on_tile, .ctx = p},
                          &seq, 1);
}

static int measure(hs_look *k, const hs_model *model, const hs_prompt *prompt,
                   const hs_places *docs) {
    const hs_dims dims = hs_dims_of(model);
    const int64_t cells = (int64_t)dims.n_layer * dims.n_head, from = hs_places_end(docs);
    struct pass p = {k, dims.n_head, from};
    int32_t *tokens;
    int rc = hs_alloc(&tokens, (size_t)prompt->n_token, sizeof *tokens);
    if (rc) return rc;
    memcpy(tokens, prompt->tokens, (size_t)prompt->n_token * sizeof *tokens);
    hs_looks_dummy(tokens, prompt->tokens, docs, k->token);
    rc = run(&p, model, tokens, prompt->n_token);
    for (int64_t i = 0; i < cells * k->n_doc; i++) {
        const hs_range *doc = &k->doc[i % k->n_doc];
        k->mean[i] /= (double)(doc->to - doc->from) * (double)(prompt->n_token - from);
    }
    free(tokens);
    return rc;
}

// ---- what is there ------------------------------------------------------------------------------

static void close_look(hs_look *k) {
    if (!k) return;
    free(k->doc);
    free(k->mean);
    free(k);
}

static int open_look(hs_look **out, const hs_model *model, const hs_prompt *prompt, int64_t ord,
                     const hs_places *docs, int64_t token) {
    const hs_dims dims = hs_dims_of(model);
    const size_t cells = (size_t)dims.n_layer * (size_t)dims.n_head;
    hs_look *k;
    int rc = hs_alloc(&k, 1, sizeof *k);
    if (rc) return rc;
    *k = (hs_look){.ord = ord, .token = token, .n_doc = docs->n};
    rc = hs_alloc(&k->doc, (size_t)docs->n, sizeof *k->doc);
    if (!rc) memcpy(k->doc, docs->at, (size_t)docs->n * sizeof *k->doc);
    if (!rc) rc = hs_alloc(&k->mean, cells, (size_t)docs->n * sizeof *k->mean);
    if (!rc) rc = measure(k, model, prompt, docs);
    if (rc)
        close_look(k);
    else
        *out = k;
    return rc;
}

static bool is_of(const hs_look *k, int64_t ord, const hs_places *docs, int64_t token) {
    return k->ord == ord && k->token == token && k->n_doc == docs->n &&
           !memcmp(k->doc, docs->at, (size_t)docs->n * sizeof *k->doc);
}

int hs_looks_get(hs_looks *looks, const hs_model *model, const hs_prompt *prompt, int64_t ord,
                 const hs_places *docs, int64_t token, const double **out) {
    int64_t i = 0;
    while (i < looks->n && !is_of(looks->at[i], ord, docs, token)) i++;
    if (i == looks->n) {
        int rc = hs_grow(&looks->at, (size_t)i + 1, sizeof *looks->at);
        if (!rc) rc = open_look(&looks->at[i], model, prompt, ord, docs, token);
        if (rc) return rc;
        looks->n++;
    }
    *out = looks->at[i]->mean;
    return HS_OK;
}

void hs_looks_free(hs_looks *looks) {
    for (int64_t i = 0; i < looks->n; i++) close_look(looks->at[i]);
    free(looks->at);
    *looks = (hs_looks){0};
}
