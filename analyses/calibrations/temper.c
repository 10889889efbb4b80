// Entropy-guided temperature: heads that look at everything are sharpened, heads that look at one
// place are flattened.
//
// A head's entropy is the mean over all rows of the calibration part, in nats; classes are relative
// to the largest of any head. The paper trains temperatures and reports the classes; which heads to
// treat, and that both ends are, is its reading.
#include <stdlib.h>

#include "analyses/calibration.h"
#include "model/context.h"
#include "model/core/mem.h"

struct entropy {
    int n_head;
    double *sum; // [n_layer * n_head]
};

static int add_rows(void *ctx, const hs_site *site, const hs_view *view) {
    struct entropy *e = ctx;
    const float *stats = view->data;
    for (int h = 0; h < e->n_head; h++)
        for (int64_t r = 0; r < site->n_row; r++)
            e->sum[site->layer * e->n_head + h] +=
                (double)stats[h * view->stride[0] + HS_STAT_ENTROPY * view->stride[1] +
                              r * view->stride[2]];
    return HS_OK;
}

static int run_prompts(const hs_calibration_job *job, hs_hooks *hooks) {
    hs_context *x = NULL;
    int rc = hs_context_open(&x, job->model, NULL);
    if (!rc) hs_context_set_tap(x, hs_hooks_tap(hooks));
    for (int64_t i = 0; i < job->n && !rc; i++) {
        const hs_prompt *p = hs_prompts_at(job->prompts, job->ord[i]);
        const hs_seq seq = {.tokens = p->tokens, .n = p->n_token};
        rc = hs_context_eval(x, &(hs_batch){.seq = &seq, .n_seq = 1, .logits = HS_LOGITS_NONE});
        if (!rc) rc = hs_progress_step(job->progress, "entropies", i + 1, job->n);
    }
    hs_context_close(x);
    return rc;
}

static int measure(const hs_calibration_job *job, const hs_dims *dims, struct entropy *e) {
    hs_hooks *hooks = NULL;
    uint64_t *points;
    int rc = hs_alloc(&points, (size_t)dims->n_layer + 1, sizeof *points);
    if (rc) return rc;
    for (int l = 0; l < dims->n_layer; l++) points[l] = HS_BIT(HS_ROW_STATS);
    rc = hs_hooks_open(&hooks, dims);
    if (!rc) rc = hs_hooks_add(hooks, &(hs_hook){.points = points, .rows = add_rows, .ctx = e});
    if (!rc) rc = run_prompts(job, hooks);
    hs_hooks_close(hooks);
    free(points);
    return rc;
}

// Group 0 is sharpened, group 1 flattened; what lies between is well behaved.
static int prepare(const hs_calibration_job *job, int *group, hs_buf *found) {
    const hs_dims dims = hs_dims_of(job->model);
    const int n = dims.n_layer * dims.n_head;
    struct entropy e = {.n_head = dims.n_head};
    double most = 0;
    (void)found;
    int rc = hs_alloc(&e.sum, (size_t)n, sizeof *e.sum);
    if (!rc) rc = measure(job, &dims, &e);
    for (int i = 0; i < n && !rc; i++)
        if (e.sum[i] > most) most = e.sum[i];
    for (int i = 0; i < n && !rc; i++)
        group[i] = e.sum[i] >= .75 * most ? 0 : e.sum[i] < .25 * most ? 1 : -1;
    free(e.sum);
    return rc;
}

const hs_calibration hs_calibration_temper = {
    .name = "temper",
    .title = "entropy-guided temperature: diffuse heads sharpened, collapsed ones flattened",
    .about = "A head's mean entropy on the calibration part is compared with the largest of any "
             "head: above three quarters of it a head is overloaded and its scores are divided by "
             "a temperature below 1 (sharp), below a quarter it is collapsed and they are divided "
             "by one above 1 (flat). Which of them is found on the calibration part.",
    .reference = "Jha and Reagen, Entropy-Guided Attention for Private LLMs, 2025, "
                 "arXiv:2501.03489 (the classes; its temperatures are trained)",
    .specs = (const char *const[]){"temper:@,t={sharp}", "temper:@,t={flat}", NULL},
    .params = (const hs_param[]){{"sharp", HS_PARAM_TEXT, "0.7+0.85", 0, 0, NULL, "",
                                  "temperatures of heads with much entropy"},
                                 {"flat", HS_PARAM_TEXT, "1.4+1.15", 0, 0, NULL, "",
                                  "temperatures of heads with little, one for each of sharp"},
                                 {0}},
    .strength = "sharp+flat",
    .by = HS_CALIBRATE_HEADS,
    .usual = "two_choice",
    .prepare = prepare,
};
