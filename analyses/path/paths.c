// Path patching by walks; see experiments/path.h.
//
// Pass C is a walk whose jobs patch one sender and hold what must not follow; where there are
// receivers it is shown instead of measured, and what they would be given is kept for the prompts at
// hand. Pass D is a second walk: its edits patch receivers from a "recorded run", which is what was
// kept, one for each sender by its number.
//
// Memory: d_head numbers for each sender, receiver and row of P of a prompt; as many prompts go
// together as fit.
#include <stdlib.h>
#include <string.h>

#include "analyses/chunk.h"
#include "analyses/experiments/path.h"
#include "analyses/sweep/walk.h"
#include "model/core/mem.h"

// Specs of a walk, and the job of each sender.
struct plan {
    hs_buf text; // each ended by NUL
    char **spec; // [n], once the text is whole
    int n;
    hs_walk_job *job; // [n_sender]
    hs_walk *walk;
};

// What receivers of a prompt would be given.
struct kept {
    int64_t ord, row0, n_row; // rows of P, and those between them
    float *value;             // [n_sender][n_row][n_receiver][d_head]
};

struct paths {
    const hs_path_opts *o;
    hs_sweep_opts opts; // of both walks
    hs_run_source source;
    hs_progress progress;
    int64_t before, total; // evaluations
    hs_dims dims;
    int n_sender;
    struct plan sent, received; // passes C and D
    uint64_t *points;           // [n_layer + 1] receivers
    struct kept *kept;          // of the prompts at hand
    int n_kept;
};

// ---- specs --------------------------------------------------------------------------------------

// A spec is written into the plan's text between these two.
static hs_buf *begin_spec(struct plan *p) {
    p->n++;
    return &p->text;
}

static int end_spec(struct plan *p, const char *pos) {
    if (pos) hs_buf_printf(&p->text, ",pos=%s", pos);
    hs_buf_chr(&p->text, 0);
    return hs_buf_rc(&p->text);
}

// Where pass C must hold things for its result to be right: where something changes, when that is
// all that is looked at.
static const char *held_at(const hs_path_opts *o) {
    unsigned at_end = 0;
    for (int e = 0; e < HS_N_EFFECT; e++) at_end |= (unsigned)hs_effects[e].answer << e;
    return o->to->n || !(o->sweep.effects & ~at_end) ? o->pos : NULL;
}

static int add_sent(struct paths *p, const hs_unit *u) {
    const hs_path_opts *o = p->o;
    const int last = p->dims.n_layer - 1;
    char name[HS_UNIT_NAME];
    int rc = HS_OK;
    if (u->layer < last) {
        hs_buf_printf(begin_spec(&p->sent), "freeze:blocks.{%d..%d}.attn.hook_z", u->layer + 1,
                      last);
        rc = end_spec(&p->sent, held_at(o));
    }
    if (o->freeze_mlps && p->dims.points & HS_BIT(HS_MLP_OUT) && !rc) { // before it is patched
        hs_buf_printf(begin_spec(&p->sent), "freeze:blocks.{%d..%d}.hook_mlp_out", u->layer, last);
        rc = end_spec(&p->sent, held_at(o));
    }
    if (rc) return rc;
    if (u->kind == HS_UNIT_MLP)
        hs_buf_printf(begin_spec(&p->sent), "patch:mlp_out:%d,from=pair", u->layer);
    else
        hs_buf_printf(begin_spec(&p->sent), "patch:z:%d,heads=%s,from=pair", u->layer,
                      hs_unit_name(name, u));
    return end_spec(&p->sent, o->pos);
}

// Receivers above a layer: an edit for those of one layer and point.
static int add_received(struct paths *p, int sender) {
    const hs_receivers *to = p->o->to;
    int rc = HS_OK;
    for (int i = 0, k; i < to->n && !rc; i = k) {
        const hs_receiver *r = &to->at[i];
        for (k = i; k < to->n && to->at[k].layer == r->layer && to->at[k].point == r->point;) k++;
        if (r->layer <= p->o->sweep.units->at[sender].layer) continue;
        hs_buf *spec = begin_spec(&p->received);
        hs_buf_printf(spec, "patch:%s:%d,from=%d,heads=", hs_point_infos[r->point].alias, r->layer,
                      sender);
        for (int h = i; h < k; h++)
            hs_buf_printf(spec, "%sL%d%c%d", h > i ? "+" : "", r->layer,
                          r->point == HS_Q ? 'H' : 'G', to->at[h].index);
        rc = end_spec(&p->received, p->o->pos);
    }
    return rc;
}

static int open_walk(struct paths *p, struct plan *plan) {
    int rc = hs_buf_texts(&plan->spec, &plan->text, (size_t)plan->n);
    return rc ? rc : hs_walk_open(&plan->walk, &p->opts, (const char *const *)plan->spec, plan->n);
}

static int make_plans(struct paths *p) {
    const hs_receivers *to = p->o->to;
    int rc = hs_alloc(&p->sent.job, (size_t)p->n_sender, sizeof *p->sent.job);
    if (!rc) rc = hs_alloc(&p->received.job, (size_t)p->n_sender, sizeof *p->received.job);
    for (int s = 0; s < p->n_sender && !rc; s++) {
        const hs_unit *u = &p->o->sweep.units->at[s];
        if (u->kind != HS_UNIT_HEAD && u->kind != HS_UNIT_GROUP && u->kind != HS_UNIT_MLP)
            return hs_fail(HS_EARG, "paths begin at heads L5H1, KV groups L5G0 or MLPs L5M");
        p->sent.job[s].first = p->sent.n;
        p->received.job[s].first = p->received.n;
        // Who comes after all receivers has no path to them.
        if (!to->n || u->layer < to->at[to->n - 1].layer) rc = add_sent(p, u);
        if (!rc) rc = add_received(p, s);
        p->sent.job[s].n = p->sent.n - p->sent.job[s].first;
        p->received.job[s].n = p->received.n - p->received.job[s].first;
    }
    if (!rc) rc = open_walk(p, &p->sent);
    return rc || !to->n ? rc : open_walk(p, &p->received);
}

// ---- what receivers would be given --------------------------------------------------------------

static struct kept *kept_of(struct paths *p, int64_t ord) {
    for (int i = 0; i < p->n_kept; i++)
        if (p->kept[i].ord == ord) return &p->kept[i];
    return NULL;
}

// The numbers of a sender and row: [n_receiver][d_head].
static float *kept_row(const struct paths *p, const struct kept *k, int sender, int64_t row) {
    const int64_t n = p->o->to->n * p->dims.d_head;
    return k->value + (sender * k->n_row + row - k->row0) * n;
}

static int keep_rows(void *ctx, int64_t ord, int sender, const hs_site *site, const hs_view *view) {
    struct paths *p = ctx;
    const struct kept *k = kept_of(p, ord);
    const int64_t d = p->dims.d_head;
    for (int64_t r = 0; r < site->n_row; r++) {
        const int64_t row = site->row0 + r;
        if (row < k->row0 || row >= k->row0 + k->n_row) continue;
        const float *from = (const float *)view->data + r * view->stride[0];
        float *to = kept_row(p, k, sender, row);
        for (int i = 0; i < p->o->to->n; i++) {
            const hs_receiver *at = &p->o->to->at[i];
            if (at->layer == site->layer && at->point == site->point)
                memcpy(to + i * d, from + at->index * view->stride[1], (size_t)d * sizeof *to);
        }
    }
    return HS_OK;
}

// The run of a sender, as edits see it.
struct handle {
    struct paths *p;
    int sender;
    int64_t ord;
};

static int given_rows(void *ctx, enum hs_point point, int layer, int64_t row0, int64_t n,
                      float *out) {
    const struct handle *h = ctx;
    const int64_t d = h->p->dims.d_head;
    const int64_t heads = point == HS_Q ? h->p->dims.n_head : h->p->dims.n_kv_head;
    const struct kept *k = kept_of(h->p, h->ord);
    if (n) memset(out, 0, (size_t)(n * heads * d) * sizeof *out);
    for (int64_t r = 0; r < n; r++) {
        if (!k || row0 + r < k->row0 || row0 + r >= k->row0 + k->n_row)
            return hs_fail(HS_E, "row %lld of no receiver was kept", (long long)(row0 + r));
        const float *from = kept_row(h->p, k, h->sender, row0 + r);
        for (int i = 0; i < h->p->o->to->n; i++) {
            const hs_receiver *at = &h->p->o->to->at[i];
            if (at->layer == layer && at->point == point)
                memcpy(out + (r * heads + at->index) * d, from + i * d, (size_t)d * sizeof *out);
        }
    }
    return HS_OK;
}

static int open_handle(void *ctx, const char *run, const hs_prompt *prompt, int64_t ord,
                       hs_ref *out) {
    struct handle *h;
    int rc = hs_alloc(&h, 1, sizeof *h);
    if (rc) return rc;
    *h = (struct handle){ctx, atoi(run), ord};
    *out = (hs_ref){.ctx = h, .n_row = prompt->n_token, .rows = given_rows};
    return HS_OK;
}

static void close_handle(void *ctx, hs_ref *ref) {
    (void)ctx;
    free(ref->ctx);
}

// ---- prompts ------------------------------------------------------------------------------------

// The rows of P. HS_EARG when the logits, read at END, cannot feel them.
static int find_rows(const struct paths *p, int64_t ord, struct kept *out) {
    const hs_sweep_opts *s = &p->o->sweep;
    const hs_edit_prompt at = hs_edit_prompt_of(s->prompts, ord, s->spans);
    hs_places places = {0};
    int rc = hs_places_resolve(&places, p->o->pos ? p->o->pos : "all", at.n_token, at.own,
                               at.given);
    *out = (struct kept){.ord = ord, .row0 = at.n_token};
    int64_t end = 0;
    for (int i = 0; i < places.n && !rc; i++) {
        if (places.at[i].from < out->row0) out->row0 = places.at[i].from;
        if (places.at[i].to > end) end = places.at[i].to;
    }
    if (places.all) out->row0 = 0;
    out->n_row = (places.all ? at.n_token : end) - out->row0;
    if (!rc && !p->o->to->n && held_at(p->o) && !hs_places_has(&places, s->answers[ord].end))
        rc = hs_fail(HS_EARG,
                     "prompt '%s' is read at position %lld, and nothing of position %s comes there "
                     "while heads are held: take END, or receivers between them, as L5H1.k",
                     at.id, (long long)s->answers[ord].end, p->o->pos);
    hs_places_free(&places);
    return rc;
}

static void drop_kept(struct paths *p) {
    for (int i = 0; i < p->n_kept; i++) free(p->kept[i].value);
    p->n_kept = 0;
}

// Prompts from ord[0] on that go together, at least one.
static int take_prompts(struct paths *p, const int64_t *ord, int64_t n) {
    const int64_t most = hs_chunk_memory(p->opts.memory) / 4;
    int64_t bytes = 0;
    int rc = HS_OK;
    drop_kept(p);
    for (int i = 0; i < n && !rc; i++) {
        struct kept *k = &p->kept[i];
        rc = find_rows(p, ord[i], k);
        const int64_t count = p->n_sender * k->n_row * p->o->to->n * p->dims.d_head;
        bytes += count * (int64_t)sizeof *k->value;
        if (rc || (i && bytes > most)) break;
        rc = hs_alloc(&k->value, (size_t)count, sizeof *k->value);
        p->n_kept += !rc;
    }
    return rc;
}

// ---- running ------------------------------------------------------------------------------------

// Two walks over all prompts, in parts, are one piece of work.
static int step(void *ctx, const char *what, int64_t done, int64_t total) {
    const struct paths *p = ctx;
    const bool walk = !strcmp(what, "sweep");
    return hs_progress_step(p->o->sweep.progress, walk ? "paths" : what,
                            walk ? p->before + done : done, walk ? p->total : total);
}

static int run_received(struct paths *p, const int64_t *ord, int64_t n, hs_sweep_fn fn, void *ctx) {
    const hs_walk_watch watch = {.points = p->points, .rows = keep_rows, .ctx = p};
    int rc = hs_alloc(&p->kept, (size_t)n, sizeof *p->kept);
    p->total *= 2;
    for (int64_t i = 0; i < n && !rc; i += p->n_kept) {
        rc = take_prompts(p, ord + i, n - i);
        if (!rc)
            rc = hs_walk_show(p->sent.walk, p->sent.job, p->n_sender, ord + i, p->n_kept, &watch);
        p->before += (int64_t)p->n_kept * p->n_sender;
        if (!rc)
            rc = hs_walk_run(p->received.walk, p->received.job, p->n_sender, ord + i, p->n_kept, fn,
                             ctx);
        p->before += (int64_t)p->n_kept * p->n_sender;
    }
    drop_kept(p);
    free(p->kept);
    return rc;
}

static int run_logits(struct paths *p, const int64_t *ord, int64_t n, hs_sweep_fn fn, void *ctx) {
    struct kept rows;
    int rc = HS_OK;
    for (int64_t i = 0; i < n && !rc; i++) rc = find_rows(p, ord[i], &rows);
    return rc ? rc : hs_walk_run(p->sent.walk, p->sent.job, p->n_sender, ord, n, fn, ctx);
}

static void close_plan(struct plan *p) {
    hs_walk_close(p->walk);
    hs_buf_free(&p->text);
    free(p->spec);
    free(p->job);
}

int hs_path(const hs_path_opts *o, const int64_t *ord, int64_t n, hs_sweep_fn fn, void *ctx) {
    struct paths p = {.o = o,
                      .opts = o->sweep,
                      .dims = hs_dims_of(o->sweep.model),
                      .n_sender = (int)o->sweep.units->n};
    p.source = (hs_run_source){&p, open_handle, close_handle};
    p.progress = (hs_progress){step, &p};
    p.opts.runs = &p.source;
    p.opts.progress = &p.progress;
    p.total = n * p.n_sender;
    int rc = hs_alloc(&p.points, (size_t)p.dims.n_layer + 1, sizeof *p.points);
    for (int i = 0; i < o->to->n && !rc; i++)
        p.points[o->to->at[i].layer] |= HS_BIT(o->to->at[i].point);
    if (!rc) rc = make_plans(&p);
    if (!rc) rc = o->to->n ? run_received(&p, ord, n, fn, ctx) : run_logits(&p, ord, n, fn, ctx);
    close_plan(&p.sent);
    close_plan(&p.received);
    free(p.points);
    return rc;
}
