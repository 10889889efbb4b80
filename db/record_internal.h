// The recorder's parts: record.c opens and closes runs and prompts, record_run.c writes what a run
// is, stream.c takes what hooks deliver, emit.c what observers and experiments found.
#ifndef HS_DB_RECORD_INTERNAL_H
#define HS_DB_RECORD_INTERNAL_H

#include "db/codec_internal.h"
#include "db/record.h"
#include "db/writer_internal.h"

// What a run stores of its model; hs_rec_open reads it from the model, tests make it up.
typedef struct hs_model_facts {
    hs_dims dims;
    const char *arch, *format, *dtype, *backend, *isa, *weights;
    uint64_t fingerprint;
    int64_t n_param, n_ctx;
    int threads;
    const hs_tok *tok; // NULL: none
} hs_model_facts;
int hs_rec_start(hs_rec **out, hs_db *db, const hs_model_facts *facts, const hs_run_info *info,
                 bool resume, int64_t *done, bool *complete) HS_MUST_USE;

// ---- record_run.c -----------------------------------------------------------------------------

// A run with its model and edits, committed; *run is its id.
int hs_run_new(hs_db *, const hs_model_facts *, const hs_run_info *, int64_t *run) HS_MUST_USE;
// The newest run with the same options, and what it holds; *run 0 when there is none.
int hs_run_find(hs_db *, const hs_run_info *, int64_t *run, int64_t *done,
                bool *complete) HS_MUST_USE;
// The options of a run with its shard at their end, and what they say: false, when they are those of
// a whole run; *whole is the length of what stands before the shard, to which '}' belongs.
int hs_shard_text(hs_buf *out, const hs_run_info *) HS_MUST_USE;
bool hs_shard_of_text(const char *options_json, size_t *whole, int64_t *shard, int64_t *n_shard);
// Short names joined by commas, and back; names of other builds are left out.
int hs_points_text(hs_buf *out, uint64_t points) HS_MUST_USE;
uint64_t hs_points_of_text(const char *text);

// ---- stream.c ---------------------------------------------------------------------------------

// Rows of one tensor on their way into chunks.
typedef struct hs_stream {
    uint8_t *raw; // the open chunk
    size_t len, cap;
    int64_t row0, n_row;    // its rows
    hs_chunk *done, **tail; // closed chunks, oldest first
    int64_t id;             // relative id of its map or act; set when it first has a chunk
    bool used;
} hs_stream;

// Summaries of one layer on their way into row_series: v[head][stat][HS_SERIES_ROWS].
// Four blobs of 1,000 rows fill a page of 16 KiB; 2,048 rows would waste half of one.
enum { HS_SERIES_ROWS = 1000 };
typedef struct hs_stat_rows {
    float *v;
    int64_t cap, row0, n_row;
} hs_stat_rows;

enum { HS_MAP_SCORES, HS_MAP_PATTERN, HS_N_MAP }; // the points stored as maps

typedef struct hs_streams {
    hs_dims dims;
    hs_writer *writer;
    enum hs_store store;
    uint8_t *maps;        // [n_layer * n_head], of the pattern
    uint64_t *points;     // [n_layer + 1], what is asked for but scores
    uint64_t *scores;     // [n_layer + 1], the bit of scores where they are kept, of all heads
    hs_stream *map;       // [n_layer * n_head][HS_N_MAP]
    hs_stream **act;      // [(n_layer + 1) * HS_N_POINT], made when first used
    hs_stat_rows *stat;   // [n_layer]
    int64_t n_map, n_act; // relative ids given out in this prompt
    bool in_prompt;
} hs_streams;

int hs_streams_open(hs_streams *, const hs_dims *dims, hs_writer *writer) HS_MUST_USE;
void hs_streams_close(hs_streams *);
int hs_streams_keep(hs_streams *, const hs_heads *maps, const uint64_t *acts,
                    enum hs_store store) HS_MUST_USE;
int hs_streams_hook(hs_streams *, hs_hooks *hooks) HS_MUST_USE;
// Writes what is left, then the rows of map and act. n_token: the most rows there may be.
int hs_streams_end(hs_streams *, int64_t n_token) HS_MUST_USE;
void hs_streams_reset(hs_streams *); // forgets the prompt in work

// ---- emit.c -----------------------------------------------------------------------------------

// Where the results of one analysis run go.
typedef struct hs_emit_to {
    hs_sink sink;
    hs_analysis analysis;
    hs_v prompt, analysis_run; // their ids
    hs_buf *sql, *blob;        // scratch
    int n_layer, n_head;
} hs_emit_to;
// Stores the descriptor, makes its result tables and the analysis run.
int hs_emit_begin(const hs_emit_to *, const char *params_json, const char *source,
                  enum hs_store map_dtype) HS_MUST_USE;
hs_emit hs_emit_of(hs_emit_to *);
// The table of a result: NAME_OF_ANALYSIS "_" name.
void hs_emit_table(hs_buf *out, const char *analysis, const hs_result_table *table);
// Makes it, with its documentation, where it is missing.
int hs_emit_make_table(const hs_sink *sink, const char *analysis,
                       const hs_result_table *table) HS_MUST_USE;

#endif
