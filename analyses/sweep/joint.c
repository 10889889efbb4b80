// Joint edits of growing sets: the pruning curve. Set k + 1 is set k and one more, so that the edits
// are opened once, in the order in which they join.
#include <stdlib.h>

#include "analyses/sweep/walk.h"
#include "model/core/mem.h"

static int order_specs(char **ordered, char *const *specs, const hs_sweep_joint *j, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (j->order[i] < 0 || j->order[i] >= n)
            return hs_fail(HS_ERANGE, "unit %lld of %lld", (long long)j->order[i], (long long)n);
        ordered[i] = specs[j->order[i]];
    }
    return HS_OK;
}

static int make_jobs(hs_walk_job *job, const hs_sweep_joint *j, int64_t n) {
    for (int64_t k = 0; k < j->n_step; k++) {
        if (j->steps[k] < 0 || j->steps[k] > n)
            return hs_fail(HS_ERANGE, "a set of %lld of %lld units", (long long)j->steps[k],
                           (long long)n);
        job[k] = (hs_walk_job){0, (int)j->steps[k]};
    }
    return HS_OK;
}

int hs_sweep_joint_run(const hs_sweep_opts *o, const hs_sweep_joint *j, const int64_t *ord,
                       int64_t n, hs_sweep_fn fn, void *ctx) {
    const int64_t n_unit = o->units->n;
    char **specs, **ordered = NULL;
    hs_walk_job *job = NULL;
    hs_walk *w = NULL;
    int rc = hs_walk_specs(&specs, o);
    if (!rc) rc = hs_alloc(&ordered, (size_t)n_unit, sizeof *ordered);
    if (!rc) rc = hs_alloc(&job, (size_t)j->n_step, sizeof *job);
    if (!rc) rc = order_specs(ordered, specs, j, n_unit);
    if (!rc) rc = make_jobs(job, j, n_unit);
    if (!rc) rc = hs_walk_open(&w, o, (const char *const *)ordered, (int)n_unit);
    if (!rc) rc = hs_walk_run(w, job, (int)j->n_step, ord, n, fn, ctx);
    hs_walk_close(w);
    free(job);
    free(ordered);
    free(specs);
    return rc;
}
