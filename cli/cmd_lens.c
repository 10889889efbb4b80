// headscope lens MODEL: what the model would say after each layer, and where a logit comes from.
#include <stdlib.h>

#include "cli/lens/lens.h"

static int prepare(hs_lens_work *w) {
    const hs_lens_options *o = w->opt;
    int rc = hs_out_check(&o->out);
    if (!rc) rc = hs_session_open(&w->session, w->call, &o->model, &o->prompt);
    if (!rc) rc = hs_cli_prompts_check(w->session.prompts, 0, hs_cli_n_ctx(w->session.model));
    if (!rc)
        rc = hs_do_open(&w->edits, &(hs_do_options){0}, &o->prompt.span, &w->session,
                        hs_cli_db_path(&o->db));
    return rc ? rc : hs_lens_check(w);
}

static int run(const hs_call *call, const void *options) {
    hs_lens_work w = {.call = call, .opt = options};
    int rc = prepare(&w);
    if (!rc) rc = hs_lens_store(&w);
    hs_bar_close(&w.session.bar);
    if (!rc) rc = hs_lens_print(&w);
    hs_db_close(w.db);
    hs_do_close(&w.edits);
    free(w.track);
    hs_session_close(&w.session);
    return rc;
}

#define AT(name) offsetof(hs_lens_options, name)
static const hs_opt what[] = {
    {"pos", 0, HS_OPT_TEXT, AT(pos), "POS", "-1",
     "which positions: -1, 3:7, a name of the prompt's or a --span, joined by +; all"},
    {"track", 0, HS_OPT_LIST, AT(track), "TOKEN,...", NULL,
     "follow these tokens through the layers, ids or texts; may be repeated"},
    {"norm", 0, HS_OPT_ENUM, AT(norm), "recomputed|frozen", "recomputed",
     "the final norm takes each row's own scale, or the one it had in the run"},
    {"dla", 0, HS_OPT_TEXT, AT(dla), "top|answer|TOKEN[,minus=TOKEN]", NULL,
     "attribute the logit of the token that the model says, of the prompt's \"answer\" or of an id "
     "or text, less that of another one (wrong, an id or a text), to the parts of the model"},
    {"by", 0, HS_OPT_LIST, AT(by), "neuron,source", NULL,
     "--dla: MLPs by their neurons too; heads by the positions they look at, for one --pos"},
    {"top", 'n', HS_OPT_COUNT, AT(top), "N", "10", "parts to show, and neurons to keep a position"},
    {0},
};

const hs_cmd hs_cmd_lens = {
    .name = "lens",
    .group = "runs",
    .title = "what the model would say after each layer, and where a logit comes from",
    .synopsis = "MODEL (-p TEXT | -f FILE | --dataset NAME)... [options]",
    .about =
        "The residual of each position asked for, as it enters the first layer and after each one, "
        "goes through the model's own final norm and unembedding: the token it would say, with its "
        "logit and probability, the divergence KL(final || lens) and the 0-based rank of the token "
        "that it says in the end. --track follows tokens of your choice. --dla is direct logit "
        "attribution: with the final norm's scale as it was, a logit (or the difference of two) is "
        "the sum of what the embeddings, every head, every MLP and the biases put into the "
        "residual; heads have it as the metric dla too. Results are in the tables lens_row, "
        "lens_track, lens_target and lens_dla: queries lens, lens_track, lens_first, dla and "
        "dla_sources.",
    .examples =
        (const char *const[][2]){
            {"lens model.gguf -p \"The capital of France is\"",
             "layer by layer, at the last token"},
            {"lens model.gguf -p \"The capital of France is\" --track \" Paris, London\"",
             "two tokens through the layers"},
            {"lens model.gguf -p \"The capital of France is\" --dla top --by neuron",
             "which heads, MLPs and neurons say it"},
            {"lens model.gguf --dataset ioi:n=20 --pos END --dla answer,minus=wrong",
             "what makes one name win over another"},
            {"lens model.gguf -p \"one two three\" --pos all -o lens.db", "for heatmap --lens"},
            {NULL}},
    .options = (const hs_opt_group[]){{"what to look at", what, 0},
                                      {"how", hs_opts_study, AT(study)},
                                      {"prompts", hs_opts_prompt, AT(prompt)},
                                      {"model", hs_opts_model, AT(model)},
                                      {"output", hs_opts_db_write, AT(db)},
                                      {"", hs_opts_table, AT(out)},
                                      {0}},
    .options_size = sizeof(hs_lens_options),
    .max_arg = 1,
    .run = run,
};
#undef AT
