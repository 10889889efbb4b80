// JSON: one object with the run and its prompts, each with the tables that were asked for:
//   heads   [{layer, head, name, metric, value, reason}, ...]
//   stats   [{layer, head, name, entropy: [T], max: [T], ...}, ...]
//   maps    [{layer, head, name, weight: [T][T]}, ...], whole rows
//   tokens  [{pos, token_id, token, byte_from, byte_to, decoded}, ...]
// It is written as it is read, so it may be larger than memory.
#include <stdio.h>
#include <stdlib.h>

#include "db/export_internal.h"
#include "model/core/mem.h"

typedef struct job {
    hs_export *e;
    hs_text out;
} job;

static void begin_head(hs_jw *w, int layer, int head) {
    char name[32];
    snprintf(name, sizeof name, "L%dH%d", layer, head);
    hs_jw_begin(w, '{');
    hs_jw_key(w, "layer");
    hs_jw_int(w, layer);
    hs_jw_key(w, "head");
    hs_jw_int(w, head);
    hs_jw_key(w, "name");
    hs_jw_str(w, name);
}

// ---- stats --------------------------------------------------------------------------------------

static int put_stat(job *j, int64_t prompt, int layer, int head, int stat, int64_t n_row) {
    enum { PIECE = 1024 };
    float v[PIECE];
    hs_jw *w = &j->out.json;
    int rc = HS_OK;
    hs_jw_key(w, hs_stat_infos[stat].name);
    hs_jw_begin(w, '[');
    for (int64_t at = 0; at < n_row && !rc; at += PIECE) {
        int64_t n = n_row - at < PIECE ? n_row - at : PIECE;
        rc = hs_read_stat(j->e->db, prompt, layer, head, stat, at, n, v);
        for (int64_t i = 0; i < n && !rc; i++) hs_jw_f32(w, v[i]);
        if (!rc) rc = hs_text_flush(&j->out);
    }
    hs_jw_end(w, ']');
    j->e->n_row += n_row;
    return rc;
}

static int put_stats(job *j, int64_t prompt) {
    const hs_export *e = j->e;
    hs_jw *w = &j->out.json;
    int64_t n_row;
    int rc = hs_read_rows(e->db, prompt, &n_row);
    hs_jw_begin(w, '[');
    for (int l = 0; l < e->dims.n_layer && !rc; l++) {
        rc = hs_export_step(j->e);
        for (int h = 0; h < e->dims.n_head && !rc && n_row; h++) {
            if (!hs_heads_has(&e->heads, l, h)) continue;
            begin_head(w, l, h);
            for (int k = 0; k < HS_N_STAT && !rc; k++) rc = put_stat(j, prompt, l, h, k, n_row);
            hs_jw_end(w, '}');
        }
    }
    hs_jw_end(w, ']');
    return rc;
}

// ---- maps ---------------------------------------------------------------------------------------

static int put_map(job *j, int64_t prompt, int layer, int head) {
    hs_export_map m;
    bool found;
    int rc = hs_export_map_open(&m, j->e, prompt, layer, head, &found);
    if (rc || !found) return rc;
    begin_head(&j->out.json, layer, head);
    hs_jw_key(&j->out.json, "weight");
    rc = hs_export_square(&m, j->e, &j->out);
    hs_jw_end(&j->out.json, '}');
    hs_export_map_close(&m);
    return rc;
}

static int put_maps(job *j, int64_t prompt) {
    const hs_export *e = j->e;
    int rc = HS_OK;
    hs_jw_begin(&j->out.json, '[');
    for (int l = 0; l < e->dims.n_layer && !rc; l++) {
        rc = hs_export_step(j->e);
        for (int h = 0; h < e->dims.n_head && !rc; h++)
            if (hs_heads_has(&e->heads, l, h)) rc = put_map(j, prompt, l, h);
    }
    hs_jw_end(&j->out.json, ']');
    return rc;
}

// ---- the file -----------------------------------------------------------------------------------

static int put_tokens(job *j, int64_t prompt) {
    return hs_text_json(j->e, &j->out, hs_sql_tokens, prompt);
}

static int put_heads(job *j, int64_t prompt) {
    return hs_text_json(j->e, &j->out, hs_sql_heads, prompt);
}

static int put_prompt(void *ctx, const hs_export_prompt *p) {
    static const struct {
        unsigned bit;
        const char *key;
        int (*put)(job *, int64_t prompt);
    } parts[] = {{HS_EXPORT_TOKENS, "tokens", put_tokens},
                 {HS_EXPORT_HEADS, "heads", put_heads},
                 {HS_EXPORT_STATS, "stats", put_stats},
                 {HS_EXPORT_MAPS, "maps", put_maps}};
    job *j = ctx;
    hs_jw *w = &j->out.json;
    int rc = HS_OK;
    hs_jw_begin(w, '{');
    hs_jw_key(w, "prompt");
    hs_jw_int(w, p->ord);
    hs_jw_key(w, "id");
    hs_jw_str(w, p->label);
    hs_jw_key(w, "text");
    if (p->text)
        hs_jw_str(w, p->text);
    else
        hs_jw_null(w);
    for (size_t i = 0; i < sizeof parts / sizeof *parts && !rc; i++) {
        if (!(j->e->opts.what & parts[i].bit)) continue;
        hs_jw_key(w, parts[i].key);
        rc = parts[i].put(j, p->id);
    }
    hs_jw_end(w, '}');
    return rc ? rc : hs_text_flush(&j->out);
}

static int write_json(hs_export *e) {
    job j = {.e = e};
    int rc = hs_text_open(&j.out, e->path);
    hs_jw *w = &j.out.json;
    if (!rc) {
        hs_jw_begin(w, '{');
        rc = hs_text_run(&j.out, e->db, e->opts.run);
        hs_jw_key(w, "prompts");
        hs_jw_begin(w, '[');
    }
    if (!rc) rc = hs_export_prompts(e, put_prompt, &j);
    if (!rc && !e->n_row) rc = hs_export_nothing(e);
    if (!rc) {
        hs_jw_end(w, ']');
        hs_jw_end(w, '}');
        hs_buf_chr(&j.out.text, '\n');
        rc = hs_text_commit(&j.out);
    }
    hs_text_close(&j.out);
    return rc;
}

const hs_export_format hs_export_json = {
    .name = "json",
    .ending = ".json",
    .title = "one object: the run, its prompts and their tables",
    .what = HS_EXPORT_HEADS | HS_EXPORT_STATS | HS_EXPORT_MAPS | HS_EXPORT_TOKENS,
    .fallback = HS_EXPORT_HEADS,
    .by_head = true,
    .write = write_json,
};
