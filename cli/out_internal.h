// Inside out.c and out_people.c: a table's cells.
#ifndef HS_CLI_OUT_INTERNAL_H
#define HS_CLI_OUT_INTERNAL_H

#include "cli/out.h"
#include "model/core/mem.h"

enum hs_out_type { HS_OUT_NONE, HS_OUT_INT, HS_OUT_NUM, HS_OUT_BOOL, HS_OUT_STR };
typedef struct hs_out_cell {
    enum hs_out_type type;
    int64_t i;
    double f;
    size_t at, n; // of a text: bytes in the table's
} hs_out_cell;

struct hs_table {
    hs_col *col;
    int n_col;
    hs_arena *names; // keys and titles
    hs_out_cell *cell;
    size_t n, cap;
    hs_buf text;
    int rc;
};

static inline const hs_out_cell *hs_cell_at(const hs_table *t, int64_t row, int col) {
    return &t->cell[(size_t)row * (size_t)t->n_col + (size_t)col];
}

// The table laid out, with a heading; colour: the heading is bold.
int hs_out_people(const hs_table *, bool color, hs_buf *out) HS_MUST_USE;

#endif
