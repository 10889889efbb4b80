// Needle tests into the database, one transaction a prompt; see retrieve.h. Masks need the scores of
// all tests: what a run that goes on holds of them is read back first.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "cli/retrieve/retrieve.h"
#include "model/core/mem.h"
#include "model/core/utf8.h"

typedef struct store {
    hs_retrieve_work *w;
    hs_analysis as;
    hs_study study;
    int64_t n_run, n_token; // tokens of prompts that were run, of all
} store;

// ---- what decides the results -----------------------------------------------------------------

static void what_json(hs_buf *out, const hs_retrieve_work *w) {
    hs_jw j = {out, false};
    hs_jw_key_int(&j, "max_new", w->opt->max_new);
    hs_jw_key(&j, "mask_k");
    hs_jw_begin(&j, '[');
    for (int64_t i = 0; i < w->n_k; i++) hs_jw_int(&j, w->k[i]);
    hs_jw_end(&j, ']');
    hs_jw_key(&j, "mask_all");
    hs_jw_bool(&j, w->opt->mask_all);
    hs_jw_key_int(&j, "seed", w->opt->seed);
}

// ---- what the run holds already ---------------------------------------------------------------

static int on_score(void *ctx, int64_t ord, const hs_query *q) {
    const hs_retrieve_work *w = ctx;
    const int64_t layer = hs_query_int(q, "layer"), head = hs_query_int(q, "head");
    if (ord >= w->n_test || layer < 0 || layer >= w->dims.n_layer || head < 0 ||
        head >= w->dims.n_head)
        return HS_OK;
    w->score[ord * w->n_head + layer * w->dims.n_head + head] = hs_query_num(q, "retrieval");
    return HS_OK;
}

static int read_back(const store *s) {
    hs_retrieve_work *w = s->w;
    if (s->study.done >= w->n_needle || !w->n_k) return HS_OK;
    return hs_study_held(&s->study, "retrieve_scores", on_score, w);
}

// ---- one test ---------------------------------------------------------------------------------

static int emit_scores(const store *s, const hs_emit *e, const hs_retrieve_result *r) {
    static const char *const failed = "the model did not pass this test";
    int rc = HS_OK;
    for (int l = 0; l < s->w->dims.n_layer; l++)
        for (int h = 0; h < s->w->dims.n_head && !rc; h++) {
            const int64_t c = (int64_t)l * s->w->dims.n_head + h;
            const double score = r->passed ? r->decoded[c] : (double)NAN;
            const double active = r->passed ? score > 0 : (double)NAN;
            const char *reason = r->passed ? NULL : failed;
            s->w->score[r->ord * s->w->n_head + c] = score;
            rc = e->metric(e->ctx, l, h, "retrieval", score, reason);
            if (!rc) rc = e->metric(e->ctx, l, h, "retrieval_tf", r->forced[c], NULL);
            if (!rc) rc = e->metric(e->ctx, l, h, "retrieval_soft", r->soft[c], NULL);
            if (!rc) rc = e->metric(e->ctx, l, h, "activation_frequency", active, reason);
        }
    return rc;
}

// Tokens as text that any table can hold.
static int words(const hs_tok *tok, const int32_t *ids, int64_t n, hs_buf *out) {
    hs_buf bytes = {0};
    int rc = tok ? hs_tok_decode(tok, ids, (size_t)n, true, &bytes) : HS_OK;
    if (!rc) rc = hs_buf_rc(&bytes);
    if (!rc && tok) hs_utf8_visible(out, hs_buf_text(&bytes), bytes.len, false);
    for (int64_t i = 0; i < n && !tok; i++) hs_buf_printf(out, i ? " %d" : "%d", ids[i]);
    hs_buf_free(&bytes);
    return rc ? rc : hs_buf_rc(out);
}

int hs_retrieve_emit_said(const hs_retrieve_work *w, const hs_emit *emit,
                          const hs_retrieve_said *r) {
    const hs_tok *tok = hs_model_tok(w->session.model);
    const hs_needle *needle = &w->needles[r->ord];
    const bool test = r->ord < w->n_test;
    hs_buf said = {0}, answer = {0};
    int rc = words(tok, r->said, r->n_said, &said);
    if (!rc) rc = words(tok, needle->answer, needle->n_answer, &answer);
    const hs_value row[] = {
        {.type = HS_VAL_TEXT, .s = test ? "needle" : "question"},
        {.type = HS_VAL_INT, .i = (test ? r->recall : r->f1) > HS_RETRIEVE_PASS},
        {.type = HS_VAL_NUM, .f = r->recall},
        {.type = HS_VAL_NUM, .f = r->f1},
        {.type = HS_VAL_INT, .i = needle->from},
        {.type = HS_VAL_INT, .i = needle->to},
        {.type = HS_VAL_INT, .i = r->n_said},
        {.type = HS_VAL_TEXT, .s = hs_buf_text(&said)},
        {.type = HS_VAL_TEXT, .s = hs_buf_text(&answer)},
    };
    if (!rc) rc = emit->row(emit->ctx, "test", row);
    hs_buf_free(&said);
    hs_buf_free(&answer);
    return rc;
}

static int on_result(void *ctx, const hs_retrieve_result *r) {
    store *s = ctx;
    hs_emit emit;
    s->n_run += r->n_run + 1; // the last one begins the answer
    s->n_token += hs_prompts_at(s->w->session.prompts, r->ord)->n_token;
    int rc = hs_study_begin(&s->study, r->ord, &emit);
    if (!rc) rc = emit_scores(s, &emit, r);
    if (!rc)
        rc = hs_retrieve_emit_said(s->w, &emit,
                                   &(hs_retrieve_said){.ord = r->ord,
                                                       .n_said = r->n_said,
                                                       .said = r->said,
                                                       .recall = r->recall,
                                                       .f1 = r->f1});
    return hs_study_end(&s->study, rc);
}

// ---- the run ----------------------------------------------------------------------------------

static int run_tests(store *s) {
    hs_retrieve_work *w = s->w;
    const hs_retrieve_opts o = hs_retrieve_opts_of(w);
    const int64_t done = s->study.done, n = w->n_test - done;
    int64_t *ord;
    if (n <= 0) return HS_OK;
    int rc = hs_alloc(&ord, (size_t)n, sizeof *ord);
    for (int64_t i = 0; i < n && !rc; i++) ord[i] = done + i;
    if (!rc) rc = hs_retrieve(&o, ord, n, on_result, s);
    free(ord);
    if (rc) return rc;
    hs_bar_clear(&w->session.bar);
    hs_note(w->call,
            "%" PRId64 " of the prompts' %" PRId64 " tokens were run: %.0f %%; the others are "
            "beginnings that prompts share",
            s->n_run, s->n_token, 100 * (double)s->n_run / (double)s->n_token);
    return HS_OK;
}

static int open_study(store *s) {
    hs_retrieve_work *w = s->w;
    hs_buf what = {0};
    what_json(&what, w);
    const hs_study_opts opts = {.call = w->call,
                                .session = &w->session,
                                .prompt = &w->prompt,
                                .db = &w->db,
                                .path = hs_cli_db_path(&w->opt->db),
                                .how = &w->opt->study,
                                .seed = w->opt->seed,
                                .as = &s->as,
                                .what = &what};
    return hs_study_open(&s->study, &opts);
}

int hs_retrieve_store(hs_retrieve_work *w) {
    store s = {.w = w, .as = hs_analysis_of_experiment(&hs_experiment_retrieve)};
    int rc = hs_alloc(&w->score, (size_t)w->n_test, (size_t)w->n_head * sizeof *w->score);
    if (rc) return rc;
    rc = open_study(&s);
    w->run = s.study.id;
    if (!rc) rc = read_back(&s);
    if (!rc && !s.study.complete) rc = run_tests(&s);
    if (!rc && !s.study.complete) rc = hs_retrieve_mask(w, &s.study);
    if (!rc && hs_study_next(&s.study) == w->n_needle) rc = hs_retrieve_echo(w, &s.study);
    return hs_study_close(&s.study, rc);
}
