// Blobs as tables, for queries that need no JSON:
//   SELECT pos, value FROM att_each(data)            a series
//   SELECT key, weight FROM att_keys(map, query)     the visible weights of a map's row
// One virtual table module serves both; its rows are numbered from 0 and hold one number.
#include <stdlib.h>
#include <string.h>

#include "db/att_internal.h"
#include "model/core/mem.h"

typedef struct kind {
    const char *name, *declare;
    int n_arg;
} kind;
static const kind kinds[] = {
    {"att_each", "CREATE TABLE x (pos INTEGER, value REAL, data BLOB HIDDEN)", 1},
    {"att_keys",
     "CREATE TABLE x (key INTEGER, weight REAL, map INTEGER HIDDEN, "
     "query INTEGER HIDDEN)",
     2},
};
enum { EACH, KEYS, N_KIND, N_VISIBLE = 2 };

typedef struct aux {
    hs_db *db;
    const kind *kind;
} aux;

typedef struct vtab {
    sqlite3_vtab base;
    aux *aux;
} vtab;

typedef struct cursor {
    sqlite3_vtab_cursor base;
    uint8_t *data; // n numbers of `size` bytes
    int size;
    int64_t n, at;
} cursor;

static int on_connect(sqlite3 *sql, void *ctx, int argc, const char *const *argv,
                      sqlite3_vtab **out, char **error) {
    (void)argc, (void)argv, (void)error;
    aux *a = ctx;
    int rc = sqlite3_declare_vtab(sql, a->kind->declare);
    if (rc != SQLITE_OK) return rc;
    vtab *t = sqlite3_malloc(sizeof *t);
    if (!t) return SQLITE_NOMEM;
    *t = (vtab){.aux = a};
    *out = &t->base;
    return sqlite3_vtab_config(sql, SQLITE_VTAB_DIRECTONLY);
}

static int on_disconnect(sqlite3_vtab *t) {
    sqlite3_free(t);
    return SQLITE_OK;
}

// Wants every hidden column given by equality; without, there is no plan.
static int on_plan(sqlite3_vtab *base, sqlite3_index_info *info) {
    const kind *k = ((vtab *)base)->aux->kind;
    int found = 0;
    bool unusable = false;
    for (int i = 0; i < info->nConstraint; i++) {
        int arg = info->aConstraint[i].iColumn - N_VISIBLE;
        if (arg < 0 || info->aConstraint[i].op != SQLITE_INDEX_CONSTRAINT_EQ) continue;
        if (!info->aConstraint[i].usable) {
            unusable = true;
            continue;
        }
        info->aConstraintUsage[i].argvIndex = arg + 1;
        info->aConstraintUsage[i].omit = 1;
        found |= 1 << arg;
    }
    if (unusable) return SQLITE_CONSTRAINT;
    if (found != (1 << k->n_arg) - 1) {
        base->zErrMsg = sqlite3_mprintf("%s takes %d argument%s", k->name, k->n_arg,
                                        k->n_arg > 1 ? "s" : "");
        return SQLITE_ERROR;
    }
    info->estimatedCost = 100;
    info->estimatedRows = 1000;
    return SQLITE_OK;
}

static int on_open(sqlite3_vtab *t, sqlite3_vtab_cursor **out) {
    (void)t;
    cursor *c = sqlite3_malloc(sizeof *c);
    if (!c) return SQLITE_NOMEM;
    memset(c, 0, sizeof *c);
    *out = &c->base;
    return SQLITE_OK;
}

static int on_close(sqlite3_vtab_cursor *base) {
    free(((cursor *)base)->data);
    sqlite3_free(base);
    return SQLITE_OK;
}

// The numbers that the arguments stand for; at points to n of them, of `size` bytes each.
static int find_numbers(const aux *a, sqlite3_value **v, const uint8_t **at, int64_t *n,
                        int *size) {
    if (a->kind == &kinds[EACH]) return hs_att_series(v[0], at, n, size);
    hs_att_map *m = &a->db->att->one;
    int64_t map, query;
    int rc = hs_att_whole("att_keys", "map", v[0], &map);
    if (!rc) rc = hs_att_whole("att_keys", "query", v[1], &query);
    if (!rc) rc = hs_att_open_map(m, a->db, map);
    if (!rc) rc = hs_att_read(m, query, n);
    *at = (const uint8_t *)m->row;
    *size = (int)sizeof(float);
    return rc;
}

static int on_filter(sqlite3_vtab_cursor *base, int plan, const char *text, int argc,
                     sqlite3_value **v) {
    (void)plan, (void)text;
    cursor *c = (cursor *)base;
    const aux *a = ((vtab *)base->pVtab)->aux;
    const uint8_t *at;
    free(c->data);
    c->data = NULL;
    c->n = c->at = 0;
    for (int i = 0; i < argc; i++)
        if (sqlite3_value_type(v[i]) == SQLITE_NULL) return SQLITE_OK; // no rows
    int rc = find_numbers(a, v, &at, &c->n, &c->size);
    if (!rc) rc = hs_alloc(&c->data, (size_t)c->n, (size_t)c->size);
    if (rc) {
        a->db->att->rc = rc;
        c->n = 0;
        sqlite3_free(base->pVtab->zErrMsg);
        base->pVtab->zErrMsg = sqlite3_mprintf("%s", hs_errmsg());
        return SQLITE_ERROR;
    }
    memcpy(c->data, at, (size_t)c->n * (size_t)c->size);
    return SQLITE_OK;
}

static int on_next(sqlite3_vtab_cursor *base) {
    ((cursor *)base)->at++;
    return SQLITE_OK;
}

static int on_eof(sqlite3_vtab_cursor *base) {
    const cursor *c = (const cursor *)base;
    return c->at >= c->n;
}

static int on_column(sqlite3_vtab_cursor *base, sqlite3_context *ctx, int column) {
    const cursor *c = (const cursor *)base;
    if (column == 0)
        sqlite3_result_int64(ctx, c->at);
    else if (column == 1)
        sqlite3_result_double(ctx, hs_series_at(c->data, c->size, c->at));
    return SQLITE_OK;
}

static int on_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *out) {
    *out = ((const cursor *)base)->at;
    return SQLITE_OK;
}

// No xCreate: the tables exist by themselves and cannot be made in a file.
static const sqlite3_module module = {
    .xConnect = on_connect,
    .xBestIndex = on_plan,
    .xDisconnect = on_disconnect,
    .xOpen = on_open,
    .xClose = on_close,
    .xFilter = on_filter,
    .xNext = on_next,
    .xEof = on_eof,
    .xColumn = on_column,
    .xRowid = on_rowid,
};

int hs_att_each_open(hs_db *db) {
    for (int i = 0; i < N_KIND; i++) {
        aux *a;
        int rc = hs_alloc(&a, 1, sizeof *a);
        if (rc) return rc;
        *a = (aux){db, &kinds[i]};
        // SQLite frees a, also when this fails.
        if (sqlite3_create_module_v2(db->sql, kinds[i].name, &module, a, free))
            return hs_sql_fail(db, "adding a table function");
    }
    return HS_OK;
}
