// A circuit: the edges that patch --edges found, with the nodes that they join, as patch --edges
// --json prints them.
//   metric, clean, corrupt, n   what the scores are of, on both halves, means over n pairs
//   nodes                       [{"name": "L5H1", "kind": "head", "layer": 5, "head": 1}, ...]
//   edges                       [{"from", "to", "kind", "value"}, ...], the largest first
#include "db/circuit.h"
#include "db/export_internal.h"

static int put(hs_text *out, const hs_export *e, const hs_circuit *c) {
    hs_jw_begin(&out->json, '{');
    int rc = hs_text_run(out, e->db, e->opts.run);
    hs_circuit_json(&out->json, c);
    hs_jw_end(&out->json, '}');
    hs_buf_chr(&out->text, '\n');
    return rc ? rc : hs_text_commit(out);
}

// Of the one prompt that was asked for.
static int take_name(void *ctx, const hs_export_prompt *p) {
    hs_buf_str(ctx, p->label);
    return hs_buf_rc(ctx);
}

static int write_circuit(hs_export *e) {
    hs_text out = {0};
    hs_circuit c = {0};
    hs_buf prompt = {0};
    int rc = e->opts.prompt ? hs_export_prompts(e, take_name, &prompt) : hs_export_step(e);
    const char *of = e->opts.prompt ? hs_buf_text(&prompt) : NULL;
    if (!rc) rc = hs_circuit_open(&c, e->db, e->opts.run, of, e->opts.top, e->opts.threshold);
    if (!rc) rc = hs_text_open(&out, e->path);
    if (!rc) rc = put(&out, e, &c);
    hs_text_close(&out);
    hs_circuit_close(&c);
    hs_buf_free(&prompt);
    return rc;
}

const hs_export_format hs_export_circuit = {
    .name = "circuit",
    .ending = ".json",
    .title = "the edges that patch --edges found, and the nodes that they join",
    .what = HS_EXPORT_EDGES,
    .fallback = HS_EXPORT_EDGES,
    .write = write_circuit,
};
