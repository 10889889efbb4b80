// Unedited runs; see reference.h.
//
// A held prompt keeps a tensor as one dense array [n_row, width], and a map as a lower triangle in
// its file: row i has i + 1 numbers at i (i + 1) / 2. The file is read and written at offsets, never
// mapped, since pages of a map count as memory of the process.
#include "analyses/reference.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/context.h"
#include "model/core/mem.h"

enum { BATCH_ROWS = 2048 };
static const uint64_t map_bits = HS_BIT(HS_SCORES) | HS_BIT(HS_PATTERN);

static size_t n_set(const hs_dims *dims) {
    return (size_t)dims->n_layer + 1;
}

static size_t slot(const hs_dims *dims, enum hs_point point, int layer) {
    const bool model = hs_point_infos[point].scope == HS_SCOPE_MODEL;
    return (size_t)(model ? dims->n_layer : layer) * HS_N_POINT + (size_t)point;
}

static int64_t row_width(const hs_dims *dims, enum hs_point point) {
    int64_t shape[4], width = 1;
    const int ndim = hs_point_shape(dims, point, 1, shape);
    for (int a = 0; a < ndim; a++) width *= shape[a];
    return width;
}

static int copy_points(uint64_t **out, const hs_dims *dims, const uint64_t *points) {
    int rc = hs_alloc(out, n_set(dims), sizeof **out);
    if (!rc) memcpy(*out, points, n_set(dims) * sizeof **out);
    return rc;
}

// Number k of row r, of a view [n_row], [n_row, a] or [n_row, a, b] with any strides.
static float number(const hs_view *v, int64_t r, int64_t k) {
    const float *at = (const float *)v->data + r * v->stride[0];
    if (v->ndim < 2) return *at;
    if (v->ndim < 3) return at[k * v->stride[1]];
    return at[k / v->shape[2] * v->stride[1] + k % v->shape[2] * v->stride[2]];
}

static int not_held(enum hs_point point, int layer, int64_t row) {
    hs_buf name = {0};
    hs_point_name(&name, point, layer);
    int rc = hs_fail(HS_ENOTFOUND, "row %lld of %s is not held", (long long)row,
                     hs_buf_text(&name));
    hs_buf_free(&name);
    return rc;
}

// ---- one prompt ---------------------------------------------------------------------------------

// Of the maps of all prompts that are held at the same time.
struct file {
    int fd, users;
    int64_t end; // in bytes, of the maps that have their place
};

struct hs_held {
    hs_dims dims;
    uint64_t *points; // [n_layer + 1]
    hs_heads heads;
    int64_t row0, n_row, bytes;
    float **data; // [n_layer + 1][HS_N_POINT], each [n_row - row0, width]
    // [2][n_layer][n_head] where maps begin after map0 in the file, -1: not held; scores, pattern
    int64_t *map_at, map0;
    struct file *file; // NULL: none
};

static int64_t *map_at(const hs_held *h, enum hs_point point, int layer, int head) {
    const int map = (point == HS_PATTERN) * h->dims.n_layer + layer;
    return &h->map_at[(int64_t)map * h->dims.n_head + head];
}

static int64_t row_at(int64_t row) {
    return row * (row + 1) / 2 * (int64_t)sizeof(float);
}

static int make_file(struct file **out) {
    const char *folder = getenv("TMPDIR");
    struct file *f;
    hs_buf path = {0};
    int rc = hs_alloc(&f, 1, sizeof *f);
    if (rc) return rc;
    hs_buf_printf(&path, "%s/headscope-XXXXXX", folder && *folder ? folder : "/var/tmp");
    rc = hs_buf_rc(&path);
    f->fd = rc ? -1 : mkostemp(path.data, O_CLOEXEC);
    if (f->fd >= 0)
        unlink(path.data);
    else if (!rc)
        rc = hs_fail(HS_EIO, "%s: %s: set TMPDIR to a folder with room for attention maps",
                     path.data, strerror(errno));
    hs_buf_free(&path);
    if (rc)
        free(f);
    else
        *out = f;
    return rc;
}

static void leave_file(struct file *f) {
    if (!f || --f->users > 0) return;
    close(f->fd);
    free(f);
}

// Places the maps of the wanted heads in the file.
static int place_maps(hs_held *h, const hs_held *beside) {
    const int n = h->dims.n_layer * h->dims.n_head;
    int64_t bytes = 0;
    int rc = hs_alloc(&h->map_at, (size_t)n * 2, sizeof *h->map_at);
    for (int i = 0; i < 2 * n && !rc; i++) {
        const enum hs_point point = i < n ? HS_SCORES : HS_PATTERN;
        const int layer = i % n / h->dims.n_head, head = i % h->dims.n_head;
        const bool wanted = h->points[layer] & HS_BIT(point);
        h->map_at[i] = wanted && hs_heads_has(&h->heads, layer, head) ? bytes : -1;
        if (h->map_at[i] >= 0) bytes += row_at(h->n_row);
    }
    if (rc || !bytes) return rc;
    if (beside) h->file = beside->file;
    if (!h->file) rc = make_file(&h->file);
    if (rc) return rc;
    h->file->users++;
    h->map0 = h->file->end;
    h->file->end += bytes;
    h->bytes += bytes;
    return HS_OK;
}

static int make_rows(hs_held *h) {
    int rc = hs_alloc(&h->data, n_set(&h->dims) * HS_N_POINT, sizeof *h->data);
    for (size_t i = 0; i < n_set(&h->dims) * HS_N_POINT && !rc; i++) {
        const enum hs_point point = (enum hs_point)(i % HS_N_POINT);
        if (!(h->points[i / HS_N_POINT] & HS_BIT(point) & ~map_bits)) continue;
        if (point == HS_ROW_STATS) return hs_fail(HS_EARG, "row summaries cannot be held");
        const int64_t n = (h->n_row - h->row0) * row_width(&h->dims, point);
        rc = hs_alloc(&h->data[i], (size_t)n, sizeof *h->data[i]);
        h->bytes += n * (int64_t)sizeof *h->data[i];
    }
    return rc;
}

int hs_held_open(hs_held **out, const hs_dims *dims, const uint64_t *points, const hs_heads *heads,
                 int64_t row0, int64_t n_row, const hs_held *beside) {
    hs_held *h;
    *out = NULL;
    int rc = hs_alloc(&h, 1, sizeof *h);
    if (rc) return rc;
    h->dims = *dims;
    h->row0 = row0;
    h->n_row = n_row;
    rc = copy_points(&h->points, dims, points);
    if (!rc) rc = hs_heads_parse(&h->heads, dims, "all");
    if (!rc && heads) memcpy(h->heads.on, heads->on, (size_t)dims->n_layer * (size_t)dims->n_head);
    if (!rc) rc = make_rows(h);
    if (!rc) rc = place_maps(h, beside);
    if (rc)
        hs_held_close(h);
    else
        *out = h;
    return rc;
}

void hs_held_close(hs_held *h) {
    if (!h) return;
    for (size_t i = 0; h->data && i < n_set(&h->dims) * HS_N_POINT; i++) free(h->data[i]);
    leave_file(h->file);
    hs_heads_free(&h->heads);
    free(h->data);
    free(h->map_at);
    free(h->points);
    free(h);
}

int64_t hs_held_bytes(const hs_held *h) {
    return h->bytes;
}

static void hold_rows(hs_held *h, const hs_site *site, const hs_view *view) {
    const int64_t width = row_width(&h->dims, site->point);
    float *to = h->data[slot(&h->dims, site->point, site->layer)];
    if (!to) return;
    for (int64_t r = 0; r < site->n_row; r++) {
        const int64_t row = site->row0 + r - h->row0;
        for (int64_t k = 0; row >= 0 && k < width; k++) to[row * width + k] = number(view, r, k);
    }
}

static int hold_tile(hs_held *h, const hs_tile *t) {
    const int64_t at = *map_at(h, t->point, t->layer, t->head);
    for (int64_t r = 0; at >= 0 && r < t->n_row; r++) {
        const char *from = (const char *)(t->row + r * t->ld);
        const int64_t n = (t->row0 + r + 1) * (int64_t)sizeof(float);
        for (int64_t done = 0; done < n;) {
            const ssize_t got = pwrite(h->file->fd, from + done, (size_t)(n - done),
                                       (off_t)(h->map0 + at + row_at(t->row0 + r) + done));
            if (got < 0 && errno != EINTR)
                return hs_fail(HS_EIO,
                               "attention maps of an unedited run: %s: set TMPDIR to a folder "
                               "with more room, or edit fewer heads",
                               strerror(errno));
            if (got > 0) done += got;
        }
    }
    return HS_OK;
}

static int held_rows(void *ctx, enum hs_point point, int layer, int64_t row0, int64_t n,
                     float *out) {
    const hs_held *h = ctx;
    const int64_t width = row_width(&h->dims, point);
    const float *from = h->data[slot(&h->dims, point, layer)];
    if (!from || row0 < h->row0 || n < 0 || row0 > h->n_row - n)
        return not_held(point, layer, row0 < h->row0 ? row0 : row0 + n - 1);
    memcpy(out, from + (row0 - h->row0) * width, (size_t)(n * width) * sizeof *out);
    return HS_OK;
}

static int held_map(void *ctx, enum hs_point point, int layer, int head, int64_t row0, int64_t n,
                    int64_t n_key, float *out, int64_t ld) {
    const hs_held *h = ctx;
    const int64_t at = *map_at(h, point, layer, head);
    if (at < 0 || row0 < 0 || n < 0 || row0 > h->n_row - n)
        return not_held(point, layer, row0 + n - 1);
    for (int64_t r = 0; r < n; r++) {
        float *row = out + r * ld;
        const int64_t seen = row0 + r + 1 < n_key ? row0 + r + 1 : n_key;
        const int64_t bytes = seen * (int64_t)sizeof *row;
        for (int64_t done = 0; done < bytes;) {
            const ssize_t got = pread(h->file->fd, (char *)row + done, (size_t)(bytes - done),
                                      (off_t)(h->map0 + at + row_at(row0 + r) + done));
            if (!got || (got < 0 && errno != EINTR))
                return hs_fail(HS_EIO, "attention maps of an unedited run: %s",
                               got ? strerror(errno) : "the file ends early");
            if (got > 0) done += got;
        }
        for (int64_t k = seen; k < n_key; k++) row[k] = point == HS_SCORES ? -INFINITY : 0;
    }
    return HS_OK;
}

hs_ref hs_held_ref(hs_held *h) {
    return (hs_ref){.ctx = h, .n_row = h->n_row, .rows = held_rows, .map = held_map};
}

// ---- means --------------------------------------------------------------------------------------

struct mean_of {
    double *sum;    // [n_row or 1][width]; NULL: not wanted
    int64_t *count; // [n_row or 1]
};

struct hs_mean {
    hs_dims dims;
    uint64_t *points;
    int64_t n_row;      // 0: over all positions
    struct mean_of *at; // [n_layer + 1][HS_N_POINT]
};

int hs_mean_open(hs_mean **out, const hs_dims *dims, const uint64_t *points, int64_t n_row) {
    const size_t n = (size_t)(n_row ? n_row : 1);
    hs_mean *m;
    *out = NULL;
    int rc = hs_alloc(&m, 1, sizeof *m);
    if (rc) return rc;
    m->dims = *dims;
    m->n_row = n_row;
    rc = copy_points(&m->points, dims, points);
    if (!rc) rc = hs_alloc(&m->at, n_set(dims) * HS_N_POINT, sizeof *m->at);
    for (size_t i = 0; i < n_set(dims) * HS_N_POINT && !rc; i++) {
        const enum hs_point point = (enum hs_point)(i % HS_N_POINT);
        if (!(points[i / HS_N_POINT] & HS_BIT(point))) continue;
        if ((map_bits | HS_BIT(HS_ROW_STATS)) & HS_BIT(point)) {
            rc = hs_fail(HS_EARG, "%s has no mean", hs_point_infos[point].alias);
            break;
        }
        rc = hs_alloc(&m->at[i].sum, n * (size_t)row_width(dims, point), sizeof *m->at[i].sum);
        if (!rc) rc = hs_alloc(&m->at[i].count, n, sizeof *m->at[i].count);
    }
    if (rc)
        hs_mean_close(m);
    else
        *out = m;
    return rc;
}

void hs_mean_close(hs_mean *m) {
    if (!m) return;
    for (size_t i = 0; m->at && i < n_set(&m->dims) * HS_N_POINT; i++) {
        free(m->at[i].sum);
        free(m->at[i].count);
    }
    free(m->at);
    free(m->points);
    free(m);
}

static void add_rows(hs_mean *m, const hs_site *site, const hs_view *view) {
    const struct mean_of *to = &m->at[slot(&m->dims, site->point, site->layer)];
    const int64_t width = row_width(&m->dims, site->point);
    for (int64_t r = 0; to->sum && r < site->n_row; r++) {
        const int64_t row = m->n_row ? site->row0 + r : 0;
        if (m->n_row && row >= m->n_row) break;
        for (int64_t k = 0; k < width; k++) to->sum[row * width + k] += (double)number(view, r, k);
        to->count[row]++;
    }
}

static int mean_rows(void *ctx, enum hs_point point, int layer, int64_t row0, int64_t n,
                     float *out) {
    const hs_mean *m = ctx;
    const struct mean_of *from = &m->at[slot(&m->dims, point, layer)];
    const int64_t width = row_width(&m->dims, point);
    for (int64_t r = 0; r < n; r++) {
        const int64_t row = m->n_row ? row0 + r : 0;
        if (!from->sum || row < 0 || row > (m->n_row ? m->n_row - 1 : 0) || !from->count[row])
            return not_held(point, layer, row0 + r);
        for (int64_t k = 0; k < width; k++)
            *out++ = (float)(from->sum[row * width + k] / (double)from->count[row]);
    }
    return HS_OK;
}

hs_ref hs_mean_ref(hs_mean *m) {
    return (hs_ref){.ctx = m, .n_row = m->n_row ? m->n_row : INT64_MAX, .rows = mean_rows};
}

// ---- running ------------------------------------------------------------------------------------

struct pass {
    const hs_unedited *seq; // of the batch under way
    const hs_progress *progress;
    uint64_t *points; // [n_layer + 1] that somebody wants
    int n_layer;      // run
    int64_t rows, done, total;
};

static int on_rows(void *ctx, const hs_site *site, const hs_view *view) {
    const struct pass *p = ctx;
    const hs_unedited *u = &p->seq[site->seq];
    if (u->held) hold_rows(u->held, site, view);
    if (u->mean) add_rows(u->mean, site, view);
    return HS_OK;
}

static int on_tile(void *ctx, const hs_tile *tile, int worker) {
    const struct pass *p = ctx;
    hs_held *held = p->seq[tile->seq].held;
    (void)worker;
    return held ? hold_tile(held, tile) : HS_OK;
}

static int on_layer_done(void *ctx, int layer) {
    const struct pass *p = ctx;
    return hs_progress_step(p->progress, "unedited tokens",
                            p->done + p->rows * (layer + 1) / p->n_layer, p->total);
}

// What all of them want: points into p, heads into *heads; and how many layers that takes.
static int merge(struct pass *p, hs_heads *heads, const hs_dims *dims, const hs_unedited *seq,
                 int64_t n) {
    const size_t n_head = (size_t)dims->n_layer * (size_t)dims->n_head;
    int rc = hs_alloc(&p->points, n_set(dims), sizeof *p->points);
    if (!rc) rc = hs_heads_parse(heads, dims, "none");
    for (int64_t s = 0; s < n && !rc; s++) {
        p->total += seq[s].prompt->n_token;
        for (size_t l = 0; l < n_set(dims); l++) {
            if (seq[s].held) p->points[l] |= seq[s].held->points[l];
            if (seq[s].mean) p->points[l] |= seq[s].mean->points[l];
        }
        for (size_t h = 0; seq[s].held && h < n_head; h++) heads->on[h] |= seq[s].held->heads.on[h];
    }
    if (rc) return rc;
    const uint64_t start = HS_BIT(HS_EMBED) | HS_BIT(HS_POS_EMBED);
    p->n_layer = p->points[dims->n_layer] & ~start ? dims->n_layer : 1;
    for (int l = p->n_layer; l < dims->n_layer; l++)
        if (p->points[l]) p->n_layer = l + 1;
    return HS_OK;
}

static int run_batches(struct pass *p, hs_context *context, const hs_unedited *seq, int64_t n) {
    const hs_dims dims = hs_dims_of(hs_context_model(context));
    const bool logits = p->points[dims.n_layer] & HS_BIT(HS_LOGITS);
    hs_seq *in;
    int rc = hs_alloc(&in, (size_t)n, sizeof *in);
    for (int64_t first = 0, k; first < n && !rc; first += k) {
        p->seq = seq + first;
        p->rows = 0;
        for (k = 0; first + k < n; k++) {
            const hs_prompt *prompt = p->seq[k].prompt;
            if (k && p->rows + prompt->n_token > BATCH_ROWS) break;
            in[k] = (hs_seq){.tokens = prompt->tokens, .n = prompt->n_token};
            p->rows += prompt->n_token;
        }
        rc = hs_context_eval(context,
                             &(hs_batch){.seq = in,
                                         .n_seq = (int)k,
                                         .layer_to = p->n_layer,
                                         .logits = logits ? HS_LOGITS_ALL : HS_LOGITS_NONE});
        p->done += p->rows;
    }
    free(in);
    return rc;
}

int hs_unedited_run(const hs_model *model, const hs_unedited *seq, int64_t n,
                    const hs_progress *progress) {
    const hs_dims dims = hs_dims_of(model);
    struct pass p = {.progress = progress};
    hs_heads heads = {0};
    hs_hooks *hooks = NULL;
    hs_context *context = NULL;
    int rc = merge(&p, &heads, &dims, seq, n);
    if (!rc) rc = hs_hooks_open(&hooks, &dims);
    if (!rc)
        rc = hs_hooks_add(hooks, &(hs_hook){.points = p.points,
                                            .heads = &heads,
                                            .rows = on_rows,
                                            .tile = on_tile,
                                            .layer_done = on_layer_done,
                                            .ctx = &p});
    if (!rc) rc = hs_context_open(&context, model, NULL);
    if (!rc) {
        hs_context_set_tap(context, hs_hooks_tap(hooks));
        rc = run_batches(&p, context, seq, n);
    }
    hs_context_close(context);
    hs_hooks_close(hooks);
    hs_heads_free(&heads);
    free(p.points);
    return rc;
}
