// ablate: units stop saying what they said.
//
//     zero      0
//     mean      the mean of the unit's output over a reference set
//     resample  its output on another prompt, position by position
//     uniform   a head that looks at all it sees alike: A_ij = 1 / (i + 1)
//     bos       a head that looks at position 0 only
//
// The first three replace outputs: columns of hook_z for heads and groups, hook_mlp_out for MLPs,
// hook_attn_out and hook_mlp_out for layers, columns of mlp.hook_post for neurons. The last two
// replace rows of the pattern and leave the values to the head. Uniform attention is what a head
// does whose queries are 0; it is the masking of Wu et al. (2024) and of AttentionInfluence.
#include <stdlib.h>
#include <string.h>

#include "hooks/intervention.h"
#include "model/core/mem.h"

enum mode { ZERO, MEAN, RESAMPLE, UNIFORM, BOS };
static const char *const modes[] = {"zero", "mean", "resample", "uniform", "bos"};
#define MODES "zero|mean|resample|uniform|bos"

struct ablate {
    enum mode mode;
    hs_unit_cells cells; // of the modes that replace outputs
};

static void close_ablate(void *state) {
    struct ablate *a = state;
    if (!a) return;
    hs_unit_cells_free(&a->cells);
    free(a);
}

// uniform and bos: patterns, which only heads have.
static int open_pattern(const struct ablate *a, const hs_edit_setup *setup, uint64_t *points) {
    for (int64_t i = 0; i < setup->units->n; i++) {
        const hs_unit *u = &setup->units->at[i];
        char name[HS_UNIT_NAME];
        if (u->kind != HS_UNIT_HEAD && u->kind != HS_UNIT_GROUP)
            return hs_fail(HS_EARG,
                           "mode=%s is about attention, and %s is no head: write heads "
                           "(L5H1, L5H*) or groups (L5G0)",
                           modes[a->mode], hs_unit_name(name, u));
        points[u->layer] |= HS_BIT(HS_PATTERN);
    }
    return HS_OK;
}

static void set_need(const struct ablate *a, const hs_edit_setup *setup, const uint64_t *points,
                     hs_ref_need *need) {
    need->points = points;
    if (a->mode == MEAN) {
        need->from = HS_REF_MEAN;
        need->name = hs_args_text(setup->args, "reference");
        need->by_position = !strcmp(hs_args_text(setup->args, "by"), "position");
    } else if (a->mode == RESAMPLE) {
        need->from = HS_REF_PROMPT;
        need->name = hs_args_text(setup->args, "from");
        need->seed = (uint64_t)hs_args_int(setup->args, "seed");
    }
}

static int open_ablate(void **state, const hs_edit_setup *setup, uint64_t *points,
                       hs_ref_need *need) {
    struct ablate *a;
    int rc = hs_alloc(&a, 1, sizeof *a);
    if (rc) return rc;
    *state = a;
    const char *mode = hs_args_text(setup->args, "mode");
    while (strcmp(modes[a->mode], mode)) a->mode++;
    if (a->mode == UNIFORM || a->mode == BOS) return open_pattern(a, setup, points);
    rc = hs_unit_cells_of(&a->cells, setup->dims, setup->units);
    if (!rc) hs_unit_cells_points(&a->cells, points);
    set_need(a, setup, points, need);
    return rc;
}

// What a row's output becomes, as a whole row; NULL for zeros. A source of fewer rows begins anew.
static int replacement(const struct ablate *a, const hs_edit_at *at, const hs_site *site,
                       int64_t pos, int64_t width, float **out) {
    *out = NULL;
    if (a->mode == ZERO) return HS_OK;
    if (at->ref->n_row < 1) return hs_fail(HS_ERANGE, "what it is to be replaced by has no rows");
    int rc = hs_edit_scratch(at, width, out);
    if (rc) return rc;
    const int64_t row = a->mode == RESAMPLE ? pos % at->ref->n_row : pos;
    return at->ref->rows(at->ref->ctx, site->point, site->layer, row, 1, *out);
}

// Decoded rows, and longer prompts than those that a mean by position was taken over.
static bool is_past_mean(const struct ablate *a, const hs_edit_at *at, int64_t pos) {
    return a->mode == MEAN && pos >= at->ref->n_row;
}

static int ablate_rows(void *state, const hs_edit_at *at, const hs_site *site,
                       const hs_view *view) {
    const struct ablate *a = state;
    int64_t n_cell;
    const hs_unit_cell *cell = hs_unit_cells_at(&a->cells, site->point, site->layer, &n_cell);
    for (int64_t r = 0; r < site->n_row; r++) {
        if (!hs_edit_row(at, site->row0 + r) || is_past_mean(a, at, site->row0 + r)) continue;
        float *row = (float *)view->data + r * view->stride[0], *from;
        int rc = replacement(a, at, site, site->row0 + r, view->stride[0], &from);
        if (rc) return rc;
        for (int64_t i = 0; i < n_cell; i++)
            for (int64_t k = cell[i].from; k < cell[i].to; k++) row[k] = from ? from[k] : 0;
    }
    return HS_OK;
}

static int ablate_tile(void *state, const hs_edit_at *at, const hs_tile *tile) {
    const struct ablate *a = state;
    for (int64_t r = 0; r < tile->n_row; r++) {
        const int64_t pos = tile->row0 + r;
        float *row = tile->row + r * tile->ld;
        if (!hs_edit_row(at, pos)) continue;
        for (int64_t k = 0; k <= pos; k++)
            row[k] = a->mode == UNIFORM ? (float)(1.0 / (double)(pos + 1)) : k == 0;
    }
    return HS_OK;
}

const hs_intervention hs_iv_ablate = {
    .name = "ablate",
    .title = "takes out what heads, groups, MLPs, layers or neurons write",
    .about = "mode=zero writes 0, mode=mean the mean over a reference set, mode=resample what the "
             "unit writes on another prompt: at hook_z for heads and groups, hook_mlp_out for "
             "MLPs, hook_attn_out and hook_mlp_out for layers, mlp.hook_post for neurons. "
             "mode=uniform has a head look at all it sees alike, mode=bos at position 0 only. "
             "resample takes row i from row i of the other prompt, which begins anew after its "
             "last row.",
    .reference = "Michel, Levy and Neubig, Are Sixteen Heads Really Better than One?, NeurIPS "
                 "2019; Wang et al., Interpretability in the Wild, ICLR 2023 (mean, resample); Wu "
                 "et al., Retrieval Head Mechanistically Explains Long-Context Factuality, ICLR "
                 "2025 (uniform)",
    .example = "ablate:L5H1,mode=mean",
    .target = HS_TARGET_UNITS,
    .units = (1u << HS_N_UNIT) - 1,
    .params =
        (const hs_param[]){
            {"mode", HS_PARAM_ENUM, "zero", 0, 0, MODES, "", "what takes its place"},
            {"reference", HS_PARAM_TEXT, "prompts", 0, 0, NULL, "",
             "mean: over prompts (those of the run), prompt (itself), a FILE of prompts or a data "
             "set, as in repeat:k=50+n=4"},
            {"by", HS_PARAM_ENUM, "all", 0, 0, "all|position", "",
             "mean: one over all positions, or one a position"},
            {"from", HS_PARAM_TEXT, "random", 0, 0, NULL, "",
             "resample: another prompt, by number or id, or random"},
            {"seed", HS_PARAM_INT, "0", 0, 9e15, NULL, "", "resample: of from=random"},
            {0}},
    .only = (const hs_edit_only[]){{"reference", "mode", "mean"},
                                   {"by", "mode", "mean"},
                                   {"from", "mode", "resample"},
                                   {"seed", "mode", "resample"},
                                   {0}},
    .open = open_ablate,
    .close = close_ablate,
    .rows = ablate_rows,
    .tile = ablate_tile,
};
