// headscope eval MODEL: the loss of a model on prompts, under edits too.
//
// nll is the mean over scored positions of -ln p(next token), weighted by token over all prompts:
// T-1 positions of a prompt of T tokens (the last row is run too, as in any other run). Metrics of
// answers are means over the prompts. Prompts that ask something are answered (analyses/quiz.h).
#include "cli/answers.h"
#include "cli/eval/eval.h"

struct options {
    hs_model_options model;
    hs_prompt_options prompt;
    hs_do_options edits;
    hs_db_options db;
    hs_out_options out;
    hs_opt_list metric;
    int64_t decode, generate; // 0: not given
    bool per_token;
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

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    hs_session session = {0};
    hs_do edits = {0};
    hs_answers answers = {0};
    hs_eval e = {.per_token = opt->per_token};
    int rc = hs_out_check(&opt->out);
    if (!rc) rc = read_metrics(&e.effects, &opt->metric);
    if (!rc) rc = hs_session_open(&session, call, &opt->model, &opt->prompt);
    if (!rc) rc = hs_cli_prompts_check(session.prompts, 0, hs_cli_n_ctx(session.model));
    if (!rc && e.effects) rc = hs_answers_open(&answers, &session, e.effects);
    if (!rc)
        rc = hs_asked_open(&e.asked, &session, e.effects, opt->decode ? opt->decode : HS_QUIZ_USUAL,
                           opt->generate);
    if (!rc)
        rc = hs_do_open(&edits, &opt->edits, &opt->prompt.span, &session, hs_cli_db_path(&opt->db));
    if (!rc) rc = hs_scores_open(&e.scores, &session, &edits, answers.at);
    if (!rc) rc = hs_asked_run(&e.asked, &session, &edits);
    if (!rc) rc = opt->out.json ? hs_eval_json(&e) : hs_eval_table(&e, call, &opt->out);
    hs_asked_close(&e.asked);
    hs_scores_close(&e.scores);
    hs_answers_close(&answers);
    hs_do_close(&edits);
    hs_session_close(&session);
    return rc;
}

static const hs_opt own[] = {
    {"metric", 'm', HS_OPT_LIST, offsetof(struct options, metric),
     "logit_diff,prob,prob_diff,accuracy", NULL,
     "what is measured of the prompts' answers too, some of these; may be repeated"},
    {"decode", 0, HS_OPT_COUNT, offsetof(struct options, decode), "N", NULL,
     "tokens to decode at most where an answer is asked for (default: twice the longest answer)"},
    {"generate", 0, HS_OPT_COUNT, offsetof(struct options, generate), "N", NULL,
     "tokens of free text after every prompt, for repetition and entropy"},
    {"per-token", 0, HS_OPT_FLAG, offsetof(struct options, per_token), NULL, NULL,
     "the loss of every scored position too"},
    {0},
};

const hs_cmd hs_cmd_eval = {
    .name = "eval",
    .group = "models",
    .title = "loss and perplexity on prompts, and answers that are right",
    .synopsis = "MODEL (-p TEXT | -f FILE | --dataset NAME)... [options]",
    .about =
        "nll is the mean of -ln p(next token) in nats over the scored positions, T-1 of a "
        "prompt of T tokens, every position weighing the same. With --do it is that of the "
        "edited model, baseline_nll that of the model as it is, and kl the mean of "
        "KL(unedited || edited) of the next token over the same positions. --metric adds "
        "means over prompts that say their answer, read at END: logit_diff compares \"answer\" "
        "and \"wrong\" of a JSON line; where it has \"answers\" and \"wrongs\", lists of all "
        "right and all wrong tokens, prob is the probability of all answers, prob_diff that "
        "less the wrong ones' (Hanna et al. 2023) and accuracy whether an answer comes first.\n"
        "Prompts may ask: a JSON line with \"choices\", a list of texts or of lists of ids, whose "
        "right one \"answer\" gives by number, from 0, or text; or without choices \"answer\", a "
        "text "
        "or a list of ids, or \"answers\", all that are right. Texts are tokenised alone, as they "
        "stand, so that a word mostly begins with a space. Each prompt is run once, and each "
        "continuation goes on from there; to edits its rows are decoded rows.\n"
        "Told are then answer_nll, the right one's loss a token; of choices accuracy (the largest "
        "sum of ln p), accuracy_norm (ln p a byte) and choice_nll (-ln of the right one's share); "
        "of choices yes and no also yes_share and f1 of yes over all items (POPE, Li et al. 2023). "
        "--metric accuracy is not that of choices, and is refused beside it. Open answers are "
        "decoded "
        "greedily up to a newline: exact_match is 1 when that begins with an answer, both in lower "
        "case and without punctuation and articles (SQuAD, Rajpurkar et al. 2016); recall is the "
        "share of the answer's words in it. --generate N goes on for N tokens: repetition is the "
        "share of 4-grams of tokens that stood there before, generated_entropy_nats the mean "
        "entropy of the next token, entropy_collapse the share of tokens where it is below 0.1.\n"
        "With --do, each has baseline_ beside it, and its change the 95 % interval of a paired "
        "bootstrap over prompts.",
    .examples = (const char *const[][2]){{"eval model.gguf -f texts.jsonl", "loss of each text"},
                                         {"eval model.gguf -p \"the cat sat\" --per-token --json",
                                          "loss of each token, for scripts"},
                                         {"eval model.gguf -f texts.jsonl --do ablate:L5H1",
                                          "what head 1 of layer 5 is worth"},
                                         {"eval model.gguf --dataset greater_than --metric "
                                          "prob_diff,accuracy",
                                          "how well it knows which years are later"},
                                         {"eval model.gguf -f questions.jsonl --do temper:L*,t=0.9",
                                          "answers that are right, with and without an edit"},
                                         {"eval model.gguf --dataset needle --decode 20",
                                          "how much of the needles it says"},
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
