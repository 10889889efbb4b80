// A calibration into the database, one transaction an item; see calibrate.h.
//
// Items of the calibration part come first, each with the losses of the candidates that ran on it;
// the last one takes what is of the whole search. Items of the held-out part follow, before and
// after; the last one takes the verdicts. A run that goes on screens its heads again, unless the
// choice is made: the same heads come of it.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/calibrate/calibrate.h"
#include "model/core/mem.h"

// A number of an item that is in the database already.
typedef struct held_value {
    int64_t ord, candidate;
    int measure;
    double value;
} held_value;

typedef struct store {
    hs_calibrate_work *w;
    hs_analysis as;
    hs_study study;
    held_value *held; // [n_held]
    int64_t n_held;
} store;

// ---- rows ---------------------------------------------------------------------------------------

static hs_value text(const char *s) {
    return (hs_value){.type = HS_VAL_TEXT, .s = s};
}

static hs_value whole(int64_t i) {
    return (hs_value){.type = HS_VAL_INT, .i = i};
}

static int emit_item(const hs_emit *emit, int64_t candidate, int measure, const char *part,
                     double value) {
    const hs_value row[] = {whole(candidate), text(hs_measures[measure].name), text(part),
                            hs_value_num(value)};
    return isnan(value) ? HS_OK : emit->row(emit->ctx, "item", row);
}

static int emit_losses(const hs_calibrate_work *w, const hs_emit *emit, int64_t ord) {
    const int n = 1 + w->candidates.n;
    int rc = HS_OK;
    for (int c = 0; c < n && !rc; c++)
        rc = emit_item(emit, c, (int)w->objective, "calibration", w->loss[ord * n + c]);
    return rc;
}

static int emit_values(const hs_calibrate_work *w, const hs_emit *emit, int64_t ord) {
    const double *value = w->value + (ord - w->n_on) * 2 * HS_N_MEASURE;
    int rc = HS_OK;
    for (int v = 0; v < (w->chosen ? 2 : 1); v++)
        for (int m = 0; m < HS_N_MEASURE && !rc; m++)
            rc = emit_item(emit, v ? w->chosen : 0, m, "held_out", value[v * HS_N_MEASURE + m]);
    return rc;
}

static int emit_heads(const hs_calibrate_work *w, const hs_emit *emit) {
    const int n = w->dims.n_layer * w->dims.n_head;
    int rc = HS_OK;
    if (!w->estimate && !w->exact) return HS_OK;
    for (int s = 0; s < w->method.n_strength; s++)
        for (int u = 0; u < n && !rc; u++) {
            if (!w->heads.on[u]) continue;
            const double nan = (double)NAN;
            const hs_value row[] = {whole(s),
                                    whole(u / w->dims.n_head),
                                    whole(u % w->dims.n_head),
                                    text(w->method.strength[s]),
                                    hs_value_num(w->estimate ? w->estimate[s * n + u] : nan),
                                    hs_value_num(w->exact ? w->exact[s * n + u] : nan)};
            rc = emit->row(emit->ctx, "head", row);
        }
    return rc;
}

// The candidate on the items that it ran on, against the unedited model on the same ones.
static int gain_of(const hs_calibrate_work *w, int c, hs_gain *gain) {
    const int64_t ld = 1 + w->candidates.n;
    return hs_gain_of(gain, w->objective, w->loss, w->loss + 1 + c, ld, w->n_on,
                      (uint64_t)w->opt->seed);
}

static int emit_candidate(const hs_calibrate_work *w, const hs_emit *emit, int c) {
    const hs_candidate *at = &w->candidates.at[c];
    hs_buf heads = {0}, spec = {0};
    hs_gain gain;
    int rc = gain_of(w, c, &gain);
    hs_calibrate_heads(&heads, &at->heads);
    hs_calibrate_join(&spec, at->spec, at->n_spec);
    if (!rc) rc = hs_buf_rc(&heads);
    if (!rc) rc = hs_buf_rc(&spec);
    const hs_value row[] = {whole(1 + c),
                            text(w->method.strength[at->strength]),
                            whole(at->n_head),
                            text(hs_buf_text(&heads)),
                            text(hs_buf_text(&spec)),
                            whole(gain.n),
                            hs_value_num(gain.baseline),
                            hs_value_num(gain.calibrated),
                            hs_value_num(gain.low),
                            hs_value_num(gain.high),
                            whole(w->chosen == 1 + c)};
    if (!rc) rc = emit->row(emit->ctx, "candidate", row);
    hs_buf_free(&heads);
    hs_buf_free(&spec);
    return rc;
}

static int emit_search(const hs_calibrate_work *w, const hs_emit *emit) {
    int rc = emit_heads(w, emit);
    for (int c = 0; c < w->candidates.n && !rc; c++) rc = emit_candidate(w, emit, c);
    return rc;
}

static int emit_verdict(const hs_calibrate_work *w, const hs_emit *emit, enum hs_measure m) {
    const double *before = w->value + m, *after = before + (w->chosen ? HS_N_MEASURE : 0);
    const double nan = (double)NAN;
    hs_gain g;
    int rc = hs_gain_of(&g, m, before, after, 2 * HS_N_MEASURE, w->n - w->n_on,
                        (uint64_t)w->opt->seed);
    if (rc || !g.n) return rc;
    const hs_value row[] = {text(hs_measures[m].name),
                            whole(m == w->objective),
                            whole(g.n),
                            hs_value_num(g.baseline),
                            hs_value_num(w->chosen ? g.calibrated : nan),
                            hs_value_num(w->chosen ? g.low : nan),
                            hs_value_num(w->chosen ? g.high : nan),
                            text(hs_verdicts[g.verdict])};
    return emit->row(emit->ctx, "verdict", row);
}

static int emit_proof(const hs_calibrate_work *w, const hs_emit *emit) {
    int rc = HS_OK;
    for (int m = 0; m < HS_N_MEASURE && !rc; m++) rc = emit_verdict(w, emit, (enum hs_measure)m);
    return rc;
}

static int on_item(void *ctx, int64_t ord) {
    store *s = ctx;
    hs_calibrate_work *w = s->w;
    const bool on = ord < w->n_on;
    hs_emit emit;
    int rc = on && ord + 1 == w->n_on ? hs_calibrate_choose(w) : HS_OK;
    if (!rc) rc = hs_study_begin(&s->study, ord, &emit);
    if (rc) return rc;
    rc = on ? emit_losses(w, &emit, ord) : emit_values(w, &emit, ord);
    if (!rc && ord + 1 == w->n_on) rc = emit_search(w, &emit);
    if (!rc && ord + 1 == w->n) rc = emit_proof(w, &emit);
    return hs_study_end(&s->study, rc);
}

// ---- what the run holds already -----------------------------------------------------------------

static int measure_of(const char *name) {
    for (int m = 0; m < HS_N_MEASURE; m++)
        if (!strcmp(hs_measures[m].name, name)) return m;
    return -1;
}

static int on_held(void *ctx, int64_t ord, const hs_query *q) {
    store *s = ctx;
    char name[32];
    int rc = hs_grow(&s->held, (size_t)s->n_held + 1, sizeof *s->held);
    hs_query_text(q, "measure", name, sizeof name);
    if (rc || measure_of(name) < 0) return rc;
    s->held[s->n_held++] = (held_value){ord, hs_query_int(q, "candidate"), measure_of(name),
                                        hs_query_num(q, "value")};
    return HS_OK;
}

// What was chosen has to be edits that this model takes on these items.
static int check_chosen(const store *s) {
    const hs_calibrate_work *w = s->w;
    int rc = w->chosen < 1 ? HS_EFORMAT : HS_OK;
    for (int i = 0; i < w->n_chosen_spec && !rc; i++)
        rc = hs_calibrate_check_spec(w, w->chosen_spec[i]);
    return !rc || rc == HS_ENOMEM
               ? rc
               : hs_fail(HS_EFORMAT, "%s is damaged: what run %lld chose is no edit of this model",
                         hs_db_path(w->db), (long long)w->run);
}

static int on_candidate(void *ctx, int64_t ord, const hs_query *q) {
    store *s = ctx;
    const hs_cell spec = hs_query_named(q, "spec");
    hs_buf copy = {0};
    (void)ord;
    if (hs_query_int(q, "chosen") != 1 || spec.type != HS_CELL_TEXT || s->w->chosen) return HS_OK;
    hs_buf_add(&copy, spec.data, spec.n);
    int rc = hs_buf_rc(&copy);
    if (!rc) rc = hs_calibrate_chosen(s->w, hs_query_int(q, "candidate"), hs_buf_text(&copy));
    hs_buf_free(&copy);
    return rc ? rc : check_chosen(s);
}

static int read_back(store *s) {
    int rc = hs_study_held(&s->study, "calibrate_items", on_held, s);
    if (!rc && s->study.done >= s->w->n_on)
        rc = hs_study_held(&s->study, "calibrate_candidates", on_candidate, s);
    return rc;
}

static void put_losses(const store *s) {
    const int64_t n = 1 + s->w->candidates.n;
    for (int64_t i = 0; i < s->n_held; i++) {
        const held_value *h = &s->held[i];
        if (h->ord < s->w->n_on && h->candidate >= 0 && h->candidate < n)
            s->w->loss[h->ord * n + h->candidate] = h->value;
    }
}

static void put_values(const store *s) {
    for (int64_t i = 0; i < s->n_held; i++) {
        const held_value *h = &s->held[i];
        if (h->ord < s->w->n_on || h->ord >= s->w->n) continue;
        double *value = s->w->value + (h->ord - s->w->n_on) * 2 * HS_N_MEASURE;
        value[(h->candidate > 0) * HS_N_MEASURE + h->measure] = h->value;
    }
}

// ---- the run ------------------------------------------------------------------------------------

static void what_json(hs_buf *out, const hs_calibrate_work *w) {
    hs_jw j = {out, false};
    hs_buf args = {0};
    hs_args_json(&w->method.args, &args);
    hs_jw_key_str(&j, "method", w->method.method->name);
    hs_jw_key(&j, "params");
    hs_jw_buf(&j, &args);
    hs_buf_free(&args);
    hs_jw_key_int(&j, "calibration", w->n_on);
    hs_jw_key_str(&j, "objective", hs_measures[w->objective].name);
    hs_jw_key_str(&j, "screen", w->opt->screen == HS_CALIBRATE_EXACT ? "exact" : "gradient");
    hs_jw_key_int(&j, "screen_tokens", w->opt->screen_tokens);
    hs_jw_key_str(&j, "heads", w->opt->heads ? w->opt->heads : "");
    hs_jw_key_int(&j, "decode", w->opt->decode);
    hs_jw_key_int(&j, "seed", w->opt->seed);
}

static int open_study(store *s) {
    hs_calibrate_work *w = s->w;
    hs_buf what = {0};
    what_json(&what, w);
    const hs_study_opts opts = {.call = w->whole,
                                .session = &w->session,
                                .prompt = &w->opt->prompt,
                                .db = &w->db,
                                .path = hs_cli_db_path(&w->opt->db),
                                .how = &w->opt->study,
                                .seed = w->opt->seed,
                                .as = &s->as,
                                .what = &what};
    return hs_study_open(&s->study, &opts);
}

static int run_items(store *s) {
    hs_calibrate_work *w = s->w;
    const int64_t done = s->study.done;
    const size_t n = (size_t)(w->n - w->n_on) * 2 * HS_N_MEASURE;
    int rc = hs_alloc(&w->value, n, sizeof *w->value);
    for (size_t i = 0; i < n && !rc; i++) w->value[i] = (double)NAN;
    if (!rc && done < w->n_on) {
        rc = hs_calibrate_find(w);
        if (!rc) put_losses(s);
        if (!rc) rc = hs_calibrate_race(w, done, on_item, s);
    }
    if (!rc) put_values(s);
    return rc ? rc : hs_calibrate_prove(w, done < w->n_on ? w->n_on : done, on_item, s);
}

// Of a run that was complete already.
static int on_chosen(void *ctx, const hs_query *q) {
    return on_candidate(ctx, 0, q);
}

int hs_calibrate_store(hs_calibrate_work *w) {
    store s = {.w = w, .as = hs_analysis_of_experiment(&hs_experiment_calibrate)};
    int rc = open_study(&s);
    w->run = s.study.id;
    if (!rc) rc = read_back(&s);
    if (!rc && !s.study.complete) rc = run_items(&s);
    if (!rc && s.study.complete)
        rc = hs_query_each(w->db, "calibrate_candidates", &(hs_query_opts){.run = w->run},
                           on_chosen, &s);
    free(s.held);
    return hs_study_close(&s.study, rc);
}
