// What hs_weights emits, kept for comparison. Failures are cmocka's.
#ifndef HS_TESTS_LIB_WEIGHED_H
#define HS_TESTS_LIB_WEIGHED_H

#include "analyses/experiments/weights.h"

typedef struct weighed_metric {
    char name[32], reason[80];
    int layer, head;
    double value;
} weighed_metric;
typedef struct weighed_pair {
    char kind;
    int from_layer, from_head, layer, head;
    double value, random;
} weighed_pair;
typedef struct weighed_neuron {
    char vector[8];
    int layer, token;
    int64_t neuron;
    double probability;
} weighed_neuron;

typedef struct weighed {
    weighed_metric *metric;
    weighed_pair *pair;
    weighed_neuron *neuron;
    int64_t n_metric, n_pair, n_neuron;
} weighed;

void weighed_open(weighed *out, const hs_weights_opts *opts);
void weighed_close(weighed *);
const weighed_metric *weighed_find(const weighed *, const char *name, int layer, int head);
double weighed_at(const weighed *, const char *name, int layer, int head);
const weighed_pair *weighed_pair_of(const weighed *, char kind, int from_layer, int from_head,
                                    int layer, int head);
const weighed_neuron *weighed_neuron_of(const weighed *, int layer, int64_t neuron,
                                        const char *vector);

#endif
