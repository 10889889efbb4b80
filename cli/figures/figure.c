// What the kinds of figures share; see figure.h.
#include "cli/figures/figure.h"
#include "cli/sweep/words.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define HS_ENTRY(name) extern const hs_figure hs_figure_##name;
#include "gen/figures.inc"
#undef HS_ENTRY
const hs_figure *const hs_figures[] = {
#define HS_ENTRY(name) &hs_figure_##name,
#include "gen/figures.inc"
#undef HS_ENTRY
    NULL};

// ---- texts --------------------------------------------------------------------------------------

static int text(hs_job *j, const char **out, const char *fmt, va_list ap) {
    char *s;
    if (vasprintf(&s, fmt, ap) < 0) return hs_fail(HS_ENOMEM, "out of memory");
    int rc = hs_arena_str(j->arena, out, s, strlen(s));
    free(s);
    return rc;
}

int hs_job_text(hs_job *j, const char **out, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int rc = text(j, out, fmt, ap);
    va_end(ap);
    return rc;
}

int hs_job_say(hs_job *j, const char *key, const char *value) {
    if (j->n_meta == HS_FIGURE_META) return hs_fail(HS_E, "no room to say %s", key);
    const char **pair = &j->meta[2 * j->n_meta];
    int rc = hs_job_text(j, &pair[1], "%s", value);
    if (rc) return rc;
    pair[0] = key;
    j->n_meta++;
    return HS_OK;
}

static int on_run(void *ctx, const hs_query *q) {
    hs_job *j = ctx;
    hs_query_text(q, "model", j->model, sizeof j->model);
    return HS_OK;
}

static int on_prompt(void *ctx, const hs_query *q) {
    hs_job *j = ctx;
    hs_query_text(q, "id", j->prompt_name, sizeof j->prompt_name);
    return HS_OK;
}

// What a sweep did to its units, and how it came by the numbers.
static int on_sweep(void *ctx, const hs_query *q) {
    hs_job *j = ctx;
    char op[200], args[200], by[16], kind[16];
    hs_query_text(q, "op", op, sizeof op);
    hs_query_text(q, "args", args, sizeof args);
    hs_query_text(q, "by", by, sizeof by);
    hs_query_text(q, "kind", kind, sizeof kind);
    j->swept = hs_sweep_plural(kind);
    return hs_job_text(j, &j->sweep, "%s%s%s%s", op, *args ? "," : "", args, hs_sweep_how(by));
}

static int read_sweep(hs_job *j) {
    static const char sql[] =
        "SELECT json_extract(params, '$.op') AS op, json_extract(params, '$.args') AS args, "
        "json_extract(params, '$.by') AS by, json_extract(params, '$.kind') AS kind FROM ("
        "SELECT r.params_json AS params FROM prompt AS p "
        "JOIN analysis_run AS r ON r.prompt_id = p.id "
        "JOIN analysis AS a ON a.id = r.analysis_id AND a.name = 'sweep' "
        "WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt) "
        "ORDER BY r.id DESC LIMIT 1)";
    int rc = hs_source_each(&j->r, sql, NULL, 0, on_sweep, j);
    return !rc && j->sweep ? hs_job_say(j, "sweep", j->sweep) : rc;
}

// Model, run and prompt by name, and into the metadata.
static int read_names(hs_job *j) {
    hs_source r = j->r;
    r.prompt = NULL;
    snprintf(j->run, sizeof j->run, "%" PRId64, j->r.run);
    int rc = hs_source_each(&r, "show", NULL, 0, on_run, j);
    if (!rc && j->r.prompt) rc = hs_source_each(&j->r, "prompts", NULL, 0, on_prompt, j);
    if (!rc) rc = hs_job_say(j, "model", j->model);
    if (!rc) rc = hs_job_say(j, "run", j->run);
    if (!rc && j->r.prompt) rc = hs_job_say(j, "prompt", j->prompt_name);
    return rc ? rc : read_sweep(j);
}

int hs_job_caption(hs_job *j, const char *more, const char *fmt, ...) {
    int rc = read_names(j);
    if (rc) return rc;
    va_list ap;
    va_start(ap, fmt);
    rc = j->opt->title ? hs_job_text(j, &j->title, "%s", j->opt->title)
                       : text(j, &j->title, fmt, ap);
    va_end(ap);
    if (rc) return rc;
    const char *prompt = j->r.prompt ? j->prompt_name : "mean over its prompts";
    return hs_job_text(j, &j->subtitle, "%s, run %s%s%s%s, %s%s%s%s", j->model, j->run,
                       j->sweep ? " (sweep: " : "", j->sweep ? j->sweep : "", j->sweep ? ")" : "",
                       j->r.prompt ? "prompt " : "", prompt, more ? "; " : "", more ? more : "");
}

int hs_job_prompt(hs_job *j) {
    int rc = hs_db_prompt(j->r.db, j->r.run, j->r.prompt, &j->prompt);
    if (!j->r.prompt) j->r.prompt = "0";
    return rc ? rc : hs_labels_open(&j->labels, &j->r);
}

// ---- heads --------------------------------------------------------------------------------------

int hs_job_layer(const hs_job *j, int *out) {
    const char *s = j->opt->layer;
    int64_t layer = 0;
    int rc = hs_parse_int("--layer", *s == 'L' ? s + 1 : s, 0, j->dims.n_layer - 1, &layer);
    *out = (int)layer;
    return rc;
}

int hs_job_heads(hs_job *j, hs_heads *out) {
    char layer[24];
    int l;
    *out = (hs_heads){0};
    if (j->opt->head) return hs_prefix(hs_heads_parse(out, &j->dims, j->opt->head), "--head");
    if (!j->opt->layer) return hs_heads_parse(out, &j->dims, "all");
    int rc = hs_job_layer(j, &l);
    snprintf(layer, sizeof layer, "L%dH*", l);
    return rc ? rc : hs_heads_parse(out, &j->dims, layer);
}

int hs_job_name_heads(hs_job *j, int64_t count, const char **out) {
    const hs_figure_options *opt = j->opt;
    if (count == 1) return hs_job_text(j, out, "%s", opt->head ? opt->head : "its one head");
    if (opt->head) return hs_job_text(j, out, "%s, mean over %d heads", opt->head, (int)count);
    if (opt->layer) return hs_job_text(j, out, "layer %s, mean over its heads", opt->layer);
    return hs_job_text(j, out, "all heads, mean");
}

enum hs_pool_by hs_job_pool(const hs_job *j) {
    return (enum hs_pool_by)j->opt->pool;
}

// ---- maps ---------------------------------------------------------------------------------------

// How the user named the heads, for --maps.
static int not_stored(const hs_maps *m, int rc) {
    if (rc != HS_ENOTFOUND || m->n == 1) return rc;
    const hs_figure_options *opt = m->job->opt;
    int first = m->at[0] / m->heads->n_head;
    char sel[24];
    snprintf(sel, sizeof sel, "L%dH*", first);
    return hs_fail(rc,
                   "%s: run %s did not store the maps of all heads asked for: record it again "
                   "with --maps %s",
                   hs_db_path(m->job->r.db), m->job->run,
                   opt->head    ? opt->head
                   : opt->layer ? sel
                                : "all");
}

// Makes map i the open one.
static int turn_to(hs_maps *m, int64_t i) {
    if (m->map && m->open == i) return HS_OK;
    hs_map_rows_close(m->map);
    m->open = i;
    int layer = m->at[i] / m->heads->n_head, head = m->at[i] % m->heads->n_head;
    int rc = hs_map_rows_open(&m->map, m->job->r.db, m->job->prompt, layer, head);
    if (rc) return not_stored(m, rc);
    if (!m->row) {
        m->n_row = hs_map_rows_count(m->map);
        m->n_key = hs_map_rows_keys(m->map);
        return hs_alloc(&m->row, (size_t)m->n_key, sizeof *m->row);
    }
    if (hs_map_rows_count(m->map) == m->n_row && hs_map_rows_keys(m->map) == m->n_key) return HS_OK;
    return hs_fail(HS_EFORMAT, "%s: damaged: the map of L%dH%d has another size than others",
                   hs_db_path(m->job->r.db), layer, head);
}

static int part(int64_t *from, int64_t *count, int64_t n, const char *given, const char *option) {
    int64_t to = n;
    *from = 0;
    int rc = given ? hs_prefix(hs_range_parse(from, &to, n, given), "%s", option) : HS_OK;
    *count = to - *from;
    if (!rc && !*count) rc = hs_fail(HS_ERANGE, "%s: '%s' holds no position", option, given);
    return rc;
}

int hs_maps_open(hs_maps *m, hs_job *j, const hs_heads *heads) {
    *m = (hs_maps){.job = j, .heads = heads};
    int rc = hs_alloc(&m->at, (size_t)hs_heads_count(heads), sizeof *m->at);
    for (int i = 0; !rc && i < heads->n_layer * heads->n_head; i++)
        if (heads->on[i]) m->at[m->n++] = i;
    if (!rc && !m->n) rc = hs_fail(HS_EARG, "--head selects no head");
    if (!rc) rc = turn_to(m, 0);
    if (!rc) rc = part(&m->q0, &m->n_q, m->n_row, j->opt->rows, "--rows");
    if (!rc) rc = part(&m->k0, &m->n_k, m->n_key, j->opt->cols, "--cols");
    return rc;
}

void hs_maps_close(hs_maps *m) {
    hs_map_rows_close(m->map);
    free(m->at);
    free(m->row);
    *m = (hs_maps){0};
}

int hs_maps_row(void *maps, int64_t i_map, int64_t i, float *out) {
    hs_maps *m = maps;
    int rc = turn_to(m, i_map);
    if (!rc) rc = hs_map_rows_read(m->map, m->q0 + i, m->row);
    if (!rc) memcpy(out, m->row + m->k0, (size_t)m->n_k * sizeof *out);
    return rc;
}

int hs_job_panels(hs_job *j, const hs_heads *heads, hs_fig_panels p, hs_fig **out) {
    hs_maps maps = {0};
    const char **name;
    int rc = hs_maps_open(&maps, j, heads);
    if (!rc) rc = hs_job_labels(j, maps.n_key, &p.label);
    if (!rc) rc = hs_arena_get(j->arena, &name, (size_t)maps.n, sizeof *name);
    for (int64_t m = 0; m < maps.n && !rc; m++)
        rc = hs_job_text(j, &name[m], "L%dH%d", maps.at[m] / heads->n_head,
                         maps.at[m] % heads->n_head);
    if (!rc) {
        p.title = j->title;
        p.subtitle = j->subtitle;
        p.bar_label = "attention weight";
        p.rows = (hs_fig_rows){&maps, hs_maps_row};
        p.n = maps.n;
        p.name = name;
        p.n_q = maps.n_q;
        p.n_k = maps.n_k;
        p.q0 = maps.q0;
        p.k0 = maps.k0;
        p.pool = hs_job_pool(j);
        rc = hs_fig_open_panels(out, &p, &j->style);
    }
    hs_maps_close(&maps);
    return rc;
}
