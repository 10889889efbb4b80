// What streams when a cache must shrink: sets of KV heads of several sizes, those that the probe, and
// the gates, rank lowest, those that they rank highest, and random ones; see duo.h.
//
// Of each set the loss of the prompts, and the recall of their answers where all of them are needle
// tests. Random sets of a draw grow: they are the first ones of one order. The set of none is the
// model as it is, and that of all is the same for every ranking.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/experiments/retrieve.h"
#include "cli/duo/duo.h"
#include "cli/memory.h"
#include "model/core/mem.h"
#include "model/core/prng.h"

const char *const hs_duo_rankings[HS_N_DUO_RANKING] = {"lowest", "highest", "lowest_gate",
                                                       "highest_gate", "random"};

enum { NONE, ALL, FIRST, N_ORDER = HS_DUO_RANDOM + HS_DUO_DRAWS, SPARE = 8 };

typedef struct curve {
    hs_duo_work *w;
    hs_duo_opts opts;
    int64_t n_prompt;
    int64_t *order; // [N_ORDER][n_kv]: rankings but random, then its draws
    hs_duo_set *set;
    int n_set;
    double *nll, *recall; // [n_set][n_prompt], NaN: not measured
    hs_needle *needle;    // [n_prompt]; NULL: the prompts are no tests
    int64_t max_new;
} curve;

// ---- orders -------------------------------------------------------------------------------------

// Stable insertion by value, undefined ones first.
static void sort_by(int64_t *order, const double *value, int64_t n) {
    for (int64_t i = 1; i < n; i++) {
        const int64_t at = order[i];
        int64_t k = i;
        for (; k > 0 &&
               (isnan(value[at]) ? !isnan(value[order[k - 1]]) : value[order[k - 1]] > value[at]);
             k--)
            order[k] = order[k - 1];
        order[k] = at;
    }
}

static void reverse(int64_t *to, const int64_t *order, int64_t n) {
    for (int64_t i = 0; i < n; i++) to[i] = order[n - 1 - i];
}

static int make_probe_means(const curve *c, double **mean) {
    const hs_duo_work *w = c->w;
    int rc = hs_alloc(mean, (size_t)w->n_kv, sizeof **mean);
    for (int64_t p = 0; p < c->n_prompt && !rc; p++)
        for (int k = 0; k < w->n_kv; k++) (*mean)[k] += w->probe[p * w->n_kv + k];
    return rc;
}

// By the probe; by the gates, equal ones by the probe; then as they are drawn (Fisher and Yates).
static int make_orders(curve *c) {
    const int64_t n = c->w->n_kv;
    hs_prng random = hs_prng_seed((uint64_t)c->w->opt->seed);
    double *mean = NULL;
    int rc = make_probe_means(c, &mean);
    if (!rc) rc = hs_alloc(&c->order, (size_t)n, N_ORDER * sizeof *c->order);
    int64_t *lowest = c->order, *gates = c->order + HS_DUO_LOWEST_GATE * n;
    for (int64_t k = 0; k < n && !rc; k++) lowest[k] = k;
    if (!rc) {
        sort_by(lowest, mean, n);
        reverse(c->order + HS_DUO_HIGHEST * n, lowest, n);
        memcpy(gates, lowest, (size_t)n * sizeof *gates);
        if (c->w->gate) sort_by(gates, c->w->gate, n);
        reverse(c->order + HS_DUO_HIGHEST_GATE * n, gates, n);
    }
    for (int d = HS_DUO_RANDOM; d < N_ORDER && !rc; d++) {
        int64_t *order = c->order + d * n;
        for (int64_t k = 0; k < n; k++) order[k] = k;
        for (int64_t k = n; k > 1; k--) {
            const int64_t other = (int64_t)hs_prng_below(&random, (uint64_t)k), x = order[k - 1];
            order[k - 1] = order[other];
            order[other] = x;
        }
    }
    free(mean);
    return rc;
}

// ---- sets ---------------------------------------------------------------------------------------

static bool is_there(const curve *c, int order) {
    return c->w->gate || (order != HS_DUO_LOWEST_GATE && order != HS_DUO_HIGHEST_GATE);
}

static int64_t size_of(const curve *c, int share) {
    const int64_t n = (int64_t)lround(c->w->n_kv * c->w->share[share] / 100.0);
    return n ? n : 1;
}

static int make_sets(curve *c) {
    const hs_duo_work *w = c->w;
    int rc = hs_alloc(&c->set, (size_t)(FIRST + N_ORDER * w->n_share), sizeof *c->set);
    if (rc) return rc;
    c->set[ALL] = (hs_duo_set){c->order, w->n_kv};
    c->n_set = FIRST;
    for (int s = 0; s < w->n_share; s++)
        for (int k = 0; k < N_ORDER && size_of(c, s) < w->n_kv; k++)
            if (is_there(c, k))
                c->set[c->n_set++] = (hs_duo_set){c->order + k * w->n_kv, size_of(c, s)};
    const size_t n = (size_t)(c->n_set * c->n_prompt);
    rc = hs_alloc(&c->nll, n, sizeof *c->nll);
    if (!rc) rc = hs_alloc(&c->recall, n, sizeof *c->recall);
    for (size_t i = 0; i < n && !rc; i++) c->nll[i] = c->recall[i] = (double)NAN;
    return rc;
}

// ---- the loss -----------------------------------------------------------------------------------

static int on_loss(void *ctx, int64_t ord, const double *nll) {
    const curve *c = ctx;
    for (int i = 0; i < c->n_set; i++) c->nll[i * c->n_prompt + ord] = nll[i];
    return HS_OK;
}

// ---- recall -------------------------------------------------------------------------------------

// Prompts without a needle are no tests; one that says something else by the name is an error.
static int read_needles(curve *c) {
    int64_t longest = 0;
    int rc = hs_alloc(&c->needle, (size_t)c->n_prompt, sizeof *c->needle);
    for (int64_t i = 0; i < c->n_prompt && !rc; i++) {
        rc = hs_needle_of(&c->needle[i], hs_prompts_at(c->w->session.prompts, i),
                          c->w->dims.n_vocab);
        if (!rc && c->needle[i].n_answer > longest) longest = c->needle[i].n_answer;
    }
    c->max_new = longest + SPARE;
    if (rc != HS_EARG) return rc;
    for (int64_t i = 0; i < c->n_prompt; i++) hs_needle_free(&c->needle[i]);
    free(c->needle);
    c->needle = NULL;
    return HS_OK;
}

// Of sets [first, first + n) of the curve, after the unedited model.
typedef struct masked {
    curve *c;
    int first, n;
} masked;

static int on_recall(void *ctx, const hs_retrieve_masked_result *r) {
    const masked *m = ctx;
    double *recall = m->c->recall;
    recall[NONE * m->c->n_prompt + r->ord] = r->recall[0];
    for (int i = 0; i < m->n; i++)
        recall[(m->first + i) * m->c->n_prompt + r->ord] = r->recall[1 + i];
    return HS_OK;
}

// The tests while sets [first, first + n) stream, in all rows.
static int run_tests(curve *c, const int64_t *ord, int first, int n) {
    const hs_retrieve_opts o = {.model = c->w->session.model,
                                .prompts = c->w->session.prompts,
                                .needles = c->needle,
                                .n_test = c->n_prompt,
                                .max_new = c->max_new,
                                .progress = &c->w->session.bar.progress};
    masked m = {c, first, n};
    char **spec = NULL;
    hs_buf text = {0};
    for (int i = first; i < first + n; i++) {
        hs_duo_mask(&text, &c->opts, &c->set[i], 0);
        hs_buf_chr(&text, 0);
    }
    int rc = hs_buf_texts(&spec, &text, (size_t)n);
    const hs_retrieve_masks masks = {(const char *const *)spec, n, true};
    if (!rc) rc = hs_retrieve_masked(&o, &masks, ord, c->n_prompt, on_recall, &m);
    free(spec);
    return rc;
}

// A model that passes no test has nothing to lose: only that is found out.
static int find_recalls(curve *c, const int64_t *ord) {
    int64_t passed = 0;
    int rc = run_tests(c, ord, FIRST, 0);
    for (int64_t i = 0; i < c->n_prompt; i++)
        passed += c->recall[NONE * c->n_prompt + i] > HS_RETRIEVE_PASS;
    return rc || !passed ? rc : run_tests(c, ord, ALL, c->n_set - ALL);
}

// ---- rows ---------------------------------------------------------------------------------------

static int emit_set(const curve *c, const hs_emit *emit, int64_t share, int order, int set) {
    const int ranking = order < HS_DUO_RANDOM ? order : HS_DUO_RANDOM;
    int rc = HS_OK;
    for (int64_t i = 0; i < c->n_prompt && !rc; i++) {
        const hs_value row[] = {{.type = HS_VAL_INT, .i = share},
                                {.type = HS_VAL_TEXT, .s = hs_duo_rankings[ranking]},
                                {.type = HS_VAL_INT, .i = order - ranking},
                                {.type = HS_VAL_INT, .i = i},
                                {.type = HS_VAL_INT, .i = c->set[set].n},
                                hs_value_num(c->nll[set * c->n_prompt + i]),
                                hs_value_num(c->recall[set * c->n_prompt + i])};
        rc = emit->row(emit->ctx, "curve", row);
    }
    return rc;
}

static int emit_curve(const curve *c, const hs_emit *emit) {
    const hs_duo_work *w = c->w;
    int set = FIRST, rc = HS_OK;
    for (int k = 0; k < N_ORDER && !rc; k++)
        if (is_there(c, k)) rc = emit_set(c, emit, 0, k, NONE);
    for (int s = 0; s < w->n_share && !rc; s++)
        for (int k = 0; k < N_ORDER && !rc; k++)
            if (is_there(c, k))
                rc = emit_set(c, emit, w->share[s], k, size_of(c, s) < w->n_kv ? set++ : ALL);
    return rc;
}

int hs_duo_find_curve(hs_duo_work *w, const hs_emit *emit) {
    curve c = {.w = w, .opts = hs_duo_opts_of(w), .n_prompt = hs_prompts_count(w->session.prompts)};
    int64_t *ord = NULL;
    if (!w->n_share) return HS_OK;
    int rc = make_orders(&c);
    if (!rc) rc = make_sets(&c);
    if (!rc) rc = hs_alloc(&ord, (size_t)c.n_prompt, sizeof *ord);
    for (int64_t i = 0; i < c.n_prompt && !rc; i++) ord[i] = i;
    if (!rc) rc = hs_duo_curve(&c.opts, c.set, c.n_set, ord, c.n_prompt, on_loss, &c);
    if (!rc) rc = read_needles(&c);
    if (!rc && c.needle) rc = find_recalls(&c, ord);
    if (!rc) rc = emit_curve(&c, emit);
    for (int64_t i = 0; c.needle && i < c.n_prompt; i++) hs_needle_free(&c.needle[i]);
    void *const blocks[] = {ord, c.order, c.set, c.nll, c.recall, c.needle};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
    return rc;
}
