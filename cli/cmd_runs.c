// headscope runs: what is in a database.
#include "cli/reader.h"

struct options {
    hs_db_options db;
    hs_out_options out;
};

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    hs_source r = {0};
    hs_table *t = NULL;
    int rc = hs_out_check(&opt->out);
    if (!rc) rc = hs_db_open(&r.db, hs_cli_db_path(&opt->db), HS_DB_READ);
    if (!rc) rc = hs_source_table(&r, "runs", &t);
    if (!rc && opt->out.json) {
        hs_buf json = {0};
        hs_jw j = {&json, false};
        hs_jw_begin(&j, '{');
        hs_jw_key(&j, "db");
        hs_jw_str(&j, hs_db_path(r.db));
        hs_table_json(t, &j, "runs");
        hs_jw_end(&j, '}');
        rc = hs_json_put(&json);
    } else if (!rc) {
        rc = hs_table_put(t, call, &opt->out);
    }
    hs_table_close(t);
    hs_source_close(&r);
    return rc;
}

const hs_cmd hs_cmd_runs = {
    .name = "runs",
    .group = "reading",
    .title = "the runs of a database",
    .synopsis = "[--db FILE.db] [options]",
    .about = "One line a run: model, prompts, tokens, when and whether it is complete.",
    .examples = (const char *const[][2]){{"runs --db run.db", "what is in there"}, {NULL}},
    .options = (const hs_opt_group[]){{"options", hs_opts_db_read, offsetof(struct options, db)},
                                      {"output", hs_opts_table, offsetof(struct options, out)},
                                      {0}},
    .options_size = sizeof(struct options),
    .run = run,
};
