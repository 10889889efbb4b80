// Fuzz target: everything that users write in one word. The first byte picks the parser, the rest is
// the text: selections of points and heads, positions, ranges, observer lists.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/observer.h"

enum { N_LAYER = 5, N_HEAD = 3 };

static const hs_dims dims = {
    .n_layer = N_LAYER,
    .n_head = N_HEAD,
    .n_kv_head = 1,
    .d_model = 6,
    .d_head = 2,
    .n_vocab = 10,
    .points = (HS_BIT(HS_N_POINT) - 1) & ~HS_BIT(HS_POS_EMBED),
};

static void need(int ok) {
    if (!ok) abort();
}

static void points(const char *text) {
    uint64_t mask[N_LAYER + 1] = {0}, any = 0;
    int rc = hs_points_select(mask, &dims, text);
    for (int l = 0; l <= N_LAYER; l++) {
        need(!(mask[l] & ~dims.points));
        any |= mask[l];
    }
    need(rc || any);
    enum hs_point point;
    int layer;
    if (hs_point_find(text, &point, &layer)) return;
    need(point < HS_N_POINT && (hs_point_infos[point].scope == HS_SCOPE_MODEL) == (layer < 0));
}

static void heads(const char *text) {
    hs_heads set;
    if (hs_heads_parse(&set, &dims, text)) return;
    need(hs_heads_count(&set) <= N_LAYER * N_HEAD);
    hs_heads_free(&set);
}

static void positions(const char *text) {
    int64_t from = 0, to = 0;
    if (!hs_pos_parse(&from, 7, text)) need(from >= 0 && from < 7);
    if (!hs_range_parse(&from, &to, 7, text)) need(0 <= from && from <= to && to <= 7);
}

static void observers(const char *text) {
    hs_observe_list list;
    if (hs_observe_parse(&list, &text, 1, true)) return;
    need(list.n >= 1);
    for (int i = 0; i < list.n; i++) {
        hs_buf json = {0};
        hs_args_json(&list.item[i].args, &json);
        hs_buf_free(&json);
    }
    hs_observe_free(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const parsers[])(const char *) = {points, heads, positions, observers};
    if (!size || size > 256) return 0;
    char *text = malloc(size);
    if (!text) return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = 0;
    parsers[data[0] % 4](text);
    free(text);
    return 0;
}
