// Mass on spans: what the rows behind a named range of the prompt give to it, head by head; and of
// all spans together, what rows behind the last one give to them, to position 0, where attention
// sinks, and to the rest. Sums in f64, row by row; O(spans) a head.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/observer.h"
#include "hooks/places.h"
#include "model/core/mem.h"

struct sums {
    double any, first, rest; // of rows behind all spans
    int64_t n_row;
    double *mass;    // [n_span] of rows behind each
    int64_t *n_seen; // [n_span] these rows
};

struct state {
    int n_layer, n_head, n_span;
    int64_t n_token, end; // one more than the last position of all spans
    hs_span *span;        // [n_span]
    bool *in_any;         // [n_token]
    char *names;          // of the parts of of=
    struct sums *sums;    // [n_layer][n_head]
};

static void spans_close(void *state) {
    struct state *st = state;
    if (!st) return;
    for (int i = 0; st->sums && i < st->n_layer * st->n_head; i++) {
        free(st->sums[i].mass);
        free(st->sums[i].n_seen);
    }
    free(st->sums);
    free(st->in_any);
    free(st->span);
    free(st->names);
    free(st);
}

// ---- which spans --------------------------------------------------------------------------------

static bool is_there(const struct state *st, const char *name) {
    for (int i = 0; i < st->n_span; i++)
        if (!strcmp(st->span[i].name, name)) return true;
    return false;
}

static int add_span(struct state *st, const char *name, int64_t from, int64_t to) {
    if (from < 0 || from >= to || to > st->n_token || is_there(st, name)) return HS_OK;
    int rc = hs_grow(&st->span, (size_t)st->n_span + 1, sizeof *st->span);
    if (rc) return rc;
    st->span[st->n_span++] = (hs_span){name, from, to};
    if (to > st->end) st->end = to;
    for (int64_t i = from; i < to; i++) st->in_any[i] = true;
    return HS_OK;
}

// All that have names: of equal ones the prompt's own; those that do not fit the prompt are not its.
static int add_all(struct state *st, const hs_subject *subject) {
    const hs_spans of[2] = {subject->own, subject->given};
    int rc = HS_OK;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < of[k].n && !rc; i++)
            rc = add_span(st, of[k].at[i].name, of[k].at[i].from, of[k].at[i].to);
    return rc;
}

// "doc?" is called doc.
static int add_part(struct state *st, const hs_subject *subject, char *part) {
    hs_places at = {0};
    int rc = hs_places_check(part);
    if (!rc) rc = hs_places_resolve(&at, part, st->n_token, subject->own, subject->given);
    if (!rc && part[strlen(part) - 1] == '?') part[strlen(part) - 1] = 0;
    for (int i = 0; i < at.n && !rc; i++) rc = add_span(st, part, at.at[i].from, at.at[i].to);
    hs_places_free(&at);
    return hs_prefix(rc, "spans:of=%s", part);
}

static int choose(struct state *st, const hs_subject *subject, const char *of) {
    int rc = HS_OK;
    if (!strcmp(of, "all")) return add_all(st, subject);
    st->names = strdup(of);
    if (!st->names) return hs_fail(HS_ENOMEM, "out of memory");
    for (char *part = st->names, *next; part && !rc; part = next) {
        next = strchr(part, '+');
        if (next) *next++ = 0;
        rc = add_part(st, subject, part);
    }
    return rc;
}

static int spans_open(void **state, const hs_subject *subject, const hs_args *args) {
    struct state *st;
    int rc = hs_alloc(&st, 1, sizeof *st);
    if (rc) return rc;
    *state = st;
    st->n_layer = subject->dims.n_layer;
    st->n_head = subject->dims.n_head;
    st->n_token = subject->n_token;
    const size_t n = (size_t)st->n_layer * (size_t)st->n_head;
    rc = hs_alloc(&st->in_any, (size_t)st->n_token, sizeof *st->in_any);
    if (!rc) rc = choose(st, subject, hs_args_text(args, "of"));
    if (!rc) rc = hs_alloc(&st->sums, n, sizeof *st->sums);
    for (size_t i = 0; i < n && !rc; i++) {
        rc = hs_alloc(&st->sums[i].mass, (size_t)st->n_span, sizeof *st->sums[i].mass);
        if (!rc) rc = hs_alloc(&st->sums[i].n_seen, (size_t)st->n_span, sizeof *st->sums[i].n_seen);
    }
    return rc;
}

// ---- rows ---------------------------------------------------------------------------------------

static void add_row(const struct state *st, struct sums *s, const float *row, int64_t i) {
    double any = 0, rest = 0;
    for (int k = 0; k < st->n_span; k++) {
        double mass = 0;
        if (i < st->span[k].to) continue;
        for (int64_t j = st->span[k].from; j < st->span[k].to; j++) mass += (double)row[j];
        s->mass[k] += mass;
        s->n_seen[k]++;
    }
    if (!st->n_span || i < st->end) return;
    for (int64_t j = 0; j <= i; j++) {
        const bool in = j < st->n_token && st->in_any[j];
        any += in ? (double)row[j] : 0;
        rest += !in && j > 0 ? (double)row[j] : 0;
    }
    s->any += any;
    s->rest += rest;
    s->first += st->in_any[0] ? 0 : (double)row[0];
    s->n_row++;
}

static int spans_tile(void *state, const hs_tile *tile) {
    struct state *st = state;
    struct sums *s = &st->sums[tile->layer * st->n_head + tile->head];
    for (int64_t r = 0; r < tile->n_row; r++)
        add_row(st, s, tile->row + r * tile->ld, tile->row0 + r);
    return HS_OK;
}

// ---- results ------------------------------------------------------------------------------------

static int emit_metrics(const struct state *st, const hs_emit *emit, int layer, int head) {
    const struct sums *s = &st->sums[layer * st->n_head + head];
    const char *why = !st->n_span ? "the prompt names no span: give --span NAME=A:B"
                      : !s->n_row ? "no row of this head was seen behind the last span"
                                  : NULL;
    const struct {
        const char *name;
        double sum;
    } metric[] = {{"span_mass", s->any}, {"span_sink", s->first}, {"span_rest", s->rest}};
    int rc = HS_OK;
    for (int i = 0; i < 3 && !rc; i++)
        rc = emit->metric(emit->ctx, layer, head, metric[i].name,
                          why ? (double)NAN : metric[i].sum / (double)s->n_row, why);
    return rc;
}

static int emit_spans(const struct state *st, const hs_emit *emit, int layer, int head) {
    const struct sums *s = &st->sums[layer * st->n_head + head];
    int rc = HS_OK;
    for (int k = 0; k < st->n_span && !rc; k++) {
        const hs_span *span = &st->span[k];
        const double mass = s->n_seen[k] ? s->mass[k] / (double)s->n_seen[k] : (double)NAN;
        const hs_value row[] = {
            {.type = HS_VAL_INT, .i = layer},
            {.type = HS_VAL_INT, .i = head},
            {.type = HS_VAL_TEXT, .s = span->name},
            {.type = HS_VAL_INT, .i = span->from},
            {.type = HS_VAL_INT, .i = span->to},
            {.type = HS_VAL_INT, .i = s->n_seen[k]},
            hs_value_num(mass),
            hs_value_num(mass / (double)(span->to - span->from)),
        };
        rc = emit->row(emit->ctx, "mass", row);
    }
    return rc;
}

static int spans_finish(void *state, const hs_emit *emit) {
    const struct state *st = state;
    int rc = HS_OK;
    for (int l = 0; l < st->n_layer; l++)
        for (int h = 0; h < st->n_head && !rc; h++) {
            rc = emit_metrics(st, emit, l, h);
            if (!rc) rc = emit_spans(st, emit, l, h);
        }
    return rc;
}

static const hs_param params[] = {
    {"of", HS_PARAM_TEXT, "all", 0, 0, NULL, "positions",
     "spans, each a name or a range, joined by +; all: all that have names"},
    {0},
};

static const hs_metric metrics[] = {
    {"span_mass", "", "mean weight on the spans together, of rows behind the last one",
     HS_SEQUENTIAL},
    {"span_sink", "", "the same on position 0, where no span holds it", HS_SEQUENTIAL},
    {"span_rest", "", "the same on all other positions", HS_SEQUENTIAL},
    {0},
};

static const hs_column mass_columns[] = {
    {"layer", "INTEGER", "", "layer, from 0"},
    {"head", "INTEGER", "", "query head, from 0"},
    {"span", "TEXT", "", "its name"},
    {"position_from", "INTEGER", "position", "where it begins"},
    {"position_to", "INTEGER", "position", "one more than its last position"},
    {"rows", "INTEGER", "rows", "rows behind it, decoded ones too"},
    {"mass", "REAL", "", "mean weight that they give to it; NULL when there are none"},
    {"density", "REAL", "", "that, a position of the span"},
    {0},
};

static const hs_result_table tables[] = {
    {"mass", mass_columns, 3, "what rows behind a span give to it"},
    {0},
};

const hs_observer hs_observer_spans = {
    .name = "spans",
    .title = "Mass on spans",
    .about = "Attention to named ranges of the prompt, such as documents, from the rows behind "
             "them; to all of them together, to position 0 and to the rest.",
    .reference = "Kang et al. 2025, arXiv 2503.03321 (mass on the image); Hsieh et al. 2024, arXiv "
                 "2406.16008 (on documents)",
    .params = params,
    .points = HS_BIT(HS_PATTERN),
    .metrics = metrics,
    .tables = tables,
    .open = spans_open,
    .tile = spans_tile,
    .finish = spans_finish,
    .close = spans_close,
};
