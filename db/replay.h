// Replay: feeds a tap from what a run stored, as the engine fed it live, so that observers cannot
// tell the difference. f32 maps give the same bits.
#ifndef HS_DB_REPLAY_H
#define HS_DB_REPLAY_H

#include "db/db.h"
#include "hooks/hooks.h"

// Sizes of the run's model as stored.
int hs_db_dims(hs_db *, int64_t run, hs_dims *out) HS_MUST_USE;
// Delivers every point that the tap reads: the prompt's rows layer by layer in row blocks, then
// decoded rows one by one through all layers; write masks are ignored. A point (or a head's map)
// that the run did not store is HS_ENOTFOUND naming it and the option of `record` that stores it.
// Blobs are checked (length, dtype, crc): HS_EFORMAT.
int hs_db_replay(hs_db *, int64_t prompt, const hs_tap *tap) HS_MUST_USE;

#endif
