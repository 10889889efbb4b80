// Expressions; see expr.h. Each has a database of its own in memory whose one table has one row, and
// a column a name. The text is compiled under an authorizer that allows that table and functions of
// numbers, and no query within, so that its length bounds its cost.
#include "db/expr.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "model/core/buf.h"
#include "model/core/mem.h"

enum { MAX_TEXT = 4000 };

struct hs_expr {
    sqlite3 *sql;
    sqlite3_stmt *set, *get;
    const char *const *names;
    int n;
    uint64_t used;
    int n_select;    // 1: the expression's own
    char denied[64]; // what the authorizer refused, "" for nothing that has a name
};

static const char *const functions[] = {
    "abs",  "acos",  "asin",  "atan", "atan2",  "ceil",   "ceiling", "coalesce", "cos",
    "cosh", "exp",   "floor", "if",   "iif",    "ifnull", "ln",      "log",      "log2",
    "max",  "log10", "min",   "mod",  "nullif", "pi",     "pow",     "power",    "round",
    "sign", "sin",   "sinh",  "sqrt", "tan",    "tanh",   "trunc",   NULL};

static bool known(const char *function) {
    for (int i = 0; functions[i]; i++)
        if (sqlite3_stricmp(functions[i], function) == 0) return true;
    return false;
}

static int authorize(void *ctx, int action, const char *a, const char *b, const char *c,
                     const char *d) {
    hs_expr *e = ctx;
    (void)c, (void)d;
    // Queries within would be loops, of any length.
    if (action == SQLITE_SELECT) return e->n_select++ ? SQLITE_DENY : SQLITE_OK;
    if (action == SQLITE_FUNCTION && known(b)) return SQLITE_OK;
    if (action == SQLITE_FUNCTION) snprintf(e->denied, sizeof e->denied, "%s", b);
    if (action != SQLITE_READ || strcmp(a, "numbers") != 0) return SQLITE_DENY;
    for (int i = 0; i < e->n; i++)
        if (sqlite3_stricmp(e->names[i], b) == 0) e->used |= UINT64_C(1) << i;
    return SQLITE_OK;
}

static int sql_failed(const hs_expr *e) {
    return hs_fail(HS_EDB, "an expression: %s", e->sql ? sqlite3_errmsg(e->sql) : "out of memory");
}

static int run(const hs_expr *e, const hs_buf *sql) {
    int rc = hs_buf_rc(sql);
    if (rc) return rc;
    return sqlite3_exec(e->sql, hs_buf_text(sql), NULL, NULL, NULL) ? sql_failed(e) : HS_OK;
}

static int make_table(const hs_expr *e) {
    hs_buf sql = {0};
    hs_buf_str(&sql, "CREATE TABLE numbers (");
    for (int i = 0; i < e->n; i++) hs_buf_printf(&sql, "%s\"%s\" REAL", i ? ", " : "", e->names[i]);
    hs_buf_str(&sql, "); INSERT INTO numbers DEFAULT VALUES");
    int rc = run(e, &sql);
    hs_buf_free(&sql);
    return rc;
}

static int prepare_set(hs_expr *e) {
    hs_buf sql = {0};
    hs_buf_str(&sql, "UPDATE numbers SET ");
    for (int i = 0; i < e->n; i++) hs_buf_printf(&sql, "%s\"%s\" = ?", i ? ", " : "", e->names[i]);
    int rc = hs_buf_rc(&sql);
    if (!rc && sqlite3_prepare_v2(e->sql, hs_buf_text(&sql), -1, &e->set, NULL)) rc = sql_failed(e);
    hs_buf_free(&sql);
    return rc;
}

static int wrong(const hs_expr *e, const char *text) {
    hs_buf names = {0};
    for (int i = 0; i < e->n; i++) hs_buf_printf(&names, "%s%s", i ? ", " : "", e->names[i]);
    const char *msg = sqlite3_errmsg(e->sql);
    int rc = hs_buf_rc(&names);
    if (!rc && *e->denied)
        rc = hs_fail(HS_EARG, "'%s': %s() is no function of numbers", text, e->denied);
    else if (!rc)
        rc = hs_fail(HS_EARG, "'%s': %s: an expression of SQL over %s", text,
                     e->n_select > 1 ? "a query within it" : msg, hs_buf_text(&names));
    hs_buf_free(&names);
    return rc;
}

static int compile(hs_expr *e, const char *text) {
    hs_buf sql = {0};
    const char *rest = "";
    hs_buf_printf(&sql, "SELECT (%s\n) FROM numbers", text);
    int rc = hs_buf_rc(&sql);
    sqlite3_set_authorizer(e->sql, authorize, e);
    if (!rc && sqlite3_prepare_v2(e->sql, hs_buf_text(&sql), -1, &e->get, &rest)) {
        rc = wrong(e, text);
    } else if (!rc && (!e->get || *rest || sqlite3_column_count(e->get) != 1 ||
                       sqlite3_bind_parameter_count(e->get))) {
        rc = hs_fail(HS_EARG, "'%s': not one expression of SQL", text);
    }
    sqlite3_set_authorizer(e->sql, NULL, NULL);
    hs_buf_free(&sql);
    return rc;
}

int hs_expr_open(hs_expr **out, const char *text, const char *const *names, uint64_t *used) {
    hs_expr *e;
    *out = NULL;
    if (strlen(text) > MAX_TEXT)
        return hs_fail(HS_EARG, "an expression of more than %d bytes", MAX_TEXT);
    int rc = hs_alloc(&e, 1, sizeof *e);
    if (rc) return rc;
    e->names = names;
    while (names[e->n]) e->n++;
    if (sqlite3_open(":memory:", &e->sql)) rc = sql_failed(e);
    if (!rc) sqlite3_limit(e->sql, SQLITE_LIMIT_LENGTH, 1 << 16);
    if (!rc) sqlite3_db_config(e->sql, SQLITE_DBCONFIG_DQS_DML, 0, NULL); // "nnl" is no text
    if (!rc) rc = make_table(e);
    if (!rc) rc = prepare_set(e);
    if (!rc) rc = compile(e, text);
    *used = e->used;
    if (rc)
        hs_expr_close(e);
    else
        *out = e;
    return rc;
}

void hs_expr_close(hs_expr *e) {
    if (!e) return;
    sqlite3_finalize(e->set);
    sqlite3_finalize(e->get);
    sqlite3_close(e->sql);
    free(e);
}

int hs_expr_value(hs_expr *e, const double *value, double *out) {
    *out = NAN;
    for (int i = 0; i < e->n; i++) sqlite3_bind_double(e->set, i + 1, value[i]); // NaN binds NULL
    sqlite3_step(e->set);
    int rc = sqlite3_reset(e->set) ? sql_failed(e) : HS_OK;
    const int step = rc ? SQLITE_DONE : sqlite3_step(e->get);
    if (step != SQLITE_ROW && step != SQLITE_DONE) rc = sql_failed(e);
    const int type = step == SQLITE_ROW ? sqlite3_column_type(e->get, 0) : SQLITE_NULL;
    if (type == SQLITE_INTEGER || type == SQLITE_FLOAT) *out = sqlite3_column_double(e->get, 0);
    if (!isfinite(*out)) *out = NAN;
    sqlite3_reset(e->get);
    return rc;
}
