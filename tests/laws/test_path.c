// Path patching against passes A to D done plainly: whole runs from the first token, every position
// of every later head held, values put in place by a tap of one's own. To the bit where the model
// runs in f32 (what is held is stored in f32, so in f64 to its rounding); both families.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/experiments/path.h"
#include "tests/lib/laws.h"

enum { N_PAIR = 3, N_PROMPT = 2 * N_PAIR, DIFF = 1 << HS_EFFECT_LOGIT_DIFF };
static const int lengths[N_PAIR] = {19, 8, 26};
static const int64_t all_ords[N_PROMPT] = {0, 1, 2, 3, 4, 5};

static void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

// ---- prompts and results ------------------------------------------------------------------------

struct work {
    hs_model *model;
    hs_dims dims;
    hs_prompts *prompts;
    hs_answer answer[N_PROMPT];
    hs_units senders;
    hs_receivers to;
    hs_path_opts opts;
    double base[N_PROMPT], *value[N_PROMPT]; // logit_diff
    double base_nll[N_PROMPT], *nll[N_PROMPT];
    int n_result;
};

// Halves differ in three tokens; the middle one is called S, and END is the last but one.
static void open_work(struct work *w, hs_model *model, const char *senders, const char *to,
                      const char *pos) {
    *w = (struct work){.model = model, .dims = hs_dims_of(model)};
    must(hs_prompts_open(&w->prompts, NULL, HS_BOS_AUTO, LAW_N_VOCAB));
    for (int i = 0; i < N_PAIR; i++) {
        int32_t ids[32];
        hs_buf extra = {0};
        law_tokens(ids, lengths[i], 40 + (uint64_t)i);
        hs_buf_str(&extra, "{\"corrupt_tokens\":[");
        for (int t = 0; t < lengths[i]; t++)
            hs_buf_printf(&extra, "%s%d", t ? "," : "",
                          t >= 2 && t < 5 ? (ids[t] + 7) % LAW_N_VOCAB : ids[t]);
        hs_buf_str(&extra, "],\"positions\":{\"S\":3,\"END\":-2}}");
        must(hs_prompts_add_tokens(w->prompts, NULL, ids, lengths[i], 0, 0, hs_buf_text(&extra)));
        hs_buf_free(&extra);
        w->answer[i] = w->answer[N_PAIR + i] = (hs_answer){
            .answer = 3 + i, .wrong = 9, .end = lengths[i] - 2};
    }
    must(hs_prompts_add_pairs(w->prompts));
    must(hs_units_parse(&w->senders, &w->dims, senders, (1u << HS_N_UNIT) - 1));
    must(hs_receivers_parse(&w->to, &w->dims, to));
    w->opts = (hs_path_opts){.sweep = {.model = model,
                                       .prompts = w->prompts,
                                       .answers = w->answer,
                                       .units = &w->senders,
                                       .effects = DIFF},
                             .to = &w->to,
                             .pos = pos};
}

static void forget(struct work *w) {
    for (int i = 0; i < N_PROMPT; i++) {
        free(w->value[i]);
        free(w->nll[i]);
        w->value[i] = w->nll[i] = NULL;
    }
    w->n_result = 0;
}

static void close_work(struct work *w) {
    forget(w);
    hs_receivers_free(&w->to);
    hs_units_free(&w->senders);
    hs_prompts_close(w->prompts);
    hs_model_close(w->model);
}

static int take(void *ctx, const hs_sweep_result *r) {
    struct work *w = ctx;
    const size_t n = (size_t)w->senders.n;
    assert_int_equal(r->ord, w->n_result++);
    w->base[r->ord] = r->base[HS_EFFECT_LOGIT_DIFF];
    w->base_nll[r->ord] = r->base[HS_EFFECT_NLL];
    w->value[r->ord] = calloc(n, sizeof(double));
    w->nll[r->ord] = calloc(n, sizeof(double));
    for (size_t s = 0; s < n; s++) {
        w->value[r->ord][s] = r->value[s * HS_N_EFFECT + HS_EFFECT_LOGIT_DIFF];
        w->nll[r->ord][s] = r->value[s * HS_N_EFFECT + HS_EFFECT_NLL];
    }
    return HS_OK;
}

static void run_paths(struct work *w) {
    must(hs_path(&w->opts, all_ords, N_PROMPT, take, w));
    assert_int_equal(w->n_result, N_PROMPT);
}

// ---- plain passes -------------------------------------------------------------------------------

// Who changes what in a run, and what is kept of it.
struct plain {
    cap kept;
    const struct work *w;
    const cap *a, *b, *c;  // passes done before; NULL: this is A or B
    const hs_unit *sender; // of pass C
    const bool *at;        // [positions] P
    bool hold_mlps;
};

static void put(const struct plain *p, const cap *from, const hs_site *site, const hs_view *view,
                int64_t lo, int64_t hi, bool everywhere) {
    const cap_tensor *t = &from->at[0][site->layer][site->point];
    for (int64_t r = 0; r < site->n_row; r++)
        if (everywhere || p->at[site->row0 + r])
            memcpy((float *)view->data + r * t->width + lo,
                   t->data + (site->row0 + r) * t->width + lo, (size_t)(hi - lo) * sizeof(float));
}

// Pass C.
static void hold(const struct plain *p, const hs_site *site, const hs_view *view) {
    const hs_unit *s = p->sender;
    const int64_t d = p->w->dims.d_head, group = p->w->dims.n_head / p->w->dims.n_kv_head;
    const int64_t n = s->kind == HS_UNIT_GROUP ? group : 1;
    const bool mlp = s->kind == HS_UNIT_MLP;
    if (site->point == HS_Z && site->layer > s->layer)
        put(p, p->b, site, view, 0, p->w->dims.n_head * d, true);
    if (site->point == HS_MLP_OUT && p->hold_mlps && site->layer >= s->layer + mlp)
        put(p, p->b, site, view, 0, p->w->dims.d_model, true);
    if (site->layer != s->layer) return;
    if (site->point == HS_Z && !mlp)
        put(p, p->a, site, view, s->index * n * d, (s->index + 1) * n * d, false);
    if (site->point == HS_MLP_OUT && mlp) put(p, p->a, site, view, 0, p->w->dims.d_model, false);
}

// Pass D.
static void give(const struct plain *p, const hs_site *site, const hs_view *view) {
    const int64_t d = p->w->dims.d_head;
    for (int i = 0; i < p->w->to.n; i++) {
        const hs_receiver *r = &p->w->to.at[i];
        if (r->layer == site->layer && r->point == site->point)
            put(p, p->c, site, view, r->index * d, (r->index + 1) * d, false);
    }
}

static int on_rows(void *ctx, const hs_site *site, const hs_view *view, bool write) {
    struct plain *p = ctx;
    if (!write) return p->kept.tap.rows(&p->kept, site, view, false);
    if (p->c)
        give(p, site, view);
    else
        hold(p, site, view);
    return HS_OK;
}

static void plain_run(struct plain *p, int64_t ord) {
    const hs_prompt *prompt = hs_prompts_at(p->w->prompts, ord);
    uint64_t write[CAP_LAYERS + 1] = {0};
    cap_open(&p->kept, p->w->model, LAW_N_CTX);
    memset(p->kept.tiles, 0, sizeof p->kept.tiles);
    for (int l = 0; l <= p->w->dims.n_layer; l++) {
        const bool model = l == p->w->dims.n_layer;
        p->kept.read[l] &= model ? HS_BIT(HS_LOGITS)
                                 : HS_BIT(HS_Q) | HS_BIT(HS_K) | HS_BIT(HS_V) | HS_BIT(HS_Z) |
                                       HS_BIT(HS_MLP_OUT);
        if (!model && p->c) write[l] = HS_BIT(HS_Q) | HS_BIT(HS_K) | HS_BIT(HS_V);
        if (!model && p->b && !p->c)
            write[l] = (HS_BIT(HS_Z) | HS_BIT(HS_MLP_OUT)) & p->w->dims.points;
    }
    hs_tap tap = p->kept.tap;
    tap.ctx = p;
    tap.rows = on_rows;
    tap.write = write;
    tap.tile_want = NULL;
    tap.layer_done = NULL;
    hs_context *x = law_context(p->w->model, (hs_context_opts){0}, &tap);
    law_eval_one(x, prompt->tokens, prompt->n_token, HS_LOGITS_ALL);
    hs_context_close(x);
}

static double difference(const struct work *w, const struct plain *p, int64_t ord) {
    const hs_answer *a = &w->answer[ord];
    const float *x = p->kept.at[0][w->dims.n_layer][HS_LOGITS].data + a->end * w->dims.n_vocab;
    return (double)x[a->answer] - (double)x[a->wrong];
}

static double plain_value(const struct work *w, const struct plain *a, const struct plain *b,
                          const hs_unit *sender, int64_t ord, const bool *at) {
    struct plain c = {.w = w,
                      .a = &a->kept,
                      .b = &b->kept,
                      .sender = sender,
                      .at = at,
                      .hold_mlps = w->opts.freeze_mlps};
    plain_run(&c, ord);
    double value = difference(w, &c, ord);
    if (w->to.n) {
        struct plain d = {.w = w, .b = &b->kept, .c = &c.kept, .at = at};
        plain_run(&d, ord);
        value = difference(w, &d, ord);
        cap_close(&d.kept);
    }
    cap_close(&c.kept);
    return value;
}

// Returns the largest effect.
static double same_as_plain(struct work *w, bool exact) {
    double most = 0;
    for (int64_t ord = 0; ord < N_PROMPT; ord++) {
        const hs_prompt *p = hs_prompts_at(w->prompts, ord);
        const int64_t pair = hs_prompts_pair(w->prompts, ord);
        struct plain a = {.w = w}, b = {.w = w};
        hs_places places = {0};
        bool at[LAW_N_CTX];
        must(hs_places_resolve(&places, w->opts.pos ? w->opts.pos : "all", p->n_token, p->spans,
                               (hs_spans){0}));
        for (int64_t t = 0; t < p->n_token; t++) at[t] = hs_places_has(&places, t);
        plain_run(&a, pair);
        plain_run(&b, ord);
        const double base = difference(w, &b, ord);
        assert_true(fabs(w->base[ord] - base) < 1e-12);
        for (int64_t s = 0; s < w->senders.n; s++) {
            char name[HS_UNIT_NAME];
            const hs_unit *u = &w->senders.at[s];
            const double want = plain_value(w, &a, &b, u, ord, at), got = w->value[ord][s];
            if (exact ? got != want : !(fabs(got - want) <= 1e-5))
                fail_msg("%s, prompt %d: %.9g, not %.9g (unedited %.9g)", hs_unit_name(name, u),
                         (int)ord, got, want, base);
            most = fmax(most, fabs(got - base));
        }
        cap_close(&a.kept);
        cap_close(&b.kept);
        hs_places_free(&places);
    }
    return most;
}

// ---- laws ---------------------------------------------------------------------------------------

static const struct what {
    const char *senders, *to, *pos;
    bool mlps; // held
} whats[] = {
    {"all", "logits", "END", false},
    {"L*G*", "logits", "END", true},
    {"L0-1H*", "logits", NULL, false},
    {"all", "L2H0.q+L2H3.q", "END", false},
    {"L0H*", "L1H2.k,L1H*.q", "S", false},
    {"all", "L2G0.v", "S+4", true},
    {"L0-1H*", "L1H0.v+L2H1.k+L2H1.q", NULL, false},
};
static const struct what mlp_whats[] = {
    {"L*M", "logits", "END", false},
    {"L*M", "logits", "END", true},
    {"L*M,L1H*", "L1G0.k+L2H2.q", "S+END", false},
    {"L*M", "L2H*.v", NULL, true},
};

static void check_what(int i, const struct what *what) {
    struct work w;
    open_work(&w, law_model(i), what->senders, what->to, what->pos);
    w.opts.freeze_mlps = what->mlps;
    run_paths(&w);
    assert_true(same_as_plain(&w, law_precision(i) == HS_PREC_EXACT) > 1e-4);
    close_work(&w);
}

static void paths_are_their_passes(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        for (size_t k = 0; k < sizeof whats / sizeof *whats; k++) check_what(i, &whats[k]);
        for (size_t k = 0; k < sizeof mlp_whats / sizeof *mlp_whats; k++)
            if (law_spec(i).family[0] != 'a') check_what(i, &mlp_whats[k]);
    }
}

static void who_comes_after_has_no_path(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++) {
        struct work w;
        open_work(&w, law_model(i), "all", "L1H*.q+L1H*.k+L1H*.v", NULL);
        run_paths(&w);
        for (int64_t ord = 0; ord < N_PROMPT; ord++)
            for (int64_t s = 0; s < w.senders.n; s++) {
                const bool same = w.value[ord][s] == w.base[ord];
                if (w.senders.at[s].layer >= 1 ? !same : same)
                    fail_msg("L%dH%d: %.17g, unedited %.17g", w.senders.at[s].layer,
                             (int)w.senders.at[s].index, w.value[ord][s], w.base[ord]);
            }
        close_work(&w);
    }
}

static void where_halves_agree_nothing_changes(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_SPEC; i++) {
        struct work w;
        open_work(&w, law_model(i), "all", "L1H*.k+L2H*.q", "0:2");
        run_paths(&w);
        for (int64_t ord = 0; ord < N_PROMPT; ord++)
            for (int64_t s = 0; s < w.senders.n; s++) assert_true(w.value[ord][s] == w.base[ord]);
        close_work(&w);
    }
}

static bool same_results(const struct work *a, const struct work *b) {
    bool same = true;
    for (int i = 0; i < N_PROMPT; i++)
        same &= !memcmp(a->value[i], b->value[i], (size_t)a->senders.n * sizeof(double)) &&
                !memcmp(a->nll[i], b->nll[i], (size_t)a->senders.n * sizeof(double));
    return same;
}

// However the work is cut, on however many threads, and whatever else is measured.
static void cuts_change_nothing(void **state) {
    (void)state;
    static const char *const to[] = {"logits", "L2H1.q+L1H0.v"};
    static const int64_t memory[] = {1, 20000, 200000};
    for (int i = 0; i < LAW_N_SPEC; i++)
        for (int k = 0; k < 2; k++) {
            struct work whole, w;
            open_work(&whole, law_model(i), "all", to[k], k ? "S+END" : NULL);
            whole.opts.sweep.effects |= 1u << HS_EFFECT_NLL;
            run_paths(&whole);
            for (size_t m = 0; m < sizeof memory / sizeof *memory; m++) {
                open_work(&w, law_model(i), "all", to[k], whole.opts.pos);
                w.opts.sweep.effects = whole.opts.sweep.effects;
                w.opts.sweep.memory = memory[m];
                run_paths(&w);
                assert_true(same_results(&whole, &w));
                close_work(&w);
            }
            const rand_spec spec = law_spec(i);
            const hs_model_opts one = {.dev = {.threads = 1, .precision = law_precision(i)}};
            open_work(&w, law_open(&spec, &one), "all", to[k], whole.opts.pos);
            w.opts.sweep.effects = whole.opts.sweep.effects;
            run_paths(&w);
            assert_true(same_results(&whole, &w));
            close_work(&w);
            close_work(&whole);
        }
}

// The loss is of all rows, so heads are held at all of them and not at P alone.
static void losses_are_of_whole_prompts(void **state) {
    (void)state;
    struct work at, all;
    open_work(&at, law_model(0), "L0H*", "logits", "END");
    at.opts.sweep.effects = 1u << HS_EFFECT_NLL;
    run_paths(&at);
    open_work(&all, law_model(0), "L0H*", "logits", "0:2");
    all.opts.sweep.effects = 1u << HS_EFFECT_NLL;
    run_paths(&all);
    for (int i = 0; i < N_PROMPT; i++)
        for (int64_t s = 0; s < all.senders.n; s++) {
            assert_true(all.nll[i][s] == all.base_nll[i]); // halves agree there
            assert_true(at.nll[i][s] != at.base_nll[i]);
        }
    close_work(&at);
    close_work(&all);
}

// ---- refusals -----------------------------------------------------------------------------------

static void refuses(struct work *w, int rc, const char *says) {
    const int got = hs_path(&w->opts, all_ords, N_PROMPT, take, w);
    if (got != rc || !strstr(hs_errmsg(), says)) fail_msg("%d '%s'", got, hs_errmsg());
    assert_int_equal(w->n_result, 0);
}

static void bad_paths_say_why(void **state) {
    (void)state;
    struct work w;
    open_work(&w, law_model(0), "all", "logits", "S");
    refuses(&w, HS_EARG, "read at position 17");
    w.opts.pos = "S9";
    refuses(&w, HS_ENOTFOUND, "S9");
    close_work(&w);
    open_work(&w, law_model(0), "L1", "logits", "END");
    refuses(&w, HS_EARG, "heads L5H1");
    close_work(&w);
    open_work(&w, law_model(0), "all", "logits", "END");
    hs_prompts *alone;
    const int32_t ids[4] = {1, 2, 3, 4};
    must(hs_prompts_open(&alone, NULL, HS_BOS_AUTO, LAW_N_VOCAB));
    must(hs_prompts_add_tokens(alone, NULL, ids, 4, 0, 0, NULL));
    w.opts.sweep.prompts = alone;
    assert_int_equal(hs_path(&w.opts, all_ords, 1, take, &w), HS_EARG);
    assert_non_null(strstr(hs_errmsg(), "no other halves"));
    hs_prompts_close(alone);
    close_work(&w);
}

static void receivers_are_read(void **state) {
    (void)state;
    static const struct {
        const char *text, *names;
    } good[] = {{"logits", ""},
                {"L2H1.q", "L2H1.q "},
                {"2.1.q+L0H0.k", "L0G0.k L2H1.q "},
                {"L1H0-1.v,L1H0.v+L1H1.q", "L1H1.q L1G0.v "},
                {"L1G1.q", "L1H2.q L1H3.q "}};
    static const struct {
        const char *text;
        int rc;
        const char *says;
    } bad[] = {{"", HS_EARG, "is no receiver"},      {"L1H1", HS_EARG, "L9H6.q"},
               {"L1H1.z", HS_EARG, "'L1H1.z'"},      {"L9H1.q", HS_ERANGE, "L9H1"},
               {"logits+L1H1.q", HS_EARG, "logits"}, {"L1M.q", HS_EARG, "L1M"}};
    hs_model *m = law_model(0);
    const hs_dims dims = hs_dims_of(m);
    hs_receivers r;
    assert_true(dims.n_head == 4 && dims.n_kv_head == 2);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        hs_buf names = {0};
        char name[HS_RECEIVER_NAME];
        must(hs_receivers_parse(&r, &dims, good[i].text));
        for (int k = 0; k < r.n; k++)
            hs_buf_printf(&names, "%s ", hs_receiver_name(name, &r.at[k]));
        assert_string_equal(hs_buf_text(&names), good[i].names);
        hs_receivers_free(&r);
        hs_buf_free(&names);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const int rc = hs_receivers_parse(&r, &dims, bad[i].text);
        if (rc != bad[i].rc || !strstr(hs_errmsg(), bad[i].says))
            fail_msg("%s: %d '%s'", bad[i].text, rc, hs_errmsg());
        assert_null(r.at);
    }
    hs_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_their_passes),
        cmocka_unit_test(who_comes_after_has_no_path),
        cmocka_unit_test(where_halves_agree_nothing_changes),
        cmocka_unit_test(cuts_change_nothing),
        cmocka_unit_test(losses_are_of_whole_prompts),
        cmocka_unit_test(bad_paths_say_why),
        cmocka_unit_test(receivers_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
