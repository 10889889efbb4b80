// Text that streams into a file, and rows of SQL as CSV or JSON.
//
// CSV is RFC 4180 but for bare line ends; what is NULL is an empty field. Numbers have as many
// digits as they need to read back to the same bits, of f32 or f64.
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/export_internal.h"

enum { MUCH = 1 << 16 }; // bytes of text that are kept back

int hs_text_open(hs_text *t, const char *path) {
    *t = (hs_text){0};
    t->json.out = &t->text;
    return hs_outfile_open(&t->file, path);
}

static int send(hs_text *t) {
    int rc = hs_buf_rc(&t->text);
    if (!rc && t->text.len && fwrite(t->text.data, 1, t->text.len, t->file.file) != t->text.len)
        rc = hs_outfile_fail(t->file.path, errno);
    hs_buf_clear(&t->text);
    return rc;
}

int hs_text_flush(hs_text *t) {
    return t->text.len < MUCH ? hs_buf_rc(&t->text) : send(t);
}

int hs_text_commit(hs_text *t) {
    int rc = send(t);
    return rc ? rc : hs_outfile_commit(&t->file);
}

void hs_text_close(hs_text *t) {
    hs_outfile_abort(&t->file);
    hs_buf_free(&t->text);
}

int hs_text_of_prompts(hs_export *e, hs_text *out, int (*fn)(void *ctx, const hs_export_prompt *),
                       void *ctx) {
    int rc = hs_text_open(out, e->path);
    if (!rc) rc = hs_export_prompts(e, fn, ctx);
    if (!rc && !e->n_row) rc = hs_export_nothing(e);
    if (!rc) rc = hs_text_commit(out);
    hs_text_close(out);
    return rc;
}

// ---- cells --------------------------------------------------------------------------------------

// Eight digits mostly do, and show short decimals as they are; nine always do.
static void put_f32(hs_buf *out, float v) {
    char text[32];
    snprintf(text, sizeof text, "%.8g", (double)v);
    if (strtof(text, NULL) != v) snprintf(text, sizeof text, "%.9g", (double)v);
    hs_buf_str(out, text);
}

void hs_text_f32(hs_buf *out, float v, const char *null) {
    if (v == 0 && !signbit(v))
        hs_buf_chr(out, '0'); // most of a causal map
    else if (isfinite(v))
        put_f32(out, v);
    else if (isnan(v) || *null)
        hs_buf_str(out, null);
    else
        hs_buf_str(out, v > 0 ? "inf" : "-inf");
}

static void csv_text(hs_buf *out, const char *s, size_t n) {
    bool quote = false;
    for (size_t i = 0; i < n; i++) quote |= s[i] && strchr(",\"\r\n", s[i]);
    if (quote) hs_buf_chr(out, '"');
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '"') hs_buf_chr(out, '"');
        hs_buf_chr(out, s[i]);
    }
    if (quote) hs_buf_chr(out, '"');
}

static void csv_cell(hs_buf *out, sqlite3_stmt *s, int i) {
    hs_jw w = {out, false};
    switch (sqlite3_column_type(s, i)) {
    case SQLITE_INTEGER:
        hs_jw_int(&w, sqlite3_column_int64(s, i));
        break;
    case SQLITE_FLOAT:
        if (isfinite(sqlite3_column_double(s, i)))
            hs_jw_num(&w, sqlite3_column_double(s, i));
        else
            hs_buf_str(out, sqlite3_column_double(s, i) > 0 ? "inf" : "-inf");
        break;
    case SQLITE_TEXT:
        csv_text(out, (const char *)sqlite3_column_text(s, i), (size_t)sqlite3_column_bytes(s, i));
        break;
    default: // NULL, and no statement of ours gives a blob
        break;
    }
}

static void json_cell(hs_jw *w, sqlite3_stmt *s, int i) {
    switch (sqlite3_column_type(s, i)) {
    case SQLITE_INTEGER:
        hs_jw_int(w, sqlite3_column_int64(s, i));
        break;
    case SQLITE_FLOAT:
        hs_jw_num(w, sqlite3_column_double(s, i));
        break;
    case SQLITE_TEXT:
        hs_jw_strn(w, (const char *)sqlite3_column_text(s, i), (size_t)sqlite3_column_bytes(s, i));
        break;
    default:
        hs_jw_null(w);
        break;
    }
}

// ---- rows ---------------------------------------------------------------------------------------

// The first columns say which prompt: only a CSV line, which stands alone, has them.
enum { KEYS = 3 };

static void csv_header(hs_buf *out, sqlite3_stmt *s) {
    for (int i = 0; i < sqlite3_column_count(s); i++)
        hs_buf_printf(out, "%s%s", i ? "," : "", sqlite3_column_name(s, i));
    hs_buf_chr(out, '\n');
}

// Whether a row is of no head, or of one that was chosen.
static bool chosen(const hs_export *e, sqlite3_stmt *s) {
    const char *first = sqlite3_column_name(s, KEYS);
    if (!first || strcmp(first, "layer") != 0) return true;
    int64_t layer = sqlite3_column_int64(s, KEYS), head = sqlite3_column_int64(s, KEYS + 1);
    return layer >= 0 && layer < e->dims.n_layer && head >= 0 && head < e->dims.n_head &&
           hs_heads_has(&e->heads, (int)layer, (int)head);
}

static void csv_row(hs_buf *out, sqlite3_stmt *s) {
    for (int i = 0; i < sqlite3_column_count(s); i++) {
        if (i) hs_buf_chr(out, ',');
        csv_cell(out, s, i);
    }
    hs_buf_chr(out, '\n');
}

static void json_row(hs_jw *w, sqlite3_stmt *s) {
    hs_jw_begin(w, '{');
    for (int i = KEYS; i < sqlite3_column_count(s); i++) {
        hs_jw_key(w, sqlite3_column_name(s, i));
        json_cell(w, s, i);
    }
    hs_jw_end(w, '}');
}

static int rows(hs_export *e, hs_text *t, const char *sql, int64_t prompt, bool csv) {
    sqlite3_stmt *s = NULL;
    bool row = false;
    hs_v v = hs_v_int(prompt);
    int rc = hs_sql_prepare(e->db, &s, sql);
    if (!rc) rc = hs_sql_bind(e->db, s, &v, 1);
    if (!rc) rc = hs_sql_step(e->db, s, &row);
    if (!rc && csv && !t->headed) csv_header(&t->text, s);
    t->headed = true;
    while (!rc && row) {
        if (chosen(e, s)) {
            if (csv)
                csv_row(&t->text, s);
            else
                json_row(&t->json, s);
            e->n_row++;
        }
        rc = hs_text_flush(t);
        if (!rc) rc = hs_sql_step(e->db, s, &row);
    }
    sqlite3_finalize(s);
    return rc;
}

int hs_text_csv(hs_export *e, hs_text *t, const char *sql, int64_t prompt) {
    return rows(e, t, sql, prompt, true);
}

int hs_text_json(hs_export *e, hs_text *t, const char *sql, int64_t prompt) {
    hs_jw_begin(&t->json, '[');
    int rc = rows(e, t, sql, prompt, false);
    hs_jw_end(&t->json, ']');
    return rc;
}

int hs_text_run(hs_text *t, hs_db *db, int64_t run) {
    static const char sql[] =
        "SELECT r.id AS run, r.label, m.name AS model, m.arch, m.weight_dtype, m.n_layer, "
        "m.n_head, r.created_at, r.tool_version, (SELECT group_concat(spec, ' ') FROM "
        "(SELECT spec FROM intervention AS i WHERE i.run_id = r.id ORDER BY ord)) AS edits "
        "FROM run AS r JOIN model AS m ON m.id = r.model_id WHERE r.id = ?";
    sqlite3_stmt *s = NULL;
    bool row = false;
    hs_v v = hs_v_int(run);
    int rc = hs_sql_prepare(db, &s, sql);
    if (!rc) rc = hs_sql_bind(db, s, &v, 1);
    if (!rc) rc = hs_sql_step(db, s, &row);
    for (int i = 0; !rc && row && i < sqlite3_column_count(s); i++) {
        hs_jw_key(&t->json, sqlite3_column_name(s, i));
        json_cell(&t->json, s, i);
    }
    sqlite3_finalize(s);
    return rc;
}

void hs_text_keys(hs_buf *out, const hs_export *e, const hs_export_prompt *p) {
    hs_buf_printf(out, "%" PRId64 ",%" PRId64 ",", e->opts.run, p->ord);
    csv_text(out, p->label, strlen(p->label));
}

const char hs_sql_tokens[] =
    "SELECT p.run_id AS run, p.ord AS prompt, p.label AS id, t.pos, t.token_id, t.text AS token, "
    "t.byte_from, t.byte_to, t.decoded "
    "FROM prompt AS p JOIN token AS t ON t.prompt_id = p.id WHERE p.id = ? ORDER BY t.pos";

// The newest analysis counts: with max(), SQLite takes the row that has it.
const char hs_sql_heads[] =
    "SELECT run, prompt, id, layer, head, 'L' || layer || 'H' || head AS name, metric, value, "
    "reason FROM (SELECT p.run_id AS run, p.ord AS prompt, p.label AS id, m.layer, m.head, "
    "m.metric, m.value, m.reason, max(m.analysis_run_id) "
    "FROM prompt AS p JOIN head_metric AS m ON m.prompt_id = p.id WHERE p.id = ? "
    "GROUP BY m.layer, m.head, m.metric) ORDER BY layer, head, metric";
