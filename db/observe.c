// Observers on a recorded run: replay in place of the engine, the same emitters, source "offline".
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "db/observe_internal.h"
#include "db/record_internal.h"
#include "db/replay.h"
#include "model/core/mem.h"

typedef struct work {
    hs_db *db;
    const hs_observe_list *list;
    hs_apply *apply;
    hs_subject subject; // dims and model; the rest per prompt
    int64_t prompt;
    int32_t *tokens;
    hs_arena *names; // of the prompt's positions
    hs_buf sql, blob, params;
} work;

// ---- the prompt as its observers saw it --------------------------------------------------------

static int read_tokens(work *w) {
    sqlite3_stmt *s = NULL;
    hs_v v = hs_v_int(w->prompt);
    bool row = true;
    int64_t held = 0, n = w->subject.n_token, want = w->subject.n_row;
    free(w->tokens);
    w->tokens = NULL;
    int rc = hs_sql_int(w->db, "SELECT count(*) FROM token WHERE prompt_id = ?", &v, 1, &held,
                        NULL);
    if (!rc && held != want)
        rc = hs_fail(HS_EFORMAT, "%s: prompt row %" PRId64 ": %" PRId64 " of %" PRId64 " tokens",
                     hs_db_path(w->db), w->prompt, held, want);
    if (!rc) rc = hs_alloc(&w->tokens, (size_t)n, sizeof *w->tokens);
    if (!rc)
        rc = hs_sql_prepare(w->db, &s,
                            "SELECT pos, token_id FROM token WHERE prompt_id = ? AND "
                            "decoded = 0 ORDER BY pos");
    if (!rc) rc = hs_sql_bind(w->db, s, &v, 1);
    for (int64_t i = 0; i < n && !rc; i++) {
        rc = hs_sql_step(w->db, s, &row);
        int64_t pos = sqlite3_column_int64(s, 0), id = sqlite3_column_int64(s, 1);
        if (!rc && (!row || pos != i || id < 0 || id >= w->subject.dims.n_vocab))
            rc = hs_fail(HS_EFORMAT, "%s: prompt row %" PRId64 ": token %" PRId64 " is damaged",
                         hs_db_path(w->db), w->prompt, i);
        if (!rc) w->tokens[i] = (int32_t)id;
    }
    sqlite3_finalize(s);
    w->subject.tokens = w->tokens;
    return rc;
}

static int read_prompt(work *w) {
    sqlite3_stmt *s = NULL;
    hs_v v = hs_v_int(w->prompt);
    bool row = false;
    int rc = hs_sql_prepare(w->db, &s,
                            "SELECT n_token, bos_len, coalesce(period, 0), n_decoded "
                            "FROM prompt WHERE id = ?");
    if (!rc) rc = hs_sql_bind(w->db, s, &v, 1);
    if (!rc) rc = hs_sql_step(w->db, s, &row);
    w->subject.n_token = sqlite3_column_int64(s, 0);
    int64_t bos = sqlite3_column_int64(s, 1);
    w->subject.period = sqlite3_column_int64(s, 2);
    int64_t decoded = sqlite3_column_int64(s, 3);
    sqlite3_finalize(s);
    if (rc) return rc;
    if (w->subject.n_token < 1 || bos < 0 || bos > 1 || w->subject.period < 0 || decoded < 0 ||
        w->subject.n_token > INT32_MAX || decoded > INT32_MAX)
        return hs_fail(HS_EFORMAT, "%s: prompt row %" PRId64 " is damaged", hs_db_path(w->db),
                       w->prompt);
    w->subject.bos_len = (int)bos;
    w->subject.n_row = w->subject.n_token + decoded;
    rc = read_tokens(w);
    hs_arena_close(w->names);
    w->names = NULL;
    if (!rc) rc = hs_arena_open(&w->names);
    return rc ? rc : hs_observed_spans(w->db, w->prompt, w->names, &w->subject);
}

// The least exact format that this observer's points were stored in.
static int dtype_of(work *w, const hs_observer *o, enum hs_store *out) {
    static const struct {
        uint64_t points;
        const char *rows;
    } tables[] = {
        {HS_BIT(HS_PATTERN), "map WHERE point = 'pattern'"},
        {HS_BIT(HS_SCORES), "map WHERE point = 'attn_scores'"},
        {~(HS_BIT(HS_PATTERN) | HS_BIT(HS_SCORES) | HS_BIT(HS_ROW_STATS)), "act WHERE true"},
    };
    int rc = HS_OK;
    *out = HS_STORE_F32;
    for (int d = HS_STORE_F16; d <= HS_STORE_U8 && !rc; d++)
        for (size_t i = 0; i < sizeof tables / sizeof *tables && !rc; i++) {
            int64_t n = 0;
            hs_v v = hs_v_int(w->prompt);
            if (!(o->points & tables[i].points)) continue;
            hs_buf_clear(&w->sql);
            hs_buf_printf(&w->sql, "SELECT count(*) FROM %s AND prompt_id = ? AND dtype = '%s'",
                          tables[i].rows, hs_store_name((enum hs_store)d));
            rc = hs_buf_rc(&w->sql);
            if (!rc) rc = hs_sql_int(w->db, hs_buf_text(&w->sql), &v, 1, &n, NULL);
            if (n > 0) *out = (enum hs_store)d;
        }
    return rc;
}

// ---- earlier results ---------------------------------------------------------------------------

static int forget_table(work *w, const char *name, int64_t run) {
    int64_t there = 0;
    hs_v table = hs_v_text(name), v[] = {hs_v_int(w->prompt), hs_v_int(run)};
    int rc = hs_sql_int(w->db, "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?",
                        &table, 1, &there, NULL);
    if (rc || !there) return rc;
    hs_buf_clear(&w->sql);
    hs_buf_printf(&w->sql, "DELETE FROM %s WHERE prompt_id = ? AND analysis_run_id = ?", name);
    rc = hs_buf_rc(&w->sql);
    return rc ? rc : hs_apply_row(w->apply, hs_buf_text(&w->sql), v, 2);
}

// Removes what the same observer with the same parameters found offline before.
static int forget(work *w, const hs_observe_item *item) {
    const hs_observer *o = item->observer;
    hs_buf text = {0};
    int64_t run = 0;
    bool found = false;
    hs_args_json(&item->args, &text);
    int rc = hs_buf_rc(&text);
    hs_v v[] = {hs_v_int(w->prompt), hs_v_text(o->name), hs_v_text(hs_buf_text(&text))};
    if (!rc)
        rc = hs_sql_int(w->db,
                        "SELECT r.id FROM analysis_run AS r JOIN analysis AS a ON "
                        "a.id = r.analysis_id WHERE r.prompt_id = ? AND a.name = ? AND "
                        "r.source = 'offline' AND r.params_json = ?",
                        v, 3, &run, &found);
    if (!rc && found) rc = forget_table(w, "head_metric", run);
    if (!rc && found) rc = forget_table(w, "series", run);
    for (const hs_result_table *t = o->tables; t && t->name && !rc && found; t++) {
        hs_buf_clear(&text);
        hs_emit_table(&text, o->name, t);
        rc = hs_buf_rc(&text);
        if (!rc) rc = forget_table(w, hs_buf_text(&text), run);
    }
    hs_v id = hs_v_int(run);
    if (!rc && found) rc = hs_apply_row(w->apply, "DELETE FROM analysis_run WHERE id = ?", &id, 1);
    hs_buf_free(&text);
    return rc;
}

// ---- one prompt --------------------------------------------------------------------------------

static int write_results(work *w, hs_observation *seen) {
    int rc = hs_apply_begin(w->apply);
    for (int i = 0; i < w->list->n && !rc; i++) {
        const hs_observe_item *item = &w->list->item[i];
        enum hs_store dtype;
        hs_emit_to to = {
            .sink = hs_apply_sink(w->apply),
            .analysis = hs_analysis_of(item->observer),
            .prompt = hs_v_int(w->prompt),
            .analysis_run = hs_v_id(HS_ID_ANALYSIS_RUN, i),
            .sql = &w->sql,
            .blob = &w->blob,
            .n_layer = w->subject.dims.n_layer,
            .n_head = w->subject.dims.n_head,
        };
        rc = forget(w, item);
        if (!rc) rc = dtype_of(w, item->observer, &dtype);
        hs_buf_clear(&w->params);
        hs_args_json(&item->args, &w->params);
        if (!rc) rc = hs_buf_rc(&w->params);
        if (!rc) rc = hs_emit_begin(&to, hs_buf_text(&w->params), "offline", dtype);
        hs_emit emit = hs_emit_of(&to);
        if (!rc) rc = hs_observation_finish(seen, i, &emit);
    }
    if (!rc) rc = hs_apply_commit(w->apply);
    if (rc) hs_apply_rollback(w->apply);
    return rc;
}

static int observe_prompt(work *w) {
    hs_hooks *hooks = NULL;
    hs_observation *seen = NULL;
    int rc = read_prompt(w);
    if (!rc) rc = hs_hooks_open(&hooks, &w->subject.dims);
    if (!rc) rc = hs_observation_open(&seen, w->list, &w->subject);
    if (!rc) rc = hs_observation_hook(seen, hooks);
    const hs_tap *tap = rc ? NULL : hs_hooks_tap(hooks);
    if (tap) rc = hs_db_replay(w->db, w->prompt, tap);
    if (!rc) rc = write_results(w, seen);
    hs_observation_close(seen);
    hs_hooks_close(hooks);
    return rc;
}

// Weights must be those that were recorded.
static int check_model(hs_db *db, int64_t run, const hs_model *model) {
    char print[24];
    int64_t same = 0;
    snprintf(print, sizeof print, "%016" PRIx64, hs_ckpt_fingerprint(hs_model_ckpt(model)));
    hs_v v[] = {hs_v_int(run), hs_v_text(print)};
    int rc = hs_sql_int(db,
                        "SELECT count(*) FROM run AS r JOIN model AS m ON m.id = r.model_id "
                        "WHERE r.id = ? AND m.fingerprint = ?",
                        v, 2, &same, NULL);
    if (rc || same) return rc;
    return hs_fail(HS_EARG,
                   "%s: run %" PRId64 " was recorded from other weights: name the same "
                   "model",
                   hs_db_path(db), run);
}

// The run's prompt rows, but for one that stands for the model itself.
static int list_prompts(hs_db *db, int64_t run, int64_t **out, int64_t *n) {
    sqlite3_stmt *s = NULL;
    hs_v v = hs_v_int(run);
    bool row = false;
    *n = 0;
    int rc = hs_sql_prepare(db, &s,
                            "SELECT id FROM prompt WHERE run_id = ? AND n_token <> 0 ORDER BY ord");
    if (!rc) rc = hs_sql_bind(db, s, &v, 1);
    if (!rc) rc = hs_sql_step(db, s, &row);
    while (!rc && row) {
        rc = hs_grow(out, (size_t)*n + 1, sizeof **out);
        if (!rc) (*out)[(*n)++] = sqlite3_column_int64(s, 0);
        if (!rc) rc = hs_sql_step(db, s, &row);
    }
    sqlite3_finalize(s);
    if (!rc && !*n)
        rc = hs_fail(HS_ENOTFOUND, "%s: run %" PRId64 " holds no prompt to look at: record one",
                     hs_db_path(db), run);
    return rc;
}

int hs_db_observe(hs_db *db, int64_t run, const hs_observe_list *list, const hs_model *model,
                  const hs_progress *progress) {
    work w = {.db = db, .list = list, .subject = {.model = model}};
    int64_t *prompt = NULL, n = 0;
    int rc = hs_db_dims(db, run, &w.subject.dims);
    if (!rc && model) rc = check_model(db, run, model);
    if (!rc) rc = hs_rec_check_observers(db, list);
    if (!rc) rc = list_prompts(db, run, &prompt, &n);
    if (!rc) rc = hs_db_wal(db);
    if (!rc) rc = hs_apply_open(&w.apply, db);
    for (int64_t i = 0; i < n && !rc; i++) {
        rc = hs_progress_step(progress, "observing", i, n);
        w.prompt = prompt[i];
        if (!rc) rc = observe_prompt(&w);
    }
    if (!rc) rc = hs_progress_step(progress, "observing", n, n);
    hs_apply_close(w.apply);
    hs_buf_free(&w.sql);
    hs_buf_free(&w.blob);
    hs_buf_free(&w.params);
    hs_arena_close(w.names);
    free(w.tokens);
    free(prompt);
    return rc;
}
