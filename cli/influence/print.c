// What `influence` says, read back from the database; see influence.h.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/influence/influence.h"
#include "model/core/mem.h"

// The means over all texts, a number a set.
typedef struct kind_means {
    double *at; // ascending
    int64_t n;
} kind_means;

typedef struct found {
    const hs_influence_work *w;
    hs_source source;
    kind_means kind[HS_N_INFLUENCE];
    char *heads; // that are masked
    hs_table *texts;
} found;

// ---- reading ----------------------------------------------------------------------------------

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int on_set(void *ctx, const hs_query *q) {
    found *f = ctx;
    char name[16];
    int k = 0;
    hs_query_text(q, "kind", name, sizeof name);
    while (k < HS_N_INFLUENCE && strcmp(name, hs_influence_kinds[k]) != 0) k++;
    const double score = hs_query_num(q, "score");
    const hs_cell heads = hs_query_named(q, "heads");
    if (k == HS_N_INFLUENCE) return HS_OK;
    if (k == HS_INFLUENCE_TOP && heads.type == HS_CELL_TEXT && !f->heads) {
        int rc = hs_alloc(&f->heads, heads.n + 1, 1);
        if (rc) return rc;
        memcpy(f->heads, heads.data, heads.n);
    }
    if (isnan(score)) return HS_OK;
    kind_means *m = &f->kind[k];
    int rc = hs_grow(&m->at, (size_t)m->n + 1, sizeof *m->at);
    if (!rc) m->at[m->n++] = score;
    return rc;
}

static double median(const kind_means *m) {
    return m->n ? (m->at[(m->n - 1) / 2] + m->at[m->n / 2]) / 2 : NAN;
}

// People see the reason without a heading, and nothing where there is none.
static const hs_col columns[] = {
    {"id", "text", 0},           {"tokens", "tokens", 0}, {"nll_base", "nll", 6},
    {"nll_masked", "masked", 6}, {"score", "score", 6},   {"random", "random", 6},
    {"others", "others", 6},     {"reason", NULL, 0},     {NULL, "", 0}};
enum { N_COLUMN = sizeof columns / sizeof *columns };

static int on_text(void *ctx, const hs_query *q) {
    static const char *const numbers[] = {"nll_base", "nll_masked", "score", "random", "others"};
    hs_table *t = ctx;
    char reason[96];
    const hs_cell id = hs_query_named(q, "id");
    hs_table_strn(t, id.data, id.n);
    hs_table_int(t, hs_query_int(q, "tokens"));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        hs_table_num(t, hs_query_num(q, numbers[i]));
    hs_query_text(q, "reason", reason, sizeof reason);
    hs_table_str(t, *reason ? reason : NULL);
    hs_table_str(t, reason);
    return HS_OK;
}

static int read_found(found *f) {
    const hs_out_options *out = &f->w->opt->out;
    const char *order = out->json || out->jsonl || out->csv ? "order=prompt" : "order=score";
    int rc = hs_table_open(&f->texts, columns, N_COLUMN);
    if (!rc) rc = hs_source_each(&f->source, "influence", &order, 1, on_text, f->texts);
    if (!rc) rc = hs_source_each(&f->source, "influence_sets", NULL, 0, on_set, f);
    for (int k = 0; k < HS_N_INFLUENCE; k++)
        if (f->kind[k].n)
            qsort(f->kind[k].at, (size_t)f->kind[k].n, sizeof *f->kind[k].at, ascending);
    return rc;
}

// ---- for programs -----------------------------------------------------------------------------

static void json_heads(hs_jw *j, const char *heads) {
    hs_jw_key(j, "heads");
    hs_jw_begin(j, '[');
    while (*heads && strcmp(heads, "none") != 0) {
        const size_t n = strcspn(heads, "+");
        hs_jw_strn(j, heads, n);
        heads += n + (heads[n] == '+');
    }
    hs_jw_end(j, ']');
}

static void json_control(hs_jw *j, const found *f) {
    hs_jw_key(j, "control");
    hs_jw_begin(j, '{');
    for (int k = HS_INFLUENCE_RANDOM; k < HS_N_INFLUENCE; k++) {
        const kind_means *m = &f->kind[k];
        hs_jw_key(j, hs_influence_kinds[k]);
        hs_jw_begin(j, '{');
        hs_jw_key_int(j, "draws", m->n);
        hs_jw_key_num(j, "median", median(m));
        hs_jw_key_num(j, "low", m->n ? m->at[0] : NAN);
        hs_jw_key_num(j, "high", m->n ? m->at[m->n - 1] : NAN);
        hs_jw_end(j, '}');
    }
    hs_jw_end(j, '}');
}

static int put_json(const found *f) {
    hs_buf json = {0};
    hs_jw j = {&json, false};
    hs_jw_begin(&j, '{');
    hs_jw_key_int(&j, "run", f->w->run);
    hs_jw_key_str(&j, "db", hs_db_path(f->w->db));
    json_heads(&j, f->heads ? f->heads : "");
    hs_table_json(f->texts, &j, "texts");
    hs_jw_key_num(&j, "score", median(&f->kind[HS_INFLUENCE_TOP]));
    if (f->w->n_set > 1) json_control(&j, f);
    hs_jw_end(&j, '}');
    return hs_json_put(&json);
}

// ---- for people -------------------------------------------------------------------------------

static void put_control(const found *f) {
    static const char *const of[] = {
        [HS_INFLUENCE_RANDOM] = "of all", [HS_INFLUENCE_OTHERS] = "of the others"};
    const double top = median(&f->kind[HS_INFLUENCE_TOP]);
    for (int k = HS_INFLUENCE_RANDOM; k < HS_N_INFLUENCE; k++) {
        const kind_means *m = &f->kind[k];
        int64_t more = 0;
        if (!m->n) continue;
        while (more < m->n && m->at[m->n - 1 - more] >= top) more++;
        printf("as many drawn %s: median %.6f, %.6f to %.6f; %" PRId64 " of %" PRId64
               " draws cost as much\n",
               of[k], median(m), m->at[0], m->at[m->n - 1], more, m->n);
    }
}

static int put_people(const found *f) {
    const hs_influence_work *w = f->w;
    const char *path = hs_db_path(w->db), *db = " --db ";
    const int64_t n = w->set[0].n_head;
    printf("%" PRId64 " head%s masked: run %" PRId64 " in %s\n%s\n\n", n, n == 1 ? "" : "s", w->run,
           path, f->heads ? f->heads : "");
    int rc = hs_table_put(f->texts, w->call, &w->opt->out);
    if (rc) return rc;
    if (f->kind[HS_INFLUENCE_TOP].n)
        printf("\nmean score %.6f\n", median(&f->kind[HS_INFLUENCE_TOP]));
    put_control(f);
    if (strcmp(path, "headscope.db") == 0) db = path = "";
    if (!w->call->quiet)
        printf("\nnext: headscope query influence_sets --run %" PRId64 "%s%s\n", w->run, db, path);
    return HS_OK;
}

int hs_influence_print(const hs_influence_work *w) {
    const hs_out_options *out = &w->opt->out;
    found f = {.w = w, .source = {.db = w->db, .run = w->run}};
    int rc = read_found(&f);
    if (!rc)
        rc = out->json                ? put_json(&f)
             : out->jsonl || out->csv ? hs_table_put(f.texts, w->call, out)
                                      : put_people(&f);
    hs_table_close(f.texts);
    for (int k = 0; k < HS_N_INFLUENCE; k++) free(f.kind[k].at);
    free(f.heads);
    return rc;
}
