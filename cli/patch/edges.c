// patch --edges: edge attribution, and the circuit of its largest edges; see patch.h.
#include <math.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/experiments/edges.h"
#include "cli/patch/patch.h"
#include "db/circuit.h"
#include "model/core/mem.h"

struct edges {
    hs_patch_work *work;
    hs_slope slope;
    int64_t n_sender, n_receiver;
    hs_analysis as;
    hs_study study;
    double *full; // [n_pair] the metric of the half that lends
};

static bool is_wanted(const hs_patch_options *o) {
    return o->edges;
}

static bool is_noise(const struct edges *c) {
    return c->work->opt->direction == HS_PATCH_NOISE;
}

static int open_edges(struct edges *c) {
    hs_patch_work *w = c->work;
    c->as = hs_analysis_of_experiment(&hs_experiment_edges);
    c->slope = (hs_slope){w->session.model, w->session.prompts, w->answers.at,
                          (enum hs_effect)w->opt->metric};
    c->n_sender = hs_edge_senders(&w->dims);
    c->n_receiver = hs_edge_receivers(&w->dims);
    int rc = hs_patch_no_cells(w->opt, "--edges");
    if (!rc && w->opt->pos && strcmp(w->opt->pos, "all") != 0)
        rc = hs_fail(HS_EARG, "--edges adds up all positions: --pos goes with --path");
    return rc ? rc : hs_alloc(&c->full, (size_t)w->n_pair, sizeof *c->full);
}

// ---- into the database ------------------------------------------------------------------------

// A receiver's scores, by sender.
static int emit_receiver(const struct edges *c, const hs_emit *emit, int64_t i,
                         const double *score) {
    static const char *const names[] = {[HS_NODE_Q] = "edge_q",
                                        [HS_NODE_K] = "edge_k",
                                        [HS_NODE_V] = "edge_v",
                                        [HS_NODE_MLP] = "edge_mlp",
                                        [HS_NODE_LOGITS] = "edge_logits"};
    const hs_dims *d = &c->work->dims;
    const hs_node r = hs_edge_receiver(d, i);
    const int layer = r.kind == HS_NODE_LOGITS ? d->n_layer - 1 : r.layer;
    if (isnan(score[0])) return HS_OK; // a model without MLPs
    return emit->series(emit->ctx, layer, r.index, names[r.kind], score, hs_edge_before(d, &r));
}

static int on_prompt(void *ctx, const hs_edges_result *r) {
    struct edges *c = ctx;
    const int64_t pair = r->ord % c->work->n_pair;
    const double full = c->full[pair];
    const hs_value row[] = {{.type = HS_VAL_TEXT, .s = hs_effects[c->work->opt->metric].name},
                            {.type = HS_VAL_INT, .i = c->work->dims.n_head},
                            {.type = HS_VAL_INT, .i = c->work->dims.n_kv_head},
                            hs_value_num(r->base),
                            hs_value_num(is_noise(c) ? r->base : full),
                            hs_value_num(is_noise(c) ? full : r->base)};
    hs_emit emit;
    int rc = hs_study_begin(&c->study, pair, &emit);
    if (!rc) rc = emit.row(emit.ctx, "pair", row);
    for (int64_t i = 0; i < c->n_receiver && !rc; i++)
        rc = emit_receiver(c, &emit, i, r->score + i * c->n_sender);
    return hs_study_end(&c->study, rc);
}

static int run_left(struct edges *c) {
    int64_t *ord = NULL, n = 0;
    int rc = hs_patch_run_left(&c->study, c->work, &ord, &n, c->full);
    if (!rc && n) rc = hs_edges(&c->slope, 0, &c->work->session.bar.progress, ord, n, on_prompt, c);
    free(ord);
    return rc;
}

static int store(struct edges *c) {
    int rc = hs_patch_run_open(&c->study, c->work, &c->as, "\"pos\":\"all\"");
    if (!rc) rc = run_left(c);
    return hs_study_close(&c->study, rc);
}

// ---- what is printed --------------------------------------------------------------------------

static int put_json(const struct edges *c, const hs_circuit *g) {
    hs_buf json = {0};
    hs_jw j = {&json, false};
    hs_jw_begin(&j, '{');
    hs_jw_key_int(&j, "run", c->study.id);
    hs_jw_key_str(&j, "db", c->work->path);
    hs_circuit_json(&j, g);
    hs_jw_end(&j, '}');
    return hs_json_put(&json);
}

static int put_table(const struct edges *c, const hs_circuit *g) {
    static const hs_col columns[] = {{"from", "from", 0},
                                     {"to", "to", 0},
                                     {"kind", "by", 0},
                                     {"value", "score", 6},
                                     {"n", "pairs", 0}};
    hs_table *t;
    int rc = hs_table_open(&t, columns, 5);
    for (int64_t i = 0; i < g->n_edge && !rc; i++) {
        const hs_circuit_edge *e = &g->edge[i];
        hs_table_str(t, g->node[e->from].name);
        hs_table_str(t, g->node[e->to].name);
        hs_table_str(t, e->kind);
        hs_table_num(t, e->value);
        hs_table_int(t, g->pairs);
    }
    if (!rc) rc = hs_table_put(t, c->work->call, &c->work->opt->out);
    hs_table_close(t);
    return rc;
}

static int put_people(const struct edges *c, const hs_circuit *g) {
    const char *path = c->work->path, *db = " --db ";
    const int64_t run = c->study.id;
    printf("edges, %s, on %" PRId64 " pair%s: run %" PRId64 " in %s\n\n%s %.6f clean, %.6f "
           "corrupt; the %" PRId64 " edges of largest score\n",
           is_noise(c) ? "noising" : "denoising", g->pairs, g->pairs == 1 ? "" : "s", run, path,
           hs_effects[c->work->opt->metric].name, g->clean, g->corrupt, g->n_edge);
    int rc = put_table(c, g);
    if (rc || c->work->call->quiet) return rc;
    if (strcmp(path, "headscope.db") == 0) db = path = "";
    printf("\nnext: headscope query circuit --run %" PRId64 "%s%s\n      headscope heatmap %" PRId64
           " --circuit -o circuit.png%s%s\n",
           run, db, path, run, db, path);
    return HS_OK;
}

static int put(const struct edges *c) {
    const hs_patch_options *o = c->work->opt;
    hs_circuit g;
    int rc = hs_circuit_open(&g, c->work->db, c->study.id, NULL, o->threshold > 0 ? 0 : o->top,
                             o->threshold);
    if (!rc)
        rc = o->out.json                  ? put_json(c, &g)
             : o->out.csv || o->out.jsonl ? put_table(c, &g)
                                          : put_people(c, &g);
    hs_circuit_close(&g);
    return rc;
}

static int run_edges(hs_patch_work *w) {
    struct edges c = {.work = w};
    int rc = open_edges(&c);
    if (!rc) rc = store(&c);
    hs_bar_close(&w->session.bar);
    if (!rc) rc = put(&c);
    free(c.full);
    return rc;
}

const hs_patch_way hs_patch_way_edges = {is_wanted, run_edges, HS_PATCH_NOISE};
