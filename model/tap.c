// The tables of hook points and row statistics, spelled out from the lists in tap.h.
#include "model/tap.h"

const hs_point_info hs_point_infos[HS_N_POINT] = {
#define X(id, name, alias, scope, shape, writable)                                                 \
    [id] = {name, alias, HS_SCOPE_##scope, HS_SHAPE_##shape, writable},
    HS_POINTS(X)
#undef X
};

const hs_stat_info hs_stat_infos[HS_N_STAT] = {
#define X(id, name, unit, about) [HS_STAT_##id] = {name, unit, about},
    HS_STATS(X)
#undef X
};
