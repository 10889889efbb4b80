// headscope heatmap: one head's map, or a layer x head grid of a metric, as PNG.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/apart.h"
#include "cli/metric.h"
#include "db/replay.h"
#include "model/core/mem.h"
#include "viz/fig.h"
#include "viz/fonts.h"

struct options {
    hs_db_options db;
    hs_run_options run;
    const char *head, *grid, *file, *cmap, *range;
    double dpi;
    int theme;
};

// Texts that come from the run.
typedef struct caption {
    hs_buf title, subtitle;
    char run[24], model[128], prompt[128];
} caption;

static int on_run(void *ctx, const hs_query *q) {
    caption *c = ctx;
    hs_query_text(q, "model", c->model, sizeof c->model);
    return HS_OK;
}

static int on_prompt(void *ctx, const hs_query *q) {
    caption *c = ctx;
    hs_query_text(q, "id", c->prompt, sizeof c->prompt);
    return HS_OK;
}

// prompt: as given to the query; NULL: all of them.
static int read_caption(caption *c, const hs_source *r, const char *prompt) {
    hs_source one = *r;
    one.prompt = NULL;
    snprintf(c->run, sizeof c->run, "%lld", (long long)r->run);
    int rc = hs_source_each(&one, "show", NULL, 0, on_run, c);
    one.prompt = prompt;
    if (!rc && prompt) rc = hs_source_each(&one, "prompts", NULL, 0, on_prompt, c);
    hs_buf_printf(&c->subtitle, "%s, run %s", c->model, c->run);
    if (prompt)
        hs_buf_printf(&c->subtitle, ", prompt %s", *c->prompt ? c->prompt : prompt);
    else
        hs_buf_str(&c->subtitle, ", mean over its prompts");
    return rc;
}

static int parse_range(const char *text, hs_fig_style *style) {
    char *end;
    style->lo = 1;
    style->hi = 0; // lo > hi: the figure's default
    if (!text) return HS_OK;
    style->lo = strtod(text, &end);
    bool good = end != text && *end == ':';
    const char *second = end + 1;
    if (good) style->hi = strtod(second, &end);
    good = good && end != second && !*end && isfinite(style->lo) && isfinite(style->hi);
    if (good && style->lo < style->hi) return HS_OK;
    return hs_fail(HS_EARG, "--range takes two numbers, the smaller first, as 0:0.5, not '%s'",
                   text);
}

struct whole {
    const float *at;
    int64_t n_k;
};

static int map_row(void *ctx, int64_t m, int64_t i, float *out) {
    const struct whole *w = ctx;
    (void)m;
    memcpy(out, w->at + i * w->n_k, (size_t)w->n_k * sizeof *out);
    return HS_OK;
}

static int draw_map(const hs_source *r, const struct options *opt, const hs_fig_style *style) {
    hs_dims dims;
    hs_labels labels = {0};
    caption c = {0};
    float *map = NULL;
    hs_fig *drawn = NULL;
    char name[24];
    int layer, head;
    int64_t prompt, n_q, n_k;
    const char *which = opt->run.prompt ? opt->run.prompt : "0";
    int rc = hs_db_dims(r->db, r->run, &dims);
    if (!rc) rc = hs_one_head(&dims, opt->head, &layer, &head);
    if (!rc) rc = hs_db_prompt(r->db, r->run, opt->run.prompt, &prompt);
    if (!rc) rc = hs_db_map(r->db, prompt, layer, head, &map, &n_q, &n_k);
    if (!rc) rc = hs_labels_open(&labels, r);
    if (!rc) rc = read_caption(&c, r, which);
    if (rc) goto out;
    hs_buf_printf(&c.title, "Attention of %s", hs_head_name(name, layer, head));
    struct whole m = {map, n_k};
    const hs_fig_map fig = {.title = hs_buf_text(&c.title),
                            .subtitle = hs_buf_text(&c.subtitle),
                            .rows = {&m, map_row},
                            .n_q = n_q,
                            .n_k = n_k,
                            .label = labels.n >= n_k ? (const char *const *)labels.text : NULL,
                            .causal = true,
                            .bar_label = "attention weight"};
    const char *const meta[] = {"run", c.run,    "model",  c.model, "head",
                                name,  "prompt", c.prompt, NULL};
    rc = hs_fig_open_map(&drawn, &fig, style);
    if (!rc) rc = hs_fig_save(drawn, meta, opt->file);
out:
    hs_fig_close(drawn);
    hs_buf_free(&c.title);
    hs_buf_free(&c.subtitle);
    hs_labels_free(&labels);
    free(map);
    return rc;
}

// The values as a matrix, NaN where there are none.
static int make_grid(const hs_head_values *v, const hs_dims *dims, double **out) {
    size_t n = (size_t)dims->n_layer * (size_t)dims->n_head;
    int rc = hs_alloc(out, n, sizeof **out);
    if (rc) return rc;
    for (size_t i = 0; i < n; i++) (*out)[i] = NAN;
    for (int64_t i = 0; i < v->n; i++)
        (*out)[v->at[i].layer * dims->n_head + v->at[i].head] = v->at[i].value;
    return HS_OK;
}

static int draw_grid(const hs_source *r, const struct options *opt, const hs_fig_style *style) {
    hs_dims dims;
    hs_head_values v = {0};
    caption c = {0};
    double *grid = NULL;
    hs_fig *drawn = NULL;
    const hs_metric *info = hs_metric_info(opt->grid);
    hs_buf bar = {0};
    int rc = hs_db_dims(r->db, r->run, &dims);
    if (!rc) rc = hs_metric_read(&v, r, opt->grid);
    if (!rc) rc = make_grid(&v, &dims, &grid);
    if (!rc) rc = read_caption(&c, r, opt->run.prompt);
    if (rc) goto out;
    hs_buf_str(&bar, opt->grid);
    if (info && info->unit && *info->unit) hs_buf_printf(&bar, " (%s)", info->unit);
    hs_buf_str(&c.title, opt->grid);
    if (info && info->about) hs_buf_printf(&c.title, ": %s", info->about);
    const hs_fig_grid fig = {.title = hs_buf_text(&c.title),
                             .subtitle = hs_buf_text(&c.subtitle),
                             .value = grid,
                             .n_layer = dims.n_layer,
                             .n_head = dims.n_head,
                             .diverging = info && info->scale == HS_DIVERGING,
                             .bar_label = hs_buf_text(&bar)};
    const char *const meta[] = {"run", c.run, "model", c.model, "metric", opt->grid, NULL};
    rc = hs_fig_open_grid(&drawn, &fig, style);
    if (!rc) rc = hs_fig_save(drawn, meta, opt->file);
out:
    hs_fig_close(drawn);
    hs_buf_free(&bar);
    hs_buf_free(&c.title);
    hs_buf_free(&c.subtitle);
    free(grid);
    hs_metric_free(&v);
    return rc;
}

static int check_options(const struct options *opt, hs_fig_style *style) {
    if (!opt->head == !opt->grid)
        return hs_fail(HS_EARG, "draw what? Either --head L5H1 or --grid METRIC");
    if (!opt->file) return hs_fail(HS_EARG, "write where? -o FILE.png");
    if (opt->cmap && !hs_cmap_find(opt->cmap))
        return hs_fail(HS_EARG, "there is no colour map '%s': headscope list colormaps", opt->cmap);
    if (opt->dpi <= 0) return hs_fail(HS_EARG, "--dpi takes a positive number");
    *style = (hs_fig_style){.cmap = opt->cmap, .dpi = opt->dpi, .theme = (enum hs_theme)opt->theme};
    return parse_range(opt->range, style);
}

static int draw(const hs_call *call, const void *options) {
    const struct options *opt = options;
    hs_source r = {0};
    hs_fig_style style;
    int rc = check_options(opt, &style);
    if (!rc) rc = hs_source_open(&r, call, 0, &opt->db, &opt->run);
    if (!rc) rc = hs_fonts_load();
    if (!rc) rc = opt->head ? draw_map(&r, opt, &style) : draw_grid(&r, opt, &style);
    if (!rc) hs_note(call, "wrote %s", opt->file);
    hs_source_close(&r);
    return rc;
}

static int run(const hs_call *call, const void *options) {
    return hs_apart(draw, call, options, ((const struct options *)options)->file);
}

static const hs_opt own[] = {
    {"head", 0, HS_OPT_TEXT, offsetof(struct options, head), "L5H1", NULL,
     "a head's attention map, with token labels"},
    {"grid", 0, HS_OPT_TEXT, offsetof(struct options, grid), "METRIC", NULL,
     "a layer x head grid of a metric: see headscope list metrics"},
    {"output", 'o', HS_OPT_TEXT, offsetof(struct options, file), "FILE.png", NULL,
     "where to write"},
    {"dpi", 0, HS_OPT_NUM, offsetof(struct options, dpi), "N", "150", "dots per inch"},
    {"cmap", 0, HS_OPT_TEXT, offsetof(struct options, cmap), "COLORMAP", NULL,
     "colour map: see headscope list colormaps"},
    {"range", 0, HS_OPT_TEXT, offsetof(struct options, range), "A:B", NULL,
     "values of the first and last colour"},
    {"theme", 0, HS_OPT_ENUM, offsetof(struct options, theme), "paper|screen", "paper",
     "light or dark"},
    {0},
};

const hs_cmd hs_cmd_heatmap = {
    .name = "heatmap",
    .group = "reading",
    .title = "draws a head's map, or a layer x head grid",
    .synopsis = "[RUN] (--head L5H1 | --grid METRIC) -o FILE.png [options]",
    .about = "A map needs a recording with --maps; it shows prompt 0 unless --prompt says "
             "otherwise. A grid shows the mean over the prompts, or one with --prompt. What was "
             "drawn, its range and colours are in the PNG's text chunks.",
    .examples = (const char *const[][2]){{"heatmap --head L5H1 -o map.png", "one head's attention"},
                                         {"heatmap --grid entropy_nats -o heads.png --dpi 300",
                                          "every head's entropy, for print"},
                                         {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0},
                                      {"database", hs_opts_db_read, offsetof(struct options, db)},
                                      {"", hs_opts_prompt_of, offsetof(struct options, run)},
                                      {0}},
    .options_size = sizeof(struct options),
    .max_arg = 1,
    .run = run,
};
