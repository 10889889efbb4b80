// Needle tests and questions under masks, a prompt and a transaction each; see retrieve.h.
//
// Top heads are those of the highest mean score over the passed tests, equal ones by layer and head.
// Random ones are drawn by the seed from the heads outside the largest top set; each draw is one
// order of them, so that its sets grow as the top ones do.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/retrieve/retrieve.h"
#include "model/core/mem.h"
#include "model/core/prng.h"

enum { N_SET = 1 + HS_RETRIEVE_DRAWS }; // of a size: the top heads, and the draws

typedef struct masking {
    const hs_retrieve_work *w;
    hs_study *study;
    double *mean;   // [n_head] score over the passed tests
    int64_t *order; // [N_SET][n_head]: heads by score; then each draw's
    hs_buf spec[HS_RETRIEVE_MOST_K * N_SET];
    const char *text[HS_RETRIEVE_MOST_K * N_SET];
    int n; // masks: N_SET for each k but 0, or none at all where no test was passed
} masking;

// ---- masks --------------------------------------------------------------------------------------

static int make_means(masking *m) {
    const hs_retrieve_work *w = m->w;
    int rc = hs_alloc(&m->mean, (size_t)w->n_head, sizeof *m->mean);
    for (int64_t c = 0; c < w->n_head && !rc; c++) {
        int64_t n = 0;
        for (int64_t i = 0; i < w->n_test; i++) {
            const double score = w->score[i * w->n_head + c];
            if (isnan(score)) continue;
            m->mean[c] += score;
            n++;
        }
        m->mean[c] = n ? m->mean[c] / (double)n : (double)NAN;
    }
    return rc;
}

// Insertion: equal ones stay in the order of layers and heads.
static void rank_heads(const masking *m) {
    for (int64_t c = 0; c < m->w->n_head; c++) {
        int64_t k = c;
        for (; k > 0 && m->mean[m->order[k - 1]] < m->mean[c]; k--) m->order[k] = m->order[k - 1];
        m->order[k] = c;
    }
}

// Fisher and Yates over the heads after the first `top`.
static void draw_heads(const masking *m, int64_t top) {
    const int64_t n_head = m->w->n_head, n = n_head - top;
    hs_prng random = hs_prng_seed((uint64_t)m->w->opt->seed);
    for (int d = 1; d < N_SET; d++) {
        int64_t *order = m->order + d * n_head;
        memcpy(order, m->order + top, (size_t)n * sizeof *order);
        for (int64_t k = n; k > 1; k--) {
            const int64_t other = (int64_t)hs_prng_below(&random, (uint64_t)k);
            const int64_t last = order[k - 1];
            order[k - 1] = order[other];
            order[other] = last;
        }
    }
}

// The first k heads of an order, as --do takes them.
static int add_spec(masking *m, int set, int64_t k) {
    const int64_t *order = m->order + set * m->w->n_head;
    const int n_head = m->w->dims.n_head;
    hs_buf *spec = &m->spec[m->n];
    char name[24];
    hs_buf_str(spec, "ablate:");
    for (int64_t i = 0; i < k; i++)
        hs_buf_printf(spec, "%s%s", i ? "+" : "",
                      hs_head_name(name, order[i] / n_head, order[i] % n_head));
    hs_buf_str(spec, ",mode=uniform");
    m->text[m->n++] = hs_buf_text(spec);
    return hs_buf_rc(spec);
}

static int make_masks(masking *m) {
    const hs_retrieve_work *w = m->w;
    int rc = hs_alloc(&m->order, (size_t)w->n_head, N_SET * sizeof *m->order);
    if (rc) return rc;
    rank_heads(m);
    draw_heads(m, w->k[w->n_k - 1]);
    for (int64_t i = 0; i < w->n_k; i++)
        for (int set = 0; set < N_SET && w->k[i] && !rc; set++) rc = add_spec(m, set, w->k[i]);
    return rc;
}

// ---- results ------------------------------------------------------------------------------------

// Of no heads there is what was said without masks, which is the first of all.
static int emit_sets(const masking *m, const hs_emit *emit, const hs_retrieve_masked_result *r) {
    const hs_retrieve_work *w = m->w;
    const bool question = r->ord >= 2 * w->n_test;
    int mask = 1, rc = HS_OK;
    for (int64_t i = 0; i < w->n_k; i++)
        for (int set = 0; set < N_SET && !rc; set++) {
            const int at = w->k[i] ? mask++ : 0;
            const hs_value row[] = {
                {.type = HS_VAL_INT, .i = w->k[i]},
                {.type = HS_VAL_TEXT, .s = set ? "random" : "top"},
                {.type = HS_VAL_INT, .i = set ? set - 1 : 0},
                {.type = HS_VAL_TEXT, .s = question ? "question" : "needle"},
                {.type = HS_VAL_INT, .i = r->ord - w->n_test * (question ? 2 : 1)},
                {.type = HS_VAL_NUM, .f = r->recall[at]},
                {.type = HS_VAL_NUM, .f = r->f1[at]}};
            rc = emit->row(emit->ctx, "masked", row);
        }
    return rc;
}

static int on_result(void *ctx, const hs_retrieve_masked_result *r) {
    const masking *m = ctx;
    hs_emit emit;
    int rc = hs_study_begin(m->study, r->ord, &emit);
    if (!rc && r->ord >= 2 * m->w->n_test)
        rc = hs_retrieve_emit_said(m->w, &emit,
                                   &(hs_retrieve_said){.ord = r->ord,
                                                       .n_said = r->n_said,
                                                       .said = r->said,
                                                       .recall = r->recall[0],
                                                       .f1 = r->f1[0]});
    if (!rc && m->n) rc = emit_sets(m, &emit, r);
    return hs_study_end(m->study, rc);
}

// Without a passed test there are no top heads, and nothing is said of the tests.
static int skip_tests(const masking *m) {
    int rc = HS_OK;
    while (!rc && m->study->done < 2 * m->w->n_test) {
        hs_emit emit;
        rc = hs_study_end(m->study, hs_study_begin(m->study, m->study->done, &emit));
    }
    return rc;
}

static int run_masks(masking *m) {
    const hs_retrieve_work *w = m->w;
    const hs_retrieve_opts o = hs_retrieve_opts_of(w);
    const hs_retrieve_masks masks = {.spec = m->text, .n = m->n, .whole = w->opt->mask_all};
    int64_t *ord = NULL, n = 0;
    int rc = m->n ? HS_OK : skip_tests(m);
    if (!rc) rc = hs_study_left(m->study, &ord, &n);
    while (n && ord[n - 1] >= w->n_needle) n--; // the repeated tokens
    if (!rc && n) rc = hs_retrieve_masked(&o, &masks, ord, n, on_result, m);
    free(ord);
    return rc;
}

int hs_retrieve_mask(hs_retrieve_work *w, hs_study *study) {
    masking m = {.w = w, .study = study};
    if (!w->n_k || study->done >= w->n_needle) return HS_OK;
    int rc = make_means(&m);
    if (!rc && !isnan(m.mean[0])) rc = make_masks(&m); // some test was passed
    if (!rc) rc = run_masks(&m);
    for (int i = 0; i < m.n; i++) hs_buf_free(&m.spec[i]);
    free(m.mean);
    free(m.order);
    return rc;
}
