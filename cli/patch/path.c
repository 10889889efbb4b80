// patch --path: what senders say along direct paths to receivers; see patch.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/experiments/path.h"
#include "cli/patch/patch.h"
#include "model/core/mem.h"

struct paths {
    hs_patch_work *work;
    hs_path_opts opts;
    hs_units senders;
    hs_receivers to;
    hs_analysis as;
    hs_study study;
    double *full; // [n_pair] the metric of the half that lends
};

static bool is_wanted(const hs_patch_options *o) {
    return o->path;
}

static bool is_noise(const struct paths *c) {
    return c->work->opt->direction == HS_PATCH_NOISE;
}

// ---- what is asked for ------------------------------------------------------------------------

// Everywhere, of what reaches END alone, is END.
static const char *pos_of(const struct paths *c) {
    const char *pos = c->work->opt->pos;
    if (pos && strcmp(pos, "all") != 0) return pos;
    return !c->to.n && hs_effects[c->work->opt->metric].answer ? "END" : NULL;
}

static int open_paths(struct paths *c) {
    hs_patch_work *w = c->work;
    const hs_patch_options *o = w->opt;
    const unsigned kinds = 1u << HS_UNIT_HEAD | 1u << HS_UNIT_GROUP | 1u << HS_UNIT_MLP;
    c->as = hs_analysis_of_experiment(&hs_experiment_path);
    int rc = hs_patch_no_cells(o, "--path");
    if (!rc) rc = hs_prefix(hs_units_parse(&c->senders, &w->dims, o->senders, kinds), "--senders");
    if (!rc && !c->senders.n) rc = hs_fail(HS_ENOTFOUND, "--senders %s: nobody", o->senders);
    if (!rc) rc = hs_prefix(hs_receivers_parse(&c->to, &w->dims, o->to), "--to");
    if (!rc) rc = hs_alloc(&c->full, (size_t)w->n_pair, sizeof *c->full);
    c->opts = (hs_path_opts){.sweep = {.model = w->session.model,
                                       .prompts = w->session.prompts,
                                       .answers = w->answers.at,
                                       .units = &c->senders,
                                       .effects = 1u << o->metric,
                                       .progress = &w->session.bar.progress,
                                       .spans = {w->edits.span, w->edits.n_span}},
                             .to = &c->to,
                             .pos = pos_of(c),
                             .freeze_mlps = o->freeze_mlps};
    return rc;
}

// ---- into the database ------------------------------------------------------------------------

static int asked_json(hs_buf *out, const struct paths *c) {
    hs_jw w = {out, false};
    hs_jw_key_str(&w, "to", c->work->opt->to);
    hs_jw_key_str(&w, "pos", c->opts.pos ? c->opts.pos : "all");
    hs_jw_key(&w, "freeze_mlps");
    hs_jw_bool(&w, c->opts.freeze_mlps);
    return hs_buf_rc(out);
}

static int what_json(hs_buf *out, const struct paths *c) {
    hs_jw w = {out, false};
    hs_units_json(&w, &c->senders);
    hs_buf_chr(out, ',');
    return asked_json(out, c);
}

static int emit_sender(const struct paths *c, const hs_emit *emit, int64_t i, double value,
                       double base, double full) {
    const hs_unit *u = &c->senders.at[i];
    const hs_value row[] = {{.type = HS_VAL_TEXT, .s = hs_unit_kinds[u->kind]},
                            {.type = HS_VAL_INT, .i = u->layer},
                            {.type = HS_VAL_INT, .i = u->index},
                            hs_value_num(value),
                            hs_value_num(base),
                            hs_value_num(is_noise(c) ? base : full),
                            hs_value_num(is_noise(c) ? full : base)};
    int rc = emit->row(emit->ctx, "sender", row);
    if (rc || u->kind != HS_UNIT_HEAD) return rc;
    return emit->metric(emit->ctx, u->layer, (int)u->index, "path_effect", value - base,
                        isnan(value - base) ? "the metric is undefined on this prompt" : NULL);
}

static int on_prompt(void *ctx, const hs_sweep_result *r) {
    struct paths *c = ctx;
    const int e = c->work->opt->metric;
    const int64_t pair = r->ord % c->work->n_pair;
    const double base = hs_effects[e].against ? 0 : r->base[e];
    hs_emit emit;
    int rc = hs_study_begin(&c->study, pair, &emit);
    for (int64_t i = 0; i < c->senders.n && !rc; i++)
        rc = emit_sender(c, &emit, i, r->value[i * HS_N_EFFECT + e], base, c->full[pair]);
    return hs_study_end(&c->study, rc);
}

static int run_left(struct paths *c) {
    int64_t *ord = NULL, n = 0;
    int rc = hs_patch_run_left(&c->study, c->work, &ord, &n, c->full);
    if (!rc && n) rc = hs_path(&c->opts, ord, n, on_prompt, c);
    free(ord);
    return rc;
}

static int store(struct paths *c) {
    hs_buf what = {0};
    int rc = what_json(&what, c);
    if (!rc) rc = hs_patch_run_open(&c->study, c->work, &c->as, hs_buf_text(&what));
    if (!rc) rc = run_left(c);
    hs_buf_free(&what);
    return hs_study_close(&c->study, rc);
}

// ---- the whole --------------------------------------------------------------------------------

static int put(struct paths *c) {
    const hs_patch_options *o = c->work->opt;
    hs_patch_rows rows = {0};
    hs_buf title = {0}, asked = {0};
    hs_buf_printf(&title, "paths of %lld senders to %s at %s%s, %s", (long long)c->senders.n, o->to,
                  c->opts.pos ? c->opts.pos : "all positions",
                  o->freeze_mlps ? " with MLPs held" : "", is_noise(c) ? "noising" : "denoising");
    int rc = hs_buf_rc(&title);
    if (!rc) rc = asked_json(&asked, c);
    if (!rc) rc = hs_patch_rows_read(&rows, c->work, c->study.id, "paths");
    const bool heads = c->senders.n && c->senders.at[0].kind == HS_UNIT_HEAD;
    const hs_patch_words words = {hs_buf_text(&title), "paths", heads ? "--grid path_effect" : NULL,
                                  hs_buf_text(&asked)};
    if (!rc) rc = hs_patch_put(c->work, &rows, c->study.id, &words);
    hs_patch_rows_free(&rows);
    hs_buf_free(&title);
    hs_buf_free(&asked);
    return rc;
}

static int run_paths(hs_patch_work *w) {
    struct paths c = {.work = w};
    int rc = open_paths(&c);
    if (!rc) rc = store(&c);
    hs_bar_close(&w->session.bar);
    if (!rc) rc = put(&c);
    hs_units_free(&c.senders);
    hs_receivers_free(&c.to);
    free(c.full);
    return rc;
}

const hs_patch_way hs_patch_way_path = {is_wanted, run_paths, HS_PATCH_NOISE};
