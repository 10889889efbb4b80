// Answers of prompts that ask something, unedited and edited side by side; see eval.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/eval/eval.h"
#include "cli/memory.h"
#include "model/core/mem.h"

// The loss of an answer is not that of the prompt.
const hs_eval_key hs_asked_keys[HS_N_MEASURE] = {
    [HS_MEASURE_NLL] = {"answer_nll", "baseline_answer_nll", "answer"},
    [HS_MEASURE_CHOICE_NLL] = {"choice_nll", "baseline_choice_nll", "choice"},
    [HS_MEASURE_ACCURACY] = {"accuracy", "baseline_accuracy", "acc"},
    [HS_MEASURE_ACCURACY_NORM] = {"accuracy_norm", "baseline_accuracy_norm", "acc_norm"},
    [HS_MEASURE_YES] = {"yes_share", "baseline_yes_share", "yes"},
    [HS_MEASURE_F1] = {"f1", "baseline_f1", "f1"},
    [HS_MEASURE_EXACT_MATCH] = {"exact_match", "baseline_exact_match", "exact"},
    [HS_MEASURE_RECALL] = {"recall", "baseline_recall", "recall"},
    [HS_MEASURE_REPETITION] = {"repetition", "baseline_repetition", "repeats"},
    [HS_MEASURE_ENTROPY] = {"generated_entropy_nats", "baseline_generated_entropy_nats", "entropy"},
    [HS_MEASURE_COLLAPSE] = {"entropy_collapse", "baseline_entropy_collapse", "collapse"},
};

static bool any_asks(const hs_quiz *q, enum hs_quiz_kind kind) {
    for (int64_t i = 0; i < hs_quiz_count(q); i++)
        if (hs_quiz_at(q, i)->kind == kind) return true;
    return false;
}

int hs_asked_open(hs_asked *a, hs_session *session, unsigned effects, int64_t decode,
                  int64_t generate) {
    const hs_quiz_opts opts = {.model = session->model,
                               .prompts = session->prompts,
                               .decode = decode,
                               .generate = generate,
                               .progress = &session->bar.progress};
    *a = (hs_asked){0};
    int rc = hs_quiz_open(&a->quiz, &opts);
    if (rc) return rc;
    const bool choices = any_asks(a->quiz, HS_QUIZ_CHOICE) || any_asks(a->quiz, HS_QUIZ_YES_NO);
    a->n = hs_quiz_count(a->quiz);
    a->told = hs_quiz_has(a->quiz);
    if (!choices && !any_asks(a->quiz, HS_QUIZ_OPEN)) a->told &= ~(1u << HS_MEASURE_NLL);
    if (choices && effects >> HS_EFFECT_ACCURACY & 1)
        return hs_fail(HS_EARG, "--metric accuracy is about answers that are one token's number, "
                                "and these prompts have choices, whose accuracy is told anyway: "
                                "leave it out");
    return HS_OK;
}

// ---- running ------------------------------------------------------------------------------------

static int keep(void *ctx, int64_t ord, const double *value) {
    hs_asked *a = ctx;
    const size_t n = (1 + (size_t)a->edited) * HS_N_MEASURE;
    memcpy(a->value + (size_t)ord * n, value, n * sizeof *value);
    // What a text's own tokens lose is told of the prompt.
    for (size_t v = 0; hs_quiz_at(a->quiz, ord)->kind == HS_QUIZ_TEXT && v < n; v += HS_N_MEASURE)
        a->value[(size_t)ord * n + v + HS_MEASURE_NLL] = NAN;
    return HS_OK;
}

static int run_quiz(hs_asked *a, hs_session *session, const hs_do *edits) {
    const hs_quiz_variant variant[] = {{edits->spec, edits->n_input}, {edits->spec, edits->n}};
    int64_t *ord;
    int rc = hs_alloc(&ord, (size_t)a->n, sizeof *ord);
    for (int64_t i = 0; i < a->n && !rc; i++) ord[i] = i;
    hs_quiz_name(a->quiz, (hs_spans){edits->span, edits->n_span}, &edits->source);
    if (!rc) rc = hs_quiz_run(a->quiz, variant, 1 + a->edited, ord, a->n, keep, a);
    hs_bar_clear(&session->bar);
    free(ord);
    return rc;
}

// ---- totals -------------------------------------------------------------------------------------

static const double *value_of(const hs_asked *a, enum hs_measure m, bool edited, int64_t i) {
    return a->value + (i * (1 + a->edited) + edited) * HS_N_MEASURE + m;
}

double hs_asked_total(const hs_asked *a, enum hs_measure m, bool edited, int64_t from, int64_t to) {
    return hs_measure_total(m, value_of(a, m, edited, from), (1 + a->edited) * HS_N_MEASURE,
                            to - from);
}

// Prompts that have a measure, for a resample of them.
typedef struct pairs {
    const hs_asked *a;
    enum hs_measure m;
    int64_t *ord; // [n]
    int64_t n;
} pairs;

static double total_of(const pairs *p, bool edited, const int64_t *item, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        p->a->column[i] = *value_of(p->a, p->m, edited, p->ord[item[i]]);
    return hs_measure_total(p->m, p->a->column, 1, n);
}

static double difference(void *ctx, const int64_t *item, int64_t n) {
    const pairs *p = ctx;
    return total_of(p, true, item, n) - total_of(p, false, item, n);
}

// Prompts that lack the measure on one side are left out on both.
static int find_change(hs_asked *a, enum hs_measure m) {
    hs_change *c = &a->change[m];
    pairs p = {.a = a, .m = m};
    int64_t *all;
    int rc = hs_alloc(&all, 2 * (size_t)a->n, sizeof *all);
    if (rc) return rc;
    p.ord = all + a->n;
    for (int64_t i = 0; i < a->n; i++) {
        all[i] = i;
        if (!isnan(*value_of(a, m, a->edited, i)) && !isnan(*value_of(a, m, false, i)))
            p.ord[p.n++] = i;
    }
    c->n = p.n;
    if (a->edited) {
        c->value = difference(&p, all, p.n);
        rc = hs_bootstrap_of(difference, &p, p.n, HS_BOOTSTRAP_ROUNDS, 0, HS_BOOTSTRAP_LEVEL,
                             &c->low, &c->high);
    }
    free(all);
    return rc;
}

int hs_asked_run(hs_asked *a, hs_session *session, const hs_do *edits) {
    if (!a->told) return HS_OK;
    a->edited = edits->n > edits->n_input;
    const int64_t longest = hs_quiz_longest(a->quiz);
    const size_t row = (1 + (size_t)a->edited) * HS_N_MEASURE;
    const hs_context_opts opts = {.kv_capacity = longest, .n_slot = 1 + a->edited};
    int rc = hs_cli_room_check(session->model, &opts, longest, HS_LOGITS_LAST);
    if (!rc) rc = hs_alloc(&a->value, (size_t)a->n, row * sizeof *a->value);
    if (!rc) rc = hs_alloc(&a->column, (size_t)a->n, sizeof *a->column);
    if (!rc) rc = run_quiz(a, session, edits);
    for (int m = 0; m < HS_N_MEASURE && !rc; m++)
        if (a->told >> m & 1) rc = find_change(a, (enum hs_measure)m);
    return rc;
}

void hs_asked_close(hs_asked *a) {
    hs_quiz_close(a->quiz);
    free(a->value);
    free(a->column);
    *a = (hs_asked){0};
}
