// What the files of the forward pass share; see pass.h.
#include "model/pass.h"

void hs_pass_enter(hs_pass *r, int64_t layer) {
    const hs_tap *t = r->tap;
    const uint64_t maps = HS_BIT(HS_SCORES) | HS_BIT(HS_PATTERN);
    const uint64_t served = t ? (t->rows ? ~maps : 0) | (t->tile && t->tile_want ? maps : 0) : 0;
    r->layer = (int)layer;
    r->read = t && t->read ? t->read[layer] & served : 0;
    r->write = t && t->write ? t->write[layer] & served : 0;
}

bool hs_pass_surveys(const hs_pass *r, int64_t layer) {
    const hs_tap *t = r->tap;
    if (!t || !t->survey || !t->tile || !t->tile_want) return false;
    for (int i = 0; i < r->batch->n_seq; i++)
        if (r->x->seq[i].pos0 < t->survey(t->ctx, (int)layer, i)) return true;
    return false;
}

// ---- the tap ------------------------------------------------------------------------------------

// The shape of one row of a point: [a] or [a, b].
static int row_shape(const hs_config *c, enum hs_point p, int64_t *a, int64_t *b) {
    const int64_t shapes[][2] = {
        [HS_SHAPE_D] = {c->d_model, 0},
        [HS_SHAPE_1] = {1, 0},
        [HS_SHAPE_HEAD] = {c->n_head, c->d_head},
        [HS_SHAPE_KV] = {c->n_kv_head, c->d_head},
        [HS_SHAPE_FF] = {c->d_ff, 0},
        [HS_SHAPE_RESULT] = {c->n_head, c->d_model},
        [HS_SHAPE_VOCAB] = {c->n_vocab, 0},
    };
    *a = shapes[hs_point_infos[p].shape][0];
    *b = shapes[hs_point_infos[p].shape][1];
    return *b ? 3 : 2;
}

// Hands over rows [lo, hi) of the block, which begin at `data`, a piece at a time: as f32, unless a
// reader wants the numbers as they are.
static int give_rows(const hs_pass *r, enum hs_point p, void *data, int64_t lo, int64_t hi,
                     bool write) {
    int64_t a, b;
    const int ndim = row_shape(r->c, p, &a, &b);
    const int64_t ld = b ? a * b : a;
    const bool own = r->tap->own_type && !write;
    for (int i = 0; i < r->n_piece; i++) {
        const hs_piece *s = &r->piece[i];
        const int64_t from = s->row > lo ? s->row : lo;
        const int64_t to = s->row + s->n < hi ? s->row + s->n : hi;
        if (from >= to) continue;
        void *rows = at(r, data, (from - lo) * ld);
        float *shown = NULL;
        int rc = own ? HS_OK : hs_context_show(r->x, rows, (to - from) * ld, &shown);
        if (rc) return rc;
        const hs_view view = {own ? rows : shown,
                              own ? (hs_dtype)r->x->dtype : HS_F32,
                              ndim,
                              {to - from, a, b},
                              {ld, b ? b : 1, 1}};
        const hs_site site = {p, r->layer == r->c->n_layer ? -1 : r->layer, s->seq,
                              s->pos + from - s->row, to - from};
        rc = r->tap->rows(r->tap->ctx, &site, &view, write);
        if (rc) return rc;
        if (write) hs_elem_take(r->x->dtype, rows, shown, (to - from) * ld);
    }
    return HS_OK;
}

static void keep_rows(const hs_pass *r, enum hs_point p, const void *data, int64_t lo, int64_t hi) {
    const hs_keep *k = &r->x->keep;
    int64_t a, b;
    const int64_t ld = row_shape(r->c, p, &a, &b) == 3 ? a * b : a;
    copy(r, at(r, k->rows[p], r->layer * k->step[p] + (r->row0 + lo) * ld), data, (hi - lo) * ld);
}

int hs_pass_fire_rows(const hs_pass *r, enum hs_point p, void *data, int64_t lo, int64_t hi) {
    int rc = HS_OK;
    if (!((r->read | r->write | r->x->keep.points) & HS_BIT(p))) return HS_OK;
    if (r->write & HS_BIT(p)) rc = give_rows(r, p, data, lo, hi, true);
    if (!rc && r->read & HS_BIT(p)) rc = give_rows(r, p, data, lo, hi, false);
    if (!rc && r->x->keep.points & HS_BIT(p)) keep_rows(r, p, data, lo, hi);
    return rc;
}

int hs_pass_fire(const hs_pass *r, enum hs_point p, void *data) {
    return hs_pass_fire_rows(r, p, data, 0, r->n);
}

// ---- blocks -------------------------------------------------------------------------------------

void hs_pass_first(hs_pass *r) {
    r->row0 = r->n = 0;
    r->next_seq = 0;
    r->next_row = 0;
}

// Moves to the next row block and cuts it into pieces; false after the last.
bool hs_pass_next(hs_pass *r) {
    r->row0 += r->n;
    r->n = 0;
    r->n_piece = 0;
    while (r->next_seq < r->batch->n_seq && r->n < r->x->opts.row_block) {
        const hs_run_seq *s = &r->x->seq[r->next_seq];
        const int64_t left = s->n - r->next_row, room = r->x->opts.row_block - r->n;
        const int64_t n = left < room ? left : room;
        r->piece[r->n_piece++] = (hs_piece){r->next_seq, r->n, n, s->pos0 + r->next_row};
        r->n += n;
        r->next_row += n;
        if (n < left) break;
        r->next_seq++;
        r->next_row = 0;
    }
    return r->n > 0;
}

// ---- norms --------------------------------------------------------------------------------------

// A scale edited by a hook divides anew; rows left alone keep their bits.
static int fire_scale(const hs_pass *r, enum hs_point p, int64_t n) {
    void *scale = buffer(r, HS_BUF_SCALE), *before = buffer(r, HS_BUF_OLD_SCALE);
    const int dtype = r->x->dtype;
    const bool edits = (r->write & HS_BIT(p)) != 0;
    if (edits) copy(r, before, scale, n);
    int rc = hs_pass_fire_rows(r, p, scale, 0, n);
    for (int64_t i = 0; edits && !rc && i < n; i++) {
        const double old = hs_elem_get(dtype, before, i), new = hs_elem_get(dtype, scale, i);
        void *row = at(r, buffer(r, HS_BUF_NORMALIZED), i * r->c->d_model);
        for (int64_t k = 0; new != old &&k < r->c->d_model; k++)
            hs_elem_set(dtype, row, k, hs_elem_get(dtype, row, k) * old / new);
    }
    return rc;
}

int hs_pass_norm(const hs_pass *r, enum hs_role gain, enum hs_role bias, enum hs_point scale,
                 enum hs_point normalized, void *x, int64_t n, void **out) {
    const int64_t d = r->c->d_model;
    *out = x;
    if (r->c->norm == HS_NORM_NONE) return HS_OK;
    void *mid = buffer(r, HS_BUF_NORMALIZED);
    *out = buffer(r, HS_BUF_NORMED);
    int rc = r->be->norm_scale(r->dev, buffer(r, HS_BUF_SCALE), mid, x, n, d, r->c->norm,
                               r->c->norm_eps);
    if (!rc) rc = fire_scale(r, scale, n);
    if (!rc) rc = hs_pass_fire_rows(r, normalized, mid, 0, n);
    if (!rc) rc = r->be->norm_gain(r->dev, *out, mid, n, d, vector(r, gain), vector(r, bias));
    return rc;
}

// ---- the wide buffer ----------------------------------------------------------------------------

int64_t hs_pass_wide_rows(const hs_pass *r, int64_t width) {
    const int64_t fit = HS_WIDE_MOST / width, block = r->x->opts.row_block;
    return fit < 1 ? 1 : fit < block ? fit : block;
}
