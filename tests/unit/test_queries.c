// Named queries on runs whose every number is known: what they give is computed here once more, from
// the weights themselves.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/query.h"
#include "tests/lib/dbfix.h"

// Two runs of two prompts, the second with metrics moved by known amounts.
enum { L = 2, H = 3, N = L * H, P = 2, T = 64 };

// Prompts 3 and 4 are run 2's. Each head moves by a hundredth of its number, L1H1 of the second
// prompt by -1.
static int set_up(void **state) {
    static const dbrun what = {.n_prompt = P,
                               .n_token = T,
                               .maps = "all",
                               .acts = "resid_post",
                               .observe = "sinks,stripes,massive,sink_tokens,spans"};
    *state = dbfix_open(
        "queries", &what, 2,
        "UPDATE head_metric SET value = value + (3 * layer + head) / 100.0 WHERE "
        "metric = 'sink_alpha0' AND prompt_id > 2; UPDATE head_metric SET value = "
        "value - 1.04 WHERE metric = 'sink_alpha0' AND prompt_id = 4 AND layer = 1 "
        "AND head = 1; UPDATE token SET token_id = 3 WHERE prompt_id = 3 AND pos = 5; "
        "UPDATE run SET precision = 'bf16', options_json = '{\"seed\":7,\"new\":1}' "
        "WHERE id = 2");
    return 0;
}

// A named query under way; params are ended by NULL.
static hs_query *ask(const dbfix *f, const char *name, int64_t run, const char *prompt, ...) {
    const char *param[8];
    hs_query_opts o = {.run = run, .prompt = prompt, .param = param};
    hs_query *q;
    va_list ap;
    va_start(ap, prompt);
    while ((param[o.n_param] = va_arg(ap, const char *))) o.n_param++;
    va_end(ap);
    dbfix_must(hs_query_open(&q, f->db, name, &o));
    return q;
}

static hs_cell cell(const hs_query *q, const char *column) {
    for (int i = 0; i < hs_query_columns(q); i++)
        if (strcmp(hs_query_column(q, i), column) == 0) return hs_query_cell(q, i);
    fail_msg("no column %s", column);
    return (hs_cell){0};
}

static int64_t whole(const hs_query *q, const char *column) {
    hs_cell c = cell(q, column);
    assert_int_equal(c.type, HS_CELL_INT);
    return c.i;
}

static void near(const hs_query *q, const char *column, double want) {
    hs_cell c = cell(q, column);
    assert_true(c.type == HS_CELL_NUM || c.type == HS_CELL_INT);
    if (!(fabs(c.f - want) < 2e-6)) fail_msg("%s is %.9g, not %.9g", column, c.f, want);
}

static void text(const hs_query *q, const char *column, const char *want) {
    hs_cell c = cell(q, column);
    assert_int_equal(c.type, HS_CELL_TEXT);
    assert_int_equal(c.n, strlen(want));
    assert_memory_equal(c.data, want, c.n);
}

static void name_is(const hs_query *q, const char *column, int l, int h) {
    char want[16];
    snprintf(want, sizeof want, "L%dH%d", l, h);
    text(q, column, want);
}

static void ends(hs_query *q) {
    assert_false(dbfix_next(q));
    hs_query_close(q);
}

static double column_mean(int p, int l, int h, int64_t j) {
    double sum = 0;
    for (int64_t i = j; i < T + p; i++) sum += (double)dbrun_weight((uint64_t)p, l, h, i, j);
    return sum / (double)(T + p - j);
}

// Order of the heads by a number, largest first.
static void order_of(const double *v, int order[N]) {
    for (int i = 0; i < N; i++) order[i] = i;
    for (int i = 0; i < N; i++)
        for (int k = i + 1; k < N; k++)
            if (v[order[k]] > v[order[i]]) {
                int swap = order[i];
                order[i] = order[k];
                order[k] = swap;
            }
}

// ---- sinks --------------------------------------------------------------------------------------

static void test_sink_heads(void **state) {
    double alpha[N] = {0}, given[N] = {0};
    int order[N];
    for (int i = 0; i < N; i++)
        for (int p = 0; p < P; p++) {
            double a = column_mean(p, i / H, i % H, 0);
            alpha[i] += a / P;
            given[i] += a * (T + p) / (2 * T + 1);
        }
    order_of(alpha, order);
    hs_query *q = ask(*state, "sink_heads", 1, NULL, "heads=2", "tokens=1000", NULL);
    for (int k = 0; k < 2; k++) {
        double sum = 0, last = 2;
        // Token ids repeat with period 50: the first of each prompt, and 50 others.
        for (int r = 0; r < 51; r++) {
            assert_true(dbfix_next(q));
            name_is(q, "name", order[k] / H, order[k] % H);
            near(q, "sink_alpha0", alpha[order[k]]);
            double share = cell(q, "share").f;
            assert_true(share <= last);
            last = share;
            sum += share;
            if (r) continue; // head 2 of a layer has a sink by its making
            text(q, "place", "first");
            near(q, "share", given[order[k]]);
            assert_int_equal(whole(q, "tokens"), P);
        }
        assert_true(fabs(sum - 1) < 1e-6);
    }
    ends(q);
}

static void test_top_tokens(void **state) {
    double best = -1, most = -1;
    int64_t at = -1;
    int prompt = -1, head = -1;
    for (int p = 0; p < P; p++)
        for (int64_t j = 1; j <= T + p - 8; j++) {
            double mean = 0, top = -1;
            int who = -1;
            for (int i = 0; i < N; i++) {
                double a = column_mean(p, i / H, i % H, j);
                mean += a / N;
                if (a > top) who = i;
                if (a > top) top = a;
            }
            if (mean <= best) continue;
            best = mean;
            at = j;
            prompt = p;
            head = who;
            most = top;
        }
    hs_query *q = ask(*state, "top_tokens", 1, NULL, "first=1", "top=1", NULL);
    assert_true(dbfix_next(q));
    assert_int_equal(whole(q, "prompt"), prompt);
    assert_int_equal(whole(q, "position"), at);
    near(q, "column_mean", best);
    near(q, "max_column_mean", most);
    name_is(q, "name", head / H, head % H);
    ends(q);
    q = ask(*state, "top_tokens", 1, "p1", "top=1", "eps=0.1", NULL);
    int sinks = 0;
    for (int i = 0; i < N; i++) sinks += column_mean(1, i / H, i % H, 0) > 0.1;
    assert_true(dbfix_next(q));
    assert_int_equal(whole(q, "position"), 0);
    assert_int_equal(whole(q, "sink_heads"), sinks);
    ends(q);
}

// ---- rows ---------------------------------------------------------------------------------------

static void test_token_path(void **state) {
    hs_query *q = ask(*state, "token_path", 1, "p1", "position=30", "per_layer=2", NULL);
    for (int l = 0; l < L; l++) {
        double w[N] = {-1, -1, -1, -1, -1, -1};
        int64_t key[H];
        int order[N];
        for (int h = 0; h < H; h++) {
            float s[HS_N_STAT];
            dbrun_stats(1, l, h, 30, s);
            key[h] = (int64_t)s[HS_STAT_ARGMAX];
            if (key[h] >= 1) w[h] = (double)s[HS_STAT_MAX];
        }
        order_of(w, order);
        for (int k = 0; k < 2 && w[order[k]] >= 0; k++) {
            assert_true(dbfix_next(q));
            assert_int_equal(whole(q, "layer"), l);
            assert_int_equal(whole(q, "head"), order[k]);
            assert_int_equal(whole(q, "position"), key[order[k]]);
            near(q, "weight", w[order[k]]);
        }
    }
    ends(q);
    // The first of two prompts without --prompt, its last row, and heads at the first token too.
    q = ask(*state, "token_path", 1, NULL, "first=0", "per_layer=9", NULL);
    for (int i = 0; i < N; i++) {
        assert_true(dbfix_next(q));
        float s[HS_N_STAT];
        dbrun_stats(0, i / H, (int)whole(q, "head"), T - 1, s);
        assert_int_equal(whole(q, "position"), (int64_t)s[HS_STAT_ARGMAX]);
        near(q, "weight", (double)s[HS_STAT_MAX]);
    }
    ends(q);
}

static void test_who_looks(void **state) {
    double mean[N] = {0}, most[N] = {0}, sum[N] = {0};
    int64_t rows[N] = {0}, from[N] = {0};
    int order[N];
    for (int i = 0; i < N; i++) {
        for (int64_t r = 4; r < T; r++) {
            float s[HS_N_STAT];
            dbrun_stats(0, i / H, i % H, r, s);
            if ((int64_t)s[HS_STAT_ARGMAX] != 3) continue;
            rows[i]++;
            sum[i] += (double)s[HS_STAT_MAX];
            if ((double)s[HS_STAT_MAX] > most[i]) from[i] = r;
            if ((double)s[HS_STAT_MAX] > most[i]) most[i] = (double)s[HS_STAT_MAX];
        }
        mean[i] = rows[i] ? sum[i] / (double)rows[i] : 0;
    }
    order_of(sum, order);
    hs_query *q = ask(*state, "who_looks", 1, NULL, "position=3", NULL);
    assert_true(rows[order[0]] > 0);
    for (int k = 0; k < N && rows[order[k]]; k++) {
        assert_true(dbfix_next(q));
        int i = order[k];
        name_is(q, "name", i / H, i % H);
        assert_int_equal(whole(q, "rows"), rows[i]);
        near(q, "share", (double)rows[i] / (T - 4));
        near(q, "mean_weight", mean[i]);
        near(q, "max_weight", most[i]);
        assert_int_equal(whole(q, "from_position"), from[i]);
    }
    ends(q);
}

static void test_head_rows(void **state) {
    hs_query *q = ask(*state, "head_rows", 1, "1", "layer=1", "head=2", NULL);
    for (int64_t r = 0; r < T + 1; r++) {
        float s[HS_N_STAT];
        dbrun_stats(1, 1, 2, r, s);
        assert_true(dbfix_next(q));
        assert_int_equal(whole(q, "position"), r);
        near(q, "entropy_nats", (double)s[HS_STAT_ENTROPY]);
        assert_int_equal(whole(q, "key"), (int64_t)s[HS_STAT_ARGMAX]);
        near(q, "weight", (double)s[HS_STAT_MAX]);
        near(q, "first", (double)s[HS_STAT_FIRST]);
        near(q, "self", (double)s[HS_STAT_SELF]);
        near(q, "prev", (double)s[HS_STAT_PREV]);
        near(q, "distance", (double)s[HS_STAT_DISTANCE]);
    }
    ends(q);
}

// ---- heads alike --------------------------------------------------------------------------------

static void test_like_head(void **state) {
    double cosine[N] = {0}, gap[N] = {0};
    int order[N];
    for (int i = 0; i < N; i++)
        for (int p = 0; p < P; p++) {
            double aa = 0, bb = 0, ab = 0, d = 0;
            for (int64_t r = 0; r < T + p; r++)
                for (int64_t k = 0; k <= r; k++) {
                    double a = (double)dbrun_weight((uint64_t)p, 1, 1, r, k);
                    double b = (double)dbrun_weight((uint64_t)p, i / H, i % H, r, k);
                    aa += a * a;
                    bb += b * b;
                    ab += a * b;
                    d += fabs(a - b);
                }
            cosine[i] += ab / sqrt(aa * bb) / P;
            gap[i] += d / ((double)(T + p) * (T + p + 1) / 2) / P;
        }
    order_of(cosine, order);
    assert_int_equal(order[0], 4); // itself, which is left out
    hs_query *q = ask(*state, "like_head", 1, NULL, "layer=1", "head=1", NULL);
    for (int k = 1; k < N; k++) {
        assert_true(dbfix_next(q));
        name_is(q, "name", order[k] / H, order[k] % H);
        near(q, "cosine", cosine[order[k]]);
        near(q, "mean_difference", gap[order[k]]);
        assert_int_equal(whole(q, "prompts"), P);
    }
    ends(q);
}

enum { N_USED = 6, LONGEST = N_USED * P * (T + P) };

// The row summaries of every head, standardized over the heads.
static int standardized(double v[N][LONGEST]) {
    static const int used[N_USED] = {HS_STAT_ENTROPY, HS_STAT_MAX,  HS_STAT_FIRST,
                                     HS_STAT_SELF,    HS_STAT_PREV, HS_STAT_DISTANCE};
    int n = 0;
    for (int p = 0; p < P; p++)
        for (int64_t r = 0; r < T + p; r++)
            for (int u = 0; u < N_USED; u++, n++) {
                double mean = 0, var = 0;
                for (int i = 0; i < N; i++) {
                    float s[HS_N_STAT];
                    dbrun_stats((uint64_t)p, i / H, i % H, r, s);
                    v[i][n] = (double)s[used[u]];
                    mean += v[i][n] / N;
                }
                for (int i = 0; i < N; i++) var += pow(v[i][n] - mean, 2) / N;
                for (int i = 0; i < N; i++)
                    v[i][n] = var > 1e-12 * mean * mean ? (v[i][n] - mean) / sqrt(var) : 0;
            }
    return n;
}

static void test_alike_heads(void **state) {
    double(*v)[LONGEST] = calloc(N, sizeof *v);
    int n = standardized(v), rows = 0;
    double last = 2;
    hs_query *q = ask(*state, "alike_heads", 1, NULL, "top=100", NULL);
    for (; dbfix_next(q); rows++) {
        int64_t a = whole(q, "layer_a") * H + whole(q, "head_a");
        int64_t b = whole(q, "layer_b") * H + whole(q, "head_b");
        double aa = 0, bb = 0, ab = 0;
        for (int i = 0; i < n; i++) {
            aa += v[a][i] * v[a][i];
            bb += v[b][i] * v[b][i];
            ab += v[a][i] * v[b][i];
        }
        double have = cell(q, "cosine").f, want = ab / sqrt(aa * bb);
        assert_true(a < b && have <= last);
        if (fabs(have - want) > 1e-4) fail_msg("pair %d: %g, not %g", rows, have, want);
        last = have;
    }
    assert_int_equal(rows, N * (N - 1) / 2);
    hs_query_close(q);
    // The top of many is the beginning of all.
    q = ask(*state, "alike_heads", 1, NULL, "top=2", NULL);
    hs_query *all = ask(*state, "alike_heads", 1, NULL, "top=100", NULL);
    for (int i = 0; i < 2; i++) {
        assert_true(dbfix_next(q) && dbfix_next(all));
        assert_true(cell(q, "cosine").f == cell(all, "cosine").f);
        assert_int_equal(whole(q, "head_b"), whole(all, "head_b"));
    }
    hs_query_close(all);
    ends(q);
    free(v);
}

// ---- metrics ------------------------------------------------------------------------------------

static void test_head_prompts(void **state) {
    double a[P];
    for (int p = 0; p < P; p++) a[p] = column_mean(p, 1, 2, 0);
    int first = a[1] > a[0];
    hs_query *q = ask(*state, "head_prompts", 1, NULL, "layer=1", "head=2", "metric=sink_alpha0",
                      NULL);
    for (int k = 0; k < P; k++) {
        int p = k ? !first : first;
        assert_true(dbfix_next(q));
        assert_int_equal(whole(q, "prompt"), p);
        text(q, "id", p ? "p1" : "p0");
        assert_int_equal(whole(q, "tokens"), T + p);
        near(q, "value", a[p]);
    }
    ends(q);
}

static void test_layer_means(void **state) {
    hs_query *q = ask(*state, "layer_means", 1, "0", "metric=sink_alpha0", NULL);
    for (int l = 0; l < L; l++) {
        double a[H], mean = 0;
        int low = 0, high = 0;
        for (int h = 0; h < H; h++) {
            a[h] = column_mean(0, l, h, 0);
            mean += a[h] / H;
            if (a[h] < a[low]) low = h;
            if (a[h] > a[high]) high = h;
        }
        assert_true(dbfix_next(q));
        assert_int_equal(whole(q, "layer"), l);
        near(q, "mean", mean);
        near(q, "lowest", a[low]);
        assert_int_equal(whole(q, "lowest_head"), low);
        near(q, "highest", a[high]);
        assert_int_equal(whole(q, "highest_head"), high);
        assert_int_equal(whole(q, "heads"), H);
    }
    ends(q);
}

static void test_head_kinds(void **state) {
    double previous[N] = {0};
    int order[N];
    for (int i = 0; i < N; i++)
        for (int p = 0; p < P; p++)
            for (int64_t r = 1; r < T + p; r++)
                previous[i] += (double)dbrun_weight((uint64_t)p, i / H, i % H, r, r - 1) /
                               (double)(T + p - 1) / P;
    order_of(previous, order);
    hs_query *q = ask(*state, "head_kinds", 1, NULL, "top=2", NULL);
    static const char *const kinds[] = {"previous", "duplicate", "induction"};
    for (int k = 0; k < 3; k++) {
        double last = 2;
        for (int i = 0; i < 2; i++) {
            assert_true(dbfix_next(q));
            text(q, "kind", kinds[k]);
            if (!k) name_is(q, "name", order[i] / H, order[i] % H);
            if (!k) near(q, "value", previous[order[i]]);
            assert_true(cell(q, "value").f <= last);
            last = cell(q, "value").f;
        }
    }
    ends(q);
}

// ---- two runs -----------------------------------------------------------------------------------

static void test_changed_heads(void **state) {
    hs_query *q = ask(*state, "changed_heads", 2, NULL, "metric=sink_alpha0", "top=3", NULL);
    assert_true(dbfix_next(q)); // (0.04 - 1) / 2 in the mean of both prompts
    name_is(q, "name", 1, 1);
    near(q, "change", (0.04 - 1) / 2);
    double before = (column_mean(0, 1, 1, 0) + column_mean(1, 1, 1, 0)) / 2;
    near(q, "before", before);
    near(q, "value", before + (0.04 - 1) / 2);
    assert_int_equal(whole(q, "prompts"), 2);
    assert_true(dbfix_next(q));
    name_is(q, "name", 1, 2);
    near(q, "change", 0.05);
    assert_true(dbfix_next(q));
    name_is(q, "name", 1, 0);
    ends(q);
    // The other way round, and one prompt.
    q = ask(*state, "changed_heads", 1, "p1", "metric=sink_alpha0", "other=2", "top=1", NULL);
    assert_true(dbfix_next(q));
    near(q, "change", 1);
    assert_int_equal(whole(q, "prompts"), 1);
    ends(q);
}

static void test_changed_prompts(void **state) {
    hs_query *q = ask(*state, "changed_prompts", 2, NULL, "metric=sink_alpha0", NULL);
    assert_true(dbfix_next(q));
    text(q, "id", "p1");
    near(q, "mean_change", (0.01 + 0.02 + 0.03 + 1 + 0.05) / N);
    name_is(q, "name", 1, 1);
    near(q, "change", -1);
    assert_int_equal(whole(q, "same_tokens"), 1);
    assert_true(dbfix_next(q));
    text(q, "id", "p0");
    near(q, "mean_change", 0.15 / N);
    name_is(q, "name", 1, 2);
    near(q, "change", 0.05);
    assert_int_equal(whole(q, "same_tokens"), 0);
    ends(q);
}

static void test_run_changes(void **state) {
    hs_query *q = ask(*state, "run_changes", 2, NULL, NULL);
    assert_true(dbfix_next(q));
    text(q, "what", "new");
    assert_int_equal(cell(q, "before").type, HS_CELL_NULL);
    assert_true(dbfix_next(q));
    text(q, "what", "precision");
    text(q, "before", "exact");
    text(q, "value", "bf16");
    ends(q);
}

// ---- what is missing, and how they are run ------------------------------------------------------

static void refused(const dbfix *f, const char *name, const hs_query_opts *o, const char *says) {
    hs_query *q;
    assert_int_equal(hs_query_open(&q, f->db, name, o), HS_ENOTFOUND);
    assert_null(q);
    if (!strstr(hs_errmsg(), says)) fail_msg("%s: %s", name, hs_errmsg());
}

static void test_needs(void **state) {
    (void)state;
    static const char *const head[] = {"layer=1", "head=2"}, *const other[] = {"other=9"},
                             *const metric[] = {"metric=previous_x"},
                             *const both[] = {"other=1", "metric=sink_half"};
    dbfix f;
    dbrun what = {.n_prompt = 2, .n_token = 20, .maps = "L0H0"};
    dbrun_path(f.path, sizeof f.path, "needs");
    dbfix_must(dbrun_record(f.path, &what, NULL));
    dbfix_must(hs_db_open(&f.db, f.path, HS_DB_READ));
    hs_query_opts o = {.param = head, .n_param = 2};
    refused(&f, "like_head", &o, "run 1 stored no map of L1H2: record it with --maps L1H2");
    refused(&f, "attend", &o, "--maps L1H2");
    refused(&f, "changed_heads", NULL, "no earlier run to compare run 1 with");
    refused(&f, "run_changes", &(hs_query_opts){.param = other, .n_param = 1}, "no run 9");
    refused(&f, "sink_heads", NULL, "--observe sinks");
    refused(&f, "head_kinds", NULL, "--observe stripes");
    refused(&f, "layer_means", &(hs_query_opts){.param = metric, .n_param = 1}, "it has ");
    hs_db_close(f.db);
    what.observe = "sinks";
    dbfix_must(dbrun_record(f.path, &what, NULL));
    dbfix_change(f.path, "UPDATE prompt SET label = 'x' || label WHERE id = 3");
    dbfix_must(hs_db_open(&f.db, f.path, HS_DB_READ));
    refused(&f, "changed_heads", &(hs_query_opts){.param = both, .n_param = 2},
            "run 1 has no sink_half: record it with --observe sinks");
    refused(&f, "changed_prompts", &(hs_query_opts){.prompt = "0"}, "share no prompt id");
    hs_db_close(f.db);
    dbrun_remove(f.path);
}

// Whether a word of the query's text calls a large table by this name: "row_series AS s".
static bool is_large(const char *sql, const char *alias, size_t n) {
    static const char *const large[] = {"row_series", "series", "map",   "map_chunk",
                                        "act_chunk",  "act",    "token", "head_metric"};
    char words[80];
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        snprintf(words, sizeof words, " %s AS %.*s", large[i], (int)n, alias);
        const char *at = strstr(sql, words);
        if (at && strchr(" \n,", at[strlen(words)])) return true;
    }
    return false;
}

// No query reads a large table from end to end: everything is found by an index.
static void test_plans(void **state) {
    const dbfix *f = *state;
    for (const hs_query_info *i = hs_queries; i->name; i++) {
        if (dbfix_of_experiment(i)) continue; // its tables are not there
        const char *param[16];
        char given[16][160], name[64], fallback[64], help[200];
        char *sql = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", i->text);
        hs_query_opts o = {.param = param};
        for (; hs_query_param(i, o.n_param, name, sizeof name, fallback, sizeof fallback, help,
                              sizeof help);
             o.n_param++) {
            fallback[strcspn(fallback, "|")] = 0;
            snprintf(given[o.n_param], sizeof given[0], "%s=%s", name, fallback);
            param[o.n_param] = given[o.n_param];
        }
        hs_query *q;
        dbfix_must(hs_query_open(&q, f->db, sql, &o));
        while (dbfix_next(q)) {
            const char *detail = cell(q, "detail").data;
            if (strncmp(detail, "SCAN ", 5) == 0 &&
                is_large(i->text, detail + 5, strcspn(detail + 5, " ")))
                fail_msg("%s: %s", i->name, detail);
        }
        hs_query_close(q);
        sqlite3_free(sql);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sink_heads),    cmocka_unit_test(test_top_tokens),
        cmocka_unit_test(test_token_path),    cmocka_unit_test(test_who_looks),
        cmocka_unit_test(test_head_rows),     cmocka_unit_test(test_like_head),
        cmocka_unit_test(test_alike_heads),   cmocka_unit_test(test_head_prompts),
        cmocka_unit_test(test_layer_means),   cmocka_unit_test(test_head_kinds),
        cmocka_unit_test(test_changed_heads), cmocka_unit_test(test_changed_prompts),
        cmocka_unit_test(test_run_changes),   cmocka_unit_test(test_needs),
        cmocka_unit_test(test_plans),
    };
    return cmocka_run_group_tests(tests, set_up, dbfix_tear_down);
}
