// headscope duo MODEL: which KV heads may forget all but the first and the last keys.
#include <stdlib.h>

#include "cli/duo/duo.h"

static int prepare(hs_duo_work *w) {
    const hs_duo_options *o = w->opt;
    w->prompt = o->prompt;
    int rc = hs_duo_check_options(o);
    if (!rc) rc = hs_session_open_usual(&w->session, w->call, &o->model, &w->prompt, &w->usual);
    return rc ? rc : hs_duo_check_work(w);
}

static int run(const hs_call *call, const void *options) {
    hs_duo_work w = {.call = call, .opt = options, .usual = "passkey:kind=words,lengths=512,n=3"};
    int rc = prepare(&w);
    if (!rc) rc = hs_duo_store(&w);
    hs_bar_close(&w.session.bar);
    if (!rc) rc = hs_duo_print(&w);
    hs_db_close(w.db);
    hs_do_close(&w.spans);
    free(w.probe);
    free(w.gate);
    hs_session_close(&w.session);
    return rc;
}

#define AT(name) offsetof(hs_duo_options, name)
static const hs_opt own[] = {
    {"sink", 0, HS_OPT_INT, AT(sink), "N", "16",
     "the first keys that a streaming head sees; the paper: 128 in training, 64 in use"},
    {"recent", 0, HS_OPT_COUNT, AT(recent), "N", "64",
     "the last keys that it sees, the row's own among them; the paper: 256"},
    {"labels", 0, HS_OPT_TEXT, AT(labels), "POS", NULL,
     "rows whose final hidden state counts: a span of the prompts', 30:40, -1, joined by + "
     "(default: the span qa, else the last position)"},
    {"steps", 0, HS_OPT_INT, AT(steps), "N", "0",
     "of the search for gates, one prompt each, some three forward passes; the paper: 2000"},
    {"rate", 0, HS_OPT_NUM, AT(rate), "X", "0.02", "of the search: how far a step goes at most"},
    {"lambda", 0, HS_OPT_NUM, AT(price), "X", "0.05", "of the search: the price of open gates"},
    {"sparsity", 0, HS_OPT_TEXT, AT(sparsity), "PERCENT,...", "25,50,75,100",
     "have these shares of all KV heads stream together; 0: leave that out"},
    {"top", 'n', HS_OPT_COUNT, AT(top), "N", "10", "KV heads to show"},
    {"seed", 0, HS_OPT_INT, AT(seed), "N", "0", "of random draws"},
    {0},
};

const hs_cmd hs_cmd_duo = {
    .name = "duo",
    .group = "runs",
    .title = "streaming heads: which KV heads need the first and the last keys only",
    .synopsis = "MODEL [-p TEXT | -f FILE | --dataset NAME]... [options]",
    .about =
        "A KV head streams when its group of query heads sees the first keys (the sink) and the "
        "recent ones only. duo has each stream alone and measures the squared change of the final "
        "hidden state, a mean over its numbers and the label rows: duo_probe. Heads that fetch "
        "what stands far back score high; a cache may drop the middle for all others. duo_z_error "
        "is what happens in the layer itself: |z' - z| / |z|, a mean over the group's heads and "
        "the rows that lose keys. Both are means over the prompts, by default three of pass keys "
        "of words with a question for each (passkey:kind=words); query heads of a group have one "
        "value.\n\n"
        "Then shares of all KV heads (--sparsity) stream together: those that the probe ranks "
        "lowest, those that it ranks highest, and five random draws. Told are the loss of the "
        "prompts and, where all of them are needle tests as those of passkey, needle and kv_json "
        "are, the recall of their answers, decoded greedily: unless the model passes no test "
        "unedited.\n\n"
        "With --steps the paper's gates are trained too, by slopes of activations alone. Every KV "
        "head has a gate a from 0 to 1, 1 at first. In one run all heads stream, and say (1 - a) "
        "of what they then see and a of what they said in the unedited run; the gates are moved "
        "(Adam) to lessen the change of the final hidden state plus lambda times their mean. "
        "duo_gate is where they end: of small models few stay open, and the order is what "
        "counts.",
    .examples =
        (const char *const[][2]){
            {"duo model.gguf", "on the default prompts"},
            {"duo model.gguf --dataset passkey:kind=words,lengths=900,n=2 --sink 64 --recent 256",
             "longer ones, the paper's deployment sizes"},
            {"duo model.gguf --steps 100", "and gates"},
            {"duo model.gguf -f prompts.jsonl --labels answer --json",
             "own prompts, which name the span that counts, for scripts"},
            {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0},
                                      {"", hs_opts_study, AT(study)},
                                      {"prompts", hs_opts_prompt, AT(prompt)},
                                      {"model", hs_opts_model, AT(model)},
                                      {"output", hs_opts_db_write, AT(db)},
                                      {"", hs_opts_table, AT(out)},
                                      {0}},
    .options_size = sizeof(hs_duo_options),
    .max_arg = 1,
    .run = run,
};
#undef AT
