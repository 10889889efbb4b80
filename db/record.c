// Runs and prompts; see record.h. A run is a row that is committed before anything is computed; a
// prompt is one transaction of the writer. A run that was killed keeps the status 'running' and its
// whole prompts, and is what `resume` looks for.
#include "db/record_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

#define QUEUE_BYTES ((size_t)32 << 20)

// How long a prompt waits for another process's: it holds the file for as long as its model runs.
enum { PATIENCE_MS = 10 * 60 * 1000 };

struct hs_rec {
    hs_db *db;
    hs_writer *writer;
    hs_streams streams;
    const hs_tok *tok;
    int64_t run;
    bool complete; // nothing was left to do
    int64_t n_token, n_decoded, n_analysis;
    hs_emit_to **emit; // of the prompt in work
    size_t n_emit;
    hs_buf sql, blob, text; // scratch
};

// ---- the run -----------------------------------------------------------------------------------

int hs_rec_start(hs_rec **out, hs_db *db, const hs_model_facts *f, const hs_run_info *info,
                 bool resume, int64_t *done, bool *complete) {
    hs_rec *r;
    *out = NULL;
    *done = 0;
    *complete = false;
    int rc = hs_alloc(&r, 1, sizeof *r);
    if (rc) return rc;
    r->db = db;
    r->tok = f->tok;
    if (resume) rc = hs_run_find(db, info, &r->run, done, complete);
    r->complete = *complete;
    if (!rc && !r->complete) rc = hs_db_wal(db);
    hs_v id = hs_v_int(r->run);
    if (!rc && !r->run)
        rc = hs_run_new(db, f, info, &r->run);
    else if (!rc && !r->complete)
        rc = hs_sql_put(db,
                        "UPDATE run SET status = 'running', ended_at = NULL "
                        "WHERE id = ? AND status <> 'complete'",
                        &id, 1);
    sqlite3_busy_timeout(db->sql, PATIENCE_MS);
    if (!rc && !r->complete) rc = hs_writer_open(&r->writer, db, QUEUE_BYTES);
    if (!rc && !r->complete) rc = hs_streams_open(&r->streams, &f->dims, r->writer);
    if (rc) {
        hs_streams_close(&r->streams);
        if (hs_writer_close(r->writer)) rc = hs_fail(rc, "%s", hs_errmsg());
        free(r);
        return rc;
    }
    *out = r;
    return HS_OK;
}

int64_t hs_rec_run(const hs_rec *r) {
    return r->run;
}

int hs_rec_keep(hs_rec *r, const hs_heads *maps, const uint64_t *acts, enum hs_store store) {
    return r->complete ? HS_OK : hs_streams_keep(&r->streams, maps, acts, store);
}

int hs_rec_hook(hs_rec *r, hs_hooks *hooks) {
    if (r->complete) return hs_fail(HS_EARG, "the run is complete");
    return hs_streams_hook(&r->streams, hooks);
}

// ---- a prompt ----------------------------------------------------------------------------------

static int put_token(hs_rec *r, int64_t pos, int32_t id, const hs_tok *tok, hs_v from, hs_v to,
                     bool decoded) {
    size_t n = 0;
    const char *piece = tok ? hs_tok_piece(tok, id, &n) : NULL;
    hs_buf_clear(&r->text);
    if (piece) hs_sql_readable(&r->text, piece, n);
    int rc = hs_buf_rc(&r->text);
    hs_v v[] = {hs_v_id(HS_ID_PROMPT, 0),
                hs_v_int(pos),
                hs_v_int(id),
                piece ? hs_v_textn(hs_buf_text(&r->text), r->text.len) : hs_v_null(),
                piece ? hs_v_blob(piece, n) : hs_v_null(),
                from,
                to,
                hs_v_int(decoded)};
    return rc ? rc
              : hs_writer_row(r->writer, "INSERT INTO token VALUES (?, ?, ?, ?, ?, ?, ?, ?)", v, 8);
}

static int put_prompt(hs_rec *r, int64_t ord, const hs_prompt *p) {
    hs_buf_clear(&r->text);
    if (p->text) hs_sql_readable(&r->text, p->text, (size_t)p->text_len);
    int rc = hs_buf_rc(&r->text);
    hs_v v[] = {hs_v_id(HS_ID_PROMPT, 0),
                hs_v_int(r->run),
                hs_v_int(ord),
                hs_v_text(p->id),
                p->text ? hs_v_textn(hs_buf_text(&r->text), r->text.len) : hs_v_null(),
                hs_v_int(p->n_token),
                hs_v_int(0),
                hs_v_int(p->bos_len),
                p->period ? hs_v_int(p->period) : hs_v_null(),
                hs_v_text(p->extra),
                hs_v_text("")};
    if (!rc)
        rc = hs_writer_row(r->writer, "INSERT INTO prompt VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                           v, 11);
    for (int64_t i = 0; i < p->n_token && !rc; i++)
        rc = put_token(r, i, p->tokens[i], r->tok, p->start ? hs_v_int(p->start[i]) : hs_v_null(),
                       p->end ? hs_v_int(p->end[i]) : hs_v_null(), false);
    return rc;
}

int hs_rec_prompt(hs_rec *r, int64_t ord, const hs_prompt *p) {
    if (r->streams.in_prompt) return hs_fail(HS_EARG, "a prompt is being recorded already");
    if (r->complete) return hs_fail(HS_EARG, "the run is complete");
    r->n_token = p->n_token;
    r->n_decoded = r->n_analysis = 0;
    int rc = hs_writer_begin(r->writer);
    r->streams.in_prompt = true;
    if (!rc) rc = put_prompt(r, ord, p);
    if (rc) hs_rec_prompt_cancel(r);
    return rc;
}

int hs_rec_decoded(hs_rec *r, const int32_t *tokens, int64_t n, const hs_tok *tok) {
    int rc = HS_OK;
    for (int64_t i = 0; i < n && !rc; i++, r->n_decoded++)
        rc = put_token(r, r->n_token + r->n_decoded, tokens[i], tok, hs_v_null(), hs_v_null(),
                       true);
    return rc;
}

int hs_rec_emit(hs_rec *r, const hs_observe_item *item, hs_emit *emit) {
    hs_buf params = {0};
    const hs_analysis analysis = hs_analysis_of(item->observer);
    hs_args_json(&item->args, &params);
    int rc = hs_buf_rc(&params);
    if (!rc) rc = hs_rec_emit_as(r, &analysis, hs_buf_text(&params), emit);
    hs_buf_free(&params);
    return rc;
}

int hs_rec_emit_as(hs_rec *r, const hs_analysis *analysis, const char *params_json, hs_emit *emit) {
    hs_emit_to *to;
    int rc = hs_grow(&r->emit, r->n_emit + 1, sizeof *r->emit);
    if (!rc) rc = hs_alloc(&to, 1, sizeof *to);
    if (rc) return rc;
    *to = (hs_emit_to){
        .sink = hs_writer_sink(r->writer),
        .analysis = *analysis,
        .prompt = hs_v_id(HS_ID_PROMPT, 0),
        .analysis_run = hs_v_id(HS_ID_ANALYSIS_RUN, r->n_analysis++),
        .sql = &r->sql,
        .blob = &r->blob,
        .n_layer = r->streams.dims.n_layer,
        .n_head = r->streams.dims.n_head,
    };
    r->emit[r->n_emit++] = to;
    *emit = hs_emit_of(to);
    return hs_emit_begin(to, params_json, "online", HS_STORE_F32);
}

static void forget_prompt(hs_rec *r) {
    hs_streams_reset(&r->streams);
    for (size_t i = 0; i < r->n_emit; i++) free(r->emit[i]);
    r->n_emit = 0;
}

int hs_rec_prompt_end(hs_rec *r) {
    char now[HS_NOW_LEN];
    if (!r->streams.in_prompt) return hs_fail(HS_EARG, "no prompt is being recorded");
    hs_sql_now(now);
    hs_v v[] = {hs_v_int(r->n_decoded), hs_v_text(now), hs_v_id(HS_ID_PROMPT, 0)};
    int rc = hs_streams_end(&r->streams, r->n_token + r->n_decoded);
    if (!rc)
        rc = hs_writer_row(r->writer,
                           "UPDATE prompt SET n_decoded = ?, recorded_at = ? "
                           "WHERE id = ?",
                           v, 3);
    if (!rc) rc = hs_writer_commit(r->writer);
    if (rc) {
        r->streams.in_prompt = true;
        hs_rec_prompt_cancel(r);
    }
    forget_prompt(r);
    return rc;
}

void hs_rec_prompt_cancel(hs_rec *r) {
    if (!r->streams.in_prompt) return;
    hs_writer_rollback(r->writer);
    forget_prompt(r);
}

int hs_rec_close(hs_rec *r, int result) {
    const char *status = !result ? "complete" : result == HS_ESTOP ? "interrupted" : "failed";
    const bool failed = result && result != HS_ESTOP;
    char now[HS_NOW_LEN], first[1024];
    if (!r) return result;
    snprintf(first, sizeof first, "%s", hs_errmsg());
    if (!r->complete) hs_rec_prompt_cancel(r);
    int rc = hs_writer_close(r->writer);
    hs_sql_now(now);
    hs_v v[] = {hs_v_text(status), hs_v_text(now), hs_v_int(r->run)};
    if (!rc && !r->complete)
        rc = hs_sql_put(
            r->db, "UPDATE run SET status = ?, ended_at = ? WHERE id = ? AND status <> 'complete'",
            v, 3);
    hs_streams_close(&r->streams);
    free(r->emit);
    hs_buf_free(&r->sql);
    hs_buf_free(&r->blob);
    hs_buf_free(&r->text);
    free(r);
    if (failed) return hs_fail(result, "%s", first);
    return rc ? rc : result;
}
