// The rows of a published table, one by one, and what becomes of paths on the way.
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "db/publish_internal.h"

typedef hs_publish_copy copy;

// ---- paths --------------------------------------------------------------------------------------

static bool begins_path(const char *s, size_t n) {
    if (n > 1 && s[0] == '/' && s[1] != '/') return true;
    return (n > 1 && memcmp(s, "~/", 2) == 0) || (n > 1 && memcmp(s, "./", 2) == 0) ||
           (n > 2 && memcmp(s, "../", 3) == 0);
}

// Where the name of the path s[0..n) begins; 0 when it has none.
static size_t path_name(const char *s, size_t n) {
    // A model from the cache of a hub: what follows says which.
    const char *hub = memmem(s, n, "/models--", 9);
    if (hub) return (size_t)(hub + 1 - s);
    while (n && s[n - 1] == '/') n--;
    const char *slash = n ? memrchr(s, '/', n) : NULL;
    return slash ? (size_t)(slash + 1 - s) : 0;
}

void hs_publish_cut(hs_buf *out, const char *text, size_t n, int64_t *changed) {
    bool found = false;
    for (size_t i = 0; i < n;) {
        size_t len = 0;
        // The start of a text, of a JSON string, or of the value of an option.
        if ((i == 0 || strchr("\"=:,@", text[i - 1])) && begins_path(text + i, n - i))
            while (i + len < n && !strchr("\",", text[i + len]))
                len += text[i + len] == '\\' && i + len + 1 < n ? 2 : 1;
        size_t skip = path_name(text + i, len);
        found |= skip > 0;
        i += skip;
        len = len > skip ? len - skip : 1;
        hs_buf_add(out, text + i, len);
        i += len;
    }
    *changed += found;
}

// ---- one table ----------------------------------------------------------------------------------

// What happens to a column on its way.
enum change { AS_IS, PATHS, SOURCE, BASELINE, ORD };
static const struct {
    const char *table, *column;
    enum change change;
} changes[] = {
    {"model", "source", SOURCE},     {"run", "argv_json", PATHS},
    {"run", "options_json", PATHS},  {"run", "baseline_run_id", BASELINE},
    {"intervention", "spec", PATHS}, {"prompt", "ord", ORD},
    {"prompt", "extra_json", PATHS}, {"analysis_run", "params_json", PATHS},
};

static enum change change_of(const copy *c, const char *table, const char *column) {
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        if (strcmp(changes[i].table, table) == 0 && strcmp(changes[i].column, column) == 0) {
            enum change ch = changes[i].change;
            bool path = ch == PATHS || ch == SOURCE;
            return (path && c->opts->keep_paths) || (ch == ORD && !c->opts->prompt) ? AS_IS : ch;
        }
    return AS_IS;
}

int hs_publish_failed(const copy *c) {
    int code = sqlite3_errcode(c->to->sql) & 0xff, error = sqlite3_system_errno(c->to->sql);
    if (code == SQLITE_FULL || code == SQLITE_IOERR)
        return hs_outfile_fail(c->path, error || code == SQLITE_IOERR ? error : ENOSPC);
    return hs_sql_fail(c->to, "writing");
}

// Two models of the same file in two folders keep different sources.
static int distinct(const copy *c, hs_buf *source, int64_t id) {
    int64_t one;
    bool taken = false;
    hs_v v = hs_v_textn(hs_buf_text(source), source->len);
    int rc = hs_sql_int(c->to, "SELECT 1 FROM model WHERE source = ?", &v, 1, &one, &taken);
    if (!rc && taken) hs_buf_printf(source, " (model %" PRId64 ")", id);
    return rc;
}

static int bind_paths(copy *c, sqlite3_stmt *put, sqlite3_stmt *get, int i, bool source) {
    hs_buf b = {0};
    const char *text = (const char *)sqlite3_column_text(get, i);
    int rc = HS_OK;
    if (!text) return HS_OK; // stays NULL
    hs_publish_cut(&b, text, (size_t)sqlite3_column_bytes(get, i), &c->result->paths);
    if (source) rc = distinct(c, &b, sqlite3_column_int64(get, 0));
    if (!rc) rc = hs_buf_rc(&b);
    if (!rc &&
        sqlite3_bind_text64(put, i + 1, hs_buf_text(&b), b.len, SQLITE_TRANSIENT, SQLITE_UTF8))
        rc = hs_publish_failed(c);
    hs_buf_free(&b);
    return rc;
}

static int bind_baseline(copy *c, sqlite3_stmt *put, sqlite3_stmt *get, int i) {
    hs_buf sql = {0};
    int64_t one;
    bool there = false;
    if (sqlite3_column_type(get, i) == SQLITE_NULL) return HS_OK;
    hs_v v = hs_v_int(sqlite3_column_int64(get, i));
    hs_buf_printf(&sql, "SELECT 1 FROM run WHERE id = ? AND %s", hs_buf_text(&c->runs));
    int rc = hs_buf_rc(&sql);
    if (!rc) rc = hs_sql_int(c->from, hs_buf_text(&sql), &v, 1, &one, &there);
    hs_buf_free(&sql);
    if (!rc && !there) c->result->baselines++;
    if (!rc && there && sqlite3_bind_int64(put, i + 1, v.i)) rc = hs_publish_failed(c);
    return rc;
}

static int put_row(copy *c, sqlite3_stmt *put, sqlite3_stmt *get, const char *table) {
    int rc = HS_OK;
    sqlite3_reset(put);
    sqlite3_clear_bindings(put);
    for (int i = 0; i < sqlite3_column_count(get) && !rc; i++)
        switch (change_of(c, table, sqlite3_column_name(get, i))) {
        case AS_IS:
            if (sqlite3_bind_value(put, i + 1, sqlite3_column_value(get, i)))
                rc = hs_publish_failed(c);
            break;
        case PATHS:
            rc = bind_paths(c, put, get, i, false);
            break;
        case SOURCE:
            rc = bind_paths(c, put, get, i, true);
            break;
        case BASELINE:
            rc = bind_baseline(c, put, get, i);
            break;
        case ORD:
            if (sqlite3_bind_int64(put, i + 1, 0)) rc = hs_publish_failed(c);
            break;
        }
    if (!rc && sqlite3_step(put) != SQLITE_DONE) rc = hs_publish_failed(c);
    return rc;
}

void hs_publish_name(hs_buf *out, const char *name) {
    hs_buf_chr(out, '"');
    for (; *name; name++) hs_buf_printf(out, *name == '"' ? "\"\"" : "%c", *name);
    hs_buf_chr(out, '"');
}

int hs_publish_columns(hs_db *db, const char *table, void (*fn)(hs_buf *, sqlite3_stmt *, int i),
                       hs_buf *out) {
    sqlite3_stmt *s = NULL;
    hs_v v = hs_v_text(table);
    bool row = false;
    int rc = hs_sql_prepare(db, &s,
                            "SELECT name, type, \"notnull\", pk FROM pragma_table_info(?) "
                            "ORDER BY cid");
    if (!rc) rc = hs_sql_bind(db, s, &v, 1);
    if (!rc) rc = hs_sql_step(db, s, &row);
    for (int i = 0; !rc && row; i++) {
        fn(out, s, i);
        rc = hs_sql_step(db, s, &row);
    }
    sqlite3_finalize(s);
    return rc ? rc : hs_buf_rc(out);
}

static void list_column(hs_buf *out, sqlite3_stmt *s, int i) {
    if (i) hs_buf_str(out, ", ");
    hs_publish_name(out, (const char *)sqlite3_column_text(s, 0));
}

static void list_mark(hs_buf *out, sqlite3_stmt *s, int i) {
    (void)s;
    hs_buf_str(out, i ? ", ?" : "?");
}

static int copy_rows(copy *c, const char *table, sqlite3_stmt *put, sqlite3_stmt *get) {
    enum { STEP = 64 }; // rows between looks at Ctrl-C
    bool row = false;
    int rc = hs_sql_step(c->from, get, &row);
    for (int64_t i = 0; !rc && row; i++) {
        if (i % STEP == 0) rc = hs_progress_step(c->progress, "publishing", c->done, c->total);
        c->done++;
        if (!rc) rc = put_row(c, put, get, table);
        if (!rc) rc = hs_sql_step(c->from, get, &row);
    }
    return rc;
}

int hs_publish_table(copy *c, const char *table) {
    hs_buf sql = {0};
    sqlite3_stmt *get = NULL, *put = NULL;
    hs_buf_str(&sql, "SELECT ");
    int rc = hs_publish_columns(c->from, table, list_column, &sql);
    hs_buf_str(&sql, " FROM ");
    hs_publish_name(&sql, table);
    hs_buf_str(&sql, " WHERE ");
    hs_publish_where(c, &sql, table);
    if (!rc) rc = hs_buf_rc(&sql);
    if (!rc) rc = hs_sql_prepare(c->from, &get, hs_buf_text(&sql));
    hs_buf_clear(&sql);
    hs_buf_str(&sql, "INSERT INTO ");
    hs_publish_name(&sql, table);
    hs_buf_str(&sql, " VALUES (");
    if (!rc) rc = hs_publish_columns(c->from, table, list_mark, &sql);
    hs_buf_chr(&sql, ')');
    if (!rc) rc = hs_buf_rc(&sql);
    if (!rc) rc = hs_sql_prepare(c->to, &put, hs_buf_text(&sql));
    if (!rc) rc = copy_rows(c, table, put, get);
    sqlite3_finalize(get);
    sqlite3_finalize(put);
    hs_buf_free(&sql);
    return rc;
}
