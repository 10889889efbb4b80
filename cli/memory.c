// The memory of a run; see memory.h. The parts that the model and its backend know they are asked
// for; what is left is estimated here, and tests hold the sum against what a recording takes.
#include "cli/memory.h"

#include "cli/out.h"
#include "model/core/room.h"
#include "model/tap.h"

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// Pages of a table that the rows of n tokens touch. The kernel maps 16 pages about each.
static int64_t table_bytes(const hs_view *v, int64_t n) {
    const int64_t around = 16 * 4096;
    if (!v) return 0;
    const hs_dtype_traits *t = &hs_dtypes[v->dtype];
    return least(hs_view_count(v) / t->items * t->bytes, n * around);
}

// Summaries gathered of a layer, or of all layers while prompts are short; the database's cache and
// what writing it takes. What waits in the writer's queue comes on top where disks are slow.
static int64_t recorder_bytes(const hs_config *c, int64_t n) {
    enum { CACHE = 8 << 20, FIXED = 3 << 20, SERIES_ROWS = 1024, LAYER_ROWS = 256 };
    const int64_t layer = c->n_head * HS_N_STAT * (int64_t)sizeof(float);
    const int64_t stored = c->n_layer * layer * n + c->n_layer * c->n_head * 2048;
    const int64_t gathered = n < LAYER_ROWS ? c->n_layer * n : least(n, SERIES_ROWS);
    return FIXED + 2 * gathered * layer + least(CACHE, stored);
}

hs_footprint hs_footprint_of_recording(const hs_model *m, int64_t n) {
    return (hs_footprint){
        .program = hs_room_held(),
        .weights = hs_model_weight_bytes(m),
        .tables = table_bytes(hs_model_table(m, HS_W_EMBED), n) +
                  table_bytes(hs_model_table(m, HS_W_POS), n),
        .work = hs_context_memory(m, NULL, n, HS_LOGITS_NONE),
        .recorder = recorder_bytes(hs_model_config(m), n),
    };
}

int64_t hs_footprint_sum(const hs_footprint *f) {
    return f->program + f->weights + f->tables + hs_memory_sum(&f->work) + f->recorder;
}

int hs_cli_room_check(const hs_model *m, const hs_context_opts *opts, int64_t n_tokens,
                      enum hs_logits logits) {
    const hs_memory work = hs_context_memory(m, opts, n_tokens, logits);
    const int64_t need = hs_memory_sum(&work), have = hs_room_available();
    char need_text[32], have_text[32];
    if (need <= have) return HS_OK;
    hs_bytes_text(need_text, sizeof need_text, (double)need);
    hs_bytes_text(have_text, sizeof have_text, (double)have);
    return hs_fail(HS_ENOMEM,
                   "%lld tokens at once take %s of memory, %s are available: shorten the prompt",
                   (long long)(opts && opts->kv_capacity ? opts->kv_capacity : n_tokens), need_text,
                   have_text);
}
