// The products y = x W^T + b of rows with packed weights (panel.c).
//
// Work is cut into tasks of 64 columns of one weight x some rows; inside, k runs in chunks so that
// a panel chunk and the rows' chunk both stay in L2. Weights that are not f32 are unpacked a chunk
// at a time into the worker's scratch for the one matrix kernel, or, when rows are few, in the
// kernel's registers. The grid depends on the shapes alone.
//
// A chunk's sum begins at 0 and is added to y once. Besides the caches this serves exactness: where
// a residual carries a huge outlier that later terms cancel, a long chain of multiply-adds rounds
// every small term at the outlier's size; on 512 tokens of SmolLM2 chunks of 256 bring the largest
// error of a pattern from 3e-5 to what other f32 implementations have. Chunks depend on K alone.
#include <string.h>

#include "model/cpu/panel.h"

enum {
    CHUNK = 256,       // columns of W in a chunk: 64 KiB of f32 panel
    CHUNK_PAIRS = 768, // of numbers rounded to bf16, whose error hides that of their sums
    COLUMNS = 64,      // of y in a task
    // Rows of x in a task at most: whole tiles of every kernel, 96 or 132 KiB a chunk; more where
    // unpacking is paid once a task.
    ROWS_F32 = 96,
    ROWS_UNPACKED = 132,
    ROWS_MIN = 12,
    ROWS_MIN_UNPACKED = 66,
    ENOUGH_TASKS = 16,
};

struct linear_job {
    hs_dev *dev;
    const hs_product *p;
    int n_product;
    const float *x; // numbers, or pairs of bf16
    int64_t ld_x, n_rows;
    bool pairs;
    int64_t rows, col_tasks; // the grid
};

// The rows and columns of one task.
struct cell {
    const hs_product *p;
    int64_t row0, rows, panel0, panel1;
    float *edge, *chunk; // worker scratch: sums of a narrow last panel, an unpacked chunk
};

// c (+)= the rows' numbers k0 .. k0+n-1 times that chunk of a panel.
static void multiply(const struct linear_job *j, const struct cell *t, int64_t panel, float *c,
                     int64_t ld_c, int64_t k0, int64_t n) {
    const hs_weight *w = t->p->w;
    const hs_kern *kern = w->kern;
    const int64_t nr = kern->nr;
    const hs_panel part = hs_cpu_panel(w, panel, k0);
    const float *b = (const float *)(const void *)part.word;
    const float *x = j->x + t->row0 * j->ld_x + (j->pairs ? k0 / 2 : k0);
    if (j->pairs) {
        kern->gemm_pairs(c, ld_c, x, j->ld_x, b, nr, t->rows, nr, hs_div_up(n, 2), k0 > 0);
    } else if (w->format == HS_PANEL_F32) {
        kern->gemm(c, ld_c, x, j->ld_x, b, nr, t->rows, nr, n, k0 > 0);
    } else if (t->rows <= HS_PANEL_FEW) {
        kern->panel[w->format](c, ld_c, x, j->ld_x, t->rows, &part, n, k0 > 0);
    } else {
        kern->panel[w->format](t->chunk, nr, NULL, 0, 0, &part, n, false);
        kern->gemm(c, ld_c, x, j->ld_x, t->chunk, nr, t->rows, nr, n, k0 > 0);
    }
}

// Moves sums out of the edge block, if that is where they are, and adds the bias.
static void finish(const struct cell *t, const hs_kern *kern, float *y, const float *sums,
                   int64_t ld_sums, int64_t col, int64_t cols) {
    if (sums == y && !t->p->bias) return;
    for (int64_t r = 0; r < t->rows; r++) {
        float *to = y + r * t->p->ld_y;
        const float *from = sums + r * ld_sums;
        if (t->p->bias)
            kern->add(to, from, t->p->bias + col, cols);
        else
            memcpy(to, from, (size_t)cols * sizeof *to);
    }
}

static void run_cell(const struct linear_job *j, const struct cell *t) {
    const hs_weight *w = t->p->w;
    const int64_t nr = w->kern->nr;
    const int64_t chunk = j->pairs ? CHUNK_PAIRS : CHUNK;
    for (int64_t k0 = 0; k0 < w->k; k0 += chunk)
        for (int64_t p = t->panel0; p < t->panel1; p++) {
            const int64_t n = hs_min64(chunk, w->k - k0), cols = hs_min64(nr, w->n - p * nr);
            float *y = (float *)t->p->y + t->row0 * t->p->ld_y + p * nr;
            float *sums = cols == nr ? y : t->edge;
            const int64_t ld = cols == nr ? t->p->ld_y : nr;
            multiply(j, t, p, sums, ld, k0, n);
            if (k0 + n == w->k) finish(t, w->kern, y, sums, ld, p * nr, cols);
        }
}

static int64_t col_tasks(const hs_weight *w) {
    return hs_div_up(w->n, COLUMNS);
}

static int linear_task(void *arg, int64_t task, int worker) {
    const struct linear_job *j = arg;
    const int64_t width = COLUMNS / j->dev->kern->nr; // panels of a task
    int64_t col = task % j->col_tasks;
    struct cell t = {.p = j->p, .row0 = task / j->col_tasks * j->rows};
    for (; col >= col_tasks(t.p->w); t.p++) col -= col_tasks(t.p->w);
    t.rows = hs_min64(j->rows, j->n_rows - t.row0);
    t.panel0 = col * width;
    t.panel1 = hs_min64(t.panel0 + width, hs_cpu_panel_count(t.p->w));
    t.edge = j->dev->scratch[worker].p;
    t.chunk = t.edge + j->rows * j->dev->kern->nr;
    run_cell(j, &t);
    return HS_OK;
}

// ---- x in bf16 ----------------------------------------------------------------------------------

enum { PAIR_ROWS = 16 }; // of a task

struct pair_job {
    const struct linear_job *to;
    const float *x;
    int64_t ld_x, k;
    float *pairs;
};

static int pair_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct pair_job *j = arg;
    const int64_t end = hs_min64((task + 1) * PAIR_ROWS, j->to->n_rows);
    for (int64_t r = task * PAIR_ROWS; r < end; r++)
        j->to->dev->kern->pairs(j->pairs + r * j->to->ld_x, j->x + r * j->ld_x, j->k);
    return HS_OK;
}

// Rounds x into the device's room for pairs, and lets the job read those.
static int make_pairs(struct linear_job *j, const float *x, int64_t ld_x, int64_t k) {
    j->ld_x = hs_div_up(k, 2);
    int rc = hs_cpu_block_need(&j->dev->pairs, j->n_rows * j->ld_x);
    if (rc) return rc;
    struct pair_job pair = {j, x, ld_x, k, j->dev->pairs.p};
    j->x = j->dev->pairs.p;
    j->pairs = true;
    return hs_cpu_run(j->dev, hs_div_up(j->n_rows, PAIR_ROWS), pair_task, &pair, j->n_rows * k);
}

// ---- all tasks ----------------------------------------------------------------------------------

// High tasks pay for unpacking and for reading a panel; enough of them keep all threads busy.
static void choose_grid(struct linear_job *j) {
    bool f32 = true;
    for (int i = 0; i < j->n_product; i++) {
        j->col_tasks += col_tasks(j->p[i].w);
        if (j->p[i].w->format != HS_PANEL_F32) f32 = j->pairs;
    }
    const int64_t least = f32 ? ROWS_MIN : ROWS_MIN_UNPACKED;
    j->rows = f32 ? ROWS_F32 : ROWS_UNPACKED;
    while (j->rows > least && j->col_tasks * hs_div_up(j->n_rows, j->rows) < ENOUGH_TASKS)
        j->rows /= 2;
}

static int64_t task_scratch(const hs_dev *dev, int64_t rows) {
    return (rows + CHUNK) * dev->kern->nr;
}

int64_t hs_cpu_linear_scratch(const hs_dev *dev, const hs_extent *e) {
    (void)e; // tasks are of bounded size
    return task_scratch(dev, ROWS_UNPACKED);
}

int64_t hs_cpu_linear_pairs(const hs_dev *dev, const hs_extent *e) {
    return dev->precision == HS_PREC_BF16 ? e->n_row * hs_div_up(e->width, 2) : 0;
}

int hs_cpu_linear(hs_dev *dev, const hs_product *p, int n_product, const void *x, int64_t ld_x,
                  int64_t n_rows) {
    struct linear_job j = {
        .dev = dev, .p = p, .n_product = n_product, .x = x, .ld_x = ld_x, .n_rows = n_rows};
    if (n_rows < 1 || n_product < 1) return HS_OK;
    const int64_t k = p->w->k;
    int rc = HS_OK;
    if (dev->precision == HS_PREC_BF16) rc = make_pairs(&j, x, ld_x, k);
    if (rc) return rc;
    choose_grid(&j);
    if ((rc = hs_cpu_scratch(dev, task_scratch(dev, j.rows)))) return rc;
    return hs_cpu_run(dev, j.col_tasks * hs_div_up(n_rows, j.rows), linear_task, &j,
                      n_rows * k * j.col_tasks * COLUMNS);
}
