// Laws of quizzes: what items are worth is what plain evaluations of prompt and continuation say, to
// the bit, whatever goes side by side, under edits too.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/decode.h"
#include "analyses/quiz.h"
#include "tests/lib/laws.h"

enum { N_ITEM = 6, N_DECODE = 7, N_GENERATE = 11, MOST_VARIANT = 16 };
static const struct {
    int n;
    const char *extra;
} items[N_ITEM] = {
    {LAW_T, "{\"choices\":[[3],[4,5],[6,7,8]],\"answer\":1}"},
    {17, NULL},
    {1, "{\"choices\":[[3,9],[4]],\"answer\":0}"},
    {33, "{\"answer\":[7,8,9]}"},
    {20, "{\"answer\":5}"},
    {30, "{\"choices\":[[3],[4]],\"answer\":[4]}"},
};

static void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

static hs_prompts *some_items(void) {
    hs_prompts *p;
    must(hs_prompts_open(&p, NULL, HS_BOS_AUTO, LAW_N_VOCAB));
    for (int i = 0; i < N_ITEM; i++) {
        int32_t ids[LAW_T];
        law_tokens(ids, items[i].n, 40 + (uint64_t)i);
        must(hs_prompts_add_tokens(p, NULL, ids, items[i].n, 0, 0, items[i].extra));
    }
    return p;
}

// ---- plain evaluations --------------------------------------------------------------------------

typedef struct plain {
    const hs_model *m;
    hs_editing *e;
    hs_hooks *hooks;
    int n_spec;
    double lse[LAW_N_CTX];
    float row[LAW_N_CTX][LAW_N_VOCAB];
} plain;

static int keep_rows(void *ctx, const hs_site *site, const hs_view *view) {
    plain *p = ctx;
    const float *from = view->data;
    for (int64_t r = 0; r < site->n_row; r++)
        memcpy(p->row[site->row0 + r], from + r * view->stride[0], sizeof p->row[0]);
    return hs_model_backend(p->m)->log_sum_exp(hs_model_dev(p->m), p->lse + site->row0, from,
                                               view->stride[0], site->n_row, LAW_N_VOCAB);
}

static plain *plain_open(const hs_model *m, const hs_prompts *prompts, const char *const *spec,
                         int n) {
    const hs_dims dims = hs_dims_of(m);
    uint64_t points[CAP_LAYERS + 1] = {0};
    plain *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->m = m;
    p->n_spec = n;
    points[dims.n_layer] = HS_BIT(HS_LOGITS);
    must(hs_editing_open(&p->e, &(hs_editing_opts){.model = m, .prompts = prompts}, spec, n));
    must(hs_hooks_open(&p->hooks, &dims));
    must(hs_editing_hook(p->e, p->hooks, 0, n));
    must(hs_hooks_add(p->hooks, &(hs_hook){.points = points, .rows = keep_rows, .ctx = p}));
    return p;
}

static void plain_close(plain *p) {
    hs_hooks_close(p->hooks);
    hs_editing_close(p->e);
    free(p);
}

// The prompt and what follows it as one sequence.
static void plain_run(plain *p, const hs_quiz_item *item, const int32_t *after, int64_t n) {
    int32_t ids[LAW_N_CTX];
    const int64_t t = item->prompt->n_token;
    memcpy(ids, item->prompt->tokens, (size_t)t * sizeof *ids);
    if (n) memcpy(ids + t, after, (size_t)n * sizeof *ids);
    hs_context *x = law_context(p->m, (hs_context_opts){0}, hs_hooks_tap(p->hooks));
    must(hs_editing_aim(p->e, &(hs_editing_seq){item->ord, 0, p->n_spec}, 1));
    law_eval_one(x, ids, t + n, HS_LOGITS_ALL);
    hs_context_close(x);
}

static double ln_p(const plain *p, int64_t row, int32_t id) {
    return (double)p->row[row][id] - p->lse[row];
}

static double plain_choice(plain *p, const hs_quiz_item *item, int k) {
    const hs_quiz_choice *c = &item->choice[k];
    double sum = 0;
    plain_run(p, item, c->at, c->n);
    for (int64_t i = 0; i < c->n; i++) sum += ln_p(p, item->prompt->n_token - 1 + i, c->at[i]);
    return sum;
}

static double plain_text(plain *p, const hs_quiz_item *item) {
    double sum = 0;
    plain_run(p, item, NULL, 0);
    for (int64_t t = 0; t + 1 < item->prompt->n_token; t++)
        sum -= ln_p(p, t, item->prompt->tokens[t + 1]);
    return sum / (double)(item->prompt->n_token - 1);
}

static void plain_decode(plain *p, const hs_quiz_item *item, int32_t *said, double *entropy,
                         int n) {
    for (int i = 0; i < n; i++) {
        const int64_t row = item->prompt->n_token - 1 + i;
        plain_run(p, item, said, i);
        said[i] = hs_argmax(p->row[row], LAW_N_VOCAB);
        entropy[i] = 0;
        for (int32_t k = 0; k < LAW_N_VOCAB; k++)
            entropy[i] -= exp(ln_p(p, row, k)) * ln_p(p, row, k);
    }
}

// ---- both ---------------------------------------------------------------------------------------

typedef struct values {
    int n_variant, n;
    double at[N_ITEM][MOST_VARIANT][HS_N_MEASURE];
} values;

static int take(void *ctx, int64_t ord, const double *value) {
    values *v = ctx;
    assert_true(v->n == ord);
    memcpy(v->at[v->n++], value, (size_t)v->n_variant * sizeof v->at[0][0]);
    return HS_OK;
}

static void run_quiz(values *out, const hs_model *m, const hs_prompts *prompts,
                     const hs_quiz_variant *variant, int n, int64_t memory) {
    const hs_quiz_opts o = {.model = m,
                            .prompts = prompts,
                            .decode = N_DECODE,
                            .generate = N_GENERATE,
                            .memory = memory};
    int64_t ord[N_ITEM];
    hs_quiz *q;
    for (int i = 0; i < N_ITEM; i++) ord[i] = i;
    memset(out, 0, sizeof *out);
    out->n_variant = n;
    must(hs_quiz_open(&q, &o));
    must(hs_quiz_run(q, variant, n, ord, N_ITEM, take, out));
    assert_int_equal(out->n, N_ITEM);
    hs_quiz_close(q);
}

static bool same(const double *a, const double *b, int n) {
    for (int i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) && !(isnan(a[i]) && isnan(b[i]))) return false;
    return true;
}

static const char *const baseline[] = {NULL};
static const char *const scale[] = {"scale:L0H*,by=3"};
static const char *const late[] = {"ablate:L1H0,pos=-1"};
static const char *const half[] = {"scale:L0H1,by=-2,prompts=0+3,pos=9:20"};
static const char *const mean_of[] = {"ablate:L0H0,mode=mean", "ablate:L1H1,mode=resample,seed=3"};
static const char *const window[] = {"mask:sink_recent,s=2,w=4"};
static const char *const sigmoid[] = {"norm:sigmoid"};
static const char *const frozen[] = {"freeze:attn_out:1", "temper:L0H*,t=1.5,pos=-1"};
static const char *const mixed[] = {"vista:mix,gamma=.5,w=1"};
static const char *const steered[] = {"vista:steer,span=0:5,rule=paper,prompts=0+3",
                                      "boost:0:3,alpha=.5,prompts=0+3"};
static const char *const louder[] = {"vhr:L*,span=0:3,prompts=0+3+5,rows=last"};
static const char *const middle[] = {"middle:L*,docs=0:4+4:8,prompts=0+3+5"};
static const char *const moved[] = {"var:L*,span=0:9,dims=0+1,tau_share=.2,prompts=0+3+5"};
static const char *const apart[] = {"contrast:outliers,span=0:6,k=2,layer=0,beta=0,prompts=0+3"};
static const char *const other[] = {"contrast:without,span=1:4,alpha=.5,beta=0,prompts=0+3+5",
                                    "contrast:shuffled,span=0:5,beta=0,prompts=3"};
static const char *const shrunk[] = {"act:L*,alpha=1,beta=.4"};
static const hs_quiz_variant variants[] = {
    {baseline, 0}, {scale, 1},  {late, 1},  {half, 1},    {mean_of, 2}, {window, 1},
    {sigmoid, 1},  {frozen, 2}, {mixed, 1}, {steered, 2}, {louder, 1},  {middle, 1},
    {moved, 1},    {shrunk, 1}, {apart, 1}, {other, 2},
};
enum { N_VARIANT = sizeof variants / sizeof *variants };

// Those that the model can run: attn_only has no final norm.
static int usable(hs_quiz_variant *out, const hs_model *m, const hs_prompts *prompts) {
    int n = 0;
    for (int v = 0; v < N_VARIANT; v++) {
        hs_editing *e;
        const int rc = hs_editing_open(&e, &(hs_editing_opts){.model = m, .prompts = prompts},
                                       variants[v].spec, variants[v].n);
        if (rc && !strstr(hs_errmsg(), "no final norm")) fail_msg("%s", hs_errmsg());
        if (!rc) out[n++] = variants[v];
        hs_editing_close(e);
    }
    assert_true(n >= N_VARIANT - 1);
    return n;
}

static void near(double got, double want, double within, const char *what, int64_t item, int v) {
    if (fabs(got - want) > within || isnan(got) != isnan(want))
        fail_msg("%s of item %lld, variant %d: %.17g, not %.17g", what, (long long)item, v, got,
                 want);
}

static void check_item(plain *p, const hs_quiz_item *item, const double *got, int v) {
    double ln[3], most = -INFINITY, sum = 0, entropy[N_GENERATE], mean = 0;
    int32_t said[N_GENERATE];
    int best = 0;
    if (item->kind == HS_QUIZ_TEXT) {
        near(got[HS_MEASURE_NLL], plain_text(p, item), 0, "nll", item->ord, v);
    } else {
        for (int k = 0; k < item->n_choice; k++) {
            ln[k] = plain_choice(p, item, k);
            if (ln[k] > most) most = ln[best = k];
        }
        for (int k = 0; k < item->n_choice; k++) sum += exp(ln[k] - most);
        near(got[HS_MEASURE_NLL], -ln[item->right] / (double)item->choice[item->right].n, 0, "nll",
             item->ord, v);
    }
    if (item->kind == HS_QUIZ_CHOICE) {
        near(got[HS_MEASURE_CHOICE_NLL], most + log(sum) - ln[item->right], 1e-12, "choice_nll",
             item->ord, v);
        near(got[HS_MEASURE_ACCURACY], best == item->right, 0, "accuracy", item->ord, v);
    }
    plain_decode(p, item, said, entropy, N_GENERATE);
    for (int i = 0; i < N_GENERATE; i++) mean += entropy[i] / N_GENERATE;
    near(got[HS_MEASURE_ENTROPY], mean, 1e-6, "entropy", item->ord, v);
    int again = 0;
    for (int i = 1; i + 4 <= N_GENERATE; i++) {
        int k = 0;
        while (k < i && memcmp(said + k, said + i, 4 * sizeof *said) != 0) k++;
        again += k < i;
    }
    near(got[HS_MEASURE_REPETITION], again / (double)(N_GENERATE - 3), 1e-12, "repetition",
         item->ord, v);
    if (item->kind != HS_QUIZ_OPEN) return;
    int found = 0;
    for (int i = 0; i < item->choice->n; i++) {
        int k = 0;
        while (k < N_DECODE && said[k] != item->choice->at[i]) k++;
        found += k < N_DECODE;
    }
    near(got[HS_MEASURE_RECALL], found / (double)item->choice->n, 1e-12, "recall", item->ord, v);
}

static void items_are_plain_evaluations(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        hs_model *m = law_model(i);
        hs_prompts *prompts = some_items();
        hs_quiz_variant use[N_VARIANT];
        values got;
        hs_quiz *q;
        must(hs_quiz_open(&q, &(hs_quiz_opts){.model = m, .prompts = prompts}));
        const int n = usable(use, m, prompts);
        run_quiz(&got, m, prompts, use, n, 0);
        for (int v = 0; v < n; v++) {
            plain *p = plain_open(m, prompts, use[v].spec, use[v].n);
            for (int k = 0; k < N_ITEM; k++) check_item(p, hs_quiz_at(q, k), got.at[k][v], v);
            plain_close(p);
        }
        hs_quiz_close(q);
        hs_prompts_close(prompts);
        hs_model_close(m);
    }
}

static void batches_do_not_matter(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        const rand_spec s = law_spec(i);
        hs_model *m = law_model(i);
        hs_model *lone = law_open(
            &s, &(hs_model_opts){.dev = {.threads = 1, .precision = law_precision(i)}});
        hs_prompts *prompts = some_items();
        hs_quiz_variant use[N_VARIANT];
        const int n = usable(use, m, prompts);
        values all, split, one;
        run_quiz(&all, m, prompts, use, n, 0);
        for (int64_t memory = 1; memory < 1 << 17; memory <<= 16) {
            run_quiz(&split, m, prompts, use, n, memory);
            if (!same(&all.at[0][0][0], &split.at[0][0][0], sizeof all.at / sizeof(double)))
                fail_msg("model %d: memory %lld matters", i, (long long)memory);
        }
        for (int v = 0; v < n; v++) {
            run_quiz(&one, lone, prompts, &use[v], 1, 0);
            for (int k = 0; k < N_ITEM; k++)
                if (!same(all.at[k][v], one.at[k][0], HS_N_MEASURE))
                    fail_msg("model %d: item %d, variant %d depends on the others", i, k, v);
            if (v && same(all.at[0][v], all.at[0][0], HS_N_MEASURE))
                fail_msg("model %d: variant %d changes nothing", i, v);
        }
        hs_prompts_close(prompts);
        hs_model_close(lone);
        hs_model_close(m);
    }
}

// An answer that is what the model says, of which the first tokens are decoded.
static void few_tokens(void **state) {
    (void)state;
    enum { N = 3 };
    hs_model *m = law_model(0);
    hs_prompts *prompts = some_items(), *own;
    hs_quiz *q;
    int32_t said[N];
    double entropy[N], value[HS_N_MEASURE];
    char extra[80];
    must(hs_quiz_open(&q, &(hs_quiz_opts){.model = m, .prompts = prompts}));
    plain *p = plain_open(m, prompts, NULL, 0);
    const hs_prompt *at = hs_prompts_at(prompts, 3);
    plain_decode(p, hs_quiz_at(q, 3), said, entropy, N);
    snprintf(extra, sizeof extra, "{\"answer\":[%d,%d,%d]}", said[0], said[1], said[2]);
    must(hs_prompts_open(&own, NULL, HS_BOS_AUTO, LAW_N_VOCAB));
    must(hs_prompts_add_tokens(own, NULL, at->tokens, at->n_token, 0, 0, extra));
    for (int n = 1; n <= N + 1; n++) {
        values got = {.n_variant = 1};
        hs_quiz *one;
        must(hs_quiz_open(&one, &(hs_quiz_opts){.model = m, .prompts = own, .decode = n}));
        must(hs_quiz_run(one, variants, 1, &(int64_t){0}, 1, take, &got));
        memcpy(value, got.at[0][0], sizeof value);
        near(value[HS_MEASURE_RECALL], n < N ? n / 3.0 : 1, 1e-12, "recall", n, 0);
        near(value[HS_MEASURE_EXACT_MATCH], n >= N, 0, "exact_match", n, 0);
        hs_quiz_close(one);
    }
    plain_close(p);
    hs_quiz_close(q);
    hs_prompts_close(own);
    hs_prompts_close(prompts);
    hs_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_are_plain_evaluations),
        cmocka_unit_test(batches_do_not_matter),
        cmocka_unit_test(few_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
