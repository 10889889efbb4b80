// The search on the calibration part; see calibrate.h. Nothing of it is claimed: it only chooses.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/calibrate/screen.h"
#include "cli/calibrate/calibrate.h"
#include "model/core/mem.h"

static int n_unit(const hs_calibrate_work *w) {
    return w->dims.n_layer * w->dims.n_head;
}

// Items ord[0 .. n) from `from` on.
static int make_ords(int64_t **ord, int64_t from, int64_t n) {
    int rc = hs_alloc(ord, (size_t)n, sizeof **ord);
    for (int64_t i = 0; i < n && !rc; i++) (*ord)[i] = from + i;
    return rc;
}

// ---- preparing ----------------------------------------------------------------------------------

static int prepare(hs_calibrate_work *w) {
    const hs_calibration *m = w->method.method;
    int64_t *ord = NULL;
    if (!m->prepare) return HS_OK;
    int rc = make_ords(&ord, 0, w->n_on);
    const hs_calibration_job job = {.model = w->session.model,
                                    .prompts = w->session.prompts,
                                    .ord = ord,
                                    .n = w->n_on,
                                    .args = &w->method.args,
                                    .progress = &w->session.bar.progress};
    if (!rc) rc = m->prepare(&job, w->group, &w->method.found);
    if (!rc) rc = hs_buf_rc(&w->method.found);
    for (int i = 0; i < n_unit(w) && !rc; i++)
        if (w->group[i] < 0) w->heads.on[i] = 0;
    free(ord);
    return rc;
}

// ---- screening by gradients ---------------------------------------------------------------------

// All strengths with all heads.
typedef struct variants {
    hs_buf text[HS_CALIBRATION_STRENGTHS];
    const char *spec[HS_CALIBRATION_STRENGTHS][HS_CALIBRATION_SPECS];
    hs_quiz_variant at[HS_CALIBRATION_STRENGTHS];
} variants;

static int open_variants(const hs_calibrate_work *w, variants *v) {
    int rc = HS_OK;
    for (int s = 0; s < w->method.n_strength && !rc; s++) {
        int n;
        rc = hs_calibrate_specs(&w->method, s, &w->heads, w->group, &v->text[s], &n);
        const char *spec = v->text[s].data;
        for (int i = 0; i < n && !rc; i++, spec += strlen(spec) + 1) v->spec[s][i] = spec;
        v->at[s] = (hs_quiz_variant){v->spec[s], n};
    }
    return rc;
}

typedef struct sums {
    double *at; // [n_strength][n_unit]
    int64_t n, n_item;
} sums;

static int add_estimate(void *ctx, int64_t ord, double base, const double *estimate) {
    sums *s = ctx;
    (void)ord;
    if (isnan(base)) return HS_OK;
    for (int64_t i = 0; i < s->n; i++) s->at[i] += estimate[i];
    s->n_item++;
    return HS_OK;
}

static int list_items(const hs_calibrate_work *w, const hs_quiz_item ***item) {
    int rc = hs_alloc(item, (size_t)w->n, sizeof **item);
    for (int64_t i = 0; i < w->n && !rc; i++) (*item)[i] = hs_quiz_at(w->quiz, i);
    return rc;
}

// Items that are screened: the first ones, of no more tokens than asked for with all continuations,
// two at least.
static int64_t screened(const hs_calibrate_work *w) {
    const bool choices = w->objective == HS_MEASURE_CHOICE_NLL;
    int64_t i = 0, tokens = 0;
    for (; i < w->n_on; i++) {
        const hs_quiz_item *item = hs_quiz_at(w->quiz, i);
        tokens += (choices ? item->n_choice : 1) * item->prompt->n_token;
        if (w->opt->screen_tokens && tokens > w->opt->screen_tokens && i >= 2) break;
    }
    return i;
}

static int screen(hs_calibrate_work *w, const int64_t *ord, double **out) {
    const hs_quiz_item **item = NULL;
    variants v = {0};
    sums s = {.n = (int64_t)w->method.n_strength * n_unit(w)};
    int rc = hs_alloc(&s.at, (size_t)s.n, sizeof *s.at);
    if (!rc) rc = list_items(w, &item);
    if (!rc) rc = open_variants(w, &v);
    const hs_screen_opts o = {.model = w->session.model,
                              .prompts = w->session.prompts,
                              .item = item,
                              .objective = w->objective,
                              .heads = &w->heads,
                              .spans = {w->spans.span, w->spans.n_span},
                              .progress = &w->session.bar.progress};
    if (!rc) rc = hs_screen(&o, v.at, w->method.n_strength, ord, screened(w), add_estimate, &s);
    for (int64_t i = 0; i < s.n && !rc; i++) s.at[i] /= (double)s.n_item;
    for (int i = 0; i < HS_CALIBRATION_STRENGTHS; i++) hs_buf_free(&v.text[i]);
    free(item);
    *out = s.at;
    return rc;
}

// ---- screening exactly --------------------------------------------------------------------------

// Every head alone at every strength, after the unedited model.
typedef struct alone {
    const hs_calibrate_work *w;
    hs_buf text;
    const char **spec;
    hs_quiz_variant *variant; // [1 + n]
    int64_t *unit;            // [n] strength * n_unit + head
    int n;
    sums sum;
} alone;

static int name_alone(alone *a) {
    const hs_calibrate_work *w = a->w;
    hs_heads one = {0};
    int rc = hs_heads_parse(&one, &w->dims, "none");
    for (int s = 0; s < w->method.n_strength; s++)
        for (int u = 0; u < n_unit(w) && !rc; u++) {
            int n;
            if (!w->heads.on[u]) continue;
            rc = hs_grow(&a->unit, (size_t)a->n + 1, sizeof *a->unit);
            one.on[u] = 1;
            if (!rc) rc = hs_calibrate_specs(&w->method, s, &one, w->group, &a->text, &n);
            one.on[u] = 0;
            if (!rc) a->unit[a->n++] = (int64_t)s * n_unit(w) + u;
        }
    hs_heads_free(&one);
    return rc;
}

static int open_alone(alone *a) {
    int rc = name_alone(a);
    const char *at = a->text.data;
    if (!rc) rc = hs_alloc(&a->spec, (size_t)a->n, sizeof *a->spec);
    if (!rc) rc = hs_alloc(&a->variant, (size_t)a->n + 1, sizeof *a->variant);
    for (int i = 0; i < a->n && !rc; i++, at += strlen(at) + 1) {
        a->spec[i] = at;
        a->variant[1 + i] = (hs_quiz_variant){&a->spec[i], 1};
    }
    return rc;
}

static int add_alone(void *ctx, int64_t ord, const double *value) {
    alone *a = ctx;
    const enum hs_measure m = a->w->objective;
    (void)ord;
    if (isnan(value[m])) return HS_OK;
    for (int i = 0; i < a->n; i++)
        a->sum.at[a->unit[i]] += value[(1 + i) * HS_N_MEASURE + m] - value[m];
    a->sum.n_item++;
    return HS_OK;
}

static int screen_exactly(hs_calibrate_work *w, const int64_t *ord, double **out) {
    alone a = {.w = w, .sum = {.n = (int64_t)w->method.n_strength * n_unit(w)}};
    int rc = hs_alloc(&a.sum.at, (size_t)a.sum.n, sizeof *a.sum.at);
    if (!rc) rc = open_alone(&a);
    if (!rc) rc = hs_quiz_run(w->quiz, a.variant, 1 + a.n, ord, w->n_on, add_alone, &a);
    for (int64_t i = 0; i < a.sum.n && !rc; i++) a.sum.at[i] /= (double)a.sum.n_item;
    hs_buf_free(&a.text);
    free(a.spec);
    free(a.variant);
    free(a.unit);
    *out = a.sum.at;
    return rc;
}

int hs_calibrate_find(hs_calibrate_work *w) {
    const bool choose = w->method.method->by == HS_CALIBRATE_HEADS;
    const bool exactly = w->opt->screen == HS_CALIBRATE_EXACT;
    int64_t *ord = NULL;
    int rc = prepare(w);
    if (!rc) rc = make_ords(&ord, 0, w->n_on);
    if (!rc && choose && !hs_heads_count(&w->heads))
        rc = hs_fail(HS_ERANGE, "no head is left to choose from: give others with --heads");
    if (!rc && choose)
        rc = exactly ? screen_exactly(w, ord, &w->exact) : screen(w, ord, &w->estimate);
    if (!rc)
        rc = hs_candidates_open(&w->candidates, &w->method, &w->dims, w->group,
                                exactly ? w->exact : w->estimate);
    const size_t n = (size_t)(w->n_on * (1 + w->candidates.n));
    if (!rc) rc = hs_alloc(&w->loss, n, sizeof *w->loss);
    for (size_t i = 0; i < n && !rc; i++) w->loss[i] = (double)NAN;
    free(ord);
    return rc;
}

// ---- the race -----------------------------------------------------------------------------------

// Candidates that run, after the unedited model.
typedef struct lap {
    hs_calibrate_work *w;
    int column[1 + HS_CALIBRATION_STRENGTHS * 8], n; // of the loss
    hs_calibrate_item_fn fn;
    void *ctx;
} lap;

static int on_item(void *ctx, int64_t ord, const double *value) {
    const lap *l = ctx;
    double *loss = l->w->loss + ord * (1 + l->w->candidates.n);
    for (int i = 0; i < l->n; i++) loss[l->column[i]] = value[i * HS_N_MEASURE + l->w->objective];
    return l->fn(l->ctx, ord);
}

static int run_lap(lap *l, int64_t from, int64_t to) {
    hs_calibrate_work *w = l->w;
    const int n = w->candidates.n;
    hs_quiz_variant *variant = NULL;
    int64_t *ord = NULL;
    bool *alive = NULL;
    int rc = hs_alloc(&alive, (size_t)n, sizeof *alive);
    if (!rc) rc = hs_alloc(&variant, (size_t)n + 1, sizeof *variant);
    if (!rc) rc = make_ords(&ord, from, to - from);
    if (!rc) hs_candidates_alive(n, w->loss, w->n_on, from, alive);
    l->n = 1;
    for (int c = 0; c < n && !rc; c++) {
        const hs_candidate *at = &w->candidates.at[c];
        if (!alive[c]) continue;
        variant[l->n] = (hs_quiz_variant){at->spec, at->n_spec};
        l->column[l->n++] = 1 + c;
    }
    if (!rc) rc = hs_quiz_run(w->quiz, variant, l->n, ord, to - from, on_item, l);
    free(alive);
    free(variant);
    free(ord);
    return rc;
}

int hs_calibrate_race(hs_calibrate_work *w, int64_t done, hs_calibrate_item_fn fn, void *ctx) {
    lap l = {.w = w, .fn = fn, .ctx = ctx};
    int rc = HS_OK;
    while (done < w->n_on && !rc) {
        const int64_t to = hs_candidates_cut(w->n_on, done);
        rc = run_lap(&l, done, to);
        done = to;
    }
    return rc;
}

// ---- what is chosen -----------------------------------------------------------------------------

void hs_calibrate_join(hs_buf *out, const char *const *spec, int n) {
    for (int i = 0; i < n; i++) hs_buf_printf(out, "%s%s", i ? " --do " : "", spec[i]);
}

int hs_calibrate_chosen(hs_calibrate_work *w, int64_t candidate, const char *specs) {
    int rc = HS_OK;
    w->chosen = candidate;
    for (const char *at = specs; *at && !rc;) {
        const char *end = strstr(at, " --do ");
        hs_buf_add(&w->chosen_text, at, end ? (size_t)(end - at) : strlen(at));
        hs_buf_chr(&w->chosen_text, 0);
        w->n_chosen_spec++;
        at = end ? end + strlen(" --do ") : "";
    }
    rc = hs_buf_rc(&w->chosen_text);
    if (!rc) rc = hs_alloc(&w->chosen_spec, (size_t)w->n_chosen_spec, sizeof *w->chosen_spec);
    const char *at = w->chosen_text.data;
    for (int i = 0; i < w->n_chosen_spec && !rc; i++, at += strlen(at) + 1) w->chosen_spec[i] = at;
    return rc;
}

int hs_calibrate_choose(hs_calibrate_work *w) {
    const int best = hs_candidates_best(w->candidates.n, w->loss, w->n_on);
    hs_buf specs = {0};
    if (best < 0) return HS_OK;
    hs_calibrate_join(&specs, w->candidates.at[best].spec, w->candidates.at[best].n_spec);
    int rc = hs_buf_rc(&specs);
    if (!rc) rc = hs_calibrate_chosen(w, 1 + best, specs.data);
    hs_buf_free(&specs);
    return rc;
}
