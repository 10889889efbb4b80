// scale: what units write, times a number.
//
// The gate of Michel, Levy and Neubig's head importance: by=1 is the model as it is, by=0 a zero
// ablation, and by=1-e and by=1+e give the slope of any metric by differences. Negative numbers
// turn a head around.
#include <stdlib.h>

#include "hooks/intervention.h"
#include "model/core/mem.h"

struct scale {
    hs_unit_cells cells;
    float by;
};

static void close_scale(void *state) {
    struct scale *s = state;
    if (!s) return;
    hs_unit_cells_free(&s->cells);
    free(s);
}

static int open_scale(void **state, const hs_edit_setup *setup, uint64_t *points,
                      hs_ref_need *need) {
    struct scale *s;
    (void)need;
    int rc = hs_alloc(&s, 1, sizeof *s);
    if (rc) return rc;
    *state = s;
    s->by = (float)hs_args_num(setup->args, "by");
    rc = hs_unit_cells_of(&s->cells, setup->dims, setup->units);
    if (!rc) hs_unit_cells_points(&s->cells, points);
    return rc;
}

static int scale_rows(void *state, const hs_edit_at *at, const hs_site *site, const hs_view *view) {
    const struct scale *s = state;
    int64_t n_cell;
    const hs_unit_cell *cell = hs_unit_cells_at(&s->cells, site->point, site->layer, &n_cell);
    for (int64_t r = 0; r < site->n_row; r++) {
        if (!hs_edit_row(at, site->row0 + r)) continue;
        float *row = (float *)view->data + r * view->stride[0];
        for (int64_t i = 0; i < n_cell; i++)
            for (int64_t k = cell[i].from; k < cell[i].to; k++) row[k] *= s->by;
    }
    return HS_OK;
}

const hs_intervention hs_iv_scale = {
    .name = "scale",
    .title = "multiplies what heads, groups, MLPs, layers or neurons write",
    .about = "Heads and groups at hook_z, MLPs at hook_mlp_out, layers at hook_attn_out and "
             "hook_mlp_out, neurons at mlp.hook_post. by=1 changes nothing, by=0 is a zero "
             "ablation; a number meant twice (L5H1+L5G0) is multiplied once.",
    .reference = "Michel, Levy and Neubig, Are Sixteen Heads Really Better than One?, NeurIPS 2019",
    .example = "scale:L5H1,by=0.5",
    .target = HS_TARGET_UNITS,
    .units = (1u << HS_N_UNIT) - 1,
    .params = (const hs_param[]){{"by", HS_PARAM_NUM, "1", -1e6, 1e6, NULL, "",
                                  "what the output is multiplied by"},
                                 {0}},
    .open = open_scale,
    .close = close_scale,
    .rows = scale_rows,
};
