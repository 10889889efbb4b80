// Everything a context says during its evaluations, kept for comparison.
#ifndef HS_TESTS_LIB_CAPTURE_H
#define HS_TESTS_LIB_CAPTURE_H

#include <pthread.h>

#include "model/context.h"

enum { CAP_SEQS = 8, CAP_LAYERS = 8, CAP_HEADS = 64 };

// One tensor of one sequence: rows at their absolute positions. Maps are [n_head][t_max][t_max]
// (masked entries 0), row statistics [n_head][HS_N_STAT][t_max].
typedef struct cap_tensor {
    float *data; // NULL: never fired
    int64_t width;
} cap_tensor;

typedef struct cap {
    const hs_config *cfg;
    int64_t t_max;
    int64_t n_fired;
    cap_tensor at[CAP_SEQS][CAP_LAYERS + 1][HS_N_POINT]; // layer n_layer: the model's own
    uint64_t read[CAP_LAYERS + 1], write[CAP_LAYERS + 1];
    uint8_t tiles[CAP_LAYERS * CAP_HEADS];
    int layers_done[CAP_LAYERS];
    int n_done;
    hs_tap tap;
    pthread_mutex_t lock; // tiles of different heads come from different threads
} cap;

// Watches every point; change cap->read, cap->tiles and cap->tap before an evaluation as needed.
void cap_open(cap *c, const hs_model *m, int64_t t_max);
void cap_close(cap *c);

// Rows [from, to) of every tensor that both hold are equal to the bit (sequence sa of a, sb of b);
// fails when a point of `points` is in one only.
void cap_same(const cap *a, int sa, const cap *b, int sb, int64_t from, int64_t to,
              uint64_t points);

#endif
