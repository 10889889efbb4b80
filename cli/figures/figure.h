// The kinds of figures that `heatmap` draws. A kind is one file figure_NAME.c with one descriptor;
// make writes the registry. What kinds share (the run, texts, metadata, maps) is in figure.c.
#ifndef HS_CLI_FIGURE_H
#define HS_CLI_FIGURE_H

#include "cli/reader.h"
#include "db/map.h"
#include "db/replay.h"
#include "model/core/mem.h"
#include "viz/fig.h"

// The command's options that say what is drawn; NULL, false, 0: not given.
typedef struct hs_figure_options {
    const char *head, *layer, *grid, *over_layers, *over_positions, *bar, *overlap;
    bool all, circuit, patch, strip, prune, masking, streaming, lens, diff, moved;
    const char *from, *to, *rows, *cols, *mark, *title;
    int pool;  // enum hs_pool_by
    int value; // of lenses: prob, rank, kl
    int64_t top;
    double threshold;
} hs_figure_options;

enum { HS_FIGURE_META = 12 };

// One figure under way. Texts and numbers that the figure borrows live in the arena.
typedef struct hs_job {
    const hs_figure_options *opt;
    hs_fig_style style;
    hs_source r, after; // after: the second run, of figures of two
    hs_dims dims;
    hs_arena *arena;
    hs_labels labels; // once hs_job_prompt has read them
    int64_t prompt;   // row id of the one prompt
    char run[24], model[128], prompt_name[128];
    const char *sweep; // "zero, estimated by gradients"; NULL: the run is none
    const char *swept; // what it edited: "heads"
    const char *title, *subtitle;
    const char *meta[2 * HS_FIGURE_META + 1]; // key, value, ..., NULL
    int n_meta;
} hs_job;

typedef struct hs_figure {
    const char *name, *title; // title: one line
    const char *option;       // the long option that chooses it
    const char *takes;        // the other ones it understands: " head layer from "
    const char *example;      // as a user would write it, after the program's name
    bool two;                 // sets two runs side by side
    int (*draw)(hs_job *, hs_fig **out);
} hs_figure;
extern const hs_figure *const hs_figures[]; // ended by NULL

// ---- what kinds share -----------------------------------------------------------------------

// printf into the arena.
int hs_job_text(hs_job *, const char **out, const char *fmt, ...) HS_PRINTF(3, 4) HS_MUST_USE;
// A pair for the picture's metadata; the value is copied.
int hs_job_say(hs_job *, const char *key, const char *value) HS_MUST_USE;
// The title, unless the user gave one, and under it model, run (of a sweep: what it did), prompt and
// `more` (NULL: none).
int hs_job_caption(hs_job *, const char *more, const char *fmt, ...) HS_PRINTF(3, 4) HS_MUST_USE;
// For figures of one prompt, before the caption: finds it (the first unless one was given) and
// reads its tokens.
int hs_job_prompt(hs_job *) HS_MUST_USE;
// Labels of positions 0 to n - 1 for axes, NULL when the run has not so many. A token that is a
// part of a character shows it, as "灯 1/3".
int hs_job_labels(hs_job *, int64_t n, const char *const **out) HS_MUST_USE;
// The bytes of the tokens; their ids where the run has no text. HS_EFORMAT when some are missing.
int hs_job_bytes(hs_job *, int64_t n, const char *const **out) HS_MUST_USE;
// Which run comes after, and what was done in both, for the caption; and into the metadata.
int hs_job_two(hs_job *, const char **out) HS_MUST_USE;
// The heads of --head (a selection), else of --layer, else all.
int hs_job_heads(hs_job *, hs_heads *out) HS_MUST_USE;
enum hs_pool_by hs_job_pool(const hs_job *);
// The positions that --mark names, of the prompt and the heads, among 0 to n - 1, and what they are;
// NULL without the option.
int hs_job_marks(hs_job *, const hs_heads *, int64_t n, const bool **out,
                 const char **name) HS_MUST_USE;
// "L5H1", or which heads the mean is over; count of them.
int hs_job_name_heads(hs_job *, int64_t count, const char **out) HS_MUST_USE;
// The number of --layer.
int hs_job_layer(const hs_job *, int *out) HS_MUST_USE;

// Stored maps as a figure reads them: map m is the m-th selected head; rows and columns are those of
// --rows and --cols. One map is open at a time.
typedef struct hs_maps {
    hs_job *job;
    const hs_heads *heads; // borrowed
    int *at;               // [n] layer * n_head + head of map m
    int64_t n, n_row, n_key;
    int64_t q0, n_q, k0, n_k; // the part that is drawn
    hs_map_rows *map;         // map `open`
    int64_t open;
    float *row; // a whole one
} hs_maps;

// HS_ENOTFOUND says how to record them when the first is not there; maps of other sizes than the
// first are HS_EFORMAT.
int hs_maps_open(hs_maps *, hs_job *, const hs_heads *) HS_MUST_USE;
void hs_maps_close(hs_maps *);                                 // zeroed allowed
int hs_maps_row(void *maps, int64_t m, int64_t i, float *out); // an hs_fig_rows

// Draws the maps of several heads as small multiples: `p` says how they are arranged, the rest is
// filled in; without row titles each has its name. Sets the title only where it has none.
int hs_job_panels(hs_job *, const hs_heads *, hs_fig_panels p, hs_fig **out) HS_MUST_USE;

// ---- numbers by layer and head --------------------------------------------------------------

// A metric of the run, the mean over rows of a row summary (entropy, max, lse, ...), or
// TABLE.COLUMN of an observer's results (of several rows of a head, the largest counts); the mean
// over the prompts, or of the one that was given.
typedef struct hs_values {
    double *at; // [n_layer][n_head], NaN where there is none
    int n_layer, n_head;
    bool layers; // one number a layer: n_head is 1
    bool diverging;
    const char *unit, *about; // "" when unknown
    const char *label;        // name and unit
} hs_values;
int hs_values_read(hs_values *, hs_job *, const char *name) HS_MUST_USE;

#endif
