// BertViz (Vig 2019): the arguments of its head_view and model_view for one prompt.
//   attention       a list a layer of [1, n_head, T, T]
//   tokens          T strings
//   include_layers  the layers that are there
//   heads           the heads that are there
// Numbers are true ones: BertViz calls layers and heads by their place in `attention`, so a layer
// that was not chosen is [1, n_head, 1, 1] of zeros (include_layers leaves it out), and a head of a
// chosen layer that was not is a square of zeros, which draws nothing.
#include "db/export_internal.h"

typedef struct job {
    hs_export *e;
    hs_text out;
    hs_heads stored;
    int64_t n_token;
} job;

static bool in_layer(const job *j, int layer) {
    for (int h = 0; h < j->stored.n_head; h++)
        if (hs_heads_has(&j->stored, layer, h)) return true;
    return false;
}

static bool in_some_layer(const job *j, int head) {
    for (int l = 0; l < j->stored.n_layer; l++)
        if (hs_heads_has(&j->stored, l, head)) return true;
    return false;
}

static int put_zeros(job *j, int64_t n) {
    hs_jw *w = &j->out.json;
    int rc = HS_OK;
    hs_jw_begin(w, '[');
    for (int64_t i = 0; i < n && !rc; i++) {
        hs_jw_begin(w, '[');
        for (int64_t k = 0; k < n; k++) hs_jw_raw(w, "0");
        hs_jw_end(w, ']');
        rc = hs_text_flush(&j->out);
    }
    hs_jw_end(w, ']');
    return rc;
}

static int put_head(job *j, int64_t prompt, int layer, int head) {
    hs_export_map m;
    bool found = false;
    if (!hs_heads_has(&j->stored, layer, head))
        return put_zeros(j, in_layer(j, layer) ? j->n_token : 1);
    int rc = hs_export_map_open(&m, j->e, prompt, layer, head, &found);
    if (rc || !found) return rc;
    rc = hs_export_square(&m, j->e, &j->out);
    hs_export_map_close(&m);
    return rc;
}

static int put_attention(job *j, int64_t prompt) {
    hs_jw *w = &j->out.json;
    int rc = HS_OK;
    hs_jw_key(w, "attention");
    hs_jw_begin(w, '[');
    for (int l = 0; l < j->stored.n_layer && !rc; l++) {
        rc = hs_export_step(j->e);
        hs_jw_begin(w, '[');
        hs_jw_begin(w, '[');
        for (int h = 0; h < j->stored.n_head && !rc; h++) rc = put_head(j, prompt, l, h);
        hs_jw_end(w, ']');
        hs_jw_end(w, ']');
    }
    hs_jw_end(w, ']');
    return rc;
}

static void put_numbers(job *j, const char *key, int n, bool (*has)(const job *, int)) {
    hs_jw *w = &j->out.json;
    hs_jw_key(w, key);
    hs_jw_begin(w, '[');
    for (int i = 0; i < n; i++)
        if (has(j, i)) hs_jw_int(w, i);
    hs_jw_end(w, ']');
}

static int put_prompt(void *ctx, const hs_export_prompt *p) {
    job *j = ctx;
    hs_jw *w = &j->out.json;
    int rc = hs_export_stored(j->e, p->id, &j->stored, &j->n_token);
    if (rc) return rc;
    hs_jw_begin(w, '{');
    hs_jw_key(w, "tokens");
    rc = hs_export_labels(j->e, &j->out, p->id, j->n_token);
    put_numbers(j, "include_layers", j->stored.n_layer, in_layer);
    put_numbers(j, "heads", j->stored.n_head, in_some_layer);
    if (!rc) rc = put_attention(j, p->id);
    hs_jw_end(w, '}');
    hs_buf_chr(&j->out.text, '\n');
    hs_heads_free(&j->stored);
    return rc;
}

static int write_bertviz(hs_export *e) {
    job j = {.e = e};
    return hs_text_of_prompts(e, &j.out, put_prompt, &j);
}

const hs_export_format hs_export_bertviz = {
    .name = "bertviz",
    .ending = ".json",
    .title = "one prompt's maps for BertViz: head_view, model_view",
    .what = HS_EXPORT_MAPS,
    .fallback = HS_EXPORT_MAPS,
    .one_prompt = true,
    .by_head = true,
    .write = write_bertviz,
};
