// Queries; see query.h. A named query is our own text; anybody else's SQL is compiled under an
// authorizer that allows reading and nothing else, and must be one statement.
#include "db/query.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "analyses/observer.h"
#include "db/att_internal.h"
#include "model/core/mem.h"

const hs_query_info hs_queries[] = {
#define HS_QUERY(name, text) {#name, text},
#include "gen/queries.inc"
#undef HS_QUERY
    {0},
};

struct hs_query {
    hs_db *db;
    sqlite3_stmt *stmt;
    int64_t max_rows, n_row;
    double deadline; // of the monotonic clock; 0 = none
};

// ---- the lines that describe a named query -----------------------------------------------------

static void copy(char *out, size_t n, const char *s, size_t len) {
    while (len && (*s == ' ' || *s == '\n')) s++, len--;
    while (len && (s[len - 1] == ' ' || s[len - 1] == '\n')) len--;
    snprintf(out, n, "%.*s", (int)len, s);
}

// The rest of the i-th line that begins with `head`; NULL past the last.
static const char *line_of(const char *text, const char *head, int i, size_t *len) {
    for (; strncmp(text, "--", 2) == 0; text += *len + (text[*len] == '\n')) {
        *len = strcspn(text, "\n");
        if (strncmp(text, head, strlen(head)) == 0 && i-- == 0) {
            *len -= strlen(head);
            return text + strlen(head);
        }
    }
    return NULL;
}

int hs_query_title(const hs_query_info *q, char *out, size_t n) {
    size_t len;
    const char *line = line_of(q->text, "-- title:", 0, &len);
    if (!line) return hs_fail(HS_ENOTFOUND, "query %s has no title", q->name);
    copy(out, n, line, len);
    return HS_OK;
}

bool hs_query_param(const hs_query_info *q, int i, char *name, size_t n_name, char *fallback,
                    size_t n_fallback, char *help, size_t n_help) {
    size_t len;
    const char *line = line_of(q->text, "-- param:", i, &len);
    if (!line) return false;
    // NAME = FALLBACK : HELP
    const char *end = line + len, *eq = memchr(line, '=', len);
    const char *colon = eq ? memchr(eq, ':', (size_t)(end - eq)) : NULL;
    if (!eq) eq = end;
    if (!colon) colon = end;
    copy(name, n_name, line, (size_t)(eq - line));
    copy(fallback, n_fallback, eq + 1, eq < end ? (size_t)(colon - eq - 1) : 0);
    copy(help, n_help, colon + 1, colon < end ? (size_t)(end - colon - 1) : 0);
    return true;
}

// ---- compiling ---------------------------------------------------------------------------------

static int authorize(void *ctx, int action, const char *a, const char *b, const char *c,
                     const char *d) {
    // Those that describe the schema take an argument; the others would set something with one.
    enum { N_DESCRIBE = 6 };
    static const char *const pragmas[] = {"table_info",   "table_xinfo",   "table_list",
                                          "index_list",   "index_info",    "foreign_key_list",
                                          "user_version", "application_id"};
    (void)ctx, (void)c, (void)d;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    // What SQLite asks when a table-valued function is first used. A statement that means it does
    // not read only, which is looked at afterwards.
    case SQLITE_UPDATE:
        return strcmp(a, "sqlite_master") ? SQLITE_DENY : SQLITE_OK;
    case SQLITE_FUNCTION:
        return strcmp(b, "load_extension") ? SQLITE_OK : SQLITE_DENY;
    case SQLITE_PRAGMA:
        for (size_t i = 0; i < sizeof pragmas / sizeof *pragmas; i++)
            if ((i < N_DESCRIBE || !b) && strcmp(a, pragmas[i]) == 0) return SQLITE_OK;
        return SQLITE_DENY;
    default:
        return SQLITE_DENY;
    }
}

// SQLite's message for a text that does not compile.
static int wrong_sql(const hs_query *q) {
    const char *msg = sqlite3_errmsg(q->db->sql);
    int code = sqlite3_errcode(q->db->sql) & 0xff;
    if (code != SQLITE_ERROR && code != SQLITE_AUTH) return hs_sql_fail(q->db, "reading");
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

// ---- what a named query needs -------------------------------------------------------------------

// The value that was given for a parameter: the last one counts. NULL when there is none.
static const char *given(const hs_query_opts *o, const char *name) {
    size_t n = strlen(name);
    for (int i = o->n_param - 1; i >= 0; i--)
        if (strncmp(o->param[i], name, n) == 0 && o->param[i][n] == '=') return o->param[i] + n + 1;
    return NULL;
}

// The declared fallback of a parameter; false when the query declares none of that name.
static bool declared(const hs_query_info *info, const char *name, char *fallback, size_t n) {
    char have[64], help[8];
    for (int i = 0;
         info && hs_query_param(info, i, have, sizeof have, fallback, n, help, sizeof help); i++)
        if (strcmp(have, name) == 0) return true;
    return false;
}

// Whether an observer has looked at the run (the prompt, when one is given).
static int has_looked(hs_db *db, const char *name, size_t n, int64_t run, int64_t prompt,
                      bool *out) {
    int64_t one;
    hs_v v[] = {hs_v_textn(name, n), hs_v_int(run), hs_v_int(prompt)};
    return hs_sql_int(db,
                      "SELECT 1 FROM prompt AS p JOIN analysis_run AS r ON r.prompt_id = p.id "
                      "JOIN analysis AS a ON a.id = r.analysis_id AND a.name = ?1 "
                      "WHERE p.run_id = ?2 AND ?3 IN (0, p.id) LIMIT 1",
                      v, 3, &one, out);
}

// The observer that gives a metric; NULL for a name that none has.
static const char *giver_of(const char *metric) {
    for (int i = 0; hs_observers[i]; i++)
        for (const hs_metric *m = hs_observers[i]->metrics; m && m->name; m++)
            if (strcmp(m->name, metric) == 0) return hs_observers[i]->name;
    return NULL;
}

static int no_metric(hs_db *db, const char *metric, int64_t run) {
    const char *giver = giver_of(metric);
    sqlite3_stmt *s = NULL;
    bool row = false;
    hs_v v = hs_v_int(run);
    if (giver)
        return hs_fail(HS_ENOTFOUND,
                       "run %" PRId64 " has no %s: record it with --observe %s, or run "
                       "`headscope observe %s`",
                       run, metric, giver, giver);
    int rc = hs_sql_prepare(db, &s,
                            "SELECT group_concat(metric, ', ') FROM (SELECT DISTINCT m.metric "
                            "FROM prompt AS p JOIN head_metric AS m ON m.prompt_id = p.id "
                            "WHERE p.run_id = ? ORDER BY 1)");
    if (!rc) rc = hs_sql_bind(db, s, &v, 1);
    if (!rc) rc = hs_sql_step(db, s, &row);
    const char *all = row ? (const char *)sqlite3_column_text(s, 0) : NULL;
    if (!rc)
        rc = hs_fail(HS_ENOTFOUND, "run %" PRId64 " has no metric '%s': it has %s", run, metric,
                     all ? all : "none");
    sqlite3_finalize(s);
    return rc;
}

// Whether the run has the metric that the parameter of this name says.
static int check_metric(hs_db *db, const hs_query_info *info, const hs_query_opts *o, int64_t run,
                        int64_t prompt) {
    int64_t one;
    bool found = false;
    char fallback[128] = "";
    const char *metric = given(o, "metric");
    if (!metric && declared(info, "metric", fallback, sizeof fallback)) metric = fallback;
    hs_v v[] = {hs_v_text(metric), hs_v_int(run), hs_v_int(prompt)};
    int rc = hs_sql_int(db,
                        "SELECT 1 FROM prompt AS p CROSS JOIN head_metric AS m "
                        "ON m.prompt_id = p.id AND m.metric = ?1 "
                        "WHERE p.run_id = ?2 AND ?3 IN (0, p.id) LIMIT 1",
                        v, 3, &one, &found);
    if (rc || found) return rc;
    return no_metric(db, metric, run);
}

static int nobody_looked(const char *needs, size_t len, int64_t run, const char *prompt) {
    hs_buf names = {0};
    const char *bar = memchr(needs, '|', len);
    int first = (int)(bar ? (size_t)(bar - needs) : len);
    for (size_t i = 0; i < len; i++)
        if (needs[i] == '|')
            hs_buf_str(&names, " or ");
        else
            hs_buf_chr(&names, needs[i]);
    int rc = hs_fail(HS_ENOTFOUND,
                     "run %" PRId64 "%s%s has no results of %s: record it with --observe %.*s, "
                     "or run `headscope observe %.*s`",
                     run, prompt ? ", prompt " : "", prompt ? prompt : "", hs_buf_text(&names),
                     first, needs, first, needs);
    hs_buf_free(&names);
    return rc;
}

// Without any of the observers that a query names, it would give no rows, which says something else.
static int check_needs(hs_db *db, const hs_query_info *info, const hs_query_opts *o) {
    size_t len, n;
    int64_t run, prompt = 0;
    bool found = false;
    const char *needs = line_of(info->text, "-- needs: ", 0, &len);
    if (!needs) return HS_OK;
    int rc = hs_db_run(db, o->run, &run);
    if (!rc && o->prompt) rc = hs_db_prompt(db, run, o->prompt, &prompt);
    if (!rc && needs[0] == ':') return check_metric(db, info, o, run, prompt);
    for (size_t at = 0; at < len && !rc && !found; at += n + 1) {
        const char *bar = memchr(needs + at, '|', len - at);
        n = bar ? (size_t)(bar - needs) - at : len - at;
        rc = has_looked(db, needs + at, n, run, prompt, &found);
    }
    return rc || found ? rc : nobody_looked(needs, len, run, o->prompt);
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
    const char *value = given(o, name);
    bool has = declared(info, name, fallback, sizeof fallback);
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

static int out_of_time(void *ctx) {
    return now() > ((const hs_query *)ctx)->deadline;
}

int hs_query_open(hs_query **out, hs_db *db, const char *what, const hs_query_opts *o) {
    static const hs_query_opts none = {0};
    hs_query *q;
    *out = NULL;
    if (!o) o = &none;
    const hs_query_info *info = find_named(what);
    if (!info && !strpbrk(what, " \t\n")) return unknown_query(what);
    int rc = info ? check_needs(db, info, o) : HS_OK;
    if (!rc) rc = hs_alloc(&q, 1, sizeof *q);
    if (rc) return rc;
    q->db = db;
    q->max_rows = o->max_rows;
    if (o->max_seconds > 0) q->deadline = now() + o->max_seconds;
    rc = compile(q, info ? info->text : what);
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
    free(q);
}

int hs_query_columns(const hs_query *q) {
    return sqlite3_column_count(q->stmt);
}

const char *hs_query_column(const hs_query *q, int i) {
    return sqlite3_column_name(q->stmt, i);
}

int hs_query_step(hs_query *q, bool *row) {
    *row = false;
    if (q->max_rows && q->n_row >= q->max_rows) return HS_OK;
    q->db->att->rc = HS_OK;
    if (q->deadline) sqlite3_progress_handler(q->db->sql, 10000, out_of_time, q);
    int step = sqlite3_step(q->stmt);
    if (q->deadline) sqlite3_progress_handler(q->db->sql, 0, NULL, NULL);
    *row = step == SQLITE_ROW;
    q->n_row += *row;
    if (step == SQLITE_ROW || step == SQLITE_DONE) return HS_OK;
    int code = step & 0xff;
    if (code == SQLITE_INTERRUPT)
        return hs_fail(HS_E, "the query takes too long and was stopped: ask for less");
    if (code == SQLITE_ERROR)
        return hs_fail(q->db->att->rc ? q->db->att->rc : HS_EARG, "%s", sqlite3_errmsg(q->db->sql));
    return hs_sql_fail(q->db, "reading");
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
