// GGUF's block formats. A block holds 32 or 256 small integers q under shared scales; every
// function below splits one format's blocks into integers and the scale and minimum of each group,
// and a number is q scale + min in f32. The product is exact in all of them (a scale has at most
// 18 bits, an integer 6, or 11 and 8), so fused or not, the results are ggml's to the bit.
//
//   32 items:  d, m are binary16; a byte of qs holds item j in its low and item j + 16 in its
//              high nibble; fifth bits are gathered in one 32-bit word qh.
//              q4_0 d (q - 8)    q4_1 d q + m    q5_0 d (q - 16)    q5_1 d q + m    q8_0 d q
//   256 items: sub-blocks of 16 or 32 have small integer scales s (and minima t) of their own,
//              under the block's d (and dmin):
//              q2_k, q4_k, q5_k (d s) q - (dmin t)    q3_k, q6_k (d s) q with signed q
//
// Signed integers have their offset taken off already (q4_0 gives -8 .. 7).
//
// Layouts: ggml-common.h of ggml (block_q*). The inner loops have fixed lengths and restricted
// pointers so that compilers vectorise them.
#include "model/core/quant.h"

#include <assert.h>
#include <string.h>

#include "model/core/dtype.h"

// Blocks lie at any address, so every member is made of bytes.
typedef uint8_t half[2];

// clang-format off
struct q4_0 { half d; uint8_t qs[16]; };
struct q4_1 { half d, m; uint8_t qs[16]; };
struct q5_0 { half d; uint8_t qh[4], qs[16]; };
struct q5_1 { half d, m; uint8_t qh[4], qs[16]; };
struct q8_0 { half d; int8_t qs[32]; };
struct q2_k { uint8_t scales[16], qs[64]; half d, dmin; };
struct q3_k { uint8_t hmask[32], qs[64], scales[12]; half d; };
struct q4_k { half d, dmin; uint8_t scales[12], qs[128]; };
struct q5_k { half d, dmin; uint8_t scales[12], qh[32], qs[128]; };
struct q6_k { uint8_t ql[128], qh[64]; int8_t scales[16]; half d; };
// clang-format on

static_assert(sizeof(struct q4_0) == 18, "q4_0");
static_assert(sizeof(struct q4_1) == 20, "q4_1");
static_assert(sizeof(struct q5_0) == 22, "q5_0");
static_assert(sizeof(struct q5_1) == 24, "q5_1");
static_assert(sizeof(struct q8_0) == 34, "q8_0");
static_assert(sizeof(struct q2_k) == 84, "q2_k");
static_assert(sizeof(struct q3_k) == 110, "q3_k");
static_assert(sizeof(struct q4_k) == 144, "q4_k");
static_assert(sizeof(struct q5_k) == 176, "q5_k");
static_assert(sizeof(struct q6_k) == 210, "q6_k");

static inline float get(const half h) {
    return hs_f16_to_f32((uint16_t)(h[0] | h[1] << 8));
}

static inline uint32_t get_u32(const uint8_t b[4]) {
    uint32_t v;
    memcpy(&v, b, sizeof v);
    return v;
}

// ---- 32 items ---------------------------------------------------------------------------------

static void nibbles(const uint8_t *restrict qs, int8_t *restrict q, int offset) {
    for (int j = 0; j < 16; j++) q[j] = (int8_t)((qs[j] & 15) - offset);
    for (int j = 0; j < 16; j++) q[j + 16] = (int8_t)((qs[j] >> 4) - offset);
}

static void split_q4_0(const void *src, int8_t *q, float *scale, float *min, int64_t n) {
    const struct q4_0 *b = src;
    for (int64_t i = 0; i < n; i += 32, b++, q += 32) {
        *scale++ = get(b->d);
        *min++ = 0;
        nibbles(b->qs, q, 8);
    }
}

static void split_q4_1(const void *src, int8_t *q, float *scale, float *min, int64_t n) {
    const struct q4_1 *b = src;
    for (int64_t i = 0; i < n; i += 32, b++, q += 32) {
        *scale++ = get(b->d);
        *min++ = get(b->m);
        nibbles(b->qs, q, 0);
    }
}

// The 5-bit integers of a block: nibbles from qs, fifth bits from qh.
static void join5(const uint8_t *restrict qs, uint32_t qh, int8_t *restrict q, int offset) {
    for (int j = 0; j < 16; j++)
        q[j] = (int8_t)((int)((qs[j] & 15u) | (qh >> j & 1) << 4) - offset);
    for (int j = 0; j < 16; j++)
        q[j + 16] = (int8_t)((int)((uint32_t)qs[j] >> 4 | (qh >> (j + 16) & 1) << 4) - offset);
}

static void split_q5_0(const void *src, int8_t *q, float *scale, float *min, int64_t n) {
    const struct q5_0 *b = src;
    for (int64_t i = 0; i < n; i += 32, b++, q += 32) {
        *scale++ = get(b->d);
        *min++ = 0;
        join5(b->qs, get_u32(b->qh), q, 16);
    }
}

static void split_q5_1(const void *src, int8_t *q, float *scale, float *min, int64_t n) {
    const struct q5_1 *b = src;
    for (int64_t i = 0; i < n; i += 32, b++, q += 32) {
        *scale++ = get(b->d);
        *min++ = get(b->m);
        join5(b->qs, get_u32(b->qh), q, 0);
    }
}

static void split_q8_0(const void *src, int8_t *q, float *scale, float *min, int64_t n) {
    const struct q8_0 *b = src;
    for (int64_t i = 0; i < n; i += 32, b++, q += 32) {
        *scale++ = get(b->d);
        *min++ = 0;
        memcpy(q, b->qs, 32);
    }
}

// ---- 256 items --------------------------------------------------------------------------------

// Two bits an item: byte l of a half's 32 bytes holds items l, l + 32, l + 64 and l + 96 of 128.
// Sub-blocks of 16 with a 4-bit scale (low) and a 4-bit minimum (high).
static void split_q2_k(const void *src, int8_t *restrict q, float *scale, float *min, int64_t n) {
    const struct q2_k *b = src;
    for (int64_t i = 0; i < n; i += 256, b++) {
        const float d = get(b->d), dmin = get(b->dmin);
        for (int s = 0; s < 16; s++, q += 16) {
            const uint8_t *qs = b->qs + s / 8 * 32 + s % 2 * 16;
            const int shift = s % 8 / 2 * 2;
            *scale++ = d * (float)(b->scales[s] & 15);
            *min++ = -(dmin * (float)(b->scales[s] >> 4));
            for (int j = 0; j < 16; j++) q[j] = (int8_t)(qs[j] >> shift & 3);
        }
    }
}

// As q2_k with a third bit in hmask (bit s / 2 of byte l) that is set when 4 is NOT taken off, and
// 6-bit scales less 32: low nibbles in bytes 0-7, upper two bits in bytes 8-11.
static void split_q3_k(const void *src, int8_t *restrict q, float *scale, float *min, int64_t n) {
    const struct q3_k *b = src;
    for (int64_t i = 0; i < n; i += 256, b++) {
        const float d = get(b->d);
        for (int s = 0; s < 16; s++, q += 16) {
            const uint8_t *qs = b->qs + s / 8 * 32 + s % 2 * 16, *h = b->hmask + s % 2 * 16;
            const int shift = s % 8 / 2 * 2;
            const int low = b->scales[s % 8] >> s / 8 * 4 & 15;
            const int high = b->scales[8 + s % 4] >> s / 4 * 2 & 3;
            *scale++ = d * (float)((low | high << 4) - 32);
            *min++ = 0;
            for (int j = 0; j < 16; j++)
                q[j] = (int8_t)((qs[j] >> shift & 3) + (h[j] >> s / 2 & 1) * 4 - 4);
        }
    }
}

// Eight 6-bit scales and eight 6-bit minima in 12 bytes: the first four of each are the low bits
// of bytes 0-3 and 4-7; the last four are nibbles of bytes 8-11 under those bytes' upper two bits.
static void scale_min(const uint8_t *p, int s, float d, float dmin, float *scale, float *min) {
    int a, b;
    if (s < 4) {
        a = p[s] & 63;
        b = p[s + 4] & 63;
    } else {
        a = (p[s + 4] & 15) | p[s - 4] >> 6 << 4;
        b = p[s + 4] >> 4 | p[s] >> 6 << 4;
    }
    *scale = d * (float)a;
    *min = -(dmin * (float)b);
}

// Sub-blocks of 32; 32 bytes hold two of them, in their low and their high nibbles.
static void split_q4_k(const void *src, int8_t *restrict q, float *scale, float *min, int64_t n) {
    const struct q4_k *b = src;
    for (int64_t i = 0; i < n; i += 256, b++) {
        const float d = get(b->d), dmin = get(b->dmin);
        for (int s = 0; s < 8; s++, q += 32) {
            const uint8_t *qs = b->qs + s / 2 * 32;
            const int shift = s % 2 * 4;
            scale_min(b->scales, s, d, dmin, scale++, min++);
            for (int j = 0; j < 32; j++) q[j] = (int8_t)(qs[j] >> shift & 15);
        }
    }
}

// q4_k with a fifth bit: bit s of byte j of qh.
static void split_q5_k(const void *src, int8_t *restrict q, float *scale, float *min, int64_t n) {
    const struct q5_k *b = src;
    for (int64_t i = 0; i < n; i += 256, b++) {
        const float d = get(b->d), dmin = get(b->dmin);
        for (int s = 0; s < 8; s++, q += 32) {
            const uint8_t *qs = b->qs + s / 2 * 32, *h = b->qh;
            const int shift = s % 2 * 4;
            scale_min(b->scales, s, d, dmin, scale++, min++);
            for (int j = 0; j < 32; j++)
                q[j] = (int8_t)((qs[j] >> shift & 15) | (h[j] >> s & 1) << 4);
        }
    }
}

// Six bits less 32, in sub-blocks of 16 with signed 8-bit scales. Per 128 items: 64 bytes of ql
// (low nibbles items 0-63, high nibbles 64-127) and 32 bytes of qh (two bits per 32 items).
static void split_q6_k(const void *src, int8_t *restrict q, float *scale, float *min, int64_t n) {
    const struct q6_k *b = src;
    for (int64_t i = 0; i < n; i += 256, b++) {
        const float d = get(b->d);
        for (int s = 0; s < 16; s++, q += 16) {
            const int group = s % 8 / 2; // which 32 of the half's 128
            const uint8_t *l = b->ql + s / 8 * 64 + group % 2 * 32 + s % 2 * 16;
            const uint8_t *h = b->qh + s / 8 * 32 + s % 2 * 16;
            const int lshift = group / 2 * 4, hshift = group * 2;
            *scale++ = d * (float)b->scales[s];
            *min++ = 0;
            for (int j = 0; j < 16; j++)
                q[j] = (int8_t)(((l[j] >> lshift & 15) | (h[j] >> hshift & 3) << 4) - 32);
        }
    }
}

// ---- all of them ------------------------------------------------------------------------------

// clang-format off
const hs_quant hs_quant_q4_0 = {32, 4, 8, false, split_q4_0};
const hs_quant hs_quant_q4_1 = {32, 4, 0, true,  split_q4_1};
const hs_quant hs_quant_q5_0 = {32, 8, 0, false, split_q5_0};
const hs_quant hs_quant_q5_1 = {32, 8, 0, true,  split_q5_1};
const hs_quant hs_quant_q8_0 = {32, 8, 0, false, split_q8_0};
const hs_quant hs_quant_q2_k = {16, 4, 0, true,  split_q2_k};
const hs_quant hs_quant_q3_k = {16, 4, 4, false, split_q3_k};
const hs_quant hs_quant_q4_k = {32, 4, 0, true,  split_q4_k};
const hs_quant hs_quant_q5_k = {32, 8, 0, true,  split_q5_k};
const hs_quant hs_quant_q6_k = {16, 8, 0, false, split_q6_k};
// clang-format on

// A block at a time, so that the integers stay in the first cache.
static void to_f32(const hs_quant *f, int items, size_t bytes, const void *src, float *restrict y,
                   int64_t n) {
    int8_t q[256];
    float scale[16], min[16];
    for (int64_t i = 0; i < n; i += items) {
        f->split((const char *)src + (size_t)(i / items) * bytes, q, scale, min, items);
        for (int g = 0; g < items / f->group; g++, y += f->group) {
            const int8_t *restrict of = q + g * f->group;
            for (int j = 0; j < f->group; j++) y[j] = (float)of[j] * scale[g];
            for (int j = 0; f->has_min && j < f->group; j++) y[j] += min[g];
        }
    }
}

void hs_q4_0_to_f32(const void *src, float *dst, int64_t n) {
    to_f32(&hs_quant_q4_0, 32, sizeof(struct q4_0), src, dst, n);
}
void hs_q4_1_to_f32(const void *src, float *dst, int64_t n) {
    to_f32(&hs_quant_q4_1, 32, sizeof(struct q4_1), src, dst, n);
}
void hs_q5_0_to_f32(const void *src, float *dst, int64_t n) {
    to_f32(&hs_quant_q5_0, 32, sizeof(struct q5_0), src, dst, n);
}
void hs_q5_1_to_f32(const void *src, float *dst, int64_t n) {
    to_f32(&hs_quant_q5_1, 32, sizeof(struct q5_1), src, dst, n);
}
void hs_q8_0_to_f32(const void *src, float *dst, int64_t n) {
    to_f32(&hs_quant_q8_0, 32, sizeof(struct q8_0), src, dst, n);
}
void hs_q2_k_to_f32(const void *src, float *dst, int64_t n) {
    to_f32(&hs_quant_q2_k, 256, sizeof(struct q2_k), src, dst, n);
}
void hs_q3_k_to_f32(const void *src, float *dst, int64_t n) {
    to_f32(&hs_quant_q3_k, 256, sizeof(struct q3_k), src, dst, n);
}
void hs_q4_k_to_f32(const void *src, float *dst, int64_t n) {
    to_f32(&hs_quant_q4_k, 256, sizeof(struct q4_k), src, dst, n);
}
void hs_q5_k_to_f32(const void *src, float *dst, int64_t n) {
    to_f32(&hs_quant_q5_k, 256, sizeof(struct q5_k), src, dst, n);
}
void hs_q6_k_to_f32(const void *src, float *dst, int64_t n) {
    to_f32(&hs_quant_q6_k, 256, sizeof(struct q6_k), src, dst, n);
}
