// headscope influence MODEL: how much texts depend on a few heads, by masking them.
//
// Each text is stored when it is done, under all sets of heads; what is printed is read from the
// database.
#include <math.h>
#include <stdlib.h>

#include "cli/influence/influence.h"
#include "model/core/mem.h"

enum { MAX_CONTROL = 1000 };

// ---- into the database --------------------------------------------------------------------------

typedef struct store {
    hs_influence_work *w;
    hs_analysis as;
    hs_study study;
} store;

static const char *why_none(double base, int64_t n_token) {
    return n_token < 2 ? "a text of one token has no scored position"
           : base == 0 ? "its loss is 0: there is nothing to compare with"
                       : "its loss is not a number";
}

static int on_text(void *ctx, const hs_influence_text *text) {
    store *s = ctx;
    const hs_influence_work *w = s->w;
    const int64_t n_token = hs_prompts_at(w->session.prompts, text->ord)->n_token;
    hs_emit emit;
    int rc = hs_study_begin(&s->study, text->ord, &emit);
    for (int i = 0; i < w->n_set && !rc; i++) {
        const hs_influence_set *set = &w->set[i];
        const double score = hs_influence_score(text->base, text->masked[i]);
        const hs_value row[] = {
            {.type = HS_VAL_TEXT, .s = hs_influence_kinds[set->kind]},
            {.type = HS_VAL_INT, .i = set->draw},
            {.type = HS_VAL_TEXT, .s = w->name[i]},
            {.type = HS_VAL_INT, .i = set->n_head},
            {.type = HS_VAL_NUM, .f = text->base},
            {.type = HS_VAL_NUM, .f = text->masked[i]},
            {.type = HS_VAL_NUM, .f = score},
            {.type = isnan(score) ? HS_VAL_TEXT : HS_VAL_NULL, .s = why_none(text->base, n_token)},
        };
        rc = emit.row(emit.ctx, "text", row);
    }
    return hs_study_end(&s->study, rc);
}

static void what_json(hs_buf *out, const hs_influence_work *w) {
    hs_jw j = {out, false};
    hs_jw_key_str(&j, "heads", w->name[0]);
    hs_jw_key_int(&j, "control", w->n_set > 1 ? w->opt->control : 0);
    hs_jw_key_str(&j, "spare", w->opt->spare ? w->opt->spare : "none");
    hs_jw_key_int(&j, "seed", w->opt->seed);
}

static int open_study(store *s) {
    hs_influence_work *w = s->w;
    hs_buf what = {0};
    what_json(&what, w);
    const hs_study_opts opts = {.call = w->call,
                                .session = &w->session,
                                .prompt = &w->opt->prompt,
                                .db = &w->db,
                                .path = hs_cli_db_path(&w->opt->db),
                                .how = &w->opt->study,
                                .seed = w->opt->seed,
                                .as = &s->as,
                                .what = &what};
    return hs_study_open(&s->study, &opts);
}

static int score_texts(hs_influence_work *w) {
    store s = {.w = w, .as = hs_analysis_of_experiment(&hs_experiment_influence)};
    const hs_influence_opts opts = {.model = w->session.model,
                                    .prompts = w->session.prompts,
                                    .set = w->name,
                                    .n_set = w->n_set,
                                    .progress = &w->session.bar.progress};
    int64_t *ord = NULL, n = 0;
    int rc = open_study(&s);
    w->run = s.study.id;
    if (!rc) rc = hs_study_left(&s.study, &ord, &n);
    if (!rc && n) rc = hs_influence(&opts, ord, n, on_text, &s);
    free(ord);
    return hs_study_close(&s.study, rc);
}

// ---- the command --------------------------------------------------------------------------------

static int check(const hs_influence_options *o) {
    if (o->seed < 0) return hs_fail(HS_EARG, "--seed takes a number from 0 on");
    if (o->control < 0 || o->control > MAX_CONTROL)
        return hs_fail(HS_EARG, "--control takes a number from 0 (none) to %d", MAX_CONTROL);
    return hs_out_check(&o->out);
}

static int run(const hs_call *call, const void *options) {
    hs_influence_work w = {.call = call, .opt = options};
    int rc = check(w.opt);
    if (!rc) rc = hs_session_open(&w.session, call, &w.opt->model, &w.opt->prompt);
    if (!rc) rc = hs_cli_prompts_check(w.session.prompts, 0, hs_cli_n_ctx(w.session.model));
    if (!rc) rc = hs_influence_sets(&w);
    if (!rc) rc = score_texts(&w);
    hs_bar_close(&w.session.bar);
    if (!rc) rc = hs_influence_print(&w);
    hs_db_close(w.db);
    for (int i = 0; i < w.n_set; i++) hs_buf_free(&w.set[i].heads);
    free(w.set);
    free(w.name);
    hs_session_close(&w.session);
    return rc;
}

#define AT(name) offsetof(hs_influence_options, name)
static const hs_opt own[] = {
    {"heads", 0, HS_OPT_TEXT, AT(heads), "HEADS", NULL,
     "mask these, L5H1,L7-9H2 (default: the best ones of a run)"},
    {"by", 0, HS_OPT_TEXT, AT(by), "METRIC", NULL,
     "the heads with the largest values of this metric (default: retrieval_tf)"},
    {"from", 0, HS_OPT_COUNT, AT(from), "RUN", NULL,
     "of this run of the database (default: the newest that has the metric)"},
    {"top", 'n', HS_OPT_COUNT, AT(top), "K", NULL, "how many of them (default: 5 % of all heads)"},
    {"control", 0, HS_OPT_INT, AT(control), "N", "10",
     "random sets of as many heads: N of all, and N of those that are not masked; 0: none"},
    {"spare", 0, HS_OPT_TEXT, AT(spare), "HEADS", NULL,
     "heads that the second N leave out too, such as those without which nothing works"},
    {"seed", 0, HS_OPT_INT, AT(seed), "N", "0", "of the random sets"},
    {0},
};

const hs_cmd hs_cmd_influence = {
    .name = "influence",
    .group = "runs",
    .title = "how much texts depend on retrieval heads",
    .synopsis = "MODEL (-p TEXT | -f FILE | --dataset NAME)... [options]",
    .about =
        "Masks heads, those that retrieve found as a rule, and tells of each text how much its "
        "loss grows: score = (masked - unedited) / unedited, nll in nats a token over the scored "
        "positions. A masked head attends to all keys that it sees with equal weights, in every "
        "row (ablate mode=uniform). Compare scores among texts of one kind only. random and others "
        "are medians over as many heads drawn by chance: in a small model one head may cost more "
        "than all retrieval heads, so mind the range below the table, and see --spare.",
    .examples =
        (const char *const[][2]){
            {"influence model.gguf -f texts.jsonl", "by the heads that retrieve found before"},
            {"influence model.gguf -f texts.jsonl --heads L5H1,L7H2 --control 0 --json",
             "by these heads, for scripts"},
            {"influence model.gguf -f texts.jsonl --by induction --top 8",
             "by the best induction heads of a recording"},
            {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0},
                                      {"", hs_opts_study, AT(study)},
                                      {"prompts", hs_opts_prompt, AT(prompt)},
                                      {"model", hs_opts_model, AT(model)},
                                      {"output", hs_opts_db_write, AT(db)},
                                      {"", hs_opts_table, AT(out)},
                                      {0}},
    .options_size = sizeof(hs_influence_options),
    .max_arg = 1,
    .run = run,
};
#undef AT
