// Attention, and the operations on rows, at a model's own shapes, as the backend does them.
//
// Attention is set against the ceiling of products by its two products alone; the softmax between
// them is what keeps it from there. The rest works on rows that a cache holds, as in a run, where
// no ceiling was measured, and is only timed.
#include <stdlib.h>

#include "cli/bench/bench.h"
#include "model/core/mem.h"
#include "model/elem.h"

enum { BLOCK_ROWS = 256 };

static const int64_t lengths[] = {128, 1024, 4096};
enum { N_LENGTH = 3, N_QUICK = 2 };

// ---- attention ----------------------------------------------------------------------------------

typedef struct attending {
    const hs_backend *be;
    hs_dev *dev;
    hs_attn attn;
} attending;

static int attend(void *arg, double *seconds) {
    const attending *a = arg;
    (void)seconds;
    return a->be->attention(a->dev, &a->attn, 1);
}

int hs_bench_attend(hs_bench *b, int64_t n, double seconds[2]) {
    const hs_config *c = hs_model_config(b->model);
    const int64_t w_q = c->n_head * c->d_head, w_kv = c->n_kv_head * c->d_head;
    attending a = {.be = hs_model_backend(b->model), .dev = hs_model_dev(b->model)};
    void *q = NULL, *k = NULL, *z = NULL;
    float *stats = NULL;
    hs_kv *kv = NULL;
    int rc = hs_bench_numbers(b, &q, n * w_q);
    if (!rc) rc = hs_bench_numbers(b, &k, n * w_kv);
    if (!rc) rc = hs_bench_numbers(b, &z, n * w_q);
    if (!rc) rc = hs_alloc(&stats, (size_t)(c->n_head * HS_N_STAT * n), sizeof *stats);
    if (!rc) rc = a.be->kv_open(a.dev, &kv, c->n_kv_head, c->d_head, n);
    if (!rc) rc = a.be->kv_put(a.dev, kv, 0, n, k, w_kv, k, w_kv);
    if (rc) goto out;
    a.attn = (hs_attn){.n_head = c->n_head,
                       .n_kv_head = c->n_kv_head,
                       .d_head = c->d_head,
                       .scale = c->attn_scale,
                       .q = q,
                       .ld_q = w_q,
                       .z = z,
                       .ld_z = w_q,
                       .n_q = n,
                       .own = kv};
    attending watched = a;
    watched.attn.stats = stats;
    hs_thing things[2] = {{attend, &a, 0}, {attend, &watched, 0}};
    rc = hs_bench_best(b, 2, things);
    for (int i = 0; i < 2; i++) seconds[i] = things[i].seconds;
out:
    if (kv) a.be->kv_close(kv);
    free(q);
    free(k);
    free(z);
    free(stats);
    return rc;
}

int hs_bench_attention(hs_bench *b) {
    const hs_config *c = hs_model_config(b->model);
    int64_t length[N_LENGTH];
    int rc = HS_OK, n_length = hs_bench_lengths(b, b->quick ? N_QUICK : N_LENGTH, lengths, length);
    hs_bench_stage(b, "measuring attention", n_length);
    for (int i = 0; i < n_length && !rc; i++) {
        const int64_t n = length[i];
        const double flops = 2.0 * (double)(c->n_head * c->d_head) * (double)n * (double)(n + 1);
        double seconds[2];
        rc = hs_bench_attend(b, n, seconds);
        for (int watched = 0; watched < 2 && !rc; watched++) {
            hs_bench_row row = {.name = "attention",
                                .detail = watched ? "with statistics" : "plain",
                                .n = n,
                                .seconds = seconds[watched],
                                .unit = "GF/s",
                                .cost = seconds[1] / seconds[0] - 1,
                                .has_cost = watched};
            row.rate = flops / row.seconds * 1e-9;
            row.share = row.rate * 1e9 / hs_bench_products(b, &row.of);
            hs_bench_add(b->ops, &row);
        }
    }
    return rc;
}

// ---- rows ---------------------------------------------------------------------------------------

typedef struct rows {
    const hs_model *model;
    void *a, *b;   // [BLOCK_ROWS][widest]
    void *scale;   // [BLOCK_ROWS]
    void *cos_sin; // [BLOCK_ROWS][rope_dim]
} rows;

static int norm(void *arg, double *seconds) {
    const rows *r = arg;
    const hs_backend *be = hs_model_backend(r->model);
    const hs_config *c = hs_model_config(r->model);
    hs_dev *dev = hs_model_dev(r->model);
    (void)seconds;
    int rc = be->norm_scale(dev, r->scale, r->b, r->a, BLOCK_ROWS, c->d_model, c->norm,
                            c->norm_eps);
    return rc ? rc
              : be->norm_gain(dev, r->b, r->b, BLOCK_ROWS, c->d_model,
                              hs_model_vector(r->model, HS_W_LN1, 0),
                              hs_model_vector(r->model, HS_B_LN1, 0));
}

static int rope(void *arg, double *seconds) {
    const rows *r = arg;
    const hs_config *c = hs_model_config(r->model);
    (void)seconds;
    return hs_model_backend(r->model)->rope(hs_model_dev(r->model), r->a, c->n_head * c->d_head,
                                            BLOCK_ROWS, c->n_head, c->d_head, c->rope_dim,
                                            r->cos_sin);
}

static int act(void *arg, double *seconds) {
    const rows *r = arg;
    const hs_config *c = hs_model_config(r->model);
    (void)seconds;
    return hs_model_backend(r->model)->act(hs_model_dev(r->model), r->b, r->a,
                                           c->mlp == HS_MLP_GATED ? r->a : NULL,
                                           BLOCK_ROWS * c->d_ff, c->act);
}

static int add(void *arg, double *seconds) {
    const rows *r = arg;
    const int64_t n = BLOCK_ROWS * hs_model_config(r->model)->d_model;
    (void)seconds;
    return hs_model_backend(r->model)->add(hs_model_dev(r->model), r->b, r->b, r->a, n);
}

// Real rotations: others would make the numbers that they turn again and again vanish.
static int make_rotations(rows *r) {
    const hs_config *c = hs_model_config(r->model);
    const int dtype = hs_model_backend(r->model)->dtype;
    float *row = NULL;
    if (c->pos != HS_POS_ROPE) return HS_OK;
    int rc = hs_alloc(&row, (size_t)c->rope_dim, sizeof *row);
    if (!rc)
        rc = hs_alloc(&r->cos_sin, (size_t)(BLOCK_ROWS * c->rope_dim),
                      (size_t)hs_dtypes[dtype].bytes);
    for (int64_t i = 0; !rc && i < BLOCK_ROWS; i++) {
        hs_model_rope_row(r->model, i, BLOCK_ROWS, row);
        hs_elem_from_f32(dtype, hs_elem_at(dtype, r->cos_sin, i * c->rope_dim), row, c->rope_dim);
    }
    free(row);
    return rc;
}

// Numbers read and written are counted once each, so a step that goes over its rows twice is
// counted twice.
int hs_bench_rows(hs_bench *b) {
    const hs_config *c = hs_model_config(b->model);
    const int64_t q = c->n_head * c->d_head;
    const struct {
        const char *name;
        hs_timed *fn;
        int64_t width;
        double numbers; // of memory a row
        bool there;
    } steps[] = {
        {"norm", norm, c->d_model, 4.0 * (double)c->d_model, c->norm != HS_NORM_NONE},
        {"rope", rope, q, 2.0 * (double)q, c->pos == HS_POS_ROPE},
        {"activation", act, c->d_ff, (c->mlp == HS_MLP_GATED ? 3.0 : 2.0) * (double)c->d_ff,
         c->mlp != HS_MLP_NONE},
        {"add", add, c->d_model, 3.0 * (double)c->d_model, true},
    };
    const int n_step = sizeof steps / sizeof *steps,
              size = hs_dtypes[hs_model_backend(b->model)->dtype].bytes;
    rows r = {.model = b->model};
    int64_t widest = q;
    int rc = HS_OK;
    for (int i = 0; i < n_step; i++)
        if (steps[i].there && steps[i].width > widest) widest = steps[i].width;
    hs_bench_stage(b, "measuring rows", n_step);
    rc = hs_bench_numbers(b, &r.a, BLOCK_ROWS * widest);
    if (!rc) rc = hs_bench_numbers(b, &r.b, BLOCK_ROWS * widest);
    if (!rc) rc = hs_bench_numbers(b, &r.scale, BLOCK_ROWS);
    if (!rc) rc = make_rotations(&r);
    for (int i = 0; i < n_step && !rc; i++) {
        hs_bench_row row = {.name = steps[i].name, .n = BLOCK_ROWS, .unit = "GB/s"};
        if (!steps[i].there) continue;
        rc = hs_bench_one(b, steps[i].fn, &r, &row.seconds);
        row.rate = steps[i].numbers * BLOCK_ROWS * size / row.seconds * 1e-9;
        if (!rc) hs_bench_add(b->ops, &row);
    }
    free(r.a);
    free(r.b);
    free(r.scale);
    free(r.cos_sin);
    return rc;
}
