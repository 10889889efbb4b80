// headscope query NAME|SQL: named queries and read-only SQL on a database.
//
// Rows are written as they come, but for the table, whose columns are aligned by all of them.
#include <string.h>

#include "cli/reader.h"

struct options {
    hs_db_options db;
    hs_run_options run;
    hs_out_options out;
    hs_opt_list param;
    int64_t max_rows;
    double max_seconds;
};

enum { FLUSH = 1 << 20 };

// What was written so far goes out when it is much.
static int flush(hs_buf *b, bool all) {
    int rc = hs_buf_rc(b);
    if (rc || (!all && b->len < FLUSH)) return rc;
    fwrite(hs_buf_text(b), 1, b->len, stdout); // main looks for write errors
    hs_buf_clear(b);
    return HS_OK;
}

static void row_json(hs_jw *j, const hs_query *q) {
    hs_jw_begin(j, '[');
    for (int i = 0; i < hs_query_columns(q); i++) {
        hs_cell c = hs_query_cell(q, i);
        hs_cell_json(j, &c);
    }
    hs_jw_end(j, ']');
}

static int put_json(hs_query *q) {
    hs_buf b = {0};
    hs_jw j = {&b, false};
    bool row = true;
    int rc = HS_OK;
    hs_jw_begin(&j, '{');
    hs_jw_key(&j, "columns");
    hs_jw_begin(&j, '[');
    for (int i = 0; i < hs_query_columns(q); i++) hs_jw_str(&j, hs_query_column(q, i));
    hs_jw_end(&j, ']');
    hs_jw_key(&j, "rows");
    hs_jw_begin(&j, '[');
    while (!rc && row) {
        rc = hs_query_step(q, &row);
        if (!rc && row) row_json(&j, q);
        if (!rc) rc = flush(&b, false);
    }
    hs_jw_end(&j, ']');
    hs_jw_end(&j, '}');
    hs_buf_chr(&b, '\n');
    if (!rc) rc = flush(&b, true);
    hs_buf_free(&b);
    return rc;
}

// A table of all rows; CSV and JSON lines come in pieces.
static int put_rows(const hs_call *call, const hs_out_options *out, hs_query *q) {
    enum { PIECE = 4096 };
    hs_table *t = NULL;
    bool row = true, header = true;
    int rc = HS_OK;
    while (!rc && row) {
        if (!t) rc = hs_table_of_query(&t, q);
        if (!rc) rc = hs_query_step(q, &row);
        if (!rc && row) hs_table_row(t, q);
        bool piece = (out->csv || out->jsonl) && t && hs_table_rows(t) >= PIECE;
        if (rc || (row && !piece)) continue;
        rc = header ? hs_table_put(t, call, out) : hs_table_more(t, out);
        header = false;
        hs_table_close(t);
        t = NULL;
    }
    hs_table_close(t);
    return rc;
}

static const hs_col columns[] = {
    {"name", "query", 0}, {"title", "answers", 0}, {"params", "parameters", 0}};

static int list_queries(const hs_call *call, const hs_out_options *out) {
    hs_table *t;
    int rc = hs_table_open(&t, columns, 3);
    for (const hs_query_info *q = hs_queries; !rc && q->name; q++) {
        char title[200], name[64], fallback[64], help[200];
        hs_buf params = {0};
        hs_query_title(q, title, sizeof title);
        for (int i = 0;
             hs_query_param(q, i, name, sizeof name, fallback, sizeof fallback, help, sizeof help);
             i++)
            hs_buf_printf(&params, "%s%s=%s", i ? " " : "", name, fallback);
        hs_table_str(t, q->name);
        hs_table_str(t, title);
        hs_table_str(t, hs_buf_text(&params));
        hs_buf_free(&params);
    }
    if (!rc && out->json) {
        hs_buf json = {0};
        hs_jw j = {&json, false};
        hs_jw_begin(&j, '{');
        hs_table_json(t, &j, "queries");
        hs_jw_end(&j, '}');
        rc = hs_json_put(&json);
    } else if (!rc) {
        rc = hs_table_put(t, call, out);
    }
    hs_table_close(t);
    return rc;
}

// Whether a named query is about one run.
static bool of_run(const char *name) {
    for (const hs_query_info *q = hs_queries; q->name; q++)
        if (strcmp(q->name, name) == 0) return strstr(q->text, ":run") != NULL;
    return false;
}

static int tell_unfinished(const hs_call *call, hs_db *db, int64_t run) {
    int rc = hs_db_run(db, run, &run);
    return rc ? rc : hs_tell_unfinished(call, db, run);
}

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    hs_db *db = NULL;
    hs_query *q = NULL;
    int64_t run_id = 0;
    hs_bar bar; // for Ctrl-C: a query has no length that one could draw
    int rc = hs_out_check(&opt->out);
    if (!rc && opt->max_rows < 0)
        rc = hs_fail(HS_EARG, "--max-rows takes a number from 0 (all) on");
    if (!rc && !(opt->max_seconds >= 0))
        rc = hs_fail(HS_EARG, "--max-seconds takes a number from 0 (no limit) on");
    if (!rc && !call->n_arg) return list_queries(call, &opt->out);
    if (!rc && opt->run.run) rc = hs_parse_int("--run", opt->run.run, 1, INT64_MAX, &run_id);
    if (!rc) rc = hs_db_open(&db, hs_cli_db_path(&opt->db), HS_DB_READ);
    hs_query_opts q_opts = {.run = run_id,
                            .prompt = opt->run.prompt,
                            .param = opt->param.at,
                            .n_param = opt->param.n,
                            .max_rows = opt->max_rows,
                            .max_seconds = opt->max_seconds,
                            .progress = &bar.progress};
    hs_bar_open(&bar, call);
    if (!rc) rc = hs_query_open(&q, db, call->arg[0], &q_opts);
    if (!rc && of_run(call->arg[0])) rc = tell_unfinished(call, db, run_id);
    if (!rc) rc = opt->out.json ? put_json(q) : put_rows(call, &opt->out, q);
    hs_bar_close(&bar);
    if (!rc && hs_query_cut(q))
        hs_note(call, "there are more rows than --max-rows %lld: the others were left out",
                (long long)opt->max_rows);
    hs_query_close(q);
    hs_db_close(db);
    return rc;
}

static const hs_opt own[] = {
    {"param", 0, HS_OPT_LIST, offsetof(struct options, param), "NAME=VALUE", NULL,
     "a parameter of the query; may be repeated"},
    {"max-rows", 0, HS_OPT_INT, offsetof(struct options, max_rows), "N", "1000000",
     "rows at most; 0: all"},
    {"max-seconds", 0, HS_OPT_NUM, offsetof(struct options, max_seconds), "S", "60",
     "time at most; 0: as long as it takes"},
    {0},
};

const hs_cmd hs_cmd_query = {
    .name = "query",
    .group = "reading",
    .title = "named queries and read-only SQL",
    .synopsis = "[QUERY | SQL] [options]",
    .about =
        "Without a word: the named queries; headscope help NAME explains one. Anything with a "
        "space "
        "is SQL: one statement that only reads, with :run and :prompt bound when it uses them, "
        "values up to 64 MB and 1 GB of memory for sorting. The views v_run, v_token, v_head_mean "
        "and others need no blob; the meaning of every column is in the table column_doc. For "
        "blobs "
        "there are att_row(map, query), the weights of a row as JSON; att_at(map, query, key), one "
        "weight; att_series(data), a series as JSON, and att_nth(data, i), its number i; "
        "att_cosine(map, map) and att_gap(map, map), the cosine and the mean |difference| of two "
        "maps; att_alike(layer, head, data, top), the pairs of heads whose series are most alike, "
        "each number about the mean of the heads in units of their spread; att_interval(value), "
        "the "
        "95 % bootstrap interval of the mean of a column as JSON; and as tables "
        "att_keys(map, query) with key and weight, att_each(data) with pos and value. map is an id "
        "of the table map (see the query map_of), data a column of row_series or series; NULL "
        "gives "
        "NULL, and a row, key or map that is not there is an error. When more rows are there than "
        "--max-rows a line on stderr says so, and the exit status is 0; past --max-seconds it is "
        "1.",
    .examples =
        (const char *const[][2]){
            {"query sink_rate --param eps=0.3", "the share of heads that sink at each position"},
            {"query \"select name, value from v_head_mean where metric = "
             "'entropy_nats' order by value limit 5\"",
             "your own SQL"},
            {"query \"select t.text, k.weight from map m join att_keys(m.id, 5) k join token t on "
             "t.prompt_id = m.prompt_id and t.pos = k.key where m.layer = 3 and m.head = 0\"",
             "what position 5 looks at, from a stored map"},
            {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0},
                                      {"database", hs_opts_db_read, offsetof(struct options, db)},
                                      {"", hs_opts_prompt_of, offsetof(struct options, run)},
                                      {"output", hs_opts_table, offsetof(struct options, out)},
                                      {0}},
    .options_size = sizeof(struct options),
    .max_arg = 1,
    .run = run,
};
