// mask: heads see some of their keys.
//
//     sink_recent  keys j < s and the last w, i - j < w (StreamingLLM; Duo's streaming heads)
//     topk         the k largest scores of the row, of equal ones the lower keys
//     keys         the positions keys=; the row's own only when it is among them
//
// All others get a score of -inf before the softmax, so that those kept share the weight anew. A row
// that keeps no key attends to nothing: z = 0.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/intervention.h"
#include "model/core/mem.h"

enum word { SINK_RECENT, TOPK, KEYS };
static const char *const words[] = {"sink_recent", "topk", "keys"};
#define WORDS "sink_recent|topk|keys"

struct mask {
    enum word word;
    int64_t s, w, k;
};

static int open_mask(void **state, const hs_edit_setup *setup, uint64_t *points,
                     hs_ref_need *need) {
    struct mask *m;
    (void)need;
    int rc = hs_alloc(&m, 1, sizeof *m);
    if (rc) return rc;
    *state = m;
    while (strcmp(words[m->word], setup->word)) m->word++;
    m->s = hs_args_int(setup->args, "s");
    m->w = hs_args_int(setup->args, "w");
    m->k = hs_args_int(setup->args, "k");
    if (m->word == KEYS && !strcmp(hs_args_text(setup->args, "keys"), "all"))
        return hs_fail(HS_EARG, "say which keys are kept: mask:keys,keys=0:4+10");
    for (int l = 0; l < setup->dims->n_layer; l++)
        for (int h = 0; h < setup->dims->n_head; h++)
            if (hs_heads_has(setup->heads, l, h)) points[l] |= HS_BIT(HS_SCORES);
    return HS_OK;
}

// ---- top k --------------------------------------------------------------------------------------

// The number at place k when a[0 .. n) is sorted from the largest on (Hoare's selection). Ends for
// any numbers, NaN among them.
static float select_largest(float *a, int64_t n, int64_t k) {
    int64_t lo = 0, hi = n - 1;
    while (lo < hi) {
        const float pivot = a[lo + (hi - lo) / 2];
        int64_t i = lo, j = hi;
        while (i <= j) {
            while (a[i] > pivot) i++;
            while (a[j] < pivot) j--;
            if (i > j) break;
            const float x = a[i];
            a[i++] = a[j];
            a[j--] = x;
        }
        if (k <= j)
            hi = j;
        else if (k >= i)
            lo = i;
        else
            break;
    }
    return a[k];
}

static int keep_topk(const hs_edit_at *at, float *row, int64_t n, int64_t k) {
    float *sorted;
    if (n <= k) return HS_OK;
    int rc = hs_edit_scratch(at, n, &sorted);
    if (rc) return rc;
    memcpy(sorted, row, (size_t)n * sizeof *sorted);
    const float least = select_largest(sorted, n, k - 1);
    int64_t equal = k; // of those equal to the least, how many are kept
    for (int64_t j = 0; j < n; j++) equal -= row[j] > least;
    for (int64_t j = 0; j < n; j++)
        if (row[j] < least || (row[j] == least && equal-- <= 0)) row[j] = -INFINITY;
    return HS_OK;
}

// ---- rows ---------------------------------------------------------------------------------------

static void keep_sink_recent(float *row, int64_t pos, int64_t s, int64_t w) {
    for (int64_t k = s; k <= pos - w; k++) row[k] = -INFINITY;
}

static void keep_keys(const hs_edit_at *at, float *row, int64_t pos) {
    for (int64_t k = 0; k <= pos; k++)
        if (!hs_edit_in_place(at, 0, k)) row[k] = -INFINITY;
}

static int mask_tile(void *state, const hs_edit_at *at, const hs_tile *tile) {
    const struct mask *m = state;
    int rc = HS_OK;
    for (int64_t r = 0; r < tile->n_row && !rc; r++) {
        const int64_t pos = tile->row0 + r;
        float *row = tile->row + r * tile->ld;
        if (!hs_edit_row(at, pos)) continue;
        if (m->word == SINK_RECENT) keep_sink_recent(row, pos, m->s, m->w);
        if (m->word == TOPK) rc = keep_topk(at, row, pos + 1, m->k);
        if (m->word == KEYS) keep_keys(at, row, pos);
    }
    return rc;
}

const hs_intervention hs_iv_mask = {
    .name = "mask",
    .title = "has heads see some of their keys only",
    .about = "mask:sink_recent keeps the first s keys and the last w, the row's own included; "
             "mask:topk the k keys with the largest scores; mask:keys the positions keys=. The "
             "others' scores become -inf at hook_attn_scores, so that those kept share the weight "
             "anew. A row that keeps no key attends to nothing.",
    .reference = "Xiao et al., Efficient Streaming Language Models with Attention Sinks, ICLR "
                 "2024; Gupta et al., Memory-efficient Transformers via Top-k Attention, 2021",
    .example = "mask:sink_recent,s=4,w=64",
    .target = HS_TARGET_WORD,
    .choices = WORDS,
    .params =
        (const hs_param[]){
            {"s", HS_PARAM_INT, "4", 0, 1e9, NULL, "keys", "sink_recent: the first that are kept"},
            {"w", HS_PARAM_INT, "64", 0, 1e9, NULL, "keys",
             "sink_recent: the last that are kept, the row's own among them"},
            {"k", HS_PARAM_INT, "64", 1, 1e9, NULL, "keys", "topk: how many are kept"},
            {"keys", HS_PARAM_TEXT, "all", 0, 0, NULL, "positions", "keys: those that are kept"},
            {0}},
    .places = (const hs_edit_place[]){{"keys", false}, {0}},
    .only = (const hs_edit_only[]){{"s", NULL, "sink_recent"},
                                   {"w", NULL, "sink_recent"},
                                   {"k", NULL, "topk"},
                                   {"keys", NULL, "keys"},
                                   {0}},
    .open = open_mask,
    .close = free,
    .tile = mask_tile,
};
