// Fuzz target: who receives and who sends in path patching. The first byte picks the sizes of a
// model, the rest are words. What is taken is there in the model, each once and in order, and its
// names mean the same again.
// covers: analyses/path/receivers.c hooks/units.c
#include "analyses/experiments/path.h"
#include "tests/fuzz/shared.h"

static hs_dims dims_of(uint8_t which) {
    static const int kv[] = {1, 2, 4};
    hs_dims d = {
        .n_layer = 1 + which % 5,
        .n_head = 4,
        .n_kv_head = kv[which / 5 % 3],
        .d_model = 8,
        .d_head = 2,
        .d_ff = 6,
        .n_vocab = 9,
        .points = HS_BIT(HS_N_POINT) - 1,
    };
    if (which & 128) d.points &= ~(HS_BIT(HS_MLP_OUT) | HS_BIT(HS_MLP_POST) | HS_BIT(HS_MLP_PRE));
    return d;
}

static bool is_before(const hs_receiver *a, const hs_receiver *b) {
    if (a->layer != b->layer) return a->layer < b->layer;
    return a->point != b->point ? a->point < b->point : a->index < b->index;
}

static void receivers(const hs_dims *d, const char *text) {
    hs_receivers r, again;
    hs_buf names = {0};
    char name[HS_RECEIVER_NAME];
    if (hs_receivers_parse(&r, d, text)) {
        need(!r.n && !r.at && *hs_errmsg());
        return;
    }
    need(r.n || !strcmp(text, "logits"));
    for (int i = 0; i < r.n; i++) {
        const hs_receiver *x = &r.at[i];
        need(x->point == HS_Q || x->point == HS_K || x->point == HS_V);
        need(x->layer >= 0 && x->layer < d->n_layer && x->index >= 0);
        need(x->index < (x->point == HS_Q ? d->n_head : d->n_kv_head));
        need(!i || is_before(x - 1, x));
        hs_buf_printf(&names, "%s%s", i ? "+" : "", hs_receiver_name(name, x));
    }
    need(!hs_receivers_parse(&again, d, r.n ? hs_buf_text(&names) : "logits") && again.n == r.n);
    for (int i = 0; i < r.n; i++)
        need(!is_before(&r.at[i], &again.at[i]) && !is_before(&again.at[i], &r.at[i]));
    hs_receivers_free(&again);
    hs_receivers_free(&r);
    hs_buf_free(&names);
}

static void senders(const hs_dims *d, const char *text) {
    const unsigned kinds = 1u << HS_UNIT_HEAD | 1u << HS_UNIT_GROUP | 1u << HS_UNIT_MLP;
    hs_units u;
    char name[HS_UNIT_NAME];
    if (hs_units_parse(&u, d, text, kinds)) return;
    for (int64_t i = 0; i < u.n; i++) {
        hs_units one;
        need(kinds >> u.at[i].kind & 1 && u.at[i].layer >= 0 && u.at[i].layer < d->n_layer);
        need(!hs_units_parse(&one, d, hs_unit_name(name, &u.at[i]), kinds) && one.n == 1);
        need(one.at->kind == u.at[i].kind && one.at->layer == u.at[i].layer &&
             one.at->index == u.at[i].index);
        hs_units_free(&one);
    }
    hs_units_free(&u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    input in = {data, n};
    if (n > 2000) return 0;
    const hs_dims dims = dims_of(take_byte(&in));
    char *text = text_of(in);
    receivers(&dims, text);
    senders(&dims, text);
    free(text);
    return 0;
}
