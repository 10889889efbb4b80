// Fuzz target: a damaged database, and everything of db/ that reads let loose on it.
// covers: db/reader.c db/replay.c db/func.c db/each.c db/db.c db/schema.c db/sql.c db/codec.c
#include <unistd.h>

#include "analyses/observer.h"
#include "db/export.h"
#include "db/publish.h"
#include "db/query.h"
#include "db/record.h"
#include "db/map.h"
#include "tests/fuzz/damage.h"
#include "tests/lib/mkmodel.h"

static void run_query(hs_db *db, const char *what) {
    hs_query *q;
    bool row = true;
    hs_query_opts o = {.max_rows = 200, .max_seconds = 2};
    if (hs_query_open(&q, db, what, &o)) return;
    while (row && !hs_query_step(q, &row))
        for (int i = 0; row && i < hs_query_columns(q); i++) (void)hs_query_cell(q, i);
    hs_query_close(q);
}

static void publish(hs_db *db) {
    static const int64_t run = 1;
    const hs_publish_opts opts[] = {{0}, {.run = &run, .n_run = 1, .prompt = 1, .drop = 1}};
    char out[PATH_MAX];
    mk_path(out, damage_folder(), "copy.db");
    for (size_t i = 0; i < 2; i++) {
        hs_publish_result r;
        if (!hs_db_publish(db, &opts[i], out, &r, NULL)) unlink(hs_buf_text(&r.pages));
        hs_publish_result_free(&r);
        unlink(out);
    }
}

// All rows of a map, into room for just one.
static void read_map(hs_db *db) {
    hs_map_rows *map;
    if (hs_map_rows_open(&map, db, 1, 1, 1)) return;
    float *row = calloc((size_t)hs_map_rows_keys(map) + 1, sizeof *row);
    for (int64_t i = 0; row && i < hs_map_rows_count(map); i++)
        if (hs_map_rows_read(map, i, row)) break;
    free(row);
    hs_map_rows_close(map);
}

static void read_all(hs_db *db) {
    char out[PATH_MAX];
    for (const hs_query_info *i = hs_queries; i->name; i++) run_query(db, i->name);
    run_query(db, "SELECT att_row(id, 3), att_at(id, 5, 2) FROM map");
    run_query(db, "SELECT k.* FROM map AS m, att_keys(m.id, 4) AS k");
    run_query(db, "SELECT att_series(data) FROM series");
    run_query(db, "SELECT att_series(data) FROM row_series");
    run_query(db, "SELECT e.* FROM row_series AS s, att_each(s.data) AS e");
    read_map(db);
    mk_path(out, damage_folder(), "out");
    for (const hs_export_format *const *f = hs_export_formats; *f; f++) {
        hs_export_opts o = {.run = 1, .what = (*f)->what};
        if ((*f)->one_table) o.what = HS_EXPORT_MAPS;
        if (!hs_db_export(db, *f, &o, out, NULL, NULL)) unlink(out);
    }
    publish(db);
}

static void observe(void) {
    static const char *const spec = "rows,sinks,massive,stripes";
    hs_db *db;
    hs_observe_list list;
    if (hs_db_open(&db, damage_path(), HS_DB_WRITE)) return;
    if (!hs_observe_parse(&list, &spec, 1, false)) {
        if (hs_db_observe(db, 1, &list, NULL, NULL)) need(*hs_errmsg());
        hs_observe_free(&list);
    }
    hs_db_close(db);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    hs_db *db;
    damage((input){data, n});
    int rc = hs_db_open(&db, damage_path(), HS_DB_READ);
    if (rc) {
        need(!db && rc < 0 && *hs_errmsg());
        return 0;
    }
    read_all(db);
    hs_db_close(db);
    observe();
    return 0;
}
