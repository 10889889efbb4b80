// What `calibrate` says, read back from the database; see calibrate.h.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/calibrate/calibrate.h"
#include "model/core/mem.h"

typedef struct verdict_row {
    hs_gain gain;
    bool objective;
} verdict_row;

// All that is told.
typedef struct found {
    const hs_calibrate_work *w;
    verdict_row at[HS_N_MEASURE];
    int n, proof;    // proof: the one of the objective
    int64_t n_tried; // candidates
    hs_buf heads, setting, specs;
    int64_t n_head;
} found;

// ---- reading ------------------------------------------------------------------------------------

static int on_verdict(void *ctx, const hs_query *q) {
    found *f = ctx;
    char name[32], verdict[16];
    int m = 0, v = 0;
    hs_query_text(q, "measure", name, sizeof name);
    hs_query_text(q, "verdict", verdict, sizeof verdict);
    while (m < HS_N_MEASURE && strcmp(hs_measures[m].name, name)) m++;
    while (v < HS_VERDICT_HARMS && strcmp(hs_verdicts[v], verdict)) v++;
    if (m == HS_N_MEASURE || f->n == HS_N_MEASURE) return HS_OK;
    const bool objective = hs_query_int(q, "objective") == 1;
    if (objective) f->proof = f->n;
    f->at[f->n++] = (verdict_row){{.measure = (enum hs_measure)m,
                                   .n = hs_query_int(q, "items"),
                                   .baseline = hs_query_num(q, "baseline"),
                                   .calibrated = hs_query_num(q, "calibrated"),
                                   .low = hs_query_num(q, "low"),
                                   .high = hs_query_num(q, "high"),
                                   .verdict = (enum hs_verdict)v},
                                  objective};
    return HS_OK;
}

static void copy(hs_buf *out, const hs_query *q, const char *column) {
    const hs_cell c = hs_query_named(q, column);
    if (c.type == HS_CELL_TEXT) hs_buf_add(out, c.data, c.n);
}

static int on_candidate(void *ctx, const hs_query *q) {
    found *f = ctx;
    f->n_tried++;
    if (hs_query_int(q, "chosen") != 1 || f->specs.len) return HS_OK;
    f->n_head = hs_query_int(q, "n_head");
    copy(&f->heads, q, "heads");
    copy(&f->setting, q, "setting");
    copy(&f->specs, q, "spec");
    return HS_OK;
}

static int read_found(found *f, const hs_calibrate_work *w) {
    const hs_source source = {.db = w->db, .run = w->run};
    *f = (found){.w = w, .proof = -1};
    int rc = hs_source_each(&source, "calibrate", NULL, 0, on_verdict, f);
    if (!rc) rc = hs_source_each(&source, "calibrate_candidates", NULL, 0, on_candidate, f);
    if (!rc) rc = hs_buf_rc(&f->heads);
    if (!rc) rc = hs_buf_rc(&f->specs);
    return rc ? rc : hs_buf_rc(&f->setting);
}

static void verdict_text(const found *f, hs_buf *out) {
    if (!f->specs.len && !f->n_tried)
        hs_buf_str(out, "nothing is selected: no head gains by this on the calibration part");
    else if (!f->specs.len)
        hs_buf_printf(out,
                      "nothing is selected: none of %" PRId64
                      " candidates beats the model as it is on the calibration part",
                      f->n_tried);
    else if (f->proof >= 0)
        hs_gain_text(out, &f->at[f->proof].gain);
}

// ---- for programs -------------------------------------------------------------------------------

static int json_selected(hs_jw *j, const found *f) {
    hs_heads heads;
    hs_jw_key(j, "selected");
    hs_jw_begin(j, '[');
    int rc = hs_heads_parse(&heads, &f->w->dims, f->heads.len ? f->heads.data : "none");
    if (rc && rc != HS_ENOMEM)
        rc = hs_fail(HS_EFORMAT, "%s is damaged: the heads that run %" PRId64 " chose are none",
                     hs_db_path(f->w->db), f->w->run);
    for (int i = 0; i < f->w->dims.n_layer * f->w->dims.n_head && !rc; i++) {
        if (!heads.on[i]) continue;
        hs_jw_begin(j, '{');
        hs_jw_key_int(j, "layer", i / f->w->dims.n_head);
        hs_jw_key_int(j, "head", i % f->w->dims.n_head);
        hs_jw_end(j, '}');
    }
    hs_jw_end(j, ']');
    if (!rc) hs_heads_free(&heads);
    return rc;
}

static void json_specs(hs_jw *j, const found *f) {
    hs_jw_key_str(j, "spec", hs_buf_text(&f->specs));
    hs_jw_key(j, "specs");
    hs_jw_begin(j, '[');
    for (int i = 0; i < f->w->n_chosen_spec; i++) hs_jw_str(j, f->w->chosen_spec[i]);
    hs_jw_end(j, ']');
}

static void json_measures(hs_jw *j, const found *f) {
    hs_jw_key(j, "baseline");
    hs_jw_begin(j, '{');
    for (int i = 0; i < f->n; i++)
        hs_jw_key_num(j, hs_measures[f->at[i].gain.measure].name, f->at[i].gain.baseline);
    hs_jw_end(j, '}');
    hs_jw_key(j, "calibrated");
    hs_jw_begin(j, '{');
    for (int i = 0; i < f->n; i++) // where nothing is selected, the model stays as it is
        hs_jw_key_num(j, hs_measures[f->at[i].gain.measure].name,
                      f->specs.len ? f->at[i].gain.calibrated : f->at[i].gain.baseline);
    hs_jw_end(j, '}');
    hs_jw_key(j, "changes");
    hs_jw_begin(j, '{');
    for (int i = 0; i < f->n && f->specs.len; i++) {
        const hs_gain *g = &f->at[i].gain;
        hs_jw_key(j, hs_measures[g->measure].name);
        hs_jw_begin(j, '{');
        hs_jw_key_num(j, "change", g->calibrated - g->baseline);
        hs_jw_key_num(j, "ci_low", g->low);
        hs_jw_key_num(j, "ci_high", g->high);
        hs_jw_key_int(j, "n", g->n);
        hs_jw_key_str(j, "verdict", hs_verdicts[g->verdict]);
        hs_jw_end(j, '}');
    }
    hs_jw_end(j, '}');
}

static int put_json(const found *f) {
    const hs_calibrate_work *w = f->w;
    hs_buf json = {0}, verdict = {0};
    hs_jw j = {&json, false};
    verdict_text(f, &verdict);
    hs_jw_begin(&j, '{');
    hs_jw_key_int(&j, "run", w->run);
    hs_jw_key_str(&j, "db", hs_db_path(w->db));
    hs_jw_key_str(&j, "method", w->method.method->name);
    json_specs(&j, f);
    hs_jw_key_str(&j, "strength", hs_buf_text(&f->setting));
    int rc = json_selected(&j, f);
    hs_jw_key_str(&j, "objective", hs_measures[w->objective].name);
    json_measures(&j, f);
    hs_jw_key_int(&j, "calibration", w->n_on);
    hs_jw_key_int(&j, "held_out", w->n - w->n_on);
    hs_jw_key_int(&j, "candidates", f->n_tried);
    hs_jw_key_str(&j, "verdict", hs_buf_text(&verdict));
    hs_jw_key(&j, "runs");
    hs_jw_begin(&j, '[');
    for (int i = 0; i < 2 && w->kept[i]; i++) hs_jw_int(&j, w->kept[i]);
    hs_jw_end(&j, ']');
    hs_jw_key_num(&j, "seconds", w->seconds);
    hs_jw_end(&j, '}');
    if (!rc) rc = hs_buf_rc(&verdict);
    hs_buf_free(&verdict);
    if (!rc) return hs_json_put(&json);
    hs_buf_free(&json);
    return rc;
}

// ---- rows ---------------------------------------------------------------------------------------

static int put_rows(const found *f) {
    static const hs_col columns[] = {{"measure", "held out", 0}, {"items", NULL, 0},
                                     {"baseline", "before", 4},  {"calibrated", "after", 4},
                                     {"change", "change", 4},    {"ci_low", "low", 4},
                                     {"ci_high", "high", 4},     {"verdict", "verdict", 0}};
    hs_table *t;
    int rc = hs_table_open(&t, columns, (int)(sizeof columns / sizeof *columns));
    for (int i = 0; i < f->n && !rc; i++) {
        const hs_gain *g = &f->at[i].gain;
        hs_table_str(t, hs_measures[g->measure].name);
        hs_table_int(t, g->n);
        hs_table_num(t, g->baseline);
        hs_table_num(t, g->calibrated);
        hs_table_num(t, g->calibrated - g->baseline);
        hs_table_num(t, g->low);
        hs_table_num(t, g->high);
        hs_table_str(t, f->specs.len ? hs_verdicts[g->verdict] : "");
    }
    if (!rc) rc = hs_table_put(t, f->w->whole, &f->w->opt->out);
    hs_table_close(t);
    return rc;
}

// ---- for people ---------------------------------------------------------------------------------

static void put_next(const found *f) {
    const hs_calibrate_work *w = f->w;
    const char *path = hs_db_path(w->db), *db = " --db ";
    if (w->whole->quiet) return;
    if (strcmp(path, "headscope.db") == 0) db = path = "";
    printf("\nnext: headscope query calibrate_candidates --run %" PRId64 "%s%s\n", w->run, db,
           path);
    if (w->kept[1])
        printf("      headscope diff %" PRId64 " %" PRId64 "%s%s\n", w->kept[0], w->kept[1], db,
               path);
}

static int put_people(const found *f) {
    const hs_calibrate_work *w = f->w;
    hs_buf verdict = {0};
    printf("%s: %" PRId64 " candidates on %" PRId64 " items, proved on %" PRId64
           " held out: run %" PRId64 " in %s, %.0f s\n\n",
           w->method.method->name, f->n_tried, w->n_on, w->n - w->n_on, w->run, hs_db_path(w->db),
           w->seconds);
    int rc = put_rows(f);
    verdict_text(f, &verdict);
    if (!rc) rc = hs_buf_rc(&verdict);
    if (!rc) putchar('\n');
    if (!rc && f->n_head) printf("%" PRId64 " head%s, ", f->n_head, f->n_head == 1 ? "" : "s");
    if (!rc && f->specs.len) printf("%s\n", hs_buf_text(&f->setting));
    if (!rc) puts(hs_buf_text(&verdict));
    if (!rc && f->specs.len) printf("--do %s\n", f->specs.data);
    if (!rc) put_next(f);
    hs_buf_free(&verdict);
    return rc;
}

int hs_calibrate_print(const hs_calibrate_work *w) {
    const hs_out_options *out = &w->opt->out;
    found f;
    int rc = read_found(&f, w);
    if (!rc) rc = out->json ? put_json(&f) : out->csv || out->jsonl ? put_rows(&f) : put_people(&f);
    hs_buf_free(&f.heads);
    hs_buf_free(&f.setting);
    hs_buf_free(&f.specs);
    return rc;
}
