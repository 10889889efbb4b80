// RoPE (Su et al. 2021) and its scalings: linear (position interpolation), dynamic NTK, YaRN (Peng
// et al. 2023), Llama 3's wavelength rule. Frequency i of a head of d rotating numbers is
// theta^(-2i/d); scalings change the frequencies, YaRN also multiplies cos and sin.
//
// Every step that transformers takes in f32 is taken in f32 here, in the same order, with powers
// and cosines rounded once from double.
#include "model/rope.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/arch.h"

static const double TWO_PI = 6.283185307179586476925;

static float power(float base, float exponent) {
    return (float)pow((double)base, (double)exponent);
}

// theta^(2i/d): the wavelengths over 2 pi.
static float period(float theta, int64_t i, int64_t dim) {
    return power(theta, (float)(2 * i) / (float)dim);
}

// ---- scalings -----------------------------------------------------------------------------------

// Slow wavelengths are divided by the factor, fast ones kept, those between blended.
static float scale_llama3(const hs_config *c, float freq) {
    const double ctx = (double)c->rope_orig_ctx;
    const float wave = 1.0f / freq * (float)TWO_PI;
    const float low = (float)(ctx / c->rope_low_freq), high = (float)(ctx / c->rope_high_freq);
    const float factor = (float)c->rope_factor;
    if (wave > low) return freq / factor;
    if (wave < high) return freq;
    const float smooth = (1.0f / wave * (float)ctx - (float)c->rope_low_freq) /
                         (float)(c->rope_high_freq - c->rope_low_freq);
    return (1.0f - smooth) * freq / factor + smooth * freq;
}

// The dimension that turns `turns` times over the trained context.
static double yarn_dim(const hs_config *c, double turns) {
    return (double)c->rope_dim * log((double)c->rope_orig_ctx / (turns * TWO_PI)) /
           (2.0 * log(c->rope_theta));
}

// Where the ramp between fast and slow dimensions starts and ends.
static void yarn_ramp(const hs_config *c, double *from, double *to) {
    *from = yarn_dim(c, c->rope_beta_fast);
    *to = yarn_dim(c, c->rope_beta_slow);
    if (c->rope_truncate) {
        *from = floor(*from);
        *to = ceil(*to);
    }
    *from = fmax(*from, 0);
    *to = fmin(*to, (double)(c->rope_dim - 1));
    if (*from == *to) *to += 0.001;
}

// Fast dimensions keep their frequency, slow ones are interpolated, a linear ramp between.
static void freqs_yarn(const hs_config *c, float *freq) {
    double from, to;
    yarn_ramp(c, &from, &to);
    for (int64_t i = 0; i < c->rope_dim / 2; i++) {
        const float wave = period((float)c->rope_theta, i, c->rope_dim);
        const float kept = 1.0f / wave, stretched = 1.0f / ((float)c->rope_factor * wave);
        float ramp = ((float)i - (float)from) / (float)(to - from);
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        const float keep = 1.0f - ramp;
        freq[i] = stretched * (1.0f - keep) + kept * keep;
    }
}

// Dynamic NTK: a longer sequence raises theta. Up to the trained context the formula stands too,
// in double, where it only rounds.
static float theta_dynamic(const hs_config *c, int64_t n_total) {
    const double f = c->rope_factor, ctx = (double)c->rope_orig_ctx;
    const double exponent = (double)c->rope_dim / (double)(c->rope_dim - 2);
    if (n_total <= c->rope_orig_ctx)
        return (float)(c->rope_theta * pow(f * ctx / ctx - (f - 1), exponent));
    const float grown = (float)f * (float)n_total / (float)ctx - (float)(f - 1);
    return (float)c->rope_theta * (float)pow((double)grown, exponent);
}

void hs_rope_freqs(const hs_config *c, int64_t n_total, float *freq) {
    if (c->rope_scaling == HS_ROPE_YARN) {
        freqs_yarn(c, freq);
        return;
    }
    const float theta = c->rope_scaling == HS_ROPE_DYNAMIC ? theta_dynamic(c, n_total)
                                                           : (float)c->rope_theta;
    for (int64_t i = 0; i < c->rope_dim / 2; i++) {
        freq[i] = 1.0f / period(theta, i, c->rope_dim);
        if (c->rope_scaling == HS_ROPE_LINEAR) freq[i] /= (float)c->rope_factor;
        if (c->rope_scaling == HS_ROPE_LLAMA3) freq[i] = scale_llama3(c, freq[i]);
    }
}

void hs_rope_row(const hs_config *c, const float *freq, int64_t pos, float *cos_sin) {
    const int64_t half = c->rope_dim / 2;
    const float gain = (float)c->rope_attn_factor;
    for (int64_t i = 0; i < half; i++) {
        const float angle = (float)pos * freq[i];
        cos_sin[i] = (float)cos((double)angle) * gain;
        cos_sin[half + i] = (float)sin((double)angle) * gain;
    }
}

// ---- in double -------------------------------------------------------------------------------

static double theta_f64(const hs_config *c, int64_t n_total) {
    const double f = c->rope_factor, d = (double)c->rope_dim;
    if (c->rope_scaling != HS_ROPE_DYNAMIC || n_total <= c->rope_orig_ctx) return c->rope_theta;
    return c->rope_theta *
           pow(f * (double)n_total / (double)c->rope_orig_ctx - (f - 1), d / (d - 2));
}

static double scale_llama3_f64(const hs_config *c, double freq) {
    const double turns = (double)c->rope_orig_ctx * freq / TWO_PI; // over the trained context
    const double keep = (turns - c->rope_low_freq) / (c->rope_high_freq - c->rope_low_freq);
    const double share = fmin(fmax(keep, 0), 1);
    return share * freq + (1 - share) * freq / c->rope_factor;
}

static double scale_yarn_f64(const hs_config *c, double freq, int64_t i) {
    double from, to;
    yarn_ramp(c, &from, &to);
    const double stretch = fmin(fmax(((double)i - from) / (to - from), 0), 1);
    return stretch * freq / c->rope_factor + (1 - stretch) * freq;
}

void hs_rope_freqs_f64(const hs_config *c, int64_t n_total, double *freq) {
    const double theta = theta_f64(c, n_total);
    for (int64_t i = 0; i < c->rope_dim / 2; i++) {
        freq[i] = pow(theta, -2 * (double)i / (double)c->rope_dim);
        if (c->rope_scaling == HS_ROPE_LINEAR) freq[i] /= c->rope_factor;
        if (c->rope_scaling == HS_ROPE_LLAMA3) freq[i] = scale_llama3_f64(c, freq[i]);
        if (c->rope_scaling == HS_ROPE_YARN) freq[i] = scale_yarn_f64(c, freq[i], i);
    }
}

void hs_rope_row_f64(const hs_config *c, const double *freq, int64_t pos, double *cos_sin) {
    const int64_t half = c->rope_dim / 2;
    for (int64_t i = 0; i < half; i++) {
        const double angle = (double)pos * freq[i];
        cos_sin[i] = cos(angle) * c->rope_attn_factor;
        cos_sin[half + i] = sin(angle) * c->rope_attn_factor;
    }
}

// ---- config -------------------------------------------------------------------------------------

const hs_enum_name hs_rope_types[] = {
    {"default", HS_ROPE_DEFAULT},
    {"none", HS_ROPE_DEFAULT},
    {"linear", HS_ROPE_LINEAR},
    {"llama3", HS_ROPE_LLAMA3},
    {"yarn", HS_ROPE_YARN},
    {"dynamic", HS_ROPE_DYNAMIC},
    {NULL, 0},
};

static bool same_value(const hs_meta *a, const hs_meta *b) {
    if (a->type == HS_META_STR)
        return b->type == HS_META_STR && a->n == b->n && !memcmp(a->s, b->s, a->n);
    return a->f == b->f && a->i == b->i;
}

// A config.json may carry the old name of the dictionary and the new one; transformers then reads
// the old one alone, so they must say the same.
static int check_twins(const hs_ckpt *ckpt) {
    // clang-format off
    static const char *const names[] = {
        "rope_type", "type", "rope_theta", "factor", "low_freq_factor", "high_freq_factor",
        "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow",
        "mscale", "mscale_all_dim", "truncate",
    };
    // clang-format on
    hs_meta a, b;
    if (!hs_ckpt_meta(ckpt, "rope_scaling", &a) || a.type != HS_META_OBJ || !a.n) return HS_OK;
    if (!hs_ckpt_meta(ckpt, "rope_parameters", &b) || b.type != HS_META_OBJ || !b.n) return HS_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char key[2][64];
        snprintf(key[0], sizeof key[0], "rope_scaling.%s", names[i]);
        snprintf(key[1], sizeof key[1], "rope_parameters.%s", names[i]);
        const bool in_old = hs_ckpt_meta(ckpt, key[0], &a), in_new = hs_ckpt_meta(ckpt, key[1], &b);
        if (in_old != in_new || (in_old && !same_value(&a, &b)))
            return hs_fail(HS_EUNSUPPORTED, "config: rope_scaling and rope_parameters differ in %s",
                           names[i]);
    }
    return HS_OK;
}

// YaRN's gain for a stretch by `factor`.
static double yarn_gain(double factor, double scale) {
    return factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1;
}

static int finish_yarn(hs_config *c) {
    if (!c->rope_factor) c->rope_factor = (double)c->n_ctx / (double)c->rope_orig_ctx;
    if (!c->rope_beta_fast) c->rope_beta_fast = 32;
    if (!c->rope_beta_slow) c->rope_beta_slow = 1;
    if (c->rope_theta <= 1 || c->rope_beta_fast < 0 || c->rope_beta_slow < 0)
        return hs_fail(HS_EFORMAT, "config: yarn needs theta over 1 and positive betas");
    if (c->rope_attn_factor) return HS_OK;
    const bool both = c->rope_mscale && c->rope_mscale_all;
    c->rope_attn_factor = yarn_gain(c->rope_factor, both ? c->rope_mscale : 1);
    if (both) c->rope_attn_factor /= yarn_gain(c->rope_factor, c->rope_mscale_all);
    return HS_OK;
}

int hs_rope_finish(hs_config *c, const hs_ckpt *ckpt) {
    const bool gguf = hs_ckpt_container(ckpt) == HS_GGUF;
    int rc = gguf ? HS_OK : check_twins(ckpt);
    if (rc) return rc;
    if (!(c->rope_theta > 0)) return hs_fail(HS_EFORMAT, "config: RoPE's theta is not positive");
    if (!c->rope_dim) c->rope_dim = c->d_head;
    if (!c->rope_orig_ctx || c->rope_scaling == HS_ROPE_DYNAMIC) c->rope_orig_ctx = c->n_ctx;
    // GGUF's scaling is linear when no type is named, by a factor of 1 when there is none either.
    if (gguf && c->rope_scaling == HS_ROPE_LINEAR && !c->rope_factor) c->rope_factor = 1;
    if (c->rope_scaling == HS_ROPE_YARN)
        rc = finish_yarn(c);
    else
        c->rope_attn_factor = 1;
    if (rc) return rc;
    if (c->rope_scaling != HS_ROPE_DEFAULT && !(c->rope_factor > 0))
        return hs_fail(HS_EFORMAT, "config: RoPE's scaling has no positive factor");
    if (c->rope_scaling == HS_ROPE_LLAMA3 &&
        !(c->rope_low_freq > 0 && c->rope_high_freq > c->rope_low_freq))
        return hs_fail(HS_EFORMAT, "config: llama3 scaling needs 0 < low_freq_factor < "
                                   "high_freq_factor");
    if (c->rope_scaling == HS_ROPE_DYNAMIC && c->rope_dim < 4)
        return hs_fail(HS_EFORMAT, "config: dynamic scaling needs heads of 4 numbers or more");
    return HS_OK;
}
