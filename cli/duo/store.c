// Streaming heads into the database, one transaction a prompt; see duo.h.
//
// Gates and sets are of all prompts: they are run in the last one's transaction, and stay with it.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/duo/duo.h"
#include "model/core/mem.h"

typedef struct store {
    hs_duo_work *w;
    hs_analysis as;
    hs_study study;
    hs_emit emit; // of the last prompt
} store;

static void what_json(hs_buf *out, const hs_duo_work *w) {
    hs_jw j = {out, false};
    hs_jw_key_str(&j, "labels", w->opt->labels ? w->opt->labels : "qa, or the last position");
    hs_jw_key_int(&j, "sink", w->opt->sink);
    hs_jw_key_int(&j, "recent", w->opt->recent);
    hs_jw_key_int(&j, "steps", w->opt->steps);
    if (w->opt->steps) {
        hs_jw_key_num(&j, "rate", w->opt->rate);
        hs_jw_key_num(&j, "lambda", w->opt->price);
    }
    hs_jw_key(&j, "sparsity");
    hs_jw_begin(&j, '[');
    for (int i = 0; i < w->n_share; i++) hs_jw_int(&j, w->share[i]);
    hs_jw_end(&j, ']');
    hs_jw_key_int(&j, "seed", w->opt->seed);
}

// Every query head has its group's value.
int hs_duo_emit(const hs_duo_work *w, const hs_emit *emit, const char *name, const double *value,
                const char *reason) {
    const hs_dims *d = &w->dims;
    const int per = d->n_head / d->n_kv_head;
    int rc = HS_OK;
    for (int l = 0; l < d->n_layer; l++)
        for (int h = 0; h < d->n_head && !rc; h++) {
            const double v = value[l * d->n_kv_head + h / per];
            rc = emit->metric(emit->ctx, l, h, name, v, isnan(v) ? reason : NULL);
        }
    return rc;
}

// The last prompt stays open: what is of the whole run comes with it.
static int on_result(void *ctx, const hs_duo_result *r) {
    store *s = ctx;
    const hs_duo_work *w = s->w;
    const hs_value row[] = {{.type = HS_VAL_INT, .i = r->n_label}};
    memcpy(w->probe + r->ord * w->n_kv, r->probe, (size_t)w->n_kv * sizeof *w->probe);
    int rc = hs_study_begin(&s->study, r->ord, &s->emit);
    if (!rc) rc = s->emit.row(s->emit.ctx, "prompt", row);
    if (!rc)
        rc = hs_duo_emit(w, &s->emit, "duo_probe", r->probe,
                         "the final hidden state is not a number here");
    if (!rc)
        rc = hs_duo_emit(w, &s->emit, "duo_z_error", r->z_error,
                         "z is 0 in all rows that lose keys");
    return !rc && r->ord + 1 == s->study.n ? HS_OK : hs_study_end(&s->study, rc);
}

static int open_study(store *s) {
    hs_duo_work *w = s->w;
    hs_buf what = {0};
    what_json(&what, w);
    const hs_study_opts opts = {.call = w->call,
                                .session = &w->session,
                                .prompt = &w->prompt,
                                .db = &w->db,
                                .path = hs_cli_db_path(&w->opt->db),
                                .how = &w->opt->study,
                                .seed = w->opt->seed,
                                .as = &s->as,
                                .what = &what};
    return hs_study_open(&s->study, &opts);
}

// ---- what the run holds already -----------------------------------------------------------------

static int on_held(void *ctx, int64_t ord, const hs_query *q) {
    const hs_duo_work *w = ctx;
    const int64_t layer = hs_query_int(q, "layer"), kv = hs_query_int(q, "kv_head");
    if (layer < 0 || layer >= w->dims.n_layer || kv < 0 || kv >= w->dims.n_kv_head) return HS_OK;
    w->probe[ord * w->n_kv + layer * w->dims.n_kv_head + kv] = hs_query_num(q, "probe");
    return HS_OK;
}

static int run_prompts(store *s, const int64_t *ord, int64_t n) {
    const hs_duo_opts o = hs_duo_opts_of(s->w);
    int rc = hs_duo_probe(&o, ord, n, on_result, s);
    if (rc) return rc; // the last prompt is not open, or goes with the run
    rc = hs_duo_search_gates(s->w, &s->emit);
    if (!rc) rc = hs_duo_find_curve(s->w, &s->emit);
    return hs_study_end(&s->study, rc);
}

int hs_duo_store(hs_duo_work *w) {
    store s = {.w = w, .as = hs_analysis_of_experiment(&hs_experiment_duo)};
    int64_t *ord = NULL, n = 0;
    const size_t n_prompt = (size_t)hs_prompts_count(w->session.prompts);
    int rc = hs_alloc(&w->probe, n_prompt, (size_t)w->n_kv * sizeof *w->probe);
    if (rc) return rc;
    rc = open_study(&s);
    w->run = s.study.id;
    if (!rc) rc = hs_study_held(&s.study, "duo", on_held, w);
    if (!rc) rc = hs_study_left(&s.study, &ord, &n);
    if (!rc && n) rc = run_prompts(&s, ord, n);
    free(ord);
    return hs_study_close(&s.study, rc);
}
