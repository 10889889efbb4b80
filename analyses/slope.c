// Effects differentiated; see slope.h. The gradients by logits are
//     nll         (softmax - onehot(next)) / number of scored positions
//     logit_diff  onehot(answer) - onehot(wrong) at END
//     prob        p_k ([k is right] - prob) at END
//     prob_diff   p_k ([k is right] - [k is wrong] - prob_diff) at END
#include "analyses/slope.h"

#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

bool hs_slope_has(enum hs_effect effect) {
    return effect == HS_EFFECT_NLL || effect == HS_EFFECT_LOGIT_DIFF || effect == HS_EFFECT_PROB ||
           effect == HS_EFFECT_PROB_DIFF;
}

int hs_slope_check(enum hs_effect effect) {
    if (hs_slope_has(effect)) return HS_OK;
    return hs_fail(HS_EARG,
                   "%s has no gradient to estimate by: take logit_diff, prob, prob_diff or nll",
                   hs_effects[effect].name);
}

struct run {
    const hs_slope *slope;
    const int64_t *ord;
    int n;
    hs_hooks *hooks;
    hs_meter *meter;
    const hs_tap *meets; // the meter's
    hs_seq *seq;
    hs_meter_seq *measured;
    double *lse;   // of the logits in work
    float *member; // probabilities of a prompt's right and wrong tokens
};

// ---- gradients by logits ------------------------------------------------------------------------

// Rows of logits become `by` times their softmax.
static int to_softmax(struct run *r, const hs_view *logits, float by) {
    const hs_backend *be = hs_model_backend(r->slope->model);
    hs_dev *dev = hs_model_dev(r->slope->model);
    const int64_t n = logits->shape[0], n_vocab = logits->shape[1], ld = logits->stride[0];
    int rc = be->log_sum_exp(dev, r->lse, logits->data, ld, n, n_vocab);
    return rc ? rc : be->softmax(dev, logits->data, ld, r->lse, n, n_vocab, by);
}

static float *row_of(const hs_view *logits, int64_t r) {
    return (float *)logits->data + r * logits->stride[0];
}

static int nll_seed(struct run *r, const hs_site *site, const hs_view *logits) {
    const hs_prompt *p = hs_prompts_at(r->slope->prompts, r->ord[site->seq]);
    const float by = (float)(1 / (double)(p->n_token - 1));
    int rc = to_softmax(r, logits, by);
    for (int64_t i = 0; i < logits->shape[0] && !rc; i++)
        row_of(logits, i)[p->tokens[site->row0 + i + 1]] -= by;
    return rc;
}

static void clear(const hs_view *logits, int64_t i) {
    memset(row_of(logits, i), 0, (size_t)logits->shape[1] * sizeof(float));
}

static int logit_diff_seed(struct run *r, const hs_site *site, const hs_view *logits) {
    const hs_answer *a = &r->slope->answers[r->ord[site->seq]];
    for (int64_t i = 0; i < logits->shape[0]; i++) {
        clear(logits, i);
        if (site->row0 + i != a->end) continue;
        row_of(logits, i)[a->answer] += 1;
        row_of(logits, i)[a->wrong] -= 1;
    }
    return HS_OK;
}

static hs_ids wrong_of(const struct run *r, const hs_answer *a) {
    return hs_effects[r->slope->effect].wrong ? hs_answer_wrong(a) : (hs_ids){0};
}

// Probabilities p of a row become the gradient of the sum of s p, s being 1 of right tokens and -1
// of wrong ones: p_k (s_k - sum).
static void sum_back(const struct run *r, float *x, int64_t n_vocab, const hs_answer *a) {
    const hs_ids right = hs_answer_right(a), wrong = wrong_of(r, a);
    float *p = r->member, *q = p + right.n;
    double sum = 0;
    for (int64_t i = 0; i < right.n; i++) sum += p[i] = x[right.at[i]];
    for (int64_t i = 0; i < wrong.n; i++) sum -= q[i] = x[wrong.at[i]];
    for (int64_t k = 0; k < n_vocab; k++) x[k] *= (float)-sum;
    for (int64_t i = 0; i < right.n; i++) x[right.at[i]] += p[i];
    for (int64_t i = 0; i < wrong.n; i++) x[wrong.at[i]] -= q[i];
}

static int prob_seed(struct run *r, const hs_site *site, const hs_view *logits) {
    const hs_answer *a = &r->slope->answers[r->ord[site->seq]];
    int rc = to_softmax(r, logits, 1);
    for (int64_t i = 0; i < logits->shape[0] && !rc; i++) {
        if (site->row0 + i == a->end)
            sum_back(r, row_of(logits, i), logits->shape[1], a);
        else
            clear(logits, i);
    }
    return rc;
}

// Logits are measured before they become gradients.
static int seed(void *ctx, const hs_site *site, const hs_view *logits) {
    struct run *r = ctx;
    int rc = r->meets->rows(r->meets->ctx, site, logits, false);
    if (rc) return rc;
    switch (r->slope->effect) {
    case HS_EFFECT_NLL:
        return nll_seed(r, site, logits);
    case HS_EFFECT_PROB:
    case HS_EFFECT_PROB_DIFF:
        return prob_seed(r, site, logits);
    default:
        return logit_diff_seed(r, site, logits);
    }
}

// ---- the run ------------------------------------------------------------------------------------

static int open_run(struct run *r) {
    const hs_slope *s = r->slope;
    const hs_dims dims = hs_dims_of(s->model);
    hs_meter_prompt *in = NULL;
    int64_t rows = 0, members = 0;
    int rc = hs_alloc(&in, (size_t)r->n, sizeof *in);
    if (!rc) rc = hs_alloc(&r->seq, (size_t)r->n, sizeof *r->seq);
    if (!rc) rc = hs_alloc(&r->measured, (size_t)r->n, sizeof *r->measured);
    for (int i = 0; i < r->n && !rc; i++) {
        const hs_prompt *p = hs_prompts_at(s->prompts, r->ord[i]);
        const hs_answer *a = &s->answers[r->ord[i]];
        const int64_t n = hs_answer_right(a).n + hs_answer_wrong(a).n;
        in[i] = (hs_meter_prompt){p, *a};
        r->seq[i] = (hs_seq){.tokens = p->tokens, .n = p->n_token};
        r->measured[i] = (hs_meter_seq){.prompt = i};
        rows += p->n_token;
        if (n > members) members = n;
    }
    if (!rc) rc = hs_alloc(&r->lse, (size_t)rows, sizeof *r->lse);
    if (!rc) rc = hs_alloc(&r->member, (size_t)members, sizeof *r->member);
    if (!rc) rc = hs_hooks_open(&r->hooks, &dims);
    if (!rc) rc = hs_meter_open(&r->meter, s->model, 1u << s->effect, in, r->n);
    if (!rc) rc = hs_meter_hook(r->meter, r->hooks);
    if (!rc) r->meets = hs_hooks_tap(r->hooks);
    free(in);
    return rc;
}

static void close_run(struct run *r) {
    hs_meter_close(r->meter);
    hs_hooks_close(r->hooks);
    free(r->seq);
    free(r->measured);
    free(r->lse);
    free(r->member);
}

int hs_slope_run(const hs_slope *slope, hs_context *x, const int64_t *ord, int n,
                 const hs_backward *job, double *base) {
    struct run r = {.slope = slope, .ord = ord, .n = n};
    hs_backward back = *job;
    int rc = hs_slope_check(slope->effect);
    if (rc) return rc;
    back.seed = seed;
    back.ctx = &r;
    rc = open_run(&r);
    hs_batch batch = {.seq = r.seq, .n_seq = n};
    if (!rc)
        rc = hs_meter_begin(r.meter, r.measured, n, true, &batch.logit_row, &batch.n_logit_row);
    if (!rc) rc = hs_context_backward(x, &batch, &back);
    for (int i = 0; i < n && !rc; i++) base[i] = hs_meter_value(r.meter, i, slope->effect);
    close_run(&r);
    return rc;
}
