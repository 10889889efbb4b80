// What tests of observers share: maps and residuals fed through a hook set as the engine feeds them,
// in tiles and row blocks of several heights, whose results must be equal to the bit.
#ifndef HS_TESTS_UNIT_OBSERVERS_COMMON_H
#define HS_TESTS_UNIT_OBSERVERS_COMMON_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/observed.h"

enum { D = 6, D_HEAD = 2 };

// ---- a stream -----------------------------------------------------------------------------------

// What a run would deliver. Arrays may be NULL when no observer asks for them.
struct stream {
    hs_subject subject;
    int64_t n_row;
    double *map;        // [n_layer][n_head][n_row][n_row]
    const float *pre;   // [n_layer][n_row][D] entering the layer
    const float *resid; // [n_layer][n_row][D] leaving it
    const float *v;     // [n_layer][n_row][n_kv_head][D_HEAD]
};

static inline struct stream stream_of(int n_layer, int n_head, const int32_t *tokens,
                                      int64_t n_row) {
    struct stream s = {.n_row = n_row};
    s.subject = (hs_subject){
        .dims = {.n_layer = n_layer,
                 .n_head = n_head,
                 .n_kv_head = 1,
                 .d_model = D,
                 .d_head = D_HEAD,
                 .n_vocab = 1000,
                 .points = HS_BIT(HS_N_POINT) - 1},
        .tokens = tokens,
        .n_token = n_row,
    };
    s.map = calloc((size_t)(n_layer * n_head * n_row * n_row), sizeof *s.map);
    assert_non_null(s.map);
    return s;
}

static inline double *map_of(const struct stream *s, int layer, int head) {
    return s->map + (layer * s->subject.dims.n_head + head) * s->n_row * s->n_row;
}

static inline void uniform(double *map, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) map[i * n + j] = 1.0 / (double)(i + 1);
}

static inline void softmax(double *map, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t j = 0; j <= i; j++) sum += exp(map[i * n + j]);
        for (int64_t j = 0; j <= i; j++) map[i * n + j] = exp(map[i * n + j]) / sum;
    }
}

static inline void row_stats(float *out, const double *row, int64_t i) {
    double entropy = 0, distance = 0;
    int64_t top = 0;
    for (int64_t j = 0; j <= i; j++) {
        if (row[j] > 0) entropy -= row[j] * log(row[j]);
        if (row[j] > row[top]) top = j;
        distance += (double)(i - j) * row[j];
    }
    const double stats[HS_N_STAT] = {
        [HS_STAT_ENTROPY] = entropy,    [HS_STAT_MAX] = row[top],
        [HS_STAT_ARGMAX] = (double)top, [HS_STAT_FIRST] = row[0],
        [HS_STAT_SELF] = row[i],        [HS_STAT_PREV] = i ? row[i - 1] : 0,
        [HS_STAT_DISTANCE] = distance,
    };
    for (int s = 0; s < HS_N_STAT; s++) out[s] = (float)stats[s];
}

static inline int feed_stats(const struct stream *s, const hs_tap *tap, int layer, int64_t from,
                             int64_t n) {
    const int n_head = s->subject.dims.n_head;
    // Stored [row][head][stat] here, so that only the view's strides can make sense of it.
    float *stats = calloc((size_t)(n * n_head * HS_N_STAT), sizeof *stats);
    for (int64_t r = 0; r < n; r++)
        for (int h = 0; h < n_head; h++)
            row_stats(stats + (r * n_head + h) * HS_N_STAT,
                      map_of(s, layer, h) + (from + r) * s->n_row, from + r);
    hs_view view = {stats, HS_F32, 3, {n_head, HS_N_STAT, n}, {HS_N_STAT, 1, n_head * HS_N_STAT}};
    hs_site site = {HS_ROW_STATS, layer, s->subject.seq, from, n};
    int rc = tap->rows(tap->ctx, &site, &view, false);
    free(stats);
    return rc;
}

static inline int feed_tile(const struct stream *s, const hs_tap *tap, int layer, int head,
                            int64_t from, int64_t n) {
    const int64_t ld = from + n + 3;
    float *row = malloc((size_t)(n * ld) * sizeof *row);
    for (int64_t k = 0; k < n * ld; k++) row[k] = 99; // what lies beside a tile must not count
    for (int64_t r = 0; r < n; r++)
        for (int64_t j = 0; j < from + n; j++)
            row[r * ld + j] = (float)map_of(s, layer, head)[(from + r) * s->n_row + j];
    hs_tile tile = {.point = HS_PATTERN,
                    .layer = layer,
                    .head = head,
                    .seq = s->subject.seq,
                    .row0 = from,
                    .n_row = n,
                    .n_key = from + n,
                    .row = row,
                    .ld = ld};
    int rc = tap->tile(tap->ctx, &tile, false, 0);
    free(row);
    return rc;
}

static inline int feed_resid(const struct stream *s, const hs_tap *tap, enum hs_point point,
                             const float *resid, int layer, int64_t from, int64_t n) {
    if (!(tap->read[layer] & HS_BIT(point))) return HS_OK;
    float *x = malloc((size_t)(n * D) * sizeof *x);
    memcpy(x, resid + (layer * s->n_row + from) * D, (size_t)(n * D) * sizeof *x);
    const hs_view view = hs_view_f32(x, n, D);
    const hs_site site = {point, layer, s->subject.seq, from, n};
    int rc = tap->rows(tap->ctx, &site, &view, false);
    free(x);
    return rc;
}

static inline int feed_rows(const struct stream *s, const hs_tap *tap, int layer, int64_t from,
                            int64_t n) {
    const int kv = s->subject.dims.n_kv_head;
    int rc = HS_OK;
    if (s->v && tap->read[layer] & HS_BIT(HS_V)) {
        float *v = malloc((size_t)(n * kv * D_HEAD) * sizeof *v);
        memcpy(v, s->v + (layer * s->n_row + from) * kv * D_HEAD,
               (size_t)(n * kv * D_HEAD) * sizeof *v);
        hs_view view = {v, HS_F32, 3, {n, kv, D_HEAD}, {kv * D_HEAD, D_HEAD, 1}};
        hs_site site = {HS_V, layer, s->subject.seq, from, n};
        rc = tap->rows(tap->ctx, &site, &view, false);
        free(v);
    }
    if (!rc && s->pre) rc = feed_resid(s, tap, HS_RESID_PRE, s->pre, layer, from, n);
    if (!rc && s->resid) rc = feed_resid(s, tap, HS_RESID_POST, s->resid, layer, from, n);
    return rc;
}

// One row block of every kind of point of a layer.
static inline int feed_block(const struct stream *s, const hs_tap *tap, int layer, int64_t from,
                             int64_t n) {
    int rc = feed_rows(s, tap, layer, from, n);
    for (int h = 0; h < s->subject.dims.n_head && !rc; h++)
        if (tap->tile_want[layer * s->subject.dims.n_head + h])
            rc = feed_tile(s, tap, layer, h, from, n);
    if (!rc && tap->read[layer] & HS_BIT(HS_ROW_STATS)) rc = feed_stats(s, tap, layer, from, n);
    return rc;
}

static inline int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// Layer by layer as a recording goes, or row by row through all layers as decoding does.
static inline int feed(const struct stream *s, const hs_tap *tap, int64_t height, bool decode) {
    int rc = HS_OK;
    const int n_layer = s->subject.dims.n_layer;
    if (decode)
        for (int64_t i = 0; i < s->n_row; i += height)
            for (int l = 0; l < n_layer && !rc; l++)
                rc = feed_block(s, tap, l, i, least(height, s->n_row - i));
    else
        for (int l = 0; l < n_layer; l++)
            for (int64_t i = 0; i < s->n_row && !rc; i += height)
                rc = feed_block(s, tap, l, i, least(height, s->n_row - i));
    return rc;
}

// ---- results ------------------------------------------------------------------------------------

static observed results;

static inline int run_at(const struct stream *s, const char *spec, int64_t height, bool decode) {
    hs_observe_list list;
    hs_observation *o = NULL;
    hs_hooks *hooks = NULL;
    assert_int_equal(hs_observe_parse(&list, &spec, 1, false), HS_OK);
    assert_int_equal(hs_observation_open(&o, &list, &s->subject), HS_OK);
    assert_int_equal(hs_hooks_open(&hooks, &s->subject.dims), HS_OK);
    assert_int_equal(hs_observation_hook(o, hooks), HS_OK);
    int rc = feed(s, hs_hooks_tap(hooks), height, decode);
    if (!rc) observed_finish(&results, &list, o);
    hs_hooks_close(hooks);
    hs_observation_close(o);
    hs_observe_free(&list);
    return rc;
}

// Runs at heights 1, 2, 7 and all, layer by layer and decoded, and wants the same text.
static inline void run(const struct stream *s, const char *spec) {
    const int64_t heights[] = {1, 2, 7, s->n_row};
    assert_int_equal(run_at(s, spec, s->n_row, false), HS_OK);
    char *all = strdup(hs_buf_text(&results.text));
    for (int i = 0; i < 8; i++) {
        assert_int_equal(run_at(s, spec, heights[i / 2], i % 2), HS_OK);
        assert_string_equal(hs_buf_text(&results.text), all);
    }
    free(all);
}

static inline void has(const char *what, double expected, double tolerance) {
    observed_near(&results, what, expected, tolerance);
}
static inline void has_line(const char *line) {
    observed_has(&results, line);
}
static inline void has_no(const char *text) {
    observed_lacks(&results, text);
}

// ---- known maps ------------------------------------------------------------------------------------

static const int32_t distinct[300] = {0};

static inline struct stream four_rows(void) {
    static const double rows[4][4] = {{1}, {.6, .4}, {.3, .5, .2}, {.2, .6, .1, .1}};
    struct stream s = stream_of(1, 1, distinct, 4);
    memcpy(s.map, rows, sizeof rows);
    return s;
}

#endif
