// --prune: the metric as more and more units are edited together; see sweep.h.
//
// The order is that of the mean change which a run found: ascending begins with the units that
// matter least, descending with those that matter most; random orders are drawn by the seed. The
// steps are the same for all orders. Prompts go a few at a time, so that a run that was stopped loses
// at most those.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/sweep/sweep.h"
#include "model/core/hash.h"
#include "model/core/mem.h"
#include "model/core/prng.h"

enum { DRAWS = 5, PROMPTS = 4, MOST_STEPS = 40 };

// One curve: a ranking and, of random ones, which draw.
typedef struct curve {
    int rank, draw;
    int64_t *order; // [n_unit]
} curve;

typedef struct work {
    hs_sweep_work *w;
    hs_sweep_run run;
    double *importance; // [n_unit], NaN where the run has none
    int64_t *rank;      // [n_unit] by importance, least first
    curve curve[2 + DRAWS];
    int n_curve, at; // at: the one under way
    int64_t step[MOST_STEPS];
    int64_t n_step;
    int64_t first;                       // prompt of the values' first
    double (*value)[HS_N_EFFECT], *base; // [PROMPTS][n_curve][n_step], [PROMPTS][HS_N_EFFECT]
} work;

// ---- importance -------------------------------------------------------------------------------

static int on_unit(void *ctx, const hs_query *q) {
    work *p = ctx;
    char kind[16];
    const int64_t layer = hs_query_int(q, "layer"), idx = hs_query_int(q, "idx");
    hs_query_text(q, "kind", kind, sizeof kind);
    for (int64_t u = 0; u < p->w->units.n; u++) {
        const hs_unit *unit = &p->w->units.at[u];
        if (unit->layer == layer && unit->index == idx && !strcmp(hs_unit_kinds[unit->kind], kind))
            p->importance[u] = hs_query_num(q, "value") * hs_sweep_harm(&p->w->ask.metric[0]);
    }
    return HS_OK;
}

static int check_rank(const work *p, int64_t run) {
    const hs_sweep_work *w = p->w;
    for (int64_t u = 0; u < w->units.n; u++)
        if (isnan(p->importance[u])) {
            char name[HS_UNIT_NAME];
            return hs_fail(HS_ENOTFOUND,
                           "run %" PRId64 " does not tell what %s of %s is worth: sweep the same "
                           "units with the same --metric first",
                           run, w->ask.metric[0].name, hs_unit_name(name, &w->units.at[u]));
        }
    return HS_OK;
}

static int read_importance(work *p, int64_t run) {
    const hs_source source = {.db = p->w->db, .run = run};
    hs_buf param = {0};
    int rc = hs_alloc(&p->importance, (size_t)p->w->units.n, sizeof *p->importance);
    for (int64_t u = 0; u < p->w->units.n && !rc; u++) p->importance[u] = NAN;
    hs_buf_printf(&param, "metric=%s", p->w->ask.metric[0].name);
    if (!rc) rc = hs_buf_rc(&param);
    const char *text = hs_buf_text(&param);
    if (!rc) rc = hs_source_each(&source, "sweep", &text, 1, on_unit, p);
    hs_buf_free(&param);
    return rc ? rc : check_rank(p, run);
}

// ---- orders and steps -------------------------------------------------------------------------

// Insertion by importance: equal ones stay in the order of the units.
static int make_rank(work *p) {
    const int64_t n = p->w->units.n;
    int rc = hs_alloc(&p->rank, (size_t)n, sizeof *p->rank);
    for (int64_t u = 0; u < n && !rc; u++) {
        int64_t k = u;
        for (; k > 0 && p->importance[p->rank[k - 1]] > p->importance[u]; k--)
            p->rank[k] = p->rank[k - 1];
        p->rank[k] = u;
    }
    return rc;
}

static int add_curve(work *p, int rank, int draw, hs_prng *random) {
    const int64_t n = p->w->units.n;
    curve *c = &p->curve[p->n_curve];
    int rc = hs_alloc(&c->order, (size_t)n, sizeof *c->order);
    if (rc) return rc;
    c->rank = rank;
    c->draw = draw;
    p->n_curve++;
    for (int64_t k = 0; k < n; k++) c->order[k] = p->rank[rank == HS_RANK_DESC ? n - 1 - k : k];
    for (int64_t k = n; random && k > 1; k--) { // Fisher and Yates
        const int64_t other = (int64_t)hs_prng_below(random, (uint64_t)k);
        const int64_t last = c->order[k - 1];
        c->order[k - 1] = c->order[other];
        c->order[other] = last;
    }
    return HS_OK;
}

static int make_curves(work *p) {
    hs_prng random = hs_prng_seed((uint64_t)p->w->opt->seed);
    int rc = make_rank(p);
    for (int rank = 0; rank < HS_N_RANK; rank++) {
        if (!p->w->ask.rank[rank]) continue;
        const int n = rank == HS_RANK_RANDOM ? DRAWS : 1;
        for (int draw = 0; draw < n && !rc; draw++)
            rc = add_curve(p, rank, draw, rank == HS_RANK_RANDOM ? &random : NULL);
    }
    return rc;
}

static void add_step(work *p, int64_t step) {
    int64_t k = p->n_step;
    for (int64_t i = 0; i < p->n_step; i++)
        if (p->step[i] == step) return;
    for (; k > 0 && p->step[k - 1] > step; k--) p->step[k] = p->step[k - 1];
    p->step[k] = step;
    p->n_step++;
}

// A few at the beginning, where most happens, the top K, and twentieths of all.
static void make_steps(work *p) {
    const int64_t n = p->w->units.n;
    for (int64_t k = 1; k <= 8; k *= 2)
        if (k <= n) add_step(p, k);
    if (p->w->opt->top <= n) add_step(p, p->w->opt->top);
    for (int64_t k = 0; k <= 20; k++) add_step(p, n * k / 20);
}

// ---- running them -----------------------------------------------------------------------------

static int on_values(void *ctx, const hs_sweep_result *result) {
    work *p = ctx;
    const int64_t i = result->ord - p->first, curve_size = p->n_step;
    memcpy(p->base + i * HS_N_EFFECT, result->base, HS_N_EFFECT * sizeof *p->base);
    memcpy(p->value[(i * p->n_curve + p->at) * curve_size], result->value,
           (size_t)curve_size * sizeof *p->value);
    return HS_OK;
}

static int emit_curve(const work *p, const hs_emit *emit, int64_t i, int c) {
    const curve *one = &p->curve[c];
    int rc = HS_OK;
    for (int64_t k = 0; k < p->n_step && !rc; k++)
        for (int m = 0; m < p->w->ask.n_metric && !rc; m++) {
            const hs_sweep_metric *metric = &p->w->ask.metric[m];
            double raw, base;
            rc = hs_sweep_measure(metric, p->base + i * HS_N_EFFECT,
                                  p->value[(i * p->n_curve + c) * p->n_step + k], &raw, &base);
            const hs_value row[] = {
                {.type = HS_VAL_TEXT, .s = hs_rankings[one->rank]},
                {.type = HS_VAL_INT, .i = one->draw},
                {.type = HS_VAL_INT, .i = p->step[k]},
                {.type = HS_VAL_TEXT, .s = metric->name},
                {.type = HS_VAL_NUM, .f = raw},
            };
            if (!rc) rc = emit->row(emit->ctx, "curve", row);
        }
    return rc;
}

static int store(work *p, int64_t n) {
    int rc = HS_OK;
    for (int64_t i = 0; i < n && !rc; i++) {
        hs_emit emit;
        rc = hs_study_begin(&p->run.study, p->first + i, &emit);
        for (int c = 0; c < p->n_curve && !rc; c++) rc = emit_curve(p, &emit, i, c);
        rc = hs_study_end(&p->run.study, rc);
    }
    return rc;
}

// All curves of n prompts from p->first on.
static int run_prompts(work *p, int64_t n) {
    const hs_sweep_opts opts = hs_sweep_opts_of(p->w, p->run.op);
    int64_t ord[PROMPTS];
    int rc = HS_OK;
    for (int64_t i = 0; i < n; i++) ord[i] = p->first + i;
    for (p->at = 0; p->at < p->n_curve && !rc; p->at++) {
        const hs_sweep_joint joint = {p->curve[p->at].order, p->step, p->n_step};
        rc = hs_sweep_joint_run(&opts, &joint, ord, n, on_values, p);
    }
    hs_bar_clear(&p->w->session.bar);
    return rc ? rc : store(p, n);
}

static int run_all(work *p) {
    const size_t n = PROMPTS * (size_t)p->n_curve * (size_t)p->n_step;
    int rc = hs_alloc(&p->value, n, sizeof *p->value);
    if (!rc) rc = hs_alloc(&p->base, PROMPTS * HS_N_EFFECT, sizeof *p->base);
    for (p->first = p->run.study.done; p->first < p->w->n_prompt && !rc;
         p->first = p->run.study.done) {
        const int64_t left = p->w->n_prompt - p->first;
        rc = run_prompts(p, left < PROMPTS ? left : PROMPTS);
    }
    return rc;
}

// Equal orders make equal runs, whichever run they come from.
static int options_of(const work *p, hs_buf *out) {
    uint64_t hash = HS_FNV_SEED;
    for (int c = 0; c < p->n_curve; c++)
        hash = hs_fnv(hash, p->curve[c].order, (size_t)p->w->units.n * sizeof *p->curve[c].order);
    hash = hs_fnv(hash, p->step, (size_t)p->n_step * sizeof *p->step);
    hs_buf_str(out, ",\"rankings\":[");
    for (int c = 0; c < p->n_curve; c++)
        hs_buf_printf(out, "%s\"%s\"", c ? "," : "", hs_rankings[p->curve[c].rank]);
    hs_buf_printf(out, "],\"orders\":\"%016" PRIx64 "\"", hash);
    return hs_buf_rc(out);
}

int hs_sweep_store_curve(hs_sweep_work *w, const hs_sweep_op *op, int64_t by) {
    work p = {.w = w};
    hs_buf more = {0};
    int rc = read_importance(&p, by);
    if (!rc) rc = make_curves(&p);
    if (!rc) make_steps(&p);
    if (!rc) rc = options_of(&p, &more);
    if (!rc) {
        rc = hs_sweep_run_open(&p.run, w, op, "prune", hs_buf_text(&more));
        if (!rc && !p.run.study.complete) rc = run_all(&p);
        rc = hs_sweep_run_close(&p.run, rc);
    }
    for (int c = 0; c < p.n_curve; c++) free(p.curve[c].order);
    free(p.importance);
    free(p.rank);
    free(p.value);
    free(p.base);
    hs_buf_free(&more);
    return rc;
}
