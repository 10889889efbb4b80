// What `retrieve` says, read back from the database; see retrieve.h.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/retrieve/found.h"

// ---- for programs -----------------------------------------------------------------------------

static int by_place(const void *a, const void *b) {
    const hs_found_head *x = a, *y = b;
    if (x->layer != y->layer) return x->layer < y->layer ? -1 : 1;
    return (x->head > y->head) - (x->head < y->head);
}

// In the order of the marks: of the top heads, of random ones.
static void json_marks(hs_jw *j, const char *const name[5], const hs_found_marks *m) {
    const double value[] = {m->top, m->mean, m->sd, m->top_passed, m->passed};
    for (int i = 0; i < 5; i++) hs_jw_key_num(j, name[i], value[i]);
}

static void json_masking(hs_jw *j, const hs_found *f) {
    static const char *const needle[] = {"top", "random_mean", "random_sd", "top_passed",
                                         "random_passed"},
                             *const question[] = {"top_f1", "random_f1_mean", "random_f1_sd",
                                                  "top_answered", "random_answered"};
    hs_jw_key(j, "masking");
    hs_jw_begin(j, '[');
    for (int64_t i = 0; i < f->n_mask; i++) {
        const hs_found_mask *m = &f->mask[i];
        hs_jw_begin(j, '{');
        hs_jw_key_int(j, "k", m->k);
        json_marks(j, needle, &m->needle);
        if (m->question.n) json_marks(j, question, &m->question);
        hs_jw_end(j, '}');
    }
    hs_jw_end(j, ']');
}

static int put_json(const hs_found *f) {
    hs_buf json = {0}, said = {0};
    hs_jw j = {&json, false};
    hs_jw_begin(&j, '{');
    hs_jw_key_int(&j, "run", f->w->run);
    hs_jw_key_str(&j, "db", hs_cli_db_path(&f->w->opt->db));
    hs_jw_key_int(&j, "tests", f->tests);
    hs_jw_key_int(&j, "passed", f->passed);
    hs_jw_key_int(&j, "questions", f->questions);
    hs_jw_key_int(&j, "answered", f->answered);
    hs_jw_key_num(&j, "f1", f->f1);
    if (f->n_head) qsort(f->head, (size_t)f->n_head, sizeof *f->head, by_place);
    hs_jw_key(&j, "heads");
    hs_jw_begin(&j, '[');
    for (int64_t i = 0; i < f->n_head; i++) {
        const hs_found_head *h = &f->head[i];
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
    hs_found_verdict(f, &said);
    if (said.len) hs_jw_key_str(&j, "verdict", hs_buf_text(&said));
    hs_jw_end(&j, '}');
    int rc = hs_buf_rc(&said);
    hs_buf_free(&said);
    if (!rc) return hs_json_put(&json);
    hs_buf_free(&json);
    return rc;
}

// ---- rows -------------------------------------------------------------------------------------

static int put_heads(const hs_found *f, int64_t most) {
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
        const hs_found_head *h = &f->head[i];
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

static int put_masks(const hs_found *f) {
    static const hs_col columns[] = {{NULL, "masked", 0}, {NULL, "recall", 4}, {NULL, "random", 4},
                                     {NULL, "sd", 4},     {NULL, "F1", 4},     {NULL, "random", 4},
                                     {NULL, "sd", 4}};
    const int n_kind = f->mask[0].question.n ? 2 : 1;
    hs_table *t;
    int rc = hs_table_open(&t, columns, 1 + 3 * n_kind);
    for (int64_t i = 0; i < f->n_mask && !rc; i++) {
        const hs_found_mask *m = &f->mask[i];
        hs_table_int(t, m->k);
        for (int k = 0; k < n_kind; k++) {
            const hs_found_marks *marks = k ? &m->question : &m->needle;
            hs_table_num(t, marks->top);
            hs_table_num(t, marks->mean);
            hs_table_num(t, marks->sd);
        }
    }
    if (!rc)
        printf("\ntop heads masked, and as many random ones (mean of %" PRId64
               " draws): recall of %" PRId64 " tests",
               f->mask[0].draws, f->mask[0].needle.n);
    if (!rc && n_kind > 1) printf(", F1 of %" PRId64 " questions", f->mask[0].question.n);
    if (!rc) puts("");
    if (!rc) rc = hs_table_put(t, f->w->call, &f->w->opt->out);
    hs_table_close(t);
    return rc;
}

// ---- for people -------------------------------------------------------------------------------

static void put_title(const hs_found *f) {
    int64_t strong = 0;
    for (int64_t i = 0; i < f->n_head; i++) strong += f->head[i].decoded >= 0.1;
    printf("%" PRId64 " of %" PRId64 " needle tests passed: run %" PRId64 " in %s\n", f->passed,
           f->tests, f->w->run, hs_cli_db_path(&f->w->opt->db));
    if (f->questions)
        printf("%" PRId64 " of %" PRId64 " questions answered, F1 is %.3f\n", f->answered,
               f->questions, f->f1);
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

static int put_people(const hs_found *f) {
    hs_buf said = {0};
    put_title(f);
    puts("");
    int rc = put_heads(f, f->w->opt->top);
    if (!rc && f->n_mask) rc = put_masks(f);
    hs_found_verdict(f, &said);
    if (!rc) rc = hs_buf_rc(&said);
    if (!rc && said.len) printf("\n%s\n", hs_buf_text(&said));
    if (!rc) put_next(f->w, f->n_mask > 0);
    hs_buf_free(&said);
    return rc;
}

int hs_retrieve_print(const hs_retrieve_work *w) {
    const hs_out_options *out = &w->opt->out;
    hs_found f;
    int rc = hs_found_read(&f, w);
    if (!rc)
        rc = out->json                ? put_json(&f)
             : out->csv || out->jsonl ? put_heads(&f, INT64_MAX)
                                      : put_people(&f);
    hs_found_free(&f);
    return rc;
}
