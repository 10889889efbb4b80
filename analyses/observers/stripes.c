// Stripes: heads that look back by content at an earlier copy. duplicate is the weight on the
// earlier occurrence of the row's token, induction the weight on the token after it (the stripe
// scores of the induction-head literature: Olsson et al. 2022, Wang et al. 2022).
//
// Which rows and keys: on a prompt of repeated tokens, [first tokens] r_1..r_K r_1..r_K ..., the
// mean over the rows i of the second and later copies of A[i, i-K] and A[i, i-K+1]. On any other
// prompt the mean over the rows whose token occurred before (a BOS in front does not count) of the
// weight on all its earlier occurrences j < i, and on all positions j+1 <= i after them. With one
// earlier occurrence a row the two say the same. Decoded rows are left out. The third stripe,
// previous token, needs no repeat: the row summaries give it. O(1) state a head.
#include <math.h>
#include <stdlib.h>

#include "analyses/repeats.h"
#include "model/core/mem.h"

struct sums {
    int64_t n_row; // rows with an earlier occurrence that came
    double duplicate, induction;
};

struct state {
    int n_layer, n_head;
    int64_t n_token;
    hs_repeats repeats;
    struct sums *sums; // [n_layer][n_head]
};

static void stripes_close(void *state) {
    struct state *st = state;
    if (!st) return;
    hs_repeats_close(&st->repeats);
    free(st->sums);
    free(st);
}

static int stripes_open(void **state, const hs_subject *subject, const hs_args *args) {
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

static int stripes_tile(void *state, const hs_tile *tile) {
    struct state *st = state;
    struct sums *s = &st->sums[tile->layer * st->n_head + tile->head];
    const hs_repeats *rep = &st->repeats;
    for (int64_t r = 0; r < tile->n_row && tile->row0 + r < st->n_token; r++) {
        const float *row = tile->row + r * tile->ld;
        int64_t j = rep->earlier[tile->row0 + r];
        if (j < 0) continue;
        s->n_row++;
        do {
            s->duplicate += (double)row[j];
            s->induction += (double)row[j + 1];
            j = rep->earlier[j];
        } while (!rep->period && j >= 0);
    }
    return HS_OK;
}

static int stripes_finish(void *state, const hs_emit *emit) {
    struct state *st = state;
    const char *reason = st->repeats.n_with ? "no row of this head with a repeated token was seen"
                                            : "no token of the prompt occurs twice";
    int rc = HS_OK;
    for (int i = 0; i < st->n_layer * st->n_head && !rc; i++) {
        const int l = i / st->n_head, h = i % st->n_head;
        const struct sums *s = &st->sums[i];
        const double n = (double)s->n_row;
        if (s->n_row) reason = NULL;
        rc = emit->metric(emit->ctx, l, h, "induction", n > 0 ? s->induction / n : (double)NAN,
                          reason);
        if (!rc)
            rc = emit->metric(emit->ctx, l, h, "duplicate", n > 0 ? s->duplicate / n : (double)NAN,
                              reason);
    }
    return rc;
}

static const hs_metric metrics[] = {
    {"induction", "", "weight on the token after the earlier occurrence of the row's token",
     HS_SEQUENTIAL},
    {"duplicate", "", "weight on the earlier occurrence of the row's token", HS_SEQUENTIAL},
    {0},
};

const hs_observer hs_observer_stripes = {
    .name = "stripes",
    .title = "Induction and duplicate-token stripes",
    .about =
        "Attention to earlier copies of the current token and to what followed them. On a "
        "repeated-token prompt of period K: means over the second and later copies of "
        "A[i,i-K+1] and A[i,i-K]; elsewhere means over the rows whose token occurred before, "
        "of the weight on all its earlier occurrences. 'previous' comes with the row summaries.",
    .reference = "Olsson et al. 2022, arXiv 2209.11895; Wang et al. 2022, arXiv 2211.00593",
    .points = HS_BIT(HS_PATTERN),
    .metrics = metrics,
    .open = stripes_open,
    .tile = stripes_tile,
    .finish = stripes_finish,
    .close = stripes_close,
};
