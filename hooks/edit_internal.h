// What reading an edit (intervention.c) and applying it (edits.c) share.
#ifndef HS_HOOKS_EDIT_INTERNAL_H
#define HS_HOOKS_EDIT_INTERNAL_H

#include "hooks/intervention.h"

enum { PLACES = 2 + HS_EDIT_PLACES }; // pos=, those of the kind, the target

struct hs_edit {
    const hs_intervention *kind;
    hs_dims dims;
    char *spec;
    hs_buf target;             // as written
    hs_param *params;          // the kind's, then those of every kind; args and JSON go by it
    hs_args args;              //
    hs_units units;            // UNITS
    uint64_t *aim;             // POINTS, [n_layer + 1]
    hs_heads heads;            //
    uint64_t *points;          // [n_layer + 1], what it writes
    hs_ref_need need;          //
    void *state;               // the kind's
    bool opened;               // state is there
    const char *place[PLACES]; // texts of its places; NULL: there is none of that number
    bool place_rows[PLACES];
};

// An edit's places in one prompt. Zero-initialise; resolved again it keeps its memory.
typedef struct hs_edit_where {
    bool about; // prompts= means this prompt; places are resolved only then
    hs_places place[PLACES];
    const bool *rows; // [PLACES], the edit's: which of them narrow rows
    int64_t from;     // no row before it
} hs_edit_where;
int hs_edit_where_resolve(hs_edit_where *out, const hs_edit *, const hs_edit_prompt *) HS_MUST_USE;
void hs_edit_where_free(hs_edit_where *);
bool hs_edit_where_row(const hs_edit_where *, int64_t pos);

// One edit aimed at one sequence.
struct hs_aimed {
    hs_edits *edits;
    const hs_edit_seq *seq; // borrowed until the next aim
    int index;              // in its list
    hs_edit_where where;
    struct hs_edit_kept *kept; // NULL: nothing yet
    float *own;                // [n_own]
    int64_t n_own;
};

#endif
