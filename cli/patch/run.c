// What all ways to patch store alike; see patch.h.
#include <string.h>

#include "analyses/patch/halves.h"
#include "cli/patch/patch.h"
#include "model/core/mem.h"

int hs_patch_run_open(hs_study *s, hs_patch_work *w, const hs_analysis *as, const char *what) {
    static const char *const direction[] = {"", "denoise", "noise"};
    hs_buf text = {0};
    hs_jw j = {&text, false};
    hs_jw_key_str(&j, "metric", hs_effects[w->opt->metric].name);
    hs_jw_key_str(&j, "direction", direction[w->opt->direction]);
    hs_buf_printf(&text, ",%s", what);
    const hs_study_opts opts = {.call = w->call,
                                .session = &w->session,
                                .prompt = &w->opt->prompt,
                                .db = &w->db,
                                .path = w->path,
                                .how = &w->opt->study,
                                .as = as,
                                .what = &text,
                                .n_prompt = w->n_pair};
    return hs_study_open(s, &opts);
}

// ---- the half that lends ------------------------------------------------------------------------

enum { TOGETHER = 32 };

static int lend(const hs_patch_opts *o, hs_context *x, const int64_t *pair, int n, double *full) {
    const hs_dims dims = hs_dims_of(o->model);
    double value[TOGETHER];
    hs_hooks *hooks;
    int rc = hs_hooks_open(&hooks, &dims);
    if (!rc) rc = hs_patch_lend(o, x, hooks, pair, n, value);
    for (int i = 0; i < n && !rc; i++) full[pair[i]] = value[i];
    hs_hooks_close(hooks);
    return rc;
}

static int lend_all(const hs_patch_work *w, const int64_t *pair, int64_t n, double *full) {
    const hs_patch_opts o = {.model = w->session.model,
                             .prompts = w->session.prompts,
                             .answers = w->answers.at,
                             .noise = w->opt->direction == HS_PATCH_NOISE,
                             .effect = (enum hs_effect)w->opt->metric};
    hs_context *x;
    int rc = hs_context_open(&x, o.model, NULL);
    for (int64_t i = 0; i < n && !rc; i += TOGETHER)
        rc = lend(&o, x, pair + i, n - i < TOGETHER ? (int)(n - i) : TOGETHER, full);
    hs_context_close(x);
    return rc;
}

int hs_patch_run_left(const hs_study *s, const hs_patch_work *w, int64_t **ord, int64_t *n,
                      double *full) {
    int rc = hs_study_left(s, ord, n);
    if (!rc && *n) rc = lend_all(w, *ord, *n, full);
    for (int64_t i = 0; i < *n && !rc && w->opt->direction == HS_PATCH_DENOISE; i++)
        (*ord)[i] += w->n_pair;
    return rc;
}

int hs_patch_no_cells(const hs_patch_options *o, const char *way) {
    const char *given = o->by != HS_PATCH_EXACT ? "by"
                        : o->verify             ? "verify"
                        : o->grad_drop          ? "grad-drop"
                                                : NULL;
    if (given) return hs_fail(HS_EARG, "--%s does not go with %s", given, way);
    if (strcmp(o->heads, "all") != 0)
        return hs_fail(HS_EARG, "--heads does not go with %s%s", way,
                       o->path ? ": give --senders" : "");
    return HS_OK;
}
