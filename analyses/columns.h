// Column sums of attention maps, the state behind every score of a key position: what position j
// receives from the rows that see it. O(T) a head, whatever the tiles.
#ifndef HS_ANALYSES_COLUMNS_H
#define HS_ANALYSES_COLUMNS_H

#include "analyses/observer.h"

typedef struct hs_columns {
    int n_head;
    int64_t cap;    // rows that may come
    double *sum;    // [n_layer][n_head][cap]
    int64_t *n_row; // [n_layer][n_head], rows that came
} hs_columns;

int hs_columns_open(hs_columns *out, const hs_subject *subject) HS_MUST_USE;
void hs_columns_close(hs_columns *);
void hs_columns_tile(hs_columns *, const hs_tile *tile);
// Turns the sums of one head into means over the rows that see each position, C_j / (T - j): Gu et
// al.'s alpha_j, once all rows came. Returns T; mean (borrowed) has T entries.
int64_t hs_columns_mean(hs_columns *, int layer, int head, const double **mean);

#endif
