// Replay of a recorded prompt; see replay.h. The order is the engine's: the prompt's rows layer by
// layer, in row blocks, points of a block in the order of the forward pass, then decoded rows one
// by one through all layers. An observer that adds up rows as they come adds in the same order, and
// f32 maps give it the same numbers, so its results are the same bits.
//
// In memory: one decoded chunk a head and point of the layer in work, one block of rows, and the
// row summaries of HS_SERIES_ROWS rows of a layer.
#include "db/replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/reader_internal.h"
#include "db/record_internal.h"
#include "model/core/mem.h"

enum {
    BLOCK_ROWS = 256,
    TILE_ROWS = 64,
    MAX_SIZE = 1 << 26,
    MAX_LAYERS = 1 << 12,
    MAX_CELLS = 1 << 20
};

// ---- sizes -------------------------------------------------------------------------------------

static bool size_ok(int64_t v, int64_t low, int64_t high) {
    return v >= low && v <= high;
}

int hs_db_dims(hs_db *db, int64_t run, hs_dims *out) {
    sqlite3_stmt *s = NULL;
    hs_v v = hs_v_int(run);
    bool row = false;
    int64_t n[7];
    int rc = hs_sql_prepare(db, &s,
                            "SELECT n_layer, n_head, n_kv_head, d_model, d_head, d_ff, "
                            "n_vocab, points FROM model WHERE id = "
                            "(SELECT model_id FROM run WHERE id = ?)");
    if (!rc) rc = hs_sql_bind(db, s, &v, 1);
    if (!rc) rc = hs_sql_step(db, s, &row);
    if (!rc && !row) rc = hs_fail(HS_ENOTFOUND, "%s: no run %" PRId64, hs_db_path(db), run);
    for (int i = 0; i < 7 && !rc; i++) {
        n[i] = sqlite3_column_int64(s, i);
        if (!size_ok(n[i], i == 5 ? 0 : 1, i < 3 ? MAX_LAYERS : MAX_SIZE))
            rc = hs_fail(HS_EFORMAT, "%s: damaged: the sizes of the model make no sense",
                         hs_db_path(db));
    }
    if (!rc && (n[0] * n[1] > MAX_CELLS || n[2] > n[1]))
        rc = hs_fail(HS_EFORMAT, "%s: damaged: the sizes of the model make no sense",
                     hs_db_path(db));
    if (!rc) {
        const char *points = (const char *)sqlite3_column_text(s, 7);
        *out = (hs_dims){.n_layer = (int)n[0],
                         .n_head = (int)n[1],
                         .n_kv_head = (int)n[2],
                         .d_model = n[3],
                         .d_head = n[4],
                         .d_ff = n[5],
                         .n_vocab = n[6],
                         .points = hs_points_of_text(points ? points : "")};
    }
    sqlite3_finalize(s);
    return rc;
}

// ---- one layer ---------------------------------------------------------------------------------

// The points that come in tiles, in the order in which a tile passes them.
static const struct {
    enum hs_point point;
    uint8_t want;
} map_points[] = {{HS_SCORES, HS_TILE_READ_SCORES}, {HS_PATTERN, HS_TILE_READ_PATTERN}};
enum { N_MAP = sizeof map_points / sizeof *map_points };

typedef struct replay {
    hs_db *db;
    int64_t prompt, n_row;
    const hs_tap *tap;
    hs_dims dims;
    // Of the layer in work:
    hs_reader *map[N_MAP]; // [n_head] each
    hs_reader act[HS_N_POINT];
    float *stat; // [n_head][HS_N_STAT][n_stat] from row stat0 on
    int64_t stat0, n_stat;
    float *row; // a block of rows, or a tile
    size_t row_cap;
} replay;

static bool map_wanted(const replay *r, int m, int layer, int head) {
    return r->tap->tile_want && (r->tap->read[layer] & HS_BIT(map_points[m].point)) &&
           (r->tap->tile_want[layer * r->dims.n_head + head] & map_points[m].want);
}

static int missing(const replay *r, const char *what, const char *option, const char *value) {
    return hs_fail(HS_ENOTFOUND, "%s: the run did not store %s: record it again with %s %s",
                   hs_db_path(r->db), what, option, value);
}

static void close_layer(replay *r) {
    for (int m = 0; m < N_MAP; m++)
        for (int h = 0; r->map[m] && h < r->dims.n_head; h++) hs_reader_close(&r->map[m][h]);
    for (int p = 0; p < HS_N_POINT; p++) hs_reader_close(&r->act[p]);
    r->n_stat = 0;
}

static int open_maps(replay *r, int m, int layer) {
    char name[32];
    bool found = true;
    int rc = HS_OK;
    for (int h = 0; h < r->dims.n_head && !rc; h++) {
        if (!map_wanted(r, m, layer, h)) continue;
        hs_reader *map = &r->map[m][h];
        rc = hs_reader_map(map, r->db, r->prompt, map_points[m].point, layer, h, &found);
        snprintf(name, sizeof name, "L%dH%d", layer, h);
        if (!rc && !found)
            rc = map_points[m].point == HS_SCORES
                     ? missing(r, "the attention scores", "--acts", "attn_scores")
                     : missing(r, "the maps of all heads asked for", "--maps", name);
        if (!rc && (map->n_row != r->n_row || !map->causal))
            rc = hs_fail(HS_EFORMAT, "%s: map of %s: %" PRId64 " of %" PRId64 " rows",
                         hs_db_path(r->db), name, map->n_row, r->n_row);
    }
    return rc;
}

static int open_act(replay *r, int layer, enum hs_point point) {
    hs_buf name = {0};
    bool found = false;
    int64_t shape[4], width = 1;
    hs_reader *act = &r->act[point];
    hs_point_name(&name, point, layer);
    int rc = hs_buf_rc(&name);
    if (!rc) rc = hs_reader_act(act, r->db, r->prompt, hs_buf_text(&name), &found);
    if (!rc && !found) rc = missing(r, hs_buf_text(&name), "--acts", hs_point_infos[point].alias);
    int ndim = hs_point_shape(&r->dims, point, 1, shape);
    for (int d = 1; d < ndim; d++) width *= shape[d]; // two sizes of at most 2^26
    if (!rc && (act->width != width || act->n_row > r->n_row))
        rc = hs_fail(HS_EFORMAT, "%s: %s: its shape does not fit the model", hs_db_path(r->db),
                     hs_buf_text(&name));
    hs_buf_free(&name);
    return rc;
}

static bool is_stream(int point) { // delivered from maps or summaries
    return point == HS_SCORES || point == HS_PATTERN || point == HS_ROW_STATS;
}

static int open_layer(replay *r, int layer) {
    uint64_t want = r->tap->read[layer];
    int rc = HS_OK;
    for (int p = 0; p < HS_N_POINT && !rc; p++)
        if ((want & HS_BIT(p)) && !is_stream(p)) rc = open_act(r, layer, (enum hs_point)p);
    for (int m = 0; m < N_MAP && !rc; m++) rc = open_maps(r, m, layer);
    return rc;
}

static int reserve(replay *r, int64_t rows, int64_t width) {
    size_t n = (size_t)rows * (size_t)width; // a chunk's worth, or a tile
    if (n <= r->row_cap) return HS_OK;
    free(r->row);
    r->row = NULL;
    r->row_cap = 0;
    int rc = hs_read_justified(r->db, rows, width);
    if (!rc) rc = hs_alloc(&r->row, n, sizeof *r->row);
    if (!rc) r->row_cap = n;
    return rc;
}

// Makes r->stat cover rows [a, b), which lie within BLOCK_ROWS.
static int need_stats(replay *r, int layer, int64_t a, int64_t b) {
    if (r->n_stat && a >= r->stat0 && b <= r->stat0 + r->n_stat) return HS_OK;
    int64_t n = r->n_row - a < HS_SERIES_ROWS ? r->n_row - a : HS_SERIES_ROWS;
    r->stat0 = a;
    r->n_stat = n;
    return hs_read_stats(r->db, r->prompt, layer, r->dims.n_head, a, n, r->stat);
}

static int send_stats(replay *r, int layer, int64_t a, int64_t b) {
    hs_site site = {HS_ROW_STATS, layer, 0, a, b - a};
    hs_view view = {r->stat + (a - r->stat0),
                    HS_F32,
                    3,
                    {r->dims.n_head, HS_N_STAT, b - a},
                    {HS_N_STAT * r->n_stat, r->n_stat, 1}};
    return r->tap->rows(r->tap->ctx, &site, &view, false);
}

static int send_tile(replay *r, int m, int layer, int head, int64_t a, int64_t b) {
    bool stats = map_points[m].point == HS_PATTERN;
    int rc = reserve(r, b - a, b);
    for (int64_t i = a; i < b && !rc; i++)
        rc = hs_reader_row_full(&r->map[m][head], i, r->row + (i - a) * b, b);
    if (rc) return rc;
    hs_tile tile = {
        .point = map_points[m].point,
        .layer = layer,
        .head = head,
        .row0 = a,
        .n_row = b - a,
        .n_key = b,
        .row = r->row,
        .ld = b,
        .stats = stats ? r->stat + (int64_t)head * HS_N_STAT * r->n_stat + (a - r->stat0) : NULL,
        .stats_ld = stats ? r->n_stat : 0,
    };
    return r->tap->tile(r->tap->ctx, &tile, false, 0);
}

static int send_maps(replay *r, int layer, int64_t a, int64_t b) {
    int64_t height = r->tap->tile_rows > 0 ? r->tap->tile_rows : TILE_ROWS;
    int rc = HS_OK;
    for (int h = 0; h < r->dims.n_head && !rc; h++)
        for (int64_t i = a; i < b && !rc; i += height)
            for (int m = 0; m < N_MAP && !rc; m++)
                if (map_wanted(r, m, layer, h))
                    rc = send_tile(r, m, layer, h, i, i + height < b ? i + height : b);
    return rc;
}

// Rows of an activation, in pieces no larger than a chunk.
static int send_act(replay *r, int layer, enum hs_point point, int64_t a, int64_t b) {
    hs_reader *act = &r->act[point];
    int64_t most = (int64_t)HS_CHUNK_BYTES / (4 * act->width) + 1, n;
    int rc = HS_OK;
    if (b > act->n_row) b = act->n_row; // logits may be of fewer rows
    for (int64_t i = a; i < b && !rc; i += most) {
        int64_t end = i + most < b ? i + most : b;
        rc = reserve(r, end - i, act->width);
        for (int64_t k = i; k < end && !rc; k++)
            rc = hs_reader_row(act, k, r->row + (k - i) * act->width, &n);
        if (rc) break;
        hs_site site = {point, layer < r->dims.n_layer ? layer : -1, 0, i, end - i};
        hs_view view = {.data = r->row, .dtype = HS_F32};
        view.ndim = hs_point_shape(&r->dims, point, end - i, view.shape);
        for (int64_t d = view.ndim - 1, step = 1; d >= 0; step *= view.shape[d--])
            view.stride[d] = step;
        rc = r->tap->rows(r->tap->ctx, &site, &view, false);
    }
    return rc;
}

static int send_block(replay *r, int layer, int64_t a, int64_t b) {
    uint64_t want = r->tap->read[layer];
    bool stats = want & (HS_BIT(HS_PATTERN) | HS_BIT(HS_ROW_STATS));
    int rc = stats && layer < r->dims.n_layer ? need_stats(r, layer, a, b) : HS_OK;
    for (int p = 0; p < HS_N_POINT && !rc; p++) {
        if (p == HS_PATTERN)
            rc = send_maps(r, layer, a, b); // and of scores
        else if (!(want & HS_BIT(p)) || p == HS_SCORES)
            continue;
        else if (p == HS_ROW_STATS)
            rc = send_stats(r, layer, a, b);
        else
            rc = send_act(r, layer, (enum hs_point)p, a, b);
    }
    return rc;
}

// ---- the whole prompt --------------------------------------------------------------------------

// Points of the model before the first layer come first, the others last.
static int send_model(replay *r, int64_t a, int64_t b, bool before) {
    const uint64_t first = HS_BIT(HS_EMBED) | HS_BIT(HS_POS_EMBED);
    int l = r->dims.n_layer, rc = HS_OK;
    uint64_t want = r->tap->read[l] & (before ? first : ~first);
    for (int p = 0; p < HS_N_POINT && !rc; p++) {
        if (!(want & HS_BIT(p)) || is_stream(p)) continue;
        rc = open_act(r, l, (enum hs_point)p);
        for (int64_t i = a; i < b && !rc; i += BLOCK_ROWS)
            rc = send_act(r, l, (enum hs_point)p, i, i + BLOCK_ROWS < b ? i + BLOCK_ROWS : b);
    }
    close_layer(r);
    return rc;
}

// Rows [a, b) through all layers, as one evaluation of the engine.
static int send_span(replay *r, int64_t a, int64_t b) {
    int rc = send_model(r, a, b, true);
    for (int l = 0; l < r->dims.n_layer && !rc; l++) {
        rc = open_layer(r, l);
        for (int64_t i = a; i < b && !rc; i += BLOCK_ROWS)
            rc = send_block(r, l, i, i + BLOCK_ROWS < b ? i + BLOCK_ROWS : b);
        if (!rc && r->tap->layer_done) rc = r->tap->layer_done(r->tap->ctx, l);
        close_layer(r);
    }
    if (!rc) rc = send_model(r, a, b, false);
    return rc;
}

static int open_replay(replay *r, int64_t *run, int64_t *n_token) {
    hs_v v = hs_v_int(r->prompt);
    bool found = false;
    int rc = hs_sql_int(r->db, "SELECT run_id FROM prompt WHERE id = ?", &v, 1, run, &found);
    if (!rc && !found)
        rc = hs_fail(HS_ENOTFOUND, "%s: no prompt row %" PRId64, hs_db_path(r->db), r->prompt);
    if (!rc)
        rc = hs_sql_int(r->db, "SELECT n_token FROM prompt WHERE id = ?", &v, 1, n_token, NULL);
    if (!rc) rc = hs_db_dims(r->db, *run, &r->dims);
    if (!rc) rc = hs_read_rows(r->db, r->prompt, &r->n_row);
    for (int m = 0; m < N_MAP && !rc; m++)
        rc = hs_alloc(&r->map[m], (size_t)r->dims.n_head, sizeof *r->map[m]);
    int64_t rows = r->n_row < HS_SERIES_ROWS ? r->n_row : HS_SERIES_ROWS;
    if (!rc) rc = hs_read_justified(r->db, rows, (int64_t)r->dims.n_head * HS_N_STAT);
    if (!rc)
        rc = hs_alloc(&r->stat, (size_t)r->dims.n_head * HS_N_STAT * (size_t)rows, sizeof *r->stat);
    return rc;
}

int hs_db_replay(hs_db *db, int64_t prompt, const hs_tap *tap) {
    replay r = {.db = db, .prompt = prompt, .tap = tap};
    int64_t run = 0, n_token = 0;
    int rc = open_replay(&r, &run, &n_token);
    int64_t prefill = n_token < r.n_row ? n_token : r.n_row;
    if (!rc && prefill > 0) rc = send_span(&r, 0, prefill);
    for (int64_t i = prefill; i < r.n_row && !rc; i++) rc = send_span(&r, i, i + 1);
    close_layer(&r);
    for (int m = 0; m < N_MAP; m++) free(r.map[m]);
    free(r.stat);
    free(r.row);
    return rc;
}
