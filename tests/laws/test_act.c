// ACT on whole models of every family, in f32 and in double: rows of every layer are those of the
// specification, made of the running pass's own maps; prompts in row blocks, tiles and batches, and
// decoded rows one by one, make no difference; and it finds the sinks that the analysis finds.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "analyses/observer.h"
#include "model/backward.h"
#include "tests/lib/edited.h"
#include "tests/lib/observed.h"

enum { PROMPT = 30 };

// ---- the specification --------------------------------------------------------------------------

typedef double map[LAW_T][LAW_T];

static const float *row_of(const cap *c, enum hs_point p, int l, int h, int i) {
    return c->at[0][l][p].data + (h * c->t_max + i) * c->t_max;
}

// The softmax of the captured scores, which no edit has met.
static void softmax(const cap *c, int l, int h, map a) {
    for (int i = 0; i < LAW_T; i++) {
        const float *s = row_of(c, HS_SCORES, l, h, i);
        double max = -INFINITY, sum = 0;
        for (int j = 0; j <= i; j++) max = fmax(max, (double)s[j]);
        for (int j = 0; j <= i; j++) sum += exp((double)s[j] - max);
        for (int j = 0; j <= i; j++) a[i][j] = exp((double)s[j] - max) / sum;
    }
}

// The rule alphaN over n rows of the prompt; returns how many hidden sinks there are.
static int find_sinks(map a, int n, double alpha, bool sink[LAW_T]) {
    int found = 0;
    for (int j = 0; j < LAW_T; j++) {
        double sum = 0;
        for (int i = j; i < n; i++) sum += a[i][j];
        found += sink[j] = j > 0 && j < n && sum / (n - j) > alpha / n;
    }
    return found;
}

static void move(double *row, int n, const bool *sink, double beta) {
    double held = 0, rest = 0;
    for (int j = 0; j < n; j++) *(sink[j] ? &held : &rest) += row[j];
    for (int j = 0; j < n; j++) row[j] *= sink[j] ? beta : 1 + (1 - beta) * held / rest;
}

// A decoded row goes by itself.
static int act(map a, int n, double alpha, double beta) {
    bool sink[LAW_T];
    const int found = find_sinks(a, n, alpha, sink);
    for (int i = 0; i < LAW_T; i++) {
        for (int j = 0; i >= n && j <= i; j++) sink[j] = j && a[i][j] > alpha / (i + 1);
        move(a[i], i + 1, sink, beta);
    }
    return found;
}

static void map_is(const cap *c, int l, int h, map a) {
    for (int i = 0; i < LAW_T; i++)
        for (int j = 0; j <= i; j++) {
            const double is = (double)row_of(c, HS_PATTERN, l, h, i)[j];
            if (fabs(is - a[i][j]) > 3e-6)
                fail_msg("L%dH%d row %d key %d: %.8g, not %.8g", l, h, i, j, is, a[i][j]);
        }
}

static void layers_of_a_run_together(void **state) {
    (void)state;
    static map a;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        int found = 0;
        cap c;
        // Rows of one key and no other would be a matter of the last bits.
        const edited e = {.spec = {"act:L*,alpha=1.7", "temper:L*,t=4"}, .prompt = PROMPT};
        edited_run(&c, m, &e, 1, LAW_T);
        for (int l = 0; l < c.cfg->n_layer; l++)
            for (int h = 0; h < c.cfg->n_head; h++) {
                softmax(&c, l, h, a);
                found += act(a, PROMPT, 1.7, 0.4);
                map_is(&c, l, h, a);
            }
        assert_in_range(found, c.cfg->n_layer * c.cfg->n_head, 1000);
        cap_close(&c);
        hs_model_close(m);
    }
}

// It finds done what comes before it in the list, but for what others of its kind do: both see the
// uniform map.
static void earlier_edits_are_in_its_maps(void **state) {
    (void)state;
    static map a;
    bool first[LAW_T], second[LAW_T];
    for (int m = 0; m < LAW_N_MODEL; m += LAW_N_SPEC) {
        hs_model *model = law_model(m);
        const edited e = {
            .spec = {"ablate:L1H1,mode=uniform", "act:L1H1,alpha=1.05", "act:L1H1,alpha=1.5"}};
        cap c;
        edited_run(&c, model, &e, 1, LAW_T);
        for (int i = 0; i < LAW_T; i++)
            for (int j = 0; j <= i; j++) a[i][j] = 1.0 / (i + 1);
        assert_in_range(find_sinks(a, LAW_T, 1.05, first), 1, LAW_T - 2);
        assert_in_range(find_sinks(a, LAW_T, 1.5, second), 1, LAW_T / 2);
        for (int i = 0; i < LAW_T; i++) {
            move(a[i], i + 1, first, 0.4);
            move(a[i], i + 1, second, 0.4);
        }
        map_is(&c, 1, 1, a);
        cap_close(&c);
        hs_model_close(model);
    }
}

// ---- cuts ---------------------------------------------------------------------------------------

static void cuts_change_nothing(void **state) {
    (void)state;
    static const struct {
        int64_t step, tile, block;
        int around;
    } cuts[] = {{1, 0, 0, 0}, {4, 3, 0, 1},  {0, 7, 16, 2},
                {0, 1, 5, 0}, {11, 0, 7, 1}, {0, 0, 1, 0}};
    static const char *const specs[] = {"act:L*,alpha=1.7", "act:L1H0-1,rule=abs,thr=0.08,pos=4:",
                                        "act:L0H1+L1H1,alpha=1.5,beta=0,min_rows=6"};
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        for (int s = 0; s < 3; s++) {
            edited e = {.spec = {specs[s]}, .prompt = PROMPT};
            cap whole, cut, plain;
            law_run(&plain, m, (hs_context_opts){0}, 1, LAW_T);
            edited_run(&whole, m, &e, 1, LAW_T);
            assert_memory_not_equal(law_row(&plain, (int)plain.cfg->n_layer, HS_LOGITS, LAW_T - 1),
                                    law_row(&whole, (int)plain.cfg->n_layer, HS_LOGITS, LAW_T - 1),
                                    LAW_N_VOCAB * sizeof(float));
            for (size_t k = 0; k < sizeof cuts / sizeof *cuts; k++) {
                e.opts.row_block = cuts[k].block;
                e.step = cuts[k].step;
                e.tile_rows = cuts[k].tile;
                e.around = cuts[k].around;
                edited_run(&cut, m, &e, 1, LAW_T);
                cap_same(&whole, 0, &cut, cuts[k].around, 0, LAW_T, LAW_ALL);
                cap_close(&cut);
            }
            cap_close(&whole);
            cap_close(&plain);
        }
        hs_model_close(m);
    }
}

static void threads_change_nothing(void **state) {
    (void)state;
    const rand_spec spec = law_spec(0);
    const edited e = {.spec = {"act:L*,alpha=1.7"}, .prompt = PROMPT, .tile_rows = 3};
    cap one, many;
    for (int t = 1; t <= 4; t += 3) {
        hs_model *m = law_open(&spec, &(hs_model_opts){.dev = {.threads = t}});
        edited_run(t == 1 ? &one : &many, m, &e, 1, LAW_T);
        hs_model_close(m);
    }
    one.cfg = many.cfg = NULL; // of models that are closed
    for (int l = 0; l <= spec.n_layer; l++)
        for (int p = 0; p < HS_N_POINT; p++) {
            const cap_tensor *a = &one.at[0][l][p], *b = &many.at[0][l][p];
            assert_int_equal(!a->data, !b->data);
            if (!a->data) continue;
            const size_t n = hs_point_infos[p].shape == HS_SHAPE_MAP
                                 ? (size_t)(spec.n_head * LAW_N_CTX * LAW_N_CTX)
                             : hs_point_infos[p].shape == HS_SHAPE_STATS
                                 ? (size_t)(spec.n_head * HS_N_STAT * LAW_N_CTX)
                                 : (size_t)(a->width * LAW_N_CTX);
            assert_memory_equal(a->data, b->data, n * sizeof(float));
        }
    cap_close(&one);
    cap_close(&many);
}

// ---- others -------------------------------------------------------------------------------------

// Of the plain run of a prompt.
static void observe(observed *out, const hs_model *m, const char *spec) {
    int32_t ids[LAW_T];
    hs_observe_list list;
    hs_observation *o;
    hs_hooks *hooks;
    law_tokens(ids, LAW_T, 1);
    const hs_subject s = {.dims = hs_dims_of(m), .tokens = ids, .n_token = LAW_T, .model = m};
    assert_int_equal(hs_observe_parse(&list, &spec, 1, false), HS_OK);
    assert_int_equal(hs_observation_open(&o, &list, &s), HS_OK);
    assert_int_equal(hs_hooks_open(&hooks, &s.dims), HS_OK);
    assert_int_equal(hs_observation_hook(o, hooks), HS_OK);
    hs_context *x = law_context(m, (hs_context_opts){0}, hs_hooks_tap(hooks));
    law_eval_one(x, ids, LAW_T, HS_LOGITS_NONE);
    observed_finish(out, &list, o);
    hs_context_close(x);
    hs_hooks_close(hooks);
    hs_observation_close(o);
    hs_observe_free(&list);
}

// What the analysis hidden_sinks finds in the plain run loses weight, and nothing else does.
static void sinks_are_those_of_the_analysis(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        observed found = {.of = NULL};
        cap plain, with;
        int n_sink = 0;
        observe(&found, m, "hidden_sinks:alpha=1.7,min_rows=3");
        law_run(&plain, m, (hs_context_opts){0}, 1, LAW_T);
        edited_run(&with, m, &(edited){.spec = {"act:L1H*,alpha=1.7,min_rows=3"}}, 1, LAW_T);
        for (int h = 0; h < plain.cfg->n_head; h++)
            for (int j = 0; j < LAW_T; j++) {
                char line[64];
                snprintf(line, sizeof line, "found: 1 %d %d ", h, j);
                const bool sink = strstr(hs_buf_text(&found.text), line) != NULL;
                bool lost = false;
                for (int r = j; r < LAW_T; r++)
                    lost |= row_of(&with, HS_PATTERN, 1, h, r)[j] <
                            row_of(&plain, HS_PATTERN, 1, h, r)[j];
                n_sink += sink;
                if (lost != sink) fail_msg("head %d: key %d: %d", h, j, sink);
            }
        assert_true(n_sink > 0);
        observed_free(&found);
        cap_close(&plain);
        cap_close(&with);
        hs_model_close(m);
    }
}

static void gradients_do_not_go_through_it(void **state) {
    (void)state;
    hs_model *m = law_model(0);
    const hs_dims dims = hs_dims_of(m);
    hs_edit *edit;
    hs_edits *edits;
    hs_hooks *hooks;
    int32_t ids[LAW_T];
    law_tokens(ids, LAW_T, 1);
    assert_int_equal(hs_edit_open(&edit, &dims, "act:L1H1"), HS_OK);
    assert_int_equal(hs_edits_open(&edits, &dims), HS_OK);
    assert_int_equal(hs_hooks_open(&hooks, &dims), HS_OK);
    assert_int_equal(hs_edits_hook(edits, hooks, &edit, 1), HS_OK);
    hs_context *x = law_context(m, (hs_context_opts){0}, NULL);
    const hs_seq seq = {.tokens = ids, .n = LAW_T};
    const hs_backward job = {.edits = hs_hooks_tap(hooks)};
    assert_int_equal(hs_context_backward(x, &(hs_batch){.seq = &seq, .n_seq = 1}, &job), HS_EARG);
    assert_string_equal(hs_errmsg(), "gradients do not go through edits of patterns");
    hs_context_close(x);
    hs_hooks_close(hooks);
    hs_edits_close(edits);
    hs_edit_close(edit);
    hs_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_of_a_run_together),
        cmocka_unit_test(earlier_edits_are_in_its_maps),
        cmocka_unit_test(cuts_change_nothing),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(sinks_are_those_of_the_analysis),
        cmocka_unit_test(gradients_do_not_go_through_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
