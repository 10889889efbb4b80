// A circuit: the largest edges that patch --edges found, read back from the database, and the nodes
// that they join. What is printed as JSON and drawn.
#ifndef HS_DB_CIRCUIT_H
#define HS_DB_CIRCUIT_H

#include "db/query.h"
#include "model/core/json.h"

enum { HS_CIRCUIT_NAME = 32 };

typedef struct hs_circuit_node {
    char name[HS_CIRCUIT_NAME]; // embed, L5H1, L5G0 (keys and values of a group), L5M, logits
    const char *kind;           // "embed", "head", "group", "mlp", "logits"
    int64_t layer, index;       // -1 where there is none
} hs_circuit_node;
typedef struct hs_circuit_edge {
    int64_t from, to; // of nodes
    char kind[8];     // q, k, v, mlp, logits
    double value;
} hs_circuit_edge;
typedef struct hs_circuit {
    hs_circuit_node *node; // owned; from the embedding to the logits
    hs_circuit_edge *edge; // owned; the largest first
    int64_t n_node, n_edge, pairs;
    int64_t group; // query heads that share keys and values
    double clean, corrupt;
    char metric[16];
} hs_circuit;

// The edges of a run (of one prompt; NULL: means over all): `top` of them, 0: all, with |score|
// above the threshold. HS_ENOTFOUND when there are none. Close in any state.
int hs_circuit_open(hs_circuit *out, hs_db *db, int64_t run, const char *prompt, int64_t top,
                    double threshold) HS_MUST_USE;
void hs_circuit_close(hs_circuit *);
// Adds "metric", "clean", "corrupt", "n" (pairs), "nodes": [{"name", "kind", "layer", "head"}] and
// "edges": [{"from", "to", "kind", "value"}] to the object that is open.
void hs_circuit_json(hs_jw *j, const hs_circuit *c);

#endif
