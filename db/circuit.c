// Circuits out of the database; see circuit.h.
#include "db/circuit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

enum { MOST_LAYERS = 100000 }; // none has so many: a database may be anybody's

// ---- reading ----------------------------------------------------------------------------------

static int64_t number_or_none(const hs_query *q, const char *column) {
    return hs_query_named(q, column).type == HS_CELL_NULL ? -1 : hs_query_int(q, column);
}

// The node of a name, added when it is new.
static int find_node(hs_circuit *c, const hs_circuit_node *want, int64_t *out) {
    for (*out = 0; *out < c->n_node; ++*out)
        if (strcmp(c->node[*out].name, want->name) == 0) return HS_OK;
    int rc = hs_grow(&c->node, (size_t)c->n_node + 1, sizeof *c->node);
    if (!rc) c->node[c->n_node++] = *want;
    return rc;
}

static const char *kind_of(const char *name) {
    static const struct {
        char letter;
        const char *kind;
    } kinds[] = {{'H', "head"}, {'G', "group"}, {'M', "mlp"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strchr(name, kinds[i].letter)) return kinds[i].kind;
    return strcmp(name, "embed") == 0 ? "embed" : "logits";
}

static hs_circuit_node node_of(const hs_query *q, const char *name, const char *layer,
                               const char *head) {
    hs_circuit_node n = {.layer = number_or_none(q, layer), .index = number_or_none(q, head)};
    hs_query_text(q, name, n.name, sizeof n.name);
    n.kind = kind_of(n.name);
    return n;
}

static bool is_layer(int64_t n) {
    return n >= -1 && n < MOST_LAYERS;
}

static int on_edge(void *ctx, const hs_query *q) {
    hs_circuit *c = ctx;
    const hs_circuit_node from = node_of(q, "from", "from_layer", "from_head");
    const hs_circuit_node to = node_of(q, "to", "to_layer", "to_head");
    int rc = hs_grow(&c->edge, (size_t)c->n_edge + 1, sizeof *c->edge);
    if (!rc && (!is_layer(from.layer) || !is_layer(to.layer)))
        rc = hs_fail(HS_EFORMAT, "an edge from %s to %s: the run is damaged", from.name, to.name);
    if (rc) return rc;
    hs_circuit_edge *e = &c->edge[c->n_edge];
    *e = (hs_circuit_edge){.value = hs_query_num(q, "value")};
    hs_query_text(q, "kind", e->kind, sizeof e->kind);
    rc = find_node(c, &from, &e->from);
    if (!rc) rc = find_node(c, &to, &e->to);
    c->n_edge += !rc;
    c->pairs = hs_query_int(q, "pairs");
    c->group = hs_query_int(q, "heads_of_group");
    if (c->group < 1) c->group = 1;
    c->clean = hs_query_num(q, "clean");
    c->corrupt = hs_query_num(q, "corrupt");
    hs_query_text(q, "metric", c->metric, sizeof c->metric);
    return rc;
}

// ---- order ------------------------------------------------------------------------------------

static int height(const hs_circuit_node *n) {
    static const char *const kinds[] = {"embed", "group", "head", "mlp", "logits"};
    int i = 0;
    while (strcmp(kinds[i], n->kind) != 0) i++;
    return i;
}

static int upwards(const void *a, const void *b) {
    const hs_circuit_node *x = a, *y = b;
    const bool x_out = height(x) == 4, y_out = height(y) == 4;
    if (x_out != y_out) return x_out ? 1 : -1;
    if (x->layer != y->layer) return x->layer < y->layer ? -1 : 1;
    if (height(x) != height(y)) return height(x) < height(y) ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static int sort_nodes(hs_circuit *c) {
    hs_circuit_node *old;
    int64_t *now = NULL;
    int rc = hs_alloc(&old, (size_t)c->n_node, sizeof *old);
    if (rc) return rc;
    rc = hs_alloc(&now, (size_t)c->n_node, sizeof *now);
    if (!rc && c->n_node) {
        memcpy(old, c->node, (size_t)c->n_node * sizeof *old);
        qsort(c->node, (size_t)c->n_node, sizeof *c->node, upwards);
        for (int64_t i = 0; i < c->n_node && !rc; i++) rc = find_node(c, &old[i], &now[i]);
        for (int64_t i = 0; i < c->n_edge; i++) {
            c->edge[i].from = now[c->edge[i].from];
            c->edge[i].to = now[c->edge[i].to];
        }
    }
    free(old);
    free(now);
    return rc;
}

int hs_circuit_open(hs_circuit *c, hs_db *db, int64_t run, const char *prompt, int64_t top,
                    double threshold) {
    char texts[2][48];
    const char *const params[] = {texts[0], texts[1]};
    const hs_query_opts opts = {.run = run, .prompt = prompt, .param = params, .n_param = 2};
    *c = (hs_circuit){.clean = NAN, .corrupt = NAN, .group = 1};
    snprintf(texts[0], sizeof texts[0], "top=%lld", (long long)top);
    snprintf(texts[1], sizeof texts[1], "threshold=%.17g", threshold);
    int rc = hs_query_each(db, "circuit", &opts, on_edge, c);
    if (!rc && !c->n_edge)
        rc = hs_fail(HS_ENOTFOUND,
                     "no edge of run %lld has a score beyond %g: give a lower "
                     "threshold",
                     (long long)run, threshold);
    return rc ? rc : sort_nodes(c);
}

void hs_circuit_close(hs_circuit *c) {
    free(c->node);
    free(c->edge);
    *c = (hs_circuit){0};
}

// ---- as JSON ----------------------------------------------------------------------------------

void hs_circuit_json(hs_jw *j, const hs_circuit *c) {
    hs_jw_key_str(j, "metric", c->metric);
    hs_jw_key_num(j, "clean", c->clean);
    hs_jw_key_num(j, "corrupt", c->corrupt);
    hs_jw_key_int(j, "n", c->pairs);
    hs_jw_key(j, "nodes");
    hs_jw_begin(j, '[');
    for (int64_t i = 0; i < c->n_node; i++) {
        const hs_circuit_node *n = &c->node[i];
        hs_jw_begin(j, '{');
        hs_jw_key_str(j, "name", n->name);
        hs_jw_key_str(j, "kind", n->kind);
        if (n->layer >= 0) hs_jw_key_int(j, "layer", n->layer);
        if (n->index >= 0) hs_jw_key_int(j, strcmp(n->kind, "group") ? "head" : "group", n->index);
        hs_jw_end(j, '}');
    }
    hs_jw_end(j, ']');
    hs_jw_key(j, "edges");
    hs_jw_begin(j, '[');
    for (int64_t i = 0; i < c->n_edge; i++) {
        const hs_circuit_edge *e = &c->edge[i];
        hs_jw_begin(j, '{');
        hs_jw_key_str(j, "from", c->node[e->from].name);
        hs_jw_key_str(j, "to", c->node[e->to].name);
        hs_jw_key_str(j, "kind", e->kind);
        hs_jw_key_num(j, "value", e->value);
        hs_jw_end(j, '}');
    }
    hs_jw_end(j, ']');
}
