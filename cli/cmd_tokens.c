// headscope tokens MODEL -p TEXT: how a text is cut. Needs no weights.
#include "cli/out.h"
#include "cli/session.h"
#include "model/core/utf8.h"

struct options {
    hs_prompt_options prompt;
    hs_out_options out;
};

static const hs_col columns[] = {
    {"prompt", "prompt", 0}, {"position", "pos", 0}, {"id", "id", 0},   {"piece", NULL, 0},
    {NULL, "piece", 0},      {"start", "start", 0},  {"end", "end", 0},
};
enum { N_COLUMN = 7 };

static void put_rows(hs_table *t, const hs_prompt *p, const hs_tok *tok) {
    hs_buf shown = {0};
    for (int64_t i = 0; i < p->n_token; i++) {
        size_t n = 0;
        const char *piece = tok ? hs_tok_piece(tok, p->tokens[i], &n) : "";
        hs_buf_clear(&shown);
        hs_utf8_visible(&shown, piece, n, true);
        hs_table_str(t, p->id);
        hs_table_int(t, i);
        hs_table_int(t, p->tokens[i]);
        hs_table_strn(t, piece, n);
        hs_table_str(t, hs_buf_text(&shown));
        if (p->start) {
            hs_table_int(t, p->start[i]);
            hs_table_int(t, p->end[i]);
        } else {
            hs_table_null(t);
            hs_table_null(t);
        }
    }
    hs_buf_free(&shown);
}

static void put_json(hs_jw *w, const hs_prompt *p, const hs_tok *tok) {
    hs_jw_begin(w, '{');
    hs_jw_key(w, "id");
    hs_jw_str(w, p->id);
    hs_jw_key(w, "ids");
    hs_jw_begin(w, '[');
    for (int64_t i = 0; i < p->n_token; i++) hs_jw_int(w, p->tokens[i]);
    hs_jw_end(w, ']');
    hs_jw_key(w, "tokens");
    hs_jw_begin(w, '[');
    for (int64_t i = 0; i < p->n_token; i++) {
        size_t n = 0;
        const char *piece = tok ? hs_tok_piece(tok, p->tokens[i], &n) : "";
        hs_jw_begin(w, '{');
        hs_jw_key(w, "id");
        hs_jw_int(w, p->tokens[i]);
        hs_jw_key(w, "piece");
        hs_jw_strn(w, piece, n);
        if (p->start) {
            hs_jw_key(w, "start");
            hs_jw_int(w, p->start[i]);
            hs_jw_key(w, "end");
            hs_jw_int(w, p->end[i]);
        }
        hs_jw_end(w, '}');
    }
    hs_jw_end(w, ']');
    hs_jw_end(w, '}');
}

static int print(const hs_call *call, const struct options *opt, const hs_prompts *prompts,
                 const hs_tok *tok) {
    int64_t n = hs_prompts_count(prompts);
    if (opt->out.json) {
        hs_buf json = {0};
        hs_jw w = {&json, false};
        hs_jw_begin(&w, '{');
        hs_jw_key(&w, "prompts");
        hs_jw_begin(&w, '[');
        for (int64_t i = 0; i < n; i++) put_json(&w, hs_prompts_at(prompts, i), tok);
        hs_jw_end(&w, ']');
        hs_jw_end(&w, '}');
        return hs_json_put(&json);
    }
    hs_table *t;
    int rc = hs_table_open(&t, columns, N_COLUMN);
    if (rc) return rc;
    for (int64_t i = 0; i < n; i++) put_rows(t, hs_prompts_at(prompts, i), tok);
    rc = hs_table_put(t, call, &opt->out);
    hs_table_close(t);
    return rc;
}

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    hs_ckpt *ckpt = NULL;
    hs_tok *tok = NULL;
    hs_prompts *prompts = NULL;
    const char *path;
    int rc = hs_out_check(&opt->out);
    if (!rc) rc = hs_cli_model_path(call, 0, &path);
    if (!rc) rc = hs_cli_tok_open(&ckpt, &tok, path);
    if (!rc && !tok) rc = hs_fail(HS_EUNSUPPORTED, "%s has no tokenizer", path);
    if (!rc) rc = hs_cli_prompts_open(&prompts, &opt->prompt, tok, (int64_t)hs_tok_n_vocab(tok));
    if (!rc) rc = print(call, opt, prompts, tok);
    hs_prompts_close(prompts);
    hs_tok_close(tok);
    hs_ckpt_close(ckpt);
    return rc;
}

const hs_cmd hs_cmd_tokens = {
    .name = "tokens",
    .group = "models",
    .title = "how a text is cut: ids, pieces, byte ranges",
    .synopsis = "MODEL -p TEXT [options]",
    .about = "start and end are bytes of the text; a token that was added (BOS) has start = end. "
             "In the table newlines, spaces and broken bytes are shown as marks.",
    .examples = (const char *const[][2]){{"tokens model.gguf -p \"Hello world\"", "a table"},
                                         {"tokens model.gguf -p \"Hello\" --bos no --json",
                                          "for scripts, without BOS"},
                                         {NULL}},
    .options = (const hs_opt_group[]){{"prompts", hs_opts_prompt, offsetof(struct options, prompt)},
                                      {"output", hs_opts_table, offsetof(struct options, out)},
                                      {0}},
    .options_size = sizeof(struct options),
    .max_arg = 1,
    .run = run,
};
