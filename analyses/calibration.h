// Calibrations: ways to repair attention without training, as `calibrate` selects and proves them. A
// method is one file in analyses/calibrations/ with one descriptor: what its edits look like as --do
// specs, at which strengths, and which heads it may choose among. The edits themselves are
// interventions (hooks/iv_NAME.c); the search and the proof are the same for all methods.
#ifndef HS_ANALYSES_CALIBRATION_H
#define HS_ANALYSES_CALIBRATION_H

#include "analyses/quiz.h"

enum hs_calibration_by {
    HS_CALIBRATE_HEADS, // chosen one by one
    HS_CALIBRATE_ALL,   // the method has no choice of heads: strengths alone are tried
};

enum { HS_CALIBRATION_SPECS = 2, HS_CALIBRATION_STRENGTHS = 16 };

// What a method may look at before heads are chosen: the calibration part, unedited.
typedef struct hs_calibration_job {
    const hs_model *model;
    const hs_prompts *prompts;
    const int64_t *ord; // [n] of the calibration part
    int64_t n;
    const hs_args *args;         // of the method
    const hs_progress *progress; // NULL allowed
} hs_calibration_job;

typedef struct hs_calibration {
    const char *name, *title, *about, *reference;
    // Specs as --do takes them, ended by NULL. {k} stands for parameter k, and @ for the heads; a
    // part between commas whose parameter is empty is left out, and a spec with @ when it has no
    // heads. Spec i is of the heads of group i.
    const char *const *specs;
    // All are TEXT: the values are checked when the specs are opened.
    const hs_param *params;
    // Parameters that say how strong it is, "t" or "sharp+flat": each a list "0.2+0.4" of values, one
    // a strength; where there are several parameters, their values go together.
    const char *strength;
    const char *span; // the parameter that names positions of the prompts; NULL: it needs none
    enum hs_calibration_by by;
    // Layers whose heads may be chosen when the user does not say: from the first one on, all but the
    // last ones.
    int first_layer, but_last;
    const char *usual; // the set where --on is not given
    // Parameters that follow from the model's sizes, appended as "k=v", each ended by 0. NULL: none do.
    void (*settle)(const hs_dims *dims, const hs_args *args, hs_buf *found);
    // Measures what the specs need: group[n_layer * n_head], 0 before, the spec that a head is for, -1
    // for none; and parameters that are found rather than given, appended as "k=v", each ended by 0.
    // NULL: nothing is.
    int (*prepare)(const hs_calibration_job *job, int *group, hs_buf *found);
} hs_calibration;
extern const hs_calibration
    *const hs_calibrations[]; // the registry that make writes; ended by NULL
// "act" or "act:k=v,..."; HS_ENOTFOUND lists the known names.
int hs_calibration_find(const hs_calibration **out, const char *spec) HS_MUST_USE;

// A method with its parameters. Close in any state, zero included.
typedef struct hs_calibrate {
    const hs_calibration *method;
    hs_args args;
    hs_buf
        found; // of settle and prepare: "k=v" texts, each ended by 0, in the place of what args say
    int n_strength;
    char *strength[HS_CALIBRATION_STRENGTHS]; // "t=0.8", as it is told and stored
} hs_calibrate;
// HS_EARG for parameters that the method does not have, strengths given twice, and lists of different
// lengths.
int hs_calibrate_open(hs_calibrate *out, const char *spec) HS_MUST_USE;
void hs_calibrate_close(hs_calibrate *);

// Appends the specs of one strength with these heads ("on" of them), each ended by 0, and counts
// them. heads is ignored by methods that choose none; group NULL: all heads are of group 0.
int hs_calibrate_specs(const hs_calibrate *, int strength, const hs_heads *heads, const int *group,
                       hs_buf *out, int *n) HS_MUST_USE;
// Heads as --do takes them, "L2H1+L5H0-3".
void hs_calibrate_heads(hs_buf *out, const hs_heads *heads);

#endif
