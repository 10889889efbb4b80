// What a sweep is asked for against the model and its prompts, before anything runs; see sweep.h.
#include <inttypes.h>
#include <stdlib.h>

#include "cli/sweep/sweep.h"

hs_sweep_opts hs_sweep_opts_of(const hs_sweep_work *w, const hs_sweep_op *op) {
    return (hs_sweep_opts){.model = w->session.model,
                           .prompts = w->session.prompts,
                           .answers = w->answers.at,
                           .units = &w->units,
                           .op = op->op,
                           .op_args = op->args,
                           .effects = w->ask.effects,
                           .seed = (uint64_t)w->opt->seed,
                           .progress = &w->session.bar.progress,
                           .spans = {w->edits.span, w->edits.n_span},
                           .runs = &w->edits.source};
}

static int read_units(hs_sweep_work *w) {
    const unsigned all = 1u << HS_UNIT_HEAD | 1u << HS_UNIT_GROUP | 1u << HS_UNIT_LAYER |
                         1u << HS_UNIT_MLP | 1u << HS_UNIT_NEURON;
    const char *text = w->opt->units ? w->opt->units : "all";
    int rc = hs_prefix(hs_units_parse(&w->units, &w->dims, text, all), "--heads");
    if (!rc && !w->units.n) rc = hs_fail(HS_ENOTFOUND, "--heads %s: no units", text);
    for (int64_t i = 1; i < w->units.n && !rc; i++)
        if (w->units.at[i].kind != w->units.at[0].kind)
            rc = hs_fail(HS_EARG, "--heads %s: %ss and %ss: a sweep is over units of one kind",
                         text, hs_unit_kinds[w->units.at[0].kind],
                         hs_unit_kinds[w->units.at[i].kind]);
    return rc;
}

// What happens at the last position of a prompt changes no position that is scored.
static int check_reach(const hs_sweep_work *w, const hs_do *edits) {
    bool reaches = false;
    for (int e = 0; e < HS_N_EFFECT; e++)
        reaches |= (w->ask.effects >> e & 1) && hs_effects[e].answer;
    for (int64_t i = 0; i < w->n_prompt && !reaches; i++) {
        const hs_edit_prompt at = hs_edit_prompt_of(w->session.prompts, i,
                                                    (hs_spans){edits->span, edits->n_span});
        reaches = hs_edit_first(hs_editing_at(edits->editing, 0), &at) < at.n_token - 1;
    }
    if (reaches) return HS_OK;
    return hs_fail(
        HS_EARG,
        "no position before a prompt's last is edited, and %s is about what those predict: choose "
        "other positions, or --metric logit_diff, or another that is read at END",
        w->ask.metric[0].name);
}

// An op is tried on the first unit: units of one kind take the same edits.
static int check_op(const hs_sweep_work *w, hs_sweep_op *op) {
    const hs_sweep_opts opts = hs_sweep_opts_of(w, op);
    hs_jw json = {&op->edit, false};
    hs_do edits = {0};
    hs_buf spec = {0};
    int rc = hs_sweep_spec(&spec, &opts, &w->units.at[0]);
    const char *text = hs_buf_text(&spec);
    if (!rc)
        rc = hs_do_open(&edits, &(hs_do_options){.spec = {&text, 1}}, &w->opt->prompt.span,
                        &w->session, hs_buf_text(&w->path));
    if (!rc) rc = check_reach(w, &edits);
    hs_jw_begin(&json, '{');
    if (!rc) hs_do_json(&json, &edits);
    hs_jw_end(&json, '}');
    if (!rc) rc = hs_buf_rc(&op->edit);
    hs_do_close(&edits);
    hs_buf_free(&spec);
    return hs_prefix(rc, "--op %s", op->op);
}

int hs_sweep_check(hs_sweep_work *w) {
    int rc = hs_shard_check(&w->ask.shard, w->n_prompt);
    w->n_mine = hs_shard_count(&w->ask.shard, w->n_prompt);
    if (!rc) rc = read_units(w);
    if (!rc) rc = hs_answers_open(&w->answers, &w->session, w->ask.effects);
    for (int i = 0; i < w->ask.n_op && !rc; i++) rc = check_op(w, &w->ask.op[i]);
    return rc;
}
