// The search for gates, over all prompts of the run; see duo.h.
#include <stdlib.h>

#include "cli/duo/duo.h"
#include "model/core/mem.h"

static int on_step(void *ctx, const hs_duo_step *step) {
    const hs_emit *emit = ctx;
    const hs_value row[] = {{.type = HS_VAL_INT, .i = step->step},
                            {.type = HS_VAL_INT, .i = step->ord},
                            hs_value_num(step->loss),
                            hs_value_num(step->mean),
                            {.type = HS_VAL_INT, .i = step->kept},
                            hs_value_num(step->rate)};
    return emit->row(emit->ctx, "course", row);
}

int hs_duo_search_gates(hs_duo_work *w, const hs_emit *emit) {
    const hs_duo_opts o = hs_duo_opts_of(w);
    const int64_t n = hs_prompts_count(w->session.prompts);
    hs_emit to = *emit;
    int64_t *ord = NULL;
    if (!w->opt->steps) return HS_OK;
    int rc = hs_alloc(&w->gate, (size_t)w->n_kv, sizeof *w->gate);
    if (!rc) rc = hs_alloc(&ord, (size_t)n, sizeof *ord);
    for (int64_t i = 0; i < n && !rc; i++) ord[i] = i;
    const hs_duo_search search = {
        .ord = ord, .n = n, .steps = w->opt->steps, .rate = w->opt->rate, .price = w->opt->price};
    if (!rc) rc = hs_duo_gates(&o, &search, w->gate, on_step, &to);
    if (!rc) rc = hs_duo_emit(w, emit, "duo_gate", w->gate, "the search left the numbers");
    free(ord);
    return rc;
}
