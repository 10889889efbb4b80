// vhr: heads that a span of the prompt moves are made louder (vision-aware head reinforcement).
//
// A head's divergence is how far its output at the prompt's last row moves when the span is left
// out and what follows moves up:
//
//     VHD_h = || z_h - z'_h ||    TA_h = || z'_h ||^2    z': without the span
//
// In each layer, among the heads of the target: a head whose VHD and TA both lie more than one
// standard deviation above their means is an outlier, its VHD counts as 0; the heads above the
// median are chosen, and their z is multiplied by alpha. Both runs are unedited ones: the paper
// chooses a layer's heads while the layers before it are reinforced already, here each layer is
// chosen in the model as it is. The choice belongs to the prompt, so decoded rows have it too.
// O(n_head d_head) a layer on top of the two runs of the prompt.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/intervention.h"
#include "model/core/mem.h"

struct vhr {
    float alpha;
    bool drop, last; // outliers; rows before the last are left alone
    int64_t keep;    // heads of a layer; 0: those above the median
};

static int read_keep(struct vhr *v, const hs_edit_setup *setup) {
    const char *text = hs_args_text(setup->args, "keep");
    const size_t n = strlen(text);
    int most = 0;
    if (strcmp(text, "half")) {
        v->keep = n && n < 10 && strspn(text, "0123456789") == n ? atoi(text) : 0;
        return v->keep ? HS_OK
                       : hs_fail(HS_EARG, "keep=%s: write half, or a number from 1 on", text);
    }
    for (int l = 0; l < setup->dims->n_layer; l++) {
        int on = 0;
        for (int h = 0; h < setup->dims->n_head; h++) on += hs_heads_has(setup->heads, l, h);
        if (on > most) most = on;
    }
    return most > 1 ? HS_OK
                    : hs_fail(HS_EARG, "heads are compared with the others of their layer: name "
                                       "more than one of a layer, or give keep=1");
}

static int open_vhr(void **state, const hs_edit_setup *setup, uint64_t *points, hs_ref_need *need) {
    struct vhr *v;
    if (!strcmp(hs_args_text(setup->args, "span"), "all"))
        return hs_fail(HS_EARG, "say what the prompt is compared without: span=NAME or span=3:10");
    int rc = hs_alloc(&v, 1, sizeof *v);
    if (rc) return rc;
    *state = v;
    v->alpha = (float)hs_args_num(setup->args, "alpha");
    v->drop = !strcmp(hs_args_text(setup->args, "outliers"), "drop");
    v->last = !strcmp(hs_args_text(setup->args, "rows"), "last");
    for (int64_t i = 0; i < setup->units->n; i++) points[setup->units->at[i].layer] |= HS_BIT(HS_Z);
    *need = (hs_ref_need){.from = HS_REF_WITHOUT, .points = points, .place = 0, .last = true};
    return read_keep(v, setup);
}

static int64_t first_row(void *state, const hs_edit_at *at) {
    const struct vhr *v = state;
    return v->last ? at->n_token - 1 : 0;
}

// ---- the choice ---------------------------------------------------------------------------------

// Numbers of the target's heads in a layer.
struct heads {
    int64_t n;
    double *vhd, *ta, *sorted; // [n_head], n of them in use
    int64_t *head;             // [n_head]
};

static int measure(const hs_edit_at *at, int layer, int64_t n_head, int64_t d, struct heads *h) {
    const int64_t width = n_head * d, row = at->n_token - 1;
    const hs_ref *with = at->ref, *without = with->other;
    float *z;
    int rc = hs_edit_scratch(at, 2 * width, &z);
    if (!rc) rc = with->rows(with->ctx, HS_Z, layer, row, 1, z);
    if (!rc) rc = without->rows(without->ctx, HS_Z, layer, row, 1, z + width);
    for (int64_t i = 0; i < n_head && !rc; i++) {
        double vhd = 0, ta = 0;
        if (!hs_edit_head(at, layer, (int)i)) continue;
        for (int64_t k = i * d; k < (i + 1) * d; k++) {
            const double move = (double)z[k] - (double)z[width + k];
            vhd += move * move;
            ta += (double)z[width + k] * (double)z[width + k];
        }
        h->vhd[h->n] = sqrt(vhd);
        h->ta[h->n] = ta;
        h->head[h->n++] = i;
    }
    return rc;
}

// One standard deviation, of these numbers and no others, above the mean.
static double outlying(const double *x, int64_t n) {
    double mean = 0, square = 0;
    for (int64_t i = 0; i < n; i++) mean += x[i] / (double)n;
    for (int64_t i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean) / (double)n;
    return mean + sqrt(square);
}

static void drop_outliers(struct heads *h) {
    const double vhd = outlying(h->vhd, h->n), ta = outlying(h->ta, h->n);
    for (int64_t i = 0; i < h->n; i++)
        if (h->vhd[i] > vhd && h->ta[i] > ta) h->vhd[i] = 0;
}

static int descending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

// Leaves the chosen ones of h.
static void choose(const struct vhr *v, struct heads *h) {
    int64_t n = 0, places;
    memcpy(h->sorted, h->vhd, (size_t)h->n * sizeof *h->vhd);
    qsort(h->sorted, (size_t)h->n, sizeof *h->sorted, descending);
    const double median = (h->sorted[(h->n - 1) / 2] + h->sorted[h->n / 2]) / 2;
    const double least = v->keep && v->keep <= h->n ? h->sorted[v->keep - 1] : 0;
    places = v->keep; // for heads as good as the last that is kept
    for (int64_t i = 0; i < h->n; i++) places -= h->vhd[i] > least;
    for (int64_t i = 0; i < h->n; i++) {
        const double x = h->vhd[i];
        const bool kept = x > least || (x == least && places-- > 0);
        if (v->keep ? x > 0 && kept : x > median) h->head[n++] = h->head[i];
    }
    h->n = n;
}

static int vhr_rows(void *state, const hs_edit_at *at, const hs_site *site, const hs_view *view) {
    const struct vhr *v = state;
    const int64_t n_head = view->shape[1], d = view->shape[2];
    struct heads h = {0};
    double *numbers;
    if (v->alpha == 1) return HS_OK;
    int rc = hs_alloc(&numbers, 3 * (size_t)n_head, sizeof *numbers);
    if (!rc) rc = hs_alloc(&h.head, (size_t)n_head, sizeof *h.head);
    if (!rc) {
        h.vhd = numbers;
        h.ta = numbers + n_head;
        h.sorted = numbers + 2 * n_head;
        rc = measure(at, site->layer, n_head, d, &h);
    }
    if (!rc && v->drop) drop_outliers(&h);
    if (!rc) choose(v, &h);
    for (int64_t r = 0; r < site->n_row && !rc; r++) {
        float *row = (float *)view->data + r * view->stride[0];
        if (!hs_edit_row(at, site->row0 + r)) continue;
        for (int64_t i = 0; i < h.n; i++)
            for (int64_t k = 0; k < d; k++) row[h.head[i] * d + k] *= v->alpha;
    }
    free(h.head);
    free(numbers);
    return rc;
}

const hs_intervention hs_iv_vhr = {
    .name = "vhr",
    .title = "makes those heads louder whose output a span of the prompt moves most",
    .about =
        "The prompt runs unedited, with and without the span. In each layer the heads whose z at "
        "the prompt's last row differs most between the two, those above the median of the layer's "
        "heads of the target, get z times alpha at hook_z; a head that differs much and is also "
        "far louder than the others without the span is no candidate. alpha=1 changes nothing. "
        "The paper edits the second layer and the last 14 of 32, and lets the choice in a layer "
        "see the layers before it reinforced; here all are chosen in the unedited model. Which "
        "rows of the prompt it edits it does not say: rows= has both readings.",
    .reference = "He et al., Cracking the Code of Hallucination in LVLMs with Vision-aware Head "
                 "Divergence, ACL 2025",
    .example = "vhr:L1H*,span=0:3",
    .target = HS_TARGET_UNITS,
    .units = 1u << HS_UNIT_HEAD | 1u << HS_UNIT_GROUP,
    .params =
        (const hs_param[]){
            {"span", HS_PARAM_TEXT, "all", 0, 0, NULL, "positions",
             "what is left out: positions or a span's name"},
            {"alpha", HS_PARAM_NUM, "2", -1e6, 1e6, NULL, "", "what z is multiplied by"},
            {"keep", HS_PARAM_TEXT, "half", 0, 0, NULL, "heads",
             "half: the heads above the median of their layer; or how many of a layer"},
            {"outliers", HS_PARAM_ENUM, "drop", 0, 0, "drop|keep", "",
             "drop: heads that are outliers in both measures are not chosen"},
            {"rows", HS_PARAM_ENUM, "all", 0, 0, "all|last", "",
             "all rows, or the prompt's last one and the decoded ones"},
            {0}},
    .places = (const hs_edit_place[]){{"span", false}, {0}},
    .open = open_vhr,
    .close = free,
    .rows = vhr_rows,
    .first = first_row,
};
