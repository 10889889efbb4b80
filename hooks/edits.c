// The write hook of a list of edits; see intervention.h.
//
// Aiming resolves every edit of every sequence of the next batch once: which rows, on which
// reference. A callback then walks the edits of its sequence in order; a sequence that has none
// costs one test. Scratch is a block a (worker, place in the sequence's list), made by the worker
// that first asks for it, so nothing is locked.
#include <stdlib.h>
#include <string.h>

#include "hooks/edit_internal.h"
#include "model/core/mem.h"

enum { MOST_WORKERS = 1024 }; // the most threads that a pool has

struct block {
    float *at;
    int64_t n;
};
struct worker {
    struct block *block; // [n]
    int n;
};

// What edit `index` of a list keeps of a prompt.
struct hs_edit_kept {
    hs_edit *const *edit;
    int n, index;
    int64_t ord;
    double *at;
    int64_t len;
    bool wanted; // by the aim at hand
};

struct hs_edits {
    hs_dims dims;
    const hs_edit_seq *seq; // borrowed
    int n_seq;
    int64_t *first; // [n_seq] where a sequence's edits begin in `aimed`
    struct hs_aimed *aimed;
    int64_t n_aimed, n_made;    // in use now, and ever
    struct hs_edit_kept **kept; // [n_kept]
    int64_t n_kept;
    struct worker worker[MOST_WORKERS];
};

int hs_edits_open(hs_edits **out, const hs_dims *dims) {
    hs_edits *e;
    *out = NULL;
    int rc = hs_alloc(&e, 1, sizeof *e);
    if (rc) return rc;
    e->dims = *dims;
    *out = e;
    return HS_OK;
}

// Drops what no edit of the aim at hand keeps, or all.
static void drop_kept(hs_edits *e, bool all) {
    int64_t n = 0;
    for (int64_t i = 0; i < e->n_kept; i++) {
        struct hs_edit_kept *k = e->kept[i];
        if (k->wanted && !all) {
            e->kept[n++] = k;
            continue;
        }
        free(k->at);
        free(k);
    }
    e->n_kept = n;
}

void hs_edits_close(hs_edits *e) {
    if (!e) return;
    drop_kept(e, true);
    free(e->kept);
    for (int64_t i = 0; i < e->n_made; i++) {
        hs_edit_where_free(&e->aimed[i].where);
        free(e->aimed[i].own);
    }
    for (int w = 0; w < MOST_WORKERS; w++) {
        for (int i = 0; i < e->worker[w].n; i++) free(e->worker[w].block[i].at);
        free(e->worker[w].block);
    }
    free(e->aimed);
    free(e->first);
    free(e);
}

// ---- aiming -------------------------------------------------------------------------------------

static int make_room(hs_edits *e, const hs_edit_seq *seq, int n_seq) {
    int64_t n = 0;
    for (int s = 0; s < n_seq; s++) n += seq[s].n;
    int rc = hs_grow(&e->first, (size_t)n_seq, sizeof *e->first);
    if (rc || n <= e->n_made) return rc;
    rc = hs_grow(&e->aimed, (size_t)n, sizeof *e->aimed);
    if (rc) return rc;
    memset(e->aimed + e->n_made, 0, (size_t)(n - e->n_made) * sizeof *e->aimed);
    e->n_made = n;
    return HS_OK;
}

// What edit i of the sequence kept before and no sequence before it has; NULL for nothing.
static struct hs_edit_kept *find_kept(const hs_edits *e, const hs_edit_seq *seq, int i) {
    for (int64_t k = 0; k < e->n_kept; k++) {
        struct hs_edit_kept *kept = e->kept[k];
        if (kept->edit != seq->edit || kept->n != seq->n || kept->index != i ||
            kept->ord != seq->prompt.ord || kept->wanted)
            continue;
        kept->wanted = true;
        return kept;
    }
    return NULL;
}

int hs_edits_aim(hs_edits *e, const hs_edit_seq *seq, int n_seq) {
    e->n_seq = 0; // a failed aim leaves nothing that acts
    e->n_aimed = 0;
    for (int64_t k = 0; k < e->n_kept; k++) e->kept[k]->wanted = false;
    int rc = make_room(e, seq, n_seq);
    for (int s = 0; s < n_seq && !rc; s++) {
        e->first[s] = e->n_aimed;
        for (int i = 0; i < seq[s].n && !rc; i++) {
            struct hs_aimed *a = &e->aimed[e->n_aimed++];
            a->edits = e;
            a->seq = &seq[s];
            a->index = i;
            a->kept = find_kept(e, &seq[s], i);
            rc = hs_prefix(hs_edit_where_resolve(&a->where, seq[s].edit[i], &seq[s].prompt),
                           "--do %s", seq[s].edit[i]->spec);
        }
    }
    if (rc) return rc;
    drop_kept(e, false);
    e->seq = seq;
    e->n_seq = n_seq;
    return HS_OK;
}

// ---- acting -------------------------------------------------------------------------------------

// Edit i of a sequence, ready for its kind; false when it is not about this prompt or point.
static bool aim_at(const hs_edits *e, int s, int i, int set, enum hs_point point, int worker,
                   hs_edit_at *at) {
    const hs_edit_seq *seq = &e->seq[s];
    const hs_edit *edit = seq->edit[i];
    const struct hs_aimed *a = &e->aimed[e->first[s] + i];
    if (!a->where.about || !(edit->points[set] & HS_BIT(point))) return false;
    *at = (hs_edit_at){
        .edit = edit,
        .n_token = seq->prompt.n_token,
        .ref = edit->need.from == HS_REF_NONE ? NULL : &seq->ref[i],
        .worker = worker,
        .aimed = a,
    };
    return true;
}

// In the first round edits write, in the second they look.
static bool has_turn(const hs_edit *edit, enum hs_point point, int round) {
    return ((edit->kind->looks & HS_BIT(point)) != 0) == (round == 1);
}

static int on_rows(void *ctx, const hs_site *site, const hs_view *view) {
    const hs_edits *e = ctx;
    const int set = site->layer < 0 ? e->dims.n_layer : site->layer;
    int rc = HS_OK;
    hs_edit_at at;
    for (int round = 0; site->seq < e->n_seq && round < 2; round++)
        for (int i = 0; i < e->seq[site->seq].n && !rc; i++)
            if (aim_at(e, site->seq, i, set, site->point, 0, &at) && at.edit->kind->rows &&
                has_turn(at.edit, site->point, round))
                rc = hs_prefix(at.edit->kind->rows(at.edit->state, &at, site, view), "--do %s",
                               at.edit->spec);
    return rc;
}

// In a survey, kinds that have one look, and others edit as usual.
static int meet_tile(const hs_edit_at *at, const hs_tile *tile) {
    const hs_intervention *kind = at->edit->kind;
    const bool looks = tile->survey && tile->point == HS_PATTERN && kind->survey;
    if (tile->whole && !kind->block)
        return hs_fail(HS_EUNSUPPORTED, "--do %s: not where rows see later ones", at->edit->spec);
    int rc = (looks ? kind->survey : kind->tile)(at->edit->state, at, tile);
    return hs_prefix(rc, "--do %s", at->edit->spec);
}

static int on_tile(void *ctx, const hs_tile *tile, int worker) {
    const hs_edits *e = ctx;
    int rc = HS_OK;
    hs_edit_at at;
    for (int round = 0; tile->seq < e->n_seq && round < 2; round++)
        for (int i = 0; i < e->seq[tile->seq].n && !rc; i++)
            if (aim_at(e, tile->seq, i, tile->layer, tile->point, worker, &at) &&
                has_turn(at.edit, tile->point, round) && hs_edit_head(&at, tile->layer, tile->head))
                rc = meet_tile(&at, tile);
    return rc;
}

static int on_positions(void *ctx, int seq, int64_t row0, int64_t n, int32_t *id) {
    const hs_edits *e = ctx;
    int rc = HS_OK;
    hs_edit_at at;
    for (int i = 0; seq < e->n_seq && i < e->seq[seq].n && !rc; i++) {
        const hs_edit *edit = e->seq[seq].edit[i];
        if (edit->kind->positions && aim_at(e, seq, i, e->dims.n_layer, HS_EMBED, 0, &at))
            rc = hs_prefix(edit->kind->positions(edit->state, &at, row0, n, id), "--do %s",
                           edit->spec);
    }
    return rc;
}

static int on_block(void *ctx, int seq, int64_t *from, int64_t *to) {
    const hs_edits *e = ctx;
    hs_edit_at at;
    for (int i = 0; seq < e->n_seq && i < e->seq[seq].n; i++) {
        const hs_edit *edit = e->seq[seq].edit[i];
        int64_t lo = 0, hi = 0;
        if (!edit->kind->block || !aim_at(e, seq, i, e->dims.n_layer, HS_EMBED, 0, &at)) continue;
        edit->kind->block(edit->state, &at, &lo, &hi);
        if (lo >= hi) continue;
        if (*from < *to)
            return hs_fail(HS_EUNSUPPORTED,
                           "--do %s: the prompt has rows that see each other "
                           "already, and can have no others",
                           edit->spec);
        *from = lo;
        *to = hi;
    }
    return HS_OK;
}

static int64_t on_survey(void *ctx, int layer, int seq) {
    const hs_edits *e = ctx;
    hs_edit_at at;
    for (int i = 0; seq < e->n_seq && i < e->seq[seq].n; i++)
        if (e->seq[seq].edit[i]->kind->survey && aim_at(e, seq, i, layer, HS_PATTERN, 0, &at))
            return at.n_token;
    return 0;
}

// What another branch goes on with.
static int on_tokens(void *ctx, int s, int64_t row0, int64_t n, const int32_t *token) {
    const hs_edits *e = ctx;
    int rc = HS_OK;
    for (int i = 0; s < e->n_seq && i < e->seq[s].n && !rc; i++) {
        const hs_edit *edit = e->seq[s].edit[i];
        const hs_ref *ref = e->seq[s].ref ? &e->seq[s].ref[i] : NULL;
        if (edit->need.from == HS_REF_BRANCH && ref->tell)
            rc = hs_prefix(ref->tell(ref->ctx, row0, n, token), "--do %s", edit->spec);
    }
    return rc;
}

// ---- the hook -----------------------------------------------------------------------------------

static const uint64_t maps = HS_BIT(HS_SCORES) | HS_BIT(HS_PATTERN);

// Adds the heads of a layer in which the edit meets some of the points.
static void add_heads(hs_heads *to, const hs_edit *edit, int layer, uint64_t points) {
    const int64_t n_head = to->n_head;
    for (int64_t h = layer * n_head; edit->points[layer] & points && h < (layer + 1) * n_head; h++)
        to->on[h] |= edit->heads.on[h];
}

int hs_edits_hook(hs_edits *e, hs_hooks *hooks, hs_edit *const *edit, int n) {
    uint64_t *points = NULL;
    hs_heads heads = {0}, surveyed = {0};
    bool positions = false, block = false, survey = false, branch = false;
    int rc = hs_alloc(&points, (size_t)e->dims.n_layer + 1, sizeof *points);
    if (!rc) rc = hs_heads_parse(&heads, &e->dims, "none");
    if (!rc) rc = hs_heads_parse(&surveyed, &e->dims, "none");
    for (int i = 0; i < n && !rc; i++) {
        const bool surveys = edit[i]->kind->survey != NULL;
        survey |= surveys;
        branch |= edit[i]->need.from == HS_REF_BRANCH;
        positions |= edit[i]->kind->positions != NULL;
        block |= edit[i]->kind->block != NULL;
        for (int l = 0; l <= e->dims.n_layer; l++) {
            points[l] |= edit[i]->points[l];
            add_heads(&heads, edit[i], l, maps);
            add_heads(&surveyed, edit[i], l, surveys ? HS_BIT(HS_PATTERN) : 0);
        }
    }
    const hs_hook hook = {.points = points,
                          .heads = &heads,
                          .write = true,
                          .rows = on_rows,
                          .tile = on_tile,
                          .positions = positions ? on_positions : NULL,
                          .block = block ? on_block : NULL,
                          .sees_later = true,
                          .survey = survey ? on_survey : NULL,
                          .surveyed = &surveyed,
                          .tokens = branch ? on_tokens : NULL,
                          .ctx = e};
    if (!rc) rc = hs_hooks_add(hooks, &hook);
    hs_heads_free(&heads);
    hs_heads_free(&surveyed);
    free(points);
    return rc;
}

// ---- for the files iv_*.c -----------------------------------------------------------------------

bool hs_edit_row(const hs_edit_at *at, int64_t pos) {
    return hs_edit_where_row(&at->aimed->where, pos);
}

bool hs_edit_in_place(const hs_edit_at *at, int i, int64_t pos) {
    return hs_places_has(&at->aimed->where.place[1 + i], pos);
}

const hs_places *hs_edit_places(const hs_edit_at *at, int i) {
    return &at->aimed->where.place[1 + i];
}

bool hs_edit_head(const hs_edit_at *at, int layer, int head) {
    return hs_heads_has(&at->edit->heads, layer, head);
}

static int need_blocks(struct worker *w, int n) {
    if (w->n >= n) return HS_OK;
    int rc = hs_grow(&w->block, (size_t)n, sizeof *w->block);
    for (; !rc && w->n < n; w->n++) w->block[w->n] = (struct block){0};
    return rc;
}

int hs_edit_scratch(const hs_edit_at *at, int64_t n, float **out) {
    *out = NULL;
    if (at->worker < 0 || at->worker >= MOST_WORKERS)
        return hs_fail(HS_ERANGE, "worker %d of at most %d", at->worker, MOST_WORKERS);
    struct worker *w = &at->aimed->edits->worker[at->worker];
    int rc = need_blocks(w, at->aimed->index + 1);
    if (rc) return rc;
    struct block *b = &w->block[at->aimed->index];
    if (b->n < n) {
        rc = hs_grow(&b->at, (size_t)n, sizeof *b->at);
        if (rc) return rc;
        b->n = n;
    }
    *out = b->at;
    return HS_OK;
}

int hs_edit_own(const hs_edit_at *at, int64_t n, float **out) {
    hs_edits *e = at->aimed->edits;
    struct hs_aimed *aimed = &e->aimed[at->aimed - e->aimed];
    *out = NULL;
    if (aimed->n_own < n) {
        int rc = hs_grow(&aimed->own, (size_t)n, sizeof *aimed->own);
        if (rc) return rc;
        aimed->n_own = n;
    }
    *out = aimed->own;
    return HS_OK;
}

static int make_kept(struct hs_aimed *aimed) {
    hs_edits *e = aimed->edits;
    const hs_edit_seq *seq = aimed->seq;
    int rc = hs_grow(&e->kept, (size_t)e->n_kept + 1, sizeof *e->kept);
    if (!rc) rc = hs_alloc(&aimed->kept, 1, sizeof *aimed->kept);
    if (rc) return rc;
    *aimed->kept = (struct hs_edit_kept){.edit = seq->edit,
                                         .n = seq->n,
                                         .index = aimed->index,
                                         .ord = seq->prompt.ord,
                                         .wanted = true};
    e->kept[e->n_kept++] = aimed->kept;
    return HS_OK;
}

int hs_edit_keep(const hs_edit_at *at, int64_t n, double **out) {
    hs_edits *e = at->aimed->edits;
    struct hs_aimed *aimed = &e->aimed[at->aimed - e->aimed];
    *out = NULL;
    int rc = aimed->kept ? HS_OK : make_kept(aimed);
    if (rc) return rc;
    struct hs_edit_kept *k = aimed->kept;
    if (k->len < n) {
        rc = hs_grow(&k->at, (size_t)n, sizeof *k->at);
        if (rc) return rc;
        memset(k->at + k->len, 0, (size_t)(n - k->len) * sizeof *k->at);
        k->len = n;
    }
    *out = k->at;
    return HS_OK;
}

double *hs_edit_kept(const hs_edit_at *at, int64_t n) {
    const struct hs_edit_kept *k = at->aimed->kept;
    return k && k->len >= n ? k->at : NULL;
}
