// Edits that put values of other runs in place: what patch and freeze share.
#ifndef HS_HOOKS_COPYING_H
#define HS_HOOKS_COPYING_H

#include "hooks/intervention.h"

// Opens an edit that writes all of its target from a reference: state, points and the need but for
// `from` and `name`. free() the state.
int hs_copying_open(void **state, const hs_edit_setup *setup, uint64_t *points,
                    hs_ref_need *need) HS_MUST_USE;
// The callbacks of such an edit: selected heads of selected rows, as far as the reference goes.
int hs_copying_rows(void *state, const hs_edit_at *at, const hs_site *site, const hs_view *view);
int hs_copying_tile(void *state, const hs_edit_at *at, const hs_tile *tile);

#endif
