// See lawsweep.h.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tests/lib/lawsweep.h"

const int64_t prompt_tokens[N_PROMPT] = {23, LAW_T, 7, 16};
const int64_t all_prompts[N_PROMPT] = {0, 1, 2, 3};

void open_work(struct work *w, hs_model *model, const char *units, unsigned effects) {
    static const int32_t right[] = {5, 6, 31}, wrong[] = {9, 40};
    const hs_dims dims = hs_dims_of(model);
    *w = (struct work){.model = model};
    assert_int_equal(hs_prompts_open(&w->prompts, NULL, HS_BOS_AUTO, LAW_N_VOCAB), HS_OK);
    for (int i = 0; i < N_PROMPT; i++) {
        int32_t ids[LAW_T];
        law_tokens(ids, LAW_T, 20 + (uint64_t)i);
        assert_int_equal(hs_prompts_add_tokens(w->prompts, NULL, ids, prompt_tokens[i], 0, 0, NULL),
                         HS_OK);
        w->answer[i] = (hs_answer){
            .answer = 3 + i, .wrong = 9, .end = i == 1 ? 5 : prompt_tokens[i] - 1};
        if (i > 1) w->answer[i].answers = (hs_ids){right, 3};
        if (i > 2) w->answer[i].wrongs = (hs_ids){wrong, 2};
    }
    if (hs_units_parse(&w->units, &dims, units, (1u << HS_N_UNIT) - 1)) fail_msg("%s", hs_errmsg());
    w->opts = (hs_sweep_opts){.model = model,
                              .prompts = w->prompts,
                              .answers = w->answer,
                              .units = &w->units,
                              .op = "zero",
                              .effects = effects,
                              .seed = 5};
}

void close_work(struct work *w) {
    hs_units_free(&w->units);
    hs_prompts_close(w->prompts);
    hs_model_close(w->model);
}

int take_result(void *ctx, const hs_sweep_result *r) {
    struct results *to = ctx;
    const size_t bytes = (size_t)to->n_value * HS_N_EFFECT * sizeof(double);
    assert_true(to->n < N_PROMPT && r->ord < N_PROMPT);
    to->ord[to->n++] = r->ord;
    memcpy(to->base[r->ord], r->base, sizeof to->base[0]);
    to->value[r->ord] = malloc(bytes);
    memcpy(to->value[r->ord], r->value, bytes);
    for (int e = 0; e < HS_N_EFFECT; e++) {
        const size_t all = (size_t)(to->n_value * prompt_tokens[r->ord]) * sizeof(double);
        if (!r->at[e]) continue;
        to->at[r->ord][e] = malloc(all);
        memcpy(to->at[r->ord][e], r->at[e], all);
    }
    return HS_OK;
}

void free_results(struct results *r) {
    for (int i = 0; i < N_PROMPT; i++) {
        free(r->value[i]);
        for (int e = 0; e < HS_N_EFFECT; e++) free(r->at[i][e]);
    }
}
