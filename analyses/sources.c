// What edits refer to of single prompts; see sources.h.
#include "analyses/sources.h"

#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

// Of unedited runs that are not needed at the moment.
enum { KEPT = 64 };
#define KEPT_BYTES ((int64_t)128 << 20)

int hs_sources_open(hs_sources *s, const hs_editing_opts *opts, const hs_dims *dims) {
    const size_t n_set = (size_t)dims->n_layer + 1;
    *s = (hs_sources){.opts = opts, .dims = *dims};
    int rc = hs_alloc(&s->held, n_set, sizeof *s->held);
    if (!rc) rc = hs_alloc(&s->mean, n_set, sizeof *s->mean);
    return rc ? rc : hs_heads_parse(&s->maps, dims, "none");
}

static void drop(hs_sources *s, int64_t i) {
    hs_source *source = s->at[i];
    hs_held_close(source->held);
    hs_cut_close(source->cut);
    hs_mean_close(source->mean);
    if (source->recorded.ctx) s->opts->runs->close(s->opts->runs->ctx, &source->recorded);
    free(source);
    memmove(&s->at[i], &s->at[i + 1], (size_t)(--s->n - i) * sizeof *s->at);
}

void hs_sources_close(hs_sources *s) {
    while (s->n) drop(s, s->n - 1);
    hs_heads_free(&s->maps);
    free(s->held);
    free(s->mean);
    free(s->at);
    *s = (hs_sources){0};
}

// ---- what is wanted -----------------------------------------------------------------------------

void hs_sources_rows(hs_sources *s, const hs_ref_need *need) {
    s->any_held = true;
    s->all_rows |= !need->last;
    for (int l = 0; l <= s->dims.n_layer; l++) s->held[l] |= need->points[l];
    for (int i = 0; i < s->dims.n_layer * s->dims.n_head; i++)
        s->maps.on[i] |= need->heads ? need->heads->on[i] : 1;
}

void hs_sources_mean(hs_sources *s, const hs_ref_need *need) {
    s->any_mean = true;
    for (int l = 0; l <= s->dims.n_layer; l++) s->mean[l] |= need->points[l];
}

void hs_sources_begin(hs_sources *s) {
    s->use++;
}

static bool is_of(const hs_source *at, const char *run, int64_t ord, const bool *gone) {
    if (at->ord != ord || !at->run != !run || (run && strcmp(at->run, run) != 0)) return false;
    return at->cut ? gone && hs_cut_is(at->cut, gone) : !gone;
}

int hs_sources_want(hs_sources *s, const char *run, int64_t ord, const bool *gone,
                    hs_source **out) {
    hs_source *at;
    for (int64_t i = 0; i < s->n; i++) {
        at = s->at[i];
        if (!is_of(at, run, ord, gone)) continue;
        at->use = s->use;
        *out = at;
        return HS_OK;
    }
    int rc = hs_grow(&s->at, (size_t)s->n + 1, sizeof *s->at);
    if (!rc) rc = hs_alloc(&at, 1, sizeof *at);
    if (rc) return rc;
    *at = (hs_source){.run = run, .ord = ord, .use = s->use};
    if (gone) rc = hs_cut_open(&at->cut, hs_prompts_at(s->opts->prompts, ord), gone);
    if (rc) {
        free(at);
        return rc;
    }
    s->at[s->n++] = *out = at;
    return HS_OK;
}

// ---- filling ------------------------------------------------------------------------------------

// Drops what is not needed: recorded runs, and unedited ones beyond what may be kept.
static void drop_unneeded(hs_sources *s) {
    int64_t bytes = 0, n = 0;
    for (int64_t i = s->n; i-- > 0;) { // the newest are kept
        const hs_source *at = s->at[i];
        if (at->use == s->use) continue;
        bytes += at->held ? hs_held_bytes(at->held) : 0;
        if (at->run || ++n > KEPT || bytes > KEPT_BYTES) drop(s, i);
    }
}

// The prompt that a source runs.
static const hs_prompt *prompt_of(const hs_sources *s, const hs_source *at) {
    return at->cut ? hs_cut_prompt(at->cut) : hs_prompts_at(s->opts->prompts, at->ord);
}

// `beside`: one that is filled at the same time, whose file it shares.
static int open_source(const hs_sources *s, hs_source *at, hs_held *beside) {
    const hs_prompt *p = prompt_of(s, at);
    int rc = HS_OK;
    if (at->run) return s->opts->runs->open(s->opts->runs->ctx, at->run, p, at->ord, &at->recorded);
    if (s->any_held)
        rc = hs_held_open(&at->held, &s->dims, s->held, &s->maps, s->all_rows ? 0 : p->n_token - 1,
                          p->n_token, beside);
    if (!rc && at->held && at->cut) at->left = hs_cut_ref(at->cut, at->held);
    if (!rc && s->any_mean) rc = hs_mean_open(&at->mean, &s->dims, s->mean, 0);
    return rc;
}

static bool is_filled(const hs_source *at) {
    return at->held || at->mean || at->recorded.ctx;
}

int hs_sources_fill(hs_sources *s) {
    hs_unedited *seq;
    hs_held *beside = NULL;
    int64_t n = 0;
    drop_unneeded(s);
    int rc = hs_alloc(&seq, (size_t)s->n, sizeof *seq);
    for (int64_t i = 0; i < s->n && !rc; i++) {
        hs_source *at = s->at[i];
        if (is_filled(at)) continue;
        rc = open_source(s, at, beside);
        if (at->run) continue;
        seq[n++] = (hs_unedited){prompt_of(s, at), at->held, at->mean};
        beside = at->held;
    }
    if (!rc && n) rc = hs_unedited_run(s->opts->model, seq, n, s->opts->progress);
    free(seq);
    while (rc && s->n) drop(s, s->n - 1); // none half filled
    return rc;
}
