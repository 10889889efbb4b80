// Hook sets; see hooks.h. Adding only collects; asking for the tap merges the hooks' masks once,
// so that the engine tests one bit a point and a set without hooks costs nothing.
#include "hooks/hooks.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

static const uint64_t map_bits = HS_BIT(HS_SCORES) | HS_BIT(HS_PATTERN);

struct entry {
    hs_hook hook; // points and heads are our copies
    uint64_t *points;
    hs_heads heads;    // on NULL: all
    hs_heads surveyed; // on NULL: none
};

struct hs_hooks {
    int n_layer, n_head;
    struct entry *entry;
    int n;
    bool compiled;
    uint64_t *read, *write; // [n_layer + 1]
    uint8_t *tile_want;     // [n_layer][n_head]
    hs_tap tap;
};

int hs_hooks_open(hs_hooks **out, const hs_dims *dims) {
    const size_t n_set = (size_t)dims->n_layer + 1;
    hs_hooks *h;
    *out = NULL;
    int rc = hs_alloc(&h, 1, sizeof *h);
    if (rc) return rc;
    h->n_layer = dims->n_layer;
    h->n_head = dims->n_head;
    rc = hs_alloc(&h->read, n_set, sizeof *h->read);
    if (!rc) rc = hs_alloc(&h->write, n_set, sizeof *h->write);
    if (!rc) rc = hs_alloc(&h->tile_want, (size_t)h->n_layer * (size_t)h->n_head, 1);
    if (rc)
        hs_hooks_close(h);
    else
        *out = h;
    return rc;
}

static void free_entry(struct entry *e) {
    free(e->points);
    hs_heads_free(&e->heads);
    hs_heads_free(&e->surveyed);
}

void hs_hooks_close(hs_hooks *h) {
    if (!h) return;
    for (int i = 0; i < h->n; i++) free_entry(&h->entry[i]);
    free(h->entry);
    free(h->read);
    free(h->write);
    free(h->tile_want);
    free(h);
}

// ---- adding -------------------------------------------------------------------------------------

static bool is_foreign(const hs_hooks *h, const hs_heads *heads) {
    return heads && (heads->n_layer != h->n_layer || heads->n_head != h->n_head);
}

// Points must be of the right scope for their set, and each kind needs its callback.
static int check_hook(const hs_hooks *h, const hs_hook *hook) {
    for (int l = 0; l <= h->n_layer; l++)
        for (int p = 0; p < 64; p++) {
            if (!(hook->points[l] & HS_BIT(p))) continue;
            const enum hs_scope scope = l == h->n_layer ? HS_SCOPE_MODEL : HS_SCOPE_LAYER;
            if (p >= HS_N_POINT || hs_point_infos[p].scope != scope)
                return hs_fail(HS_EARG, "hook point %d has no place in set %d", p, l);
            if (hook->write && !hs_point_infos[p].writable)
                return hs_fail(HS_EARG, "%s can be read but not written", hs_point_infos[p].alias);
            if (HS_BIT(p) & map_bits ? !hook->tile : !hook->rows)
                return hs_fail(HS_EARG, "a hook on %s needs a callback for %s",
                               hs_point_infos[p].alias, HS_BIT(p) & map_bits ? "tiles" : "rows");
        }
    if (hook->survey && !(hook->write && hook->tile && hook->surveyed))
        return hs_fail(HS_EARG, "a hook that surveys writes maps, and names the heads");
    if (is_foreign(h, hook->heads) || is_foreign(h, hook->surveyed))
        return hs_fail(HS_EARG, "the heads of a hook are those of another model");
    return HS_OK;
}

static int copy_heads(hs_heads *to, const hs_heads *from) {
    const size_t n = from ? (size_t)from->n_layer * (size_t)from->n_head : 0;
    if (!from) return HS_OK;
    *to = *from;
    int rc = hs_alloc(&to->on, n, 1);
    if (!rc) memcpy(to->on, from->on, n);
    return rc;
}

static int copy_hook(const hs_hooks *h, const hs_hook *hook, struct entry *e) {
    const size_t n_set = (size_t)h->n_layer + 1;
    *e = (struct entry){.hook = *hook};
    int rc = hs_alloc(&e->points, n_set, sizeof *e->points);
    if (!rc) memcpy(e->points, hook->points, n_set * sizeof *e->points);
    if (!rc) rc = copy_heads(&e->heads, hook->heads);
    if (!rc) rc = copy_heads(&e->surveyed, hook->survey ? hook->surveyed : NULL);
    if (rc) free_entry(e);
    return rc;
}

int hs_hooks_add(hs_hooks *h, const hs_hook *hook) {
    assert(!h->compiled);
    int rc = check_hook(h, hook);
    if (!rc) rc = hs_grow(&h->entry, (size_t)h->n + 1, sizeof *h->entry);
    if (!rc) rc = copy_hook(h, hook, &h->entry[h->n]);
    if (!rc) h->n++;
    return rc;
}

void hs_hooks_tile_rows(hs_hooks *h, int64_t n) {
    h->tap.tile_rows = n;
}

// ---- firing -------------------------------------------------------------------------------------

static bool wants_head(const struct entry *e, int layer, int head) {
    return !e->heads.on || hs_heads_has(&e->heads, layer, head);
}

static int fire_rows(void *ctx, const hs_site *site, const hs_view *view, bool write) {
    const hs_hooks *h = ctx;
    const int set = site->layer < 0 ? h->n_layer : site->layer;
    for (int i = 0; i < h->n; i++) {
        const struct entry *e = &h->entry[i];
        if (e->hook.write != write || !(e->points[set] & HS_BIT(site->point))) continue;
        int rc = e->hook.rows(e->hook.ctx, site, view);
        if (rc) return rc;
    }
    return HS_OK;
}

static int fire_tile(void *ctx, const hs_tile *tile, bool write, int worker) {
    const hs_hooks *h = ctx;
    for (int i = 0; i < h->n; i++) {
        const struct entry *e = &h->entry[i];
        if (e->hook.write != write || !(e->points[tile->layer] & HS_BIT(tile->point)) ||
            !wants_head(e, tile->layer, tile->head))
            continue;
        if (tile->whole && !e->hook.sees_later)
            return hs_fail(HS_EUNSUPPORTED, "maps of rows that see later ones cannot be watched or "
                                            "stored: leave them out, or say mask=no");
        int rc = e->hook.tile(e->hook.ctx, tile, worker);
        if (rc) return rc;
    }
    return HS_OK;
}

static int64_t fire_survey(void *ctx, int layer, int seq) {
    const hs_hooks *h = ctx;
    int64_t most = 0;
    for (int i = 0; i < h->n; i++) {
        const struct entry *e = &h->entry[i];
        const int64_t n = e->hook.survey ? e->hook.survey(e->hook.ctx, layer, seq) : 0;
        if (n > most) most = n;
    }
    return most;
}

static int fire_layer_done(void *ctx, int layer) {
    const hs_hooks *h = ctx;
    for (int i = 0; i < h->n; i++) {
        if (!h->entry[i].hook.layer_done) continue;
        int rc = h->entry[i].hook.layer_done(h->entry[i].hook.ctx, layer);
        if (rc) return rc;
    }
    return HS_OK;
}

static int fire_positions(void *ctx, int seq, int64_t row0, int64_t n, int32_t *id) {
    const hs_hooks *h = ctx;
    int rc = HS_OK;
    for (int i = 0; i < h->n && !rc; i++) {
        const hs_hook *hook = &h->entry[i].hook;
        if (hook->positions) rc = hook->positions(hook->ctx, seq, row0, n, id);
    }
    return rc;
}

static int fire_tokens(void *ctx, int seq, int64_t row0, int64_t n, const int32_t *token) {
    const hs_hooks *h = ctx;
    int rc = HS_OK;
    for (int i = 0; i < h->n && !rc; i++) {
        const hs_hook *hook = &h->entry[i].hook;
        if (hook->tokens) rc = hook->tokens(hook->ctx, seq, row0, n, token);
    }
    return rc;
}

static int fire_block(void *ctx, int seq, int64_t *from, int64_t *to) {
    const hs_hooks *h = ctx;
    int rc = HS_OK;
    for (int i = 0; i < h->n && !rc; i++) {
        const hs_hook *hook = &h->entry[i].hook;
        if (hook->block) rc = hook->block(hook->ctx, seq, from, to);
    }
    return rc;
}

// ---- compiling ----------------------------------------------------------------------------------

static uint8_t want_of(const struct entry *e, int layer, int head) {
    const bool scores = e->points[layer] & HS_BIT(HS_SCORES);
    const bool pattern = e->points[layer] & HS_BIT(HS_PATTERN);
    const int of_scores = e->hook.write ? HS_TILE_WRITE_SCORES : HS_TILE_READ_SCORES;
    const int of_pattern = e->hook.write ? HS_TILE_WRITE_PATTERN : HS_TILE_READ_PATTERN;
    const bool survey = pattern && e->surveyed.on && hs_heads_has(&e->surveyed, layer, head);
    return (uint8_t)((scores ? of_scores : 0) | (pattern ? of_pattern : 0) |
                     (survey ? HS_TILE_SURVEY : 0));
}

// Merges one hook. A map's bit is set only where some head is wanted.
static void merge(hs_hooks *h, const struct entry *e) {
    uint64_t *mask = e->hook.write ? h->write : h->read;
    for (int l = 0; l <= h->n_layer; l++) {
        mask[l] |= e->points[l] & ~map_bits;
        for (int head = 0; l < h->n_layer && head < h->n_head; head++) {
            if (!(e->points[l] & map_bits) || !wants_head(e, l, head)) continue;
            h->tile_want[l * h->n_head + head] |= want_of(e, l, head);
            mask[l] |= e->points[l] & map_bits;
        }
    }
}

const hs_tap *hs_hooks_tap(hs_hooks *h) {
    if (!h->n) return NULL;
    if (!h->compiled) {
        bool layer_done = false, survey = false, positions = false, block = false, tokens = false;
        for (int i = 0; i < h->n; i++) {
            merge(h, &h->entry[i]);
            layer_done |= h->entry[i].hook.layer_done != NULL;
            survey |= h->entry[i].hook.survey != NULL;
            positions |= h->entry[i].hook.positions != NULL;
            tokens |= h->entry[i].hook.tokens != NULL;
            block |= h->entry[i].hook.block != NULL;
        }
        h->tap = (hs_tap){
            .ctx = h,
            .read = h->read,
            .write = h->write,
            .tile_want = h->tile_want,
            .tile_rows = h->tap.tile_rows,
            .rows = fire_rows,
            .tile = fire_tile,
            .survey = survey ? fire_survey : NULL,
            .layer_done = layer_done ? fire_layer_done : NULL,
            .positions = positions ? fire_positions : NULL,
            .tokens = tokens ? fire_tokens : NULL,
            .block = block ? fire_block : NULL,
        };
        h->compiled = true;
    }
    return &h->tap;
}
