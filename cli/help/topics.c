// The topics of `help`; see topics.h. What a table knows comes from the table: a topic's text says
// only what none does.
#include "cli/help/topics.h"

#include <string.h>

#include "analyses/prompt.h"
#include "cli/cli.h"
#include "cli/help/explain.h"
#include "cli/figures/figure.h"
#include "db/doc.h"
#include "db/export.h"
#include "db/query.h"
#include "hooks/intervention.h"
#include "model/model.h"
#include "model/tap.h"
#include "viz/fig.h"

enum { COLUMN = 20 };

// ---- what comes from tables -----------------------------------------------------------------

static void archs(hs_doc *d) {
    hs_doc_head(d, "families");
    for (int i = 0; hs_archs[i]; i++)
        hs_doc_explain(d, hs_archs[i]->name, hs_archs[i]->title, NULL, NULL);
}

static void datasets(hs_doc *d) {
    hs_doc_head(d, "data sets (--dataset)");
    for (int i = 0; hs_datasets[i]; i++)
        hs_doc_explain(d, hs_datasets[i]->name, hs_datasets[i]->title, NULL, NULL);
}

static void hooks(hs_doc *d) {
    hs_doc_head(d, "hook points: short name, name, shape");
    for (int p = 0; p < HS_N_POINT; p++) {
        const enum hs_point point = (enum hs_point)p;
        hs_buf text = {0};
        hs_hook_form(&text, point);
        hs_buf_printf(&text, " %s: %s", hs_hook_shape(point), hs_hook_about(point));
        hs_doc_explain(d, hs_point_infos[p].alias, hs_buf_text(&text), NULL, NULL);
        hs_buf_free(&text);
    }
    hs_doc_head(d, "statistics of a row, in row_stats");
    for (int i = 0; i < HS_N_STAT; i++)
        hs_doc_explain(d, hs_stat_infos[i].name, hs_stat_infos[i].about, hs_stat_infos[i].unit,
                       NULL);
}

static void explain_both(hs_doc *d, const char *name, const char *first, const char *then) {
    hs_buf text = {0};
    hs_buf_printf(&text, "%s: %s", first, then);
    hs_doc_explain(d, name, hs_buf_text(&text), NULL, NULL);
    hs_buf_free(&text);
}

static void interventions(hs_doc *d) {
    hs_doc_head(d, "interventions");
    for (int i = 0; hs_interventions[i]; i++) {
        const hs_intervention *v = hs_interventions[i];
        explain_both(d, v->name, v->title, v->example);
    }
    hs_doc_para(d, "headscope help NAME explains one, with its parameters.");
}

static void metrics(hs_doc *d) {
    hs_analysis a;
    for (int i = 0; hs_analysis_at(i, &a); i++) {
        const hs_observer *o = a.observer;
        if (!a.metrics || !a.metrics->name) continue;
        hs_buf heading = {0};
        hs_buf_printf(&heading, "%s %s",
                      !o          ? "of headscope"
                      : o->always ? "always recorded, by"
                                  : "with --observe",
                      a.name);
        hs_doc_head(d, hs_buf_text(&heading));
        hs_buf_free(&heading);
        for (const hs_metric *m = a.metrics; m->name; m++)
            hs_doc_explain(d, m->name, m->about, m->unit, NULL);
    }
}

// Whether a name of an observer, metric or query has to do with sinks.
static bool of_sinks(const char *name) {
    static const char *const stems[] = {"sink", "first", "drain", "massive"};
    for (size_t i = 0; i < sizeof stems / sizeof *stems; i++)
        if (strstr(name, stems[i])) return true;
    return false;
}

static void sinks(hs_doc *d) {
    hs_analysis giver;
    const hs_metric *m;
    hs_doc_head(d, "observers");
    for (int i = 0; hs_observers[i]; i++) {
        const hs_observer *o = hs_observers[i];
        if (of_sinks(o->name)) hs_doc_explain(d, o->name, o->about, NULL, NULL);
    }
    hs_doc_head(d, "metrics");
    for (int i = 0; (m = hs_metric_at(i, &giver)); i++)
        if (of_sinks(m->name)) hs_doc_explain(d, m->name, m->about, m->unit, NULL);
    hs_doc_head(d, "queries");
    for (const hs_query_info *q = hs_queries; q->name; q++) {
        char title[200];
        hs_query_title(q, title, sizeof title);
        if (of_sinks(q->name)) hs_doc_explain(d, q->name, title, NULL, NULL);
    }
}

// What a command says of itself, for topics about what it makes.
static void command(hs_doc *d, const char *name) {
    const hs_cmd *cmd = hs_cmd_find(name);
    if (!cmd) return;
    hs_buf text = {0};
    hs_buf_printf(&text, "headscope %s: %s", cmd->name, cmd->title);
    hs_doc_head(d, hs_buf_text(&text));
    hs_buf_free(&text);
    hs_doc_body(d, cmd->about);
    for (int i = 0; cmd->examples && cmd->examples[i][0]; i++) {
        hs_buf words = {0};
        hs_buf_printf(&words, "headscope %s", cmd->examples[i][0]);
        hs_doc_entry(d, hs_buf_text(&words), cmd->examples[i][1], 6);
        hs_buf_free(&words);
    }
}

static void formats(hs_doc *d) {
    hs_doc_head(d, "written by headscope export (--format, or the file's ending)");
    for (int i = 0; hs_export_formats[i]; i++) {
        const hs_export_format *f = hs_export_formats[i];
        explain_both(d, f->name, f->ending, f->title);
    }
    hs_doc_para(d, "headscope help export tells what each of them holds.");
}

static void figures(hs_doc *d) {
    hs_doc_head(d, "kinds");
    for (int i = 0; hs_figures[i]; i++)
        hs_doc_explain(d, hs_figures[i]->name, hs_figures[i]->title, NULL, NULL);
    command(d, "heatmap");
    hs_doc_head(d, "colour maps (--cmap)");
    for (const hs_cmap *c = hs_cmaps; c->name; c++)
        hs_doc_explain(d, c->name, c->about, NULL, NULL);
}

static void queries(hs_doc *d) {
    hs_doc_head(d, "named queries");
    for (const hs_query_info *q = hs_queries; q->name; q++) {
        char title[200], name[64], fallback[64], help[200];
        hs_buf text = {0};
        hs_query_title(q, title, sizeof title);
        hs_buf_str(&text, title);
        for (int i = 0;
             hs_query_param(q, i, name, sizeof name, fallback, sizeof fallback, help, sizeof help);
             i++)
            hs_buf_printf(&text, "%s %s=%s", i ? "," : ". Parameters:", name, fallback);
        hs_doc_explain(d, q->name, hs_buf_text(&text), NULL, NULL);
        hs_buf_free(&text);
    }
}

static void tables(hs_doc *d) {
    hs_table_doc t;
    bool views = false;
    hs_doc_head(d, "tables");
    for (int i = 0; hs_table_doc_at(i, &t); i++) {
        if (t.select && !views) hs_doc_head(d, "views");
        views = t.select != NULL;
        hs_doc_explain(d, t.name, t.about, NULL, NULL);
    }
    hs_doc_para(d, "headscope help table NAME explains the columns of one. Every observer whose "
                   "help shows a table has one more, called OBSERVER_TABLE.");
}

// ---- the topics -----------------------------------------------------------------------------

const hs_topic hs_topics[] = {
    {"models", "where models come from, and which can be run",
     "MODEL is a .gguf file, a .safetensors file with config.json beside it, a folder with "
     "config.json and safetensors, or a hub name org/name that is looked up in the local Hugging "
     "Face cache ($HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/huggingface/hub) and never downloaded. "
     "Without one, $HEADSCOPE_MODEL is taken.\n"
     "Results are those of f32 arithmetic on the weights exactly as stored. A model that cannot be "
     "honoured exactly is refused by name (exit 3).\n"
     "  headscope info model.gguf\n"
     "  headscope verify model.gguf\n",
     archs},
    {"prompts", "how prompts are given",
     "-p TEXT gives a prompt and may be repeated. -f FILE.jsonl reads an object a line: {\"text\": "
     "\"...\"} (or \"prompt\") is tokenised under --bos, {\"tokens\": [1, 2, 3]} is taken as it "
     "is; \"id\", \"period\" and \"bos_len\" are honoured, other keys kept. -f FILE.txt is one "
     "prompt. --dataset NAME:k=v,... makes prompts. All may be mixed.\n"
     "{\"positions\": {\"S2\": 10}} and {\"spans\": {\"doc\": [3, 20]}} name positions of that "
     "prompt, for what takes positions; END is the last one unless it says otherwise. Beside "
     "\"text\" a span may be a text: {\"spans\": {\"doc\": \"the cat sat\"}} is the tokens that "
     "cover the only place where it stands.\n"
     "{\"choices\": [\" Paris\", \" Rome\"], \"answer\": 0} and {\"answer\": \" Paris\"} ask what "
     "headscope eval answers.\n"
     "An option's value is the next word, whatever it begins with (-p \"-1 + 2\"), or follows "
     "'='.\n"
     "Within a run a prompt has a number, from 0, and an id: the file's, or the number.\n",
     datasets},
    {"select", "layers, heads, hooks and positions as options take them",
     "Everything is counted from 0.\n"
     "Heads :: L5H1 or 5.1; ranges and all of a kind, L0-3H*; several joined by commas; all; none. "
     "See help heads.\n"
     "Hooks :: Exact names, globs with * and ?, and braces, joined by commas: "
     "blocks.{0..3,11}.hook_resid_post,logits; or a short name for every layer: z, resid_pre, "
     "pattern. See help hooks.\n"
     "Positions :: 3, or -1 for the last.\n"
     "Prompts :: By number or by id: --prompt 2, --prompt story-7.\n"
     "Runs :: By number: headscope heads 3, or --run 3; without one, the latest.\n"
     "A selection that matches nothing is an error, never an empty result.\n",
     NULL},
    {"output", "tables, JSON, CSV and colours",
     "Data goes to stdout, everything else to stderr. Tables are for people; --json prints one "
     "object, --jsonl one a row, --csv comma-separated values. A value that is not defined for a "
     "head is null, with a reason in the database.\n"
     "Colours follow --color, NO_COLOR and CLICOLOR_FORCE, and are off in pipes. -q leaves out "
     "progress bars and notes.\n"
     "Output files are written beside and renamed: no half-written file is ever left.\n",
     NULL},
    {"environment", "variables that are honoured",
     "HEADSCOPE_MODEL :: the model when none is given\n"
     "HEADSCOPE_DB :: the database when --db is not given (else headscope.db)\n"
     "HS_THREADS :: as --threads\n"
     "HS_ISA :: as --isa\n"
     "NO_COLOR :: when not empty, no colours\n"
     "CLICOLOR_FORCE :: when not empty and not 0, colours in pipes too\n"
     "HF_HUB_CACHE :: where hub names are looked up\n"
     "HF_HOME :: where hub names are looked up, in hub/, without HF_HUB_CACHE\n",
     NULL},
    {"exit", "exit statuses",
     "0 :: done\n"
     "1 :: failed: a file that cannot be opened or written, memory, the database\n"
     "2 :: wrong usage; an id, position or prompt out of range\n"
     "3 :: a model or file that is damaged or not supported\n"
     "4 :: a check failed\n"
     "5 :: nothing matched\n"
     "130 :: interrupted; what was committed stays, and the message says how to go on\n",
     NULL},
    {"heads", "what a head is, and how heads are named",
     "A transformer is a stack of blocks, and each block has several attention heads side by side. "
     "For every position a head makes a query, compares it with the keys of the positions up to "
     "its own, and turns the scores into weights that sum to 1: one row of its attention pattern. "
     "With these weights it takes the mean of the positions' values (z), which the output "
     "projection adds to the residual stream.\n"
     "# names\n"
     "L5H1 is head 1 of layer 5, both counted from 0; 5.1 is the same. Sets of heads:\n"
     "L5H1,L6H0 :: two heads; + joins as well\n"
     "L5H* :: all heads of layer 5\n"
     "L0-3H* :: all heads of layers 0, 1, 2 and 3\n"
     "L*H0-2 :: the first three of every layer\n"
     "all, none :: every head, no head\n"
     "# grouped queries (GQA)\n"
     "Many models have fewer key and value heads than query heads: n_kv_head < n_head. A KV head "
     "then serves n_head / n_kv_head query heads in a row: query head h reads KV head h * "
     "n_kv_head / n_head, rounded down. Patterns, scores, z and every metric are per query head; "
     "the hooks k, rot_k and v have a head for each KV head. Heads of one group look with "
     "different queries at the same keys. headscope info tells both numbers.\n"
     "# looking at heads\n"
     "  headscope record model.gguf -p \"Mary had a little lamb\" --maps all\n"
     "  headscope heads --metric entropy_nats --top 10\n"
     "  headscope attend --head L5H1 --from -1\n"
     "  headscope heatmap --head L5H1 -o head.png\n",
     NULL},
    {"hooks", "the points at which a run can be watched",
     "A hook point is a named tensor of the forward pass. The names are TransformerLens's; L "
     "stands for the layer, T for the positions of a prompt. There is no batch axis: a prompt is "
     "stored by itself.\n"
     "--acts takes names, short names and globs, joined by commas. A short name means every layer, "
     "and one with a layer that one: z, z:3. Braces are alternatives: "
     "blocks.{0..3,11}.hook_resid_post. Watching a run changes nothing: its logits are the same to "
     "the bit.\n"
     "Which points a model has depends on its family: headscope list hooks MODEL.\n"
     "  headscope record model.gguf -p \"Hello\" --acts resid_post,logits\n"
     "  headscope export -o run.npz\n",
     hooks},
    {"interventions", "edits of a run: --do",
     "--do NAME:TARGET,k=v,... edits activations while the model runs; several act in order. What "
     "is measured, recorded and decoded is then the edited run, and a recorded run keeps its "
     "edits: --do @RUN takes those of run RUN. An edit that could have no effect is an error "
     "before the model runs; what no edit is about stays as it is to the bit.\n"
     "  headscope eval model.gguf -p \"Mary had a little lamb\" --do ablate:L5H1\n"
     "  headscope record model.gguf -f texts.jsonl --do ablate:L5H1+L6G0,mode=mean\n"
     "# targets\n"
     "L5H1 :: a query head; ranges and all of a kind: L0-3H*. 5.1 is the same as L5H1\n"
     "L5G0 :: a KV head with the query heads that share it\n"
     "L5 :: a layer, attention and MLP; where only heads can be edited, all its heads\n"
     "L5M :: the MLP of a layer\n"
     "L5N7 :: a neuron of an MLP\n"
     "z:3 :: a hook point, where points are edited: by name, short name or glob\n"
     "Where the command line joins by commas elsewhere, + joins within a spec: L5H1+L6H0.\n"
     "# which rows and prompts\n"
     "pos= :: positions 3 and -1, ranges 3:10, and names, of --span or a prompt's own, joined by "
     "+\n"
     "prompts= :: numbers or ids of prompts, joined by +\n"
     "heads= :: heads, where the target names none\n"
     "# input embeddings\n"
     "--embeds FILE.npy@START puts the rows of a file, as wide as the model, in place of the "
     "embeddings of the tokens from position START on, before all edits. So what is meant for "
     "image tokens works with the language half of a vision-language model: its prompt has one "
     "token for each image patch, and the features, projected to the width of the model, were "
     "saved by numpy.\n"
     "  headscope generate llava.gguf -p \"$PROMPT\" --embeds image.npy@image --span "
     "image=5:581\n",
     interventions},
    {"metrics", "numbers a head: definitions and units",
     "A metric is one number for each head and prompt. headscope heads averages it over the "
     "prompts of a run (--prompt gives one); where it is not defined it is null, and the database "
     "says why.\n"
     "In the definitions A_ij is the weight of query position i on key position j, T the number "
     "of positions, H_i the entropy of row i; rows and positions count from 0. Units stand in "
     "brackets; what has none is a share or a ratio.\n"
     "  headscope heads --metric sink_alpha0 --top 5\n"
     "  headscope heatmap --grid entropy_norm -o entropy.png\n"
     "  headscope record model.gguf --dataset repeat:k=50,n=4 --observe stripes\n",
     metrics},
    {"sinks", "what attention sinks are, how they are measured, what shows them",
     "A row of attention has to sum to 1, so a head that finds nothing to look at still has to "
     "look somewhere. Trained models learn a place to put that weight: an attention sink, a "
     "position that many heads look at whatever the text says. It is mostly the first token, which "
     "every position sees (Xiao et al. 2024, arXiv 2309.17453).\n"
     "# definitions\n"
     "Sink rate :: The mean weight that position j receives from the rows that see it is alpha_j = "
     "sum_i A_ij / (T - j). Position j is a sink of a head when alpha_j > eps, eps = 0.3; the rate "
     "is the share of heads for which it is (Gu et al. 2025, arXiv 2410.10781).\n"
     "Hidden sinks :: Positions after the first with more than their share: alpha_j > 5 / T, or an "
     "absolute threshold (ACT, Yu et al. 2024, arXiv 2406.15765).\n"
     "Value drains :: A sink's value vector is small: what is parked there adds next to nothing. "
     "Such a head is dormant on that text (Guo et al. 2024, arXiv 2410.13835).\n"
     "Massive activations :: A few channels of the residual stream at the sink are thousands of "
     "times the median: |x| > 100 and |x| >= 1000 times the median (Sun et al. 2024, arXiv "
     "2402.17762).\n"
     "These are four different things, stored as such: a model may have one without the others. "
     "Late positions are seen by few rows, so a mean over them exceeds a threshold by chance; "
     "min_rows leaves them out. Whether position 0 is a BOS token or a word depends on the model "
     "and --bos; a run keeps which.\n"
     "# see for yourself\n"
     "  headscope record model.gguf -f texts.jsonl --observe sinks,hidden_sinks,massive,drains\n"
     "  headscope query sink_rate --param eps=0.3\n"
     "  headscope query hidden_sinks\n"
     "  headscope heads --metric sink_alpha0 --top 10\n"
     "  headscope heatmap --grid sink_alpha0 -o sinks.png\n",
     sinks},
    {"formats", "files that are read and written",
     "# read\n"
     "FILE.gguf :: A model: weights, settings and tokenizer in one file, versions 2 and 3.\n"
     "FOLDER :: A model as Hugging Face keeps it: config.json, model.safetensors or shards with an "
     "index, tokenizer.json. A .safetensors file stands for its folder.\n"
     "FILE.jsonl, FILE.txt :: Prompts: see help prompts.\n"
     "FILE.safetensors :: Activations of another tool, for verify --golden: tokens int64 [T] and "
     "any hook by name, without a batch axis.\n"
     "Pickle files (.bin, .pt) are refused: loading one can run code.\n"
     "# written\n"
     "FILE.db :: A SQLite database: see help database.\n"
     "FILE.png, ... :: Figures: see help figures.\n"
     "FILE.jsonl :: Prompts, by headscope dataset, for -f.\n"
     "--json, --jsonl, --csv :: What a command prints: see help output.\n"
     "A .npz is a zip of .npy arrays:\n"
     "  import numpy\n"
     "  run = numpy.load(\"run.npz\")\n"
     "  run[\"p0/blocks.3.attn.hook_pattern\"]   # [head, query, key]\n",
     formats},
    {"database", "the file that runs are recorded into",
     "A recording is a SQLite file that any SQLite tool opens. While it is written it has a write-"
     "ahead log beside it; afterwards it is one plain file. Each prompt is a transaction: killed "
     "at any moment, the file holds every prompt that was finished, and record --resume goes on.\n"
     "Start with the views (v_*): they join what belongs together and touch no blob. The meaning "
     "and unit of every column are in the table column_doc, those of every metric in metric. "
     "Everything is counted from 0 but row ids and runs, which count from 1.\n"
     "  headscope runs --db run.db\n"
     "  headscope show --db run.db\n"
     "  headscope query \"SELECT * FROM v_head_mean LIMIT 5\" --db run.db\n"
     "  sqlite3 run.db \"SELECT * FROM column_doc WHERE tbl = 'run'\"\n",
     tables},
    {"figures", "what heatmap draws",
     "Figures are drawn from what a run stored, and the same run gives the same bytes. The colour "
     "bar tells what a colour means; what has a sign is centred on 0. --range fixes the ends, so "
     "that figures compare. A map longer than the page shows is pooled, and a note under it says "
     "so. Labels are the tokens; they are thinned where there is no room.\n",
     figures},
    {"queries", "questions that have a name, and your own SQL",
     "headscope query NAME answers from the run given by --run, or the latest; --prompt narrows "
     "most of them to a prompt, --param NAME=VALUE sets what they ask for. headscope help NAME "
     "shows one, SQL and all.\n"
     "Anything with a space is SQL: one statement that only reads. :run and :prompt are bound when "
     "it uses them. att_row(map, query) gives a row of a map as a JSON array, att_at(map, query, "
     "key) a number of it, att_series(data) a series; att_keys(map, query) and att_each(data) are "
     "the same as tables.\n"
     "  headscope query sink_rate --param eps=0.5\n"
     "  headscope query \"SELECT k.key, k.weight FROM att_keys(1, 5) AS k ORDER BY 2 DESC\"\n"
     "  headscope query heads --param metric=previous --csv\n",
     queries},
    {0},
};

void hs_doc_topic(hs_doc *d, const hs_topic *t) {
    hs_buf what = {0};
    hs_buf_printf(&what, "%s (topic)", t->name);
    hs_doc_title(d, hs_buf_text(&what), t->name, "7", t->title);
    if (d->roff) hs_doc_head(d, "description");
    hs_doc_body(d, t->text);
    if (t->more) t->more(d);
    hs_buf_free(&what);
}

const hs_topic *hs_topic_find(const char *name) {
    for (const hs_topic *t = hs_topics; t->name; t++)
        if (strcmp(t->name, name) == 0) return t;
    return NULL;
}
