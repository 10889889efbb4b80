// From hooks to chunks. Tiles arrive on worker threads and are encoded there, each cell (layer,
// head) into its own buffer; rows of activations and summaries arrive on the driving thread. Closed
// chunks go to the writer from the driving thread, when the attention of a row block is over (the
// row summaries come then) and at the end of a layer: by chunk, then head, so that the order of
// rows in the file depends neither on threads nor on the height of tiles.
//
// A chunk is closed when it holds HS_CHUNK_BYTES, at the end of a layer when it holds
// LAYER_BYTES, and at the end of the prompt. Decoding delivers one row a layer at a time, and its
// chunks grow over many steps. In memory are at most one row block of closed chunks, one open chunk
// a head of the layer in work, and LAYER_BYTES for every other head: never T x T.
#include "db/record_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

enum { LAYER_BYTES = 64 << 10, LAYER_ROWS = 256 };

static const enum hs_point map_points[HS_N_MAP] = {
    [HS_MAP_SCORES] = HS_SCORES,
    [HS_MAP_PATTERN] = HS_PATTERN,
};

// The maps of a layer follow each other: two a head.
static hs_stream *maps_of(hs_streams *s, int layer) {
    return &s->map[(size_t)layer * (size_t)s->dims.n_head * HS_N_MAP];
}

static int n_maps(const hs_streams *s) {
    return s->dims.n_head * HS_N_MAP;
}

// A byte cannot hold -inf, which masks leave in scores.
static enum hs_store map_store(const hs_streams *s, int m) {
    return m == HS_MAP_SCORES && s->store == HS_STORE_U8 ? HS_STORE_F16 : s->store;
}

int hs_streams_open(hs_streams *s, const hs_dims *dims, hs_writer *writer) {
    size_t n = (size_t)dims->n_layer, cells = n * (size_t)dims->n_head;
    *s = (hs_streams){.dims = *dims, .writer = writer};
    int rc = hs_alloc(&s->maps, cells, 1);
    if (!rc) rc = hs_alloc(&s->points, n + 1, sizeof *s->points);
    if (!rc) rc = hs_alloc(&s->scores, n + 1, sizeof *s->scores);
    if (!rc) rc = hs_alloc(&s->map, cells * HS_N_MAP, sizeof *s->map);
    if (!rc) rc = hs_alloc(&s->act, (n + 1) * HS_N_POINT, sizeof *s->act);
    if (!rc) rc = hs_alloc(&s->stat, n, sizeof *s->stat);
    if (!rc) rc = hs_streams_keep(s, NULL, NULL, HS_STORE_F32);
    return rc;
}

static void stream_reset(hs_stream *t) {
    for (hs_chunk *c = t->done, *next; c; c = next) {
        next = c->next;
        free(c->data);
        free(c);
    }
    free(t->raw);
    *t = (hs_stream){0};
}

void hs_streams_reset(hs_streams *s) {
    size_t n = (size_t)s->dims.n_layer, maps = n * (size_t)n_maps(s);
    for (size_t i = 0; s->map && i < maps; i++) stream_reset(&s->map[i]);
    for (size_t i = 0; s->act && i < (n + 1) * HS_N_POINT; i++) {
        if (s->act[i]) stream_reset(s->act[i]);
        free(s->act[i]);
        s->act[i] = NULL;
    }
    for (size_t i = 0; s->stat && i < n; i++) {
        free(s->stat[i].v);
        s->stat[i] = (hs_stat_rows){0};
    }
    s->n_map = s->n_act = 0;
    s->in_prompt = false;
}

void hs_streams_close(hs_streams *s) {
    hs_streams_reset(s);
    free(s->maps);
    free(s->points);
    free(s->scores);
    free(s->map);
    free(s->act);
    free(s->stat);
}

int hs_streams_keep(hs_streams *s, const hs_heads *maps, const uint64_t *acts,
                    enum hs_store store) {
    int n_layer = s->dims.n_layer, n_head = s->dims.n_head;
    for (int l = 0; l <= n_layer; l++) {
        uint64_t want = acts ? acts[l] : 0;
        bool pattern = want & HS_BIT(HS_PATTERN), some = false;
        for (int h = 0; l < n_layer && h < n_head; h++) {
            bool on = pattern || (maps && hs_heads_has(maps, l, h));
            s->maps[l * n_head + h] = on;
            some = some || on;
        }
        s->scores[l] = want & HS_BIT(HS_SCORES);
        s->points[l] = want & ~(HS_BIT(HS_SCORES) | HS_BIT(HS_PATTERN));
        if (l < n_layer) s->points[l] |= HS_BIT(HS_ROW_STATS);
        if (some) s->points[l] |= HS_BIT(HS_PATTERN);
    }
    s->store = store;
    return HS_OK;
}

// Closes the open chunk.
static int close_chunk(hs_stream *t, enum hs_store store) {
    hs_chunk *c;
    if (!t->n_row) return HS_OK;
    int rc = hs_alloc(&c, 1, sizeof *c);
    if (rc) return rc;
    c->row0 = t->row0;
    c->n_row = t->n_row;
    rc = hs_chunk_pack(c, store, t->raw, t->len); // takes raw
    t->raw = NULL;
    t->len = t->cap = 0;
    t->row0 += t->n_row;
    t->n_row = 0;
    if (rc) {
        free(c);
        return rc;
    }
    if (!t->done) t->tail = &t->done;
    *t->tail = c;
    t->tail = &c->next;
    return HS_OK;
}

// Appends one row of n numbers.
static int put_row(hs_stream *t, enum hs_store store, const float *row, int64_t n) {
    size_t bytes = hs_row_bytes(store, n), need = t->len + bytes;
    if (bytes > HS_CHUNK_MAX - HS_CHUNK_BYTES)
        return hs_fail(HS_EUNSUPPORTED, "a row of %" PRId64 " numbers is too long to store", n);
    if (need > t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 4096;
        if (cap > HS_CHUNK_BYTES) cap = HS_CHUNK_BYTES;
        if (cap < need) cap = need;
        int rc = hs_grow(&t->raw, cap, 1);
        if (rc) return rc;
        t->cap = cap;
    }
    int rc = hs_row_put(store, t->raw + t->len, row, n);
    if (rc) return rc;
    t->len = need;
    t->n_row++;
    return t->len >= HS_CHUNK_BYTES ? close_chunk(t, store) : HS_OK;
}

static int in_order(const hs_streams *s, int64_t have, int64_t row0, int seq) {
    if (!s->in_prompt) return hs_fail(HS_EARG, "rows came outside of a prompt");
    if (seq != 0) return hs_fail(HS_EARG, "a recorded run evaluates one sequence at a time");
    if (have != row0)
        return hs_fail(HS_EARG, "rows out of order: got %" PRId64 ", expected %" PRId64, row0,
                       have);
    return HS_OK;
}

static int on_tile(void *ctx, const hs_tile *tile, int worker) {
    hs_streams *s = ctx;
    (void)worker;
    int m = tile->point == HS_SCORES ? HS_MAP_SCORES : HS_MAP_PATTERN;
    hs_stream *t = maps_of(s, tile->layer) + tile->head * HS_N_MAP + m;
    int rc = in_order(s, t->row0 + t->n_row, tile->row0, tile->seq);
    if (!rc && tile->n_key != tile->row0 + tile->n_row)
        rc = hs_fail(HS_EUNSUPPORTED, "maps of attention that is not causal cannot be stored yet");
    for (int64_t r = 0; r < tile->n_row && !rc; r++)
        rc = put_row(t, map_store(s, m), tile->row + r * tile->ld, tile->row0 + r + 1);
    return hs_prefix(rc, "%s of L%dH%d", hs_point_infos[tile->point].alias, tile->layer,
                     tile->head);
}

// ---- closed chunks to the writer ---------------------------------------------------------------

// Sends the oldest closed chunk, if any.
static int send_chunk(hs_streams *s, hs_stream *t, bool map) {
    hs_chunk *c = t->done;
    if (!c) return HS_OK;
    if (!t->used) {
        t->used = true;
        t->id = map ? s->n_map++ : s->n_act++;
    }
    hs_v v[] = {hs_v_id(map ? HS_ID_MAP : HS_ID_ACT, t->id),
                hs_v_int(c->row0),
                hs_v_int(c->n_row),
                hs_v_text(c->zstd ? "zstd" : "none"),
                hs_v_int((int64_t)c->raw_bytes),
                hs_v_int(c->crc),
                hs_v_blob(c->data, c->n)};
    t->done = c->next;
    free(c);
    return hs_writer_give(s->writer,
                          map ? "INSERT INTO map_chunk VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)"
                              : "INSERT INTO act_chunk VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)",
                          v, 7);
}

// The maps' closed chunks of a layer, by their last row: in this order they were closed.
static int send_maps(hs_streams *s, int layer) {
    hs_stream *map = maps_of(s, layer), *next;
    int rc = HS_OK;
    do {
        int64_t first = INT64_MAX;
        next = NULL;
        for (int i = 0; i < n_maps(s); i++) {
            const hs_chunk *c = map[i].done;
            if (!c || c->row0 + c->n_row >= first) continue;
            first = c->row0 + c->n_row;
            next = &map[i];
        }
        if (next) rc = send_chunk(s, next, true);
    } while (next && !rc);
    return rc;
}

static int send_act(hs_streams *s, hs_stream *t) {
    int rc = HS_OK;
    while (t->done && !rc) rc = send_chunk(s, t, false);
    return rc;
}

// One series a head and summary of the rows gathered so far.
static int send_stats(hs_streams *s, int layer) {
    hs_stat_rows *st = &s->stat[layer];
    hs_buf blob = {0};
    int rc = HS_OK;
    for (int h = 0; h < s->dims.n_head && !rc && st->n_row; h++)
        for (int k = 0; k < HS_N_STAT && !rc; k++) {
            hs_buf_clear(&blob);
            rc = hs_series_pack_f32(
                &blob, st->v + ((size_t)h * HS_N_STAT + (size_t)k) * (size_t)st->cap, st->n_row);
            hs_v v[] = {hs_v_id(HS_ID_PROMPT, 0),         hs_v_int(layer),    hs_v_int(h),
                        hs_v_text(hs_stat_infos[k].name), hs_v_int(st->row0), hs_v_int(st->n_row),
                        hs_v_blob(blob.data, blob.len)};
            if (!rc)
                rc = hs_writer_row(
                    s->writer, "INSERT INTO row_series VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", v, 7);
        }
    hs_buf_free(&blob);
    free(st->v);
    *st = (hs_stat_rows){.row0 = st->row0 + st->n_row};
    return rc;
}

// ---- rows on the driving thread ----------------------------------------------------------------

// Room for n more rows, growing by doubling up to HS_SERIES_ROWS a series.
static int grow_stats(hs_stat_rows *st, int64_t n, int n_head) {
    int64_t cap = st->cap ? st->cap : 64;
    while (cap < n) cap *= 2;
    if (cap == st->cap) return HS_OK;
    float *v;
    size_t series = (size_t)n_head * HS_N_STAT;
    int rc = hs_alloc(&v, series, (size_t)cap * sizeof *v);
    if (rc) return rc;
    for (size_t i = 0; i < series && st->n_row; i++)
        memcpy(v + i * (size_t)cap, st->v + i * (size_t)st->cap, (size_t)st->n_row * sizeof *v);
    free(st->v);
    st->v = v;
    st->cap = cap;
    return HS_OK;
}

static int take_stats(hs_streams *s, const hs_site *site, const hs_view *view) {
    hs_stat_rows *st = &s->stat[site->layer];
    const float *from = view->data;
    int rc = in_order(s, st->row0 + st->n_row, site->row0, site->seq);
    for (int64_t r = 0; r < site->n_row && !rc; r++) {
        rc = grow_stats(st, st->n_row + 1, s->dims.n_head);
        for (int h = 0; h < s->dims.n_head && !rc; h++)
            for (int k = 0; k < HS_N_STAT; k++)
                st->v[((size_t)h * HS_N_STAT + (size_t)k) * (size_t)st->cap + (size_t)st->n_row] =
                    from[h * view->stride[0] + k * view->stride[1] + r * view->stride[2]];
        if (!rc && ++st->n_row == HS_SERIES_ROWS) rc = send_stats(s, site->layer);
    }
    if (!rc) rc = send_maps(s, site->layer);
    return rc;
}

static int take_act(hs_streams *s, const hs_site *site, const hs_view *view) {
    int layer = site->layer < 0 ? s->dims.n_layer : site->layer;
    hs_stream **at = &s->act[(size_t)layer * HS_N_POINT + (size_t)site->point];
    int64_t width = 1;
    for (int d = 1; d < view->ndim; d++) width *= view->shape[d];
    int rc = *at ? HS_OK : hs_alloc(at, 1, sizeof **at);
    if (!rc) rc = in_order(s, (*at)->row0 + (*at)->n_row, site->row0, site->seq);
    for (int64_t r = 0; r < site->n_row && !rc; r++)
        rc = put_row(*at, s->store, (const float *)view->data + r * view->stride[0], width);
    if (!rc) rc = send_act(s, *at);
    return rc;
}

static int on_rows(void *ctx, const hs_site *site, const hs_view *view) {
    hs_streams *s = ctx;
    if (site->point == HS_ROW_STATS) return take_stats(s, site, view);
    int rc = take_act(s, site, view);
    return hs_prefix(rc, "%s of layer %d", hs_point_infos[site->point].alias, site->layer);
}

static int on_layer_done(void *ctx, int layer) {
    hs_streams *s = ctx;
    int rc = HS_OK;
    for (int i = 0; i < n_maps(s) && !rc; i++) {
        hs_stream *t = maps_of(s, layer) + i;
        if (t->len >= LAYER_BYTES) rc = close_chunk(t, map_store(s, i % HS_N_MAP));
    }
    if (!rc) rc = send_maps(s, layer);
    for (int p = 0; p < HS_N_POINT && !rc; p++) {
        hs_stream *t = s->act[(size_t)layer * HS_N_POINT + (size_t)p];
        if (!t) continue;
        if (t->len >= LAYER_BYTES) rc = close_chunk(t, s->store);
        if (!rc) rc = send_act(s, t);
    }
    if (!rc && s->stat[layer].n_row >= LAYER_ROWS) rc = send_stats(s, layer);
    return rc;
}

int hs_streams_hook(hs_streams *s, hs_hooks *hooks) {
    hs_heads maps = {s->dims.n_layer, s->dims.n_head, s->maps};
    // Scores are of all heads, the pattern of some: two hooks.
    int rc = hs_hooks_add(hooks, &(hs_hook){.points = s->scores, .tile = on_tile, .ctx = s});
    if (rc) return rc;
    return hs_hooks_add(hooks, &(hs_hook){.points = s->points,
                                          .heads = &maps,
                                          .rows = on_rows,
                                          .tile = on_tile,
                                          .layer_done = on_layer_done,
                                          .ctx = s});
}

// ---- the end of a prompt -----------------------------------------------------------------------

static int end_map(hs_streams *s, int layer, int head, int m) {
    const hs_stream *t = maps_of(s, layer) + head * HS_N_MAP + m;
    const char *point = hs_point_infos[map_points[m]].alias;
    int64_t n_row = s->stat[layer].row0;
    if (!t->used) return HS_OK;
    if (t->row0 != n_row)
        return hs_fail(HS_EARG, "%s of L%dH%d has %" PRId64 " of %" PRId64 " rows", point, layer,
                       head, t->row0, n_row);
    hs_v v[] = {hs_v_id(HS_ID_MAP, t->id),
                hs_v_id(HS_ID_PROMPT, 0),
                hs_v_text(point),
                hs_v_int(layer),
                hs_v_int(head),
                hs_v_int(n_row),
                hs_v_int(n_row),
                hs_v_int(1),
                hs_v_text(hs_store_name(map_store(s, m)))};
    return hs_writer_row(s->writer, "INSERT INTO map VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", v, 9);
}

static int end_act(hs_streams *s, int layer, enum hs_point point, const hs_stream *t) {
    int64_t shape[4], width = 1;
    int ndim = hs_point_shape(&s->dims, point, t->row0, shape);
    hs_buf name = {0}, dims = {0};
    hs_point_name(&name, point, layer);
    for (int d = 0; d < ndim; d++) {
        hs_buf_printf(&dims, "%s%" PRId64, d ? ", " : "[", shape[d]);
        if (d) width *= shape[d];
    }
    hs_buf_chr(&dims, ']');
    hs_v v[] = {hs_v_id(HS_ID_ACT, t->id),
                hs_v_id(HS_ID_PROMPT, 0),
                hs_v_text(hs_buf_text(&name)),
                layer < s->dims.n_layer ? hs_v_int(layer) : hs_v_null(),
                hs_v_int(t->row0),
                hs_v_text(hs_buf_text(&dims)),
                hs_v_int(width),
                hs_v_text(hs_store_name(s->store))};
    int rc = hs_buf_rc(&name);
    if (!rc) rc = hs_buf_rc(&dims);
    if (!rc) rc = hs_writer_row(s->writer, "INSERT INTO act VALUES (?, ?, ?, ?, ?, ?, ?, ?)", v, 8);
    hs_buf_free(&name);
    hs_buf_free(&dims);
    return rc;
}

static int end_heads(hs_streams *s, int layer, int64_t n_token) {
    int rc = HS_OK;
    for (int i = 0; i < n_maps(s) && !rc; i++)
        rc = close_chunk(maps_of(s, layer) + i, map_store(s, i % HS_N_MAP));
    if (!rc) rc = send_maps(s, layer);
    if (!rc) rc = send_stats(s, layer);
    for (int i = 0; i < n_maps(s) && !rc; i++) rc = end_map(s, layer, i / HS_N_MAP, i % HS_N_MAP);
    if (!rc && s->stat[layer].row0 > n_token)
        rc = hs_fail(HS_EARG, "layer %d has %" PRId64 " rows for %" PRId64 " tokens", layer,
                     s->stat[layer].row0, n_token);
    return rc;
}

static int end_acts(hs_streams *s, int layer) {
    int rc = HS_OK;
    for (int p = 0; p < HS_N_POINT && !rc; p++) {
        hs_stream *t = s->act[(size_t)layer * HS_N_POINT + (size_t)p];
        if (!t) continue;
        rc = close_chunk(t, s->store);
        if (!rc) rc = send_act(s, t);
        if (!rc && t->used) rc = end_act(s, layer, (enum hs_point)p, t);
    }
    return rc;
}

int hs_streams_end(hs_streams *s, int64_t n_token) {
    int rc = HS_OK;
    for (int l = 0; l <= s->dims.n_layer && !rc; l++) {
        if (l < s->dims.n_layer) rc = end_heads(s, l, n_token);
        if (!rc) rc = end_acts(s, l);
    }
    hs_streams_reset(s);
    return rc;
}
