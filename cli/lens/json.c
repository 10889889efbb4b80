// What a lens found, for programs; see lens.h.
#include <stdlib.h>
#include <string.h>

#include "cli/lens/lens.h"
#include "db/map.h"

static void key_text(hs_jw *j, const char *key, const char *text) {
    hs_jw_key(j, key);
    if (text)
        hs_jw_str(j, text);
    else
        hs_jw_null(j);
}

static void json_row(hs_jw *j, const hs_lens_line *s) {
    hs_jw_begin(j, '{');
    hs_jw_key_str(j, "point", s->point ? s->point : "");
    hs_jw_key_int(j, "layer", s->layer);
    hs_jw_key_int(j, "top", s->top);
    key_text(j, "text", s->text);
    hs_jw_key_num(j, "logit", s->logit);
    hs_jw_key_num(j, "prob", s->prob);
    hs_jw_key_num(j, "kl", s->kl);
    hs_jw_key_int(j, "rank", s->rank);
    hs_jw_end(j, '}');
}

// Rows of a token that is followed, one after the other.
typedef struct token_path {
    hs_jw *j;
    int64_t token; // in work, -1: none yet
} token_path;

static int on_track(void *ctx, const hs_query *q) {
    token_path *p = ctx;
    const int64_t token = hs_query_int(q, "token");
    if (token != p->token) {
        char text[256];
        hs_query_text(q, "text", text, sizeof text);
        if (p->token >= 0) {
            hs_jw_end(p->j, ']');
            hs_jw_end(p->j, '}');
        }
        p->token = token;
        hs_jw_begin(p->j, '{');
        hs_jw_key_int(p->j, "token", token);
        key_text(p->j, "text", hs_query_named(q, "text").type == HS_CELL_TEXT ? text : NULL);
        hs_jw_key(p->j, "rows");
        hs_jw_begin(p->j, '[');
    }
    hs_jw_begin(p->j, '{');
    hs_jw_key_int(p->j, "layer", hs_query_int(q, "layer"));
    hs_jw_key_int(p->j, "rank", hs_query_int(q, "rank"));
    hs_jw_key_num(p->j, "logit", hs_query_num(q, "logit"));
    hs_jw_key_num(p->j, "prob", hs_query_num(q, "prob"));
    hs_jw_end(p->j, '}');
    return HS_OK;
}

static int json_track(hs_jw *j, const hs_lens_found *f, const hs_lens_line *of) {
    token_path p = {j, -1};
    hs_jw_key(j, "track");
    hs_jw_begin(j, '[');
    int rc = hs_lens_each(f, "lens_track", of, NULL, on_track, &p);
    if (p.token >= 0) {
        hs_jw_end(j, ']');
        hs_jw_end(j, '}');
    }
    hs_jw_end(j, ']');
    return rc;
}

// One position's attributions: lists of the parts that are many.
typedef struct parts {
    hs_buf heads, mlp, neurons;
    hs_jw to_heads, to_mlp, to_neurons;
    int64_t token, minus; // minus -1: none
    double logit, embed, bias, rest;
} parts;

static void add_unit(hs_jw *j, const hs_query *q, const char *index) {
    hs_jw_begin(j, '{');
    hs_jw_key_int(j, "layer", hs_query_int(q, "layer"));
    hs_jw_key_int(j, index, hs_query_int(q, "idx"));
    hs_jw_key_num(j, "value", hs_query_num(q, "value"));
    hs_jw_end(j, '}');
}

static int on_part(void *ctx, const hs_query *q) {
    parts *p = ctx;
    char part[16];
    hs_query_text(q, "part", part, sizeof part);
    const double value = hs_query_num(q, "value");
    p->token = hs_query_int(q, "token_id");
    p->minus = hs_query_named(q, "minus_id").type == HS_CELL_INT ? hs_query_int(q, "minus_id") : -1;
    p->logit = hs_query_num(q, "logit");
    if (!strcmp(part, "head")) add_unit(&p->to_heads, q, "head");
    if (!strcmp(part, "neuron")) add_unit(&p->to_neurons, q, "neuron");
    if (!strcmp(part, "mlp")) hs_jw_num(&p->to_mlp, value);
    if (!strcmp(part, "embed")) p->embed = value;
    if (!strcmp(part, "bias")) p->bias = value;
    if (!strcmp(part, "rest")) p->rest = value;
    return HS_OK;
}

static int json_sources(hs_jw *j, const hs_lens_found *f, const hs_lens_line *of) {
    const hs_config *c = hs_model_config(f->w->session.model);
    int64_t prompt;
    int rc = hs_db_prompt(f->w->db, f->w->run, of->id, &prompt);
    hs_jw_key(j, "sources");
    hs_jw_begin(j, '[');
    for (int64_t h = 0; h < c->n_layer * c->n_head && !rc; h++) {
        const int layer = (int)(h / c->n_head), head = (int)(h % c->n_head);
        double *v = NULL;
        int64_t n = 0;
        rc = hs_db_series(f->w->db, prompt, layer, head, "dla_source", &v, &n);
        hs_jw_begin(j, '{');
        hs_jw_key_int(j, "layer", layer);
        hs_jw_key_int(j, "head", head);
        hs_jw_key(j, "values");
        hs_jw_begin(j, '[');
        for (int64_t i = 0; i < n && i <= of->position; i++) hs_jw_num(j, v[i]);
        hs_jw_end(j, ']');
        hs_jw_end(j, '}');
        free(v);
    }
    hs_jw_end(j, ']');
    return rc;
}

static int json_dla(hs_jw *j, const hs_lens_found *f, const hs_lens_line *of) {
    parts p = {.minus = -1};
    p.to_heads = (hs_jw){&p.heads, false};
    p.to_mlp = (hs_jw){&p.mlp, false};
    p.to_neurons = (hs_jw){&p.neurons, false};
    hs_jw *const lists[] = {&p.to_heads, &p.to_mlp, &p.to_neurons};
    for (int i = 0; i < 3; i++) hs_jw_begin(lists[i], '[');
    int rc = hs_lens_each(f, "dla", of, "by=layer", on_part, &p);
    for (int i = 0; i < 3; i++) hs_jw_end(lists[i], ']');
    hs_jw_key(j, "dla");
    hs_jw_begin(j, '{');
    hs_jw_key_int(j, "token", p.token);
    if (p.minus >= 0) hs_jw_key_int(j, "minus", p.minus);
    hs_jw_key_num(j, "logit", p.logit);
    hs_jw_key_num(j, "embed", p.embed);
    hs_jw_key_num(j, "bias", p.bias);
    hs_jw_key_num(j, "rest", p.rest);
    hs_jw_key(j, "heads");
    hs_jw_buf(j, &p.heads);
    hs_jw_key(j, "mlp");
    hs_jw_buf(j, &p.mlp);
    if (f->w->by & HS_DLA_NEURON) {
        hs_jw_key(j, "neurons");
        hs_jw_buf(j, &p.neurons);
    }
    if (!rc && f->w->by & HS_DLA_SOURCE) rc = json_sources(j, f, of);
    hs_jw_end(j, '}');
    hs_buf_free(&p.heads);
    hs_buf_free(&p.mlp);
    hs_buf_free(&p.neurons);
    return rc;
}

static int json_position(hs_jw *j, const hs_lens_found *f, const hs_lens_line *s) {
    int rc = HS_OK;
    hs_jw_begin(j, '{');
    hs_jw_key_str(j, "id", s->id ? s->id : "");
    hs_jw_key_int(j, "position", s->position);
    hs_jw_key_int(j, "final_top", s->final_top);
    key_text(j, "final_text", s->final_text);
    hs_jw_key(j, "rows");
    hs_jw_begin(j, '[');
    for (int64_t i = 0; i < f->n_depth; i++) json_row(j, &s[i]);
    hs_jw_end(j, ']');
    if (f->w->n_track) rc = json_track(j, f, s);
    if (!rc && f->w->opt->dla) rc = json_dla(j, f, s);
    hs_jw_end(j, '}');
    return rc;
}

int hs_lens_json(const hs_lens_found *f) {
    hs_buf json = {0};
    hs_jw j = {&json, false};
    int rc = HS_OK;
    hs_jw_begin(&j, '{');
    hs_jw_key_int(&j, "run", f->w->run);
    hs_jw_key_str(&j, "db", hs_db_path(f->w->db));
    hs_jw_key(&j, "prompts");
    hs_jw_begin(&j, '[');
    for (int64_t i = 0; i < f->n && !rc; i += f->n_depth) rc = json_position(&j, f, &f->at[i]);
    hs_jw_end(&j, ']');
    hs_jw_end(&j, '}');
    if (!rc) return hs_json_put(&json);
    hs_buf_free(&json);
    return rc;
}
