// contrast: the logits against those of another version of the prompt, which goes on beside it with
// the same tokens (contrastive decoding).
//
//     without   (1 + alpha) l - alpha l'   l': the prompt without the span
//     outliers  the same, l': of the span only the k tokens that get most attention are left
//     shuffled  l + alpha l'               l': the span's tokens in another order
//
// Then tokens less plausible than a share beta of the likeliest, l < ln(beta) + max l, get -inf. PAI
// and classifier-free guidance write gamma l - (gamma - 1) l', which is alpha = gamma - 1.
//
// DAMRO finds its outliers by the attention of a vision encoder's class token; a text has none. Here
// it is the mean attention that the span's tokens receive from the prompt's rows after it, over the
// heads of one layer of the unedited model, by default the one before the last. RITUAL transforms an
// image; of a text the order of tokens is what can change while its words stay.
//
// Rows from the end of the span on are edited. The other branch is the model without edits. Costs one
// more run of the prompt, and one more row for each that is decoded.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/intervention.h"
#include "model/core/mem.h"

enum { BLOCK = 16 }; // rows of the other branch at a time

struct contrast {
    enum hs_version version;
    double alpha, beta;
    int64_t k, n_vocab;
};

static int read_layer(int64_t layer, int n_layer, int *out) {
    *out = (int)(layer < 0 ? layer + n_layer : layer);
    return layer >= -n_layer && layer < n_layer
               ? HS_OK
               : hs_fail(HS_ERANGE, "layer=%lld: layers are 0 to %d, -1 is the last",
                         (long long)layer, n_layer - 1);
}

static int open_contrast(void **state, const hs_edit_setup *setup, uint64_t *points,
                         hs_ref_need *need) {
    static const char *const words[] = {"without", "outliers", "shuffled"};
    const hs_dims *dims = setup->dims;
    struct contrast *c;
    if (memchr(setup->heads->on, 0, (size_t)dims->n_layer * (size_t)dims->n_head))
        return hs_fail(HS_EARG, "logits have no heads: leave out heads=");
    if (!strcmp(hs_args_text(setup->args, "span"), "all"))
        return hs_fail(HS_EARG, "say what the other version lacks: span=NAME or span=3:10");
    int rc = hs_alloc(&c, 1, sizeof *c);
    if (rc) return rc;
    *state = c;
    while (strcmp(words[c->version], setup->word)) c->version++;
    c->alpha = hs_args_num(setup->args, "alpha");
    c->beta = hs_args_num(setup->args, "beta");
    c->k = hs_args_int(setup->args, "k");
    c->n_vocab = dims->n_vocab;
    if (c->alpha != 0 || c->beta > 0) points[dims->n_layer] = HS_BIT(HS_LOGITS);
    *need = (hs_ref_need){.from = c->alpha != 0 ? HS_REF_BRANCH : HS_REF_NONE,
                          .points = points,
                          .place = 0,
                          .version = c->version,
                          .k = c->k,
                          .seed = (uint64_t)hs_args_int(setup->args, "seed")};
    return read_layer(hs_args_int(setup->args, "layer"), dims->n_layer, &need->layer);
}

static int64_t first_row(void *state, const hs_edit_at *at) {
    (void)state;
    return hs_places_end(hs_edit_places(at, 0));
}

static int check_span(void *state, const hs_edit_at *at) {
    const struct contrast *c = state;
    int64_t n = 0;
    for (int64_t i = 0; i < at->n_token; i++) n += hs_edit_in_place(at, 0, i);
    if (c->version == HS_VERSION_OUTLIERS && n <= c->k)
        return hs_fail(HS_ERANGE,
                       "k=%lld: the span has only %lld positions, so nothing is left out",
                       (long long)c->k, (long long)n);
    return c->version == HS_VERSION_SHUFFLED && n < 2
               ? hs_fail(HS_ERANGE, "one position has no other order")
               : HS_OK;
}

// ---- rows ---------------------------------------------------------------------------------------

// other: NULL when alpha is 0.
static void contrast_row(const struct contrast *c, float *l, const float *other) {
    const double own = c->version == HS_VERSION_SHUFFLED ? 1 : 1 + c->alpha;
    const double by = c->version == HS_VERSION_SHUFFLED ? c->alpha : -c->alpha;
    double most = -INFINITY;
    for (int64_t i = 0; i < c->n_vocab; i++) most = fmax(most, (double)l[i]);
    const double least = c->beta > 0 ? most + log(c->beta) : -INFINITY;
    for (int64_t i = 0; i < c->n_vocab; i++) {
        if ((double)l[i] < least)
            l[i] = -INFINITY;
        else if (other)
            l[i] = (float)(own * (double)l[i] + by * (double)other[i]);
    }
}

// How many rows from r on are edited, one after another; at most BLOCK.
static int64_t edited(const hs_edit_at *at, const hs_site *site, int64_t r) {
    int64_t n = 0;
    while (n < BLOCK && r + n < site->n_row && hs_edit_row(at, site->row0 + r + n)) n++;
    return n;
}

static int contrast_rows(void *state, const hs_edit_at *at, const hs_site *site,
                         const hs_view *view) {
    const struct contrast *c = state;
    float *other = NULL;
    int rc = HS_OK;
    for (int64_t r = 0, n; r < site->n_row && !rc; r += n ? n : 1) {
        n = edited(at, site, r);
        if (!n) continue;
        if (c->alpha != 0) rc = hs_edit_scratch(at, n * c->n_vocab, &other);
        if (!rc && other) rc = at->ref->rows(at->ref->ctx, HS_LOGITS, -1, site->row0 + r, n, other);
        for (int64_t i = 0; i < n && !rc; i++)
            contrast_row(c, (float *)view->data + (r + i) * view->stride[0],
                         other ? other + i * c->n_vocab : NULL);
    }
    return rc;
}

const hs_intervention hs_iv_contrast = {
    .name = "contrast",
    .title = "sets logits against those of the prompt without a span, or with it changed",
    .about =
        "Another version of the prompt goes on beside it with the same tokens; rows after the span "
        "get (1 + alpha) l - alpha l'. contrast:without leaves the span out (PAI's gamma is alpha "
        "+ "
        "1, 1.1 there), contrast:outliers all of it but the k tokens that the rows after it attend "
        "to most in a layer (DAMRO: alpha=2,k=10, or alpha=0.5,k=4); contrast:shuffled has its "
        "tokens in another order and adds, l + alpha l' (RITUAL: alpha=3). Tokens whose "
        "probability is below beta times the largest get -inf, so that the loss of a text with "
        "such a token is infinite: give beta=0 where losses are measured. alpha=0,beta=0 changes "
        "nothing.",
    .reference = "Leng et al., Visual Contrastive Decoding, CVPR 2024; Liu et al., Paying More "
                 "Attention to Image (PAI), ECCV 2024; Gong et al., DAMRO, EMNLP 2024; Woo et al., "
                 "RITUAL, 2024",
    .example = "contrast:without,span=0:3",
    .target = HS_TARGET_WORD,
    .choices = "without|outliers|shuffled",
    .params =
        (const hs_param[]){
            {"span", HS_PARAM_TEXT, "all", 0, 0, NULL, "positions",
             "what is left out or shuffled: positions or a span's name"},
            {"alpha", HS_PARAM_NUM, "1", -1e3, 1e3, NULL, "", "how strong the contrast is"},
            {"beta", HS_PARAM_NUM, "0.1", 0, 1, NULL, "",
             "tokens below this share of the largest probability are cut; 0: none"},
            {"k", HS_PARAM_INT, "10", 1, 1e9, NULL, "tokens", "outliers: how many are left"},
            {"layer", HS_PARAM_INT, "-2", -1e6, 1e6, NULL, "",
             "outliers: whose attention tells; negative ones count from the last"},
            {"seed", HS_PARAM_INT, "0", 0, 1e15, NULL, "", "shuffled: of the order"},
            {0}},
    .places = (const hs_edit_place[]){{"span", false}, {0}},
    .only = (const hs_edit_only[]){{"k", NULL, "outliers"},
                                   {"layer", NULL, "outliers"},
                                   {"seed", NULL, "shuffled"},
                                   {0}},
    .open = open_contrast,
    .close = free,
    .rows = contrast_rows,
    .check = check_span,
    .first = first_row,
};
