// Runs without a model: a made-up engine feeds a tap with numbers that depend only on the seed, the
// point and the position, in the order and with the calls of the real one.
#ifndef HS_TESTS_DBRUN_H
#define HS_TESTS_DBRUN_H

#include "analyses/observer.h"
#include "db/db.h"
#include "db/record_internal.h"

extern const hs_dims dbrun_dims; // 2 layers, 3 heads on 1 key-value head

// Rows [row0, row0 + n) through all layers. block, tile: heights; threads: heads of a layer go to
// as many threads at once.
typedef struct dbrun_shape {
    int64_t block, tile;
    int threads;
} dbrun_shape;
int dbrun_eval(const hs_tap *tap, uint64_t seed, int64_t row0, int64_t n, dbrun_shape shape);
// The weight of a map, its score (-inf for a key that the query does not see), and a number of an activation.
float dbrun_weight(uint64_t seed, int layer, int head, int64_t query, int64_t key);
float dbrun_score(uint64_t seed, int layer, int head, int64_t query, int64_t key);
float dbrun_act(uint64_t seed, enum hs_point point, int layer, int64_t row, int64_t k);
void dbrun_stats(uint64_t seed, int layer, int head, int64_t row, float stats[HS_N_STAT]);

// What to record.
typedef struct dbrun {
    int n_prompt;
    int64_t n_token, n_decode; // of every prompt; prompt k has k tokens more
    const char *maps, *acts;   // selections; NULL = none
    enum hs_store store;
    const char *observe; // NULL = none
    dbrun_shape shape;
    bool resume;
    int threads;    // as the model tells them, 0 = 1
    int stop_after; // prompts after which the run is left 'interrupted'; 0 = none
} dbrun;
// Records into path. rc of the recorder; the run's number in *run (NULL allowed).
int dbrun_record(const char *path, const dbrun *what, int64_t *run);
hs_run_info dbrun_info(void);
hs_model_facts dbrun_facts(void);

// The first difference between two databases as text in out ("" when none), columns that may differ
// left out.
void dbrun_diff(const char *a, const char *b, char *out, size_t n);
// "ok" or what integrity_check and foreign_key_check say.
void dbrun_integrity(const char *path, char *out, size_t n);

// A path for a scratch database, and its removal with everything beside it.
void dbrun_path(char *out, size_t n, const char *name);
void dbrun_remove(const char *path);

#endif
