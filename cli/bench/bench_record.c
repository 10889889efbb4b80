// A whole recording as `headscope record` makes it, into a scratch file that is removed: what the
// jobs of `headscope bench` time.
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analyses/observer.h"
#include "cli/bench/bench.h"
#include "cli/plan.h"
#include "db/record.h"
#include "model/core/mem.h"

// One recording in work.
typedef struct work {
    const hs_bench_recording *r;
    hs_plan plan;
    hs_prompts *prompts;
    hs_db *db;
    hs_rec *rec;
} work;

static int add_bar(hs_bench *b, hs_hooks *hooks, const hs_plan *plan) {
    uint64_t *none;
    int rc = hs_alloc(&none, (size_t)plan->dims.n_layer + 1, sizeof *none);
    if (!rc)
        rc = hs_hooks_add(hooks,
                          &(hs_hook){.points = none, .layer_done = hs_bench_layer_done, .ctx = b});
    free(none);
    return rc;
}

static int run(work *w, hs_observation *seen, hs_hooks *hooks) {
    const hs_seq seq = {.tokens = w->r->tokens, .n = w->r->n};
    const hs_batch batch = {.seq = &seq, .n_seq = 1};
    hs_context_set_tap(w->r->context, hs_hooks_tap(hooks));
    int rc = hs_context_eval(w->r->context, &batch);
    hs_context_set_tap(w->r->context, NULL);
    for (int i = 0; !rc && i < w->plan.observe.n; i++) {
        hs_emit emit;
        rc = hs_rec_emit(w->rec, &w->plan.observe.item[i], &emit);
        if (!rc) rc = hs_observation_finish(seen, i, &emit);
    }
    return rc;
}

static int record_prompt(work *w) {
    const hs_prompt *p = hs_prompts_at(w->prompts, 0);
    const hs_subject subject = {
        .dims = w->plan.dims, .tokens = p->tokens, .n_token = p->n_token, .model = w->r->b->model};
    hs_hooks *hooks = NULL;
    hs_observation *seen = NULL;
    int rc = hs_rec_prompt(w->rec, 0, p);
    if (rc) return rc;
    rc = hs_hooks_open(&hooks, &w->plan.dims);
    if (!rc) rc = hs_observation_open(&seen, &w->plan.observe, &subject);
    if (!rc) rc = hs_observation_hook(seen, hooks);
    if (!rc) rc = hs_rec_hook(w->rec, hooks);
    if (!rc) rc = add_bar(w->r->b, hooks, &w->plan);
    if (!rc) rc = run(w, seen, hooks);
    if (!rc)
        rc = hs_rec_prompt_end(w->rec);
    else
        hs_rec_prompt_cancel(w->rec);
    hs_observation_close(seen);
    hs_hooks_close(hooks);
    return rc;
}

static int record(work *w, const char *path) {
    const hs_model *model = w->r->b->model;
    const hs_plan_request ask = {.maps = w->r->maps};
    const hs_run_info info = {.model = model,
                              .model_path = w->r->b->path,
                              .argv_json = "[]",
                              .options_json = "{}",
                              .bos = hs_bos_names[HS_BOS_NO],
                              .n_ctx = hs_cli_n_ctx(model),
                              .precision = "exact"};
    int64_t done;
    bool complete;
    int rc = hs_plan_open(&w->plan, &ask, model);
    if (!rc) rc = hs_prompts_open(&w->prompts, NULL, HS_BOS_NO, w->plan.dims.n_vocab);
    if (!rc) rc = hs_prompts_add_tokens(w->prompts, NULL, w->r->tokens, w->r->n, 0, 0, NULL);
    if (!rc) rc = hs_db_open(&w->db, path, HS_DB_CREATE);
    if (!rc) rc = hs_rec_open(&w->rec, w->db, &info, false, &done, &complete);
    if (!rc) rc = hs_rec_keep(w->rec, w->plan.n_map ? &w->plan.maps : NULL, NULL, HS_STORE_F32);
    return rc ? rc : record_prompt(w);
}

static int close_all(work *w, int rc) {
    rc = hs_rec_close(w->rec, rc);
    hs_db_close(w->db);
    hs_prompts_close(w->prompts);
    hs_plan_close(&w->plan);
    return rc;
}

static void sweep(const hs_bench *b) {
    static const char *const names[] = {"run.db", "run.db-wal", "run.db-shm", "run.db-journal"};
    char path[sizeof b->dir + 32];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", b->dir, names[i]);
        unlink(path);
    }
}

int hs_bench_record(void *arg, double *seconds) {
    hs_bench_recording *r = arg;
    work w = {.r = r};
    char path[sizeof r->b->dir + 16];
    struct stat st;
    snprintf(path, sizeof path, "%s/run.db", r->b->dir);
    double start = hs_now();
    int rc = record(&w, path);
    rc = close_all(&w, rc);
    *seconds = hs_now() - start;
    if (!rc && !stat(path, &st)) r->bytes = (double)st.st_size;
    sweep(r->b);
    return rc;
}
