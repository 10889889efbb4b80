// Exports of a run to files for other tools. A format is one file export_NAME.c with one descriptor;
// the table in export.c lists them.
#ifndef HS_DB_EXPORT_H
#define HS_DB_EXPORT_H

#include "db/db.h"
#include "model/core/progress.h"

enum hs_export_what {
    HS_EXPORT_MAPS = 1, // the pattern
    HS_EXPORT_ACTS = 2, // attention scores included
    HS_EXPORT_STATS = 4,
    HS_EXPORT_TOKENS = 8,
    HS_EXPORT_HEADS = 16, // metrics, one number a head
    HS_EXPORT_EDGES = 32, // the circuit that patch --edges found
};

typedef struct hs_export hs_export; // an export under way (export_internal.h)

typedef struct hs_export_format {
    const char *name, *ending, *title;
    unsigned what, fallback; // what it can hold, and what it holds when nothing is asked for
    bool one_table;          // of all that, one thing a file
    bool one_prompt;         // holds a single prompt: the first one when none is given
    bool by_head;            // heads can be chosen
    int (*write)(hs_export *);
} hs_export_format;
extern const hs_export_format *const hs_export_formats[]; // ended by NULL

// The format of a name, or (NULL) of a path's ending. HS_EARG lists them.
int hs_export_find(const hs_export_format **out, const char *name, const char *path) HS_MUST_USE;
// "maps,acts" or "all" (NULL: the format's own choice) as bits. HS_EARG says what the format holds.
int hs_export_parse(const hs_export_format *format, const char *text, unsigned *out) HS_MUST_USE;

typedef struct hs_export_opts {
    int64_t run;       // row id
    int64_t prompt;    // row id; 0: all of them, or the first where there is room for one
    unsigned what;     // bits; 0: the format's own choice
    const char *heads; // a selection as in hs_heads_parse; NULL: all
    int64_t top;       // edges: so many, the largest; 0: all
    double threshold;  // edges: those whose score is farther from 0
} hs_export_opts;
typedef struct hs_export_result {
    int64_t bytes;   // length of the file; 0 when it is no regular one
    int64_t prompts; // of the run that were left out for want of room
} hs_export_result;

// Writes a run to path, beside and renamed. Numbers are those stored: f16 and u8 blobs come out as
// f32, and text reads back to the same number. HS_ENOTFOUND when nothing of that was stored; the
// message says how to record it. result: NULL allowed.
//
// Arrays (npz, safetensors) are called pN/HOOK. A map entry [H,T,T] is written when all its heads
// are stored; else each stored head alone as .../hook_pattern.hN [T,T]. Above the diagonal the
// pattern has 0 and hook_attn_scores -inf.
int hs_db_export(hs_db *, const hs_export_format *format, const hs_export_opts *opts,
                 const char *path, hs_export_result *result,
                 const hs_progress *progress) HS_MUST_USE;

#endif
