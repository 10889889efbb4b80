// A hook set: who watches or edits what. It compiles into the hs_tap that the engine, or the
// replay of a recorded run, is given. At one point write hooks fire before read hooks, each kind in
// the order of adding.
#ifndef HS_HOOKS_HOOKS_H
#define HS_HOOKS_HOOKS_H

#include "hooks/names.h"

typedef struct hs_hooks hs_hooks;

typedef struct hs_hook {
    const uint64_t *points; // [n_layer + 1] sets of points (hs_points_select); copied
    const hs_heads *heads;  // for map points: the heads whose tiles are wanted; NULL = all; copied
    bool write;             // may change what it is given
    // NULL when no selected point is of that kind. See hs_tap for when and where they are called.
    int (*rows)(void *ctx, const hs_site *site, const hs_view *view);
    int (*tile)(void *ctx, const hs_tile *tile, int worker);
    int (*layer_done)(void *ctx, int layer);
    int (*positions)(void *ctx, int seq, int64_t row0, int64_t n, int32_t *id); // NULL: they stay
    int (*tokens)(void *ctx, int seq, int64_t row0, int64_t n, const int32_t *token);
    int (*block)(void *ctx, int seq, int64_t *from, int64_t *to); // NULL: no rows see each other
    bool sees_later; // `tile` goes by hs_tile_keys; else tiles of rows that see later ones fail
    // Of a write hook: rows of a sequence whose pattern, in these heads of a layer, `tile` must be
    // shown before any of them is used (hs_tap). NULL: none.
    int64_t (*survey)(void *ctx, int layer, int seq);
    const hs_heads *surveyed; // copied
    void *ctx;                // borrowed
} hs_hook;

int hs_hooks_open(hs_hooks **out, const hs_dims *dims) HS_MUST_USE;
void hs_hooks_close(hs_hooks *);
// HS_EARG for a write hook on a point that cannot be written, a missing callback, and a survey by a
// hook that writes no maps.
int hs_hooks_add(hs_hooks *, const hs_hook *hook) HS_MUST_USE;
void hs_hooks_tile_rows(hs_hooks *, int64_t n); // height of tiles; 0 = the engine's choice
// The compiled tap, borrowed; no hooks can be added afterwards (assert). NULL when there are none.
const hs_tap *hs_hooks_tap(hs_hooks *);

#endif
