// See weighed.h.
#include "tests/lib/weighed.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

static int take_metric(void *ctx, int layer, int head, const char *name, double value,
                       const char *reason) {
    weighed *w = ctx;
    assert_int_equal(hs_grow(&w->metric, (size_t)w->n_metric + 1, sizeof *w->metric), HS_OK);
    weighed_metric *m = &w->metric[w->n_metric++];
    *m = (weighed_metric){.layer = layer, .head = head, .value = value};
    assert_true((value != value) == (reason != NULL));
    snprintf(m->name, sizeof m->name, "%s", name);
    snprintf(m->reason, sizeof m->reason, "%s", reason ? reason : "");
    return HS_OK;
}

static int take_row(void *ctx, const char *table, const hs_value *v) {
    weighed *w = ctx;
    if (!strcmp(table, "composition")) {
        assert_int_equal(hs_grow(&w->pair, (size_t)w->n_pair + 1, sizeof *w->pair), HS_OK);
        w->pair[w->n_pair++] = (weighed_pair){*v[0].s,     (int)v[1].i, (int)v[2].i, (int)v[3].i,
                                              (int)v[4].i, v[5].f,      v[6].f};
        return HS_OK;
    }
    assert_string_equal(table, "neuron");
    assert_int_equal(hs_grow(&w->neuron, (size_t)w->n_neuron + 1, sizeof *w->neuron), HS_OK);
    weighed_neuron *n = &w->neuron[w->n_neuron++];
    *n = (weighed_neuron){
        .layer = (int)v[0].i, .neuron = v[1].i, .token = (int)v[3].i, .probability = v[5].f};
    snprintf(n->vector, sizeof n->vector, "%s", v[2].s);
    return HS_OK;
}

void weighed_open(weighed *out, const hs_weights_opts *opts) {
    *out = (weighed){0};
    const hs_emit emit = {.ctx = out, .metric = take_metric, .row = take_row};
    if (hs_weights(opts, &emit)) fail_msg("%s", hs_errmsg());
}

void weighed_close(weighed *w) {
    free(w->metric);
    free(w->pair);
    free(w->neuron);
    *w = (weighed){0};
}

const weighed_metric *weighed_find(const weighed *w, const char *name, int layer, int head) {
    for (int64_t i = 0; i < w->n_metric; i++) {
        const weighed_metric *m = &w->metric[i];
        if (m->layer == layer && m->head == head && !strcmp(m->name, name)) return m;
    }
    fail_msg("no %s of L%dH%d", name, layer, head);
    return NULL;
}

double weighed_at(const weighed *w, const char *name, int layer, int head) {
    return weighed_find(w, name, layer, head)->value;
}

const weighed_pair *weighed_pair_of(const weighed *w, char kind, int from_layer, int from_head,
                                    int layer, int head) {
    for (int64_t i = 0; i < w->n_pair; i++) {
        const weighed_pair *p = &w->pair[i];
        if (p->kind == kind && p->from_layer == from_layer && p->from_head == from_head &&
            p->layer == layer && p->head == head)
            return p;
    }
    fail_msg("no %c from L%dH%d to L%dH%d", kind, from_layer, from_head, layer, head);
    return NULL;
}

const weighed_neuron *weighed_neuron_of(const weighed *w, int layer, int64_t neuron,
                                        const char *vector) {
    for (int64_t i = 0; i < w->n_neuron; i++) {
        const weighed_neuron *n = &w->neuron[i];
        if (n->layer == layer && n->neuron == neuron && !strcmp(n->vector, vector)) return n;
    }
    fail_msg("no %s of neuron %lld in layer %d", vector, (long long)neuron, layer);
    return NULL;
}
