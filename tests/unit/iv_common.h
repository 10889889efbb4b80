// What tests of single kinds of edits share: a made-up model's sizes, and one edit on one prompt.
#ifndef HS_TESTS_UNIT_IV_COMMON_H
#define HS_TESTS_UNIT_IV_COMMON_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "hooks/intervention.h"
#include "model/core/prng.h"

enum { T = 13, LD = 16, D_HEAD = 4, N_HEAD = 4, N_KV = 2, D_MODEL = 10 };
static const hs_dims dims = {
    .n_layer = 2,
    .n_head = N_HEAD,
    .n_kv_head = N_KV,
    .d_model = D_MODEL,
    .d_head = D_HEAD,
    .d_ff = 7,
    .n_vocab = 9,
    .points = HS_BIT(HS_N_POINT) - 1,
    .attn_scale = 0.5,
    .norm = HS_NORM_RMS,
    .norm_eps = 1e-5,
};

static inline void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

// ---- one edit on one prompt ---------------------------------------------------------------------

typedef struct rig {
    hs_edit *edit;
    hs_edits *edits;
    hs_hooks *hooks;
    const hs_tap *tap;
    hs_edit_seq seq;
} rig;

static inline void open_rig(rig *r, const hs_dims *d, const char *spec, const hs_ref *ref) {
    static const hs_span span = {"name", 3, 5};
    must(hs_edit_open(&r->edit, d, spec));
    must(hs_edits_open(&r->edits, d));
    must(hs_hooks_open(&r->hooks, d));
    must(hs_edits_hook(r->edits, r->hooks, &r->edit, 1));
    r->tap = hs_hooks_tap(r->hooks);
    r->seq = (hs_edit_seq){&r->edit, ref, 1, {0, "p", T, {NULL, 0}, {&span, 1}}};
    must(hs_edit_check(r->edit, &r->seq.prompt));
    must(hs_edits_aim(r->edits, &r->seq, 1));
}

static inline void close_rig(rig *r) {
    hs_hooks_close(r->hooks);
    hs_edits_close(r->edits);
    hs_edit_close(r->edit);
}

static inline void refused(const char *spec, int rc, const char *says) {
    hs_edit *e;
    int got = hs_edit_open(&e, &dims, spec);
    if (!got) got = hs_edit_check(e, &(hs_edit_prompt){.id = "p", .n_token = T});
    if (got != rc) fail_msg("%s: rc %d: %s", spec, got, hs_errmsg());
    if (!strstr(hs_errmsg(), says)) fail_msg("%s: \"%s\" lacks \"%s\"", spec, hs_errmsg(), says);
    hs_edit_close(e);
}

static inline float *random_numbers(float *x, int n, uint64_t seed) {
    hs_prng rng = hs_prng_seed(seed);
    for (int i = 0; i < n; i++) x[i] = (float)(hs_prng_f64(&rng) * 6 - 3);
    return x;
}

// ---- maps ---------------------------------------------------------------------------------------

typedef struct map {
    float s[T * LD], a[T * LD]; // scores and pattern; beyond the causal part numbers to be left
    int layer, head;
} map;

// Rows row0 .. row0 + n - 1 of scores or pattern meet the edit, if it wants them, and it answers rc.
static inline void show(const rig *r, const map *m, enum hs_point point, float *row, int row0,
                        int n, int rc) {
    const hs_tile tile = {.point = point,
                          .layer = m->layer,
                          .head = m->head,
                          .row0 = row0,
                          .n_row = n,
                          .n_key = row0 + n,
                          .row = row + row0 * LD,
                          .ld = LD};
    const int want = point == HS_SCORES ? HS_TILE_WRITE_SCORES : HS_TILE_WRITE_PATTERN;
    if (!(r->tap->tile_want[m->layer * N_HEAD + m->head] & want)) return;
    assert_int_equal(r->tap->tile(r->tap->ctx, &tile, true, 1), rc);
}

static inline map random_map(int layer, int head) {
    map m = {.layer = layer, .head = head};
    random_numbers(m.s, T * LD, 7);
    random_numbers(m.a, T * LD, 8);
    return m;
}

#endif
