// The rows of a merged run; see merge_internal.h.
//
// A row is copied as it is, but for the ids in it: prompts and analysis runs are numbered as the
// recorder would have numbered them, and analyses are found by name. Tables of results are made from
// this build's descriptors and filled by their columns, so that no SQL of a file goes on.
#include <stdlib.h>
#include <string.h>

#include "db/merge_internal.h"
#include "db/schema_internal.h"
#include "model/core/mem.h"

enum { MOST_COLUMNS = 60 };

typedef struct work {
    hs_db *to;
    hs_apply *apply;
    const hs_merge_shard *from;
    int64_t run;    // of the new file
    int64_t prompt; // row in `from`
} work;

// ---- rows ---------------------------------------------------------------------------------------

// A value that stands in a column in place of what was read.
typedef struct instead {
    int column;
    hs_v v;
} instead;

static hs_v value_of(sqlite3_stmt *s, int i) {
    switch (sqlite3_column_type(s, i)) {
    case SQLITE_INTEGER:
        return hs_v_int(sqlite3_column_int64(s, i));
    case SQLITE_FLOAT:
        return hs_v_num(sqlite3_column_double(s, i));
    case SQLITE_TEXT: {
        const char *text = (const char *)sqlite3_column_text(s, i);
        return hs_v_textn(text, (size_t)sqlite3_column_bytes(s, i));
    }
    case SQLITE_BLOB: {
        const void *blob = sqlite3_column_blob(s, i);
        return hs_v_blob(blob, (size_t)sqlite3_column_bytes(s, i));
    }
    default:
        return hs_v_null();
    }
}

// Every row that `get` gives for `key` (NULL: no key), put by `put`.
static int copy_rows(work *w, const char *get, const hs_v *key, const char *put, const instead *ids,
                     int n_id) {
    sqlite3_stmt *s = NULL;
    hs_v v[MOST_COLUMNS];
    bool row = false;
    int rc = hs_sql_prepare(w->from->db, &s, get);
    if (!rc && key) rc = hs_sql_bind(w->from->db, s, key, 1);
    if (!rc) rc = hs_sql_step(w->from->db, s, &row);
    const int n = rc ? 0 : sqlite3_column_count(s);
    while (!rc && row && n <= MOST_COLUMNS) {
        for (int i = 0; i < n; i++) v[i] = value_of(s, i);
        for (int i = 0; i < n_id; i++) v[ids[i].column] = ids[i].v;
        rc = hs_apply_row(w->apply, put, v, n);
        if (!rc) rc = hs_sql_step(w->from->db, s, &row);
    }
    sqlite3_finalize(s);
    return rc;
}

// ---- results ------------------------------------------------------------------------------------

// One look of an analysis at the prompt.
typedef struct look {
    char *analysis;
    int64_t id; // in `from`
} look;

static int read_looks(work *w, look **out, int *n) {
    sqlite3_stmt *s = NULL;
    hs_v prompt = hs_v_int(w->prompt);
    bool row = false;
    *out = NULL;
    *n = 0;
    int rc = hs_sql_prepare(w->from->db, &s,
                            "SELECT r.id, a.name FROM analysis_run AS r JOIN analysis AS a "
                            "ON a.id = r.analysis_id WHERE r.prompt_id = ? ORDER BY r.id");
    if (!rc) rc = hs_sql_bind(w->from->db, s, &prompt, 1);
    if (!rc) rc = hs_sql_step(w->from->db, s, &row);
    while (!rc && row) {
        const char *name = (const char *)sqlite3_column_text(s, 1);
        rc = hs_grow(out, (size_t)*n + 1, sizeof **out);
        if (rc) break;
        (*out)[*n] = (look){name ? strdup(name) : NULL, sqlite3_column_int64(s, 0)};
        if (!(*out)[(*n)++].analysis) rc = hs_fail(HS_ENOMEM, "out of memory");
        if (!rc) rc = hs_sql_step(w->from->db, s, &row);
    }
    sqlite3_finalize(s);
    return rc;
}

static bool find_analysis(const char *name, hs_analysis *out) {
    for (int i = 0; hs_analysis_at(i, out); i++)
        if (strcmp(out->name, name) == 0) return true;
    return false;
}

// A stranger's view would run whatever it says.
static int check_table(const work *w, const char *analysis, const hs_result_table *t) {
    hs_buf name = {0};
    int64_t one;
    bool there = false;
    hs_emit_table(&name, analysis, t);
    int rc = hs_buf_rc(&name);
    hs_v v = hs_v_text(hs_buf_text(&name));
    if (!rc)
        rc = hs_sql_int(w->from->db,
                        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", &v, 1,
                        &one, &there);
    if (!rc && !there)
        rc = hs_fail(HS_EFORMAT, "%s: damaged: %s is not as headscope made it: sweep it anew",
                     hs_db_path(w->from->db), hs_buf_text(&name));
    hs_buf_free(&name);
    return rc;
}

static int copy_table(work *w, const hs_analysis *a, const hs_result_table *t, hs_v key, hs_v id) {
    hs_buf columns = {0}, get = {0}, put = {0};
    hs_buf_str(&columns, "prompt_id, analysis_run_id");
    int n = 2;
    for (int i = 0; t->columns[i].name; i++, n++)
        hs_buf_printf(&columns, ", \"%s\"", t->columns[i].name);
    hs_buf_printf(&get, "SELECT %s FROM ", hs_buf_text(&columns));
    hs_buf_str(&put, "INSERT INTO ");
    hs_emit_table(&get, a->name, t);
    hs_emit_table(&put, a->name, t);
    hs_buf_printf(&get, " WHERE prompt_id = %lld AND analysis_run_id = ?", (long long)w->prompt);
    hs_buf_printf(&put, " (%s) VALUES (?", hs_buf_text(&columns));
    for (int i = 1; i < n; i++) hs_buf_str(&put, ", ?");
    hs_buf_chr(&put, ')');
    const instead ids[] = {{0, hs_v_id(HS_ID_PROMPT, 0)}, {1, id}};
    int rc = check_table(w, a->name, t);
    if (!rc) rc = hs_buf_rc(&columns);
    if (!rc) rc = hs_buf_rc(&get);
    if (!rc) rc = hs_buf_rc(&put);
    if (!rc) rc = copy_rows(w, hs_buf_text(&get), &key, hs_buf_text(&put), ids, 2);
    hs_buf_free(&columns);
    hs_buf_free(&get);
    hs_buf_free(&put);
    return rc;
}

// Descriptions are of the first shard: what another was looked at by must be among them.
static int check_analysis(const work *w, const char *name, hs_analysis *a) {
    int64_t one;
    bool there = false;
    const hs_v v = hs_v_text(name);
    if (!find_analysis(name, a))
        return hs_fail(HS_EUNSUPPORTED, "%s: results of %s, which this build does not know",
                       hs_db_path(w->from->db), name);
    int rc = hs_sql_int(w->to, "SELECT 1 FROM analysis WHERE name = ?", &v, 1, &one, &there);
    if (!rc && !there)
        rc = hs_fail(HS_EFORMAT, "%s: results of %s, which shard 0 lacks: sweep it anew",
                     hs_db_path(w->from->db), name);
    return rc;
}

static int copy_look(work *w, const look *l, int k) {
    const hs_v key = hs_v_int(l->id), id = hs_v_id(HS_ID_ANALYSIS_RUN, k);
    const hs_v prompt = hs_v_id(HS_ID_PROMPT, 0);
    hs_analysis a;
    int rc = check_analysis(w, l->analysis, &a);
    if (!rc)
        rc = copy_rows(w,
                       "SELECT r.id, r.prompt_id, a.name, r.source, r.map_dtype, r.params_json "
                       "FROM analysis_run AS r JOIN analysis AS a ON a.id = r.analysis_id "
                       "WHERE r.id = ?",
                       &key,
                       "INSERT INTO analysis_run VALUES "
                       "(?, ?, (SELECT id FROM analysis WHERE name = ?), ?, ?, ?)",
                       (instead[]){{0, id}, {1, prompt}}, 2);
    if (!rc)
        rc = copy_rows(w, "SELECT * FROM head_metric WHERE analysis_run_id = ?", &key,
                       "INSERT INTO head_metric VALUES (?, ?, ?, ?, ?, ?, ?)",
                       (instead[]){{0, prompt}, {4, id}}, 2);
    if (!rc)
        rc = copy_rows(w, "SELECT * FROM series WHERE analysis_run_id = ? ORDER BY id", &key,
                       "INSERT INTO series VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                       (instead[]){{0, hs_v_null()}, {1, prompt}, {2, id}}, 3);
    for (const hs_result_table *t = rc ? NULL : a.tables; t && t->name && !rc; t++)
        rc = copy_table(w, &a, t, key, id);
    return rc;
}

// ---- prompts ------------------------------------------------------------------------------------

static int copy_prompt(work *w) {
    const hs_v key = hs_v_int(w->prompt), prompt = hs_v_id(HS_ID_PROMPT, 0);
    look *looks = NULL;
    int n = 0, rc = hs_apply_begin(w->apply);
    if (!rc)
        rc = copy_rows(w, "SELECT * FROM prompt WHERE id = ?", &key,
                       "INSERT INTO prompt VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       (instead[]){{0, prompt}, {1, hs_v_int(w->run)}}, 2);
    if (!rc)
        rc = copy_rows(w, "SELECT * FROM token WHERE prompt_id = ? ORDER BY pos", &key,
                       "INSERT INTO token VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                       (instead[]){{0, prompt}}, 1);
    if (!rc) rc = read_looks(w, &looks, &n);
    for (int k = 0; k < n && !rc; k++) rc = copy_look(w, &looks[k], k);
    if (!rc) rc = hs_apply_commit(w->apply);
    for (int k = 0; k < n; k++) free(looks[k].analysis);
    free(looks);
    return rc;
}

static int find_prompt(work *w, int64_t ord) {
    bool found = false;
    hs_v v[] = {hs_v_int(w->from->run), hs_v_int(ord)};
    int rc = hs_sql_int(w->from->db, "SELECT id FROM prompt WHERE run_id = ? AND ord = ?", v, 2,
                        &w->prompt, &found);
    if (!rc && !found)
        rc = hs_fail(HS_EFORMAT,
                     "%s: run %lld lacks prompt %lld, which is of its shard: sweep it anew",
                     hs_db_path(w->from->db), (long long)w->from->run, (long long)ord);
    return rc;
}

// ---- the run ------------------------------------------------------------------------------------

// Descriptions of what the shard's prompts were looked at by, and tables for what they gave.
static int copy_descriptions(work *w) {
    const hs_sink sink = hs_apply_sink(w->apply);
    hs_analysis a;
    const hs_v key = hs_v_int(w->from->run);
    int rc = copy_rows(w,
                       "SELECT name, title, about, reference FROM analysis WHERE id IN "
                       "(SELECT r.analysis_id FROM prompt AS p JOIN analysis_run AS r "
                       "ON r.prompt_id = p.id WHERE p.run_id = ?) ORDER BY id",
                       &key, "INSERT OR IGNORE INTO analysis VALUES (NULL, ?, ?, ?, ?)", NULL, 0);
    if (!rc)
        rc = copy_rows(w,
                       "SELECT m.name, m.kind, a.name, m.unit, m.about, m.diverging FROM metric "
                       "AS m JOIN analysis AS a ON a.id = m.analysis_id",
                       NULL, HS_SQL_METRIC, NULL, 0);
    for (int i = 0; !rc && hs_analysis_at(i, &a); i++) {
        int64_t one;
        bool used = false;
        hs_v name = hs_v_text(a.name);
        rc = hs_sql_int(w->to, "SELECT 1 FROM analysis WHERE name = ?", &name, 1, &one, &used);
        for (const hs_result_table *t = a.tables; t && t->name && !rc && used; t++)
            rc = hs_emit_make_table(&sink, a.name, t);
    }
    return rc;
}

// The run's row, with the model's: of the shard with number 0, but for the options and the times.
static int copy_run(work *w, const hs_merge_set *set) {
    const hs_v key = hs_v_int(w->from->run);
    int rc = copy_rows(w,
                       "SELECT m.* FROM model AS m JOIN run AS r ON r.model_id = m.id "
                       "WHERE r.id = ?",
                       &key,
                       "INSERT OR IGNORE INTO model VALUES "
                       "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       (instead[]){{0, hs_v_null()}}, 1);
    if (!rc)
        rc = copy_rows(w,
                       "SELECT r.id, m.fingerprint, m.source, label, status, created_at, ended_at, "
                       "tool_version, argv_json, options_json, backend, isa, runtime_threads, "
                       "precision, weights, r.n_ctx, bos, seed FROM run AS r JOIN model AS m "
                       "ON m.id = r.model_id WHERE r.id = ?",
                       &key,
                       "INSERT INTO run VALUES "
                       "(?, (SELECT id FROM model WHERE fingerprint = ? AND source = ?), "
                       "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                       (instead[]){{0, hs_v_int(w->run)}, {9, hs_v_text(set->at[0]->whole)}}, 2);
    if (!rc)
        rc = copy_rows(w, "SELECT * FROM intervention WHERE run_id = ? ORDER BY ord", &key,
                       "INSERT INTO intervention VALUES (?, ?, ?, ?)",
                       (instead[]){{0, hs_v_int(w->run)}}, 1);
    return rc;
}

int hs_merge_run(hs_db *to, const hs_merge_set *set, int64_t *done, int64_t total,
                 const hs_progress *progress) {
    work w = {.to = to, .from = set->at[0]};
    int64_t n_prompt = 0;
    int rc = hs_sql_int(to, "SELECT coalesce(max(id), 0) + 1 FROM run", NULL, 0, &w.run, NULL);
    if (!rc) rc = hs_apply_open(&w.apply, to);
    if (!rc) rc = hs_apply_begin(w.apply);
    if (!rc) rc = copy_run(&w, set);
    if (!rc) rc = copy_descriptions(&w);
    if (!rc) rc = hs_apply_commit(w.apply);
    for (int64_t i = 0; i < set->n; i++) n_prompt += set->at[i]->n_prompt;
    for (int64_t ord = 0; ord < n_prompt && !rc; ord++, ++*done) {
        w.from = set->at[ord % set->n];
        rc = hs_progress_step(progress, "merging prompts", *done, total);
        if (!rc) rc = find_prompt(&w, ord);
        if (!rc) rc = copy_prompt(&w);
    }
    hs_apply_close(w.apply);
    return rc;
}
