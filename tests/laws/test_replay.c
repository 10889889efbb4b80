// Law 14: online = offline. What a recorded run feeds to a tap are the engine's own numbers, in its
// order, and observers find the same bits, whatever the heights of blocks and tiles.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/query.h"
#include "db/replay.h"
#include "tests/lib/dbrun.h"

#define OBSERVERS "sinks,hidden_sinks,massive,stripes,echo,spread,importance,sink_tokens"

static void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

static int64_t one(hs_db *db, const char *sql) {
    hs_query *q;
    bool row;
    must(hs_query_open(&q, db, sql, NULL));
    must(hs_query_step(q, &row));
    int64_t v = row ? hs_query_cell(q, 0).i : -1;
    hs_query_close(q);
    return v;
}

// ---- the tap's view -----------------------------------------------------------------------------

typedef struct seen {
    int64_t rows, tiles, layers; // calls
    int64_t next[3][HS_N_POINT], next_tile[2][3], next_score[2][3];
    int64_t first_decoded, last_layer, decoded_steps;
} seen;

static int on_rows(void *ctx, const hs_site *site, const hs_view *v) {
    seen *s = ctx;
    int layer = site->layer < 0 ? dbrun_dims.n_layer : site->layer;
    s->rows++;
    assert_int_equal(site->row0, s->next[layer][site->point]);
    s->next[layer][site->point] += site->n_row;
    for (int64_t r = 0; r < site->n_row; r++) {
        const float *at = v->data;
        if (site->point == HS_ROW_STATS) {
            for (int h = 0; h < 3; h++) {
                float stats[HS_N_STAT];
                dbrun_stats(0, layer, h, site->row0 + r, stats);
                for (int k = 0; k < HS_N_STAT; k++)
                    assert_true(at[h * v->stride[0] + k * v->stride[1] + r * v->stride[2]] ==
                                stats[k]);
            }
            continue;
        }
        int64_t width = hs_view_count(v) / v->shape[0];
        for (int64_t k = 0; k < width; k++)
            assert_true(at[r * v->stride[0] + k] ==
                        dbrun_act(0, site->point, layer, site->row0 + r, k));
    }
    return HS_OK;
}

static int on_tile(void *ctx, const hs_tile *t, int worker) {
    seen *s = ctx;
    (void)worker;
    s->tiles++;
    assert_int_equal(t->n_key, t->row0 + t->n_row);
    if (t->point == HS_SCORES) {
        assert_int_equal(t->row0, s->next_tile[t->layer][t->head]); // before the pattern's
        assert_null(t->stats);
        s->next_score[t->layer][t->head] += t->n_row;
        for (int64_t r = 0; r < t->n_row; r++)
            for (int64_t j = 0; j < t->n_key; j++)
                assert_true(t->row[r * t->ld + j] ==
                            dbrun_score(0, t->layer, t->head, t->row0 + r, j));
        return HS_OK;
    }
    assert_int_equal(t->row0, s->next_tile[t->layer][t->head]);
    s->next_tile[t->layer][t->head] += t->n_row;
    for (int64_t r = 0; r < t->n_row; r++) {
        float stats[HS_N_STAT];
        dbrun_stats(0, t->layer, t->head, t->row0 + r, stats);
        for (int k = 0; k < HS_N_STAT; k++) assert_true(t->stats[k * t->stats_ld + r] == stats[k]);
        for (int64_t j = 0; j < t->n_key; j++)
            assert_true(t->row[r * t->ld + j] ==
                        dbrun_weight(0, t->layer, t->head, t->row0 + r, j));
    }
    return HS_OK;
}

static int on_layer_done(void *ctx, int layer) {
    seen *s = ctx;
    assert_int_equal(layer, s->layers % dbrun_dims.n_layer);
    s->layers++;
    return HS_OK;
}

static void test_numbers(void **state) {
    (void)state;
    static const int64_t heights[] = {0, 1, 7, 64};
    char path[256];
    hs_db *db;
    dbrun what = {.n_prompt = 1,
                  .n_token = 300,
                  .n_decode = 4,
                  .maps = "L0H*,L1H2",
                  .acts = "resid_post,z,embed,logits,scale,blocks.0.attn.hook_attn_scores"};
    dbrun_path(path, sizeof path, "replay");
    must(dbrun_record(path, &what, NULL));
    must(hs_db_open(&db, path, HS_DB_READ));
    for (size_t i = 0; i < sizeof heights / sizeof *heights; i++) {
        uint64_t points[3] = {0};
        hs_heads heads;
        hs_hooks *hooks;
        seen s = {0};
        must(hs_points_select(points, &dbrun_dims,
                              "resid_post,z,embed,logits,scale,pattern,row_stats,"
                              "blocks.0.attn.hook_attn_scores"));
        must(hs_heads_parse(&heads, &dbrun_dims, "L0H*,L1H2"));
        must(hs_hooks_open(&hooks, &dbrun_dims));
        must(hs_hooks_add(hooks, &(hs_hook){.points = points,
                                            .heads = &heads,
                                            .rows = on_rows,
                                            .tile = on_tile,
                                            .layer_done = on_layer_done,
                                            .ctx = &s}));
        hs_hooks_tile_rows(hooks, heights[i]);
        must(hs_db_replay(db, 1, hs_hooks_tap(hooks)));
        assert_int_equal(s.layers, 2 * 5); // the prompt, then four decoded rows
        assert_int_equal(s.next_tile[0][1], 304);
        assert_int_equal(s.next_score[0][2], 304);
        assert_int_equal(s.next_score[1][2], 0);
        assert_int_equal(s.next_tile[1][2], 304);
        assert_int_equal(s.next_tile[1][0], 0);
        assert_int_equal(s.next[1][HS_RESID_POST], 304);
        assert_int_equal(s.next[1][HS_ROW_STATS], 304);
        assert_int_equal(s.next[2][HS_LOGITS], 304);
        hs_hooks_close(hooks);
        hs_heads_free(&heads);
    }
    hs_db_close(db);
    dbrun_remove(path);
}

// ---- observers ----------------------------------------------------------------------------------

static void observe(const char *path, const char *spec, int want) {
    hs_db *db;
    hs_observe_list list;
    must(hs_db_open(&db, path, HS_DB_WRITE));
    must(hs_observe_parse(&list, &spec, 1, false));
    int rc = hs_db_observe(db, 1, &list, NULL, NULL);
    if (rc != want) fail_msg("rc %d instead of %d: %s", rc, want, hs_errmsg());
    hs_observe_free(&list);
    hs_db_close(db);
}

// How many offline rows there are, and how many of them differ from the online ones.
#define TWIN "analysis_run AS x JOIN analysis_run AS y USING (prompt_id, analysis_id, params_json) "
static void assert_equal_bits(hs_db *db, const char *table, const char *key, const char *value) {
    char sql[1200];
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM %s AS b JOIN analysis_run AS y ON y.id = "
             "b.analysis_run_id WHERE y.source = 'offline'",
             table);
    int64_t n = one(db, sql);
    assert_true(n > 0);
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM " TWIN "JOIN %s AS a ON a.analysis_run_id = x.id"
             " JOIN %s AS b ON b.analysis_run_id = y.id AND (%s) WHERE x.source = 'online' AND "
             "y.source = 'offline' AND %s",
             table, table, key, value);
    assert_int_equal(one(db, sql), n);
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM %s AS b JOIN analysis_run AS y ON y.id = "
             "b.analysis_run_id WHERE y.source = 'online'",
             table);
    assert_int_equal(one(db, sql), n);
}

static void test_observers(void **state) {
    (void)state;
    char path[256];
    hs_db *db;
    dbrun what = {.n_prompt = 2,
                  .n_token = 130,
                  .n_decode = 3,
                  .maps = "all",
                  .acts = "resid_pre,resid_post",
                  .observe = OBSERVERS,
                  .shape = {50, 13, 3}};
    dbrun_path(path, sizeof path, "law14");
    must(dbrun_record(path, &what, NULL));
    observe(path, "rows," OBSERVERS, HS_OK);
    must(hs_db_open(&db, path, HS_DB_READ));
    assert_equal_bits(db, "head_metric",
                      "a.metric = b.metric AND a.layer = b.layer AND "
                      "a.head = b.head",
                      "a.value IS b.value AND a.reason IS b.reason");
    assert_equal_bits(db, "series", "a.name = b.name AND a.layer = b.layer AND a.head IS b.head",
                      "a.data = b.data");
    assert_equal_bits(db, "massive_top", "a.layer = b.layer AND a.rank = b.rank",
                      "a.value = b.value AND a.pos = b.pos AND a.channel = b.channel AND "
                      "a.median = b.median");
    assert_int_equal(one(db, "SELECT count(*) FROM analysis_run WHERE map_dtype <> 'f32'"), 0);
    // Both are there; one counts.
    assert_int_equal(one(db, "SELECT count(*) FROM v_head_metric WHERE metric = 'entropy_nats'"),
                     2 * 6);
    assert_int_equal(one(db, "SELECT count(*) FROM v_head_metric AS v JOIN analysis_run AS r ON "
                             "r.id = v.analysis_run_id WHERE r.source = 'online'"),
                     0);
    hs_db_close(db);
    dbrun_remove(path);
}

// Analysis runs are numbered by prompt, then as listed, online and offline.
static void test_order(void **state) {
    (void)state;
    char path[256];
    hs_db *db;
    dbrun what = {.n_prompt = 3,
                  .n_token = 30,
                  .maps = "all",
                  .acts = "resid_post",
                  .observe = "stripes,massive,sinks"};
    dbrun_path(path, sizeof path, "order");
    must(dbrun_record(path, &what, NULL));
    observe(path, "rows,stripes,massive,sinks", HS_OK);
    must(hs_db_open(&db, path, HS_DB_READ));
    assert_int_equal(one(db, "SELECT count(*) FROM analysis_run AS a JOIN analysis_run AS b ON "
                             "b.id = a.id + 12 WHERE a.source = 'online' AND b.source = 'offline' "
                             "AND a.prompt_id = b.prompt_id AND a.analysis_id = b.analysis_id"),
                     3 * 4);
    assert_int_equal(one(db, "SELECT count(*) FROM analysis_run AS a JOIN analysis_run AS b ON "
                             "b.id = a.id + 1 WHERE a.source = b.source AND "
                             "a.prompt_id > b.prompt_id"),
                     0);
    hs_db_close(db);
    dbrun_remove(path);
}

// Observing again replaces; other parameters stand beside.
static void test_again(void **state) {
    (void)state;
    char path[256];
    hs_db *db;
    dbrun what = {.n_prompt = 2, .n_token = 60, .maps = "all", .observe = "sinks"};
    dbrun_path(path, sizeof path, "again");
    must(dbrun_record(path, &what, NULL));
    for (int i = 0; i < 3; i++) observe(path, "sinks:eps=0.01", HS_OK);
    must(hs_db_open(&db, path, HS_DB_READ));
    assert_int_equal(one(db, "SELECT count(*) FROM analysis_run AS r JOIN analysis AS a ON a.id = "
                             "r.analysis_id WHERE a.name = 'sinks'"),
                     4);
    assert_int_equal(one(db, "SELECT count(*) FROM series WHERE name = 'column_mean'"), 2 * 2 * 6);
    hs_db_close(db);
    char sound[200];
    dbrun_integrity(path, sound, sizeof sound);
    assert_string_equal(sound, "ok");
    observe(path, "sinks:eps=0.02", HS_OK);
    must(hs_db_open(&db, path, HS_DB_READ));
    assert_int_equal(one(db, "SELECT count(*) FROM series WHERE name = 'column_mean'"), 3 * 2 * 6);
    hs_db_close(db);
    dbrun_remove(path);
}

static void test_missing(void **state) {
    (void)state;
    char path[256];
    dbrun what = {.n_prompt = 1, .n_token = 30, .maps = "L0H*"};
    dbrun_path(path, sizeof path, "missing");
    must(dbrun_record(path, &what, NULL));
    observe(path, "rows", HS_OK); // summaries are always there
    observe(path, "sinks", HS_ENOTFOUND);
    assert_non_null(strstr(hs_errmsg(), "--maps"));
    observe(path, "massive", HS_ENOTFOUND);
    assert_non_null(strstr(hs_errmsg(), "resid_post"));
    assert_non_null(strstr(hs_errmsg(), "--acts"));
    dbrun_remove(path);
}

static int ignore_tile(void *ctx, const hs_tile *tile, int worker) {
    (void)ctx, (void)tile, (void)worker;
    return HS_OK;
}

static void test_missing_scores(void **state) {
    (void)state;
    char path[256];
    hs_db *db;
    hs_hooks *hooks;
    const uint64_t points[3] = {HS_BIT(HS_SCORES)};
    dbrun what = {.n_prompt = 1, .n_token = 30, .maps = "all"};
    dbrun_path(path, sizeof path, "noscores");
    must(dbrun_record(path, &what, NULL));
    must(hs_db_open(&db, path, HS_DB_READ));
    must(hs_hooks_open(&hooks, &dbrun_dims));
    must(hs_hooks_add(hooks, &(hs_hook){.points = points, .tile = ignore_tile}));
    assert_int_equal(hs_db_replay(db, 1, hs_hooks_tap(hooks)), HS_ENOTFOUND);
    assert_non_null(strstr(hs_errmsg(), "--acts attn_scores"));
    hs_hooks_close(hooks);
    hs_db_close(db);
    dbrun_remove(path);
}

static void test_lossy(void **state) {
    (void)state;
    char path[256];
    hs_db *db;
    dbrun what = {.n_prompt = 1, .n_token = 30, .maps = "all", .store = HS_STORE_F16};
    dbrun_path(path, sizeof path, "lossy");
    must(dbrun_record(path, &what, NULL));
    observe(path, "rows,sinks", HS_OK);
    must(hs_db_open(&db, path, HS_DB_READ));
    assert_int_equal(one(db, "SELECT count(*) FROM analysis_run AS r JOIN analysis AS a ON a.id = "
                             "r.analysis_id WHERE a.name = 'sinks' AND map_dtype = 'f16'"),
                     1);
    assert_int_equal(one(db, "SELECT count(*) FROM analysis_run AS r JOIN analysis AS a ON a.id = "
                             "r.analysis_id WHERE a.name = 'rows' AND map_dtype = 'f32'"),
                     1);
    hs_db_close(db);
    dbrun_remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_observers),
        cmocka_unit_test(test_again),   cmocka_unit_test(test_missing),
        cmocka_unit_test(test_lossy),   cmocka_unit_test(test_missing_scores),
        cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
