// headscope heatmap: draws figures of a run; their kinds are the files figure_NAME.c.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/apart.h"
#include "cli/figures/figure.h"
#include "viz/fonts.h"

struct options {
    hs_db_options db;
    hs_run_options run;
    hs_figure_options figure;
    const char *file, *cmap, *range;
    double dpi;
    int theme;
};

#define AT(name) offsetof(struct hs_figure_options, name)
static const hs_opt figure_options[] = {
    {"head", 0, HS_OPT_TEXT, AT(head), "L5H1", NULL,
     "a head's attention map, with its tokens; several heads, as L5H*,L7H0, side by side"},
    {"layer", 0, HS_OPT_TEXT, AT(layer), "L", NULL, "the maps of a layer's heads, side by side"},
    {"all", 0, HS_OPT_FLAG, AT(all), NULL, NULL, "every head's map on one sheet"},
    {"grid", 0, HS_OPT_TEXT, AT(grid), "METRIC", NULL,
     "a layer x head grid of a metric, of a row statistic's mean (entropy, lse, ...), or of "
     "TABLE.COLUMN of an observer's results"},
    {"strip", 0, HS_OPT_FLAG, AT(strip), NULL, NULL,
     "the text, coloured by attention from a token or to one; with --head or --layer their mean, "
     "else that of all heads"},
    {"over-layers", 0, HS_OPT_TEXT, AT(over_layers), "METRIC", NULL,
     "what --grid takes, through the layers: heads and mean; several, joined by commas"},
    {"over-positions", 0, HS_OPT_TEXT, AT(over_positions), "STAT", NULL,
     "a row statistic (entropy, max, first, self, prev, distance, lse) or a stored series "
     "(column_mean) along the text; with --head or --layer"},
    {"bar", 0, HS_OPT_TEXT, AT(bar), "METRIC", NULL, "the top heads by what --grid takes, as bars"},
    {"overlap", 0, HS_OPT_TEXT, AT(overlap), "METRICS", NULL,
     "which heads metrics share among their first, over all runs of the model: two or more, as the "
     "query overlap takes them, or usual"},
    {"diff", 0, HS_OPT_FLAG, AT(diff), NULL, NULL,
     "how each head changed from one run to another, heatmap --diff 1 2: entropy, sink and span "
     "mass, or with --grid other metrics that diff takes, joined by commas"},
    {"moved", 0, HS_OPT_FLAG, AT(moved), NULL, NULL,
     "where attention went from one run to another, heatmap --moved 1 2: what each token receives, "
     "before and after; with --head or --layer"},
    {"patch", 0, HS_OPT_FLAG, AT(patch), NULL, NULL,
     "of a run of patch: what was recovered, by layers or heads and positions; with --layer"},
    {"circuit", 0, HS_OPT_FLAG, AT(circuit), NULL, NULL,
     "the largest edges of patch --edges, as a layered graph"},
    {"prune", 0, HS_OPT_FLAG, AT(prune), NULL, NULL,
     "the pruning curve of sweep --prune: a metric as more and more units are edited together"},
    {"masking", 0, HS_OPT_FLAG, AT(masking), NULL, NULL,
     "needle recall of retrieve as more and more of the top heads are masked, and of others"},
    {"streaming", 0, HS_OPT_FLAG, AT(streaming), NULL, NULL,
     "of a run of duo: recall, or the loss, as more and more KV heads stream"},
    {"lens", 0, HS_OPT_FLAG, AT(lens), NULL, NULL,
     "of a run of lens: the token that each layer would say at each position"},
    {0},
};
static const hs_opt part_options[] = {
    {"from", 0, HS_OPT_TEXT, AT(from), "POS", NULL,
     "--strip: the token that looks, 0-based; -1, the default, is the last"},
    {"to", 0, HS_OPT_TEXT, AT(to), "POS", NULL, "--strip: the token that is looked at"},
    {"rows", 0, HS_OPT_TEXT, AT(rows), "A:B", NULL, "maps: only the queries A to B - 1"},
    {"cols", 0, HS_OPT_TEXT, AT(cols), "A:B", NULL, "maps, --moved: only the keys A to B - 1"},
    {"mark", 0, HS_OPT_TEXT, AT(mark), "hidden_sinks|sink_tokens", NULL,
     "--strip, --moved: tokens that ACT or VAR calls sinks in the heads drawn, or in their layers"},
    {"pool", 0, HS_OPT_ENUM, AT(pool), "max|mean", NULL,
     "maps longer than the page: what a cell of several tokens shows, max unless given"},
    {"value", 0, HS_OPT_ENUM, AT(value), "prob|rank|kl", NULL,
     "--lens: what colours tell, the token's probability unless given, the final token's rank, or "
     "the divergence from the end"},
    {"top", 'n', HS_OPT_COUNT, AT(top), "N", NULL,
     "--bar: how many heads, 20 unless given; --overlap: of a set, 10; --circuit: how many edges, "
     "40"},
    {"threshold", 0, HS_OPT_NUM, AT(threshold), "X", NULL,
     "--circuit: edges whose score is farther from 0, --top of them if given"},
    {"title", 0, HS_OPT_TEXT, AT(title), "TEXT", NULL, "instead of the figure's own title"},
    {0},
};
#undef AT

// ---- which figure -------------------------------------------------------------------------------

static bool given(const hs_opt *o, const hs_figure_options *f) {
    const char *at = (const char *)f + o->offset;
    switch (o->type) {
    case HS_OPT_FLAG:
        return *(const bool *)(const void *)at;
    case HS_OPT_TEXT:
        return *(const char *const *)(const void *)at != NULL;
    case HS_OPT_COUNT:
        return *(const int64_t *)(const void *)at != 0;
    case HS_OPT_NUM:
        return *(const double *)(const void *)at > 0;
    default:
        return *(const int *)(const void *)at != 0;
    }
}

static bool named(const char *option, const hs_figure_options *f) {
    for (const hs_opt *o = figure_options; o->name; o++)
        if (strcmp(o->name, option) == 0) return given(o, f);
    return false;
}

// Whether a word stands in a list of words.
static bool lists(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *s = list; *s; s += strcspn(s, " "), s += *s == ' ')
        if (strcspn(s, " ") == n && memcmp(s, word, n) == 0) return true;
    return false;
}

// Chosen by its option, which is not what another one that was chosen takes (--strip --head L5H1).
static bool chosen(const hs_figure *k, const hs_figure_options *f) {
    if (!named(k->option, f)) return false;
    for (int i = 0; hs_figures[i]; i++)
        if (lists(hs_figures[i]->takes, k->option) && named(hs_figures[i]->option, f)) return false;
    return true;
}

static int draw_what(void) {
    hs_buf all = {0};
    for (int i = 0; hs_figures[i]; i++)
        hs_buf_printf(&all, "%s--%s", i ? ", " : "", hs_figures[i]->option);
    int rc = hs_fail(HS_EARG, "draw what? One of %s: see headscope list figures",
                     hs_buf_text(&all));
    hs_buf_free(&all);
    return rc;
}

static int choose(const hs_figure_options *f, const hs_figure **out) {
    *out = NULL;
    for (int i = 0; hs_figures[i]; i++) {
        const hs_figure *k = hs_figures[i];
        if (!chosen(k, f)) continue;
        if (*out)
            return hs_fail(HS_EARG, "--%s and --%s are two figures: draw one at a time",
                           (*out)->option, k->option);
        *out = k;
    }
    if (!*out) return draw_what();
    for (const hs_opt *o = part_options; o->name; o++)
        if (given(o, f) && strcmp(o->name, "title") != 0 && !lists((*out)->takes, o->name))
            return hs_fail(HS_EARG, "--%s does not go with --%s", o->name, (*out)->option);
    return HS_OK;
}

// ---- drawing ------------------------------------------------------------------------------------

static int parse_range(const char *text, hs_fig_style *style) {
    char *end;
    style->lo = 1;
    style->hi = 0; // lo > hi: the figure's default
    if (!text) return HS_OK;
    style->fit = strcmp(text, "data") == 0;
    if (style->fit) return HS_OK;
    style->lo = strtod(text, &end);
    bool good = end != text && *end == ':';
    const char *second = end + 1;
    if (good) style->hi = strtod(second, &end);
    good = good && end != second && !*end && isfinite(style->lo) && isfinite(style->hi);
    if (good && style->lo < style->hi) return HS_OK;
    return hs_fail(
        HS_EARG, "--range takes two numbers, the smaller first, as 0:0.5, or data, not '%s'", text);
}

static int check(const struct options *opt, const hs_figure **figure, hs_fig_style *style) {
    int rc = choose(&opt->figure, figure);
    if (rc) return rc;
    if (!opt->file) return hs_fail(HS_EARG, "write where? -o FILE.png, FILE.svg or FILE.pdf");
    if ((rc = hs_fig_format(opt->file))) return rc;
    if (opt->cmap && !hs_cmap_find(opt->cmap))
        return hs_fail(HS_EARG, "there is no colour map '%s': headscope list colormaps", opt->cmap);
    if (opt->dpi <= 0) return hs_fail(HS_EARG, "--dpi takes a positive number");
    *style = (hs_fig_style){.cmap = opt->cmap, .dpi = opt->dpi, .theme = (enum hs_theme)opt->theme};
    return parse_range(opt->range, style);
}

static int check_runs(const hs_call *call, const hs_figure *figure) {
    if (figure->two && call->n_arg != 2)
        return hs_fail(HS_EARG,
                       "which two runs? headscope heatmap --%s 1 2: headscope runs lists them",
                       figure->option);
    if (!figure->two && call->n_arg == 2)
        return hs_fail(HS_EARG, "--%s is of one run, and two were given", figure->option);
    return HS_OK;
}

// The second run, of the same database.
static int open_after(const hs_call *call, hs_job *j) {
    static const hs_run_options none = {0};
    j->after = (hs_source){.db = j->r.db};
    int rc = hs_cli_run(call, 1, &none, j->after.db, &j->after.run);
    if (!rc && j->after.run == j->r.run)
        rc = hs_fail(HS_EARG, "run %lld is one run: give two", (long long)j->r.run);
    return rc ? rc : hs_tell_unfinished(call, j->after.db, j->after.run);
}

static int draw(const hs_call *call, const void *options) {
    const struct options *opt = options;
    const hs_figure *figure;
    hs_job job = {.opt = &opt->figure};
    hs_fig *fig = NULL;
    int rc = check(opt, &figure, &job.style);
    if (!rc) rc = check_runs(call, figure);
    if (!rc) rc = hs_arena_open(&job.arena);
    if (!rc) rc = hs_source_open(&job.r, call, 0, &opt->db, &opt->run);
    if (!rc && figure->two) rc = open_after(call, &job);
    if (!rc) rc = hs_db_dims(job.r.db, job.r.run, &job.dims);
    if (!rc) rc = hs_fonts_load();
    if (!rc) rc = hs_job_say(&job, "figure", figure->name);
    if (!rc) rc = figure->draw(&job, &fig);
    if (!rc) rc = hs_fig_save(fig, job.meta, opt->file);
    if (!rc) hs_note(call, "wrote %s", opt->file);
    hs_fig_close(fig);
    hs_labels_free(&job.labels);
    hs_source_close(&job.r);
    hs_arena_close(job.arena);
    return rc;
}

static int run(const hs_call *call, const void *options) {
    return hs_apart(draw, call, options, ((const struct options *)options)->file);
}

static const hs_opt picture_options[] = {
    {"output", 'o', HS_OPT_TEXT, offsetof(struct options, file), "FILE.png|FILE.svg|FILE.pdf", NULL,
     "where to write"},
    {"dpi", 0, HS_OPT_NUM, offsetof(struct options, dpi), "N", "150", "dots per inch"},
    {"cmap", 0, HS_OPT_TEXT, offsetof(struct options, cmap), "COLORMAP", NULL,
     "colour map: see headscope list colormaps"},
    {"range", 0, HS_OPT_TEXT, offsetof(struct options, range), "A:B|data", NULL,
     "values of the first and last colour (curves: of the y axis); data: those that are drawn"},
    {"theme", 0, HS_OPT_ENUM, offsetof(struct options, theme), "paper|screen", "paper",
     "light or dark"},
    {0},
};

const hs_cmd hs_cmd_heatmap = {
    .name = "heatmap",
    .group = "reading",
    .title = "draws maps, grids, text strips, curves and bars",
    .synopsis = "[RUN [RUN]] (--head L5H1 | --grid METRIC | ...) -o FILE.png [options]",
    .about = "One figure a call, as PNG, SVG or PDF by the file's ending. Maps and strips need a "
             "recording with --maps; they and curves over positions show prompt 0 unless --prompt "
             "says otherwise. Grids, bars and curves over layers show the mean over the prompts, "
             "or one with --prompt. Maps are coloured from 0 to 1, other figures by their data, "
             "unless --range is given. What was drawn, its range and colours are in the PNG's text "
             "chunks.",
    .examples =
        (const char *const[][2]){
            {"heatmap --head L5H1 -o map.png", "one head's attention"},
            {"heatmap --all -o heads.pdf", "every head's map on one sheet"},
            {"heatmap --grid entropy_nats -o grid.png --dpi 300",
             "every head's entropy, for print"},
            {"heatmap --strip --head L5H1 --from -1 -o strip.svg", "what the last token looks at"},
            {"heatmap --over-layers sink_alpha0 -o sinks.svg", "a metric through the layers"},
            {"heatmap --bar induction --top 10 -o bars.png", "the strongest induction heads"},
            {"heatmap --overlap induction,previous,retrieval -o sets.png",
             "do these heads overlap?"},
            {"heatmap --prune -o prune.png", "how many heads a sweep could do without"},
            {"heatmap --diff 1 2 -o diff.png", "how an edit changed every head"},
            {"heatmap --moved 1 2 --head L5H1 -o moved.png", "where one head's attention went"},
            {"heatmap --patch -o patch.png", "where patching brings the clean answer back"},
            {"heatmap --lens -o lens.png", "what each layer would say"},
            {"heatmap --masking -o masking.png", "what masking retrieval heads does to recall"},
            {"heatmap --streaming -o streaming.png", "how many KV heads may forget the middle"},
            {NULL}},
    .options =
        (const hs_opt_group[]){{"what to draw", figure_options, offsetof(struct options, figure)},
                               {"part of it", part_options, offsetof(struct options, figure)},
                               {"picture", picture_options, 0},
                               {"database", hs_opts_db_read, offsetof(struct options, db)},
                               {"", hs_opts_prompt_of, offsetof(struct options, run)},
                               {0}},
    .options_size = sizeof(struct options),
    .max_arg = 2,
    .run = run,
};
