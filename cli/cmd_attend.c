// headscope attend --head L5H1 --from POS: what one token looks at through one head.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/reader.h"
#include "db/map.h"
#include "db/replay.h"
#include "model/core/mem.h"
#include "model/core/utf8.h"

struct options {
    hs_db_options db;
    hs_run_options run;
    hs_out_options out;
    const char *head, *from;
    int64_t top;
};

typedef struct key {
    int64_t pos;
    double weight;
} key;

static int by_weight(const void *a, const void *b) {
    const key *x = a, *y = b;
    if (x->weight > y->weight || x->weight < y->weight) return x->weight > y->weight ? -1 : 1;
    return x->pos < y->pos ? -1 : x->pos > y->pos;
}

// One row of a stored map with the tokens around it.
typedef struct row {
    hs_source r;
    int layer, head;
    int64_t from, n; // keys that the row sees, sorted by weight
    key *key;
    hs_labels labels;
} row;

// Row w->from of the map, into w->key.
static int read_keys(row *w, hs_map_rows *map) {
    float *weight = NULL;
    int64_t n_k = hs_map_rows_keys(map);
    int rc = hs_alloc(&weight, (size_t)n_k, sizeof *weight);
    if (!rc) rc = hs_alloc(&w->key, (size_t)n_k, sizeof *w->key);
    if (!rc) rc = hs_map_rows_read(map, w->from, weight);
    while (!rc && n_k && isnan(weight[n_k - 1])) n_k--; // what the query does not see
    for (; !rc && w->n < n_k; w->n++) w->key[w->n] = (key){w->n, weight[w->n]};
    if (!rc) qsort(w->key, (size_t)w->n, sizeof *w->key, by_weight);
    free(weight);
    return rc;
}

static int read_row(row *w, const struct options *opt) {
    hs_dims dims;
    int64_t prompt;
    hs_map_rows *map = NULL;
    int rc = hs_db_dims(w->r.db, w->r.run, &dims);
    if (!rc) rc = hs_one_head(&dims, opt->head, &w->layer, &w->head);
    if (!rc) rc = hs_db_prompt(w->r.db, w->r.run, opt->run.prompt, &prompt);
    if (!rc) rc = hs_map_rows_open(&map, w->r.db, prompt, w->layer, w->head);
    if (!rc) rc = hs_pos_parse(&w->from, hs_map_rows_count(map), opt->from);
    if (!rc) rc = read_keys(w, map);
    if (!rc) rc = hs_labels_open(&w->labels, &w->r);
    hs_map_rows_close(map);
    return rc;
}

static const char *label(const row *w, int64_t pos) {
    return pos < w->labels.n ? w->labels.text[pos] : NULL;
}

static const hs_col columns[] = {
    {"position", "pos", 0}, {"id", "id", 0}, {"token", "token", 0}, {"weight", "weight", 6}};
enum { N_COLUMN = 4 };

static int make_table(hs_table **out, const row *w, int64_t top) {
    int rc = hs_table_open(out, columns, N_COLUMN);
    for (int64_t i = 0; !rc && i < w->n && (!top || i < top); i++) {
        int64_t pos = w->key[i].pos;
        hs_table_int(*out, pos);
        if (pos < w->labels.n)
            hs_table_int(*out, w->labels.id[pos]);
        else
            hs_table_null(*out);
        hs_table_str(*out, label(w, pos));
        hs_table_num(*out, w->key[i].weight);
    }
    return rc;
}

static int put_json(const row *w, const hs_table *t) {
    hs_buf json = {0};
    hs_jw j = {&json, false};
    hs_jw_begin(&j, '{');
    hs_jw_key(&j, "run");
    hs_jw_int(&j, w->r.run);
    hs_jw_key(&j, "layer");
    hs_jw_int(&j, w->layer);
    hs_jw_key(&j, "head");
    hs_jw_int(&j, w->head);
    hs_jw_key(&j, "from");
    hs_jw_int(&j, w->from);
    hs_jw_key(&j, "token");
    const char *text = label(w, w->from);
    if (text)
        hs_jw_str(&j, text);
    else
        hs_jw_null(&j);
    hs_table_json(t, &j, "keys");
    hs_jw_end(&j, '}');
    return hs_json_put(&json);
}

static void put_heading(const row *w) {
    char name[24];
    hs_buf token = {0};
    const char *text = label(w, w->from);
    if (text) hs_utf8_visible(&token, text, strlen(text), false);
    printf("%s from position %lld, \"%s\"\n", hs_head_name(name, w->layer, w->head),
           (long long)w->from, hs_buf_text(&token));
    hs_buf_free(&token);
}

static int print(const hs_call *call, const struct options *opt, const row *w) {
    hs_table *t = NULL;
    int rc = make_table(&t, w, opt->top);
    if (!rc && opt->out.json) {
        rc = put_json(w, t);
    } else if (!rc) {
        if (!opt->out.csv && !opt->out.jsonl) put_heading(w);
        rc = hs_table_put(t, call, &opt->out);
    }
    hs_table_close(t);
    return rc;
}

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    row w = {0};
    int rc = hs_out_check(&opt->out);
    if (!rc && !opt->head) rc = hs_fail(HS_EARG, "which head? --head L5H1");
    if (!rc && opt->top < 0) rc = hs_fail(HS_EARG, "--top takes a number from 0 (all) on");
    if (!rc) rc = hs_source_open(&w.r, call, 0, &opt->db, &opt->run);
    if (!rc) rc = read_row(&w, opt);
    if (!rc) rc = print(call, opt, &w);
    hs_labels_free(&w.labels);
    free(w.key);
    hs_source_close(&w.r);
    return rc;
}

static const hs_opt own[] = {
    {"head", 0, HS_OPT_TEXT, offsetof(struct options, head), "L5H1", NULL, "the head"},
    {"from", 0, HS_OPT_TEXT, offsetof(struct options, from), "POS", "-1",
     "the position that looks, 0-based; -1 is the last"},
    {"top", 'n', HS_OPT_INT, offsetof(struct options, top), "N", "10",
     "the N positions with the largest weights; 0: all"},
    {0},
};

const hs_cmd hs_cmd_attend = {
    .name = "attend",
    .group = "reading",
    .title = "what a token looks at through a head",
    .synopsis = "[RUN] --head L5H1 [--from POS] [options]",
    .about = "Reads a stored attention map: record it with --maps L5H1 (or all). Prompt 0 unless "
             "--prompt says otherwise. Exit 5 when no map of that head is stored.",
    .examples = (const char *const[][2]){{"attend --head L5H1 --from -1",
                                          "what the last token looks at"},
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
