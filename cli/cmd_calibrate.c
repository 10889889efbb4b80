// headscope calibrate METHOD MODEL: repairs attention without training, and proves it on other items.
#include <stdlib.h>

#include "cli/calibrate/calibrate.h"

// The model alone, its prompts follow.
static int open_session(hs_calibrate_work *w) {
    int rc = hs_session_open_bare(&w->session, &w->call, &w->opt->model, "calibrate");
    if (rc) return rc;
    hs_prompts_close(w->session.prompts);
    w->session.prompts = NULL;
    return hs_calibrate_open_sets(w);
}

static int prepare(hs_calibrate_work *w) {
    if (!w->whole->n_arg)
        return hs_fail(HS_EARG, "no method given: headscope calibrate METHOD MODEL; headscope list "
                                "calibrations names them");
    int rc = hs_calibrate_check_options(w->opt);
    if (!rc) rc = hs_calibrate_open(&w->method, w->whole->arg[0]);
    if (!rc) rc = open_session(w);
    if (!rc) rc = hs_calibrate_check_work(w);
    if (!rc && w->split)
        hs_note(w->whole, "the set is split in halves: %lld items to calibrate on, %lld held out",
                (long long)w->n_on, (long long)(w->n - w->n_on));
    return rc;
}

static void close_work(hs_calibrate_work *w) {
    hs_candidates_close(&w->candidates);
    hs_quiz_close(w->quiz);
    hs_quiz_close(w->decoding);
    hs_heads_free(&w->heads);
    hs_do_close(&w->spans);
    hs_calibrate_close(&w->method);
    hs_buf_free(&w->chosen_text);
    void *const blocks[] = {w->group, w->estimate, w->exact, w->loss, w->value, w->chosen_spec};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
    hs_db_close(w->db);
    hs_session_close(&w->session);
}

static int run(const hs_call *call, const void *options) {
    hs_calibrate_work w = {.call = *call, .whole = call, .opt = options};
    const double start = hs_now();
    if (w.call.n_arg) {
        w.call.arg++;
        w.call.n_arg--;
    }
    int rc = prepare(&w);
    if (!rc) rc = hs_calibrate_store(&w);
    if (!rc) rc = hs_calibrate_keep(&w);
    w.seconds = hs_now() - start;
    hs_bar_close(&w.session.bar);
    if (!rc) rc = hs_calibrate_print(&w);
    close_work(&w);
    return rc;
}

#define AT(name) offsetof(hs_calibrate_options, name)
static const hs_opt own[] = {
    {"on", 0, HS_OPT_TEXT, AT(on), "DATASET[:k=v,...]|FILE.jsonl", NULL,
     "what it is calibrated on (default: the method's usual set)"},
    {"held-out", 0, HS_OPT_TEXT, AT(held_out), "DATASET[:k=v,...]|FILE.jsonl", NULL,
     "what it is proved on (default: the set's held-out part, or half of what has none)"},
    {"heads", 0, HS_OPT_TEXT, AT(heads), "HEADS", NULL,
     "heads to choose from (default: of the layers that the method's paper takes)"},
    {"objective", 0, HS_OPT_ENUM, AT(objective), "auto|choice_nll|nll", "auto",
     "the loss that is to fall; auto: choice_nll where there are choices, else nll of the answers"},
    {"screen", 0, HS_OPT_ENUM, AT(screen), "gradient|exact", "gradient",
     "how heads are ranked: by their edits' effect to first order, or run one by one as papers do"},
    {"screen-tokens", 0, HS_OPT_INT, AT(screen_tokens), "N", "8192",
     "gradient: of how many tokens, continuations and all, the first items are looked at; 0: all"},
    {"decode", 0, HS_OPT_INT, AT(decode), "N", "16",
     "tokens to decode where held-out items have no choices, for exact match and recall"},
    {"keep", 0, HS_OPT_INT, AT(keep), "N", "16",
     "held-out prompts to record as they are and calibrated, two runs for diff; 0: none"},
    {"seed", 0, HS_OPT_INT, AT(seed), "N", "0", "of the shuffle and of the intervals"},
    {0},
};
static const hs_opt prompt[] = {
    {"bos", 0, HS_OPT_ENUM, offsetof(hs_prompt_options, bos), "auto|yes|no", "auto",
     "a beginning-of-sequence token before each text; auto: as the tokenizer says"},
    {"span", 0, HS_OPT_LIST, offsetof(hs_prompt_options, span), "NAME=A:B", NULL,
     "calls positions A to B-1 of each prompt NAME, for methods of spans; may be repeated"},
    {0},
};

const hs_cmd hs_cmd_calibrate = {
    .name = "calibrate",
    .group = "runs",
    .title = "repairs attention without training, and proves it on held-out items",
    .synopsis = "CALIBRATION[:k=v,...] MODEL [--on SET] [--held-out SET] [options]",
    .about =
        "The method is one of list calibrations, with its parameters; the ones that say how "
        "strong it is take several values, joined by +. Items have choices or answers: built-in "
        "sets as two_choice, or JSON lines with \"choices\" and \"answer\"; methods of a span "
        "also \"spans\".\n\n"
        "On the calibration part heads are ranked by what their edit does to the loss. By "
        "default that is estimated for all heads at once: the gradient of the loss by every "
        "head's output, times what the edit changes of it. At each strength the heads that gain "
        "most run together, 1, 2, 4, ... 64 of them and all that gain; the worse half of these "
        "candidates stops after a quarter of the items, and the next after a half. The best is "
        "chosen if it beats the model as it is.\n\n"
        "The held-out part proves it: every measure before and after, with the 95 % bootstrap "
        "interval of the paired differences (2000 resamples of items). The verdict is helps or "
        "harms only where the interval leaves out 0, of 20 items at least. Printed is the --do "
        "to use it again, with eval, generate, record; the first held-out prompts are recorded "
        "before and after, for diff and heatmap --diff.\n\n"
        "A built-in set gives 32 items to calibrate on and 128 held out, fewer where they are "
        "long (4096 and 16384 tokens), unless n= says otherwise: two to four minutes on two "
        "cores with a model of 135M parameters. With --resume an interrupted run screens its "
        "heads again and goes on with the item that it had come to.",
    .examples =
        (const char *const[][2]){
            {"calibrate act model.gguf", "hidden sinks, on the method's usual set"},
            {"calibrate act:beta=0.4,rule=abs model.gguf --on two_choice:n=64 --screen exact",
             "as the paper's code: every head alone first"},
            {"calibrate boost:span=doc,alpha=0.1+0.5 model.gguf --on questions.jsonl",
             "more attention to each question's document; the file is split in halves"},
            {"calibrate temper model.gguf --on train.jsonl --held-out test.jsonl --json",
             "own parts, for scripts"},
            {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0},
                                      {"", prompt, AT(prompt)},
                                      {"", hs_opts_study, AT(study)},
                                      {"model", hs_opts_model, AT(model)},
                                      {"output", hs_opts_db_write, AT(db)},
                                      {"", hs_opts_table, AT(out)},
                                      {0}},
    .options_size = sizeof(hs_calibrate_options),
    .max_arg = 2,
    .run = run,
};
#undef AT
