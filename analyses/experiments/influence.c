// Scores of texts by the masking of heads; see influence.h.
#include "analyses/experiments/influence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/sweep/walk.h"
#include "model/core/mem.h"

// ---- sets ---------------------------------------------------------------------------------------

static void add_head(hs_buf *out, bool first, int layer, int head) {
    hs_buf_printf(out, "%sL%dH%d", first ? "" : "+", layer, head);
}

void hs_influence_name(hs_buf *out, const hs_heads *heads) {
    bool first = true;
    for (int l = 0; l < heads->n_layer; l++)
        for (int h = 0; h < heads->n_head; h++)
            if (hs_heads_has(heads, l, h)) {
                add_head(out, first, l, h);
                first = false;
            }
    if (first) hs_buf_str(out, "none");
}

// Each head in turn, with the chance that makes k of them.
int hs_influence_draw(hs_buf *out, hs_prng *prng, const hs_heads *from, int64_t k) {
    int64_t n = hs_heads_count(from), left = k;
    if (k > n)
        return hs_fail(HS_EARG, "%lld heads cannot be drawn from %lld: mask fewer", (long long)k,
                       (long long)n);
    if (!k) hs_buf_str(out, "none");
    for (int l = 0; l < from->n_layer; l++)
        for (int h = 0; h < from->n_head; h++) {
            if (!hs_heads_has(from, l, h)) continue;
            if ((int64_t)hs_prng_below(prng, (uint64_t)n--) >= left) continue;
            add_head(out, left == k, l, h);
            left--;
        }
    return hs_buf_rc(out);
}

// ---- scores -------------------------------------------------------------------------------------

double hs_influence_score(double base, double masked) {
    return base > 0 ? (masked - base) / base : NAN;
}

struct work {
    const hs_influence_opts *opts;
    hs_influence_fn fn;
    void *ctx;
    double *masked; // [n_set]
};

static int on_prompt(void *ctx, const hs_sweep_result *r) {
    const struct work *w = ctx;
    for (int i = 0; i < w->opts->n_set; i++)
        w->masked[i] = r->value[i * HS_N_EFFECT + HS_EFFECT_NLL];
    return w->fn(w->ctx, &(hs_influence_text){r->ord, r->base[HS_EFFECT_NLL], w->masked});
}

// One edit a set that has heads, and the evaluation of each set.
static int make_jobs(const hs_influence_opts *o, char ***spec, hs_walk_job *job, int *n_spec) {
    hs_buf text = {0};
    *n_spec = 0;
    for (int i = 0; i < o->n_set; i++) {
        const bool none = !strcmp(o->set[i], "none");
        job[i] = (hs_walk_job){*n_spec, none ? 0 : 1};
        if (none) continue;
        hs_buf_printf(&text, "ablate:%s,mode=uniform", o->set[i]);
        hs_buf_chr(&text, 0);
        ++*n_spec;
    }
    return hs_buf_texts(spec, &text, (size_t)*n_spec);
}

int hs_influence(const hs_influence_opts *o, const int64_t *ord, int64_t n, hs_influence_fn fn,
                 void *ctx) {
    const size_t n_set = (size_t)o->n_set;
    const int64_t n_prompt = hs_prompts_count(o->prompts);
    struct work w = {o, fn, ctx, NULL};
    hs_sweep_opts opts = {.model = o->model,
                          .prompts = o->prompts,
                          .effects = 1u << HS_EFFECT_NLL,
                          .progress = o->progress};
    hs_answer *answers = NULL; // the loss asks for none
    hs_walk_job *job = NULL;
    hs_walk *walk = NULL;
    char **spec = NULL;
    int n_spec = 0, rc = hs_alloc(&w.masked, n_set, sizeof *w.masked);
    if (!rc) rc = hs_alloc(&job, n_set, sizeof *job);
    if (!rc) rc = hs_alloc(&answers, (size_t)n_prompt, sizeof *answers);
    for (int64_t i = 0; i < n_prompt && !rc; i++)
        answers[i] = (hs_answer){
            .answer = -1, .wrong = -1, .end = hs_prompts_at(o->prompts, i)->n_token - 1};
    opts.answers = answers;
    if (!rc) rc = make_jobs(o, &spec, job, &n_spec);
    if (!rc) rc = hs_walk_open(&walk, &opts, (const char *const *)spec, n_spec);
    if (!rc) rc = hs_walk_run(walk, job, o->n_set, ord, n, on_prompt, &w);
    hs_walk_close(walk);
    free(spec);
    free(job);
    free(answers);
    free(w.masked);
    return rc;
}

// ---- the experiment -----------------------------------------------------------------------------

static const hs_column text_columns[] = {
    {"kind", "TEXT", "",
     "which heads are masked: top, those asked for; random, as many of all; others, as many of "
     "those that are neither among the top nor spared"},
    {"draw", "INTEGER", "", "number of the random set, 0-based"},
    {"heads", "TEXT", "", "that are masked, L0H2+L5H1"},
    {"n_head", "INTEGER", "heads", "how many these are"},
    {"nll_base", "REAL", "nats/token", "loss of the unedited model"},
    {"nll_masked", "REAL", "nats/token", "loss with the heads masked"},
    {"score", "REAL", "", "(nll_masked - nll_base) / nll_base"},
    {"reason", "TEXT", "", "why there is no score"},
    {0},
};
static const hs_result_table tables[] = {
    {"text", text_columns, 2, "what masking a set of heads costs a text"},
    {0},
};

const hs_experiment hs_experiment_influence = {
    .name = "influence",
    .title = "AttentionInfluence: how much texts depend on a few heads",
    .about = "Masks heads, retrieval heads as a rule, in all rows of a text: they then attend to "
             "all keys that they see with equal weights. A text's score is how much its loss grows "
             "in proportion. Scores are compared among texts of one kind only. Masking as many "
             "heads drawn at random says what masking costs as such.",
    .reference = "Hua et al. 2025, arXiv:2505.07293",
    .tables = tables,
};
