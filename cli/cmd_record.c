// headscope record MODEL: runs the model over prompts and records what its heads did.
//
// One prompt at a time and one transaction a prompt: the hook set of a prompt holds its observers,
// the recorder and the progress bar, which is also where Ctrl-C is noticed. Without --generate
// nothing outlives its layer, so memory does not grow with the number of layers; with it, the
// prompt's keys and values stay and the decoded tokens are run one by one, the last one too, so
// that every token of the prompt has its rows.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/decode.h"
#include "analyses/observer.h"
#include "cli/edits.h"
#include "cli/memory.h"
#include "cli/out.h"
#include "cli/session.h"
#include "cli/study.h"
#include "db/query.h"
#include "db/record.h"
#include "model/core/mem.h"

struct options {
    hs_model_options model;
    hs_prompt_options prompt;
    hs_db_options db;
    hs_out_options out;
    hs_do_options edits;
    hs_opt_list observe;
    const char *maps, *acts, *label, *baseline;
    int store; // enum hs_store
    int64_t generate, seed;
    bool resume;
};

typedef struct work {
    const hs_call *call;
    const struct options *opt;
    hs_session session;
    hs_plan plan;
    hs_do edits;
    int64_t baseline; // run that this one is compared with, 0: none
    hs_db *db;
    hs_rec *rec;
    hs_context *context;
    float *logits;          // [n_vocab] of the last row, when decoding
    int32_t *decoded;       // [generate]
    int64_t n_prompt, done; // prompts in all, held
    int64_t tokens;         // for the bar: of finished prompts, and run since
    int64_t total, rows;    // for the bar: tokens in all, tokens of the evaluation under way
} work;

// ---- one prompt -----------------------------------------------------------------------------

static int on_layer_done(void *ctx, int layer) {
    work *w = ctx;
    int64_t n_layer = hs_model_config(w->session.model)->n_layer;
    return hs_progress_step(&w->session.bar.progress, "recording tokens",
                            w->tokens + w->rows * (layer + 1) / n_layer, w->total);
}

// Keeps the logits of the last row so far: those that the next token is taken from.
static int on_logits(void *ctx, const hs_site *site, const hs_view *view) {
    work *w = ctx;
    const float *last = (const float *)view->data + (site->n_row - 1) * view->stride[0];
    memcpy(w->logits, last, (size_t)view->shape[1] * sizeof *last);
    return HS_OK;
}

// The bar's hook, which also reads logits when tokens are decoded.
static int add_own_hook(work *w, hs_hooks *hooks) {
    int n_layer = w->plan.dims.n_layer;
    uint64_t *points;
    int rc = hs_alloc(&points, (size_t)n_layer + 1, sizeof *points);
    if (rc) return rc;
    if (w->opt->generate) points[n_layer] = HS_BIT(HS_LOGITS);
    rc = hs_hooks_add(
        hooks,
        &(hs_hook){.points = points, .rows = on_logits, .layer_done = on_layer_done, .ctx = w});
    free(points);
    return rc;
}

// The evaluation that comes: tokens of the one before are run.
static int on_turn(void *ctx, const int *seq, int n, int64_t n_row) {
    work *w = ctx;
    (void)seq;
    (void)n;
    w->tokens += w->rows;
    w->rows = n_row;
    return HS_OK;
}

static int32_t on_pick(void *ctx, int seq, const float *logits) {
    const work *w = ctx;
    (void)seq;
    (void)logits; // none, where all rows' logits are recorded
    return hs_argmax(w->logits, w->plan.dims.n_vocab);
}

static enum hs_logits wanted_logits(const work *w) {
    return w->plan.all_logits ? HS_LOGITS_ALL : w->opt->generate ? HS_LOGITS_LAST : HS_LOGITS_NONE;
}

// The prompt, and what is decoded after it.
static int evaluate(work *w, const hs_prompt *p) {
    const hs_decode_opts o = {.context = w->context,
                              .most = w->opt->generate,
                              .run_last = true,
                              .logits = wanted_logits(w),
                              .ctx = w,
                              .turn = on_turn,
                              .pick = on_pick};
    hs_decoding d = {.in = {.tokens = p->tokens, .n = p->n_token}, .out = w->decoded};
    hs_context_truncate(w->context, 0, 0);
    int rc = hs_decode(&o, &d, 1);
    w->tokens += w->rows;
    w->rows = 0;
    if (rc || !w->opt->generate) return rc;
    w->total -= w->opt->generate - d.n_out;
    return hs_rec_decoded(w->rec, w->decoded, d.n_out, hs_model_tok(w->session.model));
}

static int run_prompt(work *w, const hs_prompt *p, hs_observation *seen) {
    int rc = evaluate(w, p);
    for (int i = 0; !rc && i < w->plan.observe.n; i++) {
        hs_emit emit;
        rc = hs_rec_emit(w->rec, &w->plan.observe.item[i], &emit);
        if (!rc) rc = hs_observation_finish(seen, i, &emit);
    }
    return rc;
}

static int record_prompt(work *w, int64_t ord) {
    const hs_prompt *p = hs_prompts_at(w->session.prompts, ord);
    hs_subject subject = {.dims = w->plan.dims,
                          .tokens = p->tokens,
                          .n_token = p->n_token,
                          .n_row = p->n_token + w->opt->generate,
                          .bos_len = p->bos_len,
                          .period = p->period,
                          .model = w->session.model};
    hs_hooks *hooks = NULL;
    hs_observation *seen = NULL;
    // Unedited runs that edits need come before the prompt's transaction.
    int rc = hs_editing_aim(w->edits.editing, &(hs_editing_seq){ord, 0, w->edits.n}, 1);
    if (!rc) rc = hs_rec_prompt(w->rec, ord, p);
    if (rc) return rc;
    rc = hs_hooks_open(&hooks, &w->plan.dims);
    if (!rc) rc = hs_editing_hook(w->edits.editing, hooks, 0, w->edits.n);
    if (!rc) rc = hs_observation_open(&seen, &w->plan.observe, &subject);
    if (!rc) rc = hs_observation_hook(seen, hooks);
    if (!rc) rc = hs_rec_hook(w->rec, hooks);
    if (!rc) rc = add_own_hook(w, hooks);
    if (!rc) {
        hs_context_set_tap(w->context, hs_hooks_tap(hooks));
        rc = run_prompt(w, p, seen);
        hs_context_set_tap(w->context, NULL);
    }
    if (!rc)
        rc = hs_rec_prompt_end(w->rec);
    else
        hs_rec_prompt_cancel(w->rec);
    hs_observation_close(seen);
    hs_hooks_close(hooks);
    if (!rc) w->done++;
    return rc == HS_ESTOP ? rc : hs_prefix(rc, "prompt '%s'", p->id);
}

// ---- the run --------------------------------------------------------------------------------

static hs_context_opts context_opts(const work *w) {
    const int64_t n = w->opt->generate;
    return (hs_context_opts){.kv_capacity = n ? hs_cli_longest(w->session.prompts) + n : 0};
}

static int open_context(work *w) {
    const hs_context_opts opts = context_opts(w);
    w->total = w->tokens;
    for (int64_t i = w->done; i < w->n_prompt; i++)
        w->total += hs_prompts_at(w->session.prompts, i)->n_token + w->opt->generate;
    int rc = hs_context_open(&w->context, w->session.model, &opts);
    if (rc || !w->opt->generate) return rc;
    rc = hs_alloc(&w->logits, (size_t)w->plan.dims.n_vocab, sizeof *w->logits);
    return rc ? rc : hs_alloc(&w->decoded, (size_t)w->opt->generate, sizeof *w->decoded);
}

static int open_recorder(work *w, bool *complete) {
    hs_buf argv = {0}, options = {0};
    hs_argv_json(&argv, w->call);
    hs_plan_json(&options, &w->plan, w->session.model, w->session.prompts, &w->edits);
    int rc = hs_buf_rc(&argv);
    if (!rc) rc = hs_buf_rc(&options);
    hs_run_info info = hs_run_info_of(&w->session, &w->opt->prompt);
    info.label = w->opt->label;
    info.argv_json = hs_buf_text(&argv);
    info.options_json = hs_buf_text(&options);
    info.seed = (uint64_t)w->opt->seed;
    info.edits = w->edits.spec;
    info.n_edit = w->edits.n;
    info.baseline = w->baseline;
    if (!rc) rc = hs_db_open(&w->db, hs_cli_db_path(&w->opt->db), HS_DB_CREATE);
    if (!rc) rc = hs_rec_check_observers(w->db, &w->plan.observe);
    if (!rc) rc = hs_rec_open(&w->rec, w->db, &info, w->opt->resume, &w->done, complete);
    for (int64_t i = 0; i < w->done; i++)
        w->tokens += hs_prompts_at(w->session.prompts, i)->n_token;
    if (!rc && !*complete)
        rc = hs_rec_keep(w->rec, w->plan.n_map ? &w->plan.maps : NULL,
                         w->opt->acts ? w->plan.acts : NULL, (enum hs_store)w->opt->store);
    hs_buf_free(&argv);
    hs_buf_free(&options);
    return rc;
}

static int record_all(work *w) {
    int rc = open_context(w);
    while (!rc && w->done < w->n_prompt)
        rc = hs_interrupted() ? hs_fail(HS_ESTOP, "interrupted") : record_prompt(w, w->done);
    hs_bar_clear(&w->session.bar);
    return rc;
}

// Closes the run with the status that rc asks for; the first failure's message survives.
static int close_recorder(work *w, int rc) {
    rc = hs_rec_close(w->rec, rc);
    w->rec = NULL;
    if (rc != HS_ESTOP) return rc;
    return hs_fail(rc,
                   "interrupted: %" PRId64 " of %" PRId64 " prompts are in %s; the same "
                   "command with --resume goes on",
                   w->done, w->n_prompt, hs_db_path(w->db));
}

// ---- what is printed ------------------------------------------------------------------------

// Tokens that the run holds, decoded ones too, however many calls it took to record them.
static int count_tokens(const work *w, int64_t run, int64_t *n) {
    hs_query *q = NULL;
    bool row = false;
    int rc = hs_query_open(&q, w->db, "SELECT tokens FROM v_run WHERE id = :run",
                           &(hs_query_opts){.run = run});
    if (!rc) rc = hs_query_step(q, &row);
    *n = row ? hs_query_cell(q, 0).i : 0;
    hs_query_close(q);
    return rc;
}

static int report(const work *w, int64_t run, double seconds) {
    const char *path = hs_db_path(w->db);
    int64_t n_token;
    int rc = count_tokens(w, run, &n_token);
    if (rc) return rc;
    if (w->opt->out.json) {
        hs_buf json = {0};
        hs_jw j = {&json, false};
        hs_jw_begin(&j, '{');
        hs_jw_key(&j, "run");
        hs_jw_int(&j, run);
        hs_jw_key(&j, "db");
        hs_jw_str(&j, path);
        hs_jw_key(&j, "prompts");
        hs_jw_int(&j, w->n_prompt);
        hs_jw_key(&j, "tokens");
        hs_jw_int(&j, n_token);
        hs_jw_key(&j, "seconds");
        hs_jw_num(&j, seconds);
        hs_jw_end(&j, '}');
        return hs_json_put(&json);
    }
    printf("run %" PRId64 " in %s: %" PRId64 " prompt%s, %" PRId64 " tokens, %.1f s\n", run, path,
           w->n_prompt, w->n_prompt == 1 ? "" : "s", n_token, seconds);
    if (w->call->quiet) return HS_OK;
    bool usual = strcmp(path, "headscope.db") == 0;
    const char *db = usual ? "" : " --db ", *file = usual ? "" : path;
    printf("next: headscope heads --metric sink_alpha0 --top 5%s%s\n", db, file);
    if (w->plan.n_map)
        printf("      headscope attend --head %s --from -1%s%s\n", w->plan.first_map, db, file);
    printf("      headscope heatmap --grid entropy_nats -o heads.png%s%s\n", db, file);
    return HS_OK;
}

static int check_options(const struct options *opt) {
    if (opt->generate < 0) return hs_fail(HS_EARG, "--generate takes a positive number");
    if (opt->seed < 0) return hs_fail(HS_EARG, "--seed takes a number from 0 on");
    return HS_OK;
}

static int find_baseline(work *w) {
    hs_db *db = NULL;
    int rc = hs_parse_int("--baseline", w->opt->baseline, 1, INT64_MAX, &w->baseline);
    if (!rc) rc = hs_db_open(&db, hs_cli_db_path(&w->opt->db), HS_DB_READ);
    if (!rc) rc = hs_db_run(db, w->baseline, &w->baseline);
    hs_db_close(db);
    return rc;
}

static int prepare(work *w) {
    const struct options *opt = w->opt;
    hs_plan_request ask = {.observe = opt->observe,
                           .span = opt->prompt.span,
                           .maps = opt->maps,
                           .acts = opt->acts,
                           .store = opt->store,
                           .bos = opt->prompt.bos,
                           .generate = opt->generate,
                           .seed = opt->seed};
    int rc = check_options(opt);
    if (!rc) rc = hs_session_open(&w->session, w->call, &opt->model, &opt->prompt);
    if (!rc)
        rc = hs_cli_prompts_check(w->session.prompts, opt->generate,
                                  hs_cli_n_ctx(w->session.model));
    if (!rc) rc = hs_plan_open(&w->plan, &ask, w->session.model);
    if (!rc)
        rc = hs_do_open(&w->edits, &opt->edits, &opt->prompt.span, &w->session,
                        hs_cli_db_path(&opt->db));
    if (!rc && opt->baseline) rc = find_baseline(w);
    if (!rc) rc = hs_plan_room(&w->plan, w->call, w->session.prompts, hs_cli_db_path(&opt->db));
    if (rc) return rc;
    w->n_prompt = hs_prompts_count(w->session.prompts);
    const hs_context_opts opts = context_opts(w);
    return hs_cli_room_check(w->session.model, &opts, hs_cli_longest(w->session.prompts),
                             wanted_logits(w));
}

static int run(const hs_call *call, const void *options) {
    work w = {.call = call, .opt = options};
    bool complete = false;
    double start = hs_now();
    int rc = prepare(&w);
    if (!rc) rc = open_recorder(&w, &complete);
    if (w.rec) {
        int64_t id = hs_rec_run(w.rec);
        if (!rc && complete) hs_note(call, "run %" PRId64 " is complete already", id);
        if (!rc && !complete) rc = record_all(&w);
        hs_do_close(&w.edits); // no reader is in the way of the recorder's last steps
        rc = close_recorder(&w, rc);
        if (!rc) rc = report(&w, id, hs_now() - start);
    }
    hs_do_close(&w.edits);
    hs_db_close(w.db);
    hs_context_close(w.context);
    hs_plan_close(&w.plan);
    hs_session_close(&w.session);
    free(w.logits);
    free(w.decoded);
    return rc;
}

static const hs_opt own[] = {
    {"observe", 0, HS_OPT_LIST, offsetof(struct options, observe), "OBSERVER[:k=v,...]", NULL,
     "observers to run besides those that always do; may be repeated: see list observers"},
    {"maps", 0, HS_OPT_TEXT, offsetof(struct options, maps), "HEADS", NULL,
     "store whole attention maps: all, none or heads as L0-3H*,L5H1 (default: none)"},
    {"acts", 0, HS_OPT_TEXT, offsetof(struct options, acts), "HOOKS", NULL,
     "store activations: hook names or globs, and logits: see help select"},
    {"store", 0, HS_OPT_ENUM, offsetof(struct options, store), "f32|f16|u8", "f32",
     "number format of stored maps and activations; f32 is exact"},
    {"generate", 0, HS_OPT_INT, offsetof(struct options, generate), "N", NULL,
     "decode up to N tokens after each prompt (greedily) and record their rows too"},
    {"label", 0, HS_OPT_TEXT, offsetof(struct options, label), "TEXT", NULL, "a name for the run"},
    {"baseline", 0, HS_OPT_TEXT, offsetof(struct options, baseline), "RUN", NULL,
     "stored with the run: the one that it is compared with"},
    {"seed", 0, HS_OPT_INT, offsetof(struct options, seed), "N", "0", "stored with the run"},
    {"resume", 0, HS_OPT_FLAG, offsetof(struct options, resume), NULL, NULL,
     "go on with the newest run of the same model, prompts and options"},
    {0},
};

const hs_cmd hs_cmd_record = {
    .name = "record",
    .group = "runs",
    .title = "runs a model over prompts and records its heads",
    .synopsis = "MODEL (-p TEXT | -f FILE | --dataset NAME)... [options]",
    .about =
        "Summaries of every attention row and the metrics that follow from them are always "
        "recorded; maps and activations when asked for. With --generate the rows of decoded "
        "tokens count in all of them, metrics too. Each prompt is committed when it is "
        "done: Ctrl-C or a crash loses at most the prompt in work, and --resume goes on. Under "
        "--do all of it is of the edited run, maps too.",
    .examples =
        (const char *const[][2]){
            {"record model.gguf -p \"When Mary and John went to the store\"",
             "every head's metrics on one prompt"},
            {"record model.gguf -f prompts.jsonl --observe sinks,massive --maps "
             "L5H* -o run.db",
             "two observers and the maps of layer 5"},
            {"record model.gguf -f prompts.jsonl -o run.db --resume",
             "go on after an interruption"},
            {"record model.gguf -f prompts.jsonl -o run.db --do ablate:L5H1,mode=mean",
             "the same run without what head 1 of layer 5 says"},
            {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0},
                                      {"", hs_opts_do, offsetof(struct options, edits)},
                                      {"prompts", hs_opts_prompt, offsetof(struct options, prompt)},
                                      {"model", hs_opts_model, offsetof(struct options, model)},
                                      {"output", hs_opts_db_write, offsetof(struct options, db)},
                                      {"", hs_opts_json, offsetof(struct options, out)},
                                      {0}},
    .options_size = sizeof(struct options),
    .max_arg = 1,
    .run = run,
};
