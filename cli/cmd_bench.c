// headscope bench MODEL: what this machine can do, and what share of it each operation of a model
// and whole jobs reach.
//
// Order matters little but for the first: loading is measured before a model lies in memory. Files
// are written in a folder of their own, which goes when the command ends, also after Ctrl-C.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/bench.h"

struct options {
    hs_model_options model;
    hs_out_options out;
    const char *dir;
    bool quick;
};

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

void hs_bench_sweep(hs_bench *b) {
    static const char *const names[] = {"run.db", "run.db-wal", "run.db-shm", "run.db-journal"};
    char path[sizeof b->dir + 32];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", b->dir, names[i]);
        unlink(path);
    }
}

static int measure(hs_bench *b, const struct options *opt) {
    hs_dev_opts dev;
    int rc = hs_cli_dev(&opt->model, &dev);
    if (!rc) rc = make_dir(b, opt->dir);
    if (!rc) rc = hs_bench_tables(b);
    // The model first, so that a bad one is refused at once; then the machine without it.
    if (!rc) rc = hs_bench_load(b);
    if (!rc) rc = hs_bench_machine(b, &dev);
    if (!rc) rc = hs_cli_model_open(&b->model, b->path, &opt->model, &b->bar.progress);
    if (!rc) rc = hs_bench_linear(b);
    if (!rc) rc = hs_bench_ops(b);
    return rc ? rc : hs_bench_jobs(b);
}

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    hs_bench b = {.call = call, .options = &opt->model, .quick = opt->quick};
    int rc = hs_cli_model_path(call, 0, &b.path);
    if (rc) return rc;
    b.least = opt->quick ? 2 : 3;
    hs_bar_open(&b.bar, call);
    rc = measure(&b, opt);
    hs_bar_close(&b.bar);
    if (*b.dir) {
        hs_bench_sweep(&b);
        rmdir(b.dir);
    }
    if (rc == HS_ESTOP) rc = hs_fail(rc, "interrupted: nothing was kept");
    if (!rc) rc = hs_bench_put(&b, &opt->out);
    hs_table_close(b.ops);
    hs_table_close(b.jobs);
    hs_model_close(b.model);
    return rc;
}

static const hs_opt own[] = {
    {"quick", 0, HS_OPT_FLAG, offsetof(struct options, quick), NULL, NULL,
     "fewer repetitions and no prompts longer than 1,024 tokens"},
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
                                         {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0},
                                      {"model", hs_opts_model, offsetof(struct options, model)},
                                      {"output", hs_opts_json, offsetof(struct options, out)},
                                      {0}},
    .options_size = sizeof(struct options),
    .max_arg = 1,
    .run = run,
};
