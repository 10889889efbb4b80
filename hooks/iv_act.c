// act: hidden sinks of a head shrink, and the row's other keys receive what is freed (ACT, Yu et al.
// 2024).
//
// A column's score is the mean of what it receives, a_j = sum_i A_ij / (N - j) over the prompt's N
// rows, of which N - j see it. Hidden sinks are the columns but the first whose score is beyond
// alpha / N (the paper) or thr (the released code, which drops the first column that it finds rather
// than column 0; the two differ where the first key is no sink). Then, in each row,
//
//     A'_is = beta A_is                                        s a hidden sink
//     A'_ij = A_ij (1 + b / sum of the others), b = (1 - beta) sum_s A_is      j another key
//
// so that a row keeps its sum, and key 0 gets its share, which is often the largest. Scores are of the
// pattern as the running pass makes it, edited in lower layers, which is what the survey is for. A
// decoded row can see no later one: it is its own mean, a_j = A_ij over i + 1 keys.
//
// beta is at most 1: beyond, the others would pay for the sinks, and a row that holds little else
// would go below 0. Cost: the scores of surveyed heads once more, and two looks at each row.
#include <stdlib.h>
#include <string.h>

#include "hooks/intervention.h"
#include "model/core/mem.h"

struct act {
    int64_t n_head, min_rows;
    bool relative; // rule=alphaN
    double alpha, thr, beta;
};

static int open_act(void **state, const hs_edit_setup *setup, uint64_t *points, hs_ref_need *need) {
    const hs_args *args = setup->args;
    struct act *a;
    (void)need;
    int rc = hs_alloc(&a, 1, sizeof *a);
    if (rc) return rc;
    *state = a;
    *a = (struct act){.n_head = setup->dims->n_head,
                      .min_rows = hs_args_int(args, "min_rows"),
                      .relative = !strcmp(hs_args_text(args, "rule"), "alphaN"),
                      .alpha = hs_args_num(args, "alpha"),
                      .thr = hs_args_num(args, "thr"),
                      .beta = hs_args_num(args, "beta")};
    for (int64_t i = 0; i < setup->units->n; i++)
        points[setup->units->at[i].layer] |= HS_BIT(HS_PATTERN) | HS_BIT(HS_RESID_PRE);
    return HS_OK;
}

static double limit_of(const struct act *a, int64_t n) {
    return a->relative ? a->alpha / (double)n : a->thr;
}

// ---- columns ------------------------------------------------------------------------------------

// Kept a head of the layer in work: a number a column, and how many rows were seen. It is a sum, and
// after the last row 1 for a hidden sink, else 0.
static int64_t width(const hs_edit_at *at) {
    return at->n_token + 1;
}

// What enters the layer says that it begins.
static int act_rows(void *state, const hs_edit_at *at, const hs_site *site, const hs_view *view) {
    const struct act *a = state;
    double *kept;
    (void)view;
    return site->row0 < at->n_token ? hs_edit_keep(at, a->n_head * width(at), &kept) : HS_OK;
}

static int columns_of(const struct act *a, const hs_edit_at *at, const hs_tile *tile, double rows,
                      double **out) {
    double *kept = hs_edit_kept(at, a->n_head * width(at));
    *out = kept ? kept + tile->head * width(at) : NULL;
    if (*out && tile->survey && tile->row0 == 0) memset(*out, 0, (size_t)width(at) * sizeof **out);
    return *out && (*out)[at->n_token] == rows
               ? HS_OK
               : hs_fail(HS_EUNSUPPORTED, "hidden sinks are found by all rows of the prompt: run "
                                          "it from its start, and at once");
}

static void find_sinks(const struct act *a, double *column, int64_t n) {
    const double limit = limit_of(a, n);
    column[0] = 0;
    for (int64_t j = 1; j < n; j++)
        column[j] = n - j >= a->min_rows && column[j] / (double)(n - j) > limit;
}

static int act_survey(void *state, const hs_edit_at *at, const hs_tile *tile) {
    const struct act *a = state;
    double *column;
    int rc = columns_of(a, at, tile, (double)tile->row0, &column);
    for (int64_t r = 0; r < tile->n_row && !rc; r++) {
        const float *row = tile->row + r * tile->ld;
        for (int64_t j = 0; j <= tile->row0 + r; j++) column[j] += (double)row[j];
    }
    if (rc) return rc;
    column[at->n_token] = (double)(tile->row0 + tile->n_row);
    if (tile->row0 + tile->n_row == at->n_token) find_sinks(a, column, at->n_token);
    return HS_OK;
}

// ---- rows ---------------------------------------------------------------------------------------

// Of a row of the prompt `column` tells; a decoded one has none.
static bool is_sink(const double *column, double limit, int64_t j, double weight) {
    return column ? column[j] != 0 : j > 0 && weight > limit;
}

static void act_row(const struct act *a, const double *column, float *row, int64_t n) {
    const double limit = limit_of(a, n);
    double sinks = 0, rest = 0;
    for (int64_t j = 0; j < n; j++) {
        const double weight = (double)row[j];
        const bool sink = is_sink(column, limit, j, weight);
        sinks += sink ? weight : 0;
        rest += sink ? 0 : weight;
    }
    const double freed = (1 - a->beta) * sinks;
    if (!(freed > 0) || !(rest > 0)) return;
    for (int64_t j = 0; j < n; j++) {
        const double weight = (double)row[j];
        row[j] = (float)(is_sink(column, limit, j, weight) ? a->beta * weight
                                                           : weight + freed * weight / rest);
    }
}

static int act_tile(void *state, const hs_edit_at *at, const hs_tile *tile) {
    const struct act *a = state;
    double *column = NULL;
    int rc = HS_OK;
    for (int64_t r = 0; r < tile->n_row && !rc; r++) {
        const int64_t pos = tile->row0 + r;
        const bool decoded = pos >= at->n_token;
        if (!hs_edit_row(at, pos)) continue;
        if (!decoded && !column) rc = columns_of(a, at, tile, (double)at->n_token, &column);
        if (!rc) act_row(a, decoded ? NULL : column, tile->row + r * tile->ld, pos + 1);
    }
    return rc;
}

const hs_intervention hs_iv_act = {
    .name = "act",
    .title = "shrinks hidden sinks of heads, for the others",
    .about =
        "Keys of the prompt but the first that receive on average more than alpha / N of a head's "
        "attention, N being the prompt's length, are hidden sinks of that head: their weights are "
        "multiplied by beta, and the row's other keys, the first among them, receive what is freed "
        "in proportion. rule=abs is that of the released code, a mean above thr. Late columns are "
        "means of few rows and pass by chance: min_rows=8 leaves the last seven out. The columns "
        "are those of the running pass. Decoded rows go by themselves: weights above alpha by the "
        "number of keys, or thr. pos= narrows which rows are edited, not which are counted. beta=1 "
        "changes nothing.",
    .reference = "Yu et al., Unveiling and Harnessing Hidden Attention Sinks: Enhancing Large "
                 "Language Models without Training through Attention Calibration (ACT), ICML 2024",
    .example = "act:L2-9H*,beta=0.4",
    .target = HS_TARGET_UNITS,
    .units = 1u << HS_UNIT_HEAD | 1u << HS_UNIT_GROUP,
    .params =
        (const hs_param[]){
            {"rule", HS_PARAM_ENUM, "alphaN", 0, 0, "alphaN|abs", "",
             "alphaN: a mean above alpha / N (the paper); abs: above thr (its code)"},
            {"alpha", HS_PARAM_NUM, "5", 0, 1e9, NULL, "",
             "alphaN: how many times the mean's share"},
            {"thr", HS_PARAM_NUM, "0.1", 0, 1, NULL, "", "abs: the threshold"},
            {"beta", HS_PARAM_NUM, "0.4", 0, 1, NULL, "",
             "what hidden sinks are multiplied by; above 1 rows could go below 0"},
            {"min_rows", HS_PARAM_INT, "1", 1, 1e9, NULL, "rows",
             "columns of the prompt that fewer rows see are left out"},
            {0}},
    .only = (const hs_edit_only[]){{"alpha", "rule", "alphaN"}, {"thr", "rule", "abs"}, {0}},
    .open = open_act,
    .close = free,
    .rows = act_rows,
    .tile = act_tile,
    .survey = act_survey,
    .looks = HS_BIT(HS_RESID_PRE),
    .whole = true,
};
