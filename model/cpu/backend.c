// The CPU backend's table: opening it, and the operations on rows that need no scratch.
//
// Kernels for three instruction sets are compiled in; the best the processor has is chosen when
// the backend is opened. Rows are dealt to threads in blocks of a fixed number of elements.
#include "model/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"
#include "model/cpu/dev.h"

// ---- instruction sets ---------------------------------------------------------------------------

static bool has_generic(void) {
    return true;
}
#if defined __x86_64__
static bool has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
static bool has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
static bool has_avx512bf16(void) {
    return has_avx512() && __builtin_cpu_supports("avx512bf16");
}
#endif

// Best first.
static const struct {
    const hs_kern *kern;
    bool (*has)(void);
} isas[] = {
#if defined __x86_64__
    {&hs_kern_avx512bf16, has_avx512bf16},
    {&hs_kern_avx512, has_avx512},
    {&hs_kern_avx2, has_avx2},
#endif
    {&hs_kern_generic, has_generic},
};
enum { N_ISA = sizeof isas / sizeof *isas };

static int choose(const hs_kern **out, const char *name) {
    char list[64] = "";
    size_t used = 0;
    for (int i = 0; i < N_ISA; i++) {
        if (!isas[i].has()) continue;
        if (!name || !strcmp(name, "auto") || !strcmp(name, isas[i].kern->name)) {
            *out = isas[i].kern;
            return HS_OK;
        }
        used += (size_t)snprintf(list + used, sizeof list - used, ", %s", isas[i].kern->name);
    }
    return hs_fail(HS_EARG, "instruction set '%s' is not available: this CPU has auto%s", name,
                   list);
}

// ---- open and close -----------------------------------------------------------------------------

static void cpu_close(hs_dev *dev) {
    if (!dev) return;
    for (int i = 0; dev->scratch && i < dev->n_worker; i++) hs_cpu_block_free(&dev->scratch[i]);
    free(dev->scratch);
    hs_cpu_block_free(&dev->pairs);
    hs_cpu_block_free(&dev->parts);
    hs_pool_close(dev->pool);
    free(dev);
}

static int cpu_open(hs_dev **out, const hs_dev_opts *opts) {
    const hs_dev_opts defaults = {0};
    hs_dev *dev;
    *out = NULL;
    if (!opts) opts = &defaults;
    int rc = hs_alloc(&dev, 1, sizeof *dev);
    if (rc) return rc;
    dev->precision = opts->precision;
    if ((rc = choose(&dev->kern, opts->isa))) goto out;
    if ((rc = hs_pool_open(&dev->pool, opts->threads))) goto out;
    dev->n_worker = hs_pool_threads(dev->pool);
    rc = hs_alloc(&dev->scratch, (size_t)dev->n_worker, sizeof *dev->scratch);
out:
    if (rc)
        cpu_close(dev);
    else
        *out = dev;
    return rc;
}

static const char *cpu_isa(const hs_dev *dev) {
    return dev->kern->name;
}
static hs_pool *cpu_pool(hs_dev *dev) {
    return dev->pool;
}

// ---- row operations -----------------------------------------------------------------------------

enum { BLOCK = 1 << 14 }; // elements of a task

// One job serves all: what a block of rows does is `rows`, the rest are its operands.
struct row_job {
    hs_dev *dev;
    void (*rows)(const struct row_job *, int64_t r0, int64_t r1);
    int64_t n_rows, per_task, d;
    float *y, *scale;
    const float *a, *b, *c;
    int64_t ld, n_head, d_head, rope_dim;
    double eps;
    int kind;
    const hs_view *table;
    const int32_t *ids;
};

static int row_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct row_job *j = arg;
    int64_t r0 = task * j->per_task, r1 = r0 + j->per_task;
    j->rows(j, r0, hs_min64(r1, j->n_rows));
    return HS_OK;
}

// n_rows rows of d elements each; element-wise operations pass n rows of 1.
static int run_rows(struct row_job *j) {
    if (j->n_rows < 1 || j->d < 1) return HS_OK;
    j->per_task = j->d < BLOCK ? BLOCK / j->d : 1;
    int64_t n = hs_div_up(j->n_rows, j->per_task);
    return hs_cpu_run(j->dev, n, row_task, j, j->n_rows * j->d);
}

static void embed_rows(const struct row_job *j, int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++) hs_view_row(j->table, j->ids[r], 0, j->d, j->y + r * j->d);
}

static int cpu_embed(hs_dev *dev, void *y, const hs_view *table, const int32_t *ids, int64_t n) {
    int rc = hs_view_row_check(table);
    if (rc) return rc;
    return run_rows(&(struct row_job){.dev = dev,
                                      .rows = embed_rows,
                                      .n_rows = n,
                                      .d = table->shape[1],
                                      .y = y,
                                      .table = table,
                                      .ids = ids});
}

static void norm_scale_rows(const struct row_job *j, int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++)
        j->scale[r] = j->dev->kern->norm_scale[j->kind](j->y + r * j->d, j->a + r * j->d, j->d,
                                                        j->eps);
}

static int cpu_norm_scale(hs_dev *dev, void *scale, void *normalized, const void *x, int64_t n_rows,
                          int64_t d, enum hs_norm kind, double eps) {
    if (kind != HS_NORM_RMS && kind != HS_NORM_LAYER)
        return hs_fail(HS_EARG, "this model has no normalisation to compute");
    return run_rows(&(struct row_job){.dev = dev,
                                      .rows = norm_scale_rows,
                                      .n_rows = n_rows,
                                      .d = d,
                                      .y = normalized,
                                      .scale = scale,
                                      .a = x,
                                      .eps = eps,
                                      .kind = (int)kind});
}

static void norm_gain_rows(const struct row_job *j, int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++)
        j->dev->kern->norm_gain(j->y + r * j->d, j->a + r * j->d, j->d, j->b, j->c);
}

static int cpu_norm_gain(hs_dev *dev, void *y, const void *normalized, int64_t n_rows, int64_t d,
                         const float *w, const float *b) {
    return run_rows(&(struct row_job){.dev = dev,
                                      .rows = norm_gain_rows,
                                      .n_rows = n_rows,
                                      .d = d,
                                      .y = y,
                                      .a = normalized,
                                      .b = w,
                                      .c = b});
}

static void rope_rows(const struct row_job *j, int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++)
        j->dev->kern->rope(j->y + r * j->ld, j->n_head, j->d_head, j->rope_dim,
                           j->a + r * j->rope_dim);
}

static int cpu_rope(hs_dev *dev, void *x, int64_t ld, int64_t n_rows, int64_t n_head,
                    int64_t d_head, int64_t rope_dim, const void *cos_sin) {
    return run_rows(&(struct row_job){.dev = dev,
                                      .rows = rope_rows,
                                      .n_rows = n_rows,
                                      .d = n_head * rope_dim,
                                      .y = x,
                                      .a = cos_sin,
                                      .ld = ld,
                                      .n_head = n_head,
                                      .d_head = d_head,
                                      .rope_dim = rope_dim});
}

static void act_rows(const struct row_job *j, int64_t r0, int64_t r1) {
    j->dev->kern->act[j->kind](j->y + r0, j->a + r0, j->b ? j->b + r0 : NULL, r1 - r0);
}

static int cpu_act(hs_dev *dev, void *y, const void *pre, const void *linear, int64_t n,
                   enum hs_act kind) {
    return run_rows(&(struct row_job){.dev = dev,
                                      .rows = act_rows,
                                      .n_rows = n,
                                      .d = 1,
                                      .y = y,
                                      .a = pre,
                                      .b = linear,
                                      .kind = (int)kind});
}

static void add_rows(const struct row_job *j, int64_t r0, int64_t r1) {
    j->dev->kern->add(j->y + r0, j->a + r0, j->b + r0, r1 - r0);
}

static int cpu_add(hs_dev *dev, void *y, const void *a, const void *b, int64_t n) {
    return run_rows(&(struct row_job){
        .dev = dev, .rows = add_rows, .n_rows = n, .d = 1, .y = y, .a = a, .b = b});
}

// ---- work memory --------------------------------------------------------------------------------

static int64_t worker_scratch(const hs_dev *dev, const hs_extent *e) {
    const int64_t need[] = {hs_cpu_linear_scratch(dev, e), hs_cpu_attention_scratch(dev, e),
                            e->back_rows ? hs_cpu_linear_back_scratch(dev) : 0,
                            hs_cpu_attention_back_scratch(dev, e)};
    int64_t most = 0;
    for (size_t i = 0; i < sizeof need / sizeof *need; i++)
        if (need[i] > most) most = need[i];
    return most;
}

static int64_t cpu_scratch_bytes(const hs_dev *dev, const hs_extent *e) {
    return dev->n_worker * hs_cpu_need_bytes(worker_scratch(dev, e)) +
           hs_cpu_need_bytes(hs_cpu_linear_pairs(dev, e)) +
           hs_cpu_need_bytes(hs_cpu_attention_back_parts(e));
}

static int cpu_reserve(hs_dev *dev, const hs_extent *e) {
    const int64_t pairs = hs_cpu_linear_pairs(dev, e), parts = hs_cpu_attention_back_parts(e);
    int rc = hs_cpu_scratch(dev, worker_scratch(dev, e));
    if (!rc && pairs) rc = hs_cpu_block_need(&dev->pairs, pairs);
    if (!rc && parts) rc = hs_cpu_block_need(&dev->parts, parts);
    return rc;
}

const hs_backend hs_backend_cpu = {
    .name = "cpu",
    .dtype = HS_F32,
    .open = cpu_open,
    .close = cpu_close,
    .isa = cpu_isa,
    .pool = cpu_pool,
    .pack = hs_cpu_pack,
    .unpack = hs_cpu_unpack,
    .weight_bytes = hs_cpu_weight_bytes,
    .linear = hs_cpu_linear,
    .embed = cpu_embed,
    .norm_scale = cpu_norm_scale,
    .norm_gain = cpu_norm_gain,
    .rope = cpu_rope,
    .act = cpu_act,
    .add = cpu_add,
    .log_sum_exp = hs_cpu_log_sum_exp,
    .divergence = hs_cpu_divergence,
    .kv_open = hs_cpu_kv_open,
    .kv_close = hs_cpu_kv_close,
    .kv_put = hs_cpu_kv_put,
    .attention = hs_cpu_attention,
    .kv_bytes = hs_cpu_kv_bytes,
    .softmax = hs_cpu_softmax,
    .linear_back = hs_cpu_linear_back,
    .norm_back = hs_cpu_norm_back,
    .act_back = hs_cpu_act_back,
    .attention_back = hs_cpu_attention_back,
    .scratch_bytes = cpu_scratch_bytes,
    .reserve = cpu_reserve,
};
