// A model from open to close: checkpoint, family, tokenizer, weights packed for the backend; and
// the questions others ask about it.
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

#include "model/core/room.h"
#include "model/model_internal.h"
#include "model/rope.h"

const char *const hs_precision_names[HS_N_PREC] = {
    [HS_PREC_EXACT] = "exact", [HS_PREC_BF16] = "bf16", [HS_PREC_F64] = "f64"};

// ---- open ---------------------------------------------------------------------------------------

// A model runs on given ids when its tokenizer is absent or unknown; a damaged one is an error.
static int open_tok(hs_model *m) {
    int rc = hs_tok_open(&m->tok, m->ckpt);
    if (rc != HS_ENOTFOUND && rc != HS_EUNSUPPORTED) return rc;
    m->tok_rc = rc;
    return hs_arena_str(m->arena, &m->tok_why, hs_errmsg(), strlen(hs_errmsg()));
}

// Frequencies of the trained context, divided where the checkpoint brings its own divisors.
static int make_rope(hs_model *m) {
    const int64_t half = m->cfg.rope_dim / 2;
    if (m->cfg.pos != HS_POS_ROPE) return HS_OK;
    int rc = hs_arena_get(m->arena, &m->rope_freq, (size_t)half, sizeof *m->rope_freq);
    if (rc) return rc;
    rc = hs_arena_get(m->arena, &m->rope_freq_f64, (size_t)half, sizeof *m->rope_freq_f64);
    if (rc) return rc;
    hs_rope_freqs(&m->cfg, 0, m->rope_freq);
    hs_rope_freqs_f64(&m->cfg, 0, m->rope_freq_f64);
    const float *divisor = hs_model_vector(m, HS_W_ROPE_FREQS, -1);
    for (int64_t i = 0; divisor && i < half; i++) {
        m->rope_freq[i] /= divisor[i];
        m->rope_freq_f64[i] /= (double)divisor[i];
    }
    return HS_OK;
}

// A longer context than the trained one is the caller's wish; a table of positions cannot grow.
static int set_context(hs_model *m, int64_t n_ctx) {
    if (n_ctx == 0) return HS_OK;
    if (n_ctx < 0 || n_ctx > INT32_MAX)
        return hs_fail(HS_ERANGE, "a context of %lld positions: give 1 to %d", (long long)n_ctx,
                       INT32_MAX);
    if (m->cfg.pos == HS_POS_LEARNED && n_ctx > m->cfg.n_ctx)
        return hs_fail(HS_ERANGE, "a context of %lld positions: the model has learned %lld",
                       (long long)n_ctx, (long long)m->cfg.n_ctx);
    m->cfg.n_ctx = n_ctx;
    return HS_OK;
}

// The head is as large as many layers and often runs on one row: it is never expanded.
static enum hs_weight_mode mode_of(const hs_model *m, enum hs_role role) {
    return role == HS_W_HEAD ? HS_WEIGHT_KEEP : m->weights;
}

// Of a matrix that `linear` multiplies by; NULL for other roles.
static const hs_view *matrix(const hs_model *m, enum hs_role role, int64_t layer) {
    const hs_view *v = &hs_model_bound(m, role, layer)->view;
    return hs_role_is_matrix(role) && v->data ? v : NULL;
}

static int pack_layer(hs_model *m, int64_t layer) {
    for (int role = 0; role < HS_N_ROLE; role++) {
        hs_bound *b = hs_model_bound(m, (enum hs_role)role, layer);
        const hs_view *v = matrix(m, (enum hs_role)role, layer);
        if (!v) continue;
        int rc = m->be->pack(m->dev, &b->weight, v, b->row_of, mode_of(m, (enum hs_role)role));
        if (rc) return hs_prefix(rc, "%s: tensor %s", hs_ckpt_path(m->ckpt), b->name);
    }
    return HS_OK;
}

// Bytes of a matrix, from its first number to its last: rows of a fused or transposed tensor lie
// apart.
static size_t span_of(const hs_view *v) {
    const hs_dtype_traits *t = &hs_dtypes[v->dtype];
    const int64_t last = (v->shape[0] - 1) * v->stride[0] + (v->shape[1] - 1) * v->stride[1];
    return (size_t)((last + 1) / t->items * t->bytes);
}

// Tells the map about a layer's matrices: before packing that they are wanted, and after it that
// they are not read again.
static void tell_map(const hs_model *m, int64_t layer, void (*tell)(const void *at, size_t n)) {
    for (int role = 0; role < HS_N_ROLE; role++) {
        const hs_view *v = matrix(m, (enum hs_role)role, layer);
        if (v) tell(v->data, span_of(v));
    }
}

int64_t hs_model_weight_bytes(const hs_model *m) {
    int64_t sum = 0;
    for (int64_t l = 0; l <= m->cfg.n_layer; l++)
        for (int role = 0; role < HS_N_ROLE; role++) {
            const hs_view *v = matrix(m, (enum hs_role)role, l);
            if (v) sum += m->be->weight_bytes(m->dev, v, mode_of(m, (enum hs_role)role));
        }
    return sum;
}

static int check_room(const hs_model *m) {
    const int64_t room = hs_room_available();
    const double need = (double)hs_model_weight_bytes(m), gb = 1e9;
    if (need <= (double)room) return HS_OK;
    return hs_fail(HS_ENOMEM, "%s: its weights take %.2f GB of memory, %.2f GB are available%s",
                   hs_ckpt_path(m->ckpt), need / gb, (double)room / gb,
                   m->weights == HS_WEIGHT_EXPAND ? ": leave --weights expand out" : "");
}

static int pack_all(hs_model *m, const hs_progress *progress) {
    int rc = HS_OK;
    for (int64_t l = 0; l <= m->cfg.n_layer && !rc; l++) {
        rc = hs_progress_step(progress, "loading weights", l, m->cfg.n_layer + 1);
        if (!rc) tell_map(m, l, hs_map_wanted);
        if (!rc) rc = pack_layer(m, l);
        if (!rc) tell_map(m, l, hs_map_forget);
    }
    if (!rc && !m->cfg.tied) rc = hs_bind_check_table(m, HS_W_EMBED); // else it is the head
    if (!rc) rc = hs_bind_check_table(m, HS_W_POS);
    return rc ? rc
              : hs_progress_step(progress, "loading weights", m->cfg.n_layer + 1,
                                 m->cfg.n_layer + 1);
}

// Who computes in which precision.
static const hs_backend *const backends[HS_N_PREC] = {
    [HS_PREC_EXACT] = &hs_backend_cpu,
    [HS_PREC_BF16] = &hs_backend_cpu,
    [HS_PREC_F64] = &hs_backend_ref,
};

int hs_model_open(hs_model **out, const char *path, const hs_model_opts *opts) {
    static const hs_model_opts defaults;
    const hs_model_opts *o = opts ? opts : &defaults;
    hs_model *m;
    *out = NULL;
    int rc = hs_alloc(&m, 1, sizeof *m);
    if (rc) return rc;
    m->precision = o->dev.precision;
    m->be = backends[m->precision];
    m->weights = o->weights;
    rc = hs_arena_open(&m->arena);
    if (!rc) rc = hs_ckpt_open(&m->ckpt, path, true);
    if (rc) goto out;
    rc = hs_arch_resolve(m->ckpt, &m->arch, &m->cfg);
    if (!rc) rc = hs_bind(m);
    if (!rc) rc = set_context(m, o->n_ctx);
    if (!rc) rc = make_rope(m);
    if (!rc) rc = open_tok(m);
    if (!rc) rc = hs_ends_read(&m->ends, m->ckpt);
    if (rc) {
        hs_prefix(rc, "%s", hs_ckpt_path(m->ckpt));
        goto out;
    }
    rc = m->be->open(&m->dev, &o->dev);
    if (!rc && !o->no_weights && o->check_room) rc = check_room(m);
    if (!rc && !o->no_weights) rc = pack_all(m, o->progress);
    m->can_run = !rc && !o->no_weights;
out:
    if (rc)
        hs_model_close(m);
    else
        *out = m;
    return rc;
}

void hs_model_close(hs_model *m) {
    if (!m) return;
    for (int64_t i = 0; m->bound && i < (m->cfg.n_layer + 1) * HS_N_ROLE; i++)
        if (m->bound[i].weight) m->be->unpack(m->bound[i].weight);
    if (m->dev) m->be->close(m->dev);
    hs_tok_close(m->tok);
    hs_ends_free(&m->ends);
    hs_ckpt_close(m->ckpt);
    hs_arena_close(m->arena);
    free(m);
}

// ---- questions ----------------------------------------------------------------------------------

const hs_arch *hs_model_arch(const hs_model *m) {
    return m->arch;
}

const hs_config *hs_model_config(const hs_model *m) {
    return &m->cfg;
}

const hs_ckpt *hs_model_ckpt(const hs_model *m) {
    return m->ckpt;
}

const hs_tok *hs_model_tok(const hs_model *m) {
    return m->tok;
}

const char *hs_model_why_no_tok(const hs_model *m, int *rc) {
    if (rc) *rc = m->tok_rc;
    return m->tok_why ? m->tok_why : "";
}

bool hs_model_is_eog(const hs_model *m, int32_t id) {
    for (size_t i = 0; i < m->ends.n; i++)
        if (m->ends.id[i] == id) return true;
    return m->tok && hs_tok_is_eog(m->tok, id);
}

hs_dev *hs_model_dev(const hs_model *m) {
    return m->dev;
}

const hs_backend *hs_model_backend(const hs_model *m) {
    return m->be;
}

int64_t hs_model_n_params(const hs_model *m) {
    return m->n_params;
}

const char *hs_model_dtype(const hs_model *m) {
    return hs_dtypes[m->dtype].name;
}

enum hs_weight_mode hs_model_weights(const hs_model *m) {
    return m->weights;
}

enum hs_precision hs_model_precision(const hs_model *m) {
    return m->precision;
}

bool hs_model_has_point(const hs_model *m, enum hs_point point, const char **why) {
    const hs_config *c = &m->cfg;
    const bool norm = c->norm != HS_NORM_NONE, mlp = c->mlp != HS_MLP_NONE;
    const struct {
        enum hs_point point;
        bool there;
        const char *why;
    } may_lack[] = {
        {HS_POS_EMBED, c->pos == HS_POS_LEARNED, "the model has no learned positions"},
        {HS_LN1_SCALE, norm, "the model has no norms"},
        {HS_LN1_NORMALIZED, norm, "the model has no norms"},
        {HS_ROT_Q, c->pos == HS_POS_ROPE, "the model does not rotate queries and keys"},
        {HS_ROT_K, c->pos == HS_POS_ROPE, "the model does not rotate queries and keys"},
        {HS_RESID_MID, mlp, "the model has no MLPs"},
        {HS_LN2_SCALE, norm && mlp, "the model has no norm before an MLP"},
        {HS_LN2_NORMALIZED, norm && mlp, "the model has no norm before an MLP"},
        {HS_MLP_PRE, mlp, "the model has no MLPs"},
        {HS_MLP_PRE_LINEAR, c->mlp == HS_MLP_GATED, "the model's MLPs are not gated"},
        {HS_MLP_POST, mlp, "the model has no MLPs"},
        {HS_MLP_OUT, mlp, "the model has no MLPs"},
        {HS_LNF_SCALE, norm, "the model has no norms"},
        {HS_LNF_NORMALIZED, norm, "the model has no norms"},
    };
    for (size_t i = 0; i < sizeof may_lack / sizeof *may_lack; i++)
        if (may_lack[i].point == point && !may_lack[i].there) {
            if (why) *why = may_lack[i].why;
            return false;
        }
    return true;
}

// ---- weights ------------------------------------------------------------------------------------

const hs_weight *hs_model_weight(const hs_model *m, enum hs_role role, int layer) {
    return hs_model_bound(m, role, layer)->weight;
}

const float *hs_model_vector(const hs_model *m, enum hs_role role, int layer) {
    return hs_model_bound(m, role, layer)->vector;
}

const hs_view *hs_model_table(const hs_model *m, enum hs_role role) {
    const hs_view *v = &hs_model_bound(m, role, -1)->view;
    return v->data && v->ndim == 2 ? v : NULL;
}

int hs_model_weight_row(const hs_model *m, enum hs_role role, int layer, int64_t n, float *out) {
    const hs_bound *b = hs_model_bound(m, role, layer);
    const hs_view *v = &b->view;
    if (!v->data || v->ndim != 2 || n < 0 || n >= v->shape[0])
        return hs_fail(HS_ERANGE, "row %lld of a weight with %lld rows", (long long)n,
                       (long long)(v->data && v->ndim == 2 ? v->shape[0] : 0));
    hs_view_row(v, b->row_of ? b->row_of[n] : n, 0, v->shape[1], out);
    return HS_OK;
}

void hs_model_rope_row(const hs_model *m, int64_t pos, int64_t n_total, float *cos_sin) {
    const hs_config *c = &m->cfg;
    const float *freq = m->rope_freq;
    if (c->pos != HS_POS_ROPE) return;
    if (c->rope_scaling == HS_ROPE_DYNAMIC && n_total > c->rope_orig_ctx) {
        float *own = cos_sin + c->rope_dim / 2;
        hs_rope_freqs(c, n_total, own);
        freq = own;
    }
    hs_rope_row(c, freq, pos, cos_sin);
}

static void rope_row_f64(const hs_model *m, int64_t pos, int64_t n_total, double *cos_sin) {
    const hs_config *c = &m->cfg;
    const double *freq = m->rope_freq_f64;
    if (c->rope_scaling == HS_ROPE_DYNAMIC && n_total > c->rope_orig_ctx) {
        double *own = cos_sin + c->rope_dim / 2;
        hs_rope_freqs_f64(c, n_total, own);
        freq = own;
    }
    hs_rope_row_f64(c, freq, pos, cos_sin);
}

void hs_model_rotation(const hs_model *m, int64_t pos, int64_t n_total, void *cos_sin) {
    if (m->be->dtype == HS_F64)
        rope_row_f64(m, pos, n_total, cos_sin);
    else
        hs_model_rope_row(m, pos, n_total, cos_sin);
}
