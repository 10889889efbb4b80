// Column sums; see columns.h. Each position's sum runs in f64 over the rows in order, so it does
// not depend on how rows are cut into tiles.
#include "analyses/columns.h"

#include <stdlib.h>

#include "model/core/mem.h"

int hs_columns_open(hs_columns *out, const hs_subject *subject) {
    const size_t n_cell = (size_t)subject->dims.n_layer * (size_t)subject->dims.n_head;
    *out = (hs_columns){.n_head = subject->dims.n_head, .cap = subject->n_row};
    int rc = hs_alloc(&out->sum, n_cell, (size_t)subject->n_row * sizeof *out->sum);
    if (!rc) rc = hs_alloc(&out->n_row, n_cell, sizeof *out->n_row);
    if (rc) hs_columns_close(out);
    return rc;
}

void hs_columns_close(hs_columns *c) {
    free(c->sum);
    free(c->n_row);
    *c = (hs_columns){0};
}

void hs_columns_tile(hs_columns *c, const hs_tile *tile) {
    const int64_t cell = (int64_t)tile->layer * c->n_head + tile->head;
    double *sum = c->sum + cell * c->cap;
    for (int64_t r = 0; r < tile->n_row; r++) {
        const float *row = tile->row + r * tile->ld;
        for (int64_t j = 0; j <= tile->row0 + r; j++) sum[j] += (double)row[j];
    }
    c->n_row[cell] += tile->n_row;
}

int64_t hs_columns_mean(hs_columns *c, int layer, int head, const double **mean) {
    const int64_t cell = (int64_t)layer * c->n_head + head, n = c->n_row[cell];
    double *sum = c->sum + cell * c->cap;
    for (int64_t j = 0; j < n; j++) sum[j] /= (double)(n - j);
    *mean = sum;
    return n;
}
