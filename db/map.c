// Stored maps and series; see map.h. The checked readers of reader_internal.h do the work.
#include "db/map.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "db/reader_internal.h"
#include "model/core/mem.h"

struct hs_map_rows {
    hs_reader reader;
};

int hs_map_rows_open(hs_map_rows **out, hs_db *db, int64_t prompt, int layer, int head) {
    bool found = false;
    hs_map_rows *m;
    *out = NULL;
    int rc = hs_alloc(&m, 1, sizeof *m);
    if (rc) return rc;
    rc = hs_reader_map(&m->reader, db, prompt, HS_PATTERN, layer, head, &found);
    if (!rc && !found)
        rc = hs_fail(HS_ENOTFOUND,
                     "%s: the run did not store the map of L%dH%d: record it again with --maps "
                     "L%dH%d",
                     hs_db_path(db), layer, head, layer, head);
    if (!rc) rc = hs_read_justified(db, 1, m->reader.width); // a row, which callers hold
    if (!rc) {
        *out = m;
        m = NULL;
    }
    hs_map_rows_close(m);
    return rc;
}

void hs_map_rows_close(hs_map_rows *m) {
    if (!m) return;
    hs_reader_close(&m->reader);
    free(m);
}

int64_t hs_map_rows_count(const hs_map_rows *m) {
    return m->reader.n_row;
}

int64_t hs_map_rows_keys(const hs_map_rows *m) {
    return m->reader.width;
}

int hs_map_rows_read(hs_map_rows *m, int64_t i, float *out) {
    int64_t seen = 0;
    int rc = hs_reader_row(&m->reader, i, out, &seen);
    for (int64_t k = seen; k < m->reader.width && !rc; k++) out[k] = NAN;
    return rc;
}

// ---- numbers along positions --------------------------------------------------------------------

static int read_summary(hs_db *db, int64_t prompt, int layer, int head, int stat, double **out,
                        int64_t *n) {
    float *v = NULL;
    int rc = hs_read_rows(db, prompt, n);
    if (!rc && !*n)
        rc = hs_fail(HS_ENOTFOUND, "%s: prompt row %" PRId64 " has no row summaries",
                     hs_db_path(db), prompt);
    if (!rc) rc = hs_read_justified(db, *n, 1);
    if (!rc) rc = hs_alloc(&v, (size_t)*n, sizeof *v);
    if (!rc) rc = hs_alloc(out, (size_t)*n, sizeof **out);
    if (!rc) rc = hs_read_stat(db, prompt, layer, head, stat, 0, *n, v);
    for (int64_t i = 0; i < *n && !rc; i++) (*out)[i] = (double)v[i];
    free(v);
    return rc;
}

// The numbers of a series blob.
static int unpack(const void *blob, size_t bytes, double **out, int64_t *n) {
    const uint8_t *at;
    int size;
    int rc = hs_series_open(blob, bytes, &at, n, &size);
    if (!rc) rc = hs_alloc(out, (size_t)*n, sizeof **out);
    for (int64_t i = 0; i < *n && !rc; i++) (*out)[i] = hs_series_at(at, size, i);
    return rc;
}

static int read_stored(hs_db *db, int64_t prompt, int layer, int head, const char *name,
                       double **out, int64_t *n) {
    sqlite3_stmt *s = NULL;
    hs_v v[] = {hs_v_int(prompt), hs_v_text(name), hs_v_int(layer),
                head < 0 ? hs_v_null() : hs_v_int(head)};
    bool found = false;
    int rc = hs_sql_prepare(db, &s,
                            "SELECT data FROM series WHERE prompt_id = ? AND name = ? AND "
                            "layer = ? AND head IS ? ORDER BY analysis_run_id DESC LIMIT 1");
    if (!rc) rc = hs_sql_bind(db, s, v, 4);
    if (!rc) rc = hs_sql_step(db, s, &found);
    if (!rc && !found)
        rc = hs_fail(HS_ENOTFOUND, "%s: L%dH%d has no series '%s'", hs_db_path(db), layer, head,
                     name);
    if (!rc && found) {
        const void *blob = sqlite3_column_blob(s, 0);
        rc = hs_prefix(unpack(blob, (size_t)sqlite3_column_bytes(s, 0), out, n), "%s: series %s",
                       hs_db_path(db), name);
    }
    sqlite3_finalize(s);
    return rc;
}

int hs_db_series(hs_db *db, int64_t prompt, int layer, int head, const char *name, double **out,
                 int64_t *n) {
    int stat = 0, rc;
    *out = NULL;
    *n = 0;
    while (stat < HS_N_STAT && strcmp(hs_stat_infos[stat].name, name) != 0) stat++;
    if (stat < HS_N_STAT && head >= 0)
        rc = read_summary(db, prompt, layer, head, stat, out, n);
    else
        rc = read_stored(db, prompt, layer, head, name, out, n);
    if (!rc) return HS_OK;
    free(*out);
    *out = NULL;
    return rc;
}
