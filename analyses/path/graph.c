// The numbers of senders and receivers; see experiments/edges.h.
#include "analyses/experiments/edges.h"

static int64_t senders_of_layer(const hs_dims *d) {
    return d->n_head + 1;
}

static int64_t receivers_of_layer(const hs_dims *d) {
    return d->n_head + 2 * d->n_kv_head + 1;
}

int64_t hs_edge_senders(const hs_dims *d) {
    return 1 + d->n_layer * senders_of_layer(d);
}

int64_t hs_edge_receivers(const hs_dims *d) {
    return d->n_layer * receivers_of_layer(d) + 1;
}

hs_node hs_edge_sender(const hs_dims *d, int64_t i) {
    const int64_t layer = (i - 1) / senders_of_layer(d), at = (i - 1) % senders_of_layer(d);
    if (!i) return (hs_node){HS_NODE_EMBED, -1, -1};
    if (at == d->n_head) return (hs_node){HS_NODE_MLP, (int)layer, -1};
    return (hs_node){HS_NODE_HEAD, (int)layer, (int)at};
}

hs_node hs_edge_receiver(const hs_dims *d, int64_t i) {
    const int layer = (int)(i / receivers_of_layer(d));
    int at = (int)(i % receivers_of_layer(d));
    if (layer == d->n_layer) return (hs_node){HS_NODE_LOGITS, -1, -1};
    if (at < d->n_head) return (hs_node){HS_NODE_Q, layer, at};
    if ((at -= d->n_head) < d->n_kv_head) return (hs_node){HS_NODE_K, layer, at};
    if ((at -= d->n_kv_head) < d->n_kv_head) return (hs_node){HS_NODE_V, layer, at};
    return (hs_node){HS_NODE_MLP, layer, -1};
}

int64_t hs_edge_before(const hs_dims *d, const hs_node *r) {
    if (r->kind == HS_NODE_LOGITS) return hs_edge_senders(d);
    return 1 + r->layer * senders_of_layer(d) + (r->kind == HS_NODE_MLP ? d->n_head : 0);
}
