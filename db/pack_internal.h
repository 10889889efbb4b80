// Files of named arrays, written in one pass: sizes are known before the first number.
#ifndef HS_DB_PACK_INTERNAL_H
#define HS_DB_PACK_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "model/core/dtype.h"
#include "model/core/err.h"

typedef struct hs_pack_entry {
    const char *name;
    hs_dtype dtype;
    int ndim;
    int64_t shape[4];
} hs_pack_entry;

typedef struct hs_pack hs_pack;
typedef struct hs_pack_format {
    // What precedes all entries.
    int (*begin)(hs_pack *, const hs_pack_entry *entries, size_t n);
    // What precedes and follows the numbers of entry i.
    int (*entry_begin)(hs_pack *, const hs_pack_entry *);
    int (*entry_end)(hs_pack *, const hs_pack_entry *);
    int (*end)(hs_pack *);
} hs_pack_format;
extern const hs_pack_format hs_pack_npz, hs_pack_safetensors;

// Writes beside path; entries lists what will come, in order, and is borrowed.
int hs_pack_open(hs_pack **out, const hs_pack_format *format, const char *path,
                 const hs_pack_entry *entries, size_t n) HS_MUST_USE;
int hs_pack_begin(hs_pack *) HS_MUST_USE;                             // the next entry
int hs_pack_write(hs_pack *, const void *data, size_t n) HS_MUST_USE; // some of its bytes
int hs_pack_end(hs_pack *) HS_MUST_USE;                               // HS_E when some are missing
// Finishes and renames onto path; on failure nothing is left. Frees.
int hs_pack_commit(hs_pack *) HS_MUST_USE;
void hs_pack_abort(hs_pack *); // NULL allowed

int64_t hs_pack_bytes(const hs_pack_entry *); // of the numbers

// ---- for the formats ---------------------------------------------------------------------------

int hs_pack_raw(hs_pack *, const void *data, size_t n) HS_MUST_USE;
int64_t hs_pack_tell(const hs_pack *);
int hs_pack_patch(hs_pack *, int64_t at, const void *data, size_t n) HS_MUST_USE;
// A note of the format for each entry, in order: where it lies, and its checksum.
typedef struct hs_pack_note {
    int64_t at;    // of its header
    int64_t bytes; // of all that it holds
    uint32_t crc;
} hs_pack_note;
hs_pack_note *hs_pack_notes(hs_pack *, const hs_pack_entry **entries, size_t *n);
hs_pack_note *hs_pack_note_of(hs_pack *, const hs_pack_entry *);

#endif
