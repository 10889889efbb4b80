// The formats of named arrays, npz and safetensors: pN/HOOK, without a batch axis. First a list of
// what there is, with shapes; then every entry streams row by row through the checked readers: at
// most one chunk, one row, and the list are in memory.
#include <inttypes.h>
#include <stdlib.h>

#include "db/export_internal.h"
#include "db/pack_internal.h"
#include "model/core/mem.h"

enum kind { TOKENS, STATS, MAPS, ONE_MAP, ACT };

// Where the numbers of an entry come from.
typedef struct source {
    enum kind kind;
    int64_t prompt;
    int layer, head, stat;
    enum hs_point point;
    char *name; // of the entry; owned
} source;

typedef struct job {
    hs_export *e;
    hs_db *db;
    hs_dims dims;
    unsigned what;
    bool tokens;          // the list is at the tokens
    hs_pack_entry *entry; // [n]
    source *source;
    size_t n;
    hs_pack *pack;
} job;

// ---- what there is -----------------------------------------------------------------------------

// Adds pN/NAME.
static int add(job *j, source src, int64_t ord, const char *name, hs_dtype dtype, int ndim,
               const int64_t *shape) {
    hs_buf full = {0};
    int rc = hs_grow(&j->entry, j->n + 1, sizeof *j->entry);
    if (!rc) rc = hs_grow(&j->source, j->n + 1, sizeof *j->source);
    if (rc) return rc;
    hs_pack_entry e = {.dtype = dtype, .ndim = ndim};
    int64_t rows = 1;
    for (int d = 0; d < ndim; d++) e.shape[d] = shape[d];
    for (int d = 0; d < ndim - 1; d++)
        if (__builtin_mul_overflow(rows, shape[d], &rows)) rows = INT64_MAX;
    rc = hs_read_justified(j->db, rows, shape[ndim - 1]);
    hs_buf_printf(&full, "p%" PRId64 "/%s", ord, name);
    if (!rc) rc = hs_buf_rc(&full);
    if (rc) {
        hs_buf_free(&full);
        return rc;
    }
    e.name = src.name = full.data;
    j->entry[j->n] = e;
    j->source[j->n++] = src;
    return HS_OK;
}

static int add_tokens(job *j, int64_t prompt, int64_t ord) {
    int64_t n = 0;
    hs_v v = hs_v_int(prompt);
    int rc = hs_sql_int(j->db, "SELECT count(*) FROM token WHERE prompt_id = ?", &v, 1, &n, NULL);
    if (rc || !n) return rc;
    return add(j, (source){.kind = TOKENS, .prompt = prompt}, ord, "tokens", HS_I64, 1, &n);
}

static int add_stats(job *j, int64_t prompt, int64_t ord, int layer) {
    int64_t n;
    hs_buf name = {0};
    int rc = hs_read_rows(j->db, prompt, &n);
    int64_t shape[2] = {j->dims.n_head, n};
    for (int k = 0; k < HS_N_STAT && !rc && n; k++) {
        hs_buf_clear(&name);
        hs_point_name(&name, HS_ROW_STATS, layer);
        hs_buf_printf(&name, ".%s", hs_stat_infos[k].name);
        rc = hs_buf_rc(&name);
        if (!rc)
            rc = add(j, (source){.kind = STATS, .prompt = prompt, .layer = layer, .stat = k}, ord,
                     hs_buf_text(&name), HS_F32, 2, shape);
    }
    hs_buf_free(&name);
    return rc;
}

// All maps of a point as one entry when every head is there in the same size, else one by one.
static int add_maps(job *j, int64_t prompt, int64_t ord, enum hs_point point, int layer) {
    int64_t shape[3] = {j->dims.n_head, 0, 0};
    hs_reader r = {0};
    hs_buf name = {0};
    bool all = true;
    int rc = HS_OK;
    for (int pass = 0; pass < 2 && !rc; pass++)
        for (int h = 0; h < j->dims.n_head && !rc; h++) {
            bool found = false;
            rc = hs_reader_map(&r, j->db, prompt, point, layer, h, &found);
            if (!rc && pass == 0) {
                all = all && found && (h == 0 || (r.n_row == shape[1] && r.width == shape[2]));
                shape[1] = r.n_row;
                shape[2] = r.width;
            } else if (!rc && found && !all) {
                int64_t own[2] = {r.n_row, r.width};
                source src = {
                    .kind = ONE_MAP, .prompt = prompt, .layer = layer, .head = h, .point = point};
                hs_buf_clear(&name);
                hs_point_name(&name, point, layer);
                hs_buf_printf(&name, ".h%d", h);
                rc = hs_buf_rc(&name);
                if (!rc) rc = add(j, src, ord, hs_buf_text(&name), HS_F32, 2, own);
            }
            hs_reader_close(&r);
        }
    hs_buf_clear(&name);
    hs_point_name(&name, point, layer);
    if (!rc) rc = hs_buf_rc(&name);
    source src = {.kind = MAPS, .prompt = prompt, .layer = layer, .point = point};
    if (!rc && all) rc = add(j, src, ord, hs_buf_text(&name), HS_F32, 3, shape);
    hs_buf_free(&name);
    return rc;
}

static int add_act(job *j, int64_t prompt, int64_t ord, const char *name) {
    enum hs_point point;
    int layer, ndim = 0;
    bool found = false;
    int64_t shape[4], width = 1;
    hs_reader r = {0};
    if (hs_point_find(name, &point, &layer) || layer >= j->dims.n_layer)
        return hs_fail(HS_EFORMAT, "%s: '%s' is not a hook point", hs_db_path(j->db), name);
    int rc = hs_reader_act(&r, j->db, prompt, name, &found);
    if (!rc) ndim = hs_point_shape(&j->dims, point, r.n_row, shape);
    for (int d = 1; d < ndim; d++) width *= shape[d];
    if (!rc && width != r.width)
        rc = hs_fail(HS_EFORMAT, "%s: %s: its shape does not fit the model", hs_db_path(j->db),
                     name);
    hs_reader_close(&r);
    source src = {.kind = ACT, .prompt = prompt, .layer = layer, .point = point};
    return rc ? rc : add(j, src, ord, name, HS_F32, ndim, shape);
}

static int add_acts(job *j, int64_t prompt, int64_t ord) {
    sqlite3_stmt *s = NULL;
    hs_v v = hs_v_int(prompt);
    bool row = false;
    int rc = hs_sql_prepare(j->db, &s, "SELECT name FROM act WHERE prompt_id = ? ORDER BY id");
    if (!rc) rc = hs_sql_bind(j->db, s, &v, 1);
    if (!rc) rc = hs_sql_step(j->db, s, &row);
    while (!rc && row) {
        rc = add_act(j, prompt, ord, (const char *)sqlite3_column_text(s, 0));
        if (!rc) rc = hs_sql_step(j->db, s, &row);
    }
    sqlite3_finalize(s);
    return rc;
}

static int add_prompt(void *ctx, const hs_export_prompt *p) {
    job *j = ctx;
    int rc = HS_OK;
    if (j->tokens) return j->what & HS_EXPORT_TOKENS ? add_tokens(j, p->id, p->ord) : HS_OK;
    for (int l = 0; l < j->dims.n_layer && !rc; l++) {
        if (j->what & HS_EXPORT_STATS) rc = add_stats(j, p->id, p->ord, l);
        if (!rc && (j->what & HS_EXPORT_MAPS)) rc = add_maps(j, p->id, p->ord, HS_PATTERN, l);
        if (!rc && (j->what & HS_EXPORT_ACTS)) rc = add_maps(j, p->id, p->ord, HS_SCORES, l);
    }
    if (!rc && (j->what & HS_EXPORT_ACTS)) rc = add_acts(j, p->id, p->ord);
    return rc;
}

// All tokens first: their numbers are the widest, and everything stays aligned in safetensors.
static int add_all(job *j) {
    j->tokens = true;
    int rc = hs_export_prompts(j->e, add_prompt, j);
    j->tokens = false;
    if (!rc) rc = hs_export_prompts(j->e, add_prompt, j);
    return rc || j->n ? rc : hs_export_nothing(j->e);
}

// ---- the numbers -------------------------------------------------------------------------------

static int write_tokens(job *j, const hs_pack_entry *e, int64_t prompt) {
    sqlite3_stmt *s = NULL;
    hs_v v = hs_v_int(prompt);
    bool row;
    int rc = hs_sql_prepare(j->db, &s,
                            "SELECT token_id FROM token WHERE prompt_id = ? "
                            "ORDER BY pos");
    if (!rc) rc = hs_sql_bind(j->db, s, &v, 1);
    for (int64_t i = 0; i < e->shape[0] && !rc; i++) {
        rc = hs_sql_step(j->db, s, &row);
        int64_t id = sqlite3_column_int64(s, 0);
        if (!rc) rc = hs_pack_write(j->pack, &id, sizeof id);
    }
    sqlite3_finalize(s);
    return rc;
}

static int write_stats(job *j, const hs_pack_entry *e, const source *src) {
    enum { PIECE = 4096 };
    float row[PIECE];
    int rc = HS_OK;
    for (int h = 0; h < e->shape[0] && !rc; h++)
        for (int64_t at = 0; at < e->shape[1] && !rc; at += PIECE) {
            int64_t n = e->shape[1] - at < PIECE ? e->shape[1] - at : PIECE;
            rc = hs_read_stat(j->db, src->prompt, src->layer, h, src->stat, at, n, row);
            if (!rc) rc = hs_pack_write(j->pack, row, (size_t)n * sizeof *row);
        }
    return rc;
}

// All rows of one stored tensor, each filled up to its width; closes r.
static int write_rows(job *j, hs_reader *r, bool found) {
    float *row = NULL;
    int rc = found ? hs_alloc(&row, (size_t)r->width, sizeof *row)
                   : hs_fail(HS_EFORMAT, "%s: it changed while it was read", hs_db_path(j->db));
    for (int64_t i = 0; i < r->n_row && !rc; i++) {
        rc = hs_reader_row_full(r, i, row, r->width);
        if (!rc) rc = hs_pack_write(j->pack, row, (size_t)r->width * sizeof *row);
    }
    free(row);
    hs_reader_close(r);
    return rc;
}

static int write_maps(job *j, const source *src, int head0, int n) {
    int rc = HS_OK;
    for (int h = head0; h < head0 + n && !rc; h++) {
        hs_reader r;
        bool found = false;
        rc = hs_reader_map(&r, j->db, src->prompt, src->point, src->layer, h, &found);
        if (!rc)
            rc = write_rows(j, &r, found);
        else
            hs_reader_close(&r);
    }
    return rc;
}

static int write_act(job *j, const source *src) {
    hs_reader r = {0};
    hs_buf name = {0};
    bool found = false;
    hs_point_name(&name, src->point, src->layer);
    int rc = hs_buf_rc(&name);
    if (!rc) rc = hs_reader_act(&r, j->db, src->prompt, hs_buf_text(&name), &found);
    if (!rc)
        rc = write_rows(j, &r, found);
    else
        hs_reader_close(&r);
    hs_buf_free(&name);
    return rc;
}

static int write_entry(job *j, size_t i) {
    const source *src = &j->source[i];
    const hs_pack_entry *e = &j->entry[i];
    int rc = hs_pack_begin(j->pack);
    if (rc) return rc;
    switch (src->kind) {
    case TOKENS:
        rc = write_tokens(j, e, src->prompt);
        break;
    case STATS:
        rc = write_stats(j, e, src);
        break;
    case MAPS:
        rc = write_maps(j, src, 0, j->dims.n_head);
        break;
    case ONE_MAP:
        rc = write_maps(j, src, src->head, 1);
        break;
    case ACT:
        rc = write_act(j, src);
        break;
    }
    return rc ? rc : hs_pack_end(j->pack);
}

static int write_all(hs_export *e, const hs_pack_format *format) {
    job j = {.e = e, .db = e->db, .dims = e->dims, .what = e->opts.what};
    int rc = add_all(&j);
    e->total = (int64_t)j.n;
    if (!rc) rc = hs_pack_open(&j.pack, format, e->path, j.entry, j.n);
    for (size_t i = 0; i < j.n && !rc; i++) {
        rc = hs_export_step(e);
        if (!rc) rc = write_entry(&j, i);
    }
    if (!rc)
        rc = hs_pack_commit(j.pack);
    else
        hs_pack_abort(j.pack);
    for (size_t i = 0; i < j.n; i++) free(j.source[i].name);
    free(j.entry);
    free(j.source);
    return rc;
}

static int write_npz(hs_export *e) {
    return write_all(e, &hs_pack_npz);
}

static int write_safetensors(hs_export *e) {
    return write_all(e, &hs_pack_safetensors);
}

enum { ARRAYS = HS_EXPORT_MAPS | HS_EXPORT_ACTS | HS_EXPORT_STATS | HS_EXPORT_TOKENS };

const hs_export_format hs_export_npz = {
    .name = "npz",
    .ending = ".npz",
    .title = "arrays for numpy.load",
    .what = ARRAYS,
    .fallback = ARRAYS,
    .write = write_npz,
};
const hs_export_format hs_export_safetensors = {
    .name = "safetensors",
    .ending = ".safetensors",
    .title = "the same arrays for safetensors",
    .what = ARRAYS,
    .fallback = ARRAYS,
    .write = write_safetensors,
};
