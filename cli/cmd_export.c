// headscope export RUN -o FILE: what a run stored, in the format that the file's ending says.
#include <string.h>

#include "cli/out.h"
#include "cli/session.h"
#include "db/export.h"
#include "db/publish.h"

enum { MAX_RUNS = 256, LARGEST = 50 };

struct options {
    hs_db_options db;
    hs_run_options run;
    const char *file, *format, *what, *heads, *layer, *drop;
    int64_t top;
    double threshold;
    bool publish, keep_paths;
};

// Pages with more than this to draw do not open in a browser.
static const int64_t browser_bytes = 50000000;

static void report(const hs_call *call, const struct options *opt, const hs_export_format *f,
                   const hs_export_result *r) {
    if (strcmp(opt->file, "-") == 0) return;
    hs_note(call, "wrote %s%s", opt->file,
            r->prompts ? ": the first prompt; --prompt chooses another" : "");
    if (f->one_prompt && r->bytes > browser_bytes)
        hs_note(call,
                "it has %lld MB, and browsers manage about %lld: choose fewer heads (--layer 0-2, "
                "--heads L5H1) or a shorter prompt",
                (long long)(r->bytes / 1000000), (long long)(browser_bytes / 1000000));
}

// --heads, or --layer 0-3 as L0-3H*.
static int selection(const struct options *opt, hs_buf *text, const char **out) {
    *out = opt->heads;
    if (opt->heads && opt->layer)
        return hs_fail(HS_EARG, "--heads and --layer exclude each other: give one");
    if (!opt->layer) return HS_OK;
    hs_buf_printf(text, "L%sH*", opt->layer);
    *out = hs_buf_text(text);
    return hs_buf_rc(text);
}

static int export(const hs_call *call, const struct options *opt) {
    const hs_export_format *format;
    hs_export_opts e = {.top = opt->top || opt->threshold > 0 ? opt->top : LARGEST,
                        .threshold = opt->threshold};
    hs_export_result result;
    hs_buf heads = {0};
    hs_db *db = NULL;
    hs_bar bar;
    if (call->n_arg > 1)
        return hs_fail(HS_EARG, "one run a file: only --publish takes several, not '%s' and '%s'",
                       call->arg[0], call->arg[1]);
    if (opt->drop || opt->keep_paths)
        return hs_fail(HS_EARG, "--%s is for --publish", opt->drop ? "drop" : "keep-paths");
    int rc = hs_export_find(&format, opt->format, opt->file);
    if (!rc) rc = hs_export_parse(format, opt->what, &e.what);
    if (!rc) rc = selection(opt, &heads, &e.heads);
    if (!rc) rc = hs_db_open(&db, hs_cli_db_path(&opt->db), HS_DB_READ);
    if (!rc) rc = hs_cli_run(call, 0, &opt->run, db, &e.run);
    if (!rc && opt->run.prompt) rc = hs_db_prompt(db, e.run, opt->run.prompt, &e.prompt);
    hs_bar_open(&bar, call);
    if (!rc && (opt->top || opt->threshold > 0) && !(e.what & HS_EXPORT_EDGES))
        rc = hs_fail(HS_EARG, "--top and --threshold choose edges: they go with --format circuit");
    const char *path = strcmp(opt->file, "-") ? opt->file : "/dev/stdout";
    if (!rc) rc = hs_db_export(db, format, &e, path, &result, &bar.progress);
    hs_bar_close(&bar);
    if (rc == HS_ESTOP) rc = hs_fail(rc, "interrupted: %s was not written", opt->file);
    if (!rc) report(call, opt, format, &result);
    hs_buf_free(&heads);
    hs_db_close(db);
    return rc;
}

// ---- publishing ---------------------------------------------------------------------------------

static void report_copy(const hs_call *call, const struct options *opt,
                        const hs_publish_result *r) {
    char from[32], to[32];
    hs_bytes_text(from, sizeof from, (double)r->bytes_from);
    hs_bytes_text(to, sizeof to, (double)r->bytes);
    hs_note(call, "wrote %s, %s of %s, and %s with %lld queries for Datasette", opt->file, to, from,
            hs_buf_text(&r->pages), (long long)r->queries);
    if (r->paths)
        hs_note(call,
                "folders of this machine were cut from %lld command lines and sources; "
                "prompts and labels are as they were (--keep-paths keeps folders)",
                (long long)r->paths);
    if (r->baselines)
        hs_note(call,
                "%lld of the runs are compared with one that is not in it: their baseline is "
                "left empty",
                (long long)r->baselines);
    if (r->left_out.len)
        hs_note(call, "tables that are not headscope's were left out: %s",
                hs_buf_text(&r->left_out));
}

// The runs that the words name, --run among them; none: all. A prompt is of one run: the latest,
// when none is given.
static int choose_runs(const hs_call *call, const struct options *opt, hs_db *db,
                       hs_publish_opts *p, int64_t *run) {
    int rc = HS_OK;
    p->n_run = call->n_arg;
    if (call->n_arg > MAX_RUNS) return hs_fail(HS_EARG, "at most %d runs", MAX_RUNS);
    if (!p->n_run && (opt->run.run || opt->run.prompt)) p->n_run = 1;
    for (int i = 0; i < p->n_run && !rc; i++) rc = hs_cli_run(call, i, &opt->run, db, &run[i]);
    if (rc || !opt->run.prompt) return rc;
    if (p->n_run > 1) return hs_fail(HS_EARG, "--prompt is of one run: name one");
    return hs_db_prompt(db, run[0], opt->run.prompt, &p->prompt);
}

static int publish(const hs_call *call, const struct options *opt) {
    int64_t runs[MAX_RUNS];
    hs_publish_opts p = {.run = runs, .keep_paths = opt->keep_paths};
    hs_publish_result result = {0};
    hs_db *db = NULL;
    hs_bar bar;
    if (opt->format || opt->what || opt->heads || opt->layer)
        return hs_fail(HS_EARG,
                       "--publish copies whole runs: choose with RUN, --prompt and --drop");
    int rc = hs_publish_parse(opt->drop, &p.drop);
    if (!rc) rc = hs_db_open(&db, hs_cli_db_path(&opt->db), HS_DB_READ);
    if (!rc) rc = choose_runs(call, opt, db, &p, runs);
    hs_bar_open(&bar, call);
    if (!rc) rc = hs_db_publish(db, &p, opt->file, &result, &bar.progress);
    hs_bar_close(&bar);
    if (rc == HS_ESTOP) rc = hs_fail(rc, "interrupted: %s was not written", opt->file);
    if (!rc) report_copy(call, opt, &result);
    hs_publish_result_free(&result);
    hs_db_close(db);
    return rc;
}

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    if (!opt->file) return hs_fail(HS_EARG, "write where? -o FILE; the ending chooses the format");
    return opt->publish ? publish(call, opt) : export(call, opt);
}

static const hs_opt own[] = {
    {"output", 'o', HS_OPT_TEXT, offsetof(struct options, file), "FILE", NULL,
     "where to write; the ending chooses the format; - with --format: stdout"},
    {"format", 0, HS_OPT_TEXT, offsetof(struct options, format), "FORMAT", NULL,
     "npz, safetensors, csv, json, bertviz, circuitsvis, circuit: needed for the last three"},
    {"what", 0, HS_OPT_TEXT, offsetof(struct options, what),
     "maps,acts,stats,tokens,heads,edges|all", NULL,
     "what to write, joined by commas; arrays hold all but heads by "
     "default, csv and json hold heads"},
    {"heads", 0, HS_OPT_TEXT, offsetof(struct options, heads), "HEADS", NULL,
     "these heads only, as L5H1 or L0-3H*; not for arrays"},
    {"layer", 0, HS_OPT_TEXT, offsetof(struct options, layer), "N", NULL,
     "all heads of this layer, or of some, as 0-3"},
    {"top", 'n', HS_OPT_COUNT, offsetof(struct options, top), "N", NULL,
     "circuit: so many edges, the largest (default: 50, or all beyond the --threshold)"},
    {"threshold", 0, HS_OPT_NUM, offsetof(struct options, threshold), "X", NULL,
     "circuit: edges whose score is farther from 0"},
    {0},
};
static const hs_opt own_publish[] = {
    {"publish", 0, HS_OPT_FLAG, offsetof(struct options, publish), NULL, NULL,
     "write a compact database, of all runs or of those named, and pages for Datasette"},
    {"drop", 0, HS_OPT_TEXT, offsetof(struct options, drop), "maps,acts,stats", NULL,
     "leave out these, joined by commas"},
    {"keep-paths", 0, HS_OPT_FLAG, offsetof(struct options, keep_paths), NULL, NULL,
     "keep folders of this machine in command lines and sources"},
    {0},
};

const hs_cmd hs_cmd_export = {
    .name = "export",
    .group = "reading",
    .title = "writes what a run stored for other tools",
    .synopsis = "[RUN] -o FILE.npz|FILE.safetensors|FILE.csv|FILE.json|FILE.db [options]",
    .about =
        "All prompts unless --prompt is given.\n\n"
        "# formats\n"
        "npz, safetensors :: arrays named pN/HOOK, N the prompt's 0-based number, without a batch "
        "axis: p0/tokens int64 [T], p0/blocks.3.attn.hook_pattern [H, T, T], row statistics as "
        "p0/blocks.3.attn.hook_row_stats.entropy [H, T]. Where not every head's map was stored, "
        "head N's is p0/blocks.3.attn.hook_pattern.hN [T, T]. T counts decoded tokens too\n"
        "csv :: one table in long form, which --what chooses; see below\n"
        "json :: one object: \"prompts\", each with heads, stats, maps (whole rows) and tokens, as "
        "--what says\n"
        "bertviz, circuitsvis :: the maps of one prompt, the first unless --prompt is given, as "
        "the arguments of their functions\n"
        "circuit :: the edges that patch --edges found and the nodes that they join, as patch "
        "--edges --json prints them, means over the pairs\n\n"
        "Numbers in csv and json read back to the same bits; what is undefined is empty or "
        "null.\n\n"
        "# columns of csv\n"
        "every table :: run, prompt (0-based number), id (the prompt's name)\n"
        "heads :: layer, head, name, metric, value, reason (why there is no value)\n"
        "stats :: layer, head, name, pos, then a column a statistic of that row\n"
        "maps :: layer, head, name, query, key, weight, for the keys that a query sees\n"
        "tokens :: pos, token_id, token, byte_from, byte_to, decoded\n\n"
        "# pages\n"
        "BertViz, in a notebook:\n\n"
        "  import json, torch\n"
        "  from bertviz import head_view\n"
        "  d = json.load(open(\"maps.json\"))\n"
        "  d[\"attention\"] = [torch.tensor(a) for a in d[\"attention\"]]\n"
        "  head_view(**d)\n\n"
        "or, for the view of all heads:\n\n"
        "  model_view(d[\"attention\"], d[\"tokens\"],\n"
        "             include_layers=d[\"include_layers\"], include_heads=d[\"heads\"])\n\n"
        "CircuitsVis:\n\n"
        "  import json\n"
        "  from circuitsvis.attention import attention_heads\n"
        "  attention_heads(**json.load(open(\"maps.json\")))\n\n"
        "# publishing\n"
        "--publish writes a database to give away: compact, one plain file, nothing in it that was "
        "deleted, all runs or those named. Folders in command lines and sources are cut to file "
        "names (paths that begin with /, ~/, ./ or ../); prompts and labels are as they were. "
        "FILE.metadata.json beside FILE.db tells Datasette what tables and columns mean, and holds "
        "the named queries that plain SQLite can run:\n\n"
        "  datasette FILE.db -m FILE.metadata.json\n\n"
        "From version 1.0 on, Datasette wants the same file once more, after -c, for the "
        "queries.\n\n"
        "A database that is there already is not replaced.",
    .examples =
        (const char *const[][2]){
            {"export -o run.npz", "every array of the latest run"},
            {"export 3 --what maps --prompt 0 -o maps.safetensors", "one prompt's maps"},
            {"export -o heads.csv", "every metric of every head, for pandas or R"},
            {"export --what stats --layer 5 --format csv -o - | gzip >stats.csv.gz",
             "a row for each query of layer 5"},
            {"export --format bertviz --layer 0-3 -o maps.json", "for BertViz, see below"},
            {"export --format circuitsvis --heads L5H1,L6H9 -o maps.json",
             "for CircuitsVis, see below"},
            {"export --format circuit --threshold 0.05 -o circuit.json",
             "what patch --edges found, as a graph"},
            {"export --publish -o paper.db", "the whole database, to give away"},
            {"export --publish 3 5 --drop maps,acts -o small.db",
             "two runs without what takes most room"},
            {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0},
                                      {"publishing", own_publish, 0},
                                      {"database", hs_opts_db_read, offsetof(struct options, db)},
                                      {"", hs_opts_prompt_of, offsetof(struct options, run)},
                                      {0}},
    .options_size = sizeof(struct options),
    .max_arg = MAX_RUNS,
    .run = run,
};
