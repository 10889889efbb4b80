// headscope lens in parts: ask.c reads what is asked for, store.c looks into the database, print.c
// reads a run back and prints it for people, json.c for programs.
#ifndef HS_CLI_LENS_H
#define HS_CLI_LENS_H

#include "analyses/experiments/lens.h"
#include "cli/edits.h"
#include "cli/out.h"
#include "cli/reader.h"
#include "cli/study.h"

enum { HS_LENS_RECOMPUTED, HS_LENS_FROZEN };

typedef struct hs_lens_options {
    hs_model_options model;
    hs_prompt_options prompt;
    hs_db_options db;
    hs_study_options study;
    hs_out_options out;
    hs_opt_list track, by;
    const char *pos, *dla;
    int64_t top;
    int norm; // HS_LENS_RECOMPUTED, HS_LENS_FROZEN
} hs_lens_options;

// A token as --dla names it: one of the vocabulary, or what a prompt or the model says.
enum hs_lens_word { HS_WORD_NONE, HS_WORD_TOP, HS_WORD_ANSWER, HS_WORD_WRONG, HS_WORD_TOKEN };
typedef struct hs_lens_name {
    enum hs_lens_word word;
    int32_t id; // of HS_WORD_TOKEN
} hs_lens_name;

typedef struct hs_lens_work {
    const hs_call *call;
    const hs_lens_options *opt;
    hs_session session;
    hs_do edits; // the spans that positions may name
    int32_t *track;
    int n_track;
    hs_lens_name token, minus;
    unsigned by; // bits of enum hs_dla_by
    hs_db *db;
    int64_t run;
} hs_lens_work;

// What is asked about prompt ord; pos is the caller's to free.
typedef struct hs_lens_asked {
    int64_t *pos, n_pos;
    int32_t token, minus; // as hs_lens_at has them
} hs_lens_asked;
int hs_lens_ask(hs_lens_asked *out, const hs_lens_work *w, int64_t ord) HS_MUST_USE;

// Reads the options against the model and all prompts.
int hs_lens_check(hs_lens_work *) HS_MUST_USE;
// Looks at all prompts that are left.
int hs_lens_store(hs_lens_work *) HS_MUST_USE;
// ---- print.c, json.c --------------------------------------------------------------------------

// One row of the lens. Texts are in the arena, NULL where there are none.
typedef struct hs_lens_line {
    int64_t ord, position, layer, top, rank, final_top;
    double logit, prob, kl;
    const char *id, *token, *point, *text, *final_text;
} hs_lens_line;

typedef struct hs_lens_found {
    const hs_lens_work *w;
    hs_arena *arena;
    hs_lens_line *at; // [n], position by position, each from the embeddings on
    int64_t n;
    int64_t n_depth; // rows of a position
} hs_lens_found;
// Calls fn for the rows of a query about one position; param: one more parameter, NULL: none.
int hs_lens_each(const hs_lens_found *f, const char *query, const hs_lens_line *of,
                 const char *param, hs_row_fn fn, void *ctx) HS_MUST_USE;
int hs_lens_json(const hs_lens_found *f) HS_MUST_USE;

// Prints what the run found, read from the database.
int hs_lens_print(const hs_lens_work *) HS_MUST_USE;

#endif
