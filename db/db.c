// Opening and closing the database file, and finding runs and prompts in it.
//
// A file from a stranger is data only: its schema is compared with ours object by object, triggers
// never run, functions do not run from views (they are marked direct-only), and the defensive mode
// keeps SQL from reaching the file format. Damage is looked for in two steps: the header, the
// file's length and the schema always; and before writing to a file that is small enough to be read
// in a moment, SQLite's quick_check. Blobs carry their own checksums.
//
// Writers work in WAL mode from their first transaction on, so that readers never wait; closing
// folds the log into the file and goes back to a rollback journal: one plain file remains.
#include "db/db_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/core/mem.h"

enum { BUSY_MS = 5000, QUICK_CHECK_MAX = 32 << 20 };

static int number(hs_db *db, const char *sql, int64_t *out) {
    *out = 0;
    return hs_sql_int(db, sql, NULL, 0, out, NULL);
}

static int configure(hs_db *db) {
    sqlite3_busy_timeout(db->sql, BUSY_MS);
    sqlite3_db_config(db->sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db->sql, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(db->sql, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db->sql, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(db->sql, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    // The cache is counted in pages of the size known by then.
    return hs_sql_exec(db, "PRAGMA page_size = 16384; PRAGMA cache_size = -8192;"
                           "PRAGMA foreign_keys = ON; PRAGMA cell_size_check = ON;"
                           "PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY");
}

static bool beside(const char *path, const char *ending) {
    hs_buf b = {0};
    struct stat st;
    hs_buf_printf(&b, "%s%s", path, ending);
    bool there = !hs_buf_rc(&b) && stat(hs_buf_text(&b), &st) == 0 && st.st_size > 0;
    hs_buf_free(&b);
    return there;
}

static int quick_check(hs_db *db) {
    sqlite3_stmt *s = NULL;
    struct stat st;
    bool row = false;
    if (stat(db->path, &st) != 0 || st.st_size > QUICK_CHECK_MAX) return HS_OK;
    int rc = hs_sql_prepare(db, &s, "PRAGMA quick_check(1)");
    if (!rc) rc = hs_sql_step(db, s, &row);
    const char *text = !rc && row ? (const char *)sqlite3_column_text(s, 0) : NULL;
    // A page that could not be read is told like a damaged one.
    const char *code = text ? strstr(text, "error code=") : NULL;
    const int why = code ? atoi(code + strlen("error code=")) & 0xff : SQLITE_OK;
    if (!rc && (why == SQLITE_NOMEM || why == SQLITE_IOERR))
        rc = hs_fail(why == SQLITE_NOMEM ? HS_ENOMEM : HS_EIO, "%s: reading: %s", db->path,
                     why == SQLITE_NOMEM ? "out of memory" : sqlite3_errstr(why));
    if (!rc && (!text || strcmp(text, "ok") != 0))
        rc = hs_fail(HS_EFORMAT,
                     "%s: the database is damaged (%s): restore a copy, or record "
                     "again",
                     db->path, text ? text : "no answer");
    sqlite3_finalize(s);
    return rc;
}

static int check(hs_db *db) {
    int64_t app, version, objects;
    int rc = number(db, "PRAGMA application_id", &app);
    if (!rc) rc = number(db, "PRAGMA user_version", &version);
    if (!rc) rc = number(db, "SELECT count(*) FROM sqlite_schema", &objects);
    if (rc) return rc;
    if (app == 0 && version == 0 && objects == 0) {
        if (db->mode != HS_DB_CREATE)
            return hs_fail(HS_EFORMAT, "%s: empty: record a run into it first", db->path);
    } else if (app != HS_DB_APP_ID) {
        return hs_fail(HS_EFORMAT, "%s: a SQLite database, but not one of headscope's", db->path);
    }
    if (!rc && db->mode != HS_DB_READ && objects) rc = quick_check(db);
    if (!rc && db->mode != HS_DB_READ && (version > 0 || !objects)) rc = hs_schema_migrate(db);
    if (!rc) rc = hs_schema_check(db);
    db->ours = !rc;
    return rc;
}

// SQLite takes any file of a few bytes for an empty database, and would overwrite it. Read through
// SQLite's own handle: closing another one would drop its locks.
static int check_magic(hs_db *db) {
    static const char magic[] = "SQLite format 3";
    char head[sizeof magic] = "";
    sqlite3_file *f = NULL;
    struct stat st;
    if (stat(db->path, &st) != 0 ||
        sqlite3_file_control(db->sql, "main", SQLITE_FCNTL_FILE_POINTER, &f) || !f || !f->pMethods)
        return hs_fail(HS_EIO, "%s: cannot read", db->path);
    if (st.st_size == 0 || beside(db->path, "-journal")) return HS_OK;
    if (st.st_size >= (off_t)sizeof head && !f->pMethods->xRead(f, head, sizeof head, 0) &&
        memcmp(head, magic, sizeof magic) == 0)
        return HS_OK;
    return hs_fail(HS_EFORMAT, "%s: not a database file: name a headscope database", db->path);
}

static int open_file(hs_db *db) {
    static const int flags[] = {
        [HS_DB_READ] = SQLITE_OPEN_READONLY,
        [HS_DB_WRITE] = SQLITE_OPEN_READWRITE,
        [HS_DB_CREATE] = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
    };
    struct stat st;
    if (stat(db->path, &st) != 0) {
        if (errno == ENOENT && db->mode != HS_DB_CREATE)
            return hs_fail(HS_EIO,
                           "%s: no such database: record a run first, or name one with "
                           "--db",
                           db->path);
    } else if (!S_ISREG(st.st_mode)) {
        return hs_fail(HS_EIO, "%s: not a file", db->path);
    }
    if (sqlite3_open_v2(db->path, &db->sql, flags[db->mode] | SQLITE_OPEN_FULLMUTEX, NULL))
        return hs_fail(HS_EIO, "%s: cannot open: %s", db->path,
                       db->sql ? sqlite3_errmsg(db->sql) : "out of memory");
    if (db->mode != HS_DB_READ && sqlite3_db_readonly(db->sql, "main") == 1)
        return hs_fail(HS_EIO, "%s: the file is read only: name another one", db->path);
    int rc = check_magic(db);
    if (!rc) rc = configure(db);
    if (!rc) rc = check(db);
    return rc;
}

int hs_db_open(hs_db **out, const char *path, enum hs_db_mode mode) {
    hs_db *db;
    *out = NULL;
    if (!path[0]) return hs_fail(HS_EARG, "the database's path is empty: name a file");
    int rc = hs_alloc(&db, 1, sizeof *db);
    if (rc) return rc;
    db->mode = mode;
    db->path = strdup(path);
    rc = db->path ? open_file(db) : hs_fail(HS_ENOMEM, "out of memory");
    if (!rc) rc = hs_att_open(db);
    if (rc)
        hs_db_close(db);
    else
        *out = db;
    return rc;
}

// SQLite waits for some of those who are in the way of another journal, but not for all.
int hs_db_wal(hs_db *db) {
    enum { STEP_MS = 20 };
    int rc = SQLITE_BUSY;
    sqlite3_busy_timeout(db->sql, 0);
    for (int ms = 0; ms < BUSY_MS && (rc & 0xff) == SQLITE_BUSY; ms += STEP_MS) {
        if (ms) sqlite3_sleep(STEP_MS);
        rc = sqlite3_exec(db->sql, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
    }
    rc = rc ? hs_sql_fail(db, "writing") : HS_OK;
    sqlite3_busy_timeout(db->sql, BUSY_MS);
    return rc;
}

void hs_db_close(hs_db *db) {
    if (!db) return;
    hs_att_close(db);
    if (db->sql) sqlite3_busy_timeout(db->sql, BUSY_MS);
    // Another process that still reads keeps the log: the next writer to close folds it in.
    if (db->ours && db->mode != HS_DB_READ)
        sqlite3_exec(db->sql, "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE", NULL,
                     NULL, NULL);
    sqlite3_close(db->sql);
    free(db->path);
    free(db);
}

const char *hs_db_path(const hs_db *db) {
    return db->path;
}

int hs_db_run(hs_db *db, int64_t run, int64_t *out) {
    int64_t last = 0, found = 0;
    hs_v v = hs_v_int(run);
    int rc = number(db, "SELECT coalesce(max(id), 0) FROM run", &last);
    if (!rc && last == 0) return hs_fail(HS_ENOTFOUND, "%s: no runs yet: record one", db->path);
    if (!rc && run == 0) found = last;
    if (!rc && run != 0)
        rc = hs_sql_int(db, "SELECT id FROM run WHERE id = ?", &v, 1, &found, NULL);
    if (rc) return rc;
    if (!found)
        return hs_fail(HS_ENOTFOUND,
                       "%s: no run %" PRId64 ": the latest is %" PRId64 " (see "
                       "`headscope runs`)",
                       db->path, run, last);
    *out = found;
    return HS_OK;
}

int hs_db_unfinished(hs_db *db, int64_t run, hs_buf *out) {
    static const char *const states[][2] = {{"running", "is running, or was killed"},
                                            {"interrupted", "is interrupted"},
                                            {"failed", "failed"}};
    sqlite3_stmt *s = NULL;
    hs_v v = hs_v_int(run);
    bool row = false;
    int rc = hs_sql_prepare(db, &s,
                            "SELECT status, (SELECT count(*) FROM prompt WHERE run_id = r.id), "
                            "json_extract(o, '$.n_prompt'), json_extract(o, '$.shard[0]'), "
                            "json_extract(o, '$.shard[1]') FROM ("
                            "SELECT id, status, CASE WHEN json_valid(options_json) THEN "
                            "options_json END AS o FROM run WHERE id = ?) AS r");
    if (!rc) rc = hs_sql_bind(db, s, &v, 1);
    if (!rc) rc = hs_sql_step(db, s, &row);
    const char *status = row ? (const char *)sqlite3_column_text(s, 0) : NULL, *state = NULL;
    for (size_t i = 0; status && i < sizeof states / sizeof *states; i++)
        if (strcmp(states[i][0], status) == 0) state = states[i][1];
    const int64_t held = sqlite3_column_int64(s, 1), all = sqlite3_column_int64(s, 2);
    const int64_t shard = sqlite3_column_int64(s, 3), shards = sqlite3_column_int64(s, 4);
    if (!rc && row && (state || shards > 1)) {
        hs_buf_printf(out, "run %" PRId64 " ", run);
        if (shards > 1)
            hs_buf_printf(out, "is shard %" PRId64 "/%" PRId64 "%s", shard, shards,
                          state ? " and " : "");
        hs_buf_printf(out, "%s: %" PRId64, state ? state : "", held);
        if (all) hs_buf_printf(out, " of %" PRId64, all);
        hs_buf_printf(out, " prompt%s", (all ? all : held) == 1 ? "" : "s");
        rc = hs_buf_rc(out);
    }
    sqlite3_finalize(s);
    return rc;
}

static int no_prompt(hs_db *db, int64_t run, const char *which) {
    int64_t n = 0;
    hs_v v = hs_v_int(run);
    int rc = hs_sql_int(db, "SELECT count(*) FROM prompt WHERE run_id = ?", &v, 1, &n, NULL);
    if (rc) return rc;
    if (n == 0)
        return hs_fail(HS_ENOTFOUND, "%s: run %" PRId64 " holds no prompt yet", db->path, run);
    return hs_fail(HS_ENOTFOUND,
                   "%s: run %" PRId64 " has no prompt '%s': give a number from 0 to "
                   "%" PRId64 ", or a prompt's id",
                   db->path, run, which, n - 1);
}

int hs_db_prompt(hs_db *db, int64_t run, const char *which, int64_t *out) {
    bool found = false;
    char *end = NULL;
    int rc = HS_OK;
    errno = 0;
    long long ord = which ? strtoll(which, &end, 10) : 0;
    bool is_number = !which || (end != which && !*end && errno == 0);
    if (is_number) {
        hs_v v[] = {hs_v_int(run), hs_v_int(ord)};
        rc = hs_sql_int(db, "SELECT id FROM prompt WHERE run_id = ? AND ord = ?", v, 2, out,
                        &found);
    }
    if (!rc && !found && which) {
        hs_v v[] = {hs_v_int(run), hs_v_text(which)};
        rc = hs_sql_int(db, "SELECT id FROM prompt WHERE run_id = ? AND label = ?", v, 2, out,
                        &found);
    }
    return rc || found ? rc : no_prompt(db, run, which ? which : "0");
}
