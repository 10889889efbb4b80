// headscope retrieve MODEL: retrieval heads by needle tests, and what masking them does.
#include <stdlib.h>

#include "cli/retrieve/retrieve.h"

static int prepare(hs_retrieve_work *w) {
    const hs_retrieve_options *o = w->opt;
    w->prompt = o->prompt;
    int rc = hs_retrieve_check_options(o);
    if (!rc) rc = hs_session_open_usual(&w->session, w->call, &o->model, &w->prompt, &w->usual);
    return rc ? rc : hs_retrieve_check(w);
}

static int run(const hs_call *call, const void *options) {
    hs_retrieve_work w = {.call = call, .opt = options, .usual = "needle"};
    int rc = prepare(&w);
    if (!rc) rc = hs_retrieve_store(&w);
    hs_bar_close(&w.session.bar);
    if (!rc) rc = hs_retrieve_print(&w);
    hs_db_close(w.db);
    for (int64_t i = 0; w.needles && i < w.n_needle; i++) hs_needle_free(&w.needles[i]);
    free(w.needles);
    free(w.score);
    hs_session_close(&w.session);
    return rc;
}

#define AT(name) offsetof(hs_retrieve_options, name)
static const hs_opt own[] = {
    {"max-new", 0, HS_OPT_COUNT, AT(max_new), "N", "50", "tokens to decode at most"},
    {"mask-k", 0, HS_OPT_TEXT, AT(mask_k), "K,...", NULL,
     "mask the top K heads, and five times as many random others; 0: leave that out (default: "
     "0,2,5,10,20,30,50, up to half of the heads)"},
    {"qa", 0, HS_OPT_TEXT, AT(qa), "N", NULL,
     "questions about passages that are asked under the same masks, of the data set qa; or a FILE "
     "of own ones; 0: none (default: 40, where the model has a tokenizer)"},
    {"mask-all", 0, HS_OPT_FLAG, AT(mask_all), NULL, NULL,
     "mask in all rows; else from the prompt's last token on"},
    {"top", 'n', HS_OPT_COUNT, AT(top), "N", "10", "heads to show"},
    {"no-share", 0, HS_OPT_FLAG, AT(no_share), NULL, NULL,
     "run each prompt from scratch: the same results, slower"},
    {"seed", 0, HS_OPT_INT, AT(seed), "N", "0", "of the random heads"},
    {0},
};

const hs_cmd hs_cmd_retrieve = {
    .name = "retrieve",
    .group = "runs",
    .title = "retrieval heads: who looks at what is copied out of a long context",
    .synopsis = "MODEL [-f FILE | --dataset NAME]... [options]",
    .about =
        "Needle tests (default: the data set needle) hide an answer in a long prompt and ask for "
        "it at the end. The answer is decoded greedily, to a token that ends the text or holds a "
        "newline; a step is a hit of a head when its largest weight lies on a position of the "
        "answer in the prompt that holds the token which is produced. retrieval is hits over the "
        "answer's length there, a mean over the tests that were passed: those where more than half "
        "of the answer's words were said (ROUGE-1 recall, no stemmer). retrieval_tf is the same "
        "with the true answer given, retrieval_soft the weight on those positions, both over all "
        "tests. Then the top K heads are masked (uniform attention over what they see), and five "
        "draws of K heads outside the largest top set, and all tests are decoded again, and so are "
        "extractive questions (data set qa), whose answers stand in a short passage: token F1, as "
        "SQuAD has it. What prompts share at their beginning is run once. Last comes a prompt of "
        "repeated random tokens, which gives RazorAttention's echo and echo_induction.\n\n"
        "Own tests and questions are JSON lines with \"tokens\", \"needle\": [START, END) of the "
        "answer in the "
        "prompt, and \"answer\": [IDS].",
    .examples =
        (const char *const[][2]){
            {"retrieve model.gguf", "the default tests, scores and masking"},
            {"retrieve model.gguf --dataset passkey --mask-k 0", "scores alone, on passkeys"},
            {"retrieve model.gguf -f tests.jsonl --mask-k 5,10,20 --qa 0 --json",
             "own tests, for scripts"},
            {"retrieve model.gguf -o needles.db --resume", "go on after an interruption"},
            {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0},
                                      {"", hs_opts_study, AT(study)},
                                      {"prompts", hs_opts_prompt, AT(prompt)},
                                      {"model", hs_opts_model, AT(model)},
                                      {"output", hs_opts_db_write, AT(db)},
                                      {"", hs_opts_table, AT(out)},
                                      {0}},
    .options_size = sizeof(hs_retrieve_options),
    .max_arg = 1,
    .run = run,
};
#undef AT
