// knock: heads lose edges of attention.
//
//     s_ij = -inf for rows i of from= and keys j of to=
//
// before the softmax, so that what is left of a row shares the weight anew. A row that loses all
// its keys attends to nothing: z = 0. Attention knockout of Geva et al. (2023), and the masking of
// circuits' edges between token spans.
#include <math.h>

#include "hooks/intervention.h"

enum { FROM, TO }; // places

static int open_knock(void **state, const hs_edit_setup *setup, uint64_t *points,
                      hs_ref_need *need) {
    (void)state, (void)need;
    for (int64_t i = 0; i < setup->units->n; i++)
        points[setup->units->at[i].layer] |= HS_BIT(HS_SCORES);
    return HS_OK;
}

// Some row of from= must see a key of to=.
static int check_knock(void *state, const hs_edit_at *at) {
    bool seen = false;
    (void)state;
    for (int64_t pos = 0; pos < at->n_token; pos++) {
        seen = seen || hs_edit_in_place(at, TO, pos);
        if (seen && hs_edit_row(at, pos)) return HS_OK;
    }
    return hs_fail(HS_ERANGE, "no position of from= sees one of to=, which all come later");
}

static int knock_tile(void *state, const hs_edit_at *at, const hs_tile *tile) {
    (void)state;
    for (int64_t r = 0; r < tile->n_row; r++) {
        const int64_t pos = tile->row0 + r;
        float *row = tile->row + r * tile->ld;
        if (!hs_edit_row(at, pos)) continue;
        for (int64_t k = 0; k <= pos; k++)
            if (hs_edit_in_place(at, TO, k)) row[k] = -INFINITY;
    }
    return HS_OK;
}

const hs_intervention hs_iv_knock = {
    .name = "knock",
    .title = "takes edges of attention from heads",
    .about = "The scores of rows from= on keys to= become -inf at hook_attn_scores, so that what "
             "is left of a row shares its weight anew. A row without any key left attends to "
             "nothing.",
    .reference = "Geva et al., Dissecting Recall of Factual Associations in Auto-Regressive "
                 "Language Models, EMNLP 2023",
    .example = "knock:L5H1,from=-1,to=0:4",
    .target = HS_TARGET_UNITS,
    .units = 1u << HS_UNIT_HEAD | 1u << HS_UNIT_GROUP,
    .params = (const hs_param[]){{"from", HS_PARAM_TEXT, "all", 0, 0, NULL, "positions",
                                  "rows that lose edges, those who look"},
                                 {"to", HS_PARAM_TEXT, "all", 0, 0, NULL, "positions",
                                  "keys that they lose"},
                                 {0}},
    .places = (const hs_edit_place[]){[FROM] = {"from", true}, [TO] = {"to", false}, {0}},
    .open = open_knock,
    .tile = knock_tile,
    .check = check_knock,
};
