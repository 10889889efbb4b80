// See sweeprun.h.
#include "tests/lib/sweeprun.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "analyses/experiments/sweep.h"
#include "tests/lib/dbfix.h"

double sweeprun_base(int ord) {
    return 3 + 0.25 * ord;
}

double sweeprun_value(int ord, int layer, int head) {
    if (head == 2 && ord == 3) return NAN;
    return sweeprun_base(ord) + sin(1 + ord + 10 * layer + 3 * head);
}

static int emit_unit(const hs_emit *emit, int ord, int layer, int head) {
    const double base = sweeprun_base(ord), value = sweeprun_value(ord, layer, head);
    const hs_value row[] = {
        {.type = HS_VAL_TEXT, .s = "head"}, {.type = HS_VAL_INT, .i = layer},
        {.type = HS_VAL_INT, .i = head},    {.type = HS_VAL_TEXT, .s = "nll"},
        {.type = HS_VAL_NUM, .f = value},   {.type = HS_VAL_NUM, .f = base},
    };
    int rc = emit->metric(emit->ctx, layer, head, "delta_nll", value - base,
                          isnan(value) ? "made up" : NULL);
    return rc ? rc : emit->row(emit->ctx, "unit", row);
}

static int sweep_prompt(hs_rec *rec, int ord) {
    static const hs_metric own[] = {{"delta_nll", "nats/token", "change", HS_DIVERGING},
                                    {"delta_ppl", "", "change of exp(nll)", HS_DIVERGING},
                                    {0}};
    const int32_t tokens[] = {ord, 1, 2, 3, 4};
    char id[16];
    hs_analysis as = hs_analysis_of_experiment(&hs_experiment_sweep);
    hs_emit emit;
    as.metrics = own;
    snprintf(id, sizeof id, "p%d", ord);
    const hs_prompt p = {.id = id, .tokens = tokens, .n_token = 3 + ord % 3, .extra = "{\"a\":1}"};
    int rc = hs_rec_prompt(rec, ord, &p);
    if (!rc) rc = hs_rec_emit_as(rec, &as, "{\"op\":\"zero\"}", &emit);
    for (int l = 0; l < 2; l++)
        for (int h = 0; h < 3 && !rc; h++) rc = emit_unit(&emit, ord, l, h);
    const double series[] = {ord, 0.5};
    if (!rc) rc = emit.series(emit.ctx, 1, -1, "made_up", series, 2);
    if (!rc) rc = emit.series(emit.ctx, 1, 2, "made_of_head", series, 2);
    if (!rc) rc = hs_rec_emit_as(rec, &as, "{\"op\":\"zero\",\"again\":1}", &emit);
    if (!rc) rc = emit_unit(&emit, ord + 1, 1, 0);
    if (!rc) rc = hs_rec_prompt_end(rec);
    return rc;
}

int sweeprun_one(hs_db *db, const sweeprun *s, const char *options, int stop) {
    hs_run_info info = dbrun_info();
    const hs_model_facts facts = dbrun_facts();
    hs_rec *rec;
    int64_t done;
    bool complete;
    const int step = s->n_shard ? s->n_shard : 1;
    info.options_json = options;
    info.shard = s->shard;
    info.n_shard = s->n_shard;
    int rc = hs_rec_start(&rec, db, &facts, &info, s->resume, &done, &complete);
    if (rc) return rc;
    if (!complete) rc = hs_rec_keep(rec, NULL, NULL, HS_STORE_F32);
    int n = (int)done;
    for (int ord = s->shard + n * step;
         ord < s->n_prompt && !rc && !complete && (!stop || n != stop); ord += step, n++)
        rc = sweep_prompt(rec, ord);
    rc = hs_rec_close(rec, !rc && stop ? HS_ESTOP : rc);
    return rc == HS_ESTOP ? HS_OK : rc;
}

// Writes the runs of a sweep into a database.
void sweeprun_add(const char *path, const sweeprun *s) {
    hs_db *db;
    int rc = HS_OK;
    dbfix_must(hs_db_open(&db, path, HS_DB_CREATE));
    for (int i = 0; s->options[i] && !rc; i++)
        rc = sweeprun_one(db, s, s->options[i], s->options[i + 1] ? 0 : s->stop_after);
    dbfix_must(rc);
    hs_db_close(db);
}
