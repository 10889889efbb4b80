// Running queries; see query.h. A named query is our own text; anybody else's SQL is compiled under
// an authorizer that allows reading and nothing else, must be one statement, and runs within limits.
#include "db/query.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "db/att_internal.h"
#include "db/query_internal.h"
#include "model/core/mem.h"

enum { N_LIMIT = 7 };

struct hs_query {
    hs_db *db;
    sqlite3_stmt *stmt;
    const hs_progress *progress;
    int64_t max_rows, n_row;
    bool cut;                         // there are more rows than max_rows
    double max_seconds, spent, began; // began: of the step under way
    int stopped;                      // why must_stop said so
    bool own;                         // a user's SQL: what the limits were before
    int limit[N_LIMIT];
    int64_t memory;
};

// ---- compiling ---------------------------------------------------------------------------------

// Pragmas that describe the schema take an argument; the others would set something with one.
static bool is_harmless(const char *pragma, bool with_argument) {
    enum { N_DESCRIBE = 6 };
    static const char *const pragmas[] = {"table_info",   "table_xinfo",   "table_list",
                                          "index_list",   "index_info",    "foreign_key_list",
                                          "user_version", "application_id"};
    for (size_t i = 0; i < sizeof pragmas / sizeof *pragmas; i++)
        if ((i < N_DESCRIBE || !with_argument) && strcmp(pragma, pragmas[i]) == 0) return true;
    return false;
}

static int authorize(void *ctx, int action, const char *a, const char *b, const char *c,
                     const char *d) {
    static const char table[] = "pragma_"; // of table-valued functions
    size_t n = sizeof table - 1;
    bool ok = false;
    (void)ctx, (void)c, (void)d;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
        ok = true;
        break;
    case SQLITE_READ:
        ok = strncmp(a, table, n) != 0 || is_harmless(a + n, false);
        break;
    // What SQLite asks when a table-valued function is first used. A statement that means it does
    // not read only, which is looked at afterwards.
    case SQLITE_UPDATE:
        ok = strcmp(a, "sqlite_master") == 0;
        break;
    case SQLITE_FUNCTION: // these reach beyond the database
        ok = strcmp(b, "load_extension") != 0 && strcmp(b, "fts3_tokenizer") != 0;
        break;
    case SQLITE_PRAGMA:
        ok = is_harmless(a, b != NULL);
        break;
    default:
        break;
    }
    return ok ? SQLITE_OK : SQLITE_DENY;
}

// Codes that speak of what was asked, not of the file or the machine.
static bool is_mistake(int code) {
    return code == SQLITE_ERROR || code == SQLITE_AUTH || code == SQLITE_TOOBIG ||
           code == SQLITE_MISMATCH || code == SQLITE_CONSTRAINT || code == SQLITE_RANGE;
}

// SQLite's message for a text that does not compile.
static int wrong_sql(const hs_query *q) {
    const char *msg = sqlite3_errmsg(q->db->sql);
    int code = sqlite3_errcode(q->db->sql) & 0xff;
    if (!is_mistake(code)) return hs_sql_fail(q->db, "reading");
    if (code == SQLITE_AUTH)
        return hs_fail(HS_EARG, "only reading is allowed: one SELECT (%s)", msg);
    return hs_fail(HS_EARG, "%s", msg);
}

static int compile(hs_query *q, const char *sql) {
    sqlite3_stmt *second = NULL;
    const char *rest = NULL;
    sqlite3_set_authorizer(q->db->sql, authorize, NULL);
    int rc = sqlite3_prepare_v2(q->db->sql, sql, -1, &q->stmt, &rest) ? wrong_sql(q) : HS_OK;
    // What follows may be comments.
    if (!rc && (sqlite3_prepare_v2(q->db->sql, rest, -1, &second, NULL) || second))
        rc = hs_fail(HS_EARG, "more than one statement: give one SELECT");
    sqlite3_finalize(second);
    sqlite3_set_authorizer(q->db->sql, NULL, NULL);
    if (!rc && !q->stmt) rc = hs_fail(HS_EARG, "an empty statement: give one SELECT");
    if (!rc && !sqlite3_stmt_readonly(q->stmt))
        rc = hs_fail(HS_EARG, "only reading is allowed: one SELECT");
    return rc;
}

static const hs_query_info *find_named(const char *name) {
    for (const hs_query_info *q = hs_queries; q->name; q++)
        if (strcmp(q->name, name) == 0) return q;
    return NULL;
}

static int unknown_query(const char *name) {
    hs_buf all = {0};
    for (const hs_query_info *q = hs_queries; q->name; q++)
        hs_buf_printf(&all, "%s%s", q == hs_queries ? "" : ", ", q->name);
    int rc = hs_fail(HS_ENOTFOUND, "no query '%s': there are %s; or write SQL", name,
                     hs_buf_text(&all));
    hs_buf_free(&all);
    return rc;
}

// ---- parameters --------------------------------------------------------------------------------

static bool read_number(const char *s, bool *is_int, int64_t *i, double *f) {
    char *end;
    errno = 0;
    *i = strtoll(s, &end, 10);
    *is_int = end != s && !*end && errno == 0;
    if (*is_int) return true;
    *f = strtod(s, &end);
    return end != s && !*end && isfinite(*f);
}

// The choice that `value` names in "first|second"; a fallback without '|' allows everything.
static bool is_choice(const char *choices, const char *value) {
    size_t n = strlen(value);
    if (!strchr(choices, '|')) return true;
    for (const char *at = choices; *at;) {
        size_t len = strcspn(at, "|");
        if (len == n && memcmp(at, value, n) == 0) return true;
        at += len + (at[len] == '|');
    }
    return false;
}

// Binds text as the number that it is; numbers are required where the fallback is one.
static int bind_text(hs_query *q, int at, const char *name, const char *fallback,
                     const char *value) {
    bool is_int, want_int;
    int64_t i, unused_i;
    double f = 0, unused_f;
    bool number = read_number(value, &is_int, &i, &f);
    bool want = fallback && read_number(fallback, &want_int, &unused_i, &unused_f);
    if (want && !number)
        return hs_fail(HS_EARG, "parameter %s takes a number, not '%s'", name, value);
    if (fallback && !is_choice(fallback, value))
        return hs_fail(HS_EARG, "parameter %s is one of %s, not '%s'", name, fallback, value);
    int rc;
    if (!number || (fallback && !want))
        rc = sqlite3_bind_text(q->stmt, at, value, -1, SQLITE_TRANSIENT);
    else if (is_int)
        rc = sqlite3_bind_int64(q->stmt, at, i);
    else
        rc = sqlite3_bind_double(q->stmt, at, f);
    return rc ? hs_sql_fail(q->db, "binding a parameter") : HS_OK;
}

static int bind_given(hs_query *q, int at, const char *name, const hs_query_info *info,
                      const hs_query_opts *o) {
    char fallback[128], first[128];
    const char *value = hs_query_given(o, name);
    bool has = hs_query_declared(info, name, fallback, sizeof fallback);
    if (value) return bind_text(q, at, name, has ? fallback : NULL, value);
    if (!has || !fallback[0])
        return hs_fail(HS_EARG, "parameter %s is missing: give --param %s=...", name, name);
    snprintf(first, sizeof first, "%.*s", (int)strcspn(fallback, "|"), fallback);
    return bind_text(q, at, name, fallback, first);
}

static int bind_prompt(hs_query *q, int at, const hs_query_opts *o) {
    int64_t run, prompt;
    int rc = HS_OK;
    if (!o->prompt) return HS_OK; // stays NULL
    rc = hs_db_run(q->db, o->run, &run);
    if (!rc) rc = hs_db_prompt(q->db, run, o->prompt, &prompt);
    if (!rc && sqlite3_bind_int64(q->stmt, at, prompt)) rc = hs_sql_fail(q->db, "binding");
    return rc;
}

static int bind_run(hs_query *q, int at, const hs_query_opts *o) {
    int64_t run;
    int rc = hs_db_run(q->db, o->run, &run);
    if (!rc && sqlite3_bind_int64(q->stmt, at, run)) rc = hs_sql_fail(q->db, "binding");
    return rc;
}

static int bind_all(hs_query *q, const hs_query_info *info, const hs_query_opts *o) {
    int rc = HS_OK;
    for (int i = 1; i <= sqlite3_bind_parameter_count(q->stmt) && !rc; i++) {
        const char *name = sqlite3_bind_parameter_name(q->stmt, i);
        if (!name || name[0] == '?')
            rc = hs_fail(HS_EARG, "'?' has no name: write :name and give --param name=...");
        else if (strcmp(name, ":run") == 0)
            rc = bind_run(q, i, o);
        else if (strcmp(name, ":prompt") == 0)
            rc = bind_prompt(q, i, o);
        else
            rc = bind_given(q, i, name + 1, info, o);
    }
    return rc;
}

// Whatever was given must have had an effect.
static int check_used(const hs_query *q, const hs_query_info *info, const hs_query_opts *o) {
    char name[66], fallback[8], help[8], shown[64];
    hs_buf all = {0};
    if (o->prompt && !sqlite3_bind_parameter_index(q->stmt, ":prompt"))
        return hs_fail(HS_EARG, "this query is not about one prompt: leave --prompt out, or use "
                                ":prompt in your SQL");
    for (int i = 0; i < o->n_param; i++) {
        size_t n = strcspn(o->param[i], "=");
        if (!o->param[i][n] || n == 0 || n > 60)
            return hs_fail(HS_EARG, "parameter '%s': write name=value", o->param[i]);
        snprintf(name, sizeof name, ":%.*s", (int)n, o->param[i]);
        if (sqlite3_bind_parameter_index(q->stmt, name) && strcmp(name, ":run") &&
            strcmp(name, ":prompt"))
            continue;
        for (int k = 0; info && hs_query_param(info, k, shown, sizeof shown, fallback,
                                               sizeof fallback, help, sizeof help);
             k++)
            hs_buf_printf(&all, "%s%s", k ? ", " : ": it has ", shown);
        int rc = hs_fail(HS_EARG, "the query has no parameter '%s'%s", name + 1, hs_buf_text(&all));
        hs_buf_free(&all);
        return rc;
    }
    return HS_OK;
}

// ---- running -----------------------------------------------------------------------------------

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// Asked every so many steps of SQLite's machine. Only time spent in it counts: a reader who pages
// through the rows may take his own.
static int must_stop(void *ctx) {
    hs_query *q = ctx;
    if (!q->stopped && q->max_seconds > 0 && q->spent + now() - q->began > q->max_seconds)
        q->stopped = HS_E;
    if (!q->stopped) q->stopped = hs_progress_step(q->progress, "query", q->n_row, 0);
    return q->stopped != HS_OK;
}

// ---- limits of own SQL --------------------------------------------------------------------------

// What a stranger's SQL may take: no value longer than our longest chunk, no attached file, and
// memory for sorting up to a bound rather than files beside. The bound on memory is the process's.
static const struct {
    int id, value;
} limits[N_LIMIT] = {{SQLITE_LIMIT_LENGTH, (int)HS_CHUNK_MAX + (1 << 20)},
                     {SQLITE_LIMIT_SQL_LENGTH, 1000000},
                     {SQLITE_LIMIT_EXPR_DEPTH, 1000},
                     {SQLITE_LIMIT_COMPOUND_SELECT, 500},
                     {SQLITE_LIMIT_VDBE_OP, 1000000},
                     {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000},
                     {SQLITE_LIMIT_ATTACHED, 0}};
#define MEMORY_MAX ((int64_t)1 << 30)

static int limit_own(hs_query *q) {
    q->own = true;
    for (int i = 0; i < N_LIMIT; i++)
        q->limit[i] = sqlite3_limit(q->db->sql, limits[i].id, limits[i].value);
    q->memory = sqlite3_hard_heap_limit64(MEMORY_MAX);
    return hs_sql_exec(q->db, "PRAGMA temp_store = MEMORY");
}

static void unlimit(hs_query *q) {
    if (!q->own) return;
    for (int i = 0; i < N_LIMIT; i++) sqlite3_limit(q->db->sql, limits[i].id, q->limit[i]);
    sqlite3_hard_heap_limit64(q->memory);
}

// ---- steps --------------------------------------------------------------------------------------

int hs_query_open(hs_query **out, hs_db *db, const char *what, const hs_query_opts *o) {
    static const hs_query_opts none = {0};
    hs_query *q;
    *out = NULL;
    if (!o) o = &none;
    const hs_query_info *info = find_named(what);
    if (!info && !strpbrk(what, " \t\n")) return unknown_query(what);
    int rc = info ? hs_query_check(db, info, o) : HS_OK;
    if (!rc) rc = hs_alloc(&q, 1, sizeof *q);
    if (rc) return rc;
    q->db = db;
    q->max_rows = o->max_rows;
    q->max_seconds = o->max_seconds;
    q->progress = o->progress;
    if (!info) rc = limit_own(q);
    if (!rc) rc = compile(q, info ? info->text : what);
    if (!rc) rc = check_used(q, info, o);
    if (!rc) rc = bind_all(q, info, o);
    if (rc)
        hs_query_close(q);
    else
        *out = q;
    return rc;
}

void hs_query_close(hs_query *q) {
    if (!q) return;
    sqlite3_finalize(q->stmt);
    unlimit(q);
    free(q);
}

int hs_query_columns(const hs_query *q) {
    return sqlite3_column_count(q->stmt);
}

const char *hs_query_column(const hs_query *q, int i) {
    return sqlite3_column_name(q->stmt, i);
}

static int step_failed(hs_query *q, int code) {
    int rc = q->db->att->rc;
    const char *msg = sqlite3_errmsg(q->db->sql);
    if (q->stopped == HS_E)
        return hs_fail(HS_E,
                       "the query takes longer than %g s: ask for less, or raise --max-seconds",
                       q->max_seconds);
    if (q->stopped) return hs_fail(q->stopped, "interrupted");
    if (code == SQLITE_ERROR && rc) return hs_fail(rc, "%s", msg);
    if (code == SQLITE_NOMEM && q->own)
        return hs_fail(HS_ENOMEM, "the query needs too much memory (%d MB at most): ask for less",
                       (int)(MEMORY_MAX >> 20));
    // A query of ours makes no mistakes: numbers that overflow a sum are the database's.
    return q->own && is_mistake(code) ? hs_fail(HS_EARG, "%s", msg) : hs_sql_fail(q->db, "reading");
}

int hs_query_step(hs_query *q, bool *row) {
    enum { STEPS = 1000 };
    *row = false;
    if (q->cut) return HS_OK;
    q->db->att->rc = q->stopped = HS_OK;
    q->began = now();
    sqlite3_progress_handler(q->db->sql, STEPS, must_stop, q);
    int step = sqlite3_step(q->stmt);
    sqlite3_progress_handler(q->db->sql, 0, NULL, NULL);
    q->spent += now() - q->began;
    if (step != SQLITE_ROW && step != SQLITE_DONE) return step_failed(q, step & 0xff);
    // One row beyond the limit is looked for, to tell whether there are more.
    q->cut = step == SQLITE_ROW && q->max_rows && q->n_row >= q->max_rows;
    *row = step == SQLITE_ROW && !q->cut;
    q->n_row += *row;
    return HS_OK;
}

bool hs_query_cut(const hs_query *q) {
    return q->cut;
}

hs_cell hs_query_cell(const hs_query *q, int i) {
    hs_cell c = {.type = HS_CELL_NULL};
    switch (sqlite3_column_type(q->stmt, i)) {
    case SQLITE_INTEGER:
        c.type = HS_CELL_INT;
        c.i = sqlite3_column_int64(q->stmt, i);
        c.f = (double)c.i;
        break;
    case SQLITE_FLOAT:
        c.type = HS_CELL_NUM;
        c.f = sqlite3_column_double(q->stmt, i);
        break;
    case SQLITE_TEXT:
        c.type = HS_CELL_TEXT;
        c.data = sqlite3_column_text(q->stmt, i);
        c.n = (size_t)sqlite3_column_bytes(q->stmt, i);
        break;
    case SQLITE_BLOB:
        c.type = HS_CELL_BLOB;
        c.data = sqlite3_column_blob(q->stmt, i);
        c.n = (size_t)sqlite3_column_bytes(q->stmt, i);
        break;
    default:
        break;
    }
    return c;
}

hs_cell hs_query_named(const hs_query *q, const char *column) {
    for (int i = 0; i < hs_query_columns(q); i++)
        if (strcmp(hs_query_column(q, i), column) == 0) return hs_query_cell(q, i);
    return (hs_cell){.type = HS_CELL_NULL};
}

double hs_query_num(const hs_query *q, const char *column) {
    hs_cell c = hs_query_named(q, column);
    return c.type == HS_CELL_NUM ? c.f : c.type == HS_CELL_INT ? (double)c.i : NAN;
}

int64_t hs_query_int(const hs_query *q, const char *column) {
    hs_cell c = hs_query_named(q, column);
    return c.type == HS_CELL_INT ? c.i : 0;
}

void hs_query_text(const hs_query *q, const char *column, char *out, size_t n) {
    hs_cell c = hs_query_named(q, column);
    bool text = c.type == HS_CELL_TEXT;
    snprintf(out, n, "%.*s", text ? (int)c.n : 0, text ? (const char *)c.data : "");
}

int hs_query_each(hs_db *db, const char *what, const hs_query_opts *opts, hs_row_fn fn, void *ctx) {
    hs_query *q = NULL;
    bool row = true;
    int rc = hs_query_open(&q, db, what, opts);
    while (!rc && row) {
        rc = hs_query_step(q, &row);
        if (!rc && row) rc = fn(ctx, q);
    }
    hs_query_close(q);
    return rc;
}
