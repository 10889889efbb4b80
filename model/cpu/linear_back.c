// Gradients of the products: dx = sum of dy W over products that shared their input.
//
// The weights are there as panels for y = x W^T, whose rows run along W's inputs; here they are
// needed the other way round. A task is 64 columns of dx x some rows: it opens 256 outputs of W by
// its 64 inputs at a time as f32, transposed into the form that the matrix kernel takes, and goes
// through all rows with them. Opening costs about a tenth of the products of a task of full height.
//
// As in linear.c a chunk's sum begins at 0 and is added once, chunks lie at multiples of 256 outputs
// and products come in their order, so a number of dx has the same bits in any grid.
#include <string.h>

#include "model/cpu/panel.h"

enum {
    CHUNK = 256,  // outputs of W opened at once: 64 KiB of f32
    COLUMNS = 64, // of dx in a task
    ROWS = 132,   // of dx in a task at most: whole tiles of every kernel
    ROWS_MIN = 66,
    ENOUGH_TASKS = 16,
};

struct back_job {
    hs_dev *dev;
    const hs_product_back *p;
    int n_product;
    float *dx;
    int64_t ld_dx, k, n_rows;
    int64_t rows, col_tasks; // the grid
};

// One task, and the worker's scratch.
struct cell {
    int64_t row0, rows, k0, cols;
    float *edge;   // [rows][nr]: sums of a narrow last strip of columns
    float *opened; // [COLUMNS][nr]: a panel's numbers
    float *strips; // [COLUMNS / nr][CHUNK][nr]: those of a chunk, transposed
};

// n outputs from n0 on, by the task's columns.
static void open_chunk(const hs_weight *w, const struct cell *t, int64_t n0, int64_t n) {
    const hs_kern *kern = w->kern;
    const int64_t nr = kern->nr;
    for (int64_t i = 0; i < n; i += nr) {
        const hs_panel part = hs_cpu_panel(w, (n0 + i) / nr, t->k0);
        const float *from = t->opened;
        if (w->format == HS_PANEL_F32)
            from = (const float *)(const void *)part.word;
        else
            kern->panel[w->format](t->opened, nr, NULL, 0, 0, &part, t->cols, false);
        for (int64_t k = 0; k < t->cols; k += nr)
            kern->transpose(t->strips + k * CHUNK + i * nr, nr, from + k * nr, nr,
                            hs_min64(nr, t->cols - k), nr);
    }
}

static void multiply(const struct back_job *j, const struct cell *t, const hs_product_back *p,
                     int64_t n0, bool add) {
    const hs_kern *kern = j->dev->kern;
    const int64_t nr = kern->nr, n = hs_min64(CHUNK, p->w->n - n0);
    const float *dy = (const float *)p->dy + t->row0 * p->ld_dy + n0;
    open_chunk(p->w, t, n0, n);
    for (int64_t k = 0; k < t->cols; k += nr) {
        const bool whole = t->cols - k >= nr;
        kern->gemm(whole ? j->dx + t->row0 * j->ld_dx + t->k0 + k : t->edge, whole ? j->ld_dx : nr,
                   dy, p->ld_dy, t->strips + k * CHUNK, nr, t->rows, nr, n, add);
    }
}

static int back_task(void *arg, int64_t task, int worker) {
    const struct back_job *j = arg;
    const int64_t nr = j->dev->kern->nr;
    struct cell t = {.row0 = task / j->col_tasks * j->rows, .k0 = task % j->col_tasks * COLUMNS};
    t.rows = hs_min64(j->rows, j->n_rows - t.row0);
    t.cols = hs_min64(COLUMNS, j->k - t.k0);
    t.strips = j->dev->scratch[worker].p;
    t.opened = t.strips + COLUMNS * CHUNK;
    t.edge = t.opened + COLUMNS * nr;
    for (int i = 0; i < j->n_product; i++)
        for (int64_t n0 = 0; n0 < j->p[i].w->n; n0 += CHUNK)
            multiply(j, &t, &j->p[i], n0, i > 0 || n0 > 0);
    const int64_t narrow = t.cols % nr;
    for (int64_t r = 0; narrow && r < t.rows; r++)
        memcpy(j->dx + (t.row0 + r) * j->ld_dx + t.k0 + t.cols - narrow, t.edge + r * nr,
               (size_t)narrow * sizeof *t.edge);
    return HS_OK;
}

int64_t hs_cpu_linear_back_scratch(const hs_dev *dev) {
    return COLUMNS * CHUNK + (COLUMNS + ROWS) * dev->kern->nr;
}

int hs_cpu_linear_back(hs_dev *dev, void *dx, int64_t ld_dx, const hs_product_back *p,
                       int n_product, int64_t n_rows) {
    if (n_rows < 1 || n_product < 1) return HS_OK;
    struct back_job j = {.dev = dev,
                         .p = p,
                         .n_product = n_product,
                         .dx = dx,
                         .ld_dx = ld_dx,
                         .k = p->w->k,
                         .n_rows = n_rows,
                         .rows = ROWS,
                         .col_tasks = hs_div_up(p->w->k, COLUMNS)};
    while (j.rows > ROWS_MIN && j.col_tasks * hs_div_up(n_rows, j.rows) < ENOUGH_TASKS) j.rows /= 2;
    int64_t n = 0;
    for (int i = 0; i < n_product; i++) n += p[i].w->n;
    int rc = hs_cpu_scratch(dev, hs_cpu_linear_back_scratch(dev));
    if (rc) return rc;
    return hs_cpu_run(dev, j.col_tasks * hs_div_up(n_rows, j.rows), back_task, &j,
                      n_rows * n * j.k);
}
