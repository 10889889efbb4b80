// The probe: each KV head's group streams alone; see experiments/duo.h.
//
// A prompt's groups are jobs of one walk, which shows z of the layer that streams and the last
// residual of every evaluation; both are compared with the unedited run row by row, so that no rows
// but the unedited ones are kept. Cost for n groups in L layers: an unedited run, and n / 2 of the
// rows from sink + recent on.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/duo/duo_internal.h"
#include "analyses/sweep/walk.h"
#include "model/core/mem.h"
#include "model/elem.h"

struct probe {
    const hs_duo_opts *o;
    hs_dims dims;
    int n; // KV heads
    hs_sweep_opts sweep;
    hs_answer *answer; // [prompts]: rows behind END are not run
    hs_walk *walk;
    hs_walk_job *job; // [n]
    uint64_t *points;
    hs_progress progress;
    int64_t before, total; // evaluations
    // The prompt under way.
    hs_duo_full full;
    hs_duo_norm norm;
    float *z;               // a row
    double *change, *error; // [n] sums, then means
    int64_t *n_error;       // [n]
};

// ---- rows ---------------------------------------------------------------------------------------

static double deviation(const float *z, const float *was, int64_t n) {
    double moved = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        const double by = (double)z[i] - (double)was[i];
        moved += by * by;
        size += (double)was[i] * (double)was[i];
    }
    return sqrt(moved / size);
}

static int add_error(struct probe *p, int kv, const hs_site *site, const hs_view *view) {
    const hs_ref ref = hs_held_ref(p->full.held);
    const int64_t d = p->dims.d_head, per = p->dims.n_head / p->dims.n_kv_head;
    const int64_t first = kv % p->dims.n_kv_head * per;
    int rc = HS_OK;
    for (int64_t r = 0; r < site->n_row && !rc; r++) {
        const int64_t row = site->row0 + r;
        const float *now = (const float *)view->data + r * view->stride[0];
        if (row < p->o->sink + p->o->recent || row > p->full.labels.last) continue;
        rc = ref.rows(ref.ctx, HS_Z, site->layer, row, 1, p->z);
        for (int64_t h = first; h < first + per && !rc; h++) {
            const double by = deviation(now + h * view->stride[1], p->z + h * d, d);
            if (isnan(by)) continue; // 0 against 0
            p->error[kv] += by;
            p->n_error[kv]++;
        }
    }
    return rc;
}

static int add_change(struct probe *p, int kv, const hs_site *site, const hs_view *view) {
    const hs_duo_labels *labels = &p->full.labels;
    const int64_t d = p->dims.d_model;
    const double *was = NULL;
    int64_t n = 0;
    for (int64_t r = 0; r < site->n_row; r++) {
        const int64_t at = labels->of[site->row0 + r];
        if (at < 0) continue;
        if (!n) was = p->full.hidden + at * d;
        hs_elem_from_f32(p->norm.dtype, hs_elem_at(p->norm.dtype, p->norm.resid, n++ * d),
                         (const float *)view->data + r * view->stride[0], d);
    }
    int rc = n ? hs_duo_norm_run(&p->norm, n) : HS_OK;
    for (int64_t i = 0; i < n * d && !rc; i++) {
        const double by = hs_elem_get(p->norm.dtype, p->norm.hidden, i) - was[i];
        p->change[kv] += by * by;
    }
    return rc;
}

static int on_rows(void *ctx, int64_t ord, int job, const hs_site *site, const hs_view *view) {
    struct probe *p = ctx;
    (void)ord;
    if (site->point == HS_RESID_POST) return add_change(p, job, site, view);
    return site->layer == job / p->dims.n_kv_head ? add_error(p, job, site, view) : HS_OK;
}

// ---- a prompt -----------------------------------------------------------------------------------

static int open_prompt(struct probe *p, int64_t ord) {
    for (int i = 0; i < p->n; i++) {
        p->change[i] = p->error[i] = 0;
        p->n_error[i] = 0;
    }
    int rc = hs_duo_full_open(&p->full, p->o, ord);
    return rc ? rc : hs_duo_norm_open(&p->norm, p->o->model, p->full.labels.n);
}

static void close_prompt(struct probe *p) {
    hs_duo_full_close(&p->full);
    hs_duo_norm_close(&p->norm);
    p->norm = (hs_duo_norm){0};
}

static int run_prompt(struct probe *p, int64_t ord, hs_duo_fn fn, void *ctx) {
    const hs_walk_watch watch = {.points = p->points, .rows = on_rows, .ctx = p};
    int rc = open_prompt(p, ord);
    if (!rc) rc = hs_walk_show(p->walk, p->job, p->n, &ord, 1, &watch);
    const double numbers = (double)(p->full.labels.n * p->dims.d_model);
    for (int i = 0; i < p->n; i++) {
        p->change[i] /= numbers;
        p->error[i] = p->n_error[i] ? p->error[i] / (double)p->n_error[i] : (double)NAN;
    }
    const hs_duo_result result = {ord, p->full.labels.n, p->change, p->error};
    if (!rc) rc = fn(ctx, &result);
    close_prompt(p);
    p->before += p->n;
    return rc;
}

// ---- the run ------------------------------------------------------------------------------------

// Walks prompt by prompt are one piece of work.
static int step(void *ctx, const char *what, int64_t done, int64_t total) {
    const struct probe *p = ctx;
    (void)what, (void)total;
    return hs_progress_step(p->o->progress, "streaming KV heads", p->before + done, p->total);
}

// A group's mask is about the rows that lose keys: what lies before is shared.
static int open_walk(struct probe *p) {
    const int64_t n_prompt = hs_prompts_count(p->o->prompts);
    char **spec = NULL;
    hs_buf text = {0};
    int rc = hs_alloc(&p->answer, (size_t)n_prompt, sizeof *p->answer);
    for (int64_t i = 0; i < n_prompt && !rc; i++) {
        hs_duo_labels l;
        rc = hs_duo_labels_open(&l, p->o, i);
        p->answer[i] = (hs_answer){.end = l.last};
        hs_duo_labels_close(&l);
    }
    for (int64_t i = 0; i < p->n && !rc; i++) {
        hs_duo_mask(&text, p->o, &(hs_duo_set){&i, 1}, p->o->sink + p->o->recent);
        hs_buf_chr(&text, 0);
        p->job[i] = (hs_walk_job){(int)i, 1};
    }
    if (rc)
        hs_buf_free(&text);
    else
        rc = hs_buf_texts(&spec, &text, (size_t)p->n);
    p->progress = (hs_progress){step, p};
    p->sweep = (hs_sweep_opts){.model = p->o->model,
                               .prompts = p->o->prompts,
                               .answers = p->answer,
                               .effects = 1u << HS_EFFECT_PROB,
                               .memory = p->o->memory,
                               .progress = &p->progress};
    if (!rc) rc = hs_walk_open(&p->walk, &p->sweep, (const char *const *)spec, p->n);
    free(spec);
    return rc;
}

static int open_probe(struct probe *p) {
    const size_t n = (size_t)p->n;
    int rc = hs_alloc(&p->job, n, sizeof *p->job);
    if (!rc) rc = hs_alloc(&p->points, (size_t)p->dims.n_layer + 1, sizeof *p->points);
    if (!rc) rc = hs_alloc(&p->z, (size_t)p->dims.n_head, (size_t)p->dims.d_head * sizeof *p->z);
    if (!rc) rc = hs_alloc(&p->change, n, sizeof *p->change);
    if (!rc) rc = hs_alloc(&p->error, n, sizeof *p->error);
    if (!rc) rc = hs_alloc(&p->n_error, n, sizeof *p->n_error);
    for (int l = 0; l < p->dims.n_layer && !rc; l++) p->points[l] = HS_BIT(HS_Z);
    if (!rc) p->points[p->dims.n_layer - 1] |= HS_BIT(HS_RESID_POST);
    return rc ? rc : open_walk(p);
}

int hs_duo_probe(const hs_duo_opts *o, const int64_t *ord, int64_t n, hs_duo_fn fn, void *ctx) {
    struct probe p = {.o = o, .dims = hs_dims_of(o->model)};
    p.n = p.dims.n_layer * p.dims.n_kv_head;
    p.total = n * p.n;
    int rc = open_probe(&p);
    for (int64_t i = 0; i < n && !rc; i++) rc = run_prompt(&p, ord[i], fn, ctx);
    hs_walk_close(p.walk);
    void *const blocks[] = {p.answer, p.job, p.points, p.z, p.change, p.error, p.n_error};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
    return rc;
}
