// temper: a head's scores, made flatter or sharper before the softmax.
//
// Row i becomes s (1 + c ln(i + 1)) / t: t > 1 flattens, t < 1 sharpens, and c is the growth of the
// inverse temperature with the context of Selective Self-Attention, whose layers learn
// c = exp(-exp(beta)), 0.0113 where training begins (beta = 1.5). What is masked stays masked.
#include <math.h>
#include <stdlib.h>

#include "hooks/intervention.h"
#include "model/core/mem.h"

struct temper {
    double t, log;
};

static int open_temper(void **state, const hs_edit_setup *setup, uint64_t *points,
                       hs_ref_need *need) {
    struct temper *p;
    (void)need;
    int rc = hs_alloc(&p, 1, sizeof *p);
    if (rc) return rc;
    *state = p;
    p->t = hs_args_num(setup->args, "t");
    p->log = hs_args_num(setup->args, "log");
    for (int64_t i = 0; i < setup->units->n; i++)
        points[setup->units->at[i].layer] |= HS_BIT(HS_SCORES);
    return HS_OK;
}

static int temper_tile(void *state, const hs_edit_at *at, const hs_tile *tile) {
    const struct temper *p = state;
    for (int64_t r = 0; r < tile->n_row; r++) {
        const int64_t pos = tile->row0 + r;
        const double factor = (1 + p->log * log((double)pos + 1)) / p->t;
        float *row = tile->row + r * tile->ld;
        if (factor == 1 || !hs_edit_row(at, pos)) continue;
        for (int64_t k = 0; k <= pos; k++)
            if (row[k] != -INFINITY) row[k] = (float)((double)row[k] * factor);
    }
    return HS_OK;
}

const hs_intervention hs_iv_temper = {
    .name = "temper",
    .title = "flattens or sharpens what heads look at: a temperature of the scores",
    .about = "Row i of the scores becomes s (1 + log ln(i + 1)) / t before the softmax. t above 1 "
             "flattens, t below 1 sharpens, t=1 with log=0 changes nothing. log above 0 sharpens "
             "later rows more, as models do that learn to.",
    .reference = "Zhang et al., Selective Attention: Enhancing Transformer through Principled "
                 "Context Control, NeurIPS 2024 (log)",
    .example = "temper:L5H*,t=1.5",
    .target = HS_TARGET_UNITS,
    .units = 1u << HS_UNIT_HEAD | 1u << HS_UNIT_GROUP,
    .params = (const hs_param[]){{"t", HS_PARAM_NUM, "1", 1e-3, 1e6, NULL, "", "the temperature"},
                                 {"log", HS_PARAM_NUM, "0", -1, 1e3, NULL, "",
                                  "growth of the inverse temperature with ln(row + 1)"},
                                 {0}},
    .open = open_temper,
    .close = free,
    .tile = temper_tile,
};
