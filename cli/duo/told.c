// What `duo` says of sets that stream together, read back from the database; see duo.h.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/duo/duo.h"
#include "model/core/mem.h"

static hs_source source_of(const hs_duo_work *w) {
    return (hs_source){.db = w->db, .run = w->run};
}

// ---- for programs -------------------------------------------------------------------------------

typedef struct json {
    hs_jw *j;
    int64_t tests, passed;
} json;

static int json_set(void *ctx, const hs_query *q) {
    json *to = ctx;
    char ranking[24];
    hs_query_text(q, "ranking", ranking, sizeof ranking);
    hs_jw_begin(to->j, '{');
    hs_jw_key_int(to->j, "share", hs_query_int(q, "share"));
    hs_jw_key_int(to->j, "streaming", hs_query_int(q, "streaming"));
    hs_jw_key_str(to->j, "ranking", ranking);
    if (!strcmp(ranking, hs_duo_rankings[HS_DUO_RANDOM]))
        hs_jw_key_int(to->j, "draw", hs_query_int(q, "draw"));
    hs_jw_key_num(to->j, "nll", hs_query_num(q, "nll"));
    hs_jw_key_num(to->j, "recall", hs_query_num(q, "recall"));
    hs_jw_end(to->j, '}');
    to->tests = hs_query_int(q, "tests");
    to->passed = hs_query_int(q, "passed");
    return HS_OK;
}

int hs_duo_json_curve(const hs_duo_work *w, hs_jw *j) {
    const hs_source source = source_of(w);
    json to = {.j = j};
    hs_jw_key(j, "curve");
    hs_jw_begin(j, '[');
    int rc = hs_source_each(&source, "duo_sets", NULL, 0, json_set, &to);
    hs_jw_end(j, ']');
    hs_jw_key_int(j, "tests", to.tests);
    hs_jw_key_int(j, "passed", to.passed);
    return rc;
}

// ---- reading ------------------------------------------------------------------------------------

// A share of a ranking.
typedef struct point {
    int64_t share, streaming, draws;
    int ranking;
    double nll, recall, low, high; // low, high: of the recall, or the loss where there is none
} point;

typedef struct curve {
    point *at;
    int64_t n, tests, passed;
} curve;

static int on_point(void *ctx, const hs_query *q) {
    curve *c = ctx;
    char ranking[24];
    int rc = hs_grow(&c->at, (size_t)c->n + 1, sizeof *c->at);
    if (rc) return rc;
    point *p = &c->at[c->n];
    c->tests = hs_query_int(q, "tests");
    c->passed = hs_query_int(q, "passed");
    *p = (point){.share = hs_query_int(q, "share"),
                 .streaming = hs_query_int(q, "streaming"),
                 .draws = hs_query_int(q, "draws"),
                 .nll = hs_query_num(q, "nll"),
                 .recall = hs_query_num(q, "recall"),
                 .low = hs_query_num(q, c->passed ? "recall_low" : "nll_low"),
                 .high = hs_query_num(q, c->passed ? "recall_high" : "nll_high")};
    hs_query_text(q, "ranking", ranking, sizeof ranking);
    while (p->ranking < HS_N_DUO_RANKING && strcmp(hs_duo_rankings[p->ranking], ranking))
        p->ranking++;
    c->n += p->ranking < HS_N_DUO_RANKING;
    return HS_OK;
}

// ---- for people ---------------------------------------------------------------------------------

static const char *const words[HS_N_DUO_RANKING] = {"lowest by the probe", "highest by the probe",
                                                    "lowest gates", "highest gates", "random"};

static int put_table(const curve *c, const hs_duo_work *w) {
    static const hs_col columns[] = {{NULL, "streaming", 0}, {NULL, "which", 0}, {NULL, "loss", 4},
                                     {NULL, "recall", 3},    {NULL, "from", 3},  {NULL, "to", 3}};
    const int n = c->passed ? 6 : 3;
    hs_table *t;
    char name[24];
    int rc = hs_table_open(&t, columns, n);
    for (int64_t i = 0; i < c->n && !rc; i++) {
        const point *p = &c->at[i];
        const bool all = p->streaming == w->n_kv, random = p->ranking == HS_DUO_RANDOM;
        if ((!p->share || all) && p->ranking != HS_DUO_LOWEST) continue;
        snprintf(name, sizeof name, "%" PRId64 " %%", p->share);
        hs_table_str(t, name);
        hs_table_str(t, all ? "all" : p->share ? words[p->ranking] : "none");
        hs_table_num(t, p->nll);
        if (!c->passed) continue;
        hs_table_num(t, p->recall);
        hs_table_num(t, random ? p->low : (double)NAN);
        hs_table_num(t, random ? p->high : (double)NAN);
    }
    if (!rc) printf("\nKV heads that stream together, means over the prompts\n");
    if (!rc) rc = hs_table_put(t, w->call, &w->opt->out);
    hs_table_close(t);
    return rc;
}

static const point *find(const curve *c, int ranking, int64_t share) {
    for (int64_t i = 0; i < c->n; i++)
        if (c->at[i].ranking == ranking && c->at[i].share == share) return &c->at[i];
    return NULL;
}

// The share that it is about: that nearest to a half.
static int64_t judged(const curve *c, const hs_duo_work *w) {
    int64_t best = 0;
    for (int64_t i = 0; i < c->n; i++)
        if (c->at[i].streaming && c->at[i].streaming < w->n_kv &&
            (!best || llabs(c->at[i].share - 50) < llabs(best - 50)))
            best = c->at[i].share;
    return best;
}

static void verdict(const curve *c, const hs_duo_work *w, hs_buf *out) {
    const int64_t share = judged(c, w);
    const point *none = find(c, HS_DUO_LOWEST, 0), *low = find(c, HS_DUO_LOWEST, share),
                *high = find(c, HS_DUO_HIGHEST, share), *random = find(c, HS_DUO_RANDOM, share);
    if (!share || !none || !low || !high || !random) return;
    hs_buf_printf(out, "Streaming the %" PRId64 " of %d KV heads that the probe ranks lowest ",
                  low->streaming, w->n_kv);
    if (c->passed)
        hs_buf_printf(out,
                      "leaves a recall of %.3f, against %.3f of the unedited model (%" PRId64
                      " of %" PRId64
                      " tests passed); the highest %.3f, random ones %.3f (%.3f to %.3f in %" PRId64
                      " draws).",
                      low->recall, none->recall, c->passed, c->tests, high->recall, random->recall,
                      random->low, random->high, random->draws);
    else
        hs_buf_printf(out,
                      "costs %.4f nats a token, the highest %.4f; random ones %.4f (%.4f to %.4f "
                      "in %" PRId64 " draws).",
                      low->nll - none->nll, high->nll - none->nll, random->nll - none->nll,
                      random->low - none->nll, random->high - none->nll, random->draws);
}

int hs_duo_tell_curve(const hs_duo_work *w) {
    const hs_source source = source_of(w);
    curve c = {0};
    hs_buf said = {0};
    int rc = hs_source_each(&source, "duo_curve", NULL, 0, on_point, &c);
    if (!rc && c.n) {
        rc = put_table(&c, w);
        verdict(&c, w, &said);
        if (!rc) rc = hs_buf_rc(&said);
        if (!rc && said.len) printf("\n%s\n", hs_buf_text(&said));
        if (!rc && c.tests && !c.passed)
            printf("Without streaming 0 of %" PRId64
                   " tests are passed, n = 0, so that there is no recall: give tests that this "
                   "model can do\n",
                   c.tests);
    }
    hs_buf_free(&said);
    free(c.at);
    return rc;
}
