// Packing a weight: panels of nr rows (64 with 512-bit vectors), each transposed in 32-bit words so
// that the kernels read it as one stream; kern_panel.h tells what a word holds.
//
// KEEP stores the numbers as the file does: f16 and bf16 two in a word, the integers of block
// formats four or eight, with a scale and a minimum of f32 beside each group of 16 or 32. A weight
// of q4_1 takes 6 bits then. EXPAND stores f32. Both give the same bits. For products in bf16 all
// weights are rounded to bf16 here, once.
//
// The panel is made a strip at a time, 16 rows by 768 columns: rows to words, words transposed.
// Numbers that are not finite are found here, where every weight passes by once.
#include "model/cpu/panel.h"

#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"
#include "model/core/quant.h"

enum {
    STEP = 768, // columns and
    GROUP = 16, // rows of a strip: whole blocks and groups of every format
    LEAST_GROUP = 16,
    STRIP = GROUP * STEP,
    SCALES = GROUP * STEP / LEAST_GROUP,
};

// Numbers of a word, and what the exponent of one that is not finite has set.
static const struct {
    int digits;
    uint32_t exponent;
} formats[HS_N_PANEL] = {
    [HS_PANEL_F32] = {1, 0x7f800000}, [HS_PANEL_F16] = {2, 0x7c00}, [HS_PANEL_BF16] = {2, 0x7f80},
    [HS_PANEL_Q8] = {4, 0},           [HS_PANEL_Q4] = {8, 0},
};

struct pack_job {
    hs_dev *dev;
    const hs_weight *w;
    const hs_view *view;
    const int32_t *row_of;
};

// Worker scratch while packing.
struct strip {
    int32_t words[STRIP];
    float scale[SCALES], min[SCALES]; // [GROUP][columns / group]
    float row[STEP];                  // a row of the strip in f32, or its integers
};

// ---- rows to words ------------------------------------------------------------------------------

static uint32_t narrow(enum hs_panel_format f, float x) {
    return f == HS_PANEL_BF16 ? hs_bf16_of_f32(x) : hs_f16_of_f32(x);
}

// Eight integers, a byte each, as q + offset in 0 .. 15, side by side in one word. The low four
// bits of the sum are right, and masked before and after no byte carries into the next.
static int32_t join_nibbles(const int8_t *q, int offset) {
    const uint64_t low = UINT64_C(0x0f0f0f0f0f0f0f0f);
    uint64_t x;
    memcpy(&x, q, sizeof x);
    x = ((x & low) + UINT64_C(0x0101010101010101) * (uint64_t)offset) & low;
    x = (x | x >> 4) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x | x >> 8) & UINT64_C(0x0000ffff0000ffff);
    return (int32_t)(uint32_t)(x | x >> 16);
}

static const uint8_t *stored(const hs_view *v, int64_t row, int64_t k) {
    const hs_dtype_traits *t = &hs_dtypes[v->dtype];
    return (const uint8_t *)v->data + (row * v->stride[0] + k) / t->items * t->bytes;
}

static void quant_words(const struct pack_job *job, int64_t row, int64_t k, int64_t n, int32_t *dst,
                        float *scale, float *min, struct strip *s) {
    const hs_quant *q = hs_dtypes[job->view->dtype].quant;
    int8_t *of = (int8_t *)s->row;
    q->split(stored(job->view, row, k), of, scale, min, n);
    if (q->bits == 8) {
        memcpy(dst, of, (size_t)n);
        return;
    }
    for (int64_t i = 0; i < n / 8; i++) dst[i] = join_nibbles(of + 8 * i, q->offset);
    for (int64_t g = 0; q->offset && g < n / q->group; g++) min[g] = -scale[g] * (float)q->offset;
}

static void plain_words(const struct pack_job *job, int64_t row, int64_t k, int64_t n, int32_t *dst,
                        struct strip *s) {
    const hs_weight *w = job->w;
    const hs_dtype_traits *t = &hs_dtypes[job->view->dtype];
    if (w->digits == 1) {
        hs_view_row(job->view, row, k, n, (float *)dst);
        return;
    }
    dst[(n - 1) / 2] = 0; // an odd row leaves half a word
    if (job->view->stride[1] == 1 && t->bytes == 2 &&
        (job->view->dtype == HS_BF16) == (w->format == HS_PANEL_BF16)) {
        memcpy(dst, stored(job->view, row, k), (size_t)n * 2);
        return;
    }
    hs_view_row(job->view, row, k, n, s->row);
    if (n % 2) s->row[n] = 0;
    for (int64_t i = 0; i < hs_div_up(n, 2); i++)
        dst[i] = (int32_t)(narrow(w->format, s->row[2 * i]) | narrow(w->format, s->row[2 * i + 1])
                                                                  << 16);
}

// ---- panels -------------------------------------------------------------------------------------

// A view stored transposed: a column of W is a run in memory, and the panel's rows are such runs.
static void fill_turned(const struct pack_job *job, int64_t row0, int64_t rows, int32_t *panel,
                        struct strip *s) {
    const hs_weight *w = job->w;
    hs_view t = *job->view;
    t.stride[0] = job->view->stride[1];
    t.stride[1] = 1;
    for (int64_t k = 0; k < w->k; k++) {
        int32_t *dst = panel + k / w->digits * w->kern->nr;
        hs_view_row(&t, k, row0, rows, w->digits == 1 ? (float *)dst : s->row);
        for (int64_t r = 0; w->digits == 2 && r < rows; r++)
            dst[r] |= (int32_t)(narrow(w->format, s->row[r]) << 16 * (k % 2));
    }
}

static void fill_panel(const struct pack_job *job, int64_t panel, struct strip *s) {
    const hs_weight *w = job->w;
    const hs_kern *kern = w->kern;
    const int64_t nr = kern->nr, row0 = panel * nr, rows = hs_min64(nr, w->n - row0);
    float *words = w->data.p + panel * (w->words + 2 * w->groups) * nr;
    float *scale = words + w->words * nr, *min = scale + w->groups * nr;
    if (job->view->stride[0] == 1 && job->view->stride[1] != 1 && !job->row_of) {
        fill_turned(job, row0, rows, (int32_t *)words, s);
        return;
    }
    for (int64_t k = 0; k < w->k; k += STEP)
        for (int64_t r = 0; r < rows; r += GROUP) {
            const int64_t n = hs_min64(STEP, w->k - k), group = hs_min64(GROUP, rows - r);
            const int64_t n_word = hs_div_up(n, w->digits), n_scale = w->group ? n / w->group : 0;
            for (int64_t i = 0; i < group; i++) {
                const int64_t row = job->row_of ? job->row_of[row0 + r + i] : row0 + r + i;
                int32_t *to = s->words + i * n_word;
                if (w->group)
                    quant_words(job, row, k, n, to, s->scale + i * n_scale, s->min + i * n_scale,
                                s);
                else
                    plain_words(job, row, k, n, to, s);
            }
            kern->transpose(words + k / w->digits * nr + r, nr, (const float *)s->words, n_word,
                            group, n_word);
            if (!w->group) continue;
            kern->transpose(scale + k / w->group * nr + r, nr, s->scale, n_scale, group, n_scale);
            kern->transpose(min + k / w->group * nr + r, nr, s->min, n_scale, group, n_scale);
        }
}

// The first of n words that holds a number with all exponent bits set, -1 for none.
static int64_t find_infinite(const float *words, int64_t n, uint32_t low, uint32_t high) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t x;
        memcpy(&x, words + i, sizeof x);
        if ((x & low) == low || (x & high) == high) return i;
    }
    return -1;
}

// Names the first weight of a panel that is no finite number.
static int check_finite(const hs_weight *w, int64_t panel) {
    const int64_t nr = w->kern->nr, n = (w->words + 2 * w->groups) * nr;
    const float *words = w->data.p + panel * n;
    uint32_t low = formats[w->format].exponent, high = w->digits == 2 ? low << 16 : low;
    int64_t from = 0, per_row = w->digits;
    if (w->group) { // integers are finite: look at their scales
        low = high = formats[HS_PANEL_F32].exponent;
        from = w->words * nr;
        per_row = w->group;
    }
    const int64_t at = find_infinite(words + from, n - from, low, high);
    if (at < 0) return HS_OK;
    const int64_t row = at / nr % (w->group ? w->groups : w->words);
    uint32_t x;
    memcpy(&x, words + from + at, sizeof x);
    return hs_fail(HS_EFORMAT, "the weight at row %lld, column %lld is not a finite number",
                   (long long)(panel * nr + at % nr),
                   (long long)(row * per_row + (w->digits == 2 && (x & low) != low)));
}

static int pack_task(void *arg, int64_t task, int worker) {
    const struct pack_job *job = arg;
    fill_panel(job, task, (struct strip *)job->dev->scratch[worker].p);
    return check_finite(job->w, task);
}

static enum hs_panel_format choose_format(const hs_dev *dev, const hs_view *v,
                                          enum hs_weight_mode mode) {
    const hs_quant *q = hs_dtypes[v->dtype].quant;
    if (dev->precision == HS_PREC_BF16) return HS_PANEL_BF16;
    if (mode == HS_WEIGHT_EXPAND) return HS_PANEL_F32;
    if (q) return q->bits == 4 ? HS_PANEL_Q4 : HS_PANEL_Q8;
    return v->dtype == HS_BF16 ? HS_PANEL_BF16 : v->dtype == HS_F16 ? HS_PANEL_F16 : HS_PANEL_F32;
}

static void shape_weight(hs_weight *w, const hs_dev *dev, const hs_view *view,
                         enum hs_weight_mode mode) {
    w->kern = dev->kern;
    w->n = view->shape[0];
    w->k = view->shape[1];
    w->format = choose_format(dev, view, mode);
    w->digits = formats[w->format].digits;
    w->words = hs_div_up(w->k, w->digits);
    if (w->digits > 2) {
        w->group = hs_dtypes[view->dtype].quant->group;
        w->groups = w->k / w->group;
    }
}

int64_t hs_cpu_weight_bytes(const hs_dev *dev, const hs_view *view, enum hs_weight_mode mode) {
    hs_weight w = {0};
    if (hs_view_row_check(view)) return 0;
    shape_weight(&w, dev, view, mode);
    return hs_cpu_panel_count(&w) * w.kern->nr * (w.words + 2 * w.groups) * (int64_t)sizeof(float);
}

int hs_cpu_pack(hs_dev *dev, hs_weight **out, const hs_view *view, const int32_t *row_of,
                enum hs_weight_mode mode) {
    *out = NULL;
    hs_weight *w = NULL;
    int rc = hs_view_row_check(view);
    if (rc) return rc;
    if ((rc = hs_alloc(&w, 1, sizeof *w))) return rc;
    shape_weight(w, dev, view, mode);
    const int64_t n_panel = hs_cpu_panel_count(w);
    rc = hs_cpu_block_get(&w->data, n_panel * w->kern->nr, w->words + 2 * w->groups);
    if (!rc) rc = hs_cpu_scratch(dev, (int64_t)(sizeof(struct strip) / sizeof(float)));
    if (!rc)
        rc = hs_cpu_run(dev, n_panel, pack_task, &(struct pack_job){dev, w, view, row_of},
                        w->n * w->k);
    if (rc)
        hs_cpu_unpack(w);
    else
        *out = w;
    return rc;
}

void hs_cpu_unpack(hs_weight *w) {
    if (!w) return;
    hs_cpu_block_free(&w->data);
    free(w);
}
