// Sink channels; see channels.h. Of a prompt one layer's |x| are held at a time, T x d_model.
#include "analyses/channels.h"

#include <stdlib.h>

#include "analyses/median.h"
#include "analyses/watched.h"
#include "model/core/mem.h"

struct search {
    int64_t d_model;
    uint32_t *key;   // [rows][d_model] bits of |x| of the layer at hand
    int64_t n_row;   // that came
    uint64_t *count; // scratch of medians
    int64_t *times;  // [d_model] that the channel was massive
    const hs_progress *progress;
    int64_t done, total; // layers
};

static int on_rows(void *ctx, const hs_site *site, const hs_view *view) {
    struct search *s = ctx;
    for (int64_t r = 0; r < site->n_row; r++) {
        const float *row = (const float *)view->data + r * view->stride[0];
        uint32_t *key = s->key + (site->row0 + r) * s->d_model;
        for (int64_t c = 0; c < s->d_model; c++) key[c] = hs_size_key(row[c]);
    }
    s->n_row = site->row0 + site->n_row;
    return HS_OK;
}

static int on_layer_done(void *ctx, int layer) {
    struct search *s = ctx;
    const double median = hs_median_size(s->key, s->n_row * s->d_model, s->count);
    (void)layer;
    for (int64_t c = 0; c < s->d_model; c++)
        s->times[c] += hs_is_massive(hs_key_size(s->key[c]), median);
    return hs_progress_step(s->progress, "layers searched for sink channels", ++s->done, s->total);
}

static int run(struct search *s, const hs_model *model, const hs_prompts *prompts, int64_t n) {
    hs_seq *seq;
    int rc = hs_alloc(&seq, (size_t)n, sizeof *seq);
    for (int64_t i = 0; i < n && !rc; i++) {
        const hs_prompt *p = hs_prompts_at(prompts, i);
        seq[i] = (hs_seq){.tokens = p->tokens, .n = p->n_token};
    }
    const hs_hook hook = {.rows = on_rows, .layer_done = on_layer_done, .ctx = s};
    if (!rc) rc = hs_watched_run(model, HS_RESID_POST, HS_WATCH_ALL, hook, seq, n);
    free(seq);
    return rc;
}

static int collect(hs_channels *out, const struct search *s) {
    int rc = hs_alloc(&out->at, (size_t)s->d_model, sizeof *out->at);
    for (int64_t c = 0; c < s->d_model && !rc; c++)
        if (2 * s->times[c] >= s->total) out->at[out->n++] = c;
    if (rc || out->n) return rc;
    return hs_fail(HS_ENOTFOUND, "no channel of this model is massive at the first token in half "
                                 "of the layers: name them with dims=");
}

int hs_channels_find(hs_channels *out, const hs_model *model, const hs_prompts *prompts,
                     const hs_progress *progress) {
    const hs_dims dims = hs_dims_of(model);
    int64_t n = hs_prompts_count(prompts), longest = 0;
    if (n > HS_CHANNELS_PROMPTS) n = HS_CHANNELS_PROMPTS;
    for (int64_t i = 0; i < n; i++)
        if (hs_prompts_at(prompts, i)->n_token > longest)
            longest = hs_prompts_at(prompts, i)->n_token;
    struct search s = {.d_model = dims.d_model, .progress = progress, .total = n * dims.n_layer};
    *out = (hs_channels){0};
    int rc = hs_alloc(&s.key, (size_t)longest, (size_t)dims.d_model * sizeof *s.key);
    if (!rc) rc = hs_alloc(&s.count, HS_MEDIAN_COUNTS, sizeof *s.count);
    if (!rc) rc = hs_alloc(&s.times, (size_t)dims.d_model, sizeof *s.times);
    if (!rc) rc = run(&s, model, prompts, n);
    if (!rc) rc = collect(out, &s);
    if (rc) hs_channels_free(out);
    free(s.key);
    free(s.count);
    free(s.times);
    return rc;
}

void hs_channels_free(hs_channels *c) {
    free(c->at);
    *c = (hs_channels){0};
}
