// The kinds of edits on whole models: identities leave logits to the bit (laws 6 and 7), real edits
// change them, rows of an edited pattern sum to what their formula says (law 1), what goes on is the
// edited pattern (law 2), and tiles or single tokens make no difference (laws 8 and 10).
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/edited.h"

static char folder[PATH_MAX], vectors[PATH_MAX];

// One vector a layer, for the residual of the models here.
static int write_vectors(void **state) {
    (void)state;
    const rand_spec spec = law_spec(0);
    hs_buf b = {0};
    char header[118];
    const int n = snprintf(header, sizeof header,
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }",
                           spec.n_layer, spec.d_model);
    memset(header + n, ' ', sizeof header - (size_t)n);
    header[sizeof header - 1] = '\n';
    hs_buf_add(&b, "\x93NUMPY\x01\x00\x76\x00", 10);
    hs_buf_add(&b, header, sizeof header);
    for (int i = 0; i < spec.n_layer * spec.d_model; i++) {
        const float x = (float)(i % 7 - 3) / 4;
        hs_buf_add(&b, &x, sizeof x);
    }
    mk_dir(folder);
    mk_file(folder, "v.npy", b.data, b.len);
    mk_path(vectors, folder, "v.npy");
    hs_buf_free(&b);
    return 0;
}

static int remove_vectors(void **state) {
    (void)state;
    mk_remove(folder);
    return 0;
}

// "%s" in a spec is the file of vectors.
static const char *spelled(const char *spec) {
    static char text[PATH_MAX + 200];
    const char *hole = strstr(spec, "%s");
    if (!hole) return spec;
    snprintf(text, sizeof text, "%.*s%s%s", (int)(hole - spec), spec, vectors, hole + 2);
    return text;
}

// Of sequence 0 of a and sequence s of b.
static bool same_logits_of(const cap *a, const cap *b, int s) {
    const int l = (int)a->cfg->n_layer;
    const cap_tensor *ta = &a->at[0][l][HS_LOGITS], *tb = &b->at[s][l][HS_LOGITS];
    assert_non_null(ta->data);
    assert_non_null(tb->data);
    return !memcmp(ta->data, tb->data, (size_t)(LAW_T * ta->width) * sizeof *ta->data);
}

static bool same_logits(const cap *a, const cap *b) {
    return same_logits_of(a, b, 0);
}

// ---- 6 and 7: identities, and edits that are none ------------------------------------------------

// The model's writable points of a scope, as one selection.
static void all_points(const hs_model *m, enum hs_scope scope, char *out, size_t n) {
    out[0] = 0;
    for (int p = 0; p < HS_N_POINT; p++) {
        const hs_point_info *info = &hs_point_infos[p];
        if (!info->writable || info->scope != scope) continue;
        if (!hs_model_has_point(m, (enum hs_point)p, NULL)) continue;
        const size_t len = strlen(out);
        snprintf(out + len, n - len, "%s%s", len ? "+" : "",
                 scope == HS_SCOPE_MODEL ? info->name : info->alias);
    }
}

static const char *const identities[] = {
    "knock:L*,prompts=7",
    "mask:sink_recent,s=0,w=41",
    "mask:sink_recent,s=41,w=0",
    "mask:topk,k=41",
    "mask:keys,keys=0:41",
    "norm:softmax",
    "norm:clipped,gamma=0",
    "temper:L*,t=1",
    "steer:resid_pre,vec=%s,scale=0",
    "steer:resid_post,vec=%s,scale=0,mode=project",
    "freeze:attn_out",
    "patch:z,heads=L0H1,from=prompt:0,pos=3:9",
    "boost:5:12,alpha=0",
    "middle:L*,docs=2:7+7:12,by=0",
    "middle:L*,docs=2:7+7:12,bias=0.1+0.2,by=0",
    "var:L*,span=5:12,dims=0+3,tau=1,p=0",
    "var:L*,span=5:12,dims=0+3,tau_share=1,rho=0",
    "var:L*,span=5:12,dims=0+3,tau=0,rho=0.1,prefilter=0", // nothing but sinks
    "boost:5:12+20,alpha=2,prompts=7",
};

static void check_identity(const hs_model *m, const cap *plain, const hs_ref *ref, const char *spec,
                           bool expect) {
    cap with;
    edited_run(&with, m,
               &(edited){.spec = {spelled(spec)}, .ref = ref, .points = HS_BIT(HS_LOGITS)}, 1,
               LAW_T);
    if (same_logits(plain, &with) != expect)
        fail_msg("%s, %s: %s logits", m ? hs_model_arch(m)->name : "", spec,
                 expect ? "changed" : "left the");
    cap_close(&with);
}

static void identities_leave_the_logits(void **state) {
    (void)state;
    char layer[400], model[200], spec[700];
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        cap plain;
        law_run(&plain, m, (hs_context_opts){0}, 1, LAW_T);
        const hs_ref ref = edited_ref(&plain, LAW_T);
        for (size_t k = 0; k < sizeof identities / sizeof *identities; k++)
            check_identity(m, &plain, &ref, identities[k], true);
        all_points(m, HS_SCOPE_LAYER, layer, sizeof layer);
        all_points(m, HS_SCOPE_MODEL, model, sizeof model);
        snprintf(spec, sizeof spec, "patch:%s+%s,from=prompt:0", layer, model);
        check_identity(m, &plain, &ref, spec, true);
        snprintf(spec, sizeof spec, "freeze:%s+%s", layer, model);
        check_identity(m, &plain, &ref, spec, true);
        cap_close(&plain);
        hs_model_close(m);
    }
}

static const char *const changes[] = {
    "knock:L1H0,from=-1,to=:30",
    "mask:sink_recent,s=1,w=3",
    "mask:topk,k=2,heads=L0H0",
    "mask:keys,keys=0:2+-1,heads=L1H1",
    "norm:sigmoid,heads=L1H1",
    "norm:softplus,heads=L0H0",
    "norm:softplus,p=3,heads=L0H0",
    "norm:relu,heads=L0H0",
    "norm:relu,by=n,heads=L0H0",
    "norm:softmax1,heads=L0H0,pos=5",
    "norm:sink,s=1,heads=L0H0",
    "norm:clipped,heads=L0H0",
    "norm:softpick,heads=L0H0",
    "boost:5:12,heads=L1H2",
    "middle:L1H0-1,docs=2:7+7:12+20,bias=0.1+0+0.02,t=0.5",
    "var:L0-1,span=5:12,dims=0+3,tau=1,rho=0,prefilter=0",
    "var:L*,span=5:8+20:30,dims=2,tau=0.5,rho=0.1,prefilter=0.1,p=1",
    "boost:5:12+20,alpha=-0.3,rows=last",
    "steer:resid_pre,vec=%s",
    "steer:resid_pre:1,vec=%s,mode=project,pos=-1",
};

static void edits_change_the_logits(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        cap plain, other;
        law_run(&plain, m, (hs_context_opts){0}, 1, LAW_T);
        law_run(&other, m, (hs_context_opts){0}, 2, LAW_T);
        const hs_ref ref = edited_ref(&other, LAW_T);
        for (size_t k = 0; k < sizeof changes / sizeof *changes; k++)
            check_identity(m, &plain, &ref, changes[k], false);
        for (int p = 0; p < HS_N_POINT; p++) {
            const hs_point_info *info = &hs_point_infos[p];
            char spec[100];
            if (!info->writable || !hs_model_has_point(m, (enum hs_point)p, NULL)) continue;
            // Position 0 has the same embedding of its place in every prompt.
            if (p == HS_POS_EMBED) continue;
            snprintf(spec, sizeof spec, "patch:%s,from=prompt:1",
                     info->scope == HS_SCOPE_MODEL ? info->name : info->alias);
            check_identity(m, &plain, &ref, spec, false);
        }
        cap_close(&plain);
        cap_close(&other);
        hs_model_close(m);
    }
}

// Patching everything that leaves a layer is the other run from there on.
static void a_patched_residual_is_the_other_run(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_SPEC; i++) {
        hs_model *m = law_model(i);
        cap other, with;
        law_run(&other, m, (hs_context_opts){0}, 2, LAW_T);
        const hs_ref ref = edited_ref(&other, LAW_T);
        edited_run(&with, m, &(edited){.spec = {"patch:resid_post:0,from=prompt:1"}, .ref = &ref},
                   1, LAW_T);
        assert_true(same_logits(&other, &with));
        cap_close(&with);
        // A reference of fewer rows leaves the others alone, which see the patched ones.
        const hs_ref half = edited_ref(&other, 20);
        edited_run(&with, m, &(edited){.spec = {"patch:embed,from=prompt:1"}, .ref = &half}, 1,
                   LAW_T);
        const int top = (int)with.cfg->n_layer;
        const size_t row = (size_t)with.at[0][top][HS_LOGITS].width * sizeof(float);
        assert_memory_equal(law_row(&with, top, HS_LOGITS, 0), law_row(&other, top, HS_LOGITS, 0),
                            20 * row);
        assert_memory_not_equal(law_row(&with, top, HS_LOGITS, 20),
                                law_row(&other, top, HS_LOGITS, 20), row);
        cap_close(&with);
        cap_close(&other);
        hs_model_close(m);
    }
}

// With attention frozen, an edit of one row stays in that row: to the bit in f32, which is what a
// reference holds.
static void frozen_attention_carries_nothing(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_SPEC; i++) {
        hs_model *m = law_model(i);
        cap plain, with;
        law_run(&plain, m, (hs_context_opts){0}, 1, LAW_T);
        const hs_ref ref = edited_ref(&plain, LAW_T);
        const char *const steer = spelled("steer:resid_pre:0,vec=%s,pos=7");
        edited_run(&with, m, &(edited){.spec = {steer, "freeze:attn_out"}, .ref = &ref}, 1, LAW_T);
        const int top = (int)plain.cfg->n_layer;
        const size_t row = (size_t)plain.at[0][top][HS_LOGITS].width * sizeof(float);
        for (int64_t r = 0; r < LAW_T; r++)
            assert_true(!memcmp(law_row(&plain, top, HS_LOGITS, r),
                                law_row(&with, top, HS_LOGITS, r), row) == (r != 7));
        cap_close(&with);
        cap_close(&plain);
        hs_model_close(m);
    }
}

// ---- 1 and 2: rows of an edited pattern, and what becomes of them --------------------------------

static const float *map_row(const cap *c, enum hs_point p, int l, int64_t h, int64_t q) {
    return c->at[0][l][p].data + (h * c->t_max + q) * c->t_max;
}

static double row_sum(const cap *c, int l, int64_t h, int64_t q) {
    double sum = 0;
    for (int64_t k = 0; k < c->t_max; k++) {
        const double a = (double)map_row(c, HS_PATTERN, l, h, q)[k];
        assert_true(k <= q ? a >= 0 && a <= 1 + 1e-6 : a == 0);
        sum += a;
    }
    return sum;
}

static void check_mix(const cap *c, int l, int64_t h, int64_t q) {
    const int64_t group = c->cfg->n_head / c->cfg->n_kv_head, d = c->cfg->d_head;
    for (int64_t i = 0; i < d; i++) {
        double z = 0;
        for (int64_t k = 0; k <= q; k++)
            z += (double)map_row(c, HS_PATTERN, l, h, q)[k] *
                 (double)law_row(c, l, HS_V, k)[h / group * d + i];
        assert_true(fabs(z - (double)law_row(c, l, HS_Z, q)[h * d + i]) < 2e-5);
    }
}

enum sums { ONE, ONE_OR_NONE, AT_MOST_ONE, SINK };
static const struct summed {
    const char *spec;
    enum sums sums;
} summed[] = {
    {"mask:sink_recent,s=2,w=3", ONE},
    {"mask:topk,k=3", ONE},
    {"mask:keys,keys=1+5:9", ONE_OR_NONE},
    {"knock:L*,from=4:20,to=0:6", ONE_OR_NONE},
    {"norm:softplus", ONE},
    {"norm:softplus,p=3", ONE_OR_NONE},
    {"norm:relu", ONE_OR_NONE},
    {"norm:sink,s=0.5", SINK},
    {"norm:softpick", AT_MOST_ONE},
    {"boost:5:12,alpha=1.5", ONE},
    {"var:L*,span=5:12,dims=0+3,tau=1,rho=0,prefilter=0,p=1", ONE},
    {"middle:L*,docs=2:7+20:30,bias=0.01+0,t=0.1", ONE},
    {"middle:L*,docs=2:7+20:30,bias=0.02+0,rule=shift", ONE},
    {"boost:0+7:9,rows=all,alpha=-0.9", ONE},
};

static void check_sum(const cap *c, const struct summed *s, int l, int64_t h, int64_t q) {
    const double sum = row_sum(c, l, h, q), one = fabs(sum - 1);
    const cap_tensor *stats = &c->at[0][l][HS_ROW_STATS];
    const double lse = (double)stats->data[(h * HS_N_STAT + HS_STAT_LSE) * c->t_max + q];
    const bool fits = s->sums == ONE           ? one < 1e-5
                      : s->sums == ONE_OR_NONE ? one < 1e-5 || sum == 0
                      : s->sums == SINK        ? fabs(sum - 1 / (1 + exp(0.5 - lse))) < 1e-5
                                               : sum < 1 + 1e-5;
    if (!fits) fail_msg("%s: L%dH%d row %d sums to %g", s->spec, l, (int)h, (int)q, sum);
}

static void sums_of_rows(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        for (size_t k = 0; k < sizeof summed / sizeof *summed; k++) {
            cap c;
            edited_run(&c, m, &(edited){.spec = {summed[k].spec}}, 1, LAW_T);
            for (int l = 0; l < c.cfg->n_layer; l++)
                for (int64_t h = 0; h < c.cfg->n_head; h++)
                    for (int64_t q = 0; q < LAW_T; q++) {
                        check_sum(&c, &summed[k], l, h, q);
                        check_mix(&c, l, h, q);
                    }
            cap_close(&c);
        }
        hs_model_close(m);
    }
}

// A row that lost all its keys writes nothing, and its summary says so.
static void a_row_without_keys(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        cap c;
        edited_run(&c, m, &(edited){.spec = {"knock:L1H0,from=5+-1"}}, 1, LAW_T);
        const int64_t rows[] = {5, LAW_T - 1}, d = c.cfg->d_head;
        for (int r = 0; r < 2; r++) {
            assert_true(row_sum(&c, 1, 0, rows[r]) == 0);
            for (int64_t k = 0; k < d; k++) assert_true(law_row(&c, 1, HS_Z, rows[r])[k] == 0);
            assert_true(row_sum(&c, 1, 0, rows[r] - 1) > 0.999);
        }
        for (int64_t k = 0; k < c.at[0][2][HS_LOGITS].width; k++)
            assert_true(isfinite(law_row(&c, (int)c.cfg->n_layer, HS_LOGITS, LAW_T - 1)[k]));
        cap_close(&c);
        hs_model_close(m);
    }
}

// A mask counts for norm in whatever order they are given: scores come before what is made of them.
static void norm_comes_last(void **state) {
    (void)state;
    static const char *const norms[] = {"norm:sigmoid", "norm:softplus", "norm:softpick",
                                        "norm:sink",    "norm:relu",     "norm:clipped"};
    hs_model *m = law_model(0);
    cap a, b;
    for (size_t k = 0; k < sizeof norms / sizeof *norms; k++) {
        edited_run(&a, m, &(edited){.spec = {"mask:sink_recent,s=1,w=2", norms[k]}}, 1, LAW_T);
        edited_run(&b, m, &(edited){.spec = {norms[k], "mask:sink_recent,s=1,w=2"}}, 1, LAW_T);
        assert_true(same_logits(&a, &b));
        for (int64_t key = 1; key < 9; key++)
            assert_true(map_row(&b, HS_PATTERN, 0, 0, 10)[key] == 0);
        assert_true(map_row(&b, HS_PATTERN, 0, 0, 10)[10] >= 0);
        cap_close(&a);
        cap_close(&b);
    }
    hs_model_close(m);
}

// So it does after edits of what its cosines are of.
static void cosines_come_last(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        const char *const patch = hs_model_has_point(m, HS_ROT_Q, NULL)
                                      ? "patch:rot_q+rot_k,from=prompt:1"
                                      : "patch:q+k,from=prompt:1";
        cap other, a, b;
        law_run(&other, m, (hs_context_opts){0}, 2, LAW_T);
        const hs_ref ref = edited_ref(&other, LAW_T);
        edited_run(&a, m, &(edited){.spec = {patch, "norm:softplus"}, .ref = &ref}, 1, LAW_T);
        edited_run(&b, m, &(edited){.spec = {"norm:softplus", patch}, .ref = &ref}, 1, LAW_T);
        assert_true(same_logits(&a, &b));
        cap_close(&a);
        cap_close(&b);
        cap_close(&other);
        hs_model_close(m);
    }
}

// ---- 8 and 10: token by token, tile by tile ------------------------------------------------------

static void check_cuts(const hs_model *m, const char *spec, const hs_ref *ref) {
    static const struct {
        int64_t step, tile, block;
        int around;
    } cuts[] = {{1, 0, 0, 0}, {5, 3, 0, 1}, {0, 7, 16, 2}, {0, 1, 0, 0}};
    edited e = {.spec = {spelled(spec)}, .ref = ref, .points = HS_BIT(HS_LOGITS)};
    cap whole, cut;
    edited_run(&whole, m, &e, 1, LAW_T);
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        e.opts = (hs_context_opts){.row_block = cuts[i].block};
        e.step = cuts[i].step;
        e.tile_rows = cuts[i].tile;
        e.around = cuts[i].around;
        edited_run(&cut, m, &e, 1, LAW_T);
        if (!same_logits_of(&whole, &cut, cuts[i].around)) fail_msg("%s: cut %zu differs", spec, i);
        cap_close(&cut);
    }
    cap_close(&whole);
}

static void cuts_change_nothing(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        cap other;
        law_run(&other, m, (hs_context_opts){0}, 2, LAW_T);
        const hs_ref ref = edited_ref(&other, LAW_T);
        for (size_t k = 0; k < sizeof changes / sizeof *changes; k++)
            check_cuts(m, changes[k], &ref);
        check_cuts(m, "patch:k+pattern:1,from=prompt:1", &ref);
        check_cuts(m, "freeze:attn_scores+attn_out:1,pos=4:30", &ref);
        cap_close(&other);
        hs_model_close(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identities_leave_the_logits),
        cmocka_unit_test(edits_change_the_logits),
        cmocka_unit_test(a_patched_residual_is_the_other_run),
        cmocka_unit_test(frozen_attention_carries_nothing),
        cmocka_unit_test(sums_of_rows),
        cmocka_unit_test(a_row_without_keys),
        cmocka_unit_test(norm_comes_last),
        cmocka_unit_test(cosines_come_last),
        cmocka_unit_test(cuts_change_nothing),
    };
    return cmocka_run_group_tests(tests, write_vectors, remove_vectors);
}
