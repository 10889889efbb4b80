// embeds: given input embeddings in place of those of tokens, as of the image tokens of a
// vision-language model whose features were computed elsewhere.
//
// Rows START .. START + n - 1 of hook_embed become the rows of a .npy file [n, d_model]. What follows is
// as ever: learned positions are added to them, rotations turn their queries and keys.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/intervention.h"
#include "model/core/mem.h"
#include "model/core/npy.h"

struct embeds {
    hs_npy file;
    int64_t n, width;
};

static void close_embeds(void *state) {
    struct embeds *e = state;
    if (!e) return;
    hs_npy_free(&e->file);
    free(e);
}

// ---- opening ------------------------------------------------------------------------------------

static int check_rows(const struct embeds *e, const hs_dims *dims) {
    if (e->width != dims->d_model)
        return hs_fail(HS_EARG, "its rows are %lld wide, and embeddings of this model are %lld",
                       (long long)e->width, (long long)dims->d_model);
    for (int64_t i = 0; i < e->n * e->width; i++)
        if (!isfinite(e->file.data[i]))
            return hs_fail(HS_EARG, "number %lld of row %lld is not finite",
                           (long long)(i % e->width), (long long)(i / e->width));
    return HS_OK;
}

static int open_embeds(void **state, const hs_edit_setup *setup, uint64_t *points,
                       hs_ref_need *need) {
    const hs_dims *dims = setup->dims;
    const char *path = hs_args_text(setup->args, "file");
    struct embeds *e;
    (void)need;
    if (!*path) return hs_fail(HS_EARG, "say which embeddings: file=FILE.npy");
    if (memchr(setup->heads->on, 0, (size_t)dims->n_layer * (size_t)dims->n_head))
        return hs_fail(HS_EARG, "embeddings have no heads: leave out heads=");
    int rc = hs_alloc(&e, 1, sizeof *e);
    if (rc) return rc;
    *state = e;
    rc = hs_npy_open(&e->file, path);
    if (rc) return rc;
    const bool one = e->file.ndim == 1; // row
    e->n = one ? 1 : e->file.shape[0];
    e->width = e->file.shape[one ? 0 : 1];
    points[dims->n_layer] = HS_BIT(HS_EMBED);
    return hs_prefix(check_rows(e, dims), "file=%s", path);
}

// ---- rows ---------------------------------------------------------------------------------------

static hs_range target_of(const hs_edit_at *at) {
    return hs_edit_places(at, HS_EDIT_TARGET)->at[0];
}

static int64_t first_embedded(void *state, const hs_edit_at *at) {
    (void)state;
    return target_of(at).from;
}

static int check_embeds(void *state, const hs_edit_at *at) {
    const struct embeds *e = state;
    const hs_range to = target_of(at);
    if (hs_edit_places(at, HS_EDIT_TARGET)->n > 1)
        return hs_fail(HS_ERANGE, "embeddings go to positions in a row: name one range");
    if (to.to - to.from > 1 && to.to - to.from != e->n)
        return hs_fail(HS_ERANGE, "the file has %lld rows, and %lld positions are named",
                       (long long)e->n, (long long)(to.to - to.from));
    if (e->n > at->n_token - to.from)
        return hs_fail(HS_ERANGE,
                       "%lld embeddings from position %lld on, and the prompt has %lld positions",
                       (long long)e->n, (long long)to.from, (long long)at->n_token);
    for (int64_t i = 0; i < e->n; i++)
        if (hs_edit_row(at, to.from + i)) return HS_OK;
    return hs_fail(HS_ERANGE, "pos= leaves out all of positions %lld to %lld", (long long)to.from,
                   (long long)(to.from + e->n - 1));
}

static int embed_rows(void *state, const hs_edit_at *at, const hs_site *site, const hs_view *view) {
    const struct embeds *e = state;
    const int64_t from = target_of(at).from;
    for (int64_t r = 0; r < site->n_row; r++) {
        const int64_t i = site->row0 + r - from;
        if (i >= 0 && i < e->n && hs_edit_row(at, site->row0 + r))
            memcpy((float *)view->data + r * view->stride[0], e->file.data + i * e->width,
                   (size_t)e->width * sizeof(float));
    }
    return HS_OK;
}

const hs_intervention hs_iv_embeds = {
    .name = "embeds",
    .title = "puts given input embeddings in place of tokens'",
    .about = "Rows of hook_embed from a position on, BOS counted, become the rows of the file, "
             "which are as wide as the model; the tokens there only hold the place. A range or a "
             "span has as many positions as the file has rows. --embeds FILE.npy@START is the "
             "same, before all other edits. What comes first counts as part of the prompt: the "
             "unedited model that eval compares with has it, too.",
    .reference = "Liu et al., Visual Instruction Tuning, NeurIPS 2023 (image features as input "
                 "embeddings)",
    .example = "embeds:5,file=FILE.npy",
    .target = HS_TARGET_PLACES,
    .params = (const hs_param[]){{"file", HS_PARAM_TEXT, "", 0, 0, NULL, "",
                                  "a .npy file of f2, f4 or f8, [n, d_model]"},
                                 {0}},
    .open = open_embeds,
    .close = close_embeds,
    .rows = embed_rows,
    .input = true,
    .check = check_embeds,
    .first = first_embedded,
};
