// headscope record MODEL: runs the model over prompts and records what its heads did.
#include <inttypes.h>
#include <string.h>

#include "cli/out.h"
#include "cli/recording.h"
#include "db/query.h"

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
} work;

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
    const int64_t n_prompt = hs_prompts_count(w->session.prompts);
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
        hs_jw_int(&j, n_prompt);
        hs_jw_key(&j, "tokens");
        hs_jw_int(&j, n_token);
        hs_jw_key(&j, "seconds");
        hs_jw_num(&j, seconds);
        hs_jw_end(&j, '}');
        return hs_json_put(&json);
    }
    printf("run %" PRId64 " in %s: %" PRId64 " prompt%s, %" PRId64 " tokens, %.1f s\n", run, path,
           n_prompt, n_prompt == 1 ? "" : "s", n_token, seconds);
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
    return rc;
}

static hs_recording recording_of(work *w) {
    return (hs_recording){.call = w->call,
                          .session = &w->session,
                          .prompt = &w->opt->prompt,
                          .plan = &w->plan,
                          .edits = &w->edits,
                          .db = &w->db,
                          .path = hs_cli_db_path(&w->opt->db),
                          .label = w->opt->label,
                          .baseline = w->baseline,
                          .resume = w->opt->resume};
}

static int run(const hs_call *call, const void *options) {
    work w = {.call = call, .opt = options};
    const double start = hs_now();
    int64_t id;
    int rc = prepare(&w);
    const hs_recording recording = recording_of(&w);
    if (!rc) rc = hs_recording_check(&recording);
    if (!rc) rc = hs_recording_run(&recording, &id);
    if (!rc) rc = report(&w, id, hs_now() - start);
    hs_do_close(&w.edits);
    hs_db_close(w.db);
    hs_plan_close(&w.plan);
    hs_session_close(&w.session);
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
