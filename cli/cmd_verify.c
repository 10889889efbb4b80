// headscope verify MODEL: the laws on this very file, or agreement with another tool's activations.
#include <math.h>
#include <stdlib.h>

#include "cli/out.h"
#include "cli/verify/verify.h"

struct options {
    hs_model_options model;
    hs_out_options out;
    const char *golden;
    double atol;
};

static const hs_col columns[] = {
    {"name", "check", 0},       {"passed", NULL, 0},        {NULL, "", 0},
    {"max_abs", "max abs", -1}, {"max_rel", "max rel", -1}, {"limit", "limit", -1},
};
enum { N_COLUMN = 6 };

static int make_table(hs_table **out, const hs_checks *checks) {
    int rc = hs_table_open(out, columns, N_COLUMN);
    for (int i = 0; !rc && i < checks->n; i++) {
        const hs_check *c = &checks->at[i];
        hs_table_str(*out, c->name);
        hs_table_bool(*out, c->passed);
        hs_table_str(*out, isnan(c->limit) ? "" : c->passed ? "ok" : "FAILED");
        hs_table_num(*out, c->difference);
        if (c->magnitude > 0)
            hs_table_num(*out, c->difference / c->magnitude);
        else
            hs_table_null(*out);
        hs_table_num(*out, c->limit);
    }
    return rc;
}

static int print(const hs_call *call, const struct options *opt, const hs_checks *checks,
                 const char *path) {
    hs_table *t;
    int rc = make_table(&t, checks);
    if (!rc && opt->out.json) {
        hs_buf json = {0};
        hs_jw j = {&json, false};
        hs_jw_begin(&j, '{');
        hs_jw_key(&j, "model");
        hs_jw_str(&j, path);
        hs_jw_key(&j, "precision");
        hs_jw_str(&j, hs_precision_names[opt->model.precision]);
        hs_jw_key(&j, "passed");
        hs_jw_bool(&j, !checks->failed);
        hs_table_json(t, &j, "checks");
        hs_jw_end(&j, '}');
        rc = hs_json_put(&json);
    } else if (!rc) {
        rc = hs_table_put(t, call, &opt->out);
    }
    hs_table_close(t);
    return rc;
}

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    const char *path;
    hs_model *model = NULL;
    hs_checks checks = {0};
    hs_bar bar;
    int rc = hs_out_check(&opt->out);
    if (!rc) rc = hs_cli_model_path(call, 0, &path);
    if (!rc && opt->atol < 0) rc = hs_fail(HS_EARG, "--atol takes a positive number");
    if (rc) return rc;
    hs_bar_open(&bar, call);
    rc = hs_cli_model_open(&model, path, &opt->model, &bar.progress);
    if (!rc && opt->golden)
        rc = hs_verify_golden(&checks, model, opt->golden, opt->atol);
    else if (!rc)
        rc = hs_verify_laws(&checks, model, path, &opt->model, &bar.progress);
    if (!rc && !opt->golden && opt->model.precision != HS_PREC_F64)
        rc = hs_verify_rounding(&checks, model, path, &opt->model, &bar.progress);
    hs_bar_close(&bar);
    if (!rc) rc = print(call, opt, &checks, path);
    if (!rc && checks.failed)
        rc = hs_fail(HS_ECHECK, "%d of %d checks failed", checks.failed, checks.n);
    free(checks.at);
    hs_model_close(model);
    return rc;
}

static const hs_opt own[] = {
    {"golden", 0, HS_OPT_TEXT, offsetof(struct options, golden), "FILE.safetensors", NULL,
     "compare with the activations in this file: tokens int64 [T], and hooks by name without a "
     "batch axis"},
    {"atol", 0, HS_OPT_NUM, offsetof(struct options, atol), "X", NULL,
     "largest absolute difference (default: 5e-5 of a tensor's largest magnitude, 1e-5 for "
     "patterns)"},
    {0},
};

const hs_cmd hs_cmd_verify = {
    .name = "verify",
    .group = "models",
    .title = "checks the laws on a model, or compares it with other tools",
    .synopsis = "MODEL [--golden FILE.safetensors] [options]",
    .about =
        "Runs a short sequence and checks what must hold for every model: rows of attention "
        "sum to 1, parts add up, and neither watching nor threads nor batches change a bit. "
        "Then runs a passage of English, in double precision too, and tells how far every "
        "hook is off in the layer where it is off most: more than 5e-4 of the tensor's largest "
        "magnitude, or 1e-4 for patterns, is no rounding any more and fails. With --precision "
        "bf16 these are told, not judged. With --golden, compares named activations instead. Exit "
        "4 when a check fails.",
    .examples = (const char *const[][2]){{"verify model.gguf", "the laws, on this very file"},
                                         {"verify model.gguf --precision bf16",
                                          "what products of bf16 numbers cost in accuracy"},
                                         {"verify model.gguf --golden hf.safetensors",
                                          "against activations that another tool wrote"},
                                         {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0},
                                      {"model", hs_opts_model, offsetof(struct options, model)},
                                      {"output", hs_opts_table, offsetof(struct options, out)},
                                      {0}},
    .options_size = sizeof(struct options),
    .max_arg = 1,
    .run = run,
};
