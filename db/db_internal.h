// Inside db/: the connection, SQL helpers, the schema, and rows as values.
#ifndef HS_DB_INTERNAL_H
#define HS_DB_INTERNAL_H

#include <sqlite3.h>

#include "db/db.h"
#include "model/core/buf.h"

// "hsdb" as a big-endian number; what `file` and we recognise in the header of the file.
enum { HS_DB_APP_ID = 0x68736462 };

struct hs_att; // what the SQL functions keep between calls (att_internal.h)

struct hs_db {
    sqlite3 *sql;
    char *path;
    enum hs_db_mode mode;
    bool ours; // passed every check: a stranger's file is left as it is
    struct hs_att *att;
};

// ---- sql.c: one place where SQLite's codes and messages become ours ---------------------------

// The code and message of the connection's last failure: damage is HS_EFORMAT, refusals of the
// operating system HS_EIO, everything else HS_EDB. `doing` says what was wanted.
int hs_sql_fail(hs_db *, const char *doing);
// Statements without results, separated by semicolons.
int hs_sql_exec(hs_db *, const char *sql) HS_MUST_USE;
int hs_sql_prepare(hs_db *, sqlite3_stmt **out, const char *sql) HS_MUST_USE;
// *row tells whether there is one.
int hs_sql_step(hs_db *, sqlite3_stmt *, bool *row) HS_MUST_USE;

// A value to bind. HS_V_ID is a number relative to the transaction (apply_internal.h). Text and
// blobs are borrowed.
enum hs_vtype { HS_V_NULL, HS_V_INT, HS_V_NUM, HS_V_TEXT, HS_V_BLOB, HS_V_ID };
typedef struct hs_v {
    enum hs_vtype type;
    int64_t i; // HS_V_ID: the relative id
    double f;
    const void *p;
    size_t n; // bytes; HS_V_ID: the kind
} hs_v;
static inline hs_v hs_v_null(void) {
    return (hs_v){.type = HS_V_NULL};
}
static inline hs_v hs_v_int(int64_t i) {
    return (hs_v){.type = HS_V_INT, .i = i};
}
static inline hs_v hs_v_num(double f) {
    return (hs_v){.type = HS_V_NUM, .f = f};
}
static inline hs_v hs_v_blob(const void *p, size_t n) {
    return (hs_v){.type = HS_V_BLOB, .p = p, .n = n};
}
hs_v hs_v_text(const char *s); // NULL is NULL
hs_v hs_v_textn(const char *s, size_t n);
int hs_sql_bind(hs_db *, sqlite3_stmt *, const hs_v *v, int n) HS_MUST_USE;

// Runs one statement without results, with values bound.
int hs_sql_put(hs_db *, const char *sql, const hs_v *v, int n) HS_MUST_USE;
// One number from a query with values bound; *out is left alone when there is no row, and *found
// (NULL allowed) tells.
int hs_sql_int(hs_db *, const char *sql, const hs_v *v, int n, int64_t *out,
               bool *found) HS_MUST_USE;

// Appends bytes as readable UTF-8: what is not valid, and NUL, becomes <0xE2>.
void hs_sql_readable(hs_buf *out, const char *s, size_t n);
// Now as "2025-01-31T12:00:00.000Z".
enum { HS_NOW_LEN = 32 };
void hs_sql_now(char out[HS_NOW_LEN]);

// ---- db.c -------------------------------------------------------------------------------------

int hs_db_wal(hs_db *) HS_MUST_USE; // before the first transaction that writes much

// ---- schema.c ---------------------------------------------------------------------------------

// Makes the schema in an empty file, or takes an older one forward step by step.
int hs_schema_migrate(hs_db *) HS_MUST_USE;
// Version and text of every object of ours; HS_EFORMAT names the first that differs.
int hs_schema_check(hs_db *) HS_MUST_USE;

// ---- func.c, each.c ---------------------------------------------------------------------------

int hs_att_open(hs_db *) HS_MUST_USE; // registers the SQL functions
void hs_att_close(hs_db *);

#endif
