// Two runs side by side; see diff.h. Runs may lie in two files, so nothing is joined in SQL: prompts
// are paired by their ids here, and what they hold is read for one prompt after the other. Memory is
// a number a head and prompt, or two rows of a map.
#include "db/diff.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "db/reader_internal.h"
#include "db/replay.h"
#include "model/core/mem.h"

// ---- pairing ------------------------------------------------------------------------------------

static int same_dims(hs_diff *d) {
    hs_dims b;
    int rc = hs_db_dims(d->db[HS_A], d->run[HS_A], &d->dims);
    if (!rc) rc = hs_db_dims(d->db[HS_B], d->run[HS_B], &b);
    if (!rc && (d->dims.n_layer != b.n_layer || d->dims.n_head != b.n_head))
        rc = hs_fail(HS_ENOTFOUND,
                     "run %" PRId64 " has %d layers of %d heads, run %" PRId64
                     " %d of %d: there is nothing to compare head by head",
                     d->run[HS_A], d->dims.n_layer, d->dims.n_head, d->run[HS_B], b.n_layer,
                     b.n_head);
    return rc;
}

static int fingerprint(hs_db *db, int64_t run, hs_buf *out) {
    sqlite3_stmt *s = NULL;
    hs_v v = hs_v_int(run);
    bool row = false;
    int rc = hs_sql_prepare(db, &s,
                            "SELECT m.fingerprint FROM run AS r JOIN model AS m "
                            "ON m.id = r.model_id WHERE r.id = ?");
    if (!rc) rc = hs_sql_bind(db, s, &v, 1);
    if (!rc) rc = hs_sql_step(db, s, &row);
    if (row) hs_buf_str(out, (const char *)sqlite3_column_text(s, 0));
    sqlite3_finalize(s);
    return rc ? rc : hs_buf_rc(out);
}

static int same_model(hs_diff *d) {
    hs_buf print[HS_AB] = {{0}};
    int rc = HS_OK;
    for (int k = 0; k < HS_AB && !rc; k++) rc = fingerprint(d->db[k], d->run[k], &print[k]);
    d->same_model = strcmp(hs_buf_text(&print[HS_A]), hs_buf_text(&print[HS_B])) == 0;
    for (int k = 0; k < HS_AB; k++) hs_buf_free(&print[k]);
    return rc;
}

// The tokens of a prompt, as stored, one after the other in `out`.
static int tokens_of(hs_db *db, int64_t prompt, hs_buf *out) {
    sqlite3_stmt *s = NULL;
    hs_v v = hs_v_int(prompt);
    bool row = true;
    int rc = hs_sql_prepare(db, &s, "SELECT token_id FROM token WHERE prompt_id = ? ORDER BY pos");
    if (!rc) rc = hs_sql_bind(db, s, &v, 1);
    while (!rc && row) {
        rc = hs_sql_step(db, s, &row);
        int64_t id = rc || !row ? 0 : sqlite3_column_int64(s, 0);
        if (!rc && row) hs_buf_add(out, &id, sizeof id);
    }
    sqlite3_finalize(s);
    return rc ? rc : hs_buf_rc(out);
}

static int compare_tokens(const hs_diff *d, hs_diff_prompt *p) {
    hs_buf ids[HS_AB] = {{0}};
    int rc = HS_OK;
    for (int k = 0; k < HS_AB && !rc; k++) {
        rc = tokens_of(d->db[k], p->id[k], &ids[k]);
        p->n_token[k] = (int64_t)(ids[k].len / sizeof(int64_t));
        if (!rc) rc = hs_read_rows(d->db[k], p->id[k], &p->n_row[k]);
        if (!rc) rc = hs_read_justified(d->db[k], p->n_row[k], 1);
    }
    p->same_tokens = !rc && ids[HS_A].len == ids[HS_B].len && p->n_row[HS_A] == p->n_row[HS_B] &&
                     !memcmp(hs_buf_text(&ids[HS_A]), hs_buf_text(&ids[HS_B]), ids[HS_A].len);
    for (int k = 0; k < HS_AB; k++) hs_buf_free(&ids[k]);
    return rc;
}

// The statement stands on "id, ord, label" of a prompt of run a.
static int add_prompt(hs_diff *d, sqlite3_stmt *s) {
    const char *label = (const char *)sqlite3_column_text(s, 2);
    hs_v v[] = {hs_v_int(d->run[HS_B]), hs_v_text(label)};
    int64_t other = 0;
    bool found = false;
    int rc = hs_sql_int(d->db[HS_B], "SELECT id FROM prompt WHERE run_id = ? AND label = ?", v, 2,
                        &other, &found);
    if (rc || !found) {
        d->n_alone[HS_A]++;
        return rc;
    }
    rc = hs_grow(&d->prompt, (size_t)d->n_prompt + 1, sizeof *d->prompt);
    if (rc) return rc;
    hs_diff_prompt *p = &d->prompt[d->n_prompt];
    *p = (hs_diff_prompt){.label = label ? strdup(label) : NULL,
                          .ord = sqlite3_column_int64(s, 1),
                          .id = {sqlite3_column_int64(s, 0), other},
                          .nll = {NAN, NAN}};
    if (!p->label) return hs_fail(HS_ENOMEM, "out of memory");
    d->n_prompt++;
    return compare_tokens(d, p);
}

static int pair_prompts(hs_diff *d, const char *which) {
    sqlite3_stmt *s = NULL;
    int64_t one = 0, all = 0;
    bool row = true;
    int rc = which ? hs_db_prompt(d->db[HS_A], d->run[HS_A], which, &one) : HS_OK;
    hs_v v[] = {hs_v_int(d->run[HS_A]), hs_v_int(one)}, b = hs_v_int(d->run[HS_B]);
    if (!rc)
        rc = hs_sql_prepare(d->db[HS_A], &s,
                            "SELECT id, ord, label FROM prompt WHERE run_id = ?1 "
                            "AND ?2 IN (0, id) ORDER BY ord");
    if (!rc) rc = hs_sql_bind(d->db[HS_A], s, v, 2);
    while (!rc && row) {
        rc = hs_sql_step(d->db[HS_A], s, &row);
        if (!rc && row) rc = add_prompt(d, s);
    }
    sqlite3_finalize(s);
    if (!rc)
        rc = hs_sql_int(d->db[HS_B], "SELECT count(*) FROM prompt WHERE run_id = ?", &b, 1, &all,
                        NULL);
    if (!which) d->n_alone[HS_B] = all - d->n_prompt;
    if (!rc && !d->n_prompt)
        rc = hs_fail(HS_ENOTFOUND,
                     "runs %" PRId64 " and %" PRId64 " share no prompt id%s%s: record both with "
                     "the same -f FILE",
                     d->run[HS_A], d->run[HS_B], which ? " like that of prompt " : "",
                     which ? which : "");
    return rc;
}

int hs_diff_open(hs_diff *out, hs_db *const db[HS_AB], const int64_t run[HS_AB],
                 const char *prompt) {
    *out = (hs_diff){.db = {db[HS_A], db[HS_B]}, .run = {run[HS_A], run[HS_B]}};
    int rc = same_dims(out);
    if (!rc) rc = same_model(out);
    if (!rc) rc = pair_prompts(out, prompt);
    if (rc) hs_diff_close(out);
    return rc;
}

void hs_diff_close(hs_diff *d) {
    for (int64_t i = 0; i < d->n_prompt; i++) free(d->prompt[i].label);
    free(d->prompt);
    *d = (hs_diff){0};
}

// ---- names --------------------------------------------------------------------------------------

static int add_name(hs_diff_names *names, const char *prefix, const char *name) {
    hs_buf text = {0};
    int rc = hs_grow(&names->at, (size_t)names->n + 1, sizeof *names->at);
    hs_buf_printf(&text, "%s%s", prefix, name);
    if (!rc) rc = hs_buf_rc(&text);
    if (rc)
        hs_buf_free(&text);
    else
        names->at[names->n++] = text.data;
    return rc;
}

static int has_metric(hs_db *db, int64_t run, const char *metric, bool *found) {
    int64_t one;
    hs_v v[] = {hs_v_int(run), hs_v_text(metric)};
    return hs_sql_int(db,
                      "SELECT 1 FROM prompt AS p CROSS JOIN head_metric AS m ON m.prompt_id = p.id "
                      "AND m.metric = ?2 WHERE p.run_id = ?1 LIMIT 1",
                      v, 2, &one, found);
}

static int add_metrics(hs_diff_names *names, const hs_diff *d) {
    sqlite3_stmt *s = NULL;
    hs_v v = hs_v_int(d->run[HS_A]);
    bool row = true;
    int rc = hs_sql_prepare(d->db[HS_A], &s,
                            "SELECT DISTINCT m.metric FROM prompt AS p JOIN head_metric AS m ON "
                            "m.prompt_id = p.id WHERE p.run_id = ? ORDER BY 1");
    if (!rc) rc = hs_sql_bind(d->db[HS_A], s, &v, 1);
    while (!rc && row) {
        bool both = false;
        rc = hs_sql_step(d->db[HS_A], s, &row);
        const char *name = rc || !row ? NULL : (const char *)sqlite3_column_text(s, 0);
        if (name) rc = has_metric(d->db[HS_B], d->run[HS_B], name, &both);
        if (!rc && both) rc = add_name(names, "", name);
    }
    sqlite3_finalize(s);
    return rc;
}

static int has_maps(hs_db *db, int64_t run, bool *found) {
    int64_t one;
    hs_v v = hs_v_int(run);
    return hs_sql_int(db,
                      "SELECT 1 FROM prompt AS p CROSS JOIN map AS m ON m.prompt_id = p.id AND "
                      "m.point = 'pattern' WHERE p.run_id = ? LIMIT 1",
                      &v, 1, &one, found);
}

int hs_diff_names_read(hs_diff_names *out, const hs_diff *d) {
    bool maps = true, rows = false;
    *out = (hs_diff_names){0};
    int rc = add_metrics(out, d);
    for (int64_t i = 0; i < d->n_prompt; i++) rows |= d->prompt[i].same_tokens;
    for (int k = 0; k < HS_N_STAT && rows && !rc; k++)
        rc = add_name(out, "rows.", hs_stat_infos[k].name);
    for (int k = 0; k < HS_AB && maps && !rc; k++) rc = has_maps(d->db[k], d->run[k], &maps);
    if (!rc && maps && rows) rc = add_name(out, "maps", "");
    if (rc) hs_diff_names_free(out);
    return rc;
}

void hs_diff_names_free(hs_diff_names *names) {
    for (int i = 0; i < names->n; i++) free(names->at[i]);
    free(names->at);
    *names = (hs_diff_names){0};
}
