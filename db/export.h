// Exports of a run: npz (zip of .npy) and safetensors, streamed; names as in design: pN/HOOK.
#ifndef HS_DB_EXPORT_H
#define HS_DB_EXPORT_H

#include "db/db.h"
#include "model/core/progress.h"

enum hs_export_what {
    HS_EXPORT_MAPS = 1, // the pattern
    HS_EXPORT_ACTS = 2, // attention scores included
    HS_EXPORT_STATS = 4,
    HS_EXPORT_TOKENS = 8,
    HS_EXPORT_ALL = 15
};

// Writes run (one prompt row, or all when prompt is 0) to path, whose ending chooses the format
// (.npz, .safetensors; HS_EARG otherwise). Written beside and renamed. f16 and u8 blobs come out as
// f32. A map entry [H,T,T] is written when all its heads are stored; else each stored head alone
// as .../hook_pattern.hN [T,T]. Above the diagonal the pattern has 0 and hook_attn_scores -inf.
int hs_db_export(hs_db *, int64_t run, int64_t prompt, unsigned what, const char *path,
                 const hs_progress *progress) HS_MUST_USE;

#endif
