// CircuitsVis: the arguments of circuitsvis.attention.attention_heads for one prompt.
//   attention             [head][query][key] of the heads that are stored, layer after layer
//   tokens                T strings
//   attention_head_names  "L5H1", one a head
#include <stdio.h>

#include "db/export_internal.h"

typedef struct job {
    hs_export *e;
    hs_text out;
} job;

static void put_names(hs_jw *w, const hs_heads *stored) {
    char name[32];
    hs_jw_key(w, "attention_head_names");
    hs_jw_begin(w, '[');
    for (int l = 0; l < stored->n_layer; l++)
        for (int h = 0; h < stored->n_head; h++) {
            if (!hs_heads_has(stored, l, h)) continue;
            snprintf(name, sizeof name, "L%dH%d", l, h);
            hs_jw_str(w, name);
        }
    hs_jw_end(w, ']');
}

static int put_attention(job *j, int64_t prompt, const hs_heads *stored) {
    int rc = HS_OK;
    hs_jw_key(&j->out.json, "attention");
    hs_jw_begin(&j->out.json, '[');
    for (int l = 0; l < stored->n_layer && !rc; l++) {
        rc = hs_export_step(j->e);
        for (int h = 0; h < stored->n_head && !rc; h++) {
            hs_export_map m;
            bool found = false;
            if (!hs_heads_has(stored, l, h)) continue;
            rc = hs_export_map_open(&m, j->e, prompt, l, h, &found);
            if (rc || !found) continue;
            rc = hs_export_square(&m, j->e, &j->out);
            hs_export_map_close(&m);
        }
    }
    hs_jw_end(&j->out.json, ']');
    return rc;
}

static int put_prompt(void *ctx, const hs_export_prompt *p) {
    job *j = ctx;
    hs_heads stored;
    int64_t n_token;
    int rc = hs_export_stored(j->e, p->id, &stored, &n_token);
    if (rc) return rc;
    hs_jw_begin(&j->out.json, '{');
    hs_jw_key(&j->out.json, "tokens");
    rc = hs_export_labels(j->e, &j->out, p->id, n_token);
    put_names(&j->out.json, &stored);
    if (!rc) rc = put_attention(j, p->id, &stored);
    hs_jw_end(&j->out.json, '}');
    hs_buf_chr(&j->out.text, '\n');
    hs_heads_free(&stored);
    return rc;
}

static int write_circuitsvis(hs_export *e) {
    job j = {.e = e};
    return hs_text_of_prompts(e, &j.out, put_prompt, &j);
}

const hs_export_format hs_export_circuitsvis = {
    .name = "circuitsvis",
    .ending = ".json",
    .title = "one prompt's maps for CircuitsVis: attention_heads",
    .what = HS_EXPORT_MAPS,
    .fallback = HS_EXPORT_MAPS,
    .one_prompt = true,
    .by_head = true,
    .write = write_circuitsvis,
};
