// headscope list WHAT: what this build knows, from the registries.
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/calibration.h"
#include "analyses/experiment.h"
#include "analyses/prompt.h"
#include "cli/help/explain.h"
#include "cli/figures/figure.h"
#include "hooks/intervention.h"

struct options {
    hs_out_options out;
};

// Lists are rows of these, but for one that has more to say; a lister leaves out what it has not.
static const hs_col columns[] = {{"name", "name", 0}, {"title", "what", 0}, {"detail", "", 0}};
static const hs_col edit_columns[] = {{"name", "name", 0},
                                      {"title", "what", 0},
                                      {"example", "example", 0},
                                      {"reference", "reference", 0}};
static const hs_col method_columns[] = {{"name", "name", 0},
                                        {"title", "what", 0},
                                        {"usual", "usual set", 0},
                                        {"reference", "reference", 0}};
#define N_OF(a) ((int)(sizeof(a) / sizeof *(a)))

static void row(hs_table *t, const char *name, const char *title, const char *detail) {
    hs_table_str(t, name);
    hs_table_str(t, title);
    hs_table_str(t, detail ? detail : "");
}

static int list_archs(hs_table *t, const char *model) {
    (void)model;
    for (int i = 0; hs_archs[i]; i++)
        row(t, hs_archs[i]->name, hs_archs[i]->title, hs_archs[i]->example);
    return HS_OK;
}

// All hook points, or those that a model has.
static int list_hooks(hs_table *t, const char *path) {
    hs_model *model = NULL;
    int rc = HS_OK;
    if (path) rc = hs_cli_model_look(&model, path, &(hs_model_options){0});
    for (int p = 0; !rc && p < HS_N_POINT; p++) {
        const enum hs_point point = (enum hs_point)p;
        if (model && !hs_model_has_point(model, point, NULL)) continue;
        hs_buf name = {0};
        hs_hook_form(&name, point);
        rc = hs_buf_rc(&name);
        if (!rc) row(t, name.data, hs_hook_shape(point), hs_point_infos[p].alias);
        hs_buf_free(&name);
    }
    hs_model_close(model);
    return rc;
}

static int list_observers(hs_table *t, const char *model) {
    (void)model;
    for (int i = 0; hs_observers[i]; i++)
        row(t, hs_observers[i]->name, hs_observers[i]->title,
            hs_observers[i]->always ? "always recorded" : "--observe");
    return HS_OK;
}

static int list_metrics(hs_table *t, const char *model) {
    (void)model;
    hs_analysis a;
    for (int i = 0; hs_analysis_at(i, &a); i++)
        for (const hs_metric *m = a.metrics; m && m->name; m++) row(t, m->name, m->about, a.name);
    return HS_OK;
}

static int list_calibrations(hs_table *t, const char *model) {
    (void)model;
    for (int i = 0; hs_calibrations[i]; i++) {
        const hs_calibration *c = hs_calibrations[i];
        hs_table_str(t, c->name);
        hs_table_str(t, c->title);
        hs_table_str(t, c->usual);
        hs_table_str(t, c->reference);
    }
    return HS_OK;
}

static int list_datasets(hs_table *t, const char *model) {
    (void)model;
    for (int i = 0; hs_datasets[i]; i++) {
        hs_buf params = {0};
        for (const hs_param *p = hs_datasets[i]->params; p && p->name; p++)
            hs_buf_printf(&params, "%s%s=%s", params.len ? "," : "", p->name, p->fallback);
        row(t, hs_datasets[i]->name, hs_datasets[i]->title, hs_buf_text(&params));
        hs_buf_free(&params);
    }
    return HS_OK;
}

static int list_queries(hs_table *t, const char *model) {
    (void)model;
    for (const hs_query_info *q = hs_queries; q->name; q++) {
        char title[200], name[64], fallback[64], help[200];
        hs_query_title(q, title, sizeof title);
        hs_buf params = {0};
        for (int i = 0;
             hs_query_param(q, i, name, sizeof name, fallback, sizeof fallback, help, sizeof help);
             i++)
            hs_buf_printf(&params, "%s%s=%s", params.len ? "," : "", name, fallback);
        row(t, q->name, title, hs_buf_text(&params));
        hs_buf_free(&params);
    }
    return HS_OK;
}

static int list_colormaps(hs_table *t, const char *model) {
    (void)model;
    for (const hs_cmap *c = hs_cmaps; c->name; c++)
        row(t, c->name, c->about, c->diverging ? "diverging" : "sequential");
    return HS_OK;
}

static int list_backends(hs_table *t, const char *model) {
    static const struct {
        const hs_backend *backend;
        const char *about;
    } all[] = {
        {&hs_backend_cpu, "this machine's processor, f32: --precision exact or bf16"},
        {&hs_backend_ref, "plain loops in double, slow: --precision f64"},
    };
    (void)model;
    int rc = HS_OK;
    for (size_t i = 0; !rc && i < sizeof all / sizeof *all; i++) {
        hs_dev *dev;
        rc = all[i].backend->open(&dev, &(hs_dev_opts){.threads = 1});
        if (rc) continue;
        row(t, all[i].backend->name, all[i].about, all[i].backend->isa(dev));
        all[i].backend->close(dev);
    }
    return rc;
}

static int list_figures(hs_table *t, const char *model) {
    (void)model;
    for (int i = 0; hs_figures[i]; i++)
        row(t, hs_figures[i]->name, hs_figures[i]->title, hs_figures[i]->example);
    return HS_OK;
}

static int list_interventions(hs_table *t, const char *model) {
    (void)model;
    for (int i = 0; hs_interventions[i]; i++) {
        const hs_intervention *v = hs_interventions[i];
        hs_table_str(t, v->name);
        hs_table_str(t, v->title);
        hs_table_str(t, v->example);
        hs_table_str(t, v->reference);
    }
    return HS_OK;
}

static int list_experiments(hs_table *t, const char *model) {
    (void)model;
    hs_buf how = {0};
    for (int i = 0; hs_experiments[i]; i++) {
        hs_buf_clear(&how);
        hs_buf_printf(&how, "headscope %s", hs_analysis_of_experiment(hs_experiments[i]).command);
        row(t, hs_experiments[i]->name, hs_experiments[i]->title, hs_buf_text(&how));
    }
    hs_buf_free(&how);
    return HS_OK;
}

// ---- models in the local cache --------------------------------------------------------------

static int hub_folder(hs_buf *out) {
    const char *cache = getenv("HF_HUB_CACHE"), *home = getenv("HF_HOME"), *user = getenv("HOME");
    if (cache && *cache)
        hs_buf_str(out, cache);
    else if (home && *home)
        hs_buf_printf(out, "%s/hub", home);
    else
        hs_buf_printf(out, "%s/.cache/huggingface/hub", user ? user : "");
    return hs_buf_rc(out);
}

static int is_model(const struct dirent *e) {
    return strncmp(e->d_name, "models--", 8) == 0;
}

static int list_models(hs_table *t, const char *model) {
    (void)model;
    hs_buf folder = {0};
    int rc = hub_folder(&folder);
    struct dirent **entry = NULL;
    int n = rc ? -1 : scandir(folder.data, &entry, is_model, alphasort);
    for (int i = 0; i < n; i++) {
        hs_buf name = {0}; // models--org--name
        const char *org = entry[i]->d_name + 8, *cut = strstr(org, "--");
        hs_buf_add(&name, org, cut ? (size_t)(cut - org) : strlen(org));
        if (cut) hs_buf_printf(&name, "/%s", cut + 2);
        row(t, hs_buf_text(&name), "in the local Hugging Face cache", "");
        hs_buf_free(&name);
        free(entry[i]);
    }
    free(entry);
    hs_buf_free(&folder);
    return rc;
}

// ---- the command ----------------------------------------------------------------------------

static const struct what {
    const char *name;
    int (*list)(hs_table *t, const char *model);
    const hs_col *columns;
    int n_column;
} whats[] = {
    {"archs", list_archs, columns, N_OF(columns)},
    {"backends", list_backends, columns, N_OF(columns)},
    {"calibrations", list_calibrations, method_columns, N_OF(method_columns)},
    {"colormaps", list_colormaps, columns, N_OF(columns)},
    {"datasets", list_datasets, columns, N_OF(columns)},
    {"experiments", list_experiments, columns, N_OF(columns)},
    {"figures", list_figures, columns, N_OF(columns)},
    {"hooks", list_hooks, columns, N_OF(columns)},
    {"interventions", list_interventions, edit_columns, N_OF(edit_columns)},
    {"metrics", list_metrics, columns, N_OF(columns)},
    {"models", list_models, columns, N_OF(columns)},
    {"observers", list_observers, columns, N_OF(columns)},
    {"queries", list_queries, columns, N_OF(columns)},
    {0},
};

const char *hs_list_name(const void *ctx, int i) {
    (void)ctx;
    return whats[i].name;
}

static int unknown(const char *word) {
    hs_buf all = {0};
    for (int i = 0; whats[i].name; i++) hs_buf_printf(&all, "%s%s", i ? ", " : "", whats[i].name);
    const char *near = word ? hs_nearest(word, hs_list_name, NULL) : NULL;
    int rc;
    if (!word)
        rc = hs_fail(HS_EARG, "list what? One of %s", hs_buf_text(&all));
    else if (near)
        rc = hs_fail(HS_EARG, "there is no list of '%s': did you mean '%s'?", word, near);
    else
        rc = hs_fail(HS_EARG, "there is no list of '%s': one of %s", word, hs_buf_text(&all));
    hs_buf_free(&all);
    return rc;
}

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    const char *word = call->n_arg ? call->arg[0] : NULL;
    const struct what *w = whats;
    while (w->name && (!word || strcmp(w->name, word) != 0)) w++;
    if (!w->name) return unknown(word);
    hs_table *t = NULL;
    int rc = hs_out_check(&opt->out);
    if (!rc) rc = hs_table_open(&t, w->columns, w->n_column);
    if (!rc) rc = w->list(t, call->n_arg > 1 ? call->arg[1] : NULL);
    if (!rc && opt->out.json) {
        hs_buf json = {0};
        hs_jw jw = {&json, false};
        hs_jw_begin(&jw, '{');
        hs_table_json(t, &jw, w->name);
        hs_jw_end(&jw, '}');
        rc = hs_json_put(&json);
    } else if (!rc && !opt->out.csv && !opt->out.jsonl && !hs_table_rows(t)) {
        hs_note(call, "there are no %s here", w->name);
    } else if (!rc) {
        rc = hs_table_put(t, call, &opt->out);
    }
    hs_table_close(t);
    return rc;
}

const hs_cmd hs_cmd_list = {
    .name = "list",
    .group = "other",
    .title = "what this build knows: models, hooks, observers, queries and more",
    .synopsis = "WHAT [MODEL] [options]",
    .about =
        "WHAT is one of archs, backends, calibrations, colormaps, datasets, experiments, figures, "
        "hooks, interventions, metrics, models, observers, queries. hooks takes a MODEL and then "
        "lists the points which that model has. headscope help NAME explains an observer, "
        "intervention, data set or query.",
    .examples = (const char *const[][2]){{"list observers", "what --observe can watch"},
                                         {"list hooks model.gguf", "the hook points of a model"},
                                         {NULL}},
    .options = (const hs_opt_group[]){{"output", hs_opts_table, offsetof(struct options, out)},
                                      {0}},
    .options_size = sizeof(struct options),
    .max_arg = 2,
    .run = run,
};
