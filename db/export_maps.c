// Maps and tokens for the formats that draw one prompt: whole rows, labels that a page can show.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "db/export_internal.h"
#include "model/core/mem.h"
#include "model/core/utf8.h"

void hs_export_map_close(hs_export_map *m) {
    hs_reader_close(&m->reader);
    free(m->row);
    m->row = NULL;
}

int hs_export_map_open(hs_export_map *m, hs_export *e, int64_t prompt, int layer, int head,
                       bool *found) {
    *m = (hs_export_map){0};
    *found = false;
    int rc = hs_reader_map(&m->reader, e->db, prompt, HS_PATTERN, layer, head, found);
    if (!rc && *found) rc = hs_read_justified(e->db, m->reader.n_row, m->reader.width);
    if (!rc && *found) rc = hs_alloc(&m->row, (size_t)m->reader.width, sizeof *m->row);
    if (rc || !*found) hs_export_map_close(m);
    return rc;
}

int hs_export_square(hs_export_map *m, hs_export *e, hs_text *t) {
    int rc = HS_OK;
    hs_jw_begin(&t->json, '[');
    for (int64_t i = 0; i < m->reader.n_row && !rc; i++) {
        rc = hs_reader_row_full(&m->reader, i, m->row, m->reader.width);
        hs_jw_begin(&t->json, '[');
        for (int64_t k = 0; k < m->reader.width && !rc; k++) {
            if (k) hs_buf_chr(&t->text, ',');
            hs_text_f32(&t->text, m->row[k], "null");
        }
        hs_jw_end(&t->json, ']');
        if (!rc) rc = hs_text_flush(t);
    }
    hs_jw_end(&t->json, ']');
    e->n_row += m->reader.n_row;
    return rc;
}

// Takes the size of a map, which has to be that of the others.
static int same_size(hs_export *e, const hs_reader *r, int64_t *n_token) {
    if (!*n_token) *n_token = r->width;
    if (r->n_row == *n_token && r->width == *n_token) return HS_OK;
    return hs_fail(HS_EFORMAT,
                   "%s: map %" PRId64 " is %" PRId64 " x %" PRId64
                   ", others of the prompt have %" PRId64 " rows",
                   hs_db_path(e->db), r->id, r->n_row, r->width, *n_token);
}

int hs_export_stored(hs_export *e, int64_t prompt, hs_heads *out, int64_t *n_token) {
    *n_token = 0;
    int rc = hs_heads_parse(out, &e->dims, "none");
    for (int l = 0; l < e->dims.n_layer && !rc; l++)
        for (int h = 0; h < e->dims.n_head && !rc; h++) {
            hs_reader r;
            bool found = false;
            if (!hs_heads_has(&e->heads, l, h)) continue;
            rc = hs_reader_map(&r, e->db, prompt, HS_PATTERN, l, h, &found);
            if (!rc && found) {
                out->on[l * out->n_head + h] = 1;
                rc = same_size(e, &r, n_token);
            }
            hs_reader_close(&r);
        }
    if (!rc && !*n_token) rc = hs_export_nothing(e);
    // A page needs whole squares, of heads that were not stored too.
    if (!rc) rc = hs_read_justified(e->db, *n_token * e->dims.n_head, *n_token);
    if (rc) hs_heads_free(out);
    return rc;
}

// A token so that it can be seen: control characters by name, spaces where there is nothing else.
static void put_label(hs_text *t, hs_buf *b, sqlite3_stmt *s) {
    const char *text = (const char *)sqlite3_column_text(s, 0);
    size_t n = (size_t)sqlite3_column_bytes(s, 0);
    hs_buf_clear(b);
    if (text)
        hs_utf8_visible(b, text, n, strspn(text, " ") == n);
    else
        hs_buf_printf(b, "%" PRId64, (int64_t)sqlite3_column_int64(s, 1));
    if (hs_buf_rc(b)) t->text.rc = hs_buf_rc(b);
    hs_jw_strn(&t->json, hs_buf_text(b), b->len);
}

int hs_export_labels(hs_export *e, hs_text *t, int64_t prompt, int64_t n) {
    sqlite3_stmt *s = NULL;
    hs_v v[] = {hs_v_int(prompt), hs_v_int(n)};
    hs_buf b = {0};
    bool row = false;
    int64_t have = 0;
    int rc = hs_sql_prepare(
        e->db, &s, "SELECT text, token_id FROM token WHERE prompt_id = ? ORDER BY pos LIMIT ?");
    if (!rc) rc = hs_sql_bind(e->db, s, v, 2);
    if (!rc) rc = hs_sql_step(e->db, s, &row);
    hs_jw_begin(&t->json, '[');
    for (; !rc && row; have++) {
        put_label(t, &b, s);
        rc = hs_text_flush(t);
        if (!rc) rc = hs_sql_step(e->db, s, &row);
    }
    hs_jw_end(&t->json, ']');
    sqlite3_finalize(s);
    hs_buf_free(&b);
    if (!rc && have != n)
        rc = hs_fail(HS_EFORMAT, "%s: prompt row %" PRId64 ": %" PRId64 " of %" PRId64 " tokens",
                     hs_db_path(e->db), prompt, have, n);
    return rc;
}
