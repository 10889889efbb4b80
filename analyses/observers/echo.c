// RazorAttention's echo and induction scores (Tang et al. 2024) on a prompt of R >= 2 copies of K
// tokens. What stands before the first copy is dropped, row and column, and the positions counted
// from there; for the rows i >= K of the later copies, J(i) = {i-K, i-2K, ..} is every earlier
// place of the same token, and
//   echo = mean_i sum_{j in J(i)} A[i,j],   echo_induction = mean_i sum_{j in J(i)} A[i,j+1].
// Scores are per query head; for a key-value head take the largest of its group. Decoded rows are
// left out. O(1) state a head.
#include <math.h>
#include <stdlib.h>

#include "analyses/repeats.h"
#include "model/core/mem.h"

struct sums {
    int64_t n_row;
    double echo, induction;
};

struct state {
    int n_layer, n_head;
    int64_t n_token;
    hs_repeats repeats;
    struct sums *sums; // [n_layer][n_head]
};

static void echo_close(void *state) {
    struct state *st = state;
    if (!st) return;
    hs_repeats_close(&st->repeats);
    free(st->sums);
    free(st);
}

static int echo_open(void **state, const hs_subject *subject, const hs_args *args) {
    (void)args;
    struct state *st;
    int rc = hs_alloc(&st, 1, sizeof *st);
    if (rc) return rc;
    *state = st;
    st->n_layer = subject->dims.n_layer;
    st->n_head = subject->dims.n_head;
    st->n_token = subject->n_token;
    rc = hs_repeats_open(&st->repeats, subject);
    if (rc) return rc;
    return hs_alloc(&st->sums, (size_t)st->n_layer * (size_t)st->n_head, sizeof *st->sums);
}

static int echo_tile(void *state, const hs_tile *tile) {
    struct state *st = state;
    struct sums *s = &st->sums[tile->layer * st->n_head + tile->head];
    const int64_t k = st->repeats.period, start = st->repeats.start;
    if (!k) return HS_OK;
    for (int64_t r = 0; r < tile->n_row && tile->row0 + r < st->n_token; r++) {
        const float *row = tile->row + r * tile->ld;
        const int64_t i = tile->row0 + r;
        if (i < start + k) continue;
        s->n_row++;
        for (int64_t j = i - k; j >= start; j -= k) {
            s->echo += (double)row[j];
            s->induction += (double)row[j + 1];
        }
    }
    return HS_OK;
}

static int echo_finish(void *state, const hs_emit *emit) {
    struct state *st = state;
    const char *reason = st->repeats.period ? "no row of a later copy was seen"
                                            : "the prompt is not a repeated sequence of tokens";
    int rc = HS_OK;
    for (int i = 0; i < st->n_layer * st->n_head && !rc; i++) {
        const int l = i / st->n_head, h = i % st->n_head;
        const struct sums *s = &st->sums[i];
        const double n = (double)s->n_row;
        if (s->n_row) reason = NULL;
        rc = emit->metric(emit->ctx, l, h, "echo", n > 0 ? s->echo / n : (double)NAN, reason);
        if (!rc)
            rc = emit->metric(emit->ctx, l, h, "echo_induction",
                              n > 0 ? s->induction / n : (double)NAN, reason);
    }
    return rc;
}

static const hs_metric metrics[] = {
    {"echo", "", "weight on all earlier copies of the row's token", HS_SEQUENTIAL},
    {"echo_induction", "", "weight on the tokens after all earlier copies", HS_SEQUENTIAL},
    {0},
};

const hs_observer hs_observer_echo = {
    .name = "echo",
    .title = "Echo and induction scores",
    .about =
        "RazorAttention's scores on a repeated sequence: attention to every earlier copy of "
        "the current token, and to the tokens after those copies. What stands before the first "
        "copy is dropped, row and column.",
    .reference = "Tang et al. 2024, arXiv 2407.15891; code MindStudio-ModelSlim",
    .points = HS_BIT(HS_PATTERN),
    .metrics = metrics,
    .open = echo_open,
    .tile = echo_tile,
    .finish = echo_finish,
    .close = echo_close,
};
