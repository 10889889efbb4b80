// headscope sweep MODEL: what editing each head, group, layer or MLP does to the output.
//
// Each op is a run of its own; its results are in the database prompt by prompt, and what is printed
// is read from there, so that a fresh sweep, a resumed one and a merged one say the same.
#include <inttypes.h>

#include "cli/sweep/sweep.h"

// A launcher's process says where its results go.
static int make_path(hs_sweep_work *w) {
    const hs_shard *s = &w->ask.shard;
    int rc = hs_shard_path(&w->path, s, hs_cli_db_path(&w->opt->db));
    if (!rc && s->launched)
        hs_note(w->call, "shard %" PRId64 "/%" PRId64 ": into %s", s->i, s->n,
                hs_buf_text(&w->path));
    return rc;
}

static int prepare(hs_sweep_work *w) {
    const hs_sweep_options *o = w->opt;
    int rc = hs_sweep_ask_open(&w->ask, o);
    if (!rc) rc = hs_session_open(&w->session, w->call, &o->model, &o->prompt);
    if (!rc) rc = hs_cli_prompts_check(w->session.prompts, 0, hs_cli_n_ctx(w->session.model));
    if (rc) return rc;
    w->dims = hs_dims_of(w->session.model);
    w->n_prompt = hs_prompts_count(w->session.prompts);
    rc = make_path(w);
    if (!rc)
        rc = hs_do_open(&w->edits, &(hs_do_options){0}, &o->prompt.span, &w->session,
                        hs_buf_text(&w->path));
    return rc ? rc : hs_sweep_check(w);
}

// An order must be that of all prompts.
static int open_rank(hs_sweep_work *w, int64_t *run) {
    hs_buf lacks = {0};
    int rc = hs_db_open(&w->db, hs_buf_text(&w->path), HS_DB_WRITE);
    if (!rc) rc = hs_db_run(w->db, *run, run);
    if (!rc) rc = hs_db_unfinished(w->db, *run, &lacks);
    if (!rc && lacks.len)
        rc = hs_fail(HS_ENOTFOUND, "--rank: %s: finish or merge it first", hs_buf_text(&lacks));
    hs_buf_free(&lacks);
    return rc;
}

static int sweep(hs_sweep_work *w) {
    const hs_sweep_ask *a = &w->ask;
    int64_t by = a->rank_run;
    int rc = by ? open_rank(w, &by) : HS_OK;
    for (int i = 0; i < a->n_op && !rc; i++) {
        if (!a->rank_run) {
            rc = w->opt->by == HS_BY_RACE ? hs_sweep_store_race(w, &a->op[i])
                                          : hs_sweep_store(w, &a->op[i]);
            by = w->n_made ? w->made[w->n_made - 1].run : 0;
        }
        if (!rc && a->prune) rc = hs_sweep_store_curve(w, &a->op[i], by);
    }
    return rc;
}

static int run(const hs_call *call, const void *options) {
    hs_sweep_work w = {.call = call, .opt = options};
    int rc = prepare(&w);
    if (!rc) rc = sweep(&w);
    hs_bar_close(&w.session.bar);
    if (!rc) rc = hs_sweep_print(&w);
    hs_db_close(w.db);
    hs_do_close(&w.edits);
    hs_units_free(&w.units);
    hs_buf_free(&w.path);
    hs_answers_close(&w.answers);
    hs_session_close(&w.session);
    hs_sweep_ask_close(&w.ask);
    return rc;
}

#define AT(name) offsetof(hs_sweep_options, name)
static const hs_opt what[] = {
    {"op", 0, HS_OPT_LIST, AT(op), "zero,mean,resample,uniform,bos", NULL,
     "what is done to a unit, some of these or an intervention with @ where the unit goes "
     "(temper:@,t=2); may be repeated (default: zero)"},
    {"metric", 'm', HS_OPT_LIST, AT(metric), "nll,kl,jsd,logit_diff,prob,prob_diff,accuracy", NULL,
     "what is measured, some of these or NAME=EXPR, an expression of SQL over them and base_nll, "
     "...; may be repeated (default: nll)"},
    {"heads", 0, HS_OPT_TEXT, AT(units), "HEADS", "all",
     "which units, of one kind: heads L0-3H*, KV groups L*G*, layers L*, MLPs L*M"},
    {"pos", 0, HS_OPT_TEXT, AT(pos), "POS", NULL,
     "edit only these positions: -1, 3:7, a --span, joined by +"},
    {"by", 0, HS_OPT_ENUM, AT(by), "exact|gradient|race", "exact",
     "measure every unit; estimate all, and each position of each, from one backward pass a "
     "prompt; or find the top K alone"},
    {"top", 'n', HS_OPT_COUNT, AT(top), "K", "10",
     "units to show, to race for, and to compare with as many random ones"},
    {"delta", 0, HS_OPT_NUM, AT(delta), "P", "0.05",
     "--by race: the probability that a decided unit is on the wrong side"},
    {"budget", 0, HS_OPT_NUM, AT(budget), "SHARE", "0.2",
     "--by race: at most this share of the full sweep's edits; 0: as many as the bounds ask for"},
    {"control", 0, HS_OPT_INT, AT(control), "N", "1000",
     "draws of K random units that the top K are compared with; 0: none"},
    {"prune", 0, HS_OPT_TEXT, AT(prune), "asc,desc,random", NULL,
     "then edit growing sets together, in the order of the importance just found and at random, "
     "five draws: heatmap --prune"},
    {"rank", 0, HS_OPT_TEXT, AT(rank), "RUN", NULL,
     "--prune by the importance that this run found, and sweep no more"},
    {0},
};
static const hs_opt how[] = {
    {"shard", 0, HS_OPT_TEXT, AT(shard), "I/N|auto", NULL,
     "only prompts I, I+N, ...; auto: of mpirun, srun or a job array. headscope merge joins them"},
    {"seed", 0, HS_OPT_INT, AT(seed), "N", "0", "of resample, races, random orders and draws"},
    {0},
};

const hs_cmd hs_cmd_sweep = {
    .name = "sweep",
    .group = "runs",
    .title = "head importance: edits every unit alone and measures what that does",
    .synopsis = "MODEL (-p TEXT | -f FILE | --dataset NAME)... [options]",
    .about =
        "Each op is a run: every head (or KV group, layer, MLP) is edited alone, on every prompt, "
        "and the change of the metric against the unedited model is stored, of heads as the "
        "metrics "
        "delta_nll and so on, of all kinds in the table sweep_unit. Means come with 95 % bootstrap "
        "intervals over the prompts. nll, kl and jsd are means over a prompt's scored positions; "
        "logit_diff, prob, prob_diff and accuracy are read at END and need \"answer\" (the "
        "differences \"wrong\" too) in the prompts' JSON lines; where these have \"answers\" and "
        "\"wrongs\", lists of all right and all wrong tokens, prob is the probability of all "
        "answers, prob_diff that less the wrong ones' (Hanna et al. 2023) and accuracy whether an "
        "answer comes first. An own expression that names base_nll, kl or jsd is "
        "itself the change; any other is compared with its value without the edit. mean takes the "
        "mean over all positions of all prompts, resample another prompt drawn by --seed. Each "
        "prompt is committed when it is done: Ctrl-C or a crash loses at most those in work, and "
        "--resume goes on. --by gradient also stores what the edit does at each position alone, as "
        "the series delta_nll_at (delta_logit_diff_at, ...) of heads and layers, "
        "delta_nll_at_group of KV groups under their number and delta_nll_at_mlp: query "
        "sweep_positions, heatmap --over-positions delta_nll_at.",
    .examples =
        (const char *const[][2]){
            {"sweep model.gguf -f prompts.jsonl -o sweep.db",
             "what each head is worth, by its loss"},
            {"sweep model.gguf -f prompts.jsonl --op zero,mean,uniform --metric nll,kl",
             "three ways to edit, two to measure"},
            {"sweep model.gguf -f ioi.jsonl --metric logit_diff --pos -1 --heads 'L*M'",
             "MLPs at the last position, by an answer"},
            {"sweep model.gguf -f prompts.jsonl --metric 'ppl=exp(nll)'", "an own metric"},
            {"sweep model.gguf -f prompts.jsonl --by gradient",
             "all heads and positions, estimated"},
            {"sweep model.gguf -f prompts.jsonl --by race --top 20", "the top 20, for a fifth"},
            {"sweep model.gguf -f prompts.jsonl --prune asc,desc,random",
             "how many heads it needs"},
            {"sweep model.gguf -f prompts.jsonl -o part.db --shard auto",
             "one process of mpirun -n 8, or of a job array"},
            {NULL}},
    .options = (const hs_opt_group[]){{"what is measured", what, 0},
                                      {"how", how, 0},
                                      {"", hs_opts_study, AT(study)},
                                      {"prompts", hs_opts_prompt, AT(prompt)},
                                      {"model", hs_opts_model, AT(model)},
                                      {"output", hs_opts_db_write, AT(db)},
                                      {"", hs_opts_table, AT(out)},
                                      {0}},
    .options_size = sizeof(hs_sweep_options),
    .max_arg = 1,
    .run = run,
};
#undef AT
