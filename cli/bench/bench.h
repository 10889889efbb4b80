// What the files of `headscope bench` share: how things are timed, the ceilings that speeds are
// set against, and the two tables that results go to.
#ifndef HS_CLI_BENCH_H
#define HS_CLI_BENCH_H

#include "cli/out.h"
#include "cli/session.h"

// Ceilings of the machine, in units a second; NaN: not measured.
typedef struct hs_ceilings {
    double f32[2], bf16[2];  // flops on one thread, on all
    double read[2], copy[2]; // bytes of memory; a copied byte is read and written
    double disk;             // bytes, written and synced
    double sync, join;       // seconds of one
} hs_ceilings;

typedef struct hs_bench {
    const hs_call *call;
    const hs_model_options *options;
    const char *path;
    bool quick;
    bool alone;     // one stage only: with weights as asked for, not the other way too
    int least;      // repetitions of everything
    int64_t tokens; // of prompts, 0 = the usual lengths
    double load;    // of the machine by others when it began: threads that ran, a minute's mean
    char dir[4096];
    hs_model *model; // NULL until it is open
    hs_bar bar;
    const char *stage; // for the bar: what is measured, how many times of how many
    int64_t done, total;
    hs_ceilings ceiling;
    hs_table *ops, *jobs;
} hs_bench;

// ---- timing -----------------------------------------------------------------------------------

// One repetition. The caller takes the time, unless *seconds is set to what counts of it.
typedef int hs_timed(void *arg, double *seconds);

// Something to time, and the least seconds it took.
typedef struct hs_thing {
    hs_timed *fn;
    void *arg;
    double seconds;
} hs_thing;

// Times n things in turns (A B A B), so that what the machine does meanwhile falls on all of them.
// One step of the bar. HS_ESTOP after Ctrl-C.
int hs_bench_best(hs_bench *b, int n, hs_thing *things) HS_MUST_USE;
int hs_bench_one(hs_bench *b, hs_timed *fn, void *arg, double *seconds) HS_MUST_USE;
int hs_bench_layer_done(void *b, int layer) HS_MUST_USE; // for taps: lets Ctrl-C in
void hs_bench_stage(hs_bench *b, const char *stage, int64_t total);

// n numbers of the backend's type, -0.5 to 0.5, the same every time. Free with free().
int hs_bench_numbers(const hs_bench *b, void *out, int64_t n) HS_MUST_USE;
// Token ids, the same every time.
int hs_bench_tokens(const hs_bench *b, int32_t **out, int64_t n) HS_MUST_USE;

// ---- results ----------------------------------------------------------------------------------

// A line of a table. Zero members are shown as absent.
typedef struct hs_bench_row {
    const char *name, *detail;
    int64_t n; // rows or tokens
    double seconds;
    double rate; // in units of `unit`: "GF/s", "GB/s", "tokens/s"
    const char *unit;
    double share; // of `of`, 1 = all of it
    const char *of;
    double weights; // weights a second
    double cost;    // seconds of it against the same thing unwatched, less 1; see has_cost
    bool has_cost;
} hs_bench_row;

int hs_bench_tables(hs_bench *b) HS_MUST_USE; // opens both
void hs_bench_add(hs_table *t, const hs_bench_row *row);
int hs_bench_put(hs_bench *b, const hs_out_options *out) HS_MUST_USE;

// ---- what is measured -------------------------------------------------------------------------

// Each adds its rows. All but the first two need the model.
typedef int hs_bench_stage_fn(hs_bench *b);
hs_bench_stage_fn hs_bench_load, hs_bench_machine, hs_bench_linear, hs_bench_attention,
    hs_bench_rows, hs_bench_prefill, hs_bench_decode, hs_bench_batch, hs_bench_maps, hs_bench_sweep;

// Seconds of one layer's attention over n rows, without and with row summaries.
int hs_bench_attend(hs_bench *b, int64_t n, double seconds[2]) HS_MUST_USE;
// The lengths of prompts to measure, of `usual` or as asked for, as far as the context goes.
int hs_bench_lengths(const hs_bench *b, int n_usual, const int64_t *usual, int64_t *out);
// Bytes in memory of an [n, k] matrix of weights: of a layer's, or of the LM head.
double hs_bench_bytes(const hs_model *m, bool head, int64_t n, int64_t k);
// All matrices of a model: its weights, and its bytes in memory.
void hs_bench_matrices(const hs_model *m, double *weights, double *bytes);
// The ceiling of products in the precision in use, flops a second, and its name.
double hs_bench_products(const hs_bench *b, const char **name);

// A recording of n tokens into a scratch file, from opening the file to closing it, which is
// removed then. The hs_timed of a hs_bench_recording; `bytes` gets the size of the file.
typedef struct hs_bench_recording {
    hs_bench *b;
    hs_context *context;
    const int32_t *tokens;
    int64_t n;
    const char *maps; // as --maps
    double bytes;
} hs_bench_recording;
hs_timed hs_bench_record;

#endif
