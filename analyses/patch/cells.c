// What is patched: points, their units, and the edit of each cell.
#include <stdlib.h>

#include "analyses/experiments/patch.h"
#include "analyses/slope.h"
#include "model/core/mem.h"

enum hs_unit_kind hs_patch_kind(enum hs_point point) {
    switch (hs_point_infos[point].shape) {
    case HS_SHAPE_HEAD:
    case HS_SHAPE_MAP:
        return HS_UNIT_HEAD;
    case HS_SHAPE_KV:
        return HS_UNIT_GROUP;
    default:
        return HS_UNIT_LAYER;
    }
}

static bool is_patchable(const hs_model *model, enum hs_point point) {
    const hs_point_info *info = &hs_point_infos[point];
    return info->writable && info->scope == HS_SCOPE_LAYER &&
           hs_model_has_point(model, point, NULL);
}

static int check_point(const hs_model *model, enum hs_point point, bool estimate) {
    const hs_point_info *info = &hs_point_infos[point];
    const uint64_t slopes = hs_backward_points(model);
    const char *why = NULL;
    hs_buf names = {0};
    if (!hs_model_has_point(model, point, &why))
        return hs_fail(HS_EARG, "point %s: this model has none: %s", info->alias, why);
    if (is_patchable(model, point) && (!estimate || slopes & HS_BIT(point))) return HS_OK;
    for (int p = 0; p < HS_N_POINT; p++)
        if (is_patchable(model, (enum hs_point)p) && (!estimate || slopes & HS_BIT(p)))
            hs_buf_printf(&names, "%s%s", names.len ? ", " : "", hs_point_infos[p].alias);
    int rc = hs_fail(HS_EARG, "point %s %s: take one of %s", info->alias,
                     !is_patchable(model, point) ? "cannot be patched layer by layer"
                                                 : "has no gradient to estimate by",
                     hs_buf_text(&names));
    hs_buf_free(&names);
    return rc;
}

int hs_patch_check(const hs_patch_opts *o, enum hs_patch_by by) {
    int rc = check_point(o->model, o->point, by != HS_PATCH_EXACT);
    if (rc || by == HS_PATCH_EXACT) return rc;
    if (o->grad_drop && hs_model_config(o->model)->n_layer < 2)
        return hs_fail(HS_EARG, "GradDrop leaves out one layer after the other, and the model has "
                                "a single one");
    return hs_slope_check(o->effect);
}

int hs_patch_cells_of(hs_patch_cells *out, const hs_patch_opts *o) {
    int64_t n_place = o->n_place;
    *out = (hs_patch_cells){0};
    for (int64_t i = 0; !o->n_place && i < hs_prompts_count(o->prompts); i++)
        if (hs_prompts_at(o->prompts, i)->n_token > n_place)
            n_place = hs_prompts_at(o->prompts, i)->n_token;
    if (o->units->n * n_place > INT32_MAX)
        return hs_fail(HS_ERANGE, "%lld units at %lld places are too many to patch one by one",
                       (long long)o->units->n, (long long)n_place);
    int rc = hs_alloc(&out->at, (size_t)(o->units->n * n_place), sizeof *out->at);
    for (int64_t u = 0; u < o->units->n && !rc; u++)
        for (int64_t k = 0; k < n_place; k++) out->at[out->n++] = (hs_patch_cell){u, k};
    return rc;
}

void hs_patch_cells_free(hs_patch_cells *cells) {
    free(cells->at);
    *cells = (hs_patch_cells){0};
}

int hs_patch_place(hs_buf *out, const hs_patch_opts *o, int64_t place) {
    if (o->n_place)
        hs_buf_str(out, o->place[place]);
    else
        hs_buf_printf(out, "%lld", (long long)place);
    return hs_buf_rc(out);
}

int hs_patch_spec(hs_buf *out, const hs_patch_opts *o, const hs_patch_cell *cell) {
    const hs_unit *unit = &o->units->at[cell->unit];
    char name[HS_UNIT_NAME];
    hs_buf_str(out, "patch:");
    hs_point_name(out, o->point, unit->layer);
    if (unit->kind != HS_UNIT_LAYER) hs_buf_printf(out, ",heads=%s", hs_unit_name(name, unit));
    hs_buf_str(out, ",from=pair,pos=");
    int rc = hs_patch_place(out, o, cell->place);
    // Of single positions, those that the prompt has.
    if (!o->n_place) hs_buf_chr(out, '?');
    return rc ? rc : hs_buf_rc(out);
}
