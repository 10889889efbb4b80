// What `duo` says, read back from the database; see duo.h.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/duo/duo.h"
#include "model/core/mem.h"

typedef struct head_row {
    char name[24], heads[32];
    int64_t layer, kv_head;
    double probe, z_error, gate;
} head_row;

// All that is told.
typedef struct found {
    const hs_duo_work *w;
    head_row *head; // [n_head] KV heads, those that suffer most first
    int64_t n_head, prompts;
} found;

// ---- reading ------------------------------------------------------------------------------------

static int on_head(void *ctx, const hs_query *q) {
    found *f = ctx;
    int rc = hs_grow(&f->head, (size_t)f->n_head + 1, sizeof *f->head);
    if (rc) return rc;
    head_row *h = &f->head[f->n_head++];
    *h = (head_row){.layer = hs_query_int(q, "layer"),
                    .kv_head = hs_query_int(q, "kv_head"),
                    .probe = hs_query_num(q, "probe"),
                    .z_error = hs_query_num(q, "z_error"),
                    .gate = hs_query_num(q, "gate")};
    hs_query_text(q, "name", h->name, sizeof h->name);
    hs_query_text(q, "heads", h->heads, sizeof h->heads);
    f->prompts = hs_query_int(q, "prompts");
    return HS_OK;
}

static int read_found(found *f, const hs_duo_work *w) {
    const hs_source source = {.db = w->db, .run = w->run};
    *f = (found){.w = w};
    return hs_source_each(&source, "duo", NULL, 0, on_head, f);
}

// ---- for programs -------------------------------------------------------------------------------

static int by_place(const void *a, const void *b) {
    const head_row *x = a, *y = b;
    if (x->layer != y->layer) return x->layer < y->layer ? -1 : 1;
    return (x->kv_head > y->kv_head) - (x->kv_head < y->kv_head);
}

static void json_heads(hs_jw *j, const found *f) {
    if (f->n_head) qsort(f->head, (size_t)f->n_head, sizeof *f->head, by_place);
    hs_jw_key(j, "heads");
    hs_jw_begin(j, '[');
    for (int64_t i = 0; i < f->n_head; i++) {
        const head_row *h = &f->head[i];
        hs_jw_begin(j, '{');
        hs_jw_key_int(j, "layer", h->layer);
        hs_jw_key_int(j, "kv_head", h->kv_head);
        hs_jw_key_num(j, "probe", h->probe);
        hs_jw_key_num(j, "z_error", h->z_error);
        if (f->w->opt->steps) hs_jw_key_num(j, "gate", h->gate);
        hs_jw_end(j, '}');
    }
    hs_jw_end(j, ']');
}

static int put_json(const found *f) {
    hs_buf json = {0};
    hs_jw j = {&json, false};
    hs_jw_begin(&j, '{');
    hs_jw_key_int(&j, "run", f->w->run);
    hs_jw_key_str(&j, "db", hs_db_path(f->w->db));
    hs_jw_key_int(&j, "prompts", f->prompts);
    hs_jw_key_int(&j, "sink", f->w->opt->sink);
    hs_jw_key_int(&j, "recent", f->w->opt->recent);
    json_heads(&j, f);
    int rc = hs_duo_json_curve(f->w, &j);
    hs_jw_end(&j, '}');
    if (!rc) return hs_json_put(&json);
    hs_buf_free(&json);
    return rc;
}

// ---- rows ---------------------------------------------------------------------------------------

static int put_heads(const found *f, int64_t most) {
    static const hs_col columns[] = {{"name", "KV head", 0}, {"layer", NULL, 0},
                                     {"kv_head", NULL, 0},   {"heads", "its heads", 0},
                                     {"probe", "probe", -4}, {"z_error", "z error", 4},
                                     {"gate", "gate", 3}};
    const int n = sizeof columns / sizeof *columns - !f->w->opt->steps;
    hs_table *t;
    int rc = hs_table_open(&t, columns, n);
    for (int64_t i = 0; i < f->n_head && i < most && !rc; i++) {
        const head_row *h = &f->head[i];
        hs_table_str(t, h->name);
        hs_table_int(t, h->layer);
        hs_table_int(t, h->kv_head);
        hs_table_str(t, h->heads);
        hs_table_num(t, h->probe);
        hs_table_num(t, h->z_error);
        if (f->w->opt->steps) hs_table_num(t, h->gate);
    }
    if (!rc) rc = hs_table_put(t, f->w->call, &f->w->opt->out);
    hs_table_close(t);
    return rc;
}

// ---- for people ---------------------------------------------------------------------------------

static void put_next(const hs_duo_work *w) {
    const char *path = hs_db_path(w->db), *db = " --db ";
    if (w->call->quiet) return;
    if (strcmp(path, "headscope.db") == 0) db = path = "";
    printf("\nnext: headscope query %s --run %" PRId64 "%s%s\n",
           w->opt->steps ? "duo_course" : "duo", w->run, db, path);
    printf("      headscope heatmap %" PRId64 " --grid duo_probe -o duo.png%s%s\n", w->run, db,
           path);
    if (w->n_share)
        printf("      headscope heatmap %" PRId64 " --streaming -o streaming.png%s%s\n", w->run, db,
               path);
}

static void put_gates(const found *f) {
    int64_t kept = 0;
    double mean = 0;
    for (int64_t i = 0; i < f->n_head; i++) {
        kept += f->head[i].gate >= .5;
        mean += f->head[i].gate / (double)f->n_head;
    }
    printf("\n%" PRId64 " of %" PRId64 " gates are at least a half after %" PRId64
           " steps, their mean is %.3f\n",
           kept, f->n_head, f->w->opt->steps, mean);
}

static int put_people(const found *f) {
    const hs_duo_work *w = f->w;
    printf("%" PRId64 " KV heads stream one by one (sink %" PRId64 ", recent %" PRId64
           ") on %" PRId64 " prompt%s: run %" PRId64 " in %s\n\n",
           f->n_head, w->opt->sink, w->opt->recent, f->prompts, f->prompts == 1 ? "" : "s", w->run,
           hs_db_path(w->db));
    int rc = put_heads(f, w->opt->top);
    if (!rc && w->opt->steps) put_gates(f);
    if (!rc) rc = hs_duo_tell_curve(w);
    if (!rc) put_next(w);
    return rc;
}

int hs_duo_print(const hs_duo_work *w) {
    const hs_out_options *out = &w->opt->out;
    found f;
    int rc = read_found(&f, w);
    if (!rc)
        rc = out->json                ? put_json(&f)
             : out->csv || out->jsonl ? put_heads(&f, INT64_MAX)
                                      : put_people(&f);
    free(f.head);
    return rc;
}
