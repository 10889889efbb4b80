// See capture.h. Asserts through cmocka.
#include "tests/lib/capture.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static cap_tensor *tensor(cap *c, int seq, int layer, enum hs_point p, int64_t width, int64_t n) {
    assert_in_range(seq, 0, CAP_SEQS - 1);
    cap_tensor *t = &c->at[seq][layer < 0 ? c->cfg->n_layer : layer][p];
    pthread_mutex_lock(&c->lock);
    if (!t->data) {
        t->width = width;
        assert_int_equal(hs_alloc(&t->data, (size_t)n, sizeof *t->data), HS_OK);
    }
    pthread_mutex_unlock(&c->lock);
    assert_int_equal(t->width, width);
    return t;
}

static int on_rows(void *ctx, const hs_site *s, const hs_view *v, bool write) {
    cap *c = ctx;
    if (write) return HS_OK;
    c->n_fired++;
    assert_true(s->row0 >= 0 && s->row0 + s->n_row <= c->t_max);
    if (s->point == HS_ROW_STATS) {
        cap_tensor *t = tensor(c, s->seq, s->layer, s->point, 0,
                               v->shape[0] * HS_N_STAT * c->t_max);
        for (int64_t h = 0; h < v->shape[0]; h++)
            for (int64_t k = 0; k < HS_N_STAT; k++)
                for (int64_t r = 0; r < s->n_row; r++)
                    t->data[(h * HS_N_STAT + k) * c->t_max + s->row0 + r] =
                        ((float *)v->data)[h * v->stride[0] + k * v->stride[1] + r];
        return HS_OK;
    }
    assert_int_equal(v->shape[0], s->n_row);
    const int64_t width = hs_view_count(v) / s->n_row;
    cap_tensor *t = tensor(c, s->seq, s->layer, s->point, width, width * c->t_max);
    memcpy(t->data + s->row0 * width, v->data, (size_t)(s->n_row * width) * sizeof *t->data);
    return HS_OK;
}

static int on_tile(void *ctx, const hs_tile *s, bool write, int worker) {
    cap *c = ctx;
    (void)worker;
    if (write) return HS_OK;
    assert_int_equal(s->n_key, s->row0 + s->n_row);
    cap_tensor *t = tensor(c, s->seq, s->layer, s->point, 0, c->cfg->n_head * c->t_max * c->t_max);
    for (int64_t r = 0; r < s->n_row; r++) {
        const int64_t pos = s->row0 + r;
        memcpy(t->data + (s->head * c->t_max + pos) * c->t_max, s->row + r * s->ld,
               (size_t)(pos + 1) * sizeof *t->data);
        for (int64_t k = pos + 1; k < s->n_key; k++)
            assert_true(s->row[r * s->ld + k] == (s->point == HS_PATTERN ? 0.0f : -INFINITY));
    }
    return HS_OK;
}

static int on_layer(void *ctx, int layer) {
    cap *c = ctx;
    if (c->n_done < CAP_LAYERS) c->layers_done[c->n_done] = layer;
    c->n_done++;
    return HS_OK;
}

void cap_open(cap *c, const hs_model *m, int64_t t_max) {
    *c = (cap){.cfg = hs_model_config(m), .t_max = t_max};
    pthread_mutex_init(&c->lock, NULL);
    assert_true(c->cfg->n_layer <= CAP_LAYERS && c->cfg->n_head <= CAP_HEADS);
    for (int l = 0; l <= c->cfg->n_layer; l++) c->read[l] = HS_BIT(HS_N_POINT) - 1;
    memset(c->tiles, HS_TILE_READ_SCORES | HS_TILE_READ_PATTERN, sizeof c->tiles);
    c->tap = (hs_tap){.ctx = c,
                      .read = c->read,
                      .write = c->write,
                      .tile_want = c->tiles,
                      .rows = on_rows,
                      .tile = on_tile,
                      .layer_done = on_layer};
}

void cap_close(cap *c) {
    cap_tensor *t = &c->at[0][0][0];
    pthread_mutex_destroy(&c->lock);
    for (size_t i = 0; i < sizeof c->at / sizeof *t; i++) free(t[i].data);
}

// How many runs of `to - from` numbers a tensor has along its positions, and where they start.
static void check_rows(const cap *a, const cap_tensor *ta, const cap *b, const cap_tensor *tb,
                       enum hs_point p, int layer, int64_t from, int64_t to) {
    const enum hs_shape shape = hs_point_infos[p].shape;
    const int64_t n_head = a->cfg->n_head;
    int differs = 0;
    for (int64_t r = from; r < to; r++) {
        if (shape == HS_SHAPE_STATS)
            for (int64_t i = 0; i < n_head * HS_N_STAT; i++)
                differs |= memcmp(&ta->data[i * a->t_max + r], &tb->data[i * b->t_max + r], 4);
        else if (shape == HS_SHAPE_MAP)
            for (int64_t h = 0; h < n_head; h++)
                differs |= memcmp(&ta->data[(h * a->t_max + r) * a->t_max],
                                  &tb->data[(h * b->t_max + r) * b->t_max], (size_t)(r + 1) * 4);
        else
            differs |= memcmp(&ta->data[r * ta->width], &tb->data[r * tb->width],
                              (size_t)ta->width * 4);
        if (differs)
            fail_msg("%s of layer %d differs at row %lld", hs_point_infos[p].alias, layer,
                     (long long)r);
    }
}

void cap_same(const cap *a, int sa, const cap *b, int sb, int64_t from, int64_t to,
              uint64_t points) {
    for (int l = 0; l <= a->cfg->n_layer; l++)
        for (int p = 0; p < HS_N_POINT; p++) {
            const cap_tensor *ta = &a->at[sa][l][p], *tb = &b->at[sb][l][p];
            if (!(points & HS_BIT(p))) continue;
            if (!ta->data != !tb->data)
                fail_msg("%s of layer %d fired in one run only", hs_point_infos[p].alias, l);
            if (ta->data) check_rows(a, ta, b, tb, (enum hs_point)p, l, from, to);
        }
}
