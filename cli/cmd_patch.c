// headscope patch MODEL: what tells a clean prompt from a corrupted one, and where it is carried.
//
// Ways to patch are files of cli/patch/. What they found is in the database pair by pair, and what is
// printed is read from there, so that a fresh run and a resumed one say the same.
#include "cli/patch/patch.h"

static const hs_patch_way *const ways[] = {&hs_patch_way_path, &hs_patch_way_edges,
                                           &hs_patch_way_cells};

static int prepare(hs_patch_work *w) {
    const hs_patch_options *o = w->opt;
    int rc = hs_out_check(&o->out);
    if (!rc) rc = hs_session_open(&w->session, w->call, &o->model, &o->prompt);
    if (rc) return rc;
    w->dims = hs_dims_of(w->session.model);
    w->n_pair = hs_prompts_count(w->session.prompts);
    w->path = hs_cli_db_path(&o->db);
    rc = hs_cli_prompts_check(w->session.prompts, 0, hs_cli_n_ctx(w->session.model));
    if (!rc) rc = hs_prompts_add_pairs(w->session.prompts);
    if (!rc) rc = hs_answers_open(&w->answers, &w->session, 1u << o->metric);
    return rc ? rc
              : hs_do_open(&w->edits, &(hs_do_options){0}, &o->prompt.span, &w->session, w->path);
}

static int run(const hs_call *call, const void *options) {
    hs_patch_options o = *(const hs_patch_options *)options;
    hs_patch_work w = {.call = call, .opt = &o};
    size_t way = 0;
    while (!ways[way]->wanted(&o)) way++;
    if (o.direction == HS_PATCH_AUTO) o.direction = ways[way]->direction;
    int rc = prepare(&w);
    if (!rc) rc = ways[way]->run(&w);
    hs_db_close(w.db);
    hs_do_close(&w.edits);
    hs_answers_close(&w.answers);
    hs_session_close(&w.session);
    return rc;
}

#define AT(name) offsetof(hs_patch_options, name)
static const hs_opt what[] = {
    {"point", 0, HS_OPT_TEXT, AT(point), "POINT", "resid_pre",
     "what is patched, in every layer: resid_pre, resid_mid, attn_out, mlp_out, z, q, k, v, "
     "pattern, ...: see list hooks"},
    {"pos", 0, HS_OPT_TEXT, AT(pos), "POS", NULL,
     "at which positions: END, S2 (names of the prompts'), 3:7, all, joined by + ; several places, "
     "joined by commas, one after the other; S2? where a prompt has it; each: every position by "
     "itself (default: END; of paths to receivers, and of edges, all)"},
    {"heads", 0, HS_OPT_TEXT, AT(heads), "HEADS", "all",
     "which heads, of keys and values KV groups (L*G*), of points without heads layers (L0-3)"},
    {"metric", 'm', HS_OPT_ENUM, AT(metric), "nll|kl|jsd|logit_diff|prob|prob_diff|accuracy",
     "logit_diff", "what is measured"},
    {"direction", 0, HS_OPT_ENUM, AT(direction), "auto|denoise|noise", "auto",
     "clean values into the corrupted run, or corrupted ones into the clean run; auto: denoise, "
     "and "
     "noise of paths and edges"},
    {"by", 0, HS_OPT_ENUM, AT(by), "exact|gradient|atp", "exact",
     "measure every cell; estimate all of them from one backward pass (attribution patching); the "
     "same with queries and keys through the softmax that they really make (AtP*)"},
    {"grad-drop", 0, HS_OPT_FLAG, AT(grad_drop), NULL, NULL,
     "--by atp: sizes without cancellation too, from a backward pass a layer that leaves it out"},
    {"verify", 0, HS_OPT_COUNT, AT(verify), "K", NULL,
     "then measure the K cells of largest estimate"},
    {"top", 'n', HS_OPT_COUNT, AT(top), "N", "10", "cells to show"},
    {0},
};
static const hs_opt paths[] = {
    {"path", 0, HS_OPT_FLAG, AT(path), NULL, NULL,
     "what heads say along direct paths alone: later heads are held, MLPs and norms follow"},
    {"senders", 0, HS_OPT_TEXT, AT(senders), "HEADS", "all",
     "--path: heads L0-3H*, KV groups L*G* or MLPs L*M whose output is patched, one by one"},
    {"to", 0, HS_OPT_TEXT, AT(to), "logits|L9H6.q", "logits",
     "--path: the receivers, logits or inputs of heads, q, k or v, joined by + ; keys and values "
     "are "
     "the KV group's"},
    {"freeze-mlps", 0, HS_OPT_FLAG, AT(freeze_mlps), NULL, NULL, "--path: hold MLPs too"},
    {"edges", 0, HS_OPT_FLAG, AT(edges), NULL, NULL,
     "all edges between embedding, heads, MLPs and logits, estimated by gradients; --top of them"},
    {"threshold", 0, HS_OPT_NUM, AT(threshold), "X", NULL,
     "--edges: all whose score is farther from 0, instead of the --top"},
    {0},
};

const hs_cmd hs_cmd_patch = {
    .name = "patch",
    .group = "runs",
    .title = "activation patching: what tells a clean prompt from a corrupted one",
    .synopsis = "MODEL (-f FILE | --dataset NAME)... [options]",
    .about =
        "Prompts are JSON lines with \"tokens\" and \"corrupt_tokens\" of the same length, "
        "\"answer\" and \"wrong\" of the clean one, and \"positions\" by name. One half of each "
        "pair runs with one activation taken from the other half: of a layer, or of a head where "
        "the point has heads. value is the metric then, mean over the pairs; recovered is (value - "
        "corrupt) / (clean - corrupt), a ratio of means: 1 when the clean result comes with it "
        "(denoise), 0 when it is lost (noise); undefined when both halves score the same. "
        "logit_diff, prob, prob_diff and accuracy are read at END; where a line has \"answers\" "
        "and \"wrongs\", lists of all right and all wrong tokens, prob is the probability of all "
        "answers, prob_diff that less the wrong ones' (Hanna et al. 2023) and accuracy whether an "
        "answer comes first, while logit_diff compares the one \"answer\" and \"wrong\". nll, kl "
        "and jsd are means over the running half's scored positions. Of heads, the change is the "
        "metric patch_effect too; "
        "with --pos each, the series patch_effect_at. Each pair is committed when it is done; "
        "--resume goes on. --path patches what a sender says along direct paths: its output is the "
        "other half's, all later heads are held at what they say unedited, and what the receivers "
        "would be given then goes into a run that is free; of the logits all positions are END, of "
        "other receivers one position is much less work than all. The change is the metric "
        "path_effect. --edges estimates what every edge between senders and receivers carries; "
        "all scores are stored, and query circuit, heatmap --circuit and --json show the largest.",
    .examples =
        (const char *const[][2]){
            {"patch model.gguf -f pairs.jsonl --point resid_pre --pos each",
             "where in the text, layer by layer"},
            {"patch model.gguf -f pairs.jsonl --point z --pos END", "which heads, at the end"},
            {"patch model.gguf -f pairs.jsonl --point v --heads 'L5G*' --pos S2 --direction noise",
             "values of KV groups of a layer, noised"},
            {"patch model.gguf -f pairs.jsonl --point z --pos each --by gradient --verify 20",
             "all heads and positions, estimated; the largest measured"},
            {"patch model.gguf -f pairs.jsonl --point q --by atp --grad-drop", "AtP*"},
            {"patch model.gguf -f pairs.jsonl --path --pos END",
             "what each head says to the logits directly"},
            {"patch model.gguf -f pairs.jsonl --path --to L9H6.q+L9H9.q --pos END",
             "who makes these heads look where they look"},
            {"patch model.gguf -f pairs.jsonl --edges --top 40 --json", "a circuit, as a graph"},
            {NULL}},
    .options = (const hs_opt_group[]){{"what is patched", what, 0},
                                      {"paths and edges", paths, 0},
                                      {"how", hs_opts_study, AT(study)},
                                      {"prompts", hs_opts_prompt, AT(prompt)},
                                      {"model", hs_opts_model, AT(model)},
                                      {"output", hs_opts_db_write, AT(db)},
                                      {"", hs_opts_table, AT(out)},
                                      {0}},
    .options_size = sizeof(hs_patch_options),
    .max_arg = 1,
    .run = run,
};
#undef AT
