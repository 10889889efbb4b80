// Sink tokens by VAR's rule (Kang et al. 2025): which positions of the prompt have, in the residual
// entering a layer, one of the sink channels at least tau times their root mean square; phi is what
// the channel is times that, at most sqrt(d_model), so it is told as a share of it as well. With
// dims=auto the sink channels are those that are massive at the first token (Sun et al. 2024) after
// at least half of the blocks of this prompt; the edit var finds them the same way, over more
// prompts. Both are known once the last layer came: until then every channel that reaches tau is
// kept, d_model / tau^2 a position at most. Memory besides: |x| of the prompt, T x D, for each layer
// whose rows are still coming.
#include <math.h>
#include <stdlib.h>

#include "analyses/channels.h"
#include "analyses/median.h"
#include "analyses/observer.h"
#include "hooks/sink.h"
#include "model/core/mem.h"

struct hit {
    int64_t pos, channel;
    double phi;
};

struct layer {
    struct hit *hit; // [n_hit]
    int64_t n_hit;
    double *peak;   // [n_token] the largest phi of any channel; NULL: no row came
    uint32_t *key;  // [n_token][d_model] bits of |x| after the block; NULL: none, or all came
    int64_t n_post; // rows of these
};

struct state {
    int n_layer;
    int64_t n_token, d_model, n_done; // layers whose median is known
    hs_sink_rule rule;
    struct layer *layer;
    int64_t *times;  // [d_model] layers after which a channel was massive at the first token
    uint64_t *count; // scratch of medians
};

static void sink_close(void *state) {
    struct state *st = state;
    if (!st) return;
    for (int l = 0; st->layer && l < st->n_layer; l++) {
        free(st->layer[l].hit);
        free(st->layer[l].peak);
        free(st->layer[l].key);
    }
    hs_sink_rule_free(&st->rule);
    free(st->layer);
    free(st->times);
    free(st->count);
    free(st);
}

static int sink_open(void **state, const hs_subject *subject, const hs_args *args) {
    struct state *st;
    int rc = hs_alloc(&st, 1, sizeof *st);
    if (rc) return rc;
    *state = st;
    st->n_layer = subject->dims.n_layer;
    st->n_token = subject->n_token;
    st->d_model = subject->dims.d_model;
    rc = hs_sink_rule_read(&st->rule, args, st->d_model);
    if (!rc && !st->rule.n_channel && st->rule.tau < 1)
        rc = hs_fail(HS_EARG,
                     "tau=%g is reached by most channels: give at least 1, or dims=", st->rule.tau);
    if (!rc) rc = hs_alloc(&st->layer, (size_t)st->n_layer, sizeof *st->layer);
    if (!rc) rc = hs_alloc(&st->times, (size_t)st->d_model, sizeof *st->times);
    if (!rc) rc = hs_alloc(&st->count, HS_MEDIAN_COUNTS, sizeof *st->count);
    return rc;
}

// ---- rows ---------------------------------------------------------------------------------------

static bool is_wanted(const struct state *st, int64_t channel) {
    bool wanted = st->rule.n_channel == 0;
    for (int64_t k = 0; k < st->rule.n_channel; k++) wanted |= st->rule.channel[k] == channel;
    return wanted;
}

static int look_at(const struct state *st, struct layer *y, int64_t pos, const float *x) {
    const double scale = hs_sink_scale(x, st->d_model);
    int rc = HS_OK;
    for (int64_t c = 0; c < st->d_model && !rc; c++) {
        const double phi = fabs((double)x[c]) / scale;
        y->peak[pos] = fmax(y->peak[pos], phi);
        if (!(phi >= st->rule.tau) || !is_wanted(st, c)) continue;
        rc = hs_grow(&y->hit, (size_t)y->n_hit + 1, sizeof *y->hit);
        if (!rc) y->hit[y->n_hit++] = (struct hit){pos, c, phi};
    }
    return rc;
}

static void end_layer(struct state *st, struct layer *y) {
    const double median = hs_median_size(y->key, y->n_post * st->d_model, st->count);
    for (int64_t c = 0; c < st->d_model; c++)
        st->times[c] += hs_is_massive(hs_key_size(y->key[c]), median);
    st->n_done++;
    free(y->key);
    y->key = NULL;
}

static int before_block(struct state *st, struct layer *y, const hs_site *site, int64_t n,
                        const hs_view *view) {
    int rc = y->peak ? HS_OK : hs_alloc(&y->peak, (size_t)st->n_token, sizeof *y->peak);
    for (int64_t r = 0; r < n && !rc; r++)
        rc = look_at(st, y, site->row0 + r, (const float *)view->data + r * view->stride[0]);
    return rc;
}

static int after_block(struct state *st, struct layer *y, const hs_site *site, int64_t n,
                       const hs_view *view) {
    const size_t width = (size_t)st->d_model;
    int rc = y->key ? HS_OK : hs_alloc(&y->key, (size_t)st->n_token, width * sizeof *y->key);
    for (int64_t r = 0; r < n && !rc; r++) {
        const float *x = (const float *)view->data + r * view->stride[0];
        uint32_t *key = y->key + (site->row0 + r) * st->d_model;
        for (int64_t c = 0; c < st->d_model; c++) key[c] = hs_size_key(x[c]);
    }
    if (rc) return rc;
    y->n_post += n;
    if (y->n_post == st->n_token) end_layer(st, y);
    return HS_OK;
}

// Decoded positions are none of VAR's sinks.
static int sink_rows(void *state, const hs_site *site, const hs_view *view) {
    struct state *st = state;
    struct layer *y = &st->layer[site->layer];
    const int64_t left = st->n_token - site->row0, n = left < site->n_row ? left : site->n_row;
    if (n <= 0) return HS_OK;
    return site->point == HS_RESID_PRE ? before_block(st, y, site, n, view)
                                       : after_block(st, y, site, n, view);
}

// ---- results ------------------------------------------------------------------------------------

static bool is_used(const struct state *st, int64_t channel) {
    if (st->rule.n_channel) return is_wanted(st, channel);
    return st->times[channel] && 2 * st->times[channel] >= st->n_done;
}

static int emit_channels(const struct state *st, const hs_emit *emit) {
    int rc = HS_OK;
    for (int64_t c = 0; c < st->d_model && !rc; c++) {
        if (!st->times[c] && !is_used(st, c)) continue;
        const hs_value row[] = {{.type = HS_VAL_INT, .i = c},
                                {.type = HS_VAL_INT, .i = st->times[c]},
                                {.type = HS_VAL_INT, .i = st->n_done},
                                {.type = HS_VAL_INT, .i = is_used(st, c)}};
        rc = emit->row(emit->ctx, "channels", row);
    }
    return rc;
}

// Of hits at one position, which stand together, the channel with the largest phi.
static int emit_found(const struct state *st, const hs_emit *emit, int layer) {
    const struct layer *y = &st->layer[layer];
    int rc = HS_OK;
    for (int64_t i = 0, next; i < y->n_hit && !rc; i = next) {
        const struct hit *best = NULL;
        for (next = i; next < y->n_hit && y->hit[next].pos == y->hit[i].pos; next++)
            if (is_used(st, y->hit[next].channel) && (!best || y->hit[next].phi > best->phi))
                best = &y->hit[next];
        if (!best) continue;
        const hs_value row[] = {
            {.type = HS_VAL_INT, .i = layer},
            {.type = HS_VAL_INT, .i = best->pos},
            {.type = HS_VAL_INT, .i = best->channel},
            {.type = HS_VAL_NUM, .f = best->phi},
            {.type = HS_VAL_NUM, .f = best->phi / sqrt((double)st->d_model)},
        };
        rc = emit->row(emit->ctx, "found", row);
    }
    return rc;
}

static int sink_finish(void *state, const hs_emit *emit) {
    struct state *st = state;
    for (int l = 0; l < st->n_layer; l++)
        if (st->layer[l].key) end_layer(st, &st->layer[l]);
    int rc = emit_channels(st, emit);
    for (int l = 0; l < st->n_layer && !rc; l++) {
        rc = emit_found(st, emit, l);
        if (!rc && st->layer[l].peak)
            rc = emit->series(emit->ctx, l, -1, "phi_peak", st->layer[l].peak, st->n_token);
    }
    return rc;
}

static const hs_param params[] = {
    {"dims", HS_PARAM_TEXT, "auto", 0, 0, NULL, "channels",
     "sink channels, joined by +; auto: those that are massive at the first token after at least "
     "half of the blocks"},
    {"tau", HS_PARAM_NUM, "20", 0, INFINITY, NULL, NULL, "a sink has at least this phi"},
    {"tau_share", HS_PARAM_NUM, "0", 0, 1, NULL, NULL, "tau as a share of sqrt(d_model)"},
    {0},
};

static const hs_metric series[] = {
    {"phi_peak", "", "max_c |x_c| / sqrt(mean x^2 + 1e-6) over all channels, by position",
     HS_SEQUENTIAL},
    {0},
};

static const hs_column found_columns[] = {
    {"layer", "INTEGER", "", "layer that the residual enters, from 0"},
    {"position", "INTEGER", "position", "of the prompt"},
    {"channel", "INTEGER", "", "the sink channel with the largest |x|"},
    {"phi", "REAL", "", "|x| there over the root mean square of the position"},
    {"share", "REAL", "", "phi / sqrt(d_model), at most 1"},
    {0},
};

static const hs_column channel_columns[] = {
    {"channel", "INTEGER", "", "channel of the residual"},
    {"layers", "INTEGER", "layers",
     "blocks after which |x| at the first token exceeds 100, and 1000 times the median"},
    {"of", "INTEGER", "layers", "blocks that were seen"},
    {"used", "INTEGER", "", "1 when sinks are told by it"},
    {0},
};

static const hs_result_table tables[] = {
    {"found", found_columns, 2, "sink tokens, layer by layer"},
    {"channels", channel_columns, 1, "channels that tell sinks, or might"},
    {0},
};

const hs_observer hs_observer_sink_tokens = {
    .name = "sink_tokens",
    .title = "Sink tokens",
    .about = "Positions of the prompt at which a sink channel of the residual stream stands far "
             "above the rest, layer by layer, as VAR tells sinks; and the channels that do so.",
    .reference = "Kang et al. 2025, arXiv 2503.03321; Sun et al. 2024, arXiv 2402.17762",
    .params = params,
    .points = HS_BIT(HS_RESID_PRE) | HS_BIT(HS_RESID_POST),
    .series = series,
    .tables = tables,
    .open = sink_open,
    .rows = sink_rows,
    .finish = sink_finish,
    .close = sink_close,
};
