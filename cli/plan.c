// What a recording keeps; see plan.h.
#include "cli/plan.h"

#include <inttypes.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "cli/out.h"
#include "model/core/hash.h"
#include "model/core/mem.h"

// Patterns asked for as activations are the maps of all heads of their layers.
static void add_patterns(hs_plan *plan) {
    for (int l = 0; l < plan->dims.n_layer; l++)
        if (plan->acts[l] & HS_BIT(HS_PATTERN))
            memset(plan->maps.on + l * plan->dims.n_head, 1, (size_t)plan->dims.n_head);
}

static void find_first_map(hs_plan *plan) {
    for (int l = 0; l < plan->dims.n_layer; l++)
        for (int h = 0; h < plan->dims.n_head; h++)
            if (hs_heads_has(&plan->maps, l, h)) {
                hs_head_name(plan->first_map, l, h);
                return;
            }
}

// Whether the recorder or an observer reads the logits of all rows.
static int find_logits(hs_plan *plan) {
    size_t n_set = (size_t)plan->dims.n_layer + 1;
    uint64_t *mask;
    int rc = hs_alloc(&mask, n_set, sizeof *mask);
    if (rc) return rc;
    hs_observe_points(&plan->observe, &plan->dims, mask);
    plan->all_logits = (mask[n_set - 1] | plan->acts[n_set - 1]) & HS_BIT(HS_LOGITS);
    free(mask);
    return HS_OK;
}

int hs_plan_open(hs_plan *plan, const hs_plan_request *ask, const hs_model *model) {
    *plan = (hs_plan){.ask = *ask, .dims = hs_dims_of(model)};
    int rc = hs_observe_parse(&plan->observe, ask->observe.at, ask->observe.n, true);
    if (!rc)
        rc = hs_prefix(hs_heads_parse(&plan->maps, &plan->dims, ask->maps ? ask->maps : "none"),
                       "--maps");
    if (!rc) rc = hs_alloc(&plan->acts, (size_t)plan->dims.n_layer + 1, sizeof *plan->acts);
    if (!rc && ask->acts)
        rc = hs_prefix(hs_points_select(plan->acts, &plan->dims, ask->acts), "--acts");
    if (!rc) rc = find_logits(plan);
    if (rc) return rc;
    add_patterns(plan);
    plan->n_map = hs_heads_count(&plan->maps);
    find_first_map(plan);
    return HS_OK;
}

void hs_plan_close(hs_plan *plan) {
    hs_observe_free(&plan->observe);
    hs_heads_free(&plan->maps);
    free(plan->acts);
    *plan = (hs_plan){0};
}

// ---- what decides the results ---------------------------------------------------------------

static uint64_t prompts_hash(const hs_prompts *prompts) {
    uint64_t h = HS_FNV_SEED;
    for (int64_t i = 0; i < hs_prompts_count(prompts); i++) {
        const hs_prompt *p = hs_prompts_at(prompts, i);
        int64_t facts[] = {p->n_token, p->bos_len, p->period};
        h = hs_fnv(h, p->id, strlen(p->id) + 1);
        h = hs_fnv(h, facts, sizeof facts);
        h = hs_fnv(h, p->tokens, (size_t)p->n_token * sizeof *p->tokens);
        if (p->text) h = hs_fnv(h, p->text, (size_t)p->text_len);
        if (p->extra) h = hs_fnv(h, p->extra, strlen(p->extra));
    }
    return h;
}

static void key_hex(hs_jw *w, const char *key, uint64_t v) {
    char hex[24];
    snprintf(hex, sizeof hex, "%016" PRIx64, v);
    hs_jw_key_str(w, key, hex);
}

void hs_subject_json(hs_jw *w, const hs_model *model, const hs_prompts *prompts) {
    key_hex(w, "model", hs_ckpt_fingerprint(hs_model_ckpt(model)));
    key_hex(w, "prompts", prompts_hash(prompts));
    hs_jw_key_int(w, "n_prompt", hs_prompts_count(prompts));
    hs_jw_key_str(w, "bos", hs_bos_names[hs_prompts_bos(prompts)]);
    hs_jw_key_int(w, "n_ctx", hs_cli_n_ctx(model));
    hs_jw_key_str(w, "isa", hs_model_backend(model)->isa(hs_model_dev(model)));
    hs_jw_key_str(w, "precision", hs_precision_names[hs_model_precision(model)]);
}

void hs_span_json(hs_jw *w, const hs_opt_list *span) {
    hs_jw_key(w, "span");
    hs_jw_begin(w, '[');
    for (int i = 0; i < span->n; i++) hs_jw_str(w, span->at[i]);
    hs_jw_end(w, ']');
}

void hs_units_json(hs_jw *w, const hs_units *units) {
    uint64_t hash = HS_FNV_SEED;
    char name[HS_UNIT_NAME], hex[24];
    for (int64_t i = 0; i < units->n; i++) {
        hs_unit_name(name, &units->at[i]);
        hash = hs_fnv(hash, name, strlen(name) + 1);
    }
    snprintf(hex, sizeof hex, "%016" PRIx64, hash);
    hs_jw_key_str(w, "kind", hs_unit_kinds[units->at[0].kind]);
    hs_jw_key_int(w, "n_unit", units->n);
    hs_jw_key_str(w, "units", hex);
}

void hs_plan_json(hs_buf *out, const hs_plan *plan, const hs_model *model,
                  const hs_prompts *prompts, const hs_do *edits) {
    static const char *const store[] = {"f32", "f16", "u8"};
    hs_jw w = {out, false};
    hs_jw_begin(&w, '{');
    hs_subject_json(&w, model, prompts);
    hs_jw_key_str(&w, "maps", plan->ask.maps ? plan->ask.maps : "none");
    hs_jw_key_str(&w, "acts", plan->ask.acts ? plan->ask.acts : "");
    hs_jw_key_str(&w, "store", store[plan->ask.store]);
    hs_jw_key_int(&w, "generate", plan->ask.generate);
    hs_jw_key_int(&w, "seed", plan->ask.seed);
    hs_span_json(&w, &plan->ask.span);
    hs_jw_key(&w, "observe");
    hs_jw_begin(&w, '[');
    for (int i = 0; i < plan->observe.n; i++) {
        hs_buf args = {0};
        hs_args_json(&plan->observe.item[i].args, &args);
        hs_jw_begin(&w, '{');
        hs_jw_key_str(&w, "name", plan->observe.item[i].observer->name);
        hs_jw_key(&w, "params");
        hs_jw_buf(&w, &args);
        hs_jw_end(&w, '}');
        hs_buf_free(&args);
    }
    hs_jw_end(&w, ']');
    hs_do_json(&w, edits);
    hs_jw_end(&w, '}');
}

void hs_argv_json(hs_buf *out, const hs_call *call) {
    hs_jw w = {out, false};
    hs_jw_begin(&w, '[');
    for (int i = 0; i < call->argc; i++) hs_jw_str(&w, call->argv[i]);
    hs_jw_end(&w, ']');
}

// ---- room -----------------------------------------------------------------------------------

// Bytes of maps and activations before compression, for a prompt of n rows.
static double prompt_bytes(const hs_plan *plan, double n) {
    static const double size[] = {4, 2, 1};
    const double item = size[plan->ask.store], visible = n * (n + 1) / 2;
    double bytes = (double)plan->n_map * visible * item;
    for (int l = 0; l <= plan->dims.n_layer; l++)
        for (int p = 0; p < HS_N_POINT; p++) {
            if (!(plan->acts[l] & HS_BIT(p)) || p == HS_PATTERN) continue; // among the maps
            if (p == HS_SCORES) { // never bytes: they have no range
                bytes += plan->dims.n_head * visible * (item < 2 ? 2 : item);
                continue;
            }
            int64_t shape[4];
            double width = 1;
            int ndim = hs_point_shape(&plan->dims, (enum hs_point)p, 1, shape);
            for (int a = 0; a < ndim; a++) width *= (double)shape[a];
            bytes += width * n * item;
        }
    return bytes;
}

static double free_bytes(const char *path) {
    char *copy = strdup(path);
    struct statvfs fs;
    bool known = copy && statvfs(dirname(copy), &fs) == 0;
    free(copy);
    return known ? (double)fs.f_bavail * (double)fs.f_frsize : -1;
}

int hs_plan_room(const hs_plan *plan, const hs_call *call, const hs_prompts *prompts,
                 const char *db_path) {
    const double worth_a_word = 1e9;
    double need = 0;
    for (int64_t i = 0; i < hs_prompts_count(prompts); i++)
        need += prompt_bytes(plan,
                             (double)(hs_prompts_at(prompts, i)->n_token + plan->ask.generate));
    if (need < worth_a_word) return HS_OK;
    double have = free_bytes(db_path);
    char need_text[32], have_text[32];
    hs_bytes_text(need_text, sizeof need_text, need);
    hs_bytes_text(have_text, sizeof have_text, have);
    // Bytes of 8-bit maps mostly compress to a few; the others hardly do.
    double least = plan->ask.store == HS_STORE_U8 ? need / 8 : need / 2;
    if (have >= 0 && least > have)
        return hs_fail(HS_EIO,
                       "maps and activations take up to %s and %s has %s free: choose fewer with "
                       "--maps or --acts, or --store f16",
                       need_text, db_path, have_text);
    hs_note(call, "maps and activations take up to %s", need_text);
    return HS_OK;
}
