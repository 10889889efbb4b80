// middle: documents are looked at for what they say, not for where they stand.
//
// "Found in the Middle" (Hsieh et al. 2024). A row behind the documents gives each position of
// document k, of N_k positions, the weight a_k in the mean. Part of that is due to the place, b_k:
// the same mean when documents say nothing. What is left, a_k - b_k, says how relevant the document
// is, and new means go by it:
//
//     softmax   a'_k = C exp((a_k - b_k) / t)     the paper; t may count in means of the row,
//                                                 t (sum_k N_k a_k) / (sum_k N_k)
//     shift     a'_k = C max(0, a_k - b_k + b)    b the mean of all b_k
//
//     A'_ij = A_ij ((1 - by) + by a'_k / a_k)     j in document k
//
// with C such that the documents keep what they have together. A document without weight stays
// without. b_k is given, or measured: the mean over the rows behind the documents, head by head, of
// a run of the prompt with dummies in the documents (hs_ref's look). The paper means attention over
// all heads before it corrects them; a row of one head is all that there is here. All in f64.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/intervention.h"
#include "model/core/mem.h"

enum { DOCS }; // places

struct middle {
    int n_head;
    double *bias; // [n_bias], of the documents in order; NULL: measured
    int n_bias;
    double t, by;
    bool shift, of_row; // t counts in means of the row
};

// ---- opening ------------------------------------------------------------------------------------

static int read_bias(struct middle *m, const char *text, hs_ref_need *need, const hs_args *args) {
    char *end = NULL;
    int rc = HS_OK;
    if (!strcmp(text, "auto")) {
        *need = (hs_ref_need){
            .from = HS_REF_DOCS, .place = DOCS, .token = hs_args_int(args, "dummy")};
        return HS_OK;
    }
    if (hs_args_given(args, "dummy"))
        return hs_fail(HS_EARG, "dummy= is for bias=auto, and here the bias is given");
    for (; !rc && text; text = !rc && *end ? end + 1 : NULL) {
        errno = 0;
        const double b = strtod(text, &end);
        if (end == text || errno || !isfinite(b) || (*end && *end != '+'))
            return hs_fail(HS_EARG, "bias=%s: numbers joined by + are needed, or auto", text);
        rc = hs_grow(&m->bias, (size_t)m->n_bias + 1, sizeof *m->bias);
        if (!rc) m->bias[m->n_bias++] = b;
    }
    return rc;
}

static int open_middle(void **state, const hs_edit_setup *setup, uint64_t *points,
                       hs_ref_need *need) {
    const hs_args *args = setup->args;
    struct middle *m;
    int rc = hs_alloc(&m, 1, sizeof *m);
    if (rc) return rc;
    *state = m;
    m->n_head = setup->dims->n_head;
    m->t = hs_args_num(args, "t");
    m->by = hs_args_num(args, "by");
    m->shift = !strcmp(hs_args_text(args, "rule"), "shift");
    m->of_row = !strcmp(hs_args_text(args, "t_of"), "row");
    if (!strcmp(hs_args_text(args, "docs"), "all"))
        return hs_fail(HS_EARG, "say which documents: docs=doc1+doc2+doc3");
    for (int64_t i = 0; i < setup->units->n; i++)
        points[setup->units->at[i].layer] |= HS_BIT(HS_PATTERN);
    return read_bias(m, hs_args_text(args, "bias"), need, args);
}

static void close_middle(void *state) {
    struct middle *m = state;
    if (!m) return;
    free(m->bias);
    free(m);
}

static int64_t first_middle(void *state, const hs_edit_at *at) {
    (void)state;
    return hs_places_end(hs_edit_places(at, DOCS));
}

static int check_middle(void *state, const hs_edit_at *at) {
    const struct middle *m = state;
    const hs_places *docs = hs_edit_places(at, DOCS);
    if (docs->n < 2) return hs_fail(HS_ERANGE, "two documents at least are needed");
    for (int a = 0; a < docs->n; a++)
        for (int b = 0; b < a; b++)
            if (docs->at[a].from < docs->at[b].to && docs->at[b].from < docs->at[a].to)
                return hs_fail(HS_ERANGE, "documents %d and %d overlap, at %lld:%lld and %lld:%lld",
                               b, a, (long long)docs->at[b].from, (long long)docs->at[b].to,
                               (long long)docs->at[a].from, (long long)docs->at[a].to);
    if (m->bias && m->n_bias != docs->n)
        return hs_fail(HS_ERANGE, "bias= has %d numbers for %d documents", m->n_bias, docs->n);
    return HS_OK;
}

// ---- rows ---------------------------------------------------------------------------------------

static int64_t length(const hs_range *doc) {
    return doc->to - doc->from;
}

// What each a_k is to be multiplied by, but for C; 0 for those without weight.
static void weigh(const struct middle *m, const hs_places *docs, const double *bias,
                  const double *a, double *w) {
    double weight = 0, n = 0, middle = 0, most = -INFINITY;
    for (int k = 0; k < docs->n; k++) {
        weight += a[k] * (double)length(&docs->at[k]);
        n += (double)length(&docs->at[k]);
        middle += bias[k] / docs->n;
    }
    const double t = m->of_row ? m->t * weight / n : m->t;
    for (int k = 0; k < docs->n; k++)
        if (a[k] > 0) most = fmax(most, (a[k] - bias[k]) / t);
    for (int k = 0; k < docs->n; k++) {
        const double to = m->shift ? fmax(0, a[k] - bias[k] + middle)
                                   : exp((a[k] - bias[k]) / t - most);
        w[k] = a[k] > 0 ? to / a[k] : 0;
    }
}

// a and w: scratch, a number a document.
static void middle_row(const struct middle *m, const hs_places *docs, const double *bias,
                       float *row, double *a, double *w) {
    double before = 0, after = 0;
    for (int k = 0; k < docs->n; k++) {
        a[k] = 0;
        for (int64_t j = docs->at[k].from; j < docs->at[k].to; j++) a[k] += (double)row[j];
        before += a[k];
        a[k] /= (double)length(&docs->at[k]);
    }
    if (!(before > 0)) return;
    weigh(m, docs, bias, a, w);
    for (int k = 0; k < docs->n; k++) after += w[k] * a[k] * (double)length(&docs->at[k]);
    if (!(after > 0) || !isfinite(after)) return;
    for (int k = 0; k < docs->n; k++) {
        const double factor = 1 - m->by + m->by * w[k] * before / after;
        for (int64_t j = docs->at[k].from; j < docs->at[k].to; j++)
            row[j] = (float)((double)row[j] * factor);
    }
}

static int middle_tile(void *state, const hs_edit_at *at, const hs_tile *tile) {
    const struct middle *m = state;
    const hs_places *docs = hs_edit_places(at, DOCS);
    const int64_t head = (int64_t)tile->layer * m->n_head + tile->head;
    float *scratch = NULL;
    int rc = m->by == 0 ? HS_OK : hs_edit_scratch(at, 4 * docs->n, &scratch);
    for (int64_t r = 0; r < tile->n_row && scratch && !rc; r++) {
        double *a = (double *)(void *)scratch;
        if (hs_edit_row(at, tile->row0 + r))
            middle_row(m, docs, m->bias ? m->bias : at->ref->look + head * docs->n,
                       tile->row + r * tile->ld, a, a + docs->n);
    }
    return rc;
}

const hs_intervention hs_iv_middle = {
    .name = "middle",
    .title = "takes the bias of their places from documents",
    .about =
        "Rows behind the documents share what they give to them anew: by how much each document "
        "is looked at beyond what its place has alone. That bias is given, a number a document, or "
        "measured on the same prompt with dummies in the documents: their own tokens scattered "
        "over all of them, or dummy=TOKEN. Tokens of a document keep their shares, documents keep "
        "what they have together. The paper edits all heads of the last 16 layers.",
    .reference =
        "Hsieh et al., Found in the Middle: Calibrating Positional Attention Bias Improves "
        "Long Context Utilization, ACL Findings 2024, arXiv 2406.16008",
    .example = "middle:L*,docs=0:2+2:4",
    .target = HS_TARGET_UNITS,
    .units = 1u << HS_UNIT_HEAD | 1u << HS_UNIT_GROUP,
    .params =
        (const hs_param[]){
            {"docs", HS_PARAM_TEXT, "all", 0, 0, NULL, "positions",
             "the documents, each a name or a range, joined by +; needed"},
            {"bias", HS_PARAM_TEXT, "auto", 0, 0, NULL, "",
             "mean weight of a position that the place of each document earns, joined by +; auto "
             "measures it"},
            {"dummy", HS_PARAM_INT, "-1", -1, 1e9, NULL, "token",
             "what stands in documents that say nothing; -1: their tokens, scattered"},
            {"rule", HS_PARAM_ENUM, "softmax", 0, 0, "softmax|shift", "",
             "softmax: by exp((a - b) / t), the paper; shift: by a - b, made positive"},
            {"t", HS_PARAM_NUM, "1", 1e-9, 1e9, NULL, "", "softmax: the temperature"},
            {"t_of", HS_PARAM_ENUM, "row", 0, 0, "row|weight", "",
             "softmax: t in the row's mean weight on documents, or in weight as it is"},
            {"by", HS_PARAM_NUM, "1", 0, 1, NULL, "", "how far: 0 is not at all, 1 all the way"},
            {0}},
    .places = (const hs_edit_place[]){[DOCS] = {"docs", false}, {0}},
    .only = (const hs_edit_only[]){{"t", "rule", "softmax"}, {"t_of", "rule", "softmax"}, {0}},
    .open = open_middle,
    .close = close_middle,
    .tile = middle_tile,
    .check = check_middle,
    .first = first_middle,
};
