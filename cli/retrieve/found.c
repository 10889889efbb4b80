// Reads what a run holds, and judges its masks; see found.h.
#include "cli/retrieve/found.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/sweep/student.h"
#include "model/core/mem.h"

// ---- reading ----------------------------------------------------------------------------------

static int on_head(void *ctx, const hs_query *q) {
    hs_found *f = ctx;
    int rc = hs_grow(&f->head, (size_t)f->n_head + 1, sizeof *f->head);
    if (rc) return rc;
    hs_found_head *h = &f->head[f->n_head++];
    *h = (hs_found_head){.layer = hs_query_int(q, "layer"),
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

static int on_test(void *ctx, const hs_query *q) {
    hs_found *f = ctx;
    char kind[16];
    hs_query_text(q, "kind", kind, sizeof kind);
    if (strcmp(kind, "question") != 0) return HS_OK;
    f->f1 += hs_query_num(q, "f1");
    f->answered += hs_query_int(q, "passed");
    f->questions++;
    return HS_OK;
}

static int on_mask(void *ctx, const hs_query *q) {
    hs_found *f = ctx;
    int rc = hs_grow(&f->mask, (size_t)f->n_mask + 1, sizeof *f->mask);
    if (rc) return rc;
    f->mask[f->n_mask++] = (hs_found_mask){
        .k = hs_query_int(q, "k"),
        .draws = hs_query_int(q, "draws"),
        .needle = {.n = hs_query_int(q, "tests"),
                   .top = hs_query_num(q, "top"),
                   .mean = hs_query_num(q, "random_mean"),
                   .sd = hs_query_num(q, "random_sd"),
                   .low = hs_query_num(q, "random_low"),
                   .high = hs_query_num(q, "random_high"),
                   .top_passed = hs_query_num(q, "top_passed"),
                   .passed = hs_query_num(q, "random_passed")},
        .question = {.n = hs_query_int(q, "questions"),
                     .top = hs_query_num(q, "top_f1"),
                     .mean = hs_query_num(q, "random_f1_mean"),
                     .sd = hs_query_num(q, "random_f1_sd"),
                     .low = hs_query_num(q, "random_f1_low"),
                     .high = hs_query_num(q, "random_f1_high"),
                     .top_passed = hs_query_num(q, "top_answered"),
                     .passed = hs_query_num(q, "random_answered")}};
    return HS_OK;
}

int hs_found_read(hs_found *f, const hs_retrieve_work *w) {
    const hs_source source = {.db = w->db, .run = w->run};
    *f = (hs_found){.w = w};
    int rc = hs_source_each(&source, "retrieve", NULL, 0, on_head, f);
    if (!rc) rc = hs_source_each(&source, "retrieve_tests", NULL, 0, on_test, f);
    if (!rc) rc = hs_source_each(&source, "retrieve_masking", NULL, 0, on_mask, f);
    f->f1 = f->questions ? f->f1 / (double)f->questions : (double)NAN;
    return rc;
}

void hs_found_free(hs_found *f) {
    free(f->head);
    free(f->mask);
}

// ---- the verdict ------------------------------------------------------------------------------

// The size that it is about, chosen before any result: the one nearest to a twentieth of all heads,
// as in AttentionInfluence.
static const hs_found_mask *judged(const hs_found *f) {
    const double share = (double)f->w->n_head / 20;
    const hs_found_mask *best = NULL;
    for (int64_t i = 0; i < f->n_mask; i++)
        if (f->mask[i].k &&
            (!best || fabs((double)f->mask[i].k - share) < fabs((double)best->k - share)))
            best = &f->mask[i];
    return best;
}

enum { MORE, LESS, NEITHER };
static const char *const words[] = {
    [MORE] = "the top heads do more harm than random ones",
    [LESS] = "the top heads do less harm than random ones",
    [NEITHER] = "this does not tell the top heads from random ones",
};

// Where one more random set would be expected: a 95 % prediction interval from the draws, if their
// means are spread as a normal distribution; and whether the top heads lie outside.
static int judge(const hs_found_marks *m, int64_t draws, double *low, double *high) {
    const double n = (double)draws;
    const double reach = hs_student_t(0.025, draws - 1) * m->sd * sqrt(1 + 1 / n);
    *low = fmax(m->mean - reach, 0);
    *high = fmin(m->mean + reach, 1);
    return m->top < *low ? MORE : m->top > *high ? LESS : NEITHER;
}

void hs_found_verdict(const hs_found *f, hs_buf *out) {
    const hs_found_mask *m = judged(f);
    double low, high;
    if (!m) return;
    const bool asked = m->question.n && f->answered; // nothing can be lost where nothing was right
    const hs_found_marks *a = &m->needle, *q = &m->question;
    const int recall = judge(a, m->draws, &low, &high);
    hs_buf_printf(out, "Masking the top %" PRId64 " leaves a recall of %.3f on %" PRId64 " tests",
                  m->k, a->top, a->n);
    if (asked) hs_buf_printf(out, " and an F1 of %.3f on %" PRId64 " questions", q->top, q->n);
    hs_buf_printf(out, ", masking as many random heads %.3f", a->mean);
    if (asked) hs_buf_printf(out, " and %.3f", q->mean);
    hs_buf_printf(out, " (%" PRId64 " draws; one more would lie within %.3f to %.3f", m->draws, low,
                  high);
    const int f1 = asked ? judge(q, m->draws, &low, &high) : recall;
    if (asked) hs_buf_printf(out, " and %.3f to %.3f", low, high);
    if (f1 == recall)
        hs_buf_printf(out, " with 95 %%): %s%s.", words[recall],
                      asked ? ", for needles and for answers" : "");
    else
        hs_buf_printf(out, " with 95 %%): for needles, %s; for answers, %s.", words[recall],
                      words[f1]);
}
