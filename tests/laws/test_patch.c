// Patching between halves of pairs: everything lent is the other half's result, what halves share
// changes nothing, cells are what hooks by hand make of whole runs. Estimates are slopes; queries and
// keys go through the softmax as it becomes; GradDrop is the slope around a layer that stands still.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/experiments/patch.h"
#include "analyses/slope.h"
#include "analyses/sweep/walk.h"
#include "tests/lib/laws.h"

enum { N_PAIR = 3, MOST = 24 };
static const int64_t length[N_PAIR] = {23, 9, 16}, end[N_PAIR] = {22, 6, 15},
                     differ[N_PAIR] = {5, 2, 0};
static const int64_t pairs[N_PAIR] = {0, 1, 2};

static void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

static void close_to(double got, double want, double room, const char *what) {
    if (!(fabs(got - want) <= room)) fail_msg("%s: %.9g, not %.9g +- %.2g", what, got, want, room);
}

// ---- pairs --------------------------------------------------------------------------------------

struct work {
    hs_model *model;
    hs_dims dims;
    hs_prompts *prompts;
    hs_answer answer[2 * N_PAIR];
    hs_units units;
    hs_patch_opts o;
};

// Halves are the same before `differ`, and at the end.
static void add_pair(hs_prompts *p, int i) {
    int32_t clean[LAW_T], corrupt[LAW_T];
    char extra[1024];
    int n = snprintf(extra, sizeof extra, "{\"positions\":{\"%s\":%d},\"corrupt_tokens\":[",
                     i ? "S" : "FIRST", (int)differ[i]);
    law_tokens(clean, LAW_T, 20 + (uint64_t)i);
    law_tokens(corrupt, LAW_T, 40 + (uint64_t)i);
    for (int64_t t = 0; t < length[i]; t++) {
        const bool same = t < differ[i] || t >= end[i] || (t != differ[i] && t % 3);
        const int32_t id = same             ? clean[t]
                           : t == differ[i] ? (clean[t] + 1) % LAW_N_VOCAB
                                            : corrupt[t];
        n += snprintf(extra + n, sizeof extra - (size_t)n, "%s%d", t ? "," : "", (int)id);
    }
    snprintf(extra + n, sizeof extra - (size_t)n, "]}");
    must(hs_prompts_add_tokens(p, NULL, clean, length[i], 0, 0, extra));
}

static void open_work(struct work *w, int model, enum hs_point point, const char *units,
                      enum hs_effect effect) {
    static const int32_t right[] = {4, 5, 31}, wrong[] = {9, 40};
    *w = (struct work){.model = law_model(model)};
    w->dims = hs_dims_of(w->model);
    must(hs_prompts_open(&w->prompts, NULL, HS_BOS_AUTO, LAW_N_VOCAB));
    for (int i = 0; i < N_PAIR; i++) add_pair(w->prompts, i);
    must(hs_prompts_add_pairs(w->prompts));
    for (int i = 0; i < 2 * N_PAIR; i++)
        w->answer[i] = (hs_answer){.answer = 3 + i % N_PAIR, .wrong = 9, .end = end[i % N_PAIR]};
    // One answer, several and one wrong one, several of both.
    for (int i = 0; i < 2 * N_PAIR; i++) {
        if (i % N_PAIR > 0) w->answer[i].answers = (hs_ids){right, 3};
        if (i % N_PAIR > 1) w->answer[i].wrongs = (hs_ids){wrong, 2};
    }
    must(hs_units_parse(&w->units, &w->dims, units, 1u << hs_patch_kind(point)));
    w->o = (hs_patch_opts){.model = w->model,
                           .prompts = w->prompts,
                           .answers = w->answer,
                           .point = point,
                           .units = &w->units,
                           .effect = effect};
}

static void close_work(struct work *w) {
    hs_units_free(&w->units);
    hs_prompts_close(w->prompts);
    hs_model_close(w->model);
}

static const char *all_units(enum hs_point point) {
    const enum hs_unit_kind kind = hs_patch_kind(point);
    return kind == HS_UNIT_HEAD ? "L*H*" : kind == HS_UNIT_GROUP ? "L*G*" : "L*";
}

// ---- results ------------------------------------------------------------------------------------

struct results {
    hs_patch_cells cells;
    int n;
    double base[N_PAIR], full[N_PAIR], *value[N_PAIR], *drop[N_PAIR];
};

static int take(void *ctx, const hs_patch_result *r) {
    struct results *to = ctx;
    const size_t bytes = (size_t)to->cells.n * sizeof(double);
    assert_int_equal(r->pair, to->n);
    to->base[to->n] = r->base;
    to->full[to->n] = r->full;
    to->value[to->n] = malloc(bytes);
    memcpy(to->value[to->n], r->value, bytes);
    if (r->drop) {
        to->drop[to->n] = malloc(bytes);
        memcpy(to->drop[to->n], r->drop, bytes);
    }
    to->n++;
    return HS_OK;
}

static struct results run(const struct work *w, enum hs_patch_by by) {
    struct results r = {0};
    must(hs_patch_cells_of(&r.cells, &w->o));
    must(by == HS_PATCH_EXACT ? hs_patch(&w->o, &r.cells, pairs, N_PAIR, take, &r)
                              : hs_patch_estimate(&w->o, &r.cells, by, pairs, N_PAIR, take, &r));
    assert_int_equal(r.n, N_PAIR);
    return r;
}

static void free_results(struct results *r) {
    for (int i = 0; i < N_PAIR; i++) {
        free(r->value[i]);
        free(r->drop[i]);
    }
    hs_patch_cells_free(&r->cells);
}

static bool same(const struct results *a, const struct results *b) {
    bool equal = !memcmp(a->base, b->base, sizeof a->base) &&
                 !memcmp(a->full, b->full, sizeof a->full);
    for (int i = 0; i < N_PAIR; i++) {
        const size_t bytes = (size_t)a->cells.n * sizeof(double);
        equal &= !memcmp(a->value[i], b->value[i], bytes);
        equal &= !a->drop[i] || !memcmp(a->drop[i], b->drop[i], bytes);
    }
    return equal;
}

// ---- by hand ------------------------------------------------------------------------------------

// A run of one half with `unit` of a point at positions [from, to) moved by t of the way to the
// other half's values (t 1: those themselves), and what a layer adds held to `own`.
struct hand {
    const struct work *w;
    const cap *own, *lent;
    const hs_unit *unit;
    enum hs_point point;
    int64_t from, to;
    double t;
    int still; // layer, -1: none
    double logits[LAW_T][LAW_N_VOCAB];
};

static void move(const struct hand *h, const hs_site *site, const hs_view *view) {
    const cap_tensor *own = &h->own->at[0][site->layer][site->point];
    const cap_tensor *lent = &h->lent->at[0][site->layer][site->point];
    const int64_t part = h->unit->kind == HS_UNIT_LAYER ? own->width : h->w->dims.d_head;
    for (int64_t r = 0; r < site->n_row; r++) {
        const int64_t pos = site->row0 + r;
        float *row = (float *)view->data + r * own->width;
        if (pos < h->from || pos >= h->to) continue;
        for (int64_t i = h->unit->index * part; i < (h->unit->index + 1) * part; i++) {
            const double to = lent->data[pos * own->width + i];
            row[i] = h->t == 1 ? (float)to
                               : (float)(row[i] + h->t * (to - own->data[pos * own->width + i]));
        }
    }
}

static int hand_rows(void *ctx, const hs_site *site, const hs_view *view, bool write) {
    struct hand *h = ctx;
    if (site->point == HS_LOGITS) {
        for (int64_t i = 0; i < site->n_row * LAW_N_VOCAB; i++)
            h->logits[site->row0 + i / LAW_N_VOCAB][i % LAW_N_VOCAB] =
                view->dtype == HS_F64 ? ((const double *)view->data)[i]
                                      : (double)((const float *)view->data)[i];
        return HS_OK;
    }
    assert_true(write);
    if (site->point == h->point && site->layer == h->unit->layer) move(h, site, view);
    if (site->layer == h->still && (site->point == HS_ATTN_OUT || site->point == HS_MLP_OUT))
        memcpy(view->data, law_row(h->own, site->layer, site->point, site->row0),
               (size_t)(site->n_row * h->w->dims.d_model) * sizeof(float));
    return HS_OK;
}

static int hand_tile(void *ctx, const hs_tile *tile, bool write, int worker) {
    const struct hand *h = ctx;
    const int64_t t_max = h->lent->t_max;
    const float *map = h->lent->at[0][tile->layer][tile->point].data;
    (void)worker;
    if (!write || tile->point != h->point || tile->head != h->unit->index) return HS_OK;
    for (int64_t r = 0; r < tile->n_row; r++) {
        const int64_t pos = tile->row0 + r;
        if (pos >= h->from && pos < h->to)
            memcpy(tile->row + r * tile->ld, map + (tile->head * t_max + pos) * t_max,
                   (size_t)(pos + 1) * sizeof(float));
    }
    return HS_OK;
}

static double sum_of(const double *logits, double all, hs_ids of) {
    double sum = 0;
    for (int64_t i = 0; i < of.n; i++) sum += exp(logits[of.at[i]]) / all;
    return sum;
}

static double metric(const struct hand *h, enum hs_effect effect, int pair, const int32_t *ids) {
    const hs_answer *a = &h->w->answer[pair];
    double sum = 0;
    if (effect == HS_EFFECT_LOGIT_DIFF)
        return h->logits[a->end][a->answer] - h->logits[a->end][a->wrong];
    for (int64_t pos = 0; pos < length[pair]; pos++) {
        double all = 0;
        for (int k = 0; k < LAW_N_VOCAB; k++) all += exp(h->logits[pos][k]);
        const double right = sum_of(h->logits[pos], all, hs_answer_right(a)),
                     wrong = sum_of(h->logits[pos], all, hs_answer_wrong(a));
        if (effect == HS_EFFECT_PROB && pos == a->end) return right;
        if (effect == HS_EFFECT_PROB_DIFF && pos == a->end) return right - wrong;
        if (effect == HS_EFFECT_NLL && pos + 1 < length[pair])
            sum += (log(all) - h->logits[pos][ids[pos + 1]]) / (double)(length[pair] - 1);
    }
    return sum;
}

static double by_hand(struct hand *h, enum hs_effect effect, int pair, bool noise) {
    uint64_t read[CAP_LAYERS + 1] = {0}, write[CAP_LAYERS + 1] = {0};
    uint8_t tiles[CAP_LAYERS * CAP_HEADS] = {0};
    const hs_prompt *p = hs_prompts_at(h->w->prompts, noise ? pair : pair + N_PAIR);
    const int L = h->w->dims.n_layer, H = h->w->dims.n_head;
    read[L] = HS_BIT(HS_LOGITS);
    if (h->unit) write[h->unit->layer] |= HS_BIT(h->point);
    if (h->still >= 0)
        write[h->still] |= (HS_BIT(HS_ATTN_OUT) | HS_BIT(HS_MLP_OUT)) & h->w->dims.points;
    if (h->unit && (h->point == HS_PATTERN || h->point == HS_SCORES))
        tiles[h->unit->layer * H + h->unit->index] = h->point == HS_PATTERN ? HS_TILE_WRITE_PATTERN
                                                                            : HS_TILE_WRITE_SCORES;
    const hs_tap tap = {.ctx = h,
                        .read = read,
                        .write = write,
                        .tile_want = tiles,
                        .own_type = true,
                        .rows = hand_rows,
                        .tile = hand_tile};
    hs_context *x = law_context(h->w->model, (hs_context_opts){0}, &tap);
    law_eval_one(x, p->tokens, p->n_token, HS_LOGITS_ALL);
    hs_context_close(x);
    return metric(h, effect, pair, p->tokens);
}

static void watch(cap *c, const struct work *w, int64_t ord) {
    const hs_prompt *p = hs_prompts_at(w->prompts, ord);
    cap_open(c, w->model, LAW_N_CTX);
    hs_context *x = law_context(w->model, (hs_context_opts){0}, &c->tap);
    law_eval_one(x, p->tokens, p->n_token, HS_LOGITS_ALL);
    hs_context_close(x);
}

// ---- exact --------------------------------------------------------------------------------------

static const enum hs_effect effects[] = {HS_EFFECT_LOGIT_DIFF, HS_EFFECT_PROB,
                                         HS_EFFECT_NLL,        HS_EFFECT_KL,
                                         HS_EFFECT_ACCURACY,   HS_EFFECT_PROB_DIFF};

// All of the first residual, and so of the clean half's run, is lent; to the bit in f32.
static void all_of_it_is_the_other_half(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_MODEL; i++)
        for (size_t e = 0; e < sizeof effects / sizeof *effects; e++)
            for (int noise = 0; noise < 2; noise++) {
                struct work w;
                static const char *const all = "all";
                open_work(&w, i, HS_RESID_PRE, "L0", effects[e]);
                w.o.place = &all;
                w.o.n_place = 1;
                w.o.noise = noise;
                struct results r = run(&w, HS_PATCH_EXACT);
                for (int k = 0; k < N_PAIR; k++) {
                    close_to(r.value[k][0], r.full[k], i < LAW_N_SPEC ? 0 : 1e-5, "all of it");
                    if (effects[e] == HS_EFFECT_KL) assert_true(r.full[k] > 1e-4 && r.base[k] == 0);
                    if (effects[e] != HS_EFFECT_LOGIT_DIFF && effects[e] != HS_EFFECT_PROB &&
                        effects[e] != HS_EFFECT_PROB_DIFF)
                        continue;
                    struct hand h = {.w = &w, .still = -1};
                    close_to(r.full[k], by_hand(&h, effects[e], k, !noise), 1e-6, "the other half");
                    close_to(r.base[k], by_hand(&h, effects[e], k, noise), 1e-6, "this half");
                    assert_true(r.full[k] != r.base[k]);
                }
                free_results(&r);
                close_work(&w);
            }
}

static int take_one(void *ctx, const hs_sweep_result *r) {
    double *value = ctx;
    value[r->ord % N_PAIR] = r->value[HS_EFFECT_LOGIT_DIFF];
    return HS_OK;
}

// At END both halves have the same token, so that its residual is all heads and MLPs bring.
static void heads_and_mlps_are_the_other_half(void **state) {
    (void)state;
    for (int i = 0; i < LAW_N_SPEC; i++) {
        struct work w;
        static const char *const all = "END";
        const char *const specs[] = {"patch:z,from=pair", "patch:mlp_out,from=pair"};
        const int64_t ord[N_PAIR] = {3, 4, 5};
        double value[N_PAIR];
        hs_walk *walk;
        open_work(&w, i, HS_Z, "L0H0", HS_EFFECT_LOGIT_DIFF);
        const int n = w.dims.points & HS_BIT(HS_MLP_OUT) ? 2 : 1;
        w.o.place = &all;
        w.o.n_place = 1;
        const hs_sweep_opts o = {.model = w.model,
                                 .prompts = w.prompts,
                                 .answers = w.answer,
                                 .effects = 1u << HS_EFFECT_LOGIT_DIFF};
        must(hs_walk_open(&walk, &o, specs, n));
        must(hs_walk_run(walk, &(hs_walk_job){0, n}, 1, ord, N_PAIR, take_one, value));
        hs_walk_close(walk);
        struct results r = run(&w, HS_PATCH_EXACT);
        for (int k = 0; k < N_PAIR; k++) assert_true(value[k] == r.full[k]);
        free_results(&r);
        close_work(&w);
    }
}

// Before the first difference there is nothing to lend, after a prompt's end no position.
static void what_halves_share_changes_nothing(void **state) {
    (void)state;
    static const enum hs_point points[] = {HS_RESID_PRE, HS_Z, HS_V, HS_PATTERN};
    for (int i = 0; i < LAW_N_SPEC; i++)
        for (size_t p = 0; p < sizeof points / sizeof *points; p++) {
            struct work w;
            int changes = 0;
            open_work(&w, i, points[p], all_units(points[p]), HS_EFFECT_LOGIT_DIFF);
            struct results r = run(&w, HS_PATCH_EXACT);
            for (int k = 0; k < N_PAIR; k++)
                for (int64_t c = 0; c < r.cells.n; c++) {
                    const int64_t pos = r.cells.at[c].place;
                    const double v = r.value[k][c];
                    if (pos >= length[k])
                        assert_true(isnan(v));
                    else if (pos < differ[k] || pos > end[k])
                        assert_true(v == r.base[k]);
                    else
                        changes += v != r.base[k];
                }
            assert_true(changes > 20);
            free_results(&r);
            close_work(&w);
        }
}

static const char *const places[] = {"all", "END", "3:8", "FIRST?+S?"};
static void place_of(int pair, size_t k, int64_t *from, int64_t *to) {
    const hs_range r[] = {{0, length[pair]},
                          {length[pair] - 1, length[pair]},
                          {3, 8},
                          {differ[pair], differ[pair] + 1}};
    *from = r[k].from;
    *to = r[k].to;
}

static void cells_are_what_hooks_make(void **state) {
    (void)state;
    static const enum hs_point points[] = {HS_RESID_PRE, HS_RESID_MID, HS_ATTN_OUT, HS_MLP_OUT,
                                           HS_Z,         HS_Q,         HS_K,        HS_V,
                                           HS_PATTERN,   HS_SCORES,    HS_MLP_POST, HS_ROT_K};
    for (int i = 0; i < LAW_N_SPEC; i++)
        for (size_t p = 0; p < sizeof points / sizeof *points; p++) {
            struct work w;
            open_work(&w, i, HS_Z, "L0H0", HS_EFFECT_LOGIT_DIFF);
            const bool has = w.dims.points & HS_BIT(points[p]);
            close_work(&w);
            if (!has) continue;
            open_work(&w, i, points[p], all_units(points[p]), effects[p % 2 * 2]);
            w.o.place = places;
            w.o.n_place = 4;
            w.o.noise = p % 2;
            struct results r = run(&w, HS_PATCH_EXACT);
            for (int k = 0; k < N_PAIR; k++) {
                cap own, lent;
                watch(&own, &w, w.o.noise ? k : k + N_PAIR);
                watch(&lent, &w, w.o.noise ? k + N_PAIR : k);
                for (int64_t c = 0; c < r.cells.n; c += 1 + (c + (int64_t)p) % 3) {
                    struct hand h = {.w = &w,
                                     .own = &own,
                                     .lent = &lent,
                                     .unit = &w.units.at[r.cells.at[c].unit],
                                     .point = points[p],
                                     .t = 1,
                                     .still = -1};
                    place_of(k, (size_t)r.cells.at[c].place, &h.from, &h.to);
                    close_to(r.value[k][c], by_hand(&h, w.o.effect, k, w.o.noise), 1e-6,
                             hs_point_infos[points[p]].alias);
                }
                cap_close(&own);
                cap_close(&lent);
            }
            free_results(&r);
            close_work(&w);
        }
}

// ---- estimates ----------------------------------------------------------------------------------

// The slope by hand, on a model in double, of which the moved rows and the logits are f32: wide steps
// are bent, narrow ones lost in that, so that a step is one that moves the metric by about 3e-4. Of
// two steps' central differences, what is left of the error is of the fourth order.
static double difference(struct hand *h, enum hs_effect effect, int pair, bool noise, double t) {
    h->t = t;
    const double up = by_hand(h, effect, pair, noise);
    h->t = -t;
    return (up - by_hand(h, effect, pair, noise)) / (2 * t);
}

static double slope(struct hand *h, enum hs_effect effect, int pair, bool noise) {
    const double about = fabs(difference(h, effect, pair, noise, 0.02));
    const double t = fmin(fmax(3e-4 / about, 0.001), 0.02);
    const double wide = difference(h, effect, pair, noise, t);
    return (4 * difference(h, effect, pair, noise, t / 2) - wide) / 3;
}

static void check_slopes(struct work *w, const struct results *r, bool drop, int64_t step) {
    double most = 0;
    for (int k = 0; k < N_PAIR; k++) {
        cap own, lent;
        watch(&own, w, w->o.noise ? k : k + N_PAIR);
        watch(&lent, w, w->o.noise ? k + N_PAIR : k);
        for (int64_t c = 0; c < r->cells.n; c += step) {
            struct hand h = {.w = w,
                             .own = &own,
                             .lent = &lent,
                             .unit = &w->units.at[r->cells.at[c].unit],
                             .point = w->o.point,
                             .still = -1};
            double want = 0;
            place_of(k, (size_t)r->cells.at[c].place, &h.from, &h.to);
            if (!drop) want = slope(&h, w->o.effect, k, w->o.noise);
            for (h.still = 0; drop && h.still < w->dims.n_layer; h.still++)
                want += fabs(slope(&h, w->o.effect, k, w->o.noise)) / (w->dims.n_layer - 1);
            close_to(drop ? r->drop[k][c] : r->value[k][c] - r->base[k], want,
                     2e-5 + 0.01 * fabs(want), hs_point_infos[w->o.point].alias);
            most = fmax(most, fabs(want));
        }
        cap_close(&own);
        cap_close(&lent);
    }
    if (!(most > 4e-4))
        fail_msg("%s: slopes up to %g alone", hs_point_infos[w->o.point].alias, most);
}

static void estimates_are_slopes(void **state) {
    (void)state;
    static const enum hs_point points[] = {
        HS_RESID_PRE, HS_RESID_MID, HS_ATTN_OUT, HS_MLP_OUT, HS_Z, HS_Q, HS_K, HS_V, HS_MLP_POST};
    for (int i = LAW_N_SPEC; i < LAW_N_MODEL; i++)
        for (size_t p = 0; p < sizeof points / sizeof *points; p++) {
            struct work w;
            open_work(&w, i, HS_Z, "L0H0", HS_EFFECT_LOGIT_DIFF);
            const bool has = w.dims.points & HS_BIT(points[p]);
            close_work(&w);
            if (!has) continue;
            open_work(&w, i, points[p], all_units(points[p]),
                      p == 1   ? HS_EFFECT_PROB
                      : p == 4 ? HS_EFFECT_PROB_DIFF
                               : effects[p % 2 * 2]);
            w.o.place = places;
            w.o.n_place = 4;
            w.o.noise = p % 2;
            struct results r = run(&w, HS_PATCH_GRADIENT), exact = run(&w, HS_PATCH_EXACT);
            check_slopes(&w, &r, false, 5);
            for (int k = 0; k < N_PAIR; k++) {
                close_to(r.base[k], exact.base[k], 1e-6, "base");
                close_to(r.full[k], exact.full[k], 1e-6, "full");
            }
            free_results(&r);
            free_results(&exact);
            close_work(&w);
        }
}

// Where a layer's outputs stand still, nothing goes back through them.
static void grad_drop_goes_around_a_layer(void **state) {
    (void)state;
    static const enum hs_point points[] = {HS_RESID_PRE, HS_Z};
    for (int i = LAW_N_SPEC; i < LAW_N_MODEL; i++)
        for (size_t p = 0; p < 2; p++) {
            struct work w;
            open_work(&w, i, points[p], all_units(points[p]), HS_EFFECT_LOGIT_DIFF);
            w.o.place = places;
            w.o.n_place = 4;
            w.o.grad_drop = true;
            struct results r = run(&w, HS_PATCH_ATP);
            check_slopes(&w, &r, true, 7);
            free_results(&r);
            close_work(&w);
        }
}

// ---- the softmax --------------------------------------------------------------------------------

// Gradients of z of one layer's evaluation.
static int take_slope(void *ctx, const hs_site *site, const hs_view *view, bool write) {
    cap *c = ctx;
    return c->tap.rows(c, site, view, write);
}

static void slopes_of_z(cap *c, const struct work *w, int64_t ord) {
    const hs_slope s = {w->model, w->prompts, w->answer, w->o.effect};
    double base;
    cap_open(c, w->model, LAW_N_CTX);
    for (int l = 0; l <= w->dims.n_layer; l++) c->read[l] = l < w->dims.n_layer ? HS_BIT(HS_Z) : 0;
    const hs_tap tap = {.ctx = c, .read = c->read, .rows = take_slope};
    const hs_backward job = {.grads = &tap};
    hs_context *x = law_context(w->model, (hs_context_opts){0}, NULL);
    must(hs_slope_run(&s, x, &ord, 1, &job, &base));
    hs_context_close(x);
}

static double dot(const float *x, const float *y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * y[i];
    return sum;
}

// Head h's row i with the queries and keys of `q` and `k`, key `at` (-1: none) of `other`.
static void weights(const struct work *w, const cap *q, const cap *k, const cap *other, int64_t at,
                    int layer, int h, int64_t i, double *out) {
    const bool rope = w->dims.points & HS_BIT(HS_ROT_Q);
    const enum hs_point Q = rope ? HS_ROT_Q : HS_Q, K = rope ? HS_ROT_K : HS_K;
    const int64_t d = w->dims.d_head, kv = h / (w->dims.n_head / w->dims.n_kv_head);
    const double scale = w->dims.attn_scale / (w->dims.scale_by_layer ? layer + 1 : 1);
    double sum = 0;
    for (int64_t j = 0; j <= i; j++) {
        const float *key = law_row(j == at ? other : k, layer, K, j) + kv * d;
        out[j] = exp(scale * dot(law_row(q, layer, Q, i) + h * d, key, d));
        sum += out[j];
    }
    for (int64_t j = 0; j <= i; j++) out[j] /= sum;
}

// What z gains at row i when its weights go from a to b.
static double gain(const struct work *w, const cap *own, const cap *dz, int layer, int h, int64_t i,
                   const double *a, const double *b) {
    const int64_t d = w->dims.d_head, kv = h / (w->dims.n_head / w->dims.n_kv_head);
    double sum = 0;
    for (int64_t j = 0; j <= i; j++)
        sum += (b[j] - a[j]) *
               dot(law_row(dz, layer, HS_Z, i) + h * d, law_row(own, layer, HS_V, j) + kv * d, d);
    return sum;
}

static double query_by_hand(const struct work *w, const cap *own, const cap *lent, const cap *dz,
                            const hs_unit *u, int64_t pos) {
    double a[LAW_T], b[LAW_T];
    weights(w, own, own, own, -1, u->layer, (int)u->index, pos, a);
    weights(w, lent, own, own, -1, u->layer, (int)u->index, pos, b);
    return gain(w, own, dz, u->layer, (int)u->index, pos, a, b);
}

static double key_by_hand(const struct work *w, const cap *own, const cap *lent, const cap *dz,
                          const hs_unit *u, int64_t pos, int64_t n) {
    const int group = w->dims.n_head / w->dims.n_kv_head;
    double a[LAW_T], b[LAW_T], sum = 0;
    for (int h = (int)u->index * group; h < ((int)u->index + 1) * group; h++)
        for (int64_t i = pos; i < n; i++) {
            weights(w, own, own, own, -1, u->layer, h, i, a);
            weights(w, own, own, lent, pos, u->layer, h, i, b);
            sum += gain(w, own, dz, u->layer, h, i, a, b);
        }
    return sum;
}

static void queries_and_keys_go_through_the_softmax(void **state) {
    (void)state;
    static const enum hs_point points[] = {HS_Q, HS_K};
    for (int i = 0; i < LAW_N_MODEL; i++)
        for (size_t p = 0; p < 2; p++) {
            struct work w;
            double most = 0;
            open_work(&w, i, points[p], all_units(points[p]), effects[p]);
            struct results r = run(&w, HS_PATCH_ATP), plain = run(&w, HS_PATCH_GRADIENT);
            for (int k = 0; k < N_PAIR; k++) {
                cap own, lent, dz;
                watch(&own, &w, k + N_PAIR);
                watch(&lent, &w, k);
                slopes_of_z(&dz, &w, k + N_PAIR);
                for (int64_t c = 0; c < r.cells.n; c++) {
                    const hs_unit *u = &w.units.at[r.cells.at[c].unit];
                    const int64_t pos = r.cells.at[c].place;
                    if (pos >= length[k]) continue;
                    const double want = p ? key_by_hand(&w, &own, &lent, &dz, u, pos, length[k])
                                          : query_by_hand(&w, &own, &lent, &dz, u, pos);
                    close_to(r.value[k][c] - r.base[k], want, 1e-5 * (0.01 + fabs(want)),
                             p ? "keys" : "queries");
                    most = fmax(most, fabs(r.value[k][c] - plain.value[k][c]));
                }
                cap_close(&own);
                cap_close(&lent);
                cap_close(&dz);
            }
            assert_true(most > 1e-6);
            free_results(&r);
            free_results(&plain);
            close_work(&w);
        }
}

// ---- the rest -----------------------------------------------------------------------------------

static void chunks_change_no_bit(void **state) {
    (void)state;
    for (int i = 0; i < 4; i += 2)
        for (int by = 0; by < 3; by++) {
            struct work w;
            open_work(&w, i, HS_K, "L*G*", HS_EFFECT_LOGIT_DIFF);
            w.o.grad_drop = by == HS_PATCH_ATP;
            struct results whole = run(&w, (enum hs_patch_by)by);
            w.o.memory = 1;
            struct results parts = run(&w, (enum hs_patch_by)by);
            assert_true(same(&whole, &parts));
            free_results(&whole);
            free_results(&parts);
            close_work(&w);
        }
}

static void fails(const hs_patch_opts *o, enum hs_patch_by by, const char *says) {
    struct results r = {0};
    must(hs_patch_cells_of(&r.cells, o));
    const int rc = by == HS_PATCH_EXACT
                       ? hs_patch(o, &r.cells, pairs, N_PAIR, take, &r)
                       : hs_patch_estimate(o, &r.cells, by, pairs, N_PAIR, take, &r);
    if (!rc || !strstr(hs_errmsg(), says)) fail_msg("rc %d '%s', not %s", rc, hs_errmsg(), says);
    assert_int_equal(r.n, 0);
    free_results(&r);
}

static void what_cannot_be_is_said(void **state) {
    (void)state;
    static const char *const place[] = {"FIRST"};
    struct work w;
    open_work(&w, 0, HS_PATTERN, "L*H*", HS_EFFECT_LOGIT_DIFF);
    fails(&w.o, HS_PATCH_GRADIENT, "no gradient to estimate by: take one of resid_pre, ");
    static const enum hs_point no[] = {HS_LOGITS, HS_ROW_STATS, HS_EMBED, HS_RESULT};
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        w.o.point = no[i];
        assert_int_equal(hs_patch_check(&w.o, HS_PATCH_EXACT), HS_EARG);
        assert_non_null(strstr(hs_errmsg(), "take one of resid_pre, "));
    }
    w.o.point = HS_PATTERN;
    assert_int_equal(hs_patch_check(&w.o, HS_PATCH_EXACT), HS_OK);
    w.o.place = place;
    w.o.n_place = 1;
    fails(&w.o, HS_PATCH_EXACT, "there is no span 'FIRST'");
    close_work(&w);
    open_work(&w, 0, HS_Z, "L*H*", HS_EFFECT_KL);
    fails(&w.o, HS_PATCH_GRADIENT, "kl has no gradient");
    close_work(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_it_is_the_other_half),
        cmocka_unit_test(heads_and_mlps_are_the_other_half),
        cmocka_unit_test(what_halves_share_changes_nothing),
        cmocka_unit_test(cells_are_what_hooks_make),
        cmocka_unit_test(estimates_are_slopes),
        cmocka_unit_test(grad_drop_goes_around_a_layer),
        cmocka_unit_test(queries_and_keys_go_through_the_softmax),
        cmocka_unit_test(chunks_change_no_bit),
        cmocka_unit_test(what_cannot_be_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
