// The race on a model: what is measured is a walk of the units that still race.
#include <math.h>
#include <stdlib.h>

#include "analyses/sweep/race.h"
#include "analyses/sweep/walk.h"
#include "model/core/mem.h"

struct track {
    const hs_sweep_opts *opts;
    enum hs_effect effect;
    const int64_t *ord; // of all prompts of the race
    hs_walk *walk;
    int64_t *now;     // those of a round
    hs_walk_job *job; // [n_unit]
    double *change;   // where the next prompt's go
    int64_t n_unit;   // of the round
};

static int take(void *ctx, const hs_sweep_result *result) {
    struct track *t = ctx;
    for (int64_t u = 0; u < t->n_unit; u++) {
        const double change = result->value[u * HS_N_EFFECT + t->effect] - result->base[t->effect];
        if (isnan(change))
            return hs_fail(HS_EARG, "%s is undefined on prompt '%s': leave it out",
                           hs_effects[t->effect].name,
                           hs_prompts_at(t->opts->prompts, result->ord)->id);
        *t->change++ = change;
    }
    return HS_OK;
}

static int measure(void *ctx, const int64_t *prompt, int64_t n, const int64_t *unit, int64_t n_unit,
                   double *change) {
    struct track *t = ctx;
    for (int64_t i = 0; i < n; i++) t->now[i] = t->ord[prompt[i]];
    for (int64_t u = 0; u < n_unit; u++) t->job[u] = (hs_walk_job){(int)unit[u], 1};
    t->change = change;
    t->n_unit = n_unit;
    return hs_walk_run(t->walk, t->job, (int)n_unit, t->now, n, take, t);
}

int hs_sweep_race(const hs_sweep_opts *o, enum hs_effect effect, const hs_race_opts *race,
                  const int64_t *ord, int64_t n, hs_race_unit *out, hs_race_report *report) {
    hs_sweep_opts opts = *o;
    struct track t = {.opts = &opts, .effect = effect, .ord = ord};
    char **specs;
    opts.effects = 1u << effect;
    int rc = hs_walk_specs(&specs, &opts);
    if (!rc) rc = hs_walk_open(&t.walk, &opts, (const char *const *)specs, (int)opts.units->n);
    if (!rc) rc = hs_alloc(&t.now, (size_t)n, sizeof *t.now);
    if (!rc) rc = hs_alloc(&t.job, (size_t)opts.units->n, sizeof *t.job);
    if (!rc) {
        const hs_race_field field = {.n_unit = opts.units->n,
                                     .n_prompt = n,
                                     .harm = hs_effects[effect].harm,
                                     .seed = opts.seed,
                                     .measure = measure,
                                     .ctx = &t};
        rc = hs_race_run(&field, race, out, report);
    }
    hs_walk_close(t.walk);
    free(t.now);
    free(t.job);
    free(specs);
    return rc;
}
