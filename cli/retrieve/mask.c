// Masked needle tests; see retrieve.h.
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
    hs_retrieve_work *w;
    double *mean;   // [n_head] score over the passed tests
    int64_t *order; // [N_SET][n_head]: heads by score; then each draw's
    hs_buf spec[HS_RETRIEVE_MOST_K * N_SET];
    const char *text[HS_RETRIEVE_MOST_K * N_SET];
    int n;          // masks: N_SET for each k but 0
    double *recall; // [n][n_test]
} masking;

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

static int on_recall(void *ctx, int64_t ord, int mask, double recall) {
    const masking *m = ctx;
    m->recall[mask * m->w->n_test + ord] = recall;
    return HS_OK;
}

static int run_masks(masking *m) {
    const hs_retrieve_work *w = m->w;
    const hs_retrieve_opts o = hs_retrieve_opts_of(w);
    const hs_retrieve_masks masks = {.spec = m->text, .n = m->n, .whole = w->opt->mask_all};
    int64_t *ord = NULL;
    int rc = hs_alloc(&m->recall, (size_t)w->n_test, (size_t)m->n * sizeof *m->recall);
    if (!rc) rc = hs_alloc(&ord, (size_t)w->n_test, sizeof *ord);
    for (int64_t i = 0; i < w->n_test && !rc; i++) ord[i] = i;
    if (!rc) rc = hs_retrieve_masked(&o, &masks, ord, w->n_test, on_recall, m);
    free(ord);
    return rc;
}

// Of no heads there is one recall, that without masks.
static int emit_set(const masking *m, const hs_emit *emit, int64_t k, int set,
                    const double *recall) {
    int rc = HS_OK;
    for (int64_t i = 0; i < m->w->n_test && !rc; i++) {
        const hs_value row[] = {{.type = HS_VAL_INT, .i = k},
                                {.type = HS_VAL_TEXT, .s = set ? "random" : "top"},
                                {.type = HS_VAL_INT, .i = set ? set - 1 : 0},
                                {.type = HS_VAL_INT, .i = i},
                                {.type = HS_VAL_NUM, .f = recall[i]}};
        rc = emit->row(emit->ctx, "masked", row);
    }
    return rc;
}

static int emit_all(const masking *m, const hs_emit *emit) {
    const hs_retrieve_work *w = m->w;
    const double *recall = m->recall;
    int rc = HS_OK;
    for (int64_t i = 0; i < w->n_k; i++)
        for (int set = 0; set < N_SET && !rc; set++) {
            rc = emit_set(m, emit, w->k[i], set, w->k[i] ? recall : w->recall);
            if (w->k[i]) recall += w->n_test;
        }
    return rc;
}

int hs_retrieve_mask(hs_retrieve_work *w, const hs_emit *emit) {
    masking m = {.w = w};
    if (!w->n_k) return HS_OK;
    int rc = make_means(&m);
    if (!rc && !isnan(m.mean[0])) { // some test was passed
        rc = make_masks(&m);
        if (!rc) rc = run_masks(&m);
        if (!rc) rc = emit_all(&m, emit);
    }
    for (int i = 0; i < m.n; i++) hs_buf_free(&m.spec[i]);
    free(m.mean);
    free(m.order);
    free(m.recall);
    return rc;
}
