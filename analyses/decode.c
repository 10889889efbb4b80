// Decoding; see decode.h. A step costs one row a sequence; nothing is kept but the tokens.
#include "analyses/decode.h"

#include <stdlib.h>

#include "model/core/mem.h"

int32_t hs_argmax(const float *logits, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

typedef struct work {
    const hs_decode_opts *o;
    hs_decoding *seq;
    int64_t n_vocab;
    hs_seq *batch; // [n] of the next evaluation
    int *at;       // [n] whose they are
    int n;
} work;

static int evaluate(const work *w) {
    const hs_batch batch = {.seq = w->batch, .n_seq = w->n, .logits = w->o->logits};
    int64_t n_row = 0;
    for (int i = 0; i < w->n; i++) n_row += w->batch[i].n;
    int rc = w->o->turn ? w->o->turn(w->o->ctx, w->at, w->n, n_row) : HS_OK;
    return rc ? rc : hs_context_eval(w->o->context, &batch);
}

static bool ends(const work *w, int32_t id) {
    return w->o->ends ? w->o->ends(w->o->ctx, id)
                      : hs_model_is_eog(hs_context_model(w->o->context), id);
}

// Takes the next token of the sequence at place i of the batch; whether it is to be run.
static bool go_on(const work *w, int i) {
    const hs_decode_opts *o = w->o;
    hs_decoding *d = &w->seq[w->at[i]];
    const float *logits = hs_context_logits(o->context),
                *own = logits ? logits + i * w->n_vocab : NULL;
    if (d->n_out && ends(w, d->out[d->n_out - 1])) return false; // run only to have its rows
    if (d->n_out == o->most) return false;
    const int32_t id = o->pick ? o->pick(o->ctx, w->at[i], own) : hs_argmax(own, w->n_vocab);
    d->out[d->n_out++] = id;
    return o->run_last || (!ends(w, id) && d->n_out < o->most);
}

// The batch that follows: the new token of each sequence that goes on.
static void step(work *w) {
    int n = 0;
    for (int i = 0; i < w->n; i++) {
        if (!go_on(w, i)) continue;
        const hs_decoding *d = &w->seq[w->at[i]];
        w->at[n] = w->at[i];
        w->batch[n] = d->in;
        w->batch[n].tokens = &d->out[d->n_out - 1];
        w->batch[n++].n = 1;
    }
    w->n = n;
}

int hs_decode(const hs_decode_opts *opts, hs_decoding *seq, int n_seq) {
    work w = {.o = opts,
              .seq = seq,
              .n_vocab = hs_model_config(hs_context_model(opts->context))->n_vocab,
              .n = n_seq};
    int rc = hs_alloc(&w.batch, (size_t)n_seq, sizeof *w.batch);
    if (!rc) rc = hs_alloc(&w.at, (size_t)n_seq, sizeof *w.at);
    for (int i = 0; i < n_seq && !rc; i++) {
        seq[i].n_out = 0;
        w.batch[i] = seq[i].in;
        w.at[i] = i;
    }
    while (!rc && w.n) {
        rc = evaluate(&w);
        if (!rc) step(&w);
    }
    free(w.batch);
    free(w.at);
    return rc;
}
