// The weights' circuits as the database and the help know them, and what is emitted of them; the
// arithmetic is in analyses/weights/.
#include "analyses/experiments/weights.h"

#include <math.h>
#include <stdlib.h>

#include "analyses/weights/weights_internal.h"
#include "model/core/mem.h"
#include "model/core/utf8.h"

static const hs_metric metrics[] = {
    {"ov_copying", "",
     "sum of the real parts of the eigenvalues of W_E W_V W_O W_U over the sum of their sizes, -1 "
     "to 1: 1, attended tokens raise their own logits",
     HS_DIVERGING},
    {"qk_matching", "",
     "the same of W_E W_Q W_K^T W_E^T, without rotation: 1, tokens attend to tokens like "
     "themselves",
     HS_DIVERGING},
    {"copy_score", "", "share of the tokens that are among the 5 which attending to them favours",
     HS_SEQUENTIAL},
    {"copy_score_negative", "", "the same when what the head writes is turned round",
     HS_SEQUENTIAL},
    {"ov_norm", "", "Frobenius norm of W_V W_O", HS_SEQUENTIAL},
    {"ov_spectral", "", "largest singular value of W_V W_O", HS_SEQUENTIAL},
    {"ov_nuclear", "", "sum of the singular values of W_V W_O", HS_SEQUENTIAL},
    {"ov_rank", "", "effective rank of W_V W_O: exp of the entropy of its singular values' shares",
     HS_SEQUENTIAL},
    {"qk_norm", "", "Frobenius norm of W_Q W_K^T, before scores are scaled", HS_SEQUENTIAL},
    {"qk_spectral", "", "largest singular value of W_Q W_K^T", HS_SEQUENTIAL},
    {"qk_nuclear", "", "sum of the singular values of W_Q W_K^T", HS_SEQUENTIAL},
    {"qk_rank", "", "effective rank of W_Q W_K^T", HS_SEQUENTIAL},
    {"spectral_bound_nats", "nats",
     "no prompt of the length asked for has a lower entropy_nats: the spectral bound, mostly 0 in "
     "trained models",
     HS_SEQUENTIAL},
    {"q_composition", "", "largest Q-composition of an earlier head with this one", HS_SEQUENTIAL},
    {"k_composition", "", "largest K-composition of an earlier head with this one", HS_SEQUENTIAL},
    {"v_composition", "", "largest V-composition of an earlier head with this one", HS_SEQUENTIAL},
    {0},
};

static const hs_column composition_columns[] = {
    {"kind", "TEXT", "", "what the later head reads by: Q, K or V"},
    {"from_layer", "INTEGER", "", "of the earlier head, 0-based"},
    {"from_head", "INTEGER", "", "the earlier head, 0-based"},
    {"layer", "INTEGER", "", "of the later head, 0-based"},
    {"head", "INTEGER", "", "the later head, 0-based"},
    {"value", "REAL", "", "norm of the product over the product of the norms; NULL: one is 0"},
    {"random", "REAL", "", "what random matrices come to, 1 / sqrt(d_model)"},
    {0},
};
static const hs_column neuron_columns[] = {
    {"layer", "INTEGER", "", "0-based"},
    {"neuron", "INTEGER", "", "0-based"},
    {"vector", "TEXT", "", "gate, up: what it reads; down: what it writes"},
    {"token", "INTEGER", "", "the token that its softmax through the LM head gives most to"},
    {"text", "TEXT", "", "that token, readable; NULL without a tokenizer"},
    {"probability", "REAL", "", "what it gives"},
    {0},
};
static const hs_result_table tables[] = {
    {"composition", composition_columns, 5, "every pair of heads, an earlier and a later one"},
    {"neuron", neuron_columns, 3, "every vector of every neuron through the LM head"},
    {0},
};

const hs_experiment hs_experiment_weights = {
    .name = "weights",
    .title = "circuits of heads and neurons, from the weights alone",
    .about =
        "Runs no prompt. ov_copying and qk_matching are eigenvalue scores of a head's circuits "
        "over "
        "the vocabulary; copy_score takes single tokens through layer 0, the norm of block 1, the "
        "head alone and the LM head. Norm gains are folded into the weights that read through "
        "them, and LayerNorm models are centred; rotations of queries and keys are left out, so "
        "that QK is that of a token with itself (offset 0), and positions and biases too, but in "
        "spectral_bound_nats and copy_score. spectral_bound_nats is the theorem's ln(1 + (T-1) b) "
        "+ "
        "n "
        "sqrt(T (T-1)) b / (1 + (T-1) b), b = exp(-n sqrt(T / (T-1))), averaged over the rows of a "
        "causal prompt, with n, the most that a row's scores can differ, from the singular values "
        "of W_Q and W_K. Composition of random matrices is 1 / sqrt(d_model).",
    .reference =
        "Elhage et al. 2021, transformer-circuits.pub; Wang et al. 2022, arXiv:2211.00593; "
        "Zhai et al. 2023, arXiv:2303.06296",
    .metrics = metrics,
    .tables = tables,
};

// ---- emitting -----------------------------------------------------------------------------------

struct emitting {
    const hs_weights_opts *o;
    const hs_config *c;
    const hs_emit *emit;
    hs_buf text; // scratch
};

// NaN is undefined, for the reason given.
static int put(const struct emitting *e, int64_t at, const char *name, double value,
               const char *reason) {
    return e->emit->metric(e->emit->ctx, (int)(at / e->c->n_head), (int)(at % e->c->n_head), name,
                           value, isnan(value) ? reason : NULL);
}

static int put_head(const struct emitting *e, int64_t at, const hs_weights_head *h) {
    static const char zero[] = "all eigenvalues are 0", empty[] = "the matrix is 0";
    const struct {
        const char *name;
        double value;
        const char *reason;
    } all[] = {
        {"ov_copying", h->ov_copying, zero},
        {"qk_matching", h->qk_matching, zero},
        {"ov_norm", h->ov.norm, NULL},
        {"ov_spectral", h->ov.spectral, NULL},
        {"ov_nuclear", h->ov.nuclear, NULL},
        {"ov_rank", h->ov.rank, empty},
        {"qk_norm", h->qk.norm, NULL},
        {"qk_spectral", h->qk.spectral, NULL},
        {"qk_nuclear", h->qk.nuclear, NULL},
        {"qk_rank", h->qk.rank, empty},
        {"spectral_bound_nats", h->entropy_bound,
         "without a norm, what enters attention has no largest length"},
    };
    int rc = HS_OK;
    for (size_t i = 0; i < sizeof all / sizeof *all && !rc; i++)
        rc = put(e, at, all[i].name, all[i].value, all[i].reason);
    return rc;
}

static int put_copying(const struct emitting *e) {
    const int64_t heads = e->c->n_layer * e->c->n_head;
    static const char silent[] = "the head writes nothing";
    double *copy;
    int rc = hs_alloc(&copy, (size_t)heads, 2 * sizeof *copy);
    if (!rc) rc = hs_weights_copying(e->o, copy);
    for (int64_t h = 0; h < heads && !rc; h++) {
        rc = put(e, h, "copy_score", copy[2 * h], silent);
        if (!rc) rc = put(e, h, "copy_score_negative", copy[2 * h + 1], silent);
    }
    free(copy);
    return rc;
}

// ---- composition --------------------------------------------------------------------------------

static const char *const composed[] = {"q_composition", "k_composition", "v_composition"};

static int put_pair(const struct emitting *e, int kind, int64_t from, int layer, int64_t head,
                    double value) {
    static const char *const by[] = {"Q", "K", "V"};
    const hs_value row[] = {
        {.type = HS_VAL_TEXT, .s = by[kind]},
        {.type = HS_VAL_INT, .i = from / e->c->n_head},
        {.type = HS_VAL_INT, .i = from % e->c->n_head},
        {.type = HS_VAL_INT, .i = layer},
        {.type = HS_VAL_INT, .i = head},
        {.type = HS_VAL_NUM, .f = value},
        {.type = HS_VAL_NUM, .f = hs_weights_random(e->o->model)},
    };
    return e->emit->row(e->emit->ctx, "composition", row);
}

static int put_layer(void *ctx, int layer, const float *score) {
    const struct emitting *e = ctx;
    const int64_t n_head = e->c->n_head, earlier = layer * n_head;
    int rc = HS_OK;
    for (int64_t k = 0; k < HS_N_COMPOSE * n_head && !rc; k++) {
        double most = NAN;
        for (int64_t from = 0; from < earlier && !rc; from++) {
            const double value = (double)score[k * earlier + from];
            if (!(value <= most)) most = isnan(value) ? most : value;
            rc = put_pair(e, (int)(k / n_head), from, layer, k % n_head, value);
        }
        if (!rc)
            rc = put(e, earlier + k % n_head, composed[k / n_head], most,
                     "one of the matrices is 0");
    }
    return rc;
}

static int put_composition(struct emitting *e, const hs_weights_head *heads) {
    int rc = HS_OK;
    for (int64_t h = 0; h < e->c->n_head && !rc; h++)
        for (int k = 0; k < HS_N_COMPOSE && !rc; k++)
            rc = put(e, h, composed[k], NAN, "no head is before the first layer");
    return rc ? rc : hs_weights_composition(e->o, heads, put_layer, e);
}

// ---- neurons ------------------------------------------------------------------------------------

static int put_neuron(void *ctx, const hs_neuron *neuron) {
    struct emitting *e = ctx;
    const hs_tok *tok = hs_model_tok(e->o->model);
    size_t n;
    hs_buf_clear(&e->text);
    const char *piece = tok ? hs_tok_piece(tok, neuron->token, &n) : NULL;
    if (piece) hs_utf8_visible(&e->text, piece, n, false);
    const hs_value row[] = {
        {.type = HS_VAL_INT, .i = neuron->layer},
        {.type = HS_VAL_INT, .i = neuron->index},
        {.type = HS_VAL_TEXT, .s = neuron->vector},
        {.type = HS_VAL_INT, .i = neuron->token},
        {.type = piece ? HS_VAL_TEXT : HS_VAL_NULL, .s = hs_buf_text(&e->text)},
        {.type = HS_VAL_NUM, .f = neuron->probability},
    };
    int rc = hs_buf_rc(&e->text);
    return rc ? rc : e->emit->row(e->emit->ctx, "neuron", row);
}

int hs_weights(const hs_weights_opts *o, const hs_emit *emit) {
    struct emitting e = {.o = o, .c = hs_model_config(o->model), .emit = emit};
    const int64_t heads = e.c->n_layer * e.c->n_head;
    hs_weights_head *head;
    if (o->neurons && e.c->mlp == HS_MLP_NONE)
        return hs_fail(HS_ENOTFOUND, "this model has no MLPs, and so no neurons");
    int rc = hs_alloc(&head, (size_t)heads, sizeof *head);
    if (!rc) rc = hs_weights_heads(o, head);
    for (int64_t h = 0; h < heads && !rc; h++) rc = put_head(&e, h, &head[h]);
    if (!rc && o->n_token) rc = put_copying(&e);
    if (!rc && o->composition) rc = put_composition(&e, head);
    if (!rc && o->neurons) rc = hs_weights_neurons(o, put_neuron, &e);
    hs_buf_free(&e.text);
    free(head);
    return rc;
}
