// CSV for data frames: one table in long form, one row an observation. Columns:
//   heads   run, prompt, id, layer, head, name, metric, value, reason
//   stats   run, prompt, id, layer, head, name, pos, then one column a row statistic
//   maps    run, prompt, id, layer, head, name, query, key, weight: the keys that a query sees
//   tokens  run, prompt, id, pos, token_id, token, byte_from, byte_to, decoded
// prompt is the 0-based number, id the prompt's name. A value that is not defined is empty, with a
// reason beside it.
#include <stdlib.h>

#include "db/export_internal.h"
#include "model/core/mem.h"

typedef struct job {
    hs_export *e;
    hs_text out;
    hs_buf keys; // how the lines of the head in work begin
} job;

// "run,prompt,id,layer,head,name".
static void set_keys(job *j, const hs_export_prompt *p, int layer, int head) {
    hs_buf_clear(&j->keys);
    hs_text_keys(&j->keys, j->e, p);
    hs_buf_printf(&j->keys, ",%d,%d,L%dH%d", layer, head, layer, head);
    if (hs_buf_rc(&j->keys)) j->out.text.rc = hs_buf_rc(&j->keys);
}

static void put_keys(job *j) {
    hs_buf_add(&j->out.text, j->keys.data, j->keys.len);
}

// ---- stats --------------------------------------------------------------------------------------

enum { PIECE = 1024 }; // rows at once

static void stat_header(hs_text *t) {
    hs_buf *out = &t->text;
    if (t->headed) return;
    t->headed = true;
    hs_buf_str(out, "run,prompt,id,layer,head,name,pos");
    for (int k = 0; k < HS_N_STAT; k++) hs_buf_printf(out, ",%s", hs_stat_infos[k].name);
    hs_buf_chr(out, '\n');
}

// v: [HS_N_STAT][n].
static int stat_rows(job *j, int64_t at, int64_t n, const float *v) {
    int rc = HS_OK;
    for (int64_t i = 0; i < n && !rc; i++) {
        put_keys(j);
        hs_buf_printf(&j->out.text, ",%lld", (long long)(at + i));
        for (int k = 0; k < HS_N_STAT; k++) {
            hs_buf_chr(&j->out.text, ',');
            hs_text_f32(&j->out.text, v[k * n + i], "");
        }
        hs_buf_chr(&j->out.text, '\n');
        j->e->n_row++;
        rc = hs_text_flush(&j->out);
    }
    return rc;
}

static int stats_of(job *j, const hs_export_prompt *p, int layer, int head, int64_t n_row,
                    float *v) {
    int rc = HS_OK;
    set_keys(j, p, layer, head);
    for (int64_t at = 0; at < n_row && !rc; at += PIECE) {
        int64_t n = n_row - at < PIECE ? n_row - at : PIECE;
        for (int k = 0; k < HS_N_STAT && !rc; k++)
            rc = hs_read_stat(j->e->db, p->id, layer, head, k, at, n, v + k * n);
        if (!rc) rc = stat_rows(j, at, n, v);
    }
    return rc;
}

static int put_stats(job *j, const hs_export_prompt *p) {
    const hs_export *e = j->e;
    float *v = NULL;
    int64_t n_row;
    int rc = hs_read_rows(e->db, p->id, &n_row);
    if (!rc) rc = hs_alloc(&v, (size_t)HS_N_STAT * PIECE, sizeof *v);
    stat_header(&j->out);
    for (int l = 0; l < e->dims.n_layer && !rc; l++) {
        rc = hs_export_step(j->e);
        for (int h = 0; h < e->dims.n_head && !rc; h++)
            if (hs_heads_has(&e->heads, l, h)) rc = stats_of(j, p, l, h, n_row, v);
    }
    free(v);
    return rc;
}

// ---- maps ---------------------------------------------------------------------------------------

static int map_rows(job *j, hs_export_map *m) {
    int rc = HS_OK;
    for (int64_t i = 0; i < m->reader.n_row && !rc; i++) {
        int64_t n = 0;
        rc = hs_reader_row(&m->reader, i, m->row, &n);
        for (int64_t k = 0; k < n && !rc; k++) {
            put_keys(j);
            hs_buf_printf(&j->out.text, ",%lld,%lld,", (long long)i, (long long)k);
            hs_text_f32(&j->out.text, m->row[k], "");
            hs_buf_chr(&j->out.text, '\n');
            rc = hs_text_flush(&j->out);
        }
        j->e->n_row += n;
    }
    return rc;
}

static int put_maps(job *j, const hs_export_prompt *p) {
    hs_export *e = j->e;
    int rc = HS_OK;
    if (!j->out.headed)
        hs_buf_str(&j->out.text, "run,prompt,id,layer,head,name,query,key,weight\n");
    j->out.headed = true;
    for (int l = 0; l < e->dims.n_layer && !rc; l++) {
        rc = hs_export_step(e);
        for (int h = 0; h < e->dims.n_head && !rc; h++) {
            hs_export_map m;
            bool found;
            if (!hs_heads_has(&e->heads, l, h)) continue;
            rc = hs_export_map_open(&m, e, p->id, l, h, &found);
            if (rc || !found) continue;
            set_keys(j, p, l, h);
            rc = map_rows(j, &m);
            hs_export_map_close(&m);
        }
    }
    return rc;
}

// ---- the file -----------------------------------------------------------------------------------

static int put_prompt(void *ctx, const hs_export_prompt *p) {
    job *j = ctx;
    switch (j->e->opts.what) {
    case HS_EXPORT_STATS:
        return put_stats(j, p);
    case HS_EXPORT_MAPS:
        return put_maps(j, p);
    case HS_EXPORT_TOKENS:
        return hs_text_csv(j->e, &j->out, hs_sql_tokens, p->id);
    default:
        return hs_text_csv(j->e, &j->out, hs_sql_heads, p->id);
    }
}

static int write_csv(hs_export *e) {
    job j = {.e = e};
    int rc = hs_text_of_prompts(e, &j.out, put_prompt, &j);
    hs_buf_free(&j.keys);
    return rc;
}

const hs_export_format hs_export_csv = {
    .name = "csv",
    .ending = ".csv",
    .title = "one table in long form, for pandas or R",
    .what = HS_EXPORT_HEADS | HS_EXPORT_STATS | HS_EXPORT_MAPS | HS_EXPORT_TOKENS,
    .fallback = HS_EXPORT_HEADS,
    .one_table = true,
    .by_head = true,
    .write = write_csv,
};
