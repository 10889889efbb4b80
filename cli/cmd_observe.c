// headscope observe RUN NAMES: runs observers on what a run stored.
#include <inttypes.h>
#include <string.h>

#include "analyses/observer.h"
#include "cli/out.h"
#include "cli/session.h"
#include "db/record.h"

struct options {
    hs_model_options engine;
    hs_db_options db;
    hs_run_options run;
    hs_out_options out;
    const char *model;
};

// The first word is the run when it is a number.
static bool is_number(const char *word) {
    return *word && strspn(word, "0123456789") == strlen(word);
}

// Whether an observer reads weights, which the database does not hold.
static bool needs_weights(const hs_observe_list *list) {
    for (int i = 0; i < list->n; i++)
        if (list->item[i].observer->weights) return true;
    return false;
}

static int print(const struct options *opt, const hs_observe_list *list, int64_t run,
                 const char *path) {
    if (!opt->out.json) {
        printf("run %" PRId64 " in %s: ", run, path);
        for (int i = 0; i < list->n; i++)
            printf("%s%s", i ? ", " : "", list->item[i].observer->name);
        puts(" added");
        return HS_OK;
    }
    hs_buf json = {0};
    hs_jw j = {&json, false};
    hs_jw_begin(&j, '{');
    hs_jw_key(&j, "run");
    hs_jw_int(&j, run);
    hs_jw_key(&j, "db");
    hs_jw_str(&j, path);
    hs_jw_key(&j, "observers");
    hs_jw_begin(&j, '[');
    for (int i = 0; i < list->n; i++) hs_jw_str(&j, list->item[i].observer->name);
    hs_jw_end(&j, ']');
    hs_jw_end(&j, '}');
    return hs_json_put(&json);
}

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    hs_observe_list list = {0};
    hs_model *model = NULL;
    hs_db *db = NULL;
    hs_bar bar;
    int64_t run_id = 0;
    int first = call->n_arg && is_number(call->arg[0]) ? 1 : 0;
    hs_run_options which = opt->run;
    if (call->n_arg == first)
        return hs_fail(HS_EARG, "which observers? headscope list observers shows them");
    if (first && which.run && strcmp(which.run, call->arg[0]) != 0)
        return hs_fail(HS_EARG, "two runs given, %s and --run %s: give one", call->arg[0],
                       which.run);
    if (first) which.run = call->arg[0];
    hs_bar_open(&bar, call);
    int rc = hs_observe_parse(&list, call->arg + first, call->n_arg - first, false);
    if (!rc) rc = hs_db_open(&db, hs_cli_db_path(&opt->db), HS_DB_WRITE);
    if (!rc) rc = hs_cli_run(call, call->n_arg, &which, db, &run_id);
    if (!rc && opt->model) rc = hs_cli_model_open(&model, opt->model, &opt->engine, &bar.progress);
    if (!rc) rc = hs_db_observe(db, run_id, &list, model, &bar.progress);
    hs_bar_close(&bar);
    if (rc == HS_ESTOP && db)
        rc = hs_fail(
            rc, "interrupted: prompts that were done are in %s; the same command does all of them",
            hs_db_path(db));
    if (!rc && !model && needs_weights(&list))
        hs_note(call, "without --model, what needs weights stays undefined");
    if (!rc) rc = print(opt, &list, run_id, hs_db_path(db));
    hs_observe_free(&list);
    hs_model_close(model);
    hs_db_close(db);
    return rc;
}

static const hs_opt own[] = {
    {"model", 'm', HS_OPT_TEXT, offsetof(struct options, model), "MODEL", NULL,
     "for observers that read weights"},
    {0},
};

const hs_cmd hs_cmd_observe = {
    .name = "observe",
    .group = "runs",
    .title = "runs observers on what a run stored",
    .synopsis = "[RUN] OBSERVER[:k=v,...]... [options]",
    .about = "The same code as record --observe, on stored maps and activations; from f32 maps the "
             "results are equal to the bit. Where the run did not store what an observer needs, "
             "the message says which option of record does.",
    .examples = (const char *const[][2]){{"observe sinks", "on the latest run"},
                                         {"observe 3 stripes echo --db run.db", "two on run 3"},
                                         {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0},
                                      {"database", hs_opts_db_write, offsetof(struct options, db)},
                                      {"", hs_opts_run, offsetof(struct options, run)},
                                      {"model", hs_opts_model, offsetof(struct options, engine)},
                                      {"output", hs_opts_json, offsetof(struct options, out)},
                                      {0}},
    .options_size = sizeof(struct options),
    .max_arg = 32,
    .run = run,
};
