// The rows of a run and its model; see record_internal.h.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "db/record_internal.h"
#include "gen/version.h"

int hs_points_text(hs_buf *out, uint64_t points) {
    const char *comma = "";
    for (int p = 0; p < HS_N_POINT; p++)
        if (points & HS_BIT(p)) {
            hs_buf_printf(out, "%s%s", comma, hs_point_infos[p].alias);
            comma = ",";
        }
    return hs_buf_rc(out);
}

uint64_t hs_points_of_text(const char *text) {
    uint64_t points = 0;
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, ",");
        for (int p = 0; p < HS_N_POINT; p++)
            if (strlen(hs_point_infos[p].alias) == n && !memcmp(hs_point_infos[p].alias, at, n))
                points |= HS_BIT(p);
        at += n + (at[n] == ',');
    }
    return points;
}

int hs_shard_text(hs_buf *out, const hs_run_info *info) {
    const size_t n = strlen(info->options_json);
    if (!info->n_shard || !n) {
        hs_buf_str(out, info->options_json);
    } else {
        hs_buf_add(out, info->options_json, n - 1); // but for its '}'
        hs_buf_printf(out, ",\"shard\":[%" PRId64 ",%" PRId64 "]}", info->shard, info->n_shard);
    }
    return hs_buf_rc(out);
}

bool hs_shard_of_text(const char *text, size_t *whole, int64_t *shard, int64_t *n_shard) {
    const char *last = NULL;
    int end = 0;
    for (const char *s = text; (s = strstr(s, ",\"shard\":[")); s++) last = s;
    if (!last ||
        sscanf(last, ",\"shard\":[%9" SCNd64 ",%9" SCNd64 "]}%n", shard, n_shard, &end) != 2 ||
        !end || last[end])
        return false;
    *whole = (size_t)(last - text);
    return *shard >= 0 && *shard < *n_shard;
}

static int put_model(hs_db *db, const hs_model_facts *f, const char *path, int64_t *id) {
    char print[24];
    hs_buf points = {0};
    bool found;
    const hs_dims *d = &f->dims;
    const char *slash = strrchr(path, '/'), *name = slash && slash[1] ? slash + 1 : path;
    snprintf(print, sizeof print, "%016" PRIx64, f->fingerprint);
    hs_v key[] = {hs_v_text(print), hs_v_text(path)};
    int rc = hs_sql_int(db, "SELECT id FROM model WHERE fingerprint = ? AND source = ?", key, 2, id,
                        &found);
    if (rc || found) return rc;
    rc = hs_points_text(&points, d->points);
    hs_v v[] = {hs_v_text(name),      hs_v_text(f->arch),
                hs_v_text(path),      hs_v_text(f->format),
                hs_v_text(f->dtype),  hs_v_text(print),
                hs_v_int(f->n_param), hs_v_int(d->n_layer),
                hs_v_int(d->n_head),  hs_v_int(d->n_kv_head),
                hs_v_int(d->d_model), hs_v_int(d->d_head),
                hs_v_int(d->d_ff),    hs_v_int(d->n_vocab),
                hs_v_int(f->n_ctx),   hs_v_text(hs_buf_text(&points))};
    if (!rc)
        rc = hs_sql_put(
            db,
            "INSERT INTO model VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
            "?)",
            v, 16);
    if (!rc) *id = sqlite3_last_insert_rowid(db->sql);
    hs_buf_free(&points);
    return rc;
}

static int put_run(hs_db *db, const hs_model_facts *f, const hs_run_info *info, int64_t model,
                   int64_t *id) {
    hs_buf options = {0};
    int rc = hs_shard_text(&options, info);
    char now[HS_NOW_LEN], seed[24];
    hs_sql_now(now);
    snprintf(seed, sizeof seed, "%" PRIu64, info->seed);
    hs_v v[] = {hs_v_int(model),
                hs_v_text(info->label),
                hs_v_text("running"),
                hs_v_text(now),
                hs_v_text(HS_VERSION " (" HS_GIT ")"),
                hs_v_text(info->argv_json),
                hs_v_text(hs_buf_text(&options)),
                hs_v_text(f->backend),
                hs_v_text(f->isa),
                hs_v_int(f->threads),
                hs_v_text(info->precision),
                hs_v_text(f->weights),
                hs_v_int(info->n_ctx),
                hs_v_text(info->bos),
                hs_v_text(seed),
                info->baseline ? hs_v_int(info->baseline) : hs_v_null()};
    if (!rc)
        rc = hs_sql_put(db,
                        "INSERT INTO run VALUES "
                        "(NULL, ?, ?, ?, ?, NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        v, 16);
    if (!rc) *id = sqlite3_last_insert_rowid(db->sql);
    hs_buf_free(&options);
    return rc;
}

static int put_edits(hs_db *db, const hs_run_info *info, int64_t run) {
    int rc = HS_OK;
    for (int i = 0; i < info->n_edit && !rc; i++) {
        const char *spec = info->edits[i];
        hs_v v[] = {hs_v_int(run), hs_v_int(i), hs_v_textn(spec, hs_spec_name(spec)),
                    hs_v_text(spec)};
        rc = hs_sql_put(db, "INSERT INTO intervention VALUES (?, ?, ?, ?)", v, 4);
    }
    return rc;
}

int hs_run_new(hs_db *db, const hs_model_facts *f, const hs_run_info *info, int64_t *run) {
    int64_t model = 0;
    int rc = hs_sql_exec(db, "BEGIN IMMEDIATE");
    if (rc) return rc;
    rc = put_model(db, f, info->model_path, &model);
    if (!rc) rc = put_run(db, f, info, model, run);
    if (!rc) rc = put_edits(db, info, *run);
    if (!rc) rc = hs_sql_exec(db, "COMMIT");
    if (rc) sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

int hs_run_find(hs_db *db, const hs_run_info *info, int64_t *run, int64_t *done, bool *complete) {
    hs_buf options = {0};
    int64_t last = 0, first = info->shard, step = info->n_shard ? info->n_shard : 1;
    int rc = hs_shard_text(&options, info);
    hs_v key = hs_v_text(hs_buf_text(&options));
    if (!rc)
        rc = hs_sql_int(db, "SELECT id FROM run WHERE options_json = ? ORDER BY id DESC LIMIT 1",
                        &key, 1, run, NULL);
    hs_buf_free(&options);
    if (rc || !*run) return rc;
    hs_v id = hs_v_int(*run);
    rc = hs_sql_int(db, "SELECT count(*) FROM prompt WHERE run_id = ?", &id, 1, done, NULL);
    if (!rc)
        rc = hs_sql_int(db, "SELECT coalesce(max(ord) + 1, 0) FROM prompt WHERE run_id = ?", &id, 1,
                        &last, NULL);
    if (!rc)
        rc = hs_sql_int(db, "SELECT 1 FROM run WHERE id = ? AND status = 'complete'", &id, 1,
                        &(int64_t){0}, complete);
    if (!rc && last != (*done ? first + (*done - 1) * step + 1 : 0))
        rc = hs_fail(HS_EFORMAT,
                     "%s: run %" PRId64 " lacks a prompt before its last: record it "
                     "anew, without --resume",
                     db->path, *run);
    return rc;
}
