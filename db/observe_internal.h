// The parts of observing a recorded run: observe.c replays it, observe_spans.c reads names.
#ifndef HS_DB_OBSERVE_INTERNAL_H
#define HS_DB_OBSERVE_INTERNAL_H

#include "analyses/observer.h"
#include "db/apply_internal.h"
#include "model/core/mem.h"

// Fills subject->own and ->given with names of positions of a prompt, made in the arena; n_token is
// there.
int hs_observed_spans(hs_db *, int64_t prompt, hs_arena *arena, hs_subject *subject) HS_MUST_USE;

#endif
