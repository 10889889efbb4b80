// verify --golden: every activation in a safetensors file that another tool wrote, against ours.
//
// Scores are compared where the mask lets a query see a key: tools differ in what they write
// elsewhere. The relative difference is the largest absolute one over the tensor's largest
// magnitude.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/capture.h"
#include "cli/verify/verify.h"
#include "model/core/mem.h"

typedef struct target { // what a tensor's name asks for
    enum hs_point point;
    int layer;
    int stat; // of row statistics, else -1
} target;

static int find_stat(const char *name, int *stat) {
    for (int s = 0; s < HS_N_STAT; s++)
        if (strcmp(hs_stat_infos[s].name, name) == 0) {
            *stat = s;
            return HS_OK;
        }
    return hs_fail(HS_ENOTFOUND, "there is no row statistic '%s'", name);
}

static int find_target(const hs_dims *dims, const char *name, target *out) {
    static const char stats[] = "hook_row_stats.";
    const char *stat = strstr(name, stats);
    hs_buf point = {0};
    out->stat = -1;
    hs_buf_add(&point, name, stat ? (size_t)(stat - name) + sizeof stats - 2 : strlen(name));
    int rc = hs_buf_rc(&point);
    if (!rc) rc = hs_point_find(point.data, &out->point, &out->layer);
    if (!rc && stat) rc = find_stat(stat + sizeof stats - 1, &out->stat);
    if (!rc && (out->layer >= dims->n_layer || !(dims->points & HS_BIT(out->point))))
        rc = hs_fail(HS_ENOTFOUND, "this model has no such hook point");
    if (!rc && out->point == HS_ROW_STATS && !stat)
        rc = hs_fail(HS_ENOTFOUND, "row statistics are compared one by one: %s.entropy", name);
    hs_buf_free(&point);
    return rc;
}

static int read_f32(const hs_tensor *x, float **out) {
    const hs_dtype_traits *t = &hs_dtypes[x->view.dtype];
    int64_t n = hs_view_count(&x->view);
    *out = NULL;
    if (!t->to_f32 || t->items != 1)
        return hs_fail(HS_EUNSUPPORTED, "cannot compare numbers of format %s", t->name);
    int rc = hs_alloc(out, (size_t)n, sizeof **out);
    if (!rc) t->to_f32(x->view.data, *out, n);
    return rc;
}

static int read_tokens(const hs_ckpt *file, int32_t **tokens, int64_t *n) {
    const hs_tensor *x = hs_ckpt_find(file, "tokens");
    *tokens = NULL;
    if (!x) return hs_fail(HS_EFORMAT, "it holds no 'tokens'");
    if (x->view.dtype != HS_I64 || x->view.ndim != 1)
        return hs_fail(HS_EFORMAT, "tokens must be int64 [T]");
    *n = x->view.shape[0];
    int rc = hs_alloc(tokens, (size_t)*n, sizeof **tokens);
    for (int64_t i = 0; !rc && i < *n; i++) {
        int64_t id;
        memcpy(&id, (const char *)x->view.data + i * (int64_t)sizeof id, sizeof id);
        if (id < 0 || id > INT32_MAX)
            rc = hs_fail(HS_ERANGE, "token %" PRId64 " is %" PRId64 ", no id", i, id);
        else
            (*tokens)[i] = (int32_t)id;
    }
    if (rc) {
        free(*tokens);
        *tokens = NULL;
    }
    return rc;
}

// The file's tensor must have the shape that the hook has; of statistics, [n_head, T].
static int check_shape(const hs_dims *dims, const target *t, const hs_view *v, int64_t n) {
    int64_t want[4];
    int ndim = hs_point_shape(dims, t->point, n, want);
    if (t->stat >= 0) {
        want[1] = n;
        ndim = 2;
    }
    bool same = ndim == v->ndim;
    for (int a = 0; same && a < ndim; a++) same = v->shape[a] == want[a];
    if (same) return HS_OK;
    hs_buf text = {0};
    for (int a = 0; a < ndim; a++) hs_buf_printf(&text, "%s%" PRId64, a ? ", " : "", want[a]);
    int rc = hs_fail(HS_EFORMAT, "its shape must be [%s]", hs_buf_text(&text));
    hs_buf_free(&text);
    return rc;
}

// Visible cells of a map, everything of other tensors.
static void compare(const float *a, const float *b, int64_t count, bool map, int64_t n,
                    double *difference, double *magnitude) {
    *difference = *magnitude = 0;
    for (int64_t i = 0; i < count; i++) {
        bool hidden = map && i % n > i / n % n;
        if (hidden || (map && b[i] == -INFINITY && a[i] == -INFINITY)) continue;
        *difference = hs_worse(*difference, a[i], b[i]);
        if (fabs(b[i]) > *magnitude) *magnitude = fabs(b[i]);
    }
}

static int compare_tensor(hs_checks *out, const hs_capture *ours, const hs_dims *dims,
                          const hs_tensor *x, int64_t n, double atol) {
    target t;
    float *theirs = NULL;
    int rc = find_target(dims, x->name, &t);
    if (!rc) rc = read_f32(x, &theirs);
    if (rc) return rc;
    const float *at = hs_capture_at(ours, t.point, t.layer);
    int64_t count = hs_view_count(&x->view);
    double difference = 0, magnitude = 0;
    if (t.stat >= 0) { // [n_head, T] of [n_head, stat, T]
        for (int64_t h = 0; h < dims->n_head; h++) {
            double d, m;
            compare(at + (h * HS_N_STAT + t.stat) * n, theirs + h * n, n, false, n, &d, &m);
            difference = hs_worse(difference, d, 0);
            if (m > magnitude) magnitude = m;
        }
    } else {
        compare(at, theirs, count, t.point == HS_SCORES, n, &difference, &magnitude);
    }
    double limit = atol > 0 ? atol : t.point == HS_PATTERN ? 1e-5 : 5e-5 * magnitude;
    rc = hs_checks_add(out, x->name, difference, magnitude, limit);
    free(theirs);
    return rc;
}

// Which points the file wants, every name and shape checked before anything runs.
static int wanted(const hs_ckpt *file, const hs_dims *dims, int64_t n, uint64_t *points) {
    int rc = HS_OK;
    for (size_t i = 0; !rc && i < hs_ckpt_count(file); i++) {
        const hs_tensor *x = hs_ckpt_at(file, i);
        target t;
        if (strcmp(x->name, "tokens") == 0) continue;
        rc = find_target(dims, x->name, &t);
        if (!rc) rc = check_shape(dims, &t, &x->view, n);
        if (!rc) points[t.layer < 0 ? dims->n_layer : t.layer] |= HS_BIT(t.point);
        rc = hs_prefix(rc, "%s", x->name);
    }
    return rc;
}

static int evaluate(const hs_model *model, const hs_dims *dims, const uint64_t *points,
                    const int32_t *tokens, int64_t n, hs_capture *capture) {
    hs_hooks *hooks = NULL;
    hs_context *context = NULL;
    hs_seq seq = {.tokens = tokens, .n = n};
    bool logits = points[dims->n_layer] & HS_BIT(HS_LOGITS);
    hs_batch batch = {.seq = &seq, .n_seq = 1, .logits = logits ? HS_LOGITS_ALL : HS_LOGITS_NONE};
    int rc = hs_hooks_open(&hooks, dims);
    if (!rc) rc = hs_capture_hook(capture, hooks);
    if (!rc) rc = hs_context_open(&context, model, NULL);
    if (!rc) {
        hs_context_set_tap(context, hs_hooks_tap(hooks));
        rc = hs_context_eval(context, &batch);
    }
    hs_context_close(context);
    hs_hooks_close(hooks);
    return rc;
}

int hs_verify_golden(hs_checks *out, const hs_model *model, const char *path, double atol) {
    hs_dims dims = hs_dims_of(model);
    hs_ckpt *file = NULL;
    hs_capture *ours = NULL;
    int32_t *tokens = NULL;
    uint64_t *points = NULL;
    int64_t n = 0;
    int rc = hs_ckpt_open(&file, path, true);
    if (rc) return rc == HS_ENOTFOUND ? HS_EIO : rc;
    if (hs_ckpt_container(file) != HS_SAFETENSORS)
        rc = hs_fail(HS_EUNSUPPORTED, "a golden file is a safetensors file");
    if (!rc) rc = read_tokens(file, &tokens, &n);
    if (!rc && hs_ckpt_count(file) == 1)
        rc = hs_fail(HS_ENOTFOUND, "it holds nothing but tokens: add the hooks to compare");
    if (!rc) rc = hs_alloc(&points, (size_t)dims.n_layer + 1, sizeof *points);
    if (!rc) rc = wanted(file, &dims, n, points);
    if (!rc) rc = hs_capture_open(&ours, &dims, points, n, 0);
    if (!rc) rc = evaluate(model, &dims, points, tokens, n, ours);
    for (size_t i = 0; !rc && i < hs_ckpt_count(file); i++) {
        const hs_tensor *x = hs_ckpt_at(file, i);
        if (strcmp(x->name, "tokens") != 0) rc = compare_tensor(out, ours, &dims, x, n, atol);
    }
    hs_capture_close(ours);
    free(points);
    free(tokens);
    hs_ckpt_close(file);
    return hs_prefix(rc, "%s", path);
}
