// The end of the forward pass: the final norm and the LM head, over the rows that somebody wants.
//
// The head costs as much as many layers, so it sees the wanted rows only, and never a few at a
// time: they are gathered out of all row blocks, sequences and gaps until there is room for no
// more, then multiplied, shown and forgotten; but for the last rows of sequences, whose logits stay
// in x->logits.
#include "model/pass.h"

// Rows on their way to the head.
struct gather {
    void *rows;      // [most][d_model], normed or not: HS_BUF_OUT, which is free by now
    bool normed;     // they are
    int64_t n, most; // rows there, and that there is room for
    int64_t n_done;  // rows before them
    int64_t next;    // of the batch's list of rows
    int n_piece;     // in x->head_piece
};

static int64_t room(const hs_pass *r) {
    return r->logits == HS_LOGITS_LAST ? r->x->opts.row_block : hs_pass_wide_rows(r, r->c->n_vocab);
}

int64_t hs_pass_logits_wide(const hs_pass *r) {
    const int64_t most = r->logits == HS_LOGITS_ALL    ? r->n_rows
                         : r->logits == HS_LOGITS_ROWS ? r->batch->n_logit_row
                                                       : 0;
    const int64_t rows = room(r);
    return (most < rows ? most : rows) * r->c->n_vocab;
}

// Row i of a piece of the block. Asked about all rows in order.
static bool wanted(const hs_pass *r, struct gather *g, const hs_piece *p, int64_t i) {
    const hs_batch *b = r->batch;
    const hs_run_seq *s = &r->x->seq[p->seq];
    if (r->logits == HS_LOGITS_LAST) return p->pos + i == s->pos0 + s->n - 1;
    if (r->logits == HS_LOGITS_ALL) return true;
    if (g->next == b->n_logit_row || b->logit_row[g->next] != r->row0 + p->row + i) return false;
    g->next++;
    return true;
}

static int head(const hs_pass *r, void *y, const void *x, int64_t n) {
    const hs_product p = {y, r->c->n_vocab, weight(r, HS_W_HEAD), vector(r, HS_B_HEAD)};
    return r->be->linear(r->dev, &p, 1, x, r->c->d_model, n);
}

// Multiplies what was gathered, as a block of its own.
static int flush(const hs_pass *r, struct gather *g) {
    hs_pass block = *r;
    void *rows = g->rows;
    void *logits = r->logits == HS_LOGITS_LAST ? at(r, r->x->logits, g->n_done * r->c->n_vocab)
                                               : r->x->wide;
    int rc = HS_OK;
    if (!g->n) return HS_OK;
    block.n = g->n;
    block.piece = r->x->head_piece;
    block.n_piece = g->n_piece;
    if (!g->normed)
        rc = hs_pass_norm(&block, HS_W_LNF, HS_B_LNF, HS_LNF_SCALE, HS_LNF_NORMALIZED, rows, g->n,
                          &rows);
    if (!rc) rc = head(r, logits, rows, g->n);
    if (!rc) rc = hs_pass_fire(&block, HS_LOGITS, logits);
    if (!rc && r->x->keep.logits) rc = r->x->keep.logits(r->x->keep.ctx, &block);
    g->n_done += g->n;
    g->n = 0;
    g->n_piece = 0;
    return rc;
}

// Rows of the block in work, which begin at `rows`.
static int gather(const hs_pass *r, struct gather *g, void *rows) {
    const int64_t d = r->c->d_model;
    int rc = HS_OK;
    for (int k = 0; k < r->n_piece; k++)
        for (int64_t i = 0; i < r->piece[k].n && !rc; i++) {
            const hs_piece *p = &r->piece[k];
            if (!wanted(r, g, p, i)) continue;
            hs_piece *to = g->n_piece ? &r->x->head_piece[g->n_piece - 1] : NULL;
            if (to && to->seq == p->seq && to->pos + to->n == p->pos + i)
                to->n++;
            else
                r->x->head_piece[g->n_piece++] = (hs_piece){p->seq, g->n, 1, p->pos + i};
            copy(r, at(r, g->rows, g->n * d), at(r, rows, (p->row + i) * d), d);
            if (++g->n == g->most) rc = flush(r, g);
        }
    return rc;
}

// The final norm runs over all rows when somebody watches it, else over the wanted ones.
int hs_pass_logits(hs_pass *r) {
    hs_pass_enter(r, r->c->n_layer);
    // Logits that nobody keeps and nobody sees are not made.
    const bool gathers = r->logits == HS_LOGITS_LAST ||
                         (r->logits != HS_LOGITS_NONE && watched(r, HS_LOGITS));
    const bool normed = watched(r, HS_LNF_SCALE) || watched(r, HS_LNF_NORMALIZED);
    struct gather g = {.rows = buffer(r, HS_BUF_OUT), .normed = normed, .most = room(r)};
    int rc = HS_OK;
    for (hs_pass_first(r); !rc && (gathers || normed) && hs_pass_next(r);) {
        void *rows = residual(r);
        if (normed)
            rc = hs_pass_norm(r, HS_W_LNF, HS_B_LNF, HS_LNF_SCALE, HS_LNF_NORMALIZED, rows, r->n,
                              &rows);
        if (!rc && gathers) rc = gather(r, &g, rows);
    }
    return rc ? rc : flush(r, &g);
}
