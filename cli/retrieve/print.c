// What `retrieve` says, read back from the database; see retrieve.h.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/sweep/student.h"
#include "cli/retrieve/retrieve.h"
#include "model/core/mem.h"

typedef struct head_row {
    char name[24];
    int64_t layer, head;
    double decoded, forced, soft, active, echo, induction;
} head_row;

typedef struct mask_row {
    int64_t k, draws, tests;
    double top, mean, sd, low, high, top_passed, passed;
} mask_row;

// All that is told.
typedef struct found {
    const hs_retrieve_work *w;
    head_row *head; // [n_head], best first
    int64_t n_head, tests, passed;
    mask_row *mask; // [n_mask]
    int64_t n_mask;
} found;

// ---- reading ----------------------------------------------------------------------------------

static int on_head(void *ctx, const hs_query *q) {
    found *f = ctx;
    int rc = hs_grow(&f->head, (size_t)f->n_head + 1, sizeof *f->head);
    if (rc) return rc;
    head_row *h = &f->head[f->n_head++];
    *h = (head_row){.layer = hs_query_int(q, "layer"),
                    .head = hs_query_int(q, "head"),
                    .decoded = hs_query_num(q, "retrieval"),
                    .forced = hs_query_num(q, "retrieval_tf"),
                    .soft = hs_query_num(q, "retrieval_soft"),
                    .active = hs_query_num(q, "activation_frequency"),
                    .echo = hs_query_num(q, "echo"),
                    .induction = hs_query_num(q, "echo_induction")};
    hs_query_text(q, "name", h->name, sizeof h->name);
    f->passed = hs_query_int(q, "passed");
    f->tests = hs_query_int(q, "tests");
    return HS_OK;
}

static int on_mask(void *ctx, const hs_query *q) {
    found *f = ctx;
    int rc = hs_grow(&f->mask, (size_t)f->n_mask + 1, sizeof *f->mask);
    if (rc) return rc;
    f->mask[f->n_mask++] = (mask_row){.k = hs_query_int(q, "k"),
                                      .draws = hs_query_int(q, "draws"),
                                      .tests = hs_query_int(q, "tests"),
                                      .top = hs_query_num(q, "top"),
                                      .mean = hs_query_num(q, "random_mean"),
                                      .sd = hs_query_num(q, "random_sd"),
                                      .low = hs_query_num(q, "random_low"),
                                      .high = hs_query_num(q, "random_high"),
                                      .top_passed = hs_query_num(q, "top_passed"),
                                      .passed = hs_query_num(q, "random_passed")};
    return HS_OK;
}

static int read_found(found *f, const hs_retrieve_work *w) {
    const hs_source source = {.db = w->db, .run = w->run};
    *f = (found){.w = w};
    int rc = hs_source_each(&source, "retrieve", NULL, 0, on_head, f);
    if (!rc) rc = hs_source_each(&source, "retrieve_masking", NULL, 0, on_mask, f);
    return rc;
}

// ---- the verdict ------------------------------------------------------------------------------

// The size that it is about, chosen before any result: the one nearest to a twentieth of all heads,
// as in AttentionInfluence.
static const mask_row *judged(const found *f) {
    const double share = (double)f->w->n_head / 20;
    const mask_row *best = NULL;
    for (int64_t i = 0; i < f->n_mask; i++)
        if (f->mask[i].k &&
            (!best || fabs((double)f->mask[i].k - share) < fabs((double)best->k - share)))
            best = &f->mask[i];
    return best;
}

// Whether one more random set would be expected above the top heads' recall: by a 95 % prediction
// interval from the draws, if their means are spread as a normal distribution. Appends a sentence.
static void verdict(const found *f, hs_buf *out) {
    const mask_row *m = judged(f);
    if (!m) return;
    const double n = (double)m->draws;
    const double reach = hs_student_t(0.025, m->draws - 1) * m->sd * sqrt(1 + 1 / n);
    const double low = fmax(m->mean - reach, 0), high = fmin(m->mean + reach, 1);
    const char *what = m->top < low    ? "the top heads do more harm than random ones"
                       : m->top > high ? "the top heads do less harm than random ones"
                                       : "this does not tell the top heads from random ones";
    hs_buf_printf(out,
                  "Masking the top %" PRId64 " leaves a recall of %.3f on %" PRId64
                  " tests, masking as many random heads %.3f (%" PRId64
                  " draws; one more would lie within %.3f to %.3f with 95 %%): %s.",
                  m->k, m->top, m->tests, m->mean, m->draws, low, high, what);
}

// ---- for programs -----------------------------------------------------------------------------

static int by_place(const void *a, const void *b) {
    const head_row *x = a, *y = b;
    if (x->layer != y->layer) return x->layer < y->layer ? -1 : 1;
    return (x->head > y->head) - (x->head < y->head);
}

static void json_masking(hs_jw *j, const found *f) {
    hs_jw_key(j, "masking");
    hs_jw_begin(j, '[');
    for (int64_t i = 0; i < f->n_mask; i++) {
        const mask_row *m = &f->mask[i];
        hs_jw_begin(j, '{');
        hs_jw_key_int(j, "k", m->k);
        hs_jw_key_num(j, "top", m->top);
        hs_jw_key_num(j, "random_mean", m->mean);
        hs_jw_key_num(j, "random_sd", m->sd);
        hs_jw_key_num(j, "top_passed", m->top_passed);
        hs_jw_key_num(j, "random_passed", m->passed);
        hs_jw_end(j, '}');
    }
    hs_jw_end(j, ']');
}

static int put_json(const found *f) {
    hs_buf json = {0}, said = {0};
    hs_jw j = {&json, false};
    hs_jw_begin(&j, '{');
    hs_jw_key_int(&j, "run", f->w->run);
    hs_jw_key_str(&j, "db", hs_cli_db_path(&f->w->opt->db));
    hs_jw_key_int(&j, "tests", f->tests);
    hs_jw_key_int(&j, "passed", f->passed);
    qsort(f->head, (size_t)f->n_head, sizeof *f->head, by_place);
    hs_jw_key(&j, "heads");
    hs_jw_begin(&j, '[');
    for (int64_t i = 0; i < f->n_head; i++) {
        const head_row *h = &f->head[i];
        hs_jw_begin(&j, '{');
        hs_jw_key_int(&j, "layer", h->layer);
        hs_jw_key_int(&j, "head", h->head);
        hs_jw_key_num(&j, "retrieval", h->decoded);
        hs_jw_key_num(&j, "retrieval_tf", h->forced);
        hs_jw_key_num(&j, "retrieval_soft", h->soft);
        hs_jw_key_num(&j, "activation_frequency", h->active);
        hs_jw_key_num(&j, "echo", h->echo);
        hs_jw_key_num(&j, "echo_induction", h->induction);
        hs_jw_end(&j, '}');
    }
    hs_jw_end(&j, ']');
    json_masking(&j, f);
    verdict(f, &said);
    if (said.len) hs_jw_key_str(&j, "verdict", hs_buf_text(&said));
    hs_jw_end(&j, '}');
    int rc = hs_buf_rc(&said);
    hs_buf_free(&said);
    if (!rc) return hs_json_put(&json);
    hs_buf_free(&json);
    return rc;
}

// ---- rows -------------------------------------------------------------------------------------

static int put_heads(const found *f, int64_t most) {
    static const hs_col columns[] = {{"name", "head", 0},
                                     {"layer", NULL, 0},
                                     {"head", NULL, 0},
                                     {"retrieval", "retrieval", 4},
                                     {"retrieval_tf", "teacher-forced", 4},
                                     {"retrieval_soft", "its weight", 4},
                                     {"activation_frequency", "active", 3},
                                     {"echo", "echo", 4},
                                     {"echo_induction", "induction", 4}};
    hs_table *t;
    int rc = hs_table_open(&t, columns, sizeof columns / sizeof *columns);
    for (int64_t i = 0; i < f->n_head && i < most && !rc; i++) {
        const head_row *h = &f->head[i];
        hs_table_str(t, h->name);
        hs_table_int(t, h->layer);
        hs_table_int(t, h->head);
        hs_table_num(t, h->decoded);
        hs_table_num(t, h->forced);
        hs_table_num(t, h->soft);
        hs_table_num(t, h->active);
        hs_table_num(t, h->echo);
        hs_table_num(t, h->induction);
    }
    if (!rc) rc = hs_table_put(t, f->w->call, &f->w->opt->out);
    hs_table_close(t);
    return rc;
}

static int put_masks(const found *f) {
    static const hs_col columns[] = {{NULL, "masked", 0},       {NULL, "top", 4},
                                     {NULL, "random, mean", 4}, {NULL, "sd", 4},
                                     {NULL, "lowest", 4},       {NULL, "highest", 4}};
    hs_table *t;
    int rc = hs_table_open(&t, columns, sizeof columns / sizeof *columns);
    for (int64_t i = 0; i < f->n_mask && !rc; i++) {
        const mask_row *m = &f->mask[i];
        hs_table_int(t, m->k);
        hs_table_num(t, m->top);
        hs_table_num(t, m->mean);
        hs_table_num(t, m->sd);
        hs_table_num(t, m->low);
        hs_table_num(t, m->high);
    }
    if (!rc) printf("\nrecall with heads masked, means over the tests\n");
    if (!rc) rc = hs_table_put(t, f->w->call, &f->w->opt->out);
    hs_table_close(t);
    return rc;
}

// ---- for people -------------------------------------------------------------------------------

static void put_title(const found *f) {
    int64_t strong = 0;
    for (int64_t i = 0; i < f->n_head; i++) strong += f->head[i].decoded >= 0.1;
    printf("%" PRId64 " of %" PRId64 " needle tests passed: run %" PRId64 " in %s\n", f->passed,
           f->tests, f->w->run, hs_cli_db_path(&f->w->opt->db));
    if (f->passed)
        printf("%" PRId64 " of %" PRId64 " heads have a retrieval score of 0.1 or more\n", strong,
               f->n_head);
    else
        puts("no test was passed, so that there is no retrieval score, and no heads to mask: the "
             "teacher-forced ones are of all tests. Give tests that this model can do, shorter "
             "ones first");
}

static void put_next(const hs_retrieve_work *w, bool masked) {
    const char *path = hs_cli_db_path(&w->opt->db), *db = " --db ";
    if (w->call->quiet) return;
    if (strcmp(path, "headscope.db") == 0) db = path = "";
    printf("\nnext: headscope query retrieve_tests --run %" PRId64 "%s%s\n", w->run, db, path);
    printf("      headscope heatmap %" PRId64 " --grid retrieval_tf -o heads.png%s%s\n", w->run, db,
           path);
    if (masked)
        printf("      headscope heatmap %" PRId64 " --masking -o masking.png%s%s\n", w->run, db,
               path);
}

static int put_people(const found *f) {
    hs_buf said = {0};
    put_title(f);
    puts("");
    int rc = put_heads(f, f->w->opt->top);
    if (!rc && f->n_mask) rc = put_masks(f);
    verdict(f, &said);
    if (!rc) rc = hs_buf_rc(&said);
    if (!rc && said.len) printf("\n%s\n", hs_buf_text(&said));
    if (!rc) put_next(f->w, f->n_mask > 0);
    hs_buf_free(&said);
    return rc;
}

int hs_retrieve_print(const hs_retrieve_work *w) {
    const hs_out_options *out = &w->opt->out;
    found f;
    int rc = read_found(&f, w);
    if (!rc)
        rc = out->json                ? put_json(&f)
             : out->csv || out->jsonl ? put_heads(&f, INT64_MAX)
                                      : put_people(&f);
    free(f.head);
    free(f.mask);
    return rc;
}
