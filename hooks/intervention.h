// Interventions: edits of a run's activations, as "--do NAME:TARGET,k=v,..." says. One kind is one
// file hooks/iv_NAME.c with one descriptor; the registry comes from the file list.
//
// An edit is stateless while it runs: what it needs of the prompt comes with each call, so that one
// edit serves many sequences of a batch and tiles of different threads at once. Where it needs
// values of unedited runs (a mean, another prompt, the same prompt), it says so when it is opened;
// whoever drives the run provides them (analyses/editing.h).
#ifndef HS_HOOKS_INTERVENTION_H
#define HS_HOOKS_INTERVENTION_H

#include "hooks/hooks.h"
#include "hooks/places.h"
#include "hooks/units.h"
#include "model/core/param.h"

// ---- values of unedited runs --------------------------------------------------------------------

enum hs_ref_from {
    HS_REF_NONE,
    HS_REF_SELF,     // the same prompt, unedited
    HS_REF_BRANCH,   // another version of the prompt, which goes on with what follows the prompt
    HS_REF_WITHOUT,  // that, and as `other` the prompt without the positions of a place
    HS_REF_PROMPT,   // another prompt of this run; name: its id or number, "random", or "pair", the
                     // other half of a pair
    HS_REF_RUN,      // a recorded run; name: its number, or FILE.db:RUN
    HS_REF_MEAN,     // the mean over prompts; name: "prompts" (those of this run), "prompt" (the
                     // prompt itself), a FILE or a data set ("repeat:k=50+n=4")
    HS_REF_CHANNELS, // the model's sink channels, found on prompts of this run; no values
    HS_REF_DOCS, // how heads look at the ranges of a place whose content is taken away; no values
};

// The versions of a prompt that HS_REF_BRANCH knows.
enum hs_version {
    HS_VERSION_WITHOUT,  // without the positions of a place, re-packed
    HS_VERSION_OUTLIERS, // of the place only the k that get most attention are left: from the rows
                         // after it, over the heads of a layer of the prompt's unedited run
    HS_VERSION_SHUFFLED, // the tokens of the place in another order, drawn by seed and prompt
};

// What an edit asks for. Names and masks are borrowed from the edit.
typedef struct hs_ref_need {
    enum hs_ref_from from;
    const char *name;
    const uint64_t *points;  // [n_layer + 1]
    const hs_heads *heads;   // of maps; NULL: all
    bool by_position;        // MEAN: a mean a position; else one over all positions
    uint64_t seed;           // of "random", SHUFFLED
    enum hs_version version; // BRANCH
    int64_t k;               // OUTLIERS; layer too
    int layer;
    bool all_rows; // PROMPT: it must have every row that is edited; else the first will do
    int place; // WITHOUT, BRANCH: the number of the kind's place that it is about; DOCS: its ranges
    int64_t token; // DOCS: what stands in the place; -1: its own tokens, scattered over it
    bool last;     // SELF, WITHOUT: of tensors, the prompt's last row alone is asked for
} hs_ref_need;

// What it is given. Calls may come from several threads at once.
typedef struct hs_ref {
    void *ctx;
    int64_t n_row; // positions held; INT64_MAX for means over all positions
    // Rows row0 .. row0 + n - 1 of a tensor point, f32 [n, width of a row]. HS_ENOTFOUND says what
    // is not held.
    int (*rows)(void *ctx, enum hs_point point, int layer, int64_t row0, int64_t n, float *out);
    // The same of a head's map: row r, n_key numbers, at out + r * ld.
    int (*map)(void *ctx, enum hs_point point, int layer, int head, int64_t row0, int64_t n,
               int64_t n_key, float *out, int64_t ld);
    // WITHOUT: the prompt without the place, re-packed, so that what follows moves up to positions
    // nearer the start. Rows and keys are asked for by positions of the whole prompt: rows that were
    // left out are HS_ENOTFOUND, such keys are masked (-inf, 0). NULL otherwise.
    const struct hs_ref *other;
    // BRANCH: rows of HS_LOGITS alone, by positions of the prompt as it is and of what follows, from
    // the end of the place on. What follows is told before it is asked for, and told anew where it
    // changes.
    int (*tell)(void *ctx, int64_t row0, int64_t n, const int32_t *token);
    const int64_t *channel; // CHANNELS: [n_channel] ascending, at least one
    int64_t n_channel;
    const double
        *look; // DOCS: [n_layer][n_head][ranges], the mean weight of a position of the range
               // in rows of the prompt after the last one
} hs_ref;

// ---- the kinds ----------------------------------------------------------------------------------

enum hs_target {
    HS_TARGET_UNITS,  // "ablate:L5H1+L6G0"
    HS_TARGET_POINTS, // "patch:blocks.{3,4}.attn.hook_z"; heads= narrows points that have heads
    HS_TARGET_WORD,   // "mask:sink_recent"; heads= says where, default all
    HS_TARGET_PLACES, // "boost:doc1+doc2", positions as in pos= but not "all"; heads= as above
};

// What an edit is opened with; all of it lives as long as the edit, and so do the `points` that
// its open fills.
typedef struct hs_edit_setup {
    const hs_dims *dims;
    const hs_units *units;  // UNITS
    const uint64_t *target; // POINTS: [n_layer + 1]
    const char *word;       // WORD
    const hs_heads *heads;  // heads=; UNITS: the heads among the units, groups spread
    const hs_args *args;    // of the descriptor's params
} hs_edit_setup;

// One edit at work on one sequence.
typedef struct hs_edit_at {
    const struct hs_edit *edit;
    int64_t n_token;              // of the prompt; decoded rows follow
    const hs_ref *ref;            // NULL when the edit asked for none
    int worker;                   // of tiles, for scratch
    const struct hs_aimed *aimed; // what hs_edit_row, _place and _scratch look at
} hs_edit_at;

// A parameter of type TEXT that holds positions (hooks/places.h): checked against every prompt
// before a run, and resolved for each.
typedef struct hs_edit_place {
    const char *param;
    bool rows;   // narrows the rows that the edit is about, as pos= does
} hs_edit_place; // a table ends with param NULL
// At most so many; a PLACES target is numbered after them.
enum { HS_EDIT_PLACES = 3, HS_EDIT_TARGET = HS_EDIT_PLACES };

// A parameter that does nothing but for some words of the target, or some values of another
// parameter: given with the rest, it is refused.
typedef struct hs_edit_only {
    const char *param;
    const char *by;    // an ENUM parameter; NULL: the target's word
    const char *words; // "mean|resample"
} hs_edit_only;        // a table ends with param NULL

// hooks/iv_NAME.c defines `const hs_intervention hs_iv_NAME`.
typedef struct hs_intervention {
    const char *name, *title, *about, *reference;
    const char *example; // "ablate:L5H1,mode=mean"
    enum hs_target target;
    unsigned units;              // UNITS: bits 1 << HS_UNIT_*
    const char *choices;         // WORD: "sink_recent|topk"
    const hs_param *params;      // besides those that all have; NULL: none
    const hs_edit_place *places; // those of them that hold positions; NULL: none
    const hs_edit_only *only;    // those of them that not all specs take; NULL: none

    // Sets *state (NULL when it needs none), what it writes (`points`, zeroed [n_layer + 1], points
    // it only looks at before editing included) and what it needs. HS_EARG for parameters that do
    // not fit together.
    int (*open)(void **state, const hs_edit_setup *setup, uint64_t *points, hs_ref_need *need);
    void (*close)(void *state); // NULL: nothing to free
    // Called only for points it named, layers and heads it is aimed at. Rows where hs_edit_row is
    // false are to be left alone, to the bit.
    int (*rows)(void *state, const hs_edit_at *at, const hs_site *site, const hs_view *view);
    int (*tile)(void *state, const hs_edit_at *at, const hs_tile *tile);
    // Before any row of a layer's pattern is edited: all rows of the prompt that the evaluation has,
    // in the same heads and in order of rows, as the edits before it in the list leave them; but what
    // kinds with a survey do there they do only later. To be read only. NULL: none is needed.
    int (*survey)(void *state, const hs_edit_at *at, const hs_tile *tile);

    // Position ids of rows, as hs_tap has them; edits before it in the list may have changed them.
    // The kind names HS_EMBED among its points, since rows are others from there on. NULL: they stay.
    int (*positions)(void *state, const hs_edit_at *at, int64_t row0, int64_t n, int32_t *id);
    // Rows of the prompt that see each other, as hs_tap's block; left alone, none do. Its tiles are
    // those of rows that may see later ones (hs_tile_keys); other kinds fail on them. NULL: none.
    void (*block)(void *state, const hs_edit_at *at, int64_t *from, int64_t *to);

    // HS_BIT of points that the kind only looks at: there it comes after every edit that writes.
    uint64_t looks;
    // What it writes is part of the prompt: among the first edits of a run it acts on what edited
    // runs are compared with, too.
    bool input;
    // Before a run: HS_ERANGE when the edit cannot have effect on this prompt, some row of which it
    // is about. `at` has no reference and no scratch. NULL: it always can.
    int (*check)(void *state, const hs_edit_at *at);
    // The first row of this prompt that it can be about, which pos= and places narrow further:
    // where a span ends. `at` as for check. NULL: 0.
    int64_t (*first)(void *state, const hs_edit_at *at);
    // It must see all rows of its prompts (column sums, keys before a span), whatever rows it edits.
    bool whole;
} hs_intervention;
extern const hs_param hs_edit_params[];                 // pos, prompts: of every kind
extern const hs_param hs_edit_heads_param[];            // heads: of those whose target is not units
extern const hs_intervention *const hs_interventions[]; // ended by NULL
const hs_intervention *hs_intervention_find(const char *name, size_t n); // NULL when there is none

// ---- edits --------------------------------------------------------------------------------------

typedef struct hs_edit hs_edit; // one --do spec, read and checked
int hs_edit_open(hs_edit **out, const hs_dims *, const char *spec) HS_MUST_USE;
void hs_edit_close(hs_edit *);
const hs_intervention *hs_edit_kind(const hs_edit *);
const char *hs_edit_spec(const hs_edit *);       // as given
const uint64_t *hs_edit_points(const hs_edit *); // [n_layer + 1] that it writes
const hs_ref_need *hs_edit_need(const hs_edit *);
// Parameters with defaults as a JSON object, target first.
void hs_edit_json(const hs_edit *, hs_buf *out);

// What a prompt is to an edit: which of its rows the edit is about. HS_ERANGE for a position that
// the prompt does not have (negative ones count from its end), HS_ENOTFOUND for a span without that
// name. pos= takes positions, ranges and spans joined by '+'; prompts= numbers and ids, a prompt
// being meant by either.
typedef struct hs_edit_prompt {
    int64_t ord;
    const char *id;
    int64_t n_token;
    hs_spans own, given; // names that pos= may use: the prompt's, those of --span
} hs_edit_prompt;
int hs_edit_check(const hs_edit *, const hs_edit_prompt *) HS_MUST_USE;
// HS_REF_WITHOUT and BRANCH: which positions of the prompt are in the place, gone[n_token]; none where
// the edit is not about the prompt. Errors as above.
int hs_edit_gone(const hs_edit *, const hs_edit_prompt *, bool *gone) HS_MUST_USE;
// The ranges of a checked prompt that the kind's place i holds; free with hs_places_free.
int hs_edit_ranges(const hs_edit *, const hs_edit_prompt *, int i, hs_places *out) HS_MUST_USE;
// Checks all prompts of a run, and that every number and id of prompts= is one of theirs
// (HS_ENOTFOUND).
int hs_edit_check_all(const hs_edit *, const hs_edit_prompt *prompt, int64_t n) HS_MUST_USE;
// The first row of a checked prompt that a run under the edit begins with: what lies before is as
// without it. The first row that the edit is about; 0 for kinds that must see the whole prompt;
// n_token when the edit is not about this prompt.
int64_t hs_edit_first(const hs_edit *, const hs_edit_prompt *);
// One more than the last of them; 0 when there is none.
int64_t hs_edit_end(const hs_edit *, const hs_edit_prompt *);

// ---- edits of a batch ---------------------------------------------------------------------------

// Which edits act on a sequence: `n` of a list, in order, on this prompt, with one hs_ref each.
typedef struct hs_edit_seq {
    hs_edit *const *edit; // [n]
    const hs_ref *ref;    // [n]; NULL when none of them needs one
    int n;
    hs_edit_prompt prompt;
} hs_edit_seq;

// The write hook of a list of edits. `aim` says which sequences the next evaluation has; edits and
// sequences are borrowed until the next aim.
typedef struct hs_edits hs_edits;
int hs_edits_open(hs_edits **out, const hs_dims *) HS_MUST_USE;
void hs_edits_close(hs_edits *);
// Adds the hook for the points of edits[0 .. n), which are all that may act.
int hs_edits_hook(hs_edits *, hs_hooks *hooks, hs_edit *const *edit, int n) HS_MUST_USE;
int hs_edits_aim(hs_edits *, const hs_edit_seq *seq, int n_seq) HS_MUST_USE;

// ---- for the files iv_*.c -----------------------------------------------------------------------

// Whether the edit is about row `pos` of the sequence (first, pos=, places that narrow rows).
bool hs_edit_row(const hs_edit_at *at, int64_t pos);
// Whether `pos` is among the positions of the kind's place i.
bool hs_edit_in_place(const hs_edit_at *at, int i, int64_t pos);
// The ranges of the kind's place i, or of its target (HS_EDIT_TARGET): in the order given, each
// inside the prompt; none when the spec says "all".
const hs_places *hs_edit_places(const hs_edit_at *at, int i);
// Whether head h of the layer is among the edit's.
bool hs_edit_head(const hs_edit_at *at, int layer, int head);
// Scratch of a worker for this edit, at least n floats (none is set), contents kept between a
// tile's scores and its pattern.
int hs_edit_scratch(const hs_edit_at *at, int64_t n, float **out) HS_MUST_USE;
// Numbers of the edit on this sequence, at least n: unset after each aim, and kept by every evaluation
// until the next. For rows callbacks only.
int hs_edit_own(const hs_edit_at *at, int64_t n, float **out) HS_MUST_USE;
// Numbers that the edit keeps of the sequence: from one call to the next and, as long as each aim
// has the same edits on the same prompt, from one evaluation to the next (of sequences with the same
// prompt, the first of one aim is the first of the next). hs_edit_keep: at least n of them, new ones
// 0, for rows callbacks only. hs_edit_kept: the first n; NULL when there are fewer. Tiles of
// different heads come from several threads at once: each head writes numbers of its own.
int hs_edit_keep(const hs_edit_at *at, int64_t n, double **out) HS_MUST_USE;
double *hs_edit_kept(const hs_edit_at *at, int64_t n);

#endif
