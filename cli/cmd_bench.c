// headscope bench MODEL: what this machine can do, and what share of it each operation of a model
// and whole jobs reach.
//
// Files are written in a folder of their own, which goes when the command ends, also after Ctrl-C.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/bench/bench.h"

struct options {
    hs_model_options model;
    hs_out_options out;
    const char *dir;
    int64_t reps, tokens;
    int only; // 0 = everything, else index into `stages` + 1
    bool quick;
};

// Loading before a model lies in memory; it also refuses a bad one at once. The machine before
// what is set against it.
static const struct stage {
    hs_bench_stage_fn *run;
    bool model; // needs it
} stages[] = {
    {hs_bench_load, false},     {hs_bench_machine, false}, {hs_bench_linear, true},
    {hs_bench_attention, true}, {hs_bench_rows, true},     {hs_bench_prefill, true},
    {hs_bench_decode, true},    {hs_bench_batch, true},    {hs_bench_maps, true},
    {hs_bench_sweep, true},
};
#define STAGES "load|machine|linear|attention|rows|prefill|decode|batch|maps|sweep"
enum { N_STAGE = sizeof stages / sizeof *stages };

// The folder of the database that recordings go to by default.
static void database_folder(char *out, size_t n) {
    const char *db = hs_cli_db_path(&(hs_db_options){0}), *slash = strrchr(db, '/');
    const size_t keep = slash ? (size_t)(slash - db) + 1 : 0;
    snprintf(out, n, "%.*s", (int)keep, db);
    if (!keep) snprintf(out, n, ".");
}

static int make_dir(hs_bench *b, const char *wanted) {
    static const char name[] = "/headscope-bench.XXXXXX";
    char parent[sizeof b->dir - sizeof name];
    if (wanted)
        snprintf(parent, sizeof parent, "%s", wanted);
    else
        database_folder(parent, sizeof parent);
    snprintf(b->dir, sizeof b->dir, "%s%s", parent, name);
    if (mkdtemp(b->dir)) return HS_OK;
    const char *why = strerror(errno);
    b->dir[0] = 0;
    return hs_fail(HS_EIO, "no room for scratch files in %s: %s: give another folder with --dir",
                   parent, why);
}

static int open_model(hs_bench *b) {
    int rc = hs_cli_model_open(&b->model, b->path, b->options, &b->bar.progress);
    const int64_t n_ctx = rc ? 0 : hs_cli_n_ctx(b->model);
    if (!rc && b->tokens > n_ctx)
        rc = hs_fail(HS_ERANGE, "--tokens %lld: the model's context has %lld: raise --ctx",
                     (long long)b->tokens, (long long)n_ctx);
    return rc;
}

static int measure(hs_bench *b, const struct options *opt) {
    int rc = make_dir(b, opt->dir);
    if (!rc) rc = hs_bench_tables(b);
    for (int i = 0; i < N_STAGE && !rc; i++) {
        if (opt->only && opt->only != i + 1) continue;
        if (stages[i].model && !b->model) rc = open_model(b);
        if (!rc) rc = stages[i].run(b);
    }
    return !rc && !b->model ? open_model(b) : rc; // its threads and kernels are printed
}

// Figures of a machine that does other work say little, its ceilings too.
static int report(hs_bench *b, const hs_out_options *out) {
    int rc = hs_bench_put(b, out);
    if (!rc && b->load > 0.5)
        hs_note(
            b->call,
            "the machine was at work already (load %.1f): these figures are less than it can do",
            b->load);
    return rc;
}

static int check_options(const struct options *opt) {
    if (opt->reps < 0 || opt->reps > 1000)
        return hs_fail(HS_EARG, "--reps takes a number from 1 to 1000");
    if (opt->tokens < 0) return hs_fail(HS_EARG, "--tokens takes a positive number");
    return HS_OK;
}

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    hs_bench b = {.call = call,
                  .options = &opt->model,
                  .quick = opt->quick,
                  .alone = opt->only,
                  .tokens = opt->tokens,
                  .least = opt->reps    ? (int)opt->reps
                           : opt->quick ? 2
                                        : 3,
                  .ceiling = {{NAN, NAN}, {NAN, NAN}, {NAN, NAN}, {NAN, NAN}, NAN, NAN, NAN}};
    int rc = check_options(opt);
    if (!rc) rc = hs_cli_model_path(call, 0, &b.path);
    if (rc) return rc;
    if (getloadavg(&b.load, 1) != 1) b.load = NAN;
    hs_bar_open(&b.bar, call);
    rc = measure(&b, opt);
    hs_bar_close(&b.bar);
    if (*b.dir) rmdir(b.dir); // empty: each measurement cleans up after itself
    if (rc == HS_ESTOP) rc = hs_fail(rc, "interrupted: nothing was kept");
    if (!rc) rc = report(&b, &opt->out);
    hs_table_close(b.ops);
    hs_table_close(b.jobs);
    hs_model_close(b.model);
    return rc;
}

static const hs_opt own[] = {
    {"quick", 0, HS_OPT_FLAG, offsetof(struct options, quick), NULL, NULL,
     "fewer repetitions and no prompts longer than 1,024 tokens"},
    {"only", 0, HS_OPT_ENUM, offsetof(struct options, only), "all|" STAGES, "all",
     "measure one thing, with weights as --weights says; without the machine's ceilings there are "
     "no "
     "shares"},
    {"tokens", 0, HS_OPT_INT, offsetof(struct options, tokens), "N", NULL,
     "prompts of N tokens, in place of the usual lengths"},
    {"reps", 0, HS_OPT_INT, offsetof(struct options, reps), "N", NULL,
     "least repetitions of each thing (default: 3; quick: 2)"},
    {"dir", 0, HS_OPT_TEXT, offsetof(struct options, dir), "FOLDER", NULL,
     "folder on the disk to measure, for scratch files (default: where recordings go)"},
    {0},
};

const hs_cmd hs_cmd_bench = {
    .name = "bench",
    .group = "models",
    .title = "speed of this machine, and how much of it a model's work reaches",
    .synopsis = "MODEL [--quick] [options]",
    .about =
        "Measures the machine's ceilings first: products, memory, disk, threads. Then every "
        "operation of the model at its own shapes and whole jobs, as a share of the ceiling that "
        "bounds them. Each time is the best of several repetitions on random tokens; other work "
        "on the machine makes figures worse, never better. Cost is the extra time against the "
        "same thing unwatched.",
    .examples = (const char *const[][2]){{"bench model.gguf", "all figures, about two minutes"},
                                         {"bench model.gguf --quick --json",
                                          "a quarter minute, for scripts"},
                                         {"bench model.gguf --only prefill --tokens 8192",
                                          "one thing alone, as for a profile"},
                                         {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0},
                                      {"model", hs_opts_model, offsetof(struct options, model)},
                                      {"output", hs_opts_json, offsetof(struct options, out)},
                                      {0}},
    .options_size = sizeof(struct options),
    .max_arg = 1,
    .run = run,
};
