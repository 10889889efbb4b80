// headscope weights MODEL: what the weights alone say of heads and neurons. Nothing is run but layer 0
// on single tokens; the results are kept with a prompt of no tokens.
#include <stdlib.h>
#include <string.h>

#include "cli/weights/weights.h"

struct work {
    const hs_call *call;
    const hs_weights_options *opt;
    hs_session session;
    hs_db *db;
    hs_token_list tokens;
    hs_analysis as;
    int64_t run;
};

// Metrics of the command, and the order of heads.
static bool is_sort(const char *name) {
    for (const hs_metric *m = hs_experiment_weights.metrics; m->name; m++)
        if (!strcmp(m->name, name)) return true;
    return !strcmp(name, "head");
}

static int check(const hs_weights_options *o) {
    int rc = hs_out_check(&o->out);
    if (rc) return rc;
    if (!is_sort(o->sort))
        return hs_fail(HS_EARG, "--sort takes head or a metric of headscope help weights, not '%s'",
                       o->sort);
    if (o->sample < 0 || o->composition < 0 || o->neurons < 0)
        return hs_fail(HS_EARG, "--sample, --composition and --neurons take a number from 0 on");
    if (o->length > 1000000) return hs_fail(HS_EARG, "--length takes at most 1000000 tokens");
    return HS_OK;
}

static int prepare(struct work *w) {
    const hs_weights_options *o = w->opt;
    int rc = check(o);
    if (!rc) rc = hs_session_open_bare(&w->session, w->call, &o->model, "weights");
    if (rc) return rc;
    if (o->neurons && hs_model_config(w->session.model)->mlp == HS_MLP_NONE)
        return hs_fail(HS_ENOTFOUND, "--neurons: this model has no MLPs, and so no neurons");
    return o->tokens.n
               ? hs_token_list_parse(&w->tokens, &o->tokens, w->session.model)
               : hs_token_list_draw(&w->tokens, o->sample, (uint64_t)o->seed, w->session.model);
}

// Members of an object: what decides the results.
static void what_json(hs_buf *out, const struct work *w) {
    const hs_weights_options *o = w->opt;
    hs_jw j = {out, false};
    hs_jw_key_str(&j, "embed", o->embed ? "mlp0" : "token");
    hs_jw_key_int(&j, "length", o->length);
    hs_jw_key(&j, "composition");
    hs_jw_bool(&j, o->composition > 0);
    hs_jw_key(&j, "neurons");
    hs_jw_bool(&j, o->neurons > 0);
    hs_jw_key(&j, "tokens");
    hs_jw_begin(&j, '[');
    for (int64_t i = 0; i < w->tokens.n; i++) hs_jw_int(&j, w->tokens.id[i]);
    hs_jw_end(&j, ']');
}

static int weigh(struct work *w, hs_study *study) {
    const hs_weights_options *o = w->opt;
    hs_emit emit;
    const int64_t ord = hs_study_next(study);
    if (ord < 0) return HS_OK;
    const hs_weights_opts opts = {.model = w->session.model,
                                  .mlp0 = o->embed,
                                  .token = w->tokens.id,
                                  .n_token = w->tokens.n,
                                  .length = o->length,
                                  .composition = o->composition > 0,
                                  .neurons = o->neurons > 0,
                                  .progress = &w->session.bar.progress};
    int rc = hs_study_begin(study, ord, &emit);
    if (!rc) rc = hs_weights(&opts, &emit);
    return hs_study_end(study, rc);
}

static int store(struct work *w) {
    const hs_weights_options *o = w->opt;
    hs_buf what = {0};
    hs_study study;
    w->as = hs_analysis_of_experiment(&hs_experiment_weights);
    what_json(&what, w);
    const hs_study_opts opts = {.call = w->call,
                                .session = &w->session,
                                .prompt = &o->prompt,
                                .db = &w->db,
                                .path = hs_cli_db_path(&o->db),
                                .how = &o->study,
                                .seed = o->seed,
                                .as = &w->as,
                                .what = &what};
    int rc = hs_study_open(&study, &opts);
    if (!rc) rc = weigh(w, &study);
    w->run = study.id;
    return hs_study_close(&study, rc);
}

static int run(const hs_call *call, const void *options) {
    struct work w = {.call = call, .opt = options};
    int rc = prepare(&w);
    if (!rc) rc = store(&w);
    hs_bar_close(&w.session.bar);
    if (!rc)
        rc = hs_weights_print(&(hs_weights_found){.call = call,
                                                  .opt = options,
                                                  .model = w.session.model,
                                                  .tokens = &w.tokens,
                                                  .source = {.db = w.db, .run = w.run}});
    hs_db_close(w.db);
    free(w.tokens.id);
    hs_session_close(&w.session);
    return rc;
}

#define AT(name) offsetof(hs_weights_options, name)
static const hs_opt what[] = {
    {"embed", 0, HS_OPT_ENUM, AT(embed), "token|mlp0", "token",
     "what tokens are to ov_copying and qk_matching from layer 1 on: their embedding, or what "
     "layer 0 makes of each alone"},
    {"tokens", 0, HS_OPT_LIST, AT(tokens), "TEXT,...", NULL,
     "copying scores of these: texts of one token each (' Mary, John'), or #ID; may be repeated"},
    {"sample", 0, HS_OPT_INT, AT(sample), "N", "64",
     "without --tokens: of so many words drawn from the vocabulary by --seed; 0: no copying "
     "scores"},
    {"length", 0, HS_OPT_COUNT, AT(length), "T", "64",
     "tokens of the prompts that spectral_bound_nats is for"},
    {"composition", 0, HS_OPT_INT, AT(composition), "N", "0",
     "all pairs of heads too, and show the N that compose most by Q, K and V"},
    {"neurons", 0, HS_OPT_INT, AT(neurons), "N", "0",
     "all neurons too, and show the N with the highest probability"},
    {"top", 'n', HS_OPT_COUNT, AT(top), "N", "10", "heads to show"},
    {"sort", 0, HS_OPT_TEXT, AT(sort), "METRIC", "ov_copying",
     "by which metric, largest first; head: by layer and head"},
    {0},
};
static const hs_opt how[] = {
    {"seed", 0, HS_OPT_INT, AT(seed), "N", "0", "of --sample"},
    {0},
};

const hs_cmd hs_cmd_weights = {
    .name = "weights",
    .group = "runs",
    .title = "what the weights alone say of heads and neurons",
    .synopsis = "MODEL [options]",
    .about =
        "Needs no prompt. ov_copying is the sum of the real parts of the eigenvalues of W_E W_V "
        "W_O "
        "W_U over the sum of their sizes: near 1, the head raises the tokens that it attends to; "
        "near -1 it lowers them. qk_matching is the same of W_E W_Q W_K^T W_E^T: near 1, tokens "
        "attend to tokens like themselves. copy_score is the share of single tokens that are among "
        "the 5 that the head's output favours when it attends to them, behind layer 0 and the norm "
        "of block 1; negative, when the output is turned round. Norms and effective ranks (exp of "
        "the entropy of the singular values' shares) are of W_V W_O and W_Q W_K^T. Norm gains are "
        "folded in; QK is that without rotation, of offset 0. spectral_bound is a lower bound of "
        "entropy_nats on any prompt of --length tokens, mostly 0 in trained models. Composition is "
        "the norm of the product of an earlier head's OV with the later head's QK or OV, over the "
        "product of their norms, beside what random matrices come to. Neurons are read through the "
        "LM head, what they read (gate, up) and what they write (down). All of it is kept in the "
        "database, with a prompt of no tokens: heads, heatmap and query read it.",
    .examples =
        (const char *const[][2]){
            {"weights model.gguf -o weights.db", "every head's scores"},
            {"weights model.gguf --tokens \" Tom, Anna, Paul\" --sort copy_score",
             "which heads copy names"},
            {"weights model.gguf --embed mlp0", "tokens as later layers see them"},
            {"weights model.gguf --composition 20", "which heads read which"},
            {"weights model.gguf --neurons 30", "neurons that stand for one token"},
            {NULL}},
    .options = (const hs_opt_group[]){{"what is measured", what, 0},
                                      {"how", how, 0},
                                      {"", hs_opts_study, AT(study)},
                                      {"model", hs_opts_model, AT(model)},
                                      {"output", hs_opts_db_write, AT(db)},
                                      {"", hs_opts_table, AT(out)},
                                      {0}},
    .options_size = sizeof(hs_weights_options),
    .max_arg = 1,
    .run = run,
};
#undef AT
