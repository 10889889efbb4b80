// Quizzes; see quiz.h. Items are read by quiz/items.c, evaluated chunk by chunk by quiz/chunk.c and
// measured by quiz/measures.c. A chunk holds as many items as may be evaluated at once under all
// variants; where that is not even one, the variants of an item are split.
#include "analyses/quiz.h"

#include <stdlib.h>

#include "analyses/chunk.h"
#include "analyses/quiz/quiz_internal.h"

// ---- items --------------------------------------------------------------------------------------

static unsigned measures_of(const hs_quiz_opts *o, const hs_quiz_item *item) {
    unsigned has = 1u << HS_MEASURE_NLL;
    if (item->kind == HS_QUIZ_CHOICE || item->kind == HS_QUIZ_YES_NO)
        has |= 1u << HS_MEASURE_CHOICE_NLL | 1u << HS_MEASURE_ACCURACY |
               1u << HS_MEASURE_ACCURACY_NORM;
    if (item->kind == HS_QUIZ_YES_NO) has |= 1u << HS_MEASURE_YES | 1u << HS_MEASURE_F1;
    if (item->kind == HS_QUIZ_OPEN && o->decode)
        has |= 1u << HS_MEASURE_EXACT_MATCH | 1u << HS_MEASURE_RECALL;
    if (o->generate)
        has |= 1u << HS_MEASURE_REPETITION | 1u << HS_MEASURE_ENTROPY | 1u << HS_MEASURE_COLLAPSE;
    return has;
}

static int check_length(const hs_quiz *q, const hs_quiz_item *item) {
    const int64_t n_ctx = hs_model_config(q->o.model)->n_ctx, n = item->prompt->n_token;
    const int64_t after = hs_quiz_after(q, item);
    if (n < 1)
        return hs_fail(HS_ERANGE, "prompt '%s' is empty: nothing can follow it", item->prompt->id);
    if (n <= n_ctx && after <= n_ctx - n) return HS_OK;
    return hs_fail(
        HS_ERANGE,
        "prompt '%s' has %lld tokens, with what may follow %lld are run, and the model's "
        "context takes %lld: shorten it, or decode fewer",
        item->prompt->id, (long long)n, (long long)(n + after), (long long)n_ctx);
}

// Twice the longest answer, which is there in any case.
static int64_t usual_decode(const hs_quiz *q) {
    const int64_t n_ctx = hs_model_config(q->o.model)->n_ctx;
    int64_t longest = 0, room = n_ctx;
    for (int64_t i = 0; i < q->n; i++) {
        const hs_quiz_item *item = &q->item[i];
        if (item->kind != HS_QUIZ_OPEN) continue;
        for (int k = 0; k < item->n_choice; k++)
            if (item->choice[k].n > longest) longest = item->choice[k].n;
        if (n_ctx - item->prompt->n_token + 1 < room) room = n_ctx - item->prompt->n_token + 1;
    }
    return 2 * longest < room ? 2 * longest : room > 1 ? room : 1;
}

static int read_items(hs_quiz *q) {
    const hs_model *m = q->o.model;
    q->n = hs_prompts_count(q->o.prompts);
    int rc = hs_alloc(&q->item, (size_t)q->n, sizeof *q->item);
    for (int64_t i = 0; i < q->n && !rc; i++) {
        rc = hs_quiz_read(&q->item[i], hs_prompts_at(q->o.prompts, i), i, hs_model_tok(m),
                          hs_model_config(m)->n_vocab, q->arena);
    }
    if (q->o.decode == HS_QUIZ_USUAL) q->o.decode = usual_decode(q);
    for (int64_t i = 0; i < q->n && !rc; i++) {
        rc = check_length(q, &q->item[i]);
        q->has |= measures_of(&q->o, &q->item[i]);
    }
    return rc;
}

int hs_quiz_open(hs_quiz **out, const hs_quiz_opts *opts) {
    hs_quiz *q;
    *out = NULL;
    if (opts->decode < HS_QUIZ_USUAL || opts->decode > INT32_MAX || opts->generate < 0 ||
        opts->generate > INT32_MAX)
        return hs_fail(HS_EARG, "tokens to decode are from 0 to %ld", (long)INT32_MAX);
    int rc = hs_alloc(&q, 1, sizeof *q);
    if (rc) return rc;
    q->o = *opts;
    q->memory = hs_chunk_memory(opts->memory);
    rc = hs_arena_open(&q->arena);
    if (!rc) rc = read_items(q);
    if (rc)
        hs_quiz_close(q);
    else
        *out = q;
    return rc;
}

void hs_quiz_close(hs_quiz *q) {
    if (!q) return;
    hs_arena_close(q->arena);
    free(q->item);
    free(q);
}

int64_t hs_quiz_count(const hs_quiz *q) {
    return q->n;
}

const hs_quiz_item *hs_quiz_at(const hs_quiz *q, int64_t ord) {
    return &q->item[ord];
}

int64_t hs_quiz_longest(const hs_quiz *q) {
    int64_t most = 0;
    for (int64_t i = 0; i < q->n; i++) {
        const int64_t n = q->item[i].prompt->n_token + hs_quiz_after(q, &q->item[i]);
        if (n > most) most = n;
    }
    return most;
}

void hs_quiz_name(hs_quiz *q, hs_spans spans, const hs_run_source *runs) {
    q->o.spans = spans;
    q->o.runs = runs;
}

unsigned hs_quiz_has(const hs_quiz *q) {
    return q->has;
}

// ---- variants -----------------------------------------------------------------------------------

typedef struct run {
    hs_quiz_chunk chunk;
    hs_quiz_range *variant; // [n_variant]
    int n_variant;
    const char **spec; // of all variants, one after another
    double *value;     // [items of a chunk][n_variant][HS_N_MEASURE]
} run;

// All specs of all variants as one list, opened once.
static int open_specs(run *r, const hs_quiz_variant *variant, int n_variant) {
    const hs_quiz_opts *o = &r->chunk.quiz->o;
    const hs_editing_opts opts = {o->model, o->prompts, o->spans, o->runs, o->progress};
    int n = 0;
    for (int v = 0; v < n_variant; v++) n += variant[v].n;
    int rc = hs_alloc(&r->spec, (size_t)n, sizeof *r->spec);
    if (!rc) rc = hs_alloc(&r->variant, (size_t)n_variant, sizeof *r->variant);
    if (rc) return rc;
    n = 0;
    for (int v = 0; v < n_variant; v++) {
        r->variant[v] = (hs_quiz_range){n, variant[v].n};
        for (int i = 0; i < variant[v].n; i++) r->spec[n++] = variant[v].spec[i];
    }
    r->n_variant = n_variant;
    return hs_editing_open(&r->chunk.editing, &opts, r->spec, n);
}

// One item whose variants do not fit side by side: as many as do, at least one.
static int run_split(run *r) {
    hs_quiz_chunk *c = &r->chunk;
    int rc = HS_OK;
    c->n = 1;
    for (int v = 0; v < r->n_variant && !rc; v += c->n_variant) {
        c->variant = r->variant + v;
        c->n_variant = r->n_variant - v;
        while (c->n_variant > 1 && !hs_quiz_fit(c)) c->n_variant /= 2;
        rc = hs_quiz_chunk_run(c, r->value + (int64_t)v * HS_N_MEASURE, r->n_variant);
        c->done += c->n_variant;
    }
    return rc;
}

// As many items from c->ord on as fit, of n; how many goes to *taken.
static int run_some(run *r, int64_t n, int64_t *taken) {
    hs_quiz_chunk *c = &r->chunk;
    c->variant = r->variant;
    c->n_variant = r->n_variant;
    c->n = n;
    const int64_t fit = hs_quiz_fit(c);
    *taken = fit ? fit : 1;
    int rc = hs_grow(&r->value, (size_t)*taken * (size_t)r->n_variant,
                     HS_N_MEASURE * sizeof *r->value);
    if (rc) return rc;
    if (!fit) return run_split(r);
    c->n = fit;
    rc = hs_quiz_chunk_run(c, r->value, r->n_variant);
    c->done += fit * r->n_variant;
    return rc;
}

int hs_quiz_run(hs_quiz *q, const hs_quiz_variant *variant, int n_variant, const int64_t *ord,
                int64_t n, hs_quiz_fn fn, void *ctx) {
    run r = {.chunk = {.quiz = q, .total = n * n_variant}};
    int64_t taken = 0;
    if (n_variant < 1) return hs_fail(HS_EARG, "no variant to evaluate");
    int rc = open_specs(&r, variant, n_variant);
    for (int64_t i = 0; i < n && !rc; i += taken) {
        r.chunk.ord = ord + i;
        rc = run_some(&r, n - i, &taken);
        for (int64_t k = 0; k < taken && !rc; k++)
            rc = fn(ctx, ord[i + k], r.value + k * n_variant * HS_N_MEASURE);
    }
    if (!rc) rc = hs_progress_step(q->o.progress, "answers", r.chunk.done, r.chunk.total);
    hs_editing_close(r.chunk.editing);
    free(r.spec);
    free(r.variant);
    free(r.value);
    return rc;
}
