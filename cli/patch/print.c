// What patching found, read back from the database and printed; see patch.h.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/patch/patch.h"
#include "model/core/mem.h"

// ---- reading ----------------------------------------------------------------------------------

static int on_row(void *ctx, const hs_query *q) {
    hs_patch_rows *rows = ctx;
    int rc = hs_grow(&rows->at, (size_t)rows->n + 1, sizeof *rows->at);
    if (rc) return rc;
    hs_patch_row *r = &rows->at[rows->n++];
    *r = (hs_patch_row){
        .layer = hs_query_int(q, "layer"),
        .head = hs_query_named(q, "head").type == HS_CELL_NULL ? -1 : hs_query_int(q, "head"),
        .n = hs_query_int(q, "n"),
        .idx = hs_query_int(q, "idx"),
        .place = hs_query_int(q, "place"),
        .value = hs_query_num(q, "value"),
        .effect = hs_query_num(q, "effect"),
        .recovered = hs_query_num(q, "recovered"),
        .grad_drop = hs_query_num(q, "grad_drop"),
        .percent = hs_query_num(q, "percent"),
        .exact = NAN,
        .exact_recovered = NAN};
    hs_query_text(q, "unit", r->unit, sizeof r->unit);
    hs_query_text(q, "position", r->position, sizeof r->position);
    hs_query_text(q, "reason", r->reason, sizeof r->reason);
    r->placed = *r->position && hs_query_int(q, "places") != 1;
    r->number = *r->position && strspn(r->position, "0123456789") == strlen(r->position);
    rows->pairs = hs_query_int(q, "pairs");
    rows->clean = hs_query_num(q, "clean");
    rows->corrupt = hs_query_num(q, "corrupt");
    return HS_OK;
}

int hs_patch_rows_read(hs_patch_rows *rows, const hs_patch_work *w, int64_t run,
                       const char *query) {
    const hs_source source = {.db = w->db, .run = run};
    *rows = (hs_patch_rows){.clean = NAN, .corrupt = NAN};
    return hs_source_each(&source, query, NULL, 0, on_row, rows);
}

void hs_patch_rows_free(hs_patch_rows *rows) {
    free(rows->at);
    *rows = (hs_patch_rows){0};
}

// ---- order ------------------------------------------------------------------------------------

static int by_place(const void *a, const void *b) {
    const hs_patch_row *x = a, *y = b;
    if (x->layer != y->layer) return x->layer < y->layer ? -1 : 1;
    if (x->idx != y->idx) return x->idx < y->idx ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

static double size(const hs_patch_row *r) {
    return isnan(r->effect) ? -1 : fabs(r->effect);
}

static int by_effect(const void *a, const void *b) {
    const double x = size(a), y = size(b);
    return x != y ? (x > y ? -1 : 1) : by_place(a, b);
}

// ---- for programs -----------------------------------------------------------------------------

static bool any_exact(const hs_patch_rows *rows) {
    for (int64_t i = 0; i < rows->n; i++)
        if (!isnan(rows->at[i].exact)) return true;
    return false;
}

static void json_row(hs_jw *j, const hs_patch_row *r) {
    hs_jw_begin(j, '{');
    hs_jw_key_str(j, "unit", r->unit);
    hs_jw_key_int(j, "layer", r->layer);
    if (r->head >= 0) hs_jw_key_int(j, "head", r->head);
    if (r->placed && r->number)
        hs_jw_key_int(j, "position", atoll(r->position));
    else if (r->placed)
        hs_jw_key_str(j, "position", r->position);
    hs_jw_key_num(j, "value", r->value);
    hs_jw_key_num(j, "recovered", r->recovered);
    if (isnan(r->recovered)) hs_jw_key_str(j, "reason", r->reason);
    hs_jw_key_int(j, "n", r->n);
    if (!isnan(r->percent)) {
        hs_jw_key_num(j, "effect", r->effect);
        hs_jw_key_num(j, "percent", r->percent);
    }
    if (!isnan(r->grad_drop)) hs_jw_key_num(j, "grad_drop", r->grad_drop);
    if (!isnan(r->exact)) {
        hs_jw_key_num(j, "exact", r->exact);
        hs_jw_key_num(j, "exact_recovered", r->exact_recovered);
    }
    hs_jw_end(j, '}');
}

static int put_json(const hs_patch_work *w, const hs_patch_rows *rows, int64_t run,
                    const hs_patch_words *words) {
    hs_buf json = {0};
    hs_jw j = {&json, false};
    hs_jw_begin(&j, '{');
    hs_jw_key_int(&j, "run", run);
    hs_jw_key_str(&j, "db", w->path);
    hs_jw_key_str(&j, "metric", hs_effects[w->opt->metric].name);
    if (words->more) hs_buf_printf(&json, ",%s", words->more);
    hs_jw_key_num(&j, "clean", rows->clean);
    hs_jw_key_num(&j, "corrupt", rows->corrupt);
    hs_jw_key_int(&j, "n", rows->pairs);
    hs_jw_key(&j, "rows");
    hs_jw_begin(&j, '[');
    for (int64_t i = 0; i < rows->n; i++) json_row(&j, &rows->at[i]);
    hs_jw_end(&j, ']');
    hs_jw_end(&j, '}');
    return hs_json_put(&json);
}

// ---- rows -------------------------------------------------------------------------------------

enum { POSITION = 3, DROP = 8, EXACT, EXACT_RECOVERED, PERCENT };
static const hs_col columns[] = {
    {"unit", "unit", 0},
    {"layer", NULL, 0},
    {"head", NULL, 0},
    {"position", "position", 0},
    {"value", "value", 6},
    {"effect", "change", 6},
    {"recovered", "recovered", 4},
    {"n", "pairs", 0},
    {"grad_drop", "GradDrop", 6},
    {"exact", "measured", 6},
    {"exact_recovered", "recovered", 4},
    {"percent", "percent", 2},
};
enum { N_COLUMN = sizeof columns / sizeof *columns };

// Columns that no row has anything in are not shown to people.
static int open_table(hs_table **out, const hs_patch_rows *rows) {
    hs_col own[N_COLUMN];
    bool placed = false, drop = false, percent = false;
    memcpy(own, columns, sizeof own);
    for (int64_t i = 0; i < rows->n; i++) {
        placed |= rows->at[i].placed;
        drop |= !isnan(rows->at[i].grad_drop);
        percent |= !isnan(rows->at[i].percent);
    }
    if (!placed) own[POSITION].title = NULL;
    if (!percent) own[PERCENT].title = NULL;
    if (!drop) own[DROP].title = NULL;
    if (!any_exact(rows)) own[EXACT].title = own[EXACT_RECOVERED].title = NULL;
    return hs_table_open(out, own, N_COLUMN);
}

static int put_table(const hs_patch_work *w, const hs_patch_rows *rows, int64_t most) {
    hs_table *t;
    int rc = open_table(&t, rows);
    for (int64_t i = 0; i < rows->n && i < most && !rc; i++) {
        const hs_patch_row *r = &rows->at[i];
        hs_table_str(t, r->unit);
        hs_table_int(t, r->layer);
        if (r->head < 0)
            hs_table_null(t);
        else
            hs_table_int(t, r->head);
        hs_table_str(t, r->placed ? r->position : NULL);
        hs_table_num(t, r->value);
        hs_table_num(t, r->effect);
        hs_table_num(t, r->recovered);
        hs_table_int(t, r->n);
        hs_table_num(t, r->grad_drop);
        hs_table_num(t, r->exact);
        hs_table_num(t, r->exact_recovered);
        hs_table_num(t, r->percent);
    }
    if (!rc) rc = hs_table_put(t, w->call, &w->opt->out);
    hs_table_close(t);
    return rc;
}

// ---- for people -------------------------------------------------------------------------------

static void put_next(const hs_patch_work *w, int64_t run, const hs_patch_words *words) {
    const char *path = w->path, *db = " --db ";
    if (strcmp(path, "headscope.db") == 0) db = path = "";
    if (w->call->quiet) return;
    printf("\nnext: headscope query %s --run %" PRId64 "%s%s\n", words->query, run, db, path);
    if (words->figure)
        printf("      headscope heatmap %" PRId64 " %s -o patch.png%s%s\n", run, words->figure, db,
               path);
}

static int put_people(const hs_patch_work *w, hs_patch_rows *rows, int64_t run,
                      const hs_patch_words *words) {
    if (rows->n) qsort(rows->at, (size_t)rows->n, sizeof *rows->at, by_effect);
    printf("%s, on %" PRId64 " pair%s: run %" PRId64 " in %s\n\n%s %.6f clean, %.6f corrupt\n",
           words->title, rows->pairs, rows->pairs == 1 ? "" : "s", run, w->path,
           hs_effects[w->opt->metric].name, rows->clean, rows->corrupt);
    if (rows->n && isnan(rows->at[0].recovered))
        printf("nothing can be recovered: %s\n", rows->at[0].reason);
    int rc = put_table(w, rows, w->opt->top);
    if (!rc) put_next(w, run, words);
    return rc;
}

int hs_patch_put(const hs_patch_work *w, hs_patch_rows *rows, int64_t run,
                 const hs_patch_words *words) {
    const hs_out_options *out = &w->opt->out;
    if (!out->json && !out->csv && !out->jsonl) return put_people(w, rows, run, words);
    if (rows->n) qsort(rows->at, (size_t)rows->n, sizeof *rows->at, by_place);
    return out->json ? put_json(w, rows, run, words) : put_table(w, rows, INT64_MAX);
}
