// An observer watches one prompt of one run and writes what it found. It is one file in
// analyses/observers/ with one descriptor; the same code runs on live tiles and on tiles replayed
// from the database, with results equal to the bit whatever the tile height (sums run row by row).
#ifndef HS_ANALYSES_OBSERVER_H
#define HS_ANALYSES_OBSERVER_H

#include "hooks/hooks.h"
#include "hooks/places.h"
#include "model/core/param.h"

// What an observer may look at besides the stream.
typedef struct hs_subject {
    hs_dims dims;
    const int32_t *tokens; // [n_token], those of the prompt; decode rows come after
    int64_t n_token;
    int bos_len;           // 0 or 1
    int64_t period;        // of a repeated-token prompt, 0 = unknown (observers that need
                           // repeats then find them in the tokens)
    const hs_model *model; // for weights; NULL offline without a model
    int64_t n_row;         // positions under observation: the prompt and what may be decoded after
                           // it; 0 = n_token (observers see it filled in). Later rows are not shown
    int seq;               // the prompt's sequence in its batch; others are not shown
    hs_spans own, given;   // names of positions: the prompt's, those of --span
} hs_subject;

typedef struct hs_value {
    enum { HS_VAL_NULL, HS_VAL_INT, HS_VAL_NUM, HS_VAL_TEXT } type;
    int64_t i;
    double f;
    const char *s;
} hs_value;
// A number; NaN becomes NULL.
static inline hs_value hs_value_num(double v) {
    return (hs_value){.type = v == v ? HS_VAL_NUM : HS_VAL_NULL, .f = v};
}

// Where results go. Each call copies. value NaN = undefined: stored as NULL with `reason`
// (required then, else NULL).
typedef struct hs_emit {
    void *ctx;
    // One number a (layer, head); names come from the descriptor's metrics.
    int (*metric)(void *ctx, int layer, int head, const char *name, double value,
                  const char *reason);
    // A vector over positions (or what `about` says); head -1 when it belongs to the layer.
    int (*series)(void *ctx, int layer, int head, const char *name, const double *v, int64_t n);
    // One row of a table of the descriptor: one value a column, in order.
    int (*row)(void *ctx, const char *table, const hs_value *values);
} hs_emit;

// Names with units and meaning; tables end with name NULL. From these come the database's column
// documentation, `list` and --help.
typedef struct hs_column {
    const char *name, *type /* INTEGER, REAL, TEXT */, *unit, *about;
} hs_column;
typedef struct hs_metric {
    const char *name, *unit, *about;
    enum { HS_SEQUENTIAL, HS_DIVERGING } scale; // how a grid is coloured
} hs_metric;
typedef struct hs_result_table {
    const char *name; // the SQL table is NAME_OF_OBSERVER "_" name
    const hs_column *columns;
    int n_key; // the first n_key columns are its key within a prompt
    const char *about;
} hs_result_table;

// observers/NAME.c defines `const hs_observer hs_observer_NAME`.
typedef struct hs_observer {
    const char *name, *title, *about, *reference;
    const hs_param *params;            // NULL: none
    uint64_t points;                   // HS_BIT of the points it must see, in every layer
    bool weights;                      // uses subject->model; without one, the results that need
                                       // weights are undefined with that reason
    const hs_metric *metrics, *series; // series share the struct; NULL: none
    const hs_result_table *tables;
    bool always; // runs in every recording without being named

    // State for one prompt, O(T) a head at most. subject and args outlive it.
    int (*open)(void **state, const hs_subject *subject, const hs_args *args);
    // Tensor points and row summaries, f32, on the driving thread, a layer's rows in order from 0.
    // NULL when none of the points is of that kind; so for tile.
    int (*rows)(void *state, const hs_site *site, const hs_view *view);
    // Tiles of maps: cells on different threads, one cell's rows in order from 0.
    int (*tile)(void *state, const hs_tile *tile);
    // Writes everything, in a fixed order. Fewer than n_row rows may have come.
    int (*finish)(void *state, const hs_emit *emit);
    void (*close)(void *state); // also after a failed open that has set its state
} hs_observer;

// The registry that make writes from analyses/observers/*.c; ended by NULL.
extern const hs_observer *const hs_observers[];

// A list of observers with their parameters, from --observe specs ("sinks", "massive:thr=50",
// "sinks,echo"); those with `always` come first. HS_ENOTFOUND lists the known names.
typedef struct hs_observe_item {
    const hs_observer *observer;
    hs_args args;
} hs_observe_item;
typedef struct hs_observe_list {
    hs_observe_item *item; // owned
    int n;
} hs_observe_list;
int hs_observe_parse(hs_observe_list *out, const char *const *specs, int n_spec,
                     bool with_always) HS_MUST_USE;
void hs_observe_free(hs_observe_list *);
// Points that the list needs, [n_layer + 1] masks or-ed into `mask`.
void hs_observe_points(const hs_observe_list *, const hs_dims *, uint64_t *mask);

// One prompt under observation: open, add to a hook set, run or replay, finish, close. The list
// and the subject's tokens are borrowed until then.
typedef struct hs_observation hs_observation;
int hs_observation_open(hs_observation **out, const hs_observe_list *list,
                        const hs_subject *subject) HS_MUST_USE;
int hs_observation_hook(hs_observation *, hs_hooks *hooks) HS_MUST_USE;
// Lets item i write its results; emit is told apart by item (an analysis run each).
int hs_observation_finish(hs_observation *, int i, const hs_emit *emit) HS_MUST_USE;
void hs_observation_close(hs_observation *);

#endif
