// Transactions of rows; see apply_internal.h. Statements are prepared once and kept by their text.
#include "db/apply_internal.h"

#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

enum { MAX_VALUES = 64 };

typedef struct statement {
    char *text;
    sqlite3_stmt *stmt;
} statement;

struct hs_apply {
    hs_db *db;
    bool open; // a transaction
    int64_t base[HS_N_ID];
    statement *statement;
    size_t n_statement;
};

int hs_apply_open(hs_apply **out, hs_db *db) {
    int rc = hs_alloc(out, 1, sizeof **out);
    if (!rc) (*out)->db = db;
    return rc;
}

void hs_apply_rollback(hs_apply *a) {
    if (a->open && !sqlite3_get_autocommit(a->db->sql))
        sqlite3_exec(a->db->sql, "ROLLBACK", NULL, NULL, NULL);
    a->open = false;
}

void hs_apply_close(hs_apply *a) {
    if (!a) return;
    hs_apply_rollback(a);
    for (size_t i = 0; i < a->n_statement; i++) {
        sqlite3_finalize(a->statement[i].stmt);
        free(a->statement[i].text);
    }
    free(a->statement);
    free(a);
}

int hs_apply_begin(hs_apply *a) {
    static const char *const last[HS_N_ID] = {
        [HS_ID_PROMPT] = "SELECT coalesce(max(id), 0) FROM prompt",
        [HS_ID_MAP] = "SELECT coalesce(max(id), 0) FROM map",
        [HS_ID_ACT] = "SELECT coalesce(max(id), 0) FROM act",
        [HS_ID_ANALYSIS_RUN] = "SELECT coalesce(max(id), 0) FROM analysis_run",
    };
    int rc = hs_sql_exec(a->db, "BEGIN IMMEDIATE");
    a->open = !rc;
    for (int k = 0; k < HS_N_ID && !rc; k++)
        rc = hs_sql_int(a->db, last[k], NULL, 0, &a->base[k], NULL);
    return rc;
}

static int find(hs_apply *a, const char *text, sqlite3_stmt **out) {
    for (size_t i = 0; i < a->n_statement; i++)
        if (strcmp(a->statement[i].text, text) == 0) {
            *out = a->statement[i].stmt;
            return HS_OK;
        }
    int rc = hs_grow(&a->statement, a->n_statement + 1, sizeof *a->statement);
    if (rc) return rc;
    statement s = {.text = strdup(text)};
    if (!s.text) return hs_fail(HS_ENOMEM, "out of memory");
    rc = hs_sql_prepare(a->db, &s.stmt, text);
    if (rc) {
        free(s.text);
        return rc;
    }
    a->statement[a->n_statement++] = s;
    *out = s.stmt;
    return HS_OK;
}

int hs_apply_row(hs_apply *a, const char *sql, const hs_v *v, int n) {
    hs_v value[MAX_VALUES];
    sqlite3_stmt *s = NULL;
    bool row;
    if (n > MAX_VALUES) return hs_fail(HS_EARG, "a row of %d columns: at most %d", n, MAX_VALUES);
    int rc = find(a, sql, &s);
    if (rc) return rc;
    for (int i = 0; i < n; i++) {
        value[i] = v[i];
        if (v[i].type == HS_V_ID) value[i].i = a->base[v[i].n] + 1 + v[i].i;
    }
    rc = hs_sql_bind(a->db, s, value, n);
    if (!rc) rc = hs_sql_step(a->db, s, &row);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return rc;
}

int hs_apply_commit(hs_apply *a) {
    int rc = hs_sql_exec(a->db, "COMMIT");
    if (!rc) a->open = false;
    return rc;
}

static int sink_row(void *ctx, const char *sql, const hs_v *v, int n) {
    return hs_apply_row(ctx, sql, v, n);
}

hs_sink hs_apply_sink(hs_apply *a) {
    return (hs_sink){a, sink_row};
}
