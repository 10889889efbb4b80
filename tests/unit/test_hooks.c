// Hook sets: what the engine is told to deliver, and who is called, in which order.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "hooks/hooks.h"

enum { N_LAYER = 3, N_HEAD = 2 };
static const hs_dims dims = {
    .n_layer = N_LAYER,
    .n_head = N_HEAD,
    .n_kv_head = 1,
    .d_model = 4,
    .d_head = 2,
    .d_ff = 8,
    .n_vocab = 9,
    .points = HS_BIT(HS_N_POINT) - 1,
};

// Hooks write their letter into one log.
static char log_text[64];
struct logger {
    char letter;
    int rc;
};
static int note(void *ctx) {
    struct logger *l = ctx;
    size_t n = strlen(log_text);
    log_text[n] = l->letter;
    log_text[n + 1] = 0;
    return l->rc;
}
static int on_rows(void *ctx, const hs_site *site, const hs_view *view) {
    (void)site;
    (void)view;
    return note(ctx);
}
static int on_tile(void *ctx, const hs_tile *tile, int worker) {
    (void)tile;
    assert_int_equal(worker, 1);
    return note(ctx);
}
static int on_layer(void *ctx, int layer) {
    (void)layer;
    return note(ctx);
}

static int add(hs_hooks *h, struct logger *l, const char *points, const char *heads, bool write) {
    uint64_t mask[N_LAYER + 1] = {0};
    hs_heads set = {0};
    assert_int_equal(hs_points_select(mask, &dims, points), HS_OK);
    if (heads) assert_int_equal(hs_heads_parse(&set, &dims, heads), HS_OK);
    hs_hook hook = {.points = mask,
                    .heads = heads ? &set : NULL,
                    .write = write,
                    .rows = on_rows,
                    .tile = on_tile,
                    .ctx = l};
    int rc = hs_hooks_add(h, &hook);
    memset(mask, 0, sizeof mask); // the set keeps copies
    if (heads) hs_heads_free(&set);
    return rc;
}

static const char *fired_rows(const hs_tap *tap, enum hs_point point, int layer, bool write) {
    hs_site site = {.point = point, .layer = layer, .n_row = 1};
    float x[4] = {0};
    hs_view view = hs_view_f32(x, 1, 4);
    log_text[0] = 0;
    assert_int_equal(tap->rows(tap->ctx, &site, &view, write), HS_OK);
    return log_text;
}

static const char *fired_tile(const hs_tap *tap, enum hs_point point, int layer, int head,
                              bool write) {
    hs_tile tile = {.point = point, .layer = layer, .head = head, .n_row = 1, .n_key = 1};
    log_text[0] = 0;
    assert_int_equal(tap->tile(tap->ctx, &tile, write, 1), HS_OK);
    return log_text;
}

static void no_hooks_no_tap(void **state) {
    (void)state;
    hs_hooks *h;
    assert_int_equal(hs_hooks_open(&h, &dims), HS_OK);
    assert_null(hs_hooks_tap(h));
    hs_hooks_close(h);
    hs_hooks_close(NULL);
}

static void masks_say_what_somebody_wants(void **state) {
    (void)state;
    hs_hooks *h;
    struct logger a = {'a', 0}, b = {'b', 0}, c = {'c', 0};
    assert_int_equal(hs_hooks_open(&h, &dims), HS_OK);
    assert_int_equal(add(h, &a, "z:1,logits", NULL, false), HS_OK);
    assert_int_equal(add(h, &b, "pattern:{0,2},resid_pre:0", "L0H1,L1H0", false), HS_OK);
    assert_int_equal(add(h, &c, "attn_scores:2,q", "L2H0", true), HS_OK);
    hs_hooks_tile_rows(h, 7);
    const hs_tap *tap = hs_hooks_tap(h);
    assert_ptr_equal(tap, hs_hooks_tap(h));
    assert_int_equal(tap->tile_rows, 7);
    assert_null(tap->layer_done);
    // Layer 2 of b has a pattern hook but none of its heads, so nobody wants tiles there.
    assert_true(tap->read[0] == (HS_BIT(HS_PATTERN) | HS_BIT(HS_RESID_PRE)));
    assert_true(tap->read[1] == HS_BIT(HS_Z));
    assert_true(tap->read[2] == 0);
    assert_true(tap->read[3] == HS_BIT(HS_LOGITS));
    assert_true(tap->write[0] == HS_BIT(HS_Q) && tap->write[1] == HS_BIT(HS_Q));
    assert_true(tap->write[2] == (HS_BIT(HS_Q) | HS_BIT(HS_SCORES)));
    assert_true(tap->write[3] == 0);
    static const uint8_t want[N_LAYER * N_HEAD] = {0, HS_TILE_READ_PATTERN, 0,
                                                   0, HS_TILE_WRITE_SCORES, 0};
    assert_memory_equal(tap->tile_want, want, sizeof want);
    hs_hooks_close(h);
}

static void hooks_fire_in_order_each_kind(void **state) {
    (void)state;
    hs_hooks *h;
    struct logger a = {'a', 0}, b = {'b', 0}, c = {'c', 0}, d = {'d', 0};
    assert_int_equal(hs_hooks_open(&h, &dims), HS_OK);
    assert_int_equal(add(h, &a, "z,pattern", NULL, false), HS_OK);
    assert_int_equal(add(h, &b, "z:1,pattern:1", "L1H1", true), HS_OK);
    assert_int_equal(add(h, &c, "z:1,logits,attn_scores", NULL, false), HS_OK);
    assert_int_equal(add(h, &d, "z:1,pattern", NULL, true), HS_OK);
    const hs_tap *tap = hs_hooks_tap(h);
    assert_string_equal(fired_rows(tap, HS_Z, 1, true), "bd");
    assert_string_equal(fired_rows(tap, HS_Z, 1, false), "ac");
    assert_string_equal(fired_rows(tap, HS_Z, 0, false), "a");
    assert_string_equal(fired_rows(tap, HS_Z, 0, true), "");
    assert_string_equal(fired_rows(tap, HS_LOGITS, -1, false), "c");
    assert_string_equal(fired_rows(tap, HS_V, 1, false), "");
    assert_string_equal(fired_tile(tap, HS_PATTERN, 1, 1, true), "bd");
    assert_string_equal(fired_tile(tap, HS_PATTERN, 1, 0, true), "d");
    assert_string_equal(fired_tile(tap, HS_PATTERN, 1, 0, false), "a");
    assert_string_equal(fired_tile(tap, HS_SCORES, 1, 0, false), "c");
    hs_hooks_close(h);
}

static void a_failing_hook_stops_the_rest(void **state) {
    (void)state;
    hs_hooks *h;
    struct logger a = {'a', 0}, b = {'b', HS_ESTOP}, c = {'c', 0};
    assert_int_equal(hs_hooks_open(&h, &dims), HS_OK);
    assert_int_equal(add(h, &a, "z,pattern", NULL, false), HS_OK);
    assert_int_equal(add(h, &b, "z,pattern", NULL, false), HS_OK);
    assert_int_equal(add(h, &c, "z,pattern", NULL, false), HS_OK);
    const hs_tap *tap = hs_hooks_tap(h);
    hs_site site = {.point = HS_Z};
    hs_tile tile = {.point = HS_PATTERN};
    log_text[0] = 0;
    assert_int_equal(tap->rows(tap->ctx, &site, NULL, false), HS_ESTOP);
    assert_int_equal(tap->tile(tap->ctx, &tile, false, 1), HS_ESTOP);
    assert_string_equal(log_text, "abab");
    hs_hooks_close(h);
}

static void layers_end_for_those_who_ask(void **state) {
    (void)state;
    hs_hooks *h;
    struct logger a = {'a', 0}, b = {'b', HS_ESTOP};
    const uint64_t mask[N_LAYER + 1] = {0};
    assert_int_equal(hs_hooks_open(&h, &dims), HS_OK);
    const hs_hook hooks[] = {{.points = mask, .layer_done = on_layer, .ctx = &a},
                             {.points = mask, .ctx = &a},
                             {.points = mask, .layer_done = on_layer, .ctx = &b}};
    for (int i = 0; i < 3; i++) assert_int_equal(hs_hooks_add(h, &hooks[i]), HS_OK);
    const hs_tap *tap = hs_hooks_tap(h);
    log_text[0] = 0;
    assert_int_equal(tap->layer_done(tap->ctx, 0), HS_ESTOP);
    assert_string_equal(log_text, "ab");
    hs_hooks_close(h);
}

// Surveys are of the heads that a hook names, where it writes the pattern, and of as many rows as the
// most that any hook wants.
static int64_t rows_of(void *ctx, int layer, int seq) {
    const struct logger *l = ctx;
    return layer == 1 ? 10 * l->letter + seq : 0;
}
static int survey(hs_hooks *h, struct logger *l, const char *points, const char *heads) {
    uint64_t mask[N_LAYER + 1] = {0};
    hs_heads set = {0};
    assert_int_equal(hs_points_select(mask, &dims, points), HS_OK);
    assert_int_equal(hs_heads_parse(&set, &dims, heads), HS_OK);
    int rc = hs_hooks_add(h, &(hs_hook){.points = mask,
                                        .write = true,
                                        .rows = on_rows,
                                        .tile = on_tile,
                                        .survey = rows_of,
                                        .surveyed = &set,
                                        .ctx = l});
    hs_heads_free(&set); // the set keeps copies
    return rc;
}

static void surveys_of_some_heads(void **state) {
    (void)state;
    hs_hooks *h;
    struct logger a = {'a', 0}, b = {'b', 0}, c = {'c', 0};
    assert_int_equal(hs_hooks_open(&h, &dims), HS_OK);
    assert_int_equal(survey(h, &b, "pattern:1,attn_scores:2", "L1H1,L2H0"), HS_OK);
    assert_int_equal(survey(h, &a, "pattern:1", "L1H0"), HS_OK);
    assert_int_equal(add(h, &c, "pattern:0", NULL, true), HS_OK);
    const hs_tap *tap = hs_hooks_tap(h);
    const int writes = HS_TILE_WRITE_PATTERN, surveys = writes | HS_TILE_SURVEY;
    const int want[N_LAYER * N_HEAD] = {
        writes,  writes, // c's
        surveys, surveys, HS_TILE_WRITE_SCORES, HS_TILE_WRITE_SCORES};
    for (int i = 0; i < N_LAYER * N_HEAD; i++) assert_int_equal(tap->tile_want[i], want[i]);
    assert_int_equal(tap->survey(tap->ctx, 1, 3), 983); // b's
    assert_int_equal(tap->survey(tap->ctx, 0, 3), 0);
    hs_hooks_close(h);
    assert_int_equal(hs_hooks_open(&h, &dims), HS_OK);
    assert_int_equal(add(h, &c, "pattern:0", NULL, true), HS_OK);
    assert_null(hs_hooks_tap(h)->survey); // nobody asks
    hs_hooks_close(h);
}

static void hooks_that_cannot_work_are_refused(void **state) {
    (void)state;
    hs_hooks *h;
    struct logger a = {'a', 0};
    assert_int_equal(hs_hooks_open(&h, &dims), HS_OK);
    assert_int_equal(add(h, &a, "row_stats", NULL, true), HS_EARG);
    assert_int_equal(add(h, &a, "result:1", NULL, true), HS_EARG);
    assert_int_equal(add(h, &a, "result:1", NULL, false), HS_OK);
    uint64_t mask[N_LAYER + 1] = {[1] = HS_BIT(HS_Z)};
    assert_int_equal(hs_hooks_add(h, &(hs_hook){.points = mask, .tile = on_tile}), HS_EARG);
    mask[1] = HS_BIT(HS_PATTERN);
    assert_int_equal(hs_hooks_add(h, &(hs_hook){.points = mask, .rows = on_rows}), HS_EARG);
    mask[1] = HS_BIT(HS_LOGITS); // a point of the model among those of a layer
    assert_int_equal(hs_hooks_add(h, &(hs_hook){.points = mask, .rows = on_rows}), HS_EARG);
    mask[1] = HS_BIT(HS_N_POINT);
    assert_int_equal(hs_hooks_add(h, &(hs_hook){.points = mask, .rows = on_rows}), HS_EARG);
    mask[1] = HS_BIT(HS_PATTERN);
    uint8_t on[2 * N_LAYER * N_HEAD] = {1};
    const hs_heads ours = {N_LAYER, N_HEAD, on}, others = {2 * N_LAYER, N_HEAD, on};
    const hs_hook surveys[] = {
        {.points = mask, .write = true, .tile = on_tile, .survey = rows_of}, // of no heads
        {.points = mask, .tile = on_tile, .survey = rows_of, .surveyed = &ours},
        {.points = mask, .write = true, .tile = on_tile, .survey = rows_of, .surveyed = &others}};
    for (int i = 0; i < 3; i++) assert_int_equal(hs_hooks_add(h, &surveys[i]), HS_EARG);
    hs_hooks_close(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_hooks_no_tap),
        cmocka_unit_test(masks_say_what_somebody_wants),
        cmocka_unit_test(hooks_fire_in_order_each_kind),
        cmocka_unit_test(a_failing_hook_stops_the_rest),
        cmocka_unit_test(layers_end_for_those_who_ask),
        cmocka_unit_test(surveys_of_some_heads),
        cmocka_unit_test(hooks_that_cannot_work_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
