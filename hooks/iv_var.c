// var: attention that rests on sink tokens goes to the rest of a span.
//
// Visual Attention Redistribution (Kang et al. 2025), with any span of the prompt where the paper
// has the image. A position j of the prompt is a sink of layer l when
//
//     phi(x_j) = max over dims of |x_j[d]| / sqrt(mean_c x_j[c]^2 + 1e-6)  >=  tau
//
// for the residual x entering the layer, as the edits before have left it. A row i of a head is
// edited when the span has at least prefilter of its weight, m = sum_{j in span} A_ij, and enough
// of that is not on sinks, r = sum_{j in span, no sink} A_ij / m >= rho. Then
//
//     A'_ij = (1 - p) A_ij                                   sinks, in the span and outside
//     A'_ij = A_ij (1 + p sum_sinks A / sum_{span, no sink} A)   the span's others
//
// so that the row keeps its sum. Rows are those after the span. phi is at most sqrt(d_model), near
// it where one channel dominates, so tau may be given as a share of that. The authors' code keeps p
// where the paper moves it, and asks that the share of sinks be at most rho: options p_is and ratio.
// All comparisons and sums in f64. Kept: a float a layer and position of the prompt.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/intervention.h"
#include "hooks/sink.h"
#include "model/core/mem.h"

enum { SPAN }; // places
enum { UNSEEN, PLAIN, SINK };

struct var {
    int n_layer;
    hs_sink_rule sink; // without channels: those of the reference
    double moved, rho, prefilter;
    bool of_sinks; // rho bounds the share of sinks
};

// ---- opening ------------------------------------------------------------------------------------

static int check_tau(const hs_sink_rule *r) {
    const double most = sqrt((double)r->d_model);
    if (r->tau <= most) return HS_OK;
    return hs_fail(
        HS_ERANGE,
        "tau=%g is never reached: at width %lld phi is at most %.4g, give a smaller one or "
        "tau_share=0.8",
        r->tau, (long long)r->d_model, most);
}

static bool is(const hs_args *args, const char *param, const char *value) {
    return !strcmp(hs_args_text(args, param), value);
}

static void set_points(const hs_edit_setup *setup, uint64_t *points) {
    for (int l = 0; l < setup->dims->n_layer; l++)
        for (int h = 0; h < setup->dims->n_head; h++)
            if (hs_heads_has(setup->heads, l, h))
                points[l] |= HS_BIT(HS_PATTERN) | HS_BIT(HS_RESID_PRE);
}

static int open_var(void **state, const hs_edit_setup *setup, uint64_t *points, hs_ref_need *need) {
    const hs_args *args = setup->args;
    const double p = hs_args_num(args, "p");
    struct var *v;
    int rc = hs_alloc(&v, 1, sizeof *v);
    if (rc) return rc;
    *state = v;
    v->n_layer = setup->dims->n_layer;
    v->moved = is(args, "p_is", "kept") ? 1 - p : p;
    v->rho = hs_args_num(args, "rho");
    v->prefilter = hs_args_num(args, "prefilter");
    v->of_sinks = is(args, "ratio", "sinks");
    if (is(args, "span", "all"))
        return hs_fail(HS_EARG, "say which span: span=5:20, or span=NAME with --span NAME=A:B");
    set_points(setup, points);
    rc = hs_sink_rule_read(&v->sink, args, setup->dims->d_model);
    if (!rc && !v->sink.n_channel) need->from = HS_REF_CHANNELS;
    return rc ? rc : check_tau(&v->sink);
}

static void close_var(void *state) {
    struct var *v = state;
    if (!v) return;
    hs_sink_rule_free(&v->sink);
    free(v);
}

static int64_t first_var(void *state, const hs_edit_at *at) {
    (void)state;
    return hs_places_end(hs_edit_places(at, SPAN));
}

// ---- sinks --------------------------------------------------------------------------------------

static bool is_sink(const hs_sink_rule *r, const hs_edit_at *at, const float *x) {
    const bool own = r->n_channel > 0;
    return hs_sink_phi(x, r->d_model, own ? r->channel : at->ref->channel,
                       own ? r->n_channel : at->ref->n_channel) >= r->tau;
}

static int var_rows(void *state, const hs_edit_at *at, const hs_site *site, const hs_view *view) {
    const struct var *v = state;
    const int64_t end = site->row0 + site->n_row < at->n_token ? site->row0 + site->n_row
                                                               : at->n_token;
    double *kept;
    int rc = end > site->row0 ? hs_edit_keep(at, at->n_token * v->n_layer, &kept) : HS_OK;
    for (int64_t pos = site->row0; pos < end && !rc; pos++) {
        const float *x = (const float *)view->data + (pos - site->row0) * view->stride[0];
        kept[site->layer * at->n_token + pos] = is_sink(&v->sink, at, x) ? SINK : PLAIN;
    }
    return rc;
}

// Of the layer, a number a position of the prompt.
static int seen(const struct var *v, const hs_edit_at *at, const hs_tile *tile,
                const double **out) {
    const double *kept = hs_edit_kept(at, at->n_token * v->n_layer);
    *out = kept ? kept + tile->layer * at->n_token : NULL;
    for (int64_t j = 0; j < at->n_token && j < tile->row0 + tile->n_row; j++)
        if (!kept || (*out)[j] == UNSEEN)
            return hs_fail(HS_EUNSUPPORTED,
                           "position %lld was not seen: run the prompt from its start",
                           (long long)j);
    return HS_OK;
}

// ---- rows ---------------------------------------------------------------------------------------

// Row i of n = i + 1 keys; sink[0 .. n_token) of the layer.
static void var_row(const struct var *v, const hs_edit_at *at, const double *sink, float *row,
                    int64_t n) {
    double span = 0, rest = 0, sinks = 0;
    for (int64_t j = 0; j < n; j++) {
        const bool is_one = j < at->n_token && sink[j] == SINK;
        const bool in_span = hs_edit_in_place(at, SPAN, j);
        const double a = (double)row[j];
        sinks += is_one ? a : 0;
        span += in_span ? a : 0;
        rest += in_span && !is_one ? a : 0;
    }
    const bool enough = v->of_sinks ? (span - rest) / span <= v->rho : rest / span >= v->rho;
    if (!(span >= v->prefilter) || !(rest > 0) || !enough || v->moved * sinks <= 0) return;
    for (int64_t j = 0; j < n; j++) {
        const double a = (double)row[j];
        if (j < at->n_token && sink[j] == SINK)
            row[j] = (float)((1 - v->moved) * a);
        else if (hs_edit_in_place(at, SPAN, j))
            row[j] = (float)(a + v->moved * sinks * a / rest);
    }
}

static int var_tile(void *state, const hs_edit_at *at, const hs_tile *tile) {
    const struct var *v = state;
    const double *sink = NULL;
    int rc = HS_OK;
    for (int64_t r = 0; r < tile->n_row && !rc; r++) {
        const int64_t pos = tile->row0 + r;
        if (!hs_edit_row(at, pos)) continue;
        if (!sink) rc = seen(v, at, tile, &sink);
        if (!rc) var_row(v, at, sink, tile->row + r * tile->ld, pos + 1);
    }
    return rc;
}

const hs_intervention hs_iv_var = {
    .name = "var",
    .title = "moves attention from sink tokens to the rest of a span",
    .about =
        "Positions of the prompt are sinks of a layer when one of the channels dims= of the "
        "residual entering it is at least tau times its root mean square. Rows after the span that "
        "give it at least prefilter of their weight, rho of that not to sinks, give p of what lies "
        "on sinks to the span's others, in proportion. dims=auto takes the channels that at the "
        "first token exceed 100, and 1000 times the layer's median, in at least half of the "
        "layers, over the first 16 prompts; headscope record --observe sink_tokens shows them. The "
        "authors' code reads p as the share kept, p_is=kept, and wants a share of sinks of at most "
        "rho, ratio=sinks.",
    .reference = "Kang et al., See What You Are Told: Visual Attention Sink in Large Multimodal "
                 "Models, ICLR 2025; code seilk/VisAttnSink",
    .example = "var:L*,span=1:3,dims=0,tau_share=0.8",
    .target = HS_TARGET_UNITS,
    .units = 1u << HS_UNIT_HEAD | 1u << HS_UNIT_GROUP,
    .params =
        (const hs_param[]){
            {"span", HS_PARAM_TEXT, "all", 0, 0, NULL, "positions",
             "what attention is given to, as in pos=; needed"},
            {"dims", HS_PARAM_TEXT, "auto", 0, 0, NULL, "channels",
             "channels of the residual that tell sinks, joined by +; auto finds them"},
            {"tau", HS_PARAM_NUM, "20", 0, 1e6, NULL, "",
             "sinks have at least this phi, which is at most sqrt(d_model)"},
            {"tau_share", HS_PARAM_NUM, "0", 0, 1, NULL, "", "tau as a share of sqrt(d_model)"},
            {"p", HS_PARAM_NUM, "0.6", 0, 1, NULL, "", "share of the sinks' weight that is moved"},
            {"p_is", HS_PARAM_ENUM, "moved", 0, 0, "moved|kept", "", "what p is the share of"},
            {"rho", HS_PARAM_NUM, "0.5", 0, 1, NULL, "",
             "share of the span's weight that must not be on sinks"},
            {"ratio", HS_PARAM_ENUM, "others", 0, 0, "others|sinks", "",
             "others: their share is at least rho; sinks: theirs is at most rho"},
            {"prefilter", HS_PARAM_NUM, "0.2", 0, 1, NULL, "",
             "weight that a row must give to the span"},
            {0}},
    .places = (const hs_edit_place[]){[SPAN] = {"span", false}, {0}},
    .open = open_var,
    .close = close_var,
    .rows = var_rows,
    .tile = var_tile,
    .looks = HS_BIT(HS_RESID_PRE),
    .whole = true,
    .first = first_var,
};
