// The numbers of two runs, compared; see diff.h. A kind of number (metric, row summary, map) is a
// function that adds one prompt's pairs of numbers to the heads' sums.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "db/diff.h"
#include "db/reader_internal.h"
#include "model/core/mem.h"

// What is being added up; the sums stand in hs_diff_head until the end, means after it.
typedef struct work {
    const hs_diff *d;
    hs_diff_values *out;
    const hs_progress *progress;
    const char *metric;
    int stat;
    int64_t prompt;     // the one in work
    double gap;         // its sum of |differences|
    int64_t n;          // and how many
    float *row[HS_AB];  // rows of a map, or a summary
    int64_t cap[HS_AB]; // numbers that these hold
} work;

static int64_t n_cell(const hs_diff *d) {
    return (int64_t)d->dims.n_layer * d->dims.n_head;
}

static int step(const work *w, int64_t cell) {
    const int64_t n = n_cell(w->d);
    return hs_progress_step(w->progress, "comparing", w->prompt * n + cell, w->d->n_prompt * n);
}

static void add(work *w, int64_t cell, int64_t row, double a, double b) {
    hs_diff_head *h = &w->out->head[cell];
    double change = b - a;
    if (!isfinite(change)) return;
    h->a += a;
    h->b += b;
    h->mean_abs += fabs(change);
    if (!h->n || fabs(change) > fabs(h->largest)) {
        h->largest = change;
        h->prompt = w->prompt;
        h->row = row;
    }
    h->n++;
    w->gap += fabs(change);
    w->n++;
}

static int room(work *w, int k, int64_t n) {
    if (n <= w->cap[k]) return HS_OK;
    int rc = hs_grow(&w->row[k], (size_t)n, sizeof **w->row);
    if (!rc) w->cap[k] = n;
    return rc;
}

// ---- metrics ------------------------------------------------------------------------------------

static int read_metric(const work *w, int k, double *out) {
    hs_db *db = w->d->db[k];
    sqlite3_stmt *s = NULL;
    hs_v v[] = {hs_v_int(w->d->prompt[w->prompt].id[k]), hs_v_text(w->metric)};
    bool row = true;
    for (int64_t i = 0; i < n_cell(w->d); i++) out[i] = NAN;
    // The newest analysis counts: with max(), SQLite takes the row that has it.
    int rc = hs_sql_prepare(db, &s,
                            "SELECT layer, head, value, max(analysis_run_id) FROM head_metric "
                            "WHERE prompt_id = ? AND metric = ? GROUP BY layer, head");
    if (!rc) rc = hs_sql_bind(db, s, v, 2);
    while (!rc && row) {
        rc = hs_sql_step(db, s, &row);
        if (rc || !row || sqlite3_column_type(s, 2) == SQLITE_NULL) continue;
        int64_t layer = sqlite3_column_int64(s, 0), head = sqlite3_column_int64(s, 1);
        bool known = layer >= 0 && layer < w->d->dims.n_layer && head >= 0 &&
                     head < w->d->dims.n_head;
        if (known) out[layer * w->d->dims.n_head + head] = sqlite3_column_double(s, 2);
    }
    sqlite3_finalize(s);
    return rc;
}

static int add_metric(work *w) {
    const int64_t n = n_cell(w->d);
    double *v;
    int rc = hs_alloc(&v, 2 * (size_t)n, sizeof *v);
    if (rc) return rc;
    for (int k = 0; k < HS_AB && !rc; k++) rc = read_metric(w, k, v + k * n);
    for (int64_t i = 0; i < n && !rc; i++) add(w, i, -1, v[i], v[n + i]);
    free(v);
    return rc ? rc : step(w, n);
}

// ---- row summaries ------------------------------------------------------------------------------

static int add_rows(work *w) {
    const hs_diff_prompt *p = &w->d->prompt[w->prompt];
    const int64_t n = p->n_row[HS_A]; // the same in both
    const int n_head = w->d->dims.n_head;
    int rc = HS_OK;
    for (int k = 0; k < HS_AB && !rc; k++) rc = room(w, k, n);
    for (int64_t i = 0; i < n_cell(w->d) && n && !rc; i++) {
        for (int k = 0; k < HS_AB && !rc; k++)
            rc = hs_read_stat(w->d->db[k], p->id[k], (int)(i / n_head), (int)(i % n_head), w->stat,
                              0, n, w->row[k]);
        for (int64_t r = 0; r < n && !rc; r++)
            add(w, i, r, (double)w->row[HS_A][r], (double)w->row[HS_B][r]);
        if (!rc) rc = step(w, i);
    }
    return rc;
}

// ---- maps ---------------------------------------------------------------------------------------

static int compare_maps(work *w, int64_t cell, hs_reader r[HS_AB]) {
    int rc = HS_OK;
    if (r[HS_A].n_row != r[HS_B].n_row || r[HS_A].width != r[HS_B].width) return HS_OK;
    for (int k = 0; k < HS_AB && !rc; k++) {
        rc = hs_read_justified(w->d->db[k], r[k].width, 1);
        if (!rc) rc = room(w, k, r[k].width);
    }
    for (int64_t i = 0; i < r[HS_A].n_row && !rc; i++) {
        int64_t n[HS_AB] = {0, 0};
        for (int k = 0; k < HS_AB && !rc; k++) rc = hs_reader_row(&r[k], i, w->row[k], &n[k]);
        for (int64_t j = 0; j < n[HS_A] && j < n[HS_B] && !rc; j++)
            add(w, cell, i, (double)w->row[HS_A][j], (double)w->row[HS_B][j]);
    }
    return rc;
}

static int add_maps(work *w) {
    const hs_diff_prompt *p = &w->d->prompt[w->prompt];
    const int n_head = w->d->dims.n_head;
    int rc = HS_OK;
    for (int64_t i = 0; i < n_cell(w->d) && !rc; i++) {
        hs_reader r[HS_AB] = {{0}};
        bool both = true;
        for (int k = 0; k < HS_AB && both && !rc; k++)
            rc = hs_reader_map(&r[k], w->d->db[k], p->id[k], HS_PATTERN, (int)(i / n_head),
                               (int)(i % n_head), &both);
        if (!rc && both) rc = compare_maps(w, i, r);
        for (int k = 0; k < HS_AB; k++) hs_reader_close(&r[k]);
        if (!rc) rc = step(w, i);
    }
    return rc;
}

// ---- all together -------------------------------------------------------------------------------

static void finish(hs_diff_head *h, bool maps) {
    if (!h->n) {
        *h = (hs_diff_head){NAN, NAN, NAN, NAN, NAN, -1, -1, 0, 0};
        return;
    }
    double n = (double)h->n;
    h->a = maps ? NAN : h->a / n;
    h->b = maps ? NAN : h->b / n;
    h->mean_abs /= n;
    h->value = maps ? h->mean_abs : h->b - h->a;
}

// Adds one prompt: its pairs to the heads, its mean to the prompts.
static int add_prompt(work *w, int (*kind)(work *)) {
    const int64_t n = n_cell(w->d);
    int64_t *before;
    int rc = hs_alloc(&before, (size_t)n, sizeof *before);
    if (rc) return rc;
    for (int64_t i = 0; i < n; i++) before[i] = w->out->head[i].n;
    w->gap = 0;
    w->n = 0;
    if (kind == add_metric || w->d->prompt[w->prompt].same_tokens) rc = kind(w);
    for (int64_t i = 0; i < n; i++) w->out->head[i].prompts += w->out->head[i].n > before[i];
    w->out->prompt[w->prompt] = w->n ? w->gap / (double)w->n : NAN;
    free(before);
    return rc;
}

static int unknown(const hs_diff *d, const char *name) {
    hs_diff_names names;
    hs_buf all = {0};
    int rc = hs_diff_names_read(&names, d);
    for (int i = 0; !rc && i < names.n; i++)
        hs_buf_printf(&all, "%s%s", i ? ", " : "", names.at[i]);
    if (!rc)
        rc = hs_fail(HS_ENOTFOUND,
                     "runs %" PRId64 " and %" PRId64 " do not both have %s: they have %s",
                     d->run[HS_A], d->run[HS_B], name, all.len ? hs_buf_text(&all) : "nothing");
    hs_buf_free(&all);
    hs_diff_names_free(&names);
    return rc;
}

static int (*kind_of(work *w, const char *name))(work *) {
    static const char rows[] = "rows.";
    w->metric = name;
    if (strcmp(name, "maps") == 0) return add_maps;
    if (strncmp(name, rows, sizeof rows - 1) != 0) return add_metric;
    for (w->stat = 0; w->stat < HS_N_STAT; w->stat++)
        if (strcmp(hs_stat_infos[w->stat].name, name + sizeof rows - 1) == 0) return add_rows;
    return NULL;
}

int hs_diff_read(hs_diff_values *out, const hs_diff *d, const char *name,
                 const hs_progress *progress) {
    work w = {.d = d, .out = out, .progress = progress};
    int (*kind)(work *) = kind_of(&w, name);
    int64_t n = 0;
    *out = (hs_diff_values){0};
    if (!kind) return unknown(d, name);
    int rc = hs_alloc(&out->head, (size_t)n_cell(d), sizeof *out->head);
    if (!rc) rc = hs_alloc(&out->prompt, (size_t)d->n_prompt, sizeof *out->prompt);
    for (; w.prompt < d->n_prompt && !rc; w.prompt++) rc = add_prompt(&w, kind);
    for (int64_t i = 0; i < n_cell(d) && !rc; i++) {
        n += out->head[i].n;
        finish(&out->head[i], kind == add_maps);
    }
    if (!rc && !n) rc = unknown(d, name);
    for (int k = 0; k < HS_AB; k++) free(w.row[k]);
    if (rc) hs_diff_values_free(out);
    return rc;
}

void hs_diff_values_free(hs_diff_values *v) {
    free(v->head);
    free(v->prompt);
    *v = (hs_diff_values){0};
}

// ---- how well it predicts -----------------------------------------------------------------------

// -ln p of one token under the logits.
static double surprise(const float *logit, int64_t n, int64_t token) {
    float top = logit[token];
    for (int64_t i = 0; i < n; i++) top = logit[i] > top ? logit[i] : top;
    double own = (double)(logit[token] - top), sum = exp(own);
    for (int64_t i = 0; i < n; i++)
        if (i != token) sum += exp((double)(logit[i] - top));
    return log(sum) - own;
}

// The mean over the positions that have a next token; *out stays NaN without logits.
static int nll_of(hs_db *db, int64_t prompt, const hs_progress *progress, double *out) {
    hs_reader r;
    sqlite3_stmt *s = NULL;
    float *row = NULL;
    hs_v v = hs_v_int(prompt);
    bool found = false, more = true;
    double sum = 0;
    int64_t n = 0, got;
    int rc = hs_reader_act(&r, db, prompt, "logits", &found);
    if (rc || !found) return rc;
    rc = hs_read_justified(db, r.width, 1);
    if (!rc) rc = hs_alloc(&row, (size_t)r.width, sizeof *row);
    if (!rc)
        rc = hs_sql_prepare(db, &s,
                            "SELECT token_id FROM token WHERE prompt_id = ? AND pos > 0 "
                            "ORDER BY pos");
    if (!rc) rc = hs_sql_bind(db, s, &v, 1);
    while (!rc && more && n < r.n_row) {
        rc = hs_sql_step(db, s, &more);
        int64_t token = rc || !more ? 0 : sqlite3_column_int64(s, 0);
        if (!rc && more) rc = hs_reader_row(&r, n, row, &got);
        if (!rc && more && (token < 0 || token >= r.width)) more = false;
        if (rc || !more) continue;
        sum += surprise(row, r.width, token);
        rc = hs_progress_step(progress, "reading logits", ++n, r.n_row);
    }
    if (!rc && n) *out = sum / (double)n;
    sqlite3_finalize(s);
    free(row);
    hs_reader_close(&r);
    return rc;
}

int hs_diff_nll(hs_diff *d, const hs_progress *progress) {
    int rc = HS_OK;
    for (int64_t i = 0; i < d->n_prompt && !rc; i++) {
        double nll[HS_AB] = {NAN, NAN};
        for (int k = 0; k < HS_AB && !rc; k++)
            rc = nll_of(d->db[k], d->prompt[i].id[k], progress, &nll[k]);
        if (!rc && !isnan(nll[HS_A] + nll[HS_B])) memcpy(d->prompt[i].nll, nll, sizeof nll);
    }
    return rc;
}
