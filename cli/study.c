// A run of an experiment; see study.h.
#include "cli/study.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#include "model/core/mem.h"

const hs_opt hs_opts_study[] = {
    {"resume", 0, HS_OPT_FLAG, offsetof(hs_study_options, resume), NULL, NULL,
     "go on with the newest run of the same model, prompts and options"},
    {"label", 0, HS_OPT_TEXT, offsetof(hs_study_options, label), "TEXT", NULL,
     "a name for the run"},
    {0},
};

hs_run_info hs_run_info_of(const hs_session *session, const hs_prompt_options *prompt) {
    const hs_model *model = session->model;
    return (hs_run_info){.model = model,
                         .model_path = hs_ckpt_path(hs_model_ckpt(model)),
                         .bos = hs_bos_names[prompt->bos],
                         .n_ctx = hs_cli_n_ctx(model),
                         .precision = hs_precision_names[hs_model_precision(model)]};
}

static int options_json(hs_buf *out, const hs_study_opts *o) {
    hs_jw w = {out, false};
    hs_jw_begin(&w, '{');
    hs_subject_json(&w, o->session->model, o->session->prompts);
    hs_jw_key_str(&w, "experiment", o->as->name);
    hs_buf_printf(out, ",%s", hs_buf_text(o->what));
    hs_span_json(&w, &o->prompt->span);
    if (o->more) hs_buf_printf(out, ",%s", hs_buf_text(o->more));
    hs_jw_end(&w, '}');
    return hs_buf_rc(out);
}

static int open_run(hs_study *s, const char *options, const char *argv) {
    const hs_study_opts *o = &s->o;
    hs_run_info info = hs_run_info_of(o->session, o->prompt);
    info.label = o->how->label;
    info.argv_json = argv;
    info.options_json = options;
    info.seed = (uint64_t)o->seed;
    if (o->shard) {
        info.shard = o->shard->i;
        info.n_shard = o->shard->n;
    }
    int rc = hs_rec_open(&s->rec, *o->db, &info, o->how->resume, &s->done, &s->complete);
    if (rc) return rc;
    s->id = hs_rec_run(s->rec);
    if (s->complete) {
        hs_note(o->call, "run %" PRId64 " is complete already", s->id);
        return HS_OK;
    }
    return hs_rec_keep(s->rec, NULL, NULL, HS_STORE_F32);
}

int hs_study_open(hs_study *s, const hs_study_opts *o) {
    const int64_t n = o->n_prompt ? o->n_prompt : hs_prompts_count(o->session->prompts);
    hs_buf options = {0}, argv = {0};
    *s = (hs_study){.o = *o, .n = o->shard ? hs_shard_count(o->shard, n) : n};
    hs_buf_printf(&s->params, "{%s}", hs_buf_text(o->what));
    int rc = hs_buf_rc(o->what);
    if (!rc && o->more) rc = hs_buf_rc(o->more);
    if (!rc) rc = hs_buf_rc(&s->params);
    if (!rc && !*o->db) rc = hs_db_open(o->db, o->path, HS_DB_CREATE);
    if (!rc) rc = hs_rec_check(*o->db, o->as);
    if (!rc) rc = options_json(&options, o);
    hs_argv_json(&argv, o->call);
    if (!rc) rc = hs_buf_rc(&argv);
    if (!rc) rc = open_run(s, hs_buf_text(&options), hs_buf_text(&argv));
    hs_buf_free(&options);
    hs_buf_free(&argv);
    hs_buf_free(o->what);
    if (o->more) hs_buf_free(o->more);
    return rc;
}

int hs_study_close(hs_study *s, int rc) {
    const bool begun = s->rec;
    if (s->o.session) hs_bar_clear(&s->o.session->bar);
    rc = hs_rec_close(s->rec, rc);
    s->rec = NULL;
    hs_buf_free(&s->params);
    if (rc != HS_ESTOP || !begun) return rc;
    return hs_fail(rc,
                   "interrupted: %" PRId64 " of %" PRId64 " prompts of run %" PRId64
                   " are in %s; the same command with --resume goes on",
                   s->done, s->n, s->id, hs_db_path(*s->o.db));
}

// The prompt that is done as the k-th.
static int64_t ord_of(const hs_study *s, int64_t k) {
    return s->o.shard ? hs_shard_ord(s->o.shard, k) : k;
}

int64_t hs_study_next(const hs_study *s) {
    return s->complete || s->done >= s->n ? -1 : ord_of(s, s->done);
}

int hs_study_left(const hs_study *s, int64_t **ord, int64_t *n) {
    *n = s->complete ? 0 : s->n - s->done;
    int rc = hs_alloc(ord, (size_t)*n, sizeof **ord);
    for (int64_t k = 0; k < *n && !rc; k++) (*ord)[k] = ord_of(s, s->done + k);
    return rc;
}

typedef struct held {
    hs_held_fn fn;
    void *ctx;
    int64_t ord;
} held;

static int on_held(void *ctx, const hs_query *row) {
    const held *h = ctx;
    return h->fn(h->ctx, h->ord, row);
}

// Read by a second connection: the first one is the writer's.
int hs_study_held(const hs_study *s, const char *query, hs_held_fn fn, void *ctx) {
    char prompt[24];
    hs_db *db;
    const hs_query_opts o = {.run = s->id, .prompt = prompt};
    if (!s->done || s->complete) return HS_OK;
    int rc = hs_db_open(&db, hs_db_path(*s->o.db), HS_DB_READ);
    for (int64_t k = 0; k < s->done && !rc; k++) {
        held h = {fn, ctx, ord_of(s, k)};
        snprintf(prompt, sizeof prompt, "%" PRId64, h.ord);
        rc = hs_query_each(db, query, &o, on_held, &h);
    }
    hs_db_close(db);
    return rc;
}

int hs_study_begin(hs_study *s, int64_t ord, hs_emit *emit) {
    int rc = hs_rec_prompt(s->rec, ord, hs_prompts_at(s->o.session->prompts, ord));
    return rc ? rc : hs_rec_emit_as(s->rec, s->o.as, hs_buf_text(&s->params), emit);
}

int hs_study_end(hs_study *s, int rc) {
    if (!rc) rc = hs_rec_prompt_end(s->rec);
    if (rc) hs_rec_prompt_cancel(s->rec);
    s->done += !rc;
    return rc;
}
