// headscope eval MODEL: the loss of a model on prompts, under edits too.
//
// nll is the mean over scored positions of -ln p(next token), weighted by token over all prompts:
// T-1 positions of a prompt of T tokens (the last row is run too, as in any other run). Metrics of
// answers are means over the prompts.
#include <inttypes.h>
#include <math.h>

#include "cli/answers.h"
#include "cli/edits.h"
#include "cli/out.h"
#include "cli/score.h"
#include "cli/session.h"

struct options {
    hs_model_options model;
    hs_prompt_options prompt;
    hs_do_options edits;
    hs_db_options db;
    hs_out_options out;
    hs_opt_list metric;
    bool per_token;
};

static const char *const baseline_keys[HS_N_EFFECT] = {
    [HS_EFFECT_LOGIT_DIFF] = "baseline_logit_diff",
    [HS_EFFECT_PROB] = "baseline_prob",
    [HS_EFFECT_PROB_DIFF] = "baseline_prob_diff",
    [HS_EFFECT_ACCURACY] = "baseline_accuracy",
};

// --metric as bits: those that are about answers.
static int read_metrics(unsigned *out, const hs_opt_list *list) {
    *out = 0;
    for (int i = 0; i < list->n; i++) {
        unsigned bits;
        int rc = hs_prefix(hs_effects_parse(&bits, list->at[i]), "--metric");
        if (rc) return rc;
        *out |= bits;
    }
    for (int e = 0; e < HS_N_EFFECT; e++)
        if (*out >> e & 1 && !hs_effects[e].answer)
            return hs_fail(HS_EARG,
                           "--metric %s: nll is always told, and kl with --do; metrics here are "
                           "those of answers, logit_diff, prob, prob_diff and accuracy",
                           hs_effects[e].name);
    return HS_OK;
}

static void key_nums(hs_jw *j, const char *key, const double *v, int64_t n) {
    hs_jw_key(j, key);
    hs_jw_begin(j, '[');
    for (int64_t i = 0; i < n; i++) hs_jw_num(j, v[i]);
    hs_jw_end(j, ']');
}

// What is known of prompts [from, to) as a whole.
static void json_means(hs_jw *j, const hs_scores *s, unsigned effects, int64_t from, int64_t to) {
    hs_jw_key_num(j, "nll", hs_scores_mean(s, s->nll, from, to));
    if (s->kl) {
        hs_jw_key_num(j, "baseline_nll", hs_scores_mean(s, s->base_nll, from, to));
        hs_jw_key_num(j, "kl", hs_scores_mean(s, s->kl, from, to));
    }
    for (int e = 0; e < HS_N_EFFECT; e++) {
        if (!(effects >> e & 1)) continue;
        hs_jw_key_num(j, hs_effects[e].name, hs_scores_answers(s, e, s->kl != NULL, from, to));
        if (s->kl) hs_jw_key_num(j, baseline_keys[e], hs_scores_answers(s, e, false, from, to));
    }
}

static void json_prompts(hs_jw *j, const hs_scores *s, unsigned effects) {
    hs_jw_key(j, "prompts");
    hs_jw_begin(j, '[');
    for (int64_t i = 0; i < s->n_prompt; i++) {
        const int64_t n = hs_scores_count(s, i, i + 1);
        hs_jw_begin(j, '{');
        hs_jw_key(j, "id");
        hs_jw_str(j, s->prompt[i]->id);
        json_means(j, s, effects, i, i + 1);
        key_nums(j, "token_nll", s->nll[i], n);
        if (s->kl) key_nums(j, "baseline_token_nll", s->base_nll[i], n);
        if (s->kl) key_nums(j, "token_kl", s->kl[i], n);
        hs_jw_end(j, '}');
    }
    hs_jw_end(j, ']');
}

static int put_json(const hs_scores *s, const struct options *opt, unsigned effects) {
    hs_buf json = {0};
    hs_jw j = {&json, false};
    hs_jw_begin(&j, '{');
    json_means(&j, s, effects, 0, s->n_prompt);
    hs_jw_key(&j, "tokens");
    hs_jw_int(&j, hs_scores_count(s, 0, s->n_prompt));
    if (opt->per_token) json_prompts(&j, s, effects);
    hs_jw_end(&j, '}');
    return hs_json_put(&json);
}

// The last two of each are there under edits; metrics of prompts follow.
enum { PLAIN = 4, EDITED = 6, MOST = EDITED + 2 * HS_N_EFFECT };
static const hs_col prompt_columns[EDITED] = {{"prompt", "prompt", 0},     {"tokens", "scored", 0},
                                              {"nll", "nll", 6},           {"perplexity", "ppl", 3},
                                              {"baseline_nll", "base", 6}, {"kl", "kl", 6}};
static const hs_col token_columns[EDITED] = {{"prompt", "prompt", 0},     {"position", "pos", 0},
                                             {"token", "next id", 0},     {"nll", "nll", 6},
                                             {"baseline_nll", "base", 6}, {"kl", "kl", 6}};

static int columns(hs_col *out, const hs_scores *s, unsigned effects) {
    const int n_plain = s->kl ? EDITED : PLAIN;
    int n = 0;
    while (n < n_plain) {
        out[n] = prompt_columns[n];
        n++;
    }
    for (int e = 0; e < HS_N_EFFECT; e++) {
        if (!(effects >> e & 1)) continue;
        out[n++] = (hs_col){hs_effects[e].name, hs_effects[e].name, 6};
        if (s->kl) out[n++] = (hs_col){baseline_keys[e], "base", 6};
    }
    return n;
}

static void table_prompt(hs_table *t, const hs_scores *s, unsigned effects, int64_t i) {
    const double nll = hs_scores_mean(s, s->nll, i, i + 1);
    hs_table_str(t, s->prompt[i]->id);
    hs_table_int(t, hs_scores_count(s, i, i + 1));
    hs_table_num(t, nll);
    hs_table_num(t, exp(nll));
    if (s->kl) {
        hs_table_num(t, hs_scores_mean(s, s->base_nll, i, i + 1));
        hs_table_num(t, hs_scores_mean(s, s->kl, i, i + 1));
    }
    for (int e = 0; e < HS_N_EFFECT; e++) {
        if (!(effects >> e & 1)) continue;
        hs_table_num(t, hs_scores_answers(s, e, s->kl != NULL, i, i + 1));
        if (s->kl) hs_table_num(t, hs_scores_answers(s, e, false, i, i + 1));
    }
}

static void table_tokens(hs_table *t, const hs_scores *s, int64_t i) {
    for (int64_t k = 0; k < hs_scores_count(s, i, i + 1); k++) {
        hs_table_str(t, s->prompt[i]->id);
        hs_table_int(t, k);
        hs_table_int(t, s->prompt[i]->tokens[k + 1]);
        hs_table_num(t, s->nll[i][k]);
        if (!s->kl) continue;
        hs_table_num(t, s->base_nll[i][k]);
        hs_table_num(t, s->kl[i][k]);
    }
}

// The lines below the table.
static void put_loss(const hs_scores *s) {
    const int64_t n = hs_scores_count(s, 0, s->n_prompt);
    const double nll = hs_scores_mean(s, s->nll, 0, s->n_prompt);
    if (!n) {
        puts("\nnll - over 0 positions, perplexity -");
        return;
    }
    printf("\nnll %.6f over %" PRId64 " positions, perplexity %.3f\n", nll, n, exp(nll));
    if (!s->kl) return;
    const double base = hs_scores_mean(s, s->base_nll, 0, s->n_prompt);
    printf("unedited %.6f, perplexity %.3f: %+.6f, kl %.6f\n", base, exp(base), nll - base,
           hs_scores_mean(s, s->kl, 0, s->n_prompt));
}

static void put_answers(const hs_scores *s, unsigned effects) {
    for (int e = 0; e < HS_N_EFFECT; e++) {
        if (!(effects >> e & 1)) continue;
        const double value = hs_scores_answers(s, e, s->kl != NULL, 0, s->n_prompt);
        const double base = hs_scores_answers(s, e, false, 0, s->n_prompt);
        printf("%s %.6f over %" PRId64 " prompts", hs_effects[e].name, value, s->n_prompt);
        if (s->kl) printf(", unedited %.6f: %+.6f", base, value - base);
        putchar('\n');
    }
}

static int put_table(const hs_call *call, const hs_scores *s, const struct options *opt,
                     unsigned effects) {
    hs_table *t;
    hs_col cols[MOST];
    const int n = columns(cols, s, effects);
    int rc = opt->per_token ? hs_table_open(&t, token_columns, s->kl ? EDITED : PLAIN)
                            : hs_table_open(&t, cols, n);
    if (rc) return rc;
    for (int64_t i = 0; i < s->n_prompt; i++) {
        if (opt->per_token)
            table_tokens(t, s, i);
        else
            table_prompt(t, s, effects, i);
    }
    rc = hs_table_put(t, call, &opt->out);
    hs_table_close(t);
    if (rc || opt->out.csv || opt->out.jsonl) return rc;
    put_loss(s);
    put_answers(s, effects);
    return HS_OK;
}

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    hs_session session = {0};
    hs_do edits = {0};
    hs_scores scores = {0};
    hs_answers answers = {0};
    unsigned effects = 0;
    int rc = hs_out_check(&opt->out);
    if (!rc) rc = read_metrics(&effects, &opt->metric);
    if (!rc) rc = hs_session_open(&session, call, &opt->model, &opt->prompt);
    if (!rc) rc = hs_cli_prompts_check(session.prompts, 0, hs_cli_n_ctx(session.model));
    if (!rc && effects) rc = hs_answers_open(&answers, &session, effects);
    if (!rc)
        rc = hs_do_open(&edits, &opt->edits, &opt->prompt.span, &session, hs_cli_db_path(&opt->db));
    if (!rc) rc = hs_scores_open(&scores, &session, &edits, answers.at);
    if (!rc)
        rc = opt->out.json ? put_json(&scores, opt, effects)
                           : put_table(call, &scores, opt, effects);
    hs_scores_close(&scores);
    hs_answers_close(&answers);
    hs_do_close(&edits);
    hs_session_close(&session);
    return rc;
}

static const hs_opt own[] = {
    {"metric", 'm', HS_OPT_LIST, offsetof(struct options, metric),
     "logit_diff,prob,prob_diff,accuracy", NULL,
     "what is measured of the prompts' answers too, some of these; may be repeated"},
    {"per-token", 0, HS_OPT_FLAG, offsetof(struct options, per_token), NULL, NULL,
     "the loss of every scored position too"},
    {0},
};

const hs_cmd hs_cmd_eval = {
    .name = "eval",
    .group = "models",
    .title = "loss and perplexity on prompts",
    .synopsis = "MODEL (-p TEXT | -f FILE | --dataset NAME)... [options]",
    .about =
        "nll is the mean of -ln p(next token) in nats over the scored positions, T-1 of a "
        "prompt of T tokens, every position weighing the same. With --do it is that of the "
        "edited model, baseline_nll that of the model as it is, and kl the mean of "
        "KL(unedited || edited) of the next token over the same positions. --metric adds "
        "means over prompts that say their answer, read at END: logit_diff compares \"answer\" "
        "and \"wrong\" of a JSON line; where it has \"answers\" and \"wrongs\", lists of all "
        "right and all wrong tokens, prob is the probability of all answers, prob_diff that "
        "less the wrong ones' (Hanna et al. 2023) and accuracy whether an answer comes first.",
    .examples = (const char *const[][2]){{"eval model.gguf -f texts.jsonl", "loss of each text"},
                                         {"eval model.gguf -p \"the cat sat\" --per-token --json",
                                          "loss of each token, for scripts"},
                                         {"eval model.gguf -f texts.jsonl --do ablate:L5H1",
                                          "what head 1 of layer 5 is worth"},
                                         {"eval model.gguf --dataset greater_than --metric "
                                          "prob_diff,accuracy",
                                          "how well it knows which years are later"},
                                         {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0},
                                      {"", hs_opts_do, offsetof(struct options, edits)},
                                      {"prompts", hs_opts_prompt, offsetof(struct options, prompt)},
                                      {"model", hs_opts_model, offsetof(struct options, model)},
                                      {"runs that --do names", hs_opts_db_read,
                                       offsetof(struct options, db)},
                                      {"output", hs_opts_table, offsetof(struct options, out)},
                                      {0}},
    .options_size = sizeof(struct options),
    .max_arg = 1,
    .run = run,
};
