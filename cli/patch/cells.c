// One activation after the other, measured or estimated; see patch.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/patch/patch.h"
#include "model/core/hash.h"
#include "model/core/mem.h"

enum { MOST_PLACES = 256 };

// A call's cells, and the run in work.
struct cells {
    hs_patch_work *work;
    hs_patch_opts opts;
    hs_units units;
    const char *pos; // --pos
    char *text;      // the same, cut at its commas
    const char *place[MOST_PLACES];
    hs_patch_cells all, top; // top: those of --verify
    const hs_patch_cells *now;
    enum hs_patch_by by;
    hs_analysis as;
    hs_study study;
    double *along; // [longest prompt] a unit's effect by position
};

static bool is_wanted(const hs_patch_options *o) {
    (void)o;
    return true;
}

// ---- what is asked for ------------------------------------------------------------------------

static int check_options(const hs_patch_options *o) {
    if (o->grad_drop && o->by != HS_PATCH_ATP)
        return hs_fail(HS_EARG, "--grad-drop goes with --by atp");
    if (o->verify && o->by == HS_PATCH_EXACT)
        return hs_fail(HS_EARG, "--verify measures what was estimated: it goes with --by gradient "
                                "or --by atp");
    return HS_OK;
}

// The name of a point, with or without "hook_": of points of layers, any layer's will do.
static int read_point(enum hs_point *out, const char *name) {
    for (int p = 0; p < HS_N_POINT; p++) {
        const char *full = strrchr(hs_point_infos[p].name, '.');
        if (strcmp(hs_point_infos[p].alias, name) != 0 && (!full || strcmp(full + 1, name) != 0))
            continue;
        *out = (enum hs_point)p;
        return HS_OK;
    }
    return hs_fail(HS_ENOTFOUND, "--point %s: there is no such point: see headscope list hooks",
                   name);
}

static int read_units(struct cells *c) {
    const char *text = c->work->opt->heads;
    const enum hs_unit_kind kind = hs_patch_kind(c->opts.point);
    static const char *const all[HS_N_UNIT] = {
        [HS_UNIT_HEAD] = "L*H*", [HS_UNIT_GROUP] = "L*G*", [HS_UNIT_LAYER] = "L*"};
    int rc = hs_units_parse(&c->units, &c->work->dims, strcmp(text, "all") ? text : all[kind],
                            1u << kind);
    if (!rc && !c->units.n) rc = hs_fail(HS_ENOTFOUND, "%s: nothing is patched", text);
    return hs_prefix(rc, "--heads (of %s: %ss)", hs_point_infos[c->opts.point].alias,
                     hs_unit_kinds[kind]);
}

static int read_places(struct cells *c) {
    hs_patch_opts *o = &c->opts;
    int rc = HS_OK;
    if (!strcmp(c->pos, "each")) return HS_OK;
    c->text = strdup(c->pos);
    if (!c->text) return hs_fail(HS_ENOMEM, "out of memory");
    o->place = c->place;
    for (char *s = c->text, *next; s && !rc; s = next) {
        next = strchr(s, ',');
        if (next) *next++ = 0;
        if (o->n_place == MOST_PLACES)
            return hs_fail(HS_EARG, "--pos: at most %d places", (int)MOST_PLACES);
        if (!strcmp(s, "each"))
            return hs_fail(HS_EARG, "--pos each is every position already: give it alone");
        c->place[o->n_place++] = s;
        rc = hs_prefix(hs_places_check(s), "--pos");
    }
    return rc;
}

// Every pair has every place, or may lack it; something is left.
static int check_places(const struct cells *c) {
    hs_places places = {0};
    bool any = !c->opts.n_place;
    int rc = HS_OK;
    for (int64_t i = 0; i < c->work->n_pair; i++)
        for (int64_t k = 0; k < c->opts.n_place && !rc; k++) {
            const hs_prompt *p = hs_prompts_at(c->work->session.prompts, i);
            rc = hs_prefix(
                hs_places_resolve(&places, c->place[k], p->n_token, p->spans, c->opts.spans),
                "--pos %s, prompt '%s' (%s? leaves out prompts without it)", c->place[k], p->id,
                c->place[k]);
            any |= !rc && !hs_places_none(&places);
        }
    hs_places_free(&places);
    return rc || any ? rc : hs_fail(HS_ENOTFOUND, "--pos %s: no prompt has it", c->pos);
}

static int open_cells(struct cells *c) {
    hs_patch_work *w = c->work;
    const hs_patch_options *o = w->opt;
    c->opts = (hs_patch_opts){.model = w->session.model,
                              .prompts = w->session.prompts,
                              .answers = w->answers.at,
                              .units = &c->units,
                              .noise = o->direction == HS_PATCH_NOISE,
                              .effect = (enum hs_effect)o->metric,
                              .grad_drop = o->grad_drop,
                              .progress = &w->session.bar.progress,
                              .spans = {w->edits.span, w->edits.n_span}};
    c->as = hs_analysis_of_experiment(&hs_experiment_patch);
    int rc = check_options(o);
    if (!rc) rc = read_point(&c->opts.point, o->point);
    if (!rc) rc = hs_patch_check(&c->opts, (enum hs_patch_by)o->by);
    if (!rc) rc = read_units(c);
    if (!rc) rc = read_places(c);
    if (!rc) rc = check_places(c);
    if (!rc) rc = hs_patch_cells_of(&c->all, &c->opts);
    if (!rc) rc = hs_alloc(&c->along, (size_t)hs_cli_longest(w->session.prompts), sizeof *c->along);
    return rc;
}

static void close_cells(struct cells *c) {
    hs_units_free(&c->units);
    hs_patch_cells_free(&c->all);
    hs_patch_cells_free(&c->top);
    free(c->text);
    free(c->along);
}

// ---- into the database ------------------------------------------------------------------------

static int what_json(hs_buf *out, const struct cells *c) {
    static const char *const by[] = {"exact", "gradient", "atp"};
    hs_jw w = {out, false};
    hs_jw_key_str(&w, "point", hs_point_infos[c->opts.point].alias);
    hs_units_json(&w, &c->units);
    hs_jw_key_str(&w, "pos", c->pos);
    hs_jw_key_str(&w, "by", by[c->by]);
    if (c->by == HS_PATCH_ATP) {
        hs_jw_key(&w, "grad_drop");
        hs_jw_bool(&w, c->opts.grad_drop);
    }
    if (c->now == &c->top) { // which ones
        uint64_t hash = HS_FNV_SEED;
        for (int64_t i = 0; i < c->top.n; i++) {
            const int64_t at[] = {c->top.at[i].unit, c->top.at[i].place};
            hash = hs_fnv(hash, at, sizeof at);
        }
        hs_jw_key_int(&w, "n_cell", c->top.n);
        hs_jw_key_int(&w, "cells", (int64_t)(hash >> 1));
    }
    return hs_buf_rc(out);
}

static int emit_cell(const struct cells *c, const hs_emit *emit, const hs_patch_result *r,
                     int64_t i) {
    const hs_patch_cell *cell = &c->now->at[i];
    const hs_unit *unit = &c->units.at[cell->unit];
    hs_buf place = {0};
    int rc = hs_patch_place(&place, &c->opts, cell->place);
    const hs_value row[] = {{.type = HS_VAL_TEXT, .s = hs_unit_kinds[unit->kind]},
                            {.type = HS_VAL_INT, .i = unit->layer},
                            {.type = HS_VAL_INT, .i = unit->index},
                            {.type = HS_VAL_INT, .i = cell->place},
                            {.type = HS_VAL_TEXT, .s = hs_buf_text(&place)},
                            hs_value_num(r->value[i]),
                            hs_value_num(r->base),
                            hs_value_num(c->opts.noise ? r->base : r->full),
                            hs_value_num(c->opts.noise ? r->full : r->base),
                            hs_value_num(r->drop ? r->drop[i] : (double)NAN)};
    if (!rc && !isnan(r->value[i])) rc = emit->row(emit->ctx, "cell", row);
    hs_buf_free(&place);
    return rc;
}

// A head's number, of the only place.
static int emit_head(const struct cells *c, const hs_emit *emit, const hs_patch_result *r,
                     int64_t i) {
    const hs_unit *unit = &c->units.at[c->now->at[i].unit];
    const double v = r->value[i] - r->base;
    if (unit->kind != HS_UNIT_HEAD || c->opts.n_place != 1) return HS_OK;
    return emit->metric(emit->ctx, unit->layer, (int)unit->index, "patch_effect", v,
                        isnan(v) ? "the prompt lacks the position" : NULL);
}

// Every position of a unit. Cells are by unit, so that those of one stand together.
static int emit_along(const struct cells *c, const hs_emit *emit, const hs_patch_result *r,
                      int64_t i) {
    const hs_unit *unit = &c->units.at[c->now->at[i].unit];
    const int64_t n = hs_prompts_at(c->work->session.prompts, r->pair)->n_token;
    if (c->opts.n_place || c->now != &c->all || c->now->at[i].place) return HS_OK;
    for (int64_t t = 0; t < n; t++) c->along[t] = r->value[i + t] - r->base;
    return emit->series(emit->ctx, unit->layer, unit->kind == HS_UNIT_LAYER ? -1 : (int)unit->index,
                        unit->kind == HS_UNIT_GROUP ? "patch_effect_at_group" : "patch_effect_at",
                        c->along, n);
}

static int on_pair(void *ctx, const hs_patch_result *r) {
    struct cells *c = ctx;
    hs_emit emit;
    int rc = hs_study_begin(&c->study, r->pair, &emit);
    for (int64_t i = 0; i < c->now->n && !rc; i++) {
        rc = emit_cell(c, &emit, r, i);
        if (!rc) rc = emit_head(c, &emit, r, i);
        if (!rc) rc = emit_along(c, &emit, r, i);
    }
    return hs_study_end(&c->study, rc);
}

static int store(struct cells *c, const hs_patch_cells *cells, enum hs_patch_by by, int64_t *run) {
    int64_t *pair = NULL, n = 0;
    hs_buf what = {0};
    c->now = cells;
    c->by = by;
    c->study = (hs_study){0};
    int rc = what_json(&what, c);
    if (!rc) rc = hs_patch_run_open(&c->study, c->work, &c->as, hs_buf_text(&what));
    if (!rc) rc = hs_study_left(&c->study, &pair, &n);
    if (!rc && n)
        rc = by == HS_PATCH_EXACT ? hs_patch(&c->opts, cells, pair, n, on_pair, c)
                                  : hs_patch_estimate(&c->opts, cells, by, pair, n, on_pair, c);
    *run = c->study.id;
    free(pair);
    hs_buf_free(&what);
    return hs_study_close(&c->study, rc);
}

// ---- the largest estimates, measured ----------------------------------------------------------

static double size(const hs_patch_row *r) {
    const double v = isnan(r->grad_drop) ? fabs(r->effect) : r->grad_drop;
    return isnan(v) ? -1 : v;
}

static int by_size(const void *a, const void *b) {
    const hs_patch_row *x = a, *y = b;
    if (size(x) != size(y)) return size(x) > size(y) ? -1 : 1;
    if (x->layer != y->layer) return x->layer < y->layer ? -1 : 1;
    if (x->idx != y->idx) return x->idx < y->idx ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

static int by_cell(const void *a, const void *b) {
    const hs_patch_cell *x = a, *y = b;
    if (x->unit != y->unit) return x->unit < y->unit ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

// The cell that a row of the database is about, which may be anybody's.
static int find_cell(hs_patch_cell *out, const struct cells *c, const hs_patch_row *r) {
    hs_patch_cell want = {.place = r->place};
    while (want.unit < c->units.n &&
           (c->units.at[want.unit].layer != r->layer || c->units.at[want.unit].index != r->idx))
        want.unit++;
    const hs_patch_cell *found = bsearch(&want, c->all.at, (size_t)c->all.n, sizeof want, by_cell);
    if (!found)
        return hs_fail(HS_EFORMAT, "%s: damaged: %s was not patched there", c->work->path, r->unit);
    *out = *found;
    return HS_OK;
}

static int choose(struct cells *c, hs_patch_rows *rows) {
    const int64_t want = c->work->opt->verify;
    const int64_t n = want < rows->n ? want : rows->n;
    int rc = hs_alloc(&c->top.at, (size_t)n, sizeof *c->top.at);
    if (rc || !n) return rc;
    qsort(rows->at, (size_t)rows->n, sizeof *rows->at, by_size);
    for (int64_t i = 0; i < n && !rc; i++) {
        rc = find_cell(&c->top.at[i], c, &rows->at[i]);
        c->top.n += !rc;
    }
    if (!rc) qsort(c->top.at, (size_t)n, sizeof *c->top.at, by_cell);
    return rc;
}

static void put_beside(hs_patch_rows *rows, const hs_patch_rows *exact) {
    for (int64_t i = 0; i < exact->n; i++)
        for (int64_t k = 0; k < rows->n; k++) {
            hs_patch_row *r = &rows->at[k];
            const hs_patch_row *e = &exact->at[i];
            if (r->layer != e->layer || r->idx != e->idx || r->place != e->place) continue;
            r->exact = e->value;
            r->exact_recovered = e->recovered;
            break;
        }
}

static int verify(struct cells *c, hs_patch_rows *rows) {
    hs_patch_rows exact = {0};
    int64_t run;
    int rc = choose(c, rows);
    if (!rc) rc = store(c, &c->top, HS_PATCH_EXACT, &run);
    hs_bar_close(&c->work->session.bar);
    if (!rc) rc = hs_patch_rows_read(&exact, c->work, run, "patch");
    if (!rc) put_beside(rows, &exact);
    hs_patch_rows_free(&exact);
    return rc;
}

// ---- the whole --------------------------------------------------------------------------------

static int make_title(hs_buf *out, const struct cells *c) {
    static const char *const by[] = {"", ", estimated by gradients", ", estimated by AtP*"};
    static const char *const units[HS_N_UNIT] = {
        [HS_UNIT_HEAD] = "heads", [HS_UNIT_GROUP] = "KV groups", [HS_UNIT_LAYER] = "layers"};
    const hs_patch_options *o = c->work->opt;
    hs_buf_printf(out, "%s of %lld %s at %s, %s%s", hs_point_infos[c->opts.point].alias,
                  (long long)c->units.n, units[c->units.at[0].kind],
                  c->opts.n_place ? c->pos : "each position",
                  c->opts.noise ? "noising" : "denoising", by[o->by]);
    return hs_buf_rc(out);
}

static const char *figure_of(const struct cells *c) {
    return c->opts.n_place || c->units.at[0].kind == HS_UNIT_LAYER ? "--patch"
                                                                   : "--patch --layer 0";
}

static int run_cells(hs_patch_work *w) {
    struct cells c = {.work = w, .pos = w->opt->pos ? w->opt->pos : "END"};
    hs_patch_rows rows = {0};
    hs_buf title = {0};
    int64_t run = 0;
    int rc = open_cells(&c);
    if (!rc) rc = store(&c, &c.all, (enum hs_patch_by)w->opt->by, &run);
    if (!rc) rc = hs_patch_rows_read(&rows, w, run, "patch");
    if (!rc && w->opt->verify) rc = verify(&c, &rows);
    hs_bar_close(&w->session.bar);
    if (!rc) rc = make_title(&title, &c);
    if (!rc) {
        const hs_patch_words words = {hs_buf_text(&title), "patch", figure_of(&c), NULL};
        rc = hs_patch_put(w, &rows, run, &words);
    }
    hs_buf_free(&title);
    hs_patch_rows_free(&rows);
    close_cells(&c);
    return rc;
}

const hs_patch_way hs_patch_way_cells = {is_wanted, run_cells, HS_PATCH_DENOISE};
