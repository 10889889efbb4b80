// Binding: every tensor of the checkpoint to the roles that the family's rules give it, its shape
// checked against the config. A tensor that no rule knows and no skip pattern names is an error,
// and so is a role left empty: nothing runs on a weight that was not there.
//
// Cost: (tensors x rules) name comparisons and one copy of the norms and biases; matrices stay in
// the map.
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model_internal.h"

// ---- sizes --------------------------------------------------------------------------------------

enum size { NONE, D, Q, KV, FF, VOCAB, CTX, ROPE, N_SIZE };

// [out, in] of each role; in NONE: a vector.
// clang-format off
static const struct {
    unsigned char out, in;
} role_sizes[HS_N_ROLE] = {
    [HS_W_EMBED] = {VOCAB, D}, [HS_W_POS] = {CTX, D},
    [HS_W_LN1] = {D, NONE},    [HS_B_LN1] = {D, NONE},
    [HS_W_Q] = {Q, D},         [HS_B_Q] = {Q, NONE},
    [HS_W_K] = {KV, D},        [HS_B_K] = {KV, NONE},
    [HS_W_V] = {KV, D},        [HS_B_V] = {KV, NONE},
    [HS_W_O] = {D, Q},         [HS_B_O] = {D, NONE},
    [HS_W_LN2] = {D, NONE},    [HS_B_LN2] = {D, NONE},
    [HS_W_GATE] = {FF, D},     [HS_B_GATE] = {FF, NONE},
    [HS_W_UP] = {FF, D},       [HS_B_UP] = {FF, NONE},
    [HS_W_DOWN] = {D, FF},     [HS_B_DOWN] = {D, NONE},
    [HS_W_LNF] = {D, NONE},    [HS_B_LNF] = {D, NONE},
    [HS_W_HEAD] = {VOCAB, D},  [HS_B_HEAD] = {VOCAB, NONE},
    [HS_W_ROPE_FREQS] = {ROPE, NONE},
};
// clang-format on

static int64_t size_of(const hs_config *c, enum size s) {
    const int64_t sizes[N_SIZE] = {
        [D] = c->d_model,         [Q] = c->n_head * c->d_head, [KV] = c->n_kv_head * c->d_head,
        [FF] = c->d_ff,           [VOCAB] = c->n_vocab,        [CTX] = c->n_ctx,
        [ROPE] = c->rope_dim / 2,
    };
    return sizes[s];
}

bool hs_role_is_matrix(enum hs_role role) {
    return role_sizes[role].in != NONE && role != HS_W_EMBED && role != HS_W_POS;
}

// ---- rules --------------------------------------------------------------------------------------

struct binder {
    hs_model *m;
    bool gguf;
    int64_t elements[HS_N_DTYPE];    // by dtype, for the commonest
    const int32_t *q_rows, *kv_rows; // for HS_ROPE_PAIRS
};

// Whether a rule's tensor has a place in this model.
static bool rule_is_on(const struct binder *b, const hs_tensor_rule *r) {
    const hs_config *c = &b->m->cfg;
    if (!(b->gguf ? r->gguf : r->hf)) return false;
    if (r->role == HS_W_POS) return c->pos == HS_POS_LEARNED;
    if (r->role == HS_W_ROPE_FREQS) return c->pos == HS_POS_ROPE;
    if (r->flag && !b->gguf) return *(const bool *)((const char *)c + r->flag);
    return true;
}

static bool rule_is_needed(const struct binder *b, const hs_tensor_rule *r) {
    return r->need == HS_REQUIRED || (r->flag && !b->gguf);
}

// Matches a name against "blk.%d.x"; *layer is -1 when the pattern has no %d.
static bool match_name(const char *pattern, const char *name, int64_t n_layer, int64_t *layer) {
    const char *hole = strstr(pattern, "%d");
    *layer = -1;
    if (!hole) return !strcmp(pattern, name);
    const size_t head = (size_t)(hole - pattern);
    if (strncmp(pattern, name, head)) return false;
    const char *digits = name + head;
    size_t n = strspn(digits, "0123456789");
    if (n == 0 || n > 5 || (n > 1 && digits[0] == '0') || strcmp(hole + 2, digits + n))
        return false;
    *layer = strtol(digits, NULL, 10);
    return *layer < n_layer;
}

// The name without the family's optional prefix.
static const char *bare_name(const struct binder *b, const char *name) {
    const char *prefix = b->gguf ? NULL : b->m->arch->hf_prefix;
    const size_t n = prefix ? strlen(prefix) : 0;
    return n && !strncmp(name, prefix, n) ? name + n : name;
}

static bool is_skipped(const struct binder *b, const char *name) {
    for (const char *const *s = b->m->arch->skip; s && *s; s++)
        if (!fnmatch(*s, name, 0)) return true;
    return false;
}

// ---- one tensor ---------------------------------------------------------------------------------

static int wrong_shape(const hs_tensor *t, int64_t out, int64_t in) {
    char have[64] = "";
    for (int i = 0, n = 0; i < t->view.ndim && n < 48; i++)
        n += snprintf(have + n, sizeof have - (size_t)n, "%s%lld", i ? ", " : "",
                      (long long)t->view.shape[i]);
    if (in)
        return hs_fail(HS_EFORMAT, "tensor %s is [%s], the config says [%lld, %lld]", t->name, have,
                       (long long)out, (long long)in);
    return hs_fail(HS_EFORMAT, "tensor %s is [%s], the config says [%lld]", t->name, have,
                   (long long)out);
}

// Row j of a head lies at 2j or, in the second half, 2j + 1: pairs back to halves.
static int pair_rows(hs_model *m, const int32_t **out, int64_t n_head) {
    const int64_t d = m->cfg.d_head, half = m->cfg.rope_dim / 2;
    int32_t *rows;
    if (*out) return HS_OK;
    int rc = hs_arena_get(m->arena, &rows, (size_t)(n_head * d), sizeof *rows);
    if (rc) return rc;
    for (int64_t h = 0; h < n_head; h++)
        for (int64_t j = 0; j < d; j++) {
            const int64_t at = j < half ? 2 * j : j < 2 * half ? 2 * (j - half) + 1 : j;
            rows[h * d + j] = (int32_t)(h * d + at);
        }
    *out = rows;
    return HS_OK;
}

// First row of a fused tensor's part, and the rows of them all.
static int64_t part_offset(const hs_config *c, const hs_tensor_rule *r, int64_t out,
                           int64_t *total) {
    const int64_t q = size_of(c, Q), kv = size_of(c, KV);
    if (r->parts == 3) {
        *total = q + 2 * kv;
        return r->part == 0 ? 0 : q + (r->part - 1) * kv;
    }
    *total = r->parts ? r->parts * out : out;
    return r->part * out;
}

// Element `at` of a tensor, which must start a block.
static void *element(const hs_view *v, int64_t at) {
    const hs_dtype_traits *t = &hs_dtypes[v->dtype];
    return (char *)v->data + at / t->items * t->bytes;
}

// The first number that is infinite or none at all; n when there is no such.
static int64_t find_infinite(const float *v, int64_t n) {
    int64_t i = 0;
    while (i < n && isfinite(v[i])) i++;
    return i;
}

static int bind_vector(hs_model *m, hs_bound *b, const hs_tensor *t, int64_t at, int64_t n) {
    float *all = NULL;
    const int64_t total = t->view.shape[0];
    int rc = hs_alloc(&all, (size_t)total, sizeof *all);
    if (!rc) rc = hs_arena_get(m->arena, &b->vector, (size_t)n, sizeof *b->vector);
    if (!rc) {
        hs_dtypes[t->view.dtype].to_f32(t->view.data, all, total);
        for (int64_t i = 0; i < n; i++) b->vector[i] = all[at + (b->row_of ? b->row_of[i] : i)];
        b->view = hs_view_f32(b->vector, n, 1);
        b->view.ndim = 1;
        const int64_t bad = find_infinite(all, total);
        if (bad < total)
            rc = hs_fail(HS_EFORMAT, "tensor %s: number %lld is not finite", t->name,
                         (long long)bad);
    }
    free(all);
    return rc;
}

static int bind_tensor(struct binder *b, const hs_tensor_rule *r, const hs_tensor *t,
                       int64_t layer) {
    hs_model *m = b->m;
    hs_bound *to = hs_model_bound(m, r->role, layer);
    const hs_view *v = &t->view;
    const int64_t out = size_of(&m->cfg, role_sizes[r->role].out);
    const int64_t in = size_of(&m->cfg, role_sizes[r->role].in);
    const enum hs_layout layout = b->gguf ? r->layout_gguf : r->layout_hf;
    int64_t total;
    const int64_t at = part_offset(&m->cfg, r, out, &total);
    int rc = HS_OK;

    if (to->view.data) return hs_fail(HS_EFORMAT, "tensor %s is there twice", t->name);
    if (!hs_dtypes[v->dtype].to_f32)
        return hs_fail(HS_EFORMAT, "tensor %s holds %s, not weights", t->name,
                       hs_dtypes[v->dtype].name);
    const bool turned = layout == HS_TRANSPOSED;
    const bool fits = in ? v->ndim == 2 && v->shape[turned] == total && v->shape[!turned] == in
                         : v->ndim == 1 && v->shape[0] == total;
    if (!fits) return turned ? wrong_shape(t, in, total) : wrong_shape(t, total, in);
    if (turned && hs_dtypes[v->dtype].items > 1)
        return hs_fail(HS_EUNSUPPORTED, "tensor %s: %s blocks cannot be read across", t->name,
                       hs_dtypes[v->dtype].name);

    to->name = t->name;
    if (layout == HS_ROPE_PAIRS) {
        const bool q = r->role == HS_W_Q || r->role == HS_B_Q;
        rc = pair_rows(m, q ? &b->q_rows : &b->kv_rows, q ? m->cfg.n_head : m->cfg.n_kv_head);
        to->row_of = q ? b->q_rows : b->kv_rows;
    }
    if (rc) return rc;
    if (!in) return bind_vector(m, to, t, at, out);
    // The view is logical: [out, in], whichever way it lies.
    void *first = element(v, turned ? at : at * in);
    const int64_t down = turned ? 1 : in, across = turned ? total : 1;
    to->view = (hs_view){first, v->dtype, 2, {out, in}, {down, across}};
    return HS_OK;
}

// Rows of a table of embeddings, which nobody packs, checked as packing checks a weight.
struct table_job {
    const hs_bound *table;
    int64_t rows; // of a task
    float *row;   // [threads][columns]
};

static int check_rows(void *arg, int64_t task, int worker) {
    const struct table_job *job = arg;
    const hs_view *v = &job->table->view;
    const int64_t n = v->shape[1], end = (task + 1) * job->rows;
    float *row = job->row + worker * n;
    for (int64_t r = task * job->rows; r < end && r < v->shape[0]; r++) {
        hs_view_row(v, r, 0, n, row);
        const int64_t bad = find_infinite(row, n);
        if (bad < n)
            return hs_fail(HS_EFORMAT, "the weight at row %lld, column %lld is not a finite number",
                           (long long)r, (long long)bad);
    }
    return HS_OK;
}

int hs_bind_check_table(const hs_model *m, enum hs_role role) {
    const hs_bound *b = hs_model_bound(m, role, -1);
    hs_pool *pool = m->be->pool(m->dev);
    struct table_job job = {b, 256, NULL};
    if (!b->view.data) return HS_OK;
    int rc = hs_alloc(&job.row, (size_t)hs_pool_threads(pool),
                      (size_t)b->view.shape[1] * sizeof *job.row);
    if (!rc) rc = hs_pool_run(pool, (b->view.shape[0] + job.rows - 1) / job.rows, check_rows, &job);
    free(job.row);
    return hs_prefix(rc, "tensor %s", b->name);
}

// ---- all tensors --------------------------------------------------------------------------------

static int bind_all(struct binder *b) {
    hs_model *m = b->m;
    const char *first = NULL;
    size_t n_unknown = 0;
    for (size_t i = 0; i < hs_ckpt_count(m->ckpt); i++) {
        const hs_tensor *t = hs_ckpt_at(m->ckpt, i);
        const char *name = bare_name(b, t->name);
        bool known = false;
        for (const hs_tensor_rule *r = m->arch->tensors; r->hf || r->gguf; r++) {
            int64_t layer;
            if (!rule_is_on(b, r)) continue;
            if (!match_name(b->gguf ? r->gguf : r->hf, name, m->cfg.n_layer, &layer)) continue;
            int rc = bind_tensor(b, r, t, layer);
            if (rc) return rc;
            // A fused tensor is counted once, with its first part; divisors are no parameters.
            if (!known && r->role != HS_W_ROPE_FREQS) {
                m->n_params += hs_view_count(&t->view);
                b->elements[t->view.dtype] += hs_view_count(&t->view);
            }
            known = true;
        }
        if (known || is_skipped(b, name)) continue;
        if (!first) first = t->name;
        n_unknown++;
    }
    if (!n_unknown) return HS_OK;
    return hs_fail(HS_EFORMAT,
                   "%zu tensor%s that a %s model of this config does not have, the "
                   "first is %s",
                   n_unknown, n_unknown == 1 ? "" : "s", m->arch->name, first);
}

// Every needed role is there; an optional one is in all layers or in none.
static int check_missing(const struct binder *b) {
    const hs_model *m = b->m;
    const char *first = NULL;
    int64_t first_layer = 0, n_missing = 0;
    for (const hs_tensor_rule *r = m->arch->tensors; r->hf || r->gguf; r++) {
        if (!rule_is_on(b, r)) continue;
        const char *name = b->gguf ? r->gguf : r->hf;
        const bool in_layers = strstr(name, "%d") != NULL;
        const int64_t n = in_layers ? m->cfg.n_layer : 1;
        int64_t have = 0, gap = n; // gap: the first layer without
        for (int64_t l = n - 1; l >= 0; l--) {
            if (hs_model_bound(m, r->role, in_layers ? l : -1)->view.data)
                have++;
            else
                gap = l;
        }
        if (have == n || (have == 0 && !rule_is_needed(b, r))) continue;
        n_missing += n - have;
        if (!first) first_layer = gap;
        if (!first) first = name;
    }
    if (!first) return HS_OK;
    const int head = (int)strcspn(first, "%");
    char layer[32] = "";
    if (first[head]) snprintf(layer, sizeof layer, "%lld", (long long)first_layer);
    return hs_fail(HS_EFORMAT, "%lld tensor%s missing, the first is %.*s%s%s", (long long)n_missing,
                   n_missing == 1 ? " is" : "s are", head, first, layer,
                   first[head] ? first + head + 2 : "");
}

static bool same_bytes(const hs_view *a, const hs_view *b) {
    const hs_dtype_traits *t = &hs_dtypes[a->dtype];
    return a->dtype == b->dtype &&
           !memcmp(a->data, b->data, (size_t)(hs_view_count(a) / t->items * t->bytes));
}

// A head of its own stays one unless it repeats the embedding; as transformers, a config that says
// "tied" over a head that differs is not believed.
static int settle_head(hs_model *m) {
    hs_bound *head = hs_model_bound(m, HS_W_HEAD, -1);
    const hs_bound *embed = hs_model_bound(m, HS_W_EMBED, -1);
    if (!head->view.data && !m->cfg.tied)
        return hs_fail(HS_EFORMAT, "the unembedding is missing and the config does not tie it to "
                                   "the embedding");
    if (head->view.data && m->cfg.tied) {
        m->cfg.tied = same_bytes(&head->view, &embed->view);
        if (m->cfg.tied) m->n_params -= hs_view_count(&head->view);
    }
    if (m->cfg.tied) {
        head->view = embed->view;
        head->name = embed->name;
    }
    return HS_OK;
}

int hs_bind(hs_model *m) {
    struct binder b = {.m = m, .gguf = hs_ckpt_container(m->ckpt) == HS_GGUF};
    if ((uint64_t)m->cfg.n_layer > hs_ckpt_count(m->ckpt))
        return hs_fail(HS_EFORMAT, "the config says %lld layers, the file has %zu tensors",
                       (long long)m->cfg.n_layer, hs_ckpt_count(m->ckpt));
    int rc = hs_arena_get(m->arena, &m->bound, (size_t)(m->cfg.n_layer + 1) * HS_N_ROLE,
                          sizeof *m->bound);
    if (!rc) rc = bind_all(&b);
    if (!rc) rc = check_missing(&b);
    if (!rc) rc = settle_head(m);
    for (int i = 0; i < HS_N_DTYPE; i++)
        if (b.elements[i] > b.elements[m->dtype]) m->dtype = i;
    return rc;
}
