// What the formats of an export share: the job, its prompts and maps, and text that streams.
#ifndef HS_DB_EXPORT_INTERNAL_H
#define HS_DB_EXPORT_INTERNAL_H

#include "db/export.h"
#include "db/reader_internal.h"
#include "hooks/names.h"
#include "model/core/json.h"
#include "model/core/outfile.h"

extern const hs_export_format hs_export_npz, hs_export_safetensors, hs_export_csv, hs_export_json,
    hs_export_bertviz, hs_export_circuitsvis, hs_export_circuit;

struct hs_export {
    hs_db *db;
    const hs_export_format *format;
    hs_export_opts opts; // what is never 0
    hs_dims dims;
    hs_heads heads; // chosen
    const char *path;
    int64_t done, total; // steps: prompts, and layers of what goes by layers
    int64_t n_row;       // numbers and rows written; 0 at the end: there was nothing
    const hs_progress *progress;
};

typedef struct hs_export_prompt {
    int64_t id, ord;
    const char *label, *text; // until the next one; text may be NULL
} hs_export_prompt;

// Calls fn for every prompt of the job, in order; each is a step.
int hs_export_prompts(hs_export *, int (*fn)(void *ctx, const hs_export_prompt *),
                      void *ctx) HS_MUST_USE;
// One step further, called before it is made; HS_ESTOP after Ctrl-C.
int hs_export_step(hs_export *) HS_MUST_USE;
// HS_ENOTFOUND: nothing of that was stored, and how to record it.
int hs_export_nothing(const hs_export *);

// ---- export_text.c ------------------------------------------------------------------------------

// A file of text in the making; `text` is sent on now and then.
typedef struct hs_text {
    hs_outfile file;
    hs_buf text;
    hs_jw json;  // writes to text
    bool headed; // the header of a CSV is written
} hs_text;
int hs_text_open(hs_text *, const char *path) HS_MUST_USE;
int hs_text_flush(hs_text *) HS_MUST_USE;  // sends what has gathered, once it is much
int hs_text_commit(hs_text *) HS_MUST_USE; // to be followed by hs_text_close all the same
void hs_text_close(hs_text *);             // in any state, zero included

// A whole file of what fn writes to `out` for each prompt: opened, committed, closed. HS_ENOTFOUND
// when nothing was counted in n_row.
int hs_text_of_prompts(hs_export *, hs_text *out, int (*fn)(void *ctx, const hs_export_prompt *),
                       void *ctx) HS_MUST_USE;

// A number as CSV or JSON has it; NaN (and in JSON the infinities) as nothing or null.
void hs_text_f32(hs_buf *out, float v, const char *null);

// The rows that a statement gives of a prompt: as CSV lines under a header, or as a JSON array of
// objects. Rows of heads that were not chosen are left out. Counts in n_row.
int hs_text_csv(hs_export *, hs_text *, const char *sql, int64_t prompt) HS_MUST_USE;
int hs_text_json(hs_export *, hs_text *, const char *sql, int64_t prompt) HS_MUST_USE;
// Columns run, prompt, id, then the rest; bound: the prompt's row id.
extern const char hs_sql_tokens[], hs_sql_heads[];
// What was run, as members of the JSON object that is open.
int hs_text_run(hs_text *, hs_db *, int64_t run) HS_MUST_USE;
// How a CSV line of a prompt begins: run, prompt, id.
void hs_text_keys(hs_buf *out, const hs_export *, const hs_export_prompt *p);

// ---- export_maps.c ------------------------------------------------------------------------------

// One map of a prompt while it is read; row has room for a whole one.
typedef struct hs_export_map {
    hs_reader reader;
    float *row;
} hs_export_map;
// *found false (and nothing to close) when it was not stored.
int hs_export_map_open(hs_export_map *, hs_export *, int64_t prompt, int layer, int head,
                       bool *found) HS_MUST_USE;
void hs_export_map_close(hs_export_map *);
// The map as a JSON array of whole rows.
int hs_export_square(hs_export_map *, hs_export *, hs_text *) HS_MUST_USE;
// Which chosen heads have a map, as a set that the caller frees, and the length of their rows,
// which all are n_token x n_token. HS_ENOTFOUND when there is none.
int hs_export_stored(hs_export *, int64_t prompt, hs_heads *out, int64_t *n_token) HS_MUST_USE;
// The first n tokens as a JSON array of strings that a page can show.
int hs_export_labels(hs_export *, hs_text *, int64_t prompt, int64_t n) HS_MUST_USE;

#endif
