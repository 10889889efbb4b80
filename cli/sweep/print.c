// What a sweep found, read back from the database and printed; see sweep.h.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/sweep/sweep.h"
#include "cli/sweep/words.h"
#include "model/core/mem.h"
#include "model/core/prng.h"

// One unit's change, of one metric.
typedef struct unit_change {
    char unit[HS_UNIT_NAME], kind[16];
    int64_t layer, index, n;
    double value, low, high;
    bool member, settled; // of races
} unit_change;

// What a run found of a metric.
typedef struct found {
    const hs_sweep_work *w;
    const hs_sweep_made *made;
    const hs_sweep_metric *metric;
    unit_change *at; // [n], largest change first
    int64_t n;
    double baseline;
    bool race;
    int64_t k; // units at the top; 0: no control
    double control, control_low, control_high, top;
} found;

// ---- reading ----------------------------------------------------------------------------------

static int on_unit(void *ctx, const hs_query *q) {
    found *f = ctx;
    int rc = hs_grow(&f->at, (size_t)f->n + 1, sizeof *f->at);
    if (rc) return rc;
    unit_change *c = &f->at[f->n++];
    *c = (unit_change){.layer = hs_query_int(q, "layer"),
                       .index = hs_query_int(q, "idx"),
                       .n = hs_query_int(q, "n"),
                       .value = hs_query_num(q, "value"),
                       .low = hs_query_num(q, f->race ? "low" : "ci_low"),
                       .high = hs_query_num(q, f->race ? "high" : "ci_high"),
                       .member = hs_query_int(q, "member"),
                       .settled = hs_query_int(q, "settled")};
    hs_query_text(q, "unit", c->unit, sizeof c->unit);
    hs_query_text(q, "kind", c->kind, sizeof c->kind);
    f->baseline = hs_query_num(q, "baseline");
    return HS_OK;
}

static int by_number(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// As many units drawn at random as stand at the top: the mean |change| over draws, and where 95 %
// of them lie.
static int make_control(found *f) {
    const int64_t draws = f->w->opt->control, top = f->w->opt->top;
    hs_prng random = hs_prng_seed((uint64_t)f->w->opt->seed);
    double *mean, sum = 0;
    if (f->race || top >= f->n || !draws) return HS_OK;
    for (int64_t i = 0; i < f->n; i++)
        if (isnan(f->at[i].value)) return HS_OK;
    int rc = hs_alloc(&mean, (size_t)draws, sizeof *mean);
    for (int64_t d = 0; d < draws && !rc; d++) {
        int64_t left = top; // each unit with the chance that makes `top` of them
        for (int64_t i = 0; i < f->n && left; i++)
            if ((int64_t)hs_prng_below(&random, (uint64_t)(f->n - i)) < left) {
                mean[d] += fabs(f->at[i].value) / (double)top;
                left--;
            }
        sum += mean[d];
    }
    if (rc) return rc;
    f->k = top;
    f->top = 0;
    for (int64_t i = 0; i < top; i++) f->top += fabs(f->at[i].value) / (double)top;
    qsort(mean, (size_t)draws, sizeof *mean, by_number);
    f->control = sum / (double)draws;
    f->control_low = mean[(int64_t)(0.025 * (double)(draws - 1))];
    f->control_high = mean[(int64_t)ceil(0.975 * (double)(draws - 1))];
    free(mean);
    return HS_OK;
}

static int read_found(found *f, const hs_sweep_work *w, const hs_sweep_made *made,
                      const hs_sweep_metric *metric) {
    const hs_source source = {.db = w->db, .run = made->run};
    hs_buf param = {0};
    *f = (found){
        .w = w, .made = made, .metric = metric, .baseline = NAN, .race = w->opt->by == HS_BY_RACE};
    hs_buf_printf(&param, "metric=%s", metric->name);
    int rc = hs_buf_rc(&param);
    const char *text = hs_buf_text(&param);
    if (!rc)
        rc = hs_source_each(&source, f->race ? "sweep_race" : "sweep", &text, !f->race, on_unit, f);
    if (!rc) rc = make_control(f);
    hs_buf_free(&param);
    return rc;
}

// ---- for programs -----------------------------------------------------------------------------

static int by_place(const void *a, const void *b) {
    const unit_change *x = a, *y = b;
    if (x->layer != y->layer) return x->layer < y->layer ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static void json_unit(hs_jw *j, const found *f, const unit_change *c, bool head) {
    hs_jw_begin(j, '{');
    if (!head) hs_jw_key_str(j, "unit", c->unit);
    if (!head) hs_jw_key_str(j, "kind", c->kind);
    hs_jw_key_int(j, "layer", c->layer);
    hs_jw_key_int(j, head ? "head" : "index", c->index);
    hs_jw_key_num(j, "value", c->value);
    hs_jw_key_num(j, "ci_low", c->low);
    hs_jw_key_num(j, "ci_high", c->high);
    hs_jw_key_int(j, "n", c->n);
    if (f->race) {
        hs_jw_key(j, "top");
        hs_jw_bool(j, c->member);
        hs_jw_key(j, "settled");
        hs_jw_bool(j, c->settled);
    }
    hs_jw_end(j, '}');
}

static void json_units(hs_jw *j, const found *f, const char *key, bool head) {
    hs_jw_key(j, key);
    hs_jw_begin(j, '[');
    for (int64_t i = 0; i < f->n; i++) json_unit(j, f, &f->at[i], head);
    hs_jw_end(j, ']');
}

static void json_head(hs_jw *j, const hs_sweep_work *w, const hs_sweep_made *made,
                      const hs_sweep_metric *metric) {
    static const char *const by[] = {"exact", "gradient", "race"};
    hs_jw_begin(j, '{');
    hs_jw_key_int(j, "run", made->run);
    hs_jw_key_str(j, "db", hs_buf_text(&w->path));
    hs_jw_key_str(j, "op", made->op->op);
    if (made->op->args) hs_jw_key_str(j, "args", made->op->args);
    hs_jw_key_str(j, "metric", metric->name);
    hs_jw_key_str(j, "by", by[w->opt->by]);
}

static void json_found(hs_jw *j, found *f) {
    json_head(j, f->w, f->made, f->metric);
    hs_jw_key_num(j, "baseline", f->baseline);
    if (f->n) qsort(f->at, (size_t)f->n, sizeof *f->at, by_place);
    if (f->w->units.at[0].kind == HS_UNIT_HEAD) json_units(j, f, "heads", true);
    json_units(j, f, "units", false);
    if (f->k) {
        hs_jw_key(j, "control");
        hs_jw_begin(j, '{');
        hs_jw_key_int(j, "units", f->k);
        hs_jw_key_int(j, "draws", f->w->opt->control);
        hs_jw_key_num(j, "value", f->control);
        hs_jw_key_num(j, "low", f->control_low);
        hs_jw_key_num(j, "high", f->control_high);
        hs_jw_key_num(j, "top", f->top);
        hs_jw_end(j, '}');
    }
    hs_jw_end(j, '}');
}

static int on_step(void *ctx, const hs_query *q) {
    hs_jw *j = ctx;
    char ranking[16];
    hs_query_text(q, "ranking", ranking, sizeof ranking);
    hs_jw_begin(j, '{');
    hs_jw_key_str(j, "ranking", ranking);
    hs_jw_key_int(j, "removed", hs_query_int(q, "removed"));
    hs_jw_key_num(j, "value", hs_query_num(q, "value"));
    hs_jw_key_num(j, "low", hs_query_num(q, "low"));
    hs_jw_key_num(j, "high", hs_query_num(q, "high"));
    hs_jw_key_int(j, "draws", hs_query_int(q, "draws"));
    hs_jw_key_int(j, "n", hs_query_int(q, "n"));
    hs_jw_end(j, '}');
    return HS_OK;
}

// Calls fn for each step of a run's curves.
static int each_step(const hs_sweep_work *w, const hs_sweep_made *made,
                     const hs_sweep_metric *metric, hs_row_fn fn, void *ctx) {
    const hs_source source = {.db = w->db, .run = made->run};
    hs_buf param = {0};
    hs_buf_printf(&param, "metric=%s", metric->name);
    int rc = hs_buf_rc(&param);
    const char *text = hs_buf_text(&param);
    if (!rc) rc = hs_source_each(&source, "sweep_curve", &text, 1, fn, ctx);
    hs_buf_free(&param);
    return rc;
}

static int json_curve(hs_jw *j, const hs_sweep_work *w, const hs_sweep_made *made,
                      const hs_sweep_metric *metric) {
    json_head(j, w, made, metric);
    hs_jw_key(j, "curve");
    hs_jw_begin(j, '[');
    int rc = each_step(w, made, metric, on_step, j);
    hs_jw_end(j, ']');
    hs_jw_end(j, '}');
    return rc;
}

static int put_json(const hs_sweep_work *w) {
    hs_buf json = {0};
    hs_jw j = {&json, false};
    const bool list = w->n_made * w->ask.n_metric > 1;
    int rc = HS_OK;
    if (list) hs_jw_begin(&j, '[');
    for (int i = 0; i < w->n_made; i++)
        for (int m = 0; m < w->ask.n_metric && !rc; m++) {
            found f = {0};
            if (w->made[i].curve) {
                rc = json_curve(&j, w, &w->made[i], &w->ask.metric[m]);
                continue;
            }
            rc = read_found(&f, w, &w->made[i], &w->ask.metric[m]);
            if (!rc) json_found(&j, &f);
            free(f.at);
        }
    if (list) hs_jw_end(&j, ']');
    if (!rc) return hs_json_put(&json);
    hs_buf_free(&json);
    return rc;
}

// ---- rows -------------------------------------------------------------------------------------

static const hs_col columns[] = {
    {"run", NULL, 0},           {"op", NULL, 0},      {"metric", NULL, 0}, {"unit", "unit", 0},
    {"kind", NULL, 0},          {"layer", NULL, 0},   {"index", NULL, 0},  {"value", "change", 6},
    {"ci_low", "95 % from", 6}, {"ci_high", "to", 6}, {"n", "prompts", 0}, {NULL, "", 0},
};
enum { N_COLUMN = sizeof columns / sizeof *columns, LOW = 8, HIGH };

// What stands between low and high: an interval of the mean, or the bounds of a race.
static int open_table(hs_table **out, bool race) {
    hs_col own[N_COLUMN];
    memcpy(own, columns, sizeof own);
    if (race) own[LOW].title = "not below";
    if (race) own[HIGH].title = "nor above";
    return hs_table_open(out, own, N_COLUMN);
}

static void table_units(hs_table *t, const found *f, int64_t most) {
    for (int64_t i = 0; i < f->n && i < most; i++) {
        const unit_change *c = &f->at[i];
        hs_table_int(t, f->made->run);
        hs_table_str(t, f->made->op->op);
        hs_table_str(t, f->metric->name);
        hs_table_str(t, c->unit);
        hs_table_str(t, c->kind);
        hs_table_int(t, c->layer);
        hs_table_int(t, c->index);
        hs_table_num(t, c->value);
        hs_table_num(t, c->low);
        hs_table_num(t, c->high);
        hs_table_int(t, c->n);
        hs_table_str(t, !f->race                  ? ""
                        : c->member && c->settled ? "top"
                        : c->member               ? "top, by its mean"
                                                  : "");
    }
}

// CSV and JSON lines: all units of all runs and metrics.
static int put_rows(const hs_sweep_work *w) {
    hs_table *t;
    int rc = open_table(&t, false);
    for (int i = 0; i < w->n_made; i++)
        for (int m = 0; m < w->ask.n_metric && !rc && !w->made[i].curve; m++) {
            found f;
            rc = read_found(&f, w, &w->made[i], &w->ask.metric[m]);
            if (f.n) qsort(f.at, (size_t)f.n, sizeof *f.at, by_place);
            if (!rc) table_units(t, &f, INT64_MAX);
            free(f.at);
        }
    if (!rc) rc = hs_table_put(t, w->call, &w->opt->out);
    hs_table_close(t);
    return rc;
}

// ---- for people -------------------------------------------------------------------------------

static const char *plural(const hs_sweep_work *w) {
    return hs_sweep_plural(hs_unit_kinds[w->units.at[0].kind]);
}

static void put_title(const hs_sweep_work *w, const hs_sweep_made *made) {
    const hs_shard *s = &w->ask.shard;
    printf("%s%s%s of %" PRId64 " %s on %" PRId64 " prompt%s", made->op->op,
           made->op->args ? "," : "", made->op->args ? made->op->args : "", w->units.n, plural(w),
           w->n_mine, w->n_mine == 1 ? "" : "s");
    if (s->n) printf(" (shard %" PRId64 "/%" PRId64 ")", s->i, s->n);
    printf("%s: run %" PRId64 " in %s\n", hs_sweep_how(made->by), made->run, hs_buf_text(&w->path));
}

static int put_found(const hs_sweep_work *w, const found *f) {
    const hs_sweep_metric *m = f->metric;
    const char *unit = m->expr ? "" : hs_effects[m->effect].unit;
    hs_table *t;
    int rc = open_table(&t, f->race);
    if (rc) return rc;
    if (m->is_change || f->race || (!m->expr && hs_effects[m->effect].against))
        printf("\n%s%s%s\n", m->name, *unit ? ", " : "", unit);
    else
        printf("\n%s %.6f unedited%s%s\n", m->name, f->baseline, *unit ? ", " : "", unit);
    table_units(t, f, w->opt->top);
    rc = hs_table_put(t, w->call, &w->opt->out);
    hs_table_close(t);
    if (!rc && f->k)
        printf("mean |change| of these %" PRId64
               ": %.6f; of as many %s drawn at random: %.6f (95 %% of "
               "%" PRId64 " draws: %.6f to %.6f)\n",
               f->k, f->top, plural(w), f->control, w->opt->control, f->control_low,
               f->control_high);
    return rc;
}

static int on_people_step(void *ctx, const hs_query *q) {
    hs_table *t = ctx;
    char ranking[16];
    hs_query_text(q, "ranking", ranking, sizeof ranking);
    hs_table_str(t, ranking);
    hs_table_int(t, hs_query_int(q, "removed"));
    hs_table_num(t, hs_query_num(q, "value"));
    hs_table_num(t, hs_query_num(q, "low"));
    hs_table_num(t, hs_query_num(q, "high"));
    return HS_OK;
}

static int put_curve(const hs_sweep_work *w, const hs_sweep_made *made) {
    static const hs_col curve_columns[] = {{NULL, "order", 0},
                                           {NULL, "edited", 0},
                                           {NULL, "metric", 6},
                                           {NULL, "lowest draw", 6},
                                           {NULL, "highest", 6}};
    int rc = HS_OK;
    for (int m = 0; m < w->ask.n_metric && !rc; m++) {
        hs_table *t;
        rc = hs_table_open(&t, curve_columns, 5);
        if (!rc) rc = each_step(w, made, &w->ask.metric[m], on_people_step, t);
        if (!rc) printf("\n%s\n", w->ask.metric[m].name);
        if (!rc) rc = hs_table_put(t, w->call, &w->opt->out);
        hs_table_close(t);
    }
    return rc;
}

static void put_next(const hs_sweep_work *w) {
    const char *path = hs_buf_text(&w->path), *db = " --db ";
    const hs_sweep_made *last = &w->made[w->n_made - 1];
    if (strcmp(path, "headscope.db") == 0) db = path = "";
    if (w->call->quiet) return;
    if (w->ask.shard.n) {
        printf("\nnext: headscope merge ALL.db %s ..., when all shards are complete\n",
               hs_buf_text(&w->path));
        return;
    }
    printf("\nnext: headscope query %s --run %" PRId64 "%s%s\n",
           last->curve                ? "sweep_curve"
           : w->opt->by == HS_BY_RACE ? "sweep_race"
                                      : "sweep",
           last->run, db, path);
    if (last->curve)
        printf("      headscope heatmap %" PRId64 " --prune -o prune.png%s%s\n", last->run, db,
               path);
    else if (w->units.at[0].kind == HS_UNIT_HEAD && w->opt->by != HS_BY_RACE)
        printf("      headscope heatmap %" PRId64 " --grid %s -o sweep.png%s%s\n", last->run,
               w->ask.metric[0].stored, db, path);
}

static int put_people(const hs_sweep_work *w) {
    int rc = HS_OK;
    for (int i = 0; i < w->n_made && !rc; i++) {
        const hs_sweep_made *made = &w->made[i];
        if (i) puts("");
        put_title(w, made);
        if (made->curve) rc = put_curve(w, made);
        for (int m = 0; m < w->ask.n_metric && !rc && !made->curve; m++) {
            found f;
            rc = read_found(&f, w, made, &w->ask.metric[m]);
            if (!rc) rc = put_found(w, &f);
            free(f.at);
        }
    }
    if (!rc) put_next(w);
    return rc;
}

int hs_sweep_print(const hs_sweep_work *w) {
    if (w->opt->out.json) return put_json(w);
    return w->opt->out.csv || w->opt->out.jsonl ? put_rows(w) : put_people(w);
}
