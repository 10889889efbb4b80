// Queries and keys through the softmax that they really make (the QK fix of AtP*, Kramar et al.
// 2024): what patching them does to M is about
//
//     sum over rows i and keys j of (A'_ij - A_ij) <dM/dz_i, v_j>
//
// Another query gives its row another softmax. Another key at j changes one score of each later row:
// with w the part of a row's weight that is not on j, and x = exp(s' - s),
//
//     A'_ij = A_ij x / (w + A_ij x),   A'_im = A_im / (w + A_ij x)   (m != j)
//
// so that a row costs O(1) a key beside its scores. w is summed, not 1 - A_ij: of a row that looks at
// j alone it is what is left when the key turns away. Cost: T^2 d_head a head; memory: O(T).
#include <math.h>
#include <stdlib.h>

#include "analyses/patch/attribute.h"
#include "model/core/mem.h"

// One head of one sequence: rows of [ld] numbers.
struct head {
    const float *q, *k, *v, *lent, *slope;
    int64_t ld_q, ld_kv, ld_lent, d;
    double scale;
    int64_t n;
    // Of the row in work, [n]: the pattern, the weight on the keys before and from each on, what z
    // gains by a key.
    double *a, *before, *after, *gain;
};

static double dot(const float *x, const float *y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * y[i];
    return sum;
}

// The pattern of a row i with a query.
static void pattern(const struct head *h, const float *query, int64_t i, double *a) {
    double most = -INFINITY, sum = 0;
    for (int64_t j = 0; j <= i; j++) {
        a[j] = h->scale * dot(query, h->k + j * h->ld_kv, h->d);
        most = fmax(most, a[j]);
    }
    for (int64_t j = 0; j <= i; j++) sum += a[j] = exp(a[j] - most);
    for (int64_t j = 0; j <= i; j++) a[j] /= sum;
}

static void begin_row(const struct head *h, int64_t i) {
    const float *slope = h->slope + i * h->ld_q;
    pattern(h, h->q + i * h->ld_q, i, h->a);
    for (int64_t j = 0; j <= i; j++) h->gain[j] = dot(slope, h->v + j * h->ld_kv, h->d);
}

static void add_queries(const struct head *h, double *at) {
    for (int64_t i = 0; i < h->n; i++) {
        double *lent = h->before, sum = 0;
        begin_row(h, i);
        pattern(h, h->lent + i * h->ld_lent, i, lent);
        for (int64_t j = 0; j <= i; j++) sum += (lent[j] - h->a[j]) * h->gain[j];
        at[i] += sum;
    }
}

// What row i gains when key j has another score.
static double turned(const struct head *h, int64_t i, int64_t j, double all) {
    const float *query = h->q + i * h->ld_q;
    const double rest = h->before[j] + h->after[j + 1], own = h->a[j];
    const double step = h->scale * (dot(query, h->lent + j * h->ld_lent, h->d) -
                                    dot(query, h->k + j * h->ld_kv, h->d));
    // Scaled so that the larger of the two terms is not.
    const double x = step > 0 ? 1 : exp(step), w = step > 0 ? exp(-step) : 1;
    const double sum = rest * w + own * x;
    if (!(sum > 0)) return 0; // nothing was seen, and nothing is
    return own * x / sum * h->gain[j] + w / sum * (all - own * h->gain[j]) - all;
}

static void add_keys(const struct head *h, double *at) {
    for (int64_t i = 0; i < h->n; i++) {
        double all = 0;
        begin_row(h, i);
        h->before[0] = h->after[i + 1] = 0;
        for (int64_t j = 0; j < i; j++) h->before[j + 1] = h->before[j] + h->a[j];
        for (int64_t j = i; j > 0; j--) h->after[j] = h->after[j + 1] + h->a[j];
        for (int64_t j = 0; j <= i; j++) all += h->a[j] * h->gain[j];
        for (int64_t j = 0; j <= i; j++) at[j] += turned(h, i, j, all);
    }
}

// ---- a layer ------------------------------------------------------------------------------------

static int make_rooms(double **room, struct head *h, const struct hs_attribute *a) {
    int64_t longest = 0;
    for (int i = 0; i < a->n; i++)
        if (a->row[i + 1] - a->row[i] > longest) longest = a->row[i + 1] - a->row[i];
    int rc = hs_alloc(room, 4 * ((size_t)longest + 1), sizeof **room);
    if (rc) return rc;
    h->a = *room;
    h->before = h->a + longest + 1;
    h->after = h->before + longest + 1;
    h->gain = h->after + longest + 1;
    return HS_OK;
}

int hs_attribute_softmax(struct hs_attribute *a, int layer) {
    const int64_t d = a->dims.d_head, group = a->dims.n_head / a->dims.n_kv_head;
    const bool keys = a->fix == HS_FIX_KEYS;
    const enum hs_point p = keys ? a->k : a->q;
    struct head h = {.d = d,
                     .ld_q = a->dims.n_head * d,
                     .ld_kv = a->dims.n_kv_head * d,
                     .scale = a->dims.attn_scale / (a->dims.scale_by_layer ? layer + 1 : 1)};
    double *room = NULL;
    int rc = make_rooms(&room, &h, a);
    h.ld_lent = keys ? h.ld_kv : h.ld_q;
    for (int s = 0; s < a->n && !rc; s++)
        for (int64_t head = 0; head < a->dims.n_head; head++) {
            const int64_t row = a->row[s], kv = head / group, part = keys ? kv : head;
            if (!hs_attribute_asks(a, layer, part)) continue;
            h.n = a->row[s + 1] - row;
            h.q = hs_attribute_own(a, a->q, layer) + row * h.ld_q + head * d;
            h.slope = a->slope + row * h.ld_q + head * d;
            h.k = hs_attribute_own(a, a->k, layer) + row * h.ld_kv + kv * d;
            h.v = hs_attribute_own(a, HS_V, layer) + row * h.ld_kv + kv * d;
            h.lent = a->lent[p] + (layer * a->n_row + row) * h.ld_lent + part * d;
            (keys ? add_keys : add_queries)(&h, hs_attribute_at(a, part, row));
        }
    free(room);
    return rc;
}
