// Sets of KV heads that stream together, and the loss; see experiments/duo.h. Sets are jobs of one
// walk, each from its lowest layer and the first row that loses keys on.
#include <stdlib.h>

#include "analyses/duo/duo_internal.h"
#include "analyses/sweep/walk.h"
#include "model/core/mem.h"

struct curve {
    const hs_duo_opts *o;
    hs_duo_curve_fn fn;
    void *ctx;
    hs_walk_job *job; // [n_set]
    hs_answer *answer;
    double *nll; // [n_set]
    int n_set;
};

static int on_prompt(void *ctx, const hs_sweep_result *r) {
    const struct curve *c = ctx;
    for (int i = 0; i < c->n_set; i++) c->nll[i] = r->value[i * HS_N_EFFECT + HS_EFFECT_NLL];
    return c->fn(c->ctx, r->ord, c->nll);
}

static int step(void *ctx, const char *what, int64_t done, int64_t total) {
    const struct curve *c = ctx;
    (void)what;
    return hs_progress_step(c->o->progress, "streaming sets", done, total);
}

// A spec for each set but the empty ones.
static int make_jobs(const struct curve *c, const hs_duo_set *set, char ***spec, int *n_spec) {
    hs_buf text = {0};
    *n_spec = 0;
    for (int i = 0; i < c->n_set; i++) {
        c->job[i] = (hs_walk_job){*n_spec, set[i].n > 0};
        if (!set[i].n) continue;
        hs_duo_mask(&text, c->o, &set[i], c->o->sink + c->o->recent);
        hs_buf_chr(&text, 0);
        ++*n_spec;
    }
    return hs_buf_texts(spec, &text, (size_t)*n_spec);
}

int hs_duo_curve(const hs_duo_opts *o, const hs_duo_set *set, int n_set, const int64_t *ord,
                 int64_t n, hs_duo_curve_fn fn, void *ctx) {
    struct curve c = {.o = o, .fn = fn, .ctx = ctx, .n_set = n_set};
    const hs_progress progress = {step, &c};
    hs_walk *walk = NULL;
    char **spec = NULL;
    int n_spec = 0, rc = hs_alloc(&c.job, (size_t)n_set, sizeof *c.job);
    if (!rc) rc = hs_alloc(&c.nll, (size_t)n_set, sizeof *c.nll);
    if (!rc) rc = hs_alloc(&c.answer, (size_t)hs_prompts_count(o->prompts), sizeof *c.answer);
    if (!rc) rc = make_jobs(&c, set, &spec, &n_spec);
    const hs_sweep_opts opts = {.model = o->model,
                                .prompts = o->prompts,
                                .answers = c.answer, // the loss asks for none
                                .effects = 1u << HS_EFFECT_NLL,
                                .memory = o->memory,
                                .progress = &progress};
    if (!rc) rc = hs_walk_open(&walk, &opts, (const char *const *)spec, n_spec);
    if (!rc) rc = hs_walk_run(walk, c.job, n_set, ord, n, on_prompt, &c);
    hs_walk_close(walk);
    free(spec);
    free(c.job);
    free(c.nll);
    free(c.answer);
    return rc;
}
