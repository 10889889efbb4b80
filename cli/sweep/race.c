// --by race: the top K without measuring all units on all prompts; see sweep.h.
//
// Estimates by gradients help it where the op and the metric have them. What was found is of
// all prompts together, so that it is stored with the last one, and a race that was stopped begins
// anew.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/slope.h"
#include "cli/sweep/sweep.h"
#include "model/core/mem.h"

// ---- estimates --------------------------------------------------------------------------------

typedef struct estimates {
    double *change; // [n_prompt][n_unit]
    int64_t n_unit;
    enum hs_effect effect;
} estimates;

static int on_estimate(void *ctx, const hs_sweep_result *result) {
    const estimates *e = ctx;
    for (int64_t u = 0; u < e->n_unit; u++)
        e->change[result->ord * e->n_unit + u] =
            result->value[u * HS_N_EFFECT + (int64_t)e->effect] - result->base[e->effect];
    return HS_OK;
}

static bool can_estimate(const hs_sweep_work *w, const hs_sweep_op *op) {
    const enum hs_effect e = w->ask.metric[0].effect;
    return hs_slope_has(e) && !op->args &&
           (!strcmp(op->op, "zero") || !strcmp(op->op, "mean") || !strcmp(op->op, "resample"));
}

static int estimate(const hs_sweep_work *w, const hs_sweep_op *op, const int64_t *ord,
                    double **out) {
    const hs_sweep_opts opts = hs_sweep_opts_of(w, op);
    estimates e = {.n_unit = w->units.n, .effect = w->ask.metric[0].effect};
    *out = NULL;
    if (!can_estimate(w, op)) return HS_OK;
    int rc = hs_alloc(&e.change, (size_t)w->n_prompt, (size_t)e.n_unit * sizeof *e.change);
    if (!rc) rc = hs_sweep_gradient(&opts, ord, w->n_prompt, on_estimate, &e);
    *out = e.change;
    return rc;
}

// ---- what it found ----------------------------------------------------------------------------

static int emit_units(const hs_sweep_run *r, const hs_emit *emit, const hs_race_unit *found) {
    int rc = HS_OK;
    for (int64_t u = 0; u < r->work->units.n && !rc; u++) {
        const hs_race_unit *f = &found[u];
        const bool bounded = isfinite(f->low) && isfinite(f->high);
        hs_value row[10];
        hs_sweep_key(row, &r->work->units.at[u], r->work->ask.metric[0].name);
        row[4] = (hs_value){.type = HS_VAL_NUM, .f = f->mean};
        row[5] = (hs_value){.type = HS_VAL_NUM, .f = bounded ? f->low : (double)NAN};
        row[6] = (hs_value){.type = HS_VAL_NUM, .f = bounded ? f->high : (double)NAN};
        row[7] = (hs_value){.type = HS_VAL_INT, .i = f->n};
        row[8] = (hs_value){.type = HS_VAL_INT, .i = f->in};
        row[9] = (hs_value){.type = HS_VAL_INT, .i = f->settled};
        rc = emit->row(emit->ctx, "race", row);
    }
    return rc;
}

static int store(hs_sweep_run *r, const hs_race_unit *found) {
    int rc = HS_OK;
    for (int64_t ord = r->study.done; ord < r->work->n_prompt && !rc; ord++) {
        hs_emit emit;
        rc = hs_study_begin(&r->study, ord, &emit);
        if (!rc && ord + 1 == r->work->n_prompt) rc = emit_units(r, &emit, found);
        rc = hs_study_end(&r->study, rc);
    }
    return rc;
}

// The statement that the race makes, and no more.
static void tell(const hs_sweep_work *w, const hs_race_unit *found, const hs_race_report *report) {
    int64_t settled = 0;
    for (int64_t u = 0; u < w->units.n; u++) settled += found[u].settled;
    hs_note(w->call,
            "race: %" PRId64 " of %" PRId64 " edits of the full sweep (%.0f %%); %" PRId64
            " of %" PRId64
            " units are decided by bounds that hold together with probability %g, if a unit's "
            "changes are spread over prompts as a normal distribution; the others by their means",
            report->edits, report->full,
            report->full ? 100.0 * (double)report->edits / (double)report->full : 0, settled,
            w->units.n, 1 - report->delta);
}

static int race(hs_sweep_run *r) {
    hs_sweep_work *w = r->work;
    const hs_sweep_opts opts = hs_sweep_opts_of(w, r->op);
    hs_race_opts how = {.k = w->opt->top < w->units.n ? w->opt->top : w->units.n,
                        .delta = w->opt->delta,
                        .budget = w->opt->budget};
    hs_race_report report;
    hs_race_unit *found = NULL;
    int64_t *ord = NULL;
    double *guesses = NULL;
    int rc = hs_alloc(&ord, (size_t)w->n_prompt, sizeof *ord);
    if (!rc) rc = hs_alloc(&found, (size_t)w->units.n, sizeof *found);
    for (int64_t i = 0; i < w->n_prompt && !rc; i++) ord[i] = i;
    if (!rc) rc = estimate(w, r->op, ord, &guesses);
    how.estimate = guesses;
    if (!rc)
        rc = hs_sweep_race(&opts, w->ask.metric[0].effect, &how, ord, w->n_prompt, found, &report);
    hs_bar_clear(&w->session.bar);
    if (!rc) rc = store(r, found);
    if (!rc) tell(w, found, &report);
    free(guesses);
    free(found);
    free(ord);
    return rc;
}

int hs_sweep_store_race(hs_sweep_work *w, const hs_sweep_op *op) {
    char more[120];
    hs_sweep_run r;
    snprintf(more, sizeof more, ",\"top\":%" PRId64 ",\"delta\":%.17g,\"budget\":%.17g",
             w->opt->top, w->opt->delta, w->opt->budget);
    int rc = hs_sweep_run_open(&r, w, op, "race", more);
    if (!rc && !r.study.complete) rc = race(&r);
    return hs_sweep_run_close(&r, rc);
}
