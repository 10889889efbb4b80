// The lens into the database: one run, one transaction a prompt; see lens.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/lens/lens.h"
#include "model/core/utf8.h"

// A prompt's results on their way.
typedef struct look {
    const hs_lens_work *w;
    const hs_lens_result *r;
    const hs_lens_asked *asked;
    const hs_emit *emit;
    hs_buf text[2];
} look;

static hs_value integer(int64_t v) {
    return (hs_value){.type = HS_VAL_INT, .i = v};
}
static hs_value number(double v) {
    return (hs_value){.type = HS_VAL_NUM, .f = v};
}
static hs_value word(const char *s) {
    return (hs_value){.type = HS_VAL_TEXT, .s = s};
}

// A token's text in buffer k, until the next one's; NULL where there is none.
static hs_value text_of(look *k, int i, int32_t id) {
    const hs_tok *tok = hs_model_tok(k->w->session.model);
    size_t n = 0;
    const char *piece = tok && id >= 0 ? hs_tok_piece(tok, id, &n) : NULL;
    if (!piece) return (hs_value){.type = HS_VAL_NULL};
    hs_buf_clear(&k->text[i]);
    hs_utf8_visible(&k->text[i], piece, n, false);
    return word(hs_buf_text(&k->text[i]));
}

// ---- the lens ---------------------------------------------------------------------------------

static int emit_row(look *k, int64_t i, int64_t depth) {
    const int64_t n_depth = hs_model_config(k->w->session.model)->n_layer + 1;
    const hs_lens_row *r = &k->r->row[i * n_depth + depth];
    const enum hs_point point = depth ? HS_RESID_POST : HS_RESID_PRE;
    char name[64];
    snprintf(name, sizeof name, hs_point_infos[point].name, (int)(depth ? depth - 1 : 0));
    const hs_value row[] = {integer(k->asked->pos[i]),
                            integer(depth - 1),
                            word(name),
                            integer(r->top),
                            text_of(k, 0, r->top),
                            number(r->logit),
                            number(r->prob),
                            number(r->kl),
                            integer(r->rank),
                            integer(k->r->final_top[i]),
                            text_of(k, 1, k->r->final_top[i])};
    int rc = k->emit->row(k->emit->ctx, "row", row);
    for (int t = 0; t < k->w->n_track && !rc; t++) {
        const hs_lens_seen *s = &k->r->track[(i * n_depth + depth) * k->w->n_track + t];
        const hs_value seen[] = {integer(k->asked->pos[i]),
                                 integer(depth - 1),
                                 integer(k->w->track[t]),
                                 text_of(k, 0, k->w->track[t]),
                                 integer(s->rank),
                                 number(s->logit),
                                 number(s->prob)};
        rc = k->emit->row(k->emit->ctx, "track", seen);
    }
    return rc;
}

// ---- attributions -----------------------------------------------------------------------------

static int emit_part(const look *k, int64_t i, const char *part, int64_t layer, int64_t index,
                     double value) {
    const hs_value row[] = {integer(k->asked->pos[i]), word(part), integer(layer), integer(index),
                            number(value)};
    return k->emit->row(k->emit->ctx, "dla", row);
}

static int emit_dla(look *k, int64_t i) {
    const hs_config *c = hs_model_config(k->w->session.model);
    const hs_dla *d = &k->r->dla[i];
    const bool minus = d->minus != HS_LENS_NONE;
    const hs_value target[] = {
        integer(k->asked->pos[i]), integer(d->token),
        text_of(k, 0, d->token),   minus ? integer(d->minus) : (hs_value){.type = HS_VAL_NULL},
        text_of(k, 1, d->minus),   number(d->logit)};
    int rc = k->emit->row(k->emit->ctx, "target", target);
    if (!rc) rc = emit_part(k, i, "embed", -1, 0, d->embed);
    if (!rc) rc = emit_part(k, i, "bias", -1, 0, d->bias);
    if (!rc) rc = emit_part(k, i, "rest", -1, 0, d->rest);
    for (int64_t l = 0; l < c->n_layer && !rc; l++) {
        for (int64_t h = 0; h < c->n_head && !rc; h++)
            rc = emit_part(k, i, "head", l, h, d->head[l * c->n_head + h]);
        if (!rc && d->mlp) rc = emit_part(k, i, "mlp", l, 0, d->mlp[l]);
    }
    for (int64_t n = 0; n < d->n_neuron && !rc; n++)
        rc = emit_part(k, i, "neuron", d->neuron[n].layer, d->neuron[n].index, d->neuron[n].value);
    return rc;
}

// A number a head: the mean over the positions.
static int emit_heads(const look *k, int64_t n_token) {
    const hs_config *c = hs_model_config(k->w->session.model);
    int rc = HS_OK;
    for (int64_t h = 0; h < c->n_layer * c->n_head && !rc; h++) {
        const int layer = (int)(h / c->n_head), head = (int)(h % c->n_head);
        double mean = 0;
        for (int64_t i = 0; i < k->r->n_pos; i++)
            mean += k->r->dla[i].head[h] / (double)k->r->n_pos;
        rc = k->emit->metric(k->emit->ctx, layer, head, "dla", mean, NULL);
        if (!rc && k->r->dla->source)
            rc = k->emit->series(k->emit->ctx, layer, head, "dla_source",
                                 k->r->dla->source + h * n_token, n_token);
    }
    return rc;
}

static int emit_prompt(look *k, int64_t n_token) {
    const int64_t n_layer = hs_model_config(k->w->session.model)->n_layer;
    int rc = HS_OK;
    for (int64_t i = 0; i < k->r->n_pos && !rc; i++) {
        for (int64_t depth = 0; depth <= n_layer && !rc; depth++) rc = emit_row(k, i, depth);
        if (!rc && k->r->dla) rc = emit_dla(k, i);
    }
    if (!rc && k->r->dla) rc = emit_heads(k, n_token);
    hs_buf_free(&k->text[0]);
    hs_buf_free(&k->text[1]);
    return rc;
}

// ---- the run ----------------------------------------------------------------------------------

// What decides the results, as members of an object.
static void what_json(hs_buf *out, const hs_lens_work *w) {
    static const char *const norms[] = {"recomputed", "frozen"};
    hs_jw j = {out, false};
    hs_jw_key_str(&j, "pos", w->opt->pos);
    hs_jw_key_str(&j, "norm", norms[w->opt->norm]);
    hs_jw_key(&j, "track");
    hs_jw_begin(&j, '[');
    for (int i = 0; i < w->n_track; i++) hs_jw_int(&j, w->track[i]);
    hs_jw_end(&j, ']');
    if (w->opt->dla) hs_jw_key_str(&j, "dla", w->opt->dla);
    if (w->by & HS_DLA_NEURON) hs_jw_key_int(&j, "neurons", w->opt->top);
    if (w->by & HS_DLA_SOURCE) hs_jw_key_str(&j, "by", "source");
}

// A prompt that lacks the positions ("S2?") has no rows.
static int look_at(const hs_lens_work *w, hs_study *study, hs_lens *lens, int64_t ord) {
    const hs_prompt *p = hs_prompts_at(w->session.prompts, ord);
    hs_lens_asked asked;
    hs_lens_result result = {0};
    hs_emit emit;
    int rc = hs_lens_ask(&asked, w, ord);
    const hs_lens_at at = {p, asked.pos, asked.n_pos, asked.token, asked.minus};
    if (!rc && at.n_pos) rc = hs_lens_run(lens, &at, &result);
    if (!rc) {
        look k = {.w = w, .r = &result, .asked = &asked, .emit = &emit};
        rc = hs_study_begin(study, ord, &emit);
        if (!rc) rc = emit_prompt(&k, p->n_token);
        rc = hs_study_end(study, rc);
    }
    free(asked.pos);
    return rc;
}

static int look_at_all(hs_lens_work *w, hs_study *study) {
    const hs_lens_opts opts = {.model = w->session.model,
                               .frozen = w->opt->norm == HS_LENS_FROZEN,
                               .track = w->track,
                               .n_track = w->n_track,
                               .dla = w->opt->dla != NULL,
                               .by = w->by,
                               .top_neurons = w->opt->top};
    const hs_progress *progress = &w->session.bar.progress;
    hs_lens *lens = NULL;
    int rc = study->complete ? HS_OK : hs_lens_open(&lens, &opts);
    for (int64_t ord; !rc && (ord = hs_study_next(study)) >= 0;) {
        rc = hs_progress_step(progress, "prompts", study->done, study->n);
        if (!rc) rc = look_at(w, study, lens, ord);
    }
    if (!rc) rc = hs_progress_step(progress, "prompts", study->n, study->n);
    hs_lens_close(lens);
    return rc;
}

int hs_lens_store(hs_lens_work *w) {
    const hs_analysis as = hs_analysis_of_experiment(&hs_experiment_lens);
    hs_study study;
    hs_buf what = {0};
    what_json(&what, w);
    const hs_study_opts opts = {.call = w->call,
                                .session = &w->session,
                                .prompt = &w->opt->prompt,
                                .db = &w->db,
                                .path = hs_cli_db_path(&w->opt->db),
                                .how = &w->opt->study,
                                .as = &as,
                                .what = &what};
    int rc = hs_study_open(&study, &opts);
    w->run = study.id;
    if (!rc) rc = look_at_all(w, &study);
    return hs_study_close(&study, rc);
}
