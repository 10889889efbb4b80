// Two recorded runs of a few held-out prompts, as they are and calibrated, to look at with diff,
// heatmap --diff and all that reads runs; see calibrate.h.
#include <inttypes.h>
#include <stdlib.h>

#include "cli/calibrate/calibrate.h"
#include "cli/recording.h"

static int open_prompts(const hs_calibrate_work *w, hs_prompts **out) {
    const hs_model *m = w->session.model;
    int rc = hs_prompts_open(out, hs_model_tok(m), hs_prompts_bos(w->session.prompts),
                             hs_model_config(m)->n_vocab);
    for (int64_t i = w->n_on; i < w->n && i - w->n_on < w->opt->keep && !rc; i++)
        rc = hs_prompts_add_copy(*out, NULL, hs_prompts_at(w->session.prompts, i));
    return rc;
}

static int record(hs_calibrate_work *w, const char *what, const hs_opt_list *specs,
                  int64_t baseline, int64_t *run) {
    const hs_do_options edits = {.spec = *specs};
    const char *observe[] = {"hidden_sinks,sink_tokens,spans"}; // what figures of two runs show
    const hs_plan_request ask = {
        .observe = {observe, 1}, .span = w->opt->prompt.span, .bos = w->opt->prompt.bos};
    char label[64];
    hs_plan plan = {0};
    hs_do d = {0};
    snprintf(label, sizeof label, "%s of calibration %" PRId64, what, w->run);
    const hs_recording recording = {.call = w->whole,
                                    .session = &w->session,
                                    .prompt = &w->opt->prompt,
                                    .plan = &plan,
                                    .edits = &d,
                                    .db = &w->db,
                                    .path = hs_cli_db_path(&w->opt->db),
                                    .label = label,
                                    .baseline = baseline,
                                    .resume = w->opt->study.resume};
    int rc = hs_plan_open(&plan, &ask, w->session.model);
    if (!rc)
        rc = hs_do_open(&d, &edits, &w->opt->prompt.span, &w->session, hs_cli_db_path(&w->opt->db));
    if (!rc) rc = hs_recording_run(&recording, run);
    hs_do_close(&d);
    hs_plan_close(&plan);
    return rc;
}

int hs_calibrate_keep(hs_calibrate_work *w) {
    hs_prompts *all = w->session.prompts, *some = NULL;
    if (!w->chosen || !w->opt->keep) return HS_OK;
    int rc = open_prompts(w, &some);
    const hs_opt_list none = {0}, specs = {w->chosen_spec, w->n_chosen_spec};
    w->session.prompts = some;
    if (!rc) rc = record(w, "before", &none, 0, &w->kept[0]);
    if (!rc) rc = record(w, "after", &specs, w->kept[0], &w->kept[1]);
    w->session.prompts = all;
    hs_prompts_close(some);
    return rc;
}
