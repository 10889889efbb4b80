// Fuzz target: SQL and parameters of others on a sound database, as `headscope query` runs them:
// the text of the query, then lines name=value. It may read and nothing else: the file stays as it
// is, none appears beside it, and time and rows stay within their limits.
// covers: db/query.c db/func.c db/each.c
#include <dirent.h>

#include "db/query.h"
#include "model/core/hash.h"
#include "model/core/mem.h"
#include "tests/fuzz/damage.h"

enum { MAX_PARAM = 4, MAX_ROWS = 100 };

static uint32_t sum_of_file(void) {
    hs_map m = {0};
    need(!hs_map_open(&m, damage_path()));
    const uint32_t sum = hs_crc32(m.data, m.size);
    hs_map_close(&m);
    return sum;
}

static int files(void) {
    int n = 0;
    DIR *dir = opendir(damage_folder());
    need(dir != NULL);
    for (struct dirent *e; (e = readdir(dir));) n += *e->d_name != '.';
    closedir(dir);
    return n;
}

static void run(hs_db *db, const char *sql, const hs_query_opts *o) {
    hs_query *q;
    bool row = true;
    int n = 0;
    int rc = hs_query_open(&q, db, sql, o);
    if (rc) {
        need(!q && rc < 0 && *hs_errmsg());
        return;
    }
    while (!hs_query_step(q, &row) && row) {
        need(++n <= MAX_ROWS);
        for (int i = 0; i < hs_query_columns(q); i++) {
            hs_cell c = hs_query_cell(q, i);
            if (c.type == HS_CELL_TEXT || c.type == HS_CELL_BLOB) (void)hs_crc32(c.data, c.n);
        }
    }
    hs_query_close(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static uint32_t sum;
    input in = {data, n};
    hs_db *db;
    char *sql = text_of(take_until(&in, 0)), *param[MAX_PARAM];
    hs_query_opts o = {.max_rows = MAX_ROWS, .max_seconds = 0.5};
    if (!sum) {
        damage_fresh();
        sum = sum_of_file();
    }
    while (in.n && o.n_param < MAX_PARAM) param[o.n_param++] = text_of(take_until(&in, '\n'));
    o.param = (const char *const *)param;
    o.prompt = o.n_param == 1 ? "1" : NULL;
    need(!hs_db_open(&db, damage_path(), HS_DB_READ));
    run(db, sql, &o);
    hs_db_close(db);
    need(sum_of_file() == sum && files() == 1);
    for (int i = 0; i < o.n_param; i++) free(param[i]);
    free(sql);
    return 0;
}
