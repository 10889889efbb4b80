// Weights and the product y = x W^T + b.
//
// A weight is panels of nr rows of W (nr = 64 with 512-bit vectors), each stored column by column:
// [panel][k][nr]; what the last panel's missing rows hold does not matter. The matrix kernel reads
// a panel as one stream. EXPAND makes all panels at load; KEEP leaves W in the mapped file and
// makes one panel chunk at a time in the worker's scratch, by the same function, so both give the
// same bits.
//
// Work is cut into tasks of 64 columns x some rows; inside, k runs in chunks so that a panel chunk
// and the rows' chunk both stay in L2. Sums move between registers and y at a chunk's end, which
// changes no bit. The grid depends on the shapes alone.
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"
#include "model/cpu/dev.h"

enum {
    CHUNK = 768,  // columns of W in a chunk: 192 KiB of panel
    STEP = 768,   // columns and
    GROUP = 16,   // rows converted at once while packing: whole blocks of every format
    COLUMNS = 64, // of y in a task
    ROWS = 96,    // of x in a task at most: whole tiles of every kernel, 288 KiB a chunk
    ROWS_MIN = 12,
    ROWS_KEEP = 384, // unpacking is paid once a task, so taller
    ENOUGH_TASKS = 24,
};

struct hs_weight {
    const hs_kern *kern;
    int64_t n, k;        // outputs, inputs
    hs_cpu_block panels; // empty for KEEP
    hs_view view;
    const int32_t *row_of;
};

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static int64_t div_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static int64_t panel_count(const hs_weight *w) {
    return div_up(w->n, w->kern->nr);
}

// ---- packing ------------------------------------------------------------------------------------

enum { CONVERT = GROUP * STEP }; // floats of `convert` that fill_panel needs

// Rows of the panel at columns k0 .. k0+n-1 into dst [n][nr].
static void fill_panel(const hs_weight *w, int64_t panel, int64_t k0, int64_t n, float *dst,
                       float *convert) {
    const int64_t nr = w->kern->nr, row0 = panel * nr, rows = min64(nr, w->n - row0);
    if (w->view.stride[0] == 1 && w->view.stride[1] != 1 && !w->row_of) {
        // Stored transposed: a column of W is already a run in memory.
        hs_view t = w->view;
        t.stride[0] = w->view.stride[1];
        t.stride[1] = 1;
        for (int64_t k = 0; k < n; k++) hs_cpu_row(&t, k0 + k, row0, rows, dst + k * nr);
        return;
    }
    for (int64_t k = 0; k < n; k += STEP)
        for (int64_t r = 0; r < rows; r += GROUP) {
            int64_t step = min64(STEP, n - k), group = min64(GROUP, rows - r);
            for (int64_t i = 0; i < group; i++) {
                int64_t row = row0 + r + i;
                hs_cpu_row(&w->view, w->row_of ? w->row_of[row] : row, k0 + k, step,
                           convert + i * STEP);
            }
            w->kern->transpose(dst + k * nr + r, nr, convert, STEP, group, step);
        }
}

struct pack_job {
    hs_dev *dev;
    const hs_weight *w;
};

static int pack_task(void *arg, int64_t task, int worker) {
    const struct pack_job *job = arg;
    const hs_weight *w = job->w;
    fill_panel(w, task, 0, w->k, w->panels.p + task * w->k * w->kern->nr,
               job->dev->scratch[worker].p);
    return HS_OK;
}

int hs_cpu_pack(hs_dev *dev, hs_weight **out, const hs_view *view, const int32_t *row_of,
                enum hs_weight_mode mode) {
    *out = NULL;
    hs_weight *w = NULL;
    int rc = hs_cpu_row_check(view);
    if (rc) return rc;
    if ((rc = hs_alloc(&w, 1, sizeof *w))) return rc;
    w->kern = dev->kern;
    w->n = view->shape[0];
    w->k = view->shape[1];
    w->view = *view;
    w->row_of = row_of;
    if (mode == HS_WEIGHT_EXPAND) {
        rc = hs_cpu_block_get(&w->panels, panel_count(w) * w->kern->nr, w->k);
        if (rc || (rc = hs_cpu_scratch(dev, CONVERT))) goto out;
        struct pack_job job = {dev, w};
        rc = hs_cpu_run(dev, panel_count(w), pack_task, &job, w->n * w->k);
        w->row_of = NULL;
        w->view.data = NULL;
    }
out:
    if (rc)
        hs_cpu_unpack(w);
    else
        *out = w;
    return rc;
}

void hs_cpu_unpack(hs_weight *w) {
    if (!w) return;
    hs_cpu_block_free(&w->panels);
    free(w);
}

// ---- the product --------------------------------------------------------------------------------

struct linear_job {
    hs_dev *dev;
    const hs_weight *w;
    float *y;
    int64_t ld_y;
    const float *x;
    int64_t ld_x, n_rows;
    const float *bias;
    int64_t rows, col_tasks; // the grid
};

// Worker scratch: sums of the narrow last panel, a panel chunk and its conversion (KEEP).
static int64_t edge_size(const struct linear_job *j) {
    return j->rows * j->w->kern->nr;
}
static int64_t chunk_size(const hs_weight *w) {
    return (int64_t)w->kern->nr * CHUNK;
}

// Columns k0 .. k0+n-1 of a panel, packed.
static const float *panel_chunk(const struct linear_job *j, int64_t panel, int64_t k0, int64_t n,
                                float *scratch) {
    const hs_weight *w = j->w;
    if (w->panels.p) return w->panels.p + (panel * w->k + k0) * w->kern->nr;
    float *chunk = scratch + edge_size(j);
    fill_panel(w, panel, k0, n, chunk, chunk + chunk_size(w));
    return chunk;
}

// Moves sums out of the edge block, if that is where they are, and adds the bias.
static void finish(const struct linear_job *j, float *y, const float *sums, int64_t ld_sums,
                   int64_t col, int64_t rows, int64_t cols) {
    if (sums == y && !j->bias) return;
    for (int64_t r = 0; r < rows; r++) {
        float *to = y + r * j->ld_y;
        const float *from = sums + r * ld_sums;
        if (j->bias)
            j->dev->kern->add(to, from, j->bias + col, cols);
        else
            memcpy(to, from, (size_t)cols * sizeof *to);
    }
}

static int linear_task(void *arg, int64_t task, int worker) {
    const struct linear_job *j = arg;
    const hs_weight *w = j->w;
    const int64_t nr = w->kern->nr, width = COLUMNS / nr; // panels of a task
    const int64_t row0 = task / j->col_tasks * j->rows, rows = min64(j->rows, j->n_rows - row0);
    const int64_t p0 = task % j->col_tasks * width, p1 = min64(p0 + width, panel_count(w));
    const float *x = j->x + row0 * j->ld_x;
    float *scratch = j->dev->scratch[worker].p;
    for (int64_t k0 = 0; k0 < w->k; k0 += CHUNK)
        for (int64_t p = p0; p < p1; p++) {
            int64_t n = min64(CHUNK, w->k - k0), cols = min64(nr, w->n - p * nr);
            float *y = j->y + row0 * j->ld_y + p * nr;
            float *sums = cols == nr ? y : scratch;
            int64_t ld = cols == nr ? j->ld_y : nr;
            w->kern->gemm(sums, ld, x + k0, j->ld_x, panel_chunk(j, p, k0, n, scratch), nr, rows,
                          nr, n, k0 > 0);
            if (k0 + n == w->k) finish(j, y, sums, ld, p * nr, rows, cols);
        }
    return HS_OK;
}

static int one_product(hs_dev *dev, const hs_product *p, const float *x, int64_t ld_x,
                       int64_t n_rows) {
    const hs_weight *w = p->w;
    struct linear_job j = {dev,  w,      p->y,    p->ld_y, x,
                           ld_x, n_rows, p->bias, ROWS,    div_up(w->n, COLUMNS)};
    if (!w->panels.p)
        j.rows = ROWS_KEEP;
    else
        while (j.rows > ROWS_MIN && j.col_tasks * div_up(n_rows, j.rows) < ENOUGH_TASKS)
            j.rows /= 2;
    int64_t scratch = edge_size(&j) + (w->panels.p ? 0 : chunk_size(w) + CONVERT);
    int rc = hs_cpu_scratch(dev, scratch);
    if (rc) return rc;
    return hs_cpu_run(dev, j.col_tasks * div_up(n_rows, j.rows), linear_task, &j,
                      n_rows * w->n * w->k);
}

int hs_cpu_linear(hs_dev *dev, const hs_product *p, int n_product, const void *x, int64_t ld_x,
                  int64_t n_rows) {
    int rc = HS_OK;
    for (int i = 0; n_rows > 0 && i < n_product && !rc; i++)
        rc = one_product(dev, &p[i], x, ld_x, n_rows);
    return rc;
}
