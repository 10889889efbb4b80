// Small helpers around SQLite: errors, statements, values. Every failure of SQLite passes through
// hs_sql_fail, so that a full disk, a foreign file and a wrong query read alike everywhere.
#include "db/db_internal.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "model/core/utf8.h"

int hs_sql_fail(hs_db *db, const char *doing) {
    const char *msg = sqlite3_errmsg(db->sql);
    const int code = sqlite3_extended_errcode(db->sql);
    switch (code == SQLITE_IOERR_NOMEM ? SQLITE_NOMEM : code & 0xff) {
    case SQLITE_NOTADB:
        return hs_fail(HS_EFORMAT, "%s: not a database file: name a headscope database", db->path);
    case SQLITE_CORRUPT:
        return hs_fail(HS_EFORMAT,
                       "%s: the database is damaged (%s): restore a copy, or record "
                       "again",
                       db->path, msg);
    case SQLITE_FULL:
        return hs_fail(HS_EIO,
                       "%s: %s: the disk is full: free some space and run it again: what records "
                       "or sweeps goes on with --resume",
                       db->path, doing);
    case SQLITE_READONLY:
        return hs_fail(HS_EIO, "%s: %s: the file or its folder is read only", db->path, doing);
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return hs_fail(HS_EIO, "%s: %s: %s", db->path, doing, msg);
    case SQLITE_NOMEM:
        return hs_fail(HS_ENOMEM, "%s: %s: out of memory", db->path, doing);
    case SQLITE_BUSY:
        return hs_fail(HS_EDB,
                       "%s: %s: another process is using it: wait for it, or use "
                       "another file",
                       db->path, doing);
    case SQLITE_CONSTRAINT:
        return hs_fail(HS_EDB,
                       "%s: %s: it is there already (%s): another process writes the same run: let "
                       "it finish, then go on with --resume",
                       db->path, doing, msg);
    default:
        return hs_fail(HS_EDB, "%s: %s: %s", db->path, doing, msg);
    }
}

int hs_sql_exec(hs_db *db, const char *sql) {
    if (sqlite3_exec(db->sql, sql, NULL, NULL, NULL) == SQLITE_OK) return HS_OK;
    return hs_sql_fail(db, "writing");
}

int hs_sql_prepare(hs_db *db, sqlite3_stmt **out, const char *sql) {
    *out = NULL;
    if (sqlite3_prepare_v2(db->sql, sql, -1, out, NULL) == SQLITE_OK) return HS_OK;
    return hs_sql_fail(db, "reading");
}

int hs_sql_step(hs_db *db, sqlite3_stmt *s, bool *row) {
    int rc = sqlite3_step(s);
    *row = rc == SQLITE_ROW;
    if (rc == SQLITE_ROW || rc == SQLITE_DONE) return HS_OK;
    return hs_sql_fail(db, sqlite3_stmt_readonly(s) ? "reading" : "writing");
}

hs_v hs_v_textn(const char *s, size_t n) {
    return (hs_v){.type = HS_V_TEXT, .p = s, .n = n};
}

hs_v hs_v_text(const char *s) {
    return s ? hs_v_textn(s, strlen(s)) : hs_v_null();
}

int hs_sql_bind(hs_db *db, sqlite3_stmt *s, const hs_v *v, int n) {
    for (int i = 0; i < n; i++) {
        int rc = SQLITE_OK;
        switch (v[i].type) {
        case HS_V_NULL:
            rc = sqlite3_bind_null(s, i + 1);
            break;
        case HS_V_ID:
        case HS_V_INT:
            rc = sqlite3_bind_int64(s, i + 1, v[i].i);
            break;
        case HS_V_NUM:
            rc = sqlite3_bind_double(s, i + 1, v[i].f);
            break;
        // A NULL pointer would bind NULL, so an empty text or blob points somewhere.
        case HS_V_TEXT:
            rc = sqlite3_bind_text64(s, i + 1, v[i].n ? v[i].p : "", v[i].n, SQLITE_STATIC,
                                     SQLITE_UTF8);
            break;
        case HS_V_BLOB:
            rc = sqlite3_bind_blob64(s, i + 1, v[i].n ? v[i].p : "", v[i].n, SQLITE_STATIC);
            break;
        }
        if (rc != SQLITE_OK) return hs_sql_fail(db, "binding a value");
    }
    return HS_OK;
}

int hs_sql_put(hs_db *db, const char *sql, const hs_v *v, int n) {
    sqlite3_stmt *s = NULL;
    bool row;
    int rc = hs_sql_prepare(db, &s, sql);
    if (!rc) rc = hs_sql_bind(db, s, v, n);
    if (!rc) rc = hs_sql_step(db, s, &row);
    sqlite3_finalize(s);
    return rc;
}

int hs_sql_int(hs_db *db, const char *sql, const hs_v *v, int n, int64_t *out, bool *found) {
    sqlite3_stmt *s = NULL;
    bool row = false;
    int rc = hs_sql_prepare(db, &s, sql);
    if (!rc) rc = hs_sql_bind(db, s, v, n);
    if (!rc) rc = hs_sql_step(db, s, &row);
    if (!rc && row) *out = sqlite3_column_int64(s, 0);
    if (found) *found = !rc && row;
    sqlite3_finalize(s);
    return rc;
}

void hs_sql_readable(hs_buf *out, const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        int32_t cp;
        size_t len = hs_utf8_decode(s + i, n - i, &cp);
        if (cp == HS_UTF8_INVALID || cp == 0)
            hs_buf_printf(out, "<0x%02X>", (unsigned char)s[i]);
        else
            hs_buf_add(out, s + i, len);
        i += len;
    }
}

void hs_sql_now(char out[HS_NOW_LEN]) {
    struct timespec t;
    struct tm tm;
    char sec[24];
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    strftime(sec, sizeof sec, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, HS_NOW_LEN, "%s.%03dZ", sec, (int)(t.tv_nsec / 1000000));
}
