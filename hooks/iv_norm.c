// norm: what else could stand where the softmax stands.
//
// The rows of the pattern are made anew from the scores s_j of the n = i + 1 keys that row i sees:
//
//     softmax   the model's own: nothing changes
//     sigmoid   1 / (1 + exp(-(s_j + b))), rows do not sum to 1
//     softplus  LSSA: u_j / sum u, u_j = log(1 + exp(ln d_head ln n cos(q_i, k_j))); with p > 0
//               re-weighted, LSSAR: w_j / (sum w + 1e-8), w_j = max(0, n A_j - O)^p, O = 0 in the
//               first three rows and 1 after
//     relu      max(0, s_j) / sum of them, or / n
//     softmax1  exp(s_j) / (1 + sum exp(s)): a key of score 0 and value 0
//     sink      exp(s_j) / (exp(s) + sum exp(s)): a learned sink, a key of score s=
//     clipped   clip((zeta - gamma) A_j + gamma, 0, 1) of the pattern A
//     softpick  max(0, exp(s_j) - 1) / sum |exp(s) - 1|
//
// Formulas in f64. Keys that an edit has masked (-inf) weigh nothing and count in no sum. Scores are
// kept as a tile passes, after every edit of scores, and used when its pattern comes; cosines are
// scores divided by scale |q_i| |k_j|, whose norms are kept as rows of q and k pass: a float a
// position, layer and KV head.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/intervention.h"
#include "model/core/mem.h"

struct norm;
typedef void (*row_fn)(const struct norm *, const double *s, int64_t n, int64_t i, double *a);

struct norm {
    row_fn row; // NULL: the scores are not needed
    hs_dims dims;
    bool cosines;
    enum hs_point q, k; // where their norms are taken
    bool b_given, by_sum;
    double b, p, s, gamma, zeta;
};

// ---- rows: scores s[0 .. n) of row i to weights a ------------------------------------------------

static double sum_of(const double *x, int64_t n) {
    double sum = 0;
    for (int64_t j = 0; j < n; j++) sum += x[j];
    return sum;
}

// The larger of 0 and x; a NaN stays.
static double above_zero(double x) {
    return x <= 0 ? 0 : x;
}

static void divide(double *x, int64_t n, double by) {
    for (int64_t j = 0; j < n; j++) x[j] = by == 0 ? 0 : x[j] / by;
}

// Ramapuram et al. 2024, b = -ln n with the length n of training sequences.
static void sigmoid(const struct norm *m, const double *s, int64_t n, int64_t i, double *a) {
    (void)i;
    for (int64_t j = 0; j < n; j++) a[j] = 1 / (1 + exp(-(s[j] + m->b)));
}

// The powers are of shares of the largest, so that none overflows.
static void reweight(const struct norm *m, double *a, int64_t n, int64_t i) {
    double most = 0, sum = 0;
    for (int64_t j = 0; j < n; j++) {
        a[j] = above_zero(a[j] * (double)(i + 1) - (i < 3 ? 0 : 1));
        most = fmax(most, a[j]);
    }
    for (int64_t j = 0; j < n && most > 0; j++) sum += a[j] = pow(a[j] / most, m->p);
    divide(a, n, sum + 1e-8 * pow(most, -m->p));
}

// Length-scaled softplus attention, and its re-weighting. s are cosines here.
static void softplus(const struct norm *m, const double *s, int64_t n, int64_t i, double *a) {
    const double scale = log((double)m->dims.d_head) * log((double)(i + 1));
    for (int64_t j = 0; j < n; j++) {
        const double x = scale * s[j];
        a[j] = s[j] == -INFINITY ? 0 : fmax(x, 0) + log1p(exp(-fabs(x)));
    }
    divide(a, n, sum_of(a, n));
    if (m->p > 0) reweight(m, a, n, i);
}

static void relu(const struct norm *m, const double *s, int64_t n, int64_t i, double *a) {
    for (int64_t j = 0; j < n; j++) a[j] = above_zero(s[j]);
    divide(a, n, m->by_sum ? sum_of(a, n) : (double)(i + 1));
}

// Softmax with one key more, of score m->s and without a value: gpt-oss; with 0, softmax1.
static void sink(const struct norm *m, const double *s, int64_t n, int64_t i, double *a) {
    double most = m->s;
    (void)i;
    for (int64_t j = 0; j < n; j++) most = fmax(most, s[j]);
    for (int64_t j = 0; j < n; j++) a[j] = exp(s[j] - most);
    divide(a, n, sum_of(a, n) + exp(m->s - most));
}

// exp(x) - 1 as shares of the largest exponential, which is at least that of 0.
static void softpick(const struct norm *m, const double *s, int64_t n, int64_t i, double *a) {
    double most = 0, sum = 0;
    (void)m, (void)i;
    for (int64_t j = 0; j < n; j++) most = fmax(most, s[j]);
    for (int64_t j = 0; j < n; j++) {
        const double x = most < 1 ? expm1(s[j]) : exp(s[j] - most) - exp(-most);
        sum += s[j] == -INFINITY ? 0 : fabs(x);
        a[j] = above_zero(x);
    }
    divide(a, n, sum);
}

static const struct word {
    const char *name;
    row_fn row;
} words[] = {
    {"softmax", NULL},  {"sigmoid", sigmoid}, {"softplus", softplus}, {"relu", relu},
    {"softmax1", sink}, {"sink", sink},       {"clipped", NULL},      {"softpick", softpick},
};
#define WORDS "softmax|sigmoid|softplus|relu|softmax1|sink|clipped|softpick"

// ---- opening ------------------------------------------------------------------------------------

static int read_b(struct norm *m, const char *text) {
    char *end;
    if (!strcmp(text, "auto")) return HS_OK;
    errno = 0;
    m->b = strtod(text, &end);
    if (end == text || *end || errno || !isfinite(m->b))
        return hs_fail(HS_EARG, "b=%s: a number is needed, or auto", text);
    m->b_given = true;
    return HS_OK;
}

static bool is(const hs_edit_setup *setup, const char *word) {
    return !strcmp(setup->word, word);
}

static void set_points(const struct norm *m, const hs_edit_setup *setup, uint64_t *points) {
    const uint64_t norms = m->cosines ? HS_BIT(m->q) | HS_BIT(m->k) : 0;
    const uint64_t scores = m->row ? HS_BIT(HS_SCORES) : 0;
    for (int l = 0; l < m->dims.n_layer; l++)
        for (int h = 0; h < m->dims.n_head; h++)
            if (hs_heads_has(setup->heads, l, h)) points[l] |= HS_BIT(HS_PATTERN) | scores | norms;
}

static int open_norm(void **state, const hs_edit_setup *setup, uint64_t *points,
                     hs_ref_need *need) {
    struct norm *m;
    (void)need;
    int rc = hs_alloc(&m, 1, sizeof *m);
    if (rc) return rc;
    *state = m;
    const struct word *word = words;
    while (!is(setup, word->name)) word++;
    const bool rope = (setup->dims->points & HS_BIT(HS_ROT_Q)) != 0;
    *m = (struct norm){
        .row = word->row,
        .dims = *setup->dims,
        .cosines = is(setup, "softplus"),
        .q = rope ? HS_ROT_Q : HS_Q,
        .k = rope ? HS_ROT_K : HS_K,
        .by_sum = !strcmp(hs_args_text(setup->args, "by"), "sum"),
        .p = hs_args_num(setup->args, "p"),
        .s = hs_args_num(setup->args, "s"), // of softmax1 always 0
        .gamma = hs_args_num(setup->args, "gamma"),
        .zeta = hs_args_num(setup->args, "zeta"),
    };
    if (!is(setup, "softmax")) set_points(m, setup, points);
    return read_b(m, hs_args_text(setup->args, "b"));
}

// ---- norms of queries and keys ------------------------------------------------------------------

// Kept a position: norms of keys [n_layer][n_kv_head], then of the queries of the layer in work.
static int64_t kept_width(const struct norm *m) {
    return (int64_t)m->dims.n_layer * m->dims.n_kv_head + m->dims.n_head;
}

static float length(const float *v, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
    return (float)fmax(sqrt(sum), 1e-12); // 0 says that none is kept
}

static int norm_rows(void *state, const hs_edit_at *at, const hs_site *site, const hs_view *view) {
    const struct norm *m = state;
    const int64_t width = kept_width(m), d = m->dims.d_head, n_head = view->shape[1];
    const int64_t keys = (int64_t)m->dims.n_layer * m->dims.n_kv_head;
    const int64_t first = site->point == m->q ? keys : (int64_t)site->layer * n_head;
    double *kept;
    int rc = hs_edit_keep(at, (site->row0 + site->n_row) * width, &kept);
    if (rc) return rc;
    for (int64_t r = 0; r < site->n_row; r++)
        for (int64_t h = 0; h < n_head; h++)
            kept[(site->row0 + r) * width + first + h] = length(
                (const float *)view->data + r * view->stride[0] + h * view->stride[1], d);
    return HS_OK;
}

static double scale_of(const struct norm *m, int layer) {
    return m->dims.attn_scale / (m->dims.scale_by_layer ? layer + 1 : 1);
}

// Scores of row i become cosines.
static int to_cosines(const struct norm *m, const hs_edit_at *at, const hs_tile *tile, int64_t i,
                      double *s) {
    const int64_t width = kept_width(m), keys = (int64_t)m->dims.n_layer * m->dims.n_kv_head;
    const int64_t kv = tile->head / (m->dims.n_head / m->dims.n_kv_head);
    const int64_t at_k = (int64_t)tile->layer * m->dims.n_kv_head + kv;
    const double *kept = hs_edit_kept(at, (i + 1) * width);
    const double q = kept ? scale_of(m, tile->layer) * kept[i * width + keys + tile->head] : 0;
    for (int64_t j = 0; j <= i; j++) {
        const double k = kept ? kept[j * width + at_k] : 0;
        if (k == 0)
            return hs_fail(HS_EUNSUPPORTED,
                           "the key of position %lld was not seen: run the prompt from its start",
                           (long long)j);
        s[j] /= q * k;
    }
    return HS_OK;
}

// ---- tiles --------------------------------------------------------------------------------------

// Of a tile: its scores [n_row][n_key] in f32, then a row of scores and one of weights in f64.
static int scratch(const hs_edit_at *at, const hs_tile *tile, float **scores, double **row) {
    const int64_t n = tile->n_row * tile->n_key, even = n + n % 2;
    int rc = hs_edit_scratch(at, even + 4 * tile->n_key, scores);
    *row = rc ? NULL : (double *)(void *)(*scores + even);
    return rc;
}

static int keep_scores(const hs_edit_at *at, const hs_tile *tile) {
    float *scores;
    double *row;
    int rc = scratch(at, tile, &scores, &row);
    for (int64_t r = 0; r < tile->n_row && !rc; r++)
        memcpy(scores + r * tile->n_key, tile->row + r * tile->ld,
               (size_t)tile->n_key * sizeof *scores);
    return rc;
}

static void clip_row(const struct norm *m, float *a, int64_t n) {
    for (int64_t j = 0; j < n; j++)
        a[j] = (float)fmin(fmax((m->zeta - m->gamma) * (double)a[j] + m->gamma, 0), 1);
}

static int norm_tile(void *state, const hs_edit_at *at, const hs_tile *tile) {
    struct norm m = *(const struct norm *)state;
    float *scores = NULL;
    double *s = NULL;
    int rc = HS_OK;
    if (tile->point == HS_SCORES) return keep_scores(at, tile);
    if (!m.b_given) m.b = -log((double)at->n_token);
    if (m.row) rc = scratch(at, tile, &scores, &s);
    for (int64_t r = 0; r < tile->n_row && !rc; r++) {
        const int64_t pos = tile->row0 + r, n = pos + 1;
        float *row = tile->row + r * tile->ld;
        if (!hs_edit_row(at, pos)) continue;
        if (!m.row) {
            clip_row(&m, row, n);
            continue;
        }
        double *a = s + tile->n_key;
        for (int64_t j = 0; j < n; j++) s[j] = (double)scores[r * tile->n_key + j];
        if (m.cosines) rc = to_cosines(&m, at, tile, pos, s);
        if (!rc) m.row(&m, s, n, pos, a);
        for (int64_t j = 0; j < n && !rc; j++) row[j] = (float)a[j];
    }
    return rc;
}

const hs_intervention hs_iv_norm = {
    .name = "norm",
    .title = "puts another function where the softmax of attention stands",
    .about =
        "The pattern is made anew from the scores, as they are after every edit of scores. softmax "
        "changes nothing; sigmoid weighs each key by itself; softplus is LSSA, on cosines of "
        "queries and keys, with p= LSSAR; relu cuts off negative scores; softmax1 and sink have "
        "one key more, of score 0 or s=, without a value; clipped stretches the softmax and cuts "
        "it off at 0 and 1; softpick cuts off the exponential less 1. Rows need not sum to 1, and "
        "those without weight attend to nothing. A what-if: the model was trained with another.",
    .reference =
        "Ramapuram et al., Theory, Analysis, and Best Practices for Sigmoid Self-Attention, 2024; "
        "Scaling attention to long contexts with softplus, arXiv 2501.13428 (LSSA, LSSAR); "
        "Bondarenko et al., Quantizable Transformers, NeurIPS 2023 (clipped); Miller, Attention "
        "Is Off By One, 2023 (softmax1); gpt-oss (sink); Zuhri et al., Softpick, 2025",
    .example = "norm:sigmoid,heads=L5H1,b=-4",
    .target = HS_TARGET_WORD,
    .choices = WORDS,
    .params =
        (const hs_param[]){
            {"b", HS_PARAM_TEXT, "auto", 0, 0, NULL, "",
             "sigmoid: added to scores; auto is -ln of the prompt's length"},
            {"p", HS_PARAM_NUM, "0", 0, 1e3, NULL, "",
             "softplus: the power of LSSAR's re-weighting, 3 or 15; 0 is LSSA"},
            {"by", HS_PARAM_ENUM, "sum", 0, 0, "sum|n", "",
             "relu: what divides the row, its sum or the number of keys"},
            {"s", HS_PARAM_NUM, "0", -1e4, 1e4, NULL, "", "sink: the score of the sink"},
            {"gamma", HS_PARAM_NUM, "-0.025", -1e3, 0, NULL, "", "clipped: where 0 goes"},
            {"zeta", HS_PARAM_NUM, "1", 1, 1e3, NULL, "", "clipped: where 1 goes"},
            {0}},
    .only = (const hs_edit_only[]){{"b", NULL, "sigmoid"},
                                   {"p", NULL, "softplus"},
                                   {"by", NULL, "relu"},
                                   {"s", NULL, "sink"},
                                   {"gamma", NULL, "clipped"},
                                   {"zeta", NULL, "clipped"},
                                   {0}},
    .open = open_norm,
    .close = free,
    .rows = norm_rows,
    .tile = norm_tile,
    .looks = HS_BIT(HS_Q) | HS_BIT(HS_K) | HS_BIT(HS_ROT_Q) | HS_BIT(HS_ROT_K) | HS_BIT(HS_SCORES),
};
