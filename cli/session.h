// What the commands share: a model and prompts from their options, a database and a run from
// theirs.
#ifndef HS_CLI_SESSION_H
#define HS_CLI_SESSION_H

#include "analyses/prompt.h"
#include "cli/cli.h"
#include "db/db.h"
#include "hooks/hooks.h"
#include "model/context.h"

// ---- the model ------------------------------------------------------------------------------

typedef struct hs_model_options {
    int64_t threads, ctx;
    const char *isa;
    int weights;   // enum hs_weight_mode
    int precision; // enum hs_precision
} hs_model_options;
extern const hs_opt hs_opts_model[];

// Word i of the call, else $HEADSCOPE_MODEL; HS_EARG when there is neither.
int hs_cli_model_path(const hs_call *call, int i, const char **path) HS_MUST_USE;
// The engine's options, with $HS_ISA and $HS_THREADS where no option was given.
int hs_cli_dev(const hs_model_options *options, hs_dev_opts *out) HS_MUST_USE;
// Opens it, when its weights fit in memory; nothing at that path is HS_EIO.
int hs_cli_model_open(hs_model **out, const char *path, const hs_model_options *options,
                      const hs_progress *progress) HS_MUST_USE;
// Opens it to ask about it: no weight is read, and it cannot run.
int hs_cli_model_look(hs_model **out, const char *path,
                      const hs_model_options *options) HS_MUST_USE;
// The tokenizer of a checkpoint whose weights are not needed. *tok is NULL and the result HS_OK
// when it has none.
int hs_cli_tok_open(hs_ckpt **ckpt, hs_tok **tok, const char *path) HS_MUST_USE;

// ---- prompts --------------------------------------------------------------------------------

typedef struct hs_prompt_options {
    hs_opt_list text, file, dataset, span;
    int bos; // enum hs_bos
} hs_prompt_options;
extern const hs_opt hs_opts_prompt[];
extern const char *const hs_bos_names[]; // by enum hs_bos

// HS_EARG when no option gives a prompt, or a --span is none.
int hs_cli_prompts_open(hs_prompts **out, const hs_prompt_options *options, const hs_tok *tok,
                        int64_t n_vocab) HS_MUST_USE;
// HS_ERANGE naming the first prompt that is empty, or longer (by `extra` positions) than n_ctx.
int hs_cli_prompts_check(const hs_prompts *prompts, int64_t extra, int64_t n_ctx) HS_MUST_USE;

int64_t hs_cli_longest(const hs_prompts *prompts); // tokens of the longest one

// A model with its prompts; close in any state, zero included.
typedef struct hs_session {
    hs_model *model;
    hs_prompts *prompts;
    hs_bar bar;
} hs_session;
int hs_session_open(hs_session *s, const hs_call *call, const hs_model_options *model,
                    const hs_prompt_options *prompts) HS_MUST_USE;
// Of a command that has a data set of its own: where no prompts are given, *prompts becomes that,
// which is borrowed.
int hs_session_open_usual(hs_session *s, const hs_call *call, const hs_model_options *model,
                          hs_prompt_options *prompts, const char **dataset) HS_MUST_USE;
// For what is found of the model itself: in the place of prompts stands one of no tokens with this id,
// which results are kept with, and which is not counted.
int hs_session_open_bare(hs_session *s, const hs_call *call, const hs_model_options *model,
                         const char *id) HS_MUST_USE;
void hs_session_close(hs_session *s);

// The context length that runs may use.
int64_t hs_cli_n_ctx(const hs_model *model);

// ---- the database ---------------------------------------------------------------------------

typedef struct hs_db_options {
    const char *path;
} hs_db_options;
extern const hs_opt hs_opts_db_read[], hs_opts_db_write[];
typedef struct hs_run_options {
    const char *run, *prompt;
} hs_run_options;
extern const hs_opt hs_opts_run[];       // --run
extern const hs_opt hs_opts_prompt_of[]; // --run and --prompt

// The option, $HEADSCOPE_DB, headscope.db.
const char *hs_cli_db_path(const hs_db_options *options);
// Word i of the call or --run, checked against the database; without either, the latest run.
int hs_cli_run(const hs_call *call, int i, const hs_run_options *options, hs_db *db,
               int64_t *run) HS_MUST_USE;

// Writes `text` to `path`, beside and renamed; "-" is stdout.
int hs_write_file(const char *path, const hs_buf *text) HS_MUST_USE;

#endif
