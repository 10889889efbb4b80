// heatmap --circuit: the largest edges that patch --edges found, as a layered graph: the embedding
// at the bottom, the logits on top, MLPs above the heads of their layer. Where heads share keys and
// values, a box of the group stands below them, and pale lines lead from it to its heads.
#include <math.h>
#include <string.h>

#include "cli/figures/figure.h"
#include "db/circuit.h"

enum { TOP = 40, MOST = 400 };

static int64_t rank_of(const hs_circuit_node *n, int64_t n_layer) {
    if (strcmp(n->kind, "embed") == 0) return -1;
    if (strcmp(n->kind, "logits") == 0) return 3 * n_layer;
    return 3 * n->layer + (strcmp(n->kind, "head") == 0 ? 1 : strcmp(n->kind, "mlp") == 0 ? 2 : 0);
}

static double port_of(const char *kind) {
    return strcmp(kind, "q") == 0 ? -1 : strcmp(kind, "v") == 0 ? 1 : 0;
}

static bool in_group(const hs_circuit *c, const hs_circuit_node *group,
                     const hs_circuit_node *head) {
    return strcmp(group->kind, "group") == 0 && strcmp(head->kind, "head") == 0 &&
           group->layer == head->layer && head->index / c->group == group->index;
}

static int make_nodes(hs_job *j, const hs_circuit *c, hs_fig_node **out) {
    int rc = hs_arena_get(j->arena, out, (size_t)c->n_node, sizeof **out);
    for (int64_t i = 0; i < c->n_node && !rc; i++) {
        const hs_circuit_node *n = &c->node[i];
        hs_fig_node *to = &(*out)[i];
        to->rank = rank_of(n, j->dims.n_layer);
        rc = strcmp(n->kind, "mlp") == 0
                 ? hs_job_text(j, &to->name, "MLP %lld", (long long)n->layer)
                 : hs_job_text(j, &to->name, "%s", n->name);
    }
    return rc;
}

static int make_links(hs_job *j, const hs_circuit *c, hs_fig_link **out, int64_t *n_link) {
    int64_t n = 0;
    int rc = hs_arena_get(j->arena, out, (size_t)(c->n_edge + c->n_node), sizeof **out);
    if (rc) return rc;
    for (int64_t i = 0; i < c->n_edge; i++) {
        const hs_circuit_edge *e = &c->edge[i];
        const hs_circuit_node *from = &c->node[e->from], *to = &c->node[e->to];
        if (rank_of(from, j->dims.n_layer) >= rank_of(to, j->dims.n_layer))
            return hs_fail(HS_EFORMAT, "%s: damaged: an edge from %s to %s", hs_db_path(j->r.db),
                           from->name, to->name);
        (*out)[n++] = (hs_fig_link){e->from, e->to, e->value, port_of(e->kind)};
    }
    for (int64_t g = 0; g < c->n_node; g++)
        for (int64_t h = 0; h < c->n_node; h++)
            if (in_group(c, &c->node[g], &c->node[h])) (*out)[n++] = (hs_fig_link){g, h, NAN, 0};
    *n_link = n;
    return HS_OK;
}

static int draw(hs_job *j, hs_fig **out) {
    const int64_t top = j->opt->top ? j->opt->top : j->opt->threshold > 0 ? MOST : TOP;
    hs_circuit c = {0};
    hs_fig_graph fig = {.positive = "raises the metric when it is patched",
                        .negative = "lowers it",
                        .value_name = "score"};
    hs_fig_node *node;
    hs_fig_link *link;
    if (top > MOST) return hs_fail(HS_EARG, "--top draws at most %d edges", (int)MOST);
    int rc = hs_circuit_open(&c, j->r.db, j->r.run, j->r.prompt, top, j->opt->threshold);
    if (!rc) rc = make_nodes(j, &c, &node);
    if (!rc) rc = make_links(j, &c, &link, &fig.n_link);
    if (!rc) rc = hs_job_say(j, "metric", c.metric);
    if (!rc)
        rc = hs_job_caption(j, "edge attribution", "The %lld edges that carry most of %s",
                            (long long)c.n_edge, c.metric);
    if (!rc) {
        fig.title = j->title;
        fig.subtitle = j->subtitle;
        fig.node = node;
        fig.n_node = c.n_node;
        fig.link = link;
        fig.port_note = c.group > 1
                            ? "LnGm: keys (middle) and values (right) that a group of heads "
                              "shares. Queries end at the left of a head."
                            : "At a head, queries end left, keys in the middle, values "
                              "right.";
        rc = hs_fig_open_graph(out, &fig, &j->style);
    }
    hs_circuit_close(&c);
    return rc;
}

const hs_figure hs_figure_circuit = {
    .name = "circuit",
    .title = "the largest edges of patch --edges as a layered graph",
    .option = "circuit",
    .takes = "top threshold",
    .example = "heatmap --circuit --top 40",
    .draw = draw,
};
