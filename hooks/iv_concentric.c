// concentric: causal attention over a grid from its border to its centre (Xing et al. 2024).
//
// A span holds the patches of an H x W grid, row by row. Patches of one ring, 0 at the border up to
// ceil(min(H, W) / 2) - 1 in the centre, share a position:
//
//     id = start + ring                 in the span
//     id = pos - H W + rings            behind it, decoded rows too
//
// so text is as far from the image as there are rings, not patches. By mask=yes patches see all
// patches of their own and of outer rings, later ones too, and none of inner rings: the span's rows
// see each other, and scores of keys in inner rings become -inf. With mask=no they see each other as
// they come in the text, and only the positions are concentric.
//
// The models of the paper are trained so; on others it shows what positions and masks are worth.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/intervention.h"
#include "model/core/mem.h"

struct concentric {
    int64_t height, width;
    bool mask;
};

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// The ring of patch i.
static int64_t ring_of(const struct concentric *c, int64_t i) {
    const int64_t row = i / c->width, col = i % c->width;
    return least(least(row, c->height - 1 - row), least(col, c->width - 1 - col));
}

static int64_t n_ring(const struct concentric *c) {
    return (least(c->height, c->width) + 1) / 2;
}

// ---- opening ------------------------------------------------------------------------------------

enum { MOST = 1 << 15 }; // rows, and columns

static bool read_side(const char **text, char end, int64_t *out) {
    char *rest;
    if (**text < '1' || **text > '9') return false;
    const long long v = strtoll(*text, &rest, 10);
    if (rest - *text > 5 || v > MOST || *rest != end) return false;
    *text = rest + (end != 0);
    *out = v;
    return true;
}

static int read_grid(struct concentric *c, const char *grid) {
    const char *at = grid;
    if (!*grid) return hs_fail(HS_EARG, "say how high and wide the grid is: grid=24x24");
    if (!read_side(&at, 'x', &c->height) || !read_side(&at, 0, &c->width))
        return hs_fail(HS_EARG, "grid=%s: it is written HxW, as in grid=24x24", grid);
    return HS_OK;
}

static int open_concentric(void **state, const hs_edit_setup *setup, uint64_t *points,
                           hs_ref_need *need) {
    const hs_dims *dims = setup->dims;
    struct concentric *c;
    (void)need;
    int rc = hs_alloc(&c, 1, sizeof *c);
    if (rc) return rc;
    *state = c;
    c->mask = !strcmp(hs_args_text(setup->args, "mask"), "yes");
    rc = read_grid(c, hs_args_text(setup->args, "grid"));
    if (rc) return rc;
    if (hs_args_given(setup->args, "pos") ||
        memchr(setup->heads->on, 0, (size_t)dims->n_layer * (size_t)dims->n_head))
        return hs_fail(HS_EARG, "positions are those of all rows and heads: leave out pos= and "
                                "heads=");
    points[dims->n_layer] = HS_BIT(HS_EMBED);
    for (int l = 0; l < dims->n_layer && c->mask; l++) points[l] = HS_BIT(HS_SCORES);
    return HS_OK;
}

static hs_range span_of(const hs_edit_at *at) {
    return hs_edit_places(at, HS_EDIT_TARGET)->at[0];
}

static int check_concentric(void *state, const hs_edit_at *at) {
    const struct concentric *c = state;
    const hs_range span = span_of(at);
    if (hs_edit_places(at, HS_EDIT_TARGET)->n > 1)
        return hs_fail(HS_ERANGE, "a grid is one span: name one range");
    if (span.to - span.from != c->height * c->width)
        return hs_fail(HS_ERANGE, "the span has %lld positions, and a grid of %lld x %lld has %lld",
                       (long long)(span.to - span.from), (long long)c->height, (long long)c->width,
                       (long long)(c->height * c->width));
    return HS_OK;
}

// ---- rows ---------------------------------------------------------------------------------------

static int place_rows(void *state, const hs_edit_at *at, int64_t row0, int64_t n, int32_t *id) {
    const struct concentric *c = state;
    const hs_range span = span_of(at);
    for (int64_t i = 0; i < n; i++) {
        const int64_t pos = row0 + i;
        if (pos >= span.to)
            id[i] -= (int32_t)(span.to - span.from - n_ring(c));
        else if (pos >= span.from)
            id[i] -= (int32_t)(pos - span.from - ring_of(c, pos - span.from));
    }
    return HS_OK;
}

static void see_each_other(void *state, const hs_edit_at *at, int64_t *from, int64_t *to) {
    const struct concentric *c = state;
    if (!c->mask) return;
    *from = span_of(at).from;
    *to = span_of(at).to;
}

static int mask_rings(void *state, const hs_edit_at *at, const hs_tile *tile) {
    const struct concentric *c = state;
    const hs_range span = span_of(at);
    for (int64_t r = 0; r < tile->n_row; r++) {
        const int64_t pos = tile->row0 + r, n = hs_tile_keys(tile, r);
        if (pos < span.from || pos >= span.to) continue;
        const int64_t ring = ring_of(c, pos - span.from);
        for (int64_t k = span.from; k < least(n, span.to); k++)
            if (ring_of(c, k - span.from) > ring) tile->row[r * tile->ld + k] = -INFINITY;
    }
    return HS_OK;
}

const hs_intervention hs_iv_concentric = {
    .name = "concentric",
    .title = "gives a grid of patches positions, and a mask, from its border inwards",
    .about = "The span holds a grid of H x W patches, row by row. Patches of a ring share one "
             "position, rings count from the border inwards, and what follows the span comes "
             "after the innermost ring: 12 positions instead of 576 for 24x24. mask=yes has "
             "patches see all of their own and of outer rings, later patches too, and none of "
             "inner rings. The paper trains models so; on others it shows what positions and "
             "masks are worth. Maps of rows that see later ones can be edited and stored by "
             "nobody else: use mask=no for that. The span is evaluated in one piece.",
    .reference = "Xing et al., Mitigating Object Hallucination via Concentric Causal Attention, "
                 "NeurIPS 2024",
    .example = "concentric:5:581,grid=24x24",
    .target = HS_TARGET_PLACES,
    .params = (const hs_param[]){{"grid", HS_PARAM_TEXT, "", 0, 0, NULL, "",
                                  "HxW: rows and columns of patches, as many as the span has "
                                  "positions"},
                                 {"mask", HS_PARAM_ENUM, "yes", 0, 0, "yes|no", "",
                                  "patches see their own and outer rings; no: those before them"},
                                 {0}},
    .open = open_concentric,
    .close = free,
    .tile = mask_rings,
    .positions = place_rows,
    .block = see_each_other,
    .check = check_concentric,
    .whole = true,
};
