// Publishing; see publish.h. The copy is a new database that takes the chosen rows in the order of
// their keys, so that its pages are as full as those of VACUUM and nothing deleted comes along.
//
// Tables of ours are made by schema.c; an analysis's own tables are made anew from the columns and
// key that they have, so that no SQL of a stranger's file goes on; other tables are left out.
// What tells of this machine (paths in the command line, in options, in a model's source) is cut to
// file names on the way.
#include "db/publish.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "db/publish_internal.h"
#include "model/core/outfile.h"

typedef hs_publish_copy copy;

int hs_publish_parse(const char *text, unsigned *out) {
    static const char *const names[] = {"maps", "acts", "stats"};
    *out = 0;
    for (const char *c = text ? text : ""; *c;) {
        size_t n = strcspn(c, ","), i = 0;
        while (i < 3 && (strlen(names[i]) != n || memcmp(names[i], c, n) != 0)) i++;
        if (i == 3)
            return hs_fail(HS_EARG, "--drop takes maps, acts, stats, joined by commas, not '%.*s'",
                           (int)n, c);
        *out |= 1u << i;
        c += n + (c[n] == ',' && c[n + 1]);
    }
    return HS_OK;
}

void hs_publish_result_free(hs_publish_result *r) {
    hs_buf_free(&r->pages);
    hs_buf_free(&r->left_out);
}

// ---- which rows ---------------------------------------------------------------------------------

static int conditions(copy *c) {
    const hs_publish_opts *o = c->opts;
    for (int i = 0; i < o->n_run; i++)
        hs_buf_printf(&c->runs, "%s%" PRId64, i ? ", " : "id IN (", o->run[i]);
    hs_buf_str(&c->runs, o->n_run ? ")" : "1");
    hs_buf_printf(&c->prompts, "run_id IN (SELECT id FROM run WHERE %s)", hs_buf_text(&c->runs));
    if (o->prompt) hs_buf_printf(&c->prompts, " AND id = %" PRId64, o->prompt);
    int rc = hs_buf_rc(&c->runs);
    return rc ? rc : hs_buf_rc(&c->prompts);
}

// The condition on the rows of a table, with @r and @p for those on runs and prompts, @m, @a, @s for
// what is left of maps, activations and statistics. The plus keeps SQLite from an index: the rows are
// to come in the order of their key.
#define OF_PROMPT "+prompt_id IN (SELECT id FROM prompt WHERE @p)"
static const struct {
    const char *table, *where;
} filters[] = {
    {"model", "id IN (SELECT model_id FROM run WHERE @r)"},
    {"run", "@r"},
    {"intervention", "+run_id IN (SELECT id FROM run WHERE @r)"},
    {"prompt", "@p"},
    {"map", OF_PROMPT " AND @m"},
    {"map_chunk", "+map_id IN (SELECT id FROM map WHERE " OF_PROMPT " AND @m)"},
    {"act", OF_PROMPT " AND @a"},
    {"act_chunk", "+act_id IN (SELECT id FROM act WHERE " OF_PROMPT " AND @a)"},
    {"row_series", OF_PROMPT " AND @s"},
    {"meta", "1"},
    {"analysis", "1"},
    {"metric", "1"},
    {"column_doc", "1"},
};

void hs_publish_where(const copy *c, hs_buf *sql, const char *table) {
    unsigned drop = c->opts->drop;
    const char *text = OF_PROMPT;
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (strcmp(filters[i].table, table) == 0) text = filters[i].where;
    for (; *text; text++) {
        if (*text != '@') {
            hs_buf_chr(sql, *text);
            continue;
        }
        switch (*++text) {
        case 'r':
            hs_buf_str(sql, hs_buf_text(&c->runs));
            break;
        case 'p':
            hs_buf_str(sql, hs_buf_text(&c->prompts));
            break;
        case 'm':
            hs_buf_str(sql, drop & HS_DROP_MAPS ? "point <> 'pattern'" : "1");
            hs_buf_str(sql, drop & HS_DROP_ACTS ? " AND point <> 'attn_scores'" : "");
            break;
        case 'a':
            hs_buf_str(sql, drop & HS_DROP_ACTS ? "0" : "1");
            break;
        default:
            hs_buf_str(sql, drop & HS_DROP_STATS ? "0" : "1");
            break;
        }
    }
}

// ---- tables -------------------------------------------------------------------------------------

static void declare_column(hs_buf *out, sqlite3_stmt *s, int i) {
    static const char *const types[] = {"INTEGER", "REAL", "TEXT", "BLOB"};
    static const char *const parents[] = {" REFERENCES prompt (id)",
                                          " REFERENCES analysis_run (id)"};
    const char *type = "ANY", *have = (const char *)sqlite3_column_text(s, 1);
    for (size_t k = 0; have && k < sizeof types / sizeof *types; k++)
        if (strcmp(types[k], have) == 0) type = types[k];
    hs_buf_str(out, i ? ",\n  " : "\n  ");
    if (i < 2)
        hs_buf_str(out, (const char *)sqlite3_column_text(s, 0));
    else
        hs_publish_name(out, (const char *)sqlite3_column_text(s, 0));
    hs_buf_printf(out, " %s%s%s", type, sqlite3_column_int(s, 2) ? " NOT NULL" : "",
                  i < 2 ? parents[i] : "");
}

static void declare_key(hs_buf *out, sqlite3_stmt *s, int i) {
    if (!sqlite3_column_int(s, 3)) return;
    if (i) hs_buf_str(out, ", ");
    if (i < 2)
        hs_buf_str(out, (const char *)sqlite3_column_text(s, 0));
    else
        hs_publish_name(out, (const char *)sqlite3_column_text(s, 0));
}

// Makes a table of an analysis as emit.c does.
static int make_table(copy *c, const char *table) {
    hs_buf sql = {0};
    bool plain = strspn(table, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(table);
    hs_buf_str(&sql, "CREATE TABLE ");
    if (plain)
        hs_buf_str(&sql, table);
    else
        hs_publish_name(&sql, table);
    hs_buf_str(&sql, " (");
    int rc = hs_publish_columns(c->from, table, declare_column, &sql);
    hs_buf_str(&sql, ",\n  PRIMARY KEY (");
    if (!rc) rc = hs_publish_columns(c->from, table, declare_key, &sql);
    hs_buf_str(&sql, ")\n) STRICT, WITHOUT ROWID");
    if (!rc) rc = hs_buf_rc(&sql);
    if (!rc && sqlite3_exec(c->to->sql, hs_buf_text(&sql), NULL, NULL, NULL))
        rc = hs_publish_failed(c);
    hs_buf_free(&sql);
    return rc;
}

// Whether the copy is to have a table; makes it when it is an analysis's.
static int take_table(copy *c, const char *table, bool *take) {
    int64_t one;
    hs_v v = hs_v_text(table);
    int rc = hs_sql_int(c->to, "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", &v,
                        1, &one, take);
    if (rc || *take) return rc;
    rc = hs_sql_int(c->from,
                    "SELECT 1 FROM pragma_table_info(?1) WHERE (cid = 0 AND name = 'prompt_id' OR "
                    "cid = 1 AND name = 'analysis_run_id') AND pk > 0 GROUP BY 1 "
                    "HAVING count(*) = 2",
                    &v, 1, &one, take);
    if (!rc && *take) return make_table(c, table);
    if (!rc)
        hs_buf_printf(&c->result->left_out, "%s%s", c->result->left_out.len ? ", " : "", table);
    return rc;
}

static int count_table(copy *c, const char *table) {
    int64_t n = 0;
    hs_buf sql = {0};
    hs_buf_str(&sql, "SELECT count(*) FROM ");
    hs_publish_name(&sql, table);
    hs_buf_str(&sql, " WHERE ");
    hs_publish_where(c, &sql, table);
    int rc = hs_buf_rc(&sql);
    if (!rc) rc = hs_sql_int(c->from, hs_buf_text(&sql), NULL, 0, &n, NULL);
    c->total += n;
    hs_buf_free(&sql);
    return rc;
}

// Calls fn for every table that goes into the copy. The core's come first, in the order in which
// they depend on each other.
static int each_table(copy *c, int (*fn)(copy *, const char *table)) {
    sqlite3_stmt *s = NULL;
    bool row = false, take;
    hs_buf_clear(&c->result->left_out);
    // Virtual tables have no page of their own.
    int rc = hs_sql_prepare(c->from, &s,
                            "SELECT name FROM sqlite_schema WHERE type = 'table' AND "
                            "rootpage > 0 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
                            "ORDER BY rowid");
    if (!rc) rc = hs_sql_step(c->from, s, &row);
    while (!rc && row) {
        const char *table = (const char *)sqlite3_column_text(s, 0);
        rc = table ? take_table(c, table, &take) : hs_fail(HS_ENOMEM, "out of memory");
        if (!rc && take) rc = fn(c, table);
        if (!rc) rc = hs_sql_step(c->from, s, &row);
    }
    sqlite3_finalize(s);
    return rc ? rc : hs_buf_rc(&c->result->left_out);
}

// ---- the file -----------------------------------------------------------------------------------

// The copy within one transaction of each file; nothing of it is needed when it fails.
static int fill(copy *c) {
    int rc = hs_sql_exec(c->from, "BEGIN");
    if (rc) return rc;
    if (sqlite3_exec(c->to->sql,
                     "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; BEGIN;"
                     "PRAGMA defer_foreign_keys = ON;"
                     "DELETE FROM meta; DELETE FROM metric; DELETE FROM column_doc",
                     NULL, NULL, NULL))
        rc = hs_publish_failed(c);
    if (!rc) rc = each_table(c, count_table);
    if (!rc) rc = each_table(c, hs_publish_table);
    if (!rc) rc = hs_progress_step(c->progress, "publishing", c->total, c->total);
    if (!rc && sqlite3_exec(c->to->sql, "COMMIT", NULL, NULL, NULL)) rc = hs_publish_failed(c);
    sqlite3_exec(c->from->sql, "ROLLBACK", NULL, NULL, NULL); // it only read
    return rc;
}

static int64_t size_of(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : 0;
}

// A log that somebody left would be replayed over the new file.
static int check_logs(const char *path) {
    static const char *const logs[] = {"-wal", "-journal"};
    struct stat st;
    hs_buf log = {0};
    int rc = HS_OK;
    for (size_t i = 0; i < 2 && !rc; i++) {
        hs_buf_clear(&log);
        hs_buf_printf(&log, "%s%s", path, logs[i]);
        rc = hs_buf_rc(&log);
        if (!rc && stat(hs_buf_text(&log), &st) == 0)
            rc = hs_fail(HS_EARG, "%s: in use, for %s is there: name another file", path,
                         hs_buf_text(&log));
    }
    hs_buf_free(&log);
    return rc;
}

// The file is there and empty: what fails now is a want of room.
static int open_copy(copy *c, const char *beside) {
    int rc = hs_db_open(&c->to, beside, HS_DB_CREATE);
    return rc == HS_EIO ? hs_outfile_fail(c->path, ENOSPC) : rc;
}

int hs_db_publish(hs_db *db, const hs_publish_opts *opts, const char *path,
                  hs_publish_result *result, const hs_progress *progress) {
    copy c = {.from = db, .opts = opts, .result = result, .path = path, .progress = progress};
    hs_outfile file = {0};
    *result = (hs_publish_result){0};
    int rc = check_logs(path);
    if (!rc) rc = conditions(&c);
    if (!rc) rc = hs_outfile_open(&file, path);
    if (!rc && !*file.beside) rc = hs_fail(HS_EARG, "%s: not a file: name one", path);
    if (!rc) rc = open_copy(&c, file.beside);
    if (!rc) rc = fill(&c);
    hs_db_close(c.to);
    if (!rc) rc = hs_publish_pages(&file, path, result);
    hs_outfile_abort(&file);
    hs_buf_free(&c.runs);
    hs_buf_free(&c.prompts);
    result->bytes_from = size_of(db->path);
    result->bytes = size_of(path);
    return rc;
}
