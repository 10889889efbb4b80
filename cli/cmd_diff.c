// headscope diff RUN RUN: what changed between two runs, head by head.
//
// Without --metric, a line for everything that both have; with one, the heads by how much they
// changed. People also get the prompts that differ most, and what the runs do not share.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/reader.h"
#include "db/diff.h"
#include "model/core/mem.h"
#include "model/core/utf8.h"

struct options {
    hs_db_options db;
    hs_out_options out;
    const char *db2, *metric, *prompt;
    int64_t top;
};

static const char letters[] = "ab";

// One line a name: the means over the heads, and the head that changed most.
typedef struct line {
    double a, b, change, mean_abs;
    const hs_diff_head *most; // among the values; NULL: none
    int layer, head;
} line;

// ---- numbers --------------------------------------------------------------------------------

static line summarize(const hs_diff *d, const hs_diff_values *v) {
    line l = {0};
    int n = 0;
    for (int i = 0; i < d->dims.n_layer * d->dims.n_head; i++) {
        const hs_diff_head *h = &v->head[i];
        if (!h->n) continue;
        l.a += h->a;
        l.b += h->b;
        l.change += h->b - h->a; // maps have neither
        l.mean_abs += h->mean_abs;
        n++;
        if (l.most && fabs(h->largest) <= fabs(l.most->largest)) continue;
        l.most = h;
        l.layer = i / d->dims.n_head;
        l.head = i % d->dims.n_head;
    }
    l.a /= n;
    l.b /= n;
    l.change /= n;
    l.mean_abs /= n;
    return l;
}

typedef struct place {
    int at;
    double by; // magnitude; NaN last
} place;

static int by_size(const void *x, const void *y) {
    const place *a = x, *b = y;
    if (isnan(a->by) != isnan(b->by)) return isnan(a->by) ? 1 : -1;
    if (a->by > b->by || a->by < b->by) return a->by > b->by ? -1 : 1;
    return a->at - b->at;
}

// ---- tables ---------------------------------------------------------------------------------

static const hs_col name_columns[] = {{"metric", "metric", 0},
                                      {"a", "mean a", -1},
                                      {"b", "mean b", -1},
                                      {"value", "b - a", -1},
                                      {"mean_abs", "mean |b - a|", -1},
                                      {"largest", "largest", -1},
                                      {NULL, "head", 0},
                                      {"layer", NULL, 0},
                                      {"head", NULL, 0},
                                      {"prompt", "prompt", 0},
                                      {"row", "row", 0}};
enum { N_NAME_COLUMN = sizeof name_columns / sizeof *name_columns };

static void put_where(hs_table *t, const hs_diff *d, const hs_diff_head *h) {
    hs_table_str(t, h && h->prompt >= 0 ? d->prompt[h->prompt].label : NULL);
    if (h && h->row >= 0)
        hs_table_int(t, h->row);
    else
        hs_table_null(t);
}

static void put_name(hs_table *t, const hs_diff *d, const char *name, const line *l) {
    char head[24];
    hs_table_str(t, name);
    hs_table_num(t, l->a);
    hs_table_num(t, l->b);
    hs_table_num(t, l->change);
    hs_table_num(t, l->mean_abs);
    hs_table_num(t, l->most ? l->most->largest : NAN);
    hs_table_str(t, l->most ? hs_head_name(head, l->layer, l->head) : NULL);
    hs_table_int(t, l->layer);
    hs_table_int(t, l->head);
    put_where(t, d, l->most);
}

static int names_table(hs_table **out, const hs_diff *d, const hs_progress *progress) {
    hs_diff_names names;
    int rc = hs_diff_names_read(&names, d);
    if (!rc && !names.n)
        rc = hs_fail(HS_ENOTFOUND, "runs %" PRId64 " and %" PRId64 " have no metric in common",
                     d->run[HS_A], d->run[HS_B]);
    if (!rc) rc = hs_table_open(out, name_columns, N_NAME_COLUMN);
    for (int i = 0; !rc && i < names.n; i++) {
        hs_diff_values v;
        rc = hs_diff_read(&v, d, names.at[i], progress);
        if (rc == HS_ENOTFOUND) { // the runs have it, but for no head and prompt of both
            rc = HS_OK;
            continue;
        }
        if (rc) break;
        line l = summarize(d, &v);
        put_name(*out, d, names.at[i], &l);
        hs_diff_values_free(&v);
    }
    hs_diff_names_free(&names);
    return rc;
}

static const hs_col head_columns[] = {{NULL, "head", 0},
                                      {"layer", NULL, 0},
                                      {"head", NULL, 0},
                                      {"a", "a", -1},
                                      {"b", "b", -1},
                                      {"value", "b - a", -1},
                                      {"mean_abs", "mean |b - a|", -1},
                                      {"largest", "largest", -1},
                                      {"prompt", "prompt", 0},
                                      {"row", "row", 0},
                                      {"prompts", "prompts", 0}};
enum { A_COLUMN = 3, VALUE_COLUMN = 5, N_HEAD_COLUMN = sizeof head_columns / sizeof *head_columns };

static int heads_table(hs_table **out, const hs_diff *d, const hs_diff_values *v, int64_t top,
                       bool maps) {
    const int n = d->dims.n_layer * d->dims.n_head;
    place *order;
    int rc = hs_alloc(&order, (size_t)n, sizeof *order);
    if (rc) return rc;
    for (int i = 0; i < n; i++) order[i] = (place){i, fabs(v->head[i].value)};
    qsort(order, (size_t)n, sizeof *order, by_size);
    hs_col columns[N_HEAD_COLUMN];
    memcpy(columns, head_columns, sizeof columns);
    // A pair of maps has no mean of its own: only the size of the difference is told.
    for (int c = A_COLUMN; maps && c <= VALUE_COLUMN; c++) columns[c].title = NULL;
    rc = hs_table_open(out, columns, N_HEAD_COLUMN);
    for (int i = 0; !rc && i < n && (!top || i < top); i++) {
        const hs_diff_head *h = &v->head[order[i].at];
        int layer = order[i].at / d->dims.n_head, head = order[i].at % d->dims.n_head;
        char name[24];
        hs_table_str(*out, hs_head_name(name, layer, head));
        hs_table_int(*out, layer);
        hs_table_int(*out, head);
        hs_table_num(*out, h->a);
        hs_table_num(*out, h->b);
        hs_table_num(*out, h->value);
        hs_table_num(*out, h->mean_abs);
        hs_table_num(*out, h->n ? h->largest : NAN);
        put_where(*out, d, h);
        hs_table_int(*out, h->prompts);
    }
    free(order);
    return rc;
}

static const hs_col prompt_columns[] = {
    {"prompt", "prompt", 0},     {"id", "id", 0},
    {"tokens_a", "tokens a", 0}, {"tokens_b", "tokens b", 0},
    {"same_tokens", "same", 0},  {"mean_abs", "mean |b - a|", -1},
    {"nll_a", "nll a", 4},       {"nll_b", "nll b", 4},
    {"nll_change", "b - a", 4}};
enum { NLL_COLUMN = 6, N_PROMPT_COLUMN = sizeof prompt_columns / sizeof *prompt_columns };

static int prompts_table(hs_table **out, const hs_diff *d, const hs_diff_values *v, int64_t top) {
    place *order;
    int rc = hs_alloc(&order, (size_t)d->n_prompt, sizeof *order);
    if (rc) return rc;
    for (int i = 0; i < d->n_prompt; i++) order[i] = (place){i, v->prompt[i]};
    qsort(order, (size_t)d->n_prompt, sizeof *order, by_size);
    hs_col columns[N_PROMPT_COLUMN];
    memcpy(columns, prompt_columns, sizeof columns);
    bool nll = false;
    for (int i = 0; i < d->n_prompt; i++) nll |= !isnan(d->prompt[i].nll[HS_A]);
    for (int c = NLL_COLUMN; !nll && c < N_PROMPT_COLUMN; c++) columns[c].title = NULL;
    rc = hs_table_open(out, columns, N_PROMPT_COLUMN);
    for (int i = 0; !rc && i < d->n_prompt && (!top || i < top); i++) {
        const hs_diff_prompt *p = &d->prompt[order[i].at];
        hs_table_int(*out, p->ord);
        hs_table_str(*out, p->label);
        hs_table_int(*out, p->n_token[HS_A]);
        hs_table_int(*out, p->n_token[HS_B]);
        hs_table_bool(*out, p->same_tokens);
        hs_table_num(*out, v->prompt[order[i].at]);
        hs_table_num(*out, p->nll[HS_A]);
        hs_table_num(*out, p->nll[HS_B]);
        hs_table_num(*out, p->nll[HS_B] - p->nll[HS_A]);
    }
    free(order);
    return rc;
}

// ---- output ---------------------------------------------------------------------------------

// Everything that is printed.
typedef struct result {
    hs_diff d;
    const char *metric; // that the prompts are told by
    hs_table *main, *prompts;
} result;

static void put_text(const char *s, size_t n) {
    hs_buf b = {0};
    hs_utf8_visible(&b, s, n, false);
    printf("%s", hs_buf_text(&b));
    hs_buf_free(&b);
}

static int put_run(void *ctx, const hs_query *q) {
    static const char *const facts[] = {"model", "weight_dtype", "precision"};
    (void)ctx;
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        hs_cell c = hs_query_named(q, facts[i]);
        printf(i ? ", " : " ");
        if (c.type == HS_CELL_TEXT) put_text(c.data, c.n);
    }
    return HS_OK;
}

static int put_edit(void *ctx, const hs_query *q) {
    hs_cell c = hs_query_named(q, "spec");
    (void)ctx;
    printf(", --do ");
    if (c.type == HS_CELL_TEXT) put_text(c.data, c.n);
    return HS_OK;
}

static int put_heading(const hs_diff *d) {
    int64_t other = 0;
    int rc = HS_OK;
    for (int k = 0; k < HS_AB && !rc; k++) {
        const hs_source r = {d->db[k], d->run[k], NULL};
        printf("%c: run %" PRId64 " of %s:", letters[k], d->run[k], hs_db_path(d->db[k]));
        rc = hs_source_each(&r, "show", NULL, 0, put_run, NULL);
        if (!rc) rc = hs_source_each(&r, "show_interventions", NULL, 0, put_edit, NULL);
        printf("\n");
    }
    for (int64_t i = 0; i < d->n_prompt; i++) other += !d->prompt[i].same_tokens;
    printf("%" PRId64 " prompt%s of the same id", d->n_prompt, d->n_prompt == 1 ? "" : "s");
    if (other) printf(", %" PRId64 " of other tokens: their rows and maps are left out", other);
    for (int k = 0; k < HS_AB; k++)
        if (d->n_alone[k]) printf("; %" PRId64 " only in %c", d->n_alone[k], letters[k]);
    if (!d->same_model) printf("; the models differ");
    printf("\n\n");
    return rc;
}

static int put_json(const result *r, const char *metric) {
    static const char *const keys[HS_AB][2] = {{"run_a", "db_a"}, {"run_b", "db_b"}};
    hs_buf json = {0};
    hs_jw j = {&json, false};
    hs_jw_begin(&j, '{');
    for (int k = 0; k < HS_AB; k++) {
        hs_jw_key(&j, keys[k][0]);
        hs_jw_int(&j, r->d.run[k]);
        hs_jw_key(&j, keys[k][1]);
        hs_jw_str(&j, hs_db_path(r->d.db[k]));
    }
    hs_jw_key(&j, "same_model");
    hs_jw_bool(&j, r->d.same_model);
    hs_jw_key(&j, "metric");
    if (metric)
        hs_jw_str(&j, metric);
    else
        hs_jw_null(&j);
    hs_table_json(r->main, &j, metric ? "heads" : "metrics");
    hs_jw_key(&j, "prompt_metric");
    hs_jw_str(&j, r->metric);
    hs_table_json(r->prompts, &j, "prompts");
    hs_jw_end(&j, '}');
    return hs_json_put(&json);
}

static int print(const hs_call *call, const struct options *opt, const result *r) {
    bool people = !opt->out.csv && !opt->out.jsonl;
    if (opt->out.json) return put_json(r, opt->metric);
    int rc = people ? put_heading(&r->d) : HS_OK;
    if (!rc) rc = hs_table_put(r->main, call, &opt->out);
    if (rc || !people) return rc;
    printf("\nprompts, by %s\n", r->metric);
    return hs_table_put(r->prompts, call, &opt->out);
}

// ---- the work -------------------------------------------------------------------------------

// With a metric its heads; without, a line for each, and the prompts by the entropy of attention.
static int compare(result *r, const struct options *opt, const hs_progress *progress) {
    hs_diff_values v = {0};
    int64_t top = opt->top;
    r->metric = opt->metric ? opt->metric : "entropy_nats";
    int rc = hs_diff_read(&v, &r->d, r->metric, progress);
    if (!rc) rc = hs_diff_nll(&r->d, progress);
    if (!rc)
        rc = opt->metric ? heads_table(&r->main, &r->d, &v, top, strcmp(r->metric, "maps") == 0)
                         : names_table(&r->main, &r->d, progress);
    if (!rc) rc = prompts_table(&r->prompts, &r->d, &v, top);
    hs_diff_values_free(&v);
    return rc;
}

// The two runs of the command line: two words, or with a second file one word or the latest of each.
static int find_runs(const hs_call *call, const struct options *opt, hs_db *const db[HS_AB],
                     int64_t run[HS_AB]) {
    static const hs_run_options none = {0};
    if (!opt->db2 && call->n_arg != 2)
        return hs_fail(HS_EARG, "which two runs? headscope diff 1 2: headscope runs lists them");
    int rc = hs_cli_run(call, 0, &none, db[HS_A], &run[HS_A]);
    if (!rc) rc = hs_cli_run(call, 1, &none, db[HS_B], &run[HS_B]);
    if (!rc && db[HS_A] == db[HS_B] && run[HS_A] == run[HS_B])
        rc = hs_fail(HS_EARG, "run %" PRId64 " is one run: give two", run[HS_A]);
    return rc;
}

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    hs_db *db[HS_AB] = {NULL, NULL};
    int64_t id[HS_AB];
    result r = {0};
    hs_bar bar;
    int rc = hs_out_check(&opt->out);
    if (!rc && opt->top < 0) rc = hs_fail(HS_EARG, "--top takes a number from 0 (all) on");
    if (!rc) rc = hs_db_open(&db[HS_A], hs_cli_db_path(&opt->db), HS_DB_READ);
    if (!rc && opt->db2) rc = hs_db_open(&db[HS_B], opt->db2, HS_DB_READ);
    if (!opt->db2) db[HS_B] = db[HS_A];
    if (!rc) rc = find_runs(call, opt, db, id);
    for (int side = HS_A; side < HS_AB && !rc; side++)
        rc = hs_tell_unfinished(call, db[side], id[side]);
    hs_bar_open(&bar, call);
    if (!rc) rc = hs_diff_open(&r.d, db, id, opt->prompt);
    if (!rc) rc = compare(&r, opt, &bar.progress);
    hs_bar_close(&bar);
    if (!rc) rc = print(call, opt, &r);
    hs_table_close(r.main);
    hs_table_close(r.prompts);
    hs_diff_close(&r.d);
    if (opt->db2) hs_db_close(db[HS_B]);
    hs_db_close(db[HS_A]);
    return rc;
}

static const hs_opt own[] = {
    {"metric", 'm', HS_OPT_TEXT, offsetof(struct options, metric), "METRIC", NULL,
     "the heads by this metric; rows.NAME: a row summary, row by row; maps: stored maps, weight by "
     "weight"},
    {"top", 'n', HS_OPT_INT, offsetof(struct options, top), "N", "10",
     "the N heads and prompts that changed most; 0: all"},
    {"prompt", 0, HS_OPT_TEXT, offsetof(struct options, prompt), "PROMPT", NULL,
     "one prompt of the first run, by its number or its id"},
    {"db2", 0, HS_OPT_TEXT, offsetof(struct options, db2), "FILE.db", NULL,
     "the database of the second run, when it is another"},
    {0},
};

const hs_cmd hs_cmd_diff = {
    .name = "diff",
    .group = "reading",
    .title = "two runs, head by head",
    .synopsis = "RUN RUN [options]",
    .about =
        "Compares a model before and after an edit, at two precisions, or with its fine-tune: a is "
        "the first run, b the second. Prompts are paired by their ids; metrics are means over the "
        "prompts in which both have them. Without --metric there is a line for everything that "
        "both have: the mean over the heads, and the largest change of one head and prompt (of "
        "rows.NAME and maps, of one row). Rows and maps are compared where a prompt has the same "
        "tokens in both. Where both runs stored logits, nll is the mean surprise of the prompt's "
        "tokens, in nats. With --db2 the runs may be left out: the latest of each file. Exit 5 "
        "when the models have other layers or heads, or no prompt id is in both.",
    .examples = (const char *const[][2]){{"diff 1 2", "everything that both runs have"},
                                         {"diff 1 2 --metric sink_alpha0",
                                          "the heads whose sink changed most"},
                                         {"diff 1 1 --db f32.db --db2 q4.db --metric maps --json",
                                          "stored maps of two files, for scripts"},
                                         {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0},
                                      {"database", hs_opts_db_read, offsetof(struct options, db)},
                                      {"output", hs_opts_table, offsetof(struct options, out)},
                                      {0}},
    .options_size = sizeof(struct options),
    .max_arg = 2,
    .run = run,
};
