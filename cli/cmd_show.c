// headscope show RUN: one run with its provenance, prompts, and what it holds.
#include <string.h>

#include "cli/reader.h"
#include "model/core/utf8.h"

struct options {
    hs_db_options db;
    hs_run_options run;
    hs_out_options out;
};

// What show prints after the run itself, each a named query.
static const struct part {
    const char *query, *key, *heading;
} parts[] = {
    {"prompts", "prompt_list", "prompts"},
    {"show_interventions", "interventions", "interventions"},
    {"show_analyses", "analyses", "analyses"},
    {"show_stored", "stored", "stored"},
};
enum { N_PART = sizeof parts / sizeof *parts };

// A JSON object or array in a column named *_json stays one.
static bool is_json(const char *column, const hs_cell *c) {
    const char *tail = strrchr(column, '_');
    return tail && strcmp(tail, "_json") == 0 && c->type == HS_CELL_TEXT;
}

typedef struct printer {
    bool people;
    hs_jw *json;
} printer;

static int people_line(const char *name, const hs_cell *c) {
    hs_buf text = {0};
    hs_jw j = {&text, false};
    if (c->type == HS_CELL_NULL) return HS_OK;
    if (c->type == HS_CELL_TEXT)
        hs_utf8_visible(&text, c->data, c->n, false);
    else
        hs_cell_json(&j, c);
    const int rc = hs_buf_rc(&text);
    if (!rc) printf("%-15s %s\n", name, hs_buf_text(&text));
    hs_buf_free(&text);
    return rc;
}

// A cell that holds JSON is part of the object; text that is none stays text.
static int put_cell(hs_jw *json, const char *column, const hs_cell *c) {
    hs_json *parsed = NULL;
    hs_buf text = {0};
    int rc = is_json(column, c) ? hs_json_parse(&parsed, c->data, c->n) : HS_OK;
    if (parsed) {
        hs_json_print(parsed, &text);
        hs_jw_buf(json, &text);
    } else if (rc != HS_ENOMEM) {
        hs_cell_json(json, c);
        rc = HS_OK;
    }
    hs_buf_free(&text);
    hs_json_free(parsed);
    return rc;
}

static int put_run(void *ctx, const hs_query *q) {
    const printer *p = ctx;
    int rc = HS_OK;
    for (int i = 0; !rc && i < hs_query_columns(q); i++) {
        const char *column = hs_query_column(q, i);
        hs_cell c = hs_query_cell(q, i);
        if (p->people) {
            rc = people_line(column, &c);
            continue;
        }
        hs_jw_key(p->json, column);
        rc = put_cell(p->json, column, &c);
    }
    return rc;
}

static int put_part(const hs_call *call, const hs_source *r, const struct part *part,
                    const printer *p) {
    hs_table *t = NULL;
    int rc = hs_source_table(r, part->query, &t);
    if (!rc && !p->people) {
        hs_table_json(t, p->json, part->key);
    } else if (!rc && hs_table_rows(t)) {
        printf("\n%s\n", part->heading);
        rc = hs_table_put(t, call, &(hs_out_options){0});
    }
    hs_table_close(t);
    return rc;
}

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    hs_source r = {0};
    hs_buf json = {0};
    hs_jw j = {&json, false};
    printer p = {!opt->out.json, &j};
    int rc = hs_source_open(&r, call, 0, &opt->db, &opt->run);
    hs_jw_begin(&j, '{');
    if (!rc) rc = hs_source_each(&r, "show", NULL, 0, put_run, &p);
    for (int i = 0; !rc && i < N_PART; i++) rc = put_part(call, &r, &parts[i], &p);
    hs_jw_end(&j, '}');
    if (!rc && opt->out.json)
        rc = hs_json_put(&json);
    else
        hs_buf_free(&json);
    hs_source_close(&r);
    return rc;
}

const hs_cmd hs_cmd_show = {
    .name = "show",
    .group = "reading",
    .title = "one run: where it comes from and what it holds",
    .synopsis = "[RUN] [options]",
    .about = "Model and its fingerprint, command line, tokenizer policy, precision, kernels, "
             "status; the prompts; the analyses; the maps and activations that are stored.",
    .examples = (const char *const[][2]){{"show", "the latest run"},
                                         {"show 3 --db run.db --json", "run 3, for scripts"},
                                         {NULL}},
    .options = (const hs_opt_group[]){{"options", hs_opts_db_read, offsetof(struct options, db)},
                                      {"", hs_opts_run, offsetof(struct options, run)},
                                      {"output", hs_opts_json, offsetof(struct options, out)},
                                      {0}},
    .options_size = sizeof(struct options),
    .max_arg = 1,
    .run = run,
};
