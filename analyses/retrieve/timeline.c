// A walk that shares beginnings; see timeline.h. In dictionary order every stretch of tokens that
// several prompts begin with is run exactly once, which no other order can better.
#include "analyses/retrieve/timeline.h"

int64_t hs_timeline_common(const int32_t *a, int64_t n_a, const int32_t *b, int64_t n_b) {
    int64_t n = 0;
    while (n < n_a && n < n_b && a[n] == b[n]) n++;
    return n;
}

static bool comes_before(const hs_prompt *a, const hs_prompt *b) {
    const int64_t n = hs_timeline_common(a->tokens, a->n_token, b->tokens, b->n_token);
    if (n == a->n_token || n == b->n_token) return a->n_token < b->n_token;
    return a->tokens[n] < b->tokens[n];
}

void hs_timeline_sort(const hs_prompts *prompts, int64_t *ord, int64_t n) {
    for (int64_t i = 1; i < n; i++)
        for (int64_t k = i; k > 0; k--) {
            const int64_t last = ord[k - 1];
            if (!comes_before(hs_prompts_at(prompts, ord[k]), hs_prompts_at(prompts, last))) break;
            ord[k - 1] = ord[k];
            ord[k] = last;
        }
}

void hs_timeline_rewind(hs_timeline *t) {
    hs_context_truncate(t->context, 0, t->n_held);
}

void hs_timeline_forget(hs_timeline *t) {
    t->n_held = 0;
    hs_context_truncate(t->context, 0, 0);
}

int hs_timeline_seek(hs_timeline *t, const int32_t *tokens, int64_t n, int64_t *n_run) {
    t->n_held = hs_timeline_common(t->held, t->n_held, tokens, n);
    t->held = tokens;
    hs_timeline_rewind(t);
    *n_run = n - t->n_held;
    if (!*n_run) return HS_OK;
    const hs_seq seq = {.tokens = tokens + t->n_held, .n = *n_run};
    int rc = hs_context_eval(t->context, &(hs_batch){.seq = &seq, .n_seq = 1});
    if (!rc) t->n_held = n;
    return rc;
}
