// Which heads are masked, and the random sets beside them; see influence.h.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/influence/influence.h"
#include "cli/metric.h"
#include "db/replay.h"
#include "model/core/mem.h"

#define SHARE 0.05 // of the heads are masked, as in the paper

const char *const hs_influence_kinds[HS_N_INFLUENCE] = {"top", "random", "others"};

// ---- the best heads of a run --------------------------------------------------------------------

static const char *metric_of(const hs_influence_work *w) {
    return w->opt->by ? w->opt->by : "retrieval_tf";
}

static int on_run(void *ctx, const hs_query *q) {
    int64_t *run = ctx;
    if (!*run) *run = hs_query_int(q, "run"); // the newest one
    return HS_OK;
}

// The run to read: --from, else the newest that has the metric.
static int find_run(const hs_influence_work *w, hs_source *r) {
    const char *path = hs_cli_db_path(&w->opt->db);
    hs_buf param = {0}, why = {0};
    int rc = hs_db_open(&r->db, path, HS_DB_READ);
    if (rc) {
        hs_buf_str(&why, hs_errmsg());
        rc = hs_fail(rc,
                     "no heads to mask: run headscope retrieve first, or give --heads L5H1,... "
                     "(%s)",
                     hs_buf_text(&why));
    }
    if (!rc && w->opt->from) rc = hs_prefix(hs_db_run(r->db, w->opt->from, &r->run), "--from");
    hs_buf_printf(&param, "metric=%s", metric_of(w));
    if (!rc) rc = hs_buf_rc(&param);
    const char *text = hs_buf_text(&param);
    if (!rc && !r->run) rc = hs_source_each(r, "metric_runs", &text, 1, on_run, &r->run);
    if (!rc && !r->run)
        rc = hs_fail(HS_ENOTFOUND,
                     "no run of %s has %s, by which heads are chosen: run headscope retrieve "
                     "first, give --heads L5H1,..., or --by another metric",
                     path, metric_of(w));
    hs_buf_free(&param);
    hs_buf_free(&why);
    return rc;
}

// Largest first, those without a number last; ties in the order of layers and heads.
static int by_value(const void *a, const void *b) {
    const hs_head_value *x = a, *y = b;
    if (isnan(x->value) != isnan(y->value)) return isnan(x->value) ? 1 : -1;
    if (x->value > y->value || x->value < y->value) return x->value > y->value ? -1 : 1;
    return x->layer != y->layer ? x->layer - y->layer : x->head - y->head;
}

static int take_best(const hs_influence_work *w, const hs_dims *dims, hs_source *r, hs_heads *out) {
    const int64_t n_head = (int64_t)dims->n_layer * dims->n_head;
    const int64_t share = llround(SHARE * (double)n_head);
    const int64_t k = w->opt->top ? w->opt->top : share > 1 ? share : 1;
    hs_dims of = {0};
    hs_head_values v = {0};
    int64_t n = 0;
    int rc = hs_db_dims(r->db, r->run, &of);
    if (!rc && (of.n_layer != dims->n_layer || of.n_head != dims->n_head))
        rc = hs_fail(HS_EARG,
                     "run %" PRId64 " is of a model of %d layers with %d heads, this one has %d "
                     "with %d: give --from RUN of this model, or --heads",
                     r->run, of.n_layer, of.n_head, dims->n_layer, dims->n_head);
    if (!rc) rc = hs_metric_read(&v, r, metric_of(w));
    if (!rc) qsort(v.at, (size_t)v.n, sizeof *v.at, by_value);
    while (!rc && n < v.n && !isnan(v.at[n].value)) n++;
    if (!rc && n < k)
        rc = hs_fail(HS_EARG,
                     "%" PRId64 " heads of run %" PRId64 " have %s, and %" PRId64
                     " are to be masked: give --top K, or --heads",
                     n, r->run, metric_of(w), k);
    if (!rc) rc = hs_heads_parse(out, dims, "none");
    for (int64_t i = 0; i < k && !rc; i++) out->on[v.at[i].layer * dims->n_head + v.at[i].head] = 1;
    hs_metric_free(&v);
    return rc;
}

static int choose(const hs_influence_work *w, const hs_dims *dims, hs_heads *out) {
    const hs_influence_options *o = w->opt;
    hs_source r = {0};
    if (o->heads && (o->by || o->from || o->top))
        return hs_fail(HS_EARG, "--heads says which heads, and --by, --from and --top choose them: "
                                "give one or the other");
    if (o->heads) return hs_prefix(hs_heads_parse(out, dims, o->heads), "--heads");
    int rc = find_run(w, &r);
    if (!rc) rc = take_best(w, dims, &r, out);
    hs_source_close(&r);
    return rc;
}

// ---- sets ---------------------------------------------------------------------------------------

static int draw_sets(hs_influence_work *w, const hs_heads *all, const hs_heads *others, int64_t k) {
    const int64_t n = w->opt->control;
    hs_prng prng = hs_prng_seed((uint64_t)w->opt->seed);
    int rc = HS_OK;
    if (n && hs_heads_count(others) < k)
        return hs_fail(HS_EARG,
                       "%" PRId64 " heads are masked, and only %" PRId64
                       " are left to draw as many from: mask fewer, or leave the random sets out "
                       "with --control 0",
                       k, hs_heads_count(others));
    for (int64_t i = 0; i < 2 * n && !rc; i++) {
        hs_influence_set *s = &w->set[w->n_set++];
        s->kind = i < n ? HS_INFLUENCE_RANDOM : HS_INFLUENCE_OTHERS;
        s->draw = i % n;
        s->n_head = k;
        rc = hs_influence_draw(&s->heads, &prng, i < n ? all : others, k);
    }
    return rc;
}

int hs_influence_sets(hs_influence_work *w) {
    const hs_dims dims = hs_dims_of(w->session.model);
    const size_t n = 1 + 2 * (size_t)w->opt->control;
    const char *spare = w->opt->spare ? w->opt->spare : "none";
    hs_heads top = {0}, all = {0}, others = {0}, spared = {0};
    int rc = choose(w, &dims, &top);
    if (!rc) rc = hs_heads_parse(&all, &dims, "all");
    if (!rc) rc = hs_heads_parse(&others, &dims, "all");
    if (!rc) rc = hs_prefix(hs_heads_parse(&spared, &dims, spare), "--spare");
    if (!rc) rc = hs_alloc(&w->set, n, sizeof *w->set);
    if (!rc) rc = hs_alloc(&w->name, n, sizeof *w->name);
    for (int i = 0; !rc && i < dims.n_layer * dims.n_head; i++)
        if (top.on[i] || spared.on[i]) others.on[i] = 0;
    if (!rc) {
        const int64_t k = hs_heads_count(&top);
        w->n_set = 1;
        w->set[0].n_head = k;
        hs_influence_name(&w->set[0].heads, &top);
        rc = hs_buf_rc(&w->set[0].heads);
        if (!rc && k) rc = draw_sets(w, &all, &others, k);
    }
    for (int i = 0; i < w->n_set && !rc; i++) w->name[i] = hs_buf_text(&w->set[i].heads);
    hs_heads_free(&top);
    hs_heads_free(&all);
    hs_heads_free(&others);
    hs_heads_free(&spared);
    return rc;
}
