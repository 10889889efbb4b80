// Attention differentiated: from dz to dq, dk and dv; the formulas are in model/ref/back.c.
//
// A task is one head of one sequence. It goes through tiles of query rows from the first to the
// last, and for each one computes the pattern anew, with the kernels and so the bits of attention:
//
//     s = scale q k^T, masked -> A;  dA = dz v^T -> ds;  dq = ds k;  dk += ds^T q;  dv += A^T dz
//
// so memory grows with a tile's rows x keys, never with the square of the keys. Heads that share
// keys write their parts of dk and dv side by side, and these are added in order of heads, whoever
// computed them. Tiles depend on the sequence's length alone: neighbours change no bit.
//
// About 2.5 times the work of attention.
#include <math.h>
#include <string.h>

#include "model/cpu/kv.h"

enum {
    TILE_ROWS = 64,
    TILE_ROWS_MIN = 16,
    TILE_FLOATS = 1 << 17, // of scores, twice: 1 MiB; above 2,048 keys tiles get lower
    KEY_CHUNK = 1024,      // keys that pass all rows of a tile before the next ones
    STEP = 12,             // keys at a time where a tile's rows begin to see them
};

struct back_job {
    hs_dev *dev;
    const hs_attn_back *a;
    // Parts of dk and dv by query head: the outputs themselves when no keys are shared.
    float *dk, *dv;
    int64_t ld, row0; // their first row is the batch's row0
};

// A task's scratch. Rows of d_pad are padded to whole vectors, rows of scores to whole panels.
struct room {
    int64_t n, rows, ld, d, d_pad; // keys, rows of a tile, of a score row
    float *k_panel, *v_panel;      // [panel][d][nr]
    float *k, *dk, *dv;            // [n][d_pad]
    float *q, *dz, *dq;            // [rows][d_pad]
    float *s, *ds;                 // [rows][ld]
    float *most;                   // [rows][width]
};

// Lays the room out from `base` on; returns its floats.
static int64_t lay_out(struct room *m, const hs_kern *kern, float *base, int64_t n, int64_t d) {
    const int64_t panels = hs_div_up(n, kern->nr) * kern->nr * d;
    *m = (struct room){.n = n, .d = d, .d_pad = hs_kv_pad(kern, d)};
    m->rows = hs_min64(n, hs_max64(TILE_ROWS_MIN, hs_min64(TILE_ROWS, TILE_FLOATS / n)));
    m->ld = hs_div_up(n + kern->nr, 16) * 16;
    if (m->ld % 256 == 0) m->ld += 16; // rows 4 KiB apart would share cache sets
    const struct {
        float **p;
        int64_t n;
    } parts[] = {
        {&m->k_panel, panels},
        {&m->v_panel, panels},
        {&m->k, n * m->d_pad},
        {&m->dk, n * m->d_pad},
        {&m->dv, n * m->d_pad},
        {&m->q, m->rows * m->d_pad},
        {&m->dz, m->rows * m->d_pad},
        {&m->dq, m->rows * m->d_pad},
        {&m->s, m->rows * m->ld},
        {&m->ds, m->rows * m->ld},
        {&m->most, m->rows * kern->width},
    };
    int64_t sum = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (base) *parts[i].p = base + sum;
        sum += hs_div_up(parts[i].n, 16) * 16;
    }
    return sum;
}

static void copy_rows(float *to, int64_t ld_to, const float *from, int64_t ld_from, int64_t n,
                      int64_t d) {
    for (int64_t r = 0; r < n; r++)
        memcpy(to + r * ld_to, from + r * ld_from, (size_t)d * sizeof *to);
}

static void fill_panels(const hs_kern *kern, float *panel, const float *rows, int64_t ld, int64_t n,
                        int64_t d) {
    for (int64_t k = 0; k < n; k += kern->nr)
        kern->transpose(panel + k * d, kern->nr, rows + k * ld, ld, hs_min64(kern->nr, n - k), d);
}

// to = scale x panels^T for query rows from position `pos` on, each up to its own key.
static void products(const hs_kern *kern, const struct room *m, float *to, const float *x,
                     const float *panels, int64_t pos, int64_t n, float scale) {
    for (int64_t i = 0; i < n * kern->width; i++) m->most[i] = -INFINITY;
    for (int64_t k = 0; k < pos + n; k += kern->nr) {
        const int64_t r = hs_max64(0, k - pos); // the first to see any
        kern->scores(to + r * m->ld + k, m->ld, m->most + r * kern->width, x + r * m->d_pad,
                     m->d_pad, panels + k * m->d, n - r, pos + r + 1 - k,
                     hs_min64(kern->nr, pos + n - k), m->d, scale);
    }
}

// to[key] += sum over the tile's rows of w[row, key] x[row].
static void gather(const hs_kern *kern, const struct room *m, float *to, const float *w,
                   const float *x, int64_t pos, int64_t n) {
    kern->gemm_turned(to, m->d_pad, w, m->ld, x, m->d_pad, pos, m->d_pad, n, true);
    for (int64_t i = 0; i < n; i += STEP)
        kern->gemm_turned(to + (pos + i) * m->d_pad, m->d_pad, w + i * m->ld + pos + i, m->ld,
                          x + i * m->d_pad, m->d_pad, hs_min64(STEP, n - i), m->d_pad, n - i, true);
}

// Has the tile's keys masked as they were on the way up.
static int mask(const struct back_job *j, const struct room *m, int64_t task, int64_t pos,
                int64_t n, int worker) {
    const hs_attn_back *a = j->a;
    const hs_tile tile = {.point = HS_SCORES,
                          .layer = a->layer,
                          .head = (int)(task % a->n_head),
                          .seq = (int)(task / a->n_head),
                          .row0 = pos,
                          .n_row = n,
                          .n_key = pos + n,
                          .row = m->s,
                          .ld = m->ld};
    if (!a->tile_want || !a->tile_want[tile.head]) return HS_OK;
    for (int64_t r = 0; r < n; r++)
        for (int64_t k = pos + r + 1; k < pos + n; k++) m->s[r * m->ld + k] = -INFINITY;
    int rc = a->edits->tile(a->edits->ctx, &tile, true, worker);
    j->dev->kern->largest(m->s, m->ld, m->most, n, pos + 1, pos + n);
    return rc;
}

// One tile, from its scores on.
static void tile(const hs_kern *kern, const struct room *m, int64_t pos, int64_t n, float scale) {
    const int64_t keys = pos + n;
    kern->softmax(m->s, m->ld, m->most, n, pos + 1, keys, NULL, 0);
    products(kern, m, m->ds, m->dz, m->v_panel, pos, n, 1);
    kern->softmax_back(m->s, m->ds, m->ld, n, pos + 1, keys, scale);
    for (int64_t k = 0; k < keys; k += KEY_CHUNK) {
        const int64_t r = hs_max64(0, k - pos);
        kern->mix(m->dq + r * m->d_pad, m->d_pad, m->ds + r * m->ld + k, m->ld, m->k + k * m->d_pad,
                  m->d_pad, n - r, m->d_pad, pos + r + 1 - k, hs_min64(KEY_CHUNK, keys - k), k > 0);
    }
    gather(kern, m, m->dk, m->ds, m->q, pos, n);
    gather(kern, m, m->dv, m->s, m->dz, pos, n);
}

static int head_task(void *arg, int64_t task, int worker) {
    const struct back_job *j = arg;
    const hs_attn_back *a = j->a;
    const hs_kern *kern = j->dev->kern;
    const int64_t head = task % a->n_head, *seq = a->seq + task / a->n_head;
    const int64_t d = a->d_head, n = seq[1] - seq[0];
    const int64_t at_q = seq[0] * a->ld_q + head * d,
                  at_part = (seq[0] - j->row0) * j->ld + head * d;
    const int64_t at_kv = seq[0] * a->ld_kv + head / (a->n_head / a->n_kv_head) * d;
    struct room m;
    lay_out(&m, kern, j->dev->scratch[worker].p, n, d);
    const float *k = (const float *)a->k + at_kv;
    int rc = HS_OK;
    fill_panels(kern, m.k_panel, k, a->ld_kv, n, d);
    fill_panels(kern, m.v_panel, (const float *)a->v + at_kv, a->ld_kv, n, d);
    copy_rows(m.k, m.d_pad, k, a->ld_kv, n, d);
    memset(m.dk, 0, (size_t)(n * m.d_pad) * sizeof *m.dk);
    memset(m.dv, 0, (size_t)(n * m.d_pad) * sizeof *m.dv);
    for (int64_t pos = 0; pos < n && !rc; pos += m.rows) {
        const int64_t rows = hs_min64(m.rows, n - pos), at = at_q + pos * a->ld_q;
        copy_rows(m.q, m.d_pad, (const float *)a->q + at, a->ld_q, rows, d);
        copy_rows(m.dz, m.d_pad, (const float *)a->dz + at, a->ld_q, rows, d);
        products(kern, &m, m.s, m.q, m.k_panel, pos, rows, (float)a->scale);
        rc = mask(j, &m, task, pos, rows, worker);
        tile(kern, &m, pos, rows, (float)a->scale);
        copy_rows((float *)a->dq + at, a->ld_q, m.dq, m.d_pad, rows, d);
    }
    copy_rows(j->dk + at_part, j->ld, m.dk, m.d_pad, n, d);
    copy_rows(j->dv + at_part, j->ld, m.dv, m.d_pad, n, d);
    return rc;
}

// A row of dk and dv: the sum of what its heads sent.
static int group_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct back_job *j = arg;
    const hs_attn_back *a = j->a;
    const int64_t row = a->seq[0] + task, group = a->n_head / a->n_kv_head, d = a->d_head;
    for (int which = 0; which < 2; which++)
        for (int64_t g = 0; g < a->n_kv_head; g++) {
            float *to = (float *)(which ? a->dv : a->dk) + row * a->ld_kv + g * d;
            const float *from = (which ? j->dv : j->dk) + task * j->ld + g * group * d;
            memcpy(to, from, (size_t)d * sizeof *to);
            for (int64_t h = 1; h < group; h++) j->dev->kern->add(to, to, from + h * d, d);
        }
    return HS_OK;
}

int64_t hs_cpu_attention_back_scratch(const hs_dev *dev, const hs_extent *e) {
    // Tiles get lower as keys get more: the largest are the last, or the last of full height.
    const int64_t keys[] = {hs_min64(e->n_key, TILE_FLOATS / TILE_ROWS), e->n_key};
    int64_t most = 0;
    for (int i = 0; i < 2 && e->back_rows; i++) {
        struct room m;
        most = hs_max64(most, lay_out(&m, dev->kern, NULL, keys[i], e->d_head));
    }
    return most;
}

int64_t hs_cpu_attention_back_parts(const hs_extent *e) {
    return 2 * e->back_rows * e->n_head * e->d_head;
}

int hs_cpu_attention_back(hs_dev *dev, const hs_attn_back *a) {
    if (a->n_kv_head < 1 || a->n_head % a->n_kv_head)
        return hs_fail(HS_EARG, "attention: %lld heads share %lld keys", (long long)a->n_head,
                       (long long)a->n_kv_head);
    const int64_t rows = a->n_seq ? a->seq[a->n_seq] - a->seq[0] : 0, width = a->n_head * a->d_head;
    hs_extent e = {.d_head = a->d_head, .back_rows = rows, .n_head = a->n_head};
    int64_t work = 0;
    for (int s = 0; s < a->n_seq; s++) {
        const int64_t n = a->seq[s + 1] - a->seq[s];
        e.n_key = hs_max64(e.n_key, n);
        work += n * n * width;
    }
    if (rows < 1) return HS_OK;
    struct back_job j = {dev, a, a->dk, a->dv, a->ld_kv, 0};
    int rc = hs_cpu_scratch(dev, hs_cpu_attention_back_scratch(dev, &e));
    if (!rc && a->n_head > a->n_kv_head) {
        rc = hs_cpu_block_need(&dev->parts, hs_cpu_attention_back_parts(&e));
        j.dk = dev->parts.p;
        j.dv = j.dk + rows * width;
        j.ld = width;
        j.row0 = a->seq[0];
    }
    if (!rc) rc = hs_cpu_run(dev, a->n_seq * a->n_head, head_task, &j, work);
    if (!rc && a->n_head > a->n_kv_head) rc = hs_cpu_run(dev, rows, group_task, &j, rows * width);
    return rc;
}
