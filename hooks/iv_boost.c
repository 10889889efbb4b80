// boost: heads look more at a span of the prompt.
//
//     s'_j = s_j + alpha |s_j|    for keys j of the target
//
// before the softmax, so that scores of either sign rise; what the span gains, the other keys lose
// in proportion. The edit of PAI (one alpha on all tokens of the image) and of Arif et al., whose
// two sets of tokens are two edits. They edit the row that decodes: the prompt's last and those
// decoded after it. By default all rows after the span are edited, so that an answer that is part of
// the prompt meets the same edit as one that is being decoded.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/intervention.h"
#include "model/core/mem.h"

struct boost {
    double alpha;
    const char *rows; // "after", "last" or "all"
};

static int open_boost(void **state, const hs_edit_setup *setup, uint64_t *points,
                      hs_ref_need *need) {
    struct boost *b;
    (void)need;
    int rc = hs_alloc(&b, 1, sizeof *b);
    if (rc) return rc;
    *state = b;
    b->alpha = hs_args_num(setup->args, "alpha");
    b->rows = hs_args_text(setup->args, "rows");
    for (int l = 0; l < setup->dims->n_layer; l++)
        for (int h = 0; h < setup->dims->n_head; h++)
            if (hs_heads_has(setup->heads, l, h)) points[l] |= HS_BIT(HS_SCORES);
    return HS_OK;
}

static int64_t first_boosted(void *state, const hs_edit_at *at) {
    const struct boost *b = state;
    if (!strcmp(b->rows, "last")) return at->n_token - 1;
    return strcmp(b->rows, "after") ? 0 : hs_places_end(hs_edit_places(at, HS_EDIT_TARGET));
}

// Ranges of the target may overlap, so each key is asked.
static void boost_row(const struct boost *b, const hs_edit_at *at, float *row, int64_t n) {
    for (int64_t j = 0; j < n; j++) {
        const double s = (double)row[j];
        if (row[j] == -INFINITY || !hs_edit_in_place(at, HS_EDIT_TARGET, j)) continue;
        row[j] = (float)(s + b->alpha * fabs(s));
    }
}

static int boost_tile(void *state, const hs_edit_at *at, const hs_tile *tile) {
    const struct boost *b = state;
    for (int64_t r = 0; r < tile->n_row && b->alpha != 0; r++)
        if (hs_edit_row(at, tile->row0 + r))
            boost_row(b, at, tile->row + r * tile->ld, tile->row0 + r + 1);
    return HS_OK;
}

const hs_intervention hs_iv_boost = {
    .name = "boost",
    .title = "has heads look more at a span",
    .about =
        "The scores of keys of the span become s + alpha |s| at hook_attn_scores; a negative alpha "
        "takes attention away. rows=after edits all rows behind the span, rows=last, as the papers "
        "do, the prompt's last row and the decoded ones. PAI is one boost of the image; the method "
        "of Arif et al. two, boost:LOCAL,alpha=0.7,rows=last,heads=L2-29H* and "
        "boost:SUMMARY,alpha=0.3,rows=last,heads=L2-29H*, in all layers but the first two, with "
        "the "
        "sets of tokens found by the vision model and given as positions or --span.",
    .reference = "Liu et al., Paying More Attention to Image (PAI), ECCV 2024; Arif et al., Fixing "
                 "Imbalanced Attention to Mitigate In-Context Hallucination of Large "
                 "Vision-Language Models, 2025",
    .example = "boost:0:3,alpha=0.5",
    .target = HS_TARGET_PLACES,
    .params = (const hs_param[]){{"alpha", HS_PARAM_NUM, "0.7", -100, 100, NULL, "",
                                  "what a score gains, as a share of its size"},
                                 {"rows", HS_PARAM_ENUM, "after", 0, 0, "after|last|all", "",
                                  "rows that look: after the span, the prompt's last and decoded "
                                  "ones, or all"},
                                 {0}},
    .open = open_boost,
    .close = free,
    .tile = boost_tile,
    .first = first_boosted,
};
